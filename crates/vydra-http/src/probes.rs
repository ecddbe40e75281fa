//! What an orchestrator and a load balancer ask of a process. Not of the API: nothing is counted, and no key is asked for.

use crate::ApiState;
use crate::error::ErrorBody;
use crate::v1::health::{Health, unwell};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use vydra_core::error_code::ErrorCode;

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
}

/// Touches nothing: a database that is away is no reason to start this process anew.
async fn live() -> Json<Health> {
    Json(Health::ok())
}

async fn ready(State(state): State<ApiState>) -> Response {
    match state.engine.check_readiness().await {
        Ok(()) => Json(Health::ok()).into_response(),
        Err(check) => unwell(check).into_response(),
    }
}

/// For whoever asks a worker for more than how it is.
pub(crate) async fn not_here() -> ErrorBody {
    ErrorBody::of(ErrorCode::NotFound).saying(
        "This node is a worker: it answers only /livez, /readyz and /api/v1/health. Ask a node whose role is api or both",
    )
}
