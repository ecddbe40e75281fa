use crate::ApiState;
use crate::auth::Authorized;
use crate::error::{ApiError, ErrorBody};
use crate::extract::ApiQuery;
use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use vydra_core::asset::MediaKind;
use vydra_core::catalog::Answer;
use vydra_core::catalog::Violations;
use vydra_engine::{Error, ListedModel};

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModelView {
    slug: String,
    name: String,
    provider: String,
    model_id: String,
    credits_per_unit: i64,
    pricing_unit: String,
    deployed_on: String,
    description: String,
    /// Where it is called, below /api/v1; null for a model that only workflows use.
    endpoint: Option<String>,
    /// What it makes: image, video or audio.
    #[schema(value_type = String)]
    kind: MediaKind,
    /// Whether a call waits for its result: sync or async.
    #[schema(value_type = String)]
    answer: Answer,
    /// Where the price or the result depends on the input.
    variants: Vec<VariantView>,
    /// The JSON Schema that requests are checked against.
    #[schema(value_type = Object)]
    input_schema: Value,
    #[schema(value_type = Object)]
    example_input: Map<String, Value>,
    /// Whether it can be called now.
    is_active: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VariantView {
    /// The values of fields that choose it.
    #[schema(value_type = Object)]
    when: Value,
    #[schema(value_type = String)]
    kind: MediaKind,
    #[schema(value_type = String)]
    answer: Answer,
    credits_per_unit: i64,
    pricing_unit: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelList {
    data: Vec<ModelView>,
    count: usize,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct ModelQuery {
    /// Only models of this provider.
    provider: Option<String>,
    /// Only models that can, or cannot, be called now: true or false.
    #[param(value_type = Option<bool>)]
    is_active: Option<String>,
}

impl From<ListedModel<'_>> for ModelView {
    fn from(ListedModel { model, is_active }: ListedModel<'_>) -> Self {
        Self {
            slug: model.slug.clone(),
            name: model.name.clone(),
            provider: model.provider.clone(),
            model_id: model.model_id.clone(),
            credits_per_unit: model.credits_per_unit.get(),
            pricing_unit: model.pricing_unit.clone(),
            deployed_on: model.deployed_on.clone(),
            description: model.description.clone(),
            endpoint: model.path.as_ref().map(|path| format!("/models/{path}")),
            kind: model.kind,
            answer: model.answer,
            variants: model
                .variants
                .iter()
                .map(|variant| VariantView {
                    when: serde_json::json!(variant.when),
                    kind: variant.kind,
                    answer: variant.answer,
                    credits_per_unit: variant.credits_per_unit.get(),
                    pricing_unit: variant.pricing_unit.clone(),
                })
                .collect(),
            input_schema: model.schema.json().clone(),
            example_input: model.example_input.clone(),
            is_active,
        }
    }
}

/// All models of this server, with what they take and what they cost.
#[utoipa::path(get, path = "/api/v1/models", operation_id = "list_models", tag = "Models", params(ModelQuery), responses(
    (status = 200, description = "The models", body = ModelList),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    auth: Authorized,
    ApiQuery(query): ApiQuery<ModelQuery>,
) -> Result<Json<ModelList>, ApiError> {
    let active = match query.is_active.as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => {
            return Err(Error::from(Violations::one(
                "isActive",
                "not one of the allowed values",
                "true, false",
            ))
            .into());
        }
    };
    let data: Vec<ModelView> = state
        .engine
        .models(auth.caller.mode())
        .filter(|listed| {
            query
                .provider
                .as_ref()
                .is_none_or(|provider| listed.model.provider == *provider)
        })
        .filter(|listed| active.is_none_or(|active| listed.is_active == active))
        .map(ModelView::from)
        .collect();
    Ok(Json(ModelList {
        count: data.len(),
        data,
    }))
}

/// One model.
#[utoipa::path(get, path = "/api/v1/models/{slug}", operation_id = "get_model", tag = "Models", params(("slug" = String, Path, description = "The model's slug")), responses(
    (status = 200, description = "The model", body = ModelView),
    (status = 404, description = "MODEL_NOT_FOUND", body = ErrorBody),
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    auth: Authorized,
    Path(slug): Path<String>,
) -> Result<Json<ModelView>, ApiError> {
    Ok(Json(state.engine.model(&slug, auth.caller.mode())?.into()))
}
