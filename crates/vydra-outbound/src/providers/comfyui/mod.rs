//! ComfyUI: a server that runs graphs, which are data of the catalogue. README.md beside this file says what of it is used.

mod graph;
mod wire;

use crate::provider::{
    Accepted, Checkup, Context, ErrorKind, MediaInput, Output, Polled, Provider, ProviderError,
    Receipt, Request, Submitted,
};
use crate::providers::task_id;
use crate::upstream::{Answer, Call, Content, Field, LARGE, Purpose, Upstream, segment};
use async_trait::async_trait;
use graph::{Graph, NEXT, PARTED, prompt_id};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use wire::{End, Ended, File, Queue, Queued, Uploaded, rejection};

/// Where it listens unless it is told otherwise.
pub const BASE_URL: &str = "http://127.0.0.1:8188";
/// How long a poll listens for progress.
const LISTEN: Duration = Duration::from_millis(800);
/// Of the server's folder for inputs.
const FOLDER: &str = "vydra";
/// What a node raises by the name of the exception, where that says more than that it failed.
const RAISED: [(&str, ErrorKind); 1] = [("UnidentifiedImageError", ErrorKind::InputUnreadable)];

#[derive(Debug)]
pub struct ComfyUi {
    name: String,
    upstream: Arc<Upstream>,
}

/// How a graph stands.
#[derive(Debug)]
enum Standing {
    Waits,
    Runs,
    Ended(Ended),
    /// The server has never heard of it, or has forgotten it at a restart.
    Unknown,
}

impl ComfyUi {
    pub fn new(name: impl Into<String>, upstream: Arc<Upstream>) -> Self {
        Self {
            name: name.into(),
            upstream,
        }
    }

    async fn ask(&self, path: &str) -> Result<Answer, ProviderError> {
        // The queue bears all its graphs, and the description of the nodes every file of a model.
        let answer = self.upstream.call(Call::get(path).at_most(LARGE)).await?;
        if answer.is_success() {
            Ok(answer)
        } else {
            Err(answer.failure_by_status(false, ""))
        }
    }

    async fn queue(&self) -> Result<Queue, ProviderError> {
        let answer = self.ask("queue").await?;
        Queue::deserialize(answer.json()?).map_err(|_| answer.not_understood("no queue"))
    }

    /// The queue first: what leaves it between the two questions is in the history then.
    async fn standing(&self, id: &str) -> Result<Standing, ProviderError> {
        let queue = self.queue().await?;
        if queue.runs(id) {
            return Ok(Standing::Runs);
        }
        if queue.keeps(id) {
            return Ok(Standing::Waits);
        }
        let answer = self.ask(&format!("history/{}", segment(id))).await?;
        let Value::Object(mut history) = answer.json()? else {
            return Err(answer.not_understood("no history"));
        };
        match history.remove(id) {
            None => Ok(Standing::Unknown),
            Some(entry) => Ended::deserialize(entry)
                .map(Standing::Ended)
                .map_err(|_| answer.not_understood("no entry of a history")),
        }
    }

    async fn upload(
        &self,
        id: &str,
        number: usize,
        media: &MediaInput,
    ) -> Result<Value, ProviderError> {
        let text = |name: &str, value: &str| (name.to_owned(), Field::Text(value.to_owned()));
        let file = Field::File {
            // Files of all callers are in one folder.
            name: format!("{id}-{}", media.file_name(number)),
            media_type: media.media_type.clone(),
            bytes: media.bytes.clone(),
        };
        let form = Content::Form(vec![
            ("image".to_owned(), file),
            text("type", "input"),
            text("subfolder", FOLDER),
            text("overwrite", "true"),
        ]);
        // It buys nothing, and takes its time.
        let call = Call::buy("upload/image", form);
        let answer = self.upstream.call(call).await?;
        match answer.status {
            200..=299 => Uploaded::deserialize(answer.json()?)
                .map(|file| file.value())
                .map_err(|_| answer.not_understood("no name of a file")),
            400 | 413 | 415 => Err(answer.failure(ErrorKind::InputUnreadable, Accepted::No, "")),
            _ => Err(answer.failure_by_status(false, "")),
        }
    }

    /// Its id, by which it is asked for.
    async fn run(&self, id: &str, graph: &Graph) -> Result<String, ProviderError> {
        // Progress is sent to the client that asked.
        let body = json!({"prompt": graph.nodes, "client_id": id, "prompt_id": id});
        let call = Call::buy("prompt", Content::Json(body));
        let answer = self.upstream.call(call).await?;
        if !answer.is_success() {
            return Err(rejected(&answer));
        }
        Queued::deserialize(answer.json()?)
            .ok()
            .map(|queued| queued.prompt_id)
            .filter(|id| is_uuid(id))
            .ok_or_else(|| answer.not_understood("no prompt_id"))
    }

    /// How far a graph is that runs, if the server says so soon.
    async fn progress(&self, id: &str) -> Option<u8> {
        let listening = async {
            let mut socket = self.upstream.socket(&format!("ws?clientId={id}")).await?;
            loop {
                let told = wire::progress(&socket.text().await?, id);
                if told.is_some() {
                    return told;
                }
            }
        };
        tokio::time::timeout(LISTEN, listening).await.ok().flatten()
    }

    fn made(&self, file: &File) -> Output {
        let path = format!(
            "view?filename={}&subfolder={}&type={}",
            segment(&file.filename),
            segment(&file.subfolder),
            segment(&file.folder)
        );
        Output::own(&self.upstream, path)
    }

