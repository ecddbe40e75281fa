//! The API described: the fixed operations from their handlers, the calls of models from the catalogue.

use crate::ApiState;
use crate::error::ErrorBody;
use crate::v1;
use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use utoipa::OpenApi;
use vydra_core::asset::MediaKind;
use vydra_core::catalog::{Catalog, Model};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Vydra API",
        description = "Images, video and speech from many models behind one metered API. Every failure after a charge is refunded at once.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        v1::health::get,
        v1::organization::get,
        v1::billing::credits,
        v1::transactions::list,
        v1::usage::get,
        v1::quotes::create,
        v1::models::list,
        v1::models::get,
        v1::jobs::create,
        v1::jobs::list,
        v1::jobs::get,
        v1::jobs::cancel,
        v1::transactions::of_job,
    ),
    components(schemas(ErrorBody, v1::generate::Completed, v1::generate::Accepted)),
    tags(
        (name = "Generate", description = "One call for each model. Sync models answer with the result, async ones with a job."),
        (name = "Jobs", description = "Every generation is a job; workflows are started as one."),
        (name = "Models", description = "What can be called, what it takes and what it costs."),
        (name = "Billing", description = "Prepaid credits."),
        (name = "Account", description = "The organization behind the key."),
        (name = "Health", description = "For load balancers."),
    ),
)]
struct Described;

/// The document for this catalogue.
pub fn document(catalog: &Catalog) -> Value {
    let mut document = json!(Described::openapi());
    document["components"]["securitySchemes"] = json!({
        "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key: vydra_live_… or, for the sandbox, vydra_test_…"}
    });
    document["security"] = json!([{"apiKey": []}]);
    if let Some(paths) = document["paths"].as_object_mut() {
        for operations in paths.values_mut().filter_map(Value::as_object_mut) {
            for operation in operations.values_mut() {
                common_errors(operation);
            }
        }
        for (model, path) in catalog
            .models()
            .iter()
            .filter_map(|model| model.path.as_ref().map(|path| (model, path)))
        {
            paths.insert(
                format!("/api/v1/models/{path}"),
                json!({"post": call(model)}),
            );
        }
    }
    document
}

/// What any operation that needs a key can answer.
fn common_errors(operation: &mut Value) {
    let public = operation["security"]
        .as_array()
        .is_some_and(|needs| needs.contains(&json!({})));
    if public {
        return;
    }
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for (status, description) in [
        ("400", "INVALID_INPUT"),
        (
            "401",
            "MISSING_AUTH, INVALID_FORMAT, KEY_NOT_FOUND, KEY_REVOKED, KEY_EXPIRED",
        ),
        ("403", "INSUFFICIENT_SCOPE"),
        (
            "429",
            "RATE_LIMIT_EXCEEDED: wait for the seconds in Retry-After",
        ),
        ("500", "INTERNAL_ERROR"),
        (
            "503",
            "UNAVAILABLE: nothing was charged; wait for the seconds in Retry-After",
        ),
    ] {
        responses
            .entry(status)
            .or_insert_with(|| error(description));
    }
}

fn error(description: &str) -> Value {
    json!({"description": description, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}})
}

fn call(model: &Model) -> Value {
    let body = |name: &str| json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{name}")}}});
    let mut responses = Map::new();
    // An async model too, with Prefer: wait=N.
    responses.insert(
        "200".to_owned(),
        json!({"description": "The result", "content": body("Completed")}),
    );
    responses.insert(
        "202".to_owned(),
        json!({"description": "The job was taken: an async model, Prefer: respond-async, or a wait that was over", "content": body("Accepted")}),
    );
    for (status, description) in [
        ("400", "INVALID_INPUT, INVALID_URL: nothing was charged"),
        (
            "402",
            "INSUFFICIENT_CREDITS: too few, or more than maxCredits allows; nothing was charged",
        ),
        ("404", "MODEL_NOT_FOUND: not active on this server"),
        (
            "409",
            "IDEMPOTENCY_CONFLICT: the key was used for another request, or its first request still runs",
        ),
        (
            "500",
            "GENERATION_FAILED, PROCESSING_TIMEOUT: the charge was refunded",
        ),
    ] {
        responses.insert(status.to_owned(), error(description));
    }
    let kind = match model.kind {
        MediaKind::Image => "image",
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
    };
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
    let mut operation = json!({
        "tags": ["Generate"],
        "operationId": format!("call_{}", model.slug.replace(['-', '.'], "_")),
        "summary": model.name,
        "description": format!("{} Makes: {kind}. Price: {prices}. Both spellings of a field are taken, such as imageUrl and image_url.", model.description),
        "parameters": [
            {"name": "Prefer", "in": "header", "required": false, "schema": {"type": "string"}, "description": "respond-async, or wait=N: how many seconds to wait for the result before answering 202."},
            {"name": "Idempotency-Key", "in": "header", "required": false, "schema": {"type": "string", "minLength": 1, "maxLength": 255}, "description": "Any word that is new for each purchase. The same key and body within 24 hours give the first answer again and charge nothing."},
            {"name": "X-Max-Credits", "in": "header", "required": false, "schema": {"type": "integer", "minimum": 0}, "description": "Refuses with 402 whatever would cost more. The same as maxCredits in the body."},
            {"name": "X-Vydra-Simulate", "in": "header", "required": false, "schema": {"type": "string"}, "description": "Test keys only: makes an outcome happen, such as GENERATION_FAILED, CONTENT_POLICY, SLOW=5s, PARTIAL=1 or FLAKY=2."},
        ],
        "requestBody": {"required": true, "content": {"application/json": {"schema": model.schema.json(), "example": model.example_input}}},
        "responses": responses,
    });
    common_errors(&mut operation);
    operation
}

/// This server's own description, its catalogue included.
pub(crate) async fn get(State(state): State<ApiState>) -> Json<Value> {
    let mut document = document(state.engine.catalog());
    document["servers"] = json!([{"url": state.engine.settings().public_url}]);
    Json(document)
}
