//! Carries webhooks to their receivers. Apart from the worker: however slow a receiver is, no job waits for it.

use crate::{Engine, Result};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vydra_core::ids::EventId;
use vydra_core::time::Timestamp;
use vydra_core::webhook::{Attempted, EventType, LONGEST_RETRY_AFTER, WebhookSecret};
use vydra_outbound::webhook::{Answer, Message};
use vydra_store::store::{
    ClaimedDelivery, DeliveryClaim, DeliveryOutcome, Lane, Settled, SettledDelivery,
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
/// The part of all places that one receiver may have.
const SHARE_OF_ONE: usize = 4;
/// How long a delivery that has ended is remembered.
const REMEMBERED: Duration = Duration::from_hours(30 * 24);
const FORGET_EVERY: Duration = Duration::from_mins(1);
const FORGET_AT_ONCE: u32 = 1_000;

#[derive(Debug)]
pub struct Deliverer {
    engine: Arc<Engine>,
    attempts: TaskTracker,
    lanes: Arc<Lanes>,
    last_forgotten: Mutex<Option<Timestamp>>,
}

/// What each receiver has to do.
#[derive(Debug, Default)]
struct Lanes {
    under_way: Mutex<HashMap<Lane, LaneState>>,
    /// Whoever was served last.
    last: Mutex<Option<Lane>>,
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
            lanes: Arc::default(),
            last_forgotten: Mutex::default(),
        }
    }

    /// For the start of the only process on this database: what a dead one was about to send is sent at once.
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
        let claimed = self.claim(usize::MAX, usize::MAX).await?;
        let count = claimed.len();
        for delivery in claimed {
            attempt(&self.engine, &self.lanes, delivery).await;
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
        let claimed = self.claim(free, places.div_ceil(SHARE_OF_ONE)).await?;
        if claimed.is_empty() {
            return Ok(REST_WHILE_FULL);
        }
        for delivery in claimed {
            let (engine, lanes) = (Arc::clone(&self.engine), Arc::clone(&self.lanes));
            self.attempts.spawn(async move {
                attempt(&engine, &lanes, delivery).await;
                engine.mail.notify_one();
            });
        }
        Ok(Duration::ZERO)
    }

    async fn claim(&self, limit: usize, share: usize) -> Result<Vec<ClaimedDelivery>> {
        let now = self.engine.now();
        let lease = self.engine.settings().webhooks.timeout + WRITING_DOWN;
        let claim = DeliveryClaim {
            limit,
            share,
            held: self.lanes.held(share, now),
            after: lock(&self.lanes.last).clone(),
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
        let deliveries = claimed.deliveries;
        self.lanes.take(&deliveries);
        Ok(deliveries)
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
        let before = now.minus(REMEMBERED);
        let store = self.engine.store();
        while store.forget_deliveries(before, FORGET_AT_ONCE).await? >= u64::from(FORGET_AT_ONCE) {}
        Ok(())
    }
}

impl Lanes {
    /// How many each has; one that asked for patience has all.
    fn held(&self, share: usize, now: Timestamp) -> HashMap<Lane, usize> {
        let mut under_way = lock(&self.under_way);
        under_way.retain(|_, state| {
            state.patience = state.patience.filter(|until| *until > now);
            state.count > 0 || state.patience.is_some()
        });
        under_way
            .iter()
            .map(|(lane, state)| {
                let held = state.patience.map_or(state.count, |_| share);
                (lane.clone(), held)
            })
            .collect()
    }

    fn take(&self, deliveries: &[ClaimedDelivery]) {
        let mut under_way = lock(&self.under_way);
        for delivery in deliveries {
            under_way.entry(delivery.lane.clone()).or_default().count += 1;
        }
        if let Some(delivery) = deliveries.last() {
            *lock(&self.last) = Some(delivery.lane.clone());
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

async fn attempt(engine: &Engine, lanes: &Lanes, claimed: ClaimedDelivery) {
    let mut place = Place {
        lanes,
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
        failed => {
            let error = match failed {
                Ok(answer) if (300..400).contains(&answer.status) => format!(
                    "it answered {}, and redirects are not followed",
                    answer.status
                ),
                Ok(answer) => format!("it answered {}", answer.status),
                Err(error) => error.clone(),
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
        outcome,
        attempted: Attempted {
            at,
            response_status: status,
            error,
            duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        },
        notice: EventId::new(now, engine.random()),
        now,
    };
    match engine.store().settle_delivery(settled).await {
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

impl Engine {
    /// Err with why nothing was answered, for a human.
    async fn send(
        &self,
        claimed: &ClaimedDelivery,
        at: Timestamp,
    ) -> std::result::Result<Answer, String> {
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
                .webhook_secrets(&delivery.org_id, &fresh)
                .await?;
            Ok::<_, vydra_store::StoreError>(data.zip(secrets))
        };
        let (data, secrets) = match prepared.await {
            Ok(Some(prepared)) => prepared,
            Ok(None) => return Err("what is to be told cannot be read".to_owned()),
            Err(error) => {
                tracing::error!(delivery.id = %delivery.id, error = &error as &dyn std::error::Error, "a webhook could not be made");
                return Err("what is to be told cannot be read".to_owned());
            }
        };
        let body = Body {
            kind: delivery.kind,
            timestamp: delivery.created_at,
            data,
        };
        let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
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
            .map_err(|error| error.to_string())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
