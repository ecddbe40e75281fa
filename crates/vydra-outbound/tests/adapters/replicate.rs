//! Replicate: a prediction, and polls until it ends.

use crate::harness::{self, Cancel, Delivery, Fails, Harness, Made, Task, fails, picture};
use crate::suite::adapter;
use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;
use vydra_outbound::provider::{
    Accepted, ErrorKind, Output, OutputSource, Polled, Provider, ProviderError, Request, Submitted,
};
use vydra_outbound::providers::replicate::Replicate;
use vydra_outbound::secret::Secret;
use vydra_outbound::upstream::{Credential, Upstream, UpstreamSettings};
use vydra_testkit::upstream::{KEY, Recorded, Reply, Stub};

const ID: &str = "gm3qorzdhgbfurvjtvhg6dckhu";
const VERSION: &str = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa";

pub(crate) const HARNESS: Harness = Harness {
    before: Vec::new,
    provider,
    request,
    golden,
    works,
    delivery: Delivery::Addresses,
    partial: Ok(partial),
    errors,
    refusals: Ok(refusals),
    empty,
    limited: || {
        Reply::json(
            429,
            &json!({"detail": "Request was throttled.", "status": 429}),
        )
    },
    task: Ok(Task {
        accepted,
        unknown_word: || vec![stands("warming", &Value::Null)],
        done: |files| vec![succeeded(files)],
        gone: || {
            vec![Reply::json(
                404,
                &json!({"title": "Not found", "detail": "no", "status": 404}),
            )]
        },
        cancel: Ok(Cancel {
            in_time: || vec![stands("canceled", &Value::Null)],
            too_late: || vec![stands("succeeded", &Value::Null)],
            golden: |sent| {
                assert_eq!(sent.len(), 1);
                assert_eq!(sent[0].method, "POST");
                assert_eq!(sent[0].path, format!("/predictions/{ID}/cancel"));
            },
        }),
    }),
};

adapter!(HARNESS);

fn provider(url: &str) -> Arc<dyn Provider> {
    let upstream = Upstream::new(&UpstreamSettings {
        base_url: url.to_owned(),
        credential: Credential::bearer(Secret::new(KEY)),
        timeout: Duration::from_secs(10),
    });
    Arc::new(Replicate::new("replicate", Arc::new(upstream.unwrap())))
}

fn request() -> Request {
    let input = json!({"prompt": "make it winter", "aspect_ratio": "1:1"});
    let model = "black-forest-labs/flux-kontext-pro";
    let mut request = harness::request(MediaKind::Image, Action::Edit, model, &input);
    request.media = vec![picture("input_image", false)];
    request
}

fn with_settings(settings: &Value) -> Request {
    Request {
        outputs: 3,
        settings: settings.as_object().unwrap().clone(),
        ..request()
    }
}

fn golden_input() -> Value {
    let picture = base64::prelude::BASE64_STANDARD.encode(b"\x89PNG picture");
    json!({"prompt": "make it winter", "aspect_ratio": "1:1", "input_image": format!("data:image/png;base64,{picture}")})
}

fn golden(sent: &Recorded) {
    assert_eq!(sent.method, "POST");
    assert_eq!(
        sent.path,
        "/models/black-forest-labs/flux-kontext-pro/predictions"
    );
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(sent.header("cancel-after"), Some("1800s"));
    assert_eq!(sent.header("prefer"), None);
    assert_eq!(sent.json(), json!({"input": golden_input()}));
}

fn prediction(id: &str, status: &str, output: &Value, error: &Value) -> Value {
    // Addresses of the answer lead elsewhere: they are built, not believed.
    json!({
        "id": id, "model": "m", "version": "v", "status": status, "input": {"prompt": "p"}, "output": output, "error": error,
        "logs": "", "metrics": {"predict_time": 2.5}, "data_removed": false,
        "urls": {"get": "https://evil.example/get", "cancel": "https://evil.example/cancel"},
    })
}

fn accepted() -> Reply {
    let body = prediction(ID, "starting", &Value::Null, &Value::Null);
    Reply::json(201, &body)
}

fn stands(status: &str, output: &Value) -> Reply {
    Reply::json(200, &prediction(ID, status, output, &Value::Null))
}

fn failed(error: &str) -> Reply {
    let body = prediction(ID, "failed", &Value::Null, &json!(error));
    Reply::json(200, &body)
}

