//! Removing what is old: see [`crate::prune`] for what goes.
//!
//! What somebody else is at is left for the next time, so that this waits for nobody; and nobody waits for it for longer than
//! one step takes, because it locks only what is old.

use super::PostgresStore;
use super::attempts::day;
use super::db::Db;
use super::rows::{Columns, collect};
use crate::Result;
use crate::prune::{
    CarriedEntries, CarriedEvents, Cut, Mark, OldEntry, OldEvent, OldJob, Pruner, Purse, last,
};
use crate::store::{Old, PruneAt, PruneCounts, PruneStep, UpkeepStore};
use async_trait::async_trait;
use std::collections::HashSet;
use vydra_core::time::Timestamp;

/// How many rows a look takes that nobody waits for.
const LOOKED_AT: u32 = 1_000;
/// Of the lock under which one process at a time prunes: any number that nobody else uses.
const LOCK: i64 = 0x7679_6472_6120_0002;

#[async_trait]
impl UpkeepStore for PostgresStore {
    async fn prune(&self, old: Old, at: PruneAt, limit: u32) -> Result<PruneStep> {
        let chore = self.pool.chore().await?;
        let step = remove(&chore, old, at, limit).await?;
        chore.end(Ok(step)).await
    }

    async fn prunable(&self, old: Old) -> Result<PruneCounts> {
        let snapshot = self.pool.snapshot().await?;
        let counts = look(&snapshot, old).await;
        snapshot.end(counts).await
    }
}

async fn look(db: &Db, old: Old) -> Result<PruneCounts> {
    let (mut counts, mut pruner) = (PruneCounts::default(), Pruner::new(old));
    let mut at = Some(PruneAt::START);
    while let Some(place) = at {
        let last = match place {
            PruneAt::Attempts { after } => {
                let rows = attempts(db, after, LOOKED_AT).await?;
                let goes = rows.iter().filter(|(_, ended)| *ended < old.before);
                counts.attempts += goes.count() as u64;
                last(&rows, LOOKED_AT, old, |row| *row)
            }
            PruneAt::Events { after } => {
                let rows = events(db, after, LOOKED_AT).await?;
                counts.add(pruner.events(&rows).counts());
                last(&rows, LOOKED_AT, old, |row| (row.seq, row.created_at))
            }
            PruneAt::Ledger { after } => {
                let rows = entries(db, old, after, LOOKED_AT).await?;
                counts.add(pruner.entries(&rows).counts());
                last(&rows, LOOKED_AT, old, |row| (row.seq, row.created_at))
            }
        };
        at = place.next(last);
    }
    Ok(counts)
}

