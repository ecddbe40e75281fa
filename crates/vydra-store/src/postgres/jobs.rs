//! Jobs from the caller's side: submit, look, cancel.

mod end;
mod submit;

use super::assets;
use super::chains::Chain;
use super::db::Db;
use super::rows::{self, Columns, collect};
use crate::store::{Cancellation, JobFilter, JobPage};
use crate::{Result, StoreError};
use std::borrow::Cow;
use std::collections::BTreeMap;
use vydra_core::error_code::ErrorCode;
use vydra_core::ids::{EntryId, JobId, KeyId, OrgId};
use vydra_core::job::{Failure, Job, JobStatus, Mode};
use vydra_core::time::Timestamp;

pub(super) use end::End;
pub(super) use submit::Submit;

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

/// The balances that some jobs are paid from, each once and in their order, and of each job the place of its balance among them.
struct Payers<'a> {
    orgs: Vec<&'a str>,
    modes: Vec<&'static str>,
    of: Vec<i64>,
}

impl<'a> Payers<'a> {
    fn of(jobs: impl Iterator<Item = (&'a str, Mode)>) -> Self {
        let jobs: Vec<(&str, &str)> = jobs.map(|(org, mode)| (org, mode.as_str())).collect();
        let mut places: BTreeMap<(&str, &'static str), i64> =
            jobs.iter().map(|job| (*job, 0)).collect();
        for (number, place) in (1..).zip(places.values_mut()) {
            *place = number;
        }
        Self {
            of: jobs.iter().map(|job| places[job]).collect(),
            orgs: places.keys().map(|(org, _)| *org).collect(),
            modes: places.keys().map(|(_, mode)| *mode).collect(),
        }
    }
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
        let chain = Chain::Jobs.from("$1", "$4");
        let row = db
            .one(
                &format!(
                    "WITH RECURSIVE {chain}
                     SELECT count(*) FROM job_chain JOIN jobs ON seq = number WHERE {WANTED}"
                ),
                &[&head.last, &status, workflow, &head.end],
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
    let page = Chain::Jobs.page("$1", "$6", WANTED, "$4::bigint + $5::bigint");
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
                &head.end,
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
    let end = End {
        job: id.clone(),
        org: org.clone(),
        mode: job.mode,
        token: None,
        status: JobStatus::Cancelled,
        failure: None,
        refund: None,
        reason: "cancelled by the user".to_owned(),
        provider: None,
        outputs: Vec::new(),
        entry: entry.clone(),
        now,
    };
    let ended = End::all(db, &[end]).await? == [true];
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

/// What a provider said may hold a character that no text in Postgres can: no end of a job may fail for it.
pub(super) fn storable(said: &str) -> Cow<'_, str> {
    if said.contains('\0') {
        Cow::Owned(said.replace('\0', " "))
    } else {
        Cow::Borrowed(said)
    }
}
