//! The time of whoever counts, and the clocks of those who ask, which nobody should trust.

use rand::RngExt;
use rand::rngs::StdRng;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use vydra_core::time::{Clock, Timestamp};

pub(super) const SECOND: i64 = 1_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

/// How far the clocks of the processes are set apart, of the machine's time.
const APART: [i64; 4] = [-2 * SECOND, -700_000, 700_000, 2 * SECOND];
/// How far each jumps from there, at most, to either side.
const JUMP: i64 = 300_000;
/// By how many parts in a thousand it goes too fast or too slow between.
const DRIFT: i64 = 50;

/// The machine's time, which is that of its database and its Redis.
#[expect(
    clippy::disallowed_methods,
    reason = "what truly happened when is told apart from what the clocks under test show"
)]
pub(super) fn machine() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX)
}

/// The time of whoever counts: from some moment on it goes so many times as fast as the machine's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) began: i64,
    pub(super) factor: i64,
}

impl Pace {
    fn at(self, machine: i64) -> Timestamp {
        Timestamp::from_micros(self.began + (machine - self.began) * self.factor)
    }
}

impl Clock for Pace {
    fn now(&self) -> Timestamp {
        self.at(machine())
    }
}

/// The clock of a process.
#[derive(Debug)]
pub(super) struct Skewed {
    pace: Pace,
    apart: i64,
    ahead: AtomicI64,
    /// Since when.
    jumped: AtomicI64,
    drift: AtomicI64,
}

impl Skewed {
    pub(super) fn new(pace: Pace, process: u64) -> Self {
        let place = usize::try_from(process).unwrap_or(0) % APART.len();
        Self {
            pace,
            apart: APART.get(place).copied().unwrap_or(0),
            ahead: AtomicI64::new(0),
            jumped: AtomicI64::new(machine()),
            drift: AtomicI64::new(0),
        }
    }

    pub(super) fn jump(&self, chance: &mut StdRng) {
        self.jumped.store(machine(), Ordering::SeqCst);
        self.ahead
            .store(chance.random_range(-JUMP..=JUMP), Ordering::SeqCst);
        self.drift
            .store(chance.random_range(-DRIFT..=DRIFT), Ordering::SeqCst);
    }
}

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        let machine = machine();
        let since = machine - self.jumped.load(Ordering::SeqCst);
        let drifted = since * self.drift.load(Ordering::SeqCst) / 1_000;
        let ahead = self.apart + self.ahead.load(Ordering::SeqCst) + drifted;
        self.pace.at(machine + ahead)
    }
}
