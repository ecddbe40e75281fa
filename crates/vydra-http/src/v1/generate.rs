use super::jobs::{Results, charge_headers, link};
use crate::ApiState;
use crate::auth::Authorized;
use crate::error::{ApiError, ErrorBody, Refund};
use crate::extract::{JsonObject, ModelPath, asked, max_credits, webhook_url};
use crate::idempotency::{self, Begin};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use vydra_core::asset::MediaKind;
use vydra_core::ids::JobId;
use vydra_core::job::{Action, JobStatus};
use vydra_engine::Started;

/// The answer of a call that waited for its result.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Completed {
    #[schema(value_type = String)]
    job_id: JobId,
    #[schema(value_type = String, example = "completed")]
    status: JobStatus,
    credits_charged: i64,
    /// How long the work took.
    duration_ms: u64,
    /// Who made it: local is the built-in stand-in for a model.
    provider: Option<String>,
    /// With images: generate or edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    mode: Option<Action>,
    /// When fewer outputs came than were paid for.
    #[serde(skip_serializing_if = "Option::is_none")]
    refund: Option<Refund>,
    #[serde(flatten)]
    results: Results,
}

/// The answer of a call that did not wait.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Accepted {
    #[schema(value_type = String)]
    job_id: JobId,
    #[schema(value_type = String, example = "pending")]
    status: JobStatus,
    message: String,
    credits_charged: i64,
    /// When the job was cancelled meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    refund: Option<Refund>,
    /// The provider's own name for the task, once it has one.
    external_job_id: Option<String>,
    #[schema(value_type = Object)]
    input: Map<String, Value>,
}

/// A call of a model. Each has an operation of its own; at any other path there is none.
#[utoipa::path(post, path = "/api/v1/models/{slug}", operation_id = "call_unknown_model", tag = "Generate",
    params(("slug" = String, Path, description = "A path that no model has")),
    request_body = Object, responses(
    (status = 404, description = "MODEL_NOT_FOUND", body = ErrorBody),
))]
pub(crate) async fn call(
    State(state): State<ApiState>,
    auth: Authorized,
    ModelPath(path): ModelPath,
    headers: HeaderMap,
    JsonObject(mut input): JsonObject,
) -> Result<Response, ApiError> {
    let caller = &auth.caller;
    let operation = format!("/models/{path}");
    let ticket = match idempotency::begin(&state, caller, &headers, &operation, &input).await? {
        Begin::Go(ticket) => ticket,
        Begin::Answered(response) => return Ok(response),
    };
    let cap = max_credits(&headers, &mut input)?;
    let webhook_url = webhook_url(&mut input)?;
    let asked = asked(&headers, cap, webhook_url.as_deref(), ticket.as_ref())?;
    let outcome = state.engine.generate(caller, &path, input, asked).await;
    let public_url = &state.engine.settings().public_url;
    let response = outcome.map(|started| answer(started, public_url));
    idempotency::answer(ticket, response)
}

fn answer(started: Started, public_url: &str) -> Response {
    let Started { job, remaining } = started;
    let (price, url) = (job.price, link(public_url, &job.id));
    let mut response = if job.status == JobStatus::Completed {
        let began = job.started_at.unwrap_or(job.created_at);
        let took = job.completed_at.unwrap_or(began).since(began);
        let completed = Completed {
            results: Results::of(&job, public_url),
            mode: (job.call.kind == MediaKind::Image).then_some(job.call.action),
            refund: Refund::of(&job),
            provider: job.provider,
            credits_charged: price.get(),
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            status: job.status,
            job_id: job.id,
        };
        (StatusCode::OK, Json(completed)).into_response()
    } else {
        let noun = match job.call.kind {
            MediaKind::Image => "Image",
            MediaKind::Video => "Video",
            MediaKind::Audio => "Speech",
        };
        let accepted = Accepted {
            message: if job.status == JobStatus::Cancelled {
                "The job was cancelled while it was waited for.".to_owned()
            } else {
                format!(
                    "{noun} generation started. Poll GET /api/v1/jobs/{} for its result.",
                    job.id
                )
            },
            refund: Refund::of(&job),
            status: job.status,
            credits_charged: price.get(),
            external_job_id: job.external_id,
            input: job.input,
            job_id: job.id,
        };
        let location = HeaderValue::from_str(&url)
            .ok()
            .map(|url| (header::LOCATION, url));
        let mut response = (StatusCode::ACCEPTED, Json(accepted)).into_response();
        response.headers_mut().extend(location);
        response
    };
    charge_headers(response.headers_mut(), price, remaining);
    response
}