async fn remove(db: &Db, old: Old, at: PruneAt, limit: u32) -> Result<PruneStep> {
    db.run("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let mut pruner = Pruner::new(old);
    let (counts, last) = match at {
        PruneAt::Attempts { after } => {
            let rows = attempts(db, after, limit).await?;
            let last = last(&rows, limit, old, |row| *row);
            (remove_attempts(db, &rows, old).await?, last)
        }
        PruneAt::Events { after } => {
            let mut rows = events(db, after, limit).await?;
            let jobs: Vec<&str> = rows.iter().map(|row| row.job.as_str()).collect();
            let held = hold(db, DELIVERIES, &jobs).await?;
            for row in &mut rows {
                row.is_held |= held.contains(&row.job);
            }
            let cut = pruner.events(&rows);
            if !cut.rows.is_empty() {
                remove_events(db, &cut, old).await?;
            }
            let last = last(&rows, limit, old, |row| (row.seq, row.created_at));
            (cut.counts(), last)
        }
        PruneAt::Ledger { after } => {
            let mut rows = entries(db, old, after, limit).await?;
            let jobs = rows.iter().filter_map(|row| row.job.as_ref());
            let jobs: Vec<&str> = jobs.map(|job| job.id.as_str()).collect();
            let mut held = hold(db, JOBS, &jobs).await?;
            held.extend(hold(db, ASSETS, &jobs).await?);
            for job in rows.iter_mut().filter_map(|row| row.job.as_mut()) {
                job.is_held |= held.contains(&job.id);
            }
            let cut = pruner.entries(&rows);
            let mut counts = cut.counts();
            if !cut.rows.is_empty() {
                counts.attempts = remove_entries(db, &cut, old).await?;
            }
            let last = last(&rows, limit, old, |row| (row.seq, row.created_at));
            (counts, last)
        }
    };
    let next = at.next(last);
    Ok(PruneStep { counts, next })
}

/// Two statements: one that locks what there is of some jobs, and one that finds the jobs of which there is more.
type Hold = (&'static str, &'static str);

const DELIVERIES: Hold = (
    "SELECT id FROM deliveries WHERE job_id = ANY ($1) AND status <> 'pending' FOR UPDATE SKIP LOCKED",
    "SELECT DISTINCT job_id FROM deliveries WHERE job_id = ANY ($1) AND id <> ALL ($2)",
);
const JOBS: Hold = (
    "SELECT id FROM jobs WHERE id = ANY ($1) FOR UPDATE SKIP LOCKED",
    "SELECT id FROM jobs WHERE id = ANY ($1) AND id <> ALL ($2)",
);
const ASSETS: Hold = (
    "SELECT id FROM assets WHERE job_id = ANY ($1) FOR UPDATE SKIP LOCKED",
    "SELECT DISTINCT job_id FROM assets WHERE job_id = ANY ($1) AND id <> ALL ($2)",
);

/// Locks what belongs to these jobs until the end of the transaction; those of which somebody else holds something.
async fn hold(db: &Db, (lock, rest): Hold, jobs: &[&str]) -> Result<HashSet<String>> {
    let locked: Vec<String> = collect(&db.all(lock, &[&jobs]).await?, Columns::take)?;
    let held: Vec<String> = collect(&db.all(rest, &[&jobs, &locked]).await?, Columns::take)?;
    Ok(held.into_iter().collect())
}

async fn attempts(db: &Db, after: i64, limit: u32) -> Result<Vec<(i64, Timestamp)>> {
    let rows = db
        .all(
            "SELECT seq, ended_at FROM attempts WHERE seq > $1 ORDER BY seq LIMIT $2",
            &[&after, &i64::from(limit)],
        )
        .await?;
    collect(&rows, |row| Ok((row.take()?, row.time()?)))
}

/// And what providers were asked for on those days, which are few.
async fn remove_attempts(db: &Db, rows: &[(i64, Timestamp)], old: Old) -> Result<PruneCounts> {
    let goes = rows.iter().filter(|(_, ended)| *ended < old.before);
    let goes: Vec<i64> = goes.map(|(seq, _)| *seq).collect();
    if goes.is_empty() {
        return Ok(PruneCounts::default());
    }
    db.run(
        "DELETE FROM provider_days WHERE day < $1",
        &[&day(old.before)],
    )
    .await?;
    Ok(PruneCounts {
        attempts: db
            .run("DELETE FROM attempts WHERE seq = ANY ($1)", &[&goes])
            .await?,
        ..PruneCounts::default()
    })
}

/// The columns of [`read_place`], from the table `t` and `carried c`.
const PLACE: &str = "t.seq, t.previous, t.org_id, t.mode, coalesce(c.job, 0), coalesce(c.entry, 0), coalesce(c.event, 0),
    coalesce(c.credits, 0), t.created_at";

struct Place {
    seq: i64,
    previous: Option<i64>,
    purse: Purse,
    mark: Mark,
    created_at: Timestamp,
}

fn read_place(row: &mut Columns<'_>) -> Result<Place> {
    Ok(Place {
        seq: row.take()?,
        previous: row.take()?,
        purse: Purse {
            org: row.take()?,
            mode: row.take()?,
        },
        mark: Mark {
            job: row.take()?,
            entry: row.take()?,
            event: row.take()?,
            credits: row.take()?,
        },
        created_at: row.time()?,
    })
}

/// The oldest events, but never the last of all: on the other engine the next one would get its number.
async fn events(db: &Db, after: i64, limit: u32) -> Result<Vec<OldEvent>> {
    let rows = db
        .all(
            &format!(
                "SELECT {PLACE}, t.number, t.job_id,
                     EXISTS (SELECT 1 FROM deliveries d WHERE d.job_id = t.job_id AND d.status = 'pending')
                 FROM events t LEFT JOIN carried c ON c.org_id = t.org_id AND c.mode = t.mode
                 WHERE t.seq > $1 AND t.seq < (SELECT max(seq) FROM events) ORDER BY t.seq LIMIT $2"
            ),
            &[&after, &i64::from(limit)],
        )
        .await?;
    collect(&rows, |row| {
        let place = read_place(row)?;
        Ok(OldEvent {
            seq: place.seq,
            previous: place.previous,
            purse: place.purse,
            mark: place.mark,
            created_at: place.created_at,
            number: row.take()?,
            job: row.take()?,
            is_held: row.take()?,
        })
    })
}

/// The oldest rows of the ledger, but never the last of all, nor that of the last job.
async fn entries(db: &Db, old: Old, after: i64, limit: u32) -> Result<Vec<OldEntry>> {
    let rows = db
        .all(
            &format!(
                "SELECT {PLACE}, t.kind, t.amount, t.balance_after, t.job_id, j.seq, j.previous, j.price, j.refunded, j.completed_at,
                     (SELECT e.seq FROM events e WHERE e.job_id = t.job_id),
                     coalesce(j.seq = (SELECT max(seq) FROM jobs), true)
                         OR EXISTS (SELECT 1 FROM idempotency_keys i WHERE i.job_id = t.job_id AND i.expires_at > $3)
                         OR EXISTS (SELECT 1 FROM assets a WHERE a.job_id = t.job_id AND a.role = 'late' AND a.created_at >= $4),
                     (SELECT max(r.seq) FROM ledger r WHERE r.job_id = t.job_id)
                 FROM ledger t LEFT JOIN carried c ON c.org_id = t.org_id AND c.mode = t.mode
                     LEFT JOIN jobs j ON j.id = t.job_id AND j.org_id = t.org_id AND j.mode = t.mode
                 WHERE t.seq > $1 AND t.seq < (SELECT max(seq) FROM ledger) ORDER BY t.seq LIMIT $2"
            ),
            &[
                &after,
                &i64::from(limit),
                &old.now.as_micros(),
                &old.before.as_micros(),
            ],
        )
        .await?;
    collect(&rows, |row| {
        let place = read_place(row)?;
        Ok(OldEntry {
            seq: place.seq,
            previous: place.previous,
            purse: place.purse,
            mark: place.mark,
            created_at: place.created_at,
            kind: row.take()?,
            amount: row.take()?,
            balance_after: row.take()?,
            job: read_job(row)?,
        })
    })
}

fn read_job(row: &mut Columns<'_>) -> Result<Option<OldJob>> {
    let Some(id) = row.take::<Option<String>>()? else {
        return Ok(None);
    };
    Ok(Some(OldJob {
        id,
        seq: row.take::<Option<i64>>()?.unwrap_or(0),
        previous: row.take()?,
        price: row.take::<Option<i64>>()?.unwrap_or(0),
        refunded: row.take::<Option<i64>>()?.unwrap_or(0),
        completed_at: row.time_if_any()?,
        event: row.take()?,
        // Also one that the organization does not have: the audit tells of it.
        is_held: row.take()?,
        last_entry: row.take::<Option<i64>>()?.unwrap_or(0),
    }))
}

/// A list of each column, to be put together again by `unnest`.
fn columns<C>(carried: &[(Purse, C)]) -> (Vec<&str>, Vec<&str>) {
    carried
        .iter()
        .map(|(purse, _)| (purse.org.as_str(), purse.mode.as_str()))
        .unzip()
}

fn numbers<C>(carried: &[(Purse, C)], number: impl Fn(&C) -> i64) -> Vec<i64> {
    carried.iter().map(|(_, carried)| number(carried)).collect()
}

async fn remove_events(db: &Db, cut: &Cut<CarriedEvents>, old: Old) -> Result<()> {
    let (orgs, modes) = columns(&cut.carried);
    let counts = numbers(&cut.carried, |carried| carried.events);
    db.run(
        "INSERT INTO carried (org_id, mode, event, events, until)
         SELECT org_id, mode, event, events, $5 FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
             AS c (org_id, mode, event, events)
         ON CONFLICT (org_id, mode) DO UPDATE
             SET event = excluded.event, events = excluded.events, until = greatest(carried.until, excluded.until)",
        &[
            &orgs,
            &modes,
            &numbers(&cut.carried, |carried| carried.event),
            &counts,
            &old.before.as_micros(),
        ],
    )
    .await?;
    db.run(
        "DELETE FROM event_marks m USING unnest($1::text[], $2::text[], $3::bigint[]) AS c (org_id, mode, events)
         WHERE m.org_id = c.org_id AND m.mode = c.mode AND m.number <= c.events",
        &[&orgs, &modes, &counts],
    )
    .await?;
    db.run(
        "DELETE FROM deliveries WHERE job_id = ANY ($1)",
        &[&cut.jobs],
    )
    .await?;
    db.run("DELETE FROM events WHERE seq = ANY ($1)", &[&cut.rows])
        .await?;
    Ok(())
}

/// Answers how many attempts have gone with the jobs.
async fn remove_entries(db: &Db, cut: &Cut<CarriedEntries>, old: Old) -> Result<u64> {
    let (orgs, modes) = columns(&cut.carried);
    db.run(
        "INSERT INTO carried (org_id, mode, job, entry, jobs, entries, credits, charged, refunded, until)
         SELECT org_id, mode, job, entry, jobs, entries, credits, charged, refunded, $10
         FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
             AS c (org_id, mode, job, entry, jobs, entries, credits, charged, refunded)
         ON CONFLICT (org_id, mode) DO UPDATE
             SET job = greatest(carried.job, excluded.job), entry = excluded.entry, jobs = carried.jobs + excluded.jobs,
                 entries = carried.entries + excluded.entries, credits = excluded.credits,
                 charged = carried.charged + excluded.charged, refunded = carried.refunded + excluded.refunded,
                 until = greatest(carried.until, excluded.until)",
        &[
            &orgs,
            &modes,
            &numbers(&cut.carried, |carried| carried.job),
            &numbers(&cut.carried, |carried| carried.entry),
            &numbers(&cut.carried, |carried| carried.jobs),
            &numbers(&cut.carried, |carried| carried.entries),
            &numbers(&cut.carried, |carried| carried.credits),
            &numbers(&cut.carried, |carried| carried.charged),
            &numbers(&cut.carried, |carried| carried.refunded),
            &old.before.as_micros(),
        ],
    )
    .await?;
    db.run("DELETE FROM ledger WHERE seq = ANY ($1)", &[&cut.rows])
        .await?;
    let attempts = "DELETE FROM attempts WHERE job_id = ANY ($1)";
    let attempts = db.run(attempts, &[&cut.jobs]).await?;
    for sql in [
        "DELETE FROM idempotency_keys WHERE job_id = ANY ($1)",
        "DELETE FROM steps WHERE job_id = ANY ($1)",
        "DELETE FROM assets a WHERE a.job_id = ANY ($1) AND a.erased_at IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM job_inputs i WHERE i.asset_id = a.id)",
    ] {
        db.run(sql, &[&cut.jobs]).await?;
    }
    db.run(
        "UPDATE assets a SET job_id = NULL, workflow = j.workflow,
             deleted_at = CASE WHEN a.role IN ('step', 'late') THEN coalesce(a.deleted_at, $2) ELSE a.deleted_at END
         FROM jobs j WHERE j.id = a.job_id AND a.job_id = ANY ($1)",
        &[&cut.jobs, &old.now.as_micros()],
    )
    .await?;
    db.run("DELETE FROM jobs WHERE id = ANY ($1)", &[&cut.jobs])
        .await?;
    Ok(attempts)
}
