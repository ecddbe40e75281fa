use crate::ApiState;
use crate::auth::Authorized;
use crate::error::{ApiError, ErrorBody};
use crate::extract::JsonObject;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use vydra_core::catalog::{PriceLine, Violations};
use vydra_core::time::Timestamp;
use vydra_engine::{Error, Quoted};

const FIELDS: [&str; 3] = ["model", "workflow", "input"];

/// One of `model` and `workflow`, with the input of the real call.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes a body that is read field by field")]
#[schema(example = json!({"model": "flux-edit/edit", "input": {"prompt": "Make it winter", "imageUrl": "https://example.com/house.png", "numImages": 2}}))]
pub(crate) struct QuoteBody {
    /// A model, by its path or its slug.
    model: Option<String>,
    /// A workflow, by its slug.
    workflow: Option<String>,
    #[schema(value_type = Object)]
    input: Value,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QuoteView {
    #[schema(example = 30)]
    credits: i64,
    breakdown: Vec<PriceLineView>,
    /// Changes with every price of this server, and with nothing else.
    #[schema(example = "5f0c1d2e3a4b")]
    price_version: String,
    #[schema(value_type = String)]
    expires_at: Timestamp,
}

/// So many units at so much each.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PriceLineView {
    /// The model, or a workflow that has one price for all its steps.
    #[schema(example = "FLUX Edit")]
    item: String,
    /// Of such a workflow, the one that makes its result.
    #[schema(example = "flux-edit")]
    model: String,
    #[schema(example = "image")]
    pricing_unit: String,
    #[schema(example = 15)]
    credits_per_unit: i64,
    #[schema(example = 2)]
    units: u32,
    #[schema(example = 30)]
    credits: i64,
}

impl From<PriceLine> for PriceLineView {
    fn from(line: PriceLine) -> Self {
        Self {
            item: line.item,
            model: line.model,
            pricing_unit: line.pricing_unit,
            credits_per_unit: line.credits_per_unit.get(),
            units: line.units,
            credits: line.credits.get(),
        }
    }
}

/// What a call or a job would cost. The input is checked as the real one is; nothing is fetched, and nothing is charged.
#[utoipa::path(post, path = "/api/v1/quotes", operation_id = "create_quote", tag = "Billing", request_body = QuoteBody, responses(
    (status = 200, description = "The price", body = QuoteView),
    (status = 400, description = "INVALID_INPUT", body = ErrorBody),
    (status = 404, description = "MODEL_NOT_FOUND", body = ErrorBody),
))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    auth: Authorized,
    JsonObject(mut body): JsonObject,
) -> Result<Json<QuoteView>, ApiError> {
    if let Some(unknown) = body.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(wrong(unknown, "unknown", "only model, workflow and input"));
    }
    let (model, workflow) = (word(&mut body, "model")?, word(&mut body, "workflow")?);
    let input = match body.remove("input") {
        Some(Value::Object(input)) => input,
        None | Some(Value::Null) => Map::new(),
        Some(_) => return Err(wrong("input", "wrong type", "object")),
    };
    let what = match (&model, &workflow) {
        (Some(model), None) => Quoted::Model(model),
        (None, Some(workflow)) => Quoted::Workflow(workflow),
        (None, None) => {
            return Err(Error::from(Violations::missing("model or workflow", "string")).into());
        }
        (Some(_), Some(_)) => {
            return Err(wrong(
                "workflow",
                "given beside model",
                "either model or workflow",
            ));
        }
    };
    let quote = state.engine.quote(&auth.caller, what, input)?;
    Ok(Json(QuoteView {
        credits: quote.credits.get(),
        breakdown: quote.pricing.lines.into_iter().map(Into::into).collect(),
        price_version: quote.pricing.version,
        expires_at: quote.expires_at,
    }))
}

fn word(body: &mut Map<String, Value>, name: &str) -> Result<Option<String>, ApiError> {
    match body.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(word)) => Ok(Some(word)),
        Some(_) => Err(wrong(name, "wrong type", "string")),
    }
}

fn wrong(field: &str, problem: &str, expected: &str) -> ApiError {
    Error::from(Violations::one(field, problem, expected)).into()
}
