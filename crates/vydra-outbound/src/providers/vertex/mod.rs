//! Veo on Vertex AI: an operation that is asked for until it is done. README.md beside this file says what of it is used.

mod key;
mod token;
mod wire;

use super::{google, task_id};
use crate::provider::{
    Accepted, Checkup, Context, ErrorKind, Output, Polled, Provider, ProviderError, Receipt,
    Request, Submitted,
};
use crate::request::MediaInput;
use crate::upstream::{Answer, Call, Content, LARGE, Purpose, Upstream, segment};
use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use token::Tokens;
use vydra_core::time::Clock;
use wire::{File, Operation};

pub use key::{Key, KeyError, ServiceAccount};

/// Where all models are offered.
pub const REGION: &str = "us-central1";
/// Below a project and a region, where all calls are.
const MODELS: &str = "publishers/google/models";
/// Parts the model of a task from the name of its operation.
const PARTED: char = '#';
/// In the name of every operation.
const OPERATION: &str = "/operations/";
/// Theirs have some hundred characters. What is longer is none, and would be written down with the job.
const LONGEST_OPERATION: usize = 1024;

/// The address of a project in a region.
pub fn base_url(project: &str, region: &str) -> String {
    let (project, place) = (segment(project), segment(region));
    format!("https://{place}-aiplatform.googleapis.com/v1/projects/{project}/locations/{place}")
}

#[derive(Debug)]
pub struct Vertex {
    name: String,
    upstream: Arc<Upstream>,
    tokens: Tokens,
}

impl Vertex {
    /// The upstream is that of a project in a region, with [`crate::upstream::Credential::None`].
    pub fn new(
        name: impl Into<String>,
        upstream: Arc<Upstream>,
        key: Key,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            name: name.into(),
            upstream,
            tokens: Tokens::new(key, clock),
        }
    }

    async fn call(&self, make: impl Fn() -> Call + Send + Sync) -> Result<Answer, ProviderError> {
        let token = self.tokens.token().await?;
        let answer = self.upstream.call(make().bearer(&token)).await?;
        if answer.status != 401 || !self.tokens.forget(&token).await {
            return Ok(answer);
        }
        // Nothing was done for a token that is not taken any more; another may be.
        let token = self.tokens.token().await?;
        self.upstream.call(make().bearer(&token)).await
    }
}

#[async_trait]
impl Provider for Vertex {
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
        let body = body(&request)?;
        let model = segment(&request.model);
        let path = format!("{MODELS}/{model}:predictLongRunning");
        let answer = self
            .call(|| Call::buy(path.as_str(), Content::Json(body.clone())))
            .await?;
        if !answer.is_success() {
            return Err(google::failed(&answer));
        }
        let operation = google::text(&answer.json()?, "name").unwrap_or_default();
        let Some((_, id)) = operation
            .rsplit_once(OPERATION)
            .filter(|_| operation.len() <= LONGEST_OPERATION)
        else {
            return Err(answer.not_understood("no operation"));
        };
        context.note(Receipt {
            request_id: Some(id.to_owned()),
            cost: None,
        });
        Ok(Submitted::Accepted(format!("{model}{PARTED}{operation}")))
    }

    async fn poll(&self, _context: &Context, task: &str) -> Result<Polled, ProviderError> {
        let (model, operation) = parted(task)?;
        let path = format!("{MODELS}/{model}:fetchPredictOperation");
        let answer = self
            .call(|| {
                Call::new(Method::POST, path.as_str(), Purpose::Ask)
                    .with(Content::Json(json!({"operationName": operation})))
                    .at_most(LARGE)
            })
            .await?;
        if answer.status == 404 {
            return Err(answer.failure(ErrorKind::TaskGone, Accepted::Yes, ""));
        }
        if !answer.is_success() {
            return Err(google::failed(&answer).of_a_task());
        }
        let operation =
            Operation::read(&answer.json()?).ok_or_else(|| answer.not_understood("no object"))?;
        match operation {
            Operation::Running => Ok(Polled::Pending { progress: None }),
            Operation::Failed { code, kind } => {
                let detail = format!("the operation failed with code {code}");
                Err(ProviderError::new(kind, Accepted::Yes, detail))
            }
            Operation::Done { files, is_filtered } => outputs(&files, is_filtered),
        }
    }

    /// There is no call for it.
    async fn cancel(&self, _task: &str) {}

    /// A list of the project's own models, which is short, shows its project, region and key. Those of Google are in no list of it.
    async fn check(&self) -> Result<Checkup, ProviderError> {
        let answer = self.call(|| Call::get("models?pageSize=1")).await?;
        if !answer.is_success() {
            return Err(google::failed(&answer));
        }
        answer.json()?;
        let note = self.tokens.is_fixed().then(|| {
            "the key is an access token, which is not taken any more after about an hour".to_owned()
        });
        Ok(Checkup { note, models: None })
    }
}

/// What stands under `parameters` goes there, and all else into the one instance.
fn body(request: &Request) -> Result<Value, ProviderError> {
    let mut instance = request.body(media);
    let mut parameters = google::take_object(&mut instance, "parameters");
    if parameters.contains_key("storageUri") {
        let detail = "with storageUri the files would go where they cannot be read";
        return Err(ProviderError::new(
            ErrorKind::InvalidRequest,
            Accepted::No,
            detail,
        ));
    }
    parameters.insert("sampleCount".to_owned(), json!(request.outputs.max(1)));
    Ok(json!({"instances": [instance], "parameters": parameters}))
}

fn media(media: &MediaInput) -> Value {
    let file = json!({"bytesBase64Encoded": media.base64(), "mimeType": media.media_type});
    match media.field.as_str() {
        "referenceImages" => json!({"image": file, "referenceType": "asset"}),
        _ => file,
    }
}

/// The model, as one piece of a path, and the name of the operation, which is sent in a body.
fn parted(task: &str) -> Result<(&str, &str), ProviderError> {
    task.split_once(PARTED)
        .filter(|(model, operation)| task_id::is_piece(model) && operation.contains(OPERATION))
        .ok_or_else(task_id::not_ours)
}

fn outputs(files: &[File], is_filtered: bool) -> Result<Polled, ProviderError> {
    let read = |file: &File| match file {
        File::Base64(text) => Output::base64(text).ok(),
        File::At(address) => Output::reference(address).ok(),
    };
    let outputs: Vec<Output> = files.iter().filter_map(read).collect();
    if !outputs.is_empty() {
        return Ok(Polled::Done(outputs));
    }
    let (kind, detail) = if is_filtered {
        (ErrorKind::ContentRefused, "every video was filtered out")
    } else {
        (ErrorKind::NoOutput, "an operation without a video")
    };
    Err(ProviderError::new(kind, Accepted::Yes, detail))
}
