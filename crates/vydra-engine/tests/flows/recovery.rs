//! Crashes, restarts and graceful stops: no job is lost, none is bought twice.

use crate::fixture::{CREDITS, Flow, reason};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use vydra_core::ids::{JobId, OrgId};
use vydra_core::job::JobStatus;
use vydra_store::Store;
use vydra_testkit::{Accepted, ErrorKind, PollReply, Reply, ScriptedProvider, files, refused};

#[tokio::test]
async fn a_pending_job_outlives_a_restart() {
    let mut flow = Flow::new().await;
    let job = flow.image().await;
    flow.restart().await;
    flow.step().await;
    flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
}

/// The task is known, so that even a provider that may not be asked twice is not.
#[tokio::test]
async fn after_a_crash_the_same_task_is_polled_on() {
    for repeatable in [true, false] {
        let mut flow = Flow::with(|setup| setup.repeatable = repeatable).await;
        flow.provider.next(Reply::Task("up-1"));
        let job = flow.call("veo3", json!({"prompt": "p"})).await;
        let (store, org, id) = (flow.store.clone(), flow.org.id.clone(), job.id.clone());
        flow.crash_at(async move {
            while store
                .job(&org, &id)
                .await
                .unwrap()
                .unwrap()
                .external_id
                .is_none()
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
        flow.expect(&job, JobStatus::Running, CREDITS - 175).await;
        flow.provider
            .next_poll(PollReply::Files(vec![files::mp4()]));
        assert_eq!(flow.step().await, 1);
        flow.expect(&job, JobStatus::Completed, CREDITS - 175).await;
        assert_eq!(flow.provider.submitted().len(), 1, "bought once");
        assert_eq!(flow.provider.polled(), ["up-1"]);
    }
}

#[tokio::test]
async fn a_crash_while_asking_a_provider_that_may_not_be_asked_twice_is_refunded() {
    let mut flow = Flow::with(|setup| setup.repeatable = false).await;
    let gate = flow.provider.hold_next();
    let job = flow.image().await;
    flow.crash_at(async move { gate.reached().await }).await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("unknown_outcome", true));
    assert_eq!(flow.provider.submitted().len(), 1, "never asked again");
}

#[tokio::test]
async fn a_crash_while_asking_a_repeatable_provider_asks_again() {
    let mut flow = Flow::new().await;
    let gate = flow.provider.hold_next();
    let job = flow.image().await;
    flow.crash_at(async move { gate.reached().await }).await;
    flow.step().await;
    flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
    assert_eq!(flow.provider.submitted().len(), 2);
}

#[tokio::test]
async fn without_a_take_over_a_dead_workers_job_is_free_when_its_lease_is_over() {
    let flow = Flow::new().await;
    let gate = flow.provider.hold_next();
    let job = flow.image().await;
    tokio::select! {
        biased;
        () = gate.reached() => {}
        _ = flow.step() => panic!("it was held"),
    }
    flow.clock.advance(Duration::from_millis(59_999));
    assert_eq!(flow.step().await, 0);
    flow.clock.advance(Duration::from_millis(1));
    assert_eq!(flow.step().await, 1);
    flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
}

#[tokio::test]
async fn a_take_over_leaves_a_job_that_waits_for_its_next_attempt_waiting() {
    let mut flow = Flow::new().await;
    flow.provider
        .next(Reply::Error(refused(ErrorKind::Unavailable, Accepted::No)));
    let job = flow.image().await;
    flow.step().await;
    flow.restart().await;
    assert_eq!(flow.step().await, 0);
    flow.clock.advance(Duration::from_millis(500));
    assert_eq!(flow.step().await, 1);
    flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
}

#[tokio::test]
async fn a_graceful_stop_lets_a_job_come_to_its_end() {
    let flow = Flow::with(|setup| setup.worker.drain = Duration::from_secs(20)).await;
    let gate = flow.provider.hold_next();
    let stop = CancellationToken::new();
    let stopped = flow.work_until(stop.clone());
    let job = flow.image().await;
    gate.reached().await;
    stop.cancel();
    gate.open();
    stopped.await;
    flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
}

#[tokio::test]
async fn what_a_graceful_stop_cannot_wait_for_another_worker_finishes() {
    let mut flow = Flow::new().await;
    let gate = flow.provider.hold_next();
    let stop = CancellationToken::new();
    let stopped = flow.work_until(stop.clone());
    let job = flow.image().await;
    gate.reached().await;
    stop.cancel();
    stopped.await;
    flow.expect(&job, JobStatus::Running, CREDITS - 5).await;
    // At once, without a take-over: it was handed back.
    assert_eq!(flow.step().await, 1);
    flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
    flow.restart().await;
    assert_eq!(flow.step().await, 0);
}

#[tokio::test]
async fn a_graceful_stop_forgets_no_task() {
    for repeatable in [true, false] {
        let flow = Flow::with(|setup| setup.repeatable = repeatable).await;
        flow.provider.next(Reply::Task("up-1"));
        let stop = CancellationToken::new();
        let stopped = flow.work_until(stop.clone());
        let job = flow.call("veo3", json!({"prompt": "p"})).await;
        while flow.now(&job).await.external_id.is_none() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        stopped.await;
        flow.provider
            .next_poll(PollReply::Files(vec![files::mp4()]));
        assert_eq!(flow.step().await, 1);
        flow.expect(&job, JobStatus::Completed, CREDITS - 175).await;
        assert_eq!(flow.provider.submitted().len(), 1, "bought once");
    }
}

#[tokio::test]
async fn a_graceful_stop_while_asking_buys_nothing_twice() {
    let flow = Flow::with(|setup| setup.repeatable = false).await;
    let gate = flow.provider.hold_next();
    let stop = CancellationToken::new();
    let stopped = flow.work_until(stop.clone());
    let job = flow.image().await;
    gate.reached().await;
    stop.cancel();
    stopped.await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("unknown_outcome", true));
    assert_eq!(flow.provider.submitted().len(), 1);
}

