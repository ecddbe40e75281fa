//! xAI's images: one call, whose answer they are.

use crate::harness::{self, Delivery, Fails, Harness, Made, fails, picture};
use crate::suite::adapter;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;
use vydra_outbound::provider::{
    Accepted, Checkup, ErrorKind, Listed, OutputSource, Provider, Request, Submitted,
};
use vydra_outbound::providers::xai::Xai;
use vydra_outbound::secret::Secret;
use vydra_outbound::upstream::{Credential, Upstream, UpstreamSettings};
use vydra_testkit::upstream::{KEY, Recorded, Reply, Stub};

const HARNESS: Harness = Harness {
    before: Vec::new,
    provider,
    request,
    golden,
    works,
    delivery: Delivery::Base64,
    partial: Ok(partial),
    errors,
    refusals: Ok(refusals),
    empty,
    limited: || {
        let told = json!({"code": "rate-limited", "error": "Too many requests for team"});
        Reply::json(429, &told)
    },
    task: Err("images come with the answer"),
};

adapter!(HARNESS);

pub(crate) fn provider(url: &str) -> Arc<dyn Provider> {
    let upstream = Upstream::new(&UpstreamSettings {
        base_url: url.to_owned(),
        credential: Credential::bearer(Secret::new(KEY)),
        timeout: Duration::from_secs(10),
    });
    Arc::new(Xai::new("xai", Arc::new(upstream.unwrap())))
}

pub(crate) fn data_uri() -> String {
    let picture = BASE64_STANDARD.encode(b"\x89PNG picture");
    format!("data:image/png;base64,{picture}")
}

fn request() -> Request {
    let input = json!({"prompt": "make it winter", "aspect_ratio": "3:2", "resolution": "2k"});
    let model = "grok-imagine-image-2.0";
    let mut request = harness::request(MediaKind::Image, Action::Edit, model, &input);
    request.media = vec![picture("image", false)];
    request
}

fn golden(sent: &Recorded) {
    assert_eq!(
        (sent.method.as_str(), sent.path.as_str()),
        ("POST", "/images/edits")
    );
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(
        sent.json(),
        json!({
            "model": "grok-imagine-image-2.0", "prompt": "make it winter", "aspect_ratio": "3:2", "resolution": "2k", "n": 1,
            "response_format": "b64_json", "image": {"url": data_uri(), "type": "image_url"},
        })
    );
}

fn answer(data: &[Value]) -> Reply {
    let body = json!({"data": data, "usage": {"cost_in_usd_ticks": 200_000_000}});
    Reply::json(200, &body)
}

fn image(file: &Made) -> Value {
    match file {
        Made::File(bytes) => json!({
            "b64_json": BASE64_STANDARD.encode(bytes), "revised_prompt": "p", "respect_moderation": true,
        }),
        Made::At(text) => json!({"b64_json": text}),
    }
}

fn works(files: &[Made]) -> Vec<Reply> {
    vec![answer(&files.iter().map(image).collect::<Vec<_>>())]
}

fn partial(files: &[Made]) -> (Request, Vec<Reply>) {
    let request = Request {
        outputs: 3,
        ..request()
    };
    let mut data: Vec<Value> = files.iter().map(image).collect();
    data.insert(1, json!({"b64_json": "", "respect_moderation": false}));
    (request, vec![answer(&data)])
}

fn refusals() -> Vec<Vec<Reply>> {
    let file = BASE64_STANDARD.encode("file");
    vec![
        vec![answer(&[])],
        vec![answer(&[json!({"respect_moderation": false})])],
        vec![answer(&[
            json!({"b64_json": file, "respect_moderation": false}),
        ])],
    ]
}

fn empty() -> Vec<Vec<Reply>> {
    [
        json!({}),
        json!({"b64_json": ""}),
        json!({"b64_json": null, "url": null}),
        json!({"url": "file.png"}),
        json!("text"),
    ]
    .iter()
    .map(|image| vec![answer(std::slice::from_ref(image))])
    .collect()
}

/// In each of the three shapes in which xAI tells an error.
pub(crate) fn shapes(status: u16, code: &str, text: &str) -> [Reply; 3] {
    [
        json!({"error": {"message": text, "type": "t", "code": code}}),
        json!({"code": code, "error": text}),
        json!({"error": text}),
    ]
    .map(|body| Reply::json(status, &body))
}

pub(crate) fn errors() -> Vec<Fails> {
    let broke =
        "Your team has either used all available credits or reached its monthly spending limit.";
    let mut rows = Vec::new();
    for (status, code, text, kind) in [
        (
            400,
            "invalid-argument",
            "Incorrect API key provided: xai-***.",
            ErrorKind::Auth,
        ),
        (401, "unauthenticated", "No key", ErrorKind::Auth),
        (
            403,
            "permission-denied",
            "The caller may not do this",
            ErrorKind::Auth,
        ),
        (
            403,
            "permission-denied",
            "Content violates usage guidelines.",
            ErrorKind::ContentRefused,
        ),
        (403, "permission-denied", broke, ErrorKind::QuotaExhausted),
        (
            429,
            "Some resource has been exhausted",
            broke,
            ErrorKind::QuotaExhausted,
        ),
        (
            400,
            "invalid-argument",
            "Rejected by content moderation.",
            ErrorKind::ContentRefused,
        ),
        (
            404,
            "not-found",
            "The model does not exist",
            ErrorKind::ModelGone,
        ),
        (
            400,
            "invalid-argument",
            "n must be at most 10",
            ErrorKind::InvalidRequest,
        ),
        (
            422,
            "a-new-code",
            "aspect_ratio: unknown variant",
            ErrorKind::InvalidRequest,
        ),
        (413, "too-large", "too large", ErrorKind::InvalidRequest),
        (
            429,
            "rate-limited",
            "Too many requests",
            ErrorKind::RateLimited,
        ),
        (409, "conflict", "again", ErrorKind::Unavailable),
        (500, "internal", "oh no", ErrorKind::Unavailable),
        (503, "unavailable", "overloaded", ErrorKind::Unavailable),
    ] {
        for reply in shapes(status, code, text) {
            rows.push(fails(vec![reply], kind, Accepted::No));
        }
    }
    rows.push(fails(
        vec![Reply::new(502, "text/html", "<html>")],
        ErrorKind::Unknown,
        Accepted::Unknown,
    ));
    rows
}

