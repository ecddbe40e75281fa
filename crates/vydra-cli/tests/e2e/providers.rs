//! Hosted providers, as an operator sets them up: the real binary before a server that speaks as a provider does.

use crate::server::{Data, text};
use serde_json::{Value, json};
use vydra_testkit::files;
use vydra_testkit::upstream::{Ending, KEY, Reply, Stub};

const ID: &str = "764cabcf-b745-4b3e-ae38-1200304cf45b";
const SUBMIT: &str = "/fal-ai/nano-banana-2";

fn served_by(stub: &Stub) -> Data {
    Data::without_providers()
        .with("VYDRA__PROVIDERS__FAL__API_KEY", KEY)
        .with("VYDRA__PROVIDERS__FAL__BASE_URL", &stub.url)
        .with("VYDRA__OUTBOUND__INPUT_ALLOW_NETWORKS", "[\"127.0.0.1\"]")
}

fn accepted() -> Reply {
    Reply::json(200, &json!({"status": "IN_QUEUE", "request_id": ID}))
}

/// A queue that has made `file` when it is asked for the first time.
fn queue(method: &str, path: &str, file: &str) -> Reply {
    match (method, path) {
        ("POST", _) => accepted(),
        (_, path) if path.ends_with("/status") => Reply::json(200, &json!({"status": "COMPLETED"})),
        _ => Reply::json(200, &json!({"images": [{"url": file}]})),
    }
}

fn purchases(stub: &Stub) -> usize {
    let requests = stub.requests();
    let bought = requests.iter().filter(|request| request.method == "POST");
    bought
        .inspect(|request| assert_eq!(request.path, SUBMIT))
        .count()
}

