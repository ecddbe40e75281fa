//! What calls are told. Write them with `..Default::default()`: fields may be added.

use serde::Serialize;
use std::time::Duration;

/// How something is bought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buy {
    /// The same key buys once, however often it is sent; without one the client makes one for its own repetitions.
    pub idempotency_key: Option<String>,
    /// What would cost more is refused.
    pub max_credits: Option<u64>,
    /// Is told of the end of the job.
    pub webhook_url: Option<String>,
    /// Sandbox only: the outcome to make happen.
    pub simulate: Option<String>,
    /// This provider and no other.
    pub no_fallback: bool,
    /// Of a call of a model: answer at once with a pending job instead of waiting for its result.
    pub respond_async: bool,
}

/// How a job is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// How long at most: 31 minutes if nothing is said.
    pub timeout: Duration,
    /// Whether to drop the wait before its end cancels the job on the server, in the background of the Tokio runtime. What
    /// the job cost comes back.
    pub cancel_on_drop: bool,
}

impl Default for Wait {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(31),
            cancel_on_drop: false,
        }
    }
}

/// What `generate().image` takes. Any other value that serializes to an object does too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImageInput {
    /// What it shall show.
    pub prompt: String,
    /// `gemini-image` if nothing is said, or `grok-imagine`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// 1:1 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aspect_ratio: Option<String>,
}

/// What `generate().video` takes. Any other value that serializes to an object does too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct VideoInput {
    /// What it shall show.
    pub prompt: String,
    /// `veo3` if nothing is said, `kling-3.1`, `seedance`, `seedance-2` or `grok-imagine`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// 16:9 if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aspect_ratio: Option<String>,
    /// The picture to begin with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_url: Option<String>,
    /// Several pictures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_urls: Vec<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<u32>,
}

/// What `generate().speech` takes. Any other value that serializes to an object does too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SpeechInput {
    /// What is said.
    pub text: String,
    /// Whose voice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voice_id: Option<String>,
}

/// Which jobs are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only those of this status.
    pub status: Option<String>,
    /// Only those of this workflow.
    pub workflow: Option<String>,
    /// Only what is behind this cursor.
    pub after: Option<String>,
    /// How many a page has.
    pub limit: Option<u32>,
    /// How many are left out.
    pub offset: Option<u32>,
}

/// Which results are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssetFilter {
    /// Only those of this workflow.
    pub workflow: Option<String>,
    /// Only what is behind this cursor.
    pub after: Option<String>,
    /// How many a page has.
    pub limit: Option<u32>,
    /// How many are left out.
    pub offset: Option<u32>,
}

/// Which movements of credits are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    /// Only grant, purchase, charge, refund or adjustment.
    pub r#type: Option<String>,
    /// Only those of this job.
    pub job_id: Option<String>,
    /// Only what is behind this cursor.
    pub after: Option<String>,
    /// How many a page has.
    pub limit: Option<u32>,
    /// How many are left out.
    pub offset: Option<u32>,
}

/// Which deliveries of webhooks are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Only pending, delivered or failed ones.
    pub status: Option<String>,
    /// Only those of this endpoint.
    pub endpoint_id: Option<String>,
    /// Only what is behind this cursor.
    pub after: Option<String>,
    /// How many a page has.
    pub limit: Option<u32>,
    /// How many are left out.
    pub offset: Option<u32>,
}

/// Which models are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelFilter {
    /// Only those of this provider.
    pub provider: Option<String>,
    /// Only those that can be called now, or only the others.
    pub is_active: Option<bool>,
}

/// Of what usage is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageFilter {
    /// The first day, such as `2026-03-01`.
    pub from: Option<String>,
    /// The last day.
    pub to: Option<String>,
    /// A row for each day, model or key.
    pub by: Option<String>,
}

/// Which ends of jobs are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only what is behind this event, or `latest`.
    pub after: Option<String>,
    /// How many at most.
    pub limit: Option<u32>,
    /// For how many seconds the answer is held back until there is one: at most 60.
    pub wait: Option<u64>,
}

/// What a quote is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoted<'a> {
    /// A model, by its path or its slug.
    Model(&'a str),
    /// A workflow.
    Workflow(&'a str),
}

/// What is said of a file that is sent in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadOptions {
    /// Its name; that of the path if nothing is said.
    pub filename: Option<String>,
    /// `image` if nothing is said, `video` or `audio`.
    pub r#type: Option<String>,
}
