use super::deliveries::DeliveryView;
use crate::ApiState;
use crate::auth::{Authorized, unstored};
use crate::error::{ApiError, ErrorBody};
use crate::extract::{Fields, JsonObject, JsonObjectIfAny};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;
use vydra_core::ids::EndpointId;
use vydra_core::time::Timestamp;
use vydra_core::webhook::{Disabled, Endpoint, EventType, WebhookSecrets};
use vydra_engine::{EndpointUpdate, MAX_DESCRIPTION, MAX_OVERLAP, NewEndpoint};

const ALL_EVENTS: &str = "*";
/// While receivers are given the new secret, when nobody says how long that takes.
const USUAL_OVERLAP_HOURS: u32 = 24;

/// Where the ends of jobs are told.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointView {
    #[schema(value_type = String, example = "whe_01jd0c3gq4t2n8r6w5x7y9z1ab")]
    id: EndpointId,
    #[schema(example = "https://example.com/hooks/vydra")]
    url: String,
    /// Which events are told; `*` for all.
    #[schema(example = json!(["job.completed", "job.failed"]))]
    events: Vec<&'static str>,
    description: Option<String>,
    /// enabled or disabled.
    #[schema(value_type = String, pattern = "^(enabled|disabled)$", example = "enabled")]
    status: &'static str,
    /// `by_owner`; gone when it answered 410; failing when nothing else happened for five days.
    #[schema(value_type = Option<String>, pattern = "^(by_owner|gone|failing)$")]
    disabled_reason: Option<Disabled>,
    #[schema(value_type = Option<String>)]
    disabled_at: Option<Timestamp>,
    /// Since when no delivery has arrived, if the last one did not.
    #[schema(value_type = Option<String>)]
    failing_since: Option<Timestamp>,
    #[schema(value_type = String)]
    created_at: Timestamp,
    #[schema(value_type = String)]
    updated_at: Timestamp,
}

impl From<Endpoint> for EndpointView {
    fn from(endpoint: Endpoint) -> Self {
        let events = match endpoint.events.as_slice() {
            [] => vec![ALL_EVENTS],
            some => some.iter().map(|kind| kind.as_str()).collect(),
        };
        Self {
            id: endpoint.id,
            url: endpoint.url,
            events,
            description: endpoint.description,
            status: if endpoint.disabled.is_some() {
                "disabled"
            } else {
                "enabled"
            },
            disabled_reason: endpoint.disabled.map(|(why, _)| why),
            disabled_at: endpoint.disabled.map(|(_, at)| at),
            failing_since: endpoint.failing_since,
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndpointList {
    data: Vec<EndpointView>,
}

/// What an endpoint can ask for.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the words of a list")]
pub(crate) enum WantedEvent {
    #[schema(rename = "*")]
    All,
    #[schema(rename = "job.completed")]
    JobCompleted,
    #[schema(rename = "job.failed")]
    JobFailed,
    #[schema(rename = "job.cancelled")]
    JobCancelled,
    #[schema(rename = "webhook.endpoint_disabled")]
    EndpointDisabled,
}

#[derive(Debug, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
pub(crate) struct NewEndpointBody {
    /// An address on the Internet, http or https.
    #[schema(example = "https://example.com/hooks/vydra")]
    url: String,
    /// Of job.completed, job.failed, job.cancelled and `webhook.endpoint_disabled`; all when absent or `*`.
    #[schema(required = false, value_type = Option<Vec<WantedEvent>>, min_items = 1, example = json!(["job.completed", "job.failed"]))]
    events: Option<Vec<String>>,
    /// For people; at most 200 printable characters.
    #[schema(
        required = false,
        max_length = 200,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
    )]
    description: Option<String>,
}

#[derive(Debug, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
pub(crate) struct EndpointChangesBody {
    #[schema(required = false)]
    url: Option<String>,
    #[schema(required = false, value_type = Option<Vec<WantedEvent>>, min_items = 1)]
    events: Option<Vec<String>>,
    /// Empty removes it.
    #[schema(
        required = false,
        max_length = 200,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
    )]
    description: Option<String>,
    /// Whether it is told anything. Switched on again, it begins without failures.
    #[schema(required = false)]
    enabled: Option<bool>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeletedEndpoint {
    #[schema(value_type = String)]
    id: EndpointId,
    deleted: bool,
}

