use crate::ApiState;
use crate::auth::Authorized;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use vydra_core::ids::OrgId;
use vydra_core::time::Timestamp;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrganizationView {
    #[schema(value_type = String)]
    id: OrgId,
    name: String,
    plan: String,
    /// Of the key's own kind: a test key sees the sandbox's balance.
    credits_remaining: i64,
    #[schema(value_type = String)]
    created_at: Timestamp,
    #[schema(value_type = String)]
    updated_at: Timestamp,
}

/// The organization that the key belongs to.
#[utoipa::path(get, path = "/api/v1/organization", operation_id = "get_organization", tag = "Account", responses(
    (status = 200, description = "The organization", body = OrganizationView),
))]
pub(crate) async fn get(State(_): State<ApiState>, auth: Authorized) -> Json<OrganizationView> {
    let mode = auth.caller.mode();
    let organization = auth.caller.organization;
    Json(OrganizationView {
        credits_remaining: organization.credits(mode).get(),
        id: organization.id,
        name: organization.name,
        plan: organization.plan,
        created_at: organization.created_at,
        updated_at: organization.updated_at,
    })
}
