//! Servers that speak as AUTOMATIC1111's: one picture after the other, on a machine of the operator's own. README.md beside this
//! file says what of it is used.

mod wire;

use super::percent::percent;
use crate::provider::{
    Accepted, Checkup, Context, ErrorKind, Listed, Output, Polled, Provider, ProviderError,
    Request, Submitted,
};
use crate::upstream::{Answer, Call, Content, LARGE, Purpose, Upstream};
use async_trait::async_trait;
use reqwest::Method;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use wire::{images, model_names, progress_of, sent};

/// Between two looks at how far the server is.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct A1111 {
    name: String,
    upstream: Arc<Upstream>,
}

impl A1111 {
    pub fn new(name: impl Into<String>, upstream: Arc<Upstream>) -> Self {
        Self {
            name: name.into(),
            upstream,
        }
    }

    /// Tells how far the job is, and stops it when nobody wants it. The server stops whatever runs, so that it must be this job.
    async fn watch(&self, context: &Context, job: &str) -> Infallible {
        let mut is_stopped = false;
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(share) = self.look(job).await else {
                continue;
            };
            if context.stop.is_cancelled() && !is_stopped {
                let call = Call::new(Method::POST, "sdapi/v1/interrupt", Purpose::Ask);
                is_stopped = self.upstream.call(call).await.is_ok();
            } else {
                (context.progress)(percent(share));
            }
        }
    }

    async fn look(&self, job: &str) -> Option<f64> {
        let call = Call::get("sdapi/v1/progress?skip_current_image=true");
        let answer = self.upstream.call(call).await.ok()?;
        progress_of(&answer.body()?, job)
    }
}

#[async_trait]
impl Provider for A1111 {
    fn name(&self) -> &str {
        &self.name
    }

    /// It costs nobody's money, but the same card would draw it twice.
    fn is_repeatable(&self) -> bool {
        false
    }

    async fn submit(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<Submitted, ProviderError> {
        let (job, asked) = (request.job.clone(), request.outputs);
        let (path, body) = sent(request)
            .map_err(|why| ProviderError::new(ErrorKind::InvalidRequest, Accepted::No, why))?;
        let call = Call::buy(path, Content::Json(body)).at_most(LARGE);
        let answer = tokio::select! {
            biased;
            answer = self.upstream.call(call) => answer?,
            never = self.watch(context, &job) => match never {},
        };
        if !answer.is_success() {
            return Err(failed(&answer, context.attempt));
        }
        if context.stop.is_cancelled() {
            // A job that was stopped is answered as one that is done, with what was drawn so far.
            return Err(answer.failure(ErrorKind::Cancelled, Accepted::Yes, "stopped"));
        }
        outputs(&answer, asked).map(Submitted::Done)
    }

    async fn poll(&self, _context: &Context, _task: &str) -> Result<Polled, ProviderError> {
        let detail = "the server has no tasks";
        Err(ProviderError::new(
            ErrorKind::TaskGone,
            Accepted::Yes,
            detail,
        ))
    }

    /// What runs is stopped by whoever waits for it.
    async fn cancel(&self, _task: &str) {}

    async fn check(&self) -> Result<Checkup, ProviderError> {
        let answer = self.upstream.call(Call::get("sdapi/v1/sd-models")).await?;
        if !answer.is_success() {
            return Err(failed(&answer, 1));
        }
        let list = answer.json()?;
        let models = list
            .as_array()
            .ok_or_else(|| answer.not_understood("no list of models"))?
            .iter()
            .flat_map(model_names)
            .map(|name| (name.to_owned(), Listed::default()))
            .collect();
        Ok(Checkup {
            note: None,
            models: Some(models),
        })
    }
}

fn outputs(answer: &Answer, asked: u32) -> Result<Vec<Output>, ProviderError> {
    let result = answer.json()?;
    let asked = usize::try_from(asked).unwrap_or(usize::MAX);
    let images = images(&result, asked).ok_or_else(|| answer.not_understood("no images"))?;
    let outputs: Vec<Output> = images
        .into_iter()
        .filter_map(|image| Output::base64(image).ok())
        .collect();
    if outputs.is_empty() {
        return Err(answer.failure(ErrorKind::NoOutput, Accepted::Yes, "no image"));
    }
    Ok(outputs)
}

fn failed(answer: &Answer, attempt: u32) -> ProviderError {
    let body = answer.body();
    let field = |name: &str| body.as_ref().and_then(|body| body.get(name));
    let told = field("error").and_then(Value::as_str).unwrap_or_default();
    let is_theirs = field("error").or_else(|| field("detail")).is_some();
    match answer.status {
        // The memory may be free again by the next try, and is too small if it is not.
        500 if told == "OutOfMemoryError" && attempt <= 1 => {
            answer.failure(ErrorKind::Unavailable, Accepted::No, told)
        }
        500 if is_theirs => answer.failure(ErrorKind::NoOutput, Accepted::Yes, told),
        404 => answer.failure(ErrorKind::InvalidRequest, Accepted::No, told),
        _ => answer.failure_by_status(is_theirs, told),
    }
}
