//! What operations have in common: who may use them, the errors that any of them can answer, and the headers.

use crate::error::ErrorBody;
use crate::routes::{self, Operation};
use serde_json::{Map, Value, json};
use vydra_core::catalog::Catalog;
use vydra_core::error_code::ErrorCode;
use vydra_engine::Access;

pub(super) fn describe(document: &mut Value, catalog: &Catalog) {
    document["components"]["securitySchemes"] = json!({
        "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key: vydra_live_… or, for the sandbox, vydra_test_…"},
        "session": {"type": "apiKey", "in": "cookie", "name": "__session", "description": "A person who has logged in."},
    });
    document["security"] = json!([{"apiKey": []}]);
    document["components"]["headers"] = headers();
    document["components"]["schemas"]["ErrorBody"]["properties"]["code"]["enum"] =
        json!(ErrorCode::ALL.map(ErrorCode::as_str));
    document["components"]["x-error-codes"] = json!(ErrorCode::ALL.map(error_code));
    // Nothing at all says the same as an object without fields.
    for path in [
        "/api/v1/api-keys/{id}/rotate",
        "/api/v1/webhooks/secret/rotate",
        "/api/v1/webhooks/test",
    ] {
        document["paths"][path]["post"]["requestBody"]["required"] = json!(false);
    }
    let schemas = document["components"]["schemas"].clone();
    for operation in routes::operations(catalog) {
        let path = documented_path(&operation);
        let method = operation.method.as_str().to_ascii_lowercase();
        if let Some(described) = document["paths"][&path].get_mut(&method) {
            access(described, operation.access);
            errors(described, operation.access);
            headers_of(described, operation.access);
            example(described, &schemas);
        }
    }
    // Calls and reads below single-part paths share the pattern's entry in the router.
    let Some(paths) = document["paths"].as_object_mut() else {
        return;
    };
    for (path, operations) in paths.iter_mut() {
        if !path.starts_with("/api/v1/models/") {
            continue;
        }
        for (method, described) in operations.as_object_mut().into_iter().flatten() {
            if described.get("security").is_none() {
                let scope = if method == "post" {
                    vydra_core::scope::Scope::ModelsWrite
                } else {
                    vydra_core::scope::Scope::ModelsRead
                };
                access(described, Access::Scope(scope));
                errors(described, Access::Scope(scope));
                headers_of(described, Access::Scope(scope));
            }
            if method == "post" && path != "/api/v1/models/{slug}" {
                call_parameters(described);
            }
        }
    }
    if let Some(create) = paths.get_mut("/api/v1/jobs") {
        call_parameters(&mut create["post"]);
    }
}

/// As the document names it; the router's wildcard holds the slug of a model.
pub(crate) fn documented_path(operation: &Operation) -> String {
    format!("{}{}", routes::PREFIX, operation.path).replace("{*path}", "{slug}")
}

fn access(operation: &mut Value, access: Access) {
    let (security, told) = match access {
        Access::Public => (json!([{}]), None),
        Access::Person => (
            json!([{"session": []}]),
            Some("Needs a logged-in person, not a key.".to_owned()),
        ),
        Access::Scope(scope) => (
            json!([{"apiKey": []}, {"session": []}]),
            Some(format!("Needs the scope `{}`.", scope.as_str())),
        ),
        Access::OwnJobs => (
            json!([{"apiKey": []}, {"session": []}]),
            Some("Needs the scope `jobs:read` or `jobs:write`, as the method does, or `models:write` for jobs that the key made itself.".to_owned()),
        ),
    };
    operation["security"] = security;
    if let Some(told) = told {
        let before = operation["description"].as_str().unwrap_or_default();
        operation["description"] = json!(format!("{before} {told}").trim_start());
    }
}

/// What any operation can answer besides its own, and an example for each code that a description names.
fn errors(operation: &mut Value, access: Access) {
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    let anybody = [
        ("400", "INVALID_INPUT"),
        (
            "429",
            "RATE_LIMIT_EXCEEDED: wait for the seconds in Retry-After",
        ),
        ("500", "INTERNAL_ERROR"),
        (
            "503",
            "UNAVAILABLE: nothing was charged; wait for the seconds in Retry-After",
        ),
    ];
    let recognised = [
        (
            "401",
            "MISSING_AUTH, INVALID_FORMAT, KEY_NOT_FOUND, KEY_REVOKED, KEY_EXPIRED",
        ),
        ("403", "INSUFFICIENT_SCOPE"),
    ];
    let common = anybody
        .into_iter()
        .chain(recognised.into_iter().filter(|_| access != Access::Public));
    for (status, description) in common {
        let response = responses
            .entry(status)
            .or_insert_with(|| json!({"description": ""}));
        let own = response["description"].as_str().unwrap_or_default();
        let code = description.split(':').next().unwrap_or_default();
        if own.is_empty() {
            response["description"] = json!(description);
        } else if !own.contains(code) {
            response["description"] = json!(format!("{own}; {description}"));
        }
    }
    for (status, response) in responses.iter_mut() {
        if !status.starts_with(['4', '5']) {
            continue;
        }
        let description = response["description"].as_str().unwrap_or_default();
        let examples: Map<String, Value> = description
            .split(|c: char| !c.is_ascii_uppercase() && c != '_')
            .filter_map(ErrorCode::parse)
            .map(|code| (code.to_string(), json!({"value": ErrorBody::of(code)})))
            .collect();
        response["content"] = json!({"application/json": {
            "schema": {"$ref": "#/components/schemas/ErrorBody"},
            "examples": examples,
        }});
    }
}

