//! `X-Vydra-Simulate` on the wire: each outcome with all its fields and headers (contract, section 12).

use crate::fixture::{Answer, Api, CREDITS};
use serde_json::json;
use vydra_core::error_code::ErrorCode;
use vydra_core::job::Mode;

const SANDBOX: i64 = 10_000;

async fn sandbox() -> Api {
    let mut api = Api::new().await;
    api.key = api.key(&api.org, &["*"], Mode::Test).await;
    api
}

async fn simulate(api: &Api, wish: &str) -> Answer {
    let call = api.post("models/gemini/generate", &json!({"prompt": "p"}));
    call.header("x-vydra-simulate", wish).send().await
}

#[tokio::test]
async fn every_code_is_answered_under_its_status() {
    let api = sandbox().await;
    for code in ErrorCode::ALL {
        let answer = simulate(&api, code.as_str()).await;
        let entry = code.entry();
        assert_eq!(answer.status, entry.status, "{code}");
        answer.error(entry.code);
    }
    assert_eq!(api.balance(&api.org, Mode::Test).await, SANDBOX);
}

#[tokio::test]
async fn refusals_have_the_fields_and_headers_of_the_real_ones() {
    let api = sandbox().await;
    let answer = simulate(&api, "RATE_LIMIT_EXCEEDED").await;
    let body = answer.error("RATE_LIMIT_EXCEEDED");
    assert_eq!(
        body["limits"],
        json!({"type": "minute", "limit": 6_000, "used": 6_001})
    );
    assert!(answer.number("retry-after") >= 1);
    let body = simulate(&api, "INSUFFICIENT_CREDITS")
        .await
        .error("INSUFFICIENT_CREDITS");
    assert_eq!(
        (&body["creditsRequired"], &body["creditsRemaining"]),
        (&json!(5), &json!(0))
    );
    let body = simulate(&api, "INSUFFICIENT_SCOPE")
        .await
        .error("INSUFFICIENT_SCOPE");
    assert_eq!(
        body["details"],
        json!({"required": ["models:write"], "granted": ["*"]})
    );
    let answer = simulate(&api, "KEY_EXPIRED").await;
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert!(simulate(&api, "UNAVAILABLE").await.number("retry-after") >= 1);
}

#[tokio::test]
async fn failures_after_the_charge_are_refunded() {
    let api = sandbox().await;
    for (wish, code, reason, retryable) in [
        ("GENERATION_FAILED", "GENERATION_FAILED", "no_output", true),
        (
            "CONTENT_POLICY",
            "GENERATION_FAILED",
            "content_policy",
            false,
        ),
        (
            "PROCESSING_TIMEOUT",
            "PROCESSING_TIMEOUT",
            "timed_out",
            true,
        ),
    ] {
        let answer = simulate(&api, wish).await;
        assert_eq!(answer.status, 500);
        let body = answer.error(code);
        assert_eq!(
            body["refund"],
            json!({"applied": true, "creditsRefunded": 5}),
            "{wish}"
        );
        assert_eq!(
            (&body["details"]["reason"], &body["details"]["retryable"]),
            (&json!(reason), &json!(retryable))
        );
        let id = body["details"]["jobId"].as_str().unwrap();
        let job = api.get(&format!("jobs/{id}")).send().await.ok(200);
        assert_eq!(
            (&job["status"], &job["code"]),
            (&json!("failed"), &json!(code))
        );
    }
    assert_eq!(api.balance(&api.org, Mode::Test).await, SANDBOX);
}

#[tokio::test]
async fn a_script_also_reaches_a_workflow() {
    let api = sandbox().await;
    let body = json!({"workflow": "generate_image", "input": {"prompt": "p"}});
    let call = api
        .post("jobs", &body)
        .header("x-vydra-simulate", "CONTENT_POLICY");
    let id = call.send().await.ok(201)["id"].as_str().unwrap().to_owned();
    let job = api.get(&format!("jobs/{id}?wait=20")).send().await.ok(200);
    assert_eq!(
        (&job["status"], &job["details"]["reason"]),
        (&json!("failed"), &json!("content_policy"))
    );
}

#[tokio::test]
async fn nothing_of_it_costs_a_live_credit() {
    let api = sandbox().await;
    simulate(&api, "SLOW=20ms").await.ok(200);
    assert_eq!(api.balance(&api.org, Mode::Test).await, SANDBOX - 5);
    assert_eq!(api.credits().await, CREDITS);
}

#[tokio::test]
async fn a_live_key_is_refused() {
    let api = Api::new().await;
    for wish in [
        "GENERATION_FAILED",
        "RATE_LIMIT_EXCEEDED",
        "SLOW=1s",
        "nonsense",
        "",
    ] {
        let answer = simulate(&api, wish).await;
        assert_eq!(answer.status, 400, "{wish}");
        let body = answer.error("INVALID_INPUT");
        assert!(
            body["error"].as_str().unwrap().contains("test key"),
            "{body}"
        );
    }
    assert_eq!(api.credits().await, CREDITS);
}

#[tokio::test]
async fn an_unknown_wish_is_refused() {
    let api = sandbox().await;
    let body = simulate(&api, "BANANA").await.error("INVALID_INPUT");
    assert_eq!(body["error"], "X-Vydra-Simulate does not know \"BANANA\"");
    assert_eq!(api.balance(&api.org, Mode::Test).await, SANDBOX);
}
