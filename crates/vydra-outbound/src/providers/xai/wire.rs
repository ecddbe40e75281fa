//! What xAI answers.

use crate::provider::Output;
use crate::providers::task_id;
use serde_json::Value;
use std::time::Duration;

/// Of a price, to a dollar.
const TICKS: f64 = 1e10;

/// The answer to a call that makes images.
pub(super) struct Images {
    pub(super) files: Vec<Output>,
    /// Whether any was held back; with an empty list all were.
    pub(super) refused: bool,
    pub(super) cost: Option<String>,
}

impl Images {
    pub(super) fn read(body: &Value) -> Option<Self> {
        let data = body.get("data")?.as_array()?;
        let files = data.iter().filter(|image| !is_held_back(image));
        Some(Self {
            files: files.filter_map(file).collect(),
            refused: data.is_empty() || data.iter().any(is_held_back),
            cost: cost(body),
        })
    }
}

/// How a video stands.
pub(super) enum Stand {
    Running(Option<u8>),
    Done {
        file: Option<Output>,
        is_refused: bool,
    },
    Failed {
        code: String,
        message: String,
    },
    Expired,
}

impl Stand {
    pub(super) fn read(body: &Value) -> Option<Self> {
        let video = body.get("video").filter(|video| video.is_object());
        let has_address = video.is_some_and(|video| text(video, "url").is_some());
        match body.get("status").and_then(Value::as_str) {
            Some("done") => Some(done(video)),
            Some("failed") => {
                let (code, message) = error(body).unwrap_or_default();
                Some(Self::Failed { code, message })
            }
            Some("expired") => Some(Self::Expired),
            Some(_) => Some(Self::Running(progress(body))),
            None => has_address.then(|| done(video)),
        }
    }
}

fn done(video: Option<&Value>) -> Stand {
    let is_refused = video.is_some_and(is_held_back);
    let file = video.filter(|_| !is_refused).and_then(|video| {
        Some(Output {
            duration_ms: duration_ms(video),
            ..file(video)?
        })
    });
    Stand::Done { file, is_refused }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str().filter(|text| !text.is_empty())
}

fn is_held_back(made: &Value) -> bool {
    made.get("respect_moderation") == Some(&Value::Bool(false))
}

fn file(made: &Value) -> Option<Output> {
    let within = text(made, "b64_json").and_then(|text| Output::base64(text).ok());
    within.or_else(|| Output::reference(text(made, "url")?).ok())
}

fn duration_ms(video: &Value) -> Option<u64> {
    let seconds = video.get("duration")?.as_f64()?;
    let span = Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(span.as_millis()).ok()
}

pub(super) fn progress(body: &Value) -> Option<u8> {
    let percent = body.get("progress")?.as_u64()?;
    u8::try_from(percent.min(100)).ok()
}

pub(super) fn cost(body: &Value) -> Option<String> {
    let ticks = body.get("usage")?.get("cost_in_usd_ticks")?.as_f64()?;
    Some(format!("{} USD", ticks / TICKS))
}

pub(super) fn request_id(body: &Value) -> Option<String> {
    text(body, "request_id").and_then(task_id::piece)
}

/// The code and the text of an error in any of its three shapes: `{error: {message, type, code}}`, `{code, error: "…"}`
/// and `{error: "…"}`.
pub(super) fn error(body: &Value) -> Option<(String, String)> {
    let error = body.get("error")?;
    let (code, message) = match error {
        Value::String(message) => (text(body, "code"), message.as_str()),
        Value::Object(_) => (
            text(error, "code").or_else(|| text(error, "type")),
            text(error, "message").unwrap_or_default(),
        ),
        _ => return None,
    };
    Some((code.unwrap_or_default().to_owned(), message.to_owned()))
}

/// Names and aliases, of `{data: [{id}]}` or `{models: [{id, aliases}]}`.
pub(super) fn listed(body: &Value) -> Vec<String> {
    let models = ["data", "models"]
        .into_iter()
        .filter_map(|name| body.get(name)?.as_array())
        .flatten();
    let mut names = Vec::new();
    for model in models {
        names.extend(text(model, "id"));
        let aliases = model.get("aliases").and_then(Value::as_array);
        names.extend(aliases.into_iter().flatten().filter_map(Value::as_str));
    }
    names.into_iter().map(str::to_owned).collect()
}
