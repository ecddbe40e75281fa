//! Agents that register themselves (contract, sections 3 and 8).

use crate::fixture::Api;
use serde_json::{Value, json};
use std::time::Duration;
use vydra_core::credits::Credits;
use vydra_core::job::Mode;

async fn welcoming() -> Api {
    Api::with("enterprise", |setup| {
        setup.auth.bot_register = true;
        setup.auth.bot_plan = "starter".to_owned();
    })
    .await
}

fn scout() -> Value {
    json!({"agent_name": "scout", "billing_email": "Bills@Example.com"})
}

#[tokio::test]
async fn an_agent_gets_a_key_that_waits_for_credits() {
    let api = welcoming().await;
    let call = || {
        api.post("auth/bot-register", &scout())
            .without("authorization")
    };
    let answer = call().send().await;
    let bot = answer.ok(201);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let (key, org) = (
        bot["key"].as_str().unwrap(),
        bot["organizationId"].as_str().unwrap(),
    );
    let bare = org.strip_prefix("org_").unwrap();
    assert!(key.starts_with(&format!("vydra_live_bot_{bare}_")), "{key}");
    assert_eq!(bot["keyPrefix"], "vydra_live_bot...");
    assert!(bot["id"].as_str().unwrap().starts_with("key_"));
    assert_eq!(
        (
            &bot["agentName"],
            &bot["billingEmail"],
            &bot["creditsRemaining"]
        ),
        (&json!("scout"), &json!("bills@example.com"), &json!(0))
    );
    assert_eq!(
        bot["packs"],
        json!([
            {"pack": "small", "priceUsd": 5, "credits": 750},
            {"pack": "medium", "priceUsd": 12, "credits": 2_000},
            {"pack": "large", "priceUsd": 25, "credits": 5_000},
        ])
    );
    assert!(bot["message"].is_string());

    let shown = api.get("organization").key(key).send().await.ok(200);
    assert_eq!(
        (&shown["id"], &shown["plan"]),
        (&json!(org), &json!("starter"))
    );
    let name = shown["name"].as_str().unwrap();
    assert!(name.starts_with("scout-"), "{name}");
    let kept = api.engine.find_organization(org).await.unwrap();
    assert_eq!(kept.billing_email.as_deref(), Some("bills@example.com"));

    let generate = || {
        api.post("models/gemini/generate", &json!({"prompt": "p"}))
            .key(key)
            .header("prefer", "respond-async")
    };
    let refused = generate().send().await.error("INSUFFICIENT_CREDITS");
    assert_eq!(
        (&refused["creditsRequired"], &refused["creditsRemaining"]),
        (&json!(5), &json!(0))
    );
    let some = Credits::new(5).unwrap();
    api.engine
        .grant(&kept.id, Mode::Live, some, "bought")
        .await
        .unwrap();
    generate().send().await.ok(202);

    // The same name again is another organization.
    let second = call().send().await.ok(201);
    assert_ne!(second["organizationId"], bot["organizationId"]);
    // Rotation keeps it a bot's.
    let path = format!("api-keys/{}/rotate", bot["id"].as_str().unwrap());
    let next = api.call("POST", &path).key(key).send().await.ok(201);
    assert!(
        next["key"]
            .as_str()
            .unwrap()
            .starts_with(&format!("vydra_live_bot_{bare}_"))
    );
}

#[tokio::test]
async fn where_it_is_off_there_is_nothing() {
    let api = Api::idle().await;
    let unknown = api.post("auth/nothing", &scout());
    let unknown = unknown.without("authorization").send().await;
    unknown.error("NOT_FOUND");
    for call in [
        api.post("auth/bot-register", &scout()),
        api.post("auth/bot-register", &json!({})),
        api.call("POST", "auth/bot-register"),
    ] {
        let answer = call.without("authorization").send().await;
        assert_eq!(answer.without_id(), unknown.without_id());
    }
    assert_eq!(api.engine.organizations().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_registration_is_read_strictly_in_either_spelling() {
    let api = welcoming().await;
    let send = async |body: &Value| {
        api.post("auth/bot-register", body)
            .without("authorization")
            .send()
            .await
    };
    let camel = json!({"agentName": "scout", "billingEmail": "bills@example.com"});
    send(&camel).await.ok(201);
    for (body, fields) in [
        (json!({}), vec!["agent_name", "billing_email"]),
        (
            json!({"agent_name": "", "billing_email": "nobody"}),
            vec!["agent_name", "billing_email"],
        ),
        (
            json!({"agent_name": "a\u{7}", "billing_email": "b@example.com"}),
            vec!["agent_name"],
        ),
        (
            json!({"agent_name": "a".repeat(81), "billing_email": "b@example.com"}),
            vec!["agent_name"],
        ),
        (
            json!({"agent_name": 1, "billing_email": "b@example.com", "credits": 9}),
            vec!["agent_name", "credits"],
        ),
    ] {
        let refused = send(&body).await.error("INVALID_INPUT");
        let told = refused["details"]["fields"].as_array().unwrap();
        let told: Vec<_> = told.iter().map(|f| f["field"].as_str().unwrap()).collect();
        assert_eq!(told, fields, "{body}");
    }
    assert_eq!(api.engine.organizations().await.unwrap().len(), 2);
}

#[tokio::test]
async fn five_an_hour_come_from_one_address() {
    let api = welcoming().await;
    let register = |address: &str| {
        let call = api
            .post("auth/bot-register", &scout())
            .without("authorization");
        call.from(address).send()
    };
    for _ in 0..5 {
        register("2001:db8::1").await.ok(201);
    }
    let refused = register("2001:db8::2").await;
    assert_eq!(refused.status, 429);
    let body = refused.error("RATE_LIMIT_EXCEEDED");
    assert_eq!(
        body["limits"],
        json!({"type": "hour", "limit": 5, "used": 6})
    );
    assert_eq!(body["retryAfter"], 3_600);
    register("2001:db8:0:1::1").await.ok(201);
    api.clock.advance(Duration::from_hours(1));
    register("2001:db8::2").await.ok(201);
}
