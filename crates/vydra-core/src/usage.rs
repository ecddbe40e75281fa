//! Usage: what happened in a span of time, and what it cost.

/// How the rows of a report are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageBy {
    /// Of the calendar in UTC.
    Day,
    Model,
    /// The key that made the job.
    Key,
}

impl UsageBy {
    pub const ALL: [Self; 3] = [Self::Day, Self::Model, Self::Key];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Model => "model",
            Self::Key => "key",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.as_str() == text)
    }
}

/// Everything counts at the moment when it happened: a job where it was made, its end where it ended, credits where their
/// row was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageFigures {
    pub jobs: i64,
    pub completed: i64,
    pub failed: i64,
    pub cancelled: i64,
    pub charged: i64,
    pub refunded: i64,
}

impl UsageFigures {
    pub const fn net(self) -> i64 {
        self.charged - self.refunded
    }
}

impl std::iter::Sum for UsageFigures {
    fn sum<I: Iterator<Item = Self>>(rows: I) -> Self {
        rows.fold(Self::default(), |all, row| Self {
            jobs: all.jobs + row.jobs,
            completed: all.completed + row.completed,
            failed: all.failed + row.failed,
            cancelled: all.cancelled + row.cancelled,
            charged: all.charged + row.charged,
            refunded: all.refunded + row.refunded,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// The day, the model or the key's id; None for jobs that no key made.
    pub group: Option<String>,
    pub figures: UsageFigures,
}