fn addresses(files: &[Made]) -> Vec<Value> {
    let files = files.iter().map(|file| match file {
        Made::At(url) => json!(url),
        Made::File(_) => unreachable!("replicate answers with addresses"),
    });
    files.collect()
}

fn succeeded(files: &[Made]) -> Reply {
    stands("succeeded", &json!(addresses(files)))
}

fn works(files: &[Made]) -> Vec<Reply> {
    vec![
        accepted(),
        stands("starting", &Value::Null),
        stands("processing", &Value::Null),
        succeeded(files),
    ]
}

fn partial(files: &[Made]) -> (Request, Vec<Reply>) {
    let mut output = addresses(files);
    output.insert(1, Value::Null);
    let replies = vec![accepted(), stands("succeeded", &json!(output))];
    (
        with_settings(&json!({"count_field": "num_outputs"})),
        replies,
    )
}

/// As models word it.
const REFUSED: [&str; 9] = [
    "The input or output was flagged as sensitive. Please try again with different inputs. (E005) (uIJ6l3ruRD)",
    "Something new and short (E005)",
    "NSFW content detected. Try running it again, or try a different prompt.",
    "All generated images contained NSFW content. Try running it again with a different prompt.",
    "Prompt flagged by the safety system",
    "The image may contain sensitive content",
    "The prompt contains sensitive words",
    "Rejected: violates our content policies",
    "Blocked by Moderation",
];

fn refusals() -> Vec<Vec<Reply>> {
    REFUSED
        .iter()
        .map(|text| vec![accepted(), failed(text)])
        .collect()
}

fn empty() -> Vec<Vec<Reply>> {
    let mut conversations: Vec<Vec<Reply>> = [
        Value::Null,
        json!([]),
        json!({}),
        json!("a text and no file"),
        json!([null, 5, true, {"text": "http"}]),
    ]
    .iter()
    .map(|output| vec![accepted(), stands("succeeded", output)])
    .collect();
    let broken_down = [
        "",
        "Director: unexpected error handling prediction (E6716)",
        "CUDA out of memory (E1001)",
        "Prediction failed for an unknown reason (E1000)",
        "Prediction interrupted; please retry (code: PA)",
        "list index out of range",
    ];
    conversations.extend(broken_down.map(|text| vec![accepted(), failed(text)]));
    let mute = prediction(ID, "failed", &Value::Null, &Value::Null);
    conversations.push(vec![accepted(), Reply::json(200, &mute)]);
    conversations
}

fn problem(status: u16, title: &str) -> Reply {
    Reply::json(
        status,
        &json!({"title": title, "detail": "a text", "status": status}),
    )
}

fn errors() -> Vec<Fails> {
    let no = Accepted::No;
    let mut rows: Vec<Fails> = [
        (problem(401, "Unauthenticated"), ErrorKind::Auth, no),
        (problem(403, "Forbidden"), ErrorKind::Auth, no),
        (
            problem(402, "Insufficient credit"),
            ErrorKind::QuotaExhausted,
            no,
        ),
        (problem(404, "Not found"), ErrorKind::ModelGone, no),
        (
            problem(422, "Input validation failed"),
            ErrorKind::InvalidRequest,
            no,
        ),
        (
            problem(422, "Invalid version or not permitted"),
            ErrorKind::ModelGone,
            no,
        ),
        (problem(418, "A new one"), ErrorKind::InvalidRequest, no),
        (problem(429, "Throttled"), ErrorKind::RateLimited, no),
        (problem(409, "Conflict"), ErrorKind::Unavailable, no),
        (
            problem(500, "Internal"),
            ErrorKind::Unavailable,
            Accepted::Unknown,
        ),
        (
            problem(503, "Down"),
            ErrorKind::Unavailable,
            Accepted::Unknown,
        ),
        (
            Reply::new(502, "text/html", "<html>"),
            ErrorKind::Unknown,
            Accepted::Unknown,
        ),
    ]
    .into_iter()
    .map(|(reply, kind, accepted)| fails(vec![reply], kind, accepted))
    .collect();
    for (reply, kind, taken) in [
        (
            stands("canceled", &Value::Null),
            ErrorKind::Cancelled,
            Accepted::Yes,
        ),
        (
            stands("aborted", &Value::Null),
            ErrorKind::Expired,
            Accepted::No,
        ),
        (
            problem(401, "Unauthenticated"),
            ErrorKind::Auth,
            // Said of the question: the task is asked for again.
            Accepted::No,
        ),
    ] {
        rows.push(fails(vec![accepted(), reply], kind, taken));
    }
    rows
}

