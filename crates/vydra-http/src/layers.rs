//! What surrounds every handler: the request's id, the limit headers, one shape for every error, CORS, and the log line.

use crate::ApiState;
use crate::auth;
use crate::error::{ApiError, ErrorBody, of_plain_status};
use crate::idempotency::{is_replayed, remember};
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;
use tower::ServiceExt as _;
use tower_http::cors::{AllowHeaders, Any as AnyOrigin, CorsLayer};
use vydra_core::error_code::ErrorCode;
use vydra_core::random::letters_and_digits;
use vydra_engine::Standing;

pub(crate) const MAX_BODY: usize = 1_024 * 1_024;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const MAX_REQUEST_ID: usize = 128;
/// Contract, section 5, and what else a browser's script needs to see.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id,link,x-ratelimit-limit,x-ratelimit-remaining,x-ratelimit-reset,ratelimit,ratelimit-policy,\
     retry-after,x-credits-charged,x-credits-remaining,location,content-disposition,content-range,etag,idempotent-replayed",
);
const ANY_ORIGIN: HeaderValue = HeaderValue::from_static("*");
/// Answers to whom no browser asked for spare themselves the fields that only browsers read.
const VARY: HeaderValue = HeaderValue::from_static("origin");
/// How many fields most answers have, so that their map need not grow.
const FIELDS: usize = 16;

/// Where the extractor leaves the caller's standing for the layer that writes the headers.
#[derive(Debug, Clone, Default)]
pub(crate) struct StandingSlot(Arc<OnceLock<Standing>>);

impl StandingSlot {
    pub(crate) fn fill(&self, standing: Standing) {
        // Each request authenticates once; a second time would say the same.
        let _ = self.0.set(standing);
    }
}

/// What stands around all routes. Not layers of the router: that boxes each of them anew for each route and request.
#[derive(Debug, Clone)]
pub(crate) struct Around {
    routes: Router,
    /// Answers what a browser asks before it asks.
    preflight: Router,
    state: ApiState,
}

impl Around {
    pub(crate) fn new(routes: Router, state: ApiState) -> Self {
        let cors = CorsLayer::new()
            .allow_origin(AnyOrigin)
            .allow_methods([
                Method::GET,
                Method::POST,
                Method::PATCH,
                Method::DELETE,
                Method::HEAD,
            ])
            .allow_headers(AllowHeaders::mirror_request());
        Self {
            routes,
            preflight: Router::new().fallback(async || ()).layer(cors),
            state,
        }
    }

    pub(crate) async fn answer(&self, mut request: Request) -> Response {
        let began = Instant::now();
        let id = request_id(request.headers(), &self.state);
        let standing = StandingSlot::default();
        request.extensions_mut().insert(standing.clone());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let mut response = if method == Method::OPTIONS {
            called(&self.preflight, request).await
        } else {
            self.route(request).await
        };
        // An answer that is given again keeps the id with which it was first given: its body says the same.
        if !is_replayed(&response) {
            response = in_our_shape(response, &id, &self.state);
            if let Ok(value) = HeaderValue::from_str(&id) {
                response.headers_mut().insert(REQUEST_ID, value);
            }
            response = remember(&self.state, response).await;
        }
        if let Some(standing) = standing.0.get() {
            limit_headers(response.headers_mut(), standing);
        }
        tracing::info!(
            request.id = %id,
            http.method = %method,
            http.path = %shown(&path),
            http.status = response.status().as_u16(),
            duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "request answered"
        );
        response
    }

    async fn route(&self, mut request: Request) -> Response {
        DefaultBodyLimit::max(MAX_BODY).apply(&mut request);
        let is_of_a_page = request.headers().contains_key(header::ORIGIN);
        let answering = AssertUnwindSafe(called(&self.routes, request)).catch_unwind();
        let mut response = answering.await.unwrap_or_else(|_payload| {
            // The panic hook has logged where it happened.
            ErrorBody::of(ErrorCode::InternalError).into_response()
        });
        let headers = response.headers_mut();
        headers.reserve(FIELDS);
        // What caches keep for everybody may be filled by a program and read by a page, and many caches ignore Vary.
        let is_for_caches = headers
            .get(header::CACHE_CONTROL)
            .is_some_and(|value| value.as_bytes().starts_with(b"public"));
        if is_of_a_page || is_for_caches {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY_ORIGIN);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
        headers.append(header::VARY, VARY);
        response
    }
}

