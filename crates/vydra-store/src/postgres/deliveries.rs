//! Events on their way to those who asked for them.

mod claim;

use super::db::Db;
use super::jobs::storable;
use super::rows::{Columns, collect, read};
use super::{news, webhooks};
use crate::Result;
use crate::store::{
    DeliveryFilter, DeliveryOutcome, DeliveryPage, Lane, NewNotice, NodeId, Resending, Settled,
    SettledDelivery,
};
use vydra_core::ids::{DeliveryId, EndpointId, EventId, OrgId};
use vydra_core::job::Mode;
use vydra_core::time::Timestamp;
use vydra_core::webhook::{Attempted, Delivery, DeliveryStatus, Disabled, EventType};

pub(super) use claim::{claim, find};

const COLUMNS: &str =
    "id, org_id, mode, event_id, kind, endpoint_id, url, status, attempts, next_at,
    last_at, response_status, duration_ms, error, created_at";
/// How many deliveries to a receiver that is switched off are given up at once.
const GIVEN_UP_AT_ONCE: i64 = 500;

fn delivery(row: &mut Columns<'_>) -> Result<Delivery> {
    Ok(Delivery {
        id: DeliveryId::trusted(row.take()?),
        org_id: OrgId::trusted(row.take()?),
        mode: row.word(Mode::parse)?,
        event: EventId::trusted(row.take()?),
        kind: row.word(EventType::parse)?,
        endpoint_id: row.take::<Option<String>>()?.map(EndpointId::trusted),
        url: row.take()?,
        status: row.word(DeliveryStatus::parse)?,
        attempts: row.number()?,
        next_attempt_at: row.time_if_any()?,
        last: {
            let (at, response_status) = (row.time_if_any()?, row.number_if_any()?);
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

pub(super) async fn notice(db: &Db, notice: &NewNotice) -> Result<Delivery> {
    let endpoint = notice.endpoint.as_ref();
    let lane = match endpoint {
        Some(id) => Lane::of_endpoint(&notice.org_id, id),
        None => Lane::of_url(&notice.org_id, notice.mode, &notice.url),
    };
    let written = db
        .one(
            &format!(
                "INSERT INTO deliveries (id, org_id, mode, event_id, kind, data, endpoint_id, url, lane, next_at, asked_at, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $10) RETURNING {COLUMNS}"
            ),
            &[
                &notice.id.as_str(),
                &notice.org_id.as_str(),
                &notice.mode.as_str(),
                &notice.event.as_str(),
                &notice.kind.as_str(),
                &notice.data,
                &endpoint.map(EndpointId::as_str),
                &notice.url,
                &lane.0,
                &notice.now.as_micros(),
            ],
        )
        .await?;
    delivery(&mut Columns::of(&written))
}

pub(super) async fn get(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    id: &DeliveryId,
) -> Result<Option<Delivery>> {
    let found = db
        .first(
            &format!(
                "SELECT {COLUMNS} FROM deliveries WHERE id = $1 AND org_id = $2 AND mode = $3"
            ),
            &[&id.as_str(), &org.as_str(), &mode.as_str()],
        )
        .await?;
    read(found.as_ref(), delivery)
}

pub(super) async fn list(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    filter: &DeliveryFilter,
) -> Result<Option<DeliveryPage>> {
    const WANTED: &str = "org_id = $1 AND mode = $2 AND ($3::text IS NULL OR status = $3) AND ($4::text IS NULL OR endpoint_id = $4)";
    let (org, mode) = (org.as_str(), mode.as_str());
    let status = filter.status.map(DeliveryStatus::as_str);
    let endpoint = filter.endpoint.as_ref().map(EndpointId::as_str);
    let before: i64 = match &filter.after {
        None => i64::MAX,
        Some(after) => {
            let seq = db
                .first(
                    "SELECT seq FROM deliveries WHERE id = $1 AND org_id = $2 AND mode = $3",
                    &[&after.as_str(), &org, &mode],
                )
                .await?;
            let Some(seq) = seq else { return Ok(None) };
            Columns::of(&seq).take()?
        }
    };
    let count = db
        .one(
            &format!("SELECT count(*) FROM deliveries WHERE {WANTED}"),
            &[&org, &mode, &status, &endpoint],
        )
        .await?;
    let rows = db
        .all(
            &format!(
                "SELECT {COLUMNS} FROM deliveries WHERE {WANTED} AND seq < $5 ORDER BY seq DESC LIMIT $6 OFFSET $7"
            ),
            &[
                &org,
                &mode,
                &status,
                &endpoint,
                &before,
                &i64::from(filter.limit),
                &i64::from(filter.offset),
            ],
        )
        .await?;
    Ok(Some(DeliveryPage {
        deliveries: collect(&rows, delivery)?,
        count: Columns::of(&count).number()?,
    }))
}

pub(super) async fn resend(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    id: &DeliveryId,
    now: Timestamp,
) -> Result<Resending> {
    let sent_again = db
        .first(
            &format!(
                "UPDATE deliveries SET status = 'pending', failed = 0, again = sending, asked_at = $4,
                     next_at = CASE WHEN sending THEN next_at ELSE $4 END
                 WHERE id = $1 AND org_id = $2 AND mode = $3 AND (endpoint_id IS NULL OR EXISTS (
                     SELECT 1 FROM webhook_endpoints e WHERE e.id = endpoint_id AND disabled IS NULL AND deleted_at IS NULL))
                 RETURNING {COLUMNS}"
            ),
            &[
                &id.as_str(),
                &org.as_str(),
                &mode.as_str(),
                &now.as_micros(),
            ],
        )
        .await?;
    if let Some(delivery) = read(sent_again.as_ref(), delivery)? {
        return Ok(Resending::Now(Box::new(delivery)));
    }
    Ok(match get(db, org, mode, id).await? {
        Some(_) => Resending::SwitchedOff,
        None => Resending::NotFound,
    })
}

/// Ends some of what waits for an endpoint that is switched off or deleted; the rest when it is due. Says how many.
///
/// What a node that has died had under way waits too, once it is taken for lost: nobody else would end it.
pub(super) async fn give_up(db: &Db, lane: &Lane, now: Timestamp) -> Result<usize> {
    let given_up = db
        .run(
            "UPDATE deliveries SET status = 'failed', sending = false, next_at = NULL, error = 'the endpoint is switched off'
             WHERE seq = ANY (ARRAY(
                 SELECT seq FROM deliveries WHERE status = 'pending' AND (NOT sending OR next_at <= $3) AND lane = $1
                 ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
            &[&lane.0, &GIVEN_UP_AT_ONCE, &now.as_micros()],
        )
        .await?;
    Ok(usize::try_from(given_up).unwrap_or(usize::MAX))
}

pub(super) async fn settle(db: &Db, settled: &SettledDelivery) -> Result<Settled> {
    let Some((org, mode, endpoint)) = write_down(db, settled).await? else {
        return Ok(Settled::Lost);
    };
    let Some(endpoint) = endpoint else {
        return Ok(Settled::Done);
    };
    match settled.outcome {
        DeliveryOutcome::NotSent(_) => return Ok(Settled::Done),
        DeliveryOutcome::Delivered => {
            webhooks::has_succeeded(db, &endpoint, &settled.url).await?;
            return Ok(Settled::Done);
        }
        DeliveryOutcome::Failed(_) | DeliveryOutcome::Gone => {}
    }
    let is_gone = settled.outcome == DeliveryOutcome::Gone;
    let why = webhooks::has_failed(db, &org, &endpoint, &settled.url, is_gone, settled.now).await?;
    let Some(why) = why else {
        return Ok(Settled::Done);
    };
    tell_the_others(db, settled, &org, mode, &endpoint, why).await?;
    Ok(Settled::SwitchedOff)
}

/// Whose delivery it is; None when the attempt is no longer the one under way.
async fn write_down(
    db: &Db,
    settled: &SettledDelivery,
) -> Result<Option<(OrgId, Mode, Option<EndpointId>)>> {
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
    let found = db
        .first(
            "UPDATE deliveries SET
                 status = CASE WHEN again AND $3::text <> 'delivered' THEN 'pending' ELSE $3 END,
                 next_at = CASE WHEN again AND $3 <> 'delivered' THEN $10::bigint ELSE $4::bigint END,
                 failed = CASE WHEN again THEN 0 ELSE failed + $5 END,
                 sending = false, again = false, last_at = $6, response_status = $7, error = $8, duration_ms = $9
             WHERE id = $1 AND attempts = $2 AND sending RETURNING org_id, mode, endpoint_id",
            &[
                &settled.id.as_str(),
                &i64::from(settled.attempt),
                &status.as_str(),
                &next_at.map(Timestamp::as_micros),
                &i64::from(has_failed),
                &attempted.at.as_micros(),
                &attempted.response_status.map(i64::from),
                &settled.error.as_deref().map(storable),
                &i64::try_from(attempted.duration_ms).unwrap_or(i64::MAX),
                &settled.now.as_micros(),
            ],
        )
        .await?;
    read(found.as_ref(), |row| {
        Ok((
            OrgId::trusted(row.take()?),
            row.word(Mode::parse)?,
            row.take::<Option<String>>()?.map(EndpointId::trusted),
        ))
    })
}

/// The owner reads what the other endpoints are sent.
async fn tell_the_others(
    db: &Db,
    settled: &SettledDelivery,
    org: &OrgId,
    mode: Mode,
    endpoint: &EndpointId,
    why: Disabled,
) -> Result<()> {
    // It has failed at the address that it still has.
    let data = serde_json::json!({
        "endpointId": endpoint.as_str(),
        "url": settled.url,
        "reason": why.as_str(),
    });
    db.run(
        "INSERT INTO deliveries (org_id, mode, event_id, kind, data, endpoint_id, url, lane, next_at, asked_at, created_at)
         SELECT org_id, mode, $3::text, $4::text, $5::text, id, url, org_id || '/' || id, $6::bigint, $6, $6 FROM webhook_endpoints
         WHERE org_id = $1 AND mode = $2 AND deleted_at IS NULL AND disabled IS NULL
           AND (events = '[]' OR events::jsonb ? $4)",
        &[
            &org.as_str(),
            &mode.as_str(),
            &settled.notice.as_str(),
            &EventType::EndpointDisabled.as_str(),
            &data.to_string(),
            &settled.now.as_micros(),
        ],
    )
    .await?;
    Ok(())
}

/// Of all nodes: see [`crate::store::WebhookStore::release_deliveries`].
pub(super) async fn release(db: &Db, node: Option<NodeId>, now: Timestamp) -> Result<u64> {
    let sql = format!(
        "UPDATE deliveries SET sending = false, next_at = $1
         WHERE status = 'pending' AND sending AND NOT EXISTS ({})",
        news::others("$2")
    );
    db.run(&sql, &[&now.as_micros(), &node.map(|node| node.0)])
        .await
}

pub(super) async fn next(db: &Db) -> Result<Option<Timestamp>> {
    let next = db.one(
        "SELECT min(next_at) FROM deliveries WHERE status = 'pending'",
        &[],
    );
    Columns::of(&next.await?).time_if_any()
}

pub(super) async fn forget(db: &Db, lost: Timestamp, old: Timestamp, limit: u32) -> Result<u64> {
    db.run(
        "UPDATE deliveries SET status = 'failed', next_at = NULL, error = 'it could not be sent in five days'
         WHERE seq = ANY (ARRAY(
             SELECT seq FROM deliveries WHERE status = 'pending' AND NOT sending AND asked_at < $1
             ORDER BY asked_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
        &[&lost.as_micros(), &i64::from(limit)],
    )
    .await?;
    db.run(
        "DELETE FROM deliveries WHERE seq = ANY (ARRAY(
             SELECT seq FROM deliveries WHERE status <> 'pending' AND asked_at < $1
             ORDER BY asked_at LIMIT $2 FOR UPDATE SKIP LOCKED))",
        &[&old.as_micros(), &i64::from(limit)],
    )
    .await
}
