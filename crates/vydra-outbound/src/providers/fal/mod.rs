//! fal: one queue before a great many models. README.md beside this file says what of it is used.

mod wire;

use crate::provider::{
    Accepted, Checkup, Context, ErrorKind, Output, Polled, Provider, ProviderError, Receipt,
    Request, Submitted,
};
use crate::providers::{several, task_id};
use crate::upstream::{Answer, Call, Content, Purpose, Upstream, word};
use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use wire::{Failed, Queued, Status, files, is_refused};

pub const BASE_URL: &str = "https://queue.fal.run";
/// Parts a task's place from its id: an endpoint's name has none.
const PARTED: char = '#';
/// Parts several tasks of one request.
const NEXT: char = ',';

#[derive(Debug)]
pub struct Fal {
    name: String,
    upstream: Arc<Upstream>,
}

impl Fal {
    pub fn new(name: impl Into<String>, upstream: Arc<Upstream>) -> Self {
        Self {
            name: name.into(),
            upstream,
        }
    }

    async fn queue(
        &self,
        context: &Context,
        path: &str,
        body: Value,
    ) -> Result<String, ProviderError> {
        let call = Call::buy(path, Content::Json(body))
            // Otherwise it asks its own runners again, up to ten times, and each try takes its time.
            .header("x-fal-no-retry", "1")
            .header(
                "x-fal-request-timeout",
                context.time_left.as_secs().max(2).to_string(),
            );
        let answer = self.upstream.call(call).await?;
        if !answer.is_success() {
            return Err(failed(&answer));
        }
        let queued = Queued::deserialize(answer.json()?)
            .map_err(|_| answer.not_understood("no request_id"))?;
        context.note(Receipt {
            request_id: Some(word(&queued.request_id)),
            cost: None,
        });
        task_id::piece(&queued.request_id).ok_or_else(|| answer.not_understood("no request_id"))
    }

    /// Its files when it is done.
    async fn look(&self, task: &str) -> Result<Polled, ProviderError> {
        let (app, id) = parted(task)?;
        let place = format!("{app}/requests/{id}");
        let answer = self
            .upstream
            .call(Call::get(format!("{place}/status")))
            .await?;
        if answer.status == 404 {
            return Err(answer.failure(ErrorKind::TaskGone, Accepted::Yes, ""));
        }
        if !answer.is_success() {
            return Err(failed(&answer));
        }
        let status =
            Status::deserialize(answer.json()?).map_err(|_| answer.not_understood("no status"))?;
        // There is no word for a failure; whether it is one, the result says.
        if status.status != "COMPLETED" {
            return Ok(Polled::Pending { progress: None });
        }
        let answer = self.upstream.call(Call::get(place)).await?;
        if !answer.is_success() {
            let error = failed(&answer).of_a_task();
            let (kind, accepted) = match error.kind {
                // The model ran and broke down: nothing more will come of this task. What a gateway says is not about it.
                ErrorKind::Unavailable | ErrorKind::Unknown if is_of_fal(&answer) => {
                    (ErrorKind::NoOutput, Accepted::Yes)
                }
                other => (other, error.accepted),
            };
            return Err(ProviderError {
                kind,
                accepted,
                ..error
            });
        }
        outputs(&answer.json()?).map(Polled::Done)
    }
}

#[async_trait]
impl Provider for Fal {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_repeatable(&self) -> bool {
        false
    }

