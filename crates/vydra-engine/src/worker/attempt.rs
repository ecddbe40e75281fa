//! One attempt at one job: its lease, the walk over its steps, and its end. Every write bears the lease; when it is lost,
//! everything is dropped.

use super::stages::Stages;
use super::walk;
use crate::Engine;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use vydra_core::asset::{Asset, AssetRole};
use vydra_core::error_code::ErrorCode;
use vydra_core::job::{Failure, Job, JobStatus, Mode, PROCESSING_LIMIT};
use vydra_core::time::Timestamp;
use vydra_outbound::media::MediaError;
use vydra_store::StoreError;
use vydra_store::store::{ClaimedJob, Lease, Outcome, Settlement};

/// How often progress is written down, when there is any.
const PROGRESS_EVERY: Duration = Duration::from_millis(400);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);
/// How long a job leaves its place to others while its provider has none.
pub(super) const BUSY: Duration = Duration::from_secs(1);
/// How often what becomes of a job is written again when the store is away; afterwards the lease expires and it is taken anew.
const TRIES: u32 = 10;
/// How long a cancelled job waits for the answer of a provider that is being asked.
const LAST_ANSWER: Duration = Duration::from_secs(30);
/// The only step of a job that is a single call.
const ONLY: u32 = 0;

/// Why an attempt did not come to a result.
pub(super) enum Broken {
    /// Not ours any more: cancelled, expired, or taken by another worker.
    LeaseLost,
    /// The process stops.
    Halted,
    /// The job cannot be carried out.
    Failed(Failure),
    /// The provider took nothing, and may take it after this time.
    Again(Duration),
    /// Everybody who could be asked has as many calls as they may have.
    Busy(Duration),
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

/// What a step made, and who made it.
pub(super) struct Made {
    pub(super) outputs: Vec<Asset>,
    pub(super) provider: String,
    pub(super) route: u32,
}

pub(super) async fn run(engine: &Engine, claimed: ClaimedJob, halt: &CancellationToken) {
    let stop = engine.running.start(&claimed.job.id);
    engine.changes.ring(&claimed.job.id);
    // Whatever way this ends, threads that draw for it stop.
    let _stopped = stop.clone().drop_guard();
    Attempt {
        engine,
        job: &claimed.job,
        lease: &claimed.lease,
        claimed: &claimed,
        stop: &stop,
        stages: Stages::new(&claimed.job.call),
        shown: AtomicU8::new(claimed.job.progress),
    }
    .run(halt)
    .await;
    engine.running.finish(&claimed.job.id);
}

pub(super) struct Attempt<'a> {
    pub(super) engine: &'a Engine,
    pub(super) job: &'a Job,
    pub(super) lease: &'a Lease,
    pub(super) claimed: &'a ClaimedJob,
    /// Set when nobody wants the job any more.
    pub(super) stop: &'a CancellationToken,
    pub(super) stages: Stages,
    /// The progress that was written down last.
    shown: AtomicU8,
}

