//! What the Gemini API answers. What is malformed is left out, so that the rest can be used.

use crate::provider::{ErrorKind, Listed};
use crate::providers::google::{is_refusal, list, tells_of_policy, text};
use serde_json::Value;
use std::collections::BTreeMap;

/// The answer of generateContent.
#[derive(Debug, Default)]
pub(super) struct Generated {
    /// In base64.
    pub(super) files: Vec<String>,
    /// The code by which it was refused.
    pub(super) refusal: Option<String>,
    /// The code by which it ended otherwise.
    pub(super) ending: Option<String>,
    pub(super) id: Option<String>,
    pub(super) cost: Option<String>,
}

impl Generated {
    pub(super) fn read(body: &Value) -> Option<Self> {
        if !body.is_object() {
            return None;
        }
        let mut generated = Self {
            refusal: body
                .get("promptFeedback")
                .and_then(|feedback| text(feedback, "blockReason")),
            id: text(body, "responseId"),
            cost: tokens(body.pointer("/usageMetadata/totalTokenCount")),
            ..Self::default()
        };
        for candidate in list(body, "candidates") {
            let ending = text(candidate, "finishReason");
            if ending.as_deref().is_some_and(is_refusal) {
                generated.refusal = ending;
                continue;
            }
            generated.ending = ending;
            if let Some(content) = candidate.get("content") {
                generated
                    .files
                    .extend(list(content, "parts").filter_map(part_file));
            }
        }
        Some(generated)
    }
}

/// The file of a part; what the model drew while it thought is none.
fn part_file(part: &Value) -> Option<String> {
    if part.get("thought").and_then(Value::as_bool) == Some(true) {
        return None;
    }
    let inline = part.get("inlineData").or_else(|| part.get("inline_data"))?;
    text(inline, "data")
}

/// Whether the code of an ending says that the request was wrong.
pub(super) fn is_of_the_request(ending: &str) -> bool {
    ending == "LANGUAGE" || ending.starts_with("MALFORMED")
}

fn tokens(count: Option<&Value>) -> Option<String> {
    count?.as_u64().map(|count| format!("{count} tokens"))
}

pub(super) fn models(body: &Value) -> BTreeMap<String, Listed> {
    list(body, "models")
        .filter_map(|model| text(model, "name"))
        .map(|name| {
            let short = name.strip_prefix("models/").unwrap_or(&name);
            (short.to_owned(), Listed::default())
        })
        .collect()
}

/// A file of an interaction.
#[derive(Debug)]
pub(super) enum File {
    Base64(String),
    At(String),
}

#[derive(Debug)]
pub(super) struct Interaction {
    pub(super) status: String,
    pub(super) files: Vec<File>,
    /// Of its errors and those of its steps.
    pub(super) codes: Vec<String>,
    is_refused: bool,
    pub(super) cost: Option<String>,
}

impl Interaction {
    pub(super) fn read(body: &Value) -> Option<Self> {
        let steps = || list(body, "steps");
        let of_steps = steps()
            .filter(|step| text(step, "type").as_deref() == Some("model_output"))
            .flat_map(|step| list(step, "content"));
        let mut files: Vec<File> = of_steps.filter_map(content).collect();
        if files.is_empty() {
            files.extend(body.get("output_video").and_then(reference));
        }
        let errors = || list(body, "errors").chain(steps().filter_map(|step| step.get("error")));
        let codes: Vec<String> = errors().filter_map(code).collect();
        let mut messages = errors().filter_map(|error| text(error, "message"));
        Some(Self {
            status: text(body, "status")?,
            files,
            is_refused: codes.iter().any(|code| is_refusal(code))
                || messages.any(|message| tells_of_policy(&message)),
            codes,
            cost: tokens(body.pointer("/usage/total_tokens")),
        })
    }

    /// What it means when it has ended without a file; None while it runs.
    pub(super) fn ending(&self) -> Option<ErrorKind> {
        let kind = match self.status.as_str() {
            // Nobody is there to act.
            "completed" | "failed" | "incomplete" | "requires_action" => ErrorKind::NoOutput,
            "cancelled" => ErrorKind::Cancelled,
            "budget_exceeded" => ErrorKind::QuotaExhausted,
            _ => return None,
        };
        if self.is_refused {
            return Some(ErrorKind::ContentRefused);
        }
        let is_wrong = |code: &String| code.eq_ignore_ascii_case("INVALID_ARGUMENT");
        if kind == ErrorKind::NoOutput && self.codes.iter().any(is_wrong) {
            return Some(ErrorKind::InvalidRequest);
        }
        Some(kind)
    }
}

fn content(content: &Value) -> Option<File> {
    match text(content, "type").as_deref() {
        Some("video" | "image") => reference(content),
        _ => None,
    }
}

fn reference(file: &Value) -> Option<File> {
    let data = text(file, "data").map(File::Base64);
    data.or_else(|| text(file, "uri").map(File::At))
}

fn code(error: &Value) -> Option<String> {
    match error.get("code")? {
        Value::String(code) => Some(code.clone()),
        Value::Number(code) => Some(code.to_string()),
        _ => None,
    }
}
