//! Where events are told, and with what they are signed.

use super::PostgresStore;
use super::db::Db;
use super::rows::{Columns, collect, read};
use super::{deliveries, events};
use crate::document::to_json;
use crate::store::{
    ClaimedDeliveries, DeliveryClaim, DeliveryFilter, DeliveryPage, EndpointChange, Event, Lane,
    NewNotice, Resending, Settled, SettledDelivery, WebhookStore,
};
use crate::{Result, StoreError};
use async_trait::async_trait;
use vydra_core::ids::{DeliveryId, EndpointId, EventId, OrgId};
use vydra_core::job::Mode;
use vydra_core::time::Timestamp;
use vydra_core::webhook::{
    Delivery, Disabled, Endpoint, EventType, FAILING_LIMIT, FAILURES, WebhookSecret, WebhookSecrets,
};

const COLUMNS: &str = "id, org_id, mode, url, events, description, disabled, disabled_at, failing_since, created_at, updated_at";
/// Those before the current one are few: the oldest give way.
const SECRETS_KEPT: i64 = 4;

/// One after the other: what belongs to the organization is counted, or replaced, by nobody else until the commit. Whoever
/// only refers to it goes on.
async fn lock(db: &Db, org: &OrgId) -> Result<()> {
    db.run(
        "SELECT 1 FROM organizations WHERE id = $1 FOR NO KEY UPDATE",
        &[&org.as_str()],
    )
    .await?;
    Ok(())
}

pub(super) async fn secrets(db: &Db, org: &OrgId, mode: Mode) -> Result<Option<WebhookSecrets>> {
    let secret = |text: String| {
        // The value itself stands in no message.
        WebhookSecret::parse(&text)
            .ok_or_else(|| StoreError::Corrupt("a webhook secret that is none".to_owned()))
    };
    let rows = db
        .all(
            "SELECT secret, until FROM webhook_secrets WHERE org_id = $1 AND mode = $2 ORDER BY seq DESC",
            &[&org.as_str(), &mode.as_str()],
        )
        .await?;
    let (mut current, mut previous) = (None, Vec::new());
    for (secret, until) in collect(&rows, |row| Ok((secret(row.take()?)?, row.time_if_any()?)))? {
        match until {
            None => current = Some(secret),
            Some(until) => previous.push((secret, until)),
        }
    }
    Ok(current.map(|current| WebhookSecrets { current, previous }))
}

async fn insert_secret(db: &Db, org: &OrgId, mode: Mode, fresh: &WebhookSecret) -> Result<()> {
    db.run(
        "INSERT INTO webhook_secrets (org_id, mode, secret) SELECT id, $2::text, $3::text FROM organizations WHERE id = $1
         ON CONFLICT (org_id, mode) WHERE until IS NULL DO NOTHING",
        &[&org.as_str(), &mode.as_str(), &fresh.reveal()],
    )
    .await?;
    Ok(())
}

pub(super) async fn first_secret(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    fresh: &WebhookSecret,
) -> Result<Option<WebhookSecrets>> {
    insert_secret(db, org, mode, fresh).await?;
    secrets(db, org, mode).await
}

pub(super) async fn rotate(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    fresh: &WebhookSecret,
    previous_until: Timestamp,
    now: Timestamp,
) -> Result<Option<WebhookSecrets>> {
    // Of two at once the second would not see what the first has put there, and its own would not be taken.
    lock(db, org).await?;
    db.run(
        "UPDATE webhook_secrets SET until = $3 WHERE org_id = $1 AND mode = $2 AND until IS NULL",
        &[&org.as_str(), &mode.as_str(), &previous_until.as_micros()],
    )
    .await?;
    db.run(
        "DELETE FROM webhook_secrets WHERE org_id = $1 AND mode = $2 AND (until <= $3 OR $4 OR seq NOT IN (
             SELECT seq FROM webhook_secrets WHERE org_id = $1 AND mode = $2 ORDER BY seq DESC LIMIT $5))",
        &[
            &org.as_str(),
            &mode.as_str(),
            &now.as_micros(),
            &(previous_until <= now),
            &SECRETS_KEPT,
        ],
    )
    .await?;
    insert_secret(db, org, mode, fresh).await?;
    secrets(db, org, mode).await
}

