use super::PostgresStore;
use super::counter::Counter;
use super::db::Db;
use super::rows::Columns;
use crate::Result;
use crate::store::{KeyUse, LimitStore, RequestCounter, Usage};
use async_trait::async_trait;
use std::sync::{Arc, Mutex, PoisonError};
use vydra_core::ids::OrgId;
use vydra_core::plan::{Limits, Plans};
use vydra_core::time::Timestamp;
use vydra_core::window::Window;

/// How many organizations are looked at for moments that are in no window any more, and how many of each are forgotten.
const ORGANIZATIONS: i64 = 100;
const MOMENTS: i64 = 200;

async fn record(db: &Db, usage: &Usage) -> Result<()> {
    // In the order in which they are held by whoever counts.
    let mut admissions: Vec<&(OrgId, Vec<Timestamp>)> = usage.admissions.iter().collect();
    admissions.sort_by_key(|(org, _)| org);
    for (org, moments) in admissions {
        remember(db, org, moments).await?;
    }
    count(db, &usage.keys).await
}

/// What another process has counted, before there was a store that counts.
async fn remember(db: &Db, org: &OrgId, moments: &[Timestamp]) -> Result<()> {
    let moments: Vec<i64> = moments.iter().map(|at| at.as_micros()).collect();
    // One that is gone must not keep the others from being remembered.
    db.run(
        "INSERT INTO windows (org_id) SELECT id FROM organizations WHERE id = $1 ON CONFLICT DO NOTHING",
        &[&org.as_str()],
    )
    .await?;
    db.run(
        "SELECT FROM windows WHERE org_id = $1 FOR NO KEY UPDATE",
        &[&org.as_str()],
    )
    .await?;
    // The numbers of moments go up with their times. Nothing is ever counted earlier than what was counted before it.
    db.run(
        "INSERT INTO window_log (org_id, at, before)
         SELECT w.org_id, m.at, w.admitted + m.number
         FROM windows w CROSS JOIN LATERAL (
             SELECT greatest(m.at, last.at) AS at, min(m.place) - 1 AS number
             FROM unnest($2::bigint[]) WITH ORDINALITY AS m (at, place)
             CROSS JOIN (SELECT max(at) AS at FROM window_log WHERE org_id = $1) last GROUP BY 1) m
         WHERE w.org_id = $1 ON CONFLICT (org_id, at) DO NOTHING",
        &[&org.as_str(), &moments],
    )
    .await?;
    db.run(
        "UPDATE windows SET admitted = admitted + cardinality($2::bigint[]),
             shown = greatest(shown, (SELECT max(at) FROM window_log WHERE org_id = $1) - ahead)
         WHERE org_id = $1",
        &[&org.as_str(), &moments],
    )
    .await?;
    Ok(())
}

async fn count(db: &Db, used: &[KeyUse]) -> Result<()> {
    if used.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = used.iter().map(|used| used.key.as_str()).collect();
    let requests: Vec<i64> = used
        .iter()
        .map(|used| i64::try_from(used.requests).unwrap_or(i64::MAX))
        .collect();
    let last: Vec<i64> = used
        .iter()
        .map(|used| used.last_used_at.as_micros())
        .collect();
    // An update takes its rows in no order of its own; two nodes that count the same keys must not wait for each other.
    db.run(
        "SELECT id FROM api_keys WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE",
        &[&keys],
    )
    .await?;
    // Each row is changed once, however often its key is listed.
    db.run(
        "UPDATE api_keys k SET request_count = k.request_count + u.requests, last_used_at = greatest(k.last_used_at, u.last)
         FROM (SELECT id, sum(requests)::bigint AS requests, max(last) AS last
               FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS listed (id, requests, last) GROUP BY id) u
         WHERE k.id = u.id",
        &[&keys, &requests, &last],
    )
    .await?;
    Ok(())
}