async fn order(data: &Data) -> (String, Value) {
    let org = data.org("acme", 100).await;
    let key = data.key(&org, &[]).await;
    (
        key,
        json!({"workflow": "generate_image", "input": {"prompt": "a wave"}}),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_environment_serves_the_catalogue() {
    let files = Stub::foreign(Reply::new(200, "image/png", files::png(64, 64))).await;
    let file = format!("{}/made.png", files.url);
    let stub = Stub::answering(move |request| queue(&request.method, &request.path, &file)).await;
    let data = served_by(&stub);
    let (key, job) = order(&data).await;
    let server = data.serve().await;
    let api = server.api(&key);
    let started = api.post("jobs", &job).await.expect(201);
    let ended = api.end_of(&text(&started["id"])).await;
    assert_eq!(
        (&ended["status"], &ended["provider"]),
        (&json!("completed"), &json!("fal"))
    );
    assert_eq!(api.credits().await, 95);
    assert_eq!(purchases(&stub), 1);
    assert_eq!(files.requests().len(), 1);

    let attempts = data.json(&["provider", "attempts"]).await;
    let attempt = &attempts["data"][0];
    assert_eq!(attempt["jobId"], started["id"]);
    assert_eq!(
        (&attempt["provider"], &attempt["model"]),
        (&json!("fal"), &json!("fal-ai/nano-banana-2"))
    );
    assert_eq!(
        (&attempt["failure"], &attempt["accepted"]),
        (&Value::Null, &json!("yes"))
    );
    assert_eq!(attempt["requestId"], ID);
    let table = data
        .prose(&["provider", "attempts", "--provider", "fal"])
        .await;
    assert!(table.contains("delivered") && table.contains(ID), "{table}");
    let checked = data.json(&["models", "check"]).await;
    assert_eq!(checked["good"], true, "{checked}");
    let doctor = data.json(&["doctor"]).await;
    let findings = doctor["findings"].as_array().unwrap();
    let told = findings
        .iter()
        .find(|finding| finding["check"] == "provider")
        .unwrap();
    assert_eq!(
        (&told["verdict"], &told["sentence"]),
        (&json!("ok"), &json!("fal answers"))
    );
    assert!(!format!("{attempts}{checked}{doctor}{}", server.log()).contains(KEY));
}

/// Whether anything was bought is unknown: it is not bought again, and the caller has the credits back.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_provider_is_asked_a_job_is_refunded_and_bought_once() {
    let stub = Stub::answering(|_| accepted().ending(Ending::Never)).await;
    let data = served_by(&stub);
    let (key, job) = order(&data).await;
    let server = data.serve().await;
    let started = server.api(&key).post("jobs", &job).await.expect(201);
    stub.arrived().await;
    server.kill().await;
    let server = data.serve().await;
    let api = server.api(&key);
    let ended = api.end_of(&text(&started["id"])).await;
    assert_eq!(ended["status"], "failed");
    assert_eq!(ended["creditsRefunded"], 5);
    assert_eq!(api.credits().await, 100);
    assert_eq!(purchases(&stub), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_task_runs_a_job_gets_what_was_bought_once() {
    let files = Stub::foreign(Reply::new(200, "image/png", files::png(64, 64))).await;
    let file = format!("{}/made.png", files.url);
    let stub = Stub::answering({
        let polled = std::sync::atomic::AtomicBool::new(false);
        move |request| {
            let is_poll = request.method == "GET";
            // The process that asked first never hears how its task stands.
            if is_poll && !polled.swap(true, std::sync::atomic::Ordering::SeqCst) {
                return accepted().ending(Ending::Never);
            }
            queue(&request.method, &request.path, &file)
        }
    })
    .await;
    let data = served_by(&stub);
    let (key, job) = order(&data).await;
    let server = data.serve().await;
    let started = server.api(&key).post("jobs", &job).await.expect(201);
    for _ in ["the submit", "the first poll"] {
        stub.arrived().await;
    }
    server.kill().await;
    let server = data.serve().await;
    let api = server.api(&key);
    let ended = api.end_of(&text(&started["id"])).await;
    assert_eq!(ended["status"], "completed");
    assert_eq!(api.credits().await, 95);
    assert_eq!(purchases(&stub), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_taken_is_told_by_doctor() {
    let stub = Stub::answering(|_| Reply::json(401, &json!({"detail": "no such key"}))).await;
    let data = served_by(&stub);
    let (key, job) = order(&data).await;
    let server = data.serve().await;
    let api = server.api(&key);
    let started = api.post("jobs", &job).await.expect(201);
    let ended = api.end_of(&text(&started["id"])).await;
    assert_eq!(ended["status"], "failed");
    assert_eq!(api.credits().await, 100);
    let ran = data.run(&["doctor"]).await;
    assert!(ran.code != Some(0), "{ran:?}");
    assert!(
        ran.stdout
            .contains("fal: the provider failed: Auth, status 401"),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("is the key right"), "{ran:?}");
    let ran = data.run(&["models", "check"]).await;
    assert!(ran.code != Some(0), "{ran:?}");
}

const GRAPH_ROW: &str = r#"
[[models]]
slug = "own-sd15"
path = "own-sd15/generate"
name = "Own"
provider = "house"
model_id = "sd15"
description = "Makes an image from a text."
kind = "image"
answer = "sync"
credits_per_unit = 3
pricing_unit = "image"
example_input = { prompt = "A wave" }
[[models.routes]]
provider = "studio"
model = "sd15"
[models.routes.settings]
inputs = { prompt = ["1.text"] }
[models.routes.settings.graph]
1 = { class_type = "CLIPTextEncode", inputs = { text = "" } }
4 = { class_type = "CheckpointLoaderSimple", inputs = { ckpt_name = "sd15.safetensors" } }
[models.input_schema]
type = "object"
required = ["prompt"]
[models.input_schema.properties]
prompt = { type = "string", minLength = 1, maxLength = 100 }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_graph_needs_and_its_server_lacks_is_told() {
    for (file, lacks) in [
        ("sd15.safetensors", None),
        ("other.ckpt", Some("4.ckpt_name: sd15.safetensors")),
    ] {
        let info = json!({
            "CLIPTextEncode": {"input": {"required": {"text": ["STRING"]}}},
            "CheckpointLoaderSimple": {"input": {"required": {"ckpt_name": [[file], {}]}}},
        });
        let stub = Stub::answering(move |request| match request.path.as_str() {
            "/object_info" => Reply::json(200, &info),
            _ => Reply::json(200, &json!({"system": {}})),
        })
        .await;
        let data = Data::without_providers();
        std::fs::write(data.path("house.toml"), GRAPH_ROW).unwrap();
        let config = data.path("vydra.toml");
        let text = format!(
            "[catalog]\nfiles = [\"house.toml\"]\n[providers.studio]\nkind = \"comfyui\"\nbase_url = {:?}\napi_key = {KEY:?}\n",
            stub.url
        );
        std::fs::write(&config, text).unwrap();
        data.org("acme", 1).await;
        let config = config.to_str().unwrap();
        let checked = data.run(&["models", "check", "--config", config]).await;
        let doctor = data.run(&["doctor", "--config", config]).await;
        assert_eq!(checked.code == Some(0), lacks.is_none(), "{checked:?}");
        match lacks {
            None => assert!(checked.stdout.contains("listed"), "{checked:?}"),
            Some(lacks) => {
                assert!(checked.stdout.contains(lacks), "{checked:?}");
                assert!(doctor.stdout.contains(lacks), "{doctor:?}");
                assert!(doctor.stdout.contains("own-sd15"), "{doctor:?}");
            }
        }
    }
}
