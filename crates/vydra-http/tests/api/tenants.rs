//! A stranger cannot see, touch or even detect what is another's.

use crate::fixture::Api;
use serde_json::json;
use vydra_core::job::Mode;
use vydra_testkit::PUBLIC_URL;

#[tokio::test]
async fn anothers_job_is_answered_like_one_that_does_not_exist() {
    let api = Api::idle().await;
    let done = api.pending().await;
    api.step().await;
    let open = api.pending().await;
    let stranger = api.org("stranger", 100).await;
    let key = api.key(&stranger, &["*"], Mode::Live).await;
    for id in [done, open] {
        for (method, query) in [("GET", ""), ("GET", "?wait=30"), ("DELETE", "")] {
            let ask = async |id: &str| {
                let call = api.call(method, &format!("jobs/{id}{query}")).key(&key);
                let mut answer = call.header("x-request-id", "same").send().await;
                answer.error("JOB_NOT_FOUND");
                // These count the stranger's own requests.
                for name in ["x-ratelimit-remaining", "ratelimit"] {
                    answer.headers.remove(name);
                }
                answer
            };
            let (foreign, unknown) = (ask(&id).await, ask("job_00000000000000000000000000").await);
            assert_eq!(foreign.bytes, unknown.bytes);
            assert_eq!(foreign.headers, unknown.headers);
        }
        let own = api.get(&format!("jobs/{id}")).send().await.ok(200);
        assert_ne!(own["status"], "cancelled");
    }
    let list = api.get("jobs").key(&key).send().await.ok(200);
    assert_eq!(list["data"], json!([]));
    assert_eq!(list["pagination"]["count"], 0);
}

/// Test keys lie about in scripts and CI: they must not reach what was paid for.
#[tokio::test]
async fn the_sandbox_and_the_real_thing_do_not_see_each_other() {
    let api = Api::idle().await;
    let live = api.pending().await;
    let test_key = api.key(&api.org, &["*"], Mode::Test).await;
    let input = json!({"prompt": "p"});
    let call = api.post("models/gemini/generate", &input).key(&test_key);
    let test = call.header("prefer", "respond-async").send().await.ok(202);
    let test = test["jobId"].as_str().unwrap();
    for (method, query) in [("GET", ""), ("GET", "?wait=30"), ("DELETE", "")] {
        let ask = |id: &str| api.call(method, &format!("jobs/{id}{query}"));
        ask(&live)
            .key(&test_key)
            .send()
            .await
            .error("JOB_NOT_FOUND");
        ask(test).send().await.error("JOB_NOT_FOUND");
    }
    let list = api.get("jobs").key(&test_key).send().await.ok(200);
    assert_eq!(list["pagination"]["count"], 1);
    assert_eq!(list["data"][0]["id"], test);
}

#[tokio::test]
async fn anothers_cursor_leads_nowhere() {
    let api = Api::idle().await;
    let foreign = api.pending().await;
    let stranger = api.org("stranger", 100).await;
    let key = api.key(&stranger, &["*"], Mode::Live).await;
    let ask = async |after: &str| {
        let call = api.get(&format!("jobs?after={after}")).key(&key);
        call.header("x-request-id", "same").send().await.bytes
    };
    assert_eq!(
        ask(&foreign).await,
        ask("job_00000000000000000000000000").await
    );
}

#[tokio::test]
async fn anothers_file_cannot_be_used() {
    let api = Api::new().await;
    let url = api.picture().await;
    let stranger = api.org("stranger", 100).await;
    let key = api.key(&stranger, &["*"], Mode::Live).await;
    let ask = async |url: &str| {
        let input = json!({"prompt": "p", "imageUrl": url});
        let call = api.post("models/gemini/edit", &input).key(&key);
        let answer = call.header("x-request-id", "same").send().await;
        answer.error("INVALID_URL");
        answer.bytes
    };
    let missing = format!("{PUBLIC_URL}/media/aa/{}.png", "0".repeat(40));
    assert_eq!(ask(&url).await, ask(&missing).await);
    assert_eq!(api.balance(&stranger, Mode::Live).await, 100);
}

#[tokio::test]
async fn anothers_figures_are_not_shown() {
    let api = Api::new().await;
    api.picture().await;
    let stranger = api.org("stranger", 100).await;
    let key = api.key(&stranger, &["*"], Mode::Live).await;
    let credits = api.get("billing/credits").key(&key).send().await.ok(200);
    assert_eq!(
        credits,
        json!({"creditsRemaining": 100, "creditsUsed": 0, "creditsRefunded": 0})
    );
    let organization = api.get("organization").key(&key).send().await.ok(200);
    assert_eq!(organization["name"], "stranger");
}
