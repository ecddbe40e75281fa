//! Jobs from the caller's side: submit, look, cancel.

use super::callers::Moved;
use super::chains::Chain;
use super::credits::{self, Place};
use super::rows::{Columns, collect, first};
use super::{assets, deliveries, events, idempotency, worker};
use crate::new_job::Written;
use crate::store::{Cancellation, JobFilter, JobPage, NewJob, Submission};
use crate::{Result, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use vydra_core::credits::Credits;
use vydra_core::error_code::ErrorCode;
use vydra_core::ids::{EntryId, JobId, KeyId, OrgId};
use vydra_core::job::{Failure, Job, JobStatus, Mode};
use vydra_core::ledger::EntryKind;
use vydra_core::time::Timestamp;
use vydra_core::webhook::EventType;

/// The columns of [`read`].
pub(super) const COLUMNS: &str = "id, org_id, key_id, mode, workflow, status, progress, status_message, input, call, price,
    refunded, failure_code, failure_message, failure_reason, retryable, provider, external_id, created_at, started_at, completed_at";

/// The outputs of a finished job are rows of their own: see [`with_outputs`].
pub(super) fn read(row: &mut Columns<'_, '_>) -> Result<Job> {
    Ok(Job {
        id: JobId::trusted(row.take()?),
        org_id: OrgId::trusted(row.take()?),
        key_id: row.take::<Option<String>>()?.map(KeyId::trusted),
        mode: row.word(Mode::parse)?,
        workflow: row.take()?,
        status: row.word(JobStatus::parse)?,
        progress: row.take()?,
        status_message: row.take()?,
        input: row.json()?,
        call: row.json()?,
        price: row.credits()?,
        refunded: row.credits()?,
        failure: {
            let code = row.word_if_any(ErrorCode::parse)?;
            let (message, reason, retryable) = (
                row.take::<Option<String>>()?,
                row.take::<Option<String>>()?,
                row.take::<Option<bool>>()?,
            );
            code.map(|code| Failure {
                code,
                message: message.unwrap_or_default(),
                reason: reason.unwrap_or_default(),
                retryable: retryable.unwrap_or(false),
            })
        },
        provider: row.take()?,
        external_id: row.take()?,
        created_at: row.time()?,
        started_at: row.time_if_any()?,
        completed_at: row.time_if_any()?,
        outputs: Vec::new(),
    })
}

pub(super) fn with_outputs(db: &Connection, mut job: Job) -> Result<Job> {
    if job.status == JobStatus::Completed {
        job.outputs = assets::of_job(db, &job.id)?;
    }
    Ok(job)
}

/// What is left of the balance, or why there is no job.
pub(super) type Submitted = std::result::Result<Accepted, Submission>;

#[derive(Clone, Copy)]
pub(super) struct Accepted {
    pub(super) remaining: Credits,
    pub(super) begun: bool,
}

pub(super) fn submit(db: &Connection, new: &NewJob, written: &Written) -> Result<Submitted> {
    if let Some(wanted) = &new.idempotency
        && let Some(taken) = idempotency::get(db, &new.org_id, new.mode, &wanted.key, new.now)?
    {
        return Ok(Err(Submission::KeyTaken(Box::new(taken))));
    }
    let account = match credits::place(db, &new.org_id, new.mode, new.price, new.concurrent)? {
        Place::Free(account) => account,
        Place::TooManyJobs { open } => return Ok(Err(Submission::TooManyJobs { open })),
        Place::InsufficientCredits { available } => {
            return Ok(Err(Submission::InsufficientCredits { available }));
        }
    };
    for input in &new.takes_in {
        if assets::get(db, &new.org_id, new.mode, input)?.is_none() {
            return Ok(Err(Submission::InputGone(input.clone())));
        }
    }
    let start = match &new.start {
        Some(start) if worker::at_once(db, new.mode, new.now)? => Some(start),
        _ => None,
    };
    db.prepare_cached(
        "INSERT INTO jobs (id, previous, org_id, key_id, mode, workflow, status, input, call, price, turn, deadline_at, created_at,
             attempt, lease_token, lease_until, started_at, webhook_url)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, iif(?13 IS NULL, 'pending', 'running'), ?7, ?8, ?9, ?10, ?11, ?12,
             ?13 IS NOT NULL, ?13, ?14, iif(?13 IS NULL, NULL, ?12), ?15)",
    )?
    .execute(params![
        new.id.as_str(),
        account.last_job,
        new.org_id.as_str(),
        new.key_id.as_ref().map(KeyId::as_str),
        new.mode.as_str(),
        new.workflow,
        written.input,
        written.call,
        new.price.get(),
        account.turn,
        start
            .map_or(new.start_by, |start| new.now.plus(start.limit))
            .as_micros(),
        new.now.as_micros(),
        start.map(|start| start.token.0.as_str()),
        start.map(|start| new.now.plus(start.lease).as_micros()),
        new.webhook_url,
    ])?;
    let job = db.last_insert_rowid();
    for input in &new.takes_in {
        assets::take_in(db, &new.id, input)?;
    }
    let charge = credits::Movement {
        id: &new.entry,
        org: &new.org_id,
        mode: new.mode,
        kind: EntryKind::Charge,
        amount: -new.price.get(),
        job: Some(&new.id),
        reason: new.workflow.as_deref().unwrap_or(&new.call.model),
        now: new.now,
    };
    let remaining = credits::charge(db, &charge, &account, job)?;
    if start.is_some() && account.turn > account.begun {
        worker::begin(db, new.mode, account.turn)?;
    }
    if let Some(wanted) = &new.idempotency {
        idempotency::insert(db, new, wanted)?;
    }
    Ok(Ok(Accepted {
        remaining,
        begun: start.is_some(),
    }))
}

