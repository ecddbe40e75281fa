//! Sliding windows of requests, to the microsecond (contract, section 4).
//!
//! A window is half-open: a request at `t` has left the minute at exactly `t` + 60 s. In no position of a window are more
//! than its limit, and whoever stays under every limit is never refused.

mod tally;

pub use tally::{Found, Tally};

use crate::plan::Limits;
use crate::time::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;

/// In the order in which a refusal names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    Minute,
    Hour,
    Day,
}

impl Window {
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    pub const fn span(self) -> Duration {
        match self {
            Self::Minute => Duration::from_mins(1),
            Self::Hour => Duration::from_hours(1),
            Self::Day => Duration::from_hours(24),
        }
    }

    pub const fn limit(self, limits: Limits) -> u32 {
        match self {
            Self::Minute => limits.rpm,
            Self::Hour => limits.rph,
            Self::Day => limits.rpd,
        }
    }

    fn end_of(self, moment: Timestamp) -> Timestamp {
        moment.plus(self.span())
    }
}

/// Time that only goes on. When the clock is set back, time goes on from where it was: nothing that was counted comes
/// into order twice, no window opens, and none stands still until the clock has caught up.
#[derive(Debug, Clone)]
pub struct SteadyTime {
    /// What the clock showed last.
    shown: i64,
    /// How far the clock was set back, in all.
    ahead: i64,
}

impl Default for SteadyTime {
    fn default() -> Self {
        Self {
            shown: i64::MIN,
            ahead: 0,
        }
    }
}

impl SteadyTime {
    /// Goes on from `latest`, the last moment of the run before, also when the clock now shows less.
    pub fn resume(latest: Timestamp, clock: Timestamp) -> Self {
        let mut time = Self {
            shown: latest.as_micros(),
            ahead: 0,
        };
        time.at(clock);
        time
    }

    pub fn at(&mut self, clock: Timestamp) -> Timestamp {
        let shown = clock.as_micros();
        self.ahead = self
            .ahead
            .saturating_add(self.shown.saturating_sub(shown).max(0));
        self.shown = shown;
        Timestamp::from_micros(shown.saturating_add(self.ahead))
    }

    /// What the clock will show at `moment`, if it is not set again.
    pub fn on_the_clock(&self, moment: Timestamp) -> Timestamp {
        Timestamp::from_micros(moment.as_micros().saturating_sub(self.ahead))
    }
}

/// Why one more request is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// The shortest of those that are full.
    pub window: Window,
    pub limit: u32,
    /// Whole seconds until every window would admit one, at least 1. A limit of zero never opens by waiting.
    pub wait_s: u32,
}

/// The moments of the requests that were admitted in the last day: 8 bytes each, and no more of them than the limit of a
/// day, so that a million a day take 8 MB, and up to twice as much while they become more. The times that it is given must not go back: [`SteadyTime`].
#[derive(Debug, Default, Clone)]
pub struct AdmissionLog {
    moments: VecDeque<Timestamp>,
    /// How many of the oldest have left the minute, and the hour.
    left: [usize; 2],
}

impl AdmissionLog {
    /// Counts one request in all windows, or in none.
    pub fn admit(&mut self, limits: Limits, now: Timestamp) -> Result<(), Full> {
        self.count(limits, 1, now, now).admit(0)
    }

    /// Counts requests that come at one moment, each in all windows or in none. `clock` is what the clock shows at `now`.
    pub fn count(
        &mut self,
        limits: Limits,
        waiting: u32,
        now: Timestamp,
        clock: Timestamp,
    ) -> Tally {
        self.forget(now);
        let windows = Window::ALL.map(|window| self.find(window, window.limit(limits)));
        let taken = Tally::room(&windows, waiting);
        self.moments.extend((0..taken).map(|_| now));
        Tally {
            now,
            clock,
            taken,
            windows,
        }
    }

