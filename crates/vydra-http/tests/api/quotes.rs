//! `POST /quotes`: the check and the price of the real call, without any effect.

use crate::fixture::{Api, CREDITS, is_time};
use serde_json::{Value, json};
use std::time::Duration;
use vydra_core::job::Mode;
use vydra_core::time::{Clock, Timestamp};

async fn quote(api: &Api, body: &Value) -> Value {
    api.post("quotes", body).send().await.ok(200)
}

#[tokio::test]
async fn a_quote_is_what_the_call_then_costs() {
    let api = Api::new().await;
    let url = api.picture().await;
    let flux = json!({"prompt": "p", "imageUrl": url, "numImages": 3});
    let quoted = quote(&api, &json!({"model": "flux-edit/edit", "input": flux})).await;
    assert_eq!(quoted["credits"], 45);
    assert_eq!(
        quoted["breakdown"],
        json!([{
            "item": "FLUX Edit", "model": "flux-edit", "pricingUnit": "image",
            "creditsPerUnit": 15, "units": 3, "credits": 45,
        }])
    );
    assert_eq!(quoted["priceVersion"].as_str().unwrap().len(), 12);
    assert!(is_time(&quoted["expiresAt"]));
    let expires = Timestamp::parse(quoted["expiresAt"].as_str().unwrap()).unwrap();
    assert_eq!(expires.since(api.clock.now()), Duration::from_mins(5));
    let called = api.post("models/flux-edit/edit", &flux).send().await;
    assert_eq!(called.ok(200)["creditsCharged"], 45);

    for (body, credits) in [
        (json!({"model": "flux-edit", "input": flux}), 45),
        (
            json!({"model": "grok-imagine", "input": {"prompt": "p"}}),
            150,
        ),
        (
            json!({"model": "grok-imagine", "input": {"prompt": "p", "model": "text-to-image"}}),
            8,
        ),
        (
            json!({"model": "elevenlabs-tts", "input": {"text": "p"}}),
            5,
        ),
        (
            json!({"workflow": "generate_video", "input": {"prompt": "p", "model": "kling-3.1"}}),
            300,
        ),
        (
            json!({"workflow": "generate_image", "model": null, "input": {"prompt": "p"}}),
            5,
        ),
    ] {
        let quoted = quote(&api, &body).await;
        assert_eq!(quoted["credits"], credits, "{body}");
        let lines = quoted["breakdown"].as_array().unwrap();
        let sum: i64 = lines.iter().map(|l| l["credits"].as_i64().unwrap()).sum();
        assert_eq!(sum, credits);
    }
}

#[tokio::test]
async fn a_quote_has_no_effect() {
    let api = Api::idle().await;
    // Nobody answers there: to fetch it would be an error.
    let input = json!({"prompt": "p", "imageUrl": "http://127.0.0.1:1/a.png"});
    let body = json!({"model": "gemini/edit", "input": input});
    assert_eq!(quote(&api, &body).await["credits"], 5);
    let poor = api.org("poor", 0).await;
    let key = api.key(&poor, &["models:read"], Mode::Live).await;
    let dear = json!({"model": "veo3", "input": {"prompt": "p"}});
    let quoted = api.post("quotes", &dear).key(&key).send().await.ok(200);
    assert_eq!(quoted["credits"], 175);
    assert_eq!(api.credits().await, CREDITS);
    let audit = api.store.audit().await.unwrap();
    // The opening balances: two of one organization, one of the other, which has no live credits.
    assert_eq!((audit.jobs, audit.entries), (0, 3));
}

#[tokio::test]
async fn a_quote_is_refused_like_the_call() {
    let api = Api::idle().await;
    for (path, input) in [
        ("gemini/generate", json!({})),
        (
            "gemini/generate",
            json!({"prompt": 5, "aspectRatio": "7:7"}),
        ),
        (
            "flux-edit/edit",
            json!({"prompt": "p", "imageUrl": "x", "numImages": 9}),
        ),
        ("none/such", json!({"prompt": "p"})),
        // Only workflows use it.
        ("kling-3.1", json!({"prompt": "p"})),
    ] {
        let real = api.post(&format!("models/{path}"), &input);
        let quoted = api.post("quotes", &json!({"model": path, "input": input}));
        let real = real.header("x-request-id", "same").send().await;
        let quoted = quoted.header("x-request-id", "same").send().await;
        assert_eq!(real.bytes, quoted.bytes, "{path}");
    }
    for (workflow, input) in [
        ("none", json!({})),
        ("generate_image", json!({})),
        ("generate_image", json!({"prompt": "p", "model": "none"})),
    ] {
        let body = json!({"workflow": workflow, "input": input});
        let real = api.post("jobs", &body).header("x-request-id", "same");
        let quoted = api.post("quotes", &body).header("x-request-id", "same");
        let (real, quoted) = (real.send().await, quoted.send().await);
        assert!(real.status.is_client_error());
        assert_eq!(real.bytes, quoted.bytes, "{workflow}");
    }
}

#[tokio::test]
async fn the_body_of_a_quote_is_strict() {
    let api = Api::idle().await;
    let input = json!({"prompt": "p"});
    for (body, field) in [
        (
            json!({"model": "veo3", "input": input, "colour": 1}),
            "colour",
        ),
        (
            json!({"model": "veo3", "input": input, "maxCredits": 1}),
            "maxCredits",
        ),
        (json!({"input": input}), "model or workflow"),
        (
            json!({"model": "veo3", "workflow": "generate_video", "input": input}),
            "workflow",
        ),
        (json!({"model": 5, "input": input}), "model"),
        (json!({"workflow": [], "input": input}), "workflow"),
        (json!({"model": "veo3", "input": "p"}), "input"),
        (json!({"model": "veo3"}), "prompt"),
    ] {
        let told = api
            .post("quotes", &body)
            .send()
            .await
            .error("INVALID_INPUT");
        assert_eq!(told["details"]["fields"][0]["field"], field, "{told}");
    }
    let writer = api.key(&api.org, &["models:write"], Mode::Live).await;
    let body = json!({"model": "veo3", "input": input});
    let told = api.post("quotes", &body).key(&writer).send().await;
    told.error("INSUFFICIENT_SCOPE");
}
