//! Removing what is old: see [`crate::prune`] for what goes.

use super::SqliteStore;
use super::attempts::day;
use super::rows::{Columns, collect};
use crate::Result;
use crate::prune::{
    CarriedEntries, CarriedEvents, Cut, Mark, OldEntry, OldEvent, OldJob, Pruner, Purse, last,
};
use crate::store::{Old, PruneAt, PruneCounts, PruneStep, UpkeepStore};
use async_trait::async_trait;
use rusqlite::{Connection, params};
use vydra_core::time::Timestamp;

/// How many rows a look takes that nobody waits for.
const LOOKED_AT: u32 = 1_000;

#[async_trait]
impl UpkeepStore for SqliteStore {
    async fn prune(&self, old: Old, at: PruneAt, limit: u32) -> Result<PruneStep> {
        // Looking may find nothing for a long way, and the writer's time is everybody's.
        let looked = self.scan(move |db| look(db, old, at, limit)).await?;
        if looked.counts == PruneCounts::default() {
            return Ok(looked);
        }
        self.write(move |db| remove(db, old, at, limit)).await
    }

    async fn prunable(&self, old: Old) -> Result<PruneCounts> {
        self.scan(move |db| {
            let snapshot = db.unchecked_transaction()?;
            let (mut counts, mut pruner) = (PruneCounts::default(), Pruner::new(old));
            let mut at = Some(PruneAt::START);
            while let Some(place) = at {
                let step = look_with(&snapshot, &mut pruner, old, place, LOOKED_AT)?;
                counts.add(step.counts);
                at = step.next;
            }
            Ok(counts)
        })
        .await
    }
}

/// What [`remove`] would do.
fn look(db: &Connection, old: Old, at: PruneAt, limit: u32) -> Result<PruneStep> {
    look_with(db, &mut Pruner::new(old), old, at, limit)
}

fn look_with(
    db: &Connection,
    pruner: &mut Pruner,
    old: Old,
    at: PruneAt,
    limit: u32,
) -> Result<PruneStep> {
    let (counts, last) = match at {
        PruneAt::Attempts { after } => {
            let rows = attempts(db, after, limit)?;
            let goes = rows.iter().filter(|(_, ended)| *ended < old.before);
            (
                of_attempts(goes.count()),
                last(&rows, limit, old, |row| *row),
            )
        }
        PruneAt::Events { after } => {
            let rows = events(db, after, limit)?;
            let counts = pruner.events(&rows).counts();
            (
                counts,
                last(&rows, limit, old, |row| (row.seq, row.created_at)),
            )
        }
        PruneAt::Ledger { after } => {
            let rows = entries(db, old, after, limit)?;
            let counts = pruner.entries(&rows).counts();
            (
                counts,
                last(&rows, limit, old, |row| (row.seq, row.created_at)),
            )
        }
    };
    let next = at.next(last);
    Ok(PruneStep { counts, next })
}

fn remove(db: &Connection, old: Old, at: PruneAt, limit: u32) -> Result<PruneStep> {
    let mut pruner = Pruner::new(old);
    let (counts, last) = match at {
        PruneAt::Attempts { after } => {
            let rows = attempts(db, after, limit)?;
            let last = last(&rows, limit, old, |row| *row);
            (remove_attempts(db, &rows, old)?, last)
        }
        PruneAt::Events { after } => {
            let rows = events(db, after, limit)?;
            let cut = pruner.events(&rows);
            remove_events(db, &cut, old)?;
            let last = last(&rows, limit, old, |row| (row.seq, row.created_at));
            (cut.counts(), last)
        }
        PruneAt::Ledger { after } => {
            let rows = entries(db, old, after, limit)?;
            let cut = pruner.entries(&rows);
            let attempts = remove_entries(db, &cut, old)?;
            let last = last(&rows, limit, old, |row| (row.seq, row.created_at));
            let mut counts = cut.counts();
            counts.add(of_attempts(attempts));
            (counts, last)
        }
    };
    let next = at.next(last);
    Ok(PruneStep { counts, next })
}

fn of_attempts(count: usize) -> PruneCounts {
    PruneCounts {
        attempts: count as u64,
        ..PruneCounts::default()
    }
}

fn attempts(db: &Connection, after: i64, limit: u32) -> Result<Vec<(i64, Timestamp)>> {
    let mut statement = db.prepare_cached(
        "SELECT seq, ended_at FROM attempts WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    collect(statement.query(params![after, limit])?, |row| {
        Ok((row.take()?, row.time()?))
    })
}

