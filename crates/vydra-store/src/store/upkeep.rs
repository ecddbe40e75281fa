//! What keeps the data small, and moves it.

use crate::Result;
use async_trait::async_trait;
use vydra_core::time::Timestamp;

#[async_trait]
pub trait UpkeepStore: Send + Sync + std::fmt::Debug {
    /// Removes some of what is old, from `at` on: jobs that ended before with all that is known of them, and with the part of
    /// the ledger and of the events before them. Looks at no more than `limit` rows, and holds nobody up for longer than that
    /// takes.
    ///
    /// What goes is carried forward in the same transaction, so that balances, totals and the audit are as before. It goes in
    /// the order in which it was written: what stands behind a job that has to stay, stays. A job stays while it is open, while
    /// somebody is still to be told of its end, and while its idempotency key holds. Files stay; what only the job's own steps
    /// made, and what came after its end, is deleted with it. The last row of each table stays, so that no number is given twice.
    async fn prune(&self, old: Old, at: PruneAt, limit: u32) -> Result<PruneStep>;
    /// What [`Self::prune`] would remove if nothing changed meanwhile, from one snapshot.
    async fn prunable(&self, old: Old) -> Result<PruneCounts>;
}

/// What is old.
#[derive(Debug, Clone, Copy)]
pub struct Old {
    /// Whatever was written, and has ended, before then.
    pub before: Timestamp,
    pub now: Timestamp,
}

/// How far a prune is: behind which row of which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneAt {
    Attempts { after: i64 },
    Events { after: i64 },
    Ledger { after: i64 },
}

impl PruneAt {
    pub const START: Self = Self::Attempts { after: 0 };

    /// Where it goes on behind `last`, the last row that was looked at; None at the end.
    pub(crate) fn next(self, last: Option<i64>) -> Option<Self> {
        match (self, last) {
            (Self::Attempts { .. }, Some(after)) => Some(Self::Attempts { after }),
            (Self::Attempts { .. }, None) => Some(Self::Events { after: 0 }),
            (Self::Events { .. }, Some(after)) => Some(Self::Events { after }),
            (Self::Events { .. }, None) => Some(Self::Ledger { after: 0 }),
            (Self::Ledger { .. }, Some(after)) => Some(Self::Ledger { after }),
            (Self::Ledger { .. }, None) => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneStep {
    /// What was removed.
    pub counts: PruneCounts,
    /// Where the next one begins; None when there is nothing more that is old.
    pub next: Option<PruneAt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PruneCounts {
    pub jobs: u64,
    /// Rows of the ledger.
    pub entries: u64,
    pub events: u64,
    /// What providers were asked for the jobs.
    pub attempts: u64,
}

impl PruneCounts {
    pub fn add(&mut self, other: Self) {
        self.jobs += other.jobs;
        self.entries += other.entries;
        self.events += other.events;
        self.attempts += other.attempts;
    }
}
