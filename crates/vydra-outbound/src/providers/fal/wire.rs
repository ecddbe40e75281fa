//! What goes to the queue of fal, and what comes from it.

use serde::Deserialize;
use serde_json::Value;

/// The answer to a submit.
#[derive(Debug, Deserialize)]
pub(super) struct Queued {
    pub(super) request_id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub(super) status: String,
}

/// One element of a model's error list.
#[derive(Debug, Deserialize)]
pub(super) struct ModelError {
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// Both families of errors: a list of a model's, or a text with a type of the queue's own.
#[derive(Debug, Deserialize)]
pub(super) struct Failed {
    pub(super) detail: Value,
    #[serde(default)]
    pub(super) error_type: Option<String>,
}

impl Failed {
    pub(super) fn model_errors(&self) -> Vec<ModelError> {
        let list = self.detail.as_array().into_iter().flatten();
        list.filter_map(|error| ModelError::deserialize(error).ok())
            .collect()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct File {
    pub(super) url: String,
}

/// The files of a result, in the order in which they are listed, under whichever name the model gives them.
pub(super) fn files(result: &Value) -> Vec<(usize, String)> {
    let listed = |name: &str| {
        result
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let many = ["images", "videos", "audios"].into_iter().flat_map(listed);
    let single = ["image", "video", "audio", "audio_file", "audio_url"];
    let one = single.into_iter().filter_map(|name| result.get(name));
    many.chain(one)
        .enumerate()
        .filter_map(|(number, file)| match file {
            Value::String(url) => Some((number, url.clone())),
            other => File::deserialize(other).ok().map(|file| (number, file.url)),
        })
        .collect()
}

/// Whether the file at this place is blacked out.
pub(super) fn is_refused(result: &Value, number: usize) -> bool {
    result
        .get("has_nsfw_concepts")
        .and_then(|flags| flags.get(number))
        .and_then(Value::as_bool)
        .unwrap_or(false)
}
