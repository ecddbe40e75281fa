//! The errors page of the API that this server speaks, line by line: each row of its tables, each example, and each
//! sentence that promises something, under its own name.

use crate::fixture::{Answer, Api, CREDITS};
use crate::uploads;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;
use vydra_core::api_key::KeySecret;
use vydra_core::error_code::ErrorCode;
use vydra_core::job::{Mode, PROCESSING_LIMIT};
use vydra_testkit::{Accepted, ErrorKind, Reply, SeededRandom, refused};

const IMAGE: &str = "models/gemini/generate";

fn prompt() -> Value {
    json!({"prompt": "p"})
}

fn workflow() -> Value {
    json!({"workflow": "generate_image", "input": {"prompt": "p"}})
}

/// The body without what only this request has.
fn without_id(answer: &Answer) -> Value {
    let mut body = answer.json();
    body.as_object_mut().unwrap().remove("requestId");
    body
}

async fn remaining(api: &Api) -> Value {
    let body = api.get("billing/credits").send().await.ok(200);
    body["creditsRemaining"].clone()
}

/// A row of the tables: this call answers this code under this status.
async fn row(call: crate::fixture::Call, status: u16, code: &str) -> Value {
    let answer = call.send().await;
    assert_eq!(answer.status, status, "{code}");
    answer.error(code)
}

/// An organization with so many credits, and its key in the place of the usual one.
async fn with_credits(plan: &str, credits: i64) -> Api {
    let mut api = Api::new().await;
    api.org = api.org_on(plan, "measured", credits).await;
    api.key = api.key(&api.org, &["*"], Mode::Live).await;
    api
}

// Error Response Format.

#[tokio::test]
async fn format_error_code_and_details() {
    let api = Api::idle().await;
    let body = api.post(IMAGE, &json!({})).send().await.json();
    assert!(body["error"].is_string() && body["code"].is_string());
    assert!(body["details"].is_object());
    let body = api.get("nothing").send().await.json();
    assert!(
        body.get("details").is_none(),
        "details are optional: {body}"
    );
}

// HTTP Status Codes.

#[tokio::test]
async fn status_200_request_succeeded() {
    let api = Api::new().await;
    for call in [api.get("organization"), api.post(IMAGE, &prompt())] {
        assert_eq!(call.send().await.status, 200);
    }
}

#[tokio::test]
async fn status_201_resource_created() {
    let api = Api::idle().await;
    let created = api.post("jobs", &workflow()).send().await.ok(201);
    assert!(created["id"].is_string());
}

#[tokio::test]
async fn status_400_invalid_parameters_or_malformed_request() {
    let api = Api::idle().await;
    for call in [
        api.post(IMAGE, &json!({"prompt": 5})),
        api.get("jobs?limit=0"),
        api.post(IMAGE, &json!({})).body("{\"prompt\": "),
    ] {
        row(call, 400, "INVALID_INPUT").await;
    }
}

#[tokio::test]
async fn status_401_missing_or_invalid_authentication() {
    let api = Api::idle().await;
    for call in [
        api.get("organization").without("authorization"),
        api.get("organization").key("invalid"),
    ] {
        assert_eq!(call.send().await.status, 401);
    }
}

#[tokio::test]
async fn status_402_insufficient_credits() {
    let api = with_credits("starter", 4).await;
    row(api.post(IMAGE, &prompt()), 402, "INSUFFICIENT_CREDITS").await;
}

#[tokio::test]
async fn status_403_api_key_lacks_required_scope() {
    let mut api = Api::idle().await;
    api.key = api.key(&api.org, &["models:read"], Mode::Live).await;
    row(api.post(IMAGE, &prompt()), 403, "INSUFFICIENT_SCOPE").await;
}

