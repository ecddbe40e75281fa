//! The worker: claims no more jobs than it has room for, runs each under its lease, and ends what is over.

mod attempt;
mod sweep;

use crate::{Engine, Result};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vydra_core::job::{Mode, PROCESSING_LIMIT};
use vydra_core::random::letters_and_digits;
use vydra_core::time::Timestamp;
use vydra_store::store::{ClaimedJob, LeaseToken};

/// The sandbox has one place for so many of the others.
const SANDBOX_SHARE: usize = 4;
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
    places: Arc<Semaphore>,
}

impl Worker {
    pub fn new(engine: Arc<Engine>) -> Self {
        let concurrency = engine.settings().worker.concurrency.max(1);
        let room = |mode, places: usize| Room {
            mode,
            places: Arc::new(Semaphore::new(places.max(1))),
        };
        Self {
            engine,
            rooms: [
                room(Mode::Live, concurrency),
                room(Mode::Test, concurrency / SANDBOX_SHARE),
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
                () = self.engine.work.notified() => {}
                () = tokio::time::sleep(rest) => {}
                () = stop.cancelled() => {}
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

    /// Ends what is over, starts what can be started, and says how long there is nothing more to do.
    async fn round(&self) -> Result<Duration> {
        self.expire().await?;
        self.forget().await?;
        for room in &self.rooms {
            for job in self.claim(room).await? {
                let Ok(place) = Arc::clone(&room.places).acquire_owned().await else {
                    break;
                };
                let (engine, halt) = (Arc::clone(&self.engine), self.halt.clone());
                self.attempts.spawn(async move {
                    attempt::run(&engine, job, &halt).await;
                    drop(place);
                    engine.work.notify_one();
                });
            }
        }
        let due = self.engine.store().next_due().await?;
        // What is due and was not claimed waits for a place, whose end rings the bell.
        Ok(due.map_or(LONGEST_REST, |due| {
            due.since(self.engine.now())
                .clamp(SHORTEST_REST, LONGEST_REST)
        }))
    }

    async fn claim(&self, room: &Room) -> Result<Vec<ClaimedJob>> {
        let engine = &self.engine;
        let tokens: Vec<LeaseToken> = (0..room.places.available_permits())
            .map(|_| LeaseToken(letters_and_digits(engine.random(), 24)))
            .collect();
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        Ok(engine
            .store()
            .claim_jobs(
                tokens,
                Some(room.mode),
                engine.now(),
                engine.settings().worker.lease,
                PROCESSING_LIMIT,
            )
            .await?)
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
