//! The ends of jobs, in the order in which they were written.

use super::jobs;
use super::rows::collect;
use crate::store::Event;
use crate::{Result, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use vydra_core::ids::{EventId, JobId, OrgId};
use vydra_core::job::Mode;
use vydra_core::time::Timestamp;
use vydra_core::webhook::EventType;

/// Every so many there is a mark.
const BETWEEN_MARKS: i64 = 256;

/// Writes the event at the end of its organization's chain. Its number, for the balance: see [`super::credits::give_back`].
pub(super) fn insert(
    db: &Connection,
    job: &JobId,
    org: &OrgId,
    mode: Mode,
    kind: EventType,
    now: Timestamp,
) -> Result<i64> {
    let (seq, number): (i64, i64) = db
        .prepare_cached(
            "INSERT INTO events (previous, number, job_id, org_id, mode, kind, created_at)
             SELECT last_event, events + 1, ?1, ?2, ?3, ?4, ?5 FROM balances WHERE org_id = ?2 AND mode = ?3
             RETURNING seq, number",
        )?
        .query_row(
            params![
                job.as_str(),
                org.as_str(),
                mode.as_str(),
                kind.as_str(),
                now.as_micros()
            ],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
    if number % BETWEEN_MARKS == 0 {
        db.prepare_cached(
            "INSERT INTO event_marks (org_id, mode, number, seq) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![org.as_str(), mode.as_str(), number, seq])?;
    }
    Ok(seq)
}

pub(super) fn last(db: &Connection, org: &OrgId, mode: Mode) -> Result<Option<EventId>> {
    let job: Option<String> = db
        .prepare_cached(
            "SELECT job_id FROM balances b JOIN events e ON e.seq = b.last_event WHERE b.org_id = ?1 AND b.mode = ?2",
        )?
        .query_row(params![org.as_str(), mode.as_str()], |row| row.get(0))
        .optional()?;
    Ok(job.map(|job| EventId::of(&JobId::trusted(job))))
}

pub(super) fn list(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    after: Option<&EventId>,
    limit: u32,
) -> Result<Option<Vec<Event>>> {
    let seen: i64 = match after {
        // From the first one that is there.
        None => db
            .prepare_cached("SELECT events FROM carried WHERE org_id = ?1 AND mode = ?2")?
            .query_row(params![org.as_str(), mode.as_str()], |row| row.get(0))
            .optional()?
            .unwrap_or(0),
        Some(after) => {
            let number = db
                .prepare_cached(
                    "SELECT number FROM events WHERE job_id = ?1 AND org_id = ?2 AND mode = ?3",
                )?
                .query_row(
                    params![after.job().as_str(), org.as_str(), mode.as_str()],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(number) = number else {
                return Ok(None);
            };
            number
        }
    };
    let wanted = seen + i64::from(limit);
    let marked: Option<i64> = db
        .prepare_cached(
            "SELECT seq FROM event_marks WHERE org_id = ?1 AND mode = ?2 AND number >= ?3 ORDER BY number LIMIT 1",
        )?
        .query_row(params![org.as_str(), mode.as_str(), wanted], |row| {
            row.get(0)
        })
        .optional()?;
    // Back from the mark behind the page, or from the end, to the beginning of the page.
    let mut statement = db.prepare_cached(
        "WITH RECURSIVE chain (at, before, place) AS (
             SELECT seq, previous, number FROM events
             WHERE seq = coalesce(?1, (SELECT last_event FROM balances WHERE org_id = ?2 AND mode = ?3)) AND number > ?4
             UNION ALL
             SELECT e.seq, e.previous, e.number FROM chain c CROSS JOIN events e ON e.seq = c.before WHERE e.number > ?4)
         SELECT e.job_id, e.kind, e.created_at FROM chain CROSS JOIN events e ON e.seq = at
         WHERE place <= ?5 ORDER BY place",
    )?;
    let rows = statement.query(params![marked, org.as_str(), mode.as_str(), seen, wanted])?;
    let ends = collect(rows, |row| {
        let job = JobId::trusted(row.take()?);
        Ok((job, row.word(EventType::parse)?, row.time()?))
    })?;
    let event = |(job, kind, at)| {
        let id = EventId::of(&job);
        let job = jobs::get(db, org, &job)?
            .ok_or_else(|| StoreError::Corrupt(format!("the job of {id} is gone")))?;
        Ok(Event { id, kind, at, job })
    };
    ends.into_iter().map(event).collect::<Result<_>>().map(Some)
}
