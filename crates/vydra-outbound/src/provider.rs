//! What a provider is: something that turns a request into media, and says exactly what went wrong when it cannot.

use async_trait::async_trait;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub use crate::output::{Output, OutputSource};
pub use crate::request::{MediaInput, Request};

/// Stateless: it gets a request and answers, and knows neither the store nor the ledger.
#[async_trait]
pub trait Provider: Send + Sync + std::fmt::Debug {
    /// As the catalogue's routes call it: one provider can be set up several times, under several names.
    fn name(&self) -> &str;

    /// Whether asking twice buys nothing twice. Only then is a request repeated whose outcome is unknown.
    fn is_repeatable(&self) -> bool;

    async fn submit(&self, context: &Context, request: Request)
    -> Result<Submitted, ProviderError>;

    /// How a task that was accepted stands. A word that we do not know means that it still runs.
    async fn poll(&self, context: &Context, task: &str) -> Result<Polled, ProviderError>;

    /// Asks the provider to stop; it may be too late, and that is no failure.
    async fn cancel(&self, task: &str);

    /// The cheapest call that shows whether it can be reached and takes our key. Whoever calls nobody has nothing to show.
    async fn check(&self) -> Result<Checkup, ProviderError> {
        Ok(Checkup::default())
    }

    /// What the settings of each of these routes name and this provider lacks, such as the file of a model; None where it does
    /// not tell.
    async fn lacking(
        &self,
        routes: &[&Map<String, Value>],
    ) -> Result<Vec<Option<Vec<String>>>, ProviderError> {
        Ok(vec![None; routes.len()])
    }
}

/// What a provider said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkup {
    /// For an operator, such as what is left of a quota.
    pub note: Option<String>,
    /// Its models by their own names; None where it does not tell.
    pub models: Option<BTreeMap<String, Listed>>,
}

/// What a provider's list says of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// The day on which it is switched off, in the provider's own words.
    pub retires: Option<String>,
}

/// What goes along with a request besides its content.
#[derive(Clone)]
pub struct Context {
    /// 1 at the job's first attempt.
    pub attempt: u32,
    /// Told how far the work is, 0 to 100; cheap, and allowed from any thread.
    pub progress: Arc<dyn Fn(u8) + Send + Sync>,
    /// Set when nobody wants the result any more.
    pub stop: CancellationToken,
    /// How much is left of the job's time.
    pub time_left: Duration,
    pub receipt: Arc<Mutex<Receipt>>,
}

/// What a provider says of an attempt, for the operator.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Receipt {
    /// By which the provider's support finds the call.
    pub request_id: Option<String>,
    /// In the provider's own unit, such as `0.04 USD`.
    pub cost: Option<String>,
}

impl Context {
    pub fn receipt(&self) -> Receipt {
        let receipt = self.receipt.lock().unwrap_or_else(PoisonError::into_inner);
        receipt.clone()
    }

