use crate::ApiState;
use crate::auth::{Authorized, unstored};
use crate::error::{ApiError, ErrorBody};
use crate::extract::{Fields, JsonObject, JsonObjectIfAny};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;
use vydra_core::api_key::ApiKey;
use vydra_core::ids::KeyId;
use vydra_core::job::Mode;
use vydra_core::scope::{GrantedScopes, grantable};
use vydra_core::time::Timestamp;
use vydra_engine::{CreatedKey, EXPIRY_DAYS, MAX_KEY_NAME, MAX_OVERLAP, NewOwnKey};

const SHOWN_ONCE: &str = "Keep this key: it is shown only this once.";

/// A key without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyView {
    #[schema(value_type = String)]
    id: KeyId,
    name: String,
    /// How the key begins.
    #[schema(example = "vydra_live_use...")]
    key_prefix: String,
    /// live, or test for the sandbox.
    #[schema(value_type = String, example = "live")]
    mode: Mode,
    #[schema(value_type = Vec<String>)]
    scopes: GrantedScopes,
    /// Neither revoked nor expired.
    is_active: bool,
    #[schema(value_type = Option<String>)]
    expires_at: Option<Timestamp>,
    /// Up to a moment ago.
    #[schema(value_type = Option<String>)]
    last_used_at: Option<Timestamp>,
    /// Up to a moment ago.
    request_count: u64,
    #[schema(value_type = String)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>)]
    revoked_at: Option<Timestamp>,
}

impl KeyView {
    fn of(key: ApiKey, now: Timestamp) -> Self {
        Self {
            is_active: key.is_active(now),
            id: key.id,
            name: key.name,
            key_prefix: key.shown_prefix,
            mode: key.mode,
            scopes: key.scopes,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            request_count: key.request_count,
            created_at: key.created_at,
            revoked_at: key.revoked_at,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyList {
    data: Vec<KeyView>,
}

/// A key with its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewKeyView {
    #[schema(value_type = String)]
    id: KeyId,
    /// The key itself.
    #[schema(example = "vydra_live_user_…")]
    key: String,
    #[schema(example = "vydra_live_use...")]
    key_prefix: String,
    message: &'static str,
    name: String,
    #[schema(value_type = String, example = "live")]
    mode: Mode,
    #[schema(value_type = Vec<String>)]
    scopes: GrantedScopes,
    #[schema(value_type = Option<String>)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = String)]
    created_at: Timestamp,
    /// Of a rotation: the key that it replaces, with the end that it has now.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<KeyView>,
}

impl From<CreatedKey> for NewKeyView {
    fn from(CreatedKey { key, secret }: CreatedKey) -> Self {
        Self {
            id: key.id,
            key: secret.reveal().to_owned(),
            key_prefix: key.shown_prefix,
            message: SHOWN_ONCE,
            name: key.name,
            mode: key.mode,
            scopes: key.scopes,
            expires_at: key.expires_at,
            created_at: key.created_at,
            replaces: None,
        }
    }
}

#[derive(Debug, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "describes a body that is read field by field, so that each can have its own error"
)]
pub(crate) struct NewKeyBody {
    /// What it is for: 1 to 100 printable characters.
    #[schema(
        example = "backend",
        min_length = 1,
        max_length = 100,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*[^\\u0000-\\u001f\\u007f-\\u009f\\s][^\\u0000-\\u001f\\u007f-\\u009f]*$"
    )]
    name: String,
    /// What it may do; everything when absent.
    #[schema(required = false, example = json!(["models:*", "jobs:read"]))]
    scopes: Option<Vec<String>>,
    /// 1 to 3650; never when absent or null.
    #[schema(required = false, minimum = 1, maximum = 3650)]
    expires_in_days: Option<u32>,
    /// live when absent; test for the sandbox.
    #[schema(required = false, value_type = Option<String>, pattern = "^(live|test)$", example = "live")]
    mode: Option<Mode>,
}

#[derive(Debug, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "describes a body that is read field by field, so that each can have its own error"
)]
pub(crate) struct RotationBody {
    /// How many hours the old key lives on: 0 to 168; 0 when absent.
    #[schema(required = false, maximum = 168, example = 24)]
    overlap_hours: Option<u32>,
}

