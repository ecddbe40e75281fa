//! Requests without a caller whom we know: sixty a minute and address, and no harm to anybody else behind it.

use crate::fixture::{Answer, Api, Call};
use serde_json::json;
use std::time::Duration;
use vydra_core::api_key::KeySecret;
use vydra_core::job::Mode;
use vydra_engine::NewKey;
use vydra_testkit::SeededRandom;

const HERE: &str = "203.0.113.7";
const ELSEWHERE: &str = "203.0.113.8";

async fn api() -> Api {
    Api::with("enterprise", |setup| {
        setup.limits.unauthenticated_per_minute = 5;
    })
    .await
}

fn nobody(api: &Api, path: &str) -> Call {
    api.get(path).without("authorization").from(HERE)
}

/// Uses up what strangers may.
async fn flood(api: &Api) {
    for _ in 0..5 {
        nobody(api, "jobs").send().await.error("MISSING_AUTH");
    }
}

#[track_caller]
fn refused(answer: &Answer) {
    assert_eq!(answer.status, 429);
    let body = answer.error("RATE_LIMIT_EXCEEDED");
    assert_eq!(
        body["limits"],
        json!({"type": "minute", "limit": 5, "used": 6})
    );
    assert_eq!(answer.header("x-ratelimit-limit"), None, "nobody is known");
}

/// A well-formed key that nobody has.
fn unknown_key() -> String {
    let key = KeySecret::generate(Mode::Live, "nobody", &SeededRandom::new(99));
    key.reveal().to_owned()
}

#[tokio::test]
async fn whatever_ends_without_a_caller_counts() {
    let api = api().await;
    let new = |days| NewKey {
        organization: api.org.id.clone(),
        name: "k".to_owned(),
        scopes: vec!["*".to_owned()],
        expires_in_days: days,
        mode: Mode::Live,
    };
    let revoked = api.engine.create_key(new(None)).await.unwrap();
    api.engine.revoke_key(&revoked.key.id).await.unwrap();
    let expired = api.engine.create_key(new(Some(0))).await.unwrap();
    let unknown = unknown_key();
    let bad_media = "/media/aa/missing.png";
    for (kind, call) in [
        ("MISSING_AUTH", nobody(&api, "jobs")),
        ("INVALID_FORMAT", nobody(&api, "jobs").key("nonsense")),
        ("KEY_NOT_FOUND", nobody(&api, "jobs").key(&unknown)),
        (
            "KEY_REVOKED",
            nobody(&api, "jobs").key(revoked.secret.reveal()),
        ),
        (
            "KEY_EXPIRED",
            nobody(&api, "jobs").key(expired.secret.reveal()),
        ),
        ("NOT_FOUND", nobody(&api, "nothing")),
        ("NOT_FOUND", nobody(&api, "/nothing")),
        ("NOT_FOUND", nobody(&api, "nothing").key(&unknown)),
        ("NOT_FOUND", nobody(&api, bad_media)),
        (
            "METHOD_NOT_ALLOWED",
            api.call("PUT", "jobs").without("authorization").from(HERE),
        ),
        (
            "METHOD_NOT_ALLOWED",
            api.call("POST", "health")
                .without("authorization")
                .from(HERE),
        ),
        (
            "METHOD_NOT_ALLOWED",
            api.call("POST", "/docs")
                .without("authorization")
                .from(HERE),
        ),
    ] {
        for _ in 0..5 {
            call.clone().send().await.error(kind);
        }
        refused(&call.clone().send().await);
        // Over the limit, whatever is asked.
        refused(&nobody(&api, "jobs").send().await);
        refused(&nobody(&api, bad_media).send().await);
        call.from(ELSEWHERE).send().await.error(kind);
        api.clock.advance(Duration::from_mins(1));
    }
}

#[tokio::test]
async fn it_opens_when_the_first_has_left_and_refusals_cost_nothing() {
    let api = api().await;
    for _ in 0..5 {
        nobody(&api, "jobs").send().await.error("MISSING_AUTH");
        api.clock.advance(Duration::from_secs(10));
    }
    for _ in 0..20 {
        let answer = nobody(&api, "jobs").send().await;
        refused(&answer);
        assert_eq!(answer.number("retry-after"), 10);
    }
    api.clock.advance(Duration::from_secs(10));
    nobody(&api, "jobs").send().await.error("MISSING_AUTH");
    refused(&nobody(&api, "jobs").send().await);
}

