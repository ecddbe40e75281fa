//! What the OpenAPI document says, done: each example is sent, and each answer is held against what is described for it.

use crate::fixture::{Answer, Api};
use crate::matrix::{RECEIVER, World};
use serde_json::{Value, json};
use vydra_core::user::Role;
use vydra_http::routes::{self, Operation};

struct Described {
    document: Value,
}

impl Described {
    async fn by(api: &Api) -> Self {
        let call = api.get("/openapi.json").without("authorization");
        Self {
            document: call.send().await.ok(200),
        }
    }

    fn operation(&self, operation: &Operation) -> &Value {
        let path = format!("{}{}", routes::PREFIX, operation.path).replace("{*path}", "{slug}");
        let method = operation.method.as_str().to_ascii_lowercase();
        let described = &self.document["paths"][&path][&method];
        assert!(described.is_object(), "{method} {path} is not described");
        described
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(place) => self.document.pointer(&place[1..]).unwrap(),
            None => value,
        }
    }

    /// Status, headers, content type and body are those that are described.
    fn check(&self, operation: &Operation, answer: &Answer) {
        let told = format!("{} {}: {}", operation.method, operation.path, answer.status);
        let response = &self.operation(operation)["responses"][answer.status.as_str()];
        assert!(response.is_object(), "{told} is not described");
        let headers = self.document["components"]["headers"].as_object().unwrap();
        for name in headers.keys() {
            let described = response["headers"].get(name);
            if let Some(value) = answer.header(name) {
                let described =
                    described.unwrap_or_else(|| panic!("{told}: {name} is not described"));
                if self.resolved(described)["schema"]["type"] == "integer" {
                    value.parse::<i64>().expect(&told);
                }
            }
        }
        if answer.bytes.is_empty() {
            return;
        }
        let media_type = answer.header("content-type").expect(&told);
        let media_type = media_type.split(';').next().unwrap();
        let content = &response["content"][media_type];
        assert!(content.is_object(), "{told}: {media_type} is not described");
        if media_type == "application/json" {
            self.check_body(&content["schema"], &answer.json(), &told);
        }
    }

    fn validator(&self, schema: &Value, told: &str) -> jsonschema::Validator {
        let mut schema = schema.clone();
        schema["components"] = self.document["components"].clone();
        jsonschema::validator_for(&schema).expect(told)
    }

    fn check_body(&self, schema: &Value, body: &Value, told: &str) {
        let validator = self.validator(schema, told);
        let wrong: Vec<String> = validator
            .iter_errors(body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{told}: {wrong:#?}\n{body:#}");
    }

    /// The examples of an operation's body.
    fn bodies(&self, operation: &Operation) -> Vec<Value> {
        let content = &self.operation(operation)["requestBody"]["content"]["application/json"];
        let several = content["examples"].as_object().into_iter().flatten();
        content
            .get("example")
            .into_iter()
            .chain(several.map(|(_, example)| &example["value"]))
            .cloned()
            .collect()
    }
}

/// Media and a receiver that are there instead of those that an example makes up.
async fn with_real_media(world: &World, mut body: Value) -> Value {
    for (ending, kind) in [(".png", "image"), (".mp4", "video"), (".wav", "audio")] {
        if body.to_string().contains(&format!("{ending}\"")) {
            let url = world.media(kind).await;
            replace(&mut body, ending, &url);
        }
    }
    replace(&mut body, "/hooks/vydra", RECEIVER);
    body
}

fn replace(value: &mut Value, ending: &str, url: &str) {
    match value {
        Value::String(text)
            if text.starts_with("https://example.com/") && text.ends_with(ending) =>
        {
            url.clone_into(text);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, ending, url)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|inner| replace(inner, ending, url)),
        _ => {}
    }
}

#[tokio::test]
async fn every_example_does_what_is_described() {
    let world = World::new().await;
    let described = Described::by(&world.api).await;
    for operation in routes::operations(world.api.engine.catalog()) {
        if operation.path == "/models/{*path}" && operation.method == "POST" {
            continue; // Described as the path that no model has; the models' own paths follow.
        }
        let examples = described.bodies(&operation);
        let needs_body =
            described.operation(&operation)["requestBody"]["content"]["application/json"]
                .is_object();
        assert!(
            !needs_body || !examples.is_empty(),
            "{} {} takes a body and shows none",
            operation.method,
            operation.path
        );
        let mut row = world.row(&operation).await;
        let mut bodies: Vec<Option<Value>> = vec![row.body.clone()];
        for example in examples {
            bodies.push(Some(with_real_media(&world, example).await));
        }
        for body in bodies {
            row.body = body;
            let answer = world.request(&operation, &row, &row.path).send().await;
            let text = String::from_utf8_lossy(&answer.bytes);
            assert!(
                answer.status.is_success(),
                "{} {} with {:?}: {text}",
                operation.method,
                operation.path,
                row.body
            );
            described.check(&operation, &answer);
            // What can be done once only is done again on a thing of its own.
            row = world.row(&operation).await;
        }
        for refused in world.refusals(&operation, &row).await {
            described.check(&operation, &refused);
        }
    }
}

