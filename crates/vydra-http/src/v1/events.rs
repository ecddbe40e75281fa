use super::jobs::JobView;
use crate::ApiState;
use crate::auth::Authorized;
use crate::error::ApiError;
use crate::extract::{ApiQuery, wait};
use crate::page::Page;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use vydra_core::ids::EventId;
use vydra_core::time::Timestamp;
use vydra_core::webhook::EventType;
use vydra_engine::EventQuery;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Only events behind this one: the `cursor` of the answer before. `latest` stands for the last event there is;
    /// without it, the feed begins with the first.
    #[param(value_type = Option<String>, pattern = "^(latest|evt_[0-9a-z]{26})$")]
    after: Option<String>,
    /// 1 to 100; 20 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// Hold the answer until there is an event, or this many seconds (0 to 60).
    #[param(value_type = Option<u32>, maximum = 60)]
    wait: Option<String>,
}

/// An event, with the id and the fields that its webhooks have.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventView {
    /// The `webhook-id` of its webhooks.
    #[schema(value_type = String, example = "evt_01jd0c3gq4t2n8r6w5x7y9z1ab")]
    id: EventId,
    /// job.completed, job.failed or job.cancelled.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "job.completed")]
    kind: EventType,
    #[schema(value_type = String)]
    timestamp: Timestamp,
    data: JobView,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventList {
    data: Vec<EventView>,
    /// Where to read on, whether or not there was anything; null while no job has ever ended.
    #[schema(value_type = Option<String>)]
    cursor: Option<EventId>,
    pagination: EventPagination,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventPagination {
    limit: u32,
    /// For `after`, when there is more already; null at the end.
    #[schema(value_type = Option<String>)]
    next_cursor: Option<EventId>,
}

/// The ends of all jobs in the order in which they happened, the oldest first. Whoever has missed a webhook reads here what
/// it would have said.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "list_events", tag = "Webhooks", params(EventsQuery), responses(
    (status = 200, description = "The events behind the cursor", body = EventList),
))]
pub(crate) async fn list(
    State(state): State<ApiState>,
    auth: Authorized,
    ApiQuery(query): ApiQuery<EventsQuery>,
) -> Result<Json<EventList>, ApiError> {
    let wanted = Page::read(query.limit.as_deref(), None)?;
    let asked = EventQuery {
        after: query.after,
        limit: wanted.and_one(),
        wait: wait(query.wait.as_deref())?,
    };
    let mut feed = state.engine.events(&auth.caller, asked).await?;
    let more = wanted.cut(&mut feed.events);
    let cursor = feed.events.last().map(|event| event.id.clone());
    let cursor = cursor.or(feed.after);
    let public_url = &state.engine.settings().public_url;
    let events = feed.events.into_iter().map(|event| EventView {
        id: event.id,
        kind: event.kind,
        timestamp: event.at,
        data: JobView::of(event.job, public_url),
    });
    Ok(Json(EventList {
        data: events.collect(),
        pagination: EventPagination {
            limit: wanted.limit,
            next_cursor: cursor.clone().filter(|_| more),
        },
        cursor,
    }))
}
