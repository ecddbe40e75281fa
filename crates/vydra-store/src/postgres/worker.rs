//! Jobs from the worker's side. Every write but the claim and the sweeps bears the lease's token.

mod claim;

use super::db::Db;
use super::lanes::{Durability, Joint};
use super::rows::{self, Columns, collect, column};
use super::{assets, jobs, news};
use crate::store::{Due, Expired, Lease, NodeId, Overdue, StepRoute};
use crate::{Result, StoreError};
use std::collections::HashSet;
use tokio_postgres::Row;
use vydra_core::asset::Asset;
use vydra_core::ids::{EntryId, JobId, OrgId};
use vydra_core::job::{JobStatus, Mode};
use vydra_core::time::Timestamp;

pub(super) use claim::{claim, is_worth_it};

/// Every write under a lease ends here: no row changed means that the lease is gone.
fn held(changed: u64) -> Result<()> {
    if changed == 1 {
        Ok(())
    } else {
        Err(StoreError::LeaseLost)
    }
}

/// What is written of a step that a worker is about to ask for, or that a provider has taken.
pub(super) struct Working {
    pub(super) lease: Lease,
    pub(super) step: StepRoute,
    /// The provider's name for it, when it has taken it.
    pub(super) external_id: Option<String>,
    pub(super) until: Timestamp,
}

impl Joint for Working {
    type Answer = ();

    const STATEMENT: &'static str = "SELECT * FROM work_on_jobs_1($1, $2, $3, $4, $5, $6, $7)";
    const DURABILITY: Durability = Durability::Disk;

    fn whose(&self) -> &str {
        self.lease.org.as_str()
    }

    fn apart_by(&self) -> Option<String> {
        Some(self.lease.job.as_str().to_owned())
    }

    fn balance(&self) -> Option<(&str, Mode)> {
        None
    }

    async fn run(db: &Db, all: &[Self]) -> Result<Vec<Result<()>>> {
        let rows = db
            .all(
                Self::STATEMENT,
                &[
                    &column(all, |one| one.lease.job.as_str()),
                    &column(all, |one| one.lease.token.0.as_str()),
                    &column(all, |one| one.step.provider.as_str()),
                    &column(all, |one| one.external_id.as_deref()),
                    &column(all, |one| i64::from(one.step.step)),
                    &column(all, |one| i64::from(one.step.route)),
                    &column(all, |one| one.until.as_micros()),
                ],
            )
            .await?;
        held_of(all, &rows)
    }
}

/// Of each whether its place is among those that were found to be held.
fn held_of<T>(all: &[T], rows: &[Row]) -> Result<Vec<Result<()>>> {
    let found: HashSet<i64> = collect(rows, Columns::take)?.into_iter().collect();
    let places = (1..).zip(all);
    Ok(places
        .map(|(place, _)| held(u64::from(found.contains(&place))))
        .collect())
}

pub(super) async fn finish_step(
    db: &Db,
    lease: &Lease,
    step: &StepRoute,
    outputs: &[Asset],
    until: Timestamp,
) -> Result<()> {
    // It extends the lease, and nothing is written without one.
    held(
        db.run(
            "UPDATE jobs SET provider = $3, external_id = NULL, lease_until = $4 WHERE id = $1 AND lease_token = $2",
            &[
                &lease.job.as_str(),
                &lease.token.0,
                &step.provider,
                &until.as_micros(),
            ],
        )
        .await?,
    )?;
    db.run(
        "INSERT INTO steps (job_id, step, provider, route, finished) VALUES ($1, $2, $3, $4, true)
         ON CONFLICT (job_id, step) DO UPDATE SET finished = true",
        &[
            &lease.job.as_str(),
            &i64::from(step.step),
            &step.provider,
            &i64::from(step.route),
        ],
    )
    .await?;
    for (place, asset) in outputs.iter().enumerate() {
        assets::insert(db, asset, Some(step.step), place).await?;
    }
    Ok(())
}

