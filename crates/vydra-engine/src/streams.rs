//! What happens to a job, as it happens, for whoever holds a stream open.

use crate::bells::Listener;
use crate::{Caller, Engine, Error, Exceeded, LimitKind, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use vydra_core::ids::{JobId, OrgId};
use vydra_core::job::{Job, JobStatus};
use vydra_core::scope::Scope;

/// A client that is still there comes back, and goes on where it was.
const LONGEST_STREAM: Duration = Duration::from_mins(30);
const STREAMS_OF_ONE: u32 = 100;
const STREAMS: u32 = 2_000;
/// The mark of the last event.
const END: u16 = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Status,
    Progress,
    /// Nothing follows.
    End,
}

#[derive(Debug)]
pub struct JobEvent {
    pub kind: EventKind,
    /// Higher for each event of a job, and the same for every stream of it: status and progress only go forward.
    pub mark: u16,
    pub job: Job,
}

/// What a caller who asks for the events of a job gets.
#[derive(Debug)]
pub enum Watching {
    Events(Box<JobEvents>),
    /// They have seen all of them.
    SeenToTheEnd,
}

/// A stream of events. Dropping it frees its place.
#[derive(Debug)]
pub struct JobEvents {
    engine: Arc<Engine>,
    org: OrgId,
    id: JobId,
    /// The mark of the last event that the client has seen.
    last: Option<u16>,
    /// What is to be told first.
    fresh: Option<Job>,
    changes: Listener<JobId>,
    ends_at: Instant,
    _place: Place,
}

impl Engine {
    /// The events of the job behind the one marked `seen`; without it, from how the job stands now.
    pub async fn job_events(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
        seen: Option<&str>,
    ) -> Result<Watching> {
        let job = self.visible_job(caller, id, Scope::JobsRead).await?;
        let seen = seen
            .and_then(|text| text.trim().parse().ok())
            .filter(|mark| *mark <= 100 || (*mark == END && job.status.is_final()));
        if seen == Some(END) {
            return Ok(Watching::SeenToTheEnd);
        }
        let org = caller.organization.id.clone();
        let place = self.stream_place(caller)?;
        let changes = self.changes.listen(job.id.clone());
        // It may have changed before we began to listen.
        let job = self.store().job(&org, &job.id).await?;
        let job = job.ok_or(Error::JobNotFound)?;
        Ok(Watching::Events(Box::new(JobEvents {
            engine: Arc::clone(self),
            org,
            id: job.id.clone(),
            last: seen,
            fresh: Some(job),
            changes,
            ends_at: Instant::now() + LONGEST_STREAM,
            _place: place,
        })))
    }

    pub(crate) fn stream_place(&self, caller: &Caller) -> Result<Place> {
        let place = self.streams.take(&caller.organization.id);
        place.map_err(|(limit, open)| {
            Error::RateLimited(Exceeded {
                kind: LimitKind::Concurrent,
                limit,
                used: open.saturating_add(1),
                retry_after_s: 5,
                standing: Some(caller.standing),
            })
        })
    }

    /// For a stop: streams would hold it up, and so would waiting for what is not begun any more.
    pub fn close(&self) {
        self.leave();
        self.closing.cancel();
    }

    /// For the end of a stop's patience: whoever still waits for a job is told how it stands, instead of nothing.
    pub fn hurry(&self) {
        self.hurrying.cancel();
    }
}

impl JobEvents {
    /// The next event; None when the stream is over.
    pub async fn next(&mut self) -> Option<JobEvent> {
        loop {
            if self.last == Some(END) {
                return None;
            }
            let job = match self.fresh.take() {
                Some(job) => job,
                None => self.changed().await?,
            };
            let mark = mark_of(&job);
            if self.last.is_some_and(|last| mark <= last) {
                continue;
            }
            let kind = match self.last {
                _ if mark == END => EventKind::End,
                // It was pending, or this is the first that the client hears.
                None | Some(0) => EventKind::Status,
                Some(_) => EventKind::Progress,
            };
            self.last = Some(mark);
            return Some(JobEvent { kind, mark, job });
        }
    }

    /// The job when something may have happened to it; None when the stream is over.
    async fn changed(&mut self) -> Option<Job> {
        loop {
            tokio::select! {
                () = self.changes.rung() => {}
                () = tokio::time::sleep(self.engine.nodes.look_after()) => {}
                () = tokio::time::sleep_until(self.ends_at) => return None,
                () = self.engine.closing.cancelled() => return None,
            }
            match self.engine.store().job(&self.org, &self.id).await {
                Ok(found) => return found,
                // The store may come back before the stream is over.
                Err(error) => {
                    tracing::warn!(job.id = %self.id, error = &error as &dyn std::error::Error, "a job could not be looked at");
                }
            }
        }
    }
}

/// Higher with every change that is told.
fn mark_of(job: &Job) -> u16 {
    match job.status {
        JobStatus::Pending => 0,
        JobStatus::Running => 1 + u16::from(job.progress.min(99)),
        JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled => END,
    }
}

/// How many streams are open, and whose.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    open: Mutex<HashMap<OrgId, u32>>,
}

#[derive(Debug)]
pub(crate) struct Place {
    streams: Arc<Streams>,
    org: OrgId,
}

impl Streams {
    /// Err with the limit that is reached, and how many are open.
    fn take(self: &Arc<Self>, org: &OrgId) -> std::result::Result<Place, (u32, u32)> {
        let mut open = lock(&self.open);
        let (theirs, all) = (open.get(org).copied().unwrap_or(0), open.values().sum());
        if theirs >= STREAMS_OF_ONE {
            return Err((STREAMS_OF_ONE, theirs));
        }
        if all >= STREAMS {
            return Err((STREAMS, all));
        }
        open.insert(org.clone(), theirs + 1);
        Ok(Place {
            streams: Arc::clone(self),
            org: org.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.streams.open);
        if let Some(count) = open.get_mut(&self.org) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.org);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_for_each_and_for_all_and_given_back() {
        let streams = Arc::new(Streams::default());
        let org = |number: u32| OrgId::trusted(format!("org_{number}"));
        let mut places: Vec<Place> = (0..STREAMS_OF_ONE)
            .map(|_| streams.take(&org(0)).unwrap())
            .collect();
        let refused = streams.take(&org(0)).unwrap_err();
        assert_eq!(refused, (STREAMS_OF_ONE, STREAMS_OF_ONE));
        places.pop();
        places.push(streams.take(&org(0)).unwrap());
        for number in STREAMS_OF_ONE..STREAMS {
            places.push(streams.take(&org(1 + number / 50)).unwrap());
        }
        let refused = streams.take(&org(99_999)).unwrap_err();
        assert_eq!(refused, (STREAMS, STREAMS));
        places.clear();
        assert!(lock(&streams.open).is_empty());
    }
}
