//! The Gemini API, videos: an interaction in the background.

use crate::gemini::{error, of_google, provider};
use crate::harness::{self, Cancel, Delivery, Fails, Harness, Made, Task, fails, picture};
use crate::suite::adapter;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;
use vydra_outbound::provider::{
    Accepted, ErrorKind, OutputSource, Polled, ProviderError, Request, Submitted,
};
use vydra_testkit::upstream::{KEY, Recorded, Reply, Stub};

const ID: &str = "v1_ChdPNzhmYXJ";
const PLACE: &str = "/v1beta/interactions/v1_ChdPNzhmYXJ";

pub(crate) const HARNESS: Harness = Harness {
    before: Vec::new,
    provider,
    request,
    golden,
    works: |files| {
        vec![
            accepted(),
            status("queued"),
            status("in_progress"),
            done(files),
        ]
    },
    delivery: Delivery::Addresses,
    partial: Ok(partial),
    errors,
    refusals: Ok(refusals),
    empty,
    limited: || error(429, "RESOURCE_EXHAUSTED", &json!([])),
    task: Ok(Task {
        accepted,
        unknown_word: || vec![status("warming_up")],
        done: |files| vec![done(files)],
        gone: || vec![error(404, "NOT_FOUND", &json!([]))],
        cancel: Ok(Cancel {
            in_time: || vec![status("cancelled")],
            too_late: || vec![error(400, "FAILED_PRECONDITION", &json!([]))],
            golden: |sent| {
                assert_eq!(sent.len(), 1);
                assert_eq!(sent[0].method, "POST");
                assert_eq!(sent[0].path, format!("{PLACE}/cancel"));
            },
        }),
    }),
};

adapter!(HARNESS);

fn request() -> Request {
    let input = json!({
        "prompt": "the snow begins to fall",
        "response_format": {"aspect_ratio": "16:9", "resolution": "720p", "duration": "8s"},
        "generation_config": {"video_config": {"task": "image_to_video"}},
    });
    let model = "gemini-omni-1.2-flash";
    let mut request = harness::request(MediaKind::Video, Action::Generate, model, &input);
    request.media = vec![picture("image_url", false)];
    request
}

fn golden(sent: &Recorded) {
    assert_eq!(
        (sent.method.as_str(), sent.path.as_str()),
        ("POST", "/v1beta/interactions")
    );
    assert_eq!(sent.header("x-goog-api-key"), Some(KEY));
    assert_eq!(
        sent.json(),
        json!({
            "model": "gemini-omni-1.2-flash",
            "input": [
                {"type": "text", "text": "the snow begins to fall"},
                {"type": "image", "data": BASE64_STANDARD.encode(b"\x89PNG picture"), "mime_type": "image/png"},
            ],
            "background": true,
            "response_format": {
                "type": "video", "aspect_ratio": "16:9", "resolution": "720p", "duration": "8s", "delivery": "uri",
            },
            "generation_config": {"video_config": {"task": "image_to_video"}},
        })
    );
}

fn status(word: &str) -> Reply {
    Reply::json(200, &json!({"id": ID, "status": word}))
}

fn accepted() -> Reply {
    status("queued")
}

fn finished(content: &Value) -> Reply {
    Reply::json(
        200,
        &json!({
            "id": ID, "status": "completed", "usage": {"total_tokens": 57_920},
            "steps": [
                {"type": "thought", "content": [{"type": "image", "uri": "https://files.example/thought.png"}]},
                {"type": "model_output", "content": content},
            ],
        }),
    )
}

fn videos(files: &[Made]) -> Value {
    let files = files.iter().map(|file| match file {
        Made::At(url) => json!({"type": "video", "uri": url, "mime_type": "video/mp4"}),
        Made::File(_) => unreachable!("it is asked for addresses"),
    });
    let caption = json!({"type": "text", "text": "Here it is."});
    std::iter::once(caption).chain(files).collect()
}

fn done(files: &[Made]) -> Reply {
    finished(&videos(files))
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
        accepted(),
        accepted(),
        accepted(),
        done(&files[..1]),
        status("failed"),
        done(&files[1..]),
    ];
    (one_each(3), replies)
}

fn failed(errors: &Value) -> Reply {
    Reply::json(
        200,
        &json!({"id": ID, "status": "failed", "errors": errors}),
    )
}

fn refusals() -> Vec<Vec<Reply>> {
    let of_step = json!({
        "id": ID, "status": "completed",
        "steps": [{"type": "model_output", "error": {"code": "PROHIBITED_CONTENT", "message": "text"}}],
    });
    let told = "Blocked by our usage guidelines.";
    vec![
        vec![
            accepted(),
            failed(&json!([{"code": "SAFETY", "message": "text"}])),
        ],
        vec![accepted(), failed(&json!([{"code": 3, "message": told}]))],
        vec![accepted(), Reply::json(200, &of_step)],
    ]
}

fn empty() -> Vec<Vec<Reply>> {
    let bodies = [
        json!({"status": "completed"}),
        json!({"status": "completed", "steps": [], "output_video": null}),
        json!({"status": "completed", "output_video": {"type": "video"}}),
        json!({"status": "completed", "steps": [{"type": "model_output", "content": [{"type": "text", "text": "t"}]}]}),
        json!({"status": "incomplete"}),
        json!({"status": "requires_action"}),
        json!({"status": "failed", "errors": {}}),
        json!({"status": "failed", "errors": [{"code": "INTERNAL", "message": "m"}]}),
    ];
    let bodies = bodies.iter().map(|body| Reply::json(200, body));
    bodies.map(|reply| vec![accepted(), reply]).collect()
}

