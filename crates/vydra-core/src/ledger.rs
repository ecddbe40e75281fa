//! The ledger: every movement of credits is a row that is never changed (contract, section 8).

use crate::error_code::ErrorCode;
use crate::ids::{EntryId, JobId, OrgId};
use crate::job::{Job, JobStatus, Mode};
use crate::time::Timestamp;

/// Why credits moved. The words are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    Grant,
    Purchase,
    Charge,
    Refund,
    Adjustment,
}

impl EntryKind {
    pub const ALL: [Self; 5] = [
        Self::Grant,
        Self::Purchase,
        Self::Charge,
        Self::Refund,
        Self::Adjustment,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Purchase => "purchase",
            Self::Charge => "charge",
            Self::Refund => "refund",
            Self::Adjustment => "adjustment",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: EntryId,
    pub kind: EntryKind,
    /// Signed: a charge is below zero.
    pub amount: i64,
    pub balance_after: i64,
    pub job_id: Option<JobId>,
    pub reason: String,
    pub created_at: Timestamp,
}

/// Why a job's refund is what it is (contract, section 8). The words are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefundRule {
    NotEnded,
    Delivered,
    Partial,
    Failed,
    TimedOut,
    Cancelled,
}

impl RefundRule {
    pub const ALL: [Self; 6] = [
        Self::NotEnded,
        Self::Delivered,
        Self::Partial,
        Self::Failed,
        Self::TimedOut,
        Self::Cancelled,
    ];

    pub fn of(job: &Job) -> Self {
        match job.status {
            JobStatus::Pending | JobStatus::Running => Self::NotEnded,
            JobStatus::Completed if job.refunded.get() > 0 => Self::Partial,
            JobStatus::Completed => Self::Delivered,
            JobStatus::Cancelled => Self::Cancelled,
            JobStatus::Failed => {
                let timed_out = job
                    .failure
                    .as_ref()
                    .is_some_and(|failure| failure.code == ErrorCode::ProcessingTimeout);
                if timed_out {
                    Self::TimedOut
                } else {
                    Self::Failed
                }
            }
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotEnded => "not_ended",
            Self::Delivered => "delivered",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }

    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NotEnded => {
                "The job has not ended: if it does not deliver, its charge is refunded."
            }
            Self::Delivered => "Everything that was paid for was delivered: nothing is refunded.",
            Self::Partial => {
                "Fewer outputs came than were paid for: the missing part was refunded."
            }
            Self::Failed => "The job failed: all of its charge was refunded.",
            Self::TimedOut => "Processing took longer than 30 minutes: all of it was refunded.",
            Self::Cancelled => "The job was cancelled: all of its charge was refunded.",
        }
    }
}

/// What the ledger adds up to for one organization, each figure from the rows alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CreditTotals {
    pub remaining: i64,
    pub used: i64,
    pub refunded: i64,
}

/// A place where the books do not add up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imbalance {
    pub org_id: OrgId,
    pub mode: Option<Mode>,
    pub job_id: Option<JobId>,
    pub problem: String,
    pub expected: i64,
    pub found: i64,
}

/// The result of adding everything up again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audit {
    pub organizations: u64,
    /// Rows of the ledger and jobs that are there.
    pub entries: u64,
    pub jobs: u64,
    /// Those that were old and are gone: what they come to was carried forward.
    pub carried_entries: u64,
    pub carried_jobs: u64,
    pub imbalances: Vec<Imbalance>,
}
