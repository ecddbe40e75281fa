//! Events on their way to those who asked for them.

use super::rows::{Columns, collect, first};
use super::webhooks;
use crate::store::{
    ClaimedDeliveries, ClaimedDelivery, DeliveryClaim, DeliveryFilter, DeliveryOutcome,
    DeliveryPage, Lane, NewNotice, Resending, Settled, SettledDelivery,
};
use crate::{Result, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use vydra_core::ids::{DeliveryId, EndpointId, EventId, JobId, OrgId};
use vydra_core::job::Mode;
use vydra_core::time::Timestamp;
use vydra_core::webhook::{
    Attempted, Delivery, DeliveryStatus, Disabled, EventType, FAILING_LIMIT,
};

const COLUMNS: &str =
    "id, org_id, mode, event_id, kind, endpoint_id, url, status, attempts, next_at,
    last_at, response_status, error, duration_ms, created_at";
/// How many deliveries to a receiver that is switched off are given up at once.
const GIVEN_UP_AT_ONCE: usize = 500;

fn read(row: &mut Columns<'_, '_>) -> Result<Delivery> {
    Ok(Delivery {
        id: DeliveryId::trusted(row.take()?),
        org_id: OrgId::trusted(row.take()?),
        mode: row.word(Mode::parse)?,
        event: EventId::trusted(row.take()?),
        kind: row.word(EventType::parse)?,
        endpoint_id: row.take::<Option<String>>()?.map(EndpointId::trusted),
        url: row.take()?,
        status: row.word(DeliveryStatus::parse)?,
        attempts: row.take()?,
        next_attempt_at: row.time_if_any()?,
        last: {
            let at = row.time_if_any()?;
            let (response_status, error) = (row.take()?, row.take()?);
            let duration_ms = row.take::<Option<i64>>()?.unwrap_or(0).unsigned_abs();
            at.map(|at| Attempted {
                at,
                response_status,
                error,
                duration_ms,
            })
        },
        created_at: row.time()?,
    })
}

/// Where the end of a job is to be told.
pub(super) struct Destinations<'a> {
    pub(super) job: &'a JobId,
    pub(super) org: &'a OrgId,
    pub(super) mode: Mode,
    pub(super) kind: EventType,
    /// The job's own.
    pub(super) url: Option<&'a str>,
    pub(super) now: Timestamp,
}

pub(super) fn of_job(db: &Connection, to: &Destinations<'_>) -> Result<()> {
    let event = EventId::of(to.job);
    if let Some(url) = to.url {
        db.prepare_cached(
            "INSERT INTO deliveries (org_id, mode, event_id, kind, job_id, url, lane, next_at, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?1, ?7, ?7)",
        )?
        .execute(params![
            to.org.as_str(),
            to.mode.as_str(),
            event.as_str(),
            to.kind.as_str(),
            to.job.as_str(),
            url,
            to.now.as_micros()
        ])?;
    }
    db.prepare_cached(
        "INSERT INTO deliveries (org_id, mode, event_id, kind, job_id, endpoint_id, url, lane, next_at, created_at)
         SELECT org_id, mode, ?3, ?4, ?5, id, url, id, ?6, ?6 FROM webhook_endpoints
         WHERE org_id = ?1 AND mode = ?2 AND deleted_at IS NULL AND disabled IS NULL
           AND (events = '[]' OR EXISTS (SELECT 1 FROM json_each(events) WHERE value = ?4))",
    )?
    .execute(params![
        to.org.as_str(),
        to.mode.as_str(),
        event.as_str(),
        to.kind.as_str(),
        to.job.as_str(),
        to.now.as_micros()
    ])?;
    Ok(())
}

pub(super) fn notice(db: &Connection, notice: &NewNotice) -> Result<Delivery> {
    let endpoint = notice.endpoint.as_ref().map(EndpointId::as_str);
    db.prepare_cached(
        "INSERT INTO deliveries (id, org_id, mode, event_id, kind, data, endpoint_id, url, lane, next_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, coalesce(?7, ?2), ?9, ?9)",
    )?
    .execute(params![
        notice.id.as_str(),
        notice.org_id.as_str(),
        notice.mode.as_str(),
        notice.event.as_str(),
        notice.kind.as_str(),
        notice.data,
        endpoint,
        notice.url,
        notice.now.as_micros()
    ])?;
    get(db, &notice.org_id, notice.mode, &notice.id)?
        .ok_or_else(|| StoreError::Corrupt("a delivery is gone".to_owned()))
}