/// All keys of the organization; a key sees those of its own mode.
#[utoipa::path(get, path = "/api/v1/api-keys", operation_id = "list_keys", tag = "Keys", responses(
    (status = 200, description = "The keys", body = KeyList),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    auth: Authorized,
) -> Result<Json<KeyList>, ApiError> {
    let now = state.engine.now();
    let keys = state.engine.own_keys(&auth.caller).await?;
    let data = keys.into_iter().map(|key| KeyView::of(key, now)).collect();
    Ok(Json(KeyList { data }))
}

/// Creates a key. Only a person who has logged in can, never a key.
#[utoipa::path(post, path = "/api/v1/api-keys", operation_id = "create_key", tag = "Keys", security(("session" = [])), request_body = NewKeyBody, responses(
    (status = 201, description = "The key, shown this once", body = NewKeyView),
))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    auth: Authorized,
    JsonObject(body): JsonObject,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of(body);
    let new = NewOwnKey {
        name: fields.name("name", MAX_KEY_NAME),
        scopes: fields
            .words_if_any("scopes", &grantable())
            .unwrap_or_else(|| vec!["*".to_owned()]),
        expires_in_days: fields.number_if_any("expiresInDays", EXPIRY_DAYS),
        mode: fields
            .word_if_any("mode", Mode::parse, "live, test")
            .unwrap_or(Mode::Live),
    };
    fields.finish()?;
    let created = state.engine.create_own_key(&auth.caller, new).await?;
    let view = NewKeyView::from(created);
    Ok(unstored((StatusCode::CREATED, Json(view))))
}

/// One key.
#[utoipa::path(get, path = "/api/v1/api-keys/{id}", operation_id = "get_key", tag = "Keys", params(("id" = String, Path, description = "The key's id, not the key itself")), responses(
    (status = 200, description = "The key", body = KeyView),
    (status = 404, description = "NOT_FOUND", body = ErrorBody),
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    auth: Authorized,
    Path(id): Path<String>,
) -> Result<Json<KeyView>, ApiError> {
    let key = state.engine.own_key(&auth.caller, &id).await?;
    Ok(Json(KeyView::of(key, state.engine.now())))
}

/// Revokes a key: it is refused from the next request on. A key can revoke itself, and keys that may do no more than it.
#[utoipa::path(delete, path = "/api/v1/api-keys/{id}", operation_id = "revoke_key", tag = "Keys", params(("id" = String, Path, description = "The key's id, not the key itself")), responses(
    (status = 200, description = "The key as it is now", body = KeyView),
    (status = 404, description = "NOT_FOUND", body = ErrorBody),
))]
pub(crate) async fn revoke(
    State(state): State<ApiState>,
    auth: Authorized,
    Path(id): Path<String>,
) -> Result<Json<KeyView>, ApiError> {
    let key = state.engine.revoke_own_key(&auth.caller, &id).await?;
    Ok(Json(KeyView::of(key, state.engine.now())))
}

/// Replaces a key by a new one that may do the same. It expires when the old one would have; the old one lives on for the
/// overlap at most.
#[utoipa::path(post, path = "/api/v1/api-keys/{id}/rotate", operation_id = "rotate_key", tag = "Keys", params(("id" = String, Path, description = "The key's id, not the key itself")), request_body = RotationBody, responses(
    (status = 201, description = "The new key, shown this once", body = NewKeyView),
    (status = 404, description = "NOT_FOUND", body = ErrorBody),
))]
pub(crate) async fn rotate(
    State(state): State<ApiState>,
    auth: Authorized,
    Path(id): Path<String>,
    JsonObjectIfAny(body): JsonObjectIfAny,
) -> Result<Response, ApiError> {
    let longest = u32::try_from(MAX_OVERLAP.as_secs() / 3_600).unwrap_or(u32::MAX);
    let mut fields = Fields::of(body);
    let hours = fields.number_if_any("overlapHours", 0..=longest);
    fields.finish()?;
    let overlap = Duration::from_secs(u64::from(hours.unwrap_or(0)) * 3_600);
    let rotated = state
        .engine
        .rotate_own_key(&auth.caller, &id, overlap)
        .await?;
    let view = NewKeyView {
        replaces: Some(KeyView::of(rotated.old, state.engine.now())),
        ..NewKeyView::from(rotated.created)
    };
    Ok(unstored((StatusCode::CREATED, Json(view))))
}
