use crate::ApiState;
use crate::auth::Authorized;
use crate::error::{ApiError, ErrorBody};
use crate::extract::ApiQuery;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use vydra_core::catalog::Violations;
use vydra_core::time::Timestamp;
use vydra_core::usage::{UsageBy, UsageFigures};
use vydra_engine::{Error, UsageQuery};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SpanQuery {
    /// A date or a date and time (ISO 8601, UTC unless it says otherwise); 30 days before `to` when absent.
    #[param(pattern = "^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$")]
    from: Option<String>,
    /// The first moment that is not counted; now when absent. At most 366 days after `from`.
    #[param(pattern = "^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$")]
    to: Option<String>,
    /// day (in UTC), model or key; day when absent.
    #[param(pattern = "^(day|model|key)$")]
    by: Option<String>,
}

/// Everything counts when it happened: jobs when they were made, ends when they ended, credits when they moved.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FiguresView {
    jobs: i64,
    completed: i64,
    failed: i64,
    cancelled: i64,
    credits_charged: i64,
    credits_refunded: i64,
    credits_net: i64,
}

impl From<UsageFigures> for FiguresView {
    fn from(figures: UsageFigures) -> Self {
        Self {
            jobs: figures.jobs,
            completed: figures.completed,
            failed: figures.failed,
            cancelled: figures.cancelled,
            credits_charged: figures.charged,
            credits_refunded: figures.refunded,
            credits_net: figures.net(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::option_option,
    reason = "a field that is absent is not one that is null"
)]
pub(crate) struct UsageRowView {
    /// With by=day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-03-01")]
    day: Option<String>,
    /// With by=model.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// With by=key; null for jobs that a person started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    key_id: Option<Option<String>>,
    /// The key's name, as long as there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_name: Option<String>,
    #[serde(flatten)]
    figures: FiguresView,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageView {
    #[schema(value_type = String)]
    from: Timestamp,
    #[schema(value_type = String)]
    to: Timestamp,
    #[schema(example = "day")]
    by: &'static str,
    /// One row for each day, model or key of which there is something to tell.
    data: Vec<UsageRowView>,
    totals: FiguresView,
}

/// What was done and what it cost. The credits agree with what the balance shows for the same span.
#[utoipa::path(get, path = "/api/v1/usage", operation_id = "get_usage", tag = "Account", params(SpanQuery), responses(
    (status = 200, description = "The rows and their sum", body = UsageView),
    (status = 400, description = "INVALID_INPUT", body = ErrorBody),
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    auth: Authorized,
    ApiQuery(query): ApiQuery<SpanQuery>,
) -> Result<Json<UsageView>, ApiError> {
    let by = match query.by.as_deref() {
        None => UsageBy::Day,
        Some(word) => UsageBy::parse(word).ok_or_else(|| {
            let known = UsageBy::ALL.map(UsageBy::as_str).join(", ");
            Error::from(Violations::one(
                "by",
                "not one of the allowed values",
                &known,
            ))
        })?,
    };
    let asked = UsageQuery {
        by,
        from: time("from", query.from.as_deref())?,
        to: time("to", query.to.as_deref())?,
    };
    let usage = state.engine.usage(&auth.caller, asked).await?;
    let totals = usage.totals().into();
    let data = usage
        .rows
        .into_iter()
        .map(|row| {
            let mut view = UsageRowView {
                day: None,
                model: None,
                key_id: None,
                key_name: None,
                figures: row.figures.into(),
            };
            match by {
                UsageBy::Day => view.day = row.group,
                UsageBy::Model => view.model = row.group,
                UsageBy::Key => {
                    view.key_name = row
                        .group
                        .as_ref()
                        .and_then(|id| usage.key_names.get(id).cloned());
                    view.key_id = Some(row.group);
                }
            }
            view
        })
        .collect();
    Ok(Json(UsageView {
        from: usage.from,
        to: usage.to,
        by: by.as_str(),
        data,
        totals,
    }))
}

fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    Timestamp::parse(text).map(Some).ok_or_else(|| {
        let expected = "a date or a date and time, such as 2026-03-01 or 2026-03-01T12:00:00Z";
        Error::from(Violations::one(name, "not a time", expected)).into()
    })
}
