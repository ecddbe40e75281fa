//! The Gemini API, images: one call, one image.

use crate::harness::{self, Delivery, Fails, Harness, Made, fails, picture};
use crate::suite::adapter;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;
use vydra_outbound::provider::{
    Accepted, Checkup, ErrorKind, Provider, ProviderError, Request, Submitted,
};
use vydra_outbound::providers::gemini::{Gemini, KEY_HEADER};
use vydra_outbound::secret::Secret;
use vydra_outbound::upstream::{Credential, Upstream, UpstreamSettings};
use vydra_testkit::upstream::{KEY, Recorded, Reply, Stub};

pub(crate) const HARNESS: Harness = Harness {
    before: Vec::new,
    provider,
    request,
    golden,
    works: |files| files.iter().map(|file| generated(&[file])).collect(),
    delivery: Delivery::Base64,
    partial: Ok(partial),
    errors,
    refusals: Ok(refusals),
    empty,
    limited: || error(429, "RESOURCE_EXHAUSTED", &json!([])),
    task: Err("the answer to the call holds the image"),
};

adapter!(HARNESS);

pub(crate) fn provider(url: &str) -> Arc<dyn Provider> {
    let upstream = Upstream::new(&UpstreamSettings {
        base_url: format!("{url}/v1beta"),
        credential: Credential::Header(KEY_HEADER.to_owned(), Secret::new(KEY)),
        timeout: Duration::from_secs(10),
    });
    Arc::new(Gemini::new("gemini", Arc::new(upstream.unwrap())))
}

fn request() -> Request {
    let input = json!({
        "prompt": "make it winter",
        "generationConfig": {"imageConfig": {"aspectRatio": "16:9", "imageSize": "2K"}, "seed": 7},
    });
    let model = "gemini-nano-banana-2.1";
    let mut request = harness::request(MediaKind::Image, Action::Edit, model, &input);
    request.media = vec![picture("imageUrl", false), picture("imageUrls", true)];
    request
}

fn golden(sent: &Recorded) {
    let path = "/v1beta/models/gemini-nano-banana-2.1:generateContent";
    assert_eq!((sent.method.as_str(), sent.path.as_str()), ("POST", path));
    assert_eq!(sent.header("x-goog-api-key"), Some(KEY));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    let picture = json!({"inlineData": {
        "mimeType": "image/png", "data": BASE64_STANDARD.encode(b"\x89PNG picture"),
    }});
    assert_eq!(
        sent.json(),
        json!({
            "contents": [{"role": "user", "parts": [{"text": "make it winter"}, picture, picture]}],
            "generationConfig": {
                "responseModalities": ["TEXT", "IMAGE"],
                "imageConfig": {"aspectRatio": "16:9", "imageSize": "2K"}, "seed": 7,
            },
        })
    );
}

fn text(file: &Made) -> String {
    match file {
        Made::File(bytes) => BASE64_STANDARD.encode(bytes),
        Made::At(text) => text.clone(),
    }
}

fn parts(parts: &Value, ending: &str) -> Reply {
    Reply::json(
        200,
        &json!({
            "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": ending}],
            "usageMetadata": {"totalTokenCount": 1290}, "responseId": "r-1",
        }),
    )
}

fn generated(files: &[&Made]) -> Reply {
    // What it drew while it thought, and a caption beside the picture.
    let mut list = vec![
        json!({"thought": true, "inlineData": {"mimeType": "image/png", "data": "AAAA"}}),
        json!({"text": "Here it is."}),
    ];
    let files = files
        .iter()
        .map(|file| json!({"inlineData": {"mimeType": "image/png", "data": text(file)}}));
    list.extend(files);
    parts(&json!(list), "STOP")
}

fn ended(reason: &str) -> Reply {
    parts(&json!([]), reason)
}

fn one_each(outputs: u32) -> Request {
    Request {
        outputs,
        settings: json!({"calls": "one_each"}).as_object().unwrap().clone(),
        ..request()
    }
}

fn partial(files: &[Made]) -> (Request, Vec<Reply>) {
    let replies = vec![
        generated(&[&files[0]]),
        ended("NO_IMAGE"),
        generated(&[&files[1]]),
    ];
    (one_each(3), replies)
}

