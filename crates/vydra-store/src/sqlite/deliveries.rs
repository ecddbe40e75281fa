//! Events on their way to those who asked for them.

use super::rows::{Columns, collect, first};
use super::webhooks;
use crate::store::{
    ClaimedDeliveries, ClaimedDelivery, DeliveryClaim, DeliveryFilter, DeliveryOutcome,
    DeliveryPage, Lane, NewNotice, Resending, Settled, SettledDelivery,
};
use crate::{Result, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{HashMap, HashSet};
use vydra_core::ids::{DeliveryId, EndpointId, EventId, JobId, OrgId};
use vydra_core::job::Mode;
use vydra_core::time::Timestamp;
use vydra_core::webhook::{Attempted, Delivery, DeliveryStatus, Disabled, EventType};

const COLUMNS: &str =
    "id, org_id, mode, event_id, kind, endpoint_id, url, status, attempts, next_at,
    last_at, response_status, duration_ms, error, created_at";
/// How many deliveries to a receiver that is switched off are given up at once.
const GIVEN_UP_AT_ONCE: u32 = 500;
/// How many receivers are looked at for one claim.
const LANES_AT_ONCE: usize = 1_000;

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
            let (at, response_status) = (row.time_if_any()?, row.take()?);
            let duration_ms = row.take::<Option<i64>>()?.unwrap_or(0).unsigned_abs();
            at.map(|at| Attempted {
                at,
                response_status,
                duration_ms,
            })
        },
        error: row.take()?,
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
            "INSERT INTO deliveries (org_id, mode, event_id, kind, job_id, url, lane, next_at, asked_at, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?8)",
        )?
        .execute(params![
            to.org.as_str(),
            to.mode.as_str(),
            event.as_str(),
            to.kind.as_str(),
            to.job.as_str(),
            url,
            Lane::of_url(to.org, to.mode, url).0,
            to.now.as_micros()
        ])?;
    }
    db.prepare_cached(
        "INSERT INTO deliveries (org_id, mode, event_id, kind, job_id, endpoint_id, url, lane, next_at, asked_at, created_at)
         SELECT org_id, mode, ?3, ?4, ?5, id, url, org_id || '/' || id, ?6, ?6, ?6 FROM webhook_endpoints
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
    let endpoint = notice.endpoint.as_ref();
    let lane = match endpoint {
        Some(id) => Lane::of_endpoint(&notice.org_id, id),
        None => Lane::of_url(&notice.org_id, notice.mode, &notice.url),
    };
    db.prepare_cached(
        "INSERT INTO deliveries (id, org_id, mode, event_id, kind, data, endpoint_id, url, lane, next_at, asked_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?10)",
    )?
    .execute(params![
        notice.id.as_str(),
        notice.org_id.as_str(),
        notice.mode.as_str(),
        notice.event.as_str(),
        notice.kind.as_str(),
        notice.data,
        endpoint.map(EndpointId::as_str),
        notice.url,
        lane.0,
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
    let sent_again = db
        .prepare_cached(
            "UPDATE deliveries SET status = 'pending', failed = 0, again = sending, next_at = iif(sending, next_at, ?2), asked_at = ?2
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

/// What could be claimed now, with its receiver.
pub(super) struct Found {
    pub(super) due: Vec<(i64, Lane)>,
    /// The receiver that was looked at last.
    pub(super) last: Option<Lane>,
}

/// Of each receiver the earliest, as many as it and its organization have places for, beginning behind the one that was
/// looked at last.
pub(super) fn find(db: &Connection, claim: &DeliveryClaim) -> Result<Found> {
    let mut next_lane = db.prepare_cached(
        "SELECT min(lane) FROM deliveries WHERE status = 'pending' AND lane > ?1 AND lane <= ?2",
    )?;
    let mut due = db.prepare_cached(
        "SELECT seq FROM deliveries WHERE status = 'pending' AND lane = ?1 AND next_at <= ?2 ORDER BY next_at LIMIT ?3",
    )?;
    let mut taken: HashMap<String, usize> = HashMap::new();
    for (lane, count) in &claim.held {
        *taken.entry(lane.organization().to_owned()).or_default() += count;
    }
    let mut found = Found {
        due: Vec::new(),
        last: None,
    };
    let (mut looked_at, start) = (0, claim.after.as_ref().map_or("", |lane| lane.0.as_str()));
    // Behind the last one to the end, and then from the beginning up to it.
    for (from, to) in [(start, "\u{10FFFF}"), ("", start)] {
        let mut at = from.to_owned();
        while found.due.len() < claim.limit && looked_at < LANES_AT_ONCE {
            let lane: Option<String> = next_lane.query_row(params![at, to], |row| row.get(0))?;
            let Some(lane) = lane.map(Lane) else { break };
            looked_at += 1;
            let of_organization = taken.entry(lane.organization().to_owned()).or_default();
            let left = claim.share_of_organization.saturating_sub(*of_organization);
            at = if left == 0 {
                // Behind all lanes of the organization: 0 follows the slash.
                format!("{}0", lane.organization())
            } else {
                lane.0.clone()
            };
            let held = claim.held.get(&lane).copied().unwrap_or(0);
            let free = claim.share.saturating_sub(held).min(left);
            let free = free.min(claim.limit - found.due.len());
            if free > 0 && !claim.closed.contains(&lane) {
                let free = i64::try_from(free).unwrap_or(i64::MAX);
                let key = params![lane.0, claim.now.as_micros(), free];
                let rows = due.query_map(key, |row| row.get::<_, i64>(0))?;
                let before = found.due.len();
                for seq in rows {
                    found.due.push((seq?, lane.clone()));
                }
                *of_organization += found.due.len() - before;
            }
            found.last = Some(lane);
        }
    }
    Ok(found)
}

pub(super) fn claim(
    db: &Connection,
    found: &Found,
    claim: &DeliveryClaim,
) -> Result<ClaimedDeliveries> {
    let mut claimed = ClaimedDeliveries {
        last: found.last.clone(),
        ..ClaimedDeliveries::default()
    };
    let mut take = db.prepare_cached(&format!(
        "UPDATE deliveries SET attempts = attempts + 1, sending = 1, again = 0, next_at = ?3,
             url = coalesce((SELECT url FROM webhook_endpoints e WHERE e.id = endpoint_id), url)
         WHERE seq = ?1 AND status = 'pending' AND next_at <= ?2 AND (endpoint_id IS NULL OR EXISTS (
             SELECT 1 FROM webhook_endpoints e WHERE e.id = endpoint_id AND disabled IS NULL AND deleted_at IS NULL))
         RETURNING {COLUMNS}, failed, data"
    ))?;
    let mut is_off = db.prepare_cached(
        "SELECT disabled IS NOT NULL OR deleted_at IS NOT NULL FROM deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id
         WHERE d.seq = ?1",
    )?;
    let mut off: HashSet<&Lane> = HashSet::new();
    for (seq, lane) in &found.due {
        let key = params![seq, claim.now.as_micros(), claim.until.as_micros()];
        let delivery = first(take.query(key)?, |row| {
            Ok(ClaimedDelivery {
                delivery: read(row)?,
                lane: lane.clone(),
                failed: row.take()?,
                data: row.take()?,
            })
        })?;
        if let Some(delivery) = delivery {
            claimed.deliveries.push(delivery);
        } else if !off.contains(lane)
            && is_off
                .query_row(params![seq], |row| row.get(0))
                .optional()?
                .unwrap_or(false)
        {
            claimed.given_up += give_up(db, lane)?;
            off.insert(lane);
        }
    }
    Ok(claimed)
}

/// Ends some of what waits for an endpoint that is switched off or deleted; the rest when it is due. Says how many.
pub(super) fn give_up(db: &Connection, lane: &Lane) -> Result<usize> {
    Ok(db
        .prepare_cached(
            "UPDATE deliveries SET status = 'failed', next_at = NULL, error = 'the endpoint is switched off'
             WHERE seq IN (SELECT seq FROM deliveries WHERE status = 'pending' AND sending = 0 AND lane = ?1
                           ORDER BY next_at LIMIT ?2)",
        )?
        .execute(params![lane.0, GIVEN_UP_AT_ONCE])?)
}

pub(super) fn settle(db: &Connection, settled: &SettledDelivery) -> Result<Settled> {
    let (status, next_at) = match settled.outcome {
        DeliveryOutcome::Delivered => (DeliveryStatus::Delivered, None),
        DeliveryOutcome::Failed(Some(next)) | DeliveryOutcome::NotSent(next) => {
            (DeliveryStatus::Pending, Some(next))
        }
        DeliveryOutcome::Failed(None) | DeliveryOutcome::Gone => (DeliveryStatus::Failed, None),
    };
    let has_failed = matches!(
        settled.outcome,
        DeliveryOutcome::Failed(_) | DeliveryOutcome::Gone
    );
    let attempted = &settled.attempted;
    // Asked for again while it was sent, a failure is not its end.
    let mut update = db.prepare_cached(
        "UPDATE deliveries SET
             status = iif(again AND ?3 <> 'delivered', 'pending', ?3),
             next_at = iif(again AND ?3 <> 'delivered', ?10, ?4),
             failed = iif(again, 0, failed + ?5),
             sending = 0, again = 0, last_at = ?6, response_status = ?7, error = ?8, duration_ms = ?9
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
        settled.error,
        i64::try_from(attempted.duration_ms).unwrap_or(i64::MAX),
        settled.now.as_micros()
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
    match settled.outcome {
        DeliveryOutcome::NotSent(_) => return Ok(Settled::Done),
        DeliveryOutcome::Delivered => {
            webhooks::has_succeeded(db, &endpoint, &settled.url)?;
            return Ok(Settled::Done);
        }
        DeliveryOutcome::Failed(_) | DeliveryOutcome::Gone => {}
    }
    let is_gone = settled.outcome == DeliveryOutcome::Gone;
    let why = webhooks::has_failed(db, &org, &endpoint, &settled.url, is_gone, settled.now)?;
    let Some(why) = why else {
        return Ok(Settled::Done);
    };
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
        "INSERT INTO deliveries (org_id, mode, event_id, kind, data, endpoint_id, url, lane, next_at, asked_at, created_at)
         SELECT org_id, mode, ?3, ?4,
             (SELECT json_object('endpointId', g.id, 'url', g.url, 'reason', ?6) FROM webhook_endpoints g WHERE g.id = ?5),
             id, url, org_id || '/' || id, ?7, ?7, ?7 FROM webhook_endpoints
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

pub(super) fn forget(db: &Connection, lost: Timestamp, old: Timestamp, limit: u32) -> Result<u64> {
    db.prepare_cached(
        "UPDATE deliveries SET status = 'failed', next_at = NULL, error = 'it could not be sent in five days'
         WHERE seq IN (SELECT seq FROM deliveries WHERE status = 'pending' AND sending = 0 AND asked_at < ?1
                       ORDER BY asked_at LIMIT ?2)",
    )?
    .execute(params![lost.as_micros(), limit])?;
    let forgotten = db
        .prepare_cached(
            "DELETE FROM deliveries WHERE seq IN (
                 SELECT seq FROM deliveries WHERE status <> 'pending' AND asked_at < ?1 ORDER BY asked_at LIMIT ?2)",
        )?
        .execute(params![old.as_micros(), limit])?;
    Ok(u64::try_from(forgotten).unwrap_or(u64::MAX))
}
