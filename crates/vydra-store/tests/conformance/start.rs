//! Jobs that begin in the transaction that takes them.

use crate::fixture::{Fixture, LEASE, check, fresh};
use std::collections::BTreeSet;
use vydra_core::ids::{JobId, OrgId};
use vydra_core::job::{Job, JobStatus, Mode, PROCESSING_LIMIT};
use vydra_store::store::{ClaimedJob, LeaseToken, NewJob, Start, Submission};

fn at_once(f: &Fixture, org: &OrgId) -> NewJob {
    let new = f.new_job(org, 10);
    NewJob {
        start: Some(Start {
            token: LeaseToken(format!("of {}", new.id)),
            lease: LEASE,
            limit: PROCESSING_LIMIT,
        }),
        ..new
    }
}

async fn submit(f: &Fixture, new: NewJob) -> (Job, Option<ClaimedJob>) {
    match f.store.submit_job(new).await.unwrap() {
        Submission::Accepted { job, begun, .. } => (*job, begun.map(|begun| *begun)),
        refused => panic!("{refused:?}"),
    }
}

/// It waits like any other.
async fn waits(f: &Fixture, new: NewJob) -> Job {
    let (job, begun) = submit(f, new).await;
    assert_eq!(begun, None);
    assert_eq!(f.look(&job).await, job);
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_begins_at_once_when_nobody_waits() {
    let f = fresh().await;
    let org = f.org(100).await;
    let (job, begun) = submit(&f, at_once(&f, &org.id)).await;
    assert_eq!(job.status, JobStatus::Pending, "as it was taken");
    let begun = begun.unwrap();
    assert_eq!((begun.attempt, begun.steps.len()), (1, 0));
    assert_eq!(begun.deadline, job.created_at.plus(PROCESSING_LIMIT));
    assert_eq!(f.look(&job).await, begun.job);
    assert_eq!(begun.job.status, JobStatus::Running);
    assert_eq!(begun.job.started_at, Some(job.created_at));
    assert_eq!(f.claim(9).await, [], "it has its worker");
    let due = f.store.next_due().await.unwrap();
    let lease_end = job.created_at.plus(LEASE);
    assert_eq!(
        (due.lease, due.deadline),
        (Some(lease_end), Some(begun.deadline))
    );

    let ended = f.settle(&begun, f.failed()).await;
    assert_eq!(
        (ended.status, ended.refunded),
        (JobStatus::Failed, ended.price)
    );
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_begins_at_once_is_taken_over_like_any_other() {
    let f = fresh().await;
    let org = f.org(100).await;
    let (_, begun) = submit(&f, at_once(&f, &org.id)).await;
    assert_eq!(f.store.release_leases(f.now()).await.unwrap(), 1);
    let again = f.claim(9).await;
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].attempt, 2);
    assert_eq!(again[0].deadline, begun.unwrap().deadline);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_passed_over() {
    let f = fresh().await;
    let first = f.org_of(f.new_org("first", 100, 100)).await;
    let second = f.org(100).await;
    let sandboxed = NewJob {
        mode: Mode::Test,
        ..f.new_job(&first.id, 1)
    };
    waits(&f, sandboxed).await;
    let (_, begun) = submit(&f, at_once(&f, &first.id)).await;
    let interrupted = begun.expect("the sandbox has places of its own");

    let waiting = waits(&f, f.new_job(&first.id, 10)).await;
    let behind = waits(&f, at_once(&f, &second.id)).await;
    assert_eq!(claimed(&f).await, [&waiting, &behind].map(id).into());

    // A job whose worker has gone away waits for a place too.
    f.store.release_leases(f.now()).await.unwrap();
    let last = waits(&f, at_once(&f, &second.id)).await;
    let all = [&interrupted.job, &waiting, &behind, &last];
    assert_eq!(claimed(&f).await, all.map(id).into());
    check(f).await;
}

fn id(job: &Job) -> JobId {
    job.id.clone()
}

async fn claimed(f: &Fixture) -> BTreeSet<JobId> {
    let held = f.claim_at(9, f.now()).await;
    held.iter().map(|held| id(&held.job)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_a_turn() {
    let f = fresh().await;
    let (busy, idle) = (f.org(1_000).await, f.org(1_000).await);
    for _ in 0..5 {
        submit(&f, at_once(&f, &busy.id)).await.1.unwrap();
    }
    // Whoever was idle does not catch up on the five.
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.push(f.job(&idle.id, 1).await.id);
    }
    expected.insert(2, f.job(&busy.id, 1).await.id);
    let claimed = f.claim_at(9, f.now()).await;
    let ids: Vec<_> = claimed.into_iter().map(|held| held.job.id).collect();
    assert_eq!(ids, expected);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_begins_nothing() {
    let f = fresh().await;
    let poor = f.org(9).await;
    let refused = f.store.submit_job(at_once(&f, &poor.id)).await.unwrap();
    assert!(matches!(refused, Submission::InsufficientCredits { .. }));
    let full = NewJob {
        concurrent: 0,
        ..at_once(&f, &poor.id)
    };
    let refused = f.store.submit_job(full).await.unwrap();
    assert_eq!(refused, Submission::TooManyJobs { open: 0 });
    assert_eq!(f.store.next_due().await.unwrap().lease, None);
    check(f).await;
}
