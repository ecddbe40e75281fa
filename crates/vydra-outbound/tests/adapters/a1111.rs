//! A1111 and what speaks like it: one call, and pictures as base64.

use crate::harness::{self, Delivery, Fails, Harness, Made, fails, picture};
use crate::suite::adapter;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;
use vydra_outbound::provider::{Accepted, Context, ErrorKind, Provider, Request, Submitted};
use vydra_outbound::providers::a1111::A1111;
use vydra_outbound::secret::Secret;
use vydra_outbound::upstream::{Credential, Upstream, UpstreamSettings};
use vydra_testkit::upstream::{KEY, Recorded, Reply, Stub};

const JOB: &str = "job_01ARZ3NDEKTSV4RRFFQ69G5FAV";
const MODEL: &str = "sd_xl_base_1.0.safetensors";
/// Of a stub's answer that waits for something.
const PATIENCE: Duration = Duration::from_secs(20);

const HARNESS: Harness = Harness {
    before: Vec::new,
    provider,
    request,
    golden,
    works,
    delivery: Delivery::Base64,
    partial: Ok(partial),
    errors,
    refusals: Err("it refuses nothing"),
    empty: || {
        let answers = [
            json!({"images": [], "info": "{}"}),
            json!({"images": [null, ""]}),
        ];
        answers
            .iter()
            .map(|answer| vec![Reply::json(200, answer)])
            .collect()
    },
    limited: || Reply::json(429, &json!({"detail": "slow down"})),
    task: Err("the answer is the result"),
};

adapter!(HARNESS);

fn provider(url: &str) -> Arc<dyn Provider> {
    let upstream = Upstream::new(&UpstreamSettings {
        base_url: url.to_owned(),
        credential: Credential::Basic(Secret::new(format!("user:{KEY}"))),
        timeout: PATIENCE,
    });
    Arc::new(A1111::new("a1111", Arc::new(upstream.unwrap())))
}

fn request() -> Request {
    asking(
        Action::Generate,
        &json!({
            "prompt": "a cat", "width": 1024, "height": 768, "steps": 30,
            "override_settings": {"CLIP_stop_at_last_layers": 2}, "save_images": true,
        }),
    )
}

fn asking(action: Action, input: &Value) -> Request {
    harness::request(MediaKind::Image, action, MODEL, input)
}

fn golden(sent: &Recorded) {
    assert_eq!(
        (sent.method.as_str(), sent.path.as_str()),
        ("POST", "/sdapi/v1/txt2img")
    );
    let pair = BASE64_STANDARD.encode(format!("user:{KEY}"));
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Basic {pair}").as_str())
    );
    assert_eq!(
        sent.json(),
        json!({
            "prompt": "a cat", "width": 1024, "height": 768, "steps": 30, "batch_size": 1, "n_iter": 1,
            "override_settings": {"CLIP_stop_at_last_layers": 2, "sd_model_checkpoint": MODEL},
            "override_settings_restore_afterwards": true, "send_images": true, "save_images": false, "force_task_id": JOB,
        })
    );
}

fn text(file: &Made) -> String {
    match file {
        Made::File(bytes) => BASE64_STANDARD.encode(bytes),
        Made::At(text) => text.clone(),
    }
}

fn listed(files: &[Made]) -> Vec<String> {
    files.iter().map(text).collect()
}

fn drawn(images: &[String], info: &Value) -> Reply {
    Reply::json(
        200,
        &json!({"images": images, "parameters": {}, "info": info.to_string()}),
    )
}

fn works(files: &[Made]) -> Vec<Reply> {
    vec![drawn(&listed(files), &json!({"seed": 1, "all_seeds": [1]}))]
}

fn partial(files: &[Made]) -> (Request, Vec<Reply>) {
    let request = Request {
        outputs: 3,
        ..request()
    };
    let mut images = listed(files);
    images.insert(1, "***".to_owned());
    (request, vec![drawn(&images, &json!({"seed": 1}))])
}

