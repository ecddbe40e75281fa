//! OpenAI: every call is answered with what it made.

use crate::form::{self, parts};
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
use vydra_outbound::providers::openai::OpenAi;
use vydra_outbound::secret::Secret;
use vydra_outbound::upstream::{Credential, Upstream, UpstreamSettings};
use vydra_testkit::upstream::{KEY, Recorded, Reply, Stub};

pub(crate) const HARNESS: Harness = Harness {
    before: Vec::new,
    provider,
    request,
    golden,
    works: |files| vec![drawn(files)],
    delivery: Delivery::Base64,
    partial: Ok(partial),
    errors,
    refusals: Ok(refusals),
    empty,
    limited,
    task: Err("images are made while the call waits"),
};

adapter!(HARNESS);

/// Speech, whose answer is the file.
pub(crate) mod speech {
    use super::*;

    pub(crate) const HARNESS: Harness = Harness {
        before: Vec::new,
        provider,
        request,
        golden,
        works,
        delivery: Delivery::Raw,
        partial: Err("one file a call"),
        errors,
        refusals: Ok(refusals),
        empty: || vec![vec![Reply::new(200, "audio/mpeg", "")]],
        limited,
        task: Err("speech is made while the call waits"),
    };

    adapter!(HARNESS);

    fn request() -> Request {
        let input =
            json!({"input": "Ready.", "voice": "coral", "response_format": "mp3", "speed": 1.25});
        harness::request(
            MediaKind::Audio,
            Action::Generate,
            "gpt-4o-mini-tts",
            &input,
        )
    }

    fn golden(sent: &Recorded) {
        assert_eq!(
            (sent.method.as_str(), sent.path.as_str()),
            ("POST", "/audio/speech")
        );
        assert_eq!(
            sent.json(),
            json!({
                "model": "gpt-4o-mini-tts", "input": "Ready.", "voice": "coral", "response_format": "mp3", "speed": 1.25,
            })
        );
    }

    fn works(files: &[Made]) -> Vec<Reply> {
        let files = files.iter().map(|file| match file {
            Made::File(bytes) => Reply::new(200, "audio/mpeg", bytes.clone()),
            Made::At(_) => unreachable!("speech has no address"),
        });
        files.collect()
    }

    #[tokio::test]
    async fn a_text_is_no_speech() {
        for (media_type, body) in [
            ("text/html; charset=utf-8", "<html>Welcome</html>"),
            ("application/json", "{}"),
            ("Application/JSON; charset=utf-8", "[1]"),
        ] {
            let stub = Stub::replying([Reply::new(200, media_type, body)]).await;
            let provider = provider(&stub.url);
            let error = provider
                .submit(&harness::context(), request())
                .await
                .unwrap_err();
            assert_eq!(error.kind, ErrorKind::Protocol, "{media_type}: {error}");
        }
    }
}

fn provider(url: &str) -> Arc<dyn Provider> {
    let upstream = Upstream::new(&UpstreamSettings {
        base_url: url.to_owned(),
        credential: Credential::bearer(Secret::new(KEY)),
        timeout: Duration::from_secs(10),
    });
    Arc::new(OpenAi::new("openai", Arc::new(upstream.unwrap())))
}

fn request() -> Request {
    let input = json!({
        "prompt": "a lighthouse", "size": "1536x1024", "quality": "high", "output_format": "png", "response_format": "b64_json",
    });
    harness::request(MediaKind::Image, Action::Generate, "gpt-image-2", &input)
}

fn golden(sent: &Recorded) {
    assert_eq!(
        (sent.method.as_str(), sent.path.as_str()),
        ("POST", "/images/generations")
    );
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(
        sent.json(),
        json!({
            "model": "gpt-image-2", "prompt": "a lighthouse", "size": "1536x1024", "quality": "high", "output_format": "png",
            "n": 1,
        })
    );
}

fn settings(settings: &Value) -> Map<String, Value> {
    settings.as_object().unwrap().clone()
}

fn listed(files: &[Made]) -> Vec<Value> {
    let files = files.iter().map(|file| match file {
        Made::File(bytes) => json!({"b64_json": BASE64_STANDARD.encode(bytes)}),
        Made::At(text) => json!({"b64_json": text}),
    });
    files.collect()
}

fn drawn(files: &[Made]) -> Reply {
    let usage = json!({"input_tokens": 50, "output_tokens": 6240, "total_tokens": 6290});
    let body = json!({"created": 1, "data": listed(files), "size": "1536x1024", "usage": usage});
    Reply::json(200, &body).with("x-request-id", "req_8f2c")
}

