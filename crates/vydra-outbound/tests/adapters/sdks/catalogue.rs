//! What the shipped catalogue sends to fal, held against the types that fal publishes of its models' inputs: names, values and
//! kinds of fields, for every value that a caller may give.

use super::installed;
use crate::harness::picture;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use vydra_core::catalog::{Catalog, Model};
use vydra_outbound::provider::{MediaInput, Request};

/// Models that fal has and the published types lack.
const UNTYPED: [&str; 3] = [
    "bytedance/seedance-2.0/image-to-video",
    "bytedance/seedance-2.0/text-to-video",
    "fal-ai/sync-lipsync/v3/image-to-video",
];

/// Values of a field: all of a short list or range, and the ends of a long one.
fn values(field: &Value) -> Vec<Value> {
    if let Some(words) = field["enum"].as_array() {
        return words.clone();
    }
    let media = field.get("x-media").is_some() || field["items"].get("x-media").is_some();
    match field["type"].as_str().unwrap() {
        "boolean" => vec![json!(true), json!(false)],
        "integer" => {
            let end = |name: &str, otherwise: i64| field[name].as_i64().unwrap_or(otherwise);
            let (first, last) = (end("minimum", 1), end("maximum", 8));
            match last - first {
                0..30 => (first..=last).map(|number| json!(number)).collect(),
                _ => vec![json!(first), json!(last)],
            }
        }
        "number" => vec![field["minimum"].clone(), field["maximum"].clone()],
        "array" if media => vec![json!(["https://example.com/a"])],
        "string" if media => vec![json!("https://example.com/a")],
        "string" => vec![json!("a text that is long enough")],
        other => panic!("nobody has said what a {other} is here"),
    }
}

/// The least that is taken, then with each field in each of its values; all of this with each of the media.
fn inputs(model: &Model) -> Vec<Map<String, Value>> {
    let schema = model.schema.json();
    let fields: BTreeMap<&String, Vec<Value>> = schema["properties"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, field)| (name, values(field)))
        .collect();
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let least: Map<String, Value> = required
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .map(|name| (name.clone(), fields[&name][0].clone()))
        .collect();
    let media = model.schema.media_fields().map(|field| field.name);
    let bases = std::iter::once(None).chain(media.map(Some)).map(|media| {
        let with = media.map(|name| (name.to_owned(), fields[&name.to_owned()][0].clone()));
        least.clone().into_iter().chain(with).collect::<Map<_, _>>()
    });
    let mut inputs = Vec::new();
    for base in bases {
        for (name, values) in &fields {
            for value in values {
                let mut input = base.clone();
                input.insert((*name).clone(), value.clone());
                inputs.push(input);
            }
        }
    }
    inputs
}

fn media(model: &Model, input: &Map<String, Value>) -> Vec<MediaInput> {
    let given = model.schema.media_fields().filter(|field| {
        let value = input.get(field.name);
        value.is_some_and(|value| !value.is_null() && *value != json!([]))
    });
    given.map(|field| picture(field.name, false)).collect()
}

/// By the name of fal's model, what is sent to it.
fn sent() -> BTreeMap<String, Vec<Value>> {
    let mut sent: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for model in Catalog::builtin().unwrap().models() {
        for input in inputs(model) {
            let Ok(priced) = model.price(input) else {
                // Such as a picture to a mode that takes none.
                continue;
            };
            for call in priced.call.calls() {
                let takes = |route: &&vydra_core::catalog::Route| {
                    route.provider == "fal" && route.takes(call.input)
                };
                for route in model.routes.iter().filter(takes) {
                    let media = media(model, call.input);
                    let request = Request::new("job_1", &call, route, media);
                    let body = request.body(|media| json!(media.data_uri()));
                    let bodies = sent.entry(route.model.clone()).or_default();
                    let body = Value::Object(body);
                    if !bodies.contains(&body) {
                        bodies.push(body);
                    }
                }
            }
        }
    }
    sent
}

#[test]
fn the_shipped_routes_are_what_fal_takes() {
    let Some(packages) = installed("node/node_modules") else {
        return;
    };
    let types = packages.join("@fal-ai/client/src/types/endpoints");
    let types = types.to_str().unwrap();
    let mut program = vec![format!("import type {{ EndpointTypeMap }} from {types:?};")];
    let (mut models, mut count) = (0, 0);
    let sent = sent();
    for model in Catalog::builtin().unwrap().models() {
        for route in model.routes.iter().filter(|route| route.provider == "fal") {
            assert!(
                sent.contains_key(&route.model),
                "nothing leads to {}",
                route.model
            );
        }
    }
    for (model, bodies) in sent {
        if UNTYPED.contains(&model.as_str()) {
            continue;
        }
        models += 1;
        for body in bodies {
            count += 1;
            program.push(format!(
                "const _{count}: EndpointTypeMap[{model:?}][\"input\"] = {body};"
            ));
        }
    }
    assert!(
        models >= 15 && count >= 200,
        "{models} models, {count} calls"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sent.ts");
    std::fs::write(&file, program.join("\n")).unwrap();
    let output = Command::new("node")
        .arg(packages.join("typescript/bin/tsc"))
        .args([
            "--ignoreConfig",
            "--noEmit",
            "--strict",
            "--skipLibCheck",
            "--module",
            "nodenext",
        ])
        .args(["--types", "", "--lib", "es2022,dom"])
        .arg(&file)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    println!("{count} calls of {models} models");
}
