//! Jobs from the worker's side. Every write but the claim and the sweeps bears the lease's token.

mod claim;

use super::db::Db;
use super::jobs::Purse;
use super::rows::{self, Columns, collect};
use super::{assets, credits, jobs, news};
use crate::store::{Due, Expired, Lease, NodeId, Outcome, Overdue, Settlement, StepRoute};
use crate::{Result, StoreError};
use vydra_core::asset::Asset;
use vydra_core::ids::{EntryId, JobId};
use vydra_core::job::JobStatus;
use vydra_core::time::Timestamp;

pub(super) use claim::{at_once, begin, claim};

/// Every write under a lease ends here: no row changed means that the lease is gone.
fn held(changed: u64) -> Result<()> {
    if changed == 1 {
        Ok(())
    } else {
        Err(StoreError::LeaseLost)
    }
}

/// The first statement of every write about a step: it extends the lease, and nothing is written without one.
async fn working(
    db: &Db,
    lease: &Lease,
    step: &StepRoute,
    external_id: Option<&str>,
    until: Timestamp,
) -> Result<()> {
    held(
        db.run(
            "UPDATE jobs SET provider = $3, external_id = $4, lease_until = $5 WHERE id = $1 AND lease_token = $2",
            &[
                &lease.job.as_str(),
                &lease.token.0,
                &step.provider,
                &external_id,
                &until.as_micros(),
            ],
        )
        .await?,
    )
}

pub(super) async fn mark_submitting(
    db: &Db,
    lease: &Lease,
    step: &StepRoute,
    until: Timestamp,
) -> Result<()> {
    working(db, lease, step, None, until).await?;
    write_step(db, lease, step, None).await
}

pub(super) async fn record_task(
    db: &Db,
    lease: &Lease,
    step: &StepRoute,
    external_id: &str,
    until: Timestamp,
) -> Result<()> {
    working(db, lease, step, Some(external_id), until).await?;
    write_step(db, lease, step, Some(external_id)).await
}

/// A provider that may be asked twice leaves no mark before its task; and the old name belongs to the old route.
async fn write_step(
    db: &Db,
    lease: &Lease,
    step: &StepRoute,
    external_id: Option<&str>,
) -> Result<()> {
    db.run(
        "INSERT INTO steps (job_id, step, provider, route, external_id) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (job_id, step) DO UPDATE SET provider = $3, route = $4, external_id = $5",
        &[
            &lease.job.as_str(),
            &i64::from(step.step),
            &step.provider,
            &i64::from(step.route),
            &external_id,
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn finish_step(
    db: &Db,
    lease: &Lease,
    step: &StepRoute,
    outputs: &[Asset],
    until: Timestamp,
) -> Result<()> {
    working(db, lease, step, None, until).await?;
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

pub(super) async fn report_progress(
    db: &Db,
    lease: &Lease,
    progress: u8,
    message: Option<&str>,
    until: Timestamp,
) -> Result<()> {
    held(
        db.run(
            "UPDATE jobs SET progress = greatest(progress, $3), status_message = $4, lease_until = $5
             WHERE id = $1 AND lease_token = $2",
            &[
                &lease.job.as_str(),
                &lease.token.0,
                &i64::from(progress.min(100)),
                &message.map(jobs::storable),
                &until.as_micros(),
            ],
        )
        .await?,
    )
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

pub(super) async fn settle(db: &Db, lease: &Lease, settlement: &Settlement) -> Result<()> {
    let purse = async |locked: &str| {
        let sql = format!(
            "SELECT {} FROM jobs WHERE id = $1 AND lease_token = $2 {locked}",
            Purse::COLUMNS
        );
        let row = db
            .first(&sql, &[&lease.job.as_str(), &lease.token.0])
            .await?;
        rows::read(row.as_ref(), Purse::read)?.ok_or(StoreError::LeaseLost)
    };
    let job = purse("").await?;
    credits::lock(db, &job.org, job.mode).await?;
    let job = purse("FOR NO KEY UPDATE").await?;
    let (status, failure, refund, reason) = match &settlement.outcome {
        Outcome::Completed { refund, .. } => (
            JobStatus::Completed,
            None,
            *refund,
            "fewer outputs than paid for",
        ),
        Outcome::Failed(failure) => (
            JobStatus::Failed,
            Some(failure),
            job.price,
            failure.reason.as_str(),
        ),
    };
    let how = jobs::End {
        status,
        failure,
        refund,
        reason,
        provider: settlement.provider.as_deref(),
        entry: &settlement.entry,
        now: settlement.now,
    };
    if !jobs::end(db, &job, how).await? {
        return Err(StoreError::LeaseLost);
    }
    if let Outcome::Completed { outputs, .. } = &settlement.outcome {
        for (place, asset) in outputs.iter().enumerate() {
            assets::insert(db, asset, None, place).await?;
        }
    }
    Ok(())
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
            &format!(
                "SELECT {}, status = 'pending' FROM jobs
                 WHERE status IN ('pending', 'running') AND deadline_at <= $1 ORDER BY deadline_at LIMIT $2",
                Purse::COLUMNS
            ),
            &[&now.as_micros(), &most],
        )
        .await?;
    let mut due = collect(&due, |row| Ok((Purse::read(row)?, row.take::<bool>()?)))?;
    // Balances are locked in one order, so that two that do this at once never wait for each other.
    due.sort_by(|(one, _), (other, _)| {
        let place = |job: &Purse| (job.org.as_str().to_owned(), job.mode.as_str());
        place(one).cmp(&place(other))
    });
    let mut expired = Expired::default();
    for ((job, waited), entry) in due.into_iter().zip(entries) {
        let failure = if waited {
            &overdue.waiting
        } else {
            &overdue.processing
        };
        let how = jobs::End {
            status: JobStatus::Failed,
            failure: Some(failure),
            refund: job.price,
            reason: &failure.reason,
            provider: None,
            entry,
            now,
        };
        credits::lock(db, &job.org, job.mode).await?;
        // Whoever holds it is ending it, or has given it more time.
        let is_due = db
            .first(
                "SELECT 1 FROM jobs WHERE id = $1 AND status IN ('pending', 'running') AND deadline_at <= $2
                 FOR NO KEY UPDATE SKIP LOCKED",
                &[&job.job.as_str(), &now.as_micros()],
            )
            .await?;
        if is_due.is_none() || !jobs::end(db, &job, how).await? {
            continue;
        }
        expired.count += 1;
        match jobs::get(db, &job.org, &job.job).await {
            Ok(ended) => expired.jobs.extend(ended),
            // Any other error has undone the transaction.
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::error!(job.id = %job.job, error = &error as &dyn std::error::Error, "a job cannot be read");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(expired)
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
