use super::SqliteStore;
use super::rows::collect;
use crate::store::{LimitStore, RequestCounter, Usage};
use crate::{Result, StoreError};
use async_trait::async_trait;
use rusqlite::{Connection, params};
use std::sync::Arc;
use vydra_core::ids::OrgId;
use vydra_core::plan::{Limits, Plans};
use vydra_core::time::Timestamp;
use vydra_core::window::{pack, unpack};

/// How many rows one call forgets at least, if so many are too old.
const FORGETS: usize = 1_000;

fn record(db: &Connection, usage: &Usage) -> Result<()> {
    // One that is gone must not keep the others from being remembered.
    let mut insert = db.prepare_cached(
        "INSERT INTO admissions (org_id, last_at, moments) SELECT id, ?2, ?3 FROM organizations WHERE id = ?1",
    )?;
    for (org, moments) in &usage.admissions {
        if let Some(last) = moments.last() {
            insert.execute(params![org.as_str(), last.as_micros(), pack(moments)])?;
        }
    }
    let mut count = db.prepare_cached(
        "UPDATE api_keys SET request_count = request_count + ?2, last_used_at = max(coalesce(last_used_at, ?3), ?3)
         WHERE id = ?1",
    )?;
    for used in &usage.keys {
        let requests = i64::try_from(used.requests).unwrap_or(i64::MAX);
        count.execute(params![
            used.key.as_str(),
            requests,
            used.last_used_at.as_micros()
        ])?;
    }
    // Always more than were added, so that the table cannot grow for ever.
    let most = usage.admissions.len().saturating_mul(2).max(FORGETS);
    db.prepare_cached(
        "DELETE FROM admissions WHERE seq IN
             (SELECT seq FROM admissions WHERE last_at <= ?1 ORDER BY last_at LIMIT ?2)",
    )?
    .execute(params![
        usage.forget.as_micros(),
        i64::try_from(most).unwrap_or(i64::MAX)
    ])?;
    Ok(())
}

fn admissions(db: &Connection, since: Timestamp) -> Result<Vec<(OrgId, Vec<Timestamp>)>> {
    let mut statement = db.prepare_cached(
        "SELECT org_id, moments FROM admissions WHERE last_at > ?1 ORDER BY last_at, seq",
    )?;
    collect(statement.query(params![since.as_micros()])?, |row| {
        let org = OrgId::trusted(row.take()?);
        let moments = unpack(&row.take::<Vec<u8>>()?)
            .ok_or_else(|| StoreError::Corrupt(format!("an admission of {org} cannot be read")))?;
        Ok((org, moments))
    })
}

#[async_trait]
impl LimitStore for SqliteStore {
    /// One server at a time works on a file.
    fn request_counter(
        &self,
        _plans: &Plans,
        _unlisted: Limits,
    ) -> Option<Arc<dyn RequestCounter>> {
        None
    }

    async fn record_usage(&self, usage: Usage) -> Result<()> {
        self.write_relaxed(move |db| record(db, &usage)).await
    }

    async fn admissions(&self, since: Timestamp) -> Result<Vec<(OrgId, Vec<Timestamp>)>> {
        self.scan(move |db| admissions(db, since)).await
    }
}
