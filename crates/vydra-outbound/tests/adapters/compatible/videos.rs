//! Videos: a submit, a status, a file on the server.

use super::provider;
use crate::form::{self, parts};
use crate::harness::{self, Cancel, Delivery, Fails, Harness, Made, Task, fails, picture};
use crate::openai::{self, limited};
use crate::suite::adapter;
use serde_json::{Value, json};
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;
use vydra_outbound::provider::{
    Accepted, ErrorKind, OutputSource, Polled, Provider, Request, Submitted,
};
use vydra_testkit::upstream::{KEY, Recorded, Reply, Stub};

const ID: &str = "video_6923a0c2";

pub(crate) const HARNESS: Harness = Harness {
    before: Vec::new,
    provider,
    request,
    golden,
    works,
    delivery: Delivery::Own,
    partial: Ok(partial),
    errors,
    refusals: Ok(refusals),
    empty,
    limited,
    task: Ok(Task {
        accepted,
        unknown_word: || vec![status("warming_up")],
        done: |files| vec![status("completed"), content(files)],
        gone: || vec![Reply::json(404, &json!({"detail": "Video not found"}))],
        cancel: Ok(Cancel {
            in_time: || vec![Reply::json(200, &json!({"id": ID, "deleted": true}))],
            too_late: || vec![Reply::json(409, &json!({"detail": "completed"}))],
            golden: |sent| {
                assert_eq!(sent.len(), 1);
                assert_eq!(sent[0].method, "DELETE");
                assert_eq!(sent[0].path, format!("/v1/videos/{ID}"));
            },
        }),
    }),
};

adapter!(HARNESS);

fn request() -> Request {
    let input = json!({"prompt": "waves", "seconds": "4", "size": "832x480"});
    harness::request(MediaKind::Video, Action::Generate, "Wan-AI/Wan2.2", &input)
}

pub(crate) fn from_a_picture() -> Request {
    Request {
        media: vec![picture("input_reference", false)],
        ..request()
    }
}

fn golden(sent: &Recorded) {
    assert_eq!(
        (sent.method.as_str(), sent.path.as_str()),
        ("POST", "/v1/videos")
    );
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(
        sent.json(),
        json!({"model": "Wan-AI/Wan2.2", "prompt": "waves", "seconds": "4", "size": "832x480"})
    );
}

fn accepted() -> Reply {
    status("queued")
}

fn status(word: &str) -> Reply {
    video(&json!({"id": ID, "object": "video", "status": word, "progress": 40}))
}

fn failed(error: &Value) -> Reply {
    video(&json!({"id": ID, "object": "video", "status": "failed", "error": error}))
}

fn video(body: &Value) -> Reply {
    Reply::json(200, body).with("openai-poll-after-ms", "2000")
}

fn content(files: &[Made]) -> Reply {
    match files.first() {
        Some(Made::File(bytes)) => Reply::new(200, "video/mp4", bytes.clone()),
        other => unreachable!("the file is on the server: {other:?}"),
    }
}

fn works(files: &[Made]) -> Vec<Reply> {
    vec![
        accepted(),
        status("queued"),
        status("in_progress"),
        status("completed"),
        content(files),
    ]
}

fn partial(files: &[Made]) -> (Request, Vec<Reply>) {
    let request = Request {
        outputs: 3,
        settings: json!({"calls": "one_each"}).as_object().unwrap().clone(),
        ..request()
    };
    let replies = vec![
        accepted(),
        accepted(),
        accepted(),
        status("completed"),
        content(files),
        failed(&json!({"code": "moderation_blocked"})),
        status("completed"),
        content(files),
    ];
    (request, replies)
}

fn refusals() -> Vec<Vec<Reply>> {
    let error = json!({"code": "moderation_blocked", "message": "no"});
    vec![
        vec![accepted(), failed(&error)],
        vec![Reply::json(200, &json!({"error": error}))],
    ]
}

fn empty() -> Vec<Vec<Reply>> {
    let nowhere = Reply::new(302, "text/plain", "").with("location", "ftp://files.example/x");
    vec![
        vec![accepted(), failed(&json!(null))],
        vec![accepted(), failed(&json!({"code": "internal_error"}))],
        vec![accepted(), failed(&json!({"code": "rate_limit_exceeded"}))],
        vec![accepted(), failed(&json!({"code": 503}))],
        vec![accepted(), status("completed"), nowhere],
    ]
}

fn errors() -> Vec<Fails> {
    let mut rows = openai::errors();
    rows.push(fails(
        vec![Reply::json(405, &json!({"detail": "Method Not Allowed"}))],
        ErrorKind::InvalidRequest,
        Accepted::No,
    ));
    let told = [
        ("content_policy_violation", ErrorKind::ContentRefused),
        ("insufficient_quota", ErrorKind::QuotaExhausted),
        ("model_not_found", ErrorKind::ModelGone),
        ("a_new_one", ErrorKind::NoOutput),
    ];
    for (code, kind) in told {
        let replies = vec![accepted(), failed(&json!({"code": code}))];
        rows.push(fails(replies, kind, Accepted::Yes));
    }
    // Nobody knows what an id leads to that is none.
    for id in [json!("."), json!(".."), json!(""), json!(null), json!(7)] {
        let reply = Reply::json(200, &json!({"id": id, "status": "queued"}));
        rows.push(fails(vec![reply], ErrorKind::Protocol, Accepted::Unknown));
    }
    rows
}

