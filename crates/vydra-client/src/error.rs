//! What a call can fail with.

use crate::code::Code;
use crate::types::{ExceededLimit, Job, Refund};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Texts of one's own, by code.
pub(crate) type Texts = Arc<HashMap<String, String>>;

/// Everything that can go wrong. [`friendly`](Error::friendly) is a sentence for people.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No server, no key, a credentials file that cannot be understood, or an environment that is not as it must be.
    #[error("{0}")]
    Configuration(String),
    /// What was given to the builder or to a call cannot be sent: an address that is none, an id that names nothing, a text that
    /// no header has. The docs count it among those of the configuration.
    #[error("{0}")]
    Request(String),
    /// No answer: the name, the connection, TLS, or a broken body.
    #[error("{message}")]
    Connection {
        /// What is wrong.
        message: String,
        /// What lies beneath.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The time for an answer is over, or nothing came for too long. The docs count it among those of the connection.
    #[error("{0}")]
    Timeout(String),
    /// The job has not ended in the time that was given. It goes on.
    #[error("{job_id} has not ended in {} s; it goes on", timeout.as_secs_f64())]
    WaitTimeout {
        /// Which job.
        job_id: String,
        /// The time that was given.
        timeout: Duration,
    },
    /// The job that was waited for was cancelled.
    #[error("{} was cancelled", job.id)]
    JobCancelled {
        /// The job.
        job: Box<Job>,
    },
    /// A webhook that is not ours, or too old.
    #[error("{0}")]
    WebhookVerification(String),
    /// What was downloaded is no medium: JSON, HTML, nothing, or less than was promised.
    #[error("{0}")]
    Download(String),
    /// A file of this machine that cannot be read or written.
    #[error("{message}")]
    File {
        /// What was tried.
        message: String,
        /// Why it failed; not in the sentence itself, so that who prints the causes prints it once.
        source: io::Error,
    },
    /// The server's answer, or the end of a job that failed.
    #[error(transparent)]
    Api(Box<ApiError>),
}

impl Error {
    /// A sentence for the person in front of the program.
    pub fn friendly(&self) -> String {
        let text = match self {
            Self::Api(error) => return error.friendly(),
            Self::Configuration(_) => "This program is not set up correctly.",
            Self::Request(_) => "This can't be sent as it is. Please check what you entered.",
            Self::Connection { .. } => {
                "We couldn't reach the service. Please check your connection and try again."
            }
            Self::Timeout(_) => "The service took too long to answer. Please try again.",
            Self::WaitTimeout { .. } => {
                "This takes longer than usual. It goes on in the background; please look again later."
            }
            Self::JobCancelled { .. } => "This was cancelled, and you got your credits back.",
            Self::WebhookVerification(_) => "This message can't be trusted, and was left alone.",
            Self::Download(_) => "The file couldn't be downloaded. Please try again.",
            Self::File { .. } => "The file couldn't be read or written.",
        };
        text.to_owned()
    }

    /// Whether the same call can succeed later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Api(error) => error.retryable(),
            Self::Connection { .. }
            | Self::Timeout(_)
            | Self::WaitTimeout { .. }
            | Self::Download(_) => true,
            Self::Configuration(_)
            | Self::Request(_)
            | Self::JobCancelled { .. }
            | Self::WebhookVerification(_)
            | Self::File { .. } => false,
        }
    }

    /// The job that was waited for, and failed or was cancelled.
    pub fn job(&self) -> Option<&Job> {
        match self {
            Self::JobCancelled { job } => Some(job),
            Self::Api(error) => error.job.as_deref(),
            _ => None,
        }
    }

    /// The job that it is about: waited for, made of the request all the same, or ended. It may go on.
    pub fn job_id(&self) -> Option<&str> {
        match self {
            Self::WaitTimeout { job_id, .. } => Some(job_id),
            Self::JobCancelled { job } => Some(&job.id),
            Self::Api(error) => {
                let details = error.details.as_ref();
                let told = || details?.get("jobId")?.as_str();
                error.job_id.as_deref().or_else(told)
            }
            _ => None,
        }
    }

    /// The server's answer, if that is what failed.
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) => Some(error),
            _ => None,
        }
    }

    /// The server's code, if it gave one.
    pub fn code(&self) -> Option<&Code> {
        self.api()?.code.as_ref()
    }

    /// The same, of a job that is known by now.
    pub(crate) fn of_job(mut self, id: &str) -> Self {
        if let Self::Api(error) = &mut self {
            error.job_id = Some(id.to_owned());
        }
        self
    }

    pub(crate) fn connection(message: impl Into<String>) -> Self {
        Self::Connection {
            message: message.into(),
            source: None,
        }
    }
}

