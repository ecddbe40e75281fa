//! The worker: claims no more jobs than it has room for, runs each under its lease, and ends what is over.

mod attempt;
mod stages;
mod step;
mod sweep;
mod walk;

use crate::{Engine, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vydra_core::error_code::ErrorCode;
use vydra_core::ids::OrgId;
use vydra_core::job::{Failure, Mode, PROCESSING_LIMIT};
use vydra_core::random::letters_and_digits;
use vydra_core::time::Timestamp;
use vydra_store::store::{Claim, ClaimedJob, Lease, LeaseToken, Outcome, Settlement};

/// The sandbox has one place for so many of the others.
const SANDBOX_SHARE: usize = 4;
/// Three quarters of the places for one organization, three quarters of the rest for the next.
const SHARE: u32 = 3;
const SHORTEST_REST: Duration = Duration::from_millis(50);
/// Also without a due job the store is looked at this often: another process may have changed it.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// After a failure of the store.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(500);
/// What a stop leaves for handing jobs back, once the time for draining is over.
const HAND_BACK: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Worker {
    engine: Arc<Engine>,
    rooms: [Room; 2],
    attempts: TaskTracker,
    /// Set when draining is over: what still runs is handed back.
    halt: CancellationToken,
    last_forgotten: Mutex<Option<Timestamp>>,
}

/// Places for jobs of one mode: what test keys start takes none from what is paid for.
#[derive(Debug)]
struct Room {
    mode: Mode,
    places: usize,
    taken: Arc<Mutex<Taken>>,
}

/// Who holds the places of a room.
#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_organization: HashMap<OrgId, u32>,
}

/// A place in a room, until it is dropped.
#[derive(Debug)]
struct Place {
    taken: Arc<Mutex<Taken>>,
    org: OrgId,
}

impl Room {
    fn new(mode: Mode, places: usize) -> Self {
        Self {
            mode,
            places: places.max(1),
            taken: Arc::default(),
        }
    }

    fn free(&self) -> usize {
        self.places.saturating_sub(lock(&self.taken).all)
    }

    fn held(&self) -> Vec<(OrgId, u32)> {
        let taken = lock(&self.taken);
        let held = taken.by_organization.iter();
        held.map(|(org, places)| (org.clone(), *places)).collect()
    }

    fn take(&self, org: &OrgId) -> Place {
        let mut taken = lock(&self.taken);
        taken.all += 1;
        *taken.by_organization.entry(org.clone()).or_default() += 1;
        Place {
            taken: Arc::clone(&self.taken),
            org: org.clone(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all -= 1;
        if let Some(places) = taken.by_organization.get_mut(&self.org) {
            *places -= 1;
            if *places == 0 {
                taken.by_organization.remove(&self.org);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Worker {
    pub fn new(engine: Arc<Engine>) -> Self {
        let concurrency = engine.settings().worker.concurrency.max(1);
        Self {
            engine,
            rooms: [
                Room::new(Mode::Live, concurrency),
                Room::new(Mode::Test, concurrency / SANDBOX_SHARE),
            ],
            attempts: TaskTracker::new(),
            halt: CancellationToken::new(),
            last_forgotten: Mutex::default(),
        }
    }

    /// For the start of the only process on this database: what a dead one left is free at once.
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
        while !stop.is_cancelled() {
            let rest = match self.round().await {
                Ok(rest) => rest,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the worker cannot reach the store"
                    );
                    PAUSE_AFTER_FAILURE
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.engine.work.notified() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
        self.drain().await;
    }

    /// One round by hand: every job that can be claimed now is run to the end of its attempt.
    pub async fn step(&self) -> Result<usize> {
        self.expire().await?;
        self.forget().await?;
        let mut count = 0;
        for room in &self.rooms {
            let claimed = self.claim(room).await?;
            count += claimed.len();
            for job in claimed {
                attempt::run(&self.engine, job, &self.halt).await;
            }
        }
        Ok(count)
    }

    /// Starts what can be started, ends what is over, and says how long there is nothing more to do.
    async fn round(&self) -> Result<Duration> {
        for room in &self.rooms {
            for job in self.claim(room).await? {
                let place = room.take(&job.job.org_id);
                let (engine, halt) = (Arc::clone(&self.engine), self.halt.clone());
                self.attempts.spawn(async move {
                    attempt::run(&engine, job, &halt).await;
                    drop(place);
                    engine.work.notify_one();
                });
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
        Ok(next.map_or(LONGEST_REST, |due| {
            due.since(now).clamp(SHORTEST_REST, LONGEST_REST)
        }))
    }

    async fn claim(&self, room: &Room) -> Result<Vec<ClaimedJob>> {
        let engine = &self.engine;
        let free = room.free();
        if free == 0 {
            return Ok(Vec::new());
        }
        // Randomness costs more than the rest of a claim: one secret for all, and a number for each.
        let secret = letters_and_digits(engine.random(), 24);
        let tokens = (0..free)
            .map(|place| LeaseToken(format!("{secret}-{place}")))
            .collect();
        let claim = Claim {
            mode: room.mode,
            tokens,
            held: room.held(),
            share: SHARE,
            now: engine.now(),
            lease: engine.settings().worker.lease,
            limit: PROCESSING_LIMIT,
        };
        let claimed = engine.store().claim_jobs(claim).await?;
        for lease in claimed.unreadable {
            self.fail_unreadable(&lease).await;
        }
        Ok(claimed.jobs)
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
        self.attempts.close();
        if tokio::time::timeout(self.engine.settings().worker.drain, self.attempts.wait())
            .await
            .is_ok()
        {
            return;
        }
        tracing::info!(
            jobs = self.attempts.len(),
            "handing back the jobs that still run"
        );
        self.halt.cancel();
        if tokio::time::timeout(HAND_BACK, self.attempts.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                jobs = self.attempts.len(),
                "some jobs could not be handed back; the next start takes them over"
            );
        }
    }
}