    fn ended(&self, ended: &Ended, nodes: &str) -> Result<Polled, ProviderError> {
        let failed = |kind, told: &str| Err(ProviderError::new(kind, Accepted::Yes, told));
        match ended.end() {
            End::Unheard => Ok(Polled::Pending { progress: None }),
            End::Interrupted => failed(ErrorKind::Cancelled, "execution_interrupted"),
            End::Error(raised) => {
                let kind = RAISED
                    .iter()
                    .find(|(name, _)| raised.ends_with(name))
                    .map_or(ErrorKind::NoOutput, |(_, kind)| *kind);
                failed(
                    kind,
                    &format!("execution_error {}", crate::upstream::word(raised)),
                )
            }
            End::Success => {
                let nodes = nodes.split(NEXT).filter(|node| !node.is_empty());
                let files = ended.files(nodes);
                if files.is_empty() {
                    return failed(ErrorKind::NoOutput, "a graph that made no file");
                }
                Ok(Polled::Done(
                    files.iter().map(|file| self.made(file)).collect(),
                ))
            }
        }
    }
}

#[async_trait]
impl Provider for ComfyUi {
    fn name(&self) -> &str {
        &self.name
    }

    /// A graph that the server knows by our id is not sent again.
    fn is_repeatable(&self) -> bool {
        true
    }

    async fn submit(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<Submitted, ProviderError> {
        let mut graph = Graph::of(&request)?;
        let mut id = prompt_id(&request.job);
        let standing = self.standing(&id).await.map_err(nothing_sent)?;
        if let Standing::Unknown = standing {
            for (number, media) in request.media.iter().enumerate() {
                let name = self.upload(&id, number, media).await;
                graph.put_file(media, &name.map_err(nothing_sent)?)?;
            }
            id = self.run(&id, &graph).await?;
        }
        context.note(Receipt {
            request_id: Some(id.clone()),
            cost: None,
        });
        let nodes = graph.outputs.join(&NEXT.to_string());
        Ok(Submitted::Accepted(format!("{id}{PARTED}{nodes}")))
    }

    async fn poll(&self, _context: &Context, task: &str) -> Result<Polled, ProviderError> {
        let (id, nodes) = parted(task)?;
        match self.standing(id).await.map_err(was_taken)? {
            Standing::Waits => Ok(Polled::Pending { progress: None }),
            Standing::Runs => Ok(Polled::Pending {
                progress: self.progress(id).await,
            }),
            Standing::Ended(ended) => self.ended(&ended, nodes),
            Standing::Unknown => {
                let detail = "neither in the queue nor in the history";
                Err(ProviderError::new(
                    ErrorKind::TaskGone,
                    Accepted::Yes,
                    detail,
                ))
            }
        }
    }

    async fn cancel(&self, task: &str) {
        let Ok((id, _)) = parted(task) else {
            return;
        };
        let post = |path: &str, body: Value| {
            Call::new(Method::POST, path, Purpose::Ask).with(Content::Json(body))
        };
        // It may begin between the look and the removal.
        for _ in 0..2 {
            let Ok(queue) = self.queue().await else {
                return;
            };
            if queue.runs(id) {
                // Older servers stop whatever runs, whichever id they are given.
                let call = post("interrupt", json!({"prompt_id": id}));
                let _too_late = self.upstream.call(call).await;
                return;
            }
            if !queue.keeps(id) {
                return;
            }
            let _too_late = self
                .upstream
                .call(post("queue", json!({"delete": [id]})))
                .await;
        }
    }

    /// Classes of nodes, told as `node: class`, and choices such as the files of models, as `node.input: value`.
    async fn lacking(
        &self,
        routes: &[&Map<String, Value>],
    ) -> Result<Vec<Option<Vec<String>>>, ProviderError> {
        let answer = self.ask("object_info").await?;
        let Value::Object(known) = answer.json()? else {
            return Err(answer.not_understood("no object_info"));
        };
        let missing = |settings: &&Map<String, Value>| graph::missing(settings, &known);
        Ok(routes.iter().map(missing).collect())
    }

    async fn check(&self) -> Result<Checkup, ProviderError> {
        let answer = self.ask("system_stats").await?;
        if answer.json()?.is_object() {
            Ok(Checkup::default())
        } else {
            Err(answer.not_understood("no system_stats"))
        }
    }
}

fn parted(task: &str) -> Result<(&str, &str), ProviderError> {
    task.split_once(PARTED)
        .filter(|(id, _)| is_uuid(id))
        .ok_or_else(task_id::not_ours)
}

fn is_uuid(id: &str) -> bool {
    let is_digit = |(place, byte): (usize, u8)| match place {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    id.len() == 36 && id.bytes().enumerate().all(is_digit)
}

/// A failure before the graph was sent.
fn nothing_sent(error: ProviderError) -> ProviderError {
    let kind = match error.kind {
        ErrorKind::Unknown => ErrorKind::Unavailable,
        other => other,
    };
    ProviderError {
        kind,
        accepted: Accepted::No,
        ..error
    }
}

/// A failure of a question about a graph that was sent.
fn was_taken(error: ProviderError) -> ProviderError {
    let kind = match error.kind {
        ErrorKind::ModelGone => ErrorKind::TaskGone,
        other => other,
    };
    ProviderError { kind, ..error }.of_a_task()
}

fn rejected(answer: &Answer) -> ProviderError {
    let Some(rejection) = answer.body().as_ref().and_then(rejection) else {
        return answer.failure_by_status(false, "");
    };
    let mut error = answer.failure_by_status(false, &rejection.code);
    if rejection.is_lacking {
        error.detail.push_str(", which this server does not have");
    }
    error
}
