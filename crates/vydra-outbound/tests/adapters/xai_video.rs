//! xAI's videos: a name, and polls until it is done.

use crate::harness::{self, Delivery, Fails, Harness, Made, Task, fails, picture};
use crate::suite::adapter;
use crate::xai::{data_uri, provider, shapes};
use bytes::Bytes;
use serde_json::{Value, json};
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;
use vydra_outbound::provider::{Accepted, ErrorKind, MediaInput, Polled, Request, Submitted};
use vydra_testkit::upstream::{KEY, Recorded, Reply, Stub};

const ID: &str = "d97415a1-5796-b7ec-379f-4e6819e08fdf";

const HARNESS: Harness = Harness {
    before: Vec::new,
    provider,
    request,
    golden,
    works,
    delivery: Delivery::Addresses,
    partial: Err("a call makes one video"),
    errors,
    refusals: Ok(refusals),
    empty,
    limited: || Reply::json(429, &json!({"error": "Too many requests"})),
    task: Ok(Task {
        accepted,
        unknown_word: || vec![stands(&json!({"status": "dreaming"}))],
        done: |files| vec![done(files)],
        gone: || {
            vec![Reply::json(
                404,
                &json!({"code": "not-found", "error": "no"}),
            )]
        },
        cancel: Err("there is no such call"),
    }),
};

adapter!(HARNESS);

fn request() -> Request {
    let input = json!({"prompt": "it begins to snow", "duration": 8, "resolution": "720p"});
    let model = "grok-imagine-video";
    let mut request = harness::request(MediaKind::Video, Action::Generate, model, &input);
    request.media = vec![picture("image", false)];
    request
}

fn golden(sent: &Recorded) {
    assert_eq!(
        (sent.method.as_str(), sent.path.as_str()),
        ("POST", "/videos/generations")
    );
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(
        sent.json(),
        json!({
            "model": "grok-imagine-video", "prompt": "it begins to snow", "duration": 8, "resolution": "720p",
            "image": {"url": data_uri()},
        })
    );
}

fn accepted() -> Reply {
    Reply::json(200, &json!({"request_id": ID}))
}

fn stands(body: &Value) -> Reply {
    Reply::json(200, body)
}

fn done(files: &[Made]) -> Reply {
    let Some(Made::At(url)) = files.first() else {
        unreachable!("a video comes as an address");
    };
    stands(&json!({
        "status": "done", "video": {"url": url, "duration": 8.5, "respect_moderation": true}, "progress": 100,
        "usage": {"cost_in_usd_ticks": 4_200_000_000_u64},
    }))
}

fn works(files: &[Made]) -> Vec<Reply> {
    vec![
        accepted(),
        Reply::new(202, "application/json", ""),
        Reply::json(202, &json!({"status": "pending", "progress": 20})),
        stands(&json!({"status": "pending", "progress": 60})),
        done(files),
    ]
}

fn refusals() -> Vec<Vec<Reply>> {
    [
        json!({"status": "done", "video": {"url": "https://files.example/a.mp4", "respect_moderation": false}}),
        json!({"status": "done", "video": {"url": "", "respect_moderation": false}}),
        json!({"status": "failed", "error": {"code": "permission_denied", "message": "Video rejected by content moderation."}}),
    ]
    .iter()
    .map(|body| vec![accepted(), stands(body)])
    .collect()
}

fn empty() -> Vec<Vec<Reply>> {
    [
        json!({"status": "done"}),
        json!({"status": "done", "video": null}),
        json!({"status": "done", "video": {"url": ""}}),
        json!({"status": "done", "video": {"url": "video.mp4"}}),
        json!({"status": "failed", "error": {"code": "internal_error", "message": "oh no"}}),
        json!({"status": "failed"}),
    ]
    .iter()
    .map(|body| vec![accepted(), stands(body)])
    .collect()
}

fn errors() -> Vec<Fails> {
    let mut rows = crate::xai::errors();
    for (body, kind) in [
        (json!({"status": "expired"}), ErrorKind::Expired),
        (
            json!({"status": "failed", "error": {"code": "invalid-argument", "message": "bad image"}}),
            ErrorKind::InvalidRequest,
        ),
    ] {
        rows.push(fails(vec![accepted(), stands(&body)], kind, Accepted::Yes));
    }
    // A poll that was answered so ends the task, which had been taken.
    for (status, text, kind) in [
        (400, "bad image", ErrorKind::InvalidRequest),
        (
            403,
            "Content violates usage guidelines",
            ErrorKind::ContentRefused,
        ),
        (410, "over", ErrorKind::TaskGone),
    ] {
        for reply in shapes(status, "c", text) {
            rows.push(fails(vec![accepted(), reply], kind, Accepted::Yes));
        }
    }
    // Of our key it says nothing but that the question was refused: the task is asked for again.
    for reply in shapes(400, "c", "Incorrect API key provided") {
        rows.push(fails(
            vec![accepted(), reply],
            ErrorKind::Auth,
            Accepted::No,
        ));
    }
    rows
}

