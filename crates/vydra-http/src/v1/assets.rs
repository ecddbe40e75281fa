use super::jobs::url_of;
use crate::ApiState;
use crate::auth::Authorized;
use crate::error::{ApiError, ErrorBody};
use crate::extract::ApiQuery;
use crate::page::{Page, Pagination};
use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use vydra_core::asset::{Asset, ListedAsset, MediaKind};
use vydra_core::ids::{AssetId, JobId};
use vydra_core::time::Timestamp;
use vydra_engine::{AssetQuery, DeletedAsset, has_thumbnail, thumbnail_key};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AssetsQuery {
    /// 1 to 100; 20 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// How many to pass over.
    #[param(value_type = Option<i64>, minimum = 0, maximum = 4_294_967_295_i64)]
    offset: Option<String>,
    /// Only what jobs of this workflow made.
    workflow: Option<String>,
    /// Only files behind this one in the list: the last page's nextCursor.
    #[param(value_type = Option<String>, pattern = "^ast_[0-9a-z]{26}$")]
    after: Option<String>,
}

/// A file that is kept: a job made it, or it was sent in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoredAssetView {
    /// `asset:<id>` stands for it wherever the URL of a file is asked for.
    #[schema(value_type = String)]
    id: AssetId,
    /// image, video or audio.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: MediaKind,
    /// Of the job that made it; null for one that was made by a call of a model or sent in.
    workflow: Option<String>,
    /// Readable without a key.
    url: String,
    /// A JPEG of at most 512 pixels a side, made when it is asked for first; of a video, its first picture. Null where there
    /// is none. Whoever has it can tell the `url`.
    thumbnail_url: Option<String>,
    metadata: AssetMetadata,
    /// Which job made it; null for one that was sent in.
    #[schema(value_type = Option<String>)]
    job_id: Option<JobId>,
    #[schema(value_type = String)]
    created_at: Timestamp,
}

/// What is known of a file.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssetMetadata {
    /// In bytes.
    size: u64,
    #[schema(example = "image/png")]
    mime_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    /// Of one that was sent in: its name, cleaned.
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<String>,
}

impl AssetMetadata {
    fn of(asset: &Asset) -> Self {
        Self {
            size: asset.bytes,
            mime_type: asset.media_type.clone(),
            width: asset.dimensions.map(|(width, _)| width),
            height: asset.dimensions.map(|(_, height)| height),
            duration_ms: asset.duration_ms,
            filename: asset.filename.clone(),
        }
    }
}

impl StoredAssetView {
    fn of(ListedAsset { asset, workflow }: ListedAsset, public_url: &str) -> Self {
        Self {
            kind: asset.kind,
            workflow,
            url: url_of(&asset, public_url),
            thumbnail_url: has_thumbnail(&asset)
                .then(|| format!("{public_url}/media/{}", thumbnail_key(&asset))),
            metadata: AssetMetadata::of(&asset),
            id: asset.id,
            job_id: asset.job_id,
            created_at: asset.created_at,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AssetList {
    data: Vec<StoredAssetView>,
    pagination: Pagination,
}

/// A file that is not there any more.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeletedAssetView {
    #[schema(value_type = String)]
    id: AssetId,
    #[schema(value_type = String)]
    deleted_at: Timestamp,
}

/// What jobs of the organization made and what it sent in, newest first.
#[utoipa::path(get, path = "/api/v1/assets", operation_id = "list_assets", tag = "Files", params(AssetsQuery), responses(
    (status = 200, description = "A page of files", body = AssetList),
    (status = 400, description = "INVALID_INPUT: also for a cursor that is not of this list", body = ErrorBody),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    auth: Authorized,
    ApiQuery(query): ApiQuery<AssetsQuery>,
) -> Result<Json<AssetList>, ApiError> {
    let wanted = Page::read(query.limit.as_deref(), query.offset.as_deref())?;
    let asked = AssetQuery {
        workflow: query.workflow,
        limit: wanted.and_one(),
        offset: wanted.offset,
        after: query.after,
    };
    let mut page = state.engine.assets(&auth.caller, asked).await?;
    let cursor = |listed: &ListedAsset| listed.asset.id.to_string();
    let pagination = wanted.told(&mut page.assets, page.count, cursor);
    let public_url = &state.engine.settings().public_url;
    Ok(Json(AssetList {
        data: page
            .assets
            .into_iter()
            .map(|listed| StoredAssetView::of(listed, public_url))
            .collect(),
        pagination,
    }))
}

/// One file.
#[utoipa::path(get, path = "/api/v1/assets/{id}", operation_id = "get_asset", tag = "Files", params(("id" = String, Path, description = "The file's id")), responses(
    (status = 200, description = "The file", body = StoredAssetView),
    (status = 404, description = "NOT_FOUND, also for a file of another organization", body = ErrorBody),
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    auth: Authorized,
    Path(id): Path<String>,
) -> Result<Json<StoredAssetView>, ApiError> {
    let listed = state.engine.asset(&auth.caller, &id).await?;
    let public_url = &state.engine.settings().public_url;
    Ok(Json(StoredAssetView::of(listed, public_url)))
}

/// Deletes a file for good: its URL answers 404 at once, jobs no longer show it, and no new job takes it in. A job that has
/// taken it in already comes to its end all the same.
#[utoipa::path(delete, path = "/api/v1/assets/{id}", operation_id = "delete_asset", tag = "Files", params(("id" = String, Path, description = "The file's id")), responses(
    (status = 200, description = "It is gone", body = DeletedAssetView),
    (status = 404, description = "NOT_FOUND, also for one that was deleted before", body = ErrorBody),
))]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    auth: Authorized,
    Path(id): Path<String>,
) -> Result<Json<DeletedAssetView>, ApiError> {
    let DeletedAsset { id, at } = state.engine.delete_asset(&auth.caller, &id).await?;
    Ok(Json(DeletedAssetView { id, deleted_at: at }))
}