/// With what webhooks are signed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SecretView {
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: String,
    /// Until when webhooks bear a signature of the secret before this one, too; null when there is none.
    #[schema(value_type = Option<String>)]
    previous_secret_until: Option<Timestamp>,
}

impl SecretView {
    fn of(secrets: &WebhookSecrets, now: Timestamp) -> Self {
        Self {
            secret: secrets.current.reveal(),
            previous_secret_until: secrets.previous_until(now),
        }
    }
}

#[derive(Debug, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
pub(crate) struct SecretRotationBody {
    /// For how many hours the old secret signs, too: 0 to 168; 24 when absent.
    #[schema(required = false, maximum = 168, example = 24)]
    overlap_hours: Option<u32>,
}

#[derive(Debug, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
pub(crate) struct WebhookTestBody {
    /// Which endpoint; all that are enabled when absent.
    #[schema(required = false)]
    endpoint_id: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SentTests {
    data: Vec<DeliveryView>,
}

fn events(fields: &mut Fields) -> Option<Vec<EventType>> {
    let words = EventType::CHOICES.map(|kind| kind.as_str().to_owned());
    let allowed: Vec<String> = std::iter::once(ALL_EVENTS.to_owned())
        .chain(words)
        .collect();
    let chosen = fields.words_if_any("events", &allowed)?;
    if chosen.iter().any(|word| word == ALL_EVENTS) {
        return Some(Vec::new());
    }
    let chosen = |kind: &EventType| chosen.iter().any(|word| word == kind.as_str());
    Some(EventType::CHOICES.into_iter().filter(chosen).collect())
}

fn description(fields: &mut Fields) -> Option<String> {
    let text = fields.note_if_any("description", MAX_DESCRIPTION)?;
    Some(text.trim().to_owned())
}

/// All webhook endpoints, the oldest first; a key sees those of its own mode.
#[utoipa::path(get, path = "/api/v1/webhooks/endpoints", operation_id = "list_webhook_endpoints", tag = "Webhooks", responses(
    (status = 200, description = "The endpoints", body = EndpointList),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    auth: Authorized,
) -> Result<Json<EndpointList>, ApiError> {
    let endpoints = state.engine.endpoints(&auth.caller).await?;
    let data = endpoints.into_iter().map(Into::into).collect();
    Ok(Json(EndpointList { data }))
}

/// Adds an address that is told when jobs of the key's mode end. There can be 16 of each mode.
#[utoipa::path(post, path = "/api/v1/webhooks/endpoints", operation_id = "create_webhook_endpoint", tag = "Webhooks", request_body = NewEndpointBody, responses(
    (status = 201, description = "The endpoint", body = EndpointView),
    (status = 400, description = "INVALID_INPUT; INVALID_URL for an address that is private or cannot be found", body = ErrorBody),
))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    auth: Authorized,
    JsonObject(body): JsonObject,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of(body);
    let new = NewEndpoint {
        url: fields.text("url"),
        events: events(&mut fields).unwrap_or_default(),
        description: description(&mut fields).filter(|text| !text.is_empty()),
    };
    fields.finish()?;
    let created = state.engine.create_endpoint(&auth.caller, new).await?;
    Ok((StatusCode::CREATED, Json(EndpointView::from(created))).into_response())
}

/// One webhook endpoint.
#[utoipa::path(get, path = "/api/v1/webhooks/endpoints/{id}", operation_id = "get_webhook_endpoint", tag = "Webhooks", params(("id" = String, Path, description = "The endpoint's id")), responses(
    (status = 200, description = "The endpoint", body = EndpointView),
    (status = 404, description = "NOT_FOUND", body = ErrorBody),
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    auth: Authorized,
    Path(id): Path<String>,
) -> Result<Json<EndpointView>, ApiError> {
    let endpoint = state.engine.endpoint(&auth.caller, &id).await?;
    Ok(Json(endpoint.into()))
}

