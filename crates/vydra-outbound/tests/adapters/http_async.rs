//! Any server with tasks, described: a submit, polls, a cancel, addresses.

use crate::harness::{self, Cancel, Delivery, Fails, Harness, Made, Task, fails, picture};
use crate::suite::adapter;
use base64::Engine as _;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;
use vydra_outbound::provider::{
    Accepted, ErrorKind, OutputSource, Polled, Provider, Request, Submitted,
};
use vydra_outbound::providers::http::Http;
use vydra_outbound::secret::Secret;
use vydra_outbound::upstream::{Credential, Upstream, UpstreamSettings};
use vydra_testkit::upstream::{KEY, Recorded, Reply, Stub};

const HARNESS: Harness = Harness {
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
    limited: || Reply::json(429, &json!({"error": {"code": "busy"}})),
    task: Ok(Task {
        accepted,
        unknown_word: || vec![status("warming up")],
        done: |files| vec![result(&listed(files))],
        gone: || vec![Reply::json(404, &json!({}))],
        cancel: Ok(Cancel {
            in_time: || vec![Reply::new(204, "text/plain", "")],
            too_late: || vec![Reply::json(409, &json!({}))],
            golden: |sent| {
                assert_eq!(sent.len(), 1);
                assert_eq!(
                    (sent[0].method.as_str(), sent[0].path.as_str()),
                    ("DELETE", "/v1/jobs/j%2F1")
                );
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
    Arc::new(Http::new("studio", Arc::new(upstream.unwrap()), None))
}

fn settings() -> Map<String, Value> {
    // As an operator writes it.
    let toml = r#"
        path = "/v1/{{$model}}/jobs?trace={{trace}}"
        headers = { "Idempotency-Key" = "{{$job}}", "X-Version" = "2" }
        outputs = { at = "/result/files", each = "/url" }
        status = { at = "/state", done = ["done"], failed = ["error"], refused = ["blocked"] }
        errors = { code = "/error/code", kinds = { busy = "rate_limited", nsfw = "content_refused", 1102 = "quota_exhausted", down = "unavailable" } }
        receipt = { request_id = "x-request-id", cost = "/usage/cost", unit = "USD" }

        [body]
        text = "{{prompt}}"
        title = "Job {{$job}}: {{prompt}}"
        seconds = "{{duration}}"
        count = "{{$outputs}}"
        seed = "{{seed}}"
        start = { image = "{{image}}" }

        [task]
        id = "/job/id"
        poll = "/v1/jobs/{{id}}"
        progress = "/percent"
        cancel = { method = "DELETE", path = "/v1/jobs/{{id}}" }
    "#;
    toml::from_str(toml).unwrap()
}

fn request() -> Request {
    let input = json!({"prompt": "waves {{seed}}", "duration": 8, "trace": "a b/c"});
    let mut request = harness::request(MediaKind::Video, Action::Edit, "m-1", &input);
    request.media = vec![picture("image", false)];
    request.settings = settings();
    request
}

fn golden(sent: &Recorded) {
    assert_eq!(
        (sent.method.as_str(), sent.path.as_str()),
        ("POST", "/v1/m-1/jobs?trace=a%20b%2Fc")
    );
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(
        sent.header("idempotency-key"),
        Some("job_01ARZ3NDEKTSV4RRFFQ69G5FAV")
    );
    assert_eq!(sent.header("x-version"), Some("2"));
    let image = base64::prelude::BASE64_STANDARD.encode(b"\x89PNG picture");
    assert_eq!(
        sent.json(),
        json!({
            "text": "waves {{seed}}", "title": "Job job_01ARZ3NDEKTSV4RRFFQ69G5FAV: waves {{seed}}", "seconds": 8, "count": 1,
            "start": {"image": format!("data:image/png;base64,{image}")},
        })
    );
}

fn accepted() -> Reply {
    Reply::json(200, &json!({"job": {"id": "j/1"}, "state": "queued"})).with("x-request-id", "r-1")
}

fn status(word: &str) -> Reply {
    Reply::json(200, &json!({"state": word, "percent": 41.5}))
}

fn ended(word: &str, code: &Value) -> Reply {
    Reply::json(200, &json!({"state": word, "error": {"code": code}}))
}

fn listed(files: &[Made]) -> Vec<Value> {
    let files = files.iter().map(|file| match file {
        Made::At(url) => json!({"url": url}),
        Made::File(_) => unreachable!("it answers with addresses"),
    });
    files.collect()
}

fn result(files: &[Value]) -> Reply {
    let body = json!({"state": "done", "result": {"files": files}, "usage": {"cost": 0.04}});
    Reply::json(200, &body)
}

fn works(files: &[Made]) -> Vec<Reply> {
    vec![
        accepted(),
        status("queued"),
        status("running"),
        result(&listed(files)),
    ]
}

fn partial(files: &[Made]) -> (Request, Vec<Reply>) {
    let request = Request {
        outputs: 3,
        ..request()
    };
    let mut files = listed(files);
    files.insert(1, json!({"url": null}));
    (request, vec![accepted(), result(&files)])
}

fn refusals() -> Vec<Vec<Reply>> {
    vec![
        vec![accepted(), status("blocked")],
        vec![accepted(), ended("error", &json!("nsfw"))],
        vec![status("blocked")],
    ]
}

fn empty() -> Vec<Vec<Reply>> {
    [
        json!({"state": "done"}),
        json!({"state": "done", "result": {"files": []}}),
        json!({"state": "done", "result": {"files": [{}]}}),
        json!({"state": "done", "result": {"files": "x"}}),
    ]
    .iter()
    .map(|result| vec![accepted(), Reply::json(200, result)])
    .collect()
}

fn errors() -> Vec<Fails> {
    let told = |status: u16, code: &str| Reply::json(status, &json!({"error": {"code": code}}));
    let (no, yes) = (Accepted::No, Accepted::Yes);
    let mut rows = Vec::new();
    for (reply, kind, accepted) in [
        (told(400, "nsfw"), ErrorKind::ContentRefused, no),
        (told(400, "busy"), ErrorKind::RateLimited, no),
        (told(500, "down"), ErrorKind::Unavailable, no),
        (told(200, "busy"), ErrorKind::RateLimited, no),
        (told(200, "other"), ErrorKind::Protocol, Accepted::Unknown),
        (told(400, "other"), ErrorKind::InvalidRequest, no),
        (told(401, "other"), ErrorKind::Auth, no),
        (told(402, "other"), ErrorKind::QuotaExhausted, no),
        (told(404, "other"), ErrorKind::ModelGone, no),
        (told(409, "other"), ErrorKind::Unavailable, no),
        (told(503, "other"), ErrorKind::Unavailable, no),
        (told(500, "other"), ErrorKind::Unknown, Accepted::Unknown),
        (
            Reply::json(403, &json!({"error": {"code": 1102}})),
            ErrorKind::QuotaExhausted,
            no,
        ),
    ] {
        rows.push(fails(vec![reply], kind, accepted));
    }
    for (reply, kind) in [
        (ended("error", &json!("other")), ErrorKind::NoOutput),
        (ended("error", &json!(null)), ErrorKind::NoOutput),
        (ended("error", &json!("busy")), ErrorKind::NoOutput),
        (ended("error", &json!(1102)), ErrorKind::QuotaExhausted),
        (ended("done", &json!("nsfw")), ErrorKind::ContentRefused),
    ] {
        rows.push(fails(vec![accepted(), reply], kind, yes));
    }
    // Said of the question alone: the task is asked for again.
    let refused = vec![accepted(), told(403, "other")];
    rows.push(fails(refused, ErrorKind::Auth, no));
    rows
}

async fn name(stub: &Stub) -> String {
    let done = provider(&stub.url)
        .submit(&harness::context(), request())
        .await;
    match done.unwrap() {
        Submitted::Accepted(task) => task,
        Submitted::Done(outputs) => panic!("{outputs:?}"),
    }
}

#[tokio::test]
async fn progress_cost_and_request_are_told() {
    let file = json!({"url": "https://files.example/a.mp4"});
    let stub = Stub::replying([accepted(), status("running"), result(&[file])]).await;
    let (context, provider) = (harness::context(), provider(&stub.url));
    let submitted = provider.submit(&context, request()).await.unwrap();
    let Submitted::Accepted(task) = submitted else {
        panic!("a task is accepted");
    };
    let polled = provider.poll(&context, &task).await.unwrap();
    assert!(matches!(polled, Polled::Pending { progress: Some(41) }));
    provider.poll(&context, &task).await.unwrap();
    let receipt = context.receipt.lock().unwrap().clone();
    assert_eq!(receipt.request_id.as_deref(), Some("r-1"));
    assert_eq!(receipt.cost.as_deref(), Some("0.04 USD"));
    let paths: Vec<String> = stub.requests().into_iter().map(|one| one.path).collect();
    assert_eq!(paths[1..], ["/v1/jobs/j%2F1", "/v1/jobs/j%2F1"]);
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_refused() {
    let stub = Stub::replying([accepted()]).await;
    let good: Value = serde_json::from_str(&name(&stub).await).unwrap();
    let nowhere = provider("http://127.0.0.1:9");
    for (place, value) in [
        ("/id", json!("..")),
        ("/id", json!("")),
        ("/id", json!("x".repeat(600))),
        ("/id", json!(5)),
        ("/settings/task/poll", json!("//evil.example/{{id}}")),
        ("/settings/task/poll", json!("https://evil.example/{{id}}")),
        ("/settings/task/poll", json!("/v1/../{{id}}")),
        ("/settings/status", json!({})),
        ("/settings/task", json!(null)),
        ("/settings", json!({"outputs": {"at": "/x"}})),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value;
        let polled = nowhere.poll(&harness::context(), &bad.to_string()).await;
        let error = polled.unwrap_err();
        assert_eq!(error.kind, ErrorKind::TaskGone, "{place}: {error}");
        assert!(error.detail.contains("not ours"), "{place}: {error}");
    }
}

#[tokio::test]
async fn a_task_without_a_usable_name_is_not_understood() {
    for id in [
        json!(null),
        json!(""),
        json!(".."),
        json!({}),
        json!("x".repeat(600)),
    ] {
        let stub = Stub::replying([Reply::json(200, &json!({"job": {"id": id}}))]).await;
        let failed = provider(&stub.url)
            .submit(&harness::context(), request())
            .await;
        let error = failed.unwrap_err();
        assert_eq!(
            (error.kind, error.accepted),
            (ErrorKind::Protocol, Accepted::Unknown),
            "{id}"
        );
    }
}

#[tokio::test]
async fn what_is_described_wrongly_or_lacks_a_field_is_not_sent() {
    let stub = Stub::replying([]).await;
    let without = |field: &str| {
        let mut request = request();
        request.input.shift_remove(field);
        request
    };
    let mut elsewhere = request();
    elsewhere.model = "..".to_owned();
    let mut torn = request();
    torn.settings
        .insert("headers".to_owned(), json!({"x-a": "{{prompt}}"}));
    torn.input.insert("prompt".to_owned(), json!("a\nb"));
    let mut undescribed = request();
    undescribed.settings = Map::new();
    for request in [without("trace"), elsewhere, torn, undescribed] {
        let failed = provider(&stub.url)
            .submit(&harness::context(), request)
            .await;
        let error = failed.unwrap_err();
        assert_eq!(
            (error.kind, error.accepted),
            (ErrorKind::InvalidRequest, Accepted::No)
        );
        assert!(error.detail.contains("settings."), "{error}");
    }
    assert!(stub.requests().is_empty());
}

#[tokio::test]
async fn a_file_of_its_own_server_is_read_with_the_key() {
    let files =
        json!([{"url": "/v1/files/1"}, {"url": "https://files.example/2.mp4"}, {"url": ""}]);
    let stub = Stub::replying([accepted(), result(files.as_array().unwrap())]).await;
    let mut request = request();
    request.settings["outputs"]["as"] = json!("own");
    let (context, provider) = (harness::context(), provider(&stub.url));
    let submitted = provider.submit(&context, request).await.unwrap();
    let Submitted::Accepted(task) = submitted else {
        panic!("a task is accepted");
    };
    let Polled::Done(outputs) = provider.poll(&context, &task).await.unwrap() else {
        panic!("it is done");
    };
    assert_eq!(outputs.len(), 2);
    assert!(matches!(&outputs[0].source, OutputSource::Own(_, path) if path == "/v1/files/1"));
    assert!(matches!(&outputs[1].source, OutputSource::Url(_)));
}
