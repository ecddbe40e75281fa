//! Attempts of providers, and what they were asked for on a day.

use super::SqliteStore;
use super::rows::{Columns, collect};
use crate::Result;
use crate::store::{AttemptFilter, AttemptStore, ProviderAttempt};
use async_trait::async_trait;
use rusqlite::{Connection, params};
use vydra_core::credits::Credits;
use vydra_core::ids::JobId;
use vydra_core::time::Timestamp;

const MICROS_A_DAY: i64 = 86_400_000_000;

pub(super) const fn day(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(MICROS_A_DAY)
}

fn insert(db: &Connection, attempt: &ProviderAttempt) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO attempts (job_id, step, provider, model, started_at, ended_at, failure, accepted, request_id, cost)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        attempt.job.as_str(),
        attempt.step,
        attempt.provider,
        attempt.model,
        attempt.started_at.as_micros(),
        attempt.ended_at.as_micros(),
        attempt.failure,
        attempt.accepted,
        attempt.request_id,
        attempt.cost,
    ])?;
    Ok(())
}

fn list(db: &Connection, filter: &AttemptFilter) -> Result<Vec<ProviderAttempt>> {
    // Each way to ask has its index.
    let mut statement = db.prepare_cached(&format!(
        "SELECT job_id, step, provider, model, started_at, ended_at, failure, accepted, request_id, cost FROM attempts
         WHERE {} AND (?2 = 0 OR failure IS NOT NULL) ORDER BY seq DESC LIMIT ?3",
        match (&filter.job, &filter.provider) {
            (Some(_), None) => "job_id = ?1",
            (None, Some(_)) => "provider = ?1",
            (Some(_), Some(_)) => "job_id = ?1 AND provider = ?4",
            (None, None) => "?1 IS NULL",
        }
    ))?;
    let job = filter.job.as_ref().map(JobId::as_str);
    let first = job.or(filter.provider.as_deref());
    let rows = if statement.parameter_count() == 4 {
        statement.query(params![first, filter.failed, filter.limit, filter.provider])?
    } else {
        statement.query(params![first, filter.failed, filter.limit])?
    };
    collect(rows, read)
}

fn read(columns: &mut Columns<'_, '_>) -> Result<ProviderAttempt> {
    Ok(ProviderAttempt {
        job: columns.word(JobId::parse)?,
        step: columns.take()?,
        provider: columns.take()?,
        model: columns.take()?,
        started_at: columns.time()?,
        ended_at: columns.time()?,
        failure: columns.take()?,
        accepted: columns.take()?,
        request_id: columns.take()?,
        cost: columns.take()?,
    })
}

fn count(db: &Connection, provider: &str, credits: i64, cap: i64, day: i64) -> Result<bool> {
    if credits > cap {
        return Ok(false);
    }
    let counted = db
        .prepare_cached(
            "INSERT INTO provider_days (provider, day, credits) VALUES (?1, ?2, ?3)
             ON CONFLICT (provider, day) DO UPDATE SET credits = credits + ?3 WHERE credits + ?3 <= ?4",
        )?
        .execute(params![provider, day, credits, cap])?;
    Ok(counted == 1)
}

#[async_trait]
impl AttemptStore for SqliteStore {
    async fn record_attempt(&self, attempt: &ProviderAttempt) -> Result<()> {
        let attempt = attempt.clone();
        self.write(move |db| insert(db, &attempt)).await
    }

    async fn attempts(&self, filter: AttemptFilter) -> Result<Vec<ProviderAttempt>> {
        self.scan(move |db| list(db, &filter)).await
    }

    async fn count_provider_day(
        &self,
        provider: &str,
        credits: Credits,
        cap: u64,
        now: Timestamp,
    ) -> Result<bool> {
        let (provider, cap) = (provider.to_owned(), i64::try_from(cap).unwrap_or(i64::MAX));
        self.write(move |db| count(db, &provider, credits.get(), cap, day(now)))
            .await
    }

    async fn uncount_provider_day(
        &self,
        provider: &str,
        credits: Credits,
        counted_at: Timestamp,
    ) -> Result<()> {
        let provider = provider.to_owned();
        self.write(move |db| {
            db.prepare_cached(
                "UPDATE provider_days SET credits = max(credits - ?3, 0) WHERE provider = ?1 AND day = ?2",
            )?
            .execute(params![provider, day(counted_at), credits.get()])?;
            Ok(())
        })
        .await
    }
}
