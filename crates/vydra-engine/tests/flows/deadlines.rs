//! Thirty minutes of processing, and not one more.

use crate::fixture::{CREDITS, Flow, reason};
use serde_json::json;
use std::time::Duration;
use vydra_core::error_code::ErrorCode;
use vydra_core::job::{Job, JobStatus, PROCESSING_LIMIT};
use vydra_testkit::{Accepted, ErrorKind, PollReply, Reply, files, refused};

fn assert_timed_out(job: &Job) {
    let failure = job.failure.as_ref().unwrap();
    assert_eq!(failure.code, ErrorCode::ProcessingTimeout);
    assert_eq!(failure.message, "Processing took longer than 30 minutes");
    assert_eq!(reason(job), ("timed_out", true));
    assert!(job.outputs.is_empty());
}

#[tokio::test]
async fn a_job_that_runs_too_long_fails_with_its_refund() {
    // A clock that jumps must not free the lease, which a worker renews while it works.
    let flow = Flow::with(|setup| setup.worker.lease = PROCESSING_LIMIT * 2).await;
    let gate = flow.provider.hold_next();
    let job = flow.image().await;
    let late = async {
        gate.reached().await;
        flow.clock
            .advance(Duration::from_micros(29 * 60_000_000 + 59_999_999));
        flow.step().await;
        flow.expect(&job, JobStatus::Running, CREDITS - 5).await;
        flow.clock.advance(Duration::from_micros(1));
        flow.step().await;
        assert_timed_out(&flow.expect(&job, JobStatus::Failed, CREDITS).await);
    };
    // The first worker comes back by itself: its attempt was stopped.
    tokio::join!(flow.step(), late);
    assert_timed_out(&flow.expect(&job, JobStatus::Failed, CREDITS).await);
}

#[tokio::test]
async fn a_result_after_the_deadline_changes_nothing() {
    let flow = Flow::new().await;
    let gate = flow.provider.hold_next();
    let job = flow.image().await;
    let late = async {
        gate.reached().await;
        flow.clock.advance(PROCESSING_LIMIT);
        // In the store alone, as another process would end it: the worker does not know, and delivers.
        let failure = vydra_core::job::Failure {
            code: ErrorCode::ProcessingTimeout,
            message: "Processing took longer than 30 minutes".to_owned(),
            reason: "timed_out".to_owned(),
            retryable: true,
        };
        let now = job.created_at.plus(PROCESSING_LIMIT);
        let entry = vydra_core::ids::EntryId::new(now, flow.random.as_ref());
        let overdue = vydra_store::store::Overdue {
            waiting: failure.clone(),
            processing: failure,
        };
        let ended = flow.store.expire_jobs(overdue, vec![entry], now).await;
        assert_eq!(ended.unwrap().count, 1);
        gate.open();
    };
    tokio::join!(flow.step(), late);
    assert_timed_out(&flow.expect(&job, JobStatus::Failed, CREDITS).await);
}

#[tokio::test]
async fn the_time_counts_from_the_first_attempt_and_not_from_the_submit() {
    let flow = Flow::new().await;
    let job = flow.image().await;
    flow.clock.advance(PROCESSING_LIMIT * 3 / 2);
    flow.step().await;
    flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
}

#[tokio::test]
async fn a_job_waits_no_longer_than_the_operator_allows() {
    let flow = Flow::with(|setup| setup.worker.max_wait = Duration::from_mins(5)).await;
    let job = flow.image().await;
    flow.clock.advance(Duration::from_mins(5));
    assert_eq!(flow.step().await, 0);
    let ended = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    let failure = ended.failure.unwrap();
    assert_eq!(failure.code, ErrorCode::ProcessingTimeout);
    assert_eq!(failure.reason, "queue_timeout");
    assert_eq!(
        failure.message,
        "The job waited longer than 5 minutes for its turn"
    );
    assert!(failure.retryable);
    assert_eq!(ended.started_at, None);
    assert!(flow.provider.submitted().is_empty());
}

/// What was begun in time has its 30 minutes, also when it is tried again after the time for waiting.
#[tokio::test]
async fn a_job_that_has_begun_does_not_wait_any_more() {
    let flow = Flow::with(|setup| setup.worker.max_wait = Duration::from_mins(1)).await;
    flow.provider
        .next(Reply::Error(refused(ErrorKind::Unavailable, Accepted::No)));
    let job = flow.image().await;
    flow.step().await;
    flow.clock.advance(Duration::from_mins(2));
    flow.step().await;
    flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
}

#[tokio::test]
async fn a_restart_does_not_give_more_time() {
    let mut flow = Flow::new().await;
    let gate = flow.provider.hold_next();
    let job = flow.image().await;
    flow.crash_at(async move { gate.reached().await }).await;
    flow.clock.advance(PROCESSING_LIMIT);
    assert_eq!(flow.step().await, 0, "it is over, not claimed again");
    assert_timed_out(&flow.expect(&job, JobStatus::Failed, CREDITS).await);
}

#[tokio::test]
async fn a_task_that_is_never_heard_of_again_is_refunded_and_cancelled_upstream() {
    let flow = Flow::new().await;
    flow.provider.next(Reply::Task("up-9"));
    let job = flow.call("veo3", json!({"prompt": "p"})).await;
    let late = async {
        while flow.provider.polled().is_empty() {
            tokio::task::yield_now().await;
        }
        flow.clock.advance(PROCESSING_LIMIT);
        // Would be the result, but comes too late.
        flow.provider
            .next_poll(PollReply::Files(vec![files::mp4()]));
        flow.step().await;
    };
    tokio::join!(flow.step(), late);
    assert_timed_out(&flow.expect(&job, JobStatus::Failed, CREDITS).await);
    assert_eq!(flow.provider.cancelled(), ["up-9"]);
}

#[tokio::test]
async fn whoever_waits_learns_of_the_timeout() {
    let flow = Flow::new().await;
    let gate = flow.provider.hold_next();
    let job = flow.image().await;
    let wait = flow
        .engine
        .job(&flow.caller, job.id.as_str(), Duration::from_secs(20));
    let late = async {
        gate.reached().await;
        flow.clock.advance(PROCESSING_LIMIT);
        flow.step().await;
    };
    let (seen, _, ()) = tokio::join!(wait, flow.step(), late);
    assert_timed_out(&seen.unwrap());
}
