//! Jobs from the worker's side. Every write but the claim and the sweeps bears the lease's token.

use super::rows::{Columns, collect, first};
use super::{assets, jobs};
use crate::store::{ClaimedJob, Lease, LeaseToken, Outcome, PriorSubmission, Settlement};
use crate::{Result, StoreError};
use rusqlite::{Connection, params};
use std::time::Duration;
use vydra_core::ids::{EntryId, JobId};
use vydra_core::job::{Failure, Job, JobStatus, Mode};
use vydra_core::time::Timestamp;

pub(super) fn claim(
    db: &Connection,
    tokens: &[LeaseToken],
    only: Option<Mode>,
    now: Timestamp,
    lease: Duration,
    limit: Duration,
) -> Result<Vec<ClaimedJob>> {
    let mut claimable = db.prepare_cached(
        "SELECT id FROM (
             SELECT * FROM (SELECT id, created_at FROM jobs
                            WHERE status = 'pending' AND (?3 IS NULL OR mode = ?3) ORDER BY created_at, id LIMIT ?2)
             UNION ALL
             SELECT * FROM (SELECT id, created_at FROM jobs
                            WHERE status = 'running' AND lease_until <= ?1 AND deadline_at > ?1
                              AND (?3 IS NULL OR mode = ?3)
                            ORDER BY created_at, id LIMIT ?2))
         ORDER BY created_at, id LIMIT ?2",
    )?;
    let ids = claimable
        .query_map(
            params![now.as_micros(), rows_of(tokens), only.map(Mode::as_str)],
            |row| row.get::<_, String>(0),
        )?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    ids.into_iter()
        .zip(tokens)
        .map(|(id, token)| {
            let mut statement = db.prepare_cached(&format!(
                "UPDATE jobs SET status = 'running', attempt = attempt + 1, lease_token = ?2, lease_until = ?3,
                    started_at = coalesce(started_at, ?4), deadline_at = coalesce(deadline_at, ?5)
                 WHERE id = ?1 RETURNING {}, attempt, deadline_at, submitting, route",
                jobs::COLUMNS
            ))?;
            let row = statement.query(params![
                id,
                token.0,
                now.plus(lease).as_micros(),
                now.as_micros(),
                now.plus(limit).as_micros()
            ])?;
            first(row, |row| claimed(row, token))?.ok_or_else(|| StoreError::Corrupt(format!("job {id} is gone")))
        })
        .collect()
}

fn rows_of<T>(slots: &[T]) -> i64 {
    i64::try_from(slots.len()).unwrap_or(i64::MAX)
}

fn claimed(row: &mut Columns<'_, '_>, token: &LeaseToken) -> Result<ClaimedJob> {
    let job = jobs::read(row)?;
    let (attempt, deadline) = (row.take()?, row.time()?);
    let (submitting, route) = (row.take::<bool>()?, row.take::<Option<u32>>()?.unwrap_or(0));
    let submission = match &job.external_id {
        Some(external_id) => PriorSubmission::Task {
            route,
            external_id: external_id.clone(),
        },
        None if submitting => PriorSubmission::Unknown { route },
        None => PriorSubmission::None,
    };
    let lease = Lease {
        job: job.id.clone(),
        token: token.clone(),
    };
    Ok(ClaimedJob {
        job,
        lease,
        attempt,
        submission,
        deadline,
    })
}

/// Every write under a lease ends here: no row changed means that the lease is gone.
fn held(changed: usize) -> Result<()> {
    if changed == 1 {
        Ok(())
    } else {
        Err(StoreError::LeaseLost)
    }
}

pub(super) fn mark_submitting(
    db: &Connection,
    lease: &Lease,
    route: u32,
    provider: &str,
    until: Timestamp,
) -> Result<()> {
    held(
        db.prepare_cached(
            "UPDATE jobs SET submitting = 1, route = ?3, provider = ?4, external_id = NULL, lease_until = ?5
             WHERE id = ?1 AND lease_token = ?2",
        )?
        .execute(params![
            lease.job.as_str(),
            lease.token.0,
            route,
            provider,
            until.as_micros()
        ])?,
    )
}

pub(super) fn record_task(
    db: &Connection,
    lease: &Lease,
    external_id: &str,
    until: Timestamp,
) -> Result<()> {
    held(
        db.prepare_cached(
            "UPDATE jobs SET external_id = ?3, lease_until = ?4 WHERE id = ?1 AND lease_token = ?2",
        )?
        .execute(params![
            lease.job.as_str(),
            lease.token.0,
            external_id,
            until.as_micros()
        ])?,
    )
}

