//! Stopped as an operator stops it: what has begun is ended or handed back, in bounded time.

use crate::api::Api;
use crate::programs::until;
use crate::server::{Data, text};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// A job of which the worker has told some progress.
async fn at_work(api: &Api, job: &str) -> Value {
    until("the job has begun", || async {
        let body = api.get(&format!("jobs/{job}")).await.expect(200);
        let working = body["status"] == "running" && body["progress"].as_u64() > Some(0);
        working.then_some(body)
    })
    .await
}

async fn slow_job(api: &Api, span: &str) -> String {
    let input = json!({"workflow": "generate_image", "input": {"prompt": "a snail"}});
    let created = api
        .simulate(&format!("SLOW={span}"), "jobs", &input)
        .await
        .expect(201);
    text(&created["id"])
}

#[tokio::test(flavor = "multi_thread")]
async fn running_jobs_are_handed_back_and_go_on_after_the_restart() {
    let data = Data::new().with("VYDRA__WORKER__DRAIN", "200ms");
    let org = data.org("acme", 0).await;
    let key = data.key(&org, &["--test"]).await;
    let mut server = data.serve().await;
    let api = server.api(&key);
    let (long, short) = (slow_job(&api, "30s").await, slow_job(&api, "4s").await);
    at_work(&api, &long).await;
    at_work(&api, &short).await;

    let began = Instant::now();
    server.terminate().await;
    assert_eq!(server.ended().await.code(), Some(0));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(
        server
            .log()
            .contains("handing back the jobs that still run"),
        "{}",
        server.log()
    );
    assert!(
        !server.log().contains("could not be handed back"),
        "{}",
        server.log()
    );
    drop(server);

    let server = data.serve().await;
    let api = server.api(&key);
    assert_eq!(at_work(&api, &long).await["creditsRefunded"], 0);
    let ended = api.end_of(&short).await;
    assert_eq!(
        (&ended["status"], &ended["creditsRefunded"]),
        (&json!("completed"), &json!(0))
    );
    let cancelled = api.delete(&format!("jobs/{long}")).await.expect(200);
    assert_eq!(
        cancelled["refund"],
        json!({"applied": true, "creditsRefunded": 5})
    );
    assert_eq!(api.credits().await, 10_000 - 5);
    server.stop().await;
}

/// A sync call that is waiting gets its result, if it comes within the time for draining.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_has_begun_is_answered() {
    let data = Data::new();
    let org = data.org("acme", 0).await;
    let key = data.key(&org, &["--test"]).await;
    let mut server = data.serve().await;
    let api = server.api(&key);
    let input = json!({"text": "Wait for me."});
    let calling = api.simulate("SLOW=2s", "models/elevenlabs/tts", &input);
    let stopping = async {
        let job = until("the call has become a job that runs", || async {
            let running = api.get("jobs?status=running").await.expect(200);
            running["data"][0]["id"].as_str().map(str::to_owned)
        })
        .await;
        server.terminate().await;
        job
    };
    let (answer, job) = tokio::join!(calling, stopping);
    let body = answer.expect(200);
    assert_eq!(
        (&body["jobId"], &body["status"]),
        (&json!(job), &json!("completed"))
    );
    assert_eq!(server.ended().await.code(), Some(0));
}

/// One whose job takes longer is told how it stands, and not cut off.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_too_long_is_answered_too() {
    let data = Data::new().with("VYDRA__WORKER__DRAIN", "500ms");
    let org = data.org("acme", 0).await;
    let key = data.key(&org, &["--test"]).await;
    let mut server = data.serve().await;
    let api = server.api(&key);
    let input = json!({"text": "Do not wait for me."});
    let calling = api.simulate("SLOW=40s", "models/elevenlabs/tts", &input);
    let stopping = async {
        until("the call has become a job that runs", || async {
            let running = api.get("jobs?status=running").await.expect(200);
            running["data"][0]["id"].as_str().map(str::to_owned)
        })
        .await;
        let began = Instant::now();
        server.terminate().await;
        assert_eq!(server.ended().await.code(), Some(0));
        began.elapsed()
    };
    let (answer, took) = tokio::join!(calling, stopping);
    assert_eq!(answer.expect(202)["status"], "running");
    assert!(
        took < Duration::from_secs(8),
        "the time for draining counts once: {took:?}"
    );
}

/// An orchestrator may change its mind at once: whoever has read the address can stop the server in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_right_after_the_start_is_in_order() {
    let data = Data::without_providers();
    for _ in 0..10 {
        data.serve().await.stop().await;
        data.dev(&[]).await.stop().await;
    }
}