pub(super) fn get(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    id: &DeliveryId,
) -> Result<Option<Delivery>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM deliveries WHERE id = ?1 AND org_id = ?2 AND mode = ?3"
    ))?;
    let key = params![id.as_str(), org.as_str(), mode.as_str()];
    first(statement.query(key)?, read)
}

pub(super) fn list(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    filter: &DeliveryFilter,
) -> Result<Option<DeliveryPage>> {
    const WANTED: &str = "org_id = ?1 AND mode = ?2 AND (?3 IS NULL OR status = ?3) AND (?4 IS NULL OR endpoint_id = ?4)";
    let status = filter.status.map(DeliveryStatus::as_str);
    let endpoint = filter.endpoint.as_ref().map(EndpointId::as_str);
    let before: i64 = match &filter.after {
        None => i64::MAX,
        Some(after) => {
            let seq = db
                .prepare_cached(
                    "SELECT seq FROM deliveries WHERE id = ?1 AND org_id = ?2 AND mode = ?3",
                )?
                .query_row(
                    params![after.as_str(), org.as_str(), mode.as_str()],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(seq) = seq else { return Ok(None) };
            seq
        }
    };
    let count: i64 = db
        .prepare_cached(&format!("SELECT count(*) FROM deliveries WHERE {WANTED}"))?
        .query_row(
            params![org.as_str(), mode.as_str(), status, endpoint],
            |row| row.get(0),
        )?;
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM deliveries WHERE {WANTED} AND seq < ?5 ORDER BY seq DESC LIMIT ?6 OFFSET ?7"
    ))?;
    let page = params![
        org.as_str(),
        mode.as_str(),
        status,
        endpoint,
        before,
        filter.limit,
        filter.offset
    ];
    Ok(Some(DeliveryPage {
        deliveries: collect(statement.query(page)?, read)?,
        count: count.unsigned_abs(),
    }))
}

pub(super) fn resend(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    id: &DeliveryId,
    now: Timestamp,
) -> Result<Resending> {
    let Some(delivery) = get(db, org, mode, id)? else {
        return Ok(Resending::NotFound);
    };
    // One that is under way is sent already.
    let sent_again = db
        .prepare_cached(
            "UPDATE deliveries SET status = 'pending', failed = 0, next_at = iif(sending, next_at, ?2),
                 url = coalesce((SELECT url FROM webhook_endpoints e WHERE e.id = endpoint_id), url)
             WHERE id = ?1 AND (endpoint_id IS NULL OR EXISTS (
                 SELECT 1 FROM webhook_endpoints e WHERE e.id = endpoint_id AND disabled IS NULL AND deleted_at IS NULL))",
        )?
        .execute(params![delivery.id.as_str(), now.as_micros()])?;
    if sent_again == 0 {
        return Ok(Resending::SwitchedOff);
    }
    get(db, org, mode, id)?
        .map(|delivery| Resending::Now(Box::new(delivery)))
        .ok_or_else(|| StoreError::Corrupt("a delivery is gone".to_owned()))
}