/// Of a job that runs.
pub(super) struct SignOfLife {
    pub(super) lease: Lease,
    pub(super) progress: u8,
    pub(super) message: Option<String>,
    pub(super) until: Timestamp,
}

impl Joint for SignOfLife {
    type Answer = ();

    const STATEMENT: &'static str = "SELECT * FROM report_progress_1($1, $2, $3, $4, $5)";
    const DURABILITY: Durability = Durability::Process;

    fn whose(&self) -> &str {
        self.lease.org.as_str()
    }

    fn apart_by(&self) -> Option<String> {
        Some(self.lease.job.as_str().to_owned())
    }

    fn balance(&self) -> Option<(&str, Mode)> {
        None
    }

    async fn run(db: &Db, all: &[Self]) -> Result<Vec<Result<()>>> {
        let rows = db
            .all(
                Self::STATEMENT,
                &[
                    &column(all, |one| one.lease.job.as_str()),
                    &column(all, |one| one.lease.token.0.as_str()),
                    &column(all, |one| i64::from(one.progress.min(100))),
                    &column(all, |one| one.message.as_deref().map(jobs::storable)),
                    &column(all, |one| one.until.as_micros()),
                ],
            )
            .await?;
        held_of(all, &rows)
    }
}

pub(super) async fn hand_back(
    db: &Db,
    lease: &Lease,
    again_at: Timestamp,
    forget: &[u32],
) -> Result<()> {
    held(
        db.run(
            "UPDATE jobs SET lease_token = NULL, lease_until = $3,
                external_id = CASE WHEN $4::boolean THEN NULL ELSE external_id END
             WHERE id = $1 AND lease_token = $2",
            &[
                &lease.job.as_str(),
                &lease.token.0,
                &again_at.as_micros(),
                &!forget.is_empty(),
            ],
        )
        .await?,
    )?;
    forget_steps(db, lease, forget).await
}

async fn forget_steps(db: &Db, lease: &Lease, steps: &[u32]) -> Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let steps: Vec<i64> = steps.iter().copied().map(i64::from).collect();
    db.run(
        "DELETE FROM steps WHERE job_id = $1 AND step = ANY ($2) AND NOT finished",
        &[&lease.job.as_str(), &steps],
    )
    .await?;
    Ok(())
}

pub(super) async fn postpone(
    db: &Db,
    lease: &Lease,
    again_at: Timestamp,
    deadline: Timestamp,
    forget: &[u32],
) -> Result<()> {
    held(
        db.run(
            "UPDATE jobs SET lease_token = NULL, lease_until = $3, attempt = greatest(attempt - 1, 0),
                deadline_at = greatest(deadline_at, $4)
             WHERE id = $1 AND lease_token = $2",
            &[
                &lease.job.as_str(),
                &lease.token.0,
                &again_at.as_micros(),
                &deadline.as_micros(),
            ],
        )
        .await?,
    )?;
    forget_steps(db, lease, forget).await
}

