//! Where events are told, and with what they are signed.

use super::rows::{Columns, collect, first};
use super::{SqliteStore, deliveries, events};
use crate::document::to_json;
use crate::store::{
    ClaimedDeliveries, DeliveryClaim, DeliveryFilter, DeliveryPage, EndpointChange, Event, Lane,
    NewNotice, Resending, Settled, SettledDelivery, WebhookStore,
};
use crate::{Result, StoreError};
use async_trait::async_trait;
use rusqlite::{Connection, params};
use vydra_core::ids::{DeliveryId, EndpointId, EventId, OrgId};
use vydra_core::job::Mode;
use vydra_core::time::Timestamp;
use vydra_core::webhook::{
    Delivery, Disabled, Endpoint, EventType, FAILING_LIMIT, FAILURES, WebhookSecret, WebhookSecrets,
};

const COLUMNS: &str = "id, org_id, mode, url, events, description, disabled, disabled_at, failing_since, created_at, updated_at";

#[async_trait]
impl WebhookStore for SqliteStore {
    async fn webhook_secrets(
        &self,
        org: &OrgId,
        mode: Mode,
        fresh: &WebhookSecret,
    ) -> Result<Option<WebhookSecrets>> {
        if let Some(secrets) = self.look_up(|db| secrets(db, org, mode))? {
            return Ok(Some(secrets));
        }
        let (org, fresh) = (org.clone(), fresh.clone());
        self.write(move |db| first_secret(db, &org, mode, &fresh))
            .await
    }

    async fn rotate_webhook_secret(
        &self,
        org: &OrgId,
        mode: Mode,
        fresh: &WebhookSecret,
        previous_until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<WebhookSecrets>> {
        let (org, fresh) = (org.clone(), fresh.clone());
        self.write(move |db| rotate(db, &org, mode, &fresh, previous_until, now))
            .await
    }

    async fn create_endpoint(&self, new: &Endpoint, most: u32) -> Result<bool> {
        let new = new.clone();
        self.write(move |db| create(db, &new, most)).await
    }

    async fn endpoints(&self, org: &OrgId, mode: Mode) -> Result<Vec<Endpoint>> {
        self.look_up(|db| list(db, org, mode))
    }

    async fn endpoint(&self, org: &OrgId, mode: Mode, id: &EndpointId) -> Result<Option<Endpoint>> {
        self.look_up(|db| get(db, org, mode, id))
    }

    async fn change_endpoint(
        &self,
        org: &OrgId,
        mode: Mode,
        id: &EndpointId,
        change: EndpointChange,
        now: Timestamp,
    ) -> Result<Option<Endpoint>> {
        let (org, id) = (org.clone(), id.clone());
        self.write(move |db| alter(db, &org, mode, &id, &change, now))
            .await
    }

    async fn delete_endpoint(
        &self,
        org: &OrgId,
        mode: Mode,
        id: &EndpointId,
        now: Timestamp,
    ) -> Result<bool> {
        let (org, id) = (org.clone(), id.clone());
        self.write(move |db| delete(db, &org, mode, &id, now)).await
    }

    async fn deliveries(
        &self,
        org: &OrgId,
        mode: Mode,
        filter: DeliveryFilter,
    ) -> Result<Option<DeliveryPage>> {
        let org = org.clone();
        self.scan(move |db| deliveries::list(db, &org, mode, &filter))
            .await
    }

    async fn delivery(&self, org: &OrgId, mode: Mode, id: &DeliveryId) -> Result<Option<Delivery>> {
        self.look_up(|db| deliveries::get(db, org, mode, id))
    }

    async fn resend_delivery(
        &self,
        org: &OrgId,
        mode: Mode,
        id: &DeliveryId,
        now: Timestamp,
    ) -> Result<Resending> {
        let (org, id) = (org.clone(), id.clone());
        self.write(move |db| deliveries::resend(db, &org, mode, &id, now))
            .await
    }

    async fn send_notice(&self, notice: NewNotice) -> Result<Delivery> {
        self.write(move |db| deliveries::notice(db, &notice)).await
    }

    async fn claim_deliveries(&self, claim: DeliveryClaim) -> Result<ClaimedDeliveries> {
        let looked = claim.clone();
        // Looking for them may take a while, and the writer's time is everybody's.
        let found = self.scan(move |db| deliveries::find(db, &looked)).await?;
        if found.due.is_empty() {
            return Ok(ClaimedDeliveries {
                last: found.last,
                ..ClaimedDeliveries::default()
            });
        }
        self.write_relaxed(move |db| deliveries::claim(db, &found, &claim))
            .await
    }

    async fn settle_delivery(&self, settled: SettledDelivery) -> Result<Settled> {
        self.write(move |db| deliveries::settle(db, &settled)).await
    }

    async fn release_deliveries(&self, now: Timestamp) -> Result<u64> {
        self.write(move |db| deliveries::release(db, now)).await
    }

    async fn next_delivery(&self) -> Result<Option<Timestamp>> {
        self.look_up(deliveries::next)
    }

    async fn forget_deliveries(&self, lost: Timestamp, old: Timestamp, limit: u32) -> Result<u64> {
        self.write(move |db| deliveries::forget(db, lost, old, limit))
            .await
    }

    async fn events(
        &self,
        org: &OrgId,
        mode: Mode,
        after: Option<&EventId>,
        limit: u32,
    ) -> Result<Option<Vec<Event>>> {
        let (org, after) = (org.clone(), after.cloned());
        self.scan(move |db| events::list(db, &org, mode, after.as_ref(), limit))
            .await
    }

    async fn last_event(&self, org: &OrgId, mode: Mode) -> Result<Option<EventId>> {
        self.look_up(|db| events::last(db, org, mode))
    }
}

/// Those before the current one are few: the oldest give way.
const SECRETS_KEPT: u32 = 4;

fn secrets(db: &Connection, org: &OrgId, mode: Mode) -> Result<Option<WebhookSecrets>> {
    let secret = |text: String| {
        // The value itself stands in no message.
        WebhookSecret::parse(&text)
            .ok_or_else(|| StoreError::Corrupt("a webhook secret that is none".to_owned()))
    };
    let mut statement = db.prepare_cached(
        "SELECT secret, until FROM webhook_secrets WHERE org_id = ?1 AND mode = ?2 ORDER BY seq DESC",
    )?;
    let rows = statement.query(params![org.as_str(), mode.as_str()])?;
    let (mut current, mut previous) = (None, Vec::new());
    for (secret, until) in collect(rows, |row| Ok((secret(row.take()?)?, row.time_if_any()?)))? {
        match until {
            None => current = Some(secret),
            Some(until) => previous.push((secret, until)),
        }
    }
    Ok(current.map(|current| WebhookSecrets { current, previous }))
}

fn insert_secret(db: &Connection, org: &OrgId, mode: Mode, fresh: &WebhookSecret) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO webhook_secrets (org_id, mode, secret) SELECT id, ?2, ?3 FROM organizations WHERE id = ?1
         ON CONFLICT (org_id, mode) WHERE until IS NULL DO NOTHING",
    )?
    .execute(params![org.as_str(), mode.as_str(), fresh.reveal()])?;
    Ok(())
}