/// The numbers of deliveries that could be claimed now: of each receiver the earliest, as many as it has places for,
/// beginning behind the receiver that was served last.
pub(super) fn find(db: &Connection, claim: &DeliveryClaim) -> Result<Vec<i64>> {
    let mut found = Vec::new();
    let mut next_lane = db.prepare_cached(
        "SELECT min(lane) FROM deliveries WHERE status = 'pending' AND lane > ?1 AND lane <= ?2",
    )?;
    let mut due = db.prepare_cached(
        "SELECT seq FROM deliveries WHERE status = 'pending' AND lane = ?1 AND next_at <= ?2 ORDER BY next_at LIMIT ?3",
    )?;
    let start = claim.after.as_ref().map_or("", |lane| lane.0.as_str());
    // Behind the last one to the end, and then from the beginning up to it.
    for (from, to) in [(start, "\u{10FFFF}"), ("", start)] {
        let mut at = from.to_owned();
        while found.len() < claim.limit {
            let lane: Option<String> = next_lane.query_row(params![at, to], |row| row.get(0))?;
            let Some(lane) = lane else { break };
            let held = claim.held.get(&Lane(lane.clone())).copied().unwrap_or(0);
            let free = claim
                .share
                .saturating_sub(held)
                .min(claim.limit - found.len());
            if free > 0 {
                let free = i64::try_from(free).unwrap_or(i64::MAX);
                let key = params![lane, claim.now.as_micros(), free];
                let rows = due.query_map(key, |row| row.get::<_, i64>(0))?;
                found.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
            }
            at = lane;
        }
    }
    Ok(found)
}

pub(super) fn claim(
    db: &Connection,
    found: &[i64],
    claim: &DeliveryClaim,
) -> Result<ClaimedDeliveries> {
    let mut claimed = ClaimedDeliveries::default();
    let mut take = db.prepare_cached(&format!(
        "UPDATE deliveries SET attempts = attempts + 1, sending = 1, next_at = ?3,
             url = coalesce((SELECT url FROM webhook_endpoints e WHERE e.id = endpoint_id), url)
         WHERE seq = ?1 AND status = 'pending' AND next_at <= ?2 AND (endpoint_id IS NULL OR EXISTS (
             SELECT 1 FROM webhook_endpoints e WHERE e.id = endpoint_id AND disabled IS NULL AND deleted_at IS NULL))
         RETURNING {COLUMNS}, lane, failed, data"
    ))?;
    for seq in found {
        let key = params![seq, claim.now.as_micros(), claim.until.as_micros()];
        let delivery = first(take.query(key)?, |row| {
            Ok(ClaimedDelivery {
                delivery: read(row)?,
                lane: Lane(row.take()?),
                failed: row.take()?,
                data: row.take()?,
            })
        })?;
        match delivery {
            Some(delivery) => claimed.deliveries.push(delivery),
            None => claimed.given_up += give_up(db, *seq, claim.now)?,
        }
    }
    Ok(claimed)
}

/// Ends what is due to the same endpoint as this delivery, if that is switched off. Says how many.
fn give_up(db: &Connection, seq: i64, now: Timestamp) -> Result<usize> {
    Ok(db
        .prepare_cached(
            "UPDATE deliveries SET status = 'failed', next_at = NULL, sending = 0, error = 'the endpoint is switched off'
             WHERE seq IN (
                 SELECT d.seq FROM deliveries d
                 WHERE d.status = 'pending' AND d.next_at <= ?2 AND d.lane = (
                     SELECT e.id FROM deliveries g JOIN webhook_endpoints e ON e.id = g.endpoint_id
                     WHERE g.seq = ?1 AND (e.disabled IS NOT NULL OR e.deleted_at IS NOT NULL))
                 LIMIT ?3)",
        )?
        .execute(params![
            seq,
            now.as_micros(),
            i64::try_from(GIVEN_UP_AT_ONCE).unwrap_or(i64::MAX)
        ])?)
}

