//! Who calls us: the HTTP API. Each handler extracts, makes one call to the engine, and wraps the answer.
//!
//! Nothing is decided here. `error.rs` is the only file that knows statuses.
//!
//! The commonest change: a new operation. Write its handler in `v1/<noun>.rs`, add it with what it asks of a caller to
//! [`routes`] and to the list in [`openapi`].

mod auth;
mod client_address;
mod connection;
mod docs;
mod error;
mod extract;
mod idempotency;
mod layers;
mod media;
pub mod openapi;
mod page;
mod probes;
pub mod routes;
mod v1;

pub use connection::{ServeOptions, serve};
pub use v1::jobs::show as show_job;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use layers::Around;
use std::sync::Arc;
use vydra_core::random::Random;
use vydra_engine::Engine;

/// What every handler can reach.
#[derive(Debug, Clone)]
pub struct ApiState {
    pub engine: Arc<Engine>,
    pub random: Arc<dyn Random>,
}

/// Every path that the server answers, as it answers it.
pub fn router(state: ApiState) -> Router {
    let around = everything(state);
    Router::new().fallback(async move |request: Request| around.answer(request).await)
}

fn everything(state: ApiState) -> Around {
    let routes = routes::all(state.engine.catalog())
        .router
        .merge(probes::routes())
        .route("/media/{*key}", get(media::get))
        .route("/openapi.json", get(openapi::get))
        .route("/docs", get(docs::get))
        .route("/docs/errors", get(docs::errors::list))
        .route("/docs/errors/{code}", get(docs::errors::get))
        .method_not_allowed_fallback(layers::unknown_method)
        .fallback(layers::unknown_path);
    Around::new(routes.with_state(state.clone()), state)
}

/// Of a worker, which callers have no business with.
fn health_alone(state: ApiState) -> Around {
    let routes = probes::routes()
        .route("/api/v1/health", get(v1::health::get))
        .method_not_allowed_fallback(probes::not_here)
        .fallback(probes::not_here);
    Around::new(routes.with_state(state.clone()), state)
}