async fn sent(request: Request) -> Recorded {
    let file = Made::At(BASE64_STANDARD.encode("file"));
    let stub = Stub::replying(works(&[file])).await;
    let provider = provider(&stub.url);
    provider.submit(&harness::context(), request).await.unwrap();
    stub.requests().remove(0)
}

#[tokio::test]
async fn an_image_is_made_from_a_text() {
    let model = "grok-imagine-image";
    let input = json!({"prompt": "a fox"});
    let sent = sent(Request {
        outputs: 4,
        ..harness::request(MediaKind::Image, Action::Generate, model, &input)
    })
    .await;
    assert_eq!(sent.path, "/images/generations");
    assert_eq!(
        sent.json(),
        json!({"model": model, "prompt": "a fox", "n": 4, "response_format": "b64_json"})
    );
}

#[tokio::test]
async fn several_images_go_by_another_name_than_one() {
    let one = json!({"url": data_uri(), "type": "image_url"});
    for (fields, name, value) in [
        (vec![picture("images", true)], "image", one.clone()),
        (vec![picture("image", true)], "image", one.clone()),
        (
            vec![picture("image", false), picture("images", true)],
            "images",
            json!([one, one]),
        ),
    ] {
        let sent = sent(Request {
            media: fields,
            ..request()
        })
        .await;
        let body = sent.json();
        assert_eq!(body[name], value);
        let names = ["image", "images"].map(|name| body.get(name).is_some());
        assert_ne!(names[0], names[1], "{body}");
    }
}

#[tokio::test]
async fn a_route_may_ask_for_addresses() {
    let url = "https://files.example/0.png";
    let stub = Stub::replying([answer(&[json!({"url": url})])]).await;
    let mut request = request();
    request
        .input
        .insert("response_format".to_owned(), json!("url"));
    let context = harness::context();
    let provider = provider(&stub.url);
    let Submitted::Done(outputs) = provider.submit(&context, request).await.unwrap() else {
        panic!("images come with the answer");
    };
    assert!(matches!(&outputs[0].source, OutputSource::Url(found) if found == url));
    assert_eq!(stub.requests()[0].json()["response_format"], "url");
}

#[tokio::test]
async fn the_receipt_says_what_it_cost() {
    let file = Made::At(BASE64_STANDARD.encode("file"));
    let reply = works(&[file]).remove(0).with("x-request-id", "req-1");
    let stub = Stub::replying([reply]).await;
    let context = harness::context();
    let provider = provider(&stub.url);
    provider.submit(&context, request()).await.unwrap();
    let receipt = context.receipt.lock().unwrap().clone();
    assert_eq!(receipt.cost.as_deref(), Some("0.02 USD"));
    assert_eq!(receipt.request_id.as_deref(), Some("req-1"));
}

#[tokio::test]
async fn a_check_lists_models_with_their_aliases() {
    let models = json!({"object": "list", "data": [{"id": "grok-4.6", "object": "model"}]});
    let images = json!({"models": [{"id": "grok-imagine-image-2.0", "aliases": ["grok-imagine-image-pro"]}]});
    let videos = json!({"models": [{"id": "grok-imagine-video", "aliases": []}, {"id": 5}, 5]});
    let lists = [&models, &images, &videos].map(|body| Reply::json(200, body));
    let stub = Stub::replying(lists).await;
    let names = [
        "grok-4.6",
        "grok-imagine-image-2.0",
        "grok-imagine-image-pro",
        "grok-imagine-video",
    ];
    let models: BTreeMap<String, Listed> = names
        .map(|name| (name.to_owned(), Listed::default()))
        .into();
    assert_eq!(
        provider(&stub.url).check().await.unwrap().models,
        Some(models)
    );
    let asked: Vec<String> = stub.requests().into_iter().map(|sent| sent.path).collect();
    assert_eq!(
        asked,
        [
            "/models",
            "/image-generation-models",
            "/video-generation-models"
        ]
    );
    // Without the aliases a model that can be called would seem to be gone.
    let few = Stub::replying([
        Reply::json(200, &json!({"data": [{"id": "grok-4.6"}]})),
        Reply::json(404, &json!({"error": "not found"})),
    ])
    .await;
    assert_eq!(
        provider(&few.url).check().await.unwrap(),
        Checkup::default()
    );
}

#[tokio::test]
async fn nothing_is_spoken() {
    let request = harness::request(MediaKind::Audio, Action::Generate, "grok", &json!({}));
    let nowhere = provider("http://127.0.0.1:9");
    let error = nowhere
        .submit(&harness::context(), request)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.accepted),
        (ErrorKind::InvalidRequest, Accepted::No)
    );
}
