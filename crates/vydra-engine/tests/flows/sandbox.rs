//! `X-Vydra-Simulate`, each value of the contract's section 12, through the same path as a real outcome.

use crate::fixture::{CREDITS, Flow, reason, reference};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::error_code::ErrorCode;
use vydra_core::job::{JobStatus, Mode, PROCESSING_LIMIT};
use vydra_engine::{Error, Exceeded, LimitKind};
use vydra_testkit::{Fault, Faults};

const SANDBOX: i64 = 10_000;
const IMAGE: &str = "gemini/generate";

fn prompt() -> Value {
    json!({"prompt": "p"})
}

#[tokio::test]
async fn a_plain_call_makes_a_real_file_with_the_sandboxs_credits() {
    let flow = Flow::in_the_sandbox().await;
    let job = flow.image().await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Completed, SANDBOX - 5).await;
    assert_eq!(job.provider.as_deref(), Some("sandbox"));
    assert_eq!(job.outputs.len(), 1);
    assert_eq!(flow.balance(&flow.org, Mode::Live).await, CREDITS);
}

#[tokio::test]
async fn live_work_leaves_the_sandboxs_balance_alone() {
    let flow = Flow::new().await;
    flow.image().await;
    assert_eq!(flow.credits().await, CREDITS - 5);
    assert_eq!(flow.balance(&flow.org, Mode::Test).await, SANDBOX);
}

#[tokio::test]
async fn a_failure_is_charged_and_refunded_for_real() {
    for (wish, code, word, retryable) in [
        (
            "GENERATION_FAILED",
            ErrorCode::GenerationFailed,
            "no_output",
            true,
        ),
        (
            "CONTENT_POLICY",
            ErrorCode::GenerationFailed,
            "content_policy",
            false,
        ),
        (
            "PROCESSING_TIMEOUT",
            ErrorCode::ProcessingTimeout,
            "timed_out",
            true,
        ),
    ] {
        let flow = Flow::in_the_sandbox().await;
        let job = flow.simulating(wish, IMAGE, prompt()).await;
        flow.expect(&job, JobStatus::Pending, SANDBOX - 5).await;
        flow.step().await;
        let job = flow.expect(&job, JobStatus::Failed, SANDBOX).await;
        assert_eq!(job.failure.as_ref().unwrap().code, code, "{wish}");
        assert_eq!(reason(&job), (word, retryable), "{wish}");
        assert!(flow.provider.submitted().is_empty());
        let totals = flow.engine.credit_totals(&flow.org.id, Mode::Test).await;
        let totals = totals.unwrap();
        assert_eq!((totals.used, totals.refunded), (5, 5), "{wish}");
    }
}

#[tokio::test]
async fn flaky_fails_that_often_and_then_delivers() {
    let flow = Flow::in_the_sandbox().await;
    let job = flow.simulating("FLAKY=2", IMAGE, prompt()).await;
    for _ in 0..2 {
        assert_eq!(flow.step().await, 1);
        flow.expect(&job, JobStatus::Running, SANDBOX - 5).await;
        flow.clock.advance(Duration::from_secs(8));
    }
    flow.step().await;
    flow.expect(&job, JobStatus::Completed, SANDBOX - 5).await;
}

/// Else it would wait until its lease is over.
#[tokio::test]
async fn what_the_store_did_not_take_back_is_handed_back_again() {
    let faults = Arc::new(Faults::default());
    let mut flow = Flow::with(|setup| setup.faults = Some(Arc::clone(&faults))).await;
    flow.enter_the_sandbox().await;
    let job = flow.simulating("FLAKY=1", IMAGE, prompt()).await;
    faults.at("hand_back", 1, Fault::ErrorBefore);
    assert_eq!(flow.step().await, 1);
    assert_eq!(faults.take_calls()["hand_back"], 2);
    flow.clock.advance(Duration::from_secs(8));
    assert_eq!(flow.step().await, 1);
    flow.expect(&job, JobStatus::Completed, SANDBOX - 5).await;
}

/// More often than a real provider would be asked: the contract says that it delivers then.
#[tokio::test]
async fn flaky_delivers_however_often_it_fails_before() {
    let flow = Flow::in_the_sandbox().await;
    let job = flow.simulating("FLAKY=9", IMAGE, prompt()).await;
    for _ in 0..9 {
        flow.step().await;
        flow.expect(&job, JobStatus::Running, SANDBOX - 5).await;
        flow.clock.advance(Duration::from_secs(8));
    }
    flow.step().await;
    flow.expect(&job, JobStatus::Completed, SANDBOX - 5).await;
}