    /// Lets go of what has left its window by `now`.
    pub fn forget(&mut self, now: Timestamp) {
        for (left, window) in self.left.iter_mut().zip(Window::ALL) {
            while let Some(moment) = self.moments.get(*left)
                && window.end_of(*moment) <= now
            {
                *left += 1;
            }
        }
        while let Some(moment) = self.moments.front()
            && Window::Day.end_of(*moment) <= now
        {
            self.moments.pop_front();
            for left in &mut self.left {
                *left = left.saturating_sub(1);
            }
        }
        // After a storm its room is given back.
        if self.moments.capacity() > 64 && self.moments.len() < self.moments.capacity() / 4 {
            self.moments.shrink_to(self.moments.len() * 2);
        }
    }

    /// Puts a moment back that an earlier run admitted.
    pub fn restore(&mut self, moment: Timestamp) {
        let place = self.moments.partition_point(|known| *known <= moment);
        self.moments.insert(place, moment);
        self.left = [0, 0];
    }

    /// As of the last look.
    pub fn used(&self, window: Window) -> u32 {
        u32::try_from(self.moments.len() - self.start_of(window)).unwrap_or(u32::MAX)
    }

    pub fn is_empty(&self) -> bool {
        self.moments.is_empty()
    }

    fn start_of(&self, window: Window) -> usize {
        match window {
            Window::Minute => self.left[0],
            Window::Hour => self.left[1],
            Window::Day => 0,
        }
    }

    fn find(&self, window: Window, limit: u32) -> Found {
        let used = self.used(window);
        let start = self.start_of(window);
        // When this one has left, `limit - 1` are left.
        let blocking = used
            .checked_sub(limit)
            .filter(|more| *more > 0)
            .and_then(|more| usize::try_from(more).ok())
            .and_then(|more| self.moments.get(start + more));
        Found {
            limit,
            used,
            oldest: self.moments.get(start).copied(),
            blocking: blocking.copied(),
        }
    }
}

