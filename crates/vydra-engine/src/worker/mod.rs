//! The worker: claims no more jobs than it has room for, runs each under its lease, and ends what is over.

mod attempt;
mod floor;
mod outputs;
mod stages;
mod step;
mod sweep;
mod walk;

pub(crate) use floor::Floor;
use floor::{Aside, Room, SHARE};
use sweep::{Chore, Pruning};

use crate::{Engine, Result};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vydra_core::error_code::ErrorCode;
use vydra_core::ids::AssetId;
use vydra_core::job::{Failure, PROCESSING_LIMIT};
use vydra_core::time::Timestamp;
use vydra_store::store::{Claim, ClaimedJob, Lease, Outcome, Settlement};

const SHORTEST_REST: Duration = Duration::from_millis(50);
/// After a round that began nothing, from its begin: places become free and jobs come thousands of times a second, and each
/// look is a question to the store.
const SHORTEST_ROUND: Duration = Duration::from_millis(5);
/// Also without a due job the store is looked at this often: another process may have changed it.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// After a failure of the store.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(500);
/// What a stop leaves for handing jobs back, once the time for draining is over.
const HAND_BACK: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Worker {
    engine: Arc<Engine>,
    floor: Arc<Floor>,
    last_forgotten: Mutex<Option<Timestamp>>,
    /// The deleted file behind which the next sweep goes on; none when it begins with the first one.
    swept_to: Mutex<Option<AssetId>>,
    pruning: Mutex<Pruning>,
}

impl Worker {
    pub fn new(engine: Arc<Engine>) -> Self {
        Self {
            floor: Arc::new(Floor::new(Arc::clone(&engine))),
            engine,
            last_forgotten: Mutex::default(),
            swept_to: Mutex::default(),
            pruning: Mutex::default(),
        }
    }

    /// For the start of a server: what a dead one left is free at once, unless another one is here.
    pub async fn take_over(&self) -> Result<()> {
        let freed = self
            .engine
            .store()
            .release_leases(self.engine.now())
            .await?;
        if freed > 0 {
            tracing::info!(jobs = freed, "jobs that were interrupted go on");
        }
        Ok(())
    }

    /// Works until `stop`, then drains.
    pub async fn run(self, stop: CancellationToken) {
        self.engine.open_floor(&self.floor);
        tokio::join!(
            self.work(&stop),
            self.sweep(Chore::Files, &stop),
            self.sweep(Chore::OldJobs, &stop)
        );
        self.engine.close_floor();
        self.drain().await;
    }

    async fn work(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let soonest = Instant::now() + SHORTEST_ROUND;
            let (began, rest) = match self.round().await {
                Ok(done) => done,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the worker cannot reach the store"
                    );
                    (0, PAUSE_AFTER_FAILURE)
                }
            };
            let rung = async {
                self.engine.work.notified().await;
                if began == 0 {
                    tokio::time::sleep_until(soonest).await;
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = rung => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// One round by hand: every job that can be claimed now is run to the end of its attempt.
    pub async fn step(&self) -> Result<usize> {
        self.expire().await?;
        self.forget().await?;
        while self.sweep_assets().await? {}
        while self.prune().await? {}
        let mut count = 0;
        for room in &self.floor.rooms {
            let aside = room.set_aside(|free| free);
            let (claimed, _) = self.claim(&aside).await?;
            count += claimed.len();
            for job in claimed {
                attempt::run(&self.engine, job, &self.floor.halt).await;
            }
        }
        Ok(count)
    }

    /// Starts what can be started, ends what is over, and says how many were started and how long there is nothing more to do.
    async fn round(&self) -> Result<(usize, Duration)> {
        self.free_gone().await?;
        let mut began = 0;
        for room in &self.floor.rooms {
            loop {
                let (taken, more) = self.fill(room).await?;
                began += taken;
                if !more {
                    break;
                }
            }
        }
        self.forget().await?;
        let due = self.engine.store().next_due().await?;
        let now = self.engine.now();
        if due.deadline.is_some_and(|deadline| deadline <= now) {
            self.expire().await?;
        }
        // What is due and was not claimed waits for a place, whose end rings the bell.
        let next = due.lease.into_iter().chain(due.deadline).min();
        let rest = next.map_or(LONGEST_REST, |due| {
            due.since(now).clamp(SHORTEST_REST, LONGEST_REST)
        });
        Ok((began, rest))
    }

    /// What nodes held that are gone need not wait until their leases are over.
    async fn free_gone(&self) -> Result<()> {
        let (engine, mut left) = (&self.engine, Ok(()));
        for node in engine.nodes.take_gone() {
            match engine.store().release_leases_of(node, engine.now()).await {
                Ok(0) => {}
                Ok(jobs) => tracing::warn!(jobs, "another node is gone, and its jobs go on"),
                Err(error) => {
                    engine.nodes.add_gone(node);
                    left = Err(error.into());
                }
            }
        }
        left
    }

    /// Begins jobs that wait: how many it took, and whether there may be more.
    async fn fill(&self, room: &Room) -> Result<(usize, bool)> {
        // The other half is for what comes in the meantime and need not wait at all.
        let mut aside = room.set_aside(|free| free.div_ceil(2));
        let places = aside.places;
        let (claimed, taken) = self.claim(&aside).await?;
        let more = places > 0 && taken == places;
        for job in claimed {
            if let Some(place) = aside.give(&job.job.org_id) {
                self.floor.run(job, place);
            }
        }
        Ok((taken, more))
    }

    /// The jobs to run, and how many were taken with those that cannot be read.
    async fn claim(&self, aside: &Aside<'_>) -> Result<(Vec<ClaimedJob>, usize)> {
        let engine = &self.engine;
        if aside.places == 0 {
            return Ok((Vec::new(), 0));
        }
        let room = aside.room;
        let tokens = (0..aside.places).map(|_| self.floor.token()).collect();
        let claim = Claim {
            mode: room.mode,
            tokens,
            free: aside.free,
            held: room.held(),
            share: SHARE,
            now: engine.now(),
            lease: engine.settings().worker.lease,
            limit: PROCESSING_LIMIT,
        };
        let claimed = engine.store().claim_jobs(claim).await?;
        let taken = claimed.jobs.len() + claimed.unreadable.len();
        for lease in claimed.unreadable {
            self.fail_unreadable(&lease).await;
        }
        Ok((claimed.jobs, taken))
    }

    /// Nobody can run it, and nobody shall pay for it.
    async fn fail_unreadable(&self, lease: &Lease) {
        let settlement = Settlement {
            outcome: Outcome::Failed(Failure {
                code: ErrorCode::InternalError,
                message: ErrorCode::InternalError.entry().sentence.to_owned(),
                reason: "unreadable".to_owned(),
                retryable: true,
            }),
            provider: None,
            entry: self.engine.new_entry(),
            now: self.engine.now(),
        };
        if let Err(error) = self.engine.store().settle_job(lease, settlement).await {
            tracing::error!(job.id = %lease.job, error = &error as &dyn std::error::Error, "a job that cannot be read could not be ended");
        }
    }

    async fn drain(&self) {
        self.floor.attempts.close();
        if tokio::time::timeout(
            self.engine.settings().worker.drain,
            self.floor.attempts.wait(),
        )
        .await
        .is_ok()
        {
            return;
        }
        tracing::info!(
            jobs = self.floor.attempts.len(),
            "handing back the jobs that still run"
        );
        self.floor.halt.cancel();
        if tokio::time::timeout(HAND_BACK, self.floor.attempts.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                jobs = self.floor.attempts.len(),
                "some jobs could not be handed back; the next start takes them over"
            );
        }
    }
}
