//! Which of a model's providers is asked, and what is remembered of it.

use crate::fixture::{CREDITS, Flow, reason};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use vydra_core::job::{Job, JobStatus};
use vydra_engine::{Asked, Preference};
use vydra_outbound::registry::Bounds;
use vydra_store::store::{AttemptFilter, ProviderAttempt};
use vydra_testkit::{
    Accepted, ErrorKind, PollReply, ProviderError, Reply, ScriptedProvider, files,
};

/// Two providers for one model, in this order.
const CATALOG: &str = r#"
[[models]]
slug = "gemini-image"
path = "gemini/generate"
name = "Gemini Image"
provider = "google"
model_id = "gemini-image"
description = "Makes an image from a text."
kind = "image"
answer = "sync"
credits_per_unit = 5
pricing_unit = "image"
routes = [
    { provider = "wide", model = "for-wide", when = { aspectRatio = "21:9" } },
    { provider = "first", model = "one" },
    { provider = "second", model = "two" },
]
[models.input_schema]
type = "object"
required = ["prompt"]
[models.input_schema.properties]
prompt = { type = "string" }
aspectRatio = { type = "string", default = "1:1" }
"#;

struct Routed {
    flow: Flow,
    first: Arc<ScriptedProvider>,
    second: Arc<ScriptedProvider>,
}

impl Routed {
    async fn new() -> Self {
        Self::with(Bounds::default()).await
    }

    async fn with(bounds: Bounds) -> Self {
        let first = ScriptedProvider::new("first", false);
        let second = ScriptedProvider::new("second", false);
        let others = vec![first.clone(), second.clone()];
        let flow = Flow::with(|setup| {
            CATALOG.clone_into(&mut setup.catalog);
            setup.others = others;
            setup.bounds = bounds;
        })
        .await;
        Self {
            flow,
            first,
            second,
        }
    }

    async fn run(&self) -> Job {
        let job = self.flow.image().await;
        self.flow.step().await;
        self.flow.now(&job).await
    }

    async fn attempts(&self, job: &Job) -> Vec<ProviderAttempt> {
        let filter = AttemptFilter {
            job: Some(job.id.clone()),
            limit: 100,
            ..AttemptFilter::default()
        };
        let mut attempts = self.flow.store.attempts(filter).await.unwrap();
        attempts.reverse();
        attempts
    }
}

fn failing(kind: ErrorKind, accepted: Accepted) -> Reply {
    Reply::Error(ProviderError::new(kind, accepted, "as the test told it to"))
}

#[tokio::test]
async fn another_provider_is_asked_where_nothing_was_bought() {
    for kind in [
        ErrorKind::Unavailable,
        ErrorKind::RateLimited,
        ErrorKind::Auth,
        ErrorKind::QuotaExhausted,
        ErrorKind::ModelGone,
    ] {
        let routed = Routed::new().await;
        routed.first.next(failing(kind, Accepted::No));
        let job = routed.run().await;
        assert_eq!(job.status, JobStatus::Completed, "{kind:?}");
        assert_eq!(job.provider.as_deref(), Some("second"));
        assert_eq!(
            routed.flow.credits().await,
            CREDITS - 5,
            "the price is the same"
        );
        let told: Vec<_> = routed
            .attempts(&job)
            .await
            .into_iter()
            .map(|attempt| {
                (
                    attempt.provider,
                    attempt.model,
                    attempt.failure,
                    attempt.accepted,
                )
            })
            .collect();
        let failure = Some(kind.as_str().to_owned());
        assert_eq!(
            told,
            [
                (
                    "first".to_owned(),
                    "one".to_owned(),
                    failure,
                    "no".to_owned()
                ),
                (
                    "second".to_owned(),
                    "two".to_owned(),
                    None,
                    "yes".to_owned()
                ),
            ]
        );
    }
}

