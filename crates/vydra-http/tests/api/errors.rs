//! One shape for whatever goes wrong (contract, section 2). The shape itself is checked in `fixture` at every answer.

use crate::fixture::{Api, CREDITS};
use serde_json::{Value, json};
use std::time::Duration;
use vydra_testkit::{Accepted, ErrorKind, Reply, refused};

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let api = Api::idle().await;
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v1/nothing",
        "/api/v2/jobs",
        "/api/v1/jobs/",
        "/api/v1/jobs/x/y",
        "/api/v1/health/",
        "/nothing",
        "//api/v1/jobs",
        "/api/v1/../v1/jobs",
    ] {
        for call in [
            api.get(path),
            api.get(path).without("authorization"),
            api.post(path, &json!({})),
        ] {
            let answer = call.send().await;
            assert_eq!(answer.header("location"), None, "{path}: never a redirect");
            let body = answer.error("NOT_FOUND");
            assert_eq!(body["error"], "The requested resource doesn't exist");
        }
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_which_are_right() {
    let api = Api::idle().await;
    for (method, path, allowed) in [
        ("PUT", "jobs", "GET,HEAD,POST"),
        ("DELETE", "jobs", "GET,HEAD,POST"),
        (
            "POST",
            "jobs/job_00000000000000000000000000",
            "DELETE,GET,HEAD",
        ),
        ("POST", "health", "GET,HEAD"),
        ("PATCH", "organization", "GET,HEAD"),
        ("DELETE", "models/veo3", "GET,HEAD,POST"),
        ("POST", "/media/aa/x.png", "GET,HEAD"),
        ("DELETE", "/docs", "GET,HEAD"),
        ("POST", "/docs/errors", "GET,HEAD"),
        ("PUT", "/openapi.json", "GET,HEAD"),
        ("BREW", "health", "GET,HEAD"),
        ("TRACE", "jobs", "GET,HEAD,POST"),
        ("CONNECT", "jobs", "GET,HEAD,POST"),
    ] {
        for call in [
            api.call(method, path),
            api.call(method, path).without("authorization"),
        ] {
            let answer = call.send().await;
            answer.error("METHOD_NOT_ALLOWED");
            let mut found: Vec<&str> = answer
                .header("allow")
                .unwrap()
                .split(',')
                .map(str::trim)
                .collect();
            found.sort_unstable();
            assert_eq!(found.join(","), allowed, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn an_unknown_model_is_told_where_the_models_are() {
    let api = Api::idle().await;
    for call in [
        api.post("models/no/such", &json!({"prompt": "p"})),
        api.get("models/nothing"),
        // A slug is not a path.
        api.post("models/gemini-image", &json!({"prompt": "p"})),
    ] {
        let answer = call.send().await;
        assert_eq!(answer.status, 404);
        let body = answer.error("MODEL_NOT_FOUND");
        assert!(
            body["details"]["hint"]
                .as_str()
                .unwrap()
                .contains("/api/v1/models")
        );
    }
}

#[tokio::test]
async fn an_inactive_model_is_not_found_with_a_hint() {
    let api = Api::with("enterprise", |setup| setup.fallback = false).await;
    let workflow = json!({"workflow": "generate_video", "input": {"prompt": "p"}});
    for call in [
        api.post("models/veo3", &json!({"prompt": "p"})),
        // Also before the input is looked at.
        api.post("models/veo3", &json!({})),
        api.post("jobs", &workflow),
    ] {
        let body = call.send().await.error("MODEL_NOT_FOUND");
        let hint = body["details"]["hint"].as_str().unwrap();
        assert!(hint.contains("not active on this server"), "{hint}");
        assert_eq!(body["details"]["model"], "veo3");
    }
    assert_eq!(api.credits().await, CREDITS);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_an_invalid_input() {
    let api = Api::idle().await;
    let json = |body: &'static [u8]| ("application/json", body.to_vec());
    for path in ["models/gemini/generate", "jobs"] {
        for (content_type, body) in [
            json(b""),
            json(b"{"),
            json(b"{\"prompt\": \"p\",}"),
            json(b"{\"prompt\": \"\xff\xfe\"}"),
            json(b"[]"),
            json(b"\"prompt\""),
            json(b"null"),
            ("text/plain", b"{\"prompt\": \"p\"}".to_vec()),
            ("application/x-www-form-urlencoded", b"prompt=p".to_vec()),
            ("multipart/form-data; boundary=x", b"--x--".to_vec()),
            ("nonsense", b"{}".to_vec()),
            ("application/json", vec![b' '; 1_048_577]),
            (
                "application/json",
                format!("{{\"prompt\":\"{}\"}}", "p".repeat(2_000_000)).into(),
            ),
            ("application/json", "[".repeat(100_000).into()),
        ] {
            let call = api
                .post(path, &json!({}))
                .header("content-type", content_type);
            let answer = call.body(body).send().await;
            assert_eq!(answer.status, 400, "{content_type}");
            answer.error("INVALID_INPUT");
        }
        let untyped = api
            .post(path, &json!({"prompt": "p"}))
            .without("content-type");
        let body = untyped.send().await.error("INVALID_INPUT");
        assert_eq!(body["error"], "The Content-Type must be application/json");
    }
    assert_eq!(api.credits().await, CREDITS);
}

#[tokio::test]
async fn json_is_taken_under_its_usual_names() {
    let api = Api::new().await;
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
    ] {
        let call = api.post("models/gemini/generate", &json!({"prompt": "p"}));
        call.header("content-type", content_type)
            .send()
            .await
            .ok(200);
    }
}

#[tokio::test]
async fn a_path_that_is_not_utf_8_is_refused_in_our_shape() {
    let api = Api::idle().await;
    for path in [
        "jobs/%FF",
        "models/%FF%FE",
        "/media/%FF",
        "/api/v1/%FF",
        "jobs/%00",
    ] {
        let answer = api.get(path).send().await;
        assert!(
            [400, 404].contains(&answer.status.as_u16()),
            "{path}: {}",
            answer.status
        );
    }
}

#[tokio::test]
async fn queries_are_checked() {
    let api = Api::idle().await;
    let id = api.pending().await;
    for (path, sentence) in [
        (
            "jobs?limit=0",
            "Invalid field: limit is out of range, expected a whole number from 1 to 100",
        ),
        (
            "jobs?limit=101",
            "Invalid field: limit is out of range, expected a whole number from 1 to 100",
        ),
        (
            "jobs?limit=ten",
            "Invalid field: limit is out of range, expected a whole number from 1 to 100",
        ),
        (
            "jobs?limit=",
            "Invalid field: limit is out of range, expected a whole number from 1 to 100",
        ),
        (
            "jobs?limit=%FF",
            "Invalid field: limit is not readable, expected UTF-8",
        ),
        (
            "jobs?status=done",
            "Invalid field: status is not one of the allowed values, expected pending, running, completed, failed, cancelled",
        ),
        (
            "jobs?after=nonsense",
            "Invalid field: after is not one of the allowed values, expected a nextCursor of this list",
        ),
        (
            "models?isActive=maybe",
            "Invalid field: isActive is not one of the allowed values, expected true, false",
        ),
        (
            "jobs?limit=1&limit=2",
            "Invalid field: limit is given more than once, expected one value",
        ),
    ] {
        let body = api.get(path).send().await.error("INVALID_INPUT");
        assert_eq!(body["error"], sentence, "{path}");
    }
    for (path, field) in [
        ("jobs?limit=99999999999999999999", "limit"),
        ("jobs?limit=1.0", "limit"),
        ("jobs?limit=1e1", "limit"),
        ("jobs?limit=0x10", "limit"),
        ("jobs?limit=%C3%A9", "limit"),
        ("jobs?limit=1%00", "limit"),
        ("jobs?offset=4294967296", "offset"),
        ("jobs?offset=", "offset"),
        ("jobs?status=", "status"),
        ("jobs?status=Pending", "status"),
        ("jobs?status=pending&status=pending", "status"),
        ("jobs?status=%FF", "status"),
        ("jobs?workflow=%C3", "workflow"),
        ("jobs?workflow=a&workflow=b", "workflow"),
        ("jobs?after=", "after"),
        ("jobs?after=%FE", "after"),
        ("models?isActive=1", "isActive"),
        ("models?isActive=true&isActive=false", "isActive"),
        ("models?provider=%FF", "provider"),
        ("models?provider=a&provider=b", "provider"),
    ] {
        let body = api.get(path).send().await.error("INVALID_INPUT");
        assert_eq!(body["details"]["fields"][0]["field"], field, "{path}");
        let start = format!("Invalid field: {field} is ");
        assert!(
            body["error"].as_str().unwrap().starts_with(&start),
            "{body}"
        );
    }
    for wait in [
        "61",
        "-1",
        "1.5",
        "x",
        "99999999999999999999",
        "%FF",
        "1&wait=2",
    ] {
        let answer = api.get(&format!("jobs/{id}?wait={wait}")).send().await;
        let body = answer.error("INVALID_INPUT");
        assert_eq!(body["details"]["fields"][0]["field"], "wait");
    }
    api.get("jobs?offset=-1")
        .send()
        .await
        .error("INVALID_INPUT");
    // What nobody asked for is passed over.
    api.get("jobs?unknown=1").send().await.ok(200);
}

#[tokio::test]
async fn a_missing_field_has_the_seeds_sentence() {
    let api = Api::idle().await;
    for input in [json!({}), json!({"prompt": null}), json!({"Prompt": "p"})] {
        let answer = api.post("models/gemini/generate", &input).send().await;
        assert_eq!(answer.status, 400);
        let body = answer.error("INVALID_INPUT");
        assert_eq!(body["error"], "Missing required field: prompt (string)");
        assert_eq!(
            body["details"]["fields"],
            json!([{"field": "prompt", "problem": "missing", "expected": "string"}])
        );
    }
    let body = api
        .post("jobs", &json!({"input": {}}))
        .send()
        .await
        .error("INVALID_INPUT");
    assert_eq!(body["error"], "Missing required field: workflow (string)");
    let body = json!({"workflow": "generate_image"});
    let body = api.post("jobs", &body).send().await.error("INVALID_INPUT");
    assert_eq!(body["error"], "Missing required field: prompt (string)");
}

#[tokio::test]
async fn several_wrong_fields_are_all_listed() {
    let api = Api::idle().await;
    let input = json!({
        "imageUrl": 5, "numImages": 9, "outputFormat": "gif", "guidanceScale": -1, "seed": "x",
        "imageUrls": ["a", "b", "c", "d", "e", "f", "g", "h", "i"],
    });
    let answer = api.post("models/flux-edit/edit", &input).send().await;
    let body = answer.error("INVALID_INPUT");
    let fields = body["details"]["fields"].as_array().unwrap();
    let mut named: Vec<&str> = fields
        .iter()
        .map(|f| f["field"].as_str().unwrap())
        .collect();
    let first = named[0];
    assert!(body["error"].as_str().unwrap().contains(first), "{body}");
    named.sort_unstable();
    assert_eq!(
        named,
        [
            "guidanceScale",
            "imageUrl",
            "imageUrls",
            "numImages",
            "outputFormat",
            "prompt",
            "seed"
        ]
    );
    for field in fields {
        for part in ["field", "problem", "expected"] {
            assert!(
                field[part].as_str().is_some_and(|text| !text.is_empty()),
                "{field}"
            );
        }
    }
    assert_eq!(api.credits().await, CREDITS);
}

#[tokio::test]
async fn limits_of_the_table_are_kept() {
    let api = Api::idle().await;
    for (path, input) in [
        ("grok-imagine", json!({"prompt": "p".repeat(5_001)})),
        ("grok-imagine", json!({"prompt": "p", "duration": 16})),
        ("grok-imagine", json!({"prompt": "p", "duration": 0})),
        (
            "grok-imagine",
            json!({"prompt": "p", "aspect_ratio": "21:9"}),
        ),
        (
            "grok-imagine",
            json!({"prompt": "p", "model": "text-to-speech"}),
        ),
        (
            "grok-imagine",
            json!({"prompt": "p", "model": "image-to-video"}),
        ),
        (
            "gemini/generate",
            json!({"prompt": "p", "aspectRatio": "7:5"}),
        ),
        ("gemini/generate", json!({"prompt": ""})),
        ("gemini/generate", json!({"prompt": ["p"]})),
        ("kling", json!({"prompt": "p"})),
        ("kling", json!({"image_url": "asset:x"})),
        ("elevenlabs/tts", json!({"prompt": "p"})),
        ("gemini/edit", json!({"prompt": "p"})),
    ] {
        let answer = api.post(&format!("models/{path}"), &input).send().await;
        assert_eq!(answer.status, 400, "{path} {input}");
        answer.error("INVALID_INPUT");
    }
    assert_eq!(api.credits().await, CREDITS);
}

#[tokio::test]
async fn a_url_that_may_not_be_read_is_refused_before_the_charge() {
    let api = Api::idle().await;
    let input = json!({"prompt": "p", "imageUrl": "http://169.254.169.254/latest"});
    let answer = api.post("models/gemini/edit", &input).send().await;
    assert_eq!(answer.status, 400);
    let body = answer.error("INVALID_URL");
    assert_eq!(body["details"]["field"], "imageUrl");
    assert_eq!(answer.header("x-credits-charged"), None);
    assert_eq!(api.credits().await, CREDITS);
}

#[tokio::test]
async fn a_failed_sync_call_is_the_seeds_example() {
    let api = Api::new().await;
    api.provider
        .next(Reply::Error(refused(ErrorKind::NoOutput, Accepted::Yes)));
    let answer = api
        .post("models/gemini/generate", &json!({"prompt": "p"}))
        .send()
        .await;
    assert_eq!(answer.status, 500);
    let mut body = answer.error("GENERATION_FAILED");
    let id = body["details"]["jobId"].as_str().unwrap().to_owned();
    body.as_object_mut().unwrap().remove("requestId");
    assert_eq!(
        body,
        json!({
            "error": "Failed to generate image",
            "code": "GENERATION_FAILED",
            "details": {"retryable": true, "jobId": id, "reason": "no_output"},
            "refund": {"applied": true, "creditsRefunded": 5},
        })
    );
    assert_eq!(api.credits().await, CREDITS, "the balance already shows it");
    let job = api.get(&format!("jobs/{id}")).send().await.ok(200);
    assert_eq!(job["status"], "failed");
    assert_eq!(job["error"], "Failed to generate image");
    assert_eq!(job["code"], "GENERATION_FAILED");
    assert_eq!(
        job["refund"],
        json!({"applied": true, "creditsRefunded": 5})
    );
    assert_eq!(
        job["details"],
        json!({"reason": "no_output", "retryable": true})
    );
    assert_eq!(
        (&job["creditsCharged"], &job["creditsRefunded"]),
        (&json!(5), &json!(5))
    );
    assert_eq!(job["output"], Value::Null);
}

#[tokio::test]
async fn a_refused_content_is_not_worth_a_retry() {
    let api = Api::new().await;
    let picture = api.picture().await;
    for (path, input, sentence) in [
        (
            "gemini/edit",
            json!({"prompt": "p", "imageUrl": picture}),
            "Failed to edit image",
        ),
        (
            "elevenlabs/tts",
            json!({"text": "p"}),
            "Failed to generate speech",
        ),
    ] {
        api.provider.next(Reply::Error(refused(
            ErrorKind::ContentRefused,
            Accepted::Yes,
        )));
        let answer = api.post(&format!("models/{path}"), &input).send().await;
        let body = answer.error("GENERATION_FAILED");
        assert_eq!(body["error"], sentence);
        assert_eq!(body["details"]["retryable"], false);
        assert_eq!(body["details"]["reason"], "content_policy");
    }
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_server_goes_on() {
    let api = Api::idle().await;
    api.clock.break_once();
    let answer = api.get("organization").send().await;
    assert_eq!(answer.status, 500);
    let body = answer.error("INTERNAL_ERROR");
    assert_eq!(body["error"], "Something went wrong on our end");
    assert!(!body.to_string().contains("clock"), "{body}");
    api.get("organization").send().await.ok(200);
}

#[tokio::test]
async fn a_server_that_cannot_keep_files_says_so() {
    let api = Api::idle().await;
    api.break_media();
    let answer = api.get("health").without("authorization").send().await;
    assert_eq!(answer.status, 503);
    let body = answer.error("UNAVAILABLE");
    assert_eq!(body["details"]["check"], "media");
    assert!(answer.number("retry-after") >= 1);
    api.mend_media();
    // The disk is looked at once a second.
    api.clock.advance(Duration::from_secs(1));
    api.get("health").send().await.ok(200);
}
