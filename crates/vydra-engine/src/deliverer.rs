//! Carries webhooks to their receivers. Apart from the worker: however slow a receiver is, no job waits for it.

use crate::{Engine, Result};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vydra_core::ids::EventId;
use vydra_core::time::Timestamp;
use vydra_core::webhook::{
    Attempted, EventType, LONGEST_DELIVERY, LONGEST_RETRY_AFTER, WebhookSecret,
};
use vydra_outbound::fetch::FetchError;
use vydra_outbound::webhook::{Answer, Message};
use vydra_store::StoreError;
use vydra_store::store::{
    ClaimedDeliveries, ClaimedDelivery, DeliveryClaim, DeliveryOutcome, Lane, Settled,
    SettledDelivery,
};

/// Also without a bell: another process may have written something to send.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// While all receivers that something is due to have what they may have at once.
const REST_WHILE_FULL: Duration = Duration::from_millis(250);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(500);
/// What ends together is looked for together.
const GATHER: Duration = Duration::from_millis(20);
/// What an attempt may take beyond its timeout before it is taken for lost.
const WRITING_DOWN: Duration = Duration::from_secs(30);
/// The part of all places that one receiver may have, and all of one organization.
const SHARE_OF_ONE: usize = 8;
const SHARE_OF_ORGANIZATION: usize = 4;
/// Until what our own fault kept from being sent is tried again.
const PAUSE_AFTER_OUR_FAULT: Duration = Duration::from_secs(30);
/// How often it is tried to write down what came of an attempt, and how long in between.
const NOTES: u32 = 5;
const BETWEEN_NOTES: Duration = Duration::from_secs(1);
/// How long a delivery that has ended is remembered.
const REMEMBERED: Duration = Duration::from_hours(30 * 24);
const FORGET_EVERY: Duration = Duration::from_secs(5);
const FORGET_AT_ONCE: u32 = 1_000;

#[derive(Debug)]
pub struct Deliverer {
    engine: Arc<Engine>,
    attempts: TaskTracker,
    last_forgotten: Mutex<Option<Timestamp>>,
}

/// What each receiver has to do.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    under_way: Mutex<HashMap<Lane, LaneState>>,
    /// Whoever was looked at last.
    last: Mutex<Option<Lane>>,
    /// Whether a deliverer works in this process.
    are_served: AtomicBool,
}

#[derive(Debug, Default, Clone, Copy)]
struct LaneState {
    count: usize,
    /// Until then it has asked to be left alone.
    patience: Option<Timestamp>,
}

/// What is sent. The order of the fields is that of the contract.
#[derive(Serialize)]
struct Body {
    #[serde(rename = "type")]
    kind: EventType,
    timestamp: Timestamp,
    data: Value,
}

