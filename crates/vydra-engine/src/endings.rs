//! Who waits for which job, and which jobs run here: what links a caller's request to a worker of the same process, and to
//! what is heard of others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vydra_core::ids::JobId;
use vydra_core::job::Job;

/// The job as it ended, once that is known.
type Told = Option<Arc<Job>>;

/// Those who wait for the end of a job.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    waiting: Mutex<HashMap<JobId, watch::Sender<Told>>>,
}

impl Endings {
    /// Register before the job can end, or look at the job afterwards: otherwise its end could slip through between.
    pub(crate) fn of(self: &Arc<Self>, job: &JobId) -> Ending {
        let told = lock(&self.waiting)
            .entry(job.clone())
            .or_insert_with(|| watch::channel(None).0)
            .subscribe();
        Ending {
            endings: Arc::clone(self),
            job: job.clone(),
            told: Some(told),
        }
    }

    pub(crate) fn announce(&self, job: &Job) {
        if let Some(waiting) = lock(&self.waiting).remove(&job.id) {
            waiting.send_replace(Some(Arc::new(job.clone())));
        }
    }

    /// It has ended elsewhere.
    pub(crate) fn look_at(&self, job: &JobId) {
        if let Some(waiting) = lock(&self.waiting).get(job) {
            waiting.send_modify(|_nothing_known| {});
        }
    }

    /// Any of them may have ended.
    pub(crate) fn look_at_all(&self) {
        for waiting in lock(&self.waiting).values() {
            waiting.send_modify(|_nothing_known| {});
        }
    }
}

/// Somebody who waits. Leaves nothing behind when nobody else does.
#[derive(Debug)]
pub(crate) struct Ending {
    endings: Arc<Endings>,
    job: JobId,
    /// None only while it is dropped.
    told: Option<watch::Receiver<Told>>,
}

impl Ending {
    /// The job as it ended; None when it may have, and is to be looked at.
    pub(crate) async fn told(&mut self) -> Told {
        let told = self.told.as_mut()?;
        // The sender is there as long as nothing is known.
        let _is_there = told.changed().await;
        told.borrow_and_update().clone()
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Before the look whether anybody still waits.
        self.told = None;
        let mut waiting = lock(&self.endings.waiting);
        if waiting
            .get(&self.job)
            .is_some_and(|told| told.receiver_count() == 0)
        {
            waiting.remove(&self.job);
        }
    }
}

/// The jobs that run in this process, each with what stops it.
#[derive(Debug, Default)]
pub(crate) struct Running {
    jobs: Mutex<HashMap<JobId, CancellationToken>>,
}

impl Running {
    pub(crate) fn start(&self, job: &JobId) -> CancellationToken {
        let stop = CancellationToken::new();
        lock(&self.jobs).insert(job.clone(), stop.clone());
        stop
    }

    pub(crate) fn finish(&self, job: &JobId) {
        lock(&self.jobs).remove(job);
    }

    pub(crate) fn stop(&self, job: &JobId) {
        if let Some(stop) = lock(&self.jobs).get(job) {
            stop.cancel();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
