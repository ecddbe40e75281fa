//! Jobs that find a free place begin at once, and no place is given away twice.

use crate::fixture::{CREDITS, Flow, object};
use serde_json::json;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use vydra_core::job::{Job, JobStatus, Mode};
use vydra_engine::{Asked, Preference};
use vydra_store::store::JobFilter;

const LONG: Duration = Duration::from_secs(20);

impl Flow {
    async fn end_of(&self, job: &Job) -> JobStatus {
        let ended = self.engine.job(&self.caller, job.id.as_str(), LONG).await;
        ended.unwrap().status
    }
}

#[tokio::test]
async fn a_job_that_finds_a_place_has_begun_when_it_is_answered() {
    let flow = Flow::new().await;
    flow.work();
    // When it has come to the provider, the worker is there.
    let first = flow.provider.hold_next();
    let other = flow.image().await;
    first.reached().await;
    let second = flow.provider.hold_next();
    let job = flow.image().await;
    assert_eq!(job.status, JobStatus::Pending, "as it was taken");
    let running = flow.expect(&job, JobStatus::Running, CREDITS - 10).await;
    assert_eq!(running.started_at, Some(job.created_at));
    first.open();
    second.open();
    assert_eq!(flow.end_of(&job).await, JobStatus::Completed);
    assert_eq!(flow.end_of(&other).await, JobStatus::Completed);
}

#[tokio::test]
async fn no_place_is_given_away_twice() {
    let flow = Flow::with(|setup| setup.worker.concurrency = 2).await;
    flow.work();
    let gates: Vec<_> = (0..5).map(|_| flow.provider.hold_next()).collect();
    let mut jobs = Vec::new();
    for _ in &gates {
        jobs.push(flow.image().await);
    }
    for (place, gate) in gates.iter().enumerate() {
        gate.reached().await;
        if let Some(two_before) = place.checked_sub(1) {
            let asked = flow.provider.submitted().len();
            assert_eq!(asked, place + 1, "two at a time");
            gates[two_before].open();
        }
    }
    gates[4].open();
    for job in &jobs {
        assert_eq!(flow.end_of(job).await, JobStatus::Completed);
    }
}

/// A request that breaks off while its job is written down.
#[tokio::test]
async fn a_caller_who_goes_away_takes_no_job_with_him() {
    let flow = Flow::new().await;
    flow.work();
    let first = flow.provider.hold_next();
    let other = flow.image().await;
    first.reached().await;
    let second = flow.provider.hold_next();
    {
        let input = object(json!({"prompt": "a lighthouse"}));
        let asked = Asked {
            preference: Preference::RespondAsync,
            ..Asked::default()
        };
        let engine = &flow.engine;
        let request = engine.generate(&flow.caller, "gemini/generate", input, asked);
        let mut request = pin!(request);
        std::future::poll_fn(|context| {
            assert!(request.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
    }
    second.reached().await;
    second.open();
    first.open();
    let all = JobFilter {
        limit: 9,
        ..JobFilter::default()
    };
    let jobs = flow
        .store
        .jobs(&flow.org.id, Mode::Live, all)
        .await
        .unwrap();
    assert_eq!(jobs.count, 2);
    for job in &jobs.jobs {
        assert_eq!(flow.end_of(job).await, JobStatus::Completed);
    }
    assert_eq!(flow.end_of(&other).await, JobStatus::Completed);
}
