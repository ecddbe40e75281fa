//! Who calls us: the HTTP API. Each handler extracts, makes one call to the engine, and wraps the answer.
//!
//! Nothing is decided here. `error.rs` is the only file that knows statuses.
//!
//! The commonest change: a new operation. Write its handler in `v1/<noun>.rs`, add it with what it asks of a caller to
//! [`routes`] and to the list in [`openapi`].

mod auth;
mod docs;
mod error;
mod extract;
mod idempotency;
mod layers;
mod media;
pub mod openapi;
pub mod routes;
mod v1;

use axum::Router;
use axum::routing::get;
use axum::serve::ListenerExt;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use vydra_core::random::Random;
use vydra_engine::Engine;

/// What every handler can reach.
#[derive(Debug, Clone)]
pub struct ApiState {
    pub engine: Arc<Engine>,
    pub random: Arc<dyn Random>,
}

/// Every path that the server answers.
pub fn router(state: ApiState) -> Router {
    let routes = Router::new()
        .nest(routes::PREFIX, routes::all().router)
        .route("/media/{*key}", get(media::get))
        .route("/openapi.json", get(openapi::get))
        .route("/docs", get(docs::get))
        .fallback(layers::unknown_path);
    layers::around(routes, &state).with_state(state)
}

/// Answers until `stop`, then ends what has begun.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let listener = listener.tap_io(|connection| {
        // Small answers must not wait for an acknowledgement of the one before.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a connection keeps its delay"
            );
        }
    });
    axum::serve(listener, router(state))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}
