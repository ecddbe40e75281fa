//! What a provider can do wrong, and what becomes of the job and its credits.

use crate::fixture::{CREDITS, Flow, reason};
use std::time::Duration;
use vydra_core::error_code::ErrorCode;
use vydra_core::job::JobStatus;
use vydra_testkit::{Accepted, ErrorKind, ProviderError, Reply, refused};

/// Written down a second time, from the table of the provider research: a slip in the first must not pass.
const KINDS: [(ErrorKind, &str, bool); 13] = [
    (ErrorKind::ContentRefused, "content_policy", false),
    (ErrorKind::InvalidRequest, "invalid_request", false),
    (ErrorKind::InputUnreadable, "input_unreadable", false),
    (ErrorKind::Auth, "provider_unavailable", true),
    (ErrorKind::QuotaExhausted, "provider_unavailable", true),
    (ErrorKind::RateLimited, "provider_unavailable", true),
    (ErrorKind::Unavailable, "provider_unavailable", true),
    (ErrorKind::Unknown, "unknown_outcome", true),
    (ErrorKind::NoOutput, "no_output", true),
    (ErrorKind::ModelGone, "model_gone", false),
    (ErrorKind::Cancelled, "cancelled", true),
    (ErrorKind::TimedOut, "timed_out", true),
    (ErrorKind::Protocol, "unknown_outcome", true),
];

#[tokio::test]
async fn each_error_is_retried_or_refunded() {
    let flow = Flow::new().await;
    let mut asked = 0;
    for (kind, word, retryable) in KINDS {
        for accepted in [Accepted::No, Accepted::Yes, Accepted::Unknown] {
            let case = format!("{kind:?} {accepted:?}");
            flow.provider.next(Reply::Error(refused(kind, accepted)));
            let job = flow.image().await;
            asked += 1;
            flow.step().await;
            let retried = accepted == Accepted::No
                && matches!(kind, ErrorKind::RateLimited | ErrorKind::Unavailable);
            if retried {
                let job = flow.now(&job).await;
                assert_eq!(job.status, JobStatus::Running, "{case}");
                assert_eq!(flow.credits().await, CREDITS - 5, "{case}");
                flow.cancel(&job).await.unwrap();
                continue;
            }
            let job = flow.now(&job).await;
            assert_eq!(job.status, JobStatus::Failed, "{case}");
            assert_eq!(reason(&job), (word, retryable), "{case}");
            let failure = job.failure.clone().unwrap();
            let (code, sentence) = if kind == ErrorKind::TimedOut {
                (
                    ErrorCode::ProcessingTimeout,
                    "Processing took longer than 30 minutes",
                )
            } else {
                (ErrorCode::GenerationFailed, "Failed to generate image")
            };
            assert_eq!((failure.code, failure.message.as_str()), (code, sentence));
            assert_eq!((job.refunded.get(), flow.credits().await), (5, CREDITS));
            // However long one waits, nobody asks again.
            flow.clock.advance(Duration::from_mins(10));
            assert_eq!(flow.step().await, 0, "{case}");
            assert_eq!(flow.provider.submitted().len(), asked, "{case}");
        }
    }
}

#[tokio::test]
async fn the_failure_sentence_names_what_was_asked() {
    for (path, input, sentence) in [
        (
            "veo3",
            serde_json::json!({"prompt": "p"}),
            "Failed to generate video",
        ),
        (
            "elevenlabs/tts",
            serde_json::json!({"text": "p"}),
            "Failed to generate speech",
        ),
    ] {
        let flow = Flow::new().await;
        flow.provider
            .next(Reply::Error(refused(ErrorKind::NoOutput, Accepted::Yes)));
        let job = flow.call(path, input).await;
        flow.step().await;
        let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
        assert_eq!(job.failure.unwrap().message, sentence);
    }
}

#[tokio::test]
async fn an_overloaded_provider_is_asked_again_after_a_while() {
    let flow = Flow::new().await;
    flow.provider
        .next(Reply::Error(refused(ErrorKind::Unavailable, Accepted::No)));
    let job = flow.image().await;
    assert_eq!(flow.step().await, 1);
    assert_eq!(flow.step().await, 0, "not at once");
    flow.clock.advance(Duration::from_millis(499));
    assert_eq!(flow.step().await, 0, "not before the pause is over");
    flow.clock.advance(Duration::from_millis(1));
    assert_eq!(flow.step().await, 1);
    flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
    let requests = flow.provider.submitted();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].job, requests[1].job);
}

#[tokio::test]
async fn a_providers_own_pause_is_kept() {
    let flow = Flow::new().await;
    flow.provider.next(Reply::Error(ProviderError {
        retry_after: Some(Duration::from_secs(30)),
        ..refused(ErrorKind::RateLimited, Accepted::No)
    }));
    let job = flow.image().await;
    flow.step().await;
    flow.clock.advance(Duration::from_secs(29));
    assert_eq!(flow.step().await, 0);
    flow.clock.advance(Duration::from_secs(1));
    assert_eq!(flow.step().await, 1);
    flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
}

#[tokio::test]
async fn a_pause_that_reaches_over_the_deadline_is_not_waited_for() {
    let flow = Flow::new().await;
    flow.provider.next(Reply::Error(ProviderError {
        retry_after: Some(Duration::from_mins(30)),
        ..refused(ErrorKind::RateLimited, Accepted::No)
    }));
    let job = flow.image().await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("provider_unavailable", true));
}

#[tokio::test]
async fn after_the_last_attempt_the_job_fails_with_its_refund() {
    let flow = Flow::new().await;
    for _ in 0..3 {
        flow.provider
            .next(Reply::Error(refused(ErrorKind::Unavailable, Accepted::No)));
    }
    let job = flow.image().await;
    for attempt in 1..=3 {
        flow.expect(
            &job,
            [JobStatus::Running, JobStatus::Pending][usize::from(attempt == 1)],
            CREDITS - 5,
        )
        .await;
        assert_eq!(flow.step().await, 1, "attempt {attempt}");
        flow.clock.advance(Duration::from_secs(8));
    }
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("provider_unavailable", true));
    assert_eq!(flow.provider.submitted().len(), 3);
    assert_eq!(flow.step().await, 0);
}

#[tokio::test]
async fn a_job_that_waits_for_its_next_attempt_can_be_cancelled() {
    let flow = Flow::new().await;
    flow.provider
        .next(Reply::Error(refused(ErrorKind::Unavailable, Accepted::No)));
    let job = flow.image().await;
    flow.step().await;
    flow.cancel(&job).await.unwrap();
    flow.clock.advance(Duration::from_secs(8));
    assert_eq!(flow.step().await, 0);
    flow.expect(&job, JobStatus::Cancelled, CREDITS).await;
}

#[tokio::test]
async fn a_sync_caller_gets_the_failure_already_refunded() {
    use serde_json::json;
    use vydra_engine::{Asked, Error};
    let flow = Flow::new().await;
    flow.provider.next(Reply::Error(refused(
        ErrorKind::ContentRefused,
        Accepted::No,
    )));
    flow.work();
    let input = crate::fixture::object(json!({"prompt": "p"}));
    let failed = flow
        .engine
        .generate(&flow.caller, "gemini/generate", input, Asked::default())
        .await;
    let Err(Error::JobFailed(job)) = failed else {
        panic!("{failed:?}")
    };
    assert_eq!(reason(&job), ("content_policy", false));
    assert_eq!((job.refunded.get(), flow.credits().await), (5, CREDITS));
}