#[tokio::test]
async fn status_404_resource_does_not_exist() {
    let api = Api::idle().await;
    for path in ["nothing", "jobs/nothing", "models/nothing"] {
        assert_eq!(api.get(path).send().await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn status_429_rate_limit_exceeded() {
    let api = with_credits("free", 0).await;
    for _ in 0..10 {
        api.get("organization").send().await.ok(200);
    }
    row(api.get("organization"), 429, "RATE_LIMIT_EXCEEDED").await;
}

#[tokio::test]
async fn status_500_something_went_wrong_on_our_end() {
    let api = Api::idle().await;
    api.clock.break_once();
    let body = row(api.get("organization"), 500, "INTERNAL_ERROR").await;
    assert_eq!(body["error"], "Something went wrong on our end");
}

// Authentication Errors (401).

#[tokio::test]
async fn code_missing_auth() {
    let api = Api::idle().await;
    let call = api.get("organization").without("authorization");
    let body = row(call, 401, "MISSING_AUTH").await;
    assert_eq!(body["error"], "No Authorization header provided");
}

#[tokio::test]
async fn code_invalid_format() {
    let api = Api::idle().await;
    let call = api.get("organization").key("sk-123");
    let body = row(call, 401, "INVALID_FORMAT").await;
    assert_eq!(body["error"], "API key format is invalid");
}

#[tokio::test]
async fn code_key_not_found() {
    let api = Api::idle().await;
    let random = SeededRandom::new(99);
    let unknown = KeySecret::generate(Mode::Live, api.org.id.bare(), &random);
    let call = api.get("organization").key(unknown.reveal());
    let body = row(call, 401, "KEY_NOT_FOUND").await;
    assert_eq!(body["error"], "API key doesn't exist");
}

#[tokio::test]
async fn code_key_revoked() {
    let api = Api::idle().await;
    let (key, id) = api.timed_key(None).await;
    api.get("organization").key(&key).send().await.ok(200);
    api.engine.revoke_key(&id).await.unwrap();
    let body = row(api.get("organization").key(&key), 401, "KEY_REVOKED").await;
    assert_eq!(body["error"], "API key was revoked");
}

#[tokio::test]
async fn code_key_expired() {
    let api = Api::idle().await;
    let (key, _) = api.timed_key(Some(1)).await;
    api.get("organization").key(&key).send().await.ok(200);
    api.clock.advance(Duration::from_hours(24));
    let body = row(api.get("organization").key(&key), 401, "KEY_EXPIRED").await;
    assert_eq!(body["error"], "API key has expired");
}

// Validation Errors (400).

#[tokio::test]
async fn code_invalid_input_missing_or_invalid_request_parameters() {
    let api = Api::idle().await;
    for input in [json!({}), json!({"prompt": "p", "aspectRatio": "7:5"})] {
        row(api.post(IMAGE, &input), 400, "INVALID_INPUT").await;
    }
}

#[tokio::test]
async fn code_invalid_url_invalid_or_inaccessible() {
    let api = Api::idle().await;
    for url in [
        "http://[",
        "ftp://example.com/x.png",
        "http://127.0.0.1/x.png",
        "/media/aa/gone.png",
    ] {
        let input = json!({"prompt": "p", "imageUrl": url});
        row(api.post("models/gemini/edit", &input), 400, "INVALID_URL").await;
    }
    assert_eq!(remaining(&api).await, CREDITS);
}

// Resource Errors (402, 403, 404).

#[tokio::test]
async fn code_invalid_file_type_not_allowed() {
    let api = Api::idle().await;
    let call = uploads::of(&api, "page.html", b"<html></html>");
    let body = row(call, 400, "INVALID_FILE_TYPE").await;
    let sentence =
        "Invalid file type. Allowed: image/jpeg, image/jpg, image/png, image/webp, image/gif";
    assert_eq!(body["error"], sentence);
}

#[tokio::test]
async fn code_file_too_large() {
    let api = Api::idle().await;
    let call = uploads::of(
        &api,
        "large.png",
        &uploads::large_png(20 * 1_024 * 1_024 + 1),
    );
    let body = row(call, 400, "FILE_TOO_LARGE").await;
    assert_eq!(body["error"], "File size exceeds 20MB limit");
}

#[tokio::test]
async fn code_insufficient_credits() {
    let api = with_credits("starter", 0).await;
    for (path, body) in [(IMAGE, prompt()), ("jobs", workflow())] {
        row(api.post(path, &body), 402, "INSUFFICIENT_CREDITS").await;
    }
}

#[tokio::test]
async fn code_insufficient_scope() {
    let mut api = Api::idle().await;
    api.key = api.key(&api.org, &["jobs:read"], Mode::Live).await;
    let body = row(api.post("jobs", &workflow()), 403, "INSUFFICIENT_SCOPE").await;
    assert_eq!(
        body["details"],
        json!({"required": ["jobs:write"], "granted": ["jobs:read"]})
    );
}

#[tokio::test]
async fn code_not_found() {
    let api = Api::idle().await;
    row(api.get("nothing"), 404, "NOT_FOUND").await;
    row(api.get("/media/aa/nothing.png"), 404, "NOT_FOUND").await;
}

#[tokio::test]
async fn code_model_not_found() {
    let api = Api::idle().await;
    row(
        api.post("models/nothing", &prompt()),
        404,
        "MODEL_NOT_FOUND",
    )
    .await;
    row(api.get("models/nothing"), 404, "MODEL_NOT_FOUND").await;
}

#[tokio::test]
async fn code_job_not_found() {
    let api = Api::idle().await;
    for id in ["nothing", "job_00000000000000000000000000"] {
        row(api.get(&format!("jobs/{id}")), 404, "JOB_NOT_FOUND").await;
        row(api.delete(&format!("jobs/{id}")), 404, "JOB_NOT_FOUND").await;
    }
}

// Error Examples.

#[tokio::test]
async fn example_insufficient_credits() {
    let api = with_credits("starter", 10).await;
    let picture = api.picture().await;
    let input = json!({"prompt": "p", "imageUrl": picture});
    let answer = api.post("models/flux-edit/edit", &input).send().await;
    assert_eq!(answer.status, 402);
    assert_eq!(
        without_id(&answer),
        json!({
            "error": "Insufficient credits",
            "code": "INSUFFICIENT_CREDITS",
            "creditsRequired": 15,
            "creditsRemaining": 5,
        })
    );
    assert_eq!(remaining(&api).await, 5);
}

async fn limited() -> (Api, Answer) {
    let api = with_credits("starter", 5).await;
    for _ in 0..30 {
        api.get("organization").send().await.ok(200);
    }
    api.clock.advance(Duration::from_secs(30));
    let answer = api.post(IMAGE, &prompt()).send().await;
    (api, answer)
}

#[tokio::test]
async fn example_rate_limit_exceeded() {
    let (_, answer) = limited().await;
    assert_eq!(answer.status, 429);
    assert_eq!(
        without_id(&answer),
        json!({
            "error": "Rate limit exceeded",
            "code": "RATE_LIMIT_EXCEEDED",
            "retryAfter": 30,
            "limits": {"type": "minute", "limit": 30, "used": 31},
        })
    );
    assert_eq!(answer.number("retry-after"), 30);
}

#[tokio::test]
async fn example_validation_error() {
    let api = Api::idle().await;
    let body = row(api.post(IMAGE, &json!({})), 400, "INVALID_INPUT").await;
    assert_eq!(body["error"], "Missing required field: prompt (string)");
}

#[tokio::test]
async fn example_error_response_with_refund() {
    let api = Api::new().await;
    let reply = Reply::Error(refused(ErrorKind::NoOutput, Accepted::Yes));
    api.provider.next(reply);
    let body = api.post(IMAGE, &prompt()).send().await.json();
    assert_eq!(body["error"], "Failed to generate image");
    assert_eq!(
        body["refund"],
        json!({"applied": true, "creditsRefunded": 5})
    );
}

// Automatic Refunds. Each ends with the balance, which shows the refund at once and without a word from the caller.

async fn refunded(api: &Api, id: &str, status: &str) -> Value {
    let job = api.get(&format!("jobs/{id}")).send().await.ok(200);
    assert_eq!(job["status"], status);
    assert_eq!(
        job["refund"],
        json!({"applied": true, "creditsRefunded": 5})
    );
    assert_eq!(job["creditsRefunded"], 5);
    assert_eq!(remaining(api).await, CREDITS, "the balance shows it");
    job
}

#[tokio::test]
async fn refund_ai_model_generation_failures() {
    let api = Api::idle().await;
    let id = api.pending().await;
    assert_eq!(remaining(&api).await, CREDITS - 5, "it was charged");
    let reply = Reply::Error(refused(ErrorKind::NoOutput, Accepted::Yes));
    api.provider.next(reply);
    api.step().await;
    let job = refunded(&api, &id, "failed").await;
    assert_eq!(job["code"], "GENERATION_FAILED");
}

#[tokio::test]
async fn refund_processing_timeouts_of_30_minutes() {
    // A clock that jumps must not free the lease, which a worker renews while it works.
    let api = Api::with("enterprise", |setup| {
        setup.worker.lease = PROCESSING_LIMIT * 2;
    })
    .await;
    let gate = api.provider.hold_next();
    let id = api.pending().await;
    let late = async {
        gate.reached().await;
        api.clock.advance(Duration::from_secs(30 * 60 - 1));
        api.step().await;
        let job = api.get(&format!("jobs/{id}")).send().await.ok(200);
        assert_eq!(job["status"], "running");
        api.clock.advance(Duration::from_secs(1));
        api.step().await;
    };
    tokio::join!(api.step(), late);
    let job = refunded(&api, &id, "failed").await;
    assert_eq!(job["code"], "PROCESSING_TIMEOUT");
}

#[tokio::test]
async fn refund_system_errors_during_job_execution() {
    let mut api = Api::with("enterprise", |setup| setup.repeatable = false).await;
    let gate = api.provider.hold_next();
    let id = api.pending().await;
    // The process dies while the provider is asked; nobody can know what became of it.
    api.crash_at(async move { gate.reached().await }).await;
    api.step().await;
    refunded(&api, &id, "failed").await;
}

#[tokio::test]
async fn refund_system_errors_of_the_storage() {
    let api = Api::idle().await;
    let id = api.pending().await;
    api.break_media();
    while api.get(&format!("jobs/{id}")).send().await.ok(200)["status"] != "failed" {
        api.clock.advance(Duration::from_mins(2));
        api.step().await;
    }
    refunded(&api, &id, "failed").await;
    api.mend_media();
}

#[tokio::test]
async fn refund_user_cancelled_jobs() {
    let api = Api::idle().await;
    let id = api.pending().await;
    assert_eq!(remaining(&api).await, CREDITS - 5);
    let cancelled = api.delete(&format!("jobs/{id}")).send().await.ok(200);
    assert_eq!(cancelled["status"], "cancelled");
    refunded(&api, &id, "cancelled").await;
}

// Error Handling Best Practices: the page's function, with the branches and the names that it reads.

async fn call_vydra_api(call: crate::fixture::Call) -> Result<Value, String> {
    let response = call.send().await;
    let data = response.json();
    // What JavaScript puts in the place of a field that is not there.
    let text = |value: &Value| match value {
        Value::Null => "undefined".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if response.status.is_success() {
        return Ok(data);
    }
    Err(match response.status.as_u16() {
        401 => format!("Authentication failed: {}", text(&data["error"])),
        402 => format!(
            "Insufficient credits. Need {}, have {}",
            text(&data["creditsRequired"]),
            text(&data["creditsRemaining"])
        ),
        429 => {
            let retry_after = data["retryAfter"].as_i64().unwrap_or(60);
            format!("Rate limited. Retry after {retry_after} seconds")
        }
        _ => data["error"].as_str().unwrap_or("Unknown error").to_owned(),
    })
}

#[tokio::test]
async fn best_practice_ok_returns_the_data() {
    let api = Api::new().await;
    let data = call_vydra_api(api.post(IMAGE, &prompt())).await.unwrap();
    assert!(data["imageUrl"].is_string());
}

#[tokio::test]
async fn best_practice_401_reads_error() {
    let api = Api::idle().await;
    let call = api.get("organization").key("wrong");
    let error = call_vydra_api(call).await.unwrap_err();
    assert_eq!(error, "Authentication failed: API key format is invalid");
}

#[tokio::test]
async fn best_practice_402_reads_required_and_remaining() {
    let api = with_credits("starter", 3).await;
    let error = call_vydra_api(api.post(IMAGE, &prompt()))
        .await
        .unwrap_err();
    assert_eq!(error, "Insufficient credits. Need 5, have 3");
}

#[tokio::test]
async fn best_practice_429_reads_retry_after() {
    let (api, _) = limited().await;
    let error = call_vydra_api(api.post(IMAGE, &prompt()))
        .await
        .unwrap_err();
    assert_eq!(error, "Rate limited. Retry after 30 seconds");
}

#[tokio::test]
async fn best_practice_default_reads_error() {
    let api = Api::new().await;
    api.provider.next(Reply::Error(refused(
        ErrorKind::ContentRefused,
        Accepted::Yes,
    )));
    for (call, sentence) in [
        (api.post(IMAGE, &prompt()), "Failed to generate image"),
        (
            api.post(IMAGE, &json!({})),
            "Missing required field: prompt (string)",
        ),
        (api.get("jobs/nothing"), "Job not found"),
    ] {
        assert_eq!(call_vydra_api(call).await.unwrap_err(), sentence);
    }
}

#[tokio::test]
async fn best_practice_retrying_a_rate_limit_as_told_helps() {
    let (api, answer) = limited().await;
    let told = answer.json()["retryAfter"].as_u64().unwrap();
    api.clock.advance(Duration::from_secs(told - 1));
    api.post(IMAGE, &prompt())
        .send()
        .await
        .error("RATE_LIMIT_EXCEEDED");
    api.clock.advance(Duration::from_secs(1));
    api.post(IMAGE, &prompt()).send().await.ok(200);
}

#[tokio::test]
async fn best_practice_retrying_a_5xx_is_told_and_helps() {
    let api = Api::new().await;
    api.provider
        .next(Reply::Error(refused(ErrorKind::NoOutput, Accepted::Yes)));
    let failed = api.post(IMAGE, &prompt()).send().await;
    assert_eq!(failed.json()["details"]["retryable"], true);
    api.post(IMAGE, &prompt()).send().await.ok(200);
}

#[tokio::test]
async fn best_practice_retrying_a_4xx_does_not_help() {
    let api = Api::idle().await;
    for call in [
        api.post(IMAGE, &json!({})),
        api.get("nothing"),
        api.get("jobs/nothing"),
        api.get("organization").without("authorization"),
    ] {
        let (first, second) = (call.clone().send().await, call.send().await);
        assert_eq!(without_id(&first), without_id(&second));
    }
}

#[tokio::test]
async fn best_practice_every_error_can_be_logged_and_mapped() {
    let mut api = Api::new().await;
    api.key = api.key(&api.org, &["*"], Mode::Test).await;
    let mut sentences = HashSet::new();
    for code in ErrorCode::ALL {
        let call = api.post(IMAGE, &prompt());
        let answer = call.header("x-vydra-simulate", code.as_str()).send().await;
        let body = answer.error(code.as_str());
        let sentence = body["error"].as_str().unwrap().to_owned();
        assert!(!sentence.contains(code.as_str()), "for a human: {sentence}");
        assert!(sentences.insert(sentence), "{code}");
    }
}
