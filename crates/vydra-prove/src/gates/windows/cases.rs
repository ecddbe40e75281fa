//! For whom requests are counted, and at which pace.

use super::clock::{DAY, HOUR, MINUTE, SECOND};
use super::counter::Counter;
use vydra_core::time::Timestamp;
use vydra_core::window::Window;

/// In which what was admitted before leaves its window: longer than it is asked for, and so that a machine with much else to do asks
/// for more than that.
const SLIDE: i64 = 32 * SECOND;
/// No limit that is reached.
const MANY: u32 = 10_000_000;
const ALL_OF_IT: (u32, u32) = (MANY, MANY);

/// A new database, and all that is asked of it.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) name: &'static str,
    pub(super) counter: Counter,
    /// How fast its time goes.
    pub(super) factor: i64,
    pub(super) cases: &'static [Case],
}

/// An organization.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    /// For the minute, the hour and the day: the smallest while it is asked for, and the largest.
    pub(super) limits: [(u32, u32); 3],
    /// What was admitted before: how many, from how long ago, over how long.
    before: &'static [(u32, i64, i64)],
    /// Those that must be full at some moment, or nothing was shown.
    pub(super) full: &'static [Window],
}

/// Windows of every length slide by true time where enough was admitted before. For whole hours and days to pass, those of a
/// database are made to.
pub(super) const COURSES: [Course; 5] = [
    Course {
        name: "Postgres by true time",
        counter: Counter::Postgres,
        factor: 1,
        cases: &SLIDING,
    },
    Course {
        name: "Redis by true time",
        counter: Counter::Redis,
        factor: 1,
        cases: &SLIDING,
    },
    Course {
        name: "Postgres, a minute a second",
        counter: Counter::Postgres,
        factor: 60,
        cases: &MINUTES,
    },
    Course {
        name: "Postgres, an hour a second",
        counter: Counter::Postgres,
        factor: 3_600,
        cases: &HOURS,
    },
    Course {
        name: "Postgres, ten hours a second",
        counter: Counter::Postgres,
        factor: 36_000,
        cases: &DAYS,
    },
];

/// At each end of a window something leaves all the time.
const SLIDING: [Case; 8] = [
    Case {
        name: "a minute",
        limits: [(300, 300), ALL_OF_IT, ALL_OF_IT],
        before: &[(300, MINUTE, MINUTE)],
        full: &[Window::Minute],
    },
    Case {
        name: "an hour",
        limits: [ALL_OF_IT, (400, 400), ALL_OF_IT],
        before: &[(400, HOUR, SLIDE)],
        full: &[Window::Hour],
    },
    Case {
        name: "a day, and what left it before",
        limits: [ALL_OF_IT, ALL_OF_IT, (500, 500)],
        before: &[(300, DAY + MINUTE, MINUTE), (500, DAY, SLIDE)],
        full: &[Window::Day],
    },
    Case {
        name: "all at once",
        limits: [(60, 60), (160, 160), (260, 260)],
        before: &[
            (100, DAY, SLIDE),
            (100, HOUR, SLIDE),
            (60, MINUTE, SLIDE / 2),
        ],
        // The minute has room first.
        full: &[Window::Hour, Window::Day],
    },
    Case {
        name: "a plan from its beginning",
        limits: [(10, 10), (100, 100), (500, 500)],
        before: &[],
        full: &[Window::Minute],
    },
    Case {
        name: "a plan that changes",
        limits: [(40, 120), ALL_OF_IT, ALL_OF_IT],
        before: &[(100, MINUTE, SLIDE)],
        full: &[Window::Minute],
    },
    Case {
        name: "one",
        limits: [(1, 1), ALL_OF_IT, ALL_OF_IT],
        before: &[(1, MINUTE - 3 * SECOND, 0)],
        full: &[Window::Minute],
    },
    Case {
        name: "none",
        limits: [(0, 0), ALL_OF_IT, ALL_OF_IT],
        before: &[],
        full: &[],
    },
];

const MINUTES: [Case; 4] = [
    Case {
        name: "minutes",
        limits: [(40, 40), ALL_OF_IT, ALL_OF_IT],
        before: &[],
        full: &[Window::Minute],
    },
    Case {
        name: "one a minute",
        limits: [(1, 1), ALL_OF_IT, ALL_OF_IT],
        before: &[],
        full: &[Window::Minute],
    },
    Case {
        name: "a minute and its hour",
        limits: [(20, 20), (45, 45), ALL_OF_IT],
        before: &[],
        full: &[Window::Minute, Window::Hour],
    },
    Case {
        name: "a minute that changes",
        limits: [(10, 40), ALL_OF_IT, ALL_OF_IT],
        before: &[],
        full: &[Window::Minute],
    },
];

const HOURS: [Case; 4] = [
    Case {
        name: "hours",
        limits: [ALL_OF_IT, (40, 40), ALL_OF_IT],
        before: &[],
        full: &[Window::Hour],
    },
    Case {
        name: "one an hour",
        limits: [ALL_OF_IT, (1, 1), ALL_OF_IT],
        before: &[],
        full: &[Window::Hour],
    },
    Case {
        name: "an hour and its day",
        limits: [ALL_OF_IT, (20, 20), (45, 45)],
        before: &[],
        full: &[Window::Hour, Window::Day],
    },
    Case {
        name: "an hour that changes",
        limits: [ALL_OF_IT, (10, 40), ALL_OF_IT],
        before: &[],
        full: &[Window::Hour],
    },
];

const DAYS: [Case; 4] = [
    Case {
        name: "days",
        limits: [ALL_OF_IT, ALL_OF_IT, (60, 60)],
        before: &[],
        full: &[Window::Day],
    },
    Case {
        name: "one a day",
        limits: [ALL_OF_IT, ALL_OF_IT, (1, 1)],
        before: &[],
        full: &[Window::Day],
    },
    Case {
        name: "a day with its hours and minutes",
        limits: [(5, 5), (20, 20), (40, 40)],
        before: &[],
        full: &[Window::Day],
    },
    Case {
        name: "a day that changes",
        limits: [ALL_OF_IT, ALL_OF_IT, (10, 40)],
        before: &[],
        full: &[Window::Day],
    },
];

impl Case {
    /// Nothing was admitted before, and the minute must be full once.
    #[cfg(test)]
    pub(super) const fn of_limits([minute, hour, day]: [u32; 3]) -> Self {
        Self {
            name: "a test",
            limits: [(minute, minute), (hour, hour), (day, day)],
            before: &[],
            full: &[Window::Minute],
        }
    }

    /// Of what was admitted before, in their order.
    pub(super) fn moments(&self, began: Timestamp) -> Vec<Timestamp> {
        let all = self.before.iter().flat_map(|(count, ago, over)| {
            let (first, count) = (began.as_micros() - ago, i64::from(*count));
            (0..count).map(move |number| first + number * over / count)
        });
        all.map(Timestamp::from_micros).collect()
    }

    pub(super) fn changes(&self) -> bool {
        self.limits.iter().any(|(least, most)| least < most)
    }
}
