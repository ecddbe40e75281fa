//! Jobs from the caller's side: submit, look, cancel.

use super::chains::Chain;
use super::credits::{self, Place};
use super::db::Db;
use super::rows::{self, Columns, collect};
use super::{assets, deliveries, events, idempotency, worker};
use crate::new_job::Written;
use crate::store::{Cancellation, JobFilter, JobPage, NewJob, Start, Submission};
use crate::{Result, StoreError};
use std::borrow::Cow;
use std::collections::HashSet;
use vydra_core::credits::Credits;
use vydra_core::error_code::ErrorCode;
use vydra_core::ids::{AssetId, EntryId, JobId, KeyId, OrgId};
use vydra_core::job::{Failure, Job, JobStatus, Mode};
use vydra_core::ledger::EntryKind;
use vydra_core::time::Timestamp;
use vydra_core::webhook::EventType;

/// The columns of [`read`].
pub(super) const COLUMNS: &str = "id, org_id, key_id, mode, workflow, status, progress, status_message, input, call, price,
    refunded, failure_code, failure_message, failure_reason, retryable, provider, external_id, created_at, started_at, completed_at";

/// The outputs of a finished job are rows of their own: see [`with_outputs`].
pub(super) fn read(row: &mut Columns<'_>) -> Result<Job> {
    Ok(Job {
        id: JobId::trusted(row.take()?),
        org_id: OrgId::trusted(row.take()?),
        key_id: row.take::<Option<String>>()?.map(KeyId::trusted),
        mode: row.word(Mode::parse)?,
        workflow: row.take()?,
        status: row.word(JobStatus::parse)?,
        progress: row.number()?,
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

pub(super) async fn with_outputs(db: &Db, mut job: Job) -> Result<Job> {
    if job.status == JobStatus::Completed {
        job.outputs = assets::of_job(db, &job.id).await?;
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

pub(super) async fn submit(db: &Db, new: &NewJob, written: &Written) -> Result<Submitted> {
    // Locks the balance, so that the submits of one organization and mode come one after the other, on whatever node: what
    // is looked up behind it stays so until the commit, the idempotency key too.
    let place = credits::place(db, &new.org_id, new.mode, new.price, new.concurrent).await?;
    if let Some(wanted) = &new.idempotency
        && let Some(taken) =
            idempotency::get(db, &new.org_id, new.mode, &wanted.key, new.now).await?
    {
        return Ok(Err(Submission::KeyTaken(Box::new(taken))));
    }
    let account = match place {
        Place::Free(account) => account,
        Place::TooManyJobs { open } => return Ok(Err(Submission::TooManyJobs { open })),
        Place::InsufficientCredits { available } => {
            return Ok(Err(Submission::InsufficientCredits { available }));
        }
    };
    if let Some(gone) = first_gone(db, new).await? {
        return Ok(Err(Submission::InputGone(gone)));
    }
    let start = match &new.start {
        Some(start) if worker::at_once(db, new.mode, new.now).await? => Some(start),
        _ => None,
    };
    let job = insert(db, new, written, start, &account).await?;
    for input in &new.takes_in {
        assets::take_in(db, &new.id, input).await?;
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
    let remaining = credits::charge(db, &charge, &account, job).await?;
    if start.is_some() && account.turn > account.begun {
        worker::begin(db, new.mode, account.turn).await?;
    }
    if let Some(wanted) = &new.idempotency
        && !idempotency::insert(db, new, wanted).await?
    {
        return Err(StoreError::Corrupt(
            "a key was taken while its balance was locked".to_owned(),
        ));
    }
    Ok(Ok(Accepted {
        remaining,
        begun: start.is_some(),
    }))
}

/// The first of the job's files that is not there. The others cannot be deleted before the commit, after which they are
/// seen to be needed.
async fn first_gone(db: &Db, new: &NewJob) -> Result<Option<AssetId>> {
    if new.takes_in.is_empty() {
        return Ok(None);
    }
    let wanted: Vec<&str> = new.takes_in.iter().map(AssetId::as_str).collect();
    let found = db
        .all(
            "SELECT id FROM assets WHERE id = ANY ($1) AND org_id = $2 AND mode = $3 AND deleted_at IS NULL
             ORDER BY id FOR SHARE",
            &[&wanted, &new.org_id.as_str(), &new.mode.as_str()],
        )
        .await?;
    let found: HashSet<String> = collect(&found, Columns::take::<String>)?
        .into_iter()
        .collect();
    let mut inputs = new.takes_in.iter();
    Ok(inputs
        .find(|input| !found.contains(input.as_str()))
        .cloned())
}

/// Answers its number.
async fn insert(
    db: &Db,
    new: &NewJob,
    written: &Written,
    start: Option<&Start>,
    account: &credits::Account,
) -> Result<i64> {
    let deadline = start.map_or(new.start_by, |start| new.now.plus(start.limit));
    let row = db
        .one(
            "INSERT INTO jobs (id, previous, org_id, key_id, mode, workflow, status, input, call, price, turn, deadline_at, created_at,
                 attempt, lease_token, lease_until, started_at, webhook_url)
             VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $13::text IS NULL THEN 'pending' ELSE 'running' END, $7, $8, $9, $10, $11, $12,
                 CASE WHEN $13::text IS NULL THEN 0 ELSE 1 END, $13, $14, CASE WHEN $13::text IS NOT NULL THEN $12::bigint END, $15)
             RETURNING seq",
            &[
                &new.id.as_str(),
                &account.last_job,
                &new.org_id.as_str(),
                &new.key_id.as_ref().map(KeyId::as_str),
                &new.mode.as_str(),
                &new.workflow,
                &written.input,
                &written.call,
                &new.price.get(),
                &account.turn,
                &deadline.as_micros(),
                &new.now.as_micros(),
                &start.map(|start| start.token.0.as_str()),
                &start.map(|start| new.now.plus(start.lease).as_micros()),
                &new.webhook_url,
            ],
        )
        .await?;
    Columns::of(&row).take()
}

pub(super) async fn get(db: &Db, org: &OrgId, id: &JobId) -> Result<Option<Job>> {
    let row = db
        .first(
            &format!("SELECT {COLUMNS} FROM jobs WHERE id = $1 AND org_id = $2"),
            &[&id.as_str(), &org.as_str()],
        )
        .await?;
    match rows::read(row.as_ref(), read)? {
        Some(job) => with_outputs(db, job).await.map(Some),
        None => Ok(None),
    }
}

pub(super) async fn list(db: &Db, org: &OrgId, mode: Mode, filter: &JobFilter) -> Result<JobPage> {
    const WANTED: &str =
        "($2::text IS NULL OR status = $2) AND ($3::text IS NULL OR workflow = $3)";
    let (status, workflow) = (filter.status.map(JobStatus::as_str), &filter.workflow);
    if workflow.as_ref().is_some_and(|name| name.contains('\0')) {
        // No text in Postgres has such a name: the question alone would be refused.
        return Ok(JobPage {
            jobs: Vec::new(),
            count: 0,
        });
    }
    let head = Chain::Jobs.head(db, org, mode).await?;
    let count: i64 = if status.is_none() && workflow.is_none() {
        head.count
    } else {
        let chain = Chain::Jobs.from("$1");
        let row = db
            .one(
                &format!(
                    "WITH RECURSIVE {chain}
                     SELECT count(*) FROM job_chain JOIN jobs ON seq = number WHERE {WANTED}"
                ),
                &[&head.last, &status, workflow],
            )
            .await?;
        Columns::of(&row).take()?
    };
    let first: Option<i64> = match &filter.after {
        None => head.last,
        Some(after) => {
            let row = db
                .first(
                    "SELECT previous FROM jobs WHERE id = $1 AND org_id = $2 AND mode = $3",
                    &[&after.as_str(), &org.as_str(), &mode.as_str()],
                )
                .await?;
            rows::read(row.as_ref(), Columns::take::<Option<i64>>)?.flatten()
        }
    };
    let page = Chain::Jobs.page("$1", WANTED, "$4::bigint + $5::bigint");
    let found = db
        .all(
            &format!(
                "WITH RECURSIVE {page}
                 SELECT {COLUMNS} FROM job_chain JOIN jobs ON seq = number WHERE is_wanted
                 ORDER BY number DESC LIMIT $4 OFFSET $5"
            ),
            &[
                &first,
                &status,
                workflow,
                &i64::from(filter.limit),
                &i64::from(filter.offset),
            ],
        )
        .await?;
    let mut jobs = Vec::with_capacity(found.len());
    for job in collect(&found, read)? {
        jobs.push(with_outputs(db, job).await?);
    }
    Ok(JobPage {
        jobs,
        count: count.unsigned_abs(),
    })
}

pub(super) async fn cancel(
    db: &Db,
    org: &OrgId,
    id: &JobId,
    entry: &EntryId,
    now: Timestamp,
) -> Result<Cancellation> {
    let Some(job) = get(db, org, id).await? else {
        return Ok(Cancellation::NotFound);
    };
    let how = End {
        status: JobStatus::Cancelled,
        failure: None,
        refund: job.price,
        reason: "cancelled by the user",
        provider: None,
        entry,
        now,
    };
    credits::lock(db, org, job.mode).await?;
    let ended = end(db, &Purse::of(&job), how).await?;
    // Read again also when somebody else has ended it: perhaps after it was read.
    let job = get(db, org, id)
        .await?
        .map(Box::new)
        .ok_or_else(|| StoreError::Corrupt("a cancelled job is gone".to_owned()))?;
    Ok(if ended {
        Cancellation::Now(job)
    } else if job.status == JobStatus::Cancelled {
        Cancellation::Already(job)
    } else {
        Cancellation::Ended(job)
    })
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

    pub(super) fn read(row: &mut Columns<'_>) -> Result<Self> {
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

/// What a provider said may hold a character that no text in Postgres can: no end of a job may fail for it.
pub(super) fn storable(said: &str) -> Cow<'_, str> {
    if said.contains('\0') {
        Cow::Owned(said.replace('\0', " "))
    } else {
        Cow::Borrowed(said)
    }
}

/// The one place where a job becomes final: its state, its refund, the event that tells of it and whom it is told to,
/// together. False, and nothing done, when it has already ended.
pub(super) async fn end(db: &Db, job: &Purse, how: End<'_>) -> Result<bool> {
    let kind = EventType::of(how.status)
        .ok_or_else(|| StoreError::Corrupt(format!("an end as {}", how.status.as_str())))?;
    let ended = db
        .first(
            "UPDATE jobs SET status = $2, refunded = $3, completed_at = $4, failure_code = $5, failure_message = $6,
                failure_reason = $7, retryable = $8, lease_token = NULL, lease_until = NULL, status_message = NULL,
                progress = CASE WHEN $2::text = 'completed' THEN 100 ELSE progress END, provider = coalesce($9, provider)
             WHERE id = $1 AND status IN ('pending', 'running') RETURNING webhook_url",
            &[
                &job.job.as_str(),
                &how.status.as_str(),
                &how.refund.get(),
                &how.now.as_micros(),
                &how.failure.map(|failure| failure.code.as_str()),
                &how.failure.map(|failure| storable(&failure.message)),
                &how.failure.map(|failure| storable(&failure.reason)),
                &how.failure.map(|failure| failure.retryable),
                &how.provider,
            ],
        )
        .await?;
    let Some(webhook_url) = rows::read(ended.as_ref(), Columns::take::<Option<String>>)? else {
        return Ok(false);
    };
    assets::let_go(db, &job.job).await?;
    let event = events::insert(db, &job.job, &job.org, job.mode, kind, how.now).await?;
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
    credits::give_back(db, &refund, event).await?;
    let destinations = deliveries::Destinations {
        job: &job.job,
        org: &job.org,
        mode: job.mode,
        kind,
        url: webhook_url.as_deref(),
        now: how.now,
    };
    deliveries::of_job(db, &destinations).await?;
    Ok(true)
}
