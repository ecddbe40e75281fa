//! fal: a submit, a status, a result.

use crate::harness::{self, Cancel, Delivery, Fails, Harness, Made, Task, fails, picture};
use crate::suite::adapter;
use base64::Engine as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;
use vydra_outbound::provider::{Accepted, ErrorKind, Provider, Request};
use vydra_outbound::providers::fal::Fal;
use vydra_outbound::secret::Secret;
use vydra_outbound::upstream::{Credential, Upstream, UpstreamSettings};
use vydra_testkit::upstream::{KEY, Recorded, Reply};

const ID: &str = "764cabcf-b745-4b3e-ae38-1200304cf45b";

pub(crate) const HARNESS: Harness = Harness {
    provider,
    request,
    before: Vec::new,
    golden,
    works,
    delivery: Delivery::Addresses,
    partial: Ok(partial),
    errors,
    refusals: Ok(refusals),
    empty,
    limited: || Reply::json(429, &json!({"detail": "slow down"})),
    task: Ok(Task {
        accepted,
        unknown_word: || vec![status("WARMING_UP")],
        done: |files| vec![status("COMPLETED"), result(files)],
        gone: || vec![Reply::json(404, &json!({"detail": "Request not found"}))],
        cancel: Ok(Cancel {
            in_time: || {
                vec![Reply::json(
                    202,
                    &json!({"status": "CANCELLATION_REQUESTED"}),
                )]
            },
            too_late: || vec![Reply::json(400, &json!({"status": "ALREADY_COMPLETED"}))],
            golden: |sent| {
                assert_eq!(sent.len(), 1);
                assert_eq!(sent[0].method, "PUT");
                assert_eq!(sent[0].path, format!("/fal-ai/flux-2/requests/{ID}/cancel"));
            },
        }),
    }),
};

adapter!(HARNESS);

fn provider(url: &str) -> Arc<dyn Provider> {
    let upstream = Upstream::new(&UpstreamSettings {
        base_url: url.to_owned(),
        credential: Credential::Scheme("Key", Secret::new(KEY)),
        timeout: Duration::from_secs(10),
    });
    Arc::new(Fal::new("fal", Arc::new(upstream.unwrap())))
}

fn request() -> Request {
    let input = json!({"prompt": "make it winter", "image_size": "square_hd"});
    let mut request =
        harness::request(MediaKind::Image, Action::Edit, "fal-ai/flux-2/edit", &input);
    request.media = vec![picture("image_urls", true)];
    request
}

fn golden(sent: &Recorded) {
    assert_eq!(
        (sent.method.as_str(), sent.path.as_str()),
        ("POST", "/fal-ai/flux-2/edit")
    );
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Key {KEY}").as_str())
    );
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(sent.header("x-fal-no-retry"), Some("1"));
    assert_eq!(sent.header("x-fal-request-timeout"), Some("1800"));
    let picture = base64::prelude::BASE64_STANDARD.encode(b"\x89PNG picture");
    assert_eq!(
        sent.json(),
        json!({
            "prompt": "make it winter", "image_size": "square_hd", "image_urls": [format!("data:image/png;base64,{picture}")],
        })
    );
}

fn accepted() -> Reply {
    // The addresses of the answer lead elsewhere: they are built, not believed.
    Reply::json(
        200,
        &json!({
            "status": "IN_QUEUE", "request_id": ID, "queue_position": 0,
            "response_url": "https://evil.example/r", "status_url": "https://evil.example/s", "cancel_url": "https://evil.example/c",
        }),
    )
}

fn status(word: &str) -> Reply {
    Reply::json(200, &json!({"status": word, "request_id": ID}))
}

fn listed(files: &[Made]) -> Vec<Value> {
    let files = files.iter().map(|file| match file {
        Made::At(url) => json!({"url": url, "content_type": "image/png", "width": 8, "height": 8}),
        Made::File(_) => unreachable!("fal answers with addresses"),
    });
    files.collect()
}

fn result(files: &[Made]) -> Reply {
    Reply::json(
        200,
        &json!({"images": listed(files), "seed": 1, "prompt": "p"}),
    )
}

fn works(files: &[Made]) -> Vec<Reply> {
    vec![
        accepted(),
        status("IN_QUEUE"),
        status("IN_PROGRESS"),
        status("COMPLETED"),
        result(files),
    ]
}

fn partial(files: &[Made]) -> (Request, Vec<Reply>) {
    let request = Request {
        outputs: 3,
        settings: json!({"count_field": "num_images"})
            .as_object()
            .unwrap()
            .clone(),
        ..request()
    };
    let mut images = listed(files);
    images.insert(1, json!({"url": "https://files.example/black.png"}));
    let result = json!({"images": images, "has_nsfw_concepts": [false, true, false]});
    (
        request,
        vec![accepted(), status("COMPLETED"), Reply::json(200, &result)],
    )
}

