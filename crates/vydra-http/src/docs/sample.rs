//! Examples of bodies. Those of responses are written by hand, and a test holds them against their schemas.

use super::operation::Source;
use super::schema::Schemas;
use crate::v1::models::ModelView;
use serde_json::{Map, Value, json};
use vydra_core::asset::MediaKind;
use vydra_core::catalog::{Answer, Catalog, Model, Priced};
use vydra_core::job::Call;
use vydra_engine::ListedModel;

const JOB: &str = "job_01k9m2v7x3c4d5e6f7g8h9j0ka";
const FILE: &str = "4fe1c09a7d2b86e35a14f0c7d98b3e6251a7c04d";
const SECOND_FILE: &str = "b20d7e615c93fa4818e6d2037bc5a94f06e1d8c3";
const ASSET: &str = "ast_01k9m2vb8y6n5p4q3r2s1t0vwx";

/// The first model that makes `kind` from words alone, and answers so.
pub(super) fn model_of(
    catalog: &Catalog,
    kind: MediaKind,
    answer: Answer,
) -> Option<(&Model, Priced)> {
    catalog.models().iter().find_map(|model| {
        let priced = model.price(model.example_input.clone()).ok()?;
        let from_words = !model
            .schema
            .media_fields()
            .any(|field| priced.call.input.contains_key(field.name));
        let fits = model.active
            && model.path.is_some()
            && from_words
            && priced.call.kind == kind
            && priced.answer == answer;
        fits.then_some((model, priced))
    })
}

/// A file's extension and media type: what the input asks for, else what is usual.
fn format_of(call: &Call) -> (&'static str, &'static str) {
    let asked = call.input.get("outputFormat").and_then(Value::as_str);
    match (call.kind, asked) {
        (MediaKind::Image, Some("jpeg")) => ("jpg", "image/jpeg"),
        (MediaKind::Image, _) => ("png", "image/png"),
        (MediaKind::Video, _) => ("mp4", "video/mp4"),
        (MediaKind::Audio, _) => ("mp3", "audio/mpeg"),
    }
}

fn media_url(source: Source<'_>, name: &str, extension: &str) -> String {
    let (shard, _) = name.split_at_checked(2).unwrap_or_default();
    format!("{}/media/{shard}/{name}.{extension}", source.base)
}

/// A body for an operation whose description has none.
pub(super) fn request(source: Source<'_>, path: &str, content: &Value) -> Value {
    if path == "/api/v1/jobs"
        && let Some(workflow) = source.catalog.workflows().first()
    {
        return json!({"workflow": workflow.slug, "input": workflow.example_input});
    }
    let schemas = Schemas(source.document);
    let schema = schemas.resolve(content.get("schema").unwrap_or(&Value::Null));
    let mut body = Map::new();
    for (name, required) in schemas.property_names(schema) {
        let described = schemas.resolve(
            schema
                .get("properties")
                .and_then(|all| all.get(name))
                .unwrap_or(&Value::Null),
        );
        let given = ["example", "default"]
            .into_iter()
            .find_map(|word| described.get(word))
            .or_else(|| described.get("enum")?.get(0));
        if let Some(given) = given {
            body.insert(name.to_owned(), given.clone());
        } else if required {
            let made = match described.get("type").and_then(Value::as_str) {
                Some("integer" | "number") => json!(1),
                Some("boolean") => json!(true),
                Some("array") => json!([]),
                Some("object") => json!({}),
                _ => json!("…"),
            };
            body.insert(name.to_owned(), made);
        }
    }
    Value::Object(body)
}

/// What the response with this schema looks like; of a call, for this model's own example.
pub(super) fn response(source: Source<'_>, schema: &str, model: Option<&Model>) -> Option<Value> {
    let sync = || model_of(source.catalog, MediaKind::Image, Answer::Sync);
    match schema {
        "Completed" => {
            let (_, priced) = match model {
                Some(model) => (model, model.price(model.example_input.clone()).ok()?),
                None => sync()?,
            };
            (priced.answer == Answer::Sync).then(|| completed(source, &priced))
        }
        "Accepted" => {
            let model = model?;
            let priced = model.price(model.example_input.clone()).ok()?;
            Some(accepted(model, &priced))
        }
        "JobView" => Some(job(source)),
        "JobList" => Some(json!({
            "data": [job(source)],
            "pagination": {"limit": 20, "offset": 0, "count": 1, "nextCursor": null},
        })),
        "CreatedJob" => {
            let workflow = source.catalog.workflows().first()?;
            let url = format!("{}/api/v1/jobs/{JOB}", source.base);
            Some(json!({
                "id": JOB,
                "status": "pending",
                "workflow": workflow.slug,
                "creditsCharged": super::guide::example_price(source.catalog, workflow)?,
                "createdAt": "2026-10-05T09:30:00.000Z",
                "_links": {"self": url, "status": url},
            }))
        }
        "JobChange" => Some(json!({
            "id": JOB,
            "jobId": JOB,
            "status": "running",
            "progress": 40,
            "statusMessage": null,
        })),
        "UploadView" => Some(json!({
            "url": media_url(source, FILE, "png"),
            "filename": "lake.png",
            "size": 248_192,
            "type": "image/png",
            "key": "uploads/01k9m2t4h5j6k7m8n9p0q1r2st/1791192600000-lake.png",
        })),
        "ModelView" => listed(source),
        "ModelList" => Some(json!({"data": [listed(source)?], "count": 1})),
        "OrganizationView" => Some(json!({
            "id": "org_01k9m2t4h5j6k7m8n9p0q1r2st",
            "name": "Riverbank Studio",
            "plan": "creator",
            "creditsRemaining": 1_995,
            "createdAt": "2026-10-01T08:00:00.000Z",
            "updatedAt": "2026-10-05T09:30:00.000Z",
        })),
        "CreditsView" => Some(json!({
            "creditsRemaining": 1_995,
            "creditsUsed": 180,
            "creditsRefunded": 175,
        })),
        "Health" => Some(json!({
            "status": "ok",
            "version": super::operation::text(&source.document["info"], "version"),
        })),
        _ => None,
    }
}

