//! Time that stands still until a test moves it, or goes with the runtime's.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use vydra_core::time::{Clock, Timestamp};

/// 2026-03-01T12:00:00Z: any moment will do, but always the same.
const START: i64 = 1_772_366_400_000_000;

#[derive(Debug)]
pub struct ManualClock {
    micros: AtomicI64,
    /// Since when it goes with the runtime's time.
    follows: OnceLock<Instant>,
    broken: AtomicBool,
}

impl Default for ManualClock {
    fn default() -> Self {
        Self {
            micros: AtomicI64::new(START),
            follows: OnceLock::new(),
            broken: AtomicBool::new(false),
        }
    }
}

impl ManualClock {
    pub fn advance(&self, span: Duration) {
        let micros = i64::try_from(span.as_micros()).expect("a span that a test can mean");
        self.micros.fetch_add(micros, Ordering::SeqCst);
    }

    /// From now on it goes with the runtime's time, which a simulation pauses: what waits and what is decided then see the
    /// same time. [`Self::advance`] leaps all the same.
    pub fn follow_the_runtime(&self) {
        self.follows.get_or_init(Instant::now);
    }

    /// As an operator or a time server may.
    pub fn set_back(&self, span: Duration) {
        let micros = i64::try_from(span.as_micros()).expect("a span that a test can mean");
        self.micros.fetch_sub(micros, Ordering::SeqCst);
    }

    /// Whoever looks next panics: what a bug anywhere in a request looks like from outside.
    pub fn break_once(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        assert!(
            !self.broken.swap(false, Ordering::SeqCst),
            "the clock was broken on purpose"
        );
        let set = Timestamp::from_micros(self.micros.load(Ordering::SeqCst));
        set.plus(self.follows.get().map(Instant::elapsed).unwrap_or_default())
    }
}
