//! OpenAI, and the many servers that speak as it does. README.md beside this file says what of it is used.

mod sent;
mod wire;

use crate::provider::{
    Accepted, Checkup, Context, ErrorKind, Output, Polled, Provider, ProviderError, Receipt,
    Request, Submitted,
};
use crate::providers::{several, task_id};
use crate::upstream::{Answer, Call, Content, LARGE, Purpose, Upstream, word};
use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use sent::Common;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;
use wire::{Told, Video, files, models, tokens};

pub const BASE_URL: &str = "https://api.openai.com/v1";
/// Before the names of videos that are being made.
const VIDEOS: &str = "videos:";
/// Parts several videos of one request.
const NEXT: char = ',';

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Of the vendor itself.
    OpenAi,
    /// Of a server that may know less than the vendor, or more: it gets nothing that its route does not name.
    Compatible,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Generate,
    Edit,
    Speak,
    Film,
}

impl Operation {
    const fn of(request: &Request) -> Self {
        match (request.kind, request.action) {
            (MediaKind::Image, Action::Generate) => Self::Generate,
            (MediaKind::Image, Action::Edit) => Self::Edit,
            (MediaKind::Audio, _) => Self::Speak,
            (MediaKind::Video, _) => Self::Film,
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Generate => "images/generations",
            Self::Edit => "images/edits",
            Self::Speak => "audio/speech",
            Self::Film => "videos",
        }
    }

    const fn has_count(self) -> bool {
        matches!(self, Self::Generate | Self::Edit)
    }
}

#[derive(Debug)]
pub struct OpenAi {
    name: String,
    upstream: Arc<Upstream>,
    dialect: Dialect,
}

impl OpenAi {
    pub fn new(name: impl Into<String>, upstream: Arc<Upstream>) -> Self {
        Self {
            name: name.into(),
            upstream,
            dialect: Dialect::OpenAi,
        }
    }

    /// Another server with the same calls.
    pub fn compatible(name: impl Into<String>, upstream: Arc<Upstream>) -> Self {
        Self {
            dialect: Dialect::Compatible,
            ..Self::new(name, upstream)
        }
    }

    /// One purchase of so many files.
    async fn make(
        &self,
        context: &Context,
        request: &Request,
        count: u32,
    ) -> Result<Submitted, ProviderError> {
        let operation = Operation::of(request);
        let content = self.content(operation, request, count);
        let call = Call::buy(operation.path(), content).at_most(LARGE);
        let answer = self.upstream.call(call).await?;
        let request_id = answer.header("x-request-id").map(str::to_owned);
        context.note(Receipt {
            request_id: request_id.filter(|id| word(id) == *id),
            cost: None,
        });
        if !answer.is_success() {
            return Err(failed(&answer));
        }
        match operation {
            Operation::Speak => spoken(&answer).map(Submitted::Done),
            Operation::Generate | Operation::Edit => {
                self.drawn(context, &answer).map(Submitted::Done)
            }
            Operation::Film => self.filming(&answer),
        }
    }

    fn content(&self, operation: Operation, request: &Request, count: u32) -> Content {
        let is_sent = match self.dialect {
            Dialect::OpenAi => true,
            // One is what everybody makes who is not told.
            Dialect::Compatible => count > 1,
        };
        let common = Common {
            model: &request.model,
            count: (operation.has_count() && is_sent).then_some(count),
        };
        match operation {
            Operation::Edit => sent::edit(request, common),
            Operation::Film if !request.media.is_empty() || is_set(request, "body", "form") => {
                sent::named(request, common)
            }
            Operation::Generate | Operation::Speak | Operation::Film => sent::body(request, common),
        }
    }

    /// What an answer lists, as far as it can be read.
    fn listed(&self, body: &Value) -> Vec<Output> {
        let outputs = files(body).into_iter().filter_map(|file| {
            let told = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
            match (told(file.b64_json), told(file.url)) {
                (Some(text), _) => Output::base64(&text).ok(),
                (None, Some(url)) => self.referred(url.trim()),
                (None, None) => None,
            }
        });
        outputs.collect()
    }

