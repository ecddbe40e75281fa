//! Submit, complete, cancel.

use crate::fixture::{CREDITS, Flow, object, reason};
use serde_json::json;
use std::time::Duration;
use vydra_core::asset::MediaKind;
use vydra_core::credits::Credits;
use vydra_core::job::{JobStatus, Mode};
use vydra_engine::{Asked, Error, Exceeded, LimitKind, Preference};
use vydra_testkit::{Gate, PollReply, Reply, files};

#[tokio::test]
async fn a_call_is_charged_at_once_and_made_later() {
    let flow = Flow::new().await;
    let job = flow.image().await;
    let job = flow.expect(&job, JobStatus::Pending, CREDITS - 5).await;
    assert_eq!((job.progress, job.started_at), (0, None));
    assert!(flow.provider.submitted().is_empty());

    flow.clock.advance(Duration::from_secs(2));
    assert_eq!(flow.step().await, 1);
    let job = flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
    assert_eq!(job.progress, 100);
    assert_eq!(job.refunded, Credits::ZERO);
    assert_eq!(job.provider.as_deref(), Some("scripted"));
    assert_eq!(
        job.started_at.unwrap().since(job.created_at),
        Duration::from_secs(2)
    );
    let [output] = job.outputs.as_slice() else {
        panic!("{:?}", job.outputs)
    };
    assert_eq!(
        (output.kind, output.media_type.as_str(), output.dimensions),
        (MediaKind::Image, "image/png", Some((8, 6)))
    );
    let stored = flow.engine.open_media(output.clone(), None).await.unwrap();
    assert_eq!(stored.stream.size, files::png(8, 6).len() as u64);
    assert_eq!(flow.step().await, 0, "a job that has ended is not claimed");
}

#[tokio::test]
async fn the_provider_gets_the_checked_input_with_its_defaults() {
    let flow = Flow::new().await;
    let input = json!({"prompt": "p", "aspect_ratio": "16:9", "unknown": 1});
    let job = flow.call("gemini/generate", input).await;
    flow.step().await;
    let [request] = &flow.provider.submitted()[..] else {
        panic!("one request")
    };
    assert_eq!(
        serde_json::Value::Object(request.input.clone()),
        json!({"prompt": "p", "aspectRatio": "16:9"})
    );
    assert_eq!(request.job, job.id.as_str());
    assert_eq!((request.kind, request.outputs), (MediaKind::Image, 1));
}

#[tokio::test]
async fn one_step_runs_several_jobs() {
    let flow = Flow::new().await;
    let (one, two) = (flow.image().await, flow.image().await);
    assert_eq!(flow.step().await, 2);
    flow.expect(&one, JobStatus::Completed, CREDITS - 10).await;
    flow.expect(&two, JobStatus::Completed, CREDITS - 10).await;
}

#[tokio::test]
async fn a_sync_call_waits_for_the_worker() {
    let flow = Flow::new().await;
    flow.work();
    let input = object(json!({"prompt": "p"}));
    let started = flow
        .engine
        .generate(&flow.caller, "gemini/generate", input, Asked::default())
        .await
        .unwrap();
    assert_eq!(started.job.status, JobStatus::Completed);
    assert_eq!(started.job.outputs.len(), 1);
    assert_eq!(started.remaining.get(), CREDITS - 5);
}

#[tokio::test]
async fn a_sync_call_that_takes_too_long_goes_on_without_its_caller() {
    let flow = Flow::with(|setup| setup.sync_wait = Duration::from_millis(50)).await;
    let gate = flow.provider.hold_next();
    flow.work();
    let input = object(json!({"prompt": "p"}));
    let started = flow
        .engine
        .generate(&flow.caller, "gemini/generate", input, Asked::default())
        .await
        .unwrap();
    assert!(!started.job.status.is_final());
    gate.open();
    let wait = Duration::from_secs(20);
    let job = flow
        .engine
        .job(&flow.caller, started.job.id.as_str(), wait)
        .await
        .unwrap();
    assert_eq!(job.status, JobStatus::Completed);
}

#[tokio::test]
async fn the_wish_to_wait_is_bounded_by_the_servers_own() {
    let flow = Flow::with(|setup| setup.sync_wait = Duration::from_millis(50)).await;
    let asked = Asked {
        preference: Preference::Wait(Duration::from_hours(1)),
        ..Asked::default()
    };
    // Nobody works: it comes back all the same.
    let started = flow
        .engine
        .generate(&flow.caller, "veo3", object(json!({"prompt": "p"})), asked)
        .await
        .unwrap();
    assert_eq!(started.job.status, JobStatus::Pending);
}

