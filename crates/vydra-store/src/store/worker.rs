//! What a worker asks of the store, and what it is told.

use super::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;
use vydra_core::asset::Asset;
use vydra_core::credits::Credits;
use vydra_core::ids::{EntryId, JobId, OrgId};
use vydra_core::job::{Failure, Job, Mode};
use vydra_core::time::Timestamp;

/// A random word that only one worker knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseToken(pub String);

impl LeaseToken {
    /// The node stands in front, so that the others know whose it was.
    pub fn of(node: NodeId, secret: &str, number: u64) -> Self {
        Self(format!("{node}-{secret}-{number}"))
    }
}

/// The right to write to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Whose job it is.
    pub org: OrgId,
    pub mode: Mode,
    pub job: JobId,
    pub token: LeaseToken,
}

/// The lease under which a job begins in the transaction that takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub token: LeaseToken,
    pub lease: Duration,
    /// How long it may be processed.
    pub limit: Duration,
}

/// What a worker asks for.
#[derive(Debug, Clone)]
pub struct Claim {
    pub mode: Mode,
    /// One for each job that may be taken.
    pub tokens: Vec<LeaseToken>,
    /// How many places are free, at least as many.
    pub free: usize,
    /// How many places organizations hold already.
    pub held: Vec<(OrgId, u32)>,
    pub share: Share,
    pub now: Timestamp,
    pub lease: Duration,
    /// How long a job may be processed.
    pub limit: Duration,
}

/// An organization may take another place while it holds fewer than this many times the places that are free: it never has
/// all of them, so that whoever comes next need not wait for the slow jobs of others (a dynamic threshold, as switches share
/// their buffers).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(pub u32);

impl Share {
    /// Whether an organization that holds so many places may take one of those that are free.
    pub fn allows(self, held: u32, free: usize) -> bool {
        let free = u32::try_from(free).unwrap_or(u32::MAX);
        held < free.saturating_mul(self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Claimed {
    pub jobs: Vec<ClaimedJob>,
    /// Taken too, and to be failed: their rows cannot be read, which must not keep the others from running.
    pub unreadable: Vec<Lease>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedJob {
    pub job: Job,
    pub lease: Lease,
    /// 1 at the first.
    pub attempt: u32,
    /// What earlier attempts left behind, by step. A step that is not here was not begun.
    pub steps: BTreeMap<u32, PriorStep>,
    pub deadline: Timestamp,
}

/// Which step, and who is asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRoute {
    /// 0 is the first, and the only one of a job that is a single call.
    pub step: u32,
    pub route: u32,
    pub provider: String,
}

/// How far an earlier attempt came with a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PriorStep {
    /// It was about to ask, or asked: whether anything was bought is unknown.
    Unknown { provider: String, route: u32 },
    /// The provider has it under this name.
    Task {
        provider: String,
        route: u32,
        external_id: String,
    },
    /// It is done, and this is what it made.
    Finished { outputs: Vec<Asset> },
}

/// How jobs fail whose time is over.
#[derive(Debug, Clone)]
pub struct Overdue {
    /// Not begun in time.
    pub waiting: Failure,
    /// Begun, and not ended in time.
    pub processing: Failure,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Expired {
    /// How many were ended.
    pub count: usize,
    /// Those of them that can be read.
    pub jobs: Vec<Job>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Due {
    /// The next lease to expire, or job to be tried again.
    pub lease: Option<Timestamp>,
    /// The next job whose time is over.
    pub deadline: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct Settlement {
    pub outcome: Outcome,
    /// Who made it, if anybody did.
    pub provider: Option<String>,
    pub entry: EntryId,
    pub now: Timestamp,
}

#[derive(Debug, Clone)]
pub enum Outcome {
    Completed {
        outputs: Vec<Asset>,
        /// For what was paid and did not come; zero for a whole delivery.
        refund: Credits,
    },
    /// All of the price goes back.
    Failed(Failure),
}
