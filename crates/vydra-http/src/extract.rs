//! Bodies and queries, with our errors when they cannot be read.

use crate::error::ApiError;
use crate::layers::MAX_BODY;
use axum::RequestExt;
use axum::body::{Bytes, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;
use std::time::Duration;
use vydra_core::catalog::{FieldProblem, Violations, other_spelling};
use vydra_engine::{Asked, Error, Preference};

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

/// A JSON object, or nothing at all, which says the same as an empty one.
#[derive(Debug)]
pub(crate) struct JsonObjectIfAny(pub(crate) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for JsonObjectIfAny {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let nothing =
            request.body().is_end_stream() && !request.headers().contains_key(header::CONTENT_TYPE);
        if nothing {
            return Ok(Self(Map::new()));
        }
        let JsonObject(object) = JsonObject::from_request(request, state).await?;
        Ok(Self(object))
    }
}

/// Reads the body of a management request field by field, in either spelling. What is wrong is gathered and told at the
/// end, together with the fields that nobody asked for; until then a wrong field reads as an empty one.
pub(crate) struct Fields {
    given: Map<String, Value>,
    known: Vec<&'static str>,
    problems: Vec<FieldProblem>,
}

impl Fields {
    pub(crate) fn of(given: Map<String, Value>) -> Self {
        Self {
            given,
            known: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Null counts as absent.
    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        let value = self
            .given
            .remove(name)
            .or_else(|| self.given.remove(&other_spelling(name)?));
        value.filter(|value| !value.is_null())
    }

    fn tell(&mut self, name: &str, problem: &str, expected: impl Into<String>) {
        self.problems.push(FieldProblem {
            field: name.to_owned(),
            problem: problem.to_owned(),
            expected: expected.into(),
        });
    }

    pub(crate) fn text_if_any(&mut self, name: &'static str) -> Option<String> {
        if let Value::String(text) = self.take(name)? {
            return Some(text);
        }
        self.tell(name, "wrong type", "string");
        None
    }

    pub(crate) fn text(&mut self, name: &'static str) -> String {
        let before = self.problems.len();
        let text = self.text_if_any(name);
        if text.is_none() && self.problems.len() == before {
            self.tell(name, "missing", "string");
        }
        text.unwrap_or_default()
    }

    /// Text that is shown in lists: so many characters, all of them printable.
    pub(crate) fn name(&mut self, name: &'static str, longest: usize) -> String {
        let before = self.problems.len();
        let text = self.text(name);
        let fits = (1..=longest).contains(&text.trim().chars().count())
            && !text.chars().any(char::is_control);
        if !fits && self.problems.len() == before {
            self.tell(
                name,
                "not usable",
                format!("1 to {longest} printable characters"),
            );
        }
        text
    }

    /// One of a few words.
    pub(crate) fn word_if_any<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
        allowed: &str,
    ) -> Option<T> {
        let text = self.text_if_any(name)?;
        let word = parse(&text);
        if word.is_none() {
            self.tell(name, "not one of the allowed values", allowed);
        }
        word
    }

    pub(crate) fn number_if_any(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let value = self.take(name)?;
        // JSON has one kind of number: 2.0 is as whole as 2.
        let Some(number) = value.as_f64().filter(|number| number.fract() == 0.0) else {
            self.tell(name, "wrong type", "integer");
            return None;
        };
        let (from, to) = range.into_inner();
        if number < f64::from(from) || number > f64::from(to) {
            let expected = format!("a whole number from {from} to {to}");
            self.tell(name, "out of range", expected);
            return None;
        }
        format!("{number}").parse().ok()
    }

    /// A list that is not empty, of words from another.
    pub(crate) fn words_if_any(
        &mut self,
        name: &'static str,
        allowed: &[String],
    ) -> Option<Vec<String>> {
        let value = self.take(name)?;
        let words = value.as_array().and_then(|items| {
            let words = items.iter().map(|item| item.as_str().map(str::to_owned));
            words.collect::<Option<Vec<_>>>()
        });
        let Some(words) = words else {
            self.tell(name, "wrong type", "array of strings");
            return None;
        };
        if words.is_empty() {
            self.tell(name, "empty", "at least 1 item");
        } else if words.iter().any(|word| !allowed.contains(word)) {
            self.tell(name, "not one of the allowed values", allowed.join(", "));
        }
        Some(words)
    }

    pub(crate) fn finish(mut self) -> Result<(), ApiError> {
        let known = match self.known.as_slice() {
            [] => "no fields at all".to_owned(),
            known => known.join(", "),
        };
        for name in std::mem::take(&mut self.given).keys() {
            self.tell(name, "unknown", known.clone());
        }
        match Violations::of(self.problems) {
            None => Ok(()),
            Some(violations) => Err(ApiError(violations.into())),
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

/// What the headers of a paid call ask for.
pub(crate) fn asked(headers: &HeaderMap) -> Asked<'_> {
    let simulate = headers
        .get("x-vydra-simulate")
        .map(|value| value.to_str().unwrap_or("?"));
    Asked {
        preference: preference(headers),
        simulate,
    }
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
