//! One attempt at one job: ask the provider, take its files in, settle. Every write bears the lease; when it is lost,
//! everything is dropped.

use super::sweep::timeout_failure;
use crate::inputs::REFERENCE;
use crate::{Engine, INPUT_BUDGET_MIB};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::sync::SemaphorePermit;
use tokio_util::sync::CancellationToken;
use vydra_core::asset::{Asset, AssetRole};
use vydra_core::error_code::ErrorCode;
use vydra_core::ids::AssetId;
use vydra_core::job::{Failure, Job, JobStatus, Mode};
use vydra_core::time::Timestamp;
use vydra_outbound::media::MediaError;
use vydra_outbound::provider::{
    Accepted, Context, ErrorKind, MediaInput, Next, Output, Polled, ProviderError, Request,
    Submitted,
};
use vydra_outbound::registry::Working;
use vydra_outbound::sniff::sniff;
use vydra_store::StoreError;
use vydra_store::store::{ClaimedJob, Lease, Outcome, PriorStep, Settlement, StepRoute};

/// How often progress is written down, when there is any.
const PROGRESS_EVERY: Duration = Duration::from_millis(400);
const SHORTEST_POLL: Duration = Duration::from_secs(1);
const LONGEST_POLL: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);
/// How often an end is written again when the store is away; afterwards the lease expires and the job is taken anew.
const SETTLE_TRIES: u32 = 10;
/// The only step of a job that is a single call.
const ONLY: u32 = 0;

/// Why an attempt did not come to a result of the provider.
enum Broken {
    /// Not ours any more: cancelled, expired, or taken by another worker.
    LeaseLost,
    /// The process stops.
    Halted,
    Provider(ProviderError),
    /// The provider delivered, and we could not keep it.
    Storage(MediaError),
    /// Our own trouble: nothing was decided about the job.
    Ours(Box<dyn std::error::Error + Send + Sync>),
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost => Self::LeaseLost,
            other => Self::Ours(Box::new(other)),
        }
    }
}

impl From<ProviderError> for Broken {
    fn from(error: ProviderError) -> Self {
        Self::Provider(error)
    }
}

pub(super) async fn run(engine: &Engine, claimed: ClaimedJob, halt: &CancellationToken) {
    let stop = engine.running.start(&claimed.job.id);
    engine.changes.announce(&claimed.job.id);
    // Whatever way this ends, threads that draw for it stop.
    let _stopped = stop.clone().drop_guard();
    Attempt {
        engine,
        job: &claimed.job,
        lease: &claimed.lease,
        claimed: &claimed,
        shown: AtomicU8::new(claimed.job.progress),
    }
    .run(&stop, halt)
    .await;
    engine.running.finish(&claimed.job.id);
}

struct Attempt<'a> {
    engine: &'a Engine,
    job: &'a Job,
    lease: &'a Lease,
    claimed: &'a ClaimedJob,
    /// The progress that was written down last.
    shown: AtomicU8,
}

