//! Looking at jobs, waiting for them, cancelling them.

use crate::fixture::{Api, CREDITS, is_time};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
async fn a_pending_job_is_flat_and_shows_nothing_that_is_not_there() {
    let api = Api::idle().await;
    let id = api.pending().await;
    let mut job = api.get(&format!("jobs/{id}")).send().await.ok(200);
    assert!(is_time(&job["createdAt"]));
    job.as_object_mut().unwrap().remove("createdAt");
    assert_eq!(
        job,
        json!({
            "id": id, "jobId": id, "status": "pending", "progress": 0, "statusMessage": null,
            "workflow": "generate_image", "workflowSlug": "generate_image", "model": "gemini-image",
            "creditsCharged": 5, "creditsRefunded": 0, "startedAt": null, "completedAt": null,
            "input": {"prompt": "p", "aspectRatio": "1:1"}, "output": null,
            "error": null, "code": null, "refund": null, "provider": null,
        })
    );
}

#[tokio::test]
async fn a_wait_ends_as_soon_as_the_job_does() {
    let api = Api::new().await;
    let gate = api.provider.hold_next();
    let id = api.pending().await;
    let wait = api.get(&format!("jobs/{id}?wait=60"));
    let began = Instant::now();
    let open = async {
        gate.reached().await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(wait.send(), open);
    assert_eq!(answer.ok(200)["status"], "completed");
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_wait_ends_when_it_is_over() {
    let api = Api::idle().await;
    let id = api.pending().await;
    let began = Instant::now();
    let job = api.get(&format!("jobs/{id}?wait=1")).send().await.ok(200);
    assert_eq!(job["status"], "pending");
    assert!(began.elapsed() >= Duration::from_secs(1));
    api.get(&format!("jobs/{id}?wait=0")).send().await.ok(200);
}

#[tokio::test]
async fn several_can_wait_for_one_job_and_for_its_cancel() {
    let api = Api::idle().await;
    let id = api.pending().await;
    let wait = || api.get(&format!("jobs/{id}?wait=60")).send();
    let cancel = api.delete(&format!("jobs/{id}"));
    let (one, two, _) = tokio::join!(wait(), wait(), cancel.send());
    assert_eq!(one.ok(200)["status"], "cancelled");
    assert_eq!(one.json(), two.json());
}

#[tokio::test]
async fn a_cancel_is_final_and_refunded_at_once() {
    let api = Api::idle().await;
    let id = api.pending().await;
    assert_eq!(api.credits().await, CREDITS - 5);
    let answer = api.delete(&format!("jobs/{id}")).send().await;
    let job = answer.ok(200);
    assert_eq!(job["id"], id);
    assert_eq!(job["status"], "cancelled");
    assert_eq!(
        job["refund"],
        json!({"applied": true, "creditsRefunded": 5})
    );
    assert_eq!(
        (&job["creditsCharged"], &job["creditsRefunded"]),
        (&json!(5), &json!(5))
    );
    assert!(is_time(&job["completedAt"]));
    assert_eq!(job["error"], "The job was cancelled");
    assert_eq!(api.credits().await, CREDITS);
    // A second time: the same, and nothing refunded twice.
    let again = api.delete(&format!("jobs/{id}")).send().await.ok(200);
    assert_eq!(again, job);
    assert_eq!(api.credits().await, CREDITS);
    assert_eq!(api.get(&format!("jobs/{id}")).send().await.ok(200), job);
    assert_eq!(api.step().await, 0);
}

#[tokio::test]
async fn a_running_job_can_be_cancelled() {
    let api = Api::new().await;
    let gate = api.provider.hold_next();
    let id = api.pending().await;
    gate.reached().await;
    let running = api.get(&format!("jobs/{id}")).send().await.ok(200);
    assert_eq!(running["status"], "running");
    assert!(is_time(&running["startedAt"]));
    let job = api.delete(&format!("jobs/{id}")).send().await.ok(200);
    assert_eq!(job["status"], "cancelled");
    assert_eq!(api.credits().await, CREDITS);
    gate.open();
    // The worker is free for the next.
    api.picture().await;
    let job = api.get(&format!("jobs/{id}")).send().await.ok(200);
    assert_eq!(
        (&job["status"], &job["output"]),
        (&json!("cancelled"), &Value::Null)
    );
}

#[tokio::test]
async fn what_has_ended_cannot_be_cancelled() {
    let api = Api::idle().await;
    let id = api.pending().await;
    api.step().await;
    let answer = api.delete(&format!("jobs/{id}")).send().await;
    assert_eq!(answer.status, 409);
    let body = answer.error("JOB_NOT_CANCELLABLE");
    assert_eq!(body["details"]["status"], "completed");
    assert_eq!(api.credits().await, CREDITS - 5);
}

/// Ten jobs, a second apart, oldest first: five images and five videos, of which the first two have ended.
async fn ten(api: &Api) -> Vec<String> {
    let mut ids = Vec::new();
    for turn in 0..10 {
        let workflow = if turn % 2 == 0 {
            "generate_image"
        } else {
            "generate_video"
        };
        let body = json!({"workflow": workflow, "input": {"prompt": "p"}});
        let created = api.post("jobs", &body).send().await.ok(201);
        ids.push(created["id"].as_str().unwrap().to_owned());
        if turn == 1 {
            assert_eq!(api.step().await, 2);
        }
        api.clock.advance(Duration::from_secs(1));
    }
    ids
}

async fn page(api: &Api, query: &str) -> (Vec<String>, Value) {
    let body = api.get(&format!("jobs?{query}")).send().await.ok(200);
    let jobs = body["data"].as_array().unwrap();
    let ids = jobs
        .iter()
        .map(|job| job["id"].as_str().unwrap().to_owned());
    (ids.collect(), body["pagination"].clone())
}

#[tokio::test]
async fn the_list_is_newest_first_and_paged() {
    let api = Api::with("enterprise", |_| {}).await;
    let org = api.org("rich", 10_000).await;
    let mut api = api;
    api.key = api.key(&org, &["*"], vydra_core::job::Mode::Live).await;
    let mut ids = ten(&api).await;
    ids.reverse();
    let (all, pagination) = page(&api, "").await;
    assert_eq!(all, ids);
    assert_eq!(
        pagination,
        json!({"limit": 20, "offset": 0, "count": 10, "nextCursor": null})
    );
    let (some, pagination) = page(&api, "limit=3&offset=2").await;
    assert_eq!(some, ids[2..5]);
    assert_eq!(pagination["count"], 10);
    assert_eq!(pagination["nextCursor"], ids[4]);
    let (none, pagination) = page(&api, "offset=10").await;
    assert_eq!((none.len(), &pagination["nextCursor"]), (0, &Value::Null));

    // By cursor: each job once, and an end.
    for limit in [1, 3, 5, 10] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let (ids, pagination) = page(&api, &format!("limit={limit}{after}")).await;
            seen.extend(ids);
            let Some(cursor) = pagination["nextCursor"].as_str() else {
                break;
            };
            assert!(seen.len() <= 10, "it ends");
            after = format!("&after={cursor}");
        }
        assert_eq!(seen, ids, "limit {limit}");
    }

    let (completed, pagination) = page(&api, "status=completed").await;
    assert_eq!(completed, ids[8..]);
    assert_eq!(pagination["count"], 2);
    let (images, _) = page(&api, "workflow=generate_image&status=pending").await;
    assert_eq!(
        images,
        [&ids[1], &ids[3], &ids[5], &ids[7]].map(String::clone)
    );
    let (none, _) = page(&api, "workflow=nothing").await;
    assert!(none.is_empty());
    // What a list shows of a job is what the job shows of itself.
    let list = api
        .get("jobs?limit=1&status=completed")
        .send()
        .await
        .ok(200);
    let one = api.get(&format!("jobs/{}", ids[8])).send().await.ok(200);
    assert_eq!(list["data"][0], one);
}

#[tokio::test]
async fn a_job_that_is_not_there_looks_the_same_however_it_is_asked_for() {
    let api = Api::idle().await;
    let mut bodies = Vec::new();
    for id in [
        "job_00000000000000000000000000",
        "nonsense",
        "org_00000000000000000000000000",
        "job_",
        "%20",
        "job_0000000000000000000000000'",
    ] {
        for call in [
            api.get(&format!("jobs/{id}")),
            api.get(&format!("jobs/{id}?wait=30")),
            api.delete(&format!("jobs/{id}")),
        ] {
            let answer = call.header("x-request-id", "same").send().await;
            assert_eq!(answer.status, 404);
            answer.error("JOB_NOT_FOUND");
            bodies.push(answer.bytes);
        }
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}