    async fn submit(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<Submitted, ProviderError> {
        let mut body = request.body(|media| json!(media.data_uri()));
        let path = request.model.trim_matches('/').to_owned();
        let app = app(&path);
        // A model that makes one file a call is called once for each.
        let setting = |name: &str| request.settings.get(name).and_then(Value::as_str);
        let calls = if setting("calls") == Some("one_each") {
            request.outputs
        } else {
            if let Some(field) = setting("count_field") {
                body.insert(field.to_owned(), json!(request.outputs));
            }
            1
        };
        let body = Value::Object(body);
        let buy = || self.queue(context, &path, body.clone());
        let ids = several::buy(context, calls, buy).await?;
        let tasks: Vec<String> = ids.iter().map(|id| format!("{app}{PARTED}{id}")).collect();
        Ok(Submitted::Accepted(tasks.join(&NEXT.to_string())))
    }

    async fn poll(&self, _context: &Context, task: &str) -> Result<Polled, ProviderError> {
        let tasks: Vec<&str> = task.split(NEXT).collect();
        several::poll(&tasks, |task| self.look(task)).await
    }

    async fn cancel(&self, task: &str) {
        for task in task.split(NEXT) {
            let Ok((app, id)) = parted(task) else {
                continue;
            };
            let path = format!("{app}/requests/{id}/cancel");
            // 400: it had ended. 202: it may still end, and nobody will ask for it.
            let _too_late = self
                .upstream
                .call(Call::new(Method::PUT, path, Purpose::Ask))
                .await;
        }
    }

    /// There is no call that costs nothing and needs a key but the status of a request, which nobody has made.
    async fn check(&self) -> Result<Checkup, ProviderError> {
        let path = "fal-ai/flux/requests/00000000-0000-0000-0000-000000000000/status";
        let answer = self.upstream.call(Call::get(path)).await?;
        match answer.status {
            401 | 403 => Err(failed(&answer)),
            200..=499 => Ok(Checkup::default()),
            _ => Err(failed(&answer)),
        }
    }
}

/// Follow-up calls bear the owner and the app, and nothing behind them.
fn app(path: &str) -> String {
    path.split('/').take(2).collect::<Vec<_>>().join("/")
}

fn parted(task: &str) -> Result<(&str, &str), ProviderError> {
    task.split_once(PARTED)
        .filter(|(_, id)| task_id::is_piece(id))
        .ok_or_else(task_id::not_ours)
}

fn outputs(result: &Value) -> Result<Vec<Output>, ProviderError> {
    let files = files(result);
    let of_policy =
        |error: &str| ProviderError::new(ErrorKind::ContentRefused, Accepted::Yes, error);
    let count = files.len();
    let outputs: Vec<Output> = files
        .into_iter()
        .filter(|(number, _)| !is_refused(result, *number))
        .filter_map(|(_, url)| Output::reference(&url).ok())
        .collect();
    if outputs.is_empty() && (0..count).any(|number| is_refused(result, number)) {
        return Err(of_policy("every file is blacked out"));
    }
    if outputs.is_empty() {
        let detail = "a result without a file";
        return Err(ProviderError::new(
            ErrorKind::NoOutput,
            Accepted::Yes,
            detail,
        ));
    }
    Ok(outputs)
}

fn is_of_fal(answer: &Answer) -> bool {
    let is_error = |body| Failed::deserialize(body).is_ok();
    answer.header("x-fal-error-type").is_some() || answer.body().is_some_and(is_error)
}

/// A model's errors by their types, the queue's by its own, and all others by their status.
fn failed(answer: &Answer) -> ProviderError {
    let Some(failed) = answer
        .body()
        .and_then(|body| Failed::deserialize(body).ok())
    else {
        return answer.failure_by_status(false, "");
    };
    for error in failed.model_errors() {
        if let Some(kind) = model_error(&error.kind) {
            return answer.failure(kind, Accepted::No, &error.kind);
        }
    }
    let of_queue = failed
        .error_type
        .as_deref()
        .or_else(|| answer.header("x-fal-error-type"))
        .unwrap_or_default();
    if answer.status == 504 && answer.header("x-fal-request-timeout-type") == Some("user") {
        return answer.failure(ErrorKind::Expired, Accepted::No, of_queue);
    }
    let text = failed
        .detail
        .as_str()
        .unwrap_or_default()
        .to_ascii_lowercase();
    if answer.status == 403
        && ["exhausted", "locked", "balance"]
            .iter()
            .any(|word| text.contains(word))
    {
        return answer.failure(ErrorKind::QuotaExhausted, Accepted::No, "balance");
    }
    match of_queue {
        "client_disconnected" | "client_cancelled" => {
            answer.failure(ErrorKind::Cancelled, Accepted::Yes, of_queue)
        }
        "bad_request" => answer.failure(ErrorKind::InvalidRequest, Accepted::No, of_queue),
        "request_timeout"
        | "startup_timeout"
        | "runner_scheduling_failure"
        | "runner_disconnected"
        | "runner_incomplete_response"
        | "runner_server_error"
        | "internal_error" => answer.failure(ErrorKind::Unavailable, Accepted::No, of_queue),
        other if other.starts_with("runner_connection_") => {
            answer.failure(ErrorKind::Unavailable, Accepted::No, of_queue)
        }
        other => answer.failure_by_status(true, &word(other)),
    }
}

fn model_error(kind: &str) -> Option<ErrorKind> {
    Some(match kind {
        "content_policy_violation" => ErrorKind::ContentRefused,
        "file_download_error" | "image_load_error" => ErrorKind::InputUnreadable,
        "no_media_generated" => ErrorKind::NoOutput,
        "generation_timeout"
        | "downstream_service_error"
        | "downstream_service_unavailable"
        | "internal_server_error" => ErrorKind::Unavailable,
        "image_too_large" | "image_too_small" | "file_too_large" | "missing" => {
            ErrorKind::InvalidRequest
        }
        other
            if other.starts_with("unsupported_")
                || other.ends_with("_value")
                || other.starts_with("value_error") =>
        {
            ErrorKind::InvalidRequest
        }
        _ => return None,
    })
}