    /// Writes down what the provider said; what was known and is not said again stays.
    pub fn note(&self, said: Receipt) {
        let mut receipt = self.receipt.lock().unwrap_or_else(PoisonError::into_inner);
        receipt.request_id = said.request_id.or_else(|| receipt.request_id.take());
        receipt.cost = said.cost.or_else(|| receipt.cost.take());
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub enum Submitted {
    Done(Vec<Output>),
    /// Taken, under this name; to be polled.
    Accepted(String),
}

#[derive(Debug)]
pub enum Polled {
    Pending { progress: Option<u8> },
    Done(Vec<Output>),
}

/// What went wrong, so that a full table can decide what to do next.
#[derive(Debug, thiserror::Error)]
#[error("the provider failed: {kind:?}, {detail}")]
pub struct ProviderError {
    pub kind: ErrorKind,
    /// Whether the provider took the request, and may bill it.
    pub accepted: Accepted,
    pub retry_after: Option<Duration>,
    /// For the operator's log; never shown to a caller.
    pub detail: String,
}

impl ProviderError {
    pub fn new(kind: ErrorKind, accepted: Accepted, detail: impl Into<String>) -> Self {
        Self {
            kind,
            accepted,
            retry_after: None,
            detail: detail.into(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    No,
    Yes,
    Unknown,
}

impl Accepted {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The provider will not make this.
    ContentRefused,
    InvalidRequest,
    /// A file that the request names cannot be used.
    InputUnreadable,
    /// Our key is wrong or lacks a permission.
    Auth,
    /// Our account has run dry.
    QuotaExhausted,
    RateLimited,
    Unavailable,
    /// The connection ended before the answer.
    Unknown,
    /// It says that it is done, and nothing usable came.
    NoOutput,
    ModelGone,
    Cancelled,
    /// The provider gave up before it began.
    Expired,
    TimedOut,
    /// The provider does not know the task, or not any more.
    TaskGone,
    /// An answer that cannot be understood.
    Protocol,
}

impl ErrorKind {
    /// A stable word for the operator.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ContentRefused => "content_refused",
            Self::InvalidRequest => "invalid_request",
            Self::InputUnreadable => "input_unreadable",
            Self::Auth => "auth",
            Self::QuotaExhausted => "quota_exhausted",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::NoOutput => "no_output",
            Self::ModelGone => "model_gone",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::TimedOut => "timed_out",
            Self::TaskGone => "task_gone",
            Self::Protocol => "protocol",
        }
    }
}

/// Whether to ask again, now that a request has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Retry,
    Fail,
}

impl ProviderError {
    /// The whole table of kind and acceptance, without a default arm: a request whose outcome is unknown is never
    /// repeated, as that could buy twice.
    pub const fn next(&self) -> Next {
        match (self.kind, self.accepted) {
            (ErrorKind::RateLimited | ErrorKind::Unavailable, Accepted::No) => Next::Retry,
            (
                ErrorKind::RateLimited | ErrorKind::Unavailable,
                Accepted::Yes | Accepted::Unknown,
            )
            | (
                ErrorKind::ContentRefused
                | ErrorKind::InvalidRequest
                | ErrorKind::InputUnreadable
                | ErrorKind::Auth
                | ErrorKind::QuotaExhausted
                | ErrorKind::Unknown
                | ErrorKind::NoOutput
                | ErrorKind::ModelGone
                | ErrorKind::Cancelled
                | ErrorKind::Expired
                | ErrorKind::TimedOut
                | ErrorKind::TaskGone
                | ErrorKind::Protocol,
                Accepted::No | Accepted::Yes | Accepted::Unknown,
            ) => Next::Fail,
        }
    }

    /// The same where a task was asked for, which the provider has taken: that much is known, whatever it says of it. What it
    /// says of the question alone stays.
    #[must_use]
    pub fn of_a_task(self) -> Self {
        let accepted = match self.accepted {
            Accepted::No if !self.is_of_the_poll() => Accepted::Yes,
            told => told,
        };
        Self { accepted, ..self }
    }

    /// Whether another provider may do better, and nothing was bought of this one.
    pub const fn lets_another_try(&self) -> bool {
        match (self.kind, self.accepted) {
            (
                ErrorKind::Auth
                | ErrorKind::QuotaExhausted
                | ErrorKind::RateLimited
                | ErrorKind::Unavailable
                | ErrorKind::ModelGone,
                Accepted::No,
            ) => true,
            (
                ErrorKind::Auth
                | ErrorKind::QuotaExhausted
                | ErrorKind::RateLimited
                | ErrorKind::Unavailable
                | ErrorKind::ModelGone,
                Accepted::Yes | Accepted::Unknown,
            )
            | (
                ErrorKind::ContentRefused
                | ErrorKind::InvalidRequest
                | ErrorKind::InputUnreadable
                | ErrorKind::Unknown
                | ErrorKind::NoOutput
                | ErrorKind::Cancelled
                | ErrorKind::Expired
                | ErrorKind::TimedOut
                | ErrorKind::TaskGone
                | ErrorKind::Protocol,
                Accepted::No | Accepted::Yes | Accepted::Unknown,
            ) => false,
        }
    }

    /// Whether it tells of the question alone, and nothing of the task that was asked for.
    pub const fn is_of_the_poll(&self) -> bool {
        match self.kind {
            ErrorKind::RateLimited
            | ErrorKind::Unavailable
            | ErrorKind::Unknown
            | ErrorKind::Protocol => true,
            // The question was refused for our key or our account; the task was taken before, and may be billed.
            ErrorKind::Auth | ErrorKind::QuotaExhausted | ErrorKind::ModelGone => {
                matches!(self.accepted, Accepted::No)
            }
            ErrorKind::ContentRefused
            | ErrorKind::InvalidRequest
            | ErrorKind::InputUnreadable
            | ErrorKind::NoOutput
            | ErrorKind::Cancelled
            | ErrorKind::Expired
            | ErrorKind::TimedOut
            | ErrorKind::TaskGone => false,
        }
    }

    /// A stable word for the caller.
    pub const fn reason(&self) -> &'static str {
        match self.kind {
            ErrorKind::ContentRefused => "content_policy",
            ErrorKind::InvalidRequest => "invalid_request",
            ErrorKind::InputUnreadable => "input_unreadable",
            ErrorKind::Auth
            | ErrorKind::QuotaExhausted
            | ErrorKind::RateLimited
            | ErrorKind::Unavailable => "provider_unavailable",
            ErrorKind::Unknown | ErrorKind::TaskGone | ErrorKind::Protocol => "unknown_outcome",
            ErrorKind::NoOutput => "no_output",
            ErrorKind::ModelGone => "model_gone",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::Expired | ErrorKind::TimedOut => "timed_out",
        }
    }

    /// Whether the same request by the same caller may do better later.
    pub const fn may_succeed_later(&self) -> bool {
        match self.kind {
            ErrorKind::ContentRefused
            | ErrorKind::InvalidRequest
            | ErrorKind::InputUnreadable
            | ErrorKind::ModelGone => false,
            ErrorKind::Auth
            | ErrorKind::QuotaExhausted
            | ErrorKind::RateLimited
            | ErrorKind::Unavailable
            | ErrorKind::Unknown
            | ErrorKind::NoOutput
            | ErrorKind::Cancelled
            | ErrorKind::Expired
            | ErrorKind::TimedOut
            | ErrorKind::TaskGone
            | ErrorKind::Protocol => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_twice_that_may_have_been_bought() {
        for accepted in [Accepted::Yes, Accepted::Unknown] {
            for kind in [
                ErrorKind::RateLimited,
                ErrorKind::Unavailable,
                ErrorKind::Unknown,
                ErrorKind::Protocol,
            ] {
                assert_eq!(
                    ProviderError::new(kind, accepted, "").next(),
                    Next::Fail,
                    "{kind:?} {accepted:?}"
                );
            }
        }
        assert_eq!(
            ProviderError::new(ErrorKind::Unavailable, Accepted::No, "").next(),
            Next::Retry
        );
    }
}