fn partial(files: &[Made]) -> (Request, Vec<Reply>) {
    let mut data = listed(files);
    data.insert(1, json!({"b64_json": "***"}));
    let request = Request {
        outputs: 3,
        ..request()
    };
    (request, vec![Reply::json(200, &json!({"data": data}))])
}

fn refusals() -> Vec<Vec<Reply>> {
    let error = json!({"error": {"code": "moderation_blocked", "type": "image_generation_user_error", "message": "no"}});
    vec![vec![Reply::json(200, &error)]]
}

fn empty() -> Vec<Vec<Reply>> {
    [
        json!({}),
        json!({"created": 1, "data": []}),
        json!({"data": null}),
        json!({"data": [{"revised_prompt": "p"}]}),
        json!({"data": [{"b64_json": ""}, {"b64_json": null, "url": ""}, 5]}),
    ]
    .iter()
    .map(|body| vec![Reply::json(200, body)])
    .collect()
}

pub(crate) fn limited() -> Reply {
    error(429, "rate_limit_exceeded", "requests")
}

fn error(status: u16, code: &str, kind: &str) -> Reply {
    let error = json!({"message": "text", "type": kind, "param": "size", "code": code});
    Reply::json(status, &json!({"error": error}))
}

/// Also those of servers that speak alike.
pub(crate) fn errors() -> Vec<Fails> {
    let of_request = "invalid_request_error";
    let rows = [
        (
            400,
            "moderation_blocked",
            "image_generation_user_error",
            ErrorKind::ContentRefused,
        ),
        (
            400,
            "content_policy_violation",
            of_request,
            ErrorKind::ContentRefused,
        ),
        (400, "invalid_value", of_request, ErrorKind::InvalidRequest),
        (400, "a_new_one", "a_new_type", ErrorKind::InvalidRequest),
        (413, "too_large", of_request, ErrorKind::InvalidRequest),
        (422, "too_strange", of_request, ErrorKind::InvalidRequest),
        (401, "invalid_api_key", of_request, ErrorKind::Auth),
        (
            403,
            "unsupported_country_region_territory",
            "request_forbidden",
            ErrorKind::Auth,
        ),
        (404, "model_not_found", of_request, ErrorKind::ModelGone),
        (400, "model_not_found", of_request, ErrorKind::ModelGone),
        (400, "deprecated", of_request, ErrorKind::ModelGone),
        (429, "rate_limit_exceeded", "tokens", ErrorKind::RateLimited),
        (429, "slow_down", "requests", ErrorKind::RateLimited),
        (
            429,
            "insufficient_quota",
            "insufficient_quota",
            ErrorKind::QuotaExhausted,
        ),
        (
            429,
            "a_new_one",
            "insufficient_quota",
            ErrorKind::QuotaExhausted,
        ),
        (
            429,
            "credit_balance_exhausted",
            "billing",
            ErrorKind::QuotaExhausted,
        ),
        (
            429,
            "organization_spend_limit_exceeded",
            "billing",
            ErrorKind::QuotaExhausted,
        ),
        (
            429,
            "project_spend_limit_exceeded",
            "billing",
            ErrorKind::QuotaExhausted,
        ),
        (
            429,
            "organization_usage_limit_exceeded",
            "billing",
            ErrorKind::QuotaExhausted,
        ),
        (
            400,
            "billing_hard_limit_reached",
            of_request,
            ErrorKind::QuotaExhausted,
        ),
        (408, "timeout", "timeout", ErrorKind::Unavailable),
        (409, "conflict", "conflict", ErrorKind::Unavailable),
        (500, "server_error", "server_error", ErrorKind::Unavailable),
        (503, "overloaded", "server_error", ErrorKind::Unavailable),
    ];
    let told = rows.into_iter().map(|(status, code, word, kind)| {
        fails(vec![error(status, code, word)], kind, Accepted::No)
    });
    let by_gateways = [
        Reply::new(502, "text/html", "<html>Bad gateway</html>"),
        Reply::new(500, "text/plain", "Internal Server Error"),
        error(504, "timeout", "server_error"),
    ];
    let by_gateways = by_gateways
        .into_iter()
        .map(|reply| fails(vec![reply], ErrorKind::Unknown, Accepted::Unknown));
    told.chain(by_gateways).collect()
}

async fn sent_of(request: Request) -> Recorded {
    let stub = Stub::replying([drawn(&[Made::File("file".into())])]).await;
    let provider = provider(&stub.url);
    provider.submit(&harness::context(), request).await.unwrap();
    stub.requests().remove(0)
}

pub(crate) fn edit() -> Request {
    let input = json!({
        "prompt": "make it winter", "size": "auto", "output_compression": 90, "user": null, "response_format": "url",
    });
    let mut request = harness::request(MediaKind::Image, Action::Edit, "gpt-image-2", &input);
    request.media = vec![picture("imageUrl", false)];
    request
}

