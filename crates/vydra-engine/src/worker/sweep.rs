//! What ends jobs without a worker: their deadline.

use super::Worker;
use crate::Result;
use vydra_core::error_code::ErrorCode;
use vydra_core::ids::EntryId;
use vydra_core::job::Failure;

const BATCH: usize = 100;

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
}