async fn begun(provider: &dyn Provider, request: Request) -> String {
    match provider.submit(&harness::context(), request).await.unwrap() {
        Submitted::Accepted(task) => task,
        Submitted::Done(outputs) => panic!("{outputs:?}"),
    }
}

async fn found(replies: Vec<Reply>) -> (Stub, OutputSource) {
    let stub = Stub::replying([vec![accepted(), status("completed")], replies].concat()).await;
    let provider = provider(&stub.url);
    let task = begun(provider.as_ref(), request()).await;
    match provider.poll(&harness::context(), &task).await.unwrap() {
        Polled::Done(mut outputs) => (stub, outputs.remove(0).source),
        Polled::Pending { .. } => panic!("it is done"),
    }
}

#[tokio::test]
async fn an_image_to_start_from_makes_it_a_form() {
    for (media, settings) in [
        (vec![picture("input_reference", false)], json!({})),
        (Vec::new(), json!({"body": "form"})),
    ] {
        let stub = Stub::replying([accepted()]).await;
        let mut expected = vec![
            form::text("model", "Wan-AI/Wan2.2"),
            form::text("prompt", "waves"),
            form::text("seconds", "4"),
            form::text("size", "832x480"),
        ];
        if !media.is_empty() {
            let file = form::file(
                "input_reference",
                "input-0.png",
                "image/png",
                b"\x89PNG picture",
            );
            expected.insert(0, file);
        }
        let request = Request {
            media,
            settings: settings.as_object().unwrap().clone(),
            ..request()
        };
        begun(provider(&stub.url).as_ref(), request).await;
        assert_eq!(parts(&stub.requests()[0]), expected);
    }
}

#[tokio::test]
async fn how_far_it_is_is_told() {
    let stub = Stub::replying([
        accepted(),
        status("in_progress"),
        video(&json!({"status": "in_progress", "progress": 900})),
        video(&json!({"status": "in_progress", "progress": "x"})),
        video(&json!({"status": "in_progress"})),
    ])
    .await;
    let provider = provider(&stub.url);
    let task = begun(provider.as_ref(), request()).await;
    for expected in [Some(40), Some(100), None, None] {
        match provider.poll(&harness::context(), &task).await.unwrap() {
            Polled::Pending { progress } => assert_eq!(progress, expected),
            Polled::Done(outputs) => panic!("{outputs:?}"),
        }
    }
}

#[tokio::test]
async fn the_file_is_the_content_of_the_task() {
    let bytes = || Reply::new(200, "video/mp4", "a film");
    let (stub, source) = found(vec![bytes(), bytes()]).await;
    let OutputSource::Own(upstream, path) = source else {
        panic!("{source:?}");
    };
    let mut body = upstream.open(&path, 100).await.unwrap();
    assert_eq!(body.piece().await.unwrap().unwrap(), "a film");
    let asked = stub.requests().pop().unwrap();
    assert_eq!(asked.path, format!("/v1/videos/{ID}/content"));
}

/// A file elsewhere is read without the key, by whoever reads what others name.
#[tokio::test]
async fn a_redirect_is_followed_with_the_key_on_the_same_server_alone() {
    let moved = |to: &str| Reply::new(302, "text/plain", "").with("location", to);
    let (_stub, source) = found(vec![moved("https://bucket.example/film?signature=1")]).await;
    assert!(
        matches!(&source, OutputSource::Url(url) if url == "https://bucket.example/film?signature=1")
    );
    for place in ["/files/film.mp4", "../../../files/film.mp4"] {
        let film = Reply::new(200, "video/mp4", "a film");
        let (stub, source) = found(vec![moved(place), film]).await;
        let OutputSource::Own(upstream, path) = source else {
            panic!("{source:?}");
        };
        upstream.open(&path, 100).await.unwrap();
        assert_eq!(stub.requests().pop().unwrap().path, "/files/film.mp4");
    }
}

#[tokio::test]
async fn a_server_may_answer_with_the_video() {
    let done = json!({"id": ID, "status": "completed", "data": [{"b64_json": "AAAAGGZ0eXA="}]});
    let stub = Stub::replying([Reply::json(200, &done)]).await;
    let submitted = provider(&stub.url)
        .submit(&harness::context(), request())
        .await
        .unwrap();
    assert!(
        matches!(&submitted, Submitted::Done(outputs) if matches!(outputs[0].source, OutputSource::Bytes(_)))
    );
}

#[tokio::test]
async fn no_task_leads_to_another_call() {
    let stub = Stub::replying([]).await;
    let provider = provider(&stub.url);
    for task in [
        "",
        "videos:",
        "videos:,",
        "videos:a,",
        "videos:..",
        "videos:%2e%2E",
        "videos:a/../../models",
        "videos:a?b",
        "videos:a#b",
        "images:a",
        ID,
    ] {
        let error = provider.poll(&harness::context(), task).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::TaskGone, "{task}");
        provider.cancel(task).await;
    }
    assert!(stub.requests().is_empty());
}
