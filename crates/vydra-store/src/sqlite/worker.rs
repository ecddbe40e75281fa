//! Jobs from the worker's side. Every write but the claim and the sweeps bears the lease's token.

use super::callers::Moved;
use super::jobs::Purse;
use super::rows::{Columns, collect, first};
use super::{assets, jobs};
use crate::document::to_json;
use crate::store::{
    Claim, Claimed, ClaimedJob, Due, Expired, Lease, LeaseToken, NodeId, Outcome, Overdue,
    PriorStep, Settlement, StepRoute,
};
use crate::{Result, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, HashMap, HashSet};
use vydra_core::asset::Asset;
use vydra_core::ids::{EntryId, JobId, OrgId};
use vydra_core::job::{JobStatus, Mode};
use vydra_core::time::Timestamp;

pub(super) fn claim(db: &Connection, claim: &Claim) -> Result<Claimed> {
    let mut claimed = Claimed::default();
    let mut begun: Option<i64> = None;
    for (place, candidate) in candidates(db, claim)?.iter().enumerate() {
        let token = &claim.tokens[place];
        take(db, claim, candidate, token, &mut claimed)?;
        begun = begun.max(candidate.turn);
    }
    if let Some(turn) = begun {
        begin(db, claim.mode, turn)?;
    }
    Ok(claimed)
}

/// Whoever was idle joins the queue at the highest turn that was begun.
pub(super) fn begin(db: &Connection, mode: Mode, turn: i64) -> Result<()> {
    db.prepare_cached("UPDATE turns SET turn = ?2 WHERE mode = ?1 AND turn < ?2")?
        .execute(params![mode.as_str(), turn])?;
    Ok(())
}

/// Whether nobody waits for a place, so that a new job passes nobody over.
pub(super) fn at_once(db: &Connection, mode: Mode, now: Timestamp) -> Result<bool> {
    let waits: bool = db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM jobs WHERE status = 'pending' AND mode = ?1)
                 OR EXISTS (SELECT 1 FROM jobs WHERE status = 'running' AND lease_until <= ?2 AND mode = ?1)",
        )?
        .query_row(params![mode.as_str(), now.as_micros()], |row| row.get(0))?;
    Ok(!waits)
}

/// A job that may be taken.
struct Candidate {
    id: String,
    org: String,
    /// Of a job that waits; None for one whose turn has been.
    turn: Option<i64>,
}

/// How many jobs of organizations that hold their share are passed over one by one. Behind them there may be as many
/// thousands as somebody has queued, and nobody else's.
const PASSED_OVER: usize = 64;

/// As many as there are tokens. They are read to the end before any of them is changed: a statement must not run over an
/// index that is written to.
fn candidates(db: &Connection, claim: &Claim) -> Result<Vec<Candidate>> {
    let mut choice = Choice {
        claim,
        found: Vec::with_capacity(claim.tokens.len()),
        held: claim
            .held
            .iter()
            .map(|(org, places)| (org.as_str().to_owned(), *places))
            .collect(),
        full: HashSet::new(),
    };
    let (mode, now) = (claim.mode.as_str(), claim.now.as_micros());
    let mut again = db.prepare_cached(
        "SELECT id, org_id, NULL FROM jobs
         WHERE status = 'running' AND mode = ?1 AND lease_until <= ?2 AND deadline_at > ?2 ORDER BY turn, id",
    )?;
    choice.choose(again.query(params![mode, now])?, usize::MAX)?;
    let mut waiting = db.prepare_cached(
        "SELECT id, org_id, turn FROM jobs
         WHERE status = 'pending' AND mode = ?1 AND deadline_at > ?2 ORDER BY turn, id",
    )?;
    if choice.choose(waiting.query(params![mode, now])?, PASSED_OVER)? {
        return Ok(choice.found);
    }
    // To look through all of a long queue takes a millisecond or more: only when there is somebody to be found in it.
    if choice.others_wait(db)? {
        let mut others = db.prepare_cached(
            "SELECT id, org_id, turn FROM jobs
             WHERE status = 'pending' AND mode = ?1 AND deadline_at > ?2
               AND org_id NOT IN (SELECT value FROM json_each(?3)) ORDER BY turn, id",
        )?;
        let full = to_json(&choice.full)?;
        choice.choose(others.query(params![mode, now, full])?, usize::MAX)?;
    }
    Ok(choice.found)
}