impl Deliverer {
    pub fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            attempts: TaskTracker::new(),
            last_forgotten: Mutex::default(),
        }
    }

    /// For the start of a server: what a dead one was about to send is sent at once, unless another one is here.
    pub async fn take_over(&self) -> Result<()> {
        let now = self.engine.now();
        let freed = self.engine.store().release_deliveries(now).await?;
        if freed > 0 {
            tracing::info!(deliveries = freed, "webhooks that were interrupted go on");
        }
        Ok(())
    }

    /// Sends until `stop`; what is under way then is ended.
    pub async fn run(self, stop: CancellationToken) {
        self.engine.lanes.serve(true);
        while !stop.is_cancelled() {
            let rest = match self.round().await {
                Ok(rest) => rest,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "webhooks cannot be read from the store"
                    );
                    PAUSE_AFTER_FAILURE
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(rest) => {}
                () = self.engine.mail.notified() => tokio::time::sleep(GATHER).await,
            }
        }
        self.engine.lanes.serve(false);
        self.attempts.close();
        let patience = self.engine.settings().worker.drain;
        if tokio::time::timeout(patience, self.attempts.wait())
            .await
            .is_err()
        {
            // They are sent again after the next start.
            tracing::info!(
                deliveries = self.attempts.len(),
                "webhooks were interrupted"
            );
        }
    }

    /// One round by hand: everything that is due now is tried once, one after another. Says how much that was.
    pub async fn step(&self) -> Result<usize> {
        self.forget().await?;
        let claimed = self.claim(usize::MAX, usize::MAX, usize::MAX).await?;
        let count = claimed.deliveries.len();
        for delivery in claimed.deliveries {
            attempt(&self.engine, delivery).await;
        }
        Ok(count)
    }

    /// Begins what can be begun, and says how long there is nothing more to do.
    async fn round(&self) -> Result<Duration> {
        self.forget().await?;
        let Some(due) = self.engine.store().next_delivery().await? else {
            return Ok(LONGEST_REST);
        };
        let now = self.engine.now();
        if due > now {
            return Ok(due.since(now).min(LONGEST_REST));
        }
        let places = self.engine.settings().webhooks.concurrency.max(1);
        let free = places.saturating_sub(self.attempts.len());
        if free == 0 {
            return Ok(LONGEST_REST);
        }
        let claimed = self
            .claim(
                free,
                places.div_ceil(SHARE_OF_ONE),
                places.div_ceil(SHARE_OF_ORGANIZATION),
            )
            .await?;
        if claimed.deliveries.is_empty() && claimed.given_up == 0 {
            return Ok(REST_WHILE_FULL);
        }
        for delivery in claimed.deliveries {
            let engine = Arc::clone(&self.engine);
            self.attempts.spawn(async move {
                attempt(&engine, delivery).await;
                engine.mail.notify_one();
            });
        }
        Ok(Duration::ZERO)
    }

    async fn claim(
        &self,
        limit: usize,
        share: usize,
        share_of_organization: usize,
    ) -> Result<ClaimedDeliveries> {
        let now = self.engine.now();
        let lease = self.engine.settings().webhooks.timeout + WRITING_DOWN;
        let lanes = &self.engine.lanes;
        let (held, closed) = lanes.as_they_are(now);
        let claim = DeliveryClaim {
            limit,
            share,
            share_of_organization,
            held,
            closed,
            after: lock(&lanes.last).clone(),
            now,
            until: now.plus(lease),
        };
        let claimed = self.engine.store().claim_deliveries(claim).await?;
        if claimed.given_up > 0 {
            tracing::info!(
                deliveries = claimed.given_up,
                "webhooks to an endpoint that is switched off were given up"
            );
        }
        lanes.take(&claimed);
        Ok(claimed)
    }

    /// Removes what nobody asks for any more.
    async fn forget(&self) -> Result<()> {
        let now = self.engine.now();
        {
            let mut last = lock(&self.last_forgotten);
            if last.is_some_and(|last| now.since(last) < FORGET_EVERY) {
                return Ok(());
            }
            *last = Some(now);
        }
        let (lost, old) = (now.minus(LONGEST_DELIVERY), now.minus(REMEMBERED));
        let store = self.engine.store();
        store.forget_deliveries(lost, old, FORGET_AT_ONCE).await?;
        Ok(())
    }
}

impl Lanes {
    fn serve(&self, are_served: bool) {
        self.are_served.store(are_served, Ordering::Relaxed);
    }

    pub(crate) fn are_served(&self) -> bool {
        self.are_served.load(Ordering::Relaxed)
    }

    /// How many each has, and who asked for patience.
    fn as_they_are(&self, now: Timestamp) -> (HashMap<Lane, usize>, HashSet<Lane>) {
        let mut under_way = lock(&self.under_way);
        under_way.retain(|_, state| {
            state.patience = state.patience.filter(|until| *until > now);
            state.count > 0 || state.patience.is_some()
        });
        let (mut held, mut closed) = (HashMap::new(), HashSet::new());
        for (lane, state) in &*under_way {
            held.insert(lane.clone(), state.count);
            if state.patience.is_some() {
                closed.insert(lane.clone());
            }
        }
        (held, closed)
    }

    fn take(&self, claimed: &ClaimedDeliveries) {
        let mut under_way = lock(&self.under_way);
        for delivery in &claimed.deliveries {
            under_way.entry(delivery.lane.clone()).or_default().count += 1;
        }
        lock(&self.last).clone_from(&claimed.last);
    }

    /// Whoever owns it wants it to be called now, whatever it has asked for.
    pub(crate) fn open(&self, lane: &Lane) {
        if let Some(state) = lock(&self.under_way).get_mut(lane) {
            state.patience = None;
        }
    }
}

/// A place that a delivery has with its receiver.
struct Place<'a> {
    lanes: &'a Lanes,
    lane: Lane,
    patience: Option<Timestamp>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut under_way = lock(&self.lanes.under_way);
        let state = under_way.entry(self.lane.clone()).or_default();
        state.count = state.count.saturating_sub(1);
        state.patience = state.patience.max(self.patience);
    }
}

