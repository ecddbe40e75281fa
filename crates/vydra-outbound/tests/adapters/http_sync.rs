//! Any server whose answer is the result, described: base64 in JSON.

use crate::harness::{self, Delivery, Fails, Harness, Made, fails, picture};
use crate::suite::adapter;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;
use vydra_outbound::provider::{Accepted, ErrorKind, Provider, Request, Submitted};
use vydra_outbound::providers::http::Http;
use vydra_outbound::secret::Secret;
use vydra_outbound::upstream::{Credential, Upstream, UpstreamSettings};
use vydra_testkit::upstream::{KEY, Recorded, Reply, Stub};

const HARNESS: Harness = Harness {
    before: Vec::new,
    provider: |url| provider(url, None),
    request,
    golden,
    works,
    delivery: Delivery::Base64,
    partial: Ok(partial),
    errors,
    refusals: Ok(refusals),
    empty,
    limited: || Reply::json(429, &json!({"code": 5})),
    task: Err("the answer is the result"),
};

adapter!(HARNESS);

fn provider(url: &str, check: Option<&str>) -> Arc<dyn Provider> {
    let upstream = Upstream::new(&UpstreamSettings {
        base_url: url.to_owned(),
        credential: Credential::Header("x-key".to_owned(), Secret::new(KEY)),
        timeout: Duration::from_secs(10),
    });
    let check = check.map(ToOwned::to_owned);
    Arc::new(Http::new("card", Arc::new(upstream.unwrap()), check))
}

fn settings() -> Map<String, Value> {
    let toml = r#"
        method = "PUT"
        path = "/draw"
        media = "base64"
        outputs = { at = "/images", as = "base64" }
        status = { at = "/status", done = ["ok"], refused = ["filtered"] }
        errors = { code = "/code", kinds = { 3 = "content_refused", 7 = "unavailable", 9 = "timed_out" } }
    "#;
    toml::from_str(toml).unwrap()
}

fn request() -> Request {
    let input = json!({"prompt": "a cat", "size": {"w": 8}});
    let mut request = harness::request(MediaKind::Image, Action::Edit, "m", &input);
    request.media = vec![picture("images", true), picture("images", true)];
    request.settings = settings();
    request
}

fn golden(sent: &Recorded) {
    assert_eq!((sent.method.as_str(), sent.path.as_str()), ("PUT", "/draw"));
    assert_eq!(sent.header("x-key"), Some(KEY));
    let image = BASE64_STANDARD.encode(b"\x89PNG picture");
    // Without a template the input is sent as it is.
    assert_eq!(
        sent.json(),
        json!({"prompt": "a cat", "size": {"w": 8}, "images": [image, image]})
    );
}

fn listed(files: &[Made]) -> Vec<String> {
    let files = files.iter().map(|file| match file {
        Made::File(bytes) => BASE64_STANDARD.encode(bytes),
        Made::At(text) => text.clone(),
    });
    files.collect()
}

fn works(files: &[Made]) -> Vec<Reply> {
    vec![Reply::json(
        200,
        &json!({"status": "ok", "images": listed(files)}),
    )]
}

fn partial(files: &[Made]) -> (Request, Vec<Reply>) {
    let request = Request {
        outputs: 3,
        ..request()
    };
    let mut images = listed(files);
    images.insert(1, "***".to_owned());
    (request, vec![Reply::json(200, &json!({"images": images}))])
}

fn refusals() -> Vec<Vec<Reply>> {
    [
        json!({"status": "filtered", "images": ["AAAA"]}),
        json!({"code": 3}),
        json!({"code": "3", "images": []}),
    ]
    .iter()
    .map(|answer| vec![Reply::json(200, answer)])
    .collect()
}

fn empty() -> Vec<Vec<Reply>> {
    [
        json!({}),
        json!({"images": null}),
        json!({"images": [1, {}]}),
        json!({"code": 8}),
    ]
    .iter()
    .map(|answer| vec![Reply::json(200, answer)])
    .collect()
}

fn errors() -> Vec<Fails> {
    let told = |status: u16, code: u16| vec![Reply::json(status, &json!({"code": code}))];
    vec![
        fails(told(400, 3), ErrorKind::ContentRefused, Accepted::No),
        fails(told(200, 7), ErrorKind::Unavailable, Accepted::No),
        fails(told(500, 7), ErrorKind::Unavailable, Accepted::No),
        fails(told(200, 9), ErrorKind::TimedOut, Accepted::Yes),
        fails(told(500, 9), ErrorKind::TimedOut, Accepted::Yes),
        fails(told(500, 1), ErrorKind::Unknown, Accepted::Unknown),
        fails(told(400, 1), ErrorKind::InvalidRequest, Accepted::No),
        fails(told(403, 1), ErrorKind::Auth, Accepted::No),
    ]
}

#[tokio::test]
async fn one_file_at_a_pointer_is_a_file_too() {
    let stub = Stub::replying([Reply::json(200, &json!({"out": {"b64": "AAAA"}}))]).await;
    let mut request = request();
    request.settings = json!({"method": "GET", "path": "/draw?p={{prompt}}", "outputs": {"at": "/out", "each": "/b64", "as": "base64"}})
        .as_object()
        .cloned()
        .unwrap();
    let done = provider(&stub.url, None)
        .submit(&harness::context(), request)
        .await
        .unwrap();
    assert!(matches!(done, Submitted::Done(outputs) if outputs.len() == 1));
    let sent = &stub.requests()[0];
    assert_eq!(
        (sent.method.as_str(), sent.path.as_str(), sent.body.len()),
        ("GET", "/draw?p=a%20cat", 0)
    );
}

#[tokio::test]
async fn a_check_asks_where_it_is_told_to() {
    let stub = Stub::replying([
        Reply::json(200, &json!({})),
        Reply::json(404, &json!({})),
        Reply::json(404, &json!({})),
        Reply::json(403, &json!({})),
        Reply::json(500, &json!({})),
    ])
    .await;
    let told = provider(&stub.url, Some("/v1/me"));
    told.check().await.unwrap();
    assert_eq!(told.check().await.unwrap_err().kind, ErrorKind::ModelGone);
    let untold = provider(&stub.url, None);
    untold.check().await.unwrap();
    assert_eq!(untold.check().await.unwrap_err().kind, ErrorKind::Auth);
    assert_eq!(
        untold.check().await.unwrap_err().kind,
        ErrorKind::Unavailable
    );
    let paths: Vec<String> = stub.requests().into_iter().map(|one| one.path).collect();
    assert_eq!(paths, ["/v1/me", "/v1/me", "/", "/", "/"]);
}