struct Choice<'a> {
    claim: &'a Claim,
    found: Vec<Candidate>,
    held: HashMap<String, u32>,
    /// Who was passed over.
    full: HashSet<String>,
}

impl Choice<'_> {
    /// Takes what may be taken, in order. False when it has passed over so many that it gave up.
    fn choose(&mut self, mut rows: rusqlite::Rows<'_>, patience: usize) -> Result<bool> {
        let mut passed_over = 0;
        while self.found.len() < self.claim.tokens.len()
            && let Some(row) = rows.next()?
        {
            let org = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
            let places = self.held.get(org).copied().unwrap_or(0);
            let free = self.claim.free.saturating_sub(self.found.len());
            if !self.claim.share.allows(places, free) {
                if !self.full.contains(org) {
                    self.full.insert(org.to_owned());
                }
                passed_over += 1;
                if passed_over > patience {
                    return Ok(false);
                }
                continue;
            }
            let id: String = row.get(0)?;
            if self.found.iter().any(|known| known.id == id) {
                continue;
            }
            let org = org.to_owned();
            self.held.insert(org.clone(), places + 1);
            self.found.push(Candidate {
                id,
                org,
                turn: row.get(2)?,
            });
        }
        Ok(true)
    }

    /// Whether anybody who was not passed over has more jobs open than they hold places.
    fn others_wait(&self, db: &Connection) -> Result<bool> {
        let mut open =
            db.prepare_cached("SELECT org_id, open FROM balances WHERE mode = ?1 AND open > 0")?;
        let mut rows = open.query(params![self.claim.mode.as_str()])?;
        while let Some(row) = rows.next()? {
            let org = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            let held = self.held.get(org).copied().unwrap_or(0);
            if !self.full.contains(org) && row.get::<_, u32>(1)? > held {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn take(
    db: &Connection,
    claim: &Claim,
    candidate: &Candidate,
    token: &LeaseToken,
    claimed: &mut Claimed,
) -> Result<()> {
    let mut statement = db.prepare_cached(&format!(
        "UPDATE jobs SET status = 'running', attempt = attempt + 1, lease_token = ?2, lease_until = ?3,
            started_at = coalesce(started_at, ?4), deadline_at = iif(started_at IS NULL, ?5, deadline_at)
         WHERE id = ?1 RETURNING {}, attempt, deadline_at",
        jobs::COLUMNS
    ))?;
    let mut rows = statement.query(params![
        candidate.id,
        token.0,
        claim.now.plus(claim.lease).as_micros(),
        claim.now.as_micros(),
        claim.now.plus(claim.limit).as_micros()
    ])?;
    let row = rows
        .next()?
        .ok_or_else(|| StoreError::Corrupt(format!("job {} is gone", candidate.id)))?;
    match taken(db, &mut Columns::of(row), token) {
        Ok(job) => claimed.jobs.push(job),
        Err(error) => {
            tracing::error!(job.id = %candidate.id, error = &error as &dyn std::error::Error, "a job cannot be read");
            claimed.unreadable.push(Lease {
                org: OrgId::trusted(candidate.org.clone()),
                mode: claim.mode,
                job: JobId::trusted(candidate.id.clone()),
                token: token.clone(),
            });
        }
    }
    Ok(())
}

fn rows_of<T>(slots: &[T]) -> i64 {
    i64::try_from(slots.len()).unwrap_or(i64::MAX)
}

fn taken(db: &Connection, row: &mut Columns<'_, '_>, token: &LeaseToken) -> Result<ClaimedJob> {
    let job = jobs::read(row)?;
    let (attempt, deadline) = (row.take()?, row.time()?);
    // The first attempt finds nothing that one before it could have left.
    let steps = if attempt > 1 {
        steps(db, &job.id)?
    } else {
        BTreeMap::new()
    };
    let lease = Lease {
        org: job.org_id.clone(),
        mode: job.mode,
        job: job.id.clone(),
        token: token.clone(),
    };
    Ok(ClaimedJob {
        job,
        lease,
        attempt,
        steps,
        deadline,
    })
}

fn steps(db: &Connection, job: &JobId) -> Result<BTreeMap<u32, PriorStep>> {
    let mut statement = db.prepare_cached(
        "SELECT step, provider, route, external_id, finished FROM steps WHERE job_id = ?1",
    )?;
    let steps = collect(statement.query(params![job.as_str()])?, |row| {
        let step: u32 = row.take()?;
        let (provider, route) = (row.take()?, row.take()?);
        let (external_id, finished) = (row.take::<Option<String>>()?, row.take::<bool>()?);
        let prior = match external_id {
            _ if finished => PriorStep::Finished {
                outputs: assets::of_step(db, job, step)?,
            },
            Some(external_id) => PriorStep::Task {
                provider,
                route,
                external_id,
            },
            None => PriorStep::Unknown { provider, route },
        };
        Ok((step, prior))
    })?;
    Ok(steps.into_iter().collect())
}

/// Every write under a lease ends here: no row changed means that the lease is gone.
fn held(changed: usize) -> Result<()> {
    if changed == 1 {
        Ok(())
    } else {
        Err(StoreError::LeaseLost)
    }
}

/// The first statement of every write about a step: it extends the lease, and nothing is written without one.
fn working(
    db: &Connection,
    lease: &Lease,
    step: &StepRoute,
    external_id: Option<&str>,
    until: Timestamp,
) -> Result<()> {
    held(
        db.prepare_cached(
            "UPDATE jobs SET provider = ?3, external_id = ?4, lease_until = ?5 WHERE id = ?1 AND lease_token = ?2",
        )?
        .execute(params![
            lease.job.as_str(),
            lease.token.0,
            step.provider,
            external_id,
            until.as_micros()
        ])?,
    )
}

pub(super) fn mark_submitting(
    db: &Connection,
    lease: &Lease,
    step: &StepRoute,
    until: Timestamp,
) -> Result<()> {
    working(db, lease, step, None, until)?;
    write_step(db, lease, step, None)
}

pub(super) fn record_task(
    db: &Connection,
    lease: &Lease,
    step: &StepRoute,
    external_id: &str,
    until: Timestamp,
) -> Result<()> {
    working(db, lease, step, Some(external_id), until)?;
    write_step(db, lease, step, Some(external_id))
}

/// A provider that may be asked twice leaves no mark before its task; and the old name belongs to the old route.
fn write_step(
    db: &Connection,
    lease: &Lease,
    step: &StepRoute,
    external_id: Option<&str>,
) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO steps (job_id, step, provider, route, external_id) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (job_id, step) DO UPDATE SET provider = ?3, route = ?4, external_id = ?5",
    )?
    .execute(params![
        lease.job.as_str(),
        step.step,
        step.provider,
        step.route,
        external_id
    ])?;
    Ok(())
}

pub(super) fn finish_step(
    db: &Connection,
    lease: &Lease,
    step: &StepRoute,
    outputs: &[Asset],
    until: Timestamp,
) -> Result<()> {
    working(db, lease, step, None, until)?;
    db.prepare_cached(
        "INSERT INTO steps (job_id, step, provider, route, finished) VALUES (?1, ?2, ?3, ?4, 1)
         ON CONFLICT (job_id, step) DO UPDATE SET finished = 1",
    )?
    .execute(params![
        lease.job.as_str(),
        step.step,
        step.provider,
        step.route
    ])?;
    for (place, asset) in outputs.iter().enumerate() {
        assets::insert(db, asset, Some(step.step), place)?;
    }
    Ok(())
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
    forget: &[u32],
) -> Result<()> {
    held(
        db.prepare_cached(
            "UPDATE jobs SET lease_token = NULL, lease_until = ?3, external_id = iif(?4, NULL, external_id)
             WHERE id = ?1 AND lease_token = ?2",
        )?
        .execute(params![
            lease.job.as_str(),
            lease.token.0,
            again_at.as_micros(),
            !forget.is_empty()
        ])?,
    )?;
    forget_steps(db, lease, forget)
}

fn forget_steps(db: &Connection, lease: &Lease, steps: &[u32]) -> Result<()> {
    let mut remove =
        db.prepare_cached("DELETE FROM steps WHERE job_id = ?1 AND step = ?2 AND finished = 0")?;
    for step in steps {
        remove.execute(params![lease.job.as_str(), step])?;
    }
    Ok(())
}

pub(super) fn postpone(
    db: &Connection,
    lease: &Lease,
    again_at: Timestamp,
    deadline: Timestamp,
    forget: &[u32],
) -> Result<()> {
    held(
        db.prepare_cached(
            "UPDATE jobs SET lease_token = NULL, lease_until = ?3, attempt = max(attempt - 1, 0),
                deadline_at = max(deadline_at, ?4)
             WHERE id = ?1 AND lease_token = ?2",
        )?
        .execute(params![
            lease.job.as_str(),
            lease.token.0,
            again_at.as_micros(),
            deadline.as_micros()
        ])?,
    )?;
    forget_steps(db, lease, forget)
}

pub(super) fn settle(db: &Connection, lease: &Lease, settlement: &Settlement) -> Result<Moved> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {} FROM jobs WHERE id = ?1 AND lease_token = ?2",
        Purse::COLUMNS
    ))?;
    let job = first(
        statement.query(params![lease.job.as_str(), lease.token.0])?,
        Purse::read,
    )?
    .ok_or(StoreError::LeaseLost)?;
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
    let moved = jobs::end(db, &job, how)?.ok_or(StoreError::LeaseLost)?;
    if let Outcome::Completed { outputs, .. } = &settlement.outcome {
        for (place, asset) in outputs.iter().enumerate() {
            assets::insert(db, asset, None, place)?;
        }
    }
    Ok(moved)
}

