//! What ends jobs without a worker: their deadline. And what is no longer worth remembering.

use super::Worker;
use crate::Result;
use std::sync::PoisonError;
use std::time::Duration;
use vydra_core::error_code::ErrorCode;
use vydra_core::ids::EntryId;
use vydra_core::job::Failure;

const BATCH: usize = 100;
/// Forgetting is a write like any other: often enough to keep up, and seldom enough not to be in anybody's way.
const FORGET_EVERY: Duration = Duration::from_mins(1);
const FORGET_AT_ONCE: u32 = 1_000;

pub(super) fn timeout_failure() -> Failure {
    Failure {
        code: ErrorCode::ProcessingTimeout,
        message: ErrorCode::ProcessingTimeout.entry().sentence.to_owned(),
        reason: "timed_out".to_owned(),
        retryable: true,
    }
}

impl Worker {
    /// Fails every job whose processing time is over, with its refund; a worker that still runs it loses its lease.
    pub(super) async fn expire(&self) -> Result<()> {
        loop {
            let engine = &self.engine;
            let entries: Vec<EntryId> = (0..BATCH).map(|_| engine.new_entry()).collect();
            let ended = engine
                .store()
                .expire_jobs(timeout_failure(), entries, engine.now())
                .await?;
            for job in &ended {
                engine.running.stop(&job.id);
                engine.ended(job);
            }
            if ended.len() < BATCH {
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
}
