//! Webhooks: whether one is ours, and how the ends of jobs are told.

use crate::client::Client;
use crate::clock::wall_clock;
use crate::error::Error;
use crate::options::DeliveryFilter;
use crate::pages::Page;
use crate::types::{
    DeletedEndpoint, Delivery, Endpoint, EndpointChanges, EndpointList, Event, Job, NewEndpoint,
    Secret, SentTests,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far the time of a webhook may be from ours.
const TOLERANCE: Duration = Duration::from_mins(5);

/// An event that came by a webhook. Answer 200 to a type that you do not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WebhookEvent {
    /// job.completed, job.failed, job.cancelled, `webhook.endpoint_disabled` or webhook.test.
    #[serde(default)]
    pub r#type: String,
    /// When it happened.
    #[serde(default)]
    pub timestamp: String,
    /// What it is about.
    #[serde(default)]
    pub data: Value,
}

impl Event {
    /// The job that has ended.
    pub fn job(&self) -> Option<Job> {
        serde_json::from_value(Value::Object(self.data.clone())).ok()
    }
}

impl WebhookEvent {
    /// Of `job.*`, the job as `jobs().get` gives it.
    pub fn job(&self) -> Option<Job> {
        let is_of_job = self.r#type.starts_with("job.");
        is_of_job
            .then(|| serde_json::from_value(self.data.clone()).ok())
            .flatten()
    }
}

/// The event of a webhook; [`Error::WebhookVerification`] unless it is ours and not older than five minutes.
///
/// `body` is the raw body as it came, `header` looks up a header by its name in lower case, and `secrets` are the
/// `whsec_…` of the organization: one, or several during a rotation. The same event can come twice: remember its `webhook-id`.
///
/// ```
/// # use std::collections::HashMap;
/// # let (headers, body) = (HashMap::<&str, &str>::new(), b"{}");
/// let event = vydra_client::webhooks::verify(body, |name| headers.get(name).copied(), ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
/// assert!(event.is_err());
/// ```
pub fn verify<'h>(
    body: &[u8],
    header: impl Fn(&str) -> Option<&'h str>,
    secrets: impl IntoIterator<Item = impl AsRef<str>>,
) -> Result<WebhookEvent, Error> {
    verify_at(wall_clock(), body, header, secrets)
}

/// [`verify`] at a time of one's own.
pub fn verify_at<'h>(
    now: SystemTime,
    body: &[u8],
    header: impl Fn(&str) -> Option<&'h str>,
    secrets: impl IntoIterator<Item = impl AsRef<str>>,
) -> Result<WebhookEvent, Error> {
    let wrong = |why: &str| Error::WebhookVerification(why.to_owned());
    let named =
        |name: &str| header(name).ok_or_else(|| wrong(&format!("the header {name} is missing")));
    let (id, stamp, signatures) = (
        named("webhook-id")?,
        named("webhook-timestamp")?,
        named("webhook-signature")?,
    );
    let is_number =
        (1..16).contains(&stamp.len()) && stamp.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = is_number.then(|| stamp.parse().ok()).flatten();
    let seconds = seconds.ok_or_else(|| wrong("webhook-timestamp is no number"))?;
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let apart = at.map(|at| {
        now.duration_since(at)
            .unwrap_or_else(|error| error.duration())
    });
    if apart.is_none_or(|apart| apart > TOLERANCE) {
        return Err(wrong("the webhook is too old, or from the future"));
    }
    let mut signed = format!("{id}.{stamp}.").into_bytes();
    signed.extend_from_slice(body);
    let given = signatures
        .split(' ')
        .filter_map(|part| part.strip_prefix("v1,"));
    let given: Vec<_> = given
        .filter_map(|part| STANDARD.decode(part).ok())
        .collect();
    let mut is_ours = false;
    for secret in secrets {
        let secret = secret.as_ref();
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret));
        // Without the cause, which may show the secret.
        let key = key.ok().filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| wrong("the webhook secret is not whsec_ and base64"))?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        // Every one is compared, so that the time tells nothing.
        for signature in &given {
            is_ours |= hmac::verify(&key, &signed, signature).is_ok();
        }
    }
    if !is_ours {
        return Err(wrong("no signature fits"));
    }
    serde_json::from_slice(body).map_err(|_| wrong("the body is no event"))
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("previous_secret_until", &self.previous_secret_until)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// How the ends of jobs are told.
    pub fn webhooks(&self) -> Webhooks<'_> {
        Webhooks(self)
    }
}

/// What [`Client::webhooks`] gives.
#[derive(Debug, Clone, Copy)]
pub struct Webhooks<'a>(&'a Client);