async fn attempt(engine: &Engine, claimed: ClaimedDelivery) {
    let mut place = Place {
        lanes: &engine.lanes,
        lane: claimed.lane.clone(),
        patience: None,
    };
    let begun = tokio::time::Instant::now();
    let at = engine.now();
    let sent = engine.send(&claimed, at).await;
    let retry_after = sent.as_ref().ok().and_then(|answer| answer.retry_after);
    let now = engine.now();
    let (outcome, error) = match &sent {
        Ok(answer) if (200..300).contains(&answer.status) => (DeliveryOutcome::Delivered, None),
        Ok(Answer { status: 410, .. }) => {
            (DeliveryOutcome::Gone, Some("it answered 410".to_owned()))
        }
        Err(NotSent::OurFault) => (
            DeliveryOutcome::NotSent(now.plus(PAUSE_AFTER_OUR_FAULT)),
            Some("what is to be told could not be read".to_owned()),
        ),
        failed => {
            let error = match failed {
                Ok(answer) if (300..400).contains(&answer.status) => format!(
                    "it answered {}, and redirects are not followed",
                    answer.status
                ),
                Ok(answer) => format!("it answered {}", answer.status),
                Err(NotSent::OurFault) => String::new(),
                Err(NotSent::Unreachable(error)) => error.to_string(),
            };
            let retries = &engine.settings().webhooks.retries;
            let next = retries.next(claimed.failed + 1, retry_after, now, engine.random());
            (DeliveryOutcome::Failed(next), Some(error))
        }
    };
    if let Some(span) = retry_after.filter(|_| outcome != DeliveryOutcome::Delivered) {
        place.patience = Some(now.plus(span.min(LONGEST_RETRY_AFTER)));
    }
    let delivery = &claimed.delivery;
    let status = sent.as_ref().ok().map(|answer| answer.status);
    tracing::debug!(delivery.id = %delivery.id, org.id = %delivery.org_id, attempt = delivery.attempts, status, error, "webhook sent");
    let settled = SettledDelivery {
        id: delivery.id.clone(),
        attempt: delivery.attempts,
        url: delivery.url.clone(),
        outcome,
        attempted: Attempted {
            at,
            response_status: status,
            duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        },
        error,
        notice: EventId::new(now, engine.random()),
        now,
    };
    match note(engine, settled).await {
        Ok(Settled::Done) => {}
        Ok(Settled::SwitchedOff) => {
            let endpoint = delivery.endpoint_id.as_ref().map(ToString::to_string);
            tracing::warn!(
                org.id = %delivery.org_id,
                endpoint.id = endpoint,
                "a webhook endpoint was switched off: it is gone, or has failed for five days"
            );
        }
        Ok(Settled::Lost) => {
            tracing::debug!(delivery.id = %delivery.id, "a webhook was sent twice");
        }
        // It is due again when its lease is over.
        Err(error) => {
            tracing::error!(delivery.id = %delivery.id, error = &error as &dyn std::error::Error, "what came of a webhook could not be written down");
        }
    }
}

/// Writes down what came of an attempt. A store that is away for a moment must not make it come again.
async fn note(
    engine: &Engine,
    settled: SettledDelivery,
) -> std::result::Result<Settled, StoreError> {
    let mut tries = 1;
    loop {
        match engine.store().settle_delivery(settled.clone()).await {
            Err(error) if error.is_temporary() && tries < NOTES => {
                tries += 1;
                tokio::time::sleep(BETWEEN_NOTES).await;
            }
            noted => return noted,
        }
    }
}

/// Why nothing was answered.
enum NotSent {
    OurFault,
    Unreachable(FetchError),
}

impl Engine {
    async fn send(
        &self,
        claimed: &ClaimedDelivery,
        at: Timestamp,
    ) -> std::result::Result<Answer, NotSent> {
        let delivery = &claimed.delivery;
        let prepared = async {
            let data = match &claimed.data {
                Some(data) => serde_json::from_str(data).ok(),
                None => self
                    .store()
                    .job(&delivery.org_id, &delivery.event.job())
                    .await?
                    .map(|job| (self.parts.show_job)(job, &self.settings().public_url)),
            };
            let fresh = WebhookSecret::generate(self.random());
            let secrets = self
                .store()
                .webhook_secrets(&delivery.org_id, delivery.mode, &fresh)
                .await?;
            Ok::<_, StoreError>(data.zip(secrets))
        };
        let (data, secrets) = match prepared.await {
            Ok(Some(prepared)) => prepared,
            Ok(None) => return Err(NotSent::OurFault),
            Err(error) => {
                tracing::error!(delivery.id = %delivery.id, error = &error as &dyn std::error::Error, "a webhook could not be made");
                return Err(NotSent::OurFault);
            }
        };
        let body = Body {
            kind: delivery.kind,
            timestamp: delivery.created_at,
            data,
        };
        let body = serde_json::to_vec(&body).map_err(|_| NotSent::OurFault)?;
        let id = delivery.event.as_str();
        let message = Message {
            id,
            at,
            signature: &secrets.signature(id, at, &body),
            body: Bytes::from(body),
        };
        self.parts
            .webhooks
            .send(&delivery.url, message)
            .await
            .map_err(NotSent::Unreachable)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
