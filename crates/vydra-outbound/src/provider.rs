//! What a provider is: something that turns a request into media, and says exactly what went wrong when it cannot.

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use vydra_core::asset::MediaKind;
use vydra_core::catalog::Route;
use vydra_core::job::{Action, Script, StepCall};

/// Stateless: it gets a request and answers, and knows neither the store nor the ledger.
#[async_trait]
pub trait Provider: Send + Sync + std::fmt::Debug {
    fn name(&self) -> &'static str;

    /// Whether asking twice buys nothing twice. Only then is a request repeated whose outcome is unknown.
    fn is_repeatable(&self) -> bool;

    async fn submit(&self, context: &Context, request: Request)
    -> Result<Submitted, ProviderError>;

    /// How a task that was accepted stands. A word that we do not know means that it still runs.
    async fn poll(&self, context: &Context, task: &str) -> Result<Polled, ProviderError>;

    /// Asks the provider to stop; it may be too late, and that is no failure.
    async fn cancel(&self, task: &str);
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
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
pub struct Request {
    /// The same for every attempt, and for nothing else: a client-chosen id, and a seed for what is not seeded.
    pub job: String,
    /// The provider's name for the model.
    pub model: String,
    pub kind: MediaKind,
    pub action: Action,
    pub outputs: u32,
    /// The input under the provider's names, media taken out.
    pub input: Map<String, Value>,
    pub media: Vec<MediaInput>,
    pub script: Script,
}

/// A media file that the request names, as bytes.
#[derive(Debug, Clone)]
pub struct MediaInput {
    /// The provider's name for the field.
    pub field: String,
    pub kind: MediaKind,
    pub media_type: String,
    pub bytes: Bytes,
}

impl Request {
    /// The call under the route's names. `media` comes with our names.
    pub fn new(job: &str, call: &StepCall<'_>, route: &Route, media: Vec<MediaInput>) -> Self {
        let theirs = |ours: &str| {
            route
                .fields
                .get(ours)
                .map_or_else(|| ours.to_owned(), Clone::clone)
        };
        let input = call
            .input
            .iter()
            .filter(|(name, _)| !media.iter().any(|media| media.field == **name))
            .map(|(name, value)| (theirs(name), value.clone()))
            .collect();
        let media = media
            .into_iter()
            .map(|media| MediaInput {
                field: theirs(&media.field),
                ..media
            })
            .collect();
        Self {
            job: match call.name {
                None => job.to_owned(),
                Some(_) => format!("{job}-{}", call.number),
            },
            model: route.model.clone(),
            kind: call.kind,
            action: call.action,
            outputs: call.outputs,
            input,
            media,
            script: call.script(),
        }
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

/// One file that was made.
#[derive(Debug, Clone)]
pub struct Output {
    pub source: OutputSource,
    pub duration_ms: Option<u64>,
}

/// Where a file that was made is.
#[derive(Clone)]
pub enum OutputSource {
    Bytes(Bytes),
    /// On a server that the provider names. It is trusted as little as a caller's URL, and often a secret: whoever has it can
    /// read the file.
    Url(String),
}

impl std::fmt::Debug for OutputSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Url(_) => f.write_str("Url(…)"),
        }
    }
}

impl Output {
    pub fn bytes(bytes: impl Into<Bytes>, duration_ms: Option<u64>) -> Self {
        Self {
            source: OutputSource::Bytes(bytes.into()),
            duration_ms,
        }
    }

    pub fn url(url: impl Into<String>, duration_ms: Option<u64>) -> Self {
        Self {
            source: OutputSource::Url(url.into()),
            duration_ms,
        }
    }
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
    TimedOut,
    /// An answer that cannot be understood.
    Protocol,
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
                | ErrorKind::TimedOut
                | ErrorKind::Protocol,
                Accepted::No | Accepted::Yes | Accepted::Unknown,
            ) => Next::Fail,
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
            ErrorKind::Unknown | ErrorKind::Protocol => "unknown_outcome",
            ErrorKind::NoOutput => "no_output",
            ErrorKind::ModelGone => "model_gone",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::TimedOut => "timed_out",
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
            | ErrorKind::TimedOut
            | ErrorKind::Protocol => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use vydra_core::job::Call;

    #[test]
    fn a_request_bears_the_providers_names() {
        let call: Call = serde_json::from_value(json!({
            "model": "m",
            "kind": "image",
            "action": "edit",
            "outputs": 1,
            "input": {"prompt": "p", "imageUrl": "asset:x", "aspectRatio": "1:1"},
        }))
        .unwrap();
        let call = call.calls().next().unwrap();
        let route = Route {
            provider: "p".to_owned(),
            model: "up/stream".to_owned(),
            fields: [
                ("imageUrl".to_owned(), "image_url".to_owned()),
                ("aspectRatio".to_owned(), "ratio".to_owned()),
            ]
            .into(),
        };
        let media = MediaInput {
            field: "imageUrl".to_owned(),
            kind: MediaKind::Image,
            media_type: "image/png".to_owned(),
            bytes: Bytes::new(),
        };
        let request = Request::new("job_1", &call, &route, vec![media]);
        assert_eq!(
            Value::Object(request.input),
            json!({"prompt": "p", "ratio": "1:1"})
        );
        assert_eq!(request.media[0].field, "image_url");
        assert_eq!(request.model, "up/stream");
        assert_eq!(request.job, "job_1");
    }

    /// Otherwise two of them would be one purchase, or one picture.
    #[test]
    fn each_step_of_a_job_has_an_id_of_its_own() {
        let step = |name: &str| json!({"name": name, "model": "m", "kind": "image", "action": "generate", "outputs": 1, "input": {}});
        let call: Call = serde_json::from_value(json!({
            "model": "m", "kind": "image", "action": "generate", "outputs": 1, "input": {}, "steps": [step("a"), step("b")],
        }))
        .unwrap();
        let route = Route {
            provider: "p".to_owned(),
            model: "m".to_owned(),
            fields: std::collections::BTreeMap::new(),
        };
        let ids: Vec<String> = call
            .calls()
            .map(|step| Request::new("job_1", &step, &route, Vec::new()).job)
            .collect();
        assert_eq!(ids, ["job_1-0", "job_1-1"]);
    }

    #[test]
    fn where_an_output_is_stands_in_no_log() {
        let signed = Output::url("https://files.example/a.mp4?signature=secret", None);
        assert!(!format!("{signed:?}").contains("example"));
        let bytes = Output::bytes(vec![0; 1_000_000], None);
        assert!(format!("{bytes:?}").len() < 100);
    }

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
