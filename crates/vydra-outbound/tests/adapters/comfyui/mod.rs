//! ComfyUI: a look into the queue and the history, an upload, a graph, and looks again until it has ended.

mod graphs;
mod tasks;

use crate::harness::{self, Cancel, Delivery, Fails, Harness, Made, Task, fails, picture};
use crate::suite::adapter;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;
use vydra_outbound::provider::{Accepted, ErrorKind, Provider, Request};
use vydra_outbound::providers::comfyui::ComfyUi;
use vydra_outbound::secret::Secret;
use vydra_outbound::upstream::{Credential, Upstream, UpstreamSettings};
use vydra_testkit::upstream::{KEY, Recorded, Reply};

/// Of the suite's job.
pub(crate) const ID: &str = "eb6a58e2-7024-8db8-bca0-83228e4219dd";

const HARNESS: Harness = Harness {
    provider,
    request,
    before,
    golden,
    works,
    delivery: Delivery::Own,
    partial: Ok(partial),
    errors,
    refusals: Err("a graph refuses nothing"),
    empty,
    limited: || Reply::json(429, &json!({"error": "slow down"})),
    task: Ok(Task {
        accepted,
        unknown_word: || found(&json!({"status": {"status_str": "paused"}})),
        done: |files| found(&ended(files)),
        gone: || vec![queue(&[], &[]), Reply::json(200, &json!({}))],
        cancel: Ok(Cancel {
            in_time: || {
                vec![
                    queue(&["other"], &[ID]),
                    Reply::new(200, "text/plain", ""),
                    queue(&["other"], &[]),
                ]
            },
            too_late: || vec![queue(&["other"], &[])],
            golden: |sent| {
                let calls: Vec<(&str, &str)> = sent
                    .iter()
                    .map(|sent| (sent.method.as_str(), sent.path.as_str()))
                    .collect();
                let look = ("GET", "/queue");
                assert!(
                    calls == [look] || calls == [look, ("POST", "/queue"), look],
                    "{calls:?}"
                );
                if let Some(removal) = sent.get(1) {
                    assert_eq!(removal.json(), json!({"delete": [ID]}));
                }
            },
        }),
    }),
};

adapter!(HARNESS);

pub(crate) fn comfyui(url: &str) -> ComfyUi {
    let upstream = Upstream::new(&UpstreamSettings {
        base_url: url.to_owned(),
        credential: Credential::bearer(Secret::new(KEY)),
        timeout: Duration::from_secs(10),
    });
    ComfyUi::new("comfyui", Arc::new(upstream.unwrap()))
}

fn provider(url: &str) -> Arc<dyn Provider> {
    Arc::new(comfyui(url))
}

/// An image that is made anew from another, as a graph in the API format.
pub(crate) fn graph() -> Value {
    json!({
        "3": {"class_type": "KSampler", "inputs": {
            "seed": 0, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.6,
            "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["11", 0],
        }},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15.safetensors"}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "vydra", "images": ["8", 0]}},
        "10": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "11": {"class_type": "VAEEncode", "inputs": {"pixels": ["10", 0], "vae": ["4", 2]}},
    })
}

pub(crate) fn request() -> Request {
    let input =
        json!({"prompt": "make it winter", "steps": 30, "unmapped": true, "negative": null});
    let mut request = harness::request(MediaKind::Image, Action::Edit, "img2img", &input);
    request.media = vec![picture("image", false)];
    request.settings = json!({
        "graph": graph().to_string(),
        "inputs": {"prompt": "6.text", "negative": "7.text", "steps": "3.steps", "image": "10.image"},
        "outputs": ["9"],
        "seed": "3.seed",
    })
    .as_object()
    .unwrap()
    .clone();
    request
}

/// Text to image, without a file to upload.
pub(crate) fn plain() -> Request {
    let mut request = request();
    request.media = Vec::new();
    request
}

pub(crate) fn queue(running: &[&str], pending: &[&str]) -> Reply {
    let items = |ids: &[&str]| -> Vec<Value> {
        let items = ids.iter().enumerate();
        items
            .map(|(number, id)| json!([number, id, graph(), {}, ["9"]]))
            .collect()
    };
    Reply::json(
        200,
        &json!({"queue_running": items(running), "queue_pending": items(pending)}),
    )
}

/// The server has never heard of it.
pub(crate) fn unheard() -> Vec<Reply> {
    vec![queue(&["other"], &[]), Reply::json(200, &json!({}))]
}

fn before() -> Vec<Reply> {
    let mut replies = unheard();
    replies.push(uploaded("img.png"));
    replies
}

pub(crate) fn uploaded(name: &str) -> Reply {
    Reply::json(
        200,
        &json!({"name": name, "subfolder": "vydra", "type": "input"}),
    )
}

fn golden(sent: &Recorded) {
    assert_eq!(
        (sent.method.as_str(), sent.path.as_str()),
        ("POST", "/prompt")
    );
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(sent.header("origin"), None);
    let mut filled = graph();
    filled["6"]["inputs"]["text"] = json!("make it winter");
    filled["3"]["inputs"]["steps"] = json!(30);
    filled["3"]["inputs"]["seed"] = sent.json()["prompt"]["3"]["inputs"]["seed"].clone();
    filled["10"]["inputs"]["image"] = json!("vydra/img.png");
    assert_eq!(
        sent.json(),
        json!({"prompt": filled, "client_id": ID, "prompt_id": ID})
    );
    let seed = filled["3"]["inputs"]["seed"].as_u64().unwrap();
    assert!(seed > 0 && u32::try_from(seed).is_ok(), "{seed}");
}

