//! `Idempotency-Key` on the wire: the header, the answer that is kept on its way out, and the answer that is given again.

use crate::ApiState;
use crate::error::ApiError;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use std::sync::Arc;
use vydra_core::catalog::Violations;
use vydra_core::idempotency::{Fingerprint, IdempotencyKey, StoredAnswer};
use vydra_engine::{Begun, Caller, Error, Ticket};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What belongs to the answer itself. Whatever else an answer bears is about the request that it is sent for.
const KEPT: [HeaderName; 8] = [
    header::CONTENT_TYPE,
    header::LOCATION,
    HeaderName::from_static("x-credits-charged"),
    HeaderName::from_static("x-credits-remaining"),
    header::RETRY_AFTER,
    header::LINK,
    header::CACHE_CONTROL,
    REQUEST_ID,
];
/// Far above any answer to a paid request.
const MAX_ANSWER: usize = 8 * 1_024 * 1_024;

/// How a paid request goes on.
pub(crate) enum Begin {
    /// It is carried out; with a ticket when it bears a key.
    Go(Option<Ticket>),
    /// This is its answer.
    Answered(Response),
}

pub(crate) async fn begin(
    state: &ApiState,
    caller: &Caller,
    headers: &HeaderMap,
    path: &str,
    body: &Map<String, Value>,
) -> Result<Begin, ApiError> {
    let Some(key) = key(headers)? else {
        return Ok(Begin::Go(None));
    };
    let fingerprint = Fingerprint::of("POST", path, body);
    match state.engine.begin(caller, key, fingerprint).await? {
        Begun::Ticket(ticket) => Ok(Begin::Go(Some(ticket))),
        Begun::Replay(answer) => {
            let mut response = Response::default();
            replay(&mut response, answer);
            Ok(Begin::Answered(response))
        }
    }
}

fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut lines = headers.get_all(KEY).iter();
    let Some(first) = lines.next() else {
        return Ok(None);
    };
    let refused = |problem, expected: &str| {
        Error::from(Violations::one("Idempotency-Key", problem, expected))
    };
    if lines.any(|other| other != first) {
        return Err(refused("given twice", "one value").into());
    }
    let key = first.to_str().ok().and_then(IdempotencyKey::parse);
    let expected = format!(
        "1 to {} visible ASCII characters",
        IdempotencyKey::MAX_LENGTH
    );
    key.map(Some)
        .ok_or_else(|| refused("not usable", &expected).into())
}

/// Left on an answer that follows a charge, for [`remember`]. While it is there, the key is being handled.
#[derive(Debug, Clone)]
struct Kept(Arc<Ticket>);

/// Marks an answer whose bytes are final already.
#[derive(Debug, Clone, Copy)]
struct Replayed;

pub(crate) fn is_replayed(response: &Response) -> bool {
    response.extensions().get::<Replayed>().is_some()
}

/// The answer of a request that was carried out: to be kept when it was charged, and forgotten when it had no effect.
pub(crate) fn answer(
    ticket: Option<Ticket>,
    outcome: Result<Response, Error>,
) -> Result<Response, ApiError> {
    let mut response = match outcome {
        Ok(response) => response,
        Err(error) if error.follows_a_charge() => ApiError(error).into_response(),
        Err(error) => return Err(error.into()),
    };
    if let Some(ticket) = ticket {
        response.extensions_mut().insert(Kept(Arc::new(ticket)));
    }
    Ok(response)
}

/// Keeps the answer, which is in its last form by now, and then lets it go.
pub(crate) async fn remember(state: &ApiState, mut response: Response) -> Response {
    let Some(Kept(ticket)) = response.extensions_mut().remove() else {
        return response;
    };
    let (parts, body) = response.into_parts();
    let bytes = match axum::body::to_bytes(body, MAX_ANSWER).await {
        Ok(bytes) => bytes,
        Err(error) => {
            // Unreachable: answers to paid requests are made whole.
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "an answer could not be read"
            );
            return Response::from_parts(parts, Body::empty());
        }
    };
    let kept = StoredAnswer {
        status: parts.status.as_u16(),
        headers: KEPT
            .iter()
            .filter_map(|name| {
                let value = parts.headers.get(name)?.to_str().ok()?;
                Some((name.as_str().to_owned(), value.to_owned()))
            })
            .collect(),
        body: bytes.to_vec(),
    };
    let mut response = Response::from_parts(parts, Body::from(bytes));
    match state.engine.record_answer(&ticket, kept).await {
        Ok(None) => {}
        Ok(Some(earlier)) => replay(&mut response, earlier),
        // The caller is told all the same; another try takes the job over.
        Err(error) => tracing::error!(
            error = &error as &dyn std::error::Error,
            "an answer could not be remembered"
        ),
    }
    response
}

fn replay(response: &mut Response, answer: StoredAnswer) {
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    for name in &KEPT {
        headers.remove(name);
    }
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (
            HeaderName::try_from(name.as_str()),
            HeaderValue::try_from(value.as_str()),
        ) {
            headers.insert(name, value);
        }
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    *response.body_mut() = Body::from(answer.body);
    response.extensions_mut().insert(Replayed);
}