async fn submit(replies: Vec<Reply>, request: Request) -> (Stub, Result<Submitted, ProviderError>) {
    let stub = Stub::replying(replies).await;
    let result = provider(&stub.url)
        .submit(&harness::context(), request)
        .await;
    (stub, result)
}

#[tokio::test]
async fn a_model_of_anybody_is_called_by_its_version() {
    for model in [VERSION.to_owned(), format!("stability-ai/sdxl:{VERSION}")] {
        let request = Request {
            model: model.clone(),
            ..request()
        };
        let (stub, result) = submit(vec![accepted()], request).await;
        result.unwrap();
        let sent = &stub.requests()[0];
        assert_eq!(sent.path, "/predictions");
        assert_eq!(
            sent.json(),
            json!({"version": model, "input": golden_input()})
        );
    }
    let request = Request {
        model: "../account".to_owned(),
        ..request()
    };
    let (stub, result) = submit(Vec::new(), request).await;
    assert_eq!(result.unwrap_err().kind, ErrorKind::InvalidRequest);
    assert!(stub.requests().is_empty());
}

#[tokio::test]
async fn their_deadline_is_ours() {
    for (left, expected) in [(90, "90s"), (1, "5s")] {
        let stub = Stub::replying([accepted()]).await;
        let mut context = harness::context();
        context.time_left = Duration::from_secs(left);
        provider(&stub.url)
            .submit(&context, request())
            .await
            .unwrap();
        assert_eq!(stub.requests()[0].header("cancel-after"), Some(expected));
    }
}

#[tokio::test]
async fn how_many_are_asked_stands_where_the_route_says() {
    let settings = json!({"count_field": "num_outputs"});
    let (stub, result) = submit(vec![accepted()], with_settings(&settings)).await;
    result.unwrap();
    assert_eq!(stub.requests()[0].json()["input"]["num_outputs"], 3);
}

#[tokio::test]
async fn a_model_that_makes_one_file_a_call_is_called_for_each() {
    let of = |id: &str, status: &str, output: Value| {
        Reply::json(201, &prediction(id, status, &output, &Value::Null))
    };
    let stub = Stub::replying([
        of("a1", "starting", Value::Null),
        of("b2", "starting", Value::Null),
        problem(429, "Throttled"),
        of("a1", "succeeded", json!("https://files.example/0.png")),
        of("b2", "processing", Value::Null),
        of("a1", "succeeded", json!("https://files.example/0.png")),
        of("b2", "failed", Value::Null),
    ])
    .await;
    let provider = provider(&stub.url);
    let context = harness::context();
    let request = with_settings(&json!({"calls": "one_each", "count_field": "num_outputs"}));
    let Submitted::Accepted(task) = provider.submit(&context, request).await.unwrap() else {
        panic!("a prediction is a task");
    };
    let polled = provider.poll(&context, &task).await.unwrap();
    assert!(matches!(polled, Polled::Pending { .. }));
    let polled = provider.poll(&context, &task).await.unwrap();
    assert!(matches!(polled, Polled::Done(outputs) if outputs.len() == 1));
    // Otherwise each of them would make all.
    assert_eq!(stub.requests()[0].json(), json!({"input": golden_input()}));
    let asked: Vec<String> = stub.requests()[3..5]
        .iter()
        .map(|sent| sent.path.clone())
        .collect();
    assert_eq!(asked, ["/predictions/a1", "/predictions/b2"]);
}

async fn outputs(output: &Value) -> Vec<Output> {
    let stub = Stub::replying([accepted(), stands("succeeded", output)]).await;
    let provider = provider(&stub.url);
    let context = harness::context();
    let Submitted::Accepted(task) = provider.submit(&context, request()).await.unwrap() else {
        panic!("a prediction is a task");
    };
    let Polled::Done(outputs) = provider.poll(&context, &task).await.unwrap() else {
        panic!("it is done");
    };
    let receipt = context.receipt.lock().unwrap().clone();
    assert_eq!(receipt.request_id.as_deref(), Some(ID));
    assert_eq!(receipt.cost.as_deref(), Some("2.5 s"));
    outputs
}

