//! The places of a worker, and the jobs that hold them.

use super::attempt;
use crate::Engine;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vydra_core::ids::OrgId;
use vydra_core::job::{Mode, PROCESSING_LIMIT};
use vydra_core::random::letters_and_digits;
use vydra_store::store::{ClaimedJob, LeaseToken, NewJob, Share, Start, Submission};

/// The sandbox has one place for so many of the others.
const SANDBOX_SHARE: usize = 4;
/// Three quarters of the places for one organization, three quarters of the rest for the next.
pub(super) const SHARE: Share = Share(3);

#[derive(Debug)]
pub(crate) struct Floor {
    engine: Arc<Engine>,
    pub(super) rooms: [Room; 2],
    pub(super) attempts: TaskTracker,
    /// Set when draining is over: what still runs is handed back.
    pub(super) halt: CancellationToken,
    /// Randomness costs more than the rest of a claim: one secret for all leases, and a number for each.
    secret: String,
    leases: AtomicU64,
}

/// Places for jobs of one mode: what test keys start takes none from what is paid for.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) mode: Mode,
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
pub(super) struct Place {
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

    /// Also while the last place is held for a claim, which may come back without a job.
    fn has_room(&self) -> bool {
        let taken = lock(&self.taken);
        let held: usize = taken
            .by_organization
            .values()
            .map(|places| *places as usize)
            .sum();
        held < self.places
    }

    pub(super) fn held(&self) -> Vec<(OrgId, u32)> {
        let taken = lock(&self.taken);
        let held = taken.by_organization.iter();
        held.map(|(org, places)| (org.clone(), *places)).collect()
    }

    /// For a claim: at most so many of the places that are free, as `most` says of their number.
    pub(super) fn set_aside(&self, most: impl Fn(usize) -> usize) -> Aside<'_> {
        let mut taken = lock(&self.taken);
        let free = self.places.saturating_sub(taken.all);
        let places = most(free).min(free);
        taken.all += places;
        Aside {
            room: self,
            free,
            places,
        }
    }

    /// For a job that is not written down yet.
    fn take(&self, org: &OrgId) -> Option<Place> {
        let mut taken = lock(&self.taken);
        let free = self.places.saturating_sub(taken.all);
        let held = taken.by_organization.get(org).copied().unwrap_or(0);
        if free == 0 || !SHARE.allows(held, free) {
            return None;
        }
        taken.all += 1;
        Some(self.held_by(org, &mut taken))
    }

    fn held_by(&self, org: &OrgId, taken: &mut Taken) -> Place {
        *taken.by_organization.entry(org.clone()).or_default() += 1;
        Place {
            taken: Arc::clone(&self.taken),
            org: org.clone(),
        }
    }
}

/// Places that are held while nobody knows yet for whom.
#[derive(Debug)]
pub(super) struct Aside<'a> {
    pub(super) room: &'a Room,
    /// How many there were to be had, these among them.
    pub(super) free: usize,
    pub(super) places: usize,
}

impl Aside<'_> {
    /// One of them for a job of this organization. None when all are given away.
    pub(super) fn give(&mut self, org: &OrgId) -> Option<Place> {
        self.places = self.places.checked_sub(1)?;
        Some(self.room.held_by(org, &mut lock(&self.room.taken)))
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        lock(&self.room.taken).all -= self.places;
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

/// Where new jobs find the worker of their process.
impl Engine {
    pub(crate) fn floor(&self) -> Option<Arc<Floor>> {
        lock(&self.floor).upgrade()
    }

    pub(super) fn open_floor(&self, floor: &Arc<Floor>) {
        *lock(&self.floor) = Arc::downgrade(floor);
    }

    pub(super) fn close_floor(&self) {
        *lock(&self.floor) = Weak::new();
    }
}

impl Floor {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let concurrency = engine.settings().worker.concurrency.max(1);
        Self {
            rooms: [
                Room::new(Mode::Live, concurrency),
                Room::new(Mode::Test, concurrency / SANDBOX_SHARE),
            ],
            attempts: TaskTracker::new(),
            halt: CancellationToken::new(),
            secret: letters_and_digits(engine.random(), 16),
            leases: AtomicU64::new(0),
            engine,
        }
    }

    pub(super) fn token(&self) -> LeaseToken {
        let number = self.leases.fetch_add(1, Ordering::Relaxed);
        LeaseToken::of(self.engine.nodes.own, &self.secret, number)
    }

    pub(crate) fn has_room(&self) -> bool {
        self.rooms.iter().any(Room::has_room)
    }

    pub(crate) fn has_room_for(&self, mode: Mode) -> bool {
        let mut rooms = self.rooms.iter().filter(|room| room.mode == mode);
        rooms.any(Room::has_room)
    }

    /// Runs a job that was claimed.
    pub(super) fn run(self: &Arc<Self>, job: ClaimedJob, place: Place) {
        self.engine.came_further(&job.job);
        let floor = Arc::clone(self);
        self.attempts.spawn(async move {
            floor.attempt(job, place).await;
        });
    }

    async fn attempt(&self, job: ClaimedJob, place: Place) {
        attempt::run(&self.engine, job, &self.halt).await;
        self.leave(place);
    }

    /// Somebody may have found no place while this one was held.
    fn leave(&self, place: Place) {
        drop(place);
        self.engine.work.notify_one();
    }

    /// Writes a job down, and begins it in the same transaction when there is a place for it and nobody waits: one write
    /// less, and no time in between.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        mut new: NewJob,
    ) -> vydra_store::Result<Submission> {
        let room = self.rooms.iter().find(|room| room.mode == new.mode);
        let place = room.and_then(|room| room.take(&new.org_id));
        let Some(place) = place else {
            let mode = new.mode;
            let submitted = self.engine.store().submit_job(new).await;
            self.engine.submitted(&submitted, mode);
            return submitted;
        };
        new.start = Some(Start {
            token: self.token(),
            lease: self.engine.settings().worker.lease,
            limit: PROCESSING_LIMIT,
        });
        let floor = Arc::clone(self);
        let (answer, answered) = tokio::sync::oneshot::channel();
        // A caller who goes away in between takes nothing with him: what was written down is run.
        self.attempts.spawn(async move {
            let mode = new.mode;
            let mut submitted = floor.engine.store().submit_job(new).await;
            let begun = match &mut submitted {
                Ok(Submission::Accepted { begun, .. }) => begun.take(),
                _ => None,
            };
            if begun.is_none() {
                floor.engine.submitted(&submitted, mode);
            }
            let _gone = answer.send(submitted);
            // The answer first: a job may keep this thread for a while before it waits for anything.
            tokio::task::yield_now().await;
            match begun {
                Some(job) => floor.attempt(*job, place).await,
                None => floor.leave(place),
            }
        });
        answered.await.unwrap_or_else(|_panicked| {
            Err(vydra_store::StoreError::Database(
                "a submission broke off".into(),
            ))
        })
    }
}
