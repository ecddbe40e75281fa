//! What goes to a server that speaks as AUTOMATIC1111's does, and what comes from it.

use crate::provider::Request;
use serde_json::{Map, Value, json};
use vydra_core::job::Action;

const INIT: &str = "init_images";
const MASK: &str = "mask";
/// Texts that people write, which may name an address without anybody reading it.
const PROSE: [&str; 2] = ["prompt", "negative_prompt"];

/// The path and the body of a request.
pub(super) fn sent(mut request: Request) -> Result<(&'static str, Value), &'static str> {
    // Only files that we have read ourselves are sent.
    for field in [INIT, MASK] {
        request.input.shift_remove(field);
    }
    let is_prose = |name: &str| PROSE.contains(&name);
    let mut others = request.input.iter().filter(|(name, _)| !is_prose(name));
    if others.any(|(_, value)| names_an_address(value)) {
        return Err("an address in a field");
    }
    let mut has = (false, false);
    for media in &mut request.media {
        has.0 |= media.field == INIT;
        has.1 |= media.field == MASK;
        media.listed |= media.field == INIT;
    }
    let path = match (has, request.action) {
        ((true, _), _) => "sdapi/v1/img2img",
        ((false, false), Action::Generate) => "sdapi/v1/txt2img",
        ((false, _), _) => return Err("no init_images to change"),
    };
    let mut body = request.body(|media| json!(media.base64()));
    if !body.contains_key("batch_size") && !body.contains_key("n_iter") {
        // One after the other needs no more memory than one.
        body.insert("batch_size".to_owned(), json!(1));
        body.insert("n_iter".to_owned(), json!(request.outputs));
    }
    choose(&mut body, &request.model);
    for (name, value) in [
        ("override_settings_restore_afterwards", json!(true)),
        ("send_images", json!(true)),
        ("save_images", json!(false)),
        ("force_task_id", json!(request.job)),
    ] {
        body.insert(name.to_owned(), value);
    }
    Ok((path, Value::Object(body)))
}

/// The model is a setting of the server, changed for one call.
fn choose(body: &mut Map<String, Value>, model: &str) {
    let settings = body
        .entry("override_settings")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(settings) = settings {
        settings.insert("sd_model_checkpoint".to_owned(), json!(model));
    }
}

/// The server would read it from within its network.
fn names_an_address(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            let text = text.trim_start().to_ascii_lowercase();
            text.starts_with("http://") || text.starts_with("https://")
        }
        Value::Array(values) => values.iter().any(names_an_address),
        Value::Object(fields) => fields.values().any(names_an_address),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// So many images as were asked for, without the sheet of all of them that may come first; None if there is no list.
pub(super) fn images(result: &Value, asked: usize) -> Option<Vec<&str>> {
    let images = result.get("images")?.as_array()?;
    let sheets = first_image(result).unwrap_or(usize::from(images.len() > asked));
    let images = images.iter().filter_map(Value::as_str);
    Some(images.skip(sheets).take(asked).collect())
}

/// As the server counts it, in a text that is JSON itself.
fn first_image(result: &Value) -> Option<usize> {
    let info: Value = serde_json::from_str(result.get("info")?.as_str()?).ok()?;
    usize::try_from(info.get("index_of_first_image")?.as_u64()?).ok()
}

/// How far it is, if it works on this job.
pub(super) fn progress_of(progress: &Value, job: &str) -> Option<f64> {
    let names = ["/current_task", "/state/job"];
    let mut names = names.iter().filter_map(|place| progress.pointer(place));
    if !names.any(|name| name.as_str() == Some(job)) {
        return None;
    }
    Some(
        progress
            .get("progress")
            .and_then(Value::as_f64)
            .unwrap_or(0.0)
            * 100.0,
    )
}

/// The names by which a model may be chosen.
pub(super) fn model_names(model: &Value) -> impl Iterator<Item = &str> {
    let names = ["title", "model_name"].into_iter();
    names.filter_map(|name| model.get(name)?.as_str())
}
