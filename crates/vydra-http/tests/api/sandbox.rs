//! `X-Vydra-Simulate` on the wire: each outcome with all its fields and headers (contract, section 12).

use crate::fixture::{Answer, Api, CREDITS};
use serde_json::{Value, json};
use std::collections::BTreeSet;
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

/// Every authenticated operation, with a body that is good enough to come so far.
const OPERATIONS: [(&str, &str); 8] = [
    ("GET", "models"),
    ("GET", "organization"),
    ("GET", "jobs"),
    ("GET", "jobs/job_00000000000000000000000000"),
    ("GET", "jobs/job_00000000000000000000000000/events"),
    ("DELETE", "jobs/job_00000000000000000000000000"),
    ("POST", "upload"),
    ("POST", "models/gemini/generate"),
];

#[tokio::test]
async fn refusals_are_met_on_every_operation() {
    let api = sandbox().await;
    for (method, path) in OPERATIONS {
        for code in ErrorCode::ALL {
            let is_outcome = ["GENERATION_FAILED", "PROCESSING_TIMEOUT"].contains(&code.as_str());
            let known_by_its_price = code == ErrorCode::InsufficientCredits;
            let charges = path.starts_with("models/");
            if charges && (is_outcome || known_by_its_price) {
                continue;
            }
            let call = api.call(method, path);
            let answer = call.header("x-vydra-simulate", code.as_str()).send().await;
            let expected = if is_outcome {
                "INVALID_INPUT"
            } else {
                code.as_str()
            };
            answer.error(expected);
        }
        let live = api.key(&api.org, &["*"], Mode::Live).await;
        let call = api.call(method, path).key(&live);
        let answer = call.header("x-vydra-simulate", "NOT_FOUND").send().await;
        let body = answer.error("INVALID_INPUT");
        assert!(body["error"].as_str().unwrap().contains("test key"));
    }
    let scope = api.call("POST", "upload");
    let scope = scope
        .header("x-vydra-simulate", "INSUFFICIENT_SCOPE")
        .send()
        .await;
    let body = scope.error("INSUFFICIENT_SCOPE");
    assert_eq!(body["details"]["required"], json!(["upload:write"]));
    assert_eq!(api.balance(&api.org, Mode::Test).await, SANDBOX);
}

#[tokio::test]
async fn what_a_provider_does_can_only_be_asked_of_a_call_that_charges() {
    let api = sandbox().await;
    for wish in ["SLOW=5s", "FLAKY=1", "PARTIAL=1", "LOST", "CONTENT_POLICY"] {
        let call = api.get("models").header("x-vydra-simulate", wish);
        let body = call.send().await.error("INVALID_INPUT");
        let allowed = body["details"]["allowed"].as_array().unwrap();
        assert_eq!(allowed.len(), ErrorCode::ALL.len() - 2, "{wish}");
        assert!(allowed.contains(&json!("RATE_LIMIT_EXCEEDED")));
    }
}

#[tokio::test]
async fn several_headers_are_one_list() {
    let api = sandbox().await;
    let input = json!({"prompt": "p"});
    let call = api.post("models/gemini/generate", &input);
    let call = call.header("x-vydra-simulate", "SLOW=1ms");
    let both = call.also("x-vydra-simulate", "CONTENT_POLICY");
    let body = both.clone().send().await.error("GENERATION_FAILED");
    assert_eq!(body["details"]["reason"], "content_policy");
    let refused = both.also("x-vydra-simulate", "KEY_REVOKED").send().await;
    refused.error("KEY_REVOKED");
}

/// The fields of an error, those in its details, and its headers: what a client's code can be written against.
fn shape(answer: &Answer) -> BTreeSet<String> {
    let body = answer.json();
    let mut shape = BTreeSet::new();
    for (name, value) in body.as_object().unwrap() {
        shape.insert(name.clone());
        if let Value::Object(inner) = value {
            shape.extend(inner.keys().map(|inner| format!("{name}.{inner}")));
        }
    }
    let headers = answer.headers.keys().map(axum::http::HeaderName::as_str);
    // Those of the limits come with every answer to a caller who was recognised, as the sandbox's always is.
    let own = headers.filter(|name| !name.contains("ratelimit"));
    shape.extend(own.map(|name| format!("{name}:")));
    shape
}