#[tokio::test]
async fn nobody_else_is_asked_what_may_have_been_bought_or_would_be_refused_again() {
    for (kind, accepted) in [
        (ErrorKind::Unavailable, Accepted::Unknown),
        (ErrorKind::Unavailable, Accepted::Yes),
        (ErrorKind::Unknown, Accepted::Unknown),
        (ErrorKind::Protocol, Accepted::Unknown),
        (ErrorKind::NoOutput, Accepted::Yes),
        (ErrorKind::ContentRefused, Accepted::No),
        (ErrorKind::InvalidRequest, Accepted::No),
        (ErrorKind::InputUnreadable, Accepted::No),
    ] {
        let routed = Routed::new().await;
        routed.first.next(failing(kind, accepted));
        let job = routed.run().await;
        assert_eq!(job.status, JobStatus::Failed, "{kind:?} {accepted:?}");
        assert!(
            routed.second.submitted().is_empty(),
            "{kind:?} {accepted:?}"
        );
        assert_eq!(routed.flow.credits().await, CREDITS);
    }
}

#[tokio::test]
async fn a_caller_may_want_the_first_provider_or_nothing() {
    let routed = Routed::new().await;
    routed.first.next(failing(ErrorKind::Auth, Accepted::No));
    let asked = Asked {
        preference: Preference::RespondAsync,
        no_fallback: true,
        ..Asked::default()
    };
    let input = json!({"prompt": "p"}).as_object().unwrap().clone();
    let engine = &routed.flow.engine;
    let started = engine.generate(&routed.flow.caller, "gemini/generate", input, asked);
    let job = started.await.unwrap().job;
    routed.flow.step().await;
    let job = routed.flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("provider_unavailable", true));
    assert!(routed.second.submitted().is_empty());
}