fn listed(source: Source<'_>) -> Option<Value> {
    let model = source.catalog.models().first()?;
    serde_json::to_value(ModelView::from(ListedModel {
        model,
        is_active: true,
    }))
    .ok()
}

/// The answer of a call that waited.
pub(super) fn completed(source: Source<'_>, priced: &Priced) -> Value {
    let kind = priced.call.kind;
    let (extension, media_type) = format_of(&priced.call);
    let url = media_url(source, FILE, extension);
    let mut out = json!({
        "jobId": JOB,
        "status": "completed",
        "creditsCharged": priced.price,
        "durationMs": 6_214,
    });
    match kind {
        MediaKind::Image => {
            out["mode"] = json!(priced.call.action);
            out["imageUrl"] = json!(url);
        }
        MediaKind::Video => out["videoUrl"] = json!(url),
        MediaKind::Audio => {
            out["audioUrl"] = json!(url);
            out["audio_url"] = json!(url);
        }
    }
    let mut urls = vec![url];
    if priced.call.outputs > 1 && kind == MediaKind::Image {
        urls.push(media_url(source, SECOND_FILE, extension));
        out["imageUrls"] = json!(urls);
    }
    out["resultUrls"] = json!(urls);
    out["mimeType"] = json!(media_type);
    out
}

/// The answer of a call that did not wait.
pub(super) fn accepted(model: &Model, priced: &Priced) -> Value {
    let mut input = priced.call.input.clone();
    // The server has read the media by then, and names its own copies.
    for field in model.schema.media_fields() {
        if let Some(value) = input.get_mut(field.name) {
            let own = json!(format!("asset:{ASSET}"));
            *value = if value.is_array() { json!([own]) } else { own };
        }
    }
    let noun = match priced.call.kind {
        MediaKind::Image => "Image",
        MediaKind::Video => "Video",
        MediaKind::Audio => "Speech",
    };
    json!({
        "jobId": JOB,
        "status": "pending",
        "message": format!("{noun} generation started. Poll GET /api/v1/jobs/{JOB} for its result."),
        "creditsCharged": priced.price,
        "externalJobId": null,
        "input": input,
    })
}

/// A job that has been completed.
pub(super) fn job(source: Source<'_>) -> Value {
    let found = model_of(source.catalog, MediaKind::Video, Answer::Async)
        .or_else(|| model_of(source.catalog, MediaKind::Image, Answer::Sync));
    let kind = found
        .as_ref()
        .map_or(MediaKind::Video, |(_, priced)| priced.call.kind);
    let (extension, media_type) = found
        .as_ref()
        .map_or(("mp4", "video/mp4"), |(_, priced)| format_of(&priced.call));
    let url = media_url(source, FILE, extension);
    let name = format!("{}Url", kind.as_str());
    let mut out = json!({
        "id": JOB,
        "jobId": JOB,
        "status": "completed",
        "progress": 100,
        "statusMessage": null,
        "workflow": null,
        "workflowSlug": null,
        "model": found.as_ref().map_or("", |(model, _)| model.slug.as_str()),
        "creditsCharged": found.as_ref().map_or(0, |(_, priced)| priced.price.get()),
        "creditsRefunded": 0,
        "createdAt": "2026-10-05T09:30:00.000Z",
        "startedAt": "2026-10-05T09:30:00.120Z",
        "completedAt": "2026-10-05T09:30:48.300Z",
        "input": found.as_ref().map_or(json!({}), |(_, priced)| json!(priced.call.input)),
        "output": {
            "url": url,
            name.as_str(): url,
            "assets": [{
                "id": ASSET,
                "url": url,
                "type": kind,
                "mimeType": media_type,
                "size": 2_481_920,
            }],
        },
        "error": null,
        "code": null,
        "refund": null,
    });
    out[name] = json!(url);
    out["resultUrls"] = json!([url]);
    out["mimeType"] = json!(media_type);
    out
}