fn refusals() -> Vec<Vec<Reply>> {
    let blocked = [
        "SAFETY",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "IMAGE_SAFETY",
        "OTHER",
        "A_NEW_ONE",
    ]
    .map(|reason| Reply::json(200, &json!({"promptFeedback": {"blockReason": reason}})));
    let stopped = [
        "SAFETY",
        "PROHIBITED_CONTENT",
        "SPII",
        "BLOCKLIST",
        "RECITATION",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
    ]
    .map(ended);
    // A file beside a refusal is not handed on.
    let beside = parts(&json!([{"inlineData": {"data": "AAAA"}}]), "IMAGE_SAFETY");
    let all = blocked.into_iter().chain(stopped).chain([beside]);
    all.map(|reply| vec![reply]).collect()
}

fn empty() -> Vec<Vec<Reply>> {
    let told = [
        "NO_IMAGE",
        "IMAGE_OTHER",
        "OTHER",
        "MAX_TOKENS",
        "STOP",
        "A_NEW_ONE",
    ];
    let bodies = [
        json!({"candidates": []}),
        json!({"candidates": [{"content": {"parts": [{"text": "Sorry."}]}}]}),
        json!({"candidates": [{"content": {"parts": [{"inlineData": {"data": "***"}}]}}]}),
        json!({"candidates": [{"content": {"parts": [{"thought": true, "inlineData": {"data": "AAAA"}}]}}]}),
        json!({"candidates": {}, "promptFeedback": 5}),
    ];
    let bodies = bodies.iter().map(|body| Reply::json(200, body));
    let all = told.into_iter().map(ended).chain(bodies);
    all.map(|reply| vec![reply]).collect()
}

pub(crate) fn error(status: u16, word: &str, details: &Value) -> Reply {
    let error = json!({"code": status, "message": "text", "status": word, "details": details});
    Reply::json(status, &json!({"error": error}))
}

