//! What can happen to webhooks: secrets, endpoints, deliveries, and the events that they tell of.

use crate::Result;
use async_trait::async_trait;
use std::collections::{HashMap, HashSet};
use vydra_core::ids::{DeliveryId, EndpointId, EventId, OrgId};
use vydra_core::job::{Job, Mode};
use vydra_core::time::Timestamp;
use vydra_core::webhook::{
    Attempted, Delivery, DeliveryStatus, Endpoint, EventType, WebhookSecret, WebhookSecrets,
};

#[async_trait]
pub trait WebhookStore {
    // --- Secrets ---

    /// The organization's secrets of this mode; `fresh` becomes the first. None when there is no such organization.
    async fn webhook_secrets(
        &self,
        org: &OrgId,
        mode: Mode,
        fresh: &WebhookSecret,
    ) -> Result<Option<WebhookSecrets>>;
    /// Puts `fresh` in the place of the current one, which is good until then; those before keep their ends. When that is
    /// not later than now, none but `fresh` is good any more.
    async fn rotate_webhook_secret(
        &self,
        org: &OrgId,
        mode: Mode,
        fresh: &WebhookSecret,
        previous_until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<WebhookSecrets>>;

    // --- Endpoints ---

    /// False, and nothing done, when the organization has `most` of this mode.
    async fn create_endpoint(&self, new: &Endpoint, most: u32) -> Result<bool>;
    /// Oldest first.
    async fn endpoints(&self, org: &OrgId, mode: Mode) -> Result<Vec<Endpoint>>;
    async fn endpoint(&self, org: &OrgId, mode: Mode, id: &EndpointId) -> Result<Option<Endpoint>>;
    /// The endpoint as it is after it; None when there is none.
    async fn change_endpoint(
        &self,
        org: &OrgId,
        mode: Mode,
        id: &EndpointId,
        change: EndpointChange,
        now: Timestamp,
    ) -> Result<Option<Endpoint>>;
    /// Its deliveries stay to be read; those that wait are given up. False when there is none.
    async fn delete_endpoint(
        &self,
        org: &OrgId,
        mode: Mode,
        id: &EndpointId,
        now: Timestamp,
    ) -> Result<bool>;

    // --- Deliveries, from the owner's side ---

    /// The newest first. None when the cursor is none of this organization and mode.
    async fn deliveries(
        &self,
        org: &OrgId,
        mode: Mode,
        filter: DeliveryFilter,
    ) -> Result<Option<DeliveryPage>>;
    async fn delivery(&self, org: &OrgId, mode: Mode, id: &DeliveryId) -> Result<Option<Delivery>>;
    /// Begins it anew, with all its attempts. One that waits is due at once; one that is being sent is, when that fails.
    async fn resend_delivery(
        &self,
        org: &OrgId,
        mode: Mode,
        id: &DeliveryId,
        now: Timestamp,
    ) -> Result<Resending>;
    /// Writes an event that is not the end of a job on its way to an address.
    async fn send_notice(&self, notice: NewNotice) -> Result<Delivery>;

    // --- Deliveries, from the side of whoever carries them out ---

    /// Takes deliveries that are due, in turn from all receivers. Each is counted as begun, and is due again when the lease
    /// is over. Deliveries to an endpoint that is switched off are given up instead.
    ///
    /// May be lost with the machine's power, though not with the process.
    async fn claim_deliveries(&self, claim: DeliveryClaim) -> Result<ClaimedDeliveries>;
    /// Writes down what came of an attempt. False, and nothing done, when it is no longer the one under way.
    ///
    /// An endpoint that is gone, or that has failed for too long, is switched off, and the other endpoints of its owner are
    /// told.
    async fn settle_delivery(&self, settled: SettledDelivery) -> Result<Settled>;
    /// For the start of a node, which has begun to listen: makes what was under way due at once, and nothing at all while
    /// another node is here.
    async fn release_deliveries(&self, now: Timestamp) -> Result<u64>;
    /// When the next attempt is due.
    async fn next_delivery(&self) -> Result<Option<Timestamp>>;
    /// Gives up what has been on its way since before `lost`, and removes what has ended and was asked for before `old`; at
    /// most so many of each, the oldest first. Says how many were removed.
    async fn forget_deliveries(&self, lost: Timestamp, old: Timestamp, limit: u32) -> Result<u64>;

    // --- Events ---

    /// The ends of jobs behind `after` in the order in which they were written, or from the first one; at most `limit`.
    /// None when `after` is none of this organization and mode.
    async fn events(
        &self,
        org: &OrgId,
        mode: Mode,
        after: Option<&EventId>,
        limit: u32,
    ) -> Result<Option<Vec<Event>>>;
    /// The last one written.
    async fn last_event(&self, org: &OrgId, mode: Mode) -> Result<Option<EventId>>;
}

/// The end of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: EventId,
    pub kind: EventType,
    pub at: Timestamp,
    pub job: Job,
}

