use super::jobs::JobView;
use crate::ApiState;
use crate::auth::Authorized;
use crate::error::{ApiError, ErrorBody};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;
use vydra_core::ids::JobId;
use vydra_core::job::{Job, JobStatus};
use vydra_engine::{EventKind, JobEvent, Watching};

/// Proxies close what is silent for long.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a client that lost its stream waits.
const RETRY: Duration = Duration::from_secs(2);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// An event of the stream. Its data are JSON: of `status` and `progress` how the job stands, of `end` the whole job.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written line by line")]
pub(crate) struct StreamEventView {
    #[schema(pattern = "^(status|progress|end)$", example = "progress")]
    event: String,
    /// For `Last-Event-ID`.
    #[schema(example = "43")]
    id: String,
    data: String,
}

/// The data of the events status and progress.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct JobChange {
    id: JobId,
    /// The same as `id`.
    job_id: JobId,
    status: JobStatus,
    /// 0 to 100.
    progress: u8,
    status_message: Option<String>,
}

impl From<Job> for JobChange {
    fn from(job: Job) -> Self {
        Self {
            job_id: job.id.clone(),
            id: job.id,
            status: job.status,
            progress: job.progress,
            status_message: job.status_message,
        }
    }
}

/// Follows a job as server-sent events. An event `status` or `progress` tells how the job stands; the last, `end`, holds
/// the whole job as GET /jobs/{id} shows it, and ends the stream. A client that comes back with Last-Event-ID is told what
/// is newer; one that has seen the end gets 204. A stream lasts 30 minutes at most.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/events", operation_id = "job_events", tag = "Jobs", params(
    ("id" = String, Path, description = "The job's id"),
    ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen; one that is not understood is ignored."),
), responses(
    (status = 200, description = "The events", body = StreamEventView, content_type = "text/event-stream"),
    (status = 204, description = "The job has ended, and Last-Event-ID says that its end was seen"),
    (status = 404, description = "JOB_NOT_FOUND, also for a job of another organization", body = ErrorBody),
    (status = 429, description = "RATE_LIMIT_EXCEEDED: also with 100 open streams of the organization", body = ErrorBody),
))]
pub(crate) async fn get(
    State(state): State<ApiState>,
    auth: Authorized,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let seen = headers
        .get(LAST_EVENT_ID)
        .and_then(|value| value.to_str().ok());
    let events = match state.engine.job_events(&auth.caller, &id, seen).await? {
        Watching::Events(events) => events,
        Watching::SeenToTheEnd => return Ok(StatusCode::NO_CONTENT.into_response()),
    };
    // Sent at once, so that a client whose job has nothing new to tell sees that it is connected.
    let hello = stream::iter([Ok(Event::default().retry(RETRY))]);
    let told = stream::unfold(events, move |mut events| {
        let public_url = state.engine.settings().public_url.clone();
        async move {
            let event = events.next().await?;
            Some((written(event, &public_url), events))
        }
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive");
    let mut response = Sse::new(hello.chain(told))
        .keep_alive(keep_alive)
        .into_response();
    for (name, value) in [(header::CACHE_CONTROL, "no-store"), (ACCEL_BUFFERING, "no")] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

fn written(event: JobEvent, public_url: &str) -> Result<Event, axum::Error> {
    let JobEvent { kind, mark, job } = event;
    let (name, data) = match kind {
        EventKind::Status => ("status", serde_json::to_string(&JobChange::from(job))),
        EventKind::Progress => ("progress", serde_json::to_string(&JobChange::from(job))),
        EventKind::End => ("end", serde_json::to_string(&JobView::of(job, public_url))),
    };
    let data = data.map_err(axum::Error::new)?;
    Ok(Event::default().event(name).id(mark.to_string()).data(data))
}
