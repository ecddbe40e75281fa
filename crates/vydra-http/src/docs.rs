//! The API reference for humans, made from the OpenAPI document; one page that needs no network.

use crate::ApiState;
use axum::extract::State;
use axum::response::Html;

pub(crate) async fn get(State(state): State<ApiState>) -> Html<String> {
    Html(crate::openapi::document(state.engine.catalog()).to_string())
}