fn errors() -> Vec<Fails> {
    let mut rows = of_google();
    let invalid = failed(&json!([{"code": "INVALID_ARGUMENT", "message": "m"}]));
    for (reply, kind) in [
        (status("cancelled"), ErrorKind::Cancelled),
        (status("budget_exceeded"), ErrorKind::QuotaExhausted),
        (status("failed"), ErrorKind::NoOutput),
        (invalid, ErrorKind::InvalidRequest),
        (error(404, "NOT_FOUND", &json!([])), ErrorKind::TaskGone),
    ] {
        rows.push(fails(vec![accepted(), reply], kind, Accepted::Yes));
    }
    // Said of the question alone: the task is asked for again.
    for (reply, kind) in [
        (error(403, "PERMISSION_DENIED", &json!([])), ErrorKind::Auth),
        // Seen for tasks that ran.
        (
            error(400, "INVALID_ARGUMENT", &json!([])),
            ErrorKind::Protocol,
        ),
        (
            error(503, "UNAVAILABLE", &json!([])),
            ErrorKind::Unavailable,
        ),
    ] {
        rows.push(fails(vec![accepted(), reply], kind, Accepted::No));
    }
    rows
}

async fn polled(reply: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Polled {
    let stub = Stub::answering(reply).await;
    let task = format!("interaction:{ID}");
    let context = harness::context();
    let polled = provider(&stub.url).poll(&context, &task).await.unwrap();
    if matches!(polled, Polled::Done(_)) {
        let receipt = context.receipt.lock().unwrap();
        assert_eq!(receipt.cost.as_deref(), Some("57920 tokens"));
    }
    polled
}

#[tokio::test]
async fn a_file_of_googles_own_server_is_read_with_the_key() {
    let polled = polled(|asked| {
        let host = asked.header("host").unwrap();
        let uri = format!("http://{host}/v1beta/files/abc:download?alt=media");
        finished(&json!([{"type": "video", "uri": uri}]))
    })
    .await;
    let Polled::Done(outputs) = polled else {
        panic!("{polled:?}");
    };
    assert!(
        matches!(&outputs[..], [output] if matches!(&output.source, OutputSource::Own(_, path) if path == "/files/abc:download?alt=media")),
        "{outputs:?}"
    );
}

#[tokio::test]
async fn a_file_inside_of_the_answer_is_read_at_either_place() {
    let file = json!({"type": "video", "data": "AAAA", "mime_type": "video/mp4"});
    let short =
        json!({"status": "completed", "output_video": file, "usage": {"total_tokens": 57_920}});
    for reply in [finished(&json!([file])), Reply::json(200, &short)] {
        let Polled::Done(outputs) = polled(move |_| reply.clone()).await else {
            panic!("it is done");
        };
        assert!(matches!(&outputs[0].source, OutputSource::Bytes(bytes) if bytes.len() == 3));
    }
}

#[tokio::test]
async fn images_are_made_by_interactions_where_the_route_says_so() {
    let stub = Stub::replying([accepted()]).await;
    let input =
        json!({"prompt": "p", "response_format": {"image_size": "2K", "delivery": "inline"}});
    let request = Request {
        settings: json!({"api": "interactions"}).as_object().unwrap().clone(),
        ..harness::request(MediaKind::Image, Action::Generate, "m", &input)
    };
    let context = harness::context();
    let task = provider(&stub.url).submit(&context, request).await.unwrap();
    assert!(matches!(task, Submitted::Accepted(task) if task == format!("interaction:{ID}")));
    assert_eq!(
        stub.requests()[0].json(),
        json!({
            "model": "m", "input": [{"type": "text", "text": "p"}], "background": true,
            "response_format": {"type": "image", "image_size": "2K", "delivery": "inline"},
        })
    );
    let receipt = context.receipt.lock().unwrap();
    assert_eq!(receipt.request_id.as_deref(), Some(ID));
}

#[tokio::test]
async fn an_id_that_leads_elsewhere_is_none() {
    for id in ["", ".", "..", "%2e%2E"] {
        let stub = Stub::replying([Reply::json(200, &json!({"id": id}))]).await;
        let result = provider(&stub.url)
            .submit(&harness::context(), request())
            .await;
        match result {
            // As a name of its own it is one piece of a path.
            Ok(Submitted::Accepted(task)) => assert_eq!(task, "interaction:%252e%252E"),
            other => assert_eq!(other.unwrap_err().kind, ErrorKind::Protocol, "{id}"),
        }
    }
    let provider = provider("http://127.0.0.1:9");
    for task in [
        "interaction:",
        "interaction:a,",
        "interaction:..",
        "interaction:%2e.",
        "interaction:a/b",
        "interaction:a?b",
        ID,
    ] {
        let error: ProviderError = provider.poll(&harness::context(), task).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::TaskGone, "{task}");
    }
}

#[tokio::test]
async fn what_was_begun_is_waited_for_when_the_next_is_not_taken() {
    let file = Made::At("https://files.example/0.mp4".to_owned());
    let stub = Stub::replying([
        accepted(),
        error(429, "RESOURCE_EXHAUSTED", &json!([])),
        done(&[file]),
    ])
    .await;
    let provider = provider(&stub.url);
    let context = harness::context();
    let Submitted::Accepted(task) = provider.submit(&context, one_each(3)).await.unwrap() else {
        panic!("it is a task");
    };
    let polled = provider.poll(&context, &task).await.unwrap();
    assert!(matches!(polled, Polled::Done(outputs) if outputs.len() == 1));
}
