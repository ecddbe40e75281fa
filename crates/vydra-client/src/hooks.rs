//! What is told of each request, for logs and traces.

use crate::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// A request is about to be sent.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RequestEvent<'a> {
    /// The method.
    pub method: &'a str,
    /// The whole address.
    pub url: &'a str,
    /// 0 for the first try.
    pub attempt: u32,
}

/// A request was answered, with whatever status.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ResponseEvent<'a> {
    /// The method.
    pub method: &'a str,
    /// The whole address.
    pub url: &'a str,
    /// 0 for the first try.
    pub attempt: u32,
    /// The status of the answer.
    pub status: u16,
    /// What to tell the operator.
    pub request_id: Option<&'a str>,
    /// From the beginning of the request to that of the answer.
    pub duration: Duration,
}

/// A request will be sent again.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RetryEvent<'a> {
    /// The method.
    pub method: &'a str,
    /// The whole address.
    pub url: &'a str,
    /// Which repetition this will be; the first is 1.
    pub attempt: u32,
    /// How long is waited before it.
    pub wait: Duration,
    /// Why.
    pub error: &'a Error,
}

pub(crate) type OnRequest = Arc<dyn Fn(&RequestEvent<'_>) + Send + Sync>;
pub(crate) type OnResponse = Arc<dyn Fn(&ResponseEvent<'_>) + Send + Sync>;
pub(crate) type OnRetry = Arc<dyn Fn(&RetryEvent<'_>) + Send + Sync>;
type OnProgress = Arc<dyn Fn(u64, Option<u64>) + Send + Sync>;

#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) request: Option<OnRequest>,
    pub(crate) response: Option<OnResponse>,
    pub(crate) retry: Option<OnRetry>,
}

impl Hooks {
    pub(crate) fn request(&self, event: &RequestEvent<'_>) {
        tell(self.request.as_ref().map(|hook| move || hook(event)));
    }

    pub(crate) fn response(&self, event: &ResponseEvent<'_>) {
        tell(self.response.as_ref().map(|hook| move || hook(event)));
    }

    pub(crate) fn retry(&self, event: &RetryEvent<'_>) {
        tell(self.retry.as_ref().map(|hook| move || hook(event)));
    }
}

/// What only watches must not break a call that may have been paid for.
fn tell(hook: Option<impl FnOnce()>) {
    if let Some(hook) = hook {
        let _ = catch_unwind(AssertUnwindSafe(hook));
    }
}

/// How far a file is: what came or went so far, and of how much, if that is known.
#[derive(Clone, Default)]
pub struct Progress(Option<OnProgress>);

impl Progress {
    /// Tells `told` of every piece.
    pub fn new(told: impl Fn(u64, Option<u64>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(told)))
    }

    /// Tells nobody.
    pub fn none() -> Self {
        Self(None)
    }

    pub(crate) fn tell(&self, done: u64, total: Option<u64>) {
        tell(self.0.as_ref().map(|told| move || told(done, total)));
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}