/// The 30 minutes of processing bound it all the same.
#[tokio::test]
async fn flaky_without_an_end_is_ended_and_refunded() {
    let flow = Flow::in_the_sandbox().await;
    let job = flow.simulating("FLAKY=9999", IMAGE, prompt()).await;
    for _ in 0..=(30 * 60 / 8) {
        flow.step().await;
        flow.clock.advance(Duration::from_secs(8));
    }
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, SANDBOX).await;
    assert!(job.failure.is_some_and(|failure| failure.retryable));
}

#[tokio::test]
async fn partial_delivers_some_and_refunds_the_rest() {
    for (count, delivered, left) in [(3, 3, 45), (1, 1, 15), (9, 4, 60)] {
        let flow = Flow::in_the_sandbox().await;
        let picture = reference(&flow.picture().await);
        let input = json!({"prompt": "p", "imageUrl": picture, "numImages": 4});
        let job = flow
            .simulating(&format!("PARTIAL={count}"), "flux-edit/edit", input)
            .await;
        flow.step().await;
        let job = flow
            .expect(&job, JobStatus::Completed, SANDBOX - 5 - left)
            .await;
        assert_eq!(job.outputs.len(), delivered);
    }
}

#[tokio::test]
async fn partial_of_nothing_is_a_failure() {
    let flow = Flow::in_the_sandbox().await;
    let job = flow.simulating("PARTIAL=0", IMAGE, prompt()).await;
    flow.step().await;
    flow.expect(&job, JobStatus::Failed, SANDBOX).await;
}

#[tokio::test]
async fn slow_takes_its_time_and_shows_progress() {
    let flow = Flow::in_the_sandbox().await;
    let job = flow.simulating("SLOW=1s", IMAGE, prompt()).await;
    let began = tokio::time::Instant::now();
    let look = async {
        while flow.now(&job).await.progress == 0 {
            tokio::task::yield_now().await;
        }
        flow.now(&job).await
    };
    let (_, seen) = tokio::join!(flow.step(), look);
    assert_eq!(seen.status, JobStatus::Running);
    assert!((1..99).contains(&seen.progress), "{}", seen.progress);
    assert!(began.elapsed() >= Duration::from_secs(1));
    flow.expect(&job, JobStatus::Completed, SANDBOX - 5).await;
}

#[tokio::test]
async fn a_slow_job_can_be_cancelled() {
    let flow = Flow::in_the_sandbox().await;
    let job = flow.simulating("SLOW=10m", IMAGE, prompt()).await;
    let cancel = async {
        while flow.now(&job).await.status == JobStatus::Pending {
            tokio::task::yield_now().await;
        }
        flow.cancel(&job).await.unwrap();
    };
    tokio::join!(flow.step(), cancel);
    flow.expect(&job, JobStatus::Cancelled, SANDBOX).await;
}

#[tokio::test]
async fn lost_runs_until_the_deadline() {
    let flow = Flow::in_the_sandbox().await;
    let job = flow.simulating("LOST", IMAGE, prompt()).await;
    let late = async {
        while flow.now(&job).await.external_id.is_none() {
            tokio::task::yield_now().await;
        }
        flow.expect(&job, JobStatus::Running, SANDBOX - 5).await;
        flow.clock.advance(PROCESSING_LIMIT);
        flow.step().await;
    };
    tokio::join!(flow.step(), late);
    let job = flow.expect(&job, JobStatus::Failed, SANDBOX).await;
    assert_eq!(job.failure.unwrap().code, ErrorCode::ProcessingTimeout);
}

#[tokio::test]
async fn wishes_are_combined() {
    let flow = Flow::in_the_sandbox().await;
    let wish = " SLOW=40ms , FLAKY=1,CONTENT_POLICY";
    let job = flow.simulating(wish, IMAGE, prompt()).await;
    flow.step().await;
    flow.expect(&job, JobStatus::Running, SANDBOX - 5).await;
    flow.clock.advance(Duration::from_secs(1));
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, SANDBOX).await;
    assert_eq!(reason(&job), ("content_policy", false));
}