    fn referred(&self, url: &str) -> Option<Output> {
        let is_address = ["/", "http://", "https://"]
            .iter()
            .any(|start| url.starts_with(start));
        match self.upstream.own_file(url) {
            Some(path) if is_address => Some(Output::own(&self.upstream, path)),
            _ => Output::reference(url).ok(),
        }
    }

    fn drawn(&self, context: &Context, answer: &Answer) -> Result<Vec<Output>, ProviderError> {
        let body = answer.json()?;
        if !body.is_object() {
            return Err(answer.not_understood("no object"));
        }
        context.note(Receipt {
            request_id: None,
            cost: tokens(&body).map(|count| format!("{count} tokens")),
        });
        let outputs = self.listed(&body);
        if outputs.is_empty() {
            return Err(nothing(answer, &body));
        }
        Ok(outputs)
    }

    /// A video that was begun, or of a server that answers only when it is there, the video.
    fn filming(&self, answer: &Answer) -> Result<Submitted, ProviderError> {
        let body = answer.json()?;
        let outputs = self.listed(&body);
        if !outputs.is_empty() {
            return Ok(Submitted::Done(outputs));
        }
        let id = body
            .get("id")
            .and_then(Value::as_str)
            .and_then(task_id::piece);
        match id {
            Some(id) => Ok(Submitted::Accepted(id)),
            None if Told::of(&body).is_some() => Err(nothing(answer, &body)),
            None => Err(answer.not_understood("no id")),
        }
    }

    /// The video when it is done.
    async fn look(&self, id: &str) -> Result<Polled, ProviderError> {
        let place = format!("videos/{id}");
        let call = Call::get(&place).at_most(LARGE);
        let answer = self.upstream.call(call).await?;
        if answer.status == 404 {
            return Err(answer.failure(ErrorKind::TaskGone, Accepted::Yes, ""));
        }
        if !answer.is_success() {
            return Err(failed(&answer));
        }
        let body = answer.json()?;
        let video = Video::deserialize(&body).map_err(|_| answer.not_understood("no status"))?;
        match video.status.as_str() {
            "failed" => Err(ended(nothing(&answer, &body))),
            "completed" => {
                let outputs = self.listed(&body);
                if outputs.is_empty() {
                    self.stored(&format!("{place}/content")).await
                } else {
                    Ok(Polled::Done(outputs))
                }
            }
            _ => Ok(Polled::Pending {
                progress: video.progress(),
            }),
        }
    }

    async fn stored(&self, path: &str) -> Result<Polled, ProviderError> {
        let Some(place) = self.upstream.moved(path).await? else {
            return Ok(Polled::Done(vec![Output::own(&self.upstream, path)]));
        };
        match self.referred(&place) {
            Some(output) => Ok(Polled::Done(vec![output])),
            None => Err(ProviderError::new(
                ErrorKind::NoOutput,
                Accepted::Yes,
                "the video is nowhere",
            )),
        }
    }
}

#[async_trait]
impl Provider for OpenAi {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_repeatable(&self) -> bool {
        false
    }

    async fn submit(
        &self,
        context: &Context,
        mut request: Request,
    ) -> Result<Submitted, ProviderError> {
        if self.dialect == Dialect::OpenAi {
            match Operation::of(&request) {
                Operation::Film => {
                    let (kind, detail) = (ErrorKind::InvalidRequest, "it makes no videos");
                    return Err(ProviderError::new(kind, Accepted::No, detail));
                }
                Operation::Generate | Operation::Edit => {
                    // Refused by its models for images, which answer in one way only.
                    request.input.shift_remove("response_format");
                }
                Operation::Speak => {}
            }
        }
        let wanted = request.outputs.max(1);
        // A model that makes one file a call is called once for each.
        let (calls, count) = if is_set(&request, "calls", "one_each") {
            (wanted, 1)
        } else {
            (1, wanted)
        };
        let buy = || self.make(context, &request, count);
        let (mut made, mut begun) = (Vec::new(), Vec::new());
        for submitted in several::buy(context, calls, buy).await? {
            match submitted {
                Submitted::Done(outputs) => made.extend(outputs),
                Submitted::Accepted(id) => begun.push(id),
            }
        }
        if begun.is_empty() {
            return Ok(Submitted::Done(made));
        }
        let begun = begun.join(&NEXT.to_string());
        Ok(Submitted::Accepted(format!("{VIDEOS}{begun}")))
    }

