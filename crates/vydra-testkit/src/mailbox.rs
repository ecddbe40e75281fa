//! Where webhooks go that need no network.

use crate::web::Received;
use async_trait::async_trait;
use std::sync::{Mutex, MutexGuard, PoisonError};
use vydra_outbound::fetch::FetchError;
use vydra_outbound::url_guard::Refusal;
use vydra_outbound::webhook::{Answer, Courier, Message};

type Script = Box<dyn FnMut(&str) -> Result<u16, FetchError> + Send>;

/// Takes whatever is sent, and answers as it is told to, or 204. Whatever is said to be `private` is refused.
#[derive(Default)]
pub struct Mailbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    script: Option<Script>,
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

impl Mailbox {
    /// Answers so from now on; it is told the address.
    pub fn answer(&self, script: impl FnMut(&str) -> Result<u16, FetchError> + Send + 'static) {
        self.lock().script = Some(Box::new(script));
    }

    /// All that was taken with a 2xx.
    pub fn received(&self) -> Vec<Received> {
        self.lock().received.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Courier for Mailbox {
    async fn check(&self, url: &str) -> Result<(), FetchError> {
        if url.contains("private") {
            return Err(FetchError::Refused(Refusal::ForbiddenHost));
        }
        Ok(())
    }

    async fn send(&self, url: &str, message: Message<'_>) -> Result<Answer, FetchError> {
        let mut state = self.lock();
        let status = match &mut state.script {
            Some(script) => script(url)?,
            None => 204,
        };
        if (200..300).contains(&status) {
            state.received.push(Received {
                id: message.id.to_owned(),
                timestamp: message.at.as_seconds().to_string(),
                signature: message.signature.to_owned(),
                body: message.body,
            });
        }
        Ok(Answer {
            status,
            retry_after: None,
        })
    }
}
