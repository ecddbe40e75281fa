use crate::ApiState;
use crate::error::ErrorBody;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use vydra_core::error_code::ErrorCode;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    #[schema(example = "ok")]
    pub(crate) status: &'static str,
    pub(crate) version: &'static str,
}

/// Whether this server can take a job now.
#[utoipa::path(get, path = "/api/v1/health", operation_id = "get_health", tag = "Health", security(()), responses(
    (status = 200, description = "It can", body = Health),
    (status = 503, description = "UNAVAILABLE: details.check names what cannot be written", body = ErrorBody),
))]
pub(crate) async fn get(State(state): State<ApiState>) -> Response {
    match state.engine.check_health().await {
        Ok(()) => Json(Health::ok()).into_response(),
        Err(check) => unwell(check).into_response(),
    }
}

impl Health {
    pub(crate) fn ok() -> Self {
        Self {
            status: "ok",
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

pub(crate) fn unwell(check: &str) -> ErrorBody {
    ErrorBody::of(ErrorCode::Unavailable).with("check", json!(check))
}