#[tokio::test]
async fn too_few_credits_change_nothing() {
    let flow = Flow::new().await;
    let poor = flow.org("poor", 4).await;
    let caller = flow.caller_of(&poor, Mode::Live).await;
    let input = object(json!({"prompt": "p"}));
    let refused = flow
        .engine
        .generate(&caller, "gemini/generate", input, Asked::default())
        .await;
    let Err(Error::InsufficientCredits {
        required,
        remaining,
    }) = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!((required.get(), remaining.get()), (5, 4));
    assert_eq!(flow.balance(&poor, Mode::Live).await, 4);
    assert_eq!(flow.step().await, 0);
}

#[tokio::test]
async fn the_last_credits_can_be_spent_once() {
    let flow = Flow::new().await;
    let org = flow.org("even", 5).await;
    // Both callers were told of 5 credits: the store alone can decide.
    let caller = flow.caller_of(&org, Mode::Live).await;
    let call = || {
        let input = object(json!({"prompt": "p"}));
        let asked = Asked {
            preference: Preference::RespondAsync,
            ..Asked::default()
        };
        flow.engine
            .generate(&caller, "gemini/generate", input, asked)
    };
    let (one, two) = tokio::join!(call(), call());
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert_eq!(flow.balance(&org, Mode::Live).await, 0);
}

#[tokio::test]
async fn open_jobs_are_limited_and_an_end_makes_room() {
    let flow = Flow::new().await;
    let org = flow.org_on("free", "small", 100).await;
    let caller = flow.caller_of(&org, Mode::Live).await;
    let call = || {
        let input = object(json!({"prompt": "p"}));
        let asked = Asked {
            preference: Preference::RespondAsync,
            ..Asked::default()
        };
        flow.engine
            .generate(&caller, "gemini/generate", input, asked)
    };
    call().await.unwrap();
    call().await.unwrap();
    let refused = call().await;
    let Err(Error::RateLimited(Exceeded {
        kind: LimitKind::Concurrent,
        limit: 2,
        used: 3,
        ..
    })) = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!(flow.balance(&org, Mode::Live).await, 90);
    flow.step().await;
    call().await.unwrap();
}

#[tokio::test]
async fn progress_is_shown_while_it_runs_and_is_100_only_at_the_end() {
    let flow = Flow::new().await;
    let gate = Gate::at_progress(100);
    flow.provider
        .next(Reply::Held(gate.clone(), Box::new(Reply::Made)));
    let job = flow.image().await;
    let look = async {
        gate.reached().await;
        while flow.now(&job).await.progress == 0 {
            tokio::task::yield_now().await;
        }
        let seen = flow.now(&job).await;
        gate.open();
        seen
    };
    let (_, seen) = tokio::join!(flow.step(), look);
    assert_eq!((seen.status, seen.progress), (JobStatus::Running, 99));
    let job = flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
    assert_eq!(job.progress, 100);
}

#[tokio::test]
async fn a_pending_job_is_cancelled_and_never_made() {
    let flow = Flow::new().await;
    let job = flow.image().await;
    let cancelled = flow.cancel(&job).await.unwrap();
    assert_eq!(cancelled.status, JobStatus::Cancelled);
    assert_eq!(cancelled.refunded.get(), 5);
    flow.expect(&job, JobStatus::Cancelled, CREDITS).await;
    assert_eq!(flow.step().await, 0);
    assert!(flow.provider.submitted().is_empty());
}

#[tokio::test]
async fn a_running_job_is_cancelled_at_once() {
    let flow = Flow::new().await;
    let gate = flow.provider.hold_next();
    let job = flow.image().await;
    let cancel = async {
        gate.reached().await;
        flow.cancel(&job).await.unwrap()
    };
    // The gate is never opened: the step comes back because the attempt was stopped.
    let (_, cancelled) = tokio::join!(flow.step(), cancel);
    assert_eq!(cancelled.refunded.get(), 5);
    let job = flow.expect(&job, JobStatus::Cancelled, CREDITS).await;
    assert!(job.outputs.is_empty());
}