impl Attempt<'_> {
    async fn run(&self, stop: &CancellationToken, halt: &CancellationToken) {
        let tries = self.engine.settings().worker.max_attempts;
        if self.job.mode == Mode::Live && self.claimed.attempt > tries.saturating_mul(2) {
            // Interrupted so often that it may be what takes the process down, and all other jobs with it.
            return self
                .fail(&self.failure("interrupted_too_often", true))
                .await;
        }
        let Some(model) = self.engine.catalog().model(&self.job.call.model) else {
            return self.fail(&model_gone(&self.job.call.model)).await;
        };
        let routes = self.engine.parts.providers.working(model, self.job.mode);
        let route = match (self.asked_before(), routes) {
            (_, routes) if routes.is_empty() => None,
            (None, routes) => routes.into_iter().next(),
            // Only that provider knows what it has taken, whatever the operator has set up meanwhile.
            (Some(name), routes) => {
                let same = routes
                    .into_iter()
                    .find(|route| route.provider.name() == name);
                if same.is_none() {
                    return self.fail(&self.failure("unknown_outcome", true)).await;
                }
                same
            }
        };
        let Some(route) = route else {
            return self.fail(&model_gone(&self.job.call.model)).await;
        };
        let highest = Arc::new(AtomicU8::new(0));
        let context = Context {
            attempt: self.claimed.attempt,
            progress: Arc::new({
                let highest = Arc::clone(&highest);
                move |percent| {
                    highest.fetch_max(percent, Ordering::Relaxed);
                }
            }),
            stop: stop.clone(),
        };
        // Files are stored while the lease is still renewed: large ones take their time.
        let whole = async {
            let outputs = self.work(&context, &route).await?;
            self.ingest_all(outputs).await
        };
        let result = tokio::select! {
            result = whole => result,
            lost = self.stay_alive(&highest) => Err(lost),
            () = stop.cancelled() => Err(Broken::LeaseLost),
            () = halt.cancelled() => Err(Broken::Halted),
        };
        match result {
            Ok(assets) => self.deliver(assets, &route).await,
            Err(Broken::Storage(error)) => {
                tracing::error!(job.id = %self.job.id, error = &error as &dyn std::error::Error, "an output could not be stored");
                self.fail(&self.failure("storage_unavailable", true)).await;
            }
            Err(Broken::LeaseLost) => self.give_up(&route).await,
            // What was asked stays written down, so that the next attempt polls a task instead of buying another.
            Err(Broken::Halted) => self.hand_back(Duration::ZERO, &[]).await,
            Err(Broken::Provider(error)) => self.provider_failed(&error).await,
            Err(Broken::Ours(error)) => {
                tracing::error!(job.id = %self.job.id, error = %error, "an attempt broke off");
                self.hand_back(self.backoff(), &[]).await;
            }
        }
    }

    /// The provider at which an earlier attempt may have bought something.
    fn asked_before(&self) -> Option<&str> {
        match self.claimed.steps.get(&ONLY) {
            None | Some(PriorStep::Finished { .. }) => None,
            Some(PriorStep::Unknown { provider, .. } | PriorStep::Task { provider, .. }) => {
                Some(provider)
            }
        }
    }

    async fn work(&self, context: &Context, route: &Working) -> Result<Vec<Output>, Broken> {
        let provider = &route.provider;
        let asked = StepRoute {
            step: ONLY,
            route: 0,
            provider: provider.name().to_owned(),
        };
        let task = match self.claimed.steps.get(&ONLY) {
            Some(PriorStep::Task { external_id, .. }) => external_id.clone(),
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
                    self.engine
                        .store()
                        .mark_submitting(self.lease, &asked, self.lease_end())
                        .await?;
                }
                let request =
                    Request::new(self.job.id.as_str(), &self.job.call, &route.route, media);
                match provider.submit(context, request).await? {
                    Submitted::Done(outputs) => return Ok(outputs),
                    Submitted::Accepted(task) => {
                        self.record(&asked, &task).await?;
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
                    tracing::warn!(job.id = %self.job.id, error = %error, "a poll failed");
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes the provider's name for the task down, again and again while the store is away: without it a purchase is
    /// lost.
    async fn record(&self, asked: &StepRoute, task: &str) -> Result<(), Broken> {
        let mut rest = FIRST_BACKOFF;
        for _ in 1..SETTLE_TRIES {
            let recorded =
                self.engine
                    .store()
                    .record_task(self.lease, asked, task, self.lease_end());
            match recorded.await {
                Err(error) if error.is_temporary() => {
                    tracing::error!(job.id = %self.job.id, error = &error as &dyn std::error::Error, "a task could not be written down");
                    tokio::time::sleep(rest).await;
                    rest = (rest * 2).min(LONGEST_BACKOFF);
                }
                settled => return Ok(settled?),
            }
        }
        let last = self
            .engine
            .store()
            .record_task(self.lease, asked, task, self.lease_end());
        Ok(last.await?)
    }

    /// The files that the job names, from our own storage, and the memory that they may take.
    async fn media(&self) -> Result<(Vec<MediaInput>, Option<SemaphorePermit<'_>>), Broken> {
        let assets = self.inputs().await?;
        if assets.is_empty() {
            return Ok((Vec::new(), None));
        }
        let bytes: u64 = assets.iter().map(|(_, asset)| asset.bytes).sum();
        let mebibytes = u32::try_from(bytes / 1_048_576 + 1).unwrap_or(u32::MAX);
        let budget = self
            .engine
            .input_budget
            .acquire_many(mebibytes.min(INPUT_BUDGET_MIB))
            .await
            .map_err(|closed| Broken::Ours(Box::new(closed)))?;
        let mut media = Vec::with_capacity(assets.len());
        for (field, asset) in assets {
            let read = self
                .engine
                .parts
                .media
                .read(&asset.storage_key, asset.bytes);
            let bytes = read.await.map_err(|error| {
                tracing::error!(job.id = %self.job.id, asset.id = %asset.id, error = &error as &dyn std::error::Error, "an input cannot be read");
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

    async fn inputs(&self) -> Result<Vec<(String, Asset)>, Broken> {
        let mut assets = Vec::new();
        let model = self.engine.catalog().model(&self.job.call.model);
        for field in model.iter().flat_map(|model| model.schema.media_fields()) {
            let named = match self.job.call.input.get(field.name) {
                Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
                Some(Value::String(one)) => vec![one.as_str()],
                _ => Vec::new(),
            };
            for reference in named {
                let id = reference.strip_prefix(REFERENCE).and_then(AssetId::parse);
                let id = id.ok_or_else(|| input_gone(reference))?;
                let asset = self.engine.store().asset(&self.job.org_id, &id).await?;
                let asset = asset.ok_or_else(|| input_gone(reference))?;
                assets.push((field.name.to_owned(), asset));
            }
        }
        Ok(assets)
    }

    /// Keeps the lease and writes progress down. Ends only when the lease is lost.
    async fn stay_alive(&self, highest: &AtomicU8) -> Broken {
        let renew_after = self.engine.settings().worker.lease / 3;
        let mut written = 0;
        let mut quiet = Duration::ZERO;
        loop {
            tokio::time::sleep(PROGRESS_EVERY).await;
            quiet += PROGRESS_EVERY;
            // 100 is for a job that has ended.
            let progress = highest.load(Ordering::Relaxed).min(99);
            if progress == written && quiet < renew_after {
                continue;
            }
            match self
                .engine
                .store()
                .report_progress(self.lease, progress, None, self.lease_end())
                .await
            {
                Ok(()) => {
                    (written, quiet) = (progress, Duration::ZERO);
                    self.shown.store(progress, Ordering::Relaxed);
                    self.engine.changes.announce(&self.job.id);
                }
                Err(StoreError::LeaseLost) => return Broken::LeaseLost,
                Err(error) => {
                    tracing::warn!(job.id = %self.job.id, error = &error as &dyn std::error::Error, "progress could not be written");
                }
            }
        }
    }

    async fn deliver(&self, assets: Vec<Asset>, route: &Working) {
        let delivered = u32::try_from(assets.len()).unwrap_or(u32::MAX);
        if delivered == 0 {
            return self.fail(&self.failure("no_output", true)).await;
        }
        let refund = self
            .job
            .price
            .missing_share(self.job.call.outputs, delivered);
        let outcome = Outcome::Completed {
            outputs: assets,
            refund,
        };
        self.settle(outcome, Some(route.provider.name())).await;
    }

    async fn ingest_all(&self, outputs: Vec<Output>) -> Result<Vec<Asset>, Broken> {
        let wanted = usize::try_from(self.job.call.outputs).unwrap_or(usize::MAX);
        let mut assets = Vec::new();
        for output in outputs {
            // Only what can be used counts: a caption before the image must not take its place.
            if assets.len() == wanted {
                break;
            }
            match self.ingest(output).await.map_err(Broken::Storage)? {
                Some(asset) => assets.push(asset),
                None => {
                    tracing::warn!(job.id = %self.job.id, "an output is not what was asked for");
                }
            }
        }
        Ok(assets)
    }

    /// Into our storage, if the bytes are what the job makes.
    async fn ingest(&self, output: Output) -> Result<Option<Asset>, MediaError> {
        let Some(found) = sniff(&output.bytes).filter(|found| found.kind == self.job.call.kind)
        else {
            return Ok(None);
        };
        let asset = Asset {
            id: AssetId::new(self.engine.now(), self.engine.random()),
            org_id: self.job.org_id.clone(),
            job_id: Some(self.job.id.clone()),
            role: AssetRole::Output,
            kind: found.kind,
            media_type: found.media_type.to_owned(),
            storage_key: self.engine.new_storage_key(found.extension),
            bytes: u64::try_from(output.bytes.len()).unwrap_or(u64::MAX),
            dimensions: found.dimensions,
            duration_ms: output.duration_ms,
            filename: None,
            upload_key: None,
            created_at: self.engine.now(),
        };
        self.engine
            .parts
            .media
            .put(&asset.storage_key, output.bytes)
            .await?;
        Ok(Some(asset))
    }

    async fn provider_failed(&self, error: &ProviderError) {
        match self.job.mode {
            Mode::Live => {
                tracing::warn!(job.id = %self.job.id, attempt = self.claimed.attempt, error = %error, "the provider failed");
            }
            // As its caller told it to: nothing for an operator to mend.
            Mode::Test => {
                tracing::info!(job.id = %self.job.id, attempt = self.claimed.attempt, error = %error, "the sandbox failed");
            }
        }
        // The sandbox fails as often as it was told to; the deadline is its bound.
        let tries_left = self.job.mode == Mode::Test
            || self.claimed.attempt < self.engine.settings().worker.max_attempts;
        let wait = error.retry_after.unwrap_or_default().max(self.backoff());
        match error.next() {
            Next::Retry if tries_left && self.engine.now().plus(wait) < self.claimed.deadline => {
                self.hand_back(wait, &[ONLY]).await;
            }
            Next::Retry | Next::Fail => {
                let failure = if error.kind == ErrorKind::TimedOut {
                    timeout_failure()
                } else {
                    self.failure(error.reason(), error.may_succeed_later())
                };
                self.fail(&failure).await;
            }
        }
    }

    fn failure(&self, reason: &str, retryable: bool) -> Failure {
        Failure {
            code: ErrorCode::GenerationFailed,
            message: self.job.call.failure_sentence(),
            reason: reason.to_owned(),
            retryable,
        }
    }

    async fn fail(&self, failure: &Failure) {
        self.settle(Outcome::Failed(failure.clone()), None).await;
    }

    /// Writes the end down, again and again while the store is away: the files are here, and paid for.
    async fn settle(&self, outcome: Outcome, provider: Option<&str>) {
        let mut rest = FIRST_BACKOFF;
        let mut settlement = Settlement {
            outcome,
            provider: provider.map(str::to_owned),
            entry: self.engine.new_entry(),
            now: self.engine.now(),
        };
        for _ in 0..SETTLE_TRIES {
            let settled = self
                .engine
                .store()
                .settle_job(self.lease, settlement.clone());
            match settled.await {
                Ok(()) => return self.engine.ended(&self.ended(settlement)),
                Err(StoreError::LeaseLost) => return self.too_late(settlement.outcome).await,
                Err(error) => {
                    tracing::error!(job.id = %self.job.id, error = &error as &dyn std::error::Error, "an end could not be written");
                    tokio::time::sleep(rest).await;
                    rest = (rest * 2).min(LONGEST_BACKOFF);
                    settlement.entry = self.engine.new_entry();
                    settlement.now = self.engine.now();
                }
            }
        }
    }

    /// The job as it was just written down.
    fn ended(&self, settlement: Settlement) -> Job {
        let mut job = self.job.clone();
        job.status_message = None;
        job.completed_at = Some(settlement.now);
        job.progress = self.shown.load(Ordering::Relaxed);
        job.provider = settlement.provider.or(job.provider);
        match settlement.outcome {
            Outcome::Completed { outputs, refund } => {
                job.status = JobStatus::Completed;
                job.progress = 100;
                job.refunded = refund;
                job.outputs = outputs;
            }
            Outcome::Failed(failure) => {
                job.status = JobStatus::Failed;
                job.refunded = job.price;
                job.failure = Some(failure);
            }
        }
        job
    }

    /// Ended by somebody else, with its refund: a late result neither charges nor shows. It was bought all the same, so
    /// that the operator finds it; what another attempt is about to deliver is not kept twice.
    async fn too_late(&self, outcome: Outcome) {
        let Outcome::Completed { outputs, .. } = outcome else {
            return;
        };
        let late = outputs
            .iter()
            .cloned()
            .map(|output| Asset {
                role: AssetRole::Late,
                ..output
            })
            .collect();
        match self.engine.store().keep_late(&self.job.id, late).await {
            Ok(true) => {
                tracing::warn!(job.id = %self.job.id, "a result came after its job had ended; it is kept for the operator");
            }
            Ok(false) => self.discard(&outputs).await,
            Err(error) => {
                tracing::error!(job.id = %self.job.id, error = &error as &dyn std::error::Error, "a late result could not be kept");
            }
        }
    }

    /// Files that no row will ever name.
    async fn discard(&self, outputs: &[Asset]) {
        for asset in outputs {
            if let Err(error) = self.engine.parts.media.delete(&asset.storage_key).await {
                tracing::warn!(job.id = %self.job.id, error = &error as &dyn std::error::Error, "a file could not be removed");
            }
        }
    }

    async fn hand_back(&self, wait: Duration, forget: &[u32]) {
        let again_at = self.engine.now().plus(wait);
        match self
            .engine
            .store()
            .hand_back(self.lease, again_at, forget)
            .await
        {
            Ok(()) | Err(StoreError::LeaseLost) => {}
            // The lease expires by itself.
            Err(error) => {
                tracing::error!(job.id = %self.job.id, error = &error as &dyn std::error::Error, "a job could not be handed back");
            }
        }
    }

    /// Tells the provider that nobody waits any more.
    async fn give_up(&self, route: &Working) {
        let job = self
            .engine
            .store()
            .job(&self.job.org_id, &self.job.id)
            .await;
        // A job that only changed hands is still wanted.
        if let Ok(Some(Job {
            external_id: Some(task),
            status,
            ..
        })) = job
            && status.is_final()
        {
            route.provider.cancel(&task).await;
        }
    }

    fn lease_end(&self) -> Timestamp {
        self.engine.now().plus(self.engine.settings().worker.lease)
    }

    fn backoff(&self) -> Duration {
        let doublings = self.claimed.attempt.saturating_sub(1).min(8);
        (FIRST_BACKOFF * 2_u32.pow(doublings)).min(LONGEST_BACKOFF)
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