/// The real answer with this code; None where no caller of a test can bring it about.
async fn real(api: &Api, code: ErrorCode) -> Option<Answer> {
    let image = |input: Value| api.post("models/gemini/edit", &input);
    let file = |content: Vec<u8>| {
        let head = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n";
        let body = [head.as_slice(), &content, b"\r\n--x--"].concat();
        let call = api.call("POST", "upload").body(body);
        call.header("content-type", "multipart/form-data; boundary=x")
    };
    let ended = || async {
        let made = api.post("models/gemini/generate", &json!({"prompt": "p"}));
        let made = made.send().await.ok(200);
        made["jobId"].as_str().unwrap().to_owned()
    };
    let poor = api.org("poor", 0).await;
    let poor = api.key(&poor, &["*"], Mode::Live).await;
    let reader = api.key(&api.org, &["jobs:read"], Mode::Live).await;
    let slow = api.org_on("free", "slow", 100).await;
    let slow = api.key(&slow, &["*"], Mode::Live).await;
    let call = match code {
        ErrorCode::InvalidInput => image(json!({})),
        ErrorCode::InvalidFileType => file(vec![0; 100]),
        ErrorCode::FileTooLarge => {
            let mut large = vydra_testkit::files::png(1, 1).to_vec();
            large.resize(22_000_000, 0);
            file(large)
        }
        ErrorCode::InvalidUrl => image(json!({"prompt": "p", "imageUrl": "http://10.0.0.1/"})),
        ErrorCode::MissingAuth => api.get("models").without("authorization"),
        ErrorCode::InvalidFormat => api.get("models").key("nonsense"),
        ErrorCode::InsufficientCredits => {
            let call = api.post("models/gemini/generate", &json!({"prompt": "p"}));
            call.key(&poor)
        }
        ErrorCode::InsufficientScope => api.get("models").key(&reader),
        ErrorCode::NotFound => api.get("nowhere"),
        ErrorCode::ModelNotFound => api.post("models/nothing", &json!({})),
        ErrorCode::JobNotFound => api.get("jobs/nothing"),
        ErrorCode::MethodNotAllowed => api.call("PUT", "jobs"),
        ErrorCode::JobNotCancellable => api.delete(&format!("jobs/{}", ended().await)),
        ErrorCode::RateLimitExceeded => {
            let call = api.get("models").key(&slow);
            for _ in 0..10 {
                call.clone().send().await.ok(200);
            }
            call
        }
        ErrorCode::Unavailable => {
            api.break_media();
            let answer = file(vydra_testkit::files::png(1, 1).to_vec()).send().await;
            api.mend_media();
            return Some(answer);
        }
        ErrorCode::KeyNotFound
        | ErrorCode::KeyRevoked
        | ErrorCode::KeyExpired
        | ErrorCode::IdempotencyConflict
        | ErrorCode::GenerationFailed
        | ErrorCode::ProcessingTimeout
        | ErrorCode::InternalError => return None,
    };
    Some(call.send().await)
}

#[tokio::test]
async fn each_simulated_answer_has_the_shape_of_the_real_one() {
    for code in ErrorCode::ALL {
        let mut api = Api::new().await;
        let real = real(&api, code).await;
        api.key = api.key(&api.org, &["*"], Mode::Test).await;
        let simulated = simulate(&api, code.as_str()).await;
        simulated.error(code.as_str());
        let simulated = shape(&simulated);
        if let Some(real) = real {
            real.error(code.as_str());
            assert_eq!(simulated, shape(&real), "{code}");
        }
        let bears = |name: &str| simulated.contains(name);
        assert_eq!(
            bears("www-authenticate:"),
            code.entry().status == 401,
            "{code}"
        );
        assert_eq!(
            bears("allow:"),
            code == ErrorCode::MethodNotAllowed,
            "{code}"
        );
        let waits = [
            ErrorCode::RateLimitExceeded,
            ErrorCode::IdempotencyConflict,
            ErrorCode::Unavailable,
        ];
        assert_eq!(bears("retry-after:"), waits.contains(&code), "{code}");
        assert_eq!(
            bears("details.retryable"),
            code.entry().status >= 500,
            "{code}"
        );
    }
}
