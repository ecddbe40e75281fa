//! The list of models.

use crate::fixture::Api;
use serde_json::{Value, json};
use vydra_testkit::ScriptedProvider;

#[tokio::test]
async fn every_model_is_listed_with_what_it_takes_and_costs() {
    let api = Api::idle().await;
    let body = api.get("models").send().await.ok(200);
    let models = body["data"].as_array().unwrap();
    assert_eq!(body["count"], models.len());
    for model in models {
        for name in [
            "slug",
            "name",
            "provider",
            "modelId",
            "pricingUnit",
            "deployedOn",
            "description",
        ] {
            assert!(
                model[name].as_str().is_some_and(|text| !text.is_empty()),
                "{name}: {model}"
            );
        }
        assert!(model["creditsPerUnit"].as_i64().unwrap() > 0);
        assert_eq!(model["inputSchema"]["type"], "object");
        assert!(model["exampleInput"].is_object());
        assert_eq!(model["isActive"], true);
        let one = api.get(&format!("models/{}", model["slug"].as_str().unwrap()));
        assert_eq!(&one.send().await.ok(200), model);
    }
}

#[tokio::test]
async fn the_shown_schema_is_the_one_that_requests_are_checked_against() {
    let api = Api::idle().await;
    let model = api.get("models/flux-edit").send().await.ok(200);
    let schema = &model["inputSchema"];
    let mut required = schema["required"].as_array().unwrap().clone();
    required.sort_by_key(Value::to_string);
    assert_eq!(required, [json!("imageUrl"), json!("prompt")]);
    assert_eq!(schema["properties"]["numImages"]["maximum"], 4);
    let input = json!({"prompt": "p", "imageUrl": "asset:x", "numImages": 5});
    let body = api.post("models/flux-edit/edit", &input).send().await;
    let body = body.error("INVALID_INPUT");
    assert_eq!(
        body["error"],
        "Invalid field: numImages is too large, expected at most 4"
    );
}

/// Contract, section 6: the table of paths and prices.
#[tokio::test]
async fn the_prices_are_those_of_the_table() {
    let api = Api::idle().await;
    let body = api.get("models").send().await.ok(200);
    let price_at = |path: &str| {
        let wanted = json!(format!("/models/{path}"));
        let models = body["data"].as_array().unwrap();
        let model = models.iter().find(|model| model["endpoint"] == wanted);
        model.unwrap_or_else(|| panic!("no {path}"))["creditsPerUnit"]
            .as_i64()
            .unwrap()
    };
    for (path, price) in [
        ("gemini/generate", 5),
        ("gemini/edit", 5),
        ("nano-banana/edit", 8),
        ("flux-edit/edit", 15),
        ("grok-imagine", 150),
        ("veo3", 175),
        ("kling", 40),
        ("elevenlabs/tts", 5),
    ] {
        assert_eq!(price_at(path), price, "{path}");
    }
}

#[tokio::test]
async fn the_list_is_filtered() {
    let fal = ScriptedProvider::new("elevenlabs", true);
    let api = Api::with("enterprise", |setup| {
        setup.fallback = false;
        setup.others.push(fal);
    })
    .await;
    let slugs = async |query: &str| -> Vec<String> {
        let body = api.get(&format!("models{query}")).send().await.ok(200);
        let data = body["data"].as_array().unwrap();
        assert_eq!(body["count"], data.len());
        data.iter()
            .map(|model| model["slug"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = slugs("").await;
    assert_eq!(slugs("?isActive=true").await, ["elevenlabs-tts"]);
    let inactive = slugs("?isActive=false").await;
    assert_eq!(inactive.len() + 1, all.len());
    assert!(!inactive.contains(&"elevenlabs-tts".to_owned()));
    let google = slugs("?provider=google").await;
    assert!(google.contains(&"veo3".to_owned()) && !google.contains(&"kling".to_owned()));
    assert_eq!(slugs("?provider=google&isActive=true").await, [""; 0]);
    assert_eq!(slugs("?provider=nobody").await, [""; 0]);
    // In the sandbox everything can be called.
    let test = api.key(&api.org, &["*"], vydra_core::job::Mode::Test).await;
    let body = api
        .get("models?isActive=true")
        .key(&test)
        .send()
        .await
        .ok(200);
    assert_eq!(body["count"], all.len());
}

#[tokio::test]
async fn reading_never_charges() {
    let api = Api::new().await;
    let id = api.pending().await;
    let before = api.credits().await;
    for path in [
        "models",
        "models/veo3",
        "jobs",
        &format!("jobs/{id}"),
        "organization",
        "billing/credits",
    ] {
        let answer = api.get(path).send().await;
        answer.ok(200);
        assert_eq!(answer.header("x-credits-charged"), None, "{path}");
    }
    assert_eq!(api.credits().await, before);
}