fn refusals() -> Vec<Vec<Reply>> {
    let black = json!({"images": [{"url": "https://files.example/black.png"}], "has_nsfw_concepts": [true]});
    let told = json!({"detail": [{"loc": ["body", "prompt"], "msg": "no", "type": "content_policy_violation"}]});
    vec![
        vec![accepted(), status("COMPLETED"), Reply::json(200, &black)],
        vec![accepted(), status("COMPLETED"), Reply::json(422, &told)],
    ]
}

fn empty() -> Vec<Vec<Reply>> {
    [
        json!({}),
        json!({"images": []}),
        json!({"images": [{"width": 1}]}),
        json!({"video": null}),
        json!(null),
    ]
    .iter()
    .map(|result| vec![accepted(), status("COMPLETED"), Reply::json(200, result)])
    .collect()
}

fn errors() -> Vec<Fails> {
    let model = |kind: &str| {
        Reply::json(
            422,
            &json!({"detail": [{"loc": ["body"], "msg": "m", "type": kind}]}),
        )
    };
    let queue = |status: u16, kind: &str| {
        Reply::json(status, &json!({"detail": "text", "error_type": kind}))
    };
    let plain = |status: u16, text: &str| Reply::json(status, &json!({"detail": text}));
    let no = Accepted::No;
    let mut rows = vec![
        fails(
            vec![model("content_policy_violation")],
            ErrorKind::ContentRefused,
            no,
        ),
        fails(
            vec![model("image_too_small")],
            ErrorKind::InvalidRequest,
            no,
        ),
        fails(
            vec![model("unsupported_image_format")],
            ErrorKind::InvalidRequest,
            no,
        ),
        fails(vec![model("missing")], ErrorKind::InvalidRequest, no),
        fails(
            vec![model("file_download_error")],
            ErrorKind::InputUnreadable,
            no,
        ),
        fails(
            vec![model("image_load_error")],
            ErrorKind::InputUnreadable,
            no,
        ),
        fails(vec![model("a_new_one")], ErrorKind::InvalidRequest, no),
        fails(vec![plain(422, "only text")], ErrorKind::InvalidRequest, no),
        fails(vec![plain(401, "no")], ErrorKind::Auth, no),
        fails(vec![plain(403, "no")], ErrorKind::Auth, no),
        fails(
            vec![plain(403, "User is locked. Reason: Exhausted balance.")],
            ErrorKind::QuotaExhausted,
            no,
        ),
        fails(
            vec![plain(404, "Application not found")],
            ErrorKind::ModelGone,
            no,
        ),
        fails(vec![plain(402, "pay")], ErrorKind::QuotaExhausted, no),
        fails(
            vec![queue(503, "runner_connection_refused")],
            ErrorKind::Unavailable,
            no,
        ),
        fails(
            vec![queue(502, "runner_incomplete_response")],
            ErrorKind::Unavailable,
            no,
        ),
        fails(
            vec![queue(500, "internal_error")],
            ErrorKind::Unavailable,
            no,
        ),
        fails(
            vec![queue(400, "bad_request")],
            ErrorKind::InvalidRequest,
            no,
        ),
        fails(
            vec![queue(499, "client_cancelled")],
            ErrorKind::Cancelled,
            Accepted::Yes,
        ),
        fails(
            vec![queue(504, "request_timeout").with("x-fal-request-timeout-type", "user")],
            ErrorKind::Expired,
            no,
        ),
        fails(
            vec![
                Reply::json(503, &json!({"detail": "text"}))
                    .with("x-fal-error-type", "runner_scheduling_failure"),
            ],
            ErrorKind::Unavailable,
            no,
        ),
    ];
    // The same of a task that had been taken: it has failed, and is not asked again.
    for (reply, kind) in [
        (model("no_media_generated"), ErrorKind::NoOutput),
        (model("downstream_service_error"), ErrorKind::NoOutput),
        (queue(500, "runner_server_error"), ErrorKind::NoOutput),
        (model("image_too_small"), ErrorKind::InvalidRequest),
    ] {
        rows.push(fails(
            vec![accepted(), status("COMPLETED"), reply],
            kind,
            Accepted::Yes,
        ));
    }
    rows
}

#[tokio::test]
async fn a_model_that_makes_one_file_a_call_is_called_for_each() {
    use vydra_outbound::provider::{Polled, Submitted};
    use vydra_testkit::upstream::Stub;
    let stub = Stub::replying([
        accepted(),
        accepted(),
        Reply::json(
            500,
            &json!({"detail": "text", "error_type": "internal_error"}),
        ),
        status("COMPLETED"),
        result(&[Made::At("https://files.example/0.png".to_owned())]),
        status("COMPLETED"),
        result(&[Made::At("https://files.example/1.png".to_owned())]),
    ])
    .await;
    let provider = provider(&stub.url);
    let request = Request {
        outputs: 3,
        settings: json!({"calls": "one_each"}).as_object().unwrap().clone(),
        ..request()
    };
    let context = harness::context();
    let Submitted::Accepted(task) = provider.submit(&context, request).await.unwrap() else {
        panic!("a queue accepts");
    };
    let Polled::Done(outputs) = provider.poll(&context, &task).await.unwrap() else {
        panic!("both are done");
    };
    assert_eq!(outputs.len(), 2);
}