pub(super) fn expire(
    db: &Connection,
    overdue: &Overdue,
    entries: &[EntryId],
    now: Timestamp,
) -> Result<(Expired, Vec<Moved>)> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {}, status = 'pending' FROM jobs
         WHERE status IN ('pending', 'running') AND deadline_at <= ?1 ORDER BY deadline_at LIMIT ?2",
        Purse::COLUMNS
    ))?;
    let due = collect(
        statement.query(params![now.as_micros(), rows_of(entries)])?,
        |row| Ok((Purse::read(row)?, row.take::<bool>()?)),
    )?;
    let (mut expired, mut moves) = (Expired::default(), Vec::new());
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
        let Some(moved) = jobs::end(db, &job, how)? else {
            continue;
        };
        moves.push(moved);
        expired.count += 1;
        match jobs::get(db, &job.org, &job.job) {
            Ok(ended) => expired.jobs.extend(ended),
            Err(error) => {
                tracing::error!(job.id = %job.job, error = &error as &dyn std::error::Error, "a job cannot be read");
            }
        }
    }
    Ok((expired, moves))
}

pub(super) fn keep_late(db: &Connection, job: &JobId, outputs: &[Asset]) -> Result<bool> {
    let ended = db
        .prepare_cached("SELECT completed_at IS NOT NULL FROM jobs WHERE id = ?1")?
        .query_row(params![job.as_str()], |row| row.get(0))
        .optional()?
        .unwrap_or(false);
    if ended {
        for (place, asset) in outputs.iter().enumerate() {
            assets::insert(db, asset, None, place)?;
        }
    }
    Ok(ended)
}