/// Rounded up, at least 1.
pub fn whole_seconds(span: Duration) -> u32 {
    let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

/// Moments that do not go back, as bytes: the first in whole, each other by its distance in groups of 7 bits.
pub fn pack(moments: &[Timestamp]) -> Vec<u8> {
    let Some(first) = moments.first() else {
        return Vec::new();
    };
    let mut bytes = Vec::with_capacity(8 + 4 * moments.len());
    bytes.extend(first.as_micros().to_le_bytes());
    for pair in moments.windows(2) {
        let [before, moment] = pair else { continue };
        let distance = moment.as_micros().saturating_sub(before.as_micros());
        let mut rest = u64::try_from(distance).unwrap_or(0);
        while rest >= 0x80 {
            bytes.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push((rest & 0x7f) as u8);
    }
    bytes
}

/// What [`pack`] was given; None when no such thing was.
pub fn unpack(bytes: &[u8]) -> Option<Vec<Timestamp>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let (first, distances) = bytes.split_first_chunk::<8>()?;
    let mut last = i64::from_le_bytes(*first);
    let mut moments = vec![Timestamp::from_micros(last)];
    let (mut distance, mut shift) = (0_u64, 0_u32);
    for byte in distances {
        distance |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 != 0 {
            shift += 7;
            continue;
        }
        last = last.checked_add(i64::try_from(distance).ok()?)?;
        moments.push(Timestamp::from_micros(last));
        (distance, shift) = (0, 0);
    }
    (shift == 0).then_some(moments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000;
    const LIMITS: Limits = Limits {
        rpm: 3,
        rph: 5,
        rpd: 6,
        concurrent: 1,
    };

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn full(window: Window, limit: u32, wait_s: u32) -> Result<(), Full> {
        Err(Full {
            window,
            limit,
            wait_s,
        })
    }

    #[test]
    fn a_request_leaves_the_minute_to_the_microsecond() {
        let mut log = AdmissionLog::default();
        for moment in [7, 500_000, 30 * SECOND] {
            log.admit(LIMITS, at(moment)).unwrap();
        }
        let minute = |wait_s| full(Window::Minute, 3, wait_s);
        assert_eq!(log.admit(LIMITS, at(31 * SECOND)), minute(30));
        assert_eq!(log.admit(LIMITS, at(59 * SECOND + 7)), minute(1));
        assert_eq!(log.admit(LIMITS, at(60 * SECOND + 6)), minute(1));
        log.admit(LIMITS, at(60 * SECOND + 7)).unwrap();
    }

    #[test]
    fn the_shortest_full_window_is_named_and_the_longest_wait() {
        let mut log = AdmissionLog::default();
        for moment in [0, 1, 3_000, 3_001, 3_002] {
            log.admit(LIMITS, at(moment * SECOND)).unwrap();
        }
        // Minute and hour are both full.
        assert_eq!(
            log.admit(LIMITS, at(3_010 * SECOND)),
            full(Window::Minute, 3, 590)
        );
        assert_eq!(
            log.admit(LIMITS, at(3_100 * SECOND)),
            full(Window::Hour, 5, 500)
        );
        log.admit(LIMITS, at(3_600 * SECOND)).unwrap();
        assert_eq!(
            log.admit(LIMITS, at(3_700 * SECOND)),
            full(Window::Day, 6, 86_400 - 3_700)
        );
    }

    #[test]
    fn a_limit_of_zero_never_opens() {
        let none = Limits { rpm: 0, ..LIMITS };
        let mut log = AdmissionLog::default();
        assert_eq!(log.admit(none, at(0)), full(Window::Minute, 0, 60));
        log.admit(LIMITS, at(0)).unwrap();
        assert_eq!(log.admit(none, at(1)), full(Window::Minute, 0, 60));
    }

    #[test]
    fn a_smaller_plan_waits_until_enough_have_left() {
        let mut log = AdmissionLog::default();
        for moment in 0..3 {
            log.admit(LIMITS, at(moment * SECOND)).unwrap();
        }
        let smaller = Limits { rpm: 1, ..LIMITS };
        assert_eq!(
            log.admit(smaller, at(3 * SECOND)),
            full(Window::Minute, 1, 59)
        );
        assert_eq!(log.used(Window::Minute), 3);
    }

    #[test]
    fn a_clock_that_is_set_back_neither_opens_a_window_nor_stops_it() {
        let mut time = SteadyTime::default();
        assert_eq!(time.at(at(100)), at(100));
        assert_eq!(time.at(at(40)), at(100));
        assert_eq!(time.at(at(50)), at(110));
        assert_eq!(time.on_the_clock(at(110)), at(50));
        assert_eq!(time.at(at(20)), at(110));
        assert_eq!(time.at(at(120)), at(210));
        let mut later = SteadyTime::resume(at(210), at(130));
        assert_eq!(later.at(at(131)), at(211));
        let mut later = SteadyTime::resume(at(210), at(220));
        assert_eq!(later.at(at(221)), at(221));
    }

    #[test]
    fn what_is_not_packed_is_not_unpacked() {
        for wrong in [
            &[1, 2, 3][..],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0x80],
            &[0xff; 20],
            &[
                0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
            ],
        ] {
            assert_eq!(unpack(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(first in 0..i64::MAX / 2, distances in prop::collection::vec(0..i64::MAX / 1_000, 0..200)) {
            let mut moments = vec![at(first)];
            for distance in distances {
                moments.push(at(moments[moments.len() - 1].as_micros() + distance));
            }
            prop_assert_eq!(unpack(&pack(&moments)), Some(moments));
        }

        #[test]
        fn any_bytes_are_unpacked_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = unpack(&bytes);
        }
    }

    // --- Against a model that remembers everything and counts anew each time ---

    #[derive(Debug, Clone)]
    enum Step {
        Ask,
        Pass(i64),
        SetBack(i64),
        Plan(Limits),
        Restart,
    }

    fn span() -> impl Strategy<Value = i64> {
        // Ends of windows are met to the microsecond, so most spans are parts of them.
        prop_oneof![
            Just(0),
            Just(1),
            (1..7_i64).prop_map(|sixth| sixth * 10 * SECOND),
            (1..7_i64).prop_map(|sixth| sixth * 600 * SECOND),
            (1..5_i64).prop_map(|quarter| quarter * 21_600 * SECOND),
            0..100 * SECOND,
            0..10_000 * SECOND,
        ]
    }

    fn limits() -> impl Strategy<Value = Limits> {
        (0..6_u32, 0..9_u32, 0..12_u32).prop_map(|(rpm, rph, rpd)| Limits {
            rpm,
            rph,
            rpd,
            concurrent: 1,
        })
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            12 => Just(Step::Ask),
            8 => span().prop_map(Step::Pass),
            1 => span().prop_map(Step::SetBack),
            1 => limits().prop_map(Step::Plan),
            1 => Just(Step::Restart),
        ]
    }

    #[derive(Debug)]
    struct Model {
        /// The time that has truly passed, and what the clock shows.
        passed: i64,
        clock: i64,
        /// What time should count as now; behind `passed` only after a restart with a clock that was set back.
        time: i64,
        /// Each admission: in counted and in true time.
        admitted: Vec<(i64, i64)>,
        limits: Limits,
    }

    impl Model {
        fn used(&self, window: Window, time: i64) -> usize {
            let span = micros(window);
            let counts = |moment: i64| moment <= time && time - moment < span;
            self.admitted
                .iter()
                .filter(|(moment, _)| counts(*moment))
                .count()
        }

        fn full(&self, time: i64) -> Option<Window> {
            let is_full =
                |window: &Window| self.used(*window, time) >= window.limit(self.limits) as usize;
            Window::ALL.into_iter().find(is_full)
        }
    }

    fn micros(window: Window) -> i64 {
        i64::try_from(window.span().as_micros()).unwrap()
    }

    fn ask(model: &mut Model, time: &mut SteadyTime, log: &mut AdmissionLog) {
        let now = time.at(at(model.clock));
        assert_eq!(now, at(model.time));
        match (log.admit(model.limits, now), model.full(model.time)) {
            (Ok(()), None) => model.admitted.push((model.time, model.passed)),
            (Err(refused), Some(window)) => {
                assert_eq!(
                    (refused.window, refused.limit),
                    (window, window.limit(model.limits))
                );
                let Limits { rpm, rph, rpd, .. } = model.limits;
                if rpm.min(rph).min(rpd) > 0 {
                    let after = |seconds: u32| model.full(model.time + i64::from(seconds) * SECOND);
                    assert_eq!(after(refused.wait_s), None);
                    assert!(refused.wait_s == 1 || after(refused.wait_s - 1).is_some());
                }
            }
            other => panic!("{other:?}"),
        }
        for window in Window::ALL {
            assert_eq!(log.used(window) as usize, model.used(window, model.time));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn exactly_what_may_be_admitted_is(first in limits(), steps in prop::collection::vec(step(), 1..150)) {
            let start = 1_700_000_000 * SECOND;
            let mut model = Model { passed: start, clock: start, time: start, admitted: Vec::new(), limits: first };
            let (mut time, mut log) = (SteadyTime::resume(at(start), at(start)), AdmissionLog::default());
            let mut largest = first;
            for step in steps {
                match step {
                    Step::Ask => ask(&mut model, &mut time, &mut log),
                    Step::Pass(span) => {
                        model.passed += span;
                        model.clock += span;
                        model.time += span;
                        time.at(at(model.clock));
                    }
                    Step::SetBack(span) => {
                        model.clock -= span;
                        time.at(at(model.clock));
                    }
                    Step::Plan(limits) => {
                        model.limits = limits;
                        largest.rpm = largest.rpm.max(limits.rpm);
                        largest.rph = largest.rph.max(limits.rph);
                        largest.rpd = largest.rpd.max(limits.rpd);
                    }
                    Step::Restart => {
                        let moments: Vec<Timestamp> = model.admitted.iter().map(|(moment, _)| at(*moment)).collect();
                        log = AdmissionLog::default();
                        for packed in moments.chunks(3).map(pack) {
                            for moment in unpack(&packed).unwrap() {
                                log.restore(moment);
                            }
                        }
                        let last = moments.last().map_or(i64::MIN, |moment| moment.as_micros());
                        time = SteadyTime::resume(at(last), at(model.clock));
                        model.time = model.clock.max(last);
                    }
                }
            }
            // In true time, whatever the clock showed.
            for window in Window::ALL {
                let most = model
                    .admitted
                    .iter()
                    .map(|(_, from)| model.admitted.iter().filter(|(_, at)| (*from..*from + micros(window)).contains(at)).count())
                    .max();
                prop_assert!(most.unwrap_or(0) <= window.limit(largest) as usize);
            }
        }
    }
}