fn film(field: &str) -> MediaInput {
    MediaInput {
        kind: MediaKind::Video,
        media_type: "video/mp4".to_owned(),
        bytes: Bytes::from_static(b"film"),
        ..picture(field, false)
    }
}

async fn sent(request: Request) -> Recorded {
    let stub = Stub::replying([accepted()]).await;
    let provider = provider(&stub.url);
    provider.submit(&harness::context(), request).await.unwrap();
    stub.requests().remove(0)
}

#[tokio::test]
async fn a_video_is_made_from_a_text_or_from_references() {
    let of_text = sent(Request {
        media: Vec::new(),
        ..request()
    })
    .await;
    assert_eq!(of_text.path, "/videos/generations");
    assert!(of_text.json().get("image").is_none());
    let of_references = sent(Request {
        media: vec![picture("reference_images", true)],
        ..request()
    })
    .await;
    assert_eq!(of_references.path, "/videos/generations");
    assert_eq!(
        of_references.json()["reference_images"],
        json!([{"url": data_uri()}])
    );
    let of_a_list_of_one = sent(Request {
        media: vec![picture("image", true)],
        ..request()
    })
    .await;
    assert_eq!(of_a_list_of_one.json()["image"], json!({"url": data_uri()}));
}

#[tokio::test]
async fn a_video_is_edited_or_extended() {
    let edited = sent(Request {
        media: vec![film("video")],
        ..request()
    })
    .await;
    assert_eq!(edited.path, "/videos/edits");
    assert_eq!(
        edited.json()["video"],
        json!({"url": "data:video/mp4;base64,ZmlsbQ=="})
    );
    let settings = json!({"call": "extensions"});
    let extended = sent(Request {
        media: vec![film("video")],
        settings: settings.as_object().unwrap().clone(),
        ..request()
    })
    .await;
    assert_eq!(extended.path, "/videos/extensions");
    for nonsense in [json!("../models"), json!(""), json!(5)] {
        let settings = json!({"call": nonsense});
        let request = Request {
            settings: settings.as_object().unwrap().clone(),
            ..request()
        };
        let nowhere = provider("http://127.0.0.1:9");
        let error = nowhere
            .submit(&harness::context(), request)
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidRequest, "{error}");
    }
}

#[tokio::test]
async fn a_video_tells_its_progress_its_length_and_its_cost() {
    let files = [Made::At("https://files.example/0.mp4".to_owned())];
    let stub = Stub::replying(works(&files)).await;
    let provider = provider(&stub.url);
    let context = harness::context();
    let Submitted::Accepted(task) = provider.submit(&context, request()).await.unwrap() else {
        panic!("a video is a task");
    };
    for expected in [None, Some(20), Some(60)] {
        let polled = provider.poll(&context, &task).await.unwrap();
        assert!(matches!(polled, Polled::Pending { progress } if progress == expected));
    }
    let Polled::Done(outputs) = provider.poll(&context, &task).await.unwrap() else {
        panic!("it is done");
    };
    assert_eq!(outputs[0].duration_ms, Some(8_500));
    assert_eq!(stub.requests()[1].path, format!("/videos/{ID}"));
    let receipt = context.receipt.lock().unwrap().clone();
    assert_eq!(receipt.cost.as_deref(), Some("0.42 USD"));
    assert_eq!(receipt.request_id.as_deref(), Some(ID));
}

#[tokio::test]
async fn an_address_without_a_status_is_a_video() {
    let body =
        json!({"video": {"url": "https://files.example/0.mp4"}, "model": "grok-imagine-video"});
    let stub = Stub::replying([accepted(), stands(&body)]).await;
    let provider = provider(&stub.url);
    let context = harness::context();
    let Submitted::Accepted(task) = provider.submit(&context, request()).await.unwrap() else {
        panic!("a video is a task");
    };
    let polled = provider.poll(&context, &task).await.unwrap();
    assert!(matches!(polled, Polled::Done(outputs) if outputs.len() == 1));
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_no_task() {
    for nonsense in [
        "video:",
        "video:..",
        "video:%2e%2e",
        "video:a/b",
        "video:a?b",
        ID,
    ] {
        let nobody = Stub::replying([]).await;
        let error = provider(&nobody.url)
            .poll(&harness::context(), nonsense)
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::TaskGone, "{nonsense}");
        assert!(nobody.requests().is_empty(), "{nonsense}");
    }
    // Nor is one that the answer to a purchase gives.
    let stub = Stub::replying([Reply::json(200, &json!({"request_id": "../models"}))]).await;
    let error = provider(&stub.url)
        .submit(&harness::context(), request())
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.accepted),
        (ErrorKind::Protocol, Accepted::Unknown)
    );
}