/// The operator sets up a better provider while a task runs at the old one.
#[tokio::test]
async fn a_task_is_polled_where_it_was_submitted() {
    let old = ScriptedProvider::new("fal", false);
    let new = ScriptedProvider::new("elevenlabs", true);
    let mut flow = Flow::with(|setup| setup.others.push(old.clone())).await;
    old.next(Reply::Task("up-1"));
    let job = flow.call("elevenlabs/tts", json!({"text": "p"})).await;
    let (store, org, id) = (flow.store.clone(), flow.org.id.clone(), job.id.clone());
    flow.setup.others.push(new.clone());
    flow.crash_at(has_a_task(store, org, id)).await;
    old.next_poll(PollReply::Files(vec![files::wav()]));
    flow.step().await;
    flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
    assert!(new.polled().is_empty() && new.submitted().is_empty());
    let next = flow.call("elevenlabs/tts", json!({"text": "p"})).await;
    flow.step().await;
    let next = flow.expect(&next, JobStatus::Completed, CREDITS - 10).await;
    assert_eq!(next.provider.as_deref(), Some("elevenlabs"));
}

/// The purchase may have happened at the old provider. The new one may be asked twice, but was never asked once.
#[tokio::test]
async fn an_unknown_outcome_is_not_bought_anew_elsewhere() {
    let old = ScriptedProvider::new("fal", false);
    let new = ScriptedProvider::new("elevenlabs", true);
    let mut flow = Flow::with(|setup| setup.others.push(old.clone())).await;
    let gate = old.hold_next();
    let job = flow.call("elevenlabs/tts", json!({"text": "p"})).await;
    flow.setup.others.push(new.clone());
    flow.crash_at(async move { gate.reached().await }).await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("unknown_outcome", true));
    assert!(new.submitted().is_empty());
}

#[tokio::test]
async fn a_task_whose_provider_was_taken_away_is_refunded() {
    let old = ScriptedProvider::new("fal", false);
    let new = ScriptedProvider::new("elevenlabs", true);
    let mut flow = Flow::with(|setup| setup.others.push(old.clone())).await;
    old.next(Reply::Task("up-1"));
    let job = flow.call("elevenlabs/tts", json!({"text": "p"})).await;
    let (store, org, id) = (flow.store.clone(), flow.org.id.clone(), job.id.clone());
    flow.setup.others = vec![new.clone()];
    flow.crash_at(has_a_task(store, org, id)).await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("unknown_outcome", true));
    assert!(new.polled().is_empty() && new.submitted().is_empty());
}

#[tokio::test]
async fn a_task_is_asked_for_where_it_is_also_when_no_route_leads_there_any_more() {
    let mut flow = Flow::new().await;
    flow.provider.next(Reply::Task("up-1"));
    let job = flow.call("veo3", json!({"prompt": "p"})).await;
    let (store, org, id) = (flow.store.clone(), flow.org.id.clone(), job.id.clone());
    let new = ScriptedProvider::new("fal", true);
    flow.setup.others.push(new.clone());
    flow.crash_at(has_a_task(store, org, id)).await;
    flow.provider
        .next_poll(PollReply::Files(vec![files::mp4()]));
    flow.step().await;
    flow.expect(&job, JobStatus::Completed, CREDITS - job.price.get())
        .await;
    assert_eq!(flow.provider.submitted().len(), 1);
    assert!(new.polled().is_empty() && new.submitted().is_empty());
}

/// Ends when the provider has taken the job.
async fn has_a_task(store: Arc<dyn Store>, org: OrgId, job: JobId) {
    let found = || async { store.job(&org, &job).await.unwrap().unwrap() };
    while found().await.external_id.is_none() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nobody_waits_in_vain_over_a_busy_worker() {
    let flow = Flow::with(|setup| setup.worker.concurrency = 1).await;
    let gate = flow.provider.hold_next();
    flow.work();
    let first = flow.image().await;
    gate.reached().await;
    let second = flow.image().await;
    flow.expect(&second, JobStatus::Pending, CREDITS - 10).await;
    gate.open();
    let wait = Duration::from_secs(20);
    for job in [first, second] {
        let job = flow.engine.job(&flow.caller, job.id.as_str(), wait).await;
        assert_eq!(job.unwrap().status, JobStatus::Completed);
    }
}