    async fn poll(&self, _context: &Context, task: &str) -> Result<Polled, ProviderError> {
        let ids = ids(task)?;
        several::poll(&ids, |id| self.look(id)).await
    }

    async fn cancel(&self, task: &str) {
        for id in ids(task).unwrap_or_default() {
            let call = Call::new(Method::DELETE, format!("videos/{id}"), Purpose::Ask);
            // It may have ended, or the server may not take it: nobody will ask for it.
            let _too_late = self.upstream.call(call).await;
        }
    }

    async fn check(&self) -> Result<Checkup, ProviderError> {
        let answer = self.upstream.call(Call::get("models")).await?;
        if self.dialect == Dialect::Compatible && matches!(answer.status, 404 | 405) {
            let note = "it has no list of models, so that nothing shows whether the key is taken";
            return Ok(Checkup {
                note: Some(note.to_owned()),
                models: None,
            });
        }
        if !answer.is_success() {
            return Err(failed(&answer));
        }
        let body = answer.json()?;
        match models(&body) {
            Some(models) => Ok(Checkup {
                note: None,
                models: Some(models),
            }),
            None if Told::of(&body).is_some() => Err(nothing(&answer, &body)),
            None => Err(answer.not_understood("no list of models")),
        }
    }
}

fn is_set(request: &Request, setting: &str, to: &str) -> bool {
    request.settings.get(setting).and_then(Value::as_str) == Some(to)
}

/// The videos of a task, each as a piece of a path.
fn ids(task: &str) -> Result<Vec<&str>, ProviderError> {
    task_id::pieces(task.strip_prefix(VIDEOS).unwrap_or_default(), NEXT)
}

/// The answer to speech is the file itself.
fn spoken(answer: &Answer) -> Result<Vec<Output>, ProviderError> {
    let media_type = answer.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    let media_type = media_type.to_ascii_lowercase();
    if media_type.starts_with("application/json") || media_type.starts_with("text/") {
        return Err(match answer.body() {
            Some(body) if Told::of(&body).is_some() => nothing(answer, &body),
            _ => answer.not_understood("no audio"),
        });
    }
    if answer.bytes.is_empty() {
        return Err(answer.failure(ErrorKind::NoOutput, Accepted::Yes, ""));
    }
    Ok(vec![Output::bytes(answer.bytes.clone(), None)])
}

/// A failure by its code, and otherwise by its status.
fn failed(answer: &Answer) -> ProviderError {
    let Some(told) = answer.body().as_ref().and_then(Told::of) else {
        return answer.failure_by_status(false, "");
    };
    match told.kind() {
        Some(kind) => answer.failure(kind, Accepted::No, &told.word()),
        // Of a gateway, also where it borrows the shape.
        None => answer.failure_by_status(!matches!(answer.status, 502 | 504), &told.word()),
    }
}

/// A success by its status without a file.
fn nothing(answer: &Answer, body: &Value) -> ProviderError {
    let told = Told::of(body).unwrap_or_default();
    let shown = told.word();
    match (told.kind(), told.status()) {
        (Some(kind @ ErrorKind::RateLimited), _) => answer.failure(kind, Accepted::No, &shown),
        (Some(kind), _) => answer.failure(kind, Accepted::Yes, &shown),
        (None, Some(status)) => {
            let mut meant = answer.clone();
            meant.status = status;
            meant.failure_by_status(false, &shown)
        }
        (None, None) => answer.failure(ErrorKind::NoOutput, Accepted::Yes, &shown),
    }
}

/// The failure of a video that had been begun: nothing more will come of it.
fn ended(error: ProviderError) -> ProviderError {
    let kind = if error.is_of_the_poll() {
        ErrorKind::NoOutput
    } else {
        error.kind
    };
    ProviderError {
        kind,
        accepted: Accepted::Yes,
        ..error
    }
}
