//! Limits: requests that the store counts, and what it remembers of those that a process has counted.

use crate::Result;
use async_trait::async_trait;
use std::sync::Arc;
use vydra_core::api_key::{ApiKey, KeyHash};
use vydra_core::ids::{KeyId, OrgId};
use vydra_core::organization::Organization;
use vydra_core::plan::{Limits, Plans};
use vydra_core::time::Timestamp;
use vydra_core::window::Tally;

#[async_trait]
pub trait LimitStore: Send + Sync + std::fmt::Debug {
    /// Who counts requests, by these plans and, for organizations on any other, by `unlisted`. None where the one process that
    /// works on this database counts them by itself.
    fn request_counter(&self, plans: &Plans, unlisted: Limits) -> Option<Arc<dyn RequestCounter>>;
    /// Remembers when requests were admitted that the process has counted and what keys were used for, and forgets some of what
    /// is too old. Outlives the process, but not the machine: a loss of power may take the last of it, and nothing waits for the
    /// disk.
    ///
    /// A store that counts by itself counts these, too. It forgets by its own time, and takes a moment for its last one that lies
    /// before it.
    async fn record_usage(&self, usage: Usage) -> Result<()>;
    /// When requests were admitted, the moments of an organization in their order: all those later than `since`, and perhaps some
    /// that are not.
    async fn admissions(&self, since: Timestamp) -> Result<Vec<(OrgId, Vec<Timestamp>)>>;
}

/// Counts requests for all processes on a database together, and in its time: whatever their clocks show, no window ever holds
/// more than its limit, and nobody is refused whose windows have room.
///
/// A request that was counted is so at once for everybody, and outlives every process of ours; the end of the database's own
/// machine may take the last of it, less than a second. Where it is not known whether a request was counted, the answer is an error.
#[async_trait]
pub trait RequestCounter: Send + Sync + std::fmt::Debug {
    /// Finds the key with this mark and its organization, as they are now, and counts one request, in one step. A key that was
    /// revoked, or has expired at `now`, counts nothing.
    async fn admit_key(&self, hash: &KeyHash, now: Timestamp) -> Result<KeyAdmission>;
    /// Counts one request of somebody else in the organization. None when there is no such organization.
    async fn admit(&self, org: &OrgId) -> Result<Option<Admission>>;
}

#[derive(Debug, Clone, PartialEq)]
pub enum KeyAdmission {
    Unknown,
    Inactive(Box<ApiKey>),
    Counted {
        key: Box<ApiKey>,
        admission: Box<Admission>,
    },
}

/// A request that was counted, or refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Admission {
    pub organization: Organization,
    /// Of all requests of the organization that were counted together.
    pub tally: Tally,
    /// Behind how many of them this one came.
    pub before: u32,
}

#[derive(Debug, Clone)]
pub struct Usage {
    /// The moments of each do not go back.
    pub admissions: Vec<(OrgId, Vec<Timestamp>)>,
    pub keys: Vec<KeyUse>,
    /// Admissions up to here are in no window any more.
    pub forget: Timestamp,
}

#[derive(Debug, Clone)]
pub struct KeyUse {
    pub key: KeyId,
    /// Added to what was counted before.
    pub requests: u64,
    pub last_used_at: Timestamp,
}
