//! One step at its provider: ask, write the task down, poll, and take its files in.

use super::attempt::{Attempt, Broken, Made, backoff};
use super::sweep::timeout_failure;
use super::walk::Files;
use crate::INPUT_BUDGET_MIB;
use crate::inputs::{REFERENCE, mebibytes, texts};
use std::time::Duration;
use tokio::sync::SemaphorePermit;
use vydra_core::asset::Asset;
use vydra_core::error_code::ErrorCode;
use vydra_core::ids::AssetId;
use vydra_core::job::{Failure, Mode, STEP, StepCall};
use vydra_outbound::provider::{
    Accepted, Context, ErrorKind, MediaInput, Next, Output, Polled, ProviderError, Request,
    Submitted,
};
use vydra_outbound::registry::Working;
use vydra_store::StoreError;
use vydra_store::store::{PriorStep, StepRoute};

const SHORTEST_POLL: Duration = Duration::from_secs(1);
const LONGEST_POLL: Duration = Duration::from_secs(5);

/// What came in between: the provider's trouble, about which a table decides, or any other.
enum Trouble {
    Provider(ProviderError),
    Other(Broken),
}

impl From<ProviderError> for Trouble {
    fn from(error: ProviderError) -> Self {
        Self::Provider(error)
    }
}

impl From<Broken> for Trouble {
    fn from(broken: Broken) -> Self {
        Self::Other(broken)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Other(error.into())
    }
}

pub(super) struct Step<'a> {
    pub(super) attempt: &'a Attempt<'a>,
    pub(super) call: StepCall<'a>,
    /// What the steps that it waited for have made.
    pub(super) files: Files<'a>,
}

