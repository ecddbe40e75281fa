//! What the catalogue adds to the document: one operation for each model's path, and the input of each workflow.

use super::answer;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use vydra_core::asset::MediaKind;
use vydra_core::catalog::{Catalog, InputSchema, Model};

pub(super) fn describe(document: &mut Value, catalog: &Catalog) {
    let generic = document["paths"]["/api/v1/models/{slug}"]["get"].clone();
    let Some(paths) = document["paths"].as_object_mut() else {
        return;
    };
    for (model, path) in catalog
        .models()
        .iter()
        .filter_map(|model| model.path.as_ref().map(|path| (model, path)))
    {
        let mut operations = json!({"post": call(model)});
        // Where a call's path could be a slug, the model of that slug is read there.
        if !path.contains('/') {
            let mut read = generic.clone();
            read["operationId"] = json!(format!("get_model_{}", identifier(path)));
            read["parameters"] = json!([]);
            operations["get"] = read;
        }
        paths.insert(format!("/api/v1/models/{path}"), operations);
    }
    if let Some(other) = paths.get_mut("/api/v1/models/{slug}") {
        let known: Vec<&str> = catalog
            .models()
            .iter()
            .filter_map(|model| model.path.as_deref())
            .collect();
        other["post"]["parameters"][0]["schema"]["not"] = json!({"enum": known});
    }
    if let Some(create) = paths.get_mut("/api/v1/jobs") {
        create["post"]["requestBody"] = workflows(catalog);
    }
    if let Some(create) = paths.get_mut("/api/v1/quotes") {
        create["post"]["requestBody"] = quotes(catalog);
    }
}

/// Null counts as absent, so that what may be absent may be null.
fn nullable(schema: &Value) -> Value {
    let mut schema = schema.clone();
    let required = schema["required"].clone();
    let is_needed = |name: &str| {
        let mut names = required.as_array().into_iter().flatten();
        names.any(|needed| needed == name)
    };
    let fields = schema["properties"].as_object_mut().into_iter().flatten();
    for (_, field) in fields.filter(|(name, _)| !is_needed(name)) {
        let Some(kind) = field["type"].as_str().map(str::to_owned) else {
            continue;
        };
        field["type"] = json!([kind, "null"]);
        if let Some(words) = field.get_mut("enum").and_then(Value::as_array_mut) {
            words.push(Value::Null);
        }
    }
    for place in ["anyOf", "allOf", "oneOf"] {
        let parts = schema.get_mut(place).and_then(Value::as_array_mut);
        parts.into_iter().flatten().for_each(not_null_where_needed);
    }
    schema
}

/// What is needed only in some cases is null in the others alone.
fn not_null_where_needed(part: &mut Value) {
    if let Some(then) = part.get_mut("then") {
        let fields = then.get_mut("properties").and_then(Value::as_object_mut);
        for (_, field) in fields.into_iter().flatten() {
            if let Some(words) = field.get_mut("enum").and_then(Value::as_array_mut) {
                words.push(Value::Null);
            }
        }
        not_null_where_needed(then);
    }
    let needed: Map<String, Value> = part
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|name| Some((name.as_str()?.to_owned(), json!({"not": {"type": "null"}}))))
        .collect();
    if !needed.is_empty() && part.get("properties").is_none() {
        part["properties"] = Value::Object(needed);
    }
}

fn identifier(text: &str) -> String {
    text.replace(['-', '.', '/'], "_")
}

fn call(model: &Model) -> Value {
    let responses = json!({
        // An async model too, with Prefer: wait=N.
        "200": answer("The result", "Completed"),
        "202": answer("The job was taken: an async model, Prefer: respond-async, or a wait that was over", "Accepted"),
        "400": {"description": "INVALID_INPUT, INVALID_URL: nothing was charged"},
        "402": {"description": "INSUFFICIENT_CREDITS: nothing was charged"},
        "404": {"description": "MODEL_NOT_FOUND: not active on this server"},
        "409": {"description": "IDEMPOTENCY_CONFLICT"},
        "500": {"description": "GENERATION_FAILED, PROCESSING_TIMEOUT: the charge was refunded"},
    });
    let kind = match model.kind {
        MediaKind::Image => "image",
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
    };
    json!({
        "tags": ["Generate"],
        "operationId": format!("call_{}", identifier(&model.slug)),
        "summary": model.name,
        "description": format!("{} Makes: {kind}. Price: {}. Both spellings of a field are taken, such as imageUrl and image_url.", model.description, prices(model)),
        "requestBody": {"required": true, "content": {"application/json": {"schema": nullable(model.schema.json()), "example": model.example_input}}},
        "responses": responses,
    })
}

fn prices(model: &Model) -> String {
    let mut prices = format!(
        "{} credits per {}",
        model.credits_per_unit, model.pricing_unit
    );
    for variant in &model.variants {
        let when: Vec<String> = variant
            .when
            .iter()
            .map(|(field, value)| format!("{field}: {value}"))
            .collect();
        // Writing to a String cannot fail.
        let _ = write!(
            prices,
            "; with {} {} credits per {}",
            when.join(", "),
            variant.credits_per_unit,
            variant.pricing_unit
        );
    }
    prices
}

/// The field `input` of a body, and its name where it must be given.
fn whole_input(schema: &InputSchema) -> (Value, &'static [&'static str]) {
    let mut input = nullable(schema.json());
    // Asked of the schema itself: there are more ways than one to say that something must be given.
    if schema.accept(Map::new()).is_err() {
        return (input, &["input"]);
    }
    input["type"] = json!(["object", "null"]);
    (input, &[])
}

/// The body of `POST /quotes`: that of a call, or that of a workflow.
fn quotes(catalog: &Catalog) -> Value {
    let called = catalog.models().iter().filter_map(|model| {
        let path = model.path.as_ref()?;
        Some(("model", path, &model.schema, &model.example_input))
    });
    let started = catalog.workflows().iter().map(|workflow| {
        let (input, example) = (&workflow.schema, &workflow.example_input);
        ("workflow", &workflow.slug, input, example)
    });
    let (mut choices, mut examples) = (Vec::new(), Map::new());
    for (kind, name, input, example) in called.chain(started) {
        let (input, needed) = whole_input(input);
        let needed = [&[kind], needed].concat();
        choices.push(json!({
            "type": "object",
            "title": name,
            "required": needed,
            "properties": {kind: {"type": "string", "const": name}, "input": input},
            "additionalProperties": false,
        }));
        examples.insert(
            format!("{kind} {name}"),
            json!({"value": {kind: name, "input": example}}),
        );
    }
    json!({"required": true, "content": {"application/json": {"schema": {"oneOf": choices}, "examples": examples}}})
}

/// The body of `POST /jobs`: each workflow with its own input.
fn workflows(catalog: &Catalog) -> Value {
    let (mut choices, mut examples) = (Vec::new(), Map::new());
    for workflow in catalog.workflows() {
        let (input, needed) = whole_input(&workflow.schema);
        let needed = [&["workflow"], needed].concat();
        choices.push(json!({
            "type": "object",
            "title": workflow.name,
            "description": workflow.description,
            "required": needed,
            "properties": {
                "workflow": {"type": "string", "const": workflow.slug},
                "input": input,
                "maxCredits": {"type": ["integer", "null"], "minimum": 0, "description": "Refuses, with 402, to cost more than this."},
            },
        }));
        examples.insert(
            workflow.slug.clone(),
            json!({"value": {"workflow": workflow.slug, "input": workflow.example_input}}),
        );
    }
    json!({"required": true, "content": {"application/json": {"schema": {"oneOf": choices}, "examples": examples}}})
}
