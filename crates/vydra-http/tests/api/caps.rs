//! `maxCredits`: whatever would cost more is refused, and nothing else changes.

use crate::fixture::{Api, CREDITS};
use serde_json::{Value, json};

#[tokio::test]
async fn what_would_cost_more_is_refused() {
    let api = Api::idle().await;
    let grok = |cap: Value| json!({"prompt": "p", "maxCredits": cap});
    let body = api
        .post("models/grok-imagine", &grok(json!(8)))
        .send()
        .await;
    let body = body.error("INSUFFICIENT_CREDITS");
    assert_eq!(
        body["error"],
        "This would cost 150 credits, more than maxCredits (8) allows"
    );
    assert_eq!(
        (&body["creditsRequired"], &body["creditsRemaining"]),
        (&json!(150), &json!(CREDITS))
    );
    assert_eq!(body["details"], json!({"maxCredits": 8}));
    for (body, header) in [
        (json!({"prompt": "p", "max_credits": 149}), None),
        (
            json!({"prompt": "p", "max_credits": 149, "maxCredits": 150}),
            None,
        ),
        (json!({"prompt": "p"}), Some("149")),
        (json!({"prompt": "p", "maxCredits": 149}), Some("1000")),
        (json!({"prompt": "p", "maxCredits": 1000}), Some("149")),
        (json!({"prompt": "p", "maxCredits": 0}), None),
    ] {
        let mut call = api.post("models/grok-imagine", &body);
        if let Some(header) = header {
            call = call.header("x-max-credits", header);
        }
        call.send().await.error("INSUFFICIENT_CREDITS");
    }
    for body in [
        json!({"workflow": "generate_video", "input": {"prompt": "p", "model": "veo3"}, "maxCredits": 174}),
        json!({"workflow": "generate_video", "input": {"prompt": "p"}, "max_credits": 174}),
    ] {
        let answer = api.post("jobs", &body).send().await;
        let body = answer.error("INSUFFICIENT_CREDITS");
        assert_eq!(body["details"]["maxCredits"], 174);
    }
    assert_eq!(api.credits().await, CREDITS);
    assert_eq!(api.store.audit().await.unwrap().jobs, 0);
}

#[tokio::test]
async fn what_costs_no_more_is_done_and_the_cap_is_no_input() {
    let api = Api::idle().await;
    let body = json!({"prompt": "p", "maxCredits": 5, "max_credits": null});
    let call = api.post("models/gemini/generate", &body);
    let call = call.header("prefer", "respond-async");
    let body = call
        .header("x-max-credits", "18446744073709551615")
        .send()
        .await
        .ok(202);
    assert_eq!(body["input"], json!({"prompt": "p", "aspectRatio": "1:1"}));
    let body = json!({"workflow": "generate_image", "input": {"prompt": "p"}, "maxCredits": 5});
    let created = api.post("jobs", &body).send().await.ok(201);
    let id = created["id"].as_str().unwrap();
    let job = api.get(&format!("jobs/{id}")).send().await.ok(200);
    assert!(job["input"].get("maxCredits").is_none(), "{job}");
    api.step().await;
    for request in api.provider.submitted() {
        assert!(!request.input.keys().any(|name| name.starts_with("max")));
    }
}

#[tokio::test]
async fn a_cap_is_a_whole_number() {
    let api = Api::idle().await;
    for wrong in [json!(-1), json!(1.5), json!("8"), json!(true), json!([8])] {
        for name in ["maxCredits", "max_credits"] {
            let body = json!({"prompt": "p", name: wrong});
            let answer = api.post("models/gemini/generate", &body).send().await;
            let told = answer.error("INVALID_INPUT");
            assert_eq!(told["details"]["fields"][0]["field"], name, "{wrong}");
            let body = json!({"workflow": "generate_image", "input": {"prompt": "p"}, name: wrong});
            api.post("jobs", &body).send().await.error("INVALID_INPUT");
        }
    }
    for wrong in ["", "-1", "+1", "1.5", "many", "99999999999999999999"] {
        let call = api.post("models/gemini/generate", &json!({"prompt": "p"}));
        let told = call.header("x-max-credits", wrong).send().await;
        told.error("INVALID_INPUT");
    }
    assert_eq!(api.credits().await, CREDITS);
}
