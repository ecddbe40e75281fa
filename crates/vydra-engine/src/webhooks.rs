//! Webhooks from the owner's side: secrets, endpoints, and what became of what was sent.

use crate::inputs::{check_text, refused, unreadable};
use crate::transactions::unknown_cursor;
use crate::{Caller, Engine, Error, Result};
use std::time::Duration;
use vydra_core::catalog::Violations;
use vydra_core::ids::{DeliveryId, EndpointId, EventId, OrgId};
use vydra_core::job::Mode;
use vydra_core::scope::Scope;
use vydra_core::webhook::{
    Delivery, DeliveryStatus, Endpoint, EventType, WebhookSecret, WebhookSecrets,
};
use vydra_store::store::{
    DeliveryFilter, DeliveryPage, EndpointChange, Lane, NewNotice, Resending,
};

/// Of an organization, of each mode.
pub const MAX_ENDPOINTS: u32 = 16;
/// In characters.
pub const MAX_DESCRIPTION: usize = 200;

#[derive(Debug, Clone)]
pub struct NewEndpoint {
    pub url: String,
    /// Empty for all.
    pub events: Vec<EventType>,
    pub description: Option<String>,
}

/// What is to be changed of an endpoint; None leaves it.
#[derive(Debug, Clone, Default)]
pub struct EndpointUpdate {
    pub url: Option<String>,
    pub events: Option<Vec<EventType>>,
    /// Empty removes it.
    pub description: Option<String>,
    pub enabled: Option<bool>,
}

/// Which deliveries a list shall show.
#[derive(Debug, Clone, Default)]
pub struct DeliveryQuery {
    pub status: Option<DeliveryStatus>,
    pub endpoint: Option<String>,
    pub limit: u32,
    pub offset: u32,
    pub after: Option<String>,
}

impl Engine {
    // --- Secrets ---

    /// Whoever knows it can sign in our name: reading alone is not enough of a right.
    pub async fn webhook_secrets(&self, caller: &Caller) -> Result<WebhookSecrets> {
        caller.require(Scope::WebhooksWrite)?;
        self.webhook_secrets_of(&caller.organization.id, caller.mode())
            .await
    }

    /// The old one is good for `overlap` longer.
    pub async fn rotate_webhook_secret(
        &self,
        caller: &Caller,
        overlap: Duration,
    ) -> Result<WebhookSecrets> {
        caller.require(Scope::WebhooksWrite)?;
        self.rotate_webhook_secret_of(&caller.organization.id, caller.mode(), overlap)
            .await
    }

    /// For the operator.
    pub async fn webhook_secrets_of(&self, org: &OrgId, mode: Mode) -> Result<WebhookSecrets> {
        let fresh = WebhookSecret::generate(self.random());
        let secrets = self.store().webhook_secrets(org, mode, &fresh).await?;
        secrets.ok_or_else(|| not_found("organization"))
    }

    /// For the operator.
    pub async fn rotate_webhook_secret_of(
        &self,
        org: &OrgId,
        mode: Mode,
        overlap: Duration,
    ) -> Result<WebhookSecrets> {
        let fresh = WebhookSecret::generate(self.random());
        let now = self.now();
        let until = now.plus(overlap);
        let rotated = self
            .store()
            .rotate_webhook_secret(org, mode, &fresh, until, now)
            .await?;
        let rotated = rotated.ok_or_else(|| not_found("organization"))?;
        tracing::info!(org.id = %org, "webhook secret rotated");
        Ok(rotated)
    }

    // --- Endpoints ---

    pub async fn create_endpoint(&self, caller: &Caller, new: NewEndpoint) -> Result<Endpoint> {
        caller.require(Scope::WebhooksWrite)?;
        self.check_webhook_url(caller, "url", &new.url).await?;
        let now = self.now();
        let endpoint = Endpoint {
            id: EndpointId::new(now, self.random()),
            org_id: caller.organization.id.clone(),
            mode: caller.mode(),
            url: new.url,
            events: new.events,
            description: new.description,
            disabled: None,
            failing_since: None,
            created_at: now,
            updated_at: now,
        };
        let created = self
            .store()
            .create_endpoint(&endpoint, MAX_ENDPOINTS)
            .await?;
        if !created {
            return Err(Error::invalid(format!(
                "There are {MAX_ENDPOINTS} webhook endpoints already, and no more are possible"
            )));
        }
        Ok(endpoint)
    }

    pub async fn endpoints(&self, caller: &Caller) -> Result<Vec<Endpoint>> {
        caller.require(Scope::WebhooksRead)?;
        let (org, mode) = (&caller.organization.id, caller.mode());
        Ok(self.store().endpoints(org, mode).await?)
    }

    pub async fn endpoint(&self, caller: &Caller, id: &str) -> Result<Endpoint> {
        caller.require(Scope::WebhooksRead)?;
        self.own_endpoint(caller, id).await
    }

    pub async fn update_endpoint(
        &self,
        caller: &Caller,
        id: &str,
        update: EndpointUpdate,
    ) -> Result<Endpoint> {
        caller.require(Scope::WebhooksWrite)?;
        let id = self.own_endpoint(caller, id).await?.id;
        if let Some(url) = &update.url {
            self.check_webhook_url(caller, "url", url).await?;
        }
        let change = EndpointChange {
            url: update.url,
            events: update.events,
            description: update.description,
            enabled: update.enabled,
        };
        let (org, mode) = (&caller.organization.id, caller.mode());
        let changed = self
            .store()
            .change_endpoint(org, mode, &id, change, self.now());
        let changed = changed.await?.ok_or_else(|| not_found(ENDPOINT))?;
        // What waits for it may be due.
        self.call_now(Lane::of_endpoint(&changed.org_id, &changed.id));
        Ok(changed)
    }

