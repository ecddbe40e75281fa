//! What a new job is before and after it is written, whatever database it is written to.

use crate::Result;
use crate::document::to_json;
use crate::store::{ClaimedJob, Lease, NewJob, Start};
use std::collections::BTreeMap;
use vydra_core::credits::Credits;
use vydra_core::job::{Job, JobStatus};

/// The documents of a new job as text, made before any lock is taken.
pub(crate) struct Written {
    pub(crate) input: String,
    pub(crate) call: String,
}

impl Written {
    pub(crate) fn of(new: &NewJob) -> Result<Self> {
        Ok(Self {
            input: to_json(&new.input)?,
            call: to_json(&new.call)?,
        })
    }
}

/// A new job as it would be read.
pub(crate) fn fresh(new: NewJob) -> Job {
    Job {
        id: new.id,
        org_id: new.org_id,
        key_id: new.key_id,
        mode: new.mode,
        workflow: new.workflow,
        status: JobStatus::Pending,
        progress: 0,
        status_message: None,
        input: new.input,
        call: new.call,
        price: new.price,
        refunded: Credits::ZERO,
        failure: None,
        provider: None,
        external_id: None,
        created_at: new.now,
        started_at: None,
        completed_at: None,
        outputs: Vec::new(),
    }
}

/// The same as the worker has it that began it at once.
pub(crate) fn begun(job: &Job, start: Start) -> ClaimedJob {
    ClaimedJob {
        job: Job {
            status: JobStatus::Running,
            started_at: Some(job.created_at),
            ..job.clone()
        },
        lease: Lease {
            org: job.org_id.clone(),
            mode: job.mode,
            job: job.id.clone(),
            token: start.token,
        },
        attempt: 1,
        steps: BTreeMap::new(),
        deadline: job.created_at.plus(start.limit),
    }
}