/// An error that the server answered with, or with which a job that was waited for has ended.
#[derive(Clone, Default, thiserror::Error)]
#[error("{message}{}", self.named())]
#[non_exhaustive]
pub struct ApiError {
    /// The status of the answer; of a job that failed, that of its code.
    pub status: u16,
    /// The stable word for programs; none where the answer is not the server's own.
    pub code: Option<Code>,
    /// The server's sentence.
    pub message: String,
    /// What belongs to the code.
    pub details: Option<Map<String, Value>>,
    /// What to tell the operator.
    pub request_id: Option<String>,
    /// What it would have cost.
    pub credits_required: Option<i64>,
    /// What was there.
    pub credits_remaining: Option<i64>,
    /// How long to wait.
    pub retry_after: Option<Duration>,
    /// Which limit was exceeded.
    pub limits: Option<ExceededLimit>,
    /// What was paid back.
    pub refund: Option<Refund>,
    /// The answer as it came; a text if it is not JSON.
    pub body: Value,
    /// The job that was waited for and failed.
    pub job: Option<Box<Job>>,
    /// The job that was waited for, failed or not.
    pub job_id: Option<String>,
    /// Whether the answer is that of an earlier request with the same `Idempotency-Key`.
    pub replayed: bool,
    pub(crate) texts: Texts,
}

impl std::fmt::Debug for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The body can be a proxy's page, which may show the request.
        f.debug_struct("ApiError")
            .field("status", &self.status)
            .field("code", &self.code)
            .field("message", &self.message)
            .field("details", &self.details)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

/// The kinds of errors of the server, by status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// 400: the request itself is wrong.
    BadRequest,
    /// 401: the key is missing or no good.
    Authentication,
    /// 402: it costs more than there is, or than was allowed.
    PaymentRequired,
    /// 403: the key may not do that.
    PermissionDenied,
    /// 404: there is no such thing.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 409: not as things stand.
    Conflict,
    /// 429: too many requests.
    RateLimit,
    /// 500 and more: something went wrong on the server.
    Server,
    /// 503.
    Unavailable,
    /// Any other status.
    Other,
}

impl ApiError {
    /// The class of its code; where that is not known, of its status.
    pub fn class(&self) -> ErrorClass {
        let known = self.code.as_ref().and_then(Code::status);
        match known.unwrap_or(self.status) {
            400 => ErrorClass::BadRequest,
            401 => ErrorClass::Authentication,
            402 => ErrorClass::PaymentRequired,
            403 => ErrorClass::PermissionDenied,
            404 => ErrorClass::NotFound,
            405 => ErrorClass::MethodNotAllowed,
            409 => ErrorClass::Conflict,
            429 => ErrorClass::RateLimit,
            503 => ErrorClass::Unavailable,
            500.. => ErrorClass::Server,
            _ => ErrorClass::Other,
        }
    }

    /// Whether the same request can succeed later.
    pub fn retryable(&self) -> bool {
        let told = self
            .details
            .as_ref()
            .and_then(|details| details.get("retryable")?.as_bool());
        told.or_else(|| self.code.as_ref()?.retryable())
            .unwrap_or(self.status == 429 || self.status >= 500)
    }

    /// A sentence for the person in front of the program.
    pub fn friendly(&self) -> String {
        let code = self.code.as_ref().unwrap_or(&Code::InternalError);
        let own = self.texts.get(code.as_str()).map(String::as_str);
        let known = code.friendly().or(Code::InternalError.friendly());
        let mut text = own.or(known).unwrap_or_default().to_owned();
        let seconds = self.retry_after.map(whole_seconds);
        for (name, number) in [
            ("{retryAfter}", seconds.map(|seconds| seconds.to_string())),
            (
                "{creditsRequired}",
                self.credits_required.map(|credits| credits.to_string()),
            ),
            (
                "{creditsRemaining}",
                self.credits_remaining.map(|credits| credits.to_string()),
            ),
        ] {
            match (number, text.find(name)) {
                (Some(number), _) => text = text.replace(name, &number),
                (None, Some(at)) => {
                    // It ends before what would need the number.
                    text.truncate(text[..at].rfind(['.', ':']).unwrap_or(at));
                    text.push('.');
                }
                (None, None) => {}
            }
        }
        text
    }

    /// Whether a job was made of the request: the same key would be answered the same again.
    pub(crate) fn made_a_job(&self) -> bool {
        let details = self.details.as_ref();
        self.replayed
            || self.body["refund"].is_object()
            || details.is_some_and(|details| details.contains_key("jobId"))
    }

    fn named(&self) -> String {
        let request = self.request_id.as_ref().map(|id| format!("request {id}"));
        let code = self.code.as_ref().map(Code::to_string);
        let parts: Vec<_> = code.into_iter().chain(request).collect();
        match parts.as_slice() {
            [] => String::new(),
            parts => format!(" ({})", parts.join(", ")),
        }
    }
}

/// Rounded up.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    let begun = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(begun)
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Self::Api(Box::new(error))
    }
}
