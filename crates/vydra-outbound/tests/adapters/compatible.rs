//! Servers that speak as OpenAI does, each in its way.

pub(crate) mod videos;

use crate::form::{self, parts};
use crate::harness::{self, Delivery, Fails, Harness, Made, fails, picture};
use crate::openai::{self, limited};
use crate::suite::adapter;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;
use vydra_outbound::provider::{
    Accepted, ErrorKind, Output, OutputSource, Provider, ProviderError, Request, Submitted,
};
use vydra_outbound::providers::openai::OpenAi;
use vydra_outbound::secret::Secret;
use vydra_outbound::upstream::{Credential, Upstream, UpstreamSettings};
use vydra_testkit::upstream::{KEY, Recorded, Reply, Stub};

const HARNESS: Harness = Harness {
    before: Vec::new,
    provider,
    request,
    golden,
    works: |files| vec![Reply::json(200, &json!({"data": listed(files)}))],
    delivery: Delivery::Addresses,
    partial: Ok(partial),
    errors,
    refusals: Ok(refusals),
    empty,
    limited,
    task: Err("images are made while the call waits"),
};

adapter!(HARNESS);

fn at(base_url: &str, credential: Credential) -> Arc<dyn Provider> {
    let upstream = Upstream::new(&UpstreamSettings {
        base_url: base_url.to_owned(),
        credential,
        timeout: Duration::from_secs(10),
    });
    Arc::new(OpenAi::compatible("studio", Arc::new(upstream.unwrap())))
}

fn provider(url: &str) -> Arc<dyn Provider> {
    let key = Credential::bearer(Secret::new(KEY));
    at(&format!("{url}/v1"), key)
}

fn request() -> Request {
    let input = json!({"prompt": "a lighthouse", "size": "1024x1024", "num_inference_steps": 30, "response_format": "url"});
    harness::request(
        MediaKind::Image,
        Action::Generate,
        "Qwen/Qwen-Image",
        &input,
    )
}

/// Nothing but what the route names: one image is what everybody makes who is not told.
fn golden(sent: &Recorded) {
    assert_eq!(
        (sent.method.as_str(), sent.path.as_str()),
        ("POST", "/v1/images/generations")
    );
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(
        sent.json(),
        json!({
            "model": "Qwen/Qwen-Image", "prompt": "a lighthouse", "size": "1024x1024", "num_inference_steps": 30,
            "response_format": "url",
        })
    );
}

fn listed(files: &[Made]) -> Vec<Value> {
    let files = files.iter().map(|file| match file {
        Made::At(url) => json!({"url": url, "b64_json": ""}),
        Made::File(_) => unreachable!("this one answers with addresses"),
    });
    files.collect()
}

fn partial(files: &[Made]) -> (Request, Vec<Reply>) {
    let mut data = listed(files);
    data.insert(1, json!({"url": null}));
    let request = Request {
        outputs: 3,
        ..request()
    };
    (request, vec![Reply::json(200, &json!({"data": data}))])
}

fn refusals() -> Vec<Vec<Reply>> {
    [
        json!({"error": {"code": "content_policy_violation", "message": "no"}}),
        json!({"error": "moderation_blocked", "data": []}),
        json!({"error": {"code": 400, "type": "content_policy_violation"}}),
    ]
    .iter()
    .map(|body| vec![Reply::json(200, body)])
    .collect()
}

fn empty() -> Vec<Vec<Reply>> {
    [
        json!({"data": []}),
        json!({"data": [{"url": "//evil.example/x.png"}]}),
        json!({"error": {"message": "out of memory"}}),
        json!({"error": "the worker has died"}),
    ]
    .iter()
    .map(|body| vec![Reply::json(200, body)])
    .collect()
}

fn errors() -> Vec<Fails> {
    let rows = [
        (400, json!({"detail": "text"}), ErrorKind::InvalidRequest),
        (
            422,
            json!({"detail": [{"loc": ["body", "size"], "msg": "text", "type": "missing"}]}),
            ErrorKind::InvalidRequest,
        ),
        (401, json!({"detail": "Unauthorized"}), ErrorKind::Auth),
        (403, json!({"detail": "Forbidden"}), ErrorKind::Auth),
        (404, json!({"detail": "Not Found"}), ErrorKind::ModelGone),
        (429, json!({"detail": "text"}), ErrorKind::RateLimited),
        (402, json!({"error": "text"}), ErrorKind::QuotaExhausted),
        (500, json!({"detail": "text"}), ErrorKind::Unavailable),
        (503, json!({"error": "text"}), ErrorKind::Unavailable),
        // By the code inside a success.
        (200, json!({"error": {"code": 429}}), ErrorKind::RateLimited),
        (200, json!({"error": {"code": "401"}}), ErrorKind::Auth),
        (
            200,
            json!({"error": {"code": 422}}),
            ErrorKind::InvalidRequest,
        ),
        (
            200,
            json!({"error": {"code": "slow_down"}}),
            ErrorKind::RateLimited,
        ),
    ];
    let rows = rows
        .into_iter()
        .map(|(status, body, kind)| fails(vec![Reply::json(status, &body)], kind, Accepted::No));
    let unknown = [
        Reply::json(200, &json!({"error": {"code": 500}})),
        Reply::json(502, &json!({"detail": "text"})),
    ];
    let unknown = unknown
        .into_iter()
        .map(|reply| fails(vec![reply], ErrorKind::Unknown, Accepted::Unknown));
    openai::errors()
        .into_iter()
        .chain(rows)
        .chain(unknown)
        .collect()
}