/// Goes round all organizations, a few at a time, and forgets what is in no window of theirs any more.
#[derive(Debug, Default)]
pub(super) struct Forgetting {
    /// The last that was looked at.
    last: Mutex<String>,
}

impl Forgetting {
    /// `clock` is None where the database's own counts.
    async fn go_on(&self, db: &Db, clock: Option<Timestamp>) -> Result<()> {
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let after = last().clone();
        let day = i64::try_from(Window::Day.span().as_micros()).unwrap_or(i64::MAX);
        let clock = clock.map(Timestamp::as_micros);
        // What had left the day at the organization's last request, which is before any other one; and of one that asks no more
        // what is two days old. What another node forgets is left to it.
        let row = db
            .one(
                "WITH org AS MATERIALIZED (
                     SELECT w.org_id, w.shown + w.ahead - $3::bigint + greatest(0, t.clock - w.shown - $3::bigint) AS edge
                     FROM windows w CROSS JOIN (
                         SELECT coalesce($2::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS clock) t
                     WHERE w.org_id > $1 ORDER BY w.org_id LIMIT $4),
                 old AS (
                     SELECT l.org_id, l.at FROM org CROSS JOIN LATERAL (
                         SELECT w.org_id, w.at FROM window_log w WHERE w.org_id = org.org_id AND w.at <= org.edge
                         ORDER BY w.at LIMIT $5 FOR UPDATE SKIP LOCKED) l),
                 forgotten AS (DELETE FROM window_log w USING old WHERE w.org_id = old.org_id AND w.at = old.at)
                 SELECT max(org_id) FROM org",
                &[&after, &clock, &day, &ORGANIZATIONS, &MOMENTS],
            )
            .await?;
        // Behind the last of them comes the first again.
        *last() = Columns::of(&row)
            .take::<Option<String>>()?
            .unwrap_or_default();
        Ok(())
    }
}

async fn admissions(db: &Db, since: Timestamp) -> Result<Vec<(OrgId, Vec<Timestamp>)>> {
    let rows = db
        .all(
            "SELECT l.org_id, l.at, coalesce(lead(l.before) OVER (PARTITION BY l.org_id ORDER BY l.at), w.admitted) - l.before
             FROM window_log l JOIN windows w ON w.org_id = l.org_id WHERE l.at > $1 ORDER BY l.org_id, l.at",
            &[&since.as_micros()],
        )
        .await?;
    let mut found: Vec<(OrgId, Vec<Timestamp>)> = Vec::new();
    for row in &rows {
        let mut row = Columns::of(row);
        let (org, at, count) = (row.take::<String>()?, row.time()?, row.number()?);
        if found.last().is_none_or(|(known, _)| known.as_str() != org) {
            found.push((OrgId::trusted(org), Vec::new()));
        }
        if let Some((_, moments)) = found.last_mut() {
            moments.extend(std::iter::repeat_n(at, count));
        }
    }
    Ok(found)
}

#[async_trait]
impl LimitStore for PostgresStore {
    fn request_counter(&self, plans: &Plans, unlisted: Limits) -> Option<Arc<dyn RequestCounter>> {
        let (connector, clock) = (self.connector.clone(), self.clock.clone());
        Some(Arc::new(Counter::new(connector, clock, plans, unlisted)))
    }

    async fn record_usage(&self, usage: Usage) -> Result<()> {
        let clock = self.clock.as_ref().map(|clock| clock.now());
        let forgetting = Arc::clone(&self.forgetting);
        self.write_relaxed("~2 usage", async move |db: &Db| {
            record(db, &usage).await?;
            forgetting.go_on(db, clock).await
        })
        .await
    }

    async fn admissions(&self, since: Timestamp) -> Result<Vec<(OrgId, Vec<Timestamp>)>> {
        let snapshot = self.pool.snapshot().await?;
        let found = admissions(&snapshot, since).await;
        snapshot.end(found).await
    }
}