#[tokio::test]
async fn an_edit_is_a_form_with_its_image() {
    let sent = sent_of(edit()).await;
    assert_eq!(
        (sent.method.as_str(), sent.path.as_str()),
        ("POST", "/images/edits")
    );
    assert_eq!(
        parts(&sent),
        [
            form::file("image", "input-0.png", "image/png", b"\x89PNG picture"),
            form::text("model", "gpt-image-2"),
            form::text("n", "1"),
            form::text("output_compression", "90"),
            form::text("prompt", "make it winter"),
            form::text("size", "auto"),
        ]
    );
}

#[tokio::test]
async fn several_images_and_a_mask_are_told_apart() {
    let mut request = edit();
    request.media.push(picture("imageUrls", true));
    request.media.push(picture("mask", false));
    let sent = sent_of(request).await;
    let files: Vec<_> = parts(&sent)
        .into_iter()
        .filter_map(|part| Some((part.name, part.file?.0)))
        .collect();
    let expected = [
        ("image[]", "input-0.png"),
        ("image[]", "input-1.png"),
        ("mask", "input-2.png"),
    ];
    assert_eq!(
        files,
        expected.map(|(name, file)| (name.to_owned(), file.to_owned()))
    );
    let mut request = edit();
    request.media.push(picture("mask", false));
    let names: Vec<_> = parts(&sent_of(request).await)
        .into_iter()
        .filter(|part| part.file.is_some())
        .map(|part| part.name)
        .collect();
    assert_eq!(names, ["image", "mask"]);
}

#[tokio::test]
async fn the_receipt_tells_the_call_and_its_tokens() {
    let stub = Stub::replying([
        drawn(&[Made::File("file".into())]),
        error(400, "moderation_blocked", "").with("x-request-id", "req_refused"),
    ])
    .await;
    let provider = provider(&stub.url);
    let context = harness::context();
    provider.submit(&context, request()).await.unwrap();
    let receipt = context.receipt.lock().unwrap().clone();
    assert_eq!(receipt.request_id.as_deref(), Some("req_8f2c"));
    assert_eq!(receipt.cost.as_deref(), Some("6290 tokens"));
    provider.submit(&context, request()).await.unwrap_err();
    let receipt = context.receipt.lock().unwrap().clone();
    assert_eq!(receipt.request_id.as_deref(), Some("req_refused"));
}

#[tokio::test]
async fn a_route_may_ask_for_one_call_a_file() {
    let file = || drawn(&[Made::File("file".into())]);
    let stub = Stub::replying([file(), file(), error(400, "moderation_blocked", "")]).await;
    let provider = provider(&stub.url);
    let request = Request {
        outputs: 4,
        settings: settings(&json!({"calls": "one_each"})),
        ..request()
    };
    let submitted = provider.submit(&harness::context(), request).await.unwrap();
    assert!(matches!(&submitted, Submitted::Done(outputs) if outputs.len() == 2));
    for sent in stub.requests() {
        assert_eq!(sent.json()["n"], 1);
    }
}

#[tokio::test]
async fn nobody_is_asked_for_a_video() {
    let stub = Stub::replying([]).await;
    let provider = provider(&stub.url);
    let request = harness::request(MediaKind::Video, Action::Generate, "sora-2", &json!({}));
    let error = provider
        .submit(&harness::context(), request)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.accepted),
        (ErrorKind::InvalidRequest, Accepted::No)
    );
    assert!(stub.requests().is_empty());
}

#[tokio::test]
async fn an_error_shows_its_code_and_its_field() {
    let stub = Stub::replying([error(400, "invalid_value", "invalid_request_error")]).await;
    let provider = provider(&stub.url);
    let error = provider
        .submit(&harness::context(), request())
        .await
        .unwrap_err();
    assert_eq!(error.detail, "status 400: invalid_value:size");
}

#[tokio::test]
async fn a_check_lists_the_models_and_when_they_end() {
    let stub = Stub::replying([Reply::json(
        200,
        &json!({"object": "list", "data": [
            {"id": "gpt-image-2", "object": "model"},
            {"id": "gpt-image-1.5", "object": "model", "shutdown_date": "2026-12-01"},
            {"object": "model"},
        ]}),
    )])
    .await;
    let checkup = provider(&stub.url).check().await.unwrap();
    let models = checkup.models.unwrap();
    assert_eq!(models.len(), 2);
    assert_eq!(models["gpt-image-2"].retires, None);
    assert_eq!(
        models["gpt-image-1.5"].retires.as_deref(),
        Some("2026-12-01")
    );
    let sent = stub.requests();
    assert_eq!(
        (sent[0].method.as_str(), sent[0].path.as_str()),
        ("GET", "/models")
    );
}
