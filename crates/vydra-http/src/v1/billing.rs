use crate::ApiState;
use crate::auth::Authorized;
use crate::error::ApiError;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "these are the names on the wire")]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreditsView {
    credits_remaining: i64,
    /// All that was ever charged.
    credits_used: i64,
    /// All that was ever paid back.
    credits_refunded: i64,
}

/// The balance, each figure added up from the ledger.
#[utoipa::path(get, path = "/api/v1/billing/credits", operation_id = "get_credits", tag = "Billing", responses(
    (status = 200, description = "The balance", body = CreditsView),
))]
pub(crate) async fn credits(
    State(state): State<ApiState>,
    auth: Authorized,
) -> Result<Json<CreditsView>, ApiError> {
    let totals = state
        .engine
        .credit_totals(&auth.caller.organization.id, auth.caller.mode())
        .await?;
    Ok(Json(CreditsView {
        credits_remaining: totals.remaining,
        credits_used: totals.used,
        credits_refunded: totals.refunded,
    }))
}