fn errors() -> Vec<Fails> {
    let told = |status: u16, error: &str| {
        let body = json!({"error": error, "detail": "", "body": "", "errors": "text"});
        Reply::json(status, &body)
    };
    let no = Accepted::No;
    let mut rows = Vec::new();
    for (reply, kind, accepted) in [
        (told(422, "HTTPException"), ErrorKind::InvalidRequest, no),
        (told(404, "HTTPException"), ErrorKind::InvalidRequest, no),
        (told(400, "HTTPException"), ErrorKind::InvalidRequest, no),
        (told(500, "OutOfMemoryError"), ErrorKind::Unavailable, no),
        (
            told(500, "RuntimeError"),
            ErrorKind::NoOutput,
            Accepted::Yes,
        ),
        (
            Reply::json(401, &json!({"detail": "Incorrect username or password"})),
            ErrorKind::Auth,
            no,
        ),
        (
            Reply::json(
                422,
                &json!({"detail": [{"loc": ["body"], "msg": "m", "type": "t"}]}),
            ),
            ErrorKind::InvalidRequest,
            no,
        ),
        (
            Reply::new(500, "text/plain", "Internal Server Error"),
            ErrorKind::Unknown,
            Accepted::Unknown,
        ),
        (Reply::new(503, "text/html", ""), ErrorKind::Unavailable, no),
    ] {
        rows.push(fails(vec![reply], kind, accepted));
    }
    rows
}

async fn submitted(stub: &Stub, request: Request) -> Vec<String> {
    let context = harness::context();
    let done = provider(&stub.url).submit(&context, request).await.unwrap();
    let Submitted::Done(outputs) = done else {
        panic!("an answer is the result");
    };
    outputs.iter().map(|output| format!("{output:?}")).collect()
}

#[tokio::test]
async fn an_edit_sends_its_images_as_they_are() {
    let stub = Stub::replying(works(&[Made::File("one".into())])).await;
    let mut request = asking(
        Action::Edit,
        &json!({"prompt": "https://a.example in neon", "denoising_strength": 0.6, "init_images": ["http://10.0.0.1/"], "mask": "x"}),
    );
    request.media = vec![picture("init_images", false), picture("mask", false)];
    submitted(&stub, request).await;
    let sent = &stub.requests()[0];
    assert_eq!(sent.path, "/sdapi/v1/img2img");
    let image = BASE64_STANDARD.encode(b"\x89PNG picture");
    assert_eq!(
        sent.json(),
        json!({
            "prompt": "https://a.example in neon", "denoising_strength": 0.6, "init_images": [image], "mask": image,
            "batch_size": 1, "n_iter": 1, "override_settings": {"sd_model_checkpoint": MODEL},
            "override_settings_restore_afterwards": true, "send_images": true, "save_images": false, "force_task_id": JOB,
        })
    );
}

#[tokio::test]
async fn no_address_is_sent_and_no_edit_without_an_image() {
    let stub = Stub::replying([]).await;
    let address = json!({"prompt": "p", "alwayson_scripts": {"controlnet": {"args": [{"image": " HTTP://10.0.0.1/x"}]}}});
    let mut masked = asking(Action::Generate, &json!({"prompt": "p"}));
    masked.media = vec![picture("mask", false)];
    for request in [
        asking(Action::Generate, &address),
        asking(
            Action::Edit,
            &json!({"prompt": "p", "init_images": ["http://10.0.0.1/x"]}),
        ),
        masked,
    ] {
        let error = provider(&stub.url)
            .submit(&harness::context(), request)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.accepted),
            (ErrorKind::InvalidRequest, Accepted::No)
        );
    }
    assert!(stub.requests().is_empty());
}

