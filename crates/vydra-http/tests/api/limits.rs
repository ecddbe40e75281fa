//! Too many requests, too many jobs, too few credits: what is told, and that nothing happened.

use crate::fixture::{Api, CREDITS};
use serde_json::json;
use std::time::Duration;
use vydra_core::job::Mode;

#[tokio::test]
async fn each_answer_tells_how_much_is_left() {
    let api = Api::with("free", |_| {}).await;
    for (used, call) in [
        api.get("organization"),
        api.get("jobs/nonsense"),
        api.post("models/gemini/generate", &json!({})),
        api.post(
            "jobs",
            &json!({"workflow": "generate_image", "input": {"prompt": "p"}}),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = call.send().await;
        assert_eq!(answer.number("x-ratelimit-limit"), 10);
        assert_eq!(
            answer.number("x-ratelimit-remaining"),
            9 - i64::try_from(used).unwrap()
        );
        let now = vydra_core::time::Clock::now(api.clock.as_ref()).as_seconds();
        let reset = answer.number("x-ratelimit-reset");
        assert!(
            (now + 1..=now + 61).contains(&reset),
            "{reset} against {now}"
        );
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"minute\";q=10;w=60, \"hour\";q=100;w=3600, \"day\";q=500;w=86400")
        );
        let left = answer.header("ratelimit").unwrap();
        let expected = format!(
            "\"minute\";r={}, \"hour\";r={}, \"day\";r={}",
            9 - used,
            99 - used,
            499 - used
        );
        assert_eq!(left, expected);
    }
    // Whoever has no scope is counted and told too.
    let narrow = api.key(&api.org, &["keys:read"], Mode::Live).await;
    let answer = api.get("jobs").key(&narrow).send().await;
    answer.error("INSUFFICIENT_SCOPE");
    assert_eq!(answer.number("x-ratelimit-remaining"), 5);
}

#[tokio::test]
async fn one_request_too_many_in_a_minute() {
    let api = Api::with("free", |_| {}).await;
    let other_key = api.key(&api.org, &["*"], Mode::Live).await;
    for turn in 0..10 {
        // Over all keys of the organization.
        let key = if turn % 2 == 0 { &api.key } else { &other_key };
        api.get("organization").key(key).send().await.ok(200);
    }
    api.clock.advance(Duration::from_secs(20));
    for _ in 0..3 {
        let answer = api
            .post("models/gemini/generate", &json!({"prompt": "p"}))
            .send()
            .await;
        assert_eq!(answer.status, 429);
        let body = answer.error("RATE_LIMIT_EXCEEDED");
        assert_eq!(body["error"], "Rate limit exceeded");
        assert_eq!(
            body["limits"],
            json!({"type": "minute", "limit": 10, "used": 11})
        );
        let seconds = body["retryAfter"].as_i64().unwrap();
        assert!((40..=41).contains(&seconds), "{seconds}");
        assert_eq!(answer.number("retry-after"), seconds);
        assert_eq!(answer.number("x-ratelimit-limit"), 10);
        assert_eq!(answer.number("x-ratelimit-remaining"), 0);
    }
    assert_eq!(api.credits().await, CREDITS);
    let stranger = api.org_on("free", "stranger", 0).await;
    let strangers = api.key(&stranger, &["*"], Mode::Live).await;
    api.get("organization").key(&strangers).send().await.ok(200);
    api.get("health").send().await.ok(200);
    // Whoever waits as long as was told is served.
    api.clock.advance(Duration::from_secs(41));
    api.get("organization").send().await.ok(200);
}

#[tokio::test]
async fn the_longer_windows_hold_too() {
    let api = Api::with("free", |_| {}).await;
    for _ in 0..100 {
        api.get("organization").send().await.ok(200);
        api.clock.advance(Duration::from_secs(7));
    }
    let body = api
        .get("organization")
        .send()
        .await
        .error("RATE_LIMIT_EXCEEDED");
    assert_eq!(
        body["limits"],
        json!({"type": "hour", "limit": 100, "used": 101})
    );
}

#[tokio::test]
async fn a_job_too_many_at_once() {
    let api = Api::with("free", |_| {}).await;
    api.pending().await;
    api.pending().await;
    let veo = api.post("models/veo3", &json!({"prompt": "p"}));
    let body = json!({"workflow": "generate_image", "input": {"prompt": "p"}});
    for call in [veo.clone(), api.post("jobs", &body)] {
        let answer = call.send().await;
        assert_eq!(answer.status, 429);
        let body = answer.error("RATE_LIMIT_EXCEEDED");
        assert_eq!(
            body["limits"],
            json!({"type": "concurrent", "limit": 2, "used": 3})
        );
        assert!(body["retryAfter"].as_i64().unwrap() >= 1);
    }
    assert_eq!(api.credits().await, CREDITS - 10);
    let list = api.get("jobs").send().await.ok(200);
    assert_eq!(list["pagination"]["count"], 2);
    api.step().await;
    veo.send().await.ok(202);
}

#[tokio::test]
async fn too_few_credits_change_nothing() {
    let api = Api::new().await;
    let poor = api.org("poor", 4).await;
    let key = api.key(&poor, &["*"], Mode::Live).await;
    let workflow = json!({"workflow": "generate_image", "input": {"prompt": "p"}});
    for call in [
        api.post("models/gemini/generate", &json!({"prompt": "p"})),
        api.post("jobs", &workflow),
    ] {
        let answer = call.key(&key).send().await;
        assert_eq!(answer.status, 402);
        let mut body = answer.error("INSUFFICIENT_CREDITS");
        body.as_object_mut().unwrap().remove("requestId");
        assert_eq!(
            body,
            json!({
                "error": "Insufficient credits", "code": "INSUFFICIENT_CREDITS",
                "creditsRequired": 5, "creditsRemaining": 4,
            })
        );
    }
    assert_eq!(api.balance(&poor, Mode::Live).await, 4);
    let list = api.get("jobs").key(&key).send().await.ok(200);
    assert_eq!(list["pagination"]["count"], 0);
    assert!(api.provider.submitted().is_empty());
}