impl Attempt<'_> {
    async fn run(&self, halt: &CancellationToken) {
        let tries = self.engine.settings().worker.max_attempts;
        if self.job.mode == Mode::Live && self.claimed.attempt > tries.saturating_mul(2) {
            // Interrupted so often that it may be what takes the process down, and all other jobs with it.
            let failure = self.failure("interrupted_too_often", true);
            return self.settle(Outcome::Failed(failure), None).await;
        }
        // Files are stored while the lease is still renewed: large ones take their time.
        let result = tokio::select! {
            // In this order, so that the same course of events has the same end: nobody wants what was stopped, and what is
            // here already is not handed back.
            biased;
            () = self.unwanted() => Err(Broken::LeaseLost),
            result = walk::to_the_end(self) => result,
            lost = self.stay_alive() => Err(lost),
            () = halt.cancelled() => Err(Broken::Halted),
        };
        match result {
            Ok(made) => self.deliver(made).await,
            Err(Broken::Storage(error)) => {
                tracing::error!(job.id = %self.job.id, error = &error as &dyn std::error::Error, "an output could not be stored");
                self.fail(self.failure("storage_unavailable", true)).await;
            }
            Err(Broken::Failed(failure)) => self.fail(failure).await,
            Err(Broken::LeaseLost) => self.give_up().await,
            // What was asked stays written down, so that the next attempt polls a task instead of buying another.
            Err(Broken::Halted) => self.hand_back(Duration::ZERO, &self.stages.resting()).await,
            Err(Broken::Again(wait)) => self.hand_back(wait, &[ONLY]).await,
            Err(Broken::Busy(wait)) => self.postpone(wait).await,
            Err(Broken::Ours(error)) => {
                tracing::error!(job.id = %self.job.id, error = %error, "an attempt broke off");
                let wait = backoff(self.claimed.attempt);
                self.hand_back(wait, &self.stages.resting()).await;
            }
        }
    }

    /// Until nobody wants the job any more. A provider that is just being asked is waited for: what it takes can only be
    /// cancelled by the name that it answers with.
    async fn unwanted(&self) {
        self.stop.cancelled().await;
        let _too_slow = tokio::time::timeout(LAST_ANSWER, self.stages.answers()).await;
    }

    /// Keeps the lease and writes progress down. Ends only when the lease is lost.
    async fn stay_alive(&self) -> Broken {
        let renew_after = self.engine.settings().worker.lease / 3;
        let mut written = (0, None);
        let mut quiet = Duration::ZERO;
        loop {
            tokio::time::sleep(PROGRESS_EVERY).await;
            quiet += PROGRESS_EVERY;
            // 100 is for a job that has ended.
            let now = (
                self.stages.progress().min(99),
                self.stages.message(&self.job.call),
            );
            if now == written && quiet < renew_after {
                continue;
            }
            let (progress, message) = &now;
            match self
                .engine
                .store()
                .report_progress(self.lease, *progress, message.as_deref(), self.lease_end())
                .await
            {
                Ok(()) => {
                    self.shown.fetch_max(*progress, Ordering::Relaxed);
                    (written, quiet) = (now, Duration::ZERO);
                    self.engine.came_further(self.job);
                }
                Err(StoreError::LeaseLost) => return Broken::LeaseLost,
                Err(error) => {
                    tracing::warn!(job.id = %self.job.id, error = &error as &dyn std::error::Error, "progress could not be written");
                }
            }
        }
    }

    async fn deliver(&self, made: Made) {
        let delivered = u32::try_from(made.outputs.len()).unwrap_or(u32::MAX);
        let refund = self
            .job
            .price
            .missing_share(self.job.call.outputs, delivered);
        let outcome = Outcome::Completed {
            outputs: made.outputs,
            refund,
        };
        self.settle(outcome, Some(&made.provider)).await;
    }

    pub(super) fn failure(&self, reason: &str, retryable: bool) -> Failure {
        Failure {
            code: ErrorCode::GenerationFailed,
            message: self.job.call.failure_sentence(),
            reason: reason.to_owned(),
            retryable,
        }
    }

    async fn fail(&self, failure: Failure) {
        self.settle(Outcome::Failed(failure), None).await;
        self.give_up().await;
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
        for _ in 0..TRIES {
            let settled = self
                .engine
                .store()
                .settle_job(self.lease, settlement.clone());
            match settled.await {
                Ok(()) => return self.engine.ended(&self.ended(settlement)),
                Err(StoreError::LeaseLost) => {
                    if let Outcome::Completed { outputs, .. } = settlement.outcome {
                        self.too_late(outputs).await;
                    }
                    return;
                }
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
    pub(super) async fn too_late(&self, outputs: Vec<Asset>) {
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
        let (store, again_at) = (self.engine.store(), self.engine.now().plus(wait));
        let handed = self.let_go("the return of a job", || {
            store.hand_back(self.lease, again_at, forget)
        });
        if handed.await && wait.is_zero() {
            // Perhaps another node has a place for it.
            self.engine.work_waits();
        }
    }

    /// Gives the place to a job of another provider. To wait for a place is to wait for its turn: the time for its processing
    /// begins anew, for as long as a job may wait.
    async fn postpone(&self, wait: Duration) {
        let (store, again_at) = (self.engine.store(), self.engine.now().plus(wait));
        let longest = self
            .job
            .created_at
            .plus(self.engine.settings().worker.max_wait);
        let deadline = again_at.min(longest).plus(PROCESSING_LIMIT);
        self.let_go("the wait of a job", || {
            store.postpone(self.lease, again_at, deadline, &[ONLY])
        })
        .await;
    }

    /// Whether the job is another's to take. Otherwise its lease expires by itself.
    async fn let_go<F>(&self, what: &str, write: impl Fn() -> F) -> bool
    where
        F: Future<Output = vydra_store::Result<()>>,
    {
        match self.insist(what, write).await {
            Ok(()) => true,
            Err(Broken::Ours(error)) => {
                tracing::error!(job.id = %self.job.id, error = %error, "a job stays leased although nobody works on it");
                false
            }
            Err(_) => false,
        }
    }

    /// Tells the providers that nobody waits any more for what they still make.
    async fn give_up(&self) {
        let tasks = self.stages.tasks();
        if tasks.is_empty() {
            return;
        }
        let job = self
            .engine
            .store()
            .job(&self.job.org_id, &self.job.id)
            .await;
        // A job that only changed hands is still wanted.
        if job.is_ok_and(|job| job.is_some_and(|job| job.status.is_final())) {
            for (provider, task) in tasks {
                provider.cancel(&task).await;
            }
        }
    }

    /// Writes down what must not be lost, again and again while the store is away.
    pub(super) async fn insist<F>(&self, what: &str, write: impl Fn() -> F) -> Result<(), Broken>
    where
        F: Future<Output = vydra_store::Result<()>>,
    {
        let mut rest = FIRST_BACKOFF;
        for _ in 1..TRIES {
            match write().await {
                // Whether something was written that is not known to be, the next try tells.
                Err(error) if error.is_temporary() || matches!(error, StoreError::Unknown) => {
                    tracing::error!(job.id = %self.job.id, error = &error as &dyn std::error::Error, "{what} could not be written down");
                    tokio::time::sleep(rest).await;
                    rest = (rest * 2).min(LONGEST_BACKOFF);
                }
                settled => return Ok(settled?),
            }
        }
        Ok(write().await?)
    }

    pub(super) fn lease_end(&self) -> Timestamp {
        self.engine.now().plus(self.engine.settings().worker.lease)
    }
}

/// How long to wait after so many tries.
pub(super) fn backoff(tries: u32) -> Duration {
    let doublings = tries.saturating_sub(1).min(8);
    (FIRST_BACKOFF * 2_u32.pow(doublings)).min(LONGEST_BACKOFF)
}
