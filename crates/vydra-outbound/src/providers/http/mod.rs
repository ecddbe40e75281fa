//! Any server with an HTTP interface, described in the catalogue alone. README.md beside this file says how.

mod answers;
mod description;
mod settings;
mod template;

use crate::provider::{
    Accepted, Checkup, Context, ErrorKind, Polled, Provider, ProviderError, Request, Submitted,
};
use crate::providers::task_id;
use crate::upstream::{Answer, Call, Content, LARGE, Purpose, SMALL, Upstream, segment};
use async_trait::async_trait;
use description::{Follow, Writing};
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub use description::Description;

/// Of what a server calls a task.
const LONGEST_ID: usize = 512;

#[derive(Debug)]
pub struct Http {
    name: String,
    upstream: Arc<Upstream>,
    check: Option<String>,
}

/// What a task is called in the store. The part of its description that is still needed goes along: the task can be asked for
/// after a restart, and also when the catalogue describes its route otherwise or not at all by then.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskName {
    id: String,
    settings: Map<String, Value>,
}

impl Http {
    /// `check` is the path of a call that costs nothing and needs the key.
    pub fn new(name: impl Into<String>, upstream: Arc<Upstream>, check: Option<String>) -> Self {
        Self {
            name: name.into(),
            upstream,
            check,
        }
    }
}

#[async_trait]
impl Provider for Http {
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
        let description = Description::read(&request.settings).map_err(|why| refused(&why))?;
        let call = call(&description, &request)?;
        let follow = &description.follow;
        let answer = self.upstream.call(call).await?;
        if !answer.is_success() {
            return Err(follow.failed(&answer));
        }
        let told = answer.json()?;
        context.note(follow.receipt(&answer, &told));
        follow.not_ended_badly(&answer, &told)?;
        let Some(task) = &follow.task else {
            return follow
                .outputs(&self.upstream, &answer, &told)
                .map(Submitted::Done);
        };
        let id = told.pointer(&task.id).and_then(answers::plain);
        let Some(id) = id.filter(|id| is_id(id)) else {
            return Err(match follow.known_error(&told) {
                Some((kind, code)) => answer.failure(kind, answers::accepted(kind), &code),
                None => answer.not_understood("no name of a task"),
            });
        };
        let name = TaskName {
            id,
            settings: description.following,
        };
        Ok(Submitted::Accepted(json!(name).to_string()))
    }

    async fn poll(&self, context: &Context, task: &str) -> Result<Polled, ProviderError> {
        let (id, follow) = named(task)?;
        let paths = follow.task.as_ref().ok_or_else(task_id::not_ours)?;
        let call = Call::get(placed(&paths.poll, &id)?).at_most(LARGE);
        let answer = self.upstream.call(call).await?;
        if !answer.is_success() {
            return Err(follow.poll_failed(&answer));
        }
        let told = answer.json()?;
        context.note(follow.receipt(&answer, &told));
        follow.not_ended_badly(&answer, &told)?;
        if follow.is_done(&answer, &told)? {
            return follow
                .outputs(&self.upstream, &answer, &told)
                .map(Polled::Done);
        }
        Ok(Polled::Pending {
            progress: follow.progress(&told),
        })
    }

    async fn cancel(&self, task: &str) {
        let Ok((id, follow)) = named(task) else {
            return;
        };
        let Some((method, path)) = follow.task.and_then(|task| task.cancel) else {
            return;
        };
        let Ok(path) = placed(&path, &id) else {
            return;
        };
        // Too late or not: nobody asks for it any more.
        let _answer = self
            .upstream
            .call(Call::new(method, path, Purpose::Ask))
            .await;
    }

    /// Without a path for it, only a refusal of the key shows anything of the key.
    async fn check(&self) -> Result<Checkup, ProviderError> {
        let path = self.check.as_deref().unwrap_or_default();
        let answer = self.upstream.call(Call::get(path)).await?;
        let is_well = match &self.check {
            Some(_) => answer.is_success(),
            None => answer.status < 500 && !matches!(answer.status, 401 | 403),
        };
        if is_well {
            Ok(Checkup::default())
        } else {
            Err(answer.failure_by_status(true, ""))
        }
    }
}

fn refused(why: &str) -> ProviderError {
    ProviderError::new(ErrorKind::InvalidRequest, Accepted::No, why)
}

fn call(description: &Description, request: &Request) -> Result<Call, ProviderError> {
    let body = request.body(|media| {
        json!(match description.media {
            Writing::DataUri => media.data_uri(),
            Writing::Base64 => media.base64(),
        })
    });
    let mut values = body.clone();
    for (name, value) in [
        ("$job", json!(request.job)),
        ("$model", json!(request.model)),
        ("$outputs", json!(request.outputs)),
    ] {
        values.insert(name.to_owned(), value);
    }
    let content = match &description.body {
        _ if description.method == Method::GET => Content::None,
        None => Content::Json(Value::Object(body)),
        Some(template) => {
            let body = template::filled(template, &values);
            Content::Json(body.unwrap_or(Value::Null))
        }
    };
    let path = template::text(&description.path, &values, piece)
        .ok_or_else(|| refused("a field of settings.path is missing"))?;
    let mut call = Call::new(description.method.clone(), path, Purpose::Buy).with(content);
    for (name, template) in &description.headers {
        let as_is = |text: &str| Some(text.to_owned());
        let Some(text) = template::text(template, &values, as_is) else {
            continue;
        };
        let value = HeaderValue::from_str(&text)
            .map_err(|_| refused("a field of settings.headers that no header can carry"))?;
        call = call.named_header(name.clone(), value);
    }
    Ok(match description.follow.task {
        Some(_) => call.at_most(SMALL),
        None => call.at_most(LARGE),
    })
}

/// A value as one piece of a path; dots alone would lead elsewhere.
fn piece(value: &str) -> Option<String> {
    (!matches!(value, "" | "." | "..")).then(|| segment(value))
}

fn is_id(id: &str) -> bool {
    id.len() <= LONGEST_ID && piece(id).is_some()
}

fn placed(template: &str, id: &str) -> Result<String, ProviderError> {
    let values = Map::from_iter([("id".to_owned(), json!(id))]);
    template::text(template, &values, piece).ok_or_else(task_id::not_ours)
}

fn named(task: &str) -> Result<(String, Follow), ProviderError> {
    let name: TaskName = serde_json::from_str(task).map_err(|_| task_id::not_ours())?;
    let follow = Follow::read(&name.settings).map_err(|_| task_id::not_ours())?;
    if !is_id(&name.id) {
        return Err(task_id::not_ours());
    }
    Ok((name.id, follow))
}

impl Follow {
    /// Why a question about a task was not answered.
    fn poll_failed(&self, answer: &Answer) -> ProviderError {
        if matches!(answer.status, 404 | 410) {
            return answer.failure(ErrorKind::TaskGone, Accepted::Yes, "");
        }
        self.failed(answer).of_a_task()
    }
}
