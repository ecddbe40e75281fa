//! How a provider talks, as far as the cases need to know.

use bytes::Bytes;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use vydra_core::asset::MediaKind;
use vydra_core::job::{Action, Script};
use vydra_outbound::provider::{Accepted, Context, ErrorKind, MediaInput, Provider, Request};
use vydra_testkit::upstream::{Recorded, Reply};

/// What the provider is to have made.
#[derive(Debug, Clone)]
pub(crate) enum Made {
    File(Bytes),
    /// Where the file is: for providers that answer with addresses.
    At(String),
}

/// How a provider hands its files over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Addresses,
    Base64,
    /// The answer is the file.
    Raw,
    /// On its own server, to whoever has the key.
    Own,
}

/// Replies, from the purchase on, and what must come of them.
pub(crate) struct Fails {
    pub(crate) replies: Vec<Reply>,
    pub(crate) kind: ErrorKind,
    pub(crate) accepted: Accepted,
}

pub(crate) fn fails(replies: Vec<Reply>, kind: ErrorKind, accepted: Accepted) -> Fails {
    Fails {
        replies,
        kind,
        accepted,
    }
}

pub(crate) type Partial = fn(&[Made]) -> (Request, Vec<Reply>);
pub(crate) type Conversations = fn() -> Vec<Vec<Reply>>;

/// How a provider talks.
pub(crate) struct Harness {
    /// At this address, with [`KEY`].
    pub(crate) provider: fn(&str) -> Arc<dyn Provider>,
    pub(crate) request: fn() -> Request,
    /// Replies to what the submit of that request asks before it buys; mostly none.
    pub(crate) before: fn() -> Vec<Reply>,
    /// Checks the purchase of that request.
    pub(crate) golden: fn(&Recorded),
    /// The whole conversation of a success from the purchase on, with these files.
    pub(crate) works: fn(&[Made]) -> Vec<Reply>,
    pub(crate) delivery: Delivery,
    /// A request for three files, and the conversation in which the second is missing; the reason where there is none.
    pub(crate) partial: Result<Partial, &'static str>,
    /// Every row of the provider's errors.
    pub(crate) errors: fn() -> Vec<Fails>,
    /// Successes by their status that are refusals.
    pub(crate) refusals: Result<Conversations, &'static str>,
    /// Successes by their status that bring nothing.
    pub(crate) empty: fn() -> Vec<Vec<Reply>>,
    /// A reply to the submit, to which headers and a body are added.
    pub(crate) limited: fn() -> Reply,
    pub(crate) task: Result<Task, &'static str>,
}

/// For providers that are asked again and again.
pub(crate) struct Task {
    pub(crate) accepted: fn() -> Reply,
    /// One poll of a task that stands at a word that nobody has heard of.
    pub(crate) unknown_word: fn() -> Vec<Reply>,
    /// One poll that finds these files.
    pub(crate) done: fn(&[Made]) -> Vec<Reply>,
    /// One poll that finds no task.
    pub(crate) gone: fn() -> Vec<Reply>,
    /// Replies to a cancel that came in time, and to one that came too late, and what the first call of it must be.
    pub(crate) cancel: Result<Cancel, &'static str>,
}

pub(crate) struct Cancel {
    pub(crate) in_time: fn() -> Vec<Reply>,
    pub(crate) too_late: fn() -> Vec<Reply>,
    /// Checks what was sent.
    pub(crate) golden: fn(&[Recorded]),
}

pub(crate) fn context() -> Context {
    Context {
        attempt: 1,
        progress: Arc::new(|_| {}),
        stop: CancellationToken::new(),
        time_left: Duration::from_mins(30),
        receipt: Arc::default(),
    }
}

pub(crate) fn request(kind: MediaKind, action: Action, model: &str, input: &Value) -> Request {
    Request {
        job: "job_01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(),
        model: model.to_owned(),
        kind,
        action,
        outputs: 1,
        input: input.as_object().cloned().unwrap_or_default(),
        media: Vec::new(),
        settings: Map::new(),
        script: Script::default(),
    }
}

pub(crate) fn picture(field: &str, listed: bool) -> MediaInput {
    MediaInput {
        field: field.to_owned(),
        listed,
        kind: MediaKind::Image,
        media_type: "image/png".to_owned(),
        bytes: Bytes::from_static(b"\x89PNG picture"),
    }
}
