use crate::ApiState;
use crate::auth::Authorized;
use crate::error::{ApiError, ErrorBody, Refund};
use crate::extract::{ApiQuery, JsonObject, asked, max_credits, wait, webhook_url};
use crate::idempotency::{self, Begin};
use crate::page::{Page, Pagination};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};
use vydra_core::asset::{Asset, MediaKind};
use vydra_core::catalog::Violations;
use vydra_core::credits::Credits;
use vydra_core::error_code::ErrorCode;
use vydra_core::ids::{AssetId, JobId};
use vydra_core::job::{Job, JobStatus};
use vydra_core::time::Timestamp;
use vydra_engine::{Error, JobQuery, Started};

const CHARGED: HeaderName = HeaderName::from_static("x-credits-charged");
const REMAINING: HeaderName = HeaderName::from_static("x-credits-remaining");

/// A job, flat. What it made stands at the top and in `output`, once it is completed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobView {
    #[schema(value_type = String)]
    id: JobId,
    /// The same as `id`.
    #[schema(value_type = String)]
    job_id: JobId,
    /// pending, running, completed, failed or cancelled; the last three are final.
    #[schema(value_type = String, example = "completed")]
    status: JobStatus,
    /// 0 to 100; of several steps, their mean.
    progress: u8,
    /// Which steps of a workflow run, such as `Step 3 of 6: frame`; null for a job of one call, and once it has ended.
    status_message: Option<String>,
    /// Null for a job that a call of a model made.
    workflow: Option<String>,
    workflow_slug: Option<String>,
    /// Of a workflow of several steps, that of the last.
    model: String,
    /// Who made it, once somebody does: local is the built-in stand-in for a model.
    provider: Option<String>,
    credits_charged: i64,
    credits_refunded: i64,
    #[schema(value_type = String)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>)]
    started_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    completed_at: Option<Timestamp>,
    /// What was asked for, defaults filled in. Media stand as `asset:<id>`, which can be sent again.
    #[schema(value_type = Object)]
    input: Map<String, Value>,
    output: Option<OutputView>,
    /// Why there is no result, for a human.
    error: Option<String>,
    #[schema(value_type = Option<String>)]
    code: Option<ErrorCode>,
    /// Of a failed job: reason and retryable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    details: Option<Value>,
    refund: Option<Refund>,
    #[serde(flatten)]
    results: Results,
}