pub(super) fn settle(db: &Connection, settled: &SettledDelivery) -> Result<Settled> {
    let (status, next_at) = match settled.outcome {
        DeliveryOutcome::Delivered => (DeliveryStatus::Delivered, None),
        DeliveryOutcome::Failed(Some(next)) => (DeliveryStatus::Pending, Some(next)),
        DeliveryOutcome::Failed(None) | DeliveryOutcome::Gone => (DeliveryStatus::Failed, None),
    };
    let has_failed = settled.outcome != DeliveryOutcome::Delivered;
    let attempted = &settled.attempted;
    let mut update = db.prepare_cached(
        "UPDATE deliveries SET status = ?3, next_at = ?4, sending = 0, failed = failed + ?5,
             last_at = ?6, response_status = ?7, error = ?8, duration_ms = ?9
         WHERE id = ?1 AND attempts = ?2 AND sending = 1 RETURNING org_id, mode, endpoint_id",
    )?;
    let row = params![
        settled.id.as_str(),
        settled.attempt,
        status.as_str(),
        next_at.map(Timestamp::as_micros),
        has_failed,
        attempted.at.as_micros(),
        attempted.response_status,
        attempted.error,
        i64::try_from(attempted.duration_ms).unwrap_or(i64::MAX)
    ];
    let found = first(update.query(row)?, |row| {
        Ok((
            OrgId::trusted(row.take()?),
            row.word(Mode::parse)?,
            row.take::<Option<String>>()?.map(EndpointId::trusted),
        ))
    })?;
    let Some((org, mode, endpoint)) = found else {
        return Ok(Settled::Lost);
    };
    let Some(endpoint) = endpoint else {
        return Ok(Settled::Done);
    };
    if !has_failed {
        webhooks::has_succeeded(db, &endpoint)?;
        return Ok(Settled::Done);
    }
    let since = webhooks::has_failed(db, &endpoint, settled.now)?;
    let why = if settled.outcome == DeliveryOutcome::Gone {
        Disabled::Gone
    } else if settled.now.since(since) >= FAILING_LIMIT {
        Disabled::Failing
    } else {
        return Ok(Settled::Done);
    };
    if !webhooks::switch_off(db, &endpoint, why, settled.now)? {
        return Ok(Settled::Done);
    }
    tell_the_others(db, settled, &org, mode, &endpoint, why)?;
    Ok(Settled::SwitchedOff)
}

/// The owner reads what the other endpoints are sent.
fn tell_the_others(
    db: &Connection,
    settled: &SettledDelivery,
    org: &OrgId,
    mode: Mode,
    endpoint: &EndpointId,
    why: Disabled,
) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO deliveries (org_id, mode, event_id, kind, data, endpoint_id, url, lane, next_at, created_at)
         SELECT org_id, mode, ?3, ?4,
             (SELECT json_object('endpointId', g.id, 'url', g.url, 'reason', ?6) FROM webhook_endpoints g WHERE g.id = ?5),
             id, url, id, ?7, ?7 FROM webhook_endpoints
         WHERE org_id = ?1 AND mode = ?2 AND deleted_at IS NULL AND disabled IS NULL
           AND (events = '[]' OR EXISTS (SELECT 1 FROM json_each(events) WHERE value = ?4))",
    )?
    .execute(params![
        org.as_str(),
        mode.as_str(),
        settled.notice.as_str(),
        EventType::EndpointDisabled.as_str(),
        endpoint.as_str(),
        why.as_str(),
        settled.now.as_micros()
    ])?;
    Ok(())
}

pub(super) fn release(db: &Connection, now: Timestamp) -> Result<u64> {
    let released = db
        .prepare_cached("UPDATE deliveries SET sending = 0, next_at = ?1 WHERE status = 'pending' AND sending = 1")?
        .execute(params![now.as_micros()])?;
    Ok(u64::try_from(released).unwrap_or(u64::MAX))
}

pub(super) fn next(db: &Connection) -> Result<Option<Timestamp>> {
    let next: Option<i64> = db
        .prepare_cached("SELECT min(next_at) FROM deliveries WHERE status = 'pending'")?
        .query_row((), |row| row.get(0))?;
    Ok(next.map(Timestamp::from_micros))
}

pub(super) fn forget(db: &Connection, before: Timestamp, limit: u32) -> Result<u64> {
    // The oldest are looked at only: one that is on its way for very long keeps no others.
    let forgotten = db
        .prepare_cached(
            "DELETE FROM deliveries WHERE seq IN (
                 SELECT seq FROM (SELECT seq, status, created_at FROM deliveries ORDER BY seq LIMIT ?2)
                 WHERE status <> 'pending' AND created_at < ?1)",
        )?
        .execute(params![before.as_micros(), limit])?;
    Ok(u64::try_from(forgotten).unwrap_or(u64::MAX))
}