async fn submitted(
    provider: &dyn Provider,
    request: Request,
) -> Result<Vec<Output>, ProviderError> {
    match provider.submit(&harness::context(), request).await? {
        Submitted::Done(outputs) => Ok(outputs),
        Submitted::Accepted(task) => panic!("{task}"),
    }
}

#[tokio::test]
async fn a_file_of_the_server_is_read_with_its_key() {
    let stub = Stub::answering(|sent| {
        if sent.method == "GET" {
            return Reply::new(200, "image/png", sent.path.clone());
        }
        let host = sent.header("host").unwrap();
        Reply::json(
            200,
            &json!({"data": [
                {"url": "/v1/files/0.png?a=b"},
                {"url": "/generated-images/1.png"},
                {"url": format!("http://{host}/generated-images/2.png")},
                {"b64_json": "iVBORw=="},
                {"url": "data:image/png;base64,iVBORw=="},
                {"url": "https://files.example/5.png"},
                {"url": "/\\evil.example/6.png"},
                {"url": format!("http://name@{host}/7.png")},
            ]}),
        )
    })
    .await;
    let outputs = submitted(provider(&stub.url).as_ref(), request()).await;
    let mut found = Vec::new();
    for output in outputs.unwrap() {
        found.push(match output.source {
            OutputSource::Own(upstream, path) => {
                let mut body = upstream.open(&path, 100).await.unwrap();
                let piece = body.piece().await.unwrap().unwrap();
                String::from_utf8(piece.to_vec()).unwrap()
            }
            OutputSource::Url(url) if url.contains("name@") => "bare".to_owned(),
            OutputSource::Url(url) => url,
            OutputSource::Bytes(bytes) => format!("{} bytes", bytes.len()),
        });
    }
    assert_eq!(
        found,
        [
            "/v1/files/0.png?a=b",
            "/generated-images/1.png",
            "/generated-images/2.png",
            "4 bytes",
            "4 bytes",
            "https://files.example/5.png",
            "bare",
        ]
    );
}

#[tokio::test]
async fn a_count_is_sent_when_more_than_one_is_asked_for() {
    let reply = || Reply::json(200, &json!({"data": [{"b64_json": "iVBORw=="}]}));
    let stub = Stub::replying([reply(), reply()]).await;
    let provider = provider(&stub.url);
    let many = Request {
        outputs: 3,
        ..request()
    };
    submitted(provider.as_ref(), many.clone()).await.unwrap();
    let edit = Request {
        action: Action::Edit,
        media: vec![picture("image", false)],
        ..many
    };
    submitted(provider.as_ref(), edit).await.unwrap();
    let sent = stub.requests();
    assert_eq!(sent[0].json()["n"], 3);
    assert_eq!(sent[1].path, "/v1/images/edits");
    assert_eq!(
        parts(&sent[1]),
        [
            form::file("image", "input-0.png", "image/png", b"\x89PNG picture"),
            form::text("model", "Qwen/Qwen-Image"),
            form::text("n", "3"),
            form::text("num_inference_steps", "30"),
            form::text("prompt", "a lighthouse"),
            form::text("response_format", "url"),
            form::text("size", "1024x1024"),
        ]
    );
}

#[tokio::test]
async fn speech_is_the_same() {
    let stub = Stub::replying([Reply::new(200, "application/octet-stream", "RIFF")]).await;
    let input = json!({"input": "Ready.", "voice": "alloy"});
    let request = harness::request(MediaKind::Audio, Action::Generate, "kokoro", &input);
    let outputs = submitted(provider(&stub.url).as_ref(), request).await;
    assert_eq!(outputs.unwrap().len(), 1);
    let sent = stub.requests().remove(0);
    assert_eq!(sent.path, "/v1/audio/speech");
    assert_eq!(
        sent.json(),
        json!({"model": "kokoro", "input": "Ready.", "voice": "alloy"})
    );
}

#[tokio::test]
async fn a_server_may_ask_for_no_key() {
    let reply = Reply::json(200, &json!({"data": [{"b64_json": "iVBORw=="}]}));
    let stub = Stub::foreign(reply).await;
    let provider = at(&stub.url, Credential::None);
    submitted(provider.as_ref(), request()).await.unwrap();
    let sent = stub.requests().remove(0);
    assert_eq!(sent.header("authorization"), None);
}

#[tokio::test]
async fn a_server_may_have_no_list_of_models() {
    for status in [404, 405] {
        let stub = Stub::replying([Reply::json(status, &json!({"detail": "Not Found"}))]).await;
        let checkup = provider(&stub.url).check().await.unwrap();
        assert_eq!(checkup.models, None);
        assert!(checkup.note.is_some());
    }
    for (reply, kind) in [
        (
            Reply::new(200, "text/html", "<html>Welcome</html>"),
            ErrorKind::Protocol,
        ),
        (Reply::json(200, &json!({})), ErrorKind::Protocol),
        (
            Reply::json(200, &json!({"error": {"code": "invalid_api_key"}})),
            ErrorKind::Auth,
        ),
        (Reply::json(500, &json!(null)), ErrorKind::Unavailable),
    ] {
        let stub = Stub::replying([reply]).await;
        let error = provider(&stub.url).check().await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
    }
}
