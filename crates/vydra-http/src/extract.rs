//! Bodies and queries, with our errors when they cannot be read.

use crate::error::ApiError;
use crate::layers::MAX_BODY;
use axum::RequestExt;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::time::Duration;
use vydra_core::catalog::Violations;
use vydra_core::credits::Credits;
use vydra_engine::{Asked, Error, Preference, Ticket};

/// The longest that an answer is held back (contract, section 7).
const MAX_WAIT_S: u64 = 60;

/// A JSON object.
#[derive(Debug)]
pub(crate) struct JsonObject(pub(crate) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for JsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let told = |sentence: String| ApiError(Error::invalid(sentence));
        if !is_json(request.headers()) {
            return Err(told("The Content-Type must be application/json".to_owned()));
        }
        let bytes: Bytes = request.extract().await.map_err(
            |rejection: axum::extract::rejection::BytesRejection| {
                if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
                    told(format!(
                        "The request body exceeds the limit of {MAX_BODY} bytes"
                    ))
                } else {
                    told("The request body could not be read".to_owned())
                }
            },
        )?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(_) => Err(told("The request body must be a JSON object".to_owned())),
            Err(error) => Err(told(format!(
                "The request body is not valid JSON (line {}, column {})",
                error.line(),
                error.column()
            ))),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let media_type = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// A query string.
#[derive(Debug)]
pub(crate) struct ApiQuery<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(_) => Err(ApiError(Error::invalid(
                "The query string could not be read",
            ))),
        }
    }
}

/// A whole number of a query, within bounds.
pub(crate) fn number(
    name: &str,
    text: Option<&str>,
    default: u64,
    lowest: u64,
    highest: u64,
) -> Result<u64, ApiError> {
    let Some(text) = text else { return Ok(default) };
    text.parse()
        .ok()
        .filter(|number| (lowest..=highest).contains(number))
        .ok_or_else(|| {
            let expected = format!("a whole number from {lowest} to {highest}");
            ApiError(Violations::one(name, "out of range", &expected).into())
        })
}

pub(crate) fn wait(text: Option<&str>) -> Result<Duration, ApiError> {
    number("wait", text, 0, 0, MAX_WAIT_S).map(Duration::from_secs)
}

/// What a paid call asks for besides its input.
pub(crate) fn asked<'a>(
    headers: &'a HeaderMap,
    max_credits: Option<Credits>,
    ticket: Option<&'a Ticket>,
) -> Asked<'a> {
    let simulate = headers
        .get("x-vydra-simulate")
        .map(|value| value.to_str().unwrap_or("?"));
    Asked {
        preference: preference(headers),
        simulate,
        max_credits,
        ticket,
    }
}

/// The most that a call may cost: the smallest of all that its body and its headers say. The fields are taken out of the
/// body, for they are no part of the input.
pub(crate) fn max_credits(
    headers: &HeaderMap,
    body: &mut Map<String, Value>,
) -> Result<Option<Credits>, ApiError> {
    let refused = |field: &str| {
        let expected = "a whole number of 0 or more";
        ApiError(Violations::one(field, "not usable", expected).into())
    };
    let mut lowest: Option<u64> = None;
    let mut lower = |cap: u64| lowest = Some(lowest.map_or(cap, |lowest| lowest.min(cap)));
    for name in ["maxCredits", "max_credits"] {
        match body.remove(name) {
            // Many clients send null for a field that was left empty.
            None | Some(Value::Null) => {}
            Some(value) => lower(value.as_u64().ok_or_else(|| refused(name))?),
        }
    }
    for value in headers.get_all("x-max-credits") {
        let cap = value
            .to_str()
            .ok()
            .map(str::trim)
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse().ok());
        lower(cap.ok_or_else(|| refused("X-Max-Credits"))?);
    }
    // What is beyond our numbers is beyond any price.
    Ok(lowest.map(|cap| Credits::new(i64::try_from(cap).unwrap_or(i64::MAX)).unwrap_or_default()))
}

/// RFC 7240: what is not understood is ignored.
fn preference(headers: &HeaderMap) -> Preference {
    let wishes = headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']));
    let mut preference = Preference::default();
    for wish in wishes.map(str::trim) {
        if wish.eq_ignore_ascii_case("respond-async") {
            return Preference::RespondAsync;
        }
        if let Some(Ok(seconds)) = wish.strip_prefix("wait=").map(str::parse) {
            preference = Preference::Wait(Duration::from_secs(seconds));
        }
    }
    preference
}
