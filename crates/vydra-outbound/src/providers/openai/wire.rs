//! What comes from OpenAI, and from servers that answer as it does.

use crate::provider::{ErrorKind, Listed};
use crate::upstream::word;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Codes and types that say more than the status beside them.
const CODES: [(&str, ErrorKind); 13] = [
    ("moderation_blocked", ErrorKind::ContentRefused),
    ("content_policy_violation", ErrorKind::ContentRefused),
    ("model_not_found", ErrorKind::ModelGone),
    ("deprecated", ErrorKind::ModelGone),
    ("insufficient_quota", ErrorKind::QuotaExhausted),
    ("credit_balance_exhausted", ErrorKind::QuotaExhausted),
    (
        "organization_spend_limit_exceeded",
        ErrorKind::QuotaExhausted,
    ),
    ("project_spend_limit_exceeded", ErrorKind::QuotaExhausted),
    (
        "organization_usage_limit_exceeded",
        ErrorKind::QuotaExhausted,
    ),
    ("billing_hard_limit_reached", ErrorKind::QuotaExhausted),
    ("rate_limit_exceeded", ErrorKind::RateLimited),
    ("slow_down", ErrorKind::RateLimited),
    ("invalid_api_key", ErrorKind::Auth),
];

/// An error, as far as it is made of codes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// The narrowest first.
    codes: Vec<String>,
    field: Option<String>,
}

impl Told {
    /// `{error: {…}}`, `{error: "…"}`, `{detail: …}` as FastAPI writes it, or the error itself as the whole body.
    pub(super) fn of(body: &Value) -> Option<Self> {
        let told = |name: &str| body.get(name).filter(|value| is_something(value));
        if let Some(error) = told("error").or_else(|| told("detail")) {
            return Some(Self::read(error));
        }
        (body.get("object").and_then(Value::as_str) == Some("error")).then(|| Self::read(body))
    }

    fn read(error: &Value) -> Self {
        match error {
            Value::String(code) => Self {
                codes: vec![code.clone()],
                field: None,
            },
            Value::Array(list) => list.first().map(Self::read).unwrap_or_default(),
            fields => {
                let code = |name: &str| match fields.get(name)? {
                    Value::String(code) => Some(code.clone()),
                    Value::Number(code) => Some(code.to_string()),
                    _ => None,
                };
                let place = fields.get("loc").and_then(Value::as_array);
                let place = place.and_then(|place| place.last()?.as_str().map(str::to_owned));
                Self {
                    codes: ["code", "type"].into_iter().filter_map(code).collect(),
                    field: code("param").or(place),
                }
            }
        }
    }

    pub(super) fn kind(&self) -> Option<ErrorKind> {
        self.codes.iter().find_map(|code| {
            let row = CODES.iter().find(|(known, _)| known == code);
            row.map(|(_, kind)| *kind)
        })
    }

    /// The status that it would have had, where its code is one.
    pub(super) fn status(&self) -> Option<u16> {
        let mut statuses = self.codes.iter().filter_map(|code| code.parse().ok());
        statuses.find(|status| (400..=599).contains(status))
    }

    /// For the log: its code, and the field that it complains of.
    pub(super) fn word(&self) -> String {
        let code = self.codes.first().map_or(String::new(), |code| word(code));
        match &self.field {
            Some(field) if word(field) == *field => format!("{code}:{field}"),
            _ => code,
        }
    }
}

fn is_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

/// A file that was made: in the answer, or where it is.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    #[serde(default)]
    pub(super) b64_json: Option<String>,
    #[serde(default)]
    pub(super) url: Option<String>,
}

/// What `data` lists, without what is none.
pub(super) fn files(body: &Value) -> Vec<File> {
    let list = body.get("data").and_then(Value::as_array);
    let list = list.into_iter().flatten();
    list.filter_map(|file| File::deserialize(file).ok())
        .collect()
}

/// What an answer says that it cost, which is no price.
pub(super) fn tokens(body: &Value) -> Option<u64> {
    body.get("usage")?.get("total_tokens")?.as_u64()
}

#[derive(Debug, Deserialize)]
pub(super) struct Video {
    pub(super) status: String,
    #[serde(default)]
    progress: Value,
}

impl Video {
    pub(super) fn progress(&self) -> Option<u8> {
        let percent = self.progress.as_u64()?.min(100);
        u8::try_from(percent).ok()
    }
}

/// The models of a list, and when they are switched off.
pub(super) fn models(body: &Value) -> Option<BTreeMap<String, Listed>> {
    let list = body.get("data")?.as_array()?;
    let named = list.iter().filter_map(|model| {
        let retires = match model.get("shutdown_date") {
            Some(Value::String(day)) => Some(day.clone()),
            Some(Value::Number(day)) => Some(day.to_string()),
            _ => None,
        };
        Some((model.get("id")?.as_str()?.to_owned(), Listed { retires }))
    });
    Some(named.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_way_to_tell_an_error_is_read() {
        for (body, shown) in [
            (
                json!({"error": {"code": "a", "type": "b", "param": "size"}}),
                "a:size",
            ),
            (json!({"error": {"code": null, "type": "b"}}), "b"),
            (json!({"error": {"code": 429, "message": "m"}}), "429"),
            (
                json!({"error": {"code": "a", "param": "a prompt"}, "data": []}),
                "a",
            ),
            (json!({"error": "code"}), "code"),
            (json!({"error": "a whole sentence"}), "(text)"),
            (json!({"error": null, "detail": "Not Found"}), "(text)"),
            (
                json!({"detail": [{"loc": ["body", "size"], "msg": "m", "type": "missing"}]}),
                "missing:size",
            ),
            (json!({"detail": {"code": "a"}}), "a"),
            (
                json!({"object": "error", "message": "m", "type": "BadRequestError"}),
                "BadRequestError",
            ),
        ] {
            let told = Told::of(&body).unwrap_or_else(|| panic!("{body}"));
            assert_eq!(told.word(), shown, "{body}");
        }
        for none in [
            json!({}),
            json!(null),
            json!([]),
            json!({"error": null}),
            json!({"error": {}, "detail": ""}),
            json!({"object": "list"}),
        ] {
            assert_eq!(Told::of(&none), None, "{none}");
        }
    }

    #[test]
    fn a_type_counts_where_the_code_is_new() {
        let told = Told::of(&json!({"error": {"code": "new", "type": "insufficient_quota"}}));
        assert_eq!(told.unwrap().kind(), Some(ErrorKind::QuotaExhausted));
    }
}
