//! How a job goes on, as it happens.

use crate::client::Client;
use crate::error::Error;
use crate::jobs::{CancelOnDrop, JobStatus, growing};
use crate::options::Wait;
use crate::sse::{Event, Parser, TooLong};
use crate::transport::{Core, Request, SILENCE, chunk, within};
use crate::types::Job;
use reqwest::Response;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, HeaderValue};
use serde::Serialize;
use serde_json::Value;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How a job goes on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct JobEvent {
    /// What it tells.
    pub event: JobEventKind,
    /// How the job stands.
    pub status: JobStatus,
    /// 0 to 100.
    pub progress: u32,
    /// Which steps of a workflow run.
    pub status_message: Option<String>,
    /// The whole job, at the end.
    pub job: Option<Job>,
}

/// What an event of a stream tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum JobEventKind {
    /// The job stands otherwise than before.
    Status,
    /// It has come further.
    Progress,
    /// It has ended, however: the last event.
    End,
}

/// The events of a job: see [`Client::stream`].
pub struct JobStream {
    core: Arc<Core>,
    id: String,
    timeout: Duration,
    deadline: Option<Duration>,
    /// For `Last-Event-ID`.
    last: Option<String>,
    /// How often it has broken since the last event.
    broken: u32,
    /// The last that was sent.
    request: Option<Request>,
    open: Option<Open>,
    ready: VecDeque<Event>,
    is_over: bool,
    cancel_on_drop: bool,
    guard: Option<CancelOnDrop>,
}

struct Open {
    request: Request,
    response: Response,
    parser: Parser,
}

impl fmt::Debug for JobStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobStream")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// How a job goes on, as it happens. The last event is [`JobEventKind::End`], with the job, however it ended. A stream that
    /// breaks is taken up where it was.
    pub fn stream(&self, id: &str, wait: &Wait) -> JobStream {
        JobStream {
            core: Arc::clone(&self.core),
            id: id.to_owned(),
            timeout: wait.timeout,
            deadline: None,
            last: None,
            broken: 0,
            request: None,
            open: None,
            ready: VecDeque::new(),
            is_over: false,
            cancel_on_drop: wait.cancel_on_drop,
            guard: None,
        }
    }
}

impl JobStream {
    /// The next event; none after the last.
    pub async fn next(&mut self) -> Result<Option<JobEvent>, Error> {
        if self.is_over {
            return Ok(None);
        }
        if self.cancel_on_drop && self.guard.is_none() {
            self.guard = Some(CancelOnDrop::of_job(&self.core, &self.id));
        }
        let event = self.advance().await;
        if !matches!(&event, Ok(Some(event)) if event.event != JobEventKind::End) {
            self.is_over = true;
            self.open = None;
            if let Some(guard) = self.guard.take() {
                guard.disarm();
            }
        }
        event
    }

    async fn advance(&mut self) -> Result<Option<JobEvent>, Error> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                self.broken = 0;
                // Said once, it holds until another one is said.
                self.last = event.id.clone().or(self.last.take());
                if let Some(event) = understood(&event) {
                    return Ok(Some(event));
                }
            }
            let failed = match self.read().await {
                Ok(Read::More) => continue,
                Ok(Read::Over) => return Ok(None),
                Ok(Read::End) => None,
                Err(error) => Some(error),
            };
            self.open = None;
            self.pause(failed).await?;
        }
    }

    /// Reads on, from where it was if the connection is a new one.
    async fn read(&mut self) -> Result<Read, Error> {
        // Time counts from the first look on.
        self.deadline();
        let Some(open) = &mut self.open else {
            return self.connect().await;
        };
        let Some(piece) = chunk(&open.request, &mut open.response).await? else {
            return Ok(Read::End);
        };
        let fed = open.parser.feed(&piece, &mut self.ready);
        fed.map_err(|TooLong| Error::connection("an event of the stream is too long"))?;
        Ok(Read::More)
    }

    async fn connect(&mut self) -> Result<Read, Error> {
        let last = self.last.as_deref().filter(|last| !last.is_empty());
        let mut request = self
            .core
            .get(&["jobs", &self.id, "events"])?
            .header("last-event-id", last)?;
        request
            .headers
            .insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let core = &self.core;
        let opening = async {
            let response = core.open(&request, self.broken, |http| http).await?;
            core.good(&request, response).await
        };
        let response = within(SILENCE, &request, opening).await;
        self.request = Some(request.clone());
        let response = response?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Read::Over);
        }
        self.open = Some(Open {
            request,
            response,
            parser: Parser::default(),
        });
        Ok(Read::More)
    }

    /// Waits before the stream is taken up again, unless that cannot help or would come too late.
    async fn pause(&mut self, failed: Option<Error>) -> Result<(), Error> {
        let mut pause = growing(self.broken);
        if let Some(error) = failed {
            if self.core.pause(&error, self.broken + 1).is_none() {
                return Err(error.of_job(&self.id));
            }
            pause = error
                .api()
                .and_then(|error| error.retry_after)
                .unwrap_or(pause);
            self.check(pause)?;
            if let Some(request) = &self.request {
                self.core
                    .tell_retry(request, self.broken + 1, pause, &error);
            }
        }
        self.check(pause)?;
        self.broken += 1;
        self.core.settings.clock.pause(pause).await;
        Ok(())
    }

    fn check(&mut self, pause: Duration) -> Result<(), Error> {
        let then = self.core.settings.clock.monotonic().saturating_add(pause);
        if then <= self.deadline() {
            return Ok(());
        }
        Err(Error::WaitTimeout {
            job_id: self.id.clone(),
            timeout: self.timeout,
        })
    }

    fn deadline(&mut self) -> Duration {
        let (core, timeout) = (&self.core, self.timeout);
        let first = || core.settings.clock.monotonic().saturating_add(timeout);
        *self.deadline.get_or_insert_with(first)
    }
}

/// What came of reading on.
enum Read {
    More,
    /// The connection ended.
    End,
    /// The server has no more to tell.
    Over,
}

/// What a job's event says; none of a kind that this version does not know.
fn understood(event: &Event) -> Option<JobEvent> {
    let kind = match event.kind.as_str() {
        "status" => JobEventKind::Status,
        "progress" => JobEventKind::Progress,
        "end" => JobEventKind::End,
        _ => return None,
    };
    let Ok(Value::Object(data)) = serde_json::from_str(&event.data) else {
        return None;
    };
    let word = |name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
    let progress = data.get("progress").and_then(Value::as_u64);
    Some(JobEvent {
        event: kind,
        status: word("status").map(JobStatus::from).unwrap_or_default(),
        progress: progress
            .and_then(|progress| progress.try_into().ok())
            .unwrap_or(0),
        status_message: word("statusMessage"),
        job: match kind {
            JobEventKind::End => serde_json::from_value(Value::Object(data)).ok(),
            JobEventKind::Status | JobEventKind::Progress => None,
        },
    })
}