/// Changes what is given of a webhook endpoint. What waits to be sent goes to the new address.
#[utoipa::path(patch, path = "/api/v1/webhooks/endpoints/{id}", operation_id = "update_webhook_endpoint", tag = "Webhooks", params(("id" = String, Path, description = "The endpoint's id")), request_body = EndpointChangesBody, responses(
    (status = 200, description = "The endpoint as it is now", body = EndpointView),
    (status = 400, description = "INVALID_INPUT, INVALID_URL", body = ErrorBody),
    (status = 404, description = "NOT_FOUND", body = ErrorBody),
))]
pub(crate) async fn update(
    State(state): State<ApiState>,
    auth: Authorized,
    Path(id): Path<String>,
    JsonObject(body): JsonObject,
) -> Result<Json<EndpointView>, ApiError> {
    let mut fields = Fields::of(body);
    let changes = EndpointUpdate {
        url: fields.text_if_any("url"),
        events: events(&mut fields),
        description: description(&mut fields),
        enabled: fields.bool_if_any("enabled"),
    };
    fields.finish()?;
    let changed = state.engine.update_endpoint(&auth.caller, &id, changes);
    Ok(Json(changed.await?.into()))
}

/// Removes a webhook endpoint. What it was sent can still be read; what waits to be sent is given up.
#[utoipa::path(delete, path = "/api/v1/webhooks/endpoints/{id}", operation_id = "delete_webhook_endpoint", tag = "Webhooks", params(("id" = String, Path, description = "The endpoint's id")), responses(
    (status = 200, description = "It is gone", body = DeletedEndpoint),
    (status = 404, description = "NOT_FOUND", body = ErrorBody),
))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    auth: Authorized,
    Path(id): Path<String>,
) -> Result<Json<DeletedEndpoint>, ApiError> {
    let id = state.engine.delete_endpoint(&auth.caller, &id).await?;
    Ok(Json(DeletedEndpoint { id, deleted: true }))
}

/// The secret with which the organization's webhooks are signed, as the Standard Webhooks specification has it.
#[utoipa::path(get, path = "/api/v1/webhooks/secret", operation_id = "get_webhook_secret", tag = "Webhooks", responses(
    (status = 200, description = "The secret", body = SecretView),
))]
pub(crate) async fn secret(
    State(state): State<ApiState>,
    auth: Authorized,
) -> Result<Response, ApiError> {
    let secrets = state.engine.webhook_secrets(&auth.caller).await?;
    Ok(unstored(Json(SecretView::of(&secrets, state.engine.now()))))
}

/// Replaces the secret. For the overlap, webhooks bear the signatures of both.
#[utoipa::path(post, path = "/api/v1/webhooks/secret/rotate", operation_id = "rotate_webhook_secret", tag = "Webhooks", request_body = SecretRotationBody, responses(
    (status = 200, description = "The new secret", body = SecretView),
))]
pub(crate) async fn rotate(
    State(state): State<ApiState>,
    auth: Authorized,
    JsonObjectIfAny(body): JsonObjectIfAny,
) -> Result<Response, ApiError> {
    let longest = u32::try_from(MAX_OVERLAP.as_secs() / 3_600).unwrap_or(u32::MAX);
    let mut fields = Fields::of(body);
    let hours = fields
        .number_if_any("overlapHours", 0..=longest)
        .unwrap_or(USUAL_OVERLAP_HOURS);
    fields.finish()?;
    let overlap = Duration::from_hours(u64::from(hours));
    let secrets = state.engine.rotate_webhook_secret(&auth.caller, overlap);
    let secrets = secrets.await?;
    Ok(unstored(Json(SecretView::of(&secrets, state.engine.now()))))
}

/// Sends an event `webhook.test` to one webhook endpoint, or to all that are enabled, to see whether it arrives.
#[utoipa::path(post, path = "/api/v1/webhooks/test", operation_id = "test_webhooks", tag = "Webhooks", request_body = WebhookTestBody, responses(
    (status = 202, description = "What is being sent; see how it went with GET /webhooks/deliveries/{id}", body = SentTests),
    (status = 400, description = "INVALID_INPUT: also when no endpoint is enabled", body = ErrorBody),
    (status = 404, description = "NOT_FOUND", body = ErrorBody),
))]
pub(crate) async fn test(
    State(state): State<ApiState>,
    auth: Authorized,
    JsonObjectIfAny(body): JsonObjectIfAny,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of(body);
    let endpoint = fields.text_if_any("endpointId");
    fields.finish()?;
    let sent = state
        .engine
        .send_test_webhook(&auth.caller, endpoint.as_deref())
        .await?;
    let data = sent.into_iter().map(Into::into).collect();
    Ok((StatusCode::ACCEPTED, Json(SentTests { data })).into_response())
}