fn first_secret(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    fresh: &WebhookSecret,
) -> Result<Option<WebhookSecrets>> {
    insert_secret(db, org, mode, fresh)?;
    secrets(db, org, mode)
}

fn rotate(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    fresh: &WebhookSecret,
    previous_until: Timestamp,
    now: Timestamp,
) -> Result<Option<WebhookSecrets>> {
    db.prepare_cached(
        "UPDATE webhook_secrets SET until = ?3 WHERE org_id = ?1 AND mode = ?2 AND until IS NULL",
    )?
    .execute(params![
        org.as_str(),
        mode.as_str(),
        previous_until.as_micros()
    ])?;
    db.prepare_cached(
        "DELETE FROM webhook_secrets WHERE org_id = ?1 AND mode = ?2 AND (until <= ?3 OR ?4 OR seq NOT IN (
             SELECT seq FROM webhook_secrets WHERE org_id = ?1 AND mode = ?2 ORDER BY seq DESC LIMIT ?5))",
    )?
    .execute(params![
        org.as_str(),
        mode.as_str(),
        now.as_micros(),
        previous_until <= now,
        SECRETS_KEPT
    ])?;
    insert_secret(db, org, mode, fresh)?;
    secrets(db, org, mode)
}

fn read(row: &mut Columns<'_, '_>) -> Result<Endpoint> {
    Ok(Endpoint {
        id: EndpointId::trusted(row.take()?),
        org_id: OrgId::trusted(row.take()?),
        mode: row.word(Mode::parse)?,
        url: row.take()?,
        events: row.json::<Vec<EventType>>()?,
        description: row.take()?,
        disabled: row.word_if_any(Disabled::parse)?.zip(row.time_if_any()?),
        failing_since: row.time_if_any()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

fn create(db: &Connection, new: &Endpoint, most: u32) -> Result<bool> {
    let created = db
        .prepare_cached(
            "INSERT INTO webhook_endpoints (id, org_id, mode, url, events, description, created_at, updated_at)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7
             WHERE (SELECT count(*) FROM webhook_endpoints WHERE org_id = ?2 AND mode = ?3 AND deleted_at IS NULL) < ?8",
        )?
        .execute(params![
            new.id.as_str(),
            new.org_id.as_str(),
            new.mode.as_str(),
            new.url,
            to_json(&new.events)?,
            new.description,
            new.created_at.as_micros(),
            most
        ])?;
    Ok(created == 1)
}

fn list(db: &Connection, org: &OrgId, mode: Mode) -> Result<Vec<Endpoint>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM webhook_endpoints WHERE org_id = ?1 AND mode = ?2 AND deleted_at IS NULL ORDER BY id"
    ))?;
    collect(statement.query(params![org.as_str(), mode.as_str()])?, read)
}

