use crate::ApiState;
use crate::auth::Authorized;
use crate::error::ApiError;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use vydra_core::time::Timestamp;
use vydra_engine::WindowStanding;

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RateLimitsView {
    plan: String,
    limits: LimitsView,
    usage: RequestUsageView,
    #[schema(value_type = String)]
    timestamp: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitsView {
    /// Requests a minute.
    rpm: u32,
    /// Requests an hour.
    rph: u32,
    /// Requests a day.
    rpd: u32,
    /// Jobs that have not ended.
    concurrent: u32,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RequestUsageView {
    minute: UsedView,
    hour: UsedView,
    day: UsedView,
    concurrent: UsedView,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsedView {
    /// More than the limit after a change to a smaller plan.
    used: u32,
    limit: u32,
}

impl From<WindowStanding> for UsedView {
    fn from(window: WindowStanding) -> Self {
        Self {
            used: window.used,
            limit: window.limit,
        }
    }
}

/// What the organization may use and has used, over all its keys. This very request is counted.
#[utoipa::path(get, path = "/api/v1/account/rate-limits", operation_id = "get_rate_limits", tag = "Account", responses(
    (status = 200, description = "The limits and their usage", body = RateLimitsView),
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    auth: Authorized,
) -> Result<Json<RateLimitsView>, ApiError> {
    let found = state.engine.rate_limits(&auth.caller).await?;
    let (limits, standing) = (found.limits, found.standing);
    Ok(Json(RateLimitsView {
        plan: auth.caller.organization.plan,
        limits: LimitsView {
            rpm: limits.rpm,
            rph: limits.rph,
            rpd: limits.rpd,
            concurrent: limits.concurrent,
        },
        usage: RequestUsageView {
            minute: standing.minute.into(),
            hour: standing.hour.into(),
            day: standing.day.into(),
            concurrent: UsedView {
                used: found.open_jobs,
                limit: limits.concurrent,
            },
        },
        timestamp: found.now,
    }))
}