async fn called(routes: &Router, request: Request) -> Response {
    match routes.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

pub(crate) async fn unknown_path(State(state): State<ApiState>, request: Request) -> Response {
    in_vain(&state, request, ErrorCode::NotFound).await
}

pub(crate) async fn unknown_method(State(state): State<ApiState>, request: Request) -> Response {
    in_vain(&state, request, ErrorCode::MethodNotAllowed).await
}

async fn in_vain(state: &ApiState, request: Request, code: ErrorCode) -> Response {
    let (parts, _) = request.into_parts();
    match auth::count_in_vain(&parts, state).await {
        Ok(()) => ErrorBody::of(code).into_response(),
        Err(error) => ApiError(error).into_response(),
    }
}

/// The path without what only its caller shall know: the name of a file, or a key that came to stand there by mistake.
fn shown(path: &str) -> Cow<'_, str> {
    if path.starts_with("/media/") {
        return "/media/…".into();
    }
    match path.find("vydra_") {
        Some(place) => format!("{}…", path.get(..place).unwrap_or_default()).into(),
        None => path.into(),
    }
}

/// The caller's own id when it is a sane one.
fn request_id(headers: &HeaderMap, state: &ApiState) -> String {
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|text| {
            (1..=MAX_REQUEST_ID).contains(&text.len())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        })
        .map_or_else(|| new_request_id(state), str::to_owned)
}

fn new_request_id(state: &ApiState) -> String {
    format!("req_{}", letters_and_digits(state.random.as_ref(), 24))
}

/// Errors of ours get their body here, and those of the HTTP machinery our shape.
fn in_our_shape(mut response: Response, request_id: &str, state: &ApiState) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let body = match response.extensions_mut().remove::<ErrorBody>() {
        Some(body) => body,
        // Of a media file: its headers say all that there is to say.
        None if !is_error || status == StatusCode::RANGE_NOT_SATISFIABLE => return response,
        None => ErrorBody::of(of_plain_status(status)),
    };
    let body = ErrorBody {
        request_id: request_id.to_owned(),
        ..body
    };
    *response.status_mut() =
        StatusCode::from_u16(body.code.entry().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    let text = write_error(&body, headers, state);
    *response.body_mut() = Body::from(text);
    response
}

/// The body's text, and the headers that belong to it.
fn write_error(body: &ErrorBody, headers: &mut HeaderMap, state: &ApiState) -> Vec<u8> {
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let public_url = &state.engine.settings().public_url;
    let help = format!("<{public_url}/docs/errors/{}>; rel=\"help\"", body.code);
    if let Ok(help) = HeaderValue::from_str(&help) {
        // There may be links of other kinds beside it.
        headers.append(header::LINK, help);
    }
    serde_json::to_vec(body).unwrap_or_default()
}

/// What is answered where nothing of the router has run.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: Vec<u8>,
}

/// For a request that is refused before the router can see it: the connection behind it is at its end.
pub(crate) fn refusal(state: &ApiState, sentence: &str) -> Refusal {
    let body = ErrorBody {
        request_id: new_request_id(state),
        ..ErrorBody::of(ErrorCode::InvalidInput).saying(sentence)
    };
    let mut headers = HeaderMap::new();
    let text = write_error(&body, &mut headers, state);
    if let Ok(id) = HeaderValue::from_str(&body.request_id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    tracing::info!(request.id = %body.request_id, "{sentence}: refused");
    Refusal {
        status: StatusCode::from_u16(body.code.entry().status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        headers,
        text,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, self.headers, Body::from(self.text)).into_response()
    }
}

/// The names that clients of the field know, and those of draft-ietf-httpapi-ratelimit-headers.
fn limit_headers(headers: &mut HeaderMap, standing: &Standing) {
    let minute = standing.minute;
    let remaining = |used: u32, limit: u32| limit.saturating_sub(used);
    headers.insert(LIMIT, HeaderValue::from(minute.limit));
    headers.insert(
        REMAINING,
        HeaderValue::from(remaining(minute.used, minute.limit)),
    );
    headers.insert(RESET, HeaderValue::from(minute.reset_at));
    let windows = [
        ("minute", "60", minute),
        ("hour", "3600", standing.hour),
        ("day", "86400", standing.day),
    ];
    // Every answer has these: pieces are put behind one another, which is several times faster than to format them.
    let (mut policy, mut now) = (String::with_capacity(96), String::with_capacity(96));
    for (name, span, window) in windows {
        let comma = if policy.is_empty() { "\"" } else { ", \"" };
        let left = remaining(window.used, window.limit);
        for piece in [comma, name, "\";q=", &window.limit.to_string(), ";w=", span] {
            policy.push_str(piece);
        }
        for piece in [
            comma,
            name,
            "\";r=",
            &left.to_string(),
            ";t=",
            &window.reset_in_s.to_string(),
        ] {
            now.push_str(piece);
        }
    }
    for (name, value) in [(POLICY, policy), (RATE_LIMIT, now)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn no_secret_of_a_path_is_logged() {
        for (path, logged) in [
            ("/api/v1/jobs/job_01", "/api/v1/jobs/job_01"),
            ("/media/ea/x.png", "/media/…"),
            (
                "/api/v1/api-keys/vydra_live_user_01_abc/rotate",
                "/api/v1/api-keys/…",
            ),
            ("/vydra_test_user_01_abc", "/…"),
        ] {
            assert_eq!(shown(path), logged);
        }
    }
}
