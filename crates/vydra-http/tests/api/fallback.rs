//! `X-Vydra-No-Fallback`: the named model by its first provider, or nothing.

use crate::fixture::{Api, CREDITS};
use serde_json::json;
use vydra_core::ids::JobId;

#[tokio::test]
async fn the_wish_is_kept_with_the_job() {
    let api = Api::idle().await;
    for (value, kept) in [
        (Some("true"), true),
        (Some("1"), true),
        (Some(" true "), true),
        (Some("false"), false),
        (Some("0"), false),
        (None, false),
    ] {
        let body = json!({"workflow": "generate_image", "input": {"prompt": "p"}});
        let mut call = api.post("jobs", &body);
        if let Some(value) = value {
            call = call.header("x-vydra-no-fallback", value);
        }
        let created = call.send().await.ok(201);
        let id = JobId::parse(created["id"].as_str().unwrap()).unwrap();
        let job = api.store.job(&api.org.id, &id).await.unwrap().unwrap();
        assert_eq!(job.call.no_fallback, kept, "{value:?}");
    }
}

#[tokio::test]
async fn another_word_is_refused_before_anything_is_charged() {
    let api = Api::idle().await;
    let image = ("models/gemini/generate", json!({"prompt": "p"}));
    let job = (
        "jobs",
        json!({"workflow": "generate_image", "input": {"prompt": "p"}}),
    );
    for (path, body) in [image, job] {
        for value in ["", "yes", "TRUE", "2", "true, false"] {
            let call = api.post(path, &body).header("x-vydra-no-fallback", value);
            let told = call.send().await.error("INVALID_INPUT");
            let field = &told["details"]["fields"][0]["field"];
            assert_eq!(field, "X-Vydra-No-Fallback", "{path}: {value}");
        }
        let call = api.post(path, &body).header("x-vydra-no-fallback", "true");
        let call = call.raw_header("x-vydra-no-fallback", b"\xff");
        call.send().await.error("INVALID_INPUT");
    }
    assert_eq!(api.credits().await, CREDITS);
    assert_eq!(api.store.audit().await.unwrap().jobs, 0);
}