impl<'a> Webhooks<'a> {
    /// Where the ends of all jobs are told.
    pub fn endpoints(&self) -> Endpoints<'a> {
        Endpoints(self.0)
    }

    /// What was sent in the last 30 days.
    pub fn deliveries(&self) -> Deliveries<'a> {
        Deliveries(self.0)
    }

    /// What webhooks are signed with.
    pub fn secret(&self) -> WebhookSecret<'a> {
        WebhookSecret(self.0)
    }

    /// Sends a `webhook.test` to an endpoint, or to all.
    pub async fn test(&self, endpoint_id: Option<&str>) -> Result<SentTests, Error> {
        let core = &self.0.core;
        let body = endpoint_id.map_or_else(|| json!({}), |id| json!({"endpointId": id}));
        core.json(
            &core
                .request(Method::POST, &["webhooks", "test"])?
                .json(&body)?,
        )
        .await
    }
}

/// What [`Webhooks::endpoints`] gives.
#[derive(Debug, Clone, Copy)]
pub struct Endpoints<'a>(&'a Client);

impl Endpoints<'_> {
    /// All endpoints.
    pub async fn list(&self) -> Result<EndpointList, Error> {
        let core = &self.0.core;
        core.json(&core.get(&["webhooks", "endpoints"])?).await
    }

    /// Adds an endpoint, for these events or for all.
    pub async fn create(&self, endpoint: &NewEndpoint) -> Result<Endpoint, Error> {
        let core = &self.0.core;
        core.json(
            &core
                .request(Method::POST, &["webhooks", "endpoints"])?
                .json(endpoint)?,
        )
        .await
    }

    /// One endpoint.
    pub async fn get(&self, id: &str) -> Result<Endpoint, Error> {
        let core = &self.0.core;
        core.json(&core.get(&["webhooks", "endpoints", id])?).await
    }

    /// Changes what is named of an endpoint.
    pub async fn update(&self, id: &str, changes: &EndpointChanges) -> Result<Endpoint, Error> {
        let core = &self.0.core;
        core.json(
            &core
                .request(Method::PATCH, &["webhooks", "endpoints", id])?
                .json(changes)?,
        )
        .await
    }

    /// Removes an endpoint.
    pub async fn delete(&self, id: &str) -> Result<DeletedEndpoint, Error> {
        let core = &self.0.core;
        core.json(&core.request(Method::DELETE, &["webhooks", "endpoints", id])?)
            .await
    }
}

/// What [`Webhooks::deliveries`] gives.
#[derive(Debug, Clone, Copy)]
pub struct Deliveries<'a>(&'a Client);

impl Deliveries<'_> {
    /// The deliveries, the newest first.
    pub async fn list(&self, filter: &DeliveryFilter) -> Result<Page<Delivery>, Error> {
        let core = &self.0.core;
        let request = core
            .get(&["webhooks", "deliveries"])?
            .query("limit", filter.limit)
            .query("offset", filter.offset)
            .query("status", filter.status.as_ref())
            .query("endpointId", filter.endpoint_id.as_ref())
            .query("after", filter.after.as_ref());
        Page::fetch(core, request).await
    }

    /// One delivery.
    pub async fn get(&self, id: &str) -> Result<Delivery, Error> {
        let core = &self.0.core;
        core.json(&core.get(&["webhooks", "deliveries", id])?).await
    }

    /// Sends one again, with the same id.
    pub async fn resend(&self, id: &str) -> Result<Delivery, Error> {
        let core = &self.0.core;
        core.json(&core.request(Method::POST, &["webhooks", "deliveries", id, "resend"])?)
            .await
    }
}

/// What [`Webhooks::secret`] gives.
#[derive(Debug, Clone, Copy)]
pub struct WebhookSecret<'a>(&'a Client);

impl WebhookSecret<'_> {
    /// The secret of this key's mode.
    pub async fn get(&self) -> Result<Secret, Error> {
        let core = &self.0.core;
        core.json(&core.get(&["webhooks", "secret"])?).await
    }

    /// Replaces the secret; the old one signs too for so many hours, 24 if nothing is said.
    pub async fn rotate(&self, overlap_hours: Option<u32>) -> Result<Secret, Error> {
        let core = &self.0.core;
        let body = overlap_hours.map_or_else(|| json!({}), |hours| json!({"overlapHours": hours}));
        core.json(
            &core
                .request(Method::POST, &["webhooks", "secret", "rotate"])?
                .json(&body)?,
        )
        .await
    }
}
