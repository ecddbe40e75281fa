//! What ends jobs without a worker: their deadline. And what is no longer worth remembering.

use super::Worker;
use crate::Result;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use vydra_core::error_code::ErrorCode;
use vydra_core::ids::{AssetId, EntryId};
use vydra_core::job::Failure;
use vydra_core::time::Timestamp;
use vydra_store::store::{Overdue, PruneAt, PruneCounts};

const BATCH: usize = 100;
/// Forgetting is a write like any other: often enough to keep up, and seldom enough not to be in anybody's way.
const FORGET_EVERY: Duration = Duration::from_mins(1);
const FORGET_AT_ONCE: u32 = 1_000;
/// How often files are looked for that nobody needs any more.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// Few enough that nobody who waits for the store's writer notices.
const SWEEP_AT_ONCE: u32 = 200;
const PAUSE_AFTER_BATCH: Duration = Duration::from_millis(100);
/// What stays is looked at again each time.
const PRUNE_EVERY: Duration = Duration::from_hours(1);

pub(super) fn timeout_failure() -> Failure {
    Failure {
        code: ErrorCode::ProcessingTimeout,
        message: ErrorCode::ProcessingTimeout.entry().sentence.to_owned(),
        reason: "timed_out".to_owned(),
        retryable: true,
    }
}

fn waited_too_long(allowed: Duration) -> Failure {
    Failure {
        code: ErrorCode::ProcessingTimeout,
        message: format!(
            "The job waited longer than {} for its turn",
            sentence_of(allowed)
        ),
        reason: "queue_timeout".to_owned(),
        retryable: true,
    }
}

/// Such as `2 hours`, in the largest unit that leaves nothing over.
fn sentence_of(span: Duration) -> String {
    let seconds = span.as_secs();
    let (count, unit) = match seconds {
        0 => (span.as_millis(), "millisecond"),
        _ if seconds.is_multiple_of(3_600) => (u128::from(seconds / 3_600), "hour"),
        _ if seconds.is_multiple_of(60) => (u128::from(seconds / 60), "minute"),
        _ => (u128::from(seconds), "second"),
    };
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{s}")
}

/// How far the removing of old jobs is.
#[derive(Debug, Default)]
pub(super) struct Pruning {
    /// None when there is none under way.
    at: Option<PruneAt>,
    begun: Option<Timestamp>,
    counts: PruneCounts,
}

/// What is removed beside the work: it is much, and no job waits for it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chore {
    Files,
    OldJobs,
}

impl Chore {
    const fn what(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::OldJobs => "old jobs",
        }
    }
}

impl Worker {
    /// Fails every job that has waited or run for too long, with its refund; a worker that still runs it loses its lease.
    pub(super) async fn expire(&self) -> Result<()> {
        loop {
            let engine = &self.engine;
            let entries: Vec<EntryId> = (0..BATCH).map(|_| engine.new_entry()).collect();
            let overdue = Overdue {
                waiting: waited_too_long(engine.settings().worker.max_wait),
                processing: timeout_failure(),
            };
            let expired = engine
                .store()
                .expire_jobs(overdue, entries, engine.now())
                .await?;
            for job in &expired.jobs {
                engine.running.stop(&job.id);
                engine.ended(job);
            }
            if expired.count < BATCH {
                return Ok(());
            }
        }
    }

    /// Removes what has expired. An expired key is never found again, so nothing waits for this.
    pub(super) async fn forget(&self) -> Result<()> {
        let now = self.engine.now();
        {
            let mut last = self
                .last_forgotten
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| now.since(last) < FORGET_EVERY) {
                return Ok(());
            }
            *last = Some(now);
        }
        let forgotten = self
            .engine
            .store()
            .forget_idempotency(now, FORGET_AT_ONCE)
            .await?;
        if forgotten > 0 {
            tracing::debug!(keys = forgotten, "expired idempotency keys were forgotten");
        }
        Ok(())
    }

    /// Until `stop`.
    pub(super) async fn sweep(&self, chore: Chore, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            // Broken off at once by a stop, which must not wait for a storage that is away: to remove a file twice is to
            // remove it.
            let swept = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                swept = self.sweep_some(chore) => swept,
            };
            let rest = match swept {
                // Others have their turn in between.
                Ok(true) => PAUSE_AFTER_BATCH,
                Ok(false) => SWEEP_EVERY,
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "{} could not be swept",
                        chore.what()
                    );
                    SWEEP_EVERY
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    async fn sweep_some(&self, chore: Chore) -> Result<bool> {
        match chore {
            Chore::Files => self.sweep_assets().await,
            Chore::OldJobs => self.prune().await,
        }
    }

    fn swept_to(&self) -> MutexGuard<'_, Option<AssetId>> {
        self.swept_to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes what is older than its organization keeps it, and removes the bytes of files that were deleted and that no
    /// job needs any more. Whether there may be more.
    pub(super) async fn sweep_assets(&self) -> Result<bool> {
        let engine = &self.engine;
        let expired = engine
            .store()
            .expire_assets(engine.now(), SWEEP_AT_ONCE)
            .await?;
        if expired > 0 {
            tracing::info!(files = expired, "files that were too old were deleted");
        }
        let after = self.swept_to().take();
        let erasable = engine
            .store()
            .erasable_assets(after.as_ref(), SWEEP_AT_ONCE);
        let erasable = erasable.await?;
        let erasing = engine.erase(&erasable).await?;
        if erasing.count > 0 {
            tracing::debug!(files = erasing.count, "deleted files were removed");
        }
        let is_full = erasable.len() == SWEEP_AT_ONCE as usize;
        // Files that cannot be removed are tried again after all others, so that they are in nobody's way.
        if is_full || erasing.is_broken_off {
            *self.swept_to() = erasing.last;
        }
        let more = is_full && !erasing.is_broken_off;
        Ok(expired == u64::from(SWEEP_AT_ONCE) || more)
    }

    fn pruning(&self) -> MutexGuard<'_, Pruning> {
        self.pruning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes some jobs that are older than they are to be kept. Whether there may be more.
    pub(super) async fn prune(&self) -> Result<bool> {
        let engine = &self.engine;
        let Some(kept) = engine.settings().worker.keep_jobs else {
            return Ok(false);
        };
        let now = engine.now();
        let at = {
            let mut pruning = self.pruning();
            let is_due = |begun| now.since(begun) >= PRUNE_EVERY;
            match pruning.at {
                Some(at) => at,
                None if pruning.begun.is_none_or(is_due) => {
                    pruning.begun = Some(now);
                    pruning.counts = PruneCounts::default();
                    PruneAt::START
                }
                None => return Ok(false),
            }
        };
        let step = engine.prune_some_jobs(kept, at).await?;
        let mut pruning = self.pruning();
        pruning.at = step.next;
        pruning.counts.add(step.counts);
        if pruning.at.is_none() && pruning.counts != PruneCounts::default() {
            let counts = pruning.counts;
            tracing::info!(
                jobs = counts.jobs,
                ledger.rows = counts.entries,
                "old jobs were removed"
            );
        }
        Ok(pruning.at.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_told_in_its_largest_whole_unit() {
        for (span, told) in [
            (Duration::from_hours(1), "1 hour"),
            (Duration::from_hours(48), "48 hours"),
            (Duration::from_mins(90), "90 minutes"),
            (Duration::from_secs(61), "61 seconds"),
            (Duration::from_millis(250), "250 milliseconds"),
        ] {
            assert_eq!(sentence_of(span), told);
        }
    }
}
