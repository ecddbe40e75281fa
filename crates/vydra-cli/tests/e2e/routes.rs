//! Which models can be called is the operator's word: `serve` makes nothing up.

use crate::server::Data;
use serde_json::{Value, json};
use std::fs;

async fn active(api: &crate::api::Api) -> Vec<String> {
    let listed = api.get("models").await.expect(200);
    let rows = listed["data"].as_array().unwrap();
    assert_eq!(listed["count"], rows.len());
    assert!(rows.len() > 10, "an inactive model is listed all the same");
    let active = rows.iter().filter(|row| row["isActive"] == true);
    let slugs: Vec<String> = active
        .map(|row| row["slug"].as_str().unwrap().to_owned())
        .collect();
    let filtered = api.get("models?isActive=true").await.expect(200);
    assert_eq!(filtered["count"], slugs.len());
    slugs
}

/// No stand-in: the server itself joins images into a film, for workflows whose images others make.
const OURS: &str = "timelapse-film";

const ROW: &str = r#"
[[models]]
slug = "house-voice"
path = "house/voice"
name = "House voice"
provider = "house"
model_id = "house-voice-1"
description = "Speaks a text."
kind = "audio"
answer = "sync"
credits_per_unit = 3
pricing_unit = "request"
routes = [{ provider = "local", model = "speech" }]
example_input = { text = "Hello." }
[models.input_schema]
type = "object"
required = ["text"]
[models.input_schema.properties]
text = { type = "string", minLength = 1, maxLength = 100 }
"#;

/// The same model as in the catalogue that is compiled in, with another route and price.
fn replaced() -> String {
    ROW.replace("house-voice\"", "elevenlabs-tts\"")
        .replace("house/voice", "elevenlabs/tts")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_provider_no_model_of_others_can_be_called() {
    let data = Data::without_providers();
    let org = data.org("acme", 1_000).await;
    let (live, test) = (data.key(&org, &[]).await, data.key(&org, &["--test"]).await);
    let server = data.serve().await;
    let api = server.api(&live);
    assert_eq!(active(&api).await, [OURS]);
    for (path, body, model) in [
        (
            "models/gemini/generate",
            json!({"prompt": "x"}),
            "gemini-image",
        ),
        ("models/veo3", json!({"prompt": "x"}), "veo3"),
        (
            "jobs",
            json!({"workflow": "generate_image", "input": {"prompt": "x"}}),
            "gemini-image",
        ),
        (
            "jobs",
            json!({"workflow": "house-timelapse", "input": {}}),
            "gemini-image",
        ),
    ] {
        let refused = api.post(path, &body).await.refused(404, "MODEL_NOT_FOUND");
        assert_eq!(refused["details"]["model"], model);
        let hint = refused["details"]["hint"].as_str().unwrap();
        assert!(hint.contains("not active"), "{hint}");
    }
    assert_eq!(api.credits().await, 1_000);
    assert_eq!(api.get("jobs").await.expect(200)["pagination"]["count"], 0);
    // The sandbox needs no provider.
    let test = api.with_key(&test);
    test.post("models/gemini/generate", &json!({"prompt": "x"}))
        .await
        .expect(200);
    server.stop().await;
    let doctor = data.json(&["doctor"]).await;
    assert!(
        doctor.to_string().contains("no provider serves them"),
        "{doctor}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_catalogue_adds_replaces_and_routes_models() {
    let data = Data::without_providers();
    fs::write(data.path("house.toml"), ROW.to_owned() + &replaced()).unwrap();
    fs::write(
        data.path("vydra.toml"),
        "[catalog]\nfiles = [\"house.toml\"]\n",
    )
    .unwrap();
    let org = data.org("acme", 1_000).await;
    let key = data.key(&org, &[]).await;
    let config = data.path("vydra.toml");
    let words = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--config",
        config.to_str().unwrap(),
    ];
    let server = crate::server::Server::start(data.vydra(&words)).await;
    let api = server.api(&key);
    let mut slugs = active(&api).await;
    slugs.sort();
    assert_eq!(slugs, ["elevenlabs-tts", "house-voice", OURS]);
    let row: Value = api.get("models/house-voice").await.expect(200);
    assert_eq!(
        (&row["creditsPerUnit"], &row["inputSchema"]["required"]),
        (&json!(3), &json!(["text"]))
    );

    for path in ["models/house/voice", "models/elevenlabs/tts"] {
        let made = api.post(path, &json!({"text": "Hello."})).await.expect(200);
        assert_eq!(made["creditsCharged"], 3);
        let file = api.fetch(made["audioUrl"].as_str().unwrap()).await;
        assert_eq!((file.status, file.media_type()), (200, "audio/wav"));
    }
    // The row's own schema is what is checked.
    let long = json!({"text": "x".repeat(101)});
    api.post("models/house/voice", &long)
        .await
        .refused(400, "INVALID_INPUT");
    api.post("models/gemini/generate", &json!({"prompt": "x"}))
        .await
        .refused(404, "MODEL_NOT_FOUND");
    assert_eq!(api.credits().await, 1_000 - 6);
    server.stop().await;

    fs::write(
        data.path("house.toml"),
        ROW.replace("credits_per_unit = 3\n", ""),
    )
    .unwrap();
    let ran = data.run(&words).await;
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("house.toml") && ran.stderr.contains("credits_per_unit"),
        "{ran:?}"
    );
}