/// And what providers were asked for on those days, which are few.
fn remove_attempts(db: &Connection, rows: &[(i64, Timestamp)], old: Old) -> Result<PruneCounts> {
    let mut remove = db.prepare_cached("DELETE FROM attempts WHERE seq = ?1")?;
    let mut count = 0;
    for (seq, ended) in rows {
        if *ended < old.before {
            count += remove.execute([seq])?;
        }
    }
    db.prepare_cached("DELETE FROM provider_days WHERE day < ?1")?
        .execute([day(old.before)])?;
    Ok(of_attempts(count))
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

fn read_place(row: &mut Columns<'_, '_>) -> Result<Place> {
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

/// The oldest events, but never the last of all: the next one would get its number.
fn events(db: &Connection, after: i64, limit: u32) -> Result<Vec<OldEvent>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {PLACE}, t.number, t.job_id, EXISTS (SELECT 1 FROM deliveries d WHERE d.job_id = t.job_id AND d.status = 'pending')
         FROM events t LEFT JOIN carried c ON c.org_id = t.org_id AND c.mode = t.mode
         WHERE t.seq > ?1 AND t.seq < (SELECT max(seq) FROM events) ORDER BY t.seq LIMIT ?2"
    ))?;
    collect(statement.query(params![after, limit])?, |row| {
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

/// The oldest rows of the ledger, but never the last of all, nor that of the last job: the next one would get its number.
fn entries(db: &Connection, old: Old, after: i64, limit: u32) -> Result<Vec<OldEntry>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {PLACE}, t.kind, t.amount, t.balance_after, t.job_id, j.seq, j.previous, j.price, j.refunded, j.completed_at,
             (SELECT e.seq FROM events e WHERE e.job_id = t.job_id),
             j.seq = (SELECT max(seq) FROM jobs)
                 OR EXISTS (SELECT 1 FROM idempotency_keys i WHERE i.job_id = t.job_id AND i.expires_at > ?3)
                 OR EXISTS (SELECT 1 FROM assets a WHERE a.job_id = t.job_id AND a.role = 'late' AND a.created_at >= ?4),
             (SELECT max(r.seq) FROM ledger r WHERE r.job_id = t.job_id)
         FROM ledger t LEFT JOIN carried c ON c.org_id = t.org_id AND c.mode = t.mode
             LEFT JOIN jobs j ON j.id = t.job_id AND j.org_id = t.org_id AND j.mode = t.mode
         WHERE t.seq > ?1 AND t.seq < (SELECT max(seq) FROM ledger) ORDER BY t.seq LIMIT ?2"
    ))?;
    let key = params![after, limit, old.now.as_micros(), old.before.as_micros()];
    collect(statement.query(key)?, |row| {
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

fn read_job(row: &mut Columns<'_, '_>) -> Result<Option<OldJob>> {
    let Some(id) = row.take::<Option<String>>()? else {
        return Ok(None);
    };
    let seq: Option<i64> = row.take()?;
    Ok(Some(OldJob {
        id,
        seq: seq.unwrap_or(0),
        previous: row.take()?,
        price: row.take::<Option<i64>>()?.unwrap_or(0),
        refunded: row.take::<Option<i64>>()?.unwrap_or(0),
        completed_at: row.time_if_any()?,
        event: row.take()?,
        // One that the organization does not have: the audit tells of it.
        is_held: row.take::<Option<bool>>()?.unwrap_or(false) || seq.is_none(),
        last_entry: row.take::<Option<i64>>()?.unwrap_or(0),
    }))
}

fn remove_events(db: &Connection, cut: &Cut<CarriedEvents>, old: Old) -> Result<()> {
    let mut carry = db.prepare_cached(
        "INSERT INTO carried (org_id, mode, event, events, until) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (org_id, mode) DO UPDATE SET event = ?3, events = ?4, until = max(until, ?5)",
    )?;
    let mut unmark = db.prepare_cached(
        "DELETE FROM event_marks WHERE org_id = ?1 AND mode = ?2 AND number <= ?3",
    )?;
    for (purse, carried) in &cut.carried {
        carry.execute(params![
            purse.org,
            purse.mode,
            carried.event,
            carried.events,
            old.before.as_micros()
        ])?;
        unmark.execute(params![purse.org, purse.mode, carried.events])?;
    }
    for sql in [
        "DELETE FROM deliveries WHERE job_id = ?1",
        "DELETE FROM events WHERE job_id = ?1",
    ] {
        let mut remove = db.prepare_cached(sql)?;
        for job in &cut.jobs {
            remove.execute([job])?;
        }
    }
    Ok(())
}

/// Answers how many attempts have gone with the jobs.
fn remove_entries(db: &Connection, cut: &Cut<CarriedEntries>, old: Old) -> Result<usize> {
    let mut carry = db.prepare_cached(
        "INSERT INTO carried (org_id, mode, job, entry, jobs, entries, credits, charged, refunded, until)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (org_id, mode) DO UPDATE SET job = max(job, ?3), entry = ?4, jobs = jobs + ?5, entries = entries + ?6,
             credits = ?7, charged = charged + ?8, refunded = refunded + ?9, until = max(until, ?10)",
    )?;
    for (purse, carried) in &cut.carried {
        carry.execute(params![
            purse.org,
            purse.mode,
            carried.job,
            carried.entry,
            carried.jobs,
            carried.entries,
            carried.credits,
            carried.charged,
            carried.refunded,
            old.before.as_micros()
        ])?;
    }
    let mut remove = db.prepare_cached("DELETE FROM ledger WHERE seq = ?1")?;
    for seq in &cut.rows {
        remove.execute([seq])?;
    }
    let mut attempts = db.prepare_cached("DELETE FROM attempts WHERE job_id = ?1")?;
    let mut count = 0;
    for job in &cut.jobs {
        count += attempts.execute([job])?;
    }
    for sql in [
        "DELETE FROM idempotency_keys WHERE job_id = ?1",
        "DELETE FROM steps WHERE job_id = ?1",
        "DELETE FROM assets AS a WHERE a.job_id = ?1 AND a.erased_at IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM job_inputs i WHERE i.asset_id = a.id)",
    ] {
        let mut remove = db.prepare_cached(sql)?;
        for job in &cut.jobs {
            remove.execute([job])?;
        }
    }
    let mut let_go = db.prepare_cached(
        "UPDATE assets SET job_id = NULL, workflow = (SELECT j.workflow FROM jobs j WHERE j.id = ?1),
             deleted_at = iif(role IN ('step', 'late'), coalesce(deleted_at, ?2), deleted_at)
         WHERE job_id = ?1",
    )?;
    let mut remove = db.prepare_cached("DELETE FROM jobs WHERE id = ?1")?;
    for job in &cut.jobs {
        let_go.execute(params![job, old.now.as_micros()])?;
        remove.execute([job])?;
    }
    Ok(count)
}