/// Of the body, put together from those of its fields where it has none of its own.
fn example(operation: &mut Value, schemas: &Value) {
    let Some(content) = operation
        .pointer_mut("/requestBody/content")
        .and_then(|content| content.get_mut("application/json"))
    else {
        return;
    };
    let name = content["schema"]["$ref"]
        .as_str()
        .and_then(|place| place.rsplit('/').next())
        .unwrap_or_default();
    let schema = &schemas[name];
    let fields = schema["properties"].as_object().into_iter().flatten();
    let gathered: Map<String, Value> = fields
        .filter_map(|(name, field)| Some((name.clone(), field.get("example")?.clone())))
        .collect();
    let known = content.get("example").is_some() || content.get("examples").is_some();
    if !known && !name.is_empty() {
        content["example"] = schema.get("example").cloned().unwrap_or(json!(gathered));
    }
}

/// What our clients are made from.
fn error_code(code: ErrorCode) -> Value {
    let entry = code.entry();
    json!({
        "code": code,
        "status": entry.status,
        "retryable": entry.retryable,
        "friendly": entry.friendly,
    })
}

fn headers() -> Value {
    let header = |kind: &str, description: &str| json!({"description": description, "schema": {"type": kind}});
    json!({
        "x-request-id": header("string", "The request's own id when it sent a sane one, else one of ours."),
        "x-ratelimit-limit": header("integer", "How many requests a minute takes."),
        "x-ratelimit-remaining": header("integer", "How many of them are left."),
        "x-ratelimit-reset": header("integer", "Unix seconds: when the oldest counted request leaves the minute."),
        "ratelimit-policy": header("string", "One policy a window (IETF draft)."),
        "ratelimit": header("string", "What is left of each (IETF draft)."),
        "x-credits-charged": header("integer", "What this call cost."),
        "x-credits-remaining": header("integer", "What is left of the balance."),
        "set-cookie": header("string", "The session's cookie, or its end."),
        "idempotent-replayed": header("string", "true when this is the answer of an earlier request with the same Idempotency-Key."),
        "location": header("string", "Where the job is."),
        "link": header("string", "Where this error is explained: rel=\"help\"."),
        "retry-after": header("integer", "Whole seconds to wait."),
        "allow": header("string", "The methods that this path takes."),
    })
}

fn headers_of(operation: &mut Value, access: Access) {
    let charges = operation["tags"][0] == "Generate" || operation["operationId"] == "create_job";
    let operation_sets_cookie = ["login", "logout"]
        .iter()
        .any(|name| operation["operationId"] == **name);
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for (status, response) in responses.iter_mut() {
        let mut names = vec!["x-request-id"];
        // Who is not recognised has no limits of an organization.
        if access != Access::Public && status != "401" {
            names.extend([
                "x-ratelimit-limit",
                "x-ratelimit-remaining",
                "x-ratelimit-reset",
                "ratelimit-policy",
                "ratelimit",
            ]);
        }
        if status.starts_with(['4', '5']) {
            names.push("link");
        }
        if operation_sets_cookie && status == "200" {
            names.push("set-cookie");
        }
        if ["429", "503"].contains(&status.as_str()) {
            names.push("retry-after");
        }
        if charges && status.starts_with('2') {
            names.extend([
                "x-credits-charged",
                "x-credits-remaining",
                "idempotent-replayed",
            ]);
            if status != "200" {
                names.push("location");
            }
        }
        let described = response["headers"].take();
        let mut headers: Map<String, Value> = names
            .into_iter()
            .map(|name| {
                let reference = format!("#/components/headers/{name}");
                (name.to_owned(), json!({"$ref": reference}))
            })
            .collect();
        headers.extend(described.as_object().cloned().unwrap_or_default());
        response["headers"] = Value::Object(headers);
    }
}

/// The headers that a paid call takes.
fn call_parameters(operation: &mut Value) {
    let header = |name: &str, schema: Value, description: &str| json!({"name": name, "in": "header", "required": false, "schema": schema, "description": description});
    let text = json!({"type": "string"});
    let mut parameters = operation["parameters"].take();
    let more = [
        header(
            "Prefer",
            text.clone(),
            "respond-async, or wait=N: how many seconds to wait for the result before answering 202.",
        ),
        header(
            "Idempotency-Key",
            json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}),
            "The same key and body gives the first answer again, for 24 hours, and charges nothing.",
        ),
        header(
            "X-Max-Credits",
            json!({"type": "integer", "minimum": 0}),
            "Refuses, with 402, to cost more than this.",
        ),
        header(
            "X-Vydra-No-Fallback",
            json!({"type": "boolean"}),
            "Only the first provider of the model is asked: when it is away, the call fails instead of another making it.",
        ),
        header(
            "X-Vydra-Simulate",
            json!({"type": "string", "enum": SIMULATED}),
            "Test keys only: makes an outcome happen. Also SLOW=5s, PARTIAL=N, FLAKY=N, and every code of an error before the charge.",
        ),
    ];
    match &mut parameters {
        Value::Array(known) => known.extend(more),
        _ => parameters = json!(more),
    }
    operation["parameters"] = parameters;
}

/// Of the values that X-Vydra-Simulate takes, those that a generator of requests can try without waiting long.
const SIMULATED: [&str; 6] = [
    "GENERATION_FAILED",
    "CONTENT_POLICY",
    "PROCESSING_TIMEOUT",
    "SLOW=1s",
    "FLAKY=1",
    "INSUFFICIENT_CREDITS",
];