/// The provider takes the job a moment after nobody wants it any more: only its answer tells by which name to cancel it.
#[tokio::test]
async fn a_cancel_reaches_a_provider_that_is_just_being_asked() {
    let flow = Flow::with(|setup| setup.repeatable = false).await;
    let gate = Gate::closed();
    let taken = Reply::Task("up-5");
    flow.provider
        .next(Reply::Held(gate.clone(), Box::new(taken)));
    let job = flow.image().await;
    let cancel = async {
        gate.reached().await;
        let cancelled = flow.cancel(&job).await.unwrap();
        assert_eq!(cancelled.refunded.get(), 5, "paid back at once");
        gate.open();
    };
    tokio::join!(flow.step(), cancel);
    assert_eq!(flow.provider.cancelled(), ["up-5"]);
    flow.expect(&job, JobStatus::Cancelled, CREDITS).await;
}

/// Cancelled by another process, which this one learns of only when it writes the task down.
#[tokio::test]
async fn a_task_that_nobody_wants_any_more_when_it_is_written_down_is_cancelled() {
    let flow = Flow::new().await;
    let gate = Gate::closed();
    let taken = Reply::Task("up-6");
    flow.provider
        .next(Reply::Held(gate.clone(), Box::new(taken)));
    let job = flow.image().await;
    let cancel = async {
        gate.reached().await;
        flow.cancel_elsewhere(&job).await;
        gate.open();
    };
    tokio::join!(flow.step(), cancel);
    assert_eq!(flow.provider.cancelled(), ["up-6"]);
    flow.expect(&job, JobStatus::Cancelled, CREDITS).await;
}

#[tokio::test]
async fn a_cancel_is_told_to_the_provider_that_has_the_task() {
    let flow = Flow::new().await;
    flow.provider.next(Reply::Task("up-7"));
    let job = flow.image().await;
    let cancel = async {
        while flow.now(&job).await.external_id.is_none() {
            tokio::task::yield_now().await;
        }
        flow.cancel(&job).await.unwrap();
    };
    tokio::join!(flow.step(), cancel);
    flow.expect(&job, JobStatus::Cancelled, CREDITS).await;
    assert_eq!(flow.provider.cancelled(), ["up-7"]);
}

#[tokio::test]
async fn a_result_that_comes_after_a_cancel_is_dropped() {
    let flow = Flow::new().await;
    let gate = flow.provider.hold_next();
    let job = flow.image().await;
    // The worker does not know, and delivers.
    let cancel = async {
        gate.reached().await;
        flow.cancel_elsewhere(&job).await;
        gate.open();
    };
    tokio::join!(flow.step(), cancel);
    let job = flow.expect(&job, JobStatus::Cancelled, CREDITS).await;
    assert!(job.outputs.is_empty());
}

#[tokio::test]
async fn a_completed_job_stays_completed() {
    let flow = Flow::new().await;
    let job = flow.image().await;
    flow.step().await;
    let refused = flow.cancel(&job).await;
    assert!(
        matches!(refused, Err(Error::JobNotCancellable(JobStatus::Completed))),
        "{refused:?}"
    );
    flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
}

#[tokio::test]
async fn a_second_cancel_refunds_nothing_more() {
    let flow = Flow::new().await;
    let job = flow.image().await;
    let first = flow.cancel(&job).await.unwrap();
    flow.clock.advance(Duration::from_secs(9));
    assert_eq!(flow.cancel(&job).await.unwrap(), first);
    flow.expect(&job, JobStatus::Cancelled, CREDITS).await;
}

#[tokio::test]
async fn two_cancels_at_once_refund_once() {
    let flow = Flow::new().await;
    let job = flow.image().await;
    let (one, two) = tokio::join!(flow.cancel(&job), flow.cancel(&job));
    assert_eq!(one.unwrap(), two.unwrap());
    flow.expect(&job, JobStatus::Cancelled, CREDITS).await;
}

#[tokio::test]
async fn a_polled_task_completes() {
    let flow = Flow::new().await;
    flow.provider.next(Reply::Task("up-1"));
    flow.provider
        .next_poll(PollReply::Files(vec![files::mp4()]));
    let job = flow.call("veo3", json!({"prompt": "waves"})).await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Completed, CREDITS - 175).await;
    assert_eq!(job.external_id.as_deref(), Some("up-1"));
    assert_eq!(job.outputs[0].media_type, "video/mp4");
    assert_eq!(flow.provider.polled(), ["up-1"]);
}

#[tokio::test]
async fn a_task_that_fails_while_it_is_polled_is_refunded() {
    use vydra_testkit::{Accepted, ErrorKind, refused};
    let flow = Flow::new().await;
    flow.provider.next(Reply::Task("up-1"));
    let error = refused(ErrorKind::ContentRefused, Accepted::Yes);
    flow.provider.next_poll(PollReply::Error(error));
    let job = flow.call("veo3", json!({"prompt": "waves"})).await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("content_policy", false));
}