pub(crate) fn accepted() -> Reply {
    Reply::json(
        200,
        &json!({"prompt_id": ID, "number": 4, "node_errors": {}}),
    )
}

fn ended(files: &[Made]) -> Value {
    let images: Vec<Value> = (0..files.len())
        .map(|number| json!({"filename": format!("vydra_{number}_.png"), "subfolder": "", "type": "output"}))
        .collect();
    success(&json!({"9": {"images": images}}))
}

pub(crate) fn success(outputs: &Value) -> Value {
    json!({"prompt": [], "outputs": outputs, "status": {"status_str": "success", "completed": true, "messages": []}})
}

/// A poll that finds it in the history.
pub(crate) fn found(entry: &Value) -> Vec<Reply> {
    vec![
        queue(&["other"], &[]),
        Reply::json(200, &json!({ID: entry})),
    ]
}

fn works(files: &[Made]) -> Vec<Reply> {
    let no_socket = Reply::new(404, "text/plain", "404: Not Found");
    let mut replies = vec![
        accepted(),
        queue(&["other"], &[ID]),
        queue(&[ID], &["other"]),
        no_socket,
    ];
    replies.extend(found(&ended(files)));
    replies
}

fn partial(files: &[Made]) -> (Request, Vec<Reply>) {
    let mut entry = ended(files);
    let images = entry["outputs"]["9"]["images"].as_array_mut().unwrap();
    images.insert(1, json!({"subfolder": "", "type": "output"}));
    let request = Request {
        outputs: 3,
        ..request()
    };
    let mut replies = vec![accepted()];
    replies.extend(found(&entry));
    (request, replies)
}

fn empty() -> Vec<Vec<Reply>> {
    [
        json!({}),
        json!({"9": {}}),
        json!({"9": {"images": []}}),
        json!({"9": {"images": [{"filename": "", "type": "output"}, "a.png", 5]}}),
        json!({"9": {"text": ["a.png"]}}),
        // A node that nobody asked for.
        json!({"12": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}}),
        json!(null),
    ]
    .iter()
    .map(|outputs| {
        let mut replies = vec![accepted()];
        replies.extend(found(&success(outputs)));
        replies
    })
    .collect()
}

pub(crate) fn refused(node: &str, kind: &str, input: &str) -> Reply {
    let fault =
        json!({"type": kind, "message": "m", "details": "d", "extra_info": {"input_name": input}});
    Reply::json(
        400,
        &json!({
            "error": {"type": "prompt_outputs_failed_validation", "message": "m", "details": "", "extra_info": {}},
            "node_errors": {node: {"errors": [fault], "dependent_outputs": ["9"], "class_type": "C"}},
        }),
    )
}

fn failed(event: &str, data: &Value) -> Vec<Reply> {
    let messages = json!([["execution_start", {"prompt_id": ID}], [event, data]]);
    let status = json!({"status_str": "error", "completed": false, "messages": messages});
    let mut replies = vec![accepted()];
    replies.extend(found(&json!({"outputs": {}, "status": status})));
    replies
}

fn errors() -> Vec<Fails> {
    let (no, yes) = (Accepted::No, Accepted::Yes);
    let plain = |status: u16| Reply::new(status, "text/plain", "text");
    let typed = |kind: &str| {
        Reply::json(
            400,
            &json!({"error": {"type": kind, "message": "m", "details": "d", "extra_info": {}}, "node_errors": []}),
        )
    };
    let raised = |name: &str| {
        let data = json!({"exception_type": name, "exception_message": "m", "node_id": "3", "traceback": []});
        failed("execution_error", &data)
    };
    let mut rows = vec![
        fails(
            failed("execution_interrupted", &json!({})),
            ErrorKind::Cancelled,
            yes,
        ),
        fails(raised("torch.OutOfMemoryError"), ErrorKind::NoOutput, yes),
        fails(raised("a text with spaces"), ErrorKind::NoOutput, yes),
        fails(
            raised("PIL.UnidentifiedImageError"),
            ErrorKind::InputUnreadable,
            yes,
        ),
        fails(
            failed("execution_error", &json!(null)),
            ErrorKind::NoOutput,
            yes,
        ),
        fails(vec![plain(500)], ErrorKind::Unknown, Accepted::Unknown),
    ];
    for (reply, kind) in [
        (
            refused("4", "value_not_in_list", "ckpt_name"),
            ErrorKind::InvalidRequest,
        ),
        (
            refused("3", "value_bigger_than_max", "steps"),
            ErrorKind::InvalidRequest,
        ),
        (typed("prompt_no_outputs"), ErrorKind::InvalidRequest),
        (typed("invalid_prompt"), ErrorKind::InvalidRequest),
        (plain(400), ErrorKind::InvalidRequest),
        (plain(413), ErrorKind::InvalidRequest),
        (plain(401), ErrorKind::Auth),
        (plain(403), ErrorKind::Auth),
        (plain(404), ErrorKind::ModelGone),
        (plain(503), ErrorKind::Unavailable),
    ] {
        rows.push(fails(vec![reply], kind, no));
    }
    rows
}