/// Where the files are. Absent until the job is completed.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Results {
    #[serde(skip_serializing_if = "Option::is_none")]
    image_url: Option<String>,
    /// When there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_urls: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    video_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_url: Option<String>,
    /// The same as `audioUrl`: clients read either.
    #[serde(rename = "audio_url", skip_serializing_if = "Option::is_none")]
    audio_url_snake: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_urls: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutputView {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    video_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_url: Option<String>,
    assets: Vec<AssetView>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssetView {
    #[schema(value_type = String)]
    id: AssetId,
    url: String,
    /// image, video or audio.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: MediaKind,
    mime_type: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
}

impl Results {
    pub(crate) fn of(job: &Job, public_url: &str) -> Self {
        let urls: Vec<String> = job
            .outputs
            .iter()
            .map(|asset| url_of(asset, public_url))
            .collect();
        let Some(first) = urls.first().cloned() else {
            return Self::default();
        };
        let only = |kind| (job.call.kind == kind).then(|| first.clone());
        Self {
            image_url: only(MediaKind::Image),
            image_urls: (job.call.kind == MediaKind::Image && urls.len() > 1).then(|| urls.clone()),
            video_url: only(MediaKind::Video),
            audio_url: only(MediaKind::Audio),
            audio_url_snake: only(MediaKind::Audio),
            mime_type: job.outputs.first().map(|asset| asset.media_type.clone()),
            result_urls: Some(urls),
        }
    }
}

pub(crate) fn url_of(asset: &Asset, public_url: &str) -> String {
    format!("{public_url}/media/{}", asset.storage_key)
}

impl JobView {
    pub(crate) fn of(job: Job, public_url: &str) -> Self {
        let results = Results::of(&job, public_url);
        let output = results
            .result_urls
            .as_ref()
            .and_then(|urls| urls.first())
            .map(|url| OutputView {
                url: url.clone(),
                image_url: results.image_url.clone(),
                video_url: results.video_url.clone(),
                audio_url: results.audio_url.clone(),
                assets: job
                    .outputs
                    .iter()
                    .map(|asset| AssetView {
                        id: asset.id.clone(),
                        url: url_of(asset, public_url),
                        kind: asset.kind,
                        mime_type: asset.media_type.clone(),
                        size: asset.bytes,
                        width: asset.dimensions.map(|(width, _)| width),
                        height: asset.dimensions.map(|(_, height)| height),
                        duration_ms: asset.duration_ms,
                    })
                    .collect(),
            });
        Self {
            refund: Refund::of(&job),
            details: job
                .failure
                .as_ref()
                .map(|failure| json!({"reason": failure.reason, "retryable": failure.retryable})),
            error: match &job.failure {
                Some(failure) => Some(failure.message.clone()),
                None if job.status == JobStatus::Cancelled => {
                    Some("The job was cancelled".to_owned())
                }
                None => None,
            },
            provider: job.provider,
            code: job.failure.as_ref().map(|failure| failure.code),
            job_id: job.id.clone(),
            id: job.id,
            status: job.status,
            progress: job.progress,
            status_message: job.status_message,
            workflow_slug: job.workflow.clone(),
            workflow: job.workflow,
            model: job.call.model,
            credits_charged: job.price.get(),
            credits_refunded: job.refunded.get(),
            created_at: job.created_at,
            started_at: job.started_at,
            completed_at: job.completed_at,
            input: job.input,
            output,
            results,
        }
    }
}

/// The job as `GET /jobs/{id}` shows it.
pub fn show(job: Job, public_url: &str) -> Value {
    // Cannot fail: it holds texts, numbers and what was read from JSON.
    serde_json::to_value(JobView::of(job, public_url)).unwrap_or_default()
}

/// The headers of an answer that charged (contract, section 5).
pub(crate) fn charge_headers(headers: &mut HeaderMap, price: Credits, remaining: Credits) {
    headers.insert(CHARGED, HeaderValue::from(price.get()));
    headers.insert(REMAINING, HeaderValue::from(remaining.get()));
}

pub(crate) fn link(public_url: &str, id: &JobId) -> String {
    format!("{public_url}/api/v1/jobs/{id}")
}

#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "describes a body that is read field by field, so that each can have its own error"
)]
pub(crate) struct NewJobBody {
    /// Which workflow to run, such as `generate_image`.
    workflow: String,
    /// What it takes; see the list of workflows.
    #[schema(value_type = Object)]
    input: Value,
    /// Refuses with 402 when the job would cost more; also as the header X-Max-Credits.
    #[serde(rename = "maxCredits")]
    max_credits: Option<u64>,
    /// Where the end of the job is told, besides the webhook endpoints of the organization.
    #[serde(rename = "webhookUrl")]
    webhook_url: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedJob {
    #[schema(value_type = String)]
    id: JobId,
    #[schema(value_type = String)]
    status: JobStatus,
    workflow: Option<String>,
    credits_charged: i64,
    #[schema(value_type = String)]
    created_at: Timestamp,
    #[serde(rename = "_links")]
    links: Links,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Links {
    #[serde(rename = "self")]
    this: String,
    status: String,
}

/// Starts a workflow. The price is taken now, and paid back if the job does not deliver.
#[utoipa::path(post, path = "/api/v1/jobs", operation_id = "create_job", tag = "Jobs", request_body = NewJobBody, responses(
    (status = 201, description = "The job was taken", body = CreatedJob),
    (status = 400, description = "INVALID_INPUT, INVALID_URL", body = ErrorBody),
    (status = 402, description = "INSUFFICIENT_CREDITS: too few, or more than maxCredits allows; nothing was charged", body = ErrorBody),
    (status = 404, description = "MODEL_NOT_FOUND", body = ErrorBody),
    (status = 409, description = "IDEMPOTENCY_CONFLICT: the key was used for another request, or its first request still runs", body = ErrorBody),
))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    auth: Authorized,
    headers: HeaderMap,
    JsonObject(mut body): JsonObject,
) -> Result<Response, ApiError> {
    let caller = &auth.caller;
    let ticket = match idempotency::begin(&state, caller, &headers, "/jobs", &body).await? {
        Begin::Go(ticket) => ticket,
        Begin::Answered(response) => return Ok(response),
    };
    let cap = max_credits(&headers, &mut body)?;
    let workflow = match body.remove("workflow") {
        Some(Value::String(workflow)) => workflow,
        None | Some(Value::Null) => {
            return Err(Error::from(Violations::missing("workflow", "string")).into());
        }
        Some(_) => {
            return Err(Error::from(Violations::one("workflow", "wrong type", "string")).into());
        }
    };
    let input = match body.remove("input") {
        Some(Value::Object(input)) => input,
        None | Some(Value::Null) => Map::new(),
        Some(_) => {
            return Err(Error::from(Violations::one("input", "wrong type", "object")).into());
        }
    };
    let webhook_url = webhook_url(&mut body)?;
    let asked = asked(&headers, cap, webhook_url.as_deref(), ticket.as_ref())?;
    let outcome = state
        .engine
        .create_job(caller, &workflow, input, asked)
        .await;
    let public_url = &state.engine.settings().public_url;
    let response = outcome.map(|started| created(started, public_url));
    idempotency::answer(ticket, response)
}