fn endpoint(row: &mut Columns<'_>) -> Result<Endpoint> {
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

pub(super) async fn create(db: &Db, new: &Endpoint, most: u32) -> Result<bool> {
    // Of two at once each would count without the other.
    lock(db, &new.org_id).await?;
    let created = db
        .run(
            "INSERT INTO webhook_endpoints (id, org_id, mode, url, events, description, created_at, updated_at)
             SELECT $1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::bigint, $7
             WHERE (SELECT count(*) FROM webhook_endpoints WHERE org_id = $2 AND mode = $3 AND deleted_at IS NULL) < $8::bigint",
            &[
                &new.id.as_str(),
                &new.org_id.as_str(),
                &new.mode.as_str(),
                &new.url,
                &to_json(&new.events)?,
                &new.description,
                &new.created_at.as_micros(),
                &i64::from(most),
            ],
        )
        .await?;
    Ok(created == 1)
}

pub(super) async fn list(db: &Db, org: &OrgId, mode: Mode) -> Result<Vec<Endpoint>> {
    let rows = db
        .all(
            &format!(
                "SELECT {COLUMNS} FROM webhook_endpoints WHERE org_id = $1 AND mode = $2 AND deleted_at IS NULL ORDER BY id"
            ),
            &[&org.as_str(), &mode.as_str()],
        )
        .await?;
    collect(&rows, endpoint)
}

pub(super) async fn get(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    id: &EndpointId,
) -> Result<Option<Endpoint>> {
    let found = db
        .first(
            &format!(
                "SELECT {COLUMNS} FROM webhook_endpoints
                 WHERE id = $1 AND org_id = $2 AND mode = $3 AND deleted_at IS NULL"
            ),
            &[&id.as_str(), &org.as_str(), &mode.as_str()],
        )
        .await?;
    read(found.as_ref(), endpoint)
}

pub(super) async fn alter(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    id: &EndpointId,
    change: &EndpointChange,
    now: Timestamp,
) -> Result<Option<Endpoint>> {
    let events = change.events.as_ref().map(to_json).transpose()?;
    // Another address, or another chance: what went wrong before counts no more.
    let altered = db
        .first(
            &format!(
                "UPDATE webhook_endpoints SET
                     url = coalesce($4, url),
                     events = coalesce($5, events),
                     description = nullif(coalesce($6, description), ''),
                     disabled = CASE $7::boolean WHEN true THEN NULL WHEN false THEN coalesce(disabled, 'by_owner') ELSE disabled END,
                     disabled_at = CASE $7 WHEN true THEN NULL WHEN false THEN coalesce(disabled_at, $8) ELSE disabled_at END,
                     failing_since = CASE WHEN $7 IS TRUE OR $4 IS NOT NULL THEN NULL ELSE failing_since END,
                     failures = CASE WHEN $7 IS TRUE OR $4 IS NOT NULL THEN 0 ELSE failures END,
                     updated_at = $8
                 WHERE id = $1 AND org_id = $2 AND mode = $3 AND deleted_at IS NULL RETURNING {COLUMNS}"
            ),
            &[
                &id.as_str(),
                &org.as_str(),
                &mode.as_str(),
                &change.url,
                &events,
                &change.description,
                &change.enabled,
                &now.as_micros(),
            ],
        )
        .await?;
    read(altered.as_ref(), endpoint)
}

pub(super) async fn delete(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    id: &EndpointId,
    now: Timestamp,
) -> Result<bool> {
    let deleted = db
        .run(
            "UPDATE webhook_endpoints SET deleted_at = $4 WHERE id = $1 AND org_id = $2 AND mode = $3 AND deleted_at IS NULL",
            &[
                &id.as_str(),
                &org.as_str(),
                &mode.as_str(),
                &now.as_micros(),
            ],
        )
        .await?;
    if deleted == 1 {
        deliveries::give_up(db, &Lane::of_endpoint(org, id), now).await?;
    }
    Ok(deleted == 1)
}

/// Nothing more is sent there. False when it was switched off or deleted before.
async fn switch_off(
    db: &Db,
    org: &OrgId,
    id: &EndpointId,
    why: Disabled,
    now: Timestamp,
) -> Result<bool> {
    let switched = db
        .run(
            "UPDATE webhook_endpoints SET disabled = $2, disabled_at = $3, updated_at = $3
             WHERE id = $1 AND disabled IS NULL AND deleted_at IS NULL",
            &[&id.as_str(), &why.as_str(), &now.as_micros()],
        )
        .await?;
    if switched == 1 {
        deliveries::give_up(db, &Lane::of_endpoint(org, id), now).await?;
    }
    Ok(switched == 1)
}

/// Remembers that an attempt failed, and switches the endpoint off when it is gone or that was one too many; why it did.
/// What an address did that it has no longer says nothing of it.
pub(super) async fn has_failed(
    db: &Db,
    org: &OrgId,
    id: &EndpointId,
    url: &str,
    is_gone: bool,
    now: Timestamp,
) -> Result<Option<Disabled>> {
    let found = db
        .first(
            "UPDATE webhook_endpoints SET failing_since = coalesce(failing_since, $3), failures = failures + 1
             WHERE id = $1 AND url = $2 RETURNING failing_since, failures",
            &[&id.as_str(), &url, &now.as_micros()],
        )
        .await?;
    let found = read(found.as_ref(), |row| Ok((row.time()?, row.number()?)))?;
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
    let switched = switch_off(db, org, id, why, now).await?;
    Ok(switched.then_some(why))
}

pub(super) async fn has_succeeded(db: &Db, id: &EndpointId, url: &str) -> Result<()> {
    db.run(
        "UPDATE webhook_endpoints SET failing_since = NULL, failures = 0
         WHERE id = $1 AND url = $2 AND failing_since IS NOT NULL",
        &[&id.as_str(), &url],
    )
    .await?;
    Ok(())
}

#[async_trait]
impl WebhookStore for PostgresStore {
    async fn webhook_secrets(
        &self,
        org: &OrgId,
        mode: Mode,
        fresh: &WebhookSecret,
    ) -> Result<Option<WebhookSecrets>> {
        let whose = org.as_str().to_owned();
        if let Some(secrets) = secrets(self.pool.get().await?.db(), org, mode).await? {
            return Ok(Some(secrets));
        }
        let (org, fresh) = (org.clone(), fresh.clone());
        self.write(&whose, async move |db: &Db| {
            first_secret(db, &org, mode, &fresh).await
        })
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
        let whose = org.as_str().to_owned();
        let (org, fresh) = (org.clone(), fresh.clone());
        self.write(&whose, async move |db: &Db| {
            rotate(db, &org, mode, &fresh, previous_until, now).await
        })
        .await
    }

    async fn create_endpoint(&self, new: &Endpoint, most: u32) -> Result<bool> {
        let whose = new.org_id.as_str().to_owned();
        let new = new.clone();
        self.write(&whose, async move |db: &Db| create(db, &new, most).await)
            .await
    }

    async fn endpoints(&self, org: &OrgId, mode: Mode) -> Result<Vec<Endpoint>> {
        list(self.pool.get().await?.db(), org, mode).await
    }

    async fn endpoint(&self, org: &OrgId, mode: Mode, id: &EndpointId) -> Result<Option<Endpoint>> {
        get(self.pool.get().await?.db(), org, mode, id).await
    }

    async fn change_endpoint(
        &self,
        org: &OrgId,
        mode: Mode,
        id: &EndpointId,
        change: EndpointChange,
        now: Timestamp,
    ) -> Result<Option<Endpoint>> {
        let whose = org.as_str().to_owned();
        let (org, id) = (org.clone(), id.clone());
        self.write(&whose, async move |db: &Db| {
            alter(db, &org, mode, &id, &change, now).await
        })
        .await
    }

    async fn delete_endpoint(
        &self,
        org: &OrgId,
        mode: Mode,
        id: &EndpointId,
        now: Timestamp,
    ) -> Result<bool> {
        let whose = org.as_str().to_owned();
        let (org, id) = (org.clone(), id.clone());
        self.write(&whose, async move |db: &Db| {
            delete(db, &org, mode, &id, now).await
        })
        .await
    }

    async fn deliveries(
        &self,
        org: &OrgId,
        mode: Mode,
        filter: DeliveryFilter,
    ) -> Result<Option<DeliveryPage>> {
        let snapshot = self.pool.snapshot().await?;
        let found = deliveries::list(&snapshot, org, mode, &filter).await;
        snapshot.end(found).await
    }

    async fn delivery(&self, org: &OrgId, mode: Mode, id: &DeliveryId) -> Result<Option<Delivery>> {
        deliveries::get(self.pool.get().await?.db(), org, mode, id).await
    }

    async fn resend_delivery(
        &self,
        org: &OrgId,
        mode: Mode,
        id: &DeliveryId,
        now: Timestamp,
    ) -> Result<Resending> {
        let whose = org.as_str().to_owned();
        let (org, id) = (org.clone(), id.clone());
        self.write(&whose, async move |db: &Db| {
            deliveries::resend(db, &org, mode, &id, now).await
        })
        .await
    }

    async fn send_notice(&self, notice: NewNotice) -> Result<Delivery> {
        let whose = notice.org_id.as_str().to_owned();
        self.write(&whose, async move |db: &Db| {
            deliveries::notice(db, &notice).await
        })
        .await
    }

    async fn claim_deliveries(&self, claim: DeliveryClaim) -> Result<ClaimedDeliveries> {
        // Looking for them may take a while, and locks nothing.
        let snapshot = self.pool.snapshot().await?;
        let found = deliveries::find(&snapshot, &claim).await;
        let found = snapshot.end(found).await?;
        if found.due.is_empty() {
            return Ok(ClaimedDeliveries {
                last: found.last,
                ..ClaimedDeliveries::default()
            });
        }
        self.write_relaxed("~3 deliveries", async move |db: &Db| {
            deliveries::claim(db, &found, &claim).await
        })
        .await
    }

    async fn settle_delivery(&self, settled: SettledDelivery) -> Result<Settled> {
        let whose = settled.url.clone();
        self.write(&whose, async move |db: &Db| {
            deliveries::settle(db, &settled).await
        })
        .await
    }

    async fn release_deliveries(&self, now: Timestamp) -> Result<u64> {
        let node = self.node();
        self.write("~1 deliveries", async move |db: &Db| {
            deliveries::release(db, node, now).await
        })
        .await
    }

    async fn next_delivery(&self) -> Result<Option<Timestamp>> {
        deliveries::next(self.pool.get().await?.db()).await
    }

    async fn forget_deliveries(&self, lost: Timestamp, old: Timestamp, limit: u32) -> Result<u64> {
        self.write("~2 deliveries", async move |db: &Db| {
            deliveries::forget(db, lost, old, limit).await
        })
        .await
    }

    async fn events(
        &self,
        org: &OrgId,
        mode: Mode,
        after: Option<&EventId>,
        limit: u32,
    ) -> Result<Option<Vec<Event>>> {
        let snapshot = self.pool.snapshot().await?;
        let found = events::list(&snapshot, org, mode, after, limit).await;
        snapshot.end(found).await
    }

    async fn last_event(&self, org: &OrgId, mode: Mode) -> Result<Option<EventId>> {
        events::last(self.pool.get().await?.db(), org, mode).await
    }
}
