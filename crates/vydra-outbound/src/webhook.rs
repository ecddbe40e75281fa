//! Sends one webhook to an address that a caller named: through the guarded client, and never further than that address.

use crate::egress_proxy::EgressProxy;
use crate::fetch::{FetchError, FetchLimits, InputFetcher, Lookup, SystemLookup};
use crate::http::SetupError;
use crate::url_guard::{Refusal, UrlGuard};
use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use std::fmt;
use std::time::Duration;
use vydra_core::time::Timestamp;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What is sent, signed for this attempt.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// The same at every attempt.
    pub id: &'a str,
    pub at: Timestamp,
    pub signature: &'a str,
    /// JSON.
    pub body: Bytes,
}

/// What the receiver said to it. Its body is not read: nobody here has a use for it, and a stranger could choose its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
}

/// Carries webhooks to their receivers.
#[async_trait]
pub trait Courier: Send + Sync + fmt::Debug {
    /// Says whether `url` may be called, now, without calling it.
    async fn check(&self, url: &str) -> Result<(), FetchError>;

    async fn send(&self, url: &str, message: Message<'_>) -> Result<Answer, FetchError>;
}

/// Over HTTP. Guarantee: that of [`InputFetcher`], and redirects are not followed.
#[derive(Debug, Clone)]
pub struct WebhookSender {
    client: InputFetcher,
}

impl WebhookSender {
    /// `timeout` is for everything from the look-up of the name to the head of the answer.
    pub fn new(
        guard: UrlGuard,
        timeout: Duration,
        proxy: Option<&EgressProxy>,
    ) -> Result<Self, SetupError> {
        Self::with_lookup(guard, timeout, proxy, SystemLookup::default())
    }

    /// The same, with another source of addresses.
    pub fn with_lookup(
        guard: UrlGuard,
        timeout: Duration,
        proxy: Option<&EgressProxy>,
        lookup: impl Lookup + 'static,
    ) -> Result<Self, SetupError> {
        let usual = FetchLimits::default();
        let limits = FetchLimits {
            max_bytes: 0,
            connect: usual.connect.min(timeout),
            headers: timeout,
            total: timeout,
            redirects: 0,
            ..usual
        };
        let client = InputFetcher::with_lookup(guard, limits, lookup)?;
        Ok(Self {
            client: match proxy {
                Some(proxy) => client.through(proxy)?,
                None => client,
            },
        })
    }

    /// Says whether `url` could be called, as far as its text tells: no name is looked up.
    pub fn check_shape(&self, url: &str) -> Result<(), Refusal> {
        self.client.check_shape(url).map(drop)
    }
}

#[async_trait]
impl Courier for WebhookSender {
    async fn check(&self, url: &str) -> Result<(), FetchError> {
        self.client.check(url).await.map(drop)
    }

    async fn send(&self, url: &str, message: Message<'_>) -> Result<Answer, FetchError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(TIMESTAMP, HeaderValue::from(message.at.as_seconds()));
        for (name, value) in [(ID, message.id), (SIGNATURE, message.signature)] {
            // Ours are letters, digits and base64.
            let value = HeaderValue::from_str(value).map_err(|_| FetchError::Unreachable)?;
            headers.insert(name, value);
        }
        let response = self.client.post(url, headers, message.body).await?;
        Ok(Answer {
            status: response.status().as_u16(),
            retry_after: response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok())
                .and_then(|text| retry_after(text, message.at)),
        })
    }
}

/// Seconds, or a date (RFC 9110, section 10.2.3). Some send parts of seconds: they are waited for, too.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds.ceil()).ok();
    }
    Timestamp::parse_http(text).map(|at| at.since(now))
}

#[cfg(test)]
mod tests;
