//! What Vertex AI answers.

use crate::provider::ErrorKind;
use crate::providers::google::{list, tells_of_policy, text};
use serde_json::Value;

/// What an operation's `google.rpc.Code` means; whichever is not here left nothing behind.
const CODES: [(i64, ErrorKind); 7] = [
    (1, ErrorKind::Cancelled),
    (INVALID_ARGUMENT, ErrorKind::InvalidRequest),
    (4, ErrorKind::TimedOut),
    (5, ErrorKind::ModelGone),
    (7, ErrorKind::Auth),
    (9, ErrorKind::Auth),
    (16, ErrorKind::Auth),
];
const INVALID_ARGUMENT: i64 = 3;

#[derive(Debug)]
pub(super) enum File {
    Base64(String),
    At(String),
}

#[derive(Debug)]
pub(super) enum Operation {
    Running,
    Failed { code: i64, kind: ErrorKind },
    Done { files: Vec<File>, is_filtered: bool },
}

impl Operation {
    pub(super) fn read(body: &Value) -> Option<Self> {
        let is_done = body.as_object()?.get("done").and_then(Value::as_bool);
        if is_done != Some(true) {
            return Some(Self::Running);
        }
        if let Some(error) = body.get("error").filter(|error| error.is_object()) {
            return Some(failed(error));
        }
        let response = body.get("response").unwrap_or(&Value::Null);
        Some(Self::Done {
            files: list(response, "videos").filter_map(file).collect(),
            is_filtered: response
                .get("raiMediaFilteredCount")
                .and_then(Value::as_u64)
                .is_some_and(|count| count > 0)
                || list(response, "raiMediaFilteredReasons").next().is_some(),
        })
    }
}

fn failed(error: &Value) -> Operation {
    let code = error.get("code").and_then(Value::as_i64).unwrap_or(0);
    let message = text(error, "message").unwrap_or_default();
    let known = CODES.iter().find(|(known, _)| *known == code);
    let kind = match known {
        Some((INVALID_ARGUMENT, _)) if tells_of_policy(&message) => ErrorKind::ContentRefused,
        Some((_, kind)) => *kind,
        None => ErrorKind::NoOutput,
    };
    Operation::Failed { code, kind }
}

fn file(video: &Value) -> Option<File> {
    let bytes = text(video, "bytesBase64Encoded").map(File::Base64);
    bytes.or_else(|| text(video, "gcsUri").map(File::At))
}