pub(super) fn report_progress(
    db: &Connection,
    lease: &Lease,
    progress: u8,
    message: Option<&str>,
    until: Timestamp,
) -> Result<()> {
    held(
        db.prepare_cached(
            "UPDATE jobs SET progress = max(progress, ?3), status_message = ?4, lease_until = ?5
             WHERE id = ?1 AND lease_token = ?2",
        )?
        .execute(params![
            lease.job.as_str(),
            lease.token.0,
            progress.min(100),
            message,
            until.as_micros()
        ])?,
    )
}

pub(super) fn hand_back(
    db: &Connection,
    lease: &Lease,
    again_at: Timestamp,
    forget_submission: bool,
) -> Result<()> {
    held(
        db.prepare_cached(
            "UPDATE jobs SET lease_token = NULL, lease_until = ?3,
                submitting = CASE WHEN ?4 THEN 0 ELSE submitting END,
                external_id = CASE WHEN ?4 THEN NULL ELSE external_id END
             WHERE id = ?1 AND lease_token = ?2",
        )?
        .execute(params![
            lease.job.as_str(),
            lease.token.0,
            again_at.as_micros(),
            forget_submission
        ])?,
    )
}

pub(super) fn settle(db: &Connection, lease: &Lease, settlement: &Settlement) -> Result<Job> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {} FROM jobs WHERE id = ?1 AND lease_token = ?2",
        jobs::COLUMNS
    ))?;
    let job = first(
        statement.query(params![lease.job.as_str(), lease.token.0])?,
        jobs::read,
    )?
    .ok_or(StoreError::LeaseLost)?;
    let (status, failure, reason) = match &settlement.outcome {
        Outcome::Completed(_) => (JobStatus::Completed, None, "fewer outputs than paid for"),
        Outcome::Failed(failure) => (JobStatus::Failed, Some(failure), failure.reason.as_str()),
    };
    let how = jobs::End {
        status,
        failure,
        refund: settlement.refund,
        reason,
        entry: &settlement.entry,
        now: settlement.now,
    };
    if !jobs::end(db, &job, how)? {
        return Err(StoreError::LeaseLost);
    }
    if let Outcome::Completed(outputs) = &settlement.outcome {
        for (place, asset) in outputs.iter().enumerate() {
            assets::insert(db, asset, place)?;
        }
    }
    ended(db, &job.org_id, &job.id)
}

fn ended(db: &Connection, org: &vydra_core::ids::OrgId, id: &JobId) -> Result<Job> {
    jobs::get(db, org, id)?.ok_or_else(|| StoreError::Corrupt(format!("job {id} is gone")))
}

pub(super) fn expire(
    db: &Connection,
    failure: &Failure,
    entries: &[EntryId],
    now: Timestamp,
) -> Result<Vec<Job>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {} FROM jobs WHERE status = 'running' AND deadline_at <= ?1 ORDER BY deadline_at LIMIT ?2",
        jobs::COLUMNS
    ))?;
    let due = collect(
        statement.query(params![now.as_micros(), rows_of(entries)])?,
        jobs::read,
    )?;
    due.into_iter()
        .zip(entries)
        .map(|(job, entry)| {
            let how = jobs::End {
                status: JobStatus::Failed,
                failure: Some(failure),
                refund: job.price,
                reason: &failure.reason,
                entry,
                now,
            };
            jobs::end(db, &job, how)?;
            ended(db, &job.org_id, &job.id)
        })
        .collect()
}

pub(super) fn release_leases(db: &Connection, now: Timestamp) -> Result<u64> {
    // A job that was handed back has no lease, and keeps the time until which it waits.
    let released = db
        .prepare_cached(
            "UPDATE jobs SET lease_token = NULL, lease_until = min(lease_until, ?1)
             WHERE status = 'running' AND lease_token IS NOT NULL",
        )?
        .execute(params![now.as_micros()])?;
    Ok(u64::try_from(released).unwrap_or(u64::MAX))
}

pub(super) fn next_due(db: &Connection) -> Result<Option<Timestamp>> {
    let due: Option<i64> = db
        .prepare_cached(
            "SELECT min(due) FROM (
                 SELECT min(lease_until) AS due FROM jobs WHERE status = 'running'
                 UNION ALL
                 SELECT min(deadline_at) FROM jobs WHERE status = 'running')",
        )?
        .query_row((), |row| row.get(0))?;
    Ok(due.map(Timestamp::from_micros))
}
