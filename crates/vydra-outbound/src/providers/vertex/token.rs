//! Access tokens: one for all calls, until shortly before it ends.

use super::key::{Key, ServiceAccount};
use crate::provider::{Accepted, ErrorKind, ProviderError};
use crate::secret::Secret;
use crate::upstream::{Answer, Call, Content, Purpose};
use reqwest::Method;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use vydra_core::time::{Clock, Timestamp};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How long before its end a token is not used any more: the clocks of two machines differ.
const MARGIN: Duration = Duration::from_mins(2);

#[derive(Debug)]
pub(super) struct Tokens {
    key: Key,
    clock: Arc<dyn Clock>,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    token: Secret,
    until: Timestamp,
}

#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    /// Seconds.
    #[serde(default)]
    expires_in: u64,
}

impl Tokens {
    pub(super) fn new(key: Key, clock: Arc<dyn Clock>) -> Self {
        Self {
            key,
            clock,
            held: Mutex::default(),
        }
    }

    pub(super) const fn is_fixed(&self) -> bool {
        matches!(self.key, Key::Token(_))
    }

    /// Whoever comes while one is being got waits for that one.
    pub(super) async fn token(&self) -> Result<Secret, ProviderError> {
        let account = match &self.key {
            Key::Token(token) => return Ok(token.clone()),
            Key::Account(account) => account,
        };
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        if let Some(held) = held.as_ref().filter(|held| now < held.until) {
            return Ok(held.token.clone());
        }
        // Whatever went wrong, nothing was bought yet.
        let granted = granted(account, now).await.map_err(|error| ProviderError {
            accepted: Accepted::No,
            ..error
        })?;
        let span = Duration::from_secs(granted.expires_in).saturating_sub(MARGIN);
        *held = Some(Held {
            token: granted.access_token.clone(),
            until: now.plus(span),
        });
        Ok(granted.access_token)
    }

    /// Drops a token that was not taken, and says whether another can be had.
    pub(super) async fn forget(&self, token: &Secret) -> bool {
        self.held.lock().await.take_if(|held| held.token == *token);
        !self.is_fixed()
    }
}

async fn granted(account: &ServiceAccount, now: Timestamp) -> Result<Granted, ProviderError> {
    let assertion = account.assertion(now).ok_or_else(|| {
        let detail = "the key of the service account cannot sign";
        ProviderError::new(ErrorKind::Auth, Accepted::No, detail)
    })?;
    let call = Call::new(Method::POST, account.path.as_str(), Purpose::Ask).with(
        Content::UrlEncoded(vec![
            ("grant_type", GRANT.to_owned()),
            ("assertion", assertion.reveal().to_owned()),
        ]),
    );
    let answer = account.server.call(call).await?;
    if !answer.is_success() {
        return Err(refused(&answer));
    }
    Granted::deserialize(answer.json()?)
        .ok()
        .filter(|granted| !granted.access_token.is_empty())
        .ok_or_else(|| answer.not_understood("no access_token"))
}

/// RFC 6749, section 5.2: whatever is wrong with the wish is told with status 400.
fn refused(answer: &Answer) -> ProviderError {
    let body = answer.body().unwrap_or_default();
    let told = super::google::text(&body, "error").unwrap_or_default();
    let error = answer.failure_by_status(true, &told);
    match error.kind {
        ErrorKind::InvalidRequest | ErrorKind::ModelGone => {
            answer.failure(ErrorKind::Auth, Accepted::No, &told)
        }
        _ => error,
    }
}
