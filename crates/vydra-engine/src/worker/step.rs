//! One step at its provider: ask, write the task down, poll, and take its files in.

use super::attempt::{Attempt, BUSY, Broken, Made, backoff};
use super::sweep::timeout_failure;
use super::walk::Files;
use crate::INPUT_BUDGET_MIB;
use crate::inputs::{REFERENCE, mebibytes, texts};
use crate::routing::in_order;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SemaphorePermit;
use vydra_core::asset::Asset;
use vydra_core::credits::Credits;
use vydra_core::error_code::ErrorCode;
use vydra_core::ids::AssetId;
use vydra_core::job::{Failure, Mode, STEP, StepCall};
use vydra_core::time::Timestamp;
use vydra_outbound::provider::{
    Accepted, Context, ErrorKind, MediaInput, Next, Output, Polled, ProviderError, Request,
    Submitted,
};
use vydra_outbound::registry::Working;
use vydra_store::StoreError;
use vydra_store::store::{PriorStep, ProviderAttempt, StepRoute};

const SHORTEST_POLL: Duration = Duration::from_secs(1);
const LONGEST_POLL: Duration = Duration::from_secs(5);

/// What came in between: the provider's trouble, about which a table decides, or any other.
enum Trouble {
    Provider(ProviderError),
    /// It has no place for another call.
    Busy,
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
        let (attempt, mut is_busy, mut last) = (self.attempt, false, None);
        for working in self.routes(prior)? {
            let answered = match self.by(&working, tries, prior).await {
                Err(Trouble::Busy) => {
                    is_busy = true;
                    continue;
                }
                Err(Trouble::Provider(error)) if error.lets_another_try() => {
                    last = Some(error);
                    continue;
                }
                Ok(outputs) => Ok(outputs),
                Err(Trouble::Provider(error)) => Err(error),
                // The provider still works on what it has taken: whoever ends the job cancels it.
                Err(Trouble::Other(broken)) => return Err(broken),
            };
            let outputs = match answered {
                Ok(outputs) => self.take_in(outputs).await?,
                Err(error) => return Err(self.provider_failed(&error, tries)),
            };
            if outputs.is_empty() {
                return Err(Broken::Failed(attempt.failure("no_output", true)));
            }
            return Ok(Made {
                outputs,
                provider: working.provider.name().to_owned(),
                route: working.number,
            });
        }
        Err(match last {
            _ if is_busy => {
                let wanted = last.and_then(|error| error.retry_after);
                Broken::Busy(wanted.unwrap_or_default().max(BUSY))
            }
            Some(error) => self.provider_failed(&error, tries),
            None => Broken::Failed(model_gone(self.call.model)),
        })
    }

    /// What one provider makes of the step, if it may be asked now.
    async fn by(
        &self,
        working: &Working,
        tries: u32,
        prior: Option<&PriorStep>,
    ) -> Result<Vec<Output>, Trouble> {
        let (attempt, engine) = (self.attempt, self.attempt.engine);
        let name = working.provider.name();
        let begins = matches!(prior, None | Some(PriorStep::Finished { .. }));
        let place = engine.routing.place(name);
        if begins {
            if place.is_none() {
                return Err(Trouble::Busy);
            }
            engine.routing.is_open_to(name, engine.now())?;
        }
        let asked = StepRoute {
            step: self.call.number,
            route: working.number,
            provider: name.to_owned(),
        };
        let context = Context {
            attempt: tries,
            progress: attempt.stages.meter(self.call.number),
            stop: attempt.stop.clone(),
            time_left: attempt.claimed.deadline.since(engine.now()),
            receipt: Arc::default(),
        };
        let spending = if begins {
            self.spend(working).await?
        } else {
            None
        };
        let began = engine.now();
        let answered = self.work(&context, working, &asked, prior).await;
        if !matches!(answered, Err(Trouble::Other(_))) {
            attempt.stages.close(self.call.number);
        }
        let failure = match &answered {
            Ok(_) => None,
            Err(Trouble::Provider(error)) => Some(error),
            Err(Trouble::Other(_) | Trouble::Busy) => return answered,
        };
        if failure.is_some_and(|error| error.accepted == Accepted::No)
            && let Some((credits, counted_at)) = spending
        {
            let store = engine.store();
            let uncounted = store.uncount_provider_day(name, credits, counted_at);
            if let Err(error) = uncounted.await {
                // Too much is counted, which errs on the safe side.
                tracing::warn!(
                    provider.name = name,
                    error = &error as &dyn std::error::Error,
                    "what was not bought stays counted"
                );
            }
        }
        if failure.is_some_and(|error| error.accepted == Accepted::No) {
            attempt.stages.rest(self.call.number, true);
        }
        let was_asked = begins || !matches!(prior, Some(PriorStep::Unknown { .. }));
        if working.is_hosted && was_asked {
            engine.routing.learn(name, failure, engine.now());
            self.record(working, &context, began, failure).await;
        }
        answered
    }

    /// Counts the step's share of the price for the provider's day, if that has a bound. What cannot be counted is not bought.
    async fn spend(&self, working: &Working) -> Result<Option<(Credits, Timestamp)>, Trouble> {
        let Some(cap) = working.bounds.daily_credits else {
            return Ok(None);
        };
        let (attempt, engine) = (self.attempt, self.attempt.engine);
        let calls = i64::try_from(attempt.job.call.calls().count()).unwrap_or(i64::MAX);
        let price = attempt.job.price.get();
        let share = Credits::new((price + calls - 1) / calls.max(1)).unwrap_or(attempt.job.price);
        let (name, now) = (working.provider.name(), engine.now());
        if engine
            .store()
            .count_provider_day(name, share, cap, now)
            .await?
        {
            return Ok(Some((share, now)));
        }
        tracing::warn!(
            provider.name = name,
            cap,
            "a provider has been asked for as much as it may be today"
        );
        let kind = ErrorKind::QuotaExhausted;
        Err(ProviderError::new(kind, Accepted::No, "its credits of the day are used up").into())
    }

    /// Keeps what the provider did, for the operator. Nothing depends on it.
    async fn record(
        &self,
        working: &Working,
        context: &Context,
        started_at: Timestamp,
        failure: Option<&ProviderError>,
    ) {
        let engine = self.attempt.engine;
        let receipt = context.receipt();
        let record = ProviderAttempt {
            job: self.attempt.job.id.clone(),
            step: self.call.number,
            provider: working.provider.name().to_owned(),
            model: working.route.model.clone(),
            started_at,
            ended_at: engine.now(),
            failure: failure.map(|error| error.kind.as_str().to_owned()),
            accepted: failure
                .map_or(Accepted::Yes, |error| error.accepted)
                .as_str()
                .to_owned(),
            request_id: receipt.request_id,
            cost: receipt.cost,
        };
        if let Err(error) = engine.store().record_attempt(&record).await {
            tracing::warn!(job.id = %self.attempt.job.id, error = &error as &dyn std::error::Error, "an attempt of a provider could not be recorded");
        }
    }

    /// Whom to ask, in this order.
    fn routes(&self, prior: Option<&PriorStep>) -> Result<Vec<Working>, Broken> {
        let attempt = self.attempt;
        let model = attempt.engine.catalog().model(self.call.model);
        let providers = &attempt.engine.parts.providers;
        let routes = model
            .map(|model| providers.working(model, attempt.job.mode))
            .unwrap_or_default();
        match prior {
            // Only that provider knows what it has taken, whatever the operator has set up meanwhile.
            Some(
                PriorStep::Unknown { provider, route }
                | PriorStep::Task {
                    provider, route, ..
                },
            ) => {
                let of_provider = routes
                    .into_iter()
                    .filter(|working| working.provider.name() == provider);
                let routed = of_provider.min_by_key(|working| working.number != *route);
                let is_taken = matches!(prior, Some(PriorStep::Task { .. }));
                let working = routed.or_else(|| {
                    // No route leads to it any more: it is asked for what it has, and nothing else.
                    is_taken
                        .then(|| providers.named(provider, self.call.model, attempt.job.mode))?
                });
                match working {
                    Some(working) => Ok(vec![working]),
                    None => Err(Broken::Failed(attempt.failure("unknown_outcome", true))),
                }
            }
            _ if routes.is_empty() => Err(Broken::Failed(model_gone(self.call.model))),
            None | Some(PriorStep::Finished { .. }) => {
                let fit = routes
                    .into_iter()
                    .filter(|working| working.route.takes(self.call.input));
                let mut routes = in_order(fit.collect(), attempt.job.id.as_str());
                if attempt.job.call.no_fallback {
                    routes.truncate(1);
                }
                Ok(routes)
            }
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
                    attempt.stages.rest(self.call.number, false);
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
                        attempt.stages.rest(self.call.number, false);
                        if working.is_hosted {
                            // It works, however long the task will take.
                            let now = attempt.engine.now();
                            attempt.engine.routing.learn(provider.name(), None, now);
                        }
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
        let mut was_gone = false;
        loop {
            tokio::time::sleep(rest).await;
            rest = (rest * 3 / 2).min(LONGEST_POLL);
            let polled = provider.poll(context, &task).await;
            let is_gone = matches!(&polled, Err(error) if error.kind == ErrorKind::TaskGone);
            match polled {
                Ok(Polled::Done(outputs)) => return Ok(outputs),
                Ok(Polled::Pending { progress }) => (context.progress)(progress.unwrap_or(0)),
                // One of several servers may not have heard of a new task.
                Err(_) if is_gone && !was_gone => {}
                Err(error) if error.is_of_the_poll() => {
                    // A poll that fails says nothing about the job; its deadline does.
                    tracing::warn!(job.id = %attempt.job.id, error = %error, "a poll failed");
                }
                Err(error) => return Err(error.of_a_task().into()),
            }
            was_gone = is_gone;
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
                listed: false,
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