/// None leaves what is there.
#[derive(Debug, Clone, Default)]
pub struct EndpointChange {
    pub url: Option<String>,
    pub events: Option<Vec<EventType>>,
    /// Empty removes it.
    pub description: Option<String>,
    pub enabled: Option<bool>,
}

#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    pub status: Option<DeliveryStatus>,
    pub endpoint: Option<EndpointId>,
    pub limit: u32,
    pub offset: u32,
    /// Only deliveries behind this one in the list.
    pub after: Option<DeliveryId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPage {
    pub deliveries: Vec<Delivery>,
    /// How many the filter finds in all.
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resending {
    Now(Box<Delivery>),
    /// Its endpoint is switched off or deleted.
    SwitchedOff,
    NotFound,
}

#[derive(Debug, Clone)]
pub struct NewNotice {
    pub id: DeliveryId,
    pub org_id: OrgId,
    pub mode: Mode,
    pub event: EventId,
    pub kind: EventType,
    /// JSON.
    pub data: String,
    pub endpoint: Option<EndpointId>,
    pub url: String,
    pub now: Timestamp,
}

#[derive(Debug, Clone)]
pub struct DeliveryClaim {
    /// At most so many.
    pub limit: usize,
    /// At most so many at once to one receiver, and to all of one organization.
    pub share: usize,
    pub share_of_organization: usize,
    /// How many are under way to each receiver.
    pub held: HashMap<Lane, usize>,
    /// Those who asked to be left alone.
    pub closed: HashSet<Lane>,
    /// The receiver that was looked at last: others come first.
    pub after: Option<Lane>,
    pub now: Timestamp,
    pub until: Timestamp,
}

/// A receiver, as far as places are concerned. Those of one organization stand together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(pub String);

impl Lane {
    pub fn of_endpoint(org: &OrgId, id: &EndpointId) -> Self {
        Self(format!("{org}/{id}"))
    }

    /// Of a job's own address: one for each host.
    pub fn of_url(org: &OrgId, mode: Mode, url: &str) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        Self(format!("{org}/{}/{host}", mode.as_str()))
    }

    pub fn organization(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(org, _)| org)
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClaimedDeliveries {
    pub deliveries: Vec<ClaimedDelivery>,
    /// How many were given up.
    pub given_up: usize,
    /// The receiver that was looked at last.
    pub last: Option<Lane>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedDelivery {
    pub delivery: Delivery,
    pub lane: Lane,
    /// Failed attempts since it was sent for the first time, or again.
    pub failed: u32,
    /// What is told, when it is not the end of a job.
    pub data: Option<String>,
}

#[derive(Debug, Clone)]
pub struct SettledDelivery {
    pub id: DeliveryId,
    /// Which attempt it was, and where it went.
    pub attempt: u32,
    pub url: String,
    pub outcome: DeliveryOutcome,
    pub attempted: Attempted,
    pub error: Option<String>,
    /// For the notice, if an endpoint is switched off.
    pub notice: EventId,
    pub now: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    Delivered,
    /// To be tried again then, or never.
    Failed(Option<Timestamp>),
    /// Nobody is there any more, and nothing shall be sent again.
    Gone,
    /// Nothing was sent, by our own fault: to be tried again then, and nobody else's failure.
    NotSent(Timestamp),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Done,
    /// The endpoint was switched off by it.
    SwitchedOff,
    /// The attempt is no longer the one under way.
    Lost,
}
