//! What Replicate is asked under, and what it answers.

use crate::provider::Output;
use crate::providers::task_id;
use serde_json::Value;

/// The length of a version's name.
const VERSION: usize = 64;

/// Where a model is called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) path: String,
    /// None where the path says it.
    pub(super) version: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// Of `owner/name` of an official model, `owner/name:version`, or a version alone.
    pub(super) fn of(model: &'a str) -> Option<Self> {
        let by_version = Some(Self {
            path: "predictions".to_owned(),
            version: Some(model),
        });
        if is_version(model) {
            return by_version;
        }
        let (owner, rest) = model.split_once('/')?;
        let (name, version) = match rest.split_once(':') {
            Some((name, version)) => (name, Some(version)),
            None => (rest, None),
        };
        if !is_name(owner) || !is_name(name) {
            return None;
        }
        match version {
            Some(version) if is_version(version) => by_version,
            Some(_) => None,
            None => Some(Self {
                path: format!("models/{owner}/{name}/predictions"),
                version: None,
            }),
        }
    }
}

fn is_version(text: &str) -> bool {
    text.len() == VERSION && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Of an owner or a model: with points, but not of points alone, which would lead elsewhere.
fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.bytes().all(is_plain) && text.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

pub(super) fn id(prediction: &Value) -> Option<String> {
    task_id::piece(prediction.get("id")?.as_str()?)
}

/// How a prediction stands.
pub(super) struct Prediction<'a> {
    pub(super) status: &'a str,
    pub(super) files: Vec<Output>,
    /// Empty where there is none.
    pub(super) error: &'a str,
    /// In seconds of the model's machine, which is what it is billed by.
    pub(super) cost: Option<String>,
}

impl<'a> Prediction<'a> {
    pub(super) fn read(body: &'a Value) -> Option<Self> {
        let status = body.get("status")?.as_str()?;
        let mut files = Vec::new();
        if let Some(output) = body.get("output") {
            collect(output, &mut files);
        }
        Some(Self {
            status,
            files,
            error: body
                .get("error")
                .and_then(Value::as_str)
                .unwrap_or_default(),
            cost: cost(body),
        })
    }
}

/// Every address and `data:` URI, in order: each model has a shape of its own.
fn collect(output: &Value, files: &mut Vec<Output>) {
    match output {
        Value::String(text) => files.extend(Output::reference(text)),
        Value::Array(list) => list.iter().for_each(|output| collect(output, files)),
        Value::Object(fields) => fields.values().for_each(|output| collect(output, files)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn cost(body: &Value) -> Option<String> {
    let seconds = body.get("metrics")?.get("predict_time")?.as_f64()?;
    Some(format!("{seconds} s"))
}

/// `E005` of a text with `(E005)` in it.
pub(super) fn code(text: &str) -> Option<&str> {
    text.split('(').skip(1).find_map(|rest| {
        let code = rest.split_once(')')?.0;
        let digits = code.strip_prefix('E')?;
        let is_code = (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        is_code.then_some(code)
    })
}

/// Of an error in the shape of their own; empty where it has none.
pub(super) fn title(body: &Value) -> Option<&str> {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    text("title").or_else(|| text("detail").map(|_| ""))
}

/// Where an uploaded file is, for models.
pub(super) fn file_address(body: &Value) -> Option<String> {
    let address = body.get("urls")?.get("get")?.as_str()?;
    let is_address = address.starts_with("https://") || address.starts_with("http://");
    is_address.then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_called_by_its_name_or_its_version() {
        let version = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa";
        let by_version = |model| Place {
            path: "predictions".to_owned(),
            version: Some(model),
        };
        assert_eq!(Place::of(version), Some(by_version(version)));
        let both = format!("stability-ai/sdxl:{version}");
        assert_eq!(Place::of(&both), Some(by_version(&both)));
        assert_eq!(
            Place::of("minimax/video-01.5"),
            Some(Place {
                path: "models/minimax/video-01.5/predictions".to_owned(),
                version: None
            })
        );
        for nonsense in [
            "",
            "/",
            "flux",
            "a/",
            "/b",
            "a/b/c",
            "../..",
            "a/..",
            "a/b?c",
            "a/b:",
            "a/b:1",
            "a b/c",
            &version[1..],
        ] {
            assert_eq!(Place::of(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_code_is_found_in_a_text() {
        assert_eq!(code("Flagged. (E005) (uIJ6l3ruRD)"), Some("E005"));
        assert_eq!(code("Out of memory (a) (E1001)"), Some("E1001"));
        for without in ["", "E005", "(E)", "(Ex)", "(E005", "(E1234567)", "(prompt)"] {
            assert_eq!(code(without), None, "{without}");
        }
    }
}
