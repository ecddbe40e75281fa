use super::db::Db;
use super::lanes::{Durability, Joint};
use super::rows::{self, Columns, collect, column};
use crate::Result;
use crate::store::Recorded;
use std::collections::HashSet;
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

/// An answer that is to be remembered.
pub(super) struct Answering {
    pub(super) org: OrgId,
    pub(super) mode: Mode,
    pub(super) key: IdempotencyKey,
    pub(super) answer: StoredAnswer,
    /// Those of the answer, written before any lock is taken.
    pub(super) headers: String,
}

impl Joint for Answering {
    type Answer = Recorded;

    const STATEMENT: &'static str = "SELECT * FROM record_answers_1($1, $2, $3, $4, $5, $6)";
    const DURABILITY: Durability = Durability::Disk;

    fn whose(&self) -> &str {
        self.org.as_str()
    }

    fn apart_by(&self) -> Option<String> {
        let (org, mode) = (&self.org, self.mode.as_str());
        Some(format!("{org} {mode} {}", self.key.as_str()))
    }

    fn balance(&self) -> Option<(&str, Mode)> {
        None
    }

    async fn run(db: &Db, all: &[Self]) -> Result<Vec<Result<Recorded>>> {
        let rows = db
            .all(
                Self::STATEMENT,
                &[
                    &column(all, |one| one.org.as_str()),
                    &column(all, |one| one.mode.as_str()),
                    &column(all, |one| one.key.as_str()),
                    &column(all, |one| i64::from(one.answer.status)),
                    &column(all, |one| one.headers.as_str()),
                    &column(all, |one| one.answer.body.as_slice()),
                ],
            )
            .await?;
        let recorded: HashSet<i64> = collect(&rows, Columns::take)?.into_iter().collect();
        let mut answers = Vec::with_capacity(all.len());
        for (place, one) in (1..).zip(all) {
            answers.push(if recorded.contains(&place) {
                Ok(Recorded::Now)
            } else {
                one.earlier(db).await
            });
        }
        Ok(answers)
    }
}

impl Answering {
    /// Nothing was written for it.
    async fn earlier(&self, db: &Db) -> Result<Recorded> {
        let row = db
            .first(
                "SELECT status, headers, body FROM idempotency_keys WHERE org_id = $1 AND mode = $2 AND key = $3",
                &[&self.org.as_str(), &self.mode.as_str(), &self.key.as_str()],
            )
            .await?;
        Ok(match rows::read(row.as_ref(), read_answer)? {
            Some(Some(earlier)) => Recorded::Already(earlier),
            // Without an answer only when another request took the key between the two statements: this one's had expired.
            None | Some(None) => Recorded::Forgotten,
        })
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