pub(super) fn late_jobs(db: &Connection) -> Result<u64> {
    let jobs: i64 = db
        .prepare_cached("SELECT count(DISTINCT job_id) FROM assets WHERE role = 'late'")?
        .query_row((), |row| row.get(0))?;
    Ok(jobs.unsigned_abs())
}

pub(super) fn release_leases(db: &Connection, of: Option<NodeId>, now: Timestamp) -> Result<u64> {
    // A job that was handed back has no lease, and keeps the time until which it waits.
    let released = db
        .prepare_cached(
            "UPDATE jobs SET lease_token = NULL, lease_until = min(lease_until, ?1)
             WHERE status = 'running' AND lease_token IS NOT NULL AND (?2 IS NULL OR substr(lease_token, 1, 9) = ?2 || '-')",
        )?
        .execute(params![now.as_micros(), of.map(|node| node.to_string())])?;
    Ok(u64::try_from(released).unwrap_or(u64::MAX))
}

pub(super) fn next_due(db: &Connection) -> Result<Due> {
    // Two look-ups at the beginning of an index each: together in one they would be two scans.
    let earliest = |sql| -> Result<Option<Timestamp>> {
        let due: Option<i64> = db.prepare_cached(sql)?.query_row((), |row| row.get(0))?;
        Ok(due.map(Timestamp::from_micros))
    };
    Ok(Due {
        lease: earliest("SELECT min(lease_until) FROM jobs WHERE status = 'running'")?,
        deadline: earliest(
            "SELECT min(deadline_at) FROM jobs WHERE status IN ('pending', 'running')",
        )?,
    })
}
