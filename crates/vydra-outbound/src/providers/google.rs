//! What the servers of Google say alike: errors in the form of `google.rpc.Status`.

use crate::provider::{Accepted, ErrorKind, ProviderError};
use crate::upstream::Answer;
use serde_json::{Map, Value};

/// Parts of the codes by which a content is refused, at whichever place they stand.
const REFUSED: [&str; 11] = [
    "SAFETY",
    "UNSAFE",
    "PROHIBITED",
    "BLOCKLIST",
    "SPII",
    "RECITATION",
    "POLICY",
    "SEXUAL",
    "MINOR",
    "PROMINENT_PEOPLE",
    "_FILTER",
];
/// Of the sentences that say so where there is no code for it.
const OF_POLICY: [&str; 6] = [
    "responsible ai",
    "policy",
    "policies",
    "usage guidelines",
    "sensitive words",
    "safety filter",
];

/// What an error says of itself.
#[derive(Debug, Default)]
struct Failure {
    status: String,
    message: String,
    reasons: Vec<String>,
    quotas: Vec<String>,
}

impl Failure {
    /// The whole may be the only element of a list.
    fn read(body: &Value) -> Option<Self> {
        let error = body.get("error").or_else(|| body.get(0)?.get("error"))?;
        let error = error.as_object()?;
        let of = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
        let details = || {
            let details = error.get("details").and_then(Value::as_array);
            details.into_iter().flatten()
        };
        Some(Self {
            status: of("status").to_owned(),
            message: of("message").to_owned(),
            reasons: details()
                .filter_map(|detail| text(detail, "reason"))
                .collect(),
            quotas: details()
                .flat_map(|detail| list(detail, "violations"))
                .filter_map(|violation| text(violation, "quotaId"))
                .collect(),
        })
    }

    fn kind(&self, status: u16) -> Option<ErrorKind> {
        let says = |reason: fn(&str) -> bool| self.reasons.iter().any(|told| reason(told));
        if says(|reason| reason.starts_with("API_KEY_")) {
            return Some(ErrorKind::Auth);
        }
        if says(|reason| reason.starts_with("PUBLIC_ERROR_") && is_refusal(reason)) {
            return Some(ErrorKind::ContentRefused);
        }
        match (status, self.status.as_str()) {
            // The account lacks billing, or its region the service.
            (400, "FAILED_PRECONDITION") => Some(ErrorKind::Auth),
            (400, "INVALID_ARGUMENT") if tells_of_policy(&self.message) => {
                Some(ErrorKind::ContentRefused)
            }
            (429, _) if self.quotas.iter().any(|quota| quota.contains("PerDay")) => {
                Some(ErrorKind::QuotaExhausted)
            }
            _ => None,
        }
    }
}

/// What follows from an answer that is no success.
pub(super) fn failed(answer: &Answer) -> ProviderError {
    let Some(failure) = answer.body().as_ref().and_then(Failure::read) else {
        return answer.failure_by_status(false, "");
    };
    let told = failure.reasons.first().unwrap_or(&failure.status);
    if let Some(kind) = failure.kind(answer.status) {
        return answer.failure(kind, Accepted::No, told);
    }
    // After a deadline of theirs the work may go on.
    let is_refused = !failure.status.is_empty() && answer.status != 504;
    answer.failure_by_status(is_refused, told)
}

pub(super) fn is_refusal(code: &str) -> bool {
    let code = code.to_ascii_uppercase();
    REFUSED.iter().any(|part| code.contains(part))
}

pub(super) fn tells_of_policy(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    OF_POLICY.iter().any(|part| message.contains(part))
}

pub(super) fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(str::to_owned)
}

pub(super) fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// An object of a request, taken out of it; empty where there is none.
pub(super) fn take_object(body: &mut Map<String, Value>, name: &str) -> Map<String, Value> {
    match body.shift_remove(name) {
        Some(Value::Object(object)) => object,
        _ => Map::new(),
    }
}
