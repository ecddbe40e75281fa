//! The ends of jobs, in the order in which they were written.

use super::db::Db;
use super::jobs;
use super::rows::{Columns, collect, read};
use crate::store::Event;
use crate::{Result, StoreError};
use vydra_core::ids::{EventId, JobId, OrgId};
use vydra_core::job::Mode;
use vydra_core::webhook::EventType;

pub(super) async fn last(db: &Db, org: &OrgId, mode: Mode) -> Result<Option<EventId>> {
    let row = db
        .first(
            "SELECT e.job_id FROM balances b JOIN events e ON e.seq = b.last_event WHERE b.org_id = $1 AND b.mode = $2",
            &[&org.as_str(), &mode.as_str()],
        )
        .await?;
    let job: Option<String> = read(row.as_ref(), Columns::take)?;
    Ok(job.map(|job| EventId::of(&JobId::trusted(job))))
}

/// How many events there are up to this one. None when it is not one of this organization and mode.
async fn number(db: &Db, org: &OrgId, mode: Mode, event: &EventId) -> Result<Option<i64>> {
    let row = db
        .first(
            "SELECT number FROM events WHERE job_id = $1 AND org_id = $2 AND mode = $3",
            &[&event.job().as_str(), &org.as_str(), &mode.as_str()],
        )
        .await?;
    read(row.as_ref(), Columns::take)
}

/// How many events there are before the first one that is there.
async fn carried(db: &Db, org: &OrgId, mode: Mode) -> Result<i64> {
    let row = db
        .first(
            "SELECT events FROM carried WHERE org_id = $1 AND mode = $2",
            &[&org.as_str(), &mode.as_str()],
        )
        .await?;
    Ok(read(row.as_ref(), Columns::take)?.unwrap_or(0))
}

/// To be called in one snapshot.
pub(super) async fn list(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    after: Option<&EventId>,
    limit: u32,
) -> Result<Option<Vec<Event>>> {
    let seen = match after {
        None => carried(db, org, mode).await?,
        Some(after) => match number(db, org, mode, after).await? {
            Some(number) => number,
            None => return Ok(None),
        },
    };
    let wanted = seen + i64::from(limit);
    let marked = db
        .first(
            "SELECT seq FROM event_marks WHERE org_id = $1 AND mode = $2 AND number >= $3 ORDER BY number LIMIT 1",
            &[&org.as_str(), &mode.as_str(), &wanted],
        )
        .await?;
    let marked: Option<i64> = read(marked.as_ref(), Columns::take)?;
    // Back from the mark behind the page, or from the end, to the beginning of the page. The inner limit keeps Postgres
    // from reading the whole table for every event of the chain.
    let rows = db
        .all(
            "WITH RECURSIVE chain (number, before, place) AS (
                 SELECT seq, previous, number FROM events
                 WHERE seq = coalesce($1::bigint, (SELECT last_event FROM balances WHERE org_id = $2 AND mode = $3))
                   AND number > $4
                 UNION ALL
                 SELECT e.seq, e.previous, e.number FROM chain c CROSS JOIN LATERAL
                     (SELECT seq, previous, number FROM events WHERE seq = c.before LIMIT 1) e
                 WHERE e.number > $4)
             SELECT e.job_id, e.kind, e.created_at FROM chain c JOIN events e ON e.seq = c.number
             WHERE c.place <= $5 ORDER BY c.place",
            &[&marked, &org.as_str(), &mode.as_str(), &seen, &wanted],
        )
        .await?;
    let ends = collect(&rows, |row| {
        let job = JobId::trusted(row.take()?);
        Ok((job, row.word(EventType::parse)?, row.time()?))
    })?;
    let mut events = Vec::with_capacity(ends.len());
    for (job, kind, at) in ends {
        let id = EventId::of(&job);
        let job = jobs::get(db, org, &job)
            .await?
            .ok_or_else(|| StoreError::Corrupt(format!("the job of {id} is gone")))?;
        events.push(Event { id, kind, at, job });
    }
    Ok(Some(events))
}
