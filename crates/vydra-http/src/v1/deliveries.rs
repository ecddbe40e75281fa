use crate::ApiState;
use crate::auth::Authorized;
use crate::error::{ApiError, ErrorBody};
use crate::extract::ApiQuery;
use crate::page::{Page, Pagination};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use vydra_core::catalog::Violations;
use vydra_core::ids::{DeliveryId, EndpointId, EventId, JobId};
use vydra_core::time::Timestamp;
use vydra_core::webhook::{Delivery, DeliveryStatus, EventType};
use vydra_engine::{DeliveryQuery, Error};

/// One event on its way to one address.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeliveryView {
    #[schema(value_type = String, example = "dlv_01jd0c3gq4t2n8r6w5x7y9z1ab")]
    id: DeliveryId,
    /// The `webhook-id`: the same at every attempt, and for every address.
    #[schema(value_type = String, example = "evt_01jd0c3gq4t2n8r6w5x7y9z1ab")]
    event_id: EventId,
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "job.completed")]
    kind: EventType,
    /// Null for an event that is not the end of a job.
    #[schema(value_type = Option<String>)]
    job_id: Option<JobId>,
    /// Null for the webhookUrl of a job.
    #[schema(value_type = Option<String>)]
    endpoint_id: Option<EndpointId>,
    /// The address that it goes to.
    #[schema(example = "https://example.com/hooks/vydra")]
    destination: String,
    /// pending, delivered or failed.
    #[schema(value_type = String, pattern = "^(pending|delivered|failed)$", example = "delivered")]
    status: DeliveryStatus,
    attempts: u32,
    /// Of a pending one.
    #[schema(value_type = Option<String>)]
    next_attempt_at: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    last_attempt_at: Option<Timestamp>,
    /// What the receiver answered to the last attempt; null when it did not.
    response_status: Option<u16>,
    /// Why it has not arrived.
    error: Option<String>,
    duration_ms: Option<u64>,
    #[schema(value_type = String)]
    created_at: Timestamp,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let is_of_a_job = !matches!(delivery.kind, EventType::Test | EventType::EndpointDisabled);
        let last_attempt_at = delivery.last.as_ref().map(|last| last.at);
        let duration_ms = delivery.last.as_ref().map(|last| last.duration_ms);
        let response_status = delivery.last.as_ref().and_then(|last| last.response_status);
        Self {
            job_id: is_of_a_job.then(|| delivery.event.job()),
            id: delivery.id,
            event_id: delivery.event,
            kind: delivery.kind,
            endpoint_id: delivery.endpoint_id,
            destination: delivery.url,
            status: delivery.status,
            attempts: delivery.attempts,
            next_attempt_at: delivery.next_attempt_at,
            last_attempt_at,
            response_status,
            error: delivery.error,
            duration_ms,
            created_at: delivery.created_at,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryList {
    data: Vec<DeliveryView>,
    pagination: Pagination,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveriesQuery {
    /// 1 to 100; 20 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// How many to pass over.
    #[param(value_type = Option<i64>, minimum = 0, maximum = 4_294_967_295_i64)]
    offset: Option<String>,
    /// Only deliveries of this status.
    #[param(pattern = "^(pending|delivered|failed)$")]
    status: Option<String>,
    /// Only deliveries to this endpoint.
    endpoint_id: Option<String>,
    /// Only deliveries behind this one in the list: the last page's nextCursor.
    #[param(pattern = "^dlv_[0-9a-z]{26}$")]
    after: Option<String>,
}

/// What was sent and is being sent, the newest first. Deliveries that have ended are remembered for 30 days.
#[utoipa::path(get, path = "/api/v1/webhooks/deliveries", operation_id = "list_webhook_deliveries", tag = "Webhooks", params(DeliveriesQuery), responses(
    (status = 200, description = "A page of deliveries", body = DeliveryList),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    auth: Authorized,
    ApiQuery(query): ApiQuery<DeliveriesQuery>,
) -> Result<Json<DeliveryList>, ApiError> {
    let wanted = Page::read(query.limit.as_deref(), query.offset.as_deref())?;
    let status = query
        .status
        .map(|word| {
            DeliveryStatus::parse(&word).ok_or_else(|| {
                let words = "pending, delivered, failed";
                Error::from(Violations::one(
                    "status",
                    "not one of the allowed values",
                    words,
                ))
            })
        })
        .transpose()?;
    let asked = DeliveryQuery {
        status,
        endpoint: query.endpoint_id,
        limit: wanted.and_one(),
        offset: wanted.offset,
        after: query.after,
    };
    let mut page = state.engine.deliveries(&auth.caller, asked).await?;
    let cursor = |delivery: &Delivery| delivery.id.to_string();
    let pagination = wanted.told(&mut page.deliveries, page.count, cursor);
    Ok(Json(DeliveryList {
        data: page.deliveries.into_iter().map(Into::into).collect(),
        pagination,
    }))
}

/// One delivery.
#[utoipa::path(get, path = "/api/v1/webhooks/deliveries/{id}", operation_id = "get_webhook_delivery", tag = "Webhooks", params(("id" = String, Path, description = "The delivery's id")), responses(
    (status = 200, description = "The delivery", body = DeliveryView),
    (status = 404, description = "NOT_FOUND", body = ErrorBody),
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    auth: Authorized,
    Path(id): Path<String>,
) -> Result<Json<DeliveryView>, ApiError> {
    let delivery = state.engine.delivery(&auth.caller, &id).await?;
    Ok(Json(delivery.into()))
}

/// Sends a delivery once more, with the same `webhook-id`. One that is waiting for its next attempt is sent at once.
#[utoipa::path(post, path = "/api/v1/webhooks/deliveries/{id}/resend", operation_id = "resend_webhook_delivery", tag = "Webhooks", params(("id" = String, Path, description = "The delivery's id")), responses(
    (status = 202, description = "The delivery, on its way again", body = DeliveryView),
    (status = 400, description = "INVALID_INPUT: its endpoint is switched off or deleted", body = ErrorBody),
    (status = 404, description = "NOT_FOUND", body = ErrorBody),
))]
pub(crate) async fn resend(
    State(state): State<ApiState>,
    auth: Authorized,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let delivery = state.engine.resend_delivery(&auth.caller, &id).await?;
    let view = Json(DeliveryView::from(delivery));
    Ok((StatusCode::ACCEPTED, view).into_response())
}
