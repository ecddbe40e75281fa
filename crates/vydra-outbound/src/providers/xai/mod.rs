//! xAI: Grok Imagine, which answers with images and makes videos as tasks. README.md beside this file says what of it is used.

mod wire;

use crate::provider::{
    Accepted, Checkup, Context, ErrorKind, Listed, Output, Polled, Provider, ProviderError,
    Receipt, Request, Submitted,
};
use crate::providers::task_id;
use crate::upstream::{Answer, Call, Content, LARGE, Upstream, word};
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use vydra_core::asset::MediaKind;
use wire::{Images, Stand};

pub const BASE_URL: &str = "https://api.x.ai/v1";
/// Before the name of a video's task.
const VIDEO: &str = "video:";
/// What can be done below `videos/`, as a route's `call` names it.
const VIDEO_CALLS: [&str; 3] = ["generations", "edits", "extensions"];
/// The lists that tell aliases, too.
const LISTS: [&str; 2] = ["image-generation-models", "video-generation-models"];

/// A failure that its status does not tell, and by which pieces of its text it is known.
struct Told {
    statuses: &'static [u16],
    texts: &'static [&'static str],
    kind: ErrorKind,
}

const TOLD: [Told; 3] = [
    Told {
        statuses: &[400, 403, 422],
        texts: REFUSALS,
        kind: ErrorKind::ContentRefused,
    },
    Told {
        statuses: &[402, 403, 429],
        texts: &["all available credits", "any credits", "spending limit"],
        kind: ErrorKind::QuotaExhausted,
    },
    Told {
        statuses: &[400, 401, 403],
        texts: &["api key"],
        kind: ErrorKind::Auth,
    },
];

/// In small letters.
const REFUSALS: &[&str] = &[
    "moderation",
    "content policy",
    "usage guidelines",
    "safety check",
    "safety_check",
];

#[derive(Debug)]
pub struct Xai {
    name: String,
    upstream: Arc<Upstream>,
}

impl Xai {
    pub fn new(name: impl Into<String>, upstream: Arc<Upstream>) -> Self {
        Self {
            name: name.into(),
            upstream,
        }
    }

    async fn image(
        &self,
        context: &Context,
        mut request: Request,
    ) -> Result<Vec<Output>, ProviderError> {
        let path = if request.media.is_empty() {
            "images/generations"
        } else {
            "images/edits"
        };
        place_images(&mut request);
        let mut body = request.body(|media| json!({"url": media.data_uri(), "type": "image_url"}));
        body.insert("model".to_owned(), json!(request.model));
        body.insert("n".to_owned(), json!(request.outputs));
        // A file that was paid for is there with the answer; an address would have to be read within its time.
        body.entry("response_format")
            .or_insert_with(|| json!("b64_json"));
        let answer = self.buy(path, body).await?;
        let images = Images::read(&answer.json()?)
            .ok_or_else(|| answer.not_understood("no list of images"))?;
        context.note(Receipt {
            request_id: answer.header("x-request-id").map(word),
            cost: images.cost,
        });
        made(images.files, images.refused)
    }

    async fn video(
        &self,
        context: &Context,
        mut request: Request,
    ) -> Result<String, ProviderError> {
        let path = video_path(&request)?;
        place_starts(&mut request);
        let mut body = request.body(|media| json!({"url": media.data_uri()}));
        body.insert("model".to_owned(), json!(request.model));
        let answer = self.buy(&path, body).await?;
        let id = wire::request_id(&answer.json()?)
            .ok_or_else(|| answer.not_understood("no request_id"))?;
        context.note(Receipt {
            request_id: Some(id.clone()),
            cost: None,
        });
        Ok(format!("{VIDEO}{id}"))
    }

    async fn buy(&self, path: &str, body: Map<String, Value>) -> Result<Answer, ProviderError> {
        let call = Call::buy(path, Content::Json(Value::Object(body))).at_most(LARGE);
        let answer = self.upstream.call(call).await?;
        if answer.is_success() {
            Ok(answer)
        } else {
            Err(failed(&answer))
        }
    }
}

