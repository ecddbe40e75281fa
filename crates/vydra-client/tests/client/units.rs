//! What the shared cases do not reach.

use crate::support::{KEY, server};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use vydra_client::{
    Buy, Code, Credentials, Environment, Error, ImageInput, JobEventKind, JobStatus, Progress,
    Source, UploadOptions, Wait, types, webhooks,
};

fn image() -> ImageInput {
    ImageInput {
        prompt: "a boat".into(),
        ..ImageInput::default()
    }
}

fn cancelling() -> Wait {
    Wait {
        cancel_on_drop: true,
        ..Wait::default()
    }
}

fn is_send(_: &impl Send) {}

fn holds_the_key(text: &str) -> bool {
    text.split(|letter: char| !letter.is_alphanumeric())
        .any(|word| word == KEY)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_shown_holds_the_key() {
    let (server, builder) = server(
        &json!([{"expect": {"headers": {"authorization": "Bearer KEY"}}, "answer": {"fault": "reset"}}]),
    );
    let client = builder.clone().max_retries(0).build().unwrap();
    let error = client.credits().await.unwrap_err();
    let environment = Environment {
        api_key: Some(KEY.into()),
        ..Environment::default()
    };
    let credentials = Credentials {
        base_url: server.url.clone(),
        api_key: KEY.into(),
    };
    let secret: types::Secret = serde_json::from_value(json!({"secret": KEY})).unwrap();
    let mut shown = format!(
        "{client:?} {builder:?} {environment:?} {credentials:?} {secret:?} {error:?} {error}"
    );
    let mut below = error.source();
    while let Some(source) = below {
        shown.extend([format!("{source:?} "), source.to_string()]);
        below = source.source();
    }
    assert!(!holds_the_key(&shown), "{shown}");
    assert!(shown.contains(&server.url), "{shown}");
    server.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_are_told_of_every_try_and_break_nothing() {
    let (server, builder) = server(&json!([
        {"expect": {}, "answer": {"status": 503, "text": "busy", "headers": {"x-request-id": "req_1"}}},
        {"expect": {"headers": {"user-agent": concat!("vydra-rust/", env!("CARGO_PKG_VERSION"))}}, "answer": {"status": 200, "json": {"creditsRemaining": 7}}},
    ]));
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let tell = |what: String, told: &Mutex<Vec<String>>| {
        told.lock().unwrap().push(what);
    };
    let (first, second, third) = (Arc::clone(&told), Arc::clone(&told), Arc::clone(&told));
    let client = builder
        .on_request(move |event| {
            tell(
                format!("{} {} {}", event.method, event.url, event.attempt),
                &first,
            );
        })
        .on_response(move |event| {
            tell(
                format!("{} {} {:?}", event.attempt, event.status, event.request_id),
                &second,
            );
            panic!("a hook that is broken");
        })
        .on_retry(move |event| {
            tell(
                format!("{} after {:?}: {}", event.attempt, event.wait, event.error),
                &third,
            );
        })
        .build()
        .unwrap();
    assert_eq!(client.credits().await.unwrap().credits_remaining, 7);
    let url = format!("GET {}/api/v1/billing/credits", server.url);
    server.finish();
    let told = told.lock().unwrap();
    assert_eq!(
        *told,
        [
            format!("{url} 0"),
            "0 503 Some(\"req_1\")".into(),
            "1 after 250ms: The server answered 503 without a readable error. (request req_1)"
                .into(),
            format!("{url} 1"),
            "1 200 None".into(),
        ]
    );
    assert!(!holds_the_key(&told.join(" ")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_dropped_cancels_the_job_once() {
    let (server, builder) = server(&json!([
        {"expect": {"method": "GET", "path": "/api/v1/jobs/job_1"}, "answer": {"fault": "hang"}},
        {"expect": {"method": "DELETE", "path": "/api/v1/jobs/job_1"}, "answer": {"status": 200, "json": {"id": "job_1", "status": "cancelled"}}},
    ]));
    let client = builder.build().unwrap();
    let wait = cancelling();
    tokio::select! {
        outcome = client.wait("job_1", &wait) => panic!("{outcome:?}"),
        () = server.arrived(1) => {}
    }
    client.close().await;
    assert_eq!(server.finish(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_dropped_leaves_the_job_alone_if_nothing_is_said() {
    let (server, builder) =
        server(&json!([{"expect": {"method": "GET"}, "answer": {"fault": "hang"}}]));
    let client = builder.build().unwrap();
    let wait = Wait::default();
    tokio::select! {
        outcome = client.wait("job_1", &wait) => panic!("{outcome:?}"),
        () = server.arrived(1) => {}
    }
    client.close().await;
    assert_eq!(server.finish(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_has_ended_or_is_over_cancels_nothing() {
    let (server, builder) = server(&json!([
        {"expect": {"method": "GET"}, "answer": {"status": 200, "json": {"id": "job_1", "status": "completed"}}},
        {"expect": {"method": "GET"}, "answer": {"status": 200, "json": {"id": "job_1", "status": "running"}}},
    ]));
    let client = builder.build().unwrap();
    client.wait("job_1", &cancelling()).await.unwrap();
    let at_once = Wait {
        timeout: Duration::ZERO,
        ..cancelling()
    };
    let outcome = client.wait("job_1", &at_once).await;
    assert!(
        matches!(outcome, Err(Error::WaitTimeout { .. })),
        "{outcome:?}"
    );
    client.close().await;
    assert_eq!(server.finish(), 2);
}

// On one thread, so that the purchase goes on only when somebody waits.
#[tokio::test]
async fn a_purchase_that_is_dropped_is_cancelled_when_it_is_known() {
    let (server, builder) = server(&json!([
        {"expect": {"method": "POST", "headers": {"idempotency-key": "$same"}}, "answer": {"fault": "reset"}},
        {"expect": {"method": "POST", "headers": {"idempotency-key": "$same"}}, "answer": {"status": 201, "json": {"id": "job_1", "status": "pending"}}},
        {"expect": {"method": "DELETE", "path": "/api/v1/jobs/job_1"}, "answer": {"status": 200, "json": {"id": "job_1", "status": "cancelled"}}},
    ]));
    let client = builder.build().unwrap();
    let (input, buy, wait) = (image(), Buy::default(), cancelling());
    let generate = client.generate();
    // Looked at once, and dropped: the purchase has begun, and its answer is not here.
    let outcome = futures_util::FutureExt::now_or_never(generate.image(&input, &buy, &wait));
    assert!(outcome.is_none());
    client.close().await;
    assert_eq!(server.finish(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_dropped_cancels_the_job_if_it_is_told_to() {
    let event = "event: progress\nid: 1\ndata: {\"status\": \"running\", \"progress\": 5}\n\n";
    let (server, builder) = server(&json!([
        {"expect": {"method": "GET"}, "answer": {"status": 200, "events": event}},
        {"expect": {"method": "DELETE", "path": "/api/v1/jobs/job_1"}, "answer": {"status": 200, "json": {"id": "job_1", "status": "cancelled"}}},
    ]));
    let client = builder.build().unwrap();
    let mut stream = client.stream("job_1", &cancelling());
    let event = stream.next().await.unwrap().unwrap();
    assert_eq!(
        (event.event, event.status, event.progress),
        (JobEventKind::Progress, JobStatus::Running, 5)
    );
    drop(stream);
    client.close().await;
    assert_eq!(server.finish(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_fills_the_memory() {
    let answer = |status: u16, text: String| json!({"expect": {}, "answer": {"status": status, "text": text}});
    let pad = |mebibytes: usize| " ".repeat(mebibytes << 20);
    let (server, builder) = server(&json!([
        answer(200, format!(r#"{{"creditsRemaining": 7}}{}"#, pad(63))),
        answer(200, format!(r#"{{"creditsRemaining": 7}}{}"#, pad(64))),
        // Cut off it is no JSON any more.
        answer(
            404,
            format!(r#"{{"error": "none", "code": "NOT_FOUND"{}}}"#, pad(2))
        ),
    ]));
    let client = builder.max_retries(0).build().unwrap();
    assert_eq!(client.credits().await.unwrap().credits_remaining, 7);
    let error = client.credits().await.unwrap_err();
    assert!(matches!(error, Error::Connection { .. }), "{error:?}");
    let error = client.credits().await.unwrap_err();
    let api = error.api().unwrap();
    assert_eq!((api.status, &api.code), (404, &None));
    assert_eq!(api.body.as_str().map(str::len), Some(1 << 20));
    server.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_come_in_time_is_given_up() {
    let hang = json!({"expect": {}, "answer": {"fault": "hang"}});
    let (server, builder) = server(&json!([hang, hang]));
    let client = builder
        .timeout(Duration::from_millis(20))
        .max_retries(1)
        .build()
        .unwrap();
    let error = client.credits().await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
    assert_eq!(
        error.friendly(),
        "The service took too long to answer. Please try again."
    );
    // How many tries arrived in so short a time, chance says.
    server.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_says_which_job_it_is_about() {
    let revoked = json!({"status": 403, "json": {"error": "No.", "code": "INSUFFICIENT_SCOPE"}});
    let made = json!({"status": 500, "json": {"error": "No.", "code": "GENERATION_FAILED", "details": {"jobId": "job_2"}}});
    let (server, builder) = server(&json!([
        {"expect": {"method": "POST"}, "answer": {"status": 201, "json": {"id": "job_1", "status": "pending"}}},
        {"expect": {"path": "/api/v1/jobs/job_1"}, "answer": revoked},
        {"expect": {"path": "/api/v1/jobs/job_1/events"}, "answer": revoked},
        {"expect": {"method": "GET"}, "answer": {"status": 200, "json": {"id": "job_1", "status": "failed", "error": "No."}}},
        {"expect": {"method": "POST"}, "answer": made},
        {"expect": {"method": "GET"}, "answer": revoked},
    ]));
    let client = builder.build().unwrap();
    let (input, buy, wait) = (image(), Buy::default(), Wait::default());
    let error = client.generate().image(&input, &buy, &wait).await;
    assert_eq!(error.unwrap_err().job_id(), Some("job_1"));
    let error = client.stream("job_1", &wait).next().await.unwrap_err();
    assert_eq!(error.job_id(), Some("job_1"));
    let error = client.wait("job_1", &wait).await.unwrap_err();
    assert_eq!(error.job_id(), Some("job_1"));
    let error = client.generate().image(&input, &buy, &wait).await;
    assert_eq!(error.unwrap_err().job_id(), Some("job_2"));
    // Of no job.
    assert_eq!(client.credits().await.unwrap_err().job_id(), None);
    server.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_that_names_no_job_is_a_broken_answer() {
    let told = |key: &str, answer: Value| json!({"expect": {"method": "POST", "headers": {"idempotency-key": key}}, "answer": {"status": 201, "json": answer}});
    let (server, builder) = server(&json!([
        told("one", json!({"status": "pending"})),
        told("one", json!({"id": "job_1"})),
        told("two", json!({})),
        told("two", json!({"jobId": ""})),
        told("three", json!({"id": null})),
        told("three", json!({"imageUrl": "u"})),
    ]));
    let client = builder.max_retries(1).build().unwrap();
    let (input, wait) = (image(), Wait::default());
    let buy = |key: &str| Buy {
        idempotency_key: Some(key.into()),
        ..Buy::default()
    };
    let job = client
        .jobs()
        .create("generate_image", &input, &buy("one"))
        .await
        .unwrap();
    assert_eq!(job.id, "job_1");
    for outcome in [
        client.generate().image(&input, &buy("two"), &wait).await,
        client
            .models()
            .run("gemini/generate", &input, &buy("three"))
            .await,
    ] {
        assert!(
            matches!(outcome, Err(Error::Connection { .. })),
            "{outcome:?}"
        );
    }
    assert_eq!(server.finish(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_serves_many_callers_at_once() {
    let answer = json!({"expect": {}, "answer": {"status": 201, "json": {"id": "job_1"}}});
    let exchanges = vec![answer; 50];
    let (server, builder) = server(&exchanges.into());
    let client = builder.build().unwrap();
    let (input, buy) = (image(), Buy::default());
    let calls = (0..50).map(|_| client.jobs());
    let calls: Vec<_> = calls.collect();
    let jobs = join_all(
        calls
            .iter()
            .map(|jobs| jobs.create("generate_image", &input, &buy)),
    )
    .await;
    assert!(jobs.into_iter().all(|job| job.unwrap().id == "job_1"));
    assert_eq!(server.finish(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_purchases_have_two_keys() {
    let bought = |key: &str| json!({"expect": {"headers": {"idempotency-key": key}}, "answer": {"status": 201, "json": {"id": "job_1"}}});
    let (server, builder) = server(&json!([bought("one"), bought("$same"), bought("$same")]));
    let client = builder.build().unwrap();
    let own = Buy {
        idempotency_key: Some("one".into()),
        ..Buy::default()
    };
    client
        .jobs()
        .create("generate_image", &image(), &own)
        .await
        .unwrap();
    client
        .jobs()
        .create("generate_image", &image(), &Buy::default())
        .await
        .unwrap();
    client
        .jobs()
        .create("generate_image", &image(), &Buy::default())
        .await
        .unwrap();
    // The third has another key than the second.
    let wrong = server.wrong();
    assert!(
        wrong.len() == 1 && wrong[0].starts_with("exchange 2: idempotency-key"),
        "{wrong:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_said_before_anything_is_sent() {
    let (server, builder) = server(&json!([]));
    let client = builder.build().unwrap();
    let folder = TempDir::new().unwrap();
    let header = Buy {
        simulate: Some("a\nb".into()),
        ..Buy::default()
    };
    let missing = Source::path(folder.path().join("missing.png"));
    let (buy, progress) = (Buy::default(), Progress::none());
    for outcome in [
        client
            .jobs()
            .create("generate_image", &image(), &header)
            .await
            .map(|_| ()),
        client
            .models()
            .run("gemini/generate", &"text", &buy)
            .await
            .map(|_| ()),
        client.jobs().get("..", None).await.map(|_| ()),
        client.jobs().cancel("").await.map(|_| ()),
    ] {
        assert!(matches!(outcome, Err(Error::Request(_))), "{outcome:?}");
    }
    let outcome = client
        .upload(missing, &UploadOptions::default(), &progress)
        .await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    let (told, cause) = (error.to_string(), error.source().unwrap().to_string());
    assert!(!told.contains(&cause), "{told}: {cause}");
    let outcome = client
        .download("file:///etc/passwd", folder.path().join("a"), &progress)
        .await;
    assert!(matches!(outcome, Err(Error::Download(_))), "{outcome:?}");
    assert_eq!(server.finish(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_can_be_made_on_another_thread() {
    let (server, builder) = server(&json!([]));
    let client = builder.build().unwrap();
    let (input, buy, wait, progress) = (image(), Buy::default(), Wait::default(), Progress::none());
    let mut content = Vec::new();
    is_send(&client.bytes("", &progress));
    is_send(&client.download("", "", &progress));
    is_send(&client.download_to("", &mut content, &progress));
    is_send(&client.upload(Source::path(""), &UploadOptions::default(), &progress));
    is_send(&client.generate().image(&input, &buy, &wait));
    is_send(&client.models().run("", &input, &buy));
    is_send(&client.wait("", &wait));
    is_send(&client.stream("", &wait).next());
    is_send(&client.credits());
    server.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocking_client_can_be_dropped_anywhere() {
    let (server, builder) = server(&json!([]));
    drop(builder.build_blocking().unwrap());
    server.finish();
}

#[test]
fn every_code_is_read_as_it_is_written() {
    let mut seen = BTreeSet::new();
    for code in Code::ALL {
        assert_eq!(Code::from(code.as_str()), code);
        assert!(code.status().is_some() && code.friendly().is_some_and(|text| !text.is_empty()));
        assert!(seen.insert(code.as_str().to_owned()));
    }
    let unknown = Code::from("NEW_ONE");
    assert_eq!(unknown, Code::Unknown("NEW_ONE".into()));
    assert_eq!(
        (unknown.as_str(), unknown.status(), unknown.retryable()),
        ("NEW_ONE", None, None)
    );
}

#[test]
fn an_answer_keeps_what_this_version_does_not_know() {
    let answer = json!({
        "id": "job_1", "jobId": "job_1", "status": "paused", "progress": 1, "model": "m", "creditsCharged": 5, "creditsRefunded": 0,
        "createdAt": "2026-01-01T00:00:00.000Z", "input": {"prompt": "a"}, "code": "NEW_ONE", "mood": {"good": true},
    });
    let job: types::Job = serde_json::from_value(answer.clone()).unwrap();
    assert_eq!(job.status, JobStatus::Unknown("paused".into()));
    assert!(!job.status.is_final());
    assert_eq!(job.rest["mood"]["good"], true);
    assert_eq!(serde_json::to_value(&job).unwrap(), answer);
}

#[test]
fn a_webhook_gives_its_job() {
    let data = json!({"id": "job_1", "status": "completed", "resultUrls": ["u"]});
    let event = |kind: &str| -> webhooks::WebhookEvent {
        serde_json::from_value(json!({"type": kind, "timestamp": "t", "data": data})).unwrap()
    };
    assert_eq!(event("job.completed").job().unwrap().url(), Some("u"));
    assert_eq!(event("webhook.test").job(), None);
}