pub(super) fn get(db: &Connection, org: &OrgId, id: &JobId) -> Result<Option<Job>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM jobs WHERE id = ?1 AND org_id = ?2"
    ))?;
    first(statement.query(params![id.as_str(), org.as_str()])?, read)?
        .map(|job| with_outputs(db, job))
        .transpose()
}

pub(super) fn list(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    filter: &JobFilter,
) -> Result<JobPage> {
    const WANTED: &str = "(?2 IS NULL OR status = ?2) AND (?3 IS NULL OR workflow = ?3)";
    let (status, workflow) = (filter.status.map(JobStatus::as_str), &filter.workflow);
    let chain = Chain::Jobs.from("?1", "?4");
    let head = Chain::Jobs.head(db, org, mode)?;
    let count: i64 = if status.is_none() && workflow.is_none() {
        head.count
    } else {
        db.prepare_cached(&format!(
            "WITH RECURSIVE {chain}
             SELECT count(*) FROM job_chain CROSS JOIN jobs ON seq = number WHERE {WANTED}"
        ))?
        .query_row(params![head.last, status, workflow, head.end], |row| {
            row.get(0)
        })?
    };
    let first = match &filter.after {
        None => head.last,
        Some(after) => db
            .prepare_cached(
                "SELECT previous FROM jobs WHERE id = ?1 AND org_id = ?2 AND mode = ?3",
            )?
            .query_row(
                params![after.as_str(), org.as_str(), mode.as_str()],
                |row| row.get(0),
            )
            .optional()?
            .flatten(),
    };
    let mut statement = db.prepare_cached(&format!(
        "WITH RECURSIVE {chain}
         SELECT {COLUMNS} FROM job_chain CROSS JOIN jobs ON seq = number WHERE {WANTED} LIMIT ?5 OFFSET ?6"
    ))?;
    let page = params![
        first,
        status,
        workflow,
        head.end,
        filter.limit,
        filter.offset
    ];
    let jobs = collect(statement.query(page)?, read)?
        .into_iter()
        .map(|job| with_outputs(db, job))
        .collect::<Result<_>>()?;
    Ok(JobPage {
        jobs,
        count: count.unsigned_abs(),
    })
}

