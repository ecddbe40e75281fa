use super::db::Db;
use super::rows::{self, Columns};
use crate::Result;
use crate::document::to_json;
use crate::store::{NewIdempotency, NewJob, Recorded};
use vydra_core::idempotency::{Fingerprint, IdempotencyKey, IdempotencyRecord, StoredAnswer};
use vydra_core::ids::{JobId, OrgId};
use vydra_core::job::Mode;
use vydra_core::time::Timestamp;

fn read(row: &mut Columns<'_>) -> Result<IdempotencyRecord> {
    Ok(IdempotencyRecord {
        key: row.word(IdempotencyKey::parse)?,
        fingerprint: Fingerprint::trusted(row.take()?),
        job_id: JobId::trusted(row.take()?),
        expires_at: row.time()?,
        answer: read_answer(row)?,
    })
}

fn read_answer(row: &mut Columns<'_>) -> Result<Option<StoredAnswer>> {
    let Some(status) = row.number_if_any()? else {
        return Ok(None);
    };
    Ok(Some(StoredAnswer {
        status,
        headers: row.json()?,
        body: row.take()?,
    }))
}

pub(super) async fn get(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<IdempotencyRecord>> {
    let row = db
        .first(
            "SELECT key, fingerprint, job_id, expires_at, status, headers, body FROM idempotency_keys
             WHERE org_id = $1 AND mode = $2 AND key = $3 AND expires_at > $4",
            &[
                &org.as_str(),
                &mode.as_str(),
                &key.as_str(),
                &now.as_micros(),
            ],
        )
        .await?;
    rows::read(row.as_ref(), read)
}

/// For the job that was just made. An expired record of the same key makes room. False, and nothing done, when another
/// request has taken the key meanwhile.
///
/// That cannot be when [`get`] found nothing after [`super::credits::place`] had locked the balance: a key is only taken by
/// who holds that lock. The job and its charge are written by now, so whoever is told false must undo them.
pub(super) async fn insert(db: &Db, job: &NewJob, wanted: &NewIdempotency) -> Result<bool> {
    let written = db
        .run(
            "INSERT INTO idempotency_keys AS old (org_id, mode, key, fingerprint, job_id, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (org_id, mode, key) DO UPDATE SET fingerprint = excluded.fingerprint, job_id = excluded.job_id,
                 created_at = excluded.created_at, expires_at = excluded.expires_at,
                 status = NULL, headers = NULL, body = NULL
             WHERE old.expires_at <= $6",
            &[
                &job.org_id.as_str(),
                &job.mode.as_str(),
                &wanted.key.as_str(),
                &wanted.fingerprint.as_str(),
                &job.id.as_str(),
                &job.now.as_micros(),
                &wanted.expires_at.as_micros(),
            ],
        )
        .await?;
    Ok(written == 1)
}

pub(super) async fn record_answer(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    key: &IdempotencyKey,
    answer: &StoredAnswer,
) -> Result<Recorded> {
    let changed = db
        .run(
            "UPDATE idempotency_keys SET status = $4, headers = $5, body = $6
             WHERE org_id = $1 AND mode = $2 AND key = $3 AND status IS NULL",
            &[
                &org.as_str(),
                &mode.as_str(),
                &key.as_str(),
                &i64::from(answer.status),
                &to_json(&answer.headers)?,
                &answer.body,
            ],
        )
        .await?;
    if changed == 1 {
        return Ok(Recorded::Now);
    }
    let row = db
        .first(
            "SELECT status, headers, body FROM idempotency_keys WHERE org_id = $1 AND mode = $2 AND key = $3",
            &[&org.as_str(), &mode.as_str(), &key.as_str()],
        )
        .await?;
    match rows::read(row.as_ref(), read_answer)? {
        Some(Some(earlier)) => Ok(Recorded::Already(earlier)),
        // Without an answer only when another request took the key between the two statements: this one's had expired.
        None | Some(None) => Ok(Recorded::Forgotten),
    }
}

pub(super) async fn forget(db: &Db, now: Timestamp, limit: u32) -> Result<u64> {
    db.run(
        "WITH expired AS MATERIALIZED (
             SELECT org_id, mode, key FROM idempotency_keys WHERE expires_at <= $1
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
         DELETE FROM idempotency_keys k USING expired e
         WHERE k.org_id = e.org_id AND k.mode = e.mode AND k.key = e.key",
        &[&now.as_micros(), &i64::from(limit)],
    )
    .await
}
