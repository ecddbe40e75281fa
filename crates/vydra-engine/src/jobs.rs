//! Jobs from the caller's side: look, list, wait, cancel.

use crate::endings::Ending;
use crate::transactions::unknown_cursor;
use crate::{Caller, Engine, Error, Result};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::ids::{JobId, OrgId};
use vydra_core::job::{Job, JobStatus};
use vydra_core::scope::Scope;
use vydra_store::store::{Cancellation, JobFilter, JobPage};

/// Which jobs a list shall show.
#[derive(Debug, Clone, Default)]
pub struct JobQuery {
    pub status: Option<JobStatus>,
    pub workflow: Option<String>,
    pub limit: u32,
    pub offset: u32,
    pub after: Option<JobId>,
}

pub(crate) struct Ended {
    pub(crate) job: Job,
    /// Whether its end was seen while waiting.
    pub(crate) waited: bool,
}

impl Engine {
    /// The job, held back until it has ended or `wait` is over.
    pub async fn job(&self, caller: &Caller, id: &str, wait: Duration) -> Result<Job> {
        let job = self.visible_job(caller, id, Scope::JobsRead).await?;
        Ok(self.wait(&caller.organization.id, job, wait).await?.job)
    }

    pub async fn jobs(&self, caller: &Caller, query: JobQuery) -> Result<JobPage> {
        caller.require(Scope::JobsRead)?;
        let JobQuery {
            status,
            workflow,
            limit,
            offset,
            after,
        } = query;
        if let Some(after) = &after {
            // Jobs are never removed, so a cursor that was ours still is.
            self.store()
                .job(&caller.organization.id, after)
                .await?
                .filter(|job| job.mode == caller.mode())
                .ok_or_else(unknown_cursor)?;
        }
        Ok(self
            .store()
            .jobs(
                &caller.organization.id,
                caller.mode(),
                JobFilter {
                    status,
                    workflow,
                    limit,
                    offset,
                    after,
                },
            )
            .await?)
    }

    /// For the operator: how many jobs have results that came after their end, when they had been paid back.
    pub async fn late_jobs(&self) -> Result<u64> {
        Ok(self.store().late_jobs().await?)
    }

    /// Final and refunded at once; the worker learns of it afterwards.
    pub async fn cancel_job(&self, caller: &Caller, id: &str) -> Result<Job> {
        let job = self.visible_job(caller, id, Scope::JobsWrite).await?;
        let cancellation = self
            .store()
            .cancel_job(
                &caller.organization.id,
                &job.id,
                self.new_entry(),
                self.now(),
            )
            .await?;
        match cancellation {
            Cancellation::Now(job) => {
                self.running.stop(&job.id);
                self.ended(&job);
                Ok(*job)
            }
            Cancellation::Already(job) => Ok(*job),
            Cancellation::Ended(job) => Err(Error::JobNotCancellable(job.status)),
            Cancellation::NotFound => Err(Error::JobNotFound),
        }
    }

    /// A key that may only call models sees the jobs that it made itself, and no other (contract, section 3).
    pub(crate) async fn visible_job(&self, caller: &Caller, id: &str, scope: Scope) -> Result<Job> {
        let granted = caller.granted();
        let own_only = !granted.allow(scope);
        if own_only && !granted.allow(Scope::ModelsWrite) {
            caller.require(scope)?;
        }
        let id = JobId::parse(id).ok_or(Error::JobNotFound)?;
        let job = self
            .store()
            .job(&caller.organization.id, &id)
            .await?
            // The sandbox and the real thing do not see each other.
            .filter(|job| job.mode == caller.mode())
            .ok_or(Error::JobNotFound)?;
        if own_only && job.key_id.as_ref() != caller.origin_key() {
            return Err(Error::JobNotFound);
        }
        Ok(job)
    }

    pub(crate) async fn wait(&self, org: &OrgId, job: Job, span: Duration) -> Result<Ended> {
        if job.status.is_final() || span.is_zero() {
            return Ok(Ended { job, waited: false });
        }
        let mut ending = self.endings.of(&job.id);
        // It may have ended before we began to listen.
        let job = self
            .store()
            .job(org, &job.id)
            .await?
            .ok_or(Error::JobNotFound)?;
        if job.status.is_final() {
            return Ok(Ended { job, waited: true });
        }
        tokio::select! {
            biased;
            job = self.end_of(org, &job.id, &mut ending) => return Ok(Ended { job, waited: true }),
            () = tokio::time::sleep(span) => {}
            () = self.stopped_before(org, &job.id) => {}
        }
        let job = self
            .store()
            .job(org, &job.id)
            .await?
            .ok_or(Error::JobNotFound)?;
        Ok(Ended { job, waited: false })
    }

    /// The job when it has ended, here or elsewhere.
    async fn end_of(&self, org: &OrgId, job: &JobId, ending: &mut Ending) -> Job {
        loop {
            tokio::select! {
                told = ending.told() => if let Some(job) = told {
                    return Arc::unwrap_or_clone(job);
                },
                () = tokio::time::sleep(self.nodes.look_after()), if self.nodes.may_be_several() => {}
            }
            match self.store().job(org, job).await {
                Ok(Some(job)) if job.status.is_final() => return job,
                Ok(_) => {}
                // The store may come back before the wait is over.
                Err(error) => {
                    tracing::warn!(job.id = %job, error = &error as &dyn std::error::Error, "a job could not be looked at");
                }
            }
        }
    }

    /// Until waiting for the job makes no sense any more: the process stops, and either the job has not begun, or the time
    /// for ending it is over.
    async fn stopped_before(&self, org: &OrgId, job: &JobId) {
        self.closing.cancelled().await;
        let job = self.store().job(org, job).await;
        if !matches!(job, Ok(Some(job)) if job.status == JobStatus::Pending) {
            self.hurrying.cancelled().await;
        }
    }
}
