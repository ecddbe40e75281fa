//! Transactions: the ledger's rows as their owner reads them, and why a job cost what it cost.

use crate::{Caller, Engine, Error, Result};
use vydra_core::catalog::Violations;
use vydra_core::ids::{EntryId, JobId};
use vydra_core::job::Job;
use vydra_core::ledger::{Entry, EntryKind, RefundRule};
use vydra_core::scope::Scope;
use vydra_store::store::{EntryFilter, EntryPage};

/// Charge, refund and whatever goodwill follows: no job has more rows than this.
const ROWS_OF_A_JOB: u32 = 1_000;

/// Which rows a list shall show.
#[derive(Debug, Clone, Default)]
pub struct TransactionQuery {
    pub kind: Option<EntryKind>,
    pub job: Option<String>,
    pub limit: u32,
    pub offset: u32,
    pub after: Option<String>,
}

/// A job, its rows of the ledger, and the rule by which its refund was decided.
#[derive(Debug, Clone)]
pub struct JobCharges {
    pub job: Job,
    pub rule: RefundRule,
    pub entries: Vec<Entry>,
}

impl Engine {
    /// The newest first, of the caller's own kind of credits.
    pub async fn transactions(
        &self,
        caller: &Caller,
        query: TransactionQuery,
    ) -> Result<EntryPage> {
        let after = match query.after.as_deref() {
            None => None,
            Some(word) => Some(EntryId::parse(word).ok_or_else(unknown_cursor)?),
        };
        let job = match query.job.as_deref().map(JobId::parse) {
            None => None,
            Some(Some(job)) => Some(job),
            // A job that cannot be has no rows.
            Some(None) => {
                return Ok(EntryPage {
                    entries: Vec::new(),
                    count: 0,
                });
            }
        };
        let filter = EntryFilter {
            kind: query.kind,
            job,
            limit: query.limit,
            offset: query.offset,
            after,
        };
        self.store()
            .transactions(&caller.organization.id, caller.mode(), filter)
            .await?
            .ok_or_else(unknown_cursor)
    }

    pub async fn job_charges(&self, caller: &Caller, id: &str) -> Result<JobCharges> {
        let job = self.visible_job(caller, id, Scope::JobsRead).await?;
        let filter = EntryFilter {
            job: Some(job.id.clone()),
            limit: ROWS_OF_A_JOB,
            ..EntryFilter::default()
        };
        let entries = self
            .store()
            .transactions(&job.org_id, job.mode, filter)
            .await?
            .map_or_else(Vec::new, |page| page.entries);
        Ok(JobCharges {
            rule: RefundRule::of(&job),
            job,
            entries,
        })
    }
}

/// A cursor of another organization is answered like one that never was.
pub(crate) fn unknown_cursor() -> Error {
    Violations::one("after", "unknown", "a nextCursor of this list").into()
}
