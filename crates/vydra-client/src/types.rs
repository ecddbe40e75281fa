//! What the server sends and takes, as `openapi.json` describes it.

// Written by `cargo xtask openapi`; do not change it here.

#![expect(
    missing_docs,
    reason = "where it says nothing of a field, the name says all"
)]

use crate::code::Code;
use crate::jobs::JobStatus;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Asset {
    pub id: String,
    pub url: String,
    /// image, video or audio.
    pub r#type: String,
    pub mime_type: String,
    pub size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What is known of a file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct AssetMetadata {
    /// In bytes.
    pub size: u64,
    pub mime_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Of one that was sent in: its name, cleaned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Charges {
    pub job_id: String,
    pub credits_charged: i64,
    pub credits_refunded: i64,
    pub credits_net: i64,
    /// How the price was made up when the job was created.
    pub breakdown: Vec<PriceLine>,
    /// The prices that held then; null for a job from before prices had versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_version: Option<String>,
    pub refund_rule: RefundRule,
    /// The job's rows of the ledger, the newest first.
    pub data: Vec<Transaction>,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Credits {
    pub credits_remaining: i64,
    /// All that was ever charged.
    pub credits_used: i64,
    /// All that was ever paid back.
    pub credits_refunded: i64,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A file that is not there any more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct DeletedAsset {
    pub id: String,
    pub deleted_at: String,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct DeletedEndpoint {
    pub id: String,
    pub deleted: bool,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// One event on its way to one address.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Delivery {
    pub id: String,
    /// The `webhook-id`: the same at every attempt, and for every address.
    pub event_id: String,
    pub r#type: String,
    /// Null for an event that is not the end of a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// Null for the `webhookUrl` of a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<String>,
    /// The address that it goes to.
    pub destination: String,
    /// pending, delivered or failed.
    pub status: String,
    pub attempts: u32,
    /// Of a pending one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempt_at: Option<String>,
    /// What the receiver answered to the last attempt; null when it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<u32>,
    /// Why it has not arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    pub created_at: String,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Where the ends of jobs are told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Endpoint {
    pub id: String,
    pub url: String,
    /// Which events are told; `*` for all.
    pub events: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// enabled or disabled.
    pub status: String,
    /// `by_owner`; gone when it answered 410; failing when nothing else happened for five days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<String>,
    /// Since when no delivery has arrived, if the last one did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<String>,
    pub created_at: String,
    pub updated_at: String,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointChanges {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// Empty removes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it is told anything. Switched on again, it begins without failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct EndpointList {
    pub data: Vec<Endpoint>,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// An event, with the id and the fields that its webhooks have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Event {
    /// The `webhook-id` of its webhooks.
    pub id: String,
    /// job.completed, job.failed or job.cancelled.
    pub r#type: String,
    pub timestamp: String,
    pub data: Map<String, Value>,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct EventList {
    pub data: Vec<Event>,
    /// Where to read on, whether or not there was anything; null while no job has ever ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    pub pagination: EventPagination,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct EventPagination {
    pub limit: u32,
    /// For `after`, when there is more already; null at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct ExceededLimit {
    pub r#type: String,
    pub limit: u32,
    /// The refused request counted.
    pub used: u32,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Everything counts when it happened: jobs when they were made, ends when they ended, credits when they moved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Figures {
    pub jobs: i64,
    pub completed: i64,
    pub failed: i64,
    pub cancelled: i64,
    pub credits_charged: i64,
    pub credits_refunded: i64,
    pub credits_net: i64,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A job, flat. What it made stands at the top and in `output`, once it is completed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Job {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_url: Option<String>,
    /// When there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_urls: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_urls: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    pub id: String,
    /// The same as `id`.
    pub job_id: String,
    /// pending, running, completed, failed or cancelled; the last three are final.
    pub status: JobStatus,
    /// 0 to 100; of several steps, their mean.
    pub progress: u32,
    /// Which steps of a workflow run, such as `Step 3 of 6: frame`; null for a job of one call, and once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
    /// Null for a job that a call of a model made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_slug: Option<String>,
    /// Of a workflow of several steps, that of the last.
    pub model: String,
    /// Who made it, once somebody does: local is the built-in stand-in for a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    pub credits_charged: i64,
    pub credits_refunded: i64,
    pub created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
    /// What was asked for, defaults filled in. Media stand as `asset:<id>`, which can be sent again.
    pub input: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// Why there is no result, for a human.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// Of a failed job: reason and retryable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund: Option<Refund>,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A key without its secret.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Key {
    pub id: String,
    pub name: String,
    /// How the key begins.
    pub key_prefix: String,
    /// live, or test for the sandbox.
    pub mode: String,
    pub scopes: Vec<String>,
    /// Neither revoked nor expired.
    pub is_active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Up to a moment ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<String>,
    /// Up to a moment ago.
    pub request_count: u64,
    pub created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<String>,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct KeyList {
    pub data: Vec<Key>,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Limits {
    /// Requests a minute.
    pub rpm: u32,
    /// Requests an hour.
    pub rph: u32,
    /// Requests a day.
    pub rpd: u32,
    /// Jobs that have not ended.
    pub concurrent: u32,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Model {
    pub slug: String,
    pub name: String,
    pub provider: String,
    pub model_id: String,
    pub credits_per_unit: i64,
    pub pricing_unit: String,
    pub deployed_on: String,
    pub description: String,
    /// Where it is called, below /api/v1; null for a model that only workflows use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What it makes: image, video or audio.
    pub kind: String,
    /// Whether a call waits for its result: sync or async.
    pub answer: String,
    /// Where the price or the result depends on the input.
    pub variants: Vec<Variant>,
    /// The JSON Schema that requests are checked against.
    pub input_schema: Map<String, Value>,
    pub example_input: Map<String, Value>,
    /// Whether it can be called now.
    pub is_active: bool,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct ModelList {
    pub data: Vec<Model>,
    pub count: u64,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NewEndpoint {
    /// An address on the Internet, http or https.
    pub url: String,
    /// Of job.completed, job.failed, job.cancelled and `webhook.endpoint_disabled`; all when absent or `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// For people; at most 200 printable characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Organization {
    pub id: String,
    pub name: String,
    pub plan: String,
    /// Of the key's own kind: a test key sees the sandbox's balance.
    pub credits_remaining: i64,
    pub created_at: String,
    pub updated_at: String,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Output {
    pub url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_url: Option<String>,
    pub assets: Vec<Asset>,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The page that was given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Pagination {
    pub limit: u32,
    pub offset: u32,
    /// How many there are in all.
    pub count: u64,
    /// For `after`; null at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// So many units at so much each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct PriceLine {
    /// The model, or a workflow that has one price for all its steps.
    pub item: String,
    /// Of such a workflow, the one that makes its result.
    pub model: String,
    pub pricing_unit: String,
    pub credits_per_unit: i64,
    pub units: u32,
    pub credits: i64,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Quote {
    pub credits: i64,
    pub breakdown: Vec<PriceLine>,
    /// Changes with every price of this server, and with nothing else.
    pub price_version: String,
    pub expires_at: String,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct RateLimits {
    pub plan: String,
    pub limits: Limits,
    pub usage: RequestUsage,
    pub timestamp: String,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Refund {
    pub applied: bool,
    pub credits_refunded: i64,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Why a refund is what it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct RefundRule {
    /// `not_ended`, `delivered`, `partial`, `failed`, `timed_out` or `cancelled`.
    pub rule: String,
    /// The same for a human.
    pub explanation: String,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct RequestUsage {
    pub minute: Used,
    pub hour: Used,
    pub day: Used,
    pub concurrent: Used,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// With what webhooks are signed.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Secret {
    pub secret: String,
    /// Until when webhooks bear a signature of the secret before this one, too; null when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_secret_until: Option<String>,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct SentTests {
    pub data: Vec<Delivery>,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A file that is kept: a job made it, or it was sent in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct StoredAsset {
    /// `asset:<id>` stands for it wherever the URL of a file is asked for.
    pub id: String,
    /// image, video or audio.
    pub r#type: String,
    /// Of the job that made it; null for one that was made by a call of a model or sent in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Readable without a key.
    pub url: String,
    /// A JPEG of at most 512 pixels a side, made when it is asked for first; of a video, its first picture. Null where there is none. Whoever has it can tell the `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbnail_url: Option<String>,
    pub metadata: AssetMetadata,
    /// Which job made it; null for one that was sent in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    pub created_at: String,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Transaction {
    pub id: String,
    /// grant, purchase, charge, refund or adjustment.
    pub r#type: String,
    /// Signed: what was taken is below zero.
    pub amount: i64,
    pub balance_after: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    pub reason: String,
    pub created_at: String,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Upload {
    /// Readable without a key. To be given wherever the URL of such a file is asked for.
    pub url: String,
    /// The name that the file had, cleaned, with the ending of its true type.
    pub filename: String,
    /// In bytes.
    pub size: u64,
    /// The true media type.
    pub r#type: String,
    /// Can be given in place of the url.
    pub key: String,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Usage {
    pub from: String,
    pub to: String,
    pub by: String,
    /// One row for each day, model or key of which there is something to tell.
    pub data: Vec<UsageRow>,
    pub totals: Figures,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct UsageRow {
    pub jobs: i64,
    pub completed: i64,
    pub failed: i64,
    pub cancelled: i64,
    pub credits_charged: i64,
    pub credits_refunded: i64,
    pub credits_net: i64,
    /// With by=day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// With by=model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// With by=key; null for jobs that a person started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The key's name, as long as there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Used {
    /// More than the limit after a change to a smaller plan.
    pub used: u32,
    pub limit: u32,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// As the reference has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Variant {
    /// The values of fields that choose it.
    pub when: Map<String, Value>,
    pub kind: String,
    pub answer: String,
    pub credits_per_unit: i64,
    pub pricing_unit: String,
    /// What this version does not know.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}
