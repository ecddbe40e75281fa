//! Who waits for which job, and which jobs run here: what links a caller's request to a worker of the same process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use vydra_core::ids::JobId;
use vydra_core::job::Job;

/// Those who wait for the end of a job.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    waiting: Mutex<HashMap<JobId, Vec<oneshot::Sender<Job>>>>,
}

impl Endings {
    /// Register before the job can end, or look at the job afterwards: otherwise its end could slip through between.
    pub(crate) fn of(&self, job: &JobId) -> oneshot::Receiver<Job> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        let senders = waiting.entry(job.clone()).or_default();
        senders.retain(|sender| !sender.is_closed());
        senders.push(sender);
        receiver
    }

    pub(crate) fn announce(&self, job: &Job) {
        let senders = lock(&self.waiting).remove(&job.id).unwrap_or_default();
        for sender in senders {
            // Whoever has given up waiting needs no answer.
            let _ = sender.send(job.clone());
        }
    }

    /// For whoever gives up: leaves nothing behind when nobody else waits.
    pub(crate) fn forget(&self, job: &JobId) {
        let mut waiting = lock(&self.waiting);
        if let Some(senders) = waiting.get_mut(job) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.remove(job);
            }
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
