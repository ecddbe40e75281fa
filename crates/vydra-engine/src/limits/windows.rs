//! The windows in the memory of the only process. Everything that must agree stands behind one lock: the time, and what counts.
//! An admission is a few steps there and never waits for the disk.

use super::UnwrittenUsage;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use vydra_core::ids::OrgId;
use vydra_core::plan::Limits;
use vydra_core::time::{Clock, Timestamp};
use vydra_core::window::{AdmissionLog, SteadyTime, Tally};

/// How many organizations are known before those are looked for that have been quiet for a day.
const FIRST_SWEEP: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct Windows {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    time: SteadyTime,
    logs: HashMap<OrgId, AdmissionLog>,
    sweep_at: usize,
}

impl Windows {
    /// Counts one request in all windows, or in none, and has it written down. Looks at the clock itself, so that no request
    /// overtakes another between that and being counted.
    pub(super) fn count(
        &self,
        org: &OrgId,
        limits: Limits,
        clock: &dyn Clock,
        usage: &UnwrittenUsage,
    ) -> Tally {
        let mut known = self.known();
        let shown = clock.now();
        let now = known.time.at(shown);
        let log = known.logs.entry(org.clone()).or_default();
        let tally = log.count(limits, 1, now, shown);
        if tally.taken > 0 {
            // Under the lock, so that moments are written in their order.
            usage.add_admission(org, now);
            known.sweep(now);
        }
        tally
    }

    /// Takes up what an earlier run has admitted, the moments of an organization in their order.
    pub(super) fn load(&self, admissions: Vec<(OrgId, Vec<Timestamp>)>, clock: &dyn Clock) {
        let mut known = self.known();
        let latest = admissions.iter().filter_map(|(_, moments)| moments.last());
        if let Some(latest) = latest.max() {
            known.time = SteadyTime::resume(*latest, clock.now());
        }
        let now = known.time.at(clock.now());
        for (org, moments) in admissions {
            let log = known.logs.entry(org).or_default();
            for moment in moments {
                log.restore(moment);
            }
        }
        known.forget(now);
    }

    pub(super) fn now(&self, clock: &dyn Clock) -> Timestamp {
        self.known().time.at(clock.now())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Lets go of organizations of which nothing counts any more, whenever there are twice as many as the last time.
    fn sweep(&mut self, now: Timestamp) {
        if self.logs.len() < self.sweep_at.max(FIRST_SWEEP) {
            return;
        }
        self.forget(now);
        self.sweep_at = self.logs.len().saturating_mul(2);
    }

    fn forget(&mut self, now: Timestamp) {
        self.logs.retain(|_, log| {
            log.forget(now);
            !log.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LimitKind;
    use crate::limits::{Counted, Exceeded, Standing};
    use std::sync::atomic::{AtomicI64, Ordering};

    const LIMITS: Limits = Limits {
        rpm: 3,
        rph: 5,
        rpd: 6,
        concurrent: 1,
    };
    const SECOND: i64 = 1_000_000;

    #[derive(Debug, Default)]
    struct Hands(AtomicI64);

    impl Hands {
        fn show(&self, micros: i64) {
            self.0.store(micros, Ordering::SeqCst);
        }
    }

    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0.load(Ordering::SeqCst))
        }
    }

    fn org(name: &str) -> OrgId {
        OrgId::trusted(name.to_owned())
    }

    fn ask(windows: &Windows, name: &str, clock: &Hands) -> Result<Standing, Exceeded> {
        let tally = windows.count(&org(name), LIMITS, clock, &UnwrittenUsage::default());
        Counted { tally, before: 0 }.standing()
    }

    #[test]
    fn refuses_the_one_over_the_limit_and_says_when_to_return() {
        let (windows, clock) = (Windows::default(), Hands::default());
        let ask = |name| ask(&windows, name, &clock);
        for moment in [SECOND / 2, SECOND, 30 * SECOND] {
            clock.show(moment);
            ask("a").unwrap();
        }
        clock.show(31 * SECOND);
        let refused = ask("a").unwrap_err();
        assert_eq!((refused.kind, refused.limit), (LimitKind::Minute, 3));
        assert_eq!((refused.used, refused.retry_after_s), (4, 30));
        let minute = refused.standing.unwrap().minute;
        assert_eq!(
            (minute.used, minute.reset_at, minute.reset_in_s),
            (3, 61, 30)
        );
        ask("b").unwrap();
        clock.show(60 * SECOND + SECOND / 2);
        let minute = ask("a").unwrap().minute;
        assert_eq!(
            (minute.used, minute.reset_at, minute.reset_in_s),
            (3, 61, 1)
        );
    }

    #[test]
    fn a_clock_that_is_set_back_is_told_in_its_own_time() {
        let (windows, clock) = (Windows::default(), Hands::default());
        let ask = || ask(&windows, "a", &clock);
        clock.show(1_000 * SECOND);
        ask().unwrap();
        clock.show(100 * SECOND);
        let minute = ask().unwrap().minute;
        assert_eq!(
            (minute.used, minute.reset_at, minute.reset_in_s),
            (2, 160, 60)
        );
        clock.show(160 * SECOND);
        assert_eq!(ask().unwrap().minute.used, 1);
    }

    #[test]
    fn the_quiet_are_forgotten() {
        let (windows, clock) = (Windows::default(), Hands::default());
        for number in 0..FIRST_SWEEP - 1 {
            ask(&windows, &number.to_string(), &clock).unwrap();
        }
        clock.show(86_400 * SECOND);
        ask(&windows, "a", &clock).unwrap();
        assert_eq!(windows.known().logs.len(), 1);
    }
}
