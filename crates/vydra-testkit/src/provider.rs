//! A provider that does what the test says, and remembers what it was asked.

use crate::files;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;
use vydra_core::asset::MediaKind;
use vydra_outbound::provider::{
    Accepted, Context, ErrorKind, Output, Polled, Provider, ProviderError, Request, Submitted,
};

/// What a submission is answered with.
#[derive(Debug)]
pub enum Reply {
    /// What was asked for: the default.
    Made,
    Files(Vec<Bytes>),
    /// Files that are somewhere else.
    Urls(Vec<String>),
    /// Taken under this name; to be polled.
    Task(&'static str),
    Error(ProviderError),
    /// The second answer, when the gate is opened.
    Held(Gate, Box<Reply>),
}

/// What a poll is answered with; without any, the task goes on.
#[derive(Debug)]
pub enum PollReply {
    Pending(Option<u8>),
    Files(Vec<Bytes>),
    Urls(Vec<String>),
    Error(ProviderError),
}

/// An error of the provider's, for a script.
pub fn refused(kind: ErrorKind, accepted: Accepted) -> ProviderError {
    ProviderError::new(kind, accepted, "scripted")
}

/// A place at which a provider waits for the test, and the test for the provider.
#[derive(Debug, Clone)]
pub struct Gate {
    reached: Arc<Semaphore>,
    open: Arc<Semaphore>,
    progress: u8,
}

impl Gate {
    pub fn closed() -> Self {
        Self::at_progress(0)
    }

    /// The provider says that it is this far when it comes here.
    pub fn at_progress(progress: u8) -> Self {
        Self {
            reached: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(0)),
            progress,
        }
    }

    /// Until the provider is here.
    pub async fn reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    pub fn open(&self) {
        self.open.add_permits(1);
    }

    async fn pass(&self, context: &Context) {
        (context.progress)(self.progress);
        self.reached.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }
}

#[derive(Debug)]
pub struct ScriptedProvider {
    name: &'static str,
    repeatable: bool,
    script: Mutex<Script>,
}

#[derive(Debug, Default)]
struct Script {
    replies: VecDeque<Reply>,
    /// For requests that have this word.
    worded: VecDeque<(&'static str, Reply)>,
    polls: VecDeque<PollReply>,
    /// For this task alone.
    of_task: VecDeque<(&'static str, PollReply)>,
    submitted: Vec<Request>,
    polled: Vec<String>,
    cancelled: Vec<String>,
}

impl ScriptedProvider {
    pub fn new(name: &'static str, repeatable: bool) -> Arc<Self> {
        Arc::new(Self {
            name,
            repeatable,
            script: Mutex::default(),
        })
    }

    /// The next submission that has no answer yet gets this one.
    pub fn next(&self, reply: Reply) {
        self.script.lock().unwrap().replies.push_back(reply);
    }

    /// The next submission whose prompt has this word, or whose model it is, gets this answer: for what is asked at the
    /// same time.
    pub fn next_for(&self, word: &'static str, reply: Reply) {
        self.script.lock().unwrap().worded.push_back((word, reply));
    }

    /// The next poll of this task gets this answer.
    pub fn next_poll_of(&self, task: &'static str, reply: PollReply) {
        self.script.lock().unwrap().of_task.push_back((task, reply));
    }

    pub fn next_poll(&self, reply: PollReply) {
        self.script.lock().unwrap().polls.push_back(reply);
    }

    /// The next submission waits at this gate, and is then answered with what was asked for.
    pub fn hold_next(&self) -> Gate {
        let gate = Gate::closed();
        self.next(Reply::Held(gate.clone(), Box::new(Reply::Made)));
        gate
    }

    /// Every request so far, oldest first.
    pub fn submitted(&self) -> Vec<Request> {
        self.script.lock().unwrap().submitted.clone()
    }

    pub fn polled(&self) -> Vec<String> {
        self.script.lock().unwrap().polled.clone()
    }

    pub fn cancelled(&self) -> Vec<String> {
        self.script.lock().unwrap().cancelled.clone()
    }
}

fn has_word(request: &Request, word: &str) -> bool {
    let prompt = request
        .input
        .get("prompt")
        .and_then(|prompt| prompt.as_str());
    request.model == word || prompt.is_some_and(|prompt| prompt.contains(word))
}

fn duration_ms(kind: MediaKind) -> Option<u64> {
    match kind {
        MediaKind::Image => None,
        MediaKind::Video | MediaKind::Audio => Some(4_000),
    }
}

fn outputs(files: impl IntoIterator<Item = Bytes>, kind: MediaKind) -> Vec<Output> {
    files
        .into_iter()
        .map(|bytes| Output::bytes(bytes, duration_ms(kind)))
        .collect()
}

fn elsewhere(urls: Vec<String>, kind: MediaKind) -> Vec<Output> {
    urls.into_iter()
        .map(|url| Output::url(url, duration_ms(kind)))
        .collect()
}

#[async_trait]
impl Provider for ScriptedProvider {
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    async fn submit(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<Submitted, ProviderError> {
        let (kind, count) = (request.kind, request.outputs);
        let mut reply = {
            let mut script = self.script.lock().unwrap();
            let worded = script
                .worded
                .iter()
                .position(|(word, _)| has_word(&request, word))
                .and_then(|place| script.worded.remove(place));
            script.submitted.push(request);
            let next = worded.map(|(_, reply)| reply);
            next.or_else(|| script.replies.pop_front())
                .unwrap_or(Reply::Made)
        };
        loop {
            return match reply {
                Reply::Held(gate, then) => {
                    gate.pass(context).await;
                    reply = *then;
                    continue;
                }
                Reply::Made => Ok(Submitted::Done(outputs(
                    (0..count).map(|_| files::of(kind)),
                    kind,
                ))),
                Reply::Files(files) => Ok(Submitted::Done(outputs(files, kind))),
                Reply::Urls(urls) => Ok(Submitted::Done(elsewhere(urls, kind))),
                Reply::Task(task) => Ok(Submitted::Accepted(task.to_owned())),
                Reply::Error(error) => Err(error),
            };
        }
    }

    async fn poll(&self, _context: &Context, task: &str) -> Result<Polled, ProviderError> {
        let mut script = self.script.lock().unwrap();
        script.polled.push(task.to_owned());
        let own = script
            .of_task
            .iter()
            .position(|(of, _)| *of == task)
            .and_then(|place| script.of_task.remove(place));
        let next = own.map(|(_, reply)| reply);
        match next.or_else(|| script.polls.pop_front()) {
            None => Ok(Polled::Pending { progress: None }),
            Some(PollReply::Pending(progress)) => Ok(Polled::Pending { progress }),
            // Of what kind they are is found out from their bytes.
            Some(PollReply::Files(files)) => Ok(Polled::Done(outputs(files, MediaKind::Image))),
            Some(PollReply::Urls(urls)) => Ok(Polled::Done(elsewhere(urls, MediaKind::Image))),
            Some(PollReply::Error(error)) => Err(error),
        }
    }

    async fn cancel(&self, task: &str) {
        self.script.lock().unwrap().cancelled.push(task.to_owned());
    }
}
