//! The API described: the fixed operations from their handlers, the calls of models from the catalogue, and what all have
//! in common from where it is decided: access from the router, errors from the one list of codes.

mod calls;
mod common;

use crate::ApiState;
use crate::error::ErrorBody;
use crate::v1;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use utoipa::OpenApi;
use vydra_core::catalog::Catalog;

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
        v1::limits::get,
        v1::usage::get,
        v1::transactions::list,
        v1::transactions::of_job,
        v1::quotes::create,
        v1::billing::credits,
        v1::models::list,
        v1::models::get,
        v1::generate::call,
        v1::jobs::create,
        v1::jobs::list,
        v1::jobs::get,
        v1::jobs::cancel,
        v1::streams::get,
        v1::events::list,
        v1::webhooks::list,
        v1::webhooks::create,
        v1::webhooks::get,
        v1::webhooks::update,
        v1::webhooks::delete,
        v1::webhooks::secret,
        v1::webhooks::rotate,
        v1::webhooks::test,
        v1::deliveries::list,
        v1::deliveries::get,
        v1::deliveries::resend,
        v1::uploads::create,
        v1::assets::list,
        v1::assets::get,
        v1::assets::delete,
        v1::keys::list,
        v1::keys::create,
        v1::keys::get,
        v1::keys::revoke,
        v1::keys::rotate,
        v1::sessions::login,
        v1::sessions::logout,
        v1::sessions::me,
        v1::bots::register,
    ),
    components(schemas(ErrorBody, v1::generate::Completed, v1::generate::Accepted)),
    tags(
        (name = "Generate", description = "One call for each model. Sync models answer with the result, async ones with a job."),
        (name = "Jobs", description = "Every generation is a job; workflows are started as one."),
        (name = "Webhooks", description = "The ends of jobs, told to endpoints of yours as they happen: signed, retried for more than a day, and to be read again."),
        (name = "Files", description = "Images that are sent in, to be used wherever a URL of an image is asked for; and all that is kept: what jobs made and what was sent in."),
        (name = "Models", description = "What can be called, what it takes and what it costs."),
        (name = "Billing", description = "Prepaid credits."),
        (name = "Account", description = "The organization behind the key."),
        (name = "Keys", description = "Made by people who have logged in; replaced and ended by them or by keys that may."),
        (name = "Sessions", description = "People log in with a cookie; where a key is asked for, their role takes its place."),
        (name = "Health", description = "For load balancers."),
    ),
)]
struct Described;

/// The document for this catalogue.
pub fn document(catalog: &Catalog) -> Value {
    let mut document = json!(Described::openapi());
    calls::describe(&mut document, catalog);
    common::describe(&mut document, catalog);
    document
}

fn answer(description: &str, schema: &str) -> Value {
    let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

/// This server's own description, its catalogue included.
pub(crate) async fn get(State(state): State<ApiState>) -> Json<Value> {
    let mut document = document(state.engine.catalog());
    document["servers"] = json!([{"url": state.engine.settings().public_url}]);
    Json(document)
}
