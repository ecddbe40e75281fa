use super::rows::{Columns, first};
use crate::document::to_json;
use crate::store::{NewIdempotency, NewJob, Recorded};
use crate::{Result, StoreError};
use rusqlite::{Connection, params};
use vydra_core::idempotency::{Fingerprint, IdempotencyKey, IdempotencyRecord, StoredAnswer};
use vydra_core::ids::{JobId, OrgId};
use vydra_core::job::Mode;
use vydra_core::time::Timestamp;

fn read(row: &mut Columns<'_, '_>) -> Result<IdempotencyRecord> {
    Ok(IdempotencyRecord {
        key: row.word(IdempotencyKey::parse)?,
        fingerprint: Fingerprint::trusted(row.take()?),
        job_id: JobId::trusted(row.take()?),
        expires_at: row.time()?,
        answer: read_answer(row)?,
    })
}

fn read_answer(row: &mut Columns<'_, '_>) -> Result<Option<StoredAnswer>> {
    let Some(status) = row.take::<Option<u16>>()? else {
        return Ok(None);
    };
    Ok(Some(StoredAnswer {
        status,
        headers: row.json()?,
        body: row.take()?,
    }))
}

pub(super) fn get(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<IdempotencyRecord>> {
    let mut statement = db.prepare_cached(
        "SELECT key, fingerprint, job_id, expires_at, status, headers, body FROM idempotency_keys
         WHERE org_id = ?1 AND mode = ?2 AND key = ?3 AND expires_at > ?4",
    )?;
    let place = params![org.as_str(), mode.as_str(), key.as_str(), now.as_micros()];
    first(statement.query(place)?, read)
}

/// For the job that was just made. An expired record of the same key makes room.
pub(super) fn insert(db: &Connection, job: &NewJob, wanted: &NewIdempotency) -> Result<()> {
    db.prepare_cached(
        "DELETE FROM idempotency_keys WHERE org_id = ?1 AND mode = ?2 AND key = ?3 AND expires_at <= ?4",
    )?
    .execute(params![
        job.org_id.as_str(),
        job.mode.as_str(),
        wanted.key.as_str(),
        job.now.as_micros()
    ])?;
    db.prepare_cached(
        "INSERT INTO idempotency_keys (org_id, mode, key, fingerprint, job_id, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        job.org_id.as_str(),
        job.mode.as_str(),
        wanted.key.as_str(),
        wanted.fingerprint.as_str(),
        job.id.as_str(),
        job.now.as_micros(),
        wanted.expires_at.as_micros(),
    ])?;
    Ok(())
}

pub(super) fn record_answer(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    key: &IdempotencyKey,
    answer: &StoredAnswer,
) -> Result<Recorded> {
    let changed = db
        .prepare_cached(
            "UPDATE idempotency_keys SET status = ?4, headers = ?5, body = ?6
             WHERE org_id = ?1 AND mode = ?2 AND key = ?3 AND status IS NULL",
        )?
        .execute(params![
            org.as_str(),
            mode.as_str(),
            key.as_str(),
            answer.status,
            to_json(&answer.headers)?,
            answer.body,
        ])?;
    if changed == 1 {
        return Ok(Recorded::Now);
    }
    let mut statement = db.prepare_cached(
        "SELECT status, headers, body FROM idempotency_keys WHERE org_id = ?1 AND mode = ?2 AND key = ?3",
    )?;
    let place = params![org.as_str(), mode.as_str(), key.as_str()];
    match first(statement.query(place)?, read_answer)? {
        None => Ok(Recorded::Forgotten),
        Some(Some(earlier)) => Ok(Recorded::Already(earlier)),
        Some(None) => Err(StoreError::Corrupt(
            "an answer could not be remembered".to_owned(),
        )),
    }
}

pub(super) fn forget(db: &Connection, now: Timestamp, limit: u32) -> Result<u64> {
    let removed = db
        .prepare_cached(
            "DELETE FROM idempotency_keys WHERE (org_id, mode, key) IN
                 (SELECT org_id, mode, key FROM idempotency_keys WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
        )?
        .execute(params![now.as_micros(), limit])?;
    Ok(u64::try_from(removed).unwrap_or(u64::MAX))
}