impl Step<'_> {
    /// One try. `tries` counts them, this one included; `prior` is what an earlier attempt left behind.
    pub(super) async fn run(&self, tries: u32, prior: Option<&PriorStep>) -> Result<Made, Broken> {
        let attempt = self.attempt;
        let Working { route, provider } = self.route(prior)?;
        let asked = StepRoute {
            step: self.call.number,
            route: 0,
            provider: provider.name().to_owned(),
        };
        let context = Context {
            attempt: tries,
            progress: attempt.stages.meter(self.call.number),
            stop: attempt.stop.clone(),
        };
        let working = Working { route, provider };
        let answered = match self.work(&context, &working, &asked, prior).await {
            Ok(outputs) => Ok(outputs),
            Err(Trouble::Provider(error)) => Err(error),
            // The provider still works on what it has taken: whoever ends the job cancels it.
            Err(Trouble::Other(broken)) => return Err(broken),
        };
        attempt.stages.close(self.call.number);
        let outputs = match answered {
            Ok(outputs) => self.take_in(outputs).await?,
            Err(error) => return Err(self.provider_failed(&error, tries)),
        };
        if outputs.is_empty() {
            return Err(Broken::Failed(attempt.failure("no_output", true)));
        }
        Ok(Made {
            outputs,
            provider: working.provider.name(),
        })
    }

    fn route(&self, prior: Option<&PriorStep>) -> Result<Working, Broken> {
        let attempt = self.attempt;
        let model = attempt.engine.catalog().model(self.call.model);
        let providers = &attempt.engine.parts.providers;
        let mut routes = model
            .map(|model| providers.working(model, attempt.job.mode))
            .unwrap_or_default()
            .into_iter()
            .peekable();
        if routes.peek().is_none() {
            return Err(Broken::Failed(model_gone(self.call.model)));
        }
        match prior {
            // Only that provider knows what it has taken, whatever the operator has set up meanwhile.
            Some(PriorStep::Unknown { provider, .. } | PriorStep::Task { provider, .. }) => routes
                .find(|route| route.provider.name() == provider)
                .ok_or_else(|| Broken::Failed(attempt.failure("unknown_outcome", true))),
            None | Some(PriorStep::Finished { .. }) => routes
                .next()
                .ok_or_else(|| Broken::Failed(model_gone(self.call.model))),
        }
    }

    async fn work(
        &self,
        context: &Context,
        working: &Working,
        asked: &StepRoute,
        prior: Option<&PriorStep>,
    ) -> Result<Vec<Output>, Trouble> {
        let (attempt, provider) = (self.attempt, &working.provider);
        let task = match prior {
            Some(PriorStep::Task { external_id, .. }) => {
                attempt
                    .stages
                    .open(self.call.number, provider.clone(), external_id.clone());
                external_id.clone()
            }
            // The purchase may have happened, and nothing tells: it is not made again.
            Some(PriorStep::Unknown { .. }) if !provider.is_repeatable() => {
                return Err(ProviderError::new(
                    ErrorKind::Unknown,
                    Accepted::Unknown,
                    "interrupted while asking",
                )
                .into());
            }
            Some(PriorStep::Unknown { .. } | PriorStep::Finished { .. }) | None => {
                let (media, _budget) = self.media().await?;
                // Whoever may be asked twice needs no mark that it was asked once.
                if !provider.is_repeatable() {
                    attempt
                        .engine
                        .store()
                        .mark_submitting(attempt.lease, asked, attempt.lease_end())
                        .await?;
                }
                let job = attempt.job.id.as_str();
                let request = Request::new(job, &self.call, &working.route, media);
                let asking = (!provider.is_repeatable()).then(|| attempt.stages.asking());
                match provider.submit(context, request).await? {
                    Submitted::Done(outputs) => return Ok(outputs),
                    Submitted::Accepted(task) => {
                        attempt
                            .stages
                            .open(self.call.number, provider.clone(), task.clone());
                        drop(asking);
                        // Without it a purchase is lost.
                        attempt
                            .insist("a task", || {
                                let until = attempt.lease_end();
                                let store = attempt.engine.store();
                                store.record_task(attempt.lease, asked, &task, until)
                            })
                            .await?;
                        task
                    }
                }
            }
        };
        let mut rest = SHORTEST_POLL;
        loop {
            tokio::time::sleep(rest).await;
            rest = (rest * 3 / 2).min(LONGEST_POLL);
            match provider.poll(context, &task).await {
                Ok(Polled::Done(outputs)) => return Ok(outputs),
                Ok(Polled::Pending { progress }) => (context.progress)(progress.unwrap_or(0)),
                Err(error)
                    if matches!(
                        error.kind,
                        ErrorKind::Unavailable
                            | ErrorKind::RateLimited
                            | ErrorKind::Unknown
                            | ErrorKind::Protocol
                    ) =>
                {
                    // A poll that fails says nothing about the job; its deadline does.
                    tracing::warn!(job.id = %attempt.job.id, error = %error, "a poll failed");
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The files that the step names, from our own storage, and the memory that they may take.
    async fn media(&self) -> Result<(Vec<MediaInput>, Option<SemaphorePermit<'_>>), Trouble> {
        let attempt = self.attempt;
        let assets = self.inputs().await?;
        if assets.is_empty() {
            return Ok((Vec::new(), None));
        }
        let bytes: u64 = assets.iter().map(|(_, asset)| asset.bytes).sum();
        let mebibytes = mebibytes(bytes);
        if mebibytes > INPUT_BUDGET_MIB {
            // Waiting for so much memory would have no end.
            return Err(ProviderError::new(
                ErrorKind::InputUnreadable,
                Accepted::No,
                "the input is too large",
            )
            .into());
        }
        let budget = attempt
            .engine
            .input_budget
            .acquire_many(mebibytes)
            .await
            .map_err(|closed| Broken::Ours(Box::new(closed)))?;
        let mut media = Vec::with_capacity(assets.len());
        for (field, asset) in assets {
            let storage = &attempt.engine.parts.media;
            let read = storage.read(&asset.storage_key, asset.bytes);
            let bytes = read.await.map_err(|error| {
                tracing::error!(job.id = %attempt.job.id, asset.id = %asset.id, error = &error as &dyn std::error::Error, "an input cannot be read");
                input_gone(asset.id.as_str())
            })?;
            media.push(MediaInput {
                field,
                kind: asset.kind,
                media_type: asset.media_type,
                bytes,
            });
        }
        Ok((media, Some(budget)))
    }

    async fn inputs(&self) -> Result<Vec<(String, Asset)>, Trouble> {
        let attempt = self.attempt;
        let mut assets = Vec::new();
        let model = attempt.engine.catalog().model(self.call.model);
        for field in model.iter().flat_map(|model| model.schema.media_fields()) {
            let value = self.call.input.get(field.name);
            for reference in value.into_iter().flat_map(texts) {
                if let Some(made) = reference
                    .strip_prefix(STEP)
                    .and_then(|name| self.files.get(name))
                {
                    let made = made.iter().cloned();
                    assets.extend(made.map(|asset| (field.name.to_owned(), asset)));
                    continue;
                }
                let id = reference.strip_prefix(REFERENCE).and_then(AssetId::parse);
                let id = id.ok_or_else(|| input_gone(reference))?;
                let store = attempt.engine.store();
                let asset = store.job_input(&attempt.job.id, &id).await?;
                let asset = asset.ok_or_else(|| input_gone(reference))?;
                assets.push((field.name.to_owned(), asset));
            }
        }
        Ok(assets)
    }

    /// What follows from the provider's failure.
    fn provider_failed(&self, error: &ProviderError, tries: u32) -> Broken {
        let attempt = self.attempt;
        let step = self.call.name.unwrap_or_default();
        match attempt.job.mode {
            Mode::Live => {
                tracing::warn!(job.id = %attempt.job.id, step, attempt = tries, error = %error, "the provider failed");
            }
            // As its caller told it to: nothing for an operator to mend.
            Mode::Test => {
                tracing::info!(job.id = %attempt.job.id, step, attempt = tries, error = %error, "the sandbox failed");
            }
        }
        // The sandbox fails as often as it was told to; the deadline is its bound.
        let tries_left =
            attempt.job.mode == Mode::Test || tries < attempt.engine.settings().worker.max_attempts;
        let wait = error.retry_after.unwrap_or_default().max(backoff(tries));
        let is_in_time = attempt.engine.now().plus(wait) < attempt.claimed.deadline;
        match error.next() {
            Next::Retry if tries_left && is_in_time => Broken::Again(wait),
            Next::Retry | Next::Fail => Broken::Failed(if error.kind == ErrorKind::TimedOut {
                timeout_failure()
            } else {
                attempt.failure(error.reason(), error.may_succeed_later())
            }),
        }
    }
}

fn input_gone(reference: &str) -> ProviderError {
    ProviderError::new(
        ErrorKind::InputUnreadable,
        Accepted::No,
        format!("{reference} is gone"),
    )
}

fn model_gone(model: &str) -> Failure {
    Failure {
        code: ErrorCode::ModelNotFound,
        message: format!("Model {model} can no longer be called"),
        reason: "model_gone".to_owned(),
        retryable: false,
    }
}