#[tokio::test]
async fn every_code_can_be_met_and_those_before_the_charge_charge_nothing() {
    let flow = Flow::in_the_sandbox().await;
    for code in ErrorCode::ALL {
        let called = flow
            .try_simulating(Some(code.as_str()), IMAGE, prompt())
            .await;
        match called {
            Err(error) => assert_eq!(error.code(), code),
            Ok(_) => assert!(
                matches!(
                    code,
                    ErrorCode::GenerationFailed | ErrorCode::ProcessingTimeout
                ),
                "{code} was not refused"
            ),
        }
    }
    let totals = flow.engine.credit_totals(&flow.org.id, Mode::Test).await;
    assert_eq!(totals.unwrap().used, 10, "the two that fail after it");
}

#[tokio::test]
async fn a_simulated_refusal_has_the_figures_of_the_real_one() {
    let flow = Flow::in_the_sandbox().await;
    let refused = flow
        .try_simulating(Some("INSUFFICIENT_CREDITS"), IMAGE, prompt())
        .await;
    assert!(
        matches!(refused, Err(Error::InsufficientCredits { required, .. }) if required.get() == 5),
        "{refused:?}"
    );
    let refused = flow
        .try_simulating(Some("RATE_LIMIT_EXCEEDED"), IMAGE, prompt())
        .await;
    assert!(
        matches!(
            refused,
            Err(Error::RateLimited(Exceeded {
                kind: LimitKind::Minute,
                limit: 6_000,
                used: 6_001,
                ..
            }))
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_is_not_known_is_refused_by_name() {
    let flow = Flow::in_the_sandbox().await;
    for wish in [
        "BANANA",
        "SLOW=x",
        "SLOW=",
        "PARTIAL=-1",
        "FLAKY",
        "FLAKY=1.5",
        "generation_failed",
    ] {
        let refused = flow.try_simulating(Some(wish), IMAGE, prompt()).await;
        let Err(Error::InvalidInput { sentence, .. }) = refused else {
            panic!("{wish}: {refused:?}")
        };
        assert_eq!(sentence, format!("X-Vydra-Simulate does not know {wish:?}"));
    }
    assert_eq!(flow.credits().await, SANDBOX);
}

#[tokio::test]
async fn a_live_key_cannot_simulate() {
    let flow = Flow::new().await;
    for wish in ["GENERATION_FAILED", "SLOW=1s", ""] {
        let refused = flow.try_simulating(Some(wish), IMAGE, prompt()).await;
        assert!(
            matches!(refused, Err(Error::InvalidInput { .. })),
            "{wish:?}: {refused:?}"
        );
    }
    assert_eq!(flow.credits().await, CREDITS);
    assert_eq!(flow.step().await, 0);
}

/// Jobs that are told to hang take none of the places of those that are paid for.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_sandbox_stops_nobody_else() {
    let mut flow = Flow::with(|setup| setup.worker.concurrency = 2).await;
    let live = flow.caller.clone();
    flow.caller = flow.caller_of(&flow.org, Mode::Test).await;
    for _ in 0..3 {
        flow.simulating("SLOW=10m", IMAGE, prompt()).await;
    }
    // Younger than those, so that without places of its own it would be claimed last.
    flow.clock.advance(Duration::from_secs(1));
    flow.caller = live;
    let job = flow.image().await;
    flow.work();
    let wait = Duration::from_secs(20);
    let job = flow.engine.job(&flow.caller, job.id.as_str(), wait).await;
    assert_eq!(job.unwrap().status, JobStatus::Completed);
}

#[tokio::test]
async fn a_provider_that_is_paid_is_never_asked_with_a_test_key() {
    let fal = vydra_testkit::ScriptedProvider::new("fal", false);
    let other = std::sync::Arc::clone(&fal);
    let mut flow = Flow::with(|setup| setup.others = vec![other]).await;
    flow.image().await;
    flow.step().await;
    let paid = fal.submitted().len();
    assert_eq!(paid, 1, "with a live key it is");
    flow.caller = flow.caller_of(&flow.org, Mode::Test).await;
    let paths: Vec<String> = flow
        .engine
        .catalog()
        .models()
        .iter()
        .filter(|model| {
            let mut media = model.schema.media_fields();
            !media.any(|field| model.example_input.contains_key(field.name))
        })
        .filter_map(|model| model.path.clone())
        .collect();
    assert!(paths.len() >= 4, "{paths:?}");
    for path in paths {
        let model = flow.engine.catalog().model_at(&path).unwrap();
        let input = Value::Object(model.example_input.clone());
        let job = flow.call(&path, input).await;
        flow.step().await;
        let job = flow.now(&job).await;
        assert_eq!(job.provider.as_deref(), Some("sandbox"), "{path}");
    }
    assert_eq!(fal.submitted().len(), paid);
}
