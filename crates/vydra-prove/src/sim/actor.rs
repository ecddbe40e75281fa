//! A provider that does what it is told, and knows what was bought of it.

use crate::books::Books;
use anyhow::ensure;
use async_trait::async_trait;
use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;
use vydra_core::asset::MediaKind;
use vydra_outbound::provider::{
    Accepted, Context, ErrorKind, Output, Polled, Provider, ProviderError, Request, Submitted,
};
use vydra_testkit::files;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// All that was asked for.
    Make,
    /// The first so many.
    MakeOnly(u32),
    /// After this time.
    MakeIn(Duration),
    Fail(ErrorKind, Accepted),
    /// Taken; to be asked so often before it is made.
    Task(u32),
    /// Taken; it fails after so many questions.
    FailingTask(u32, ErrorKind),
    /// Taken, and never heard of again.
    LostTask,
    /// The connection stays open, and nothing comes.
    Silence,
}

impl Act {
    /// Whether the provider would bill it.
    fn buys(self) -> bool {
        !matches!(self, Self::Fail(_, Accepted::No))
    }
}

type Script = Box<dyn FnMut(&Request) -> Act + Send>;

pub(crate) struct Actor {
    repeatable: bool,
    state: Mutex<State>,
}

struct State {
    script: Script,
    tasks: HashMap<String, Task>,
    /// How often each job was bought.
    bought: HashMap<String, u32>,
}

#[derive(Debug, Clone, Copy)]
struct Task {
    polls_left: Option<u32>,
    fails: Option<ErrorKind>,
    kind: MediaKind,
    outputs: u32,
}

impl std::fmt::Debug for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actor").finish_non_exhaustive()
    }
}

impl Actor {
    /// With `repeatable`, asking twice costs nothing twice.
    pub(crate) fn new(
        repeatable: bool,
        script: impl FnMut(&Request) -> Act + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            repeatable,
            state: Mutex::new(State {
                script: Box::new(script),
                tasks: HashMap::new(),
                bought: HashMap::new(),
            }),
        })
    }

    /// Does this from now on.
    pub(crate) fn play(&self, script: impl FnMut(&Request) -> Act + Send + 'static) {
        self.lock().script = Box::new(script);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing was bought twice that costs: what the sandbox asks for, it may ask for again.
    pub(crate) fn check(&self, books: &Books) -> anyhow::Result<()> {
        let state = self.lock();
        let paid = books.jobs.iter().filter(|job| job.purse.mode == "live");
        let paid: HashSet<&str> = paid.map(|job| job.id.as_str()).collect();
        for (request, times) in &state.bought {
            // Of several steps each is a request of its own.
            let job = request.split('-').next().unwrap_or(request);
            ensure!(
                self.repeatable || *times <= 1 || !paid.contains(job),
                "{request} was bought {times} times of the provider"
            );
        }
        Ok(())
    }
}

fn outputs(kind: MediaKind, count: u32) -> Vec<Output> {
    (0..count)
        .map(|_| Output::bytes(files::of(kind), None))
        .collect()
}

#[async_trait]
impl Provider for Actor {
    fn name(&self) -> &'static str {
        "actor"
    }

    fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    async fn submit(&self, _: &Context, request: Request) -> Result<Submitted, ProviderError> {
        let act = {
            let mut state = self.lock();
            let act = (state.script)(&request);
            if act.buys() {
                *state.bought.entry(request.job.clone()).or_default() += 1;
            }
            let (polls_left, fails) = match act {
                Act::Task(polls) => (Some(polls), None),
                Act::FailingTask(polls, kind) => (Some(polls), Some(kind)),
                _ => (None, None),
            };
            let task = Task {
                polls_left,
                fails,
                kind: request.kind,
                outputs: request.outputs,
            };
            state.tasks.insert(request.job.clone(), task);
            act
        };
        let made = |count| Ok(Submitted::Done(outputs(request.kind, count)));
        match act {
            Act::Make => made(request.outputs),
            Act::MakeOnly(count) => made(count.min(request.outputs)),
            Act::MakeIn(span) => {
                let _elapsed = timeout(span, pending::<()>()).await;
                made(request.outputs)
            }
            Act::Fail(kind, accepted) => Err(ProviderError::new(kind, accepted, "as told")),
            Act::Task(_) | Act::FailingTask(..) | Act::LostTask => {
                Ok(Submitted::Accepted(request.job.clone()))
            }
            Act::Silence => pending().await,
        }
    }

    async fn poll(&self, _: &Context, task: &str) -> Result<Polled, ProviderError> {
        let mut state = self.lock();
        let Some(Task {
            polls_left: Some(left),
            fails,
            kind,
            outputs: count,
        }) = state.tasks.get_mut(task)
        else {
            return Ok(Polled::Pending { progress: None });
        };
        if *left > 0 {
            *left -= 1;
            return Ok(Polled::Pending { progress: Some(50) });
        }
        match fails {
            Some(kind) => Err(ProviderError::new(*kind, Accepted::Yes, "as told")),
            None => Ok(Polled::Done(outputs(*kind, *count))),
        }
    }

    async fn cancel(&self, _: &str) {}
}
