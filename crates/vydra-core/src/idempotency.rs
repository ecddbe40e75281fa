//! Idempotency: a paid request that bears a key is carried out once, and answered the same way again (contract, section 6).

use crate::ids::JobId;
use crate::time::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::time::Duration;

/// How long a key is remembered.
pub const REMEMBERED: Duration = Duration::from_hours(24);

/// What a caller sends in `Idempotency-Key`: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub const MAX_LENGTH: usize = 255;

    /// None when `text` cannot be a key.
    pub fn parse(text: &str) -> Option<Self> {
        ((1..=Self::MAX_LENGTH).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic()))
        .then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What tells one request from another under the same key: its operation and what its body means. How the body was
/// written, and the headers, are no part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    pub fn of(method: &str, path: &str, body: &Map<String, Value>) -> Self {
        let mut text = format!("{method} {path}\n");
        write_object(&mut text, body);
        let mut hex = String::with_capacity(64);
        for byte in Sha256::digest(text.as_bytes()) {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// From our own store.
    pub fn trusted(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// JSON with the names of every object in order, so that equal meanings have equal texts.
fn write_canonical(text: &mut String, value: &Value) {
    match value {
        Value::Object(object) => write_object(text, object),
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_canonical(text, item);
                text.push(',');
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = write!(text, "{value}");
        }
    }
}

fn write_object(text: &mut String, object: &Map<String, Value>) {
    let mut fields: Vec<(&String, &Value)> = object.iter().collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    text.push('{');
    for (name, value) in fields {
        let _ = write!(text, "{}:", Value::String(name.clone()));
        write_canonical(text, value);
        text.push(',');
    }
    text.push('}');
}

/// What was answered to the first request, as it went over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What is remembered of a key. Without an answer, its request was charged, and nobody knows whether its caller was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    pub key: IdempotencyKey,
    pub fingerprint: Fingerprint,
    pub job_id: JobId,
    pub expires_at: Timestamp,
    pub answer: Option<StoredAnswer>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fingerprint(body: &str) -> Fingerprint {
        let body: Map<String, Value> = serde_json::from_str(body).unwrap();
        Fingerprint::of("POST", "/jobs", &body)
    }

    #[test]
    fn how_a_body_is_written_does_not_matter() {
        let one = fingerprint(r#"{"a": {"y": 1, "x": [1, {"d": 2, "c": 3}]}, "b": "\u0041"}"#);
        let other = fingerprint(r#"{"b":"A","a":{"x":[1,{"c":3,"d":2}],"y":1}}"#);
        assert_eq!(one, other);
        assert_eq!(one.as_str().len(), 64);
    }

    #[test]
    fn what_a_body_means_does() {
        let bodies = [
            r#"{"a":1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":"1"}"#,
            r#"{"a":[1]}"#,
            r#"{"a":[1,1]}"#,
            r#"{"a":[[1],1]}"#,
            r#"{"a":[[1,1]]}"#,
            r#"{"a":null}"#,
            r#"{"b":1}"#,
            r#"{"a":1,"b":1}"#,
            r#"{"a":{"b":1}}"#,
            r"{}",
        ];
        for (place, one) in bodies.iter().enumerate() {
            for other in &bodies[place + 1..] {
                assert_ne!(fingerprint(one), fingerprint(other), "{one} {other}");
            }
        }
        let body = json!({}).as_object().unwrap().clone();
        let of = |method, path| Fingerprint::of(method, path, &body);
        assert_ne!(of("POST", "/jobs"), of("POST", "/models/veo3"));
        assert_ne!(of("POST", "/jobs"), of("PUT", "/jobs"));
    }

    #[test]
    fn a_key_is_visible_ascii() {
        for good in ["a", "!~", &"x".repeat(255)] {
            assert_eq!(IdempotencyKey::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "a\tb", "ü", "\u{7f}", &"x".repeat(256)] {
            assert_eq!(IdempotencyKey::parse(bad), None, "{bad:?}");
        }
    }
}