    pub async fn delete_endpoint(&self, caller: &Caller, id: &str) -> Result<EndpointId> {
        caller.require(Scope::WebhooksWrite)?;
        let id = EndpointId::parse(id).ok_or_else(|| not_found(ENDPOINT))?;
        let (org, mode) = (&caller.organization.id, caller.mode());
        let deleted = self.store().delete_endpoint(org, mode, &id, self.now());
        if !deleted.await? {
            return Err(not_found(ENDPOINT));
        }
        Ok(id)
    }

    async fn own_endpoint(&self, caller: &Caller, id: &str) -> Result<Endpoint> {
        let id = EndpointId::parse(id).ok_or_else(|| not_found(ENDPOINT))?;
        let (org, mode) = (&caller.organization.id, caller.mode());
        let found = self.store().endpoint(org, mode, &id).await?;
        found.ok_or_else(|| not_found(ENDPOINT))
    }

    /// Whether webhooks may be sent there; a later look before each of them decides anew.
    pub(crate) async fn check_webhook_url(
        &self,
        caller: &Caller,
        field: &str,
        url: &str,
    ) -> Result<()> {
        check_text(url).map_err(|why| refused(field, &why))?;
        // Names are looked up for it, as slowly as whoever answers for them likes.
        let _share = self.fetch_shares.take(&caller.organization.id).await?;
        let checked = self.parts.webhooks.check(url).await;
        checked.map_err(|error| refused(field, &unreadable(error)))
    }

    // --- Deliveries ---

    /// The newest first.
    pub async fn deliveries(&self, caller: &Caller, query: DeliveryQuery) -> Result<DeliveryPage> {
        caller.require(Scope::WebhooksRead)?;
        let after = match query.after.as_deref() {
            None => None,
            Some(word) => Some(DeliveryId::parse(word).ok_or_else(unknown_cursor)?),
        };
        let endpoint = match query.endpoint.as_deref().map(EndpointId::parse) {
            None => None,
            Some(Some(endpoint)) => Some(endpoint),
            // Nothing was ever sent to one that cannot be.
            Some(None) => {
                return Ok(DeliveryPage {
                    deliveries: Vec::new(),
                    count: 0,
                });
            }
        };
        let filter = DeliveryFilter {
            status: query.status,
            endpoint,
            limit: query.limit,
            offset: query.offset,
            after,
        };
        self.store()
            .deliveries(&caller.organization.id, caller.mode(), filter)
            .await?
            .ok_or_else(unknown_cursor)
    }

    pub async fn delivery(&self, caller: &Caller, id: &str) -> Result<Delivery> {
        caller.require(Scope::WebhooksRead)?;
        let id = DeliveryId::parse(id).ok_or_else(|| not_found(DELIVERY))?;
        let (org, mode) = (&caller.organization.id, caller.mode());
        let found = self.store().delivery(org, mode, &id).await?;
        found.ok_or_else(|| not_found(DELIVERY))
    }

    /// Sends it once more, with the same id and all its attempts before it.
    pub async fn resend_delivery(&self, caller: &Caller, id: &str) -> Result<Delivery> {
        caller.require(Scope::WebhooksWrite)?;
        let id = DeliveryId::parse(id).ok_or_else(|| not_found(DELIVERY))?;
        let (org, mode) = (&caller.organization.id, caller.mode());
        let again = self.store().resend_delivery(org, mode, &id, self.now());
        match again.await? {
            Resending::Now(delivery) => {
                self.call_now(match &delivery.endpoint_id {
                    Some(id) => Lane::of_endpoint(&delivery.org_id, id),
                    None => Lane::of_url(&delivery.org_id, delivery.mode, &delivery.url),
                });
                Ok(*delivery)
            }
            Resending::SwitchedOff => Err(Error::invalid(
                "The webhook endpoint of this delivery is switched off or deleted; switch it on first",
            )),
            Resending::NotFound => Err(not_found(DELIVERY)),
        }
    }

    /// Sends an event of no consequence, to see whether it arrives: to one endpoint, or to all that are switched on.
    pub async fn send_test_webhook(
        &self,
        caller: &Caller,
        endpoint: Option<&str>,
    ) -> Result<Vec<Delivery>> {
        caller.require(Scope::WebhooksWrite)?;
        let endpoints = match endpoint {
            Some(id) => vec![self.own_endpoint(caller, id).await?],
            None => {
                self.store()
                    .endpoints(&caller.organization.id, caller.mode())
                    .await?
            }
        };
        let now = self.now();
        let event = EventId::new(now, self.random());
        let mut sent = Vec::new();
        for endpoint in endpoints {
            if endpoint.disabled.is_some() {
                continue;
            }
            self.call_now(Lane::of_endpoint(&endpoint.org_id, &endpoint.id));
            let notice = NewNotice {
                id: DeliveryId::new(now, self.random()),
                org_id: endpoint.org_id,
                mode: endpoint.mode,
                event: event.clone(),
                kind: EventType::Test,
                data: TEST_DATA.to_owned(),
                endpoint: Some(endpoint.id),
                url: endpoint.url,
                now,
            };
            sent.push(self.store().send_notice(notice).await?);
        }
        if sent.is_empty() {
            return Err(Violations::one(
                "endpointId",
                "not usable",
                "a webhook endpoint that is switched on",
            )
            .into());
        }
        self.mail_waits();
        Ok(sent)
    }
}

const ENDPOINT: &str = "webhook endpoint";
const DELIVERY: &str = "webhook delivery";
const TEST_DATA: &str = r#"{"message":"This is a test: no job has ended."}"#;

fn not_found(what: &str) -> Error {
    Error::NotFound {
        what: what.to_owned(),
    }
}
