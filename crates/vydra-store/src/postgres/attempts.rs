//! Attempts of providers, and what they were asked for on a day.

use super::PostgresStore;
use super::db::Db;
use super::jobs::storable;
use super::lanes::{Durability, Joint};
use super::rows::{Columns, collect, column};
use crate::Result;
use crate::store::{AttemptFilter, AttemptStore, ProviderAttempt};
use async_trait::async_trait;
use vydra_core::credits::Credits;
use vydra_core::ids::JobId;
use vydra_core::job::Mode;
use vydra_core::time::Timestamp;

const MICROS_A_DAY: i64 = 86_400_000_000;

pub(super) const fn day(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(MICROS_A_DAY)
}

impl Joint for ProviderAttempt {
    type Answer = ();

    const STATEMENT: &'static str = "INSERT INTO attempts (job_id, step, provider, model, started_at, ended_at, failure, accepted, request_id, cost)
         SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[],
             $9::text[], $10::text[])";
    const DURABILITY: Durability = Durability::Disk;

    fn whose(&self) -> &str {
        self.job.as_str()
    }

    fn apart_by(&self) -> Option<String> {
        None
    }

    fn balance(&self) -> Option<(&str, Mode)> {
        None
    }

    async fn run(db: &Db, all: &[Self]) -> Result<Vec<Result<()>>> {
        db.run(
            Self::STATEMENT,
            &[
                &column(all, |attempt| attempt.job.as_str()),
                &column(all, |attempt| i64::from(attempt.step)),
                &column(all, |attempt| attempt.provider.as_str()),
                &column(all, |attempt| attempt.model.as_str()),
                &column(all, |attempt| attempt.started_at.as_micros()),
                &column(all, |attempt| attempt.ended_at.as_micros()),
                &column(all, |attempt| attempt.failure.as_deref()),
                &column(all, |attempt| attempt.accepted.as_str()),
                &column(all, |attempt| attempt.request_id.as_deref().map(storable)),
                &column(all, |attempt| attempt.cost.as_deref().map(storable)),
            ],
        )
        .await?;
        Ok(all.iter().map(|_| Ok(())).collect())
    }
}

pub(super) async fn list(db: &Db, filter: &AttemptFilter) -> Result<Vec<ProviderAttempt>> {
    // Each way to ask has its index. All name both parameters, because each statement takes exactly those that it names.
    let asked = match (&filter.job, &filter.provider) {
        (Some(_), None) => "job_id = $1 AND $2::text IS NULL",
        (None, Some(_)) => "$1::text IS NULL AND provider = $2",
        (Some(_), Some(_)) => "job_id = $1 AND provider = $2",
        (None, None) => "$1::text IS NULL AND $2::text IS NULL",
    };
    let rows = db
        .all(
            &format!(
                "SELECT job_id, step, provider, model, started_at, ended_at, failure, accepted, request_id, cost FROM attempts
                 WHERE {asked} AND (NOT $3::boolean OR failure IS NOT NULL) ORDER BY seq DESC LIMIT $4"
            ),
            &[
                &filter.job.as_ref().map(JobId::as_str),
                &filter.provider,
                &filter.failed,
                &i64::from(filter.limit),
            ],
        )
        .await?;
    collect(&rows, read)
}

fn read(columns: &mut Columns<'_>) -> Result<ProviderAttempt> {
    Ok(ProviderAttempt {
        job: columns.word(JobId::parse)?,
        step: columns.number()?,
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

/// Counts credits on the day of `now`. False, and nothing counted, when the day's sum would go beyond `cap`.
pub(super) async fn count(
    db: &Db,
    provider: &str,
    credits: Credits,
    cap: u64,
    now: Timestamp,
) -> Result<bool> {
    let cap = i64::try_from(cap).unwrap_or(i64::MAX);
    if credits.get() > cap {
        return Ok(false);
    }
    // The difference cannot overflow as the sum could.
    let counted = db
        .run(
            "INSERT INTO provider_days AS d (provider, day, credits) VALUES ($1, $2, $3)
             ON CONFLICT (provider, day) DO UPDATE SET credits = d.credits + excluded.credits
             WHERE d.credits <= $4::bigint - excluded.credits",
            &[&provider, &day(now), &credits.get(), &cap],
        )
        .await?;
    Ok(counted == 1)
}

/// Takes back what was counted then.
pub(super) async fn uncount(
    db: &Db,
    provider: &str,
    credits: Credits,
    counted_at: Timestamp,
) -> Result<()> {
    db.run(
        "UPDATE provider_days SET credits = greatest(credits - $3::bigint, 0) WHERE provider = $1 AND day = $2",
        &[&provider, &day(counted_at), &credits.get()],
    )
    .await?;
    Ok(())
}

#[async_trait]
impl AttemptStore for PostgresStore {
    async fn record_attempt(&self, attempt: &ProviderAttempt) -> Result<()> {
        self.lanes.join(attempt.clone()).await
    }

    async fn attempts(&self, filter: AttemptFilter) -> Result<Vec<ProviderAttempt>> {
        let snapshot = self.pool.snapshot().await?;
        let found = list(&snapshot, &filter).await;
        snapshot.end(found).await
    }

    async fn count_provider_day(
        &self,
        provider: &str,
        credits: Credits,
        cap: u64,
        now: Timestamp,
    ) -> Result<bool> {
        let whose = format!("provider {provider}");
        let (provider, cap) = (provider.to_owned(), cap);
        self.write(&whose, async move |db: &Db| {
            count(db, &provider, credits, cap, now).await
        })
        .await
    }

    async fn uncount_provider_day(
        &self,
        provider: &str,
        credits: Credits,
        counted_at: Timestamp,
    ) -> Result<()> {
        let (whose, provider) = (format!("provider {provider}"), provider.to_owned());
        self.write(&whose, async move |db: &Db| {
            uncount(db, &provider, credits, counted_at).await
        })
        .await
    }
}