#[tokio::test]
async fn a_caller_behind_the_same_address_is_never_refused() {
    let api = api().await;
    flood(&api).await;
    for _ in 0..20 {
        let answer = api.get("organization").from(HERE).send().await;
        answer.ok(200);
        refused(&nobody(&api, "jobs").send().await);
    }
    // Not even with a slip: it is counted with the caller's own.
    let before = api
        .get("organization")
        .send()
        .await
        .number("x-ratelimit-remaining");
    let slips = [
        (api.get("nothing"), "NOT_FOUND"),
        (api.get("/media/aa/missing.png"), "NOT_FOUND"),
        (api.call("PUT", "jobs"), "METHOD_NOT_ALLOWED"),
    ];
    for (place, (call, code)) in (1..).zip(slips) {
        let answer = call.from(HERE).send().await;
        answer.error(code);
        assert_eq!(answer.number("x-ratelimit-remaining"), before - place);
    }
    let narrow = api.key(&api.org, &["keys:read"], Mode::Live).await;
    let forbidden = api.get("jobs").key(&narrow).from(HERE).send().await;
    forbidden.error("INSUFFICIENT_SCOPE");
}

#[tokio::test]
async fn what_is_for_everybody_does_not_count() {
    let api = api().await;
    api.work();
    let picture = api.picture().await;
    let picture = picture.strip_prefix(vydra_testkit::PUBLIC_URL).unwrap();
    for path in ["health", "/docs", "/openapi.json", picture] {
        for _ in 0..10 {
            let answer = nobody(&api, path).send().await;
            assert_eq!(answer.status, 200, "{path}");
        }
    }
    for _ in 0..5 {
        nobody(&api, "jobs").send().await.error("MISSING_AUTH");
    }
    for path in ["health", "/docs", "/openapi.json", picture] {
        assert_eq!(nobody(&api, path).send().await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn one_network_of_ipv6_is_one_address() {
    let api = api().await;
    for last in 0..5 {
        let call = nobody(&api, "jobs").from(&format!("2001:db8::{last}:1"));
        call.send().await.error("MISSING_AUTH");
    }
    refused(&nobody(&api, "jobs").from("2001:db8::ffff:9").send().await);
    let neighbour = nobody(&api, "jobs").from("2001:db8:0:1::1");
    neighbour.send().await.error("MISSING_AUTH");
}

#[tokio::test]
async fn a_header_moves_nobody_but_behind_a_proxy_of_ours() {
    let api = Api::with("enterprise", |setup| {
        setup.limits.unauthenticated_per_minute = 5;
        setup.limits.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    })
    .await;
    for caller in 0..5 {
        let call = nobody(&api, "jobs").header("x-forwarded-for", &format!("198.51.100.{caller}"));
        call.send().await.error("MISSING_AUTH");
    }
    refused(
        &nobody(&api, "jobs")
            .header("x-forwarded-for", "198.51.100.99")
            .send()
            .await,
    );
    let behind = |caller: &str| {
        let call = nobody(&api, "jobs").from("10.1.2.3");
        call.header("x-forwarded-for", caller)
    };
    refused(&behind(&format!("198.51.100.98, {HERE}")).send().await);
    for _ in 0..5 {
        behind(ELSEWHERE).send().await.error("MISSING_AUTH");
    }
    refused(&behind(ELSEWHERE).send().await);
}

#[tokio::test]
async fn without_an_address_nothing_is_limited() {
    let api = api().await;
    for _ in 0..20 {
        let call = api.get("jobs").without("authorization");
        call.send().await.error("MISSING_AUTH");
    }
}

#[tokio::test]
async fn a_made_up_cookie_is_nobodys_from_whatever_page() {
    let api = Api::idle().await;
    let call = || {
        let call = api.post("models/veo3", &json!({"prompt": "p"}));
        let call = call
            .session("made-up")
            .header("origin", "https://evil.test");
        call.from("192.0.2.9").send()
    };
    for _ in 0..60 {
        call().await.error("MISSING_AUTH");
    }
    call().await.error("RATE_LIMIT_EXCEEDED");
}
