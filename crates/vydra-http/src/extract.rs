//! Bodies and queries, with our errors when they cannot be read.

use crate::auth::SIMULATE;
use crate::connection::{BodyTimeout, ServeOptions};
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
use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::time::Duration;
use vydra_core::catalog::{FieldProblem, Violations, other_spelling};
use vydra_core::credits::Credits;
use vydra_engine::{Asked, Error, Preference, Ticket};

/// The longest that an answer is held back (contract, section 7).
const MAX_WAIT_S: u64 = 60;

/// How large a body may be where it is not as large as usual.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

/// A JSON object.
#[derive(Debug)]
pub(crate) struct JsonObject(pub(crate) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for JsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let told = |sentence: String| ApiError(Error::invalid(sentence));
        if let Some(sentence) = refused_type(request.headers()) {
            return Err(told(sentence.to_owned()));
        }
        let limit = request.extensions().get().copied();
        let BodyLimit(limit) = limit.unwrap_or(BodyLimit(MAX_BODY));
        let too_large = || format!("The request body exceeds the limit of {limit} bytes");
        // What is announced need not be waited for.
        let announced = request.body().size_hint().lower();
        if usize::try_from(announced).map_or(true, |announced| announced > limit) {
            return Err(told(too_large()));
        }
        let patience = request.extensions().get().copied();
        let BodyTimeout(patience) =
            patience.unwrap_or_else(|| BodyTimeout(ServeOptions::default().body_timeout));
        let bytes: Bytes = tokio::time::timeout(patience, request.extract())
            .await
            .map_err(|_| {
                told(format!(
                    "The request body did not arrive within {}",
                    span(patience)
                ))
            })?
            .map_err(|rejection: axum::extract::rejection::BytesRejection| {
                if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
                    told(too_large())
                } else {
                    told("The request body could not be read".to_owned())
                }
            })?;
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

fn span(span: Duration) -> String {
    if span.subsec_millis() == 0 {
        format!("{} seconds", span.as_secs())
    } else {
        format!("{} milliseconds", span.as_millis())
    }
}

/// Why a body of this type is not read.
fn refused_type(headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().ok());
    let content_type = text(header::CONTENT_TYPE).flatten().unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
    if media_type != "application/json"
        && !(media_type.starts_with("application/") && media_type.ends_with("+json"))
    {
        return Some("The Content-Type must be application/json");
    }
    let foreign_charset = parts
        .filter_map(|part| part.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .map(|(_, value)| value.trim().trim_matches('"'))
        .any(|value| !value.eq_ignore_ascii_case("utf-8") && !value.eq_ignore_ascii_case("utf8"));
    if foreign_charset {
        return Some("The charset of the Content-Type must be utf-8");
    }
    let encoding = text(header::CONTENT_ENCODING);
    // Packed bodies could unpack to any size.
    encoding
        .is_some_and(|encoding| {
            encoding.is_none_or(|encoding| !encoding.trim().eq_ignore_ascii_case("identity"))
        })
        .then_some("The Content-Encoding must be identity")
}

/// Where a model is called: whatever stands behind `/models/`, slashes included.
#[derive(Debug)]
pub(crate) struct ModelPath(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for ModelPath {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let path = parts.uri.path();
        let (_, model) = path.split_once("/models/").unwrap_or_default();
        Ok(Self(model.to_owned()))
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
        let fits = text.chars().count() <= longest
            && !text.trim().is_empty()
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

    /// The same, but it may be empty.
    pub(crate) fn note_if_any(&mut self, name: &'static str, longest: usize) -> Option<String> {
        let text = self.text_if_any(name)?;
        if text.chars().count() > longest || text.chars().any(char::is_control) {
            let expected = format!("at most {longest} printable characters");
            self.tell(name, "not usable", expected);
        }
        Some(text)
    }

    pub(crate) fn bool_if_any(&mut self, name: &'static str) -> Option<bool> {
        if let Value::Bool(value) = self.take(name)? {
            return Some(value);
        }
        self.tell(name, "wrong type", "boolean");
        None
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

/// A query string.
#[derive(Debug)]
pub(crate) struct ApiQuery<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let wrong = |name: &str, problem: &str, expected: &str| {
            ApiError(Violations::one(name, problem, expected).into())
        };
        if let Some(pair) = query.split('&').find(|pair| !is_utf_8(pair)) {
            let name = pair.split('=').next().unwrap_or_default();
            return Err(wrong(name, "not readable", "UTF-8"));
        }
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(_) => Err(twice(query).map_or_else(
                || ApiError(Error::invalid("The query string could not be read")),
                |name| wrong(name, "given more than once", "one value"),
            )),
        }
    }
}

/// Whether what the percent signs stand for is text.
fn is_utf_8(text: &str) -> bool {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let coded = part.get(..2).filter(|digits| !digits.starts_with('+'));
        if let Some(byte) = coded.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            bytes.extend_from_slice(&part.as_bytes()[2..]);
        } else {
            bytes.push(b'%');
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    std::str::from_utf8(&bytes).is_ok()
}

/// The first name that stands in the query more than once.
fn twice(query: &str) -> Option<&str> {
    let mut names: Vec<&str> = Vec::new();
    for name in query.split('&').filter_map(|pair| pair.split('=').next()) {
        if names.contains(&name) {
            return Some(name);
        }
        names.push(name);
    }
    None
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
    webhook_url: Option<&'a str>,
    ticket: Option<&'a Ticket>,
) -> Result<Asked<'a>, ApiError> {
    let simulate = headers
        .get(SIMULATE)
        .map(|value| value.to_str().unwrap_or("?"));
    Ok(Asked {
        preference: preference(headers),
        simulate,
        max_credits,
        no_fallback: no_fallback(headers)?,
        webhook_url,
        ticket,
    })
}

/// Whether only the first of a model's providers may be asked.
fn no_fallback(headers: &HeaderMap) -> Result<bool, ApiError> {
    let Some(value) = headers.get("x-vydra-no-fallback") else {
        return Ok(false);
    };
    match value.as_bytes().trim_ascii() {
        b"true" | b"1" => Ok(true),
        b"false" | b"0" => Ok(false),
        _ => {
            let expected = "true or false";
            let refused = Violations::one("X-Vydra-No-Fallback", "not usable", expected);
            Err(ApiError(refused.into()))
        }
    }
}

/// Where the end of the job is to be told. The field is taken out of the body, for it is no part of the input.
pub(crate) fn webhook_url(body: &mut Map<String, Value>) -> Result<Option<String>, ApiError> {
    let mut named = None;
    for name in ["webhookUrl", "webhook_url"] {
        match body.remove(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(url)) => named = Some(url),
            Some(_) => {
                return Err(ApiError(
                    Violations::one("webhookUrl", "wrong type", "string").into(),
                ));
            }
        }
    }
    Ok(named)
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