pub(super) async fn expire(
    db: &Db,
    overdue: &Overdue,
    entries: &[EntryId],
    now: Timestamp,
) -> Result<Expired> {
    let most = i64::try_from(entries.len()).unwrap_or(i64::MAX);
    let due = db
        .all(
            "SELECT id, org_id, mode, status = 'pending' FROM jobs
             WHERE status IN ('pending', 'running') AND deadline_at <= $1 ORDER BY deadline_at LIMIT $2",
            &[&now.as_micros(), &most],
        )
        .await?;
    let due = collect(&due, |row| {
        let job = JobId::trusted(row.take()?);
        let org = OrgId::trusted(row.take()?);
        Ok((job, org, row.word(Mode::parse)?, row.take::<bool>()?))
    })?;
    if due.is_empty() {
        return Ok(Expired::default());
    }
    let still_due = still_due(db, &due, now).await?;
    let due = due
        .into_iter()
        .filter(|(job, ..)| still_due.contains(job.as_str()));
    let ends = due.zip(entries).map(|((job, org, mode, waited), entry)| {
        let failure = if waited {
            &overdue.waiting
        } else {
            &overdue.processing
        };
        jobs::End {
            job,
            org,
            mode,
            token: None,
            status: JobStatus::Failed,
            failure: Some(failure.clone()),
            refund: None,
            reason: failure.reason.clone(),
            provider: None,
            outputs: Vec::new(),
            entry: entry.clone(),
            now,
        }
    });
    let ends: Vec<jobs::End> = ends.collect();
    let ended = jobs::End::all(db, &ends).await?;
    let mut expired = Expired::default();
    for (end, _) in ends.iter().zip(ended).filter(|(_, ended)| *ended) {
        expired.count += 1;
        match jobs::get(db, &end.org, &end.job).await {
            Ok(ended) => expired.jobs.extend(ended),
            // Any other error has undone the transaction.
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::error!(job.id = %end.job, error = &error as &dyn std::error::Error, "a job cannot be read");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(expired)
}

/// Locks what is to be ended, the balances first. Whoever holds a job is ending it, or has given it more time.
async fn still_due(
    db: &Db,
    due: &[(JobId, OrgId, Mode, bool)],
    now: Timestamp,
) -> Result<HashSet<String>> {
    let orgs = column(due, |(_, org, ..)| org.as_str());
    let modes = column(due, |(_, _, mode, _)| mode.as_str());
    db.one("SELECT lock_balances_1($1, $2)", &[&orgs, &modes])
        .await?;
    let jobs = column(due, |(job, ..)| job.as_str());
    let rows = db
        .all(
            "SELECT id FROM jobs WHERE id = ANY ($1) AND status IN ('pending', 'running') AND deadline_at <= $2
             ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
            &[&jobs, &now.as_micros()],
        )
        .await?;
    Ok(collect(&rows, Columns::take)?.into_iter().collect())
}

pub(super) async fn keep_late(db: &Db, job: &JobId, outputs: &[Asset]) -> Result<bool> {
    let row = db
        .first(
            "SELECT completed_at IS NOT NULL FROM jobs WHERE id = $1",
            &[&job.as_str()],
        )
        .await?;
    let ended = rows::read(row.as_ref(), Columns::take)?.unwrap_or(false);
    if ended {
        for (place, asset) in outputs.iter().enumerate() {
            assets::insert(db, asset, None, place).await?;
        }
    }
    Ok(ended)
}

pub(super) async fn late_jobs(db: &Db) -> Result<u64> {
    let row = db
        .one(
            "SELECT count(DISTINCT job_id) FROM assets WHERE role = 'late'",
            &[],
        )
        .await?;
    Columns::of(&row).number()
}

/// A job that was handed back has no lease, and keeps the time until which it waits.
const RELEASE: &str = "UPDATE jobs SET lease_token = NULL, lease_until = least(lease_until, $1)
     WHERE status = 'running' AND lease_token IS NOT NULL";

pub(super) async fn release_leases(db: &Db, node: Option<NodeId>, now: Timestamp) -> Result<u64> {
    let sql = format!("{RELEASE} AND NOT EXISTS ({})", news::others("$2"));
    db.run(&sql, &[&now.as_micros(), &node.map(|node| node.0)])
        .await
}

pub(super) async fn release_leases_of(db: &Db, node: NodeId, now: Timestamp) -> Result<u64> {
    let sql = format!("{RELEASE} AND starts_with(lease_token, $2 || '-')");
    db.run(&sql, &[&now.as_micros(), &node.to_string()]).await
}

pub(super) async fn next_due(db: &Db) -> Result<Due> {
    // Two look-ups at the beginning of an index each.
    let row = db
        .one(
            "SELECT (SELECT min(lease_until) FROM jobs WHERE status = 'running'),
                 (SELECT min(deadline_at) FROM jobs WHERE status IN ('pending', 'running'))",
            &[],
        )
        .await?;
    let mut row = Columns::of(&row);
    Ok(Due {
        lease: row.time_if_any()?,
        deadline: row.time_if_any()?,
    })
}
