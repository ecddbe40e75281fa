//! The ends of jobs, of as many as wait at once.

use crate::postgres::assets;
use crate::postgres::db::Db;
use crate::postgres::jobs::{Payers, storable};
use crate::postgres::lanes::{Durability, Joint};
use crate::postgres::rows::{Columns, collect, column};
use crate::store::{Lease, LeaseToken, Outcome, Settlement};
use crate::{Result, StoreError};
use std::collections::HashSet;
use vydra_core::asset::Asset;
use vydra_core::credits::Credits;
use vydra_core::ids::{EntryId, EventId, JobId, OrgId};
use vydra_core::job::{Failure, JobStatus, Mode};
use vydra_core::time::Timestamp;
use vydra_core::webhook::EventType;

/// How a job ends. What stands in its row is not asked for, so that one that cannot be read is ended too.
pub(in crate::postgres) struct End {
    pub(in crate::postgres) job: JobId,
    pub(in crate::postgres) org: OrgId,
    pub(in crate::postgres) mode: Mode,
    /// Under which it must be held; None when that does not matter.
    pub(in crate::postgres) token: Option<LeaseToken>,
    pub(in crate::postgres) status: JobStatus,
    pub(in crate::postgres) failure: Option<Failure>,
    /// None for the whole price.
    pub(in crate::postgres) refund: Option<Credits>,
    pub(in crate::postgres) reason: String,
    /// Who made it; None leaves what is known.
    pub(in crate::postgres) provider: Option<String>,
    pub(in crate::postgres) outputs: Vec<Asset>,
    pub(in crate::postgres) entry: EntryId,
    pub(in crate::postgres) now: Timestamp,
}

impl End {
    pub(in crate::postgres) fn of(lease: &Lease, settlement: Settlement) -> Self {
        let (status, failure, refund, reason, outputs) = match settlement.outcome {
            Outcome::Completed { outputs, refund } => {
                let reason = "fewer outputs than paid for".to_owned();
                (JobStatus::Completed, None, Some(refund), reason, outputs)
            }
            Outcome::Failed(failure) => {
                let reason = failure.reason.clone();
                (JobStatus::Failed, Some(failure), None, reason, Vec::new())
            }
        };
        Self {
            job: lease.job.clone(),
            org: lease.org.clone(),
            mode: lease.mode,
            token: Some(lease.token.clone()),
            status,
            failure,
            refund,
            reason,
            provider: settlement.provider,
            outputs,
            entry: settlement.entry,
            now: settlement.now,
        }
    }

    /// Ends those that have not ended and that are held as they must be. Says of each whether it has.
    pub(in crate::postgres) async fn all(db: &Db, all: &[Self]) -> Result<Vec<bool>> {
        let payers = Payers::of(all.iter().map(|end| (end.org.as_str(), end.mode)));
        let kinds: Option<Vec<&str>> = all
            .iter()
            .map(|end| EventType::of(end.status).map(EventType::as_str))
            .collect();
        let kinds = kinds.ok_or_else(|| StoreError::Corrupt("an end that is none".to_owned()))?;
        let events = column(all, |end| EventId::of(&end.job));
        let outputs = (1_i64..).zip(all);
        let outputs = outputs.flat_map(|(place, end)| {
            let outputs = end.outputs.iter().enumerate();
            outputs.map(move |(number, asset)| (place, number, asset))
        });
        let failed = |of: fn(&Failure) -> &str| {
            column(all, move |end| {
                end.failure.as_ref().map(|failure| storable(of(failure)))
            })
        };
        let rows = db
            .all(
                <Self as Joint>::STATEMENT,
                &[
                    &payers.orgs,
                    &payers.modes,
                    &payers.of,
                    &column(all, |end| end.job.as_str()),
                    &column(all, |end| end.token.as_ref().map(|token| token.0.as_str())),
                    &column(all, |end| end.status.as_str()),
                    &column(all, |end| end.refund.map(Credits::get)),
                    &failed(|failure| failure.code.as_str()),
                    &failed(|failure| &failure.message),
                    &failed(|failure| &failure.reason),
                    &column(all, |end| {
                        end.failure.as_ref().map(|failure| failure.retryable)
                    }),
                    &column(all, |end| end.provider.as_deref()),
                    &column(all, |end| end.entry.as_str()),
                    &column(all, |end| storable(&end.reason)),
                    &column(&events, EventId::as_str),
                    &kinds,
                    &column(all, |end| end.now.as_micros()),
                    &assets::outputs(outputs)?,
                ],
            )
            .await?;
        let ended: HashSet<i64> = collect(&rows, Columns::take)?.into_iter().collect();
        Ok((1..)
            .zip(all)
            .map(|(place, _)| ended.contains(&place))
            .collect())
    }
}

/// Under its lease.
impl Joint for End {
    type Answer = ();

    const STATEMENT: &'static str =
        "SELECT * FROM end_jobs_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
         $15, $16, $17, $18)";
    const DURABILITY: Durability = Durability::Disk;

    fn whose(&self) -> &str {
        self.org.as_str()
    }

    fn apart_by(&self) -> Option<String> {
        Some(self.job.as_str().to_owned())
    }

    fn balance(&self) -> Option<(&str, Mode)> {
        Some((self.org.as_str(), self.mode))
    }

    async fn run(db: &Db, all: &[Self]) -> Result<Vec<Result<()>>> {
        let ended = Self::all(db, all).await?.into_iter();
        Ok(ended
            .map(|ended| ended.then_some(()).ok_or(StoreError::LeaseLost))
            .collect())
    }
}
