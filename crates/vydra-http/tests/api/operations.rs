//! The list of operations in the OpenAPI document against the router.

use crate::fixture::Api;
use serde_json::Value;
use std::collections::BTreeSet;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

async fn document(api: &Api) -> Value {
    api.get("/openapi.json")
        .without("authorization")
        .send()
        .await
        .ok(200)
}

/// Each operation as (method, path template, whether it is public).
async fn operations(api: &Api) -> Vec<(String, String, bool)> {
    let document = document(api).await;
    let paths = document["paths"].as_object().unwrap();
    let mut operations = Vec::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let security = operation["security"].as_array();
            let public = security.is_some_and(|needs| needs.contains(&serde_json::json!({})));
            operations.push((method.to_ascii_uppercase(), path.clone(), public));
        }
    }
    operations
}

fn fill(template: &str) -> String {
    template
        .replace("{id}", "job_00000000000000000000000000")
        .replace("{slug}", "veo3")
}

#[tokio::test]
async fn every_operation_asks_who_calls_but_for_those_open_to_anybody() {
    const OPEN: [(&str, u16); 4] = [
        ("/api/v1/health", 200),
        ("/api/v1/auth/login", 400),
        ("/api/v1/auth/logout", 200),
        ("/api/v1/auth/bot-register", 404),
    ];
    let api = Api::idle().await;
    let operations = operations(&api).await;
    assert!(operations.len() >= 17, "{operations:?}");
    for (method, path, public) in operations {
        let open = OPEN.iter().find(|(open, _)| *open == path);
        assert_eq!(public, open.is_some(), "{method} {path}");
        let answer = api
            .call(&method, &fill(&path))
            .without("authorization")
            .send()
            .await;
        if let Some((_, status)) = open {
            assert_eq!(answer.status, *status, "{method} {path}");
        } else {
            assert_eq!(answer.status, 401, "{method} {path}");
            answer.error("MISSING_AUTH");
        }
    }
}

#[tokio::test]
async fn every_operation_is_there_for_a_stranger_with_a_key() {
    let api = Api::idle().await;
    let stranger = api.org("stranger", 0).await;
    let key = api
        .key(&stranger, &["*"], vydra_core::job::Mode::Live)
        .await;
    for (method, path, _) in operations(&api).await {
        let answer = api.call(&method, &fill(&path)).key(&key).send().await;
        assert_ne!(answer.status, 405, "{method} {path}");
        assert_ne!(answer.status, 500, "{method} {path}");
        if answer.status == 404 {
            let is_job = path.starts_with("/api/v1/jobs");
            answer.error(if is_job { "JOB_NOT_FOUND" } else { "NOT_FOUND" });
        }
    }
}

#[tokio::test]
async fn no_path_takes_a_method_that_is_not_described() {
    let api = Api::idle().await;
    let described: BTreeSet<(String, String)> = operations(&api)
        .await
        .into_iter()
        .map(|(method, path, _)| (method, path))
        .collect();
    for path in described
        .iter()
        .map(|(_, path)| path)
        .collect::<BTreeSet<_>>()
    {
        for method in METHODS {
            let known = described.contains(&(method.to_owned(), path.clone()));
            let answer = api.call(method, &fill(path)).send().await;
            assert_eq!(
                answer.status == 405,
                !known,
                "{method} {path}: {}",
                answer.status
            );
        }
    }
}

#[tokio::test]
async fn every_model_that_can_be_called_is_described() {
    let api = Api::idle().await;
    let document = document(&api).await;
    for model in api.engine.catalog().models() {
        let Some(path) = &model.path else { continue };
        let operation = &document["paths"][format!("/api/v1/models/{path}")]["post"];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let checked = model.schema.json();
        assert_eq!(schema["required"], checked["required"], "{path}");
        for (name, field) in checked["properties"].as_object().unwrap() {
            let mut shown = schema["properties"][name].clone();
            // Null counts as absent, and the document says so.
            if let Some([kind, null]) = shown["type"].as_array().map(Vec::as_slice) {
                assert_eq!(null, "null", "{path}: {name}");
                shown["type"] = kind.clone();
                if let Some(words) = shown.get_mut("enum").and_then(Value::as_array_mut) {
                    assert_eq!(words.pop(), Some(Value::Null), "{path}: {name}");
                }
            }
            assert_eq!(shown, *field, "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    let api = Api::idle().await;
    let document = document(&api).await;
    let mut waiting = vec![&document];
    let mut ids = BTreeSet::new();
    while let Some(value) = waiting.pop() {
        match value {
            Value::Object(object) => {
                if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                if let Some(id) = object.get("operationId").and_then(Value::as_str) {
                    assert!(ids.insert(id), "{id} twice");
                }
                waiting.extend(object.values());
            }
            Value::Array(items) => waiting.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    assert!(ids.len() >= 17, "{ids:?}");
    assert_eq!(document["servers"][0]["url"], vydra_testkit::PUBLIC_URL);
}