fn get(db: &Connection, org: &OrgId, mode: Mode, id: &EndpointId) -> Result<Option<Endpoint>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM webhook_endpoints
         WHERE id = ?1 AND org_id = ?2 AND mode = ?3 AND deleted_at IS NULL"
    ))?;
    let key = params![id.as_str(), org.as_str(), mode.as_str()];
    first(statement.query(key)?, read)
}

fn alter(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    id: &EndpointId,
    change: &EndpointChange,
    now: Timestamp,
) -> Result<Option<Endpoint>> {
    let events = change.events.as_ref().map(to_json).transpose()?;
    // Another address, or another chance: what went wrong before counts no more.
    db.prepare_cached(
        "UPDATE webhook_endpoints SET
             url = coalesce(?4, url),
             events = coalesce(?5, events),
             description = nullif(coalesce(?6, description), ''),
             disabled = CASE ?7 WHEN TRUE THEN NULL WHEN FALSE THEN coalesce(disabled, 'by_owner') ELSE disabled END,
             disabled_at = CASE ?7 WHEN TRUE THEN NULL WHEN FALSE THEN coalesce(disabled_at, ?8) ELSE disabled_at END,
             failing_since = iif(?7 IS TRUE OR ?4 IS NOT NULL, NULL, failing_since),
             failures = iif(?7 IS TRUE OR ?4 IS NOT NULL, 0, failures),
             updated_at = ?8
         WHERE id = ?1 AND org_id = ?2 AND mode = ?3 AND deleted_at IS NULL",
    )?
    .execute(params![
        id.as_str(),
        org.as_str(),
        mode.as_str(),
        change.url,
        events,
        change.description,
        change.enabled,
        now.as_micros()
    ])?;
    get(db, org, mode, id)
}

fn delete(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    id: &EndpointId,
    now: Timestamp,
) -> Result<bool> {
    let deleted = db
        .prepare_cached(
            "UPDATE webhook_endpoints SET deleted_at = ?4 WHERE id = ?1 AND org_id = ?2 AND mode = ?3 AND deleted_at IS NULL",
        )?
        .execute(params![
            id.as_str(),
            org.as_str(),
            mode.as_str(),
            now.as_micros()
        ])?;
    if deleted == 1 {
        deliveries::give_up(db, &Lane::of_endpoint(org, id))?;
    }
    Ok(deleted == 1)
}

/// Nothing more is sent there. False when it was switched off or deleted before.
fn switch_off(
    db: &Connection,
    org: &OrgId,
    id: &EndpointId,
    why: Disabled,
    now: Timestamp,
) -> Result<bool> {
    let switched = db
        .prepare_cached(
            "UPDATE webhook_endpoints SET disabled = ?2, disabled_at = ?3, updated_at = ?3
             WHERE id = ?1 AND disabled IS NULL AND deleted_at IS NULL",
        )?
        .execute(params![id.as_str(), why.as_str(), now.as_micros()])?;
    if switched == 1 {
        deliveries::give_up(db, &Lane::of_endpoint(org, id))?;
    }
    Ok(switched == 1)
}

/// Remembers that an attempt failed, and switches the endpoint off when it is gone or that was one too many; why it did.
/// What an address did that it has no longer says nothing of it.
pub(super) fn has_failed(
    db: &Connection,
    org: &OrgId,
    id: &EndpointId,
    url: &str,
    is_gone: bool,
    now: Timestamp,
) -> Result<Option<Disabled>> {
    let mut failing = db.prepare_cached(
        "UPDATE webhook_endpoints SET failing_since = coalesce(failing_since, ?3), failures = failures + 1
         WHERE id = ?1 AND url = ?2 RETURNING failing_since, failures",
    )?;
    let key = params![id.as_str(), url, now.as_micros()];
    let found = first(failing.query(key)?, |row| Ok((row.time()?, row.take()?)))?;
    let Some((since, failures)) = found else {
        return Ok(None);
    };
    let failures: u32 = failures;
    let why = if is_gone {
        Disabled::Gone
    } else if now.since(since) >= FAILING_LIMIT && failures >= FAILURES {
        Disabled::Failing
    } else {
        return Ok(None);
    };
    Ok(switch_off(db, org, id, why, now)?.then_some(why))
}

pub(super) fn has_succeeded(db: &Connection, id: &EndpointId, url: &str) -> Result<()> {
    db.prepare_cached(
        "UPDATE webhook_endpoints SET failing_since = NULL, failures = 0
         WHERE id = ?1 AND url = ?2 AND failing_since IS NOT NULL",
    )?
    .execute(params![id.as_str(), url])?;
    Ok(())
}
