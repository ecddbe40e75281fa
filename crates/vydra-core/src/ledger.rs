//! The ledger: every movement of credits is a row that is never changed (contract, section 8).

use crate::ids::{JobId, OrgId};
use crate::job::Mode;

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
    const ALL: [Self; 5] = [
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
    pub entries: u64,
    pub jobs: u64,
    pub imbalances: Vec<Imbalance>,
}