fn created(started: Started, public_url: &str) -> Response {
    let url = link(public_url, &started.job.id);
    let created = CreatedJob {
        links: Links {
            this: url.clone(),
            status: url.clone(),
        },
        id: started.job.id,
        status: started.job.status,
        workflow: started.job.workflow,
        credits_charged: started.job.price.get(),
        created_at: started.job.created_at,
    };
    let mut response = (StatusCode::CREATED, Json(created)).into_response();
    charge_headers(response.headers_mut(), started.job.price, started.remaining);
    response.headers_mut().extend(
        HeaderValue::from_str(&url)
            .ok()
            .map(|url| (header::LOCATION, url)),
    );
    response
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// 1 to 100; 20 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// How many to pass over.
    #[param(value_type = Option<i64>, minimum = 0, maximum = 4_294_967_295_i64)]
    offset: Option<String>,
    /// Only jobs of this status.
    #[param(value_type = Option<String>, pattern = "^(pending|running|completed|failed|cancelled)$")]
    status: Option<String>,
    /// Only jobs of this workflow.
    workflow: Option<String>,
    /// Only jobs behind this one in the list: the last page's nextCursor.
    #[param(value_type = Option<String>, pattern = "^job_[0-9a-z]{26}$")]
    after: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobList {
    data: Vec<JobView>,
    pagination: Pagination,
}

/// The organization's jobs, newest first.
#[utoipa::path(get, path = "/api/v1/jobs", operation_id = "list_jobs", tag = "Jobs", params(ListQuery), responses(
    (status = 200, description = "A page of jobs", body = JobList),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    auth: Authorized,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<JobList>, ApiError> {
    let one_of = |name, expected: &str| {
        ApiError::from(Error::from(Violations::one(
            name,
            "not one of the allowed values",
            expected,
        )))
    };
    let asked = Page::read(query.limit.as_deref(), query.offset.as_deref())?;
    let status = query
        .status
        .map(|word| {
            JobStatus::parse(&word)
                .ok_or_else(|| one_of("status", "pending, running, completed, failed, cancelled"))
        })
        .transpose()?;
    let after = query
        .after
        .map(|id| JobId::parse(&id).ok_or_else(|| one_of("after", "a nextCursor of this list")))
        .transpose()?;
    let mut page = state
        .engine
        .jobs(
            &auth.caller,
            JobQuery {
                status,
                workflow: query.workflow,
                limit: asked.and_one(),
                offset: asked.offset,
                after,
            },
        )
        .await?;
    let pagination = asked.told(&mut page.jobs, page.count, |job| job.id.to_string());
    let public_url = &state.engine.settings().public_url;
    Ok(Json(JobList {
        data: page
            .jobs
            .into_iter()
            .map(|job| JobView::of(job, public_url))
            .collect(),
        pagination,
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitQuery {
    /// Hold the answer until the job has ended, or this many seconds (0 to 60).
    #[param(value_type = Option<u32>, maximum = 60)]
    wait: Option<String>,
}

/// One job.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", operation_id = "get_job", tag = "Jobs", params(("id" = String, Path, description = "The job's id"), WaitQuery), responses(
    (status = 200, description = "The job", body = JobView),
    (status = 404, description = "JOB_NOT_FOUND, also for a job of another organization", body = ErrorBody),
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    auth: Authorized,
    Path(id): Path<String>,
    ApiQuery(query): ApiQuery<WaitQuery>,
) -> Result<Json<JobView>, ApiError> {
    let job = state
        .engine
        .job(&auth.caller, &id, wait(query.wait.as_deref())?)
        .await?;
    Ok(Json(JobView::of(job, &state.engine.settings().public_url)))
}

/// Cancels a job: final and refunded at once, also while it runs.
#[utoipa::path(delete, path = "/api/v1/jobs/{id}", operation_id = "cancel_job", tag = "Jobs", params(("id" = String, Path, description = "The job's id")), responses(
    (status = 200, description = "The cancelled job with its refund", body = JobView),
    (status = 404, description = "JOB_NOT_FOUND", body = ErrorBody),
    (status = 409, description = "JOB_NOT_CANCELLABLE: it has ended", body = ErrorBody),
))]
pub(crate) async fn cancel(
    State(state): State<ApiState>,
    auth: Authorized,
    Path(id): Path<String>,
) -> Result<Json<JobView>, ApiError> {
    let job = state.engine.cancel_job(&auth.caller, &id).await?;
    Ok(Json(JobView::of(job, &state.engine.settings().public_url)))
}
