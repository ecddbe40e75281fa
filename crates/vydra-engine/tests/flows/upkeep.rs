//! What keeps the database small.

use crate::fixture::{CREDITS, Flow};
use serde_json::json;
use std::time::Duration;
use vydra_core::job::{Job, JobStatus, Mode};
use vydra_engine::{AssetQuery, Error};
use vydra_store::store::PruneCounts;

const DAY: Duration = Duration::from_hours(24);

impl Flow {
    async fn made(&self) -> Job {
        let job = self.image().await;
        self.step().await;
        self.job(&job).await
    }

    async fn is_there(&self, job: &Job) -> bool {
        let found = self.store.job(&job.org_id, &job.id).await.unwrap();
        found.is_some()
    }
}

#[tokio::test]
async fn the_worker_removes_what_is_older_than_it_is_to_be_kept() {
    let flow = Flow::with(|setup| setup.worker.keep_jobs = Some(30 * DAY)).await;
    let old = flow.made().await;
    assert_eq!(old.status, JobStatus::Completed);
    flow.clock.advance(20 * DAY);
    let young = flow.made().await;
    flow.clock.advance(10 * DAY);
    flow.step().await;
    assert!(flow.is_there(&old).await, "it is just as old as it may be");
    flow.clock.advance(Duration::from_mins(59));
    flow.step().await;
    assert!(flow.is_there(&old).await, "it is looked at once an hour");
    flow.clock.advance(Duration::from_mins(1));
    flow.step().await;
    assert!(!flow.is_there(&old).await && flow.is_there(&young).await);

    let unknown = flow
        .engine
        .job(&flow.caller, old.id.as_str(), Duration::ZERO)
        .await;
    assert!(matches!(unknown, Err(Error::JobNotFound)), "{unknown:?}");
    assert_eq!(flow.balance(&flow.org, Mode::Live).await, CREDITS - 10);
    let totals = flow.store.credit_totals(&flow.org.id, Mode::Live).await;
    assert_eq!(totals.unwrap().used, 10, "of both");
    // Its picture is still its organization's.
    let query = AssetQuery {
        limit: 9,
        ..AssetQuery::default()
    };
    let listed = flow.engine.assets(&flow.caller, query).await.unwrap();
    let jobs: Vec<_> = listed.assets.iter().map(|one| &one.asset.job_id).collect();
    assert_eq!(jobs, [&Some(young.id), &None]);
}

#[tokio::test]
async fn jobs_are_kept_for_ever_unless_somebody_says_otherwise() {
    let flow = Flow::new().await;
    let job = flow.made().await;
    flow.made().await;
    flow.clock.advance(1_000 * DAY);
    flow.step().await;
    assert!(flow.is_there(&job).await);
    // Its charge, and the grants with which both balances began.
    let expected = PruneCounts {
        jobs: 1,
        entries: 3,
        events: 1,
        attempts: 0,
    };
    let could = flow.engine.prunable_jobs(999 * DAY).await.unwrap();
    assert_eq!(could, expected);
    let mut told = PruneCounts::default();
    let removed = flow
        .engine
        .prune_jobs(999 * DAY, |counts| told = counts)
        .await
        .unwrap();
    assert_eq!((removed, told), (expected, expected));
    assert!(!flow.is_there(&job).await);
}

/// Or whoever repeats a request would buy twice.
#[tokio::test]
async fn no_job_goes_while_its_idempotency_key_may_hold() {
    let flow = Flow::new().await;
    let job = flow
        .call("gemini/generate", json!({"prompt": "a fox"}))
        .await;
    flow.step().await;
    let too_short = DAY.saturating_sub(Duration::from_secs(1));
    let refused = flow.engine.prune_jobs(too_short, |_| {}).await;
    assert!(matches!(refused, Err(Error::InvalidInput { .. })));
    let refused = flow.engine.prunable_jobs(too_short).await;
    assert!(matches!(refused, Err(Error::InvalidInput { .. })));
    assert!(flow.is_there(&job).await);
}