#[tokio::test]
async fn a_route_may_be_for_some_calls_alone() {
    let wide = ScriptedProvider::new("wide", false);
    let narrow = ScriptedProvider::new("first", false);
    let others = vec![wide.clone(), narrow.clone()];
    let flow = Flow::with(|setup| {
        CATALOG.clone_into(&mut setup.catalog);
        setup.others = others;
    })
    .await;
    for (ratio, expected) in [("21:9", "wide"), ("1:1", "first")] {
        let input = json!({"prompt": "p", "aspectRatio": ratio});
        let job = flow.call("gemini/generate", input).await;
        flow.step().await;
        assert_eq!(flow.now(&job).await.provider.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn a_provider_without_a_good_key_is_left_alone_for_a_while() {
    let routed = Routed::new().await;
    for _ in 0..3 {
        routed.first.next(failing(ErrorKind::Auth, Accepted::No));
    }
    for _ in 0..5 {
        assert_eq!(routed.run().await.provider.as_deref(), Some("second"));
    }
    assert_eq!(routed.first.submitted().len(), 3);
    routed.flow.clock.advance(Duration::from_mins(1));
    assert_eq!(routed.run().await.provider.as_deref(), Some("first"));
    assert_eq!(routed.run().await.provider.as_deref(), Some("first"));
}

#[tokio::test]
async fn a_provider_that_is_away_is_left_alone_after_ten_failures_in_a_row() {
    let routed = Routed::new().await;
    for _ in 0..9 {
        routed
            .first
            .next(failing(ErrorKind::Unavailable, Accepted::No));
    }
    routed.first.next(Reply::Files(vec![files::png(8, 8)]));
    for _ in 0..10 {
        routed
            .first
            .next(failing(ErrorKind::Unavailable, Accepted::No));
    }
    for number in 0..22 {
        let job = routed.run().await;
        let expected = if number == 9 { "first" } else { "second" };
        assert_eq!(job.provider.as_deref(), Some(expected), "job {number}");
    }
    assert_eq!(
        routed.first.submitted().len(),
        20,
        "nine, a success, and ten more"
    );
    // One request finds out how it is; as long as nobody knows, nobody else is sent there.
    routed.flow.clock.advance(Duration::from_secs(30));
    routed
        .first
        .next(failing(ErrorKind::Unavailable, Accepted::No));
    for _ in 0..2 {
        assert_eq!(routed.run().await.provider.as_deref(), Some("second"));
    }
    assert_eq!(routed.first.submitted().len(), 21);
}

/// The task was taken: what is said of our key later buys nothing elsewhere.
#[tokio::test]
async fn a_task_whose_poll_is_refused_is_polled_again() {
    for kind in [
        ErrorKind::Auth,
        ErrorKind::QuotaExhausted,
        ErrorKind::ModelGone,
    ] {
        let routed = Routed::new().await;
        routed.first.next(Reply::Task("up-1"));
        routed
            .first
            .next_poll(PollReply::Error(ProviderError::new(kind, Accepted::No, "")));
        routed
            .first
            .next_poll(PollReply::Files(vec![files::png(8, 8)]));
        let job = routed.run().await;
        assert_eq!(job.provider.as_deref(), Some("first"), "{kind:?}");
        assert!(routed.second.submitted().is_empty());
    }
}

#[tokio::test]
async fn no_more_is_bought_on_a_day_than_the_operator_allows() {
    let routed = Routed::with(Bounds {
        daily_credits: Some(10),
        ..Bounds::default()
    })
    .await;
    // What was not bought does not count.
    routed
        .first
        .next(failing(ErrorKind::RateLimited, Accepted::No));
    let mut by = Vec::new();
    for _ in 0..6 {
        let job = routed.run().await;
        by.push(job.provider.unwrap_or_else(|| "nobody".to_owned()));
    }
    assert_eq!(
        by,
        ["second", "first", "first", "second", "nobody", "nobody"]
    );
    assert_eq!(routed.flow.credits().await, CREDITS - 20, "and refunded");
    routed.flow.clock.advance(Duration::from_hours(24));
    assert_eq!(routed.run().await.provider.as_deref(), Some("first"));
}

#[tokio::test]
async fn a_job_whose_provider_has_no_place_waits_without_using_up_its_attempts() {
    let mut routed = Routed::with(Bounds {
        concurrency: Some(0),
        ..Bounds::default()
    })
    .await;
    let job = routed.flow.image().await;
    // More often than a job may be tried.
    for _ in 0..12 {
        routed.flow.step().await;
        routed.flow.clock.advance(Duration::from_secs(1));
    }
    let open = routed.flow.now(&job).await;
    assert!(!open.status.is_final(), "{open:?}");
    routed.flow.setup.bounds = Bounds::default();
    routed.flow.crash_at(async {}).await;
    routed.flow.clock.advance(Duration::from_secs(1));
    routed.flow.step().await;
    routed
        .flow
        .expect(&job, JobStatus::Completed, CREDITS - 5)
        .await;
    assert!(
        routed.attempts(&job).await.len() == 1,
        "what was not asked is no attempt"
    );
}

#[tokio::test]
async fn the_wait_for_a_place_takes_no_time_from_the_processing() {
    let mut routed = Routed::with(Bounds {
        concurrency: Some(0),
        ..Bounds::default()
    })
    .await;
    let job = routed.flow.image().await;
    for _ in 0..50 {
        routed.flow.step().await;
        routed.flow.clock.advance(Duration::from_mins(1));
    }
    let open = routed.flow.now(&job).await;
    assert!(!open.status.is_final(), "{open:?}");
    routed.flow.setup.bounds = Bounds::default();
    routed.flow.crash_at(async {}).await;
    routed.flow.step().await;
    let paid = CREDITS - 5;
    routed.flow.expect(&job, JobStatus::Completed, paid).await;

    // For no longer than a job may wait.
    routed.flow.setup.bounds.concurrency = Some(0);
    routed.flow.setup.worker.max_wait = Duration::from_hours(1);
    routed.flow.crash_at(async {}).await;
    let job = routed.flow.image().await;
    for minutes in 0..92 {
        let open = routed.flow.now(&job).await;
        assert!(minutes > 89 || !open.status.is_final(), "{open:?}");
        routed.flow.step().await;
        routed.flow.clock.advance(Duration::from_mins(1));
    }
    routed.flow.step().await;
    routed.flow.expect(&job, JobStatus::Failed, paid).await;
}