/// The rows that all APIs of Google have.
pub(crate) fn of_google() -> Vec<Fails> {
    let reason = |reason: &str| json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}]);
    let quota = |id: &str| json!([{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": id}]}]);
    let none = json!([]);
    let no = |reply: Reply, kind: ErrorKind| fails(vec![reply], kind, Accepted::No);
    let array = json!([{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}]);
    let policy = json!({"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "This violates our Responsible AI practices."}});
    let unknown = |reply: Reply| fails(vec![reply], ErrorKind::Unknown, Accepted::Unknown);
    vec![
        no(
            error(400, "INVALID_ARGUMENT", &none),
            ErrorKind::InvalidRequest,
        ),
        no(
            error(400, "INVALID_ARGUMENT", &reason("API_KEY_INVALID")),
            ErrorKind::Auth,
        ),
        no(
            error(
                400,
                "INVALID_ARGUMENT",
                &reason("PUBLIC_ERROR_UNSAFE_GENERATION"),
            ),
            ErrorKind::ContentRefused,
        ),
        no(Reply::json(400, &policy), ErrorKind::ContentRefused),
        no(error(400, "FAILED_PRECONDITION", &none), ErrorKind::Auth),
        no(error(403, "PERMISSION_DENIED", &none), ErrorKind::Auth),
        no(error(404, "NOT_FOUND", &none), ErrorKind::ModelGone),
        no(
            error(429, "RESOURCE_EXHAUSTED", &none),
            ErrorKind::RateLimited,
        ),
        no(
            error(
                429,
                "RESOURCE_EXHAUSTED",
                &quota("GenerateRequestsPerMinutePerProject"),
            ),
            ErrorKind::RateLimited,
        ),
        no(
            error(
                429,
                "RESOURCE_EXHAUSTED",
                &quota("GenerateRequestsPerDayPerProject"),
            ),
            ErrorKind::QuotaExhausted,
        ),
        no(Reply::json(429, &array), ErrorKind::RateLimited),
        no(error(500, "INTERNAL", &none), ErrorKind::Unavailable),
        no(error(503, "UNAVAILABLE", &none), ErrorKind::Unavailable),
        no(
            error(418, "A_NEW_ONE", &json!({})),
            ErrorKind::InvalidRequest,
        ),
        unknown(error(504, "DEADLINE_EXCEEDED", &none)),
        unknown(Reply::new(500, "text/html", "<html>")),
    ]
}

fn errors() -> Vec<Fails> {
    let mut rows = of_google();
    rows.push(fails(
        vec![error(401, "UNAUTHENTICATED", &json!([]))],
        ErrorKind::Auth,
        Accepted::No,
    ));
    for reason in ["LANGUAGE", "MALFORMED_FUNCTION_CALL"] {
        rows.push(fails(
            vec![ended(reason)],
            ErrorKind::InvalidRequest,
            Accepted::Yes,
        ));
    }
    rows
}

async fn submitted(
    replies: Vec<Reply>,
    request: Request,
) -> (Stub, Result<Submitted, ProviderError>) {
    let stub = Stub::replying(replies).await;
    let result = provider(&stub.url)
        .submit(&harness::context(), request)
        .await;
    (stub, result)
}

#[tokio::test]
async fn a_text_alone_is_one_part() {
    let input = json!({"prompt": "a lighthouse"});
    let request = harness::request(MediaKind::Image, Action::Generate, "models/m", &input);
    let file = Made::At("AAAA".to_owned());
    let (stub, result) = submitted(vec![generated(&[&file])], request).await;
    result.unwrap();
    let sent = &stub.requests()[0];
    assert_eq!(sent.path, "/v1beta/models/m:generateContent");
    assert_eq!(
        sent.json(),
        json!({
            "contents": [{"role": "user", "parts": [{"text": "a lighthouse"}]}],
            "generationConfig": {"responseModalities": ["TEXT", "IMAGE"]},
        })
    );
}

#[tokio::test]
async fn each_of_several_pictures_has_a_seed_of_its_own() {
    let file = Made::At("AAAA".to_owned());
    let replies = vec![generated(&[&file]); 3];
    let (stub, result) = submitted(replies, one_each(3)).await;
    assert!(matches!(result.unwrap(), Submitted::Done(files) if files.len() == 3));
    let seeds = stub
        .requests()
        .iter()
        .map(|sent| sent.json()["generationConfig"]["seed"].clone())
        .collect::<Value>();
    assert_eq!(seeds, json!([7, 8, 9]));
}

#[tokio::test]
async fn several_pictures_are_bought_only_where_the_route_says_so() {
    let file = Made::At("AAAA".to_owned());
    let request = Request {
        outputs: 3,
        ..request()
    };
    let (stub, result) = submitted(vec![generated(&[&file])], request).await;
    result.unwrap();
    assert_eq!(stub.requests().len(), 1);
}

#[tokio::test]
async fn what_is_refused_at_once_is_asked_once() {
    let (stub, result) = submitted(vec![ended("IMAGE_SAFETY")], one_each(3)).await;
    assert_eq!(result.unwrap_err().kind, ErrorKind::ContentRefused);
    assert_eq!(stub.requests().len(), 1);
}

#[tokio::test]
async fn either_spelling_of_a_part_is_read() {
    let part = json!([{"inline_data": {"mime_type": "image/png", "data": "AAAA"}}]);
    let (_stub, result) = submitted(vec![parts(&part, "STOP")], request()).await;
    assert!(matches!(result.unwrap(), Submitted::Done(files) if files.len() == 1));
}

#[tokio::test]
async fn audio_is_not_bought() {
    let request = Request {
        kind: MediaKind::Audio,
        ..request()
    };
    let result = provider("http://127.0.0.1:9")
        .submit(&harness::context(), request)
        .await;
    assert_eq!(result.unwrap_err().kind, ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn the_time_of_rest_is_read_from_the_error_and_the_receipt_from_the_answer() {
    let rest =
        json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}]);
    let limited = error(429, "RESOURCE_EXHAUSTED", &rest);
    let (_stub, result) = submitted(vec![limited], request()).await;
    assert_eq!(
        result.unwrap_err().retry_after,
        Some(Duration::from_millis(34_400))
    );
    let stub = Stub::replying([generated(&[&Made::At("AAAA".to_owned())])]).await;
    let context = harness::context();
    provider(&stub.url)
        .submit(&context, request())
        .await
        .unwrap();
    let receipt = context.receipt.lock().unwrap();
    assert_eq!(receipt.request_id.as_deref(), Some("r-1"));
    assert_eq!(receipt.cost.as_deref(), Some("1290 tokens"));
}

#[tokio::test]
async fn a_check_tells_the_models() {
    let listed =
        json!({"models": [{"name": "models/a"}, {"name": "models/b"}, {"displayName": "c"}]});
    let stub = Stub::replying([Reply::json(200, &listed)]).await;
    let Checkup { models, .. } = provider(&stub.url).check().await.unwrap();
    let names: Vec<String> = models.unwrap().into_keys().collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(stub.requests()[0].path, "/v1beta/models?pageSize=1000");
    let invalid = json!([{"reason": "API_KEY_INVALID"}]);
    let refusing = Stub::replying([error(400, "INVALID_ARGUMENT", &invalid)]).await;
    let error = provider(&refusing.url).check().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Auth);
}