#[tokio::test]
async fn only_what_was_asked_for_is_taken() {
    let images = |count: usize| -> Vec<String> {
        let sizes = 1..=count;
        sizes
            .map(|size| BASE64_STANDARD.encode(vec![7; size]))
            .collect()
    };
    for (sent, info, expected) in [
        (3, json!({"index_of_first_image": 1}), [2, 3]),
        (3, json!({"index_of_first_image": 0}), [1, 2]),
        (3, json!({"seed": 1}), [2, 3]),
        (2, json!({"seed": 1}), [1, 2]),
    ] {
        let stub = Stub::replying([drawn(&images(sent), &info)]).await;
        let request = Request {
            outputs: 2,
            ..request()
        };
        let shown: Vec<String> = submitted(&stub, request).await;
        for (output, size) in shown.iter().zip(expected) {
            assert!(
                output.contains(&format!("Bytes({size})")),
                "{info}: {output}"
            );
        }
        assert_eq!(shown.len(), 2, "{info}");
        let sent = stub.requests()[0].json();
        assert_eq!(
            (&sent["batch_size"], &sent["n_iter"]),
            (&json!(1), &json!(2))
        );
    }
    // A route that says for itself how many are made at once.
    let stub = Stub::replying(works(&[Made::File("one".into())])).await;
    submitted(&stub, asking(Action::Generate, &json!({"batch_size": 4}))).await;
    let sent = stub.requests()[0].json();
    assert_eq!((&sent["batch_size"], sent.get("n_iter")), (&json!(4), None));
}

#[tokio::test]
async fn memory_that_is_still_too_small_is_not_tried_again() {
    let body = json!({"error": "OutOfMemoryError", "detail": "", "body": "", "errors": "CUDA"});
    let stub = Stub::replying([Reply::json(500, &body)]).await;
    let context = Context {
        attempt: 2,
        ..harness::context()
    };
    let failed = provider(&stub.url).submit(&context, request()).await;
    let error = failed.unwrap_err();
    assert_eq!(
        (error.kind, error.accepted),
        (ErrorKind::NoOutput, Accepted::Yes)
    );
}

#[tokio::test]
async fn a_check_lists_models_by_all_their_names() {
    let list = json!([{"title": "a.safetensors [123]", "model_name": "a", "hash": null}, {"title": "b"}, 7]);
    let stub = Stub::replying([Reply::json(200, &list)]).await;
    let models = provider(&stub.url).check().await.unwrap().models.unwrap();
    let names: Vec<String> = models.into_keys().collect();
    assert_eq!(names, ["a", "a.safetensors [123]", "b"]);
    assert_eq!(stub.requests()[0].path, "/sdapi/v1/sd-models");
}

/// A server that draws until it is interrupted, and works on `task`.
async fn drawing(task: &'static str, ends_after_looks: usize) -> Stub {
    let (end, ended) = mpsc::channel();
    let (end, ended, looks) = (Mutex::new(end), Mutex::new(ended), Mutex::new(0));
    Stub::answering(move |asked| match asked.path.as_str() {
        "/sdapi/v1/progress?skip_current_image=true" => {
            let mut looks = looks.lock().unwrap();
            *looks += 1;
            if *looks == ends_after_looks {
                end.lock().unwrap().send(()).unwrap();
            }
            Reply::json(
                200,
                &json!({"progress": 0.41, "current_task": task, "state": {"job": "scripts_txt2img"}}),
            )
        }
        "/sdapi/v1/interrupt" => {
            end.lock().unwrap().send(()).unwrap();
            Reply::json(200, &json!({}))
        }
        _ => {
            ended.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            drawn(&[BASE64_STANDARD.encode("half")], &json!({}))
        }
    })
    .await
}

fn interrupts(stub: &Stub) -> usize {
    let requests = stub.requests();
    let interrupts = requests
        .iter()
        .filter(|one| one.path == "/sdapi/v1/interrupt");
    interrupts.count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_job_that_nobody_wants_is_interrupted_and_its_half_picture_dropped() {
    let stub = drawing(JOB, 0).await;
    let context = harness::context();
    context.stop.cancel();
    let failed = provider(&stub.url).submit(&context, request()).await;
    assert_eq!(failed.unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(interrupts(&stub), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_job_of_somebody_else_is_not_interrupted() {
    let stub = drawing("job_of_somebody_else", 2).await;
    let context = harness::context();
    context.stop.cancel();
    let failed = provider(&stub.url).submit(&context, request()).await;
    assert_eq!(failed.unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(interrupts(&stub), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn how_far_it_is_is_told() {
    let stub = drawing(JOB, 2).await;
    let seen = Arc::new(AtomicU8::new(0));
    let noted = Arc::clone(&seen);
    let context = Context {
        progress: Arc::new(move |percent| noted.store(percent, Ordering::Relaxed)),
        ..harness::context()
    };
    provider(&stub.url)
        .submit(&context, request())
        .await
        .unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), 41);
}