#[tokio::test]
async fn every_shape_of_output_is_read_in_order() {
    let (a, b) = ("https://files.example/a.png", "https://files.example/b.png");
    for (output, expected) in [
        (json!(a), vec![a]),
        (json!([a, b]), vec![a, b]),
        (json!({"video": b, "text": "t", "more": [a]}), vec![b, a]),
        (
            json!([{"image": {"url": a}}, null, {"image": {"url": b}}]),
            vec![a, b],
        ),
    ] {
        let found: Vec<String> = outputs(&output)
            .await
            .into_iter()
            .map(|output| match output.source {
                OutputSource::Url(url) => url,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(found, expected, "{output}");
    }
}

fn large() -> Request {
    let mut request = request();
    request.media[0].bytes = Bytes::from(vec![7; 256 * 1024 + 1]);
    request.media.push(picture("mask", false));
    request
}

#[tokio::test]
async fn a_large_file_is_uploaded_before() {
    let address = "https://api.replicate.com/v1/files/f1";
    let uploaded = Reply::json(201, &json!({"id": "f1", "urls": {"get": address}}));
    let (stub, result) = submit(vec![uploaded, accepted()], large()).await;
    result.unwrap();
    let [upload, bought] = &stub.requests()[..] else {
        panic!("an upload and a prediction");
    };
    assert_eq!(
        (upload.method.as_str(), upload.path.as_str()),
        ("POST", "/files")
    );
    let form = String::from_utf8_lossy(&upload.body);
    assert!(
        form.contains("name=\"content\"; filename=\"input-0.png\""),
        "{}",
        &form[..200]
    );
    assert!(form.contains("image/png"));
    let input = bought.json()["input"].clone();
    assert_eq!(input["input_image"], address);
    assert_eq!(input["mask"], golden_input()["input_image"]);
}

#[tokio::test]
async fn a_failed_upload_has_bought_nothing() {
    use vydra_outbound::provider::Next;
    use vydra_testkit::upstream::Ending;
    for (reply, kind, next) in [
        (
            problem(500, "Internal"),
            ErrorKind::Unavailable,
            Next::Retry,
        ),
        (
            Reply::new(502, "text/html", "<html>"),
            ErrorKind::Unavailable,
            Next::Retry,
        ),
        (
            accepted().ending(Ending::InTheBody),
            ErrorKind::Unavailable,
            Next::Retry,
        ),
        (
            problem(429, "Throttled"),
            ErrorKind::RateLimited,
            Next::Retry,
        ),
        (problem(401, "Unauthenticated"), ErrorKind::Auth, Next::Fail),
        (
            problem(413, "Too large"),
            ErrorKind::InvalidRequest,
            Next::Fail,
        ),
        (
            Reply::json(201, &json!({"urls": {"get": "here"}})),
            ErrorKind::Protocol,
            Next::Fail,
        ),
    ] {
        let shown = format!("{reply:?}");
        let (stub, result) = submit(vec![reply], large()).await;
        let error = result.unwrap_err();
        assert_eq!(
            (error.kind, error.accepted),
            (kind, Accepted::No),
            "{shown}"
        );
        assert_eq!(error.next(), next, "{shown}");
        assert_eq!(stub.requests().len(), 1, "{shown}");
    }
}

#[tokio::test]
async fn a_limit_is_believed_that_stands_in_the_answer() {
    let told = json!({"detail": "Request was throttled.", "status": 429, "retry_after": 9});
    let (_stub, result) = submit(vec![Reply::json(429, &told)], request()).await;
    let error = result.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_secs(9)));
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_no_task() {
    for nonsense in ["", "..", "%2e%2e", "a/b", "a?b", "a1,", ",", "a1,.."] {
        let nobody = Stub::replying([]).await;
        let provider = provider(&nobody.url);
        let error = provider
            .poll(&harness::context(), nonsense)
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::TaskGone, "{nonsense}");
        provider.cancel(nonsense).await;
        assert!(nobody.requests().is_empty(), "{nonsense}");
    }
}

#[tokio::test]
async fn a_check_asks_for_the_account() {
    let account = json!({"type": "organization", "username": "acme", "name": "Acme"});
    let stub = Stub::replying([Reply::json(200, &account)]).await;
    provider(&stub.url).check().await.unwrap();
    assert_eq!(stub.requests()[0].path, "/account");
}