#[async_trait]
impl Provider for Xai {
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
        match request.kind {
            MediaKind::Image => self.image(context, request).await.map(Submitted::Done),
            MediaKind::Video => self.video(context, request).await.map(Submitted::Accepted),
            MediaKind::Audio => Err(not_possible("only images and videos are made here")),
        }
    }

    async fn poll(&self, context: &Context, task: &str) -> Result<Polled, ProviderError> {
        let id = task
            .strip_prefix(VIDEO)
            .filter(|id| task_id::is_piece(id))
            .ok_or_else(task_id::not_ours)?;
        let answer = self
            .upstream
            .call(Call::get(format!("videos/{id}")))
            .await?;
        match answer.status {
            // Often without a body.
            202 => {
                let progress = answer.body().as_ref().and_then(wire::progress);
                return Ok(Polled::Pending { progress });
            }
            404 | 410 => return Err(answer.failure(ErrorKind::TaskGone, Accepted::Yes, "")),
            _ if !answer.is_success() => return Err(failed(&answer).of_a_task()),
            _ => {}
        }
        let body = answer.json()?;
        let stand = Stand::read(&body).ok_or_else(|| answer.not_understood("no status"))?;
        if !matches!(stand, Stand::Running(_)) {
            context.note(Receipt {
                request_id: None,
                cost: wire::cost(&body),
            });
        }
        match stand {
            Stand::Running(progress) => Ok(Polled::Pending { progress }),
            Stand::Done { file, is_refused } => {
                made(file.into_iter().collect(), is_refused).map(Polled::Done)
            }
            Stand::Failed { code, message } => {
                let kind = task_failure(&code, &message);
                Err(answer.failure(kind, Accepted::Yes, &code))
            }
            Stand::Expired => Err(answer.failure(ErrorKind::Expired, Accepted::Yes, "expired")),
        }
    }

    /// There is no such call.
    async fn cancel(&self, _task: &str) {}

    async fn check(&self) -> Result<Checkup, ProviderError> {
        let answer = self.upstream.call(Call::get("models")).await?;
        if !answer.is_success() {
            return Err(failed(&answer));
        }
        let mut names = wire::listed(&answer.json()?);
        for list in LISTS {
            let answer = self.upstream.call(Call::get(list)).await?;
            if !answer.is_success() {
                // A list without aliases would miss what can be called.
                return Ok(Checkup::default());
            }
            names.extend(wire::listed(&answer.json()?));
        }
        let models: BTreeMap<String, Listed> = names
            .into_iter()
            .map(|name| (name, Listed::default()))
            .collect();
        Ok(Checkup {
            note: None,
            models: Some(models),
        })
    }
}

fn not_possible(detail: &str) -> ProviderError {
    ProviderError::new(ErrorKind::InvalidRequest, Accepted::No, detail)
}

/// One image goes by one name, several by another, whatever the route calls them.
fn place_images(request: &mut Request) {
    let is_plain = |field: &str| matches!(field, "image" | "images");
    let images = request.media.iter();
    let is_alone = images.filter(|media| is_plain(&media.field)).count() == 1;
    let name = if is_alone { "image" } else { "images" };
    for media in &mut request.media {
        if is_plain(&media.field) {
            name.clone_into(&mut media.field);
            media.listed = !is_alone;
        }
    }
}

/// A video starts from one file, also where we have a list of one.
fn place_starts(request: &mut Request) {
    for start in ["image", "video"] {
        let files = request.media.iter();
        if files.filter(|media| media.field == start).count() == 1 {
            for media in &mut request.media {
                media.listed &= media.field != start;
            }
        }
    }
}

fn video_path(request: &Request) -> Result<String, ProviderError> {
    let call = match request.settings.get("call") {
        Some(call) => call.as_str().unwrap_or_default(),
        None if request.media.iter().any(|media| media.field == "video") => "edits",
        None => "generations",
    };
    if VIDEO_CALLS.contains(&call) {
        Ok(format!("videos/{call}"))
    } else {
        Err(not_possible("the route names a call that is none"))
    }
}

fn made(files: Vec<Output>, is_refused: bool) -> Result<Vec<Output>, ProviderError> {
    if !files.is_empty() {
        return Ok(files);
    }
    let (kind, detail) = if is_refused {
        (ErrorKind::ContentRefused, "what was made is held back")
    } else {
        (ErrorKind::NoOutput, "an answer without a file")
    };
    Err(ProviderError::new(kind, Accepted::Yes, detail))
}

fn failed(answer: &Answer) -> ProviderError {
    let Some((code, message)) = answer.body().as_ref().and_then(wire::error) else {
        return answer.failure_by_status(false, "");
    };
    let text = format!("{code} {message}").to_ascii_lowercase();
    let known = TOLD.iter().find(|told| {
        told.statuses.contains(&answer.status) && told.texts.iter().any(|part| text.contains(part))
    });
    match known {
        Some(told) => answer.failure(told.kind, Accepted::No, &code),
        None => answer.failure_by_status(true, &code),
    }
}

/// A breakdown of theirs is no trouble of the question: nothing more will come of this task.
fn task_failure(code: &str, message: &str) -> ErrorKind {
    let text = format!("{code} {message}").to_ascii_lowercase();
    if REFUSALS.iter().any(|part| text.contains(part)) {
        return ErrorKind::ContentRefused;
    }
    match code.replace('-', "_").as_str() {
        "invalid_argument" => ErrorKind::InvalidRequest,
        _ => ErrorKind::NoOutput,
    }
}