#[tokio::test]
async fn bodies_at_the_edge_are_taken_where_they_are_described() {
    let api = Api::new().await;
    let described = Described::by(&api).await;
    let job = |input: Value, cap: Value| json!({"workflow": "house-timelapse", "input": input, "maxCredits": cap});
    let hook = |description: &str| json!({"url": RECEIVER, "description": description});
    let key = |name: &str| json!({"name": name});
    let session = api.person("ada@example.com", Role::Owner).await;
    let of_blanks_and_more = format!("{} a", " ".repeat(98));
    for (path, body) in [
        ("jobs", job(Value::Null, Value::Null)),
        ("jobs", job(json!({}), json!(1000))),
        ("jobs", job(json!([]), Value::Null)),
        ("jobs", job(json!({}), json!("1000"))),
        ("jobs", json!({"workflow": "house-timelapse"})),
        ("jobs", json!({"workflow": "generate_image", "input": null})),
        (
            "quotes",
            json!({"workflow": "house-timelapse", "input": null}),
        ),
        ("quotes", json!({"workflow": "house-timelapse"})),
        ("quotes", json!({"model": "veo3", "input": null})),
        ("quotes", json!({"model": "veo3"})),
        ("webhooks/endpoints", hook(&"é".repeat(200))),
        ("webhooks/endpoints", hook(&"é".repeat(201))),
        ("webhooks/endpoints", hook("a\u{c}b")),
        ("webhooks/endpoints", hook("a\u{98}b")),
        ("webhooks/endpoints", hook("")),
        ("api-keys", key(&of_blanks_and_more)),
        ("api-keys", key(&format!("{of_blanks_and_more} "))),
        ("api-keys", key("  ")),
        ("api-keys", key("a\u{7f}b")),
    ] {
        let told = format!("{path} {body}");
        let described_body = &described.document["paths"][format!("{}/{path}", routes::PREFIX)]["post"]
            ["requestBody"]["content"]["application/json"]["schema"];
        let is_described = described.validator(described_body, &told).is_valid(&body);
        let answer = api.post(path, &body).session(&session).send().await;
        let text = String::from_utf8_lossy(&answer.bytes);
        assert_eq!(answer.status.is_success(), is_described, "{told}: {text}");
    }
}

#[tokio::test]
async fn a_call_that_waits_answers_what_is_described() {
    let world = World::new().await;
    let described = Described::by(&world.api).await;
    let mut calls = Vec::new();
    for operation in routes::operations(world.api.engine.catalog()) {
        if operation.method == "POST" && operation.path.starts_with("/models/") {
            let row = world.row(&operation).await;
            calls.push((operation, row));
        }
    }
    world.api.work();
    for (operation, row) in calls {
        let request = world.request(&operation, &row, &row.path);
        let answer = request.header("prefer", "wait=20").send().await;
        assert_eq!(
            answer.status,
            200,
            "{}: {:?}",
            operation.path,
            answer.json()
        );
        if operation.path != "/models/{*path}" {
            described.check(&operation, &answer);
        }
    }
}

#[tokio::test]
async fn every_error_of_an_operation_has_an_example_of_its_shape() {
    let world = World::new().await;
    let described = Described::by(&world.api).await;
    for (path, operations) in described.document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let told = format!("{method} {path} {status}");
                assert!(
                    !response["description"].as_str().unwrap().is_empty(),
                    "{told}"
                );
                if !status.starts_with(['4', '5']) {
                    continue;
                }
                let content = &response["content"]["application/json"];
                let examples = content["examples"].as_object().expect(&told);
                assert!(!examples.is_empty(), "{told} names no code");
                for (code, example) in examples {
                    assert_eq!(example["value"]["code"], json!(code), "{told}");
                    described.check_body(&content["schema"], &example["value"], &told);
                }
            }
        }
    }
}