pub(super) fn cancel(
    db: &Connection,
    org: &OrgId,
    id: &JobId,
    entry: &EntryId,
    now: Timestamp,
) -> Result<(Cancellation, Option<Moved>)> {
    let Some(job) = get(db, org, id)? else {
        return Ok((Cancellation::NotFound, None));
    };
    if job.status == JobStatus::Cancelled {
        return Ok((Cancellation::Already(Box::new(job)), None));
    }
    let ended = end(
        db,
        &Purse::of(&job),
        End {
            status: JobStatus::Cancelled,
            failure: None,
            refund: job.price,
            reason: "cancelled by the user",
            provider: None,
            entry,
            now,
        },
    )?;
    if ended.is_none() {
        return Ok((Cancellation::Ended(Box::new(job)), None));
    }
    let job = get(db, org, id)?
        .ok_or_else(|| StoreError::Corrupt("a cancelled job is gone".to_owned()))?;
    Ok((Cancellation::Now(Box::new(job)), ended))
}

/// How a job ends.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    pub(super) status: JobStatus,
    pub(super) failure: Option<&'a Failure>,
    pub(super) refund: Credits,
    pub(super) reason: &'a str,
    /// Who made it; None leaves what is known.
    pub(super) provider: Option<&'a str>,
    pub(super) entry: &'a EntryId,
    pub(super) now: Timestamp,
}

/// What must be known of a job to end it: never its documents, so that one that cannot be read is ended too.
pub(super) struct Purse {
    pub(super) job: JobId,
    pub(super) org: OrgId,
    pub(super) mode: Mode,
    pub(super) price: Credits,
}

impl Purse {
    /// The columns of [`Self::read`].
    pub(super) const COLUMNS: &str = "id, org_id, mode, price";

    pub(super) fn read(row: &mut Columns<'_, '_>) -> Result<Self> {
        Ok(Self {
            job: JobId::trusted(row.take()?),
            org: OrgId::trusted(row.take()?),
            mode: row.word(Mode::parse)?,
            price: row.credits()?,
        })
    }

    fn of(job: &Job) -> Self {
        Self {
            job: job.id.clone(),
            org: job.org_id.clone(),
            mode: job.mode,
            price: job.price,
        }
    }
}

/// The one place where a job becomes final: its state, its refund, the event that tells of it and whom it is told to,
/// together. None, and nothing done, when it has already ended.
pub(super) fn end(db: &Connection, job: &Purse, how: End<'_>) -> Result<Option<Moved>> {
    let kind = EventType::of(how.status)
        .ok_or_else(|| StoreError::Corrupt(format!("an end as {}", how.status.as_str())))?;
    let ended: Option<Option<String>> = db
        .prepare_cached(
            "UPDATE jobs SET status = ?2, refunded = ?3, completed_at = ?4, failure_code = ?5, failure_message = ?6,
                failure_reason = ?7, retryable = ?8, lease_token = NULL, lease_until = NULL, status_message = NULL,
                progress = CASE ?2 WHEN 'completed' THEN 100 ELSE progress END, provider = coalesce(?9, provider)
             WHERE id = ?1 AND status IN ('pending', 'running') RETURNING webhook_url",
        )?
        .query_row(
            params![
                job.job.as_str(),
                how.status.as_str(),
                how.refund.get(),
                how.now.as_micros(),
                how.failure.map(|failure| failure.code.as_str()),
                how.failure.map(|failure| failure.message.as_str()),
                how.failure.map(|failure| failure.reason.as_str()),
                how.failure.map(|failure| failure.retryable),
                how.provider,
            ],
            |row| row.get(0),
        )
        .optional()?;
    let Some(webhook_url) = ended else {
        return Ok(None);
    };
    assets::let_go(db, &job.job)?;
    let event = events::insert(db, &job.job, &job.org, job.mode, kind, how.now)?;
    let refund = credits::Movement {
        id: how.entry,
        org: &job.org,
        mode: job.mode,
        kind: EntryKind::Refund,
        amount: how.refund.get(),
        job: Some(&job.job),
        reason: how.reason,
        now: how.now,
    };
    let credits = credits::give_back(db, &refund, event)?;
    let destinations = deliveries::Destinations {
        job: &job.job,
        org: &job.org,
        mode: job.mode,
        kind,
        url: webhook_url.as_deref(),
        now: how.now,
    };
    deliveries::of_job(db, &destinations)?;
    Ok(Some(Moved {
        org: job.org.clone(),
        mode: job.mode,
        credits,
    }))
}
