//! People: logging in and out, what a session may do, and what keeps others out (contract, section 3).

use crate::fixture::{Api, CREDITS, is_time};
use serde_json::{Value, json};
use std::time::Duration;
use vydra_core::user::{Password, Role};
use vydra_testkit::{PASSWORD, PUBLIC_URL};

const ADA: &str = "ada@example.com";

async fn with_ada() -> Api {
    let api = Api::idle().await;
    api.user(&api.org, ADA, Role::Owner).await;
    api
}

async fn is_logged_in(api: &Api, session: &str) -> bool {
    let answer = api.get("auth/me").session(session).send().await;
    if answer.status == 200 {
        return true;
    }
    let body = answer.error("MISSING_AUTH");
    assert_eq!(body["error"], "You are not logged in");
    false
}

#[tokio::test]
async fn a_login_sets_the_cookie_and_says_who_it_is() {
    let api = with_ada().await;
    let answer = api.login("  Ada@Example.com ", PASSWORD).send().await;
    let mut body = answer.ok(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let session = answer.session();
    assert_eq!(session.len(), 32);
    assert_eq!(
        answer.header("set-cookie"),
        Some(
            format!("__session={session}; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000; Secure")
                .as_str()
        )
    );
    assert!(!body.to_string().contains(&session));
    assert!(is_time(&body["expiresAt"]), "{body}");
    body.as_object_mut().unwrap().remove("expiresAt");
    let me = api.get("auth/me").session(&session).send().await;
    assert_eq!(me.header("cache-control"), Some("no-store"));
    assert_eq!(me.ok(200), body);
    assert!(is_time(&body["user"]["createdAt"]), "{body}");
    assert!(body["user"]["id"].as_str().unwrap().starts_with("user_"));
    assert_eq!(body["user"]["email"], ADA);
    assert_eq!(body["role"], "owner");
    let acme = json!({"id": api.org.id, "name": "acme", "plan": "enterprise"});
    assert_eq!(body["organization"], acme);
    let all = json!([{"id": api.org.id, "name": "acme", "role": "owner"}]);
    assert_eq!(body["organizations"], all);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_email_answer_alike() {
    let api = with_ada().await;
    let wrong = api.login(ADA, "incorrect horse battery").send().await;
    let unknown = api.login("eve@example.com", PASSWORD).send().await;
    assert_eq!(wrong.status, 401);
    assert_eq!(
        wrong.error("MISSING_AUTH")["error"],
        "Email or password is wrong"
    );
    assert_eq!(wrong.header("set-cookie"), None);
    assert_eq!(wrong.without_id(), unknown.without_id());
    let endless = api.login(ADA, &"x".repeat(5_000)).send().await;
    assert_eq!(wrong.without_id(), endless.without_id());
}

#[tokio::test]
async fn a_person_acts_on_the_sessions_organization_and_counts_against_its_limits() {
    let api = Api::with("free", |_| {}).await;
    let session = api.person(ADA, Role::Owner).await;
    for used in 1..=10 {
        let answer = api.get("organization").session(&session).send().await;
        let body = answer.ok(200);
        assert_eq!(
            (&body["id"], &body["creditsRemaining"]),
            (&json!(api.org.id), &json!(CREDITS))
        );
        assert_eq!(answer.number("x-ratelimit-remaining"), 10 - used);
    }
    let refused = api.get("organization").session(&session).send().await;
    refused.error("RATE_LIMIT_EXCEEDED");
    // The key of the same organization meets the same limit.
    api.get("organization")
        .send()
        .await
        .error("RATE_LIMIT_EXCEEDED");
}

#[tokio::test]
async fn a_header_always_wins_over_a_cookie() {
    let api = Api::idle().await;
    let session = api.person(ADA, Role::Owner).await;
    let both = |key: &str| {
        let call = api.get("auth/me").session(&session);
        call.header("authorization", &format!("Bearer {key}"))
    };
    let with_key = both(&api.key).send().await.error("INSUFFICIENT_SCOPE");
    assert_eq!(
        with_key["details"],
        json!({"required": ["session"], "granted": ["*"]})
    );
    both("nonsense").send().await.error("INVALID_FORMAT");
}

#[tokio::test]
async fn what_is_no_session_is_nobody() {
    let api = with_ada().await;
    for cookie in [
        "",
        "__session=",
        "__session=short",
        "__session=00000000000000000000000000000000",
        "session=00000000000000000000000000000000",
        "__session",
        "a=b; ; =c; __session=é",
    ] {
        for path in ["auth/me", "organization"] {
            let call = api.get(path).without("authorization");
            let answer = call.header("cookie", cookie).send().await;
            assert_eq!(answer.status, 401, "{cookie}");
            answer.error("MISSING_AUTH");
        }
    }
    let none = api.get("auth/me").without("authorization").send().await;
    assert_eq!(none.error("MISSING_AUTH")["error"], "You are not logged in");
    let none = api
        .get("organization")
        .without("authorization")
        .send()
        .await;
    assert_eq!(
        none.error("MISSING_AUTH")["error"],
        "No Authorization header provided"
    );
}

#[tokio::test]
async fn the_cookie_is_found_among_others() {
    let api = Api::idle().await;
    let session = api.person(ADA, Role::Owner).await;
    let call = api.get("auth/me").without("authorization");
    let cookies = format!("theme=dark; __session={session}; x__session=no");
    call.header("cookie", &cookies).send().await.ok(200);
}

#[tokio::test]
async fn a_session_ends_by_itself() {
    let api = Api::with("enterprise", |setup| {
        setup.auth.session_lifetime = Duration::from_hours(2);
    })
    .await;
    let session = api.person(ADA, Role::Owner).await;
    api.clock.advance(Duration::from_secs(7_199));
    assert!(is_logged_in(&api, &session).await);
    api.clock.advance(Duration::from_secs(1));
    assert!(!is_logged_in(&api, &session).await);
}

#[tokio::test]
async fn a_new_login_ends_the_session_that_it_came_with() {
    let api = Api::idle().await;
    let (first, other) = (
        api.person(ADA, Role::Owner).await,
        api.login(ADA, PASSWORD).send().await.session(),
    );
    let again = api.login(ADA, PASSWORD).session(&first).send().await;
    let second = again.session();
    assert_ne!(first, second);
    assert!(!is_logged_in(&api, &first).await);
    assert!(is_logged_in(&api, &second).await);
    assert!(is_logged_in(&api, &other).await, "of another browser");
    // One that fails leaves it.
    let failed = api
        .login(ADA, "incorrect horse")
        .session(&second)
        .send()
        .await;
    failed.error("MISSING_AUTH");
    assert!(is_logged_in(&api, &second).await);
}

#[tokio::test]
async fn a_logout_ends_the_session_and_takes_the_cookie_back() {
    let api = Api::idle().await;
    let session = api.person(ADA, Role::Owner).await;
    let logout = || api.call("POST", "auth/logout").without("authorization");
    for call in [
        logout().session(&session),
        logout().session(&session),
        logout(),
    ] {
        let answer = call.send().await;
        assert_eq!(answer.ok(200), json!({"loggedIn": false}));
        assert_eq!(
            answer.header("set-cookie"),
            Some("__session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0; Secure")
        );
    }
    assert!(!is_logged_in(&api, &session).await);
}

#[tokio::test]
async fn a_new_password_ends_all_sessions() {
    let api = Api::idle().await;
    let sessions = [
        api.person(ADA, Role::Owner).await,
        api.login(ADA, PASSWORD).send().await.session(),
    ];
    let bob = api.person("bob@example.com", Role::Member).await;
    let second = "another horse battery";
    let password = Some(Password::new(second.to_owned()));
    api.engine.set_password(ADA, password).await.unwrap();
    for session in &sessions {
        assert!(!is_logged_in(&api, session).await);
    }
    assert!(is_logged_in(&api, &bob).await);
    api.login(ADA, PASSWORD).send().await.error("MISSING_AUTH");
    api.login(ADA, second).send().await.ok(200);
}

#[tokio::test]
async fn a_login_names_one_of_the_persons_organizations() {
    let api = with_ada().await;
    let (second, foreign) = (api.org("second", 7).await, api.org("foreign", 0).await);
    api.clock.advance(Duration::from_secs(1));
    let joined = api.engine.add_member(ADA, &second, Role::Member).await;
    joined.unwrap();
    let login = |organization: Value| {
        let body = json!({"email": ADA, "password": PASSWORD, "organizationId": organization});
        api.post("auth/login", &body).without("authorization")
    };
    let first = login(Value::Null).send().await.ok(200);
    assert_eq!(first["organization"]["id"], json!(api.org.id));
    let there = login(json!(second.id)).send().await;
    let body = there.ok(200);
    assert_eq!(
        (&body["organization"]["name"], &body["role"]),
        (&json!("second"), &json!("member"))
    );
    assert_eq!(body["organizations"].as_array().unwrap().len(), 2);
    let shown = api
        .get("organization")
        .session(&there.session())
        .send()
        .await
        .ok(200);
    assert_eq!(shown["creditsRemaining"], 7);

    let strange = login(json!(foreign.id)).send().await;
    let unknown = login(json!("org_00000000000000000000000000")).send().await;
    let malformed = login(json!("nonsense")).send().await;
    strange.error("NOT_FOUND");
    assert_eq!(strange.without_id(), unknown.without_id());
    assert_eq!(strange.without_id(), malformed.without_id());
    assert_eq!(strange.header("set-cookie"), None);
}

#[tokio::test]
async fn a_body_is_read_strictly_and_all_that_is_wrong_is_told() {
    let api = with_ada().await;
    let refused = async |body: Value| {
        let call = api.post("auth/login", &body).without("authorization");
        call.send().await.error("INVALID_INPUT")
    };
    let body = refused(json!({})).await;
    assert_eq!(body["error"], "Missing required field: email (string)");
    assert_eq!(
        body["details"]["fields"],
        json!([
            {"field": "email", "problem": "missing", "expected": "string"},
            {"field": "password", "problem": "missing", "expected": "string"},
        ])
    );
    let body =
        refused(json!({"email": ADA, "password": 12, "organizationId": [], "otp": "1"})).await;
    assert_eq!(
        body["error"],
        "Invalid field: password is wrong type, expected string"
    );
    assert_eq!(
        body["details"]["fields"],
        json!([
            {"field": "password", "problem": "wrong type", "expected": "string"},
            {"field": "organizationId", "problem": "wrong type", "expected": "string"},
            {"field": "otp", "problem": "unknown", "expected": "email, password, organizationId"},
        ])
    );
    for wrong in ["ada", "ada@", "a da@example.com", ""] {
        let body = refused(json!({"email": wrong, "password": PASSWORD})).await;
        assert_eq!(body["details"]["fields"][0]["field"], "email");
    }
    let call = api
        .login(ADA, PASSWORD)
        .without("content-type")
        .send()
        .await;
    call.error("INVALID_INPUT");
}

// --- Pages of other sites ---

#[tokio::test]
async fn a_page_of_another_site_gets_nothing_done() {
    let api = Api::idle().await;
    let session = api.person(ADA, Role::Owner).await;
    let key = json!({"name": "k"});
    let calls = || {
        [
            api.post("api-keys", &key).session(&session),
            api.delete("api-keys/key_00000000000000000000000000")
                .session(&session),
            api.post("jobs", &json!({})).session(&session),
            api.call("POST", "auth/logout").session(&session),
            api.login(ADA, PASSWORD),
        ]
    };
    for (name, value) in [
        ("origin", "https://evil.test"),
        ("origin", "null"),
        ("origin", "https://vydra.test.evil.test"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for call in calls() {
            let answer = call.header(name, value).send().await;
            assert_eq!(answer.status, 403, "{name}: {value}");
            let body = answer.error("INSUFFICIENT_SCOPE");
            assert_eq!(body["error"], "The request came from another site");
            assert_eq!(answer.header("set-cookie"), None);
        }
        // Reading is no harm: no script of another site sees the answer.
        api.get("auth/me")
            .session(&session)
            .header(name, value)
            .send()
            .await
            .ok(200);
        // Whoever has a key needs no cookie.
        api.post("jobs", &json!({}))
            .header(name, value)
            .send()
            .await
            .error("INVALID_INPUT");
    }
    assert!(is_logged_in(&api, &session).await);
    let untextual = api.post("api-keys", &key).session(&session);
    let answer = untextual
        .raw_header("origin", b"https://vydra.test\xff")
        .send()
        .await;
    answer.error("INSUFFICIENT_SCOPE");
    for (name, value) in [
        ("origin", PUBLIC_URL),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-site", "none"),
    ] {
        let call = api.post("api-keys", &key).session(&session);
        call.header(name, value).send().await.ok(201);
        api.login(ADA, PASSWORD)
            .header(name, value)
            .send()
            .await
            .ok(200);
    }
}

// --- Guessing ---

#[tokio::test]
async fn ten_wrong_passwords_close_an_account_for_a_while_also_to_the_right_one() {
    let api = with_ada().await;
    api.user(&api.org, "bob@example.com", Role::Member).await;
    let wrong = |email: &str| api.login(email, "incorrect horse battery");
    for email in [ADA, "nobody@example.com"] {
        for _ in 0..9 {
            wrong(email).send().await.error("MISSING_AUTH");
        }
        // A right one takes its own try back and no other.
        if email == ADA {
            for _ in 0..3 {
                api.login(ADA, PASSWORD).send().await.ok(200);
            }
        }
        wrong(email).send().await.error("MISSING_AUTH");
        for call in [wrong(email), api.login(email, PASSWORD)] {
            let answer = call.send().await;
            assert_eq!(answer.status, 429);
            let body = answer.error("RATE_LIMIT_EXCEEDED");
            assert_eq!(
                body["limits"],
                json!({"type": "hour", "limit": 10, "used": 11})
            );
            assert_eq!(body["retryAfter"], 3_600);
            assert_eq!(answer.header("set-cookie"), None);
        }
    }
    api.login("bob@example.com", PASSWORD).send().await.ok(200);
    api.clock.advance(Duration::from_secs(3_599));
    wrong(ADA).send().await.error("RATE_LIMIT_EXCEEDED");
    api.clock.advance(Duration::from_secs(1));
    api.login(ADA, PASSWORD).send().await.ok(200);
}

#[tokio::test]
async fn twenty_failures_close_an_address_for_a_while() {
    let api = with_ada().await;
    for (first, same, other) in [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"),
    ] {
        for guess in 0..20 {
            let email = format!("guess{guess}@example.com");
            let call = api.login(&email, PASSWORD).from(first);
            call.send().await.error("MISSING_AUTH");
        }
        let refused = api.login(ADA, PASSWORD).from(same).send().await;
        let body = refused.error("RATE_LIMIT_EXCEEDED");
        assert_eq!(
            body["limits"],
            json!({"type": "hour", "limit": 20, "used": 21})
        );
        api.login(ADA, PASSWORD).from(other).send().await.ok(200);
        api.clock.advance(Duration::from_hours(1));
        api.login(ADA, PASSWORD).from(first).send().await.ok(200);
    }
}

#[tokio::test]
async fn tries_at_once_are_no_way_around_the_count() {
    let api = with_ada().await;
    let guesses = (0..30).map(|guess| {
        let call = api.login(ADA, &format!("incorrect horse {guess}"));
        call.from("192.0.2.1").send()
    });
    let guesses: tokio::task::JoinSet<_> = guesses.collect();
    let answers = guesses.join_all().await;
    let looked_at = answers.iter().filter(|answer| answer.status == 401).count();
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    assert_eq!((looked_at, refused), (10, 20));
}

#[tokio::test]
async fn who_guesses_elsewhere_does_not_keep_the_owner_out_until_a_hundred_have_failed() {
    let api = with_ada().await;
    for guess in 0..100 {
        let call = api.login(ADA, "incorrect horse battery");
        let call = call.from(&format!("192.0.2.{}", guess / 10));
        call.send().await.error("MISSING_AUTH");
        if guess == 98 {
            let owner = api.login(ADA, PASSWORD).from("198.51.100.1");
            owner.send().await.ok(200);
        }
    }
    let owner = api.login(ADA, PASSWORD).from("198.51.100.1").send().await;
    let body = owner.error("RATE_LIMIT_EXCEEDED");
    let all = json!({"type": "hour", "limit": 100, "used": 101});
    assert_eq!(body["limits"], all);
}

#[tokio::test]
async fn logins_and_logouts_count_against_the_address() {
    let api = with_ada().await;
    for turn in 0..60 {
        let call = if turn % 2 == 0 {
            api.call("POST", "auth/logout").without("authorization")
        } else {
            api.login("no address", "x")
        };
        let answer = call.from("192.0.2.7").send().await;
        assert!(answer.status != 429, "{turn}");
    }
    for call in [
        api.call("POST", "auth/logout").without("authorization"),
        api.login(ADA, PASSWORD),
    ] {
        let refused = call.from("192.0.2.7").send().await;
        refused.error("RATE_LIMIT_EXCEEDED");
    }
}

#[tokio::test]
async fn what_nobody_sends_to_log_in_is_not_read() {
    let api = with_ada().await;
    let body = api.login(ADA, &"x".repeat(9_000)).send().await;
    let sentence = "The request body exceeds the limit of 8192 bytes";
    assert_eq!(body.error("INVALID_INPUT")["error"], sentence);
}
