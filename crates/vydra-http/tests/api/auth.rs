//! Who may call: the five 401 codes, and scopes.

use crate::fixture::Api;
use serde_json::json;
use std::time::Duration;
use vydra_core::api_key::KeySecret;
use vydra_core::job::Mode;
use vydra_testkit::SeededRandom;

async fn refused(api: &Api, authorization: Option<&str>, code: &str) -> serde_json::Value {
    let call = api.get("organization").without("authorization");
    let call = match authorization {
        Some(value) => call.header("authorization", value),
        None => call,
    };
    let answer = call.send().await;
    assert_eq!(answer.status, 401, "{authorization:?}");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert_eq!(answer.header("x-ratelimit-limit"), None, "nobody is known");
    answer.error(code)
}

#[tokio::test]
async fn no_header_is_missing_auth() {
    let api = Api::idle().await;
    let body = refused(&api, None, "MISSING_AUTH").await;
    assert_eq!(body["error"], "No Authorization header provided");
}

#[tokio::test]
async fn what_is_no_key_is_an_invalid_format() {
    let api = Api::idle().await;
    let mut typo = api.key.clone();
    let last = if typo.ends_with('A') { "B" } else { "A" };
    typo.replace_range(typo.len() - 1.., last);
    for wrong in [
        format!("Basic {}", api.key),
        api.key.clone(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer sk-1234".to_owned(),
        format!("Bearer {typo}"),
        format!("Bearer {}", api.key.replace("live", "test")),
        format!("Bearer {}", &api.key[..api.key.len() - 1]),
        String::new(),
    ] {
        let body = refused(&api, Some(&wrong), "INVALID_FORMAT").await;
        assert!(!body.to_string().contains(&api.key[20..]), "no key is told");
    }
    let not_text = api
        .get("organization")
        .raw_header("authorization", b"Bearer \xff");
    not_text.send().await.error("INVALID_FORMAT");
}

#[tokio::test]
async fn the_scheme_is_taken_in_any_case() {
    let api = Api::idle().await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let header = format!("{scheme} {}", api.key);
        let call = api.get("organization").header("authorization", &header);
        call.send().await.ok(200);
    }
}

#[tokio::test]
async fn a_well_formed_key_of_nobody_is_not_found() {
    let api = Api::idle().await;
    let key = KeySecret::generate(Mode::Live, "nobody", &SeededRandom::new(99));
    let header = format!("Bearer {}", key.reveal());
    refused(&api, Some(&header), "KEY_NOT_FOUND").await;
}

#[tokio::test]
async fn a_revocation_holds_from_the_next_request_on() {
    let api = Api::idle().await;
    let (secret, id) = api.timed_key(None).await;
    api.get("organization").key(&secret).send().await.ok(200);
    api.engine.revoke_key(&id).await.unwrap();
    refused(&api, Some(&format!("Bearer {secret}")), "KEY_REVOKED").await;
    api.get("organization").send().await.ok(200);
}

#[tokio::test]
async fn an_expiry_holds_from_its_moment_on() {
    let api = Api::idle().await;
    let (expired, _) = api.timed_key(Some(0)).await;
    refused(&api, Some(&format!("Bearer {expired}")), "KEY_EXPIRED").await;
    let (secret, id) = api.timed_key(Some(1)).await;
    api.clock.advance(Duration::from_secs(86_399));
    api.get("organization").key(&secret).send().await.ok(200);
    api.clock.advance(Duration::from_secs(1));
    refused(&api, Some(&format!("Bearer {secret}")), "KEY_EXPIRED").await;
    api.engine.revoke_key(&id).await.unwrap();
    refused(&api, Some(&format!("Bearer {secret}")), "KEY_REVOKED").await;
}

#[tokio::test]
async fn the_key_is_asked_for_before_anything_else_is_looked_at() {
    let api = Api::idle().await;
    for (method, path) in [
        ("POST", "models/gemini/generate"),
        ("POST", "models/no/such/model"),
        ("POST", "jobs"),
        ("GET", "jobs?limit=banana"),
        ("GET", "jobs/nonsense"),
        ("DELETE", "jobs/nonsense"),
        ("GET", "models/nonsense"),
    ] {
        let call = api.call(method, path).without("authorization").body("{");
        call.send().await.error("MISSING_AUTH");
    }
}

#[tokio::test]
async fn a_lacking_scope_is_told_with_what_there_is() {
    let api = Api::idle().await;
    let body = json!({"workflow": "generate_image", "input": {"prompt": "p"}});
    let call_model = api
        .post("models/gemini/generate", &json!({"prompt": "p"}))
        .header("prefer", "respond-async");
    for (call, required) in [
        (api.get("models"), "models:read"),
        (api.get("models/veo3"), "models:read"),
        (call_model, "models:write"),
        (api.post("jobs", &body), "jobs:write"),
        (api.get("jobs"), "jobs:read"),
        (api.get("jobs/job_00000000000000000000000000"), "jobs:read"),
        (
            api.delete("jobs/job_00000000000000000000000000"),
            "jobs:write",
        ),
        (api.get("organization"), "account:read"),
        (api.get("billing/credits"), "billing:read"),
    ] {
        let narrow = api
            .key(&api.org, &["upload:*", "keys:read"], Mode::Live)
            .await;
        let answer = call.clone().key(&narrow).send().await;
        assert_eq!(answer.status, 403);
        let body = answer.error("INSUFFICIENT_SCOPE");
        assert_eq!(
            body["details"],
            json!({"required": [required], "granted": ["upload:*", "keys:read"]})
        );
        // The very scope that was asked for opens the door.
        let fitting = api.key(&api.org, &[required], Mode::Live).await;
        assert_ne!(call.key(&fitting).send().await.status, 403, "{required}");
    }
    assert_eq!(api.credits().await, crate::fixture::CREDITS - 10);
}

#[tokio::test]
async fn a_key_that_may_only_call_models_sees_and_cancels_its_own_jobs() {
    let api = Api::idle().await;
    let narrow = api.key(&api.org, &["models:write"], Mode::Live).await;
    let call = api
        .post("models/veo3", &json!({"prompt": "p"}))
        .key(&narrow);
    let own = call.send().await.ok(202)["jobId"]
        .as_str()
        .unwrap()
        .to_owned();
    let other = api.pending().await;
    let at = |id: &str| format!("jobs/{id}");
    api.get(&at(&own)).key(&narrow).send().await.ok(200);
    for call in [api.get(&at(&other)), api.delete(&at(&other))] {
        call.key(&narrow).send().await.error("JOB_NOT_FOUND");
    }
    let list = api.get("jobs").key(&narrow).send().await;
    list.error("INSUFFICIENT_SCOPE");
    let cancelled = api.delete(&at(&own)).key(&narrow).send().await.ok(200);
    assert_eq!(cancelled["status"], "cancelled");
    api.get(&at(&other)).send().await.ok(200);
}

#[tokio::test]
async fn health_needs_no_key() {
    let api = Api::idle().await;
    let answer = api.get("health").without("authorization").send().await;
    let body = answer.ok(200);
    assert_eq!(body["status"], "ok");
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
    // A key that is wrong does not matter either.
    api.get("health").key("nonsense").send().await.ok(200);
}
