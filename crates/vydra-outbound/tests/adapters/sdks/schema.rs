//! What the adapter sends, held against the specification that OpenAI publishes.

use super::{installed, openai};
use crate::form;
use crate::harness::{self, Made, picture};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::Command;
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;
use vydra_outbound::provider::Request;
use vydra_testkit::upstream::{Recorded, Stub};

struct Specification(Value);

impl Specification {
    fn published() -> Option<Self> {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adapters/sdks/specification.py");
        let output = Command::new(installed("python/bin/python")?)
            .arg(script)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        Some(Self(serde_json::from_slice(&output.stdout).unwrap()))
    }

    /// The schema of what is sent there as that, with its references in reach.
    fn of_body(&self, path: &str, media_type: &str) -> Value {
        let content = &self.0["paths"][path]["post"]["requestBody"]["content"];
        let name = content[media_type]["schema"]["$ref"].as_str().unwrap();
        let mut schema = self
            .0
            .pointer(name.strip_prefix('#').unwrap())
            .unwrap()
            .clone();
        schema["components"] = self.0["components"].clone();
        // What it does not name it may take, and we may not send.
        schema["additionalProperties"] = Value::Bool(false);
        schema
    }

    fn check(&self, sent: &Recorded) {
        let media_type = sent.header("content-type").unwrap();
        let media_type = media_type.split(';').next().unwrap();
        let schema = self.of_body(&sent.path, media_type);
        let body = match media_type {
            "multipart/form-data" => of_form(sent, &schema["properties"]),
            _ => sent.json(),
        };
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<_> = validator
            .iter_errors(&body)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{} {body}: {errors:?}", sent.path);
    }
}

/// As OpenAPI reads a form: files are texts, `name[]` is an item of a list, numbers are written out.
fn of_form(sent: &Recorded, properties: &Value) -> Value {
    let mut body = Map::new();
    for part in form::parts(sent) {
        let text = String::from_utf8_lossy(&part.content).into_owned();
        if let Some(name) = part.name.strip_suffix("[]") {
            let list = body.entry(name).or_insert_with(|| json!([]));
            list.as_array_mut().unwrap().push(text.into());
            continue;
        }
        let value = match properties[&part.name]["type"].as_str() {
            Some("integer" | "number" | "boolean") => serde_json::from_str(&text).unwrap(),
            _ => Value::String(text),
        };
        assert!(body.insert(part.name, value).is_none(), "sent twice");
    }
    body.into()
}

fn speech(input: &Value) -> Request {
    harness::request(MediaKind::Audio, Action::Generate, "gpt-4o-mini-tts", input)
}

#[tokio::test]
async fn requests_are_what_openai_specifies() {
    let Some(specification) = Specification::published() else {
        return;
    };
    let many = Request {
        outputs: 4,
        ..(openai::HARNESS.request)()
    };
    let webp = harness::request(
        MediaKind::Image,
        Action::Generate,
        "gpt-image-2",
        &json!({"prompt": "p", "output_format": "webp", "output_compression": 80, "background": "transparent"}),
    );
    let mut masked = openai::edit();
    masked.media.push(picture("imageUrls", true));
    masked.media.push(picture("mask", false));
    for (request, file) in [
        ((openai::HARNESS.request)(), openai::HARNESS.works),
        (many, openai::HARNESS.works),
        (webp, openai::HARNESS.works),
        (openai::edit(), openai::HARNESS.works),
        (masked, openai::HARNESS.works),
        (
            (openai::speech::HARNESS.request)(),
            openai::speech::HARNESS.works,
        ),
        (
            speech(&json!({"input": "Ready.", "voice": "alloy", "instructions": "Whisper."})),
            openai::speech::HARNESS.works,
        ),
    ] {
        let stub = Stub::replying(file(&[Made::File("a file".into())])).await;
        let provider = (openai::HARNESS.provider)(&stub.url);
        provider.submit(&harness::context(), request).await.unwrap();
        specification.check(&stub.requests()[0]);
    }
}
