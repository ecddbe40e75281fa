//! Jobs from the worker's side.

use crate::fixture::{
    Fixture, LEASE, asked, at_once, check, credits, failure, fresh, overdue, timeout,
};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::asset::{Asset, AssetRole};
use vydra_core::ids::JobId;
use vydra_core::job::{Job, JobStatus, Mode, PROCESSING_LIMIT};
use vydra_core::time::Timestamp;
use vydra_store::StoreError;
use vydra_store::store::{ClaimedJob, Due, Lease, LeaseToken, NewJob, NodeId, PriorStep, Share};

/// Every write of a worker is refused, and changes nothing.
pub(crate) async fn assert_lease_lost(f: &Fixture, lease: &Lease) {
    let before = f.store.audit().await.unwrap();
    let until = f.until();
    let answers = [
        f.store
            .mark_submitting(lease, &asked(1, "fal"), until)
            .await,
        f.store
            .record_task(lease, &asked(1, "fal"), "task-1", until)
            .await,
        f.store
            .finish_step(lease, &asked(1, "fal"), vec![], until)
            .await,
        f.store
            .report_progress(lease, 99, Some("late"), until)
            .await,
        f.store.hand_back(lease, until, &[0]).await,
        f.store.settle_job(lease, f.completed(vec![], 0)).await,
        f.store.settle_job(lease, f.completed(vec![], 1)).await,
        f.store.settle_job(lease, f.failed()).await,
    ];
    for answer in answers {
        assert!(matches!(answer, Err(StoreError::LeaseLost)), "{answer:?}");
    }
    assert_eq!(f.store.audit().await.unwrap(), before);
}

fn ids(claimed: &[ClaimedJob]) -> Vec<JobId> {
    claimed
        .iter()
        .map(|claimed| claimed.job.id.clone())
        .collect()
}

async fn jobs(f: &Fixture, count: usize) -> Vec<Job> {
    let org = f.org(1_000).await;
    let mut jobs = Vec::new();
    for _ in 0..count {
        jobs.push(f.job(&org.id, 10).await);
    }
    jobs
}

async fn one(f: &Fixture) -> ClaimedJob {
    let org = f.org(1_000).await;
    f.running(&org.id, 10).await
}

async fn expire(f: &Fixture, most: usize) -> Vec<Job> {
    let (entries, now) = (f.entries(most), f.now());
    let expired = f.store.expire_jobs(overdue(), entries, now).await.unwrap();
    assert_eq!(expired.count, expired.jobs.len());
    expired.jobs
}

fn unknown(route: u32, provider: &str) -> BTreeMap<u32, PriorStep> {
    let provider = provider.to_owned();
    [(0, PriorStep::Unknown { provider, route })].into()
}

fn task(route: u32, provider: &str, name: &str) -> BTreeMap<u32, PriorStep> {
    let task = PriorStep::Task {
        provider: provider.to_owned(),
        route,
        external_id: name.to_owned(),
    };
    [(0, task)].into()
}

// --- Claim ---

#[tokio::test(flavor = "multi_thread")]
async fn claims_the_oldest_and_never_more_than_tokens() {
    let f = fresh().await;
    let jobs = jobs(&f, 5).await;
    let ids_of = |range: std::ops::Range<usize>| {
        jobs[range]
            .iter()
            .map(|job| job.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(f.claim(0).await, []);
    let now = f.now();
    let claim = f.new_claim(Mode::Live, 2, now);
    let tokens = claim.tokens.clone();
    let first = f.store.claim_jobs(claim).await.unwrap().jobs;
    assert_eq!(ids(&first), ids_of(0..2));
    for (claimed, token) in first.iter().zip(tokens) {
        assert_eq!(
            claimed.lease,
            Lease {
                org: claimed.job.org_id.clone(),
                mode: Mode::Live,
                job: claimed.job.id.clone(),
                token
            }
        );
        assert_eq!(claimed.job.status, JobStatus::Running);
        assert_eq!(claimed.job.started_at, Some(now));
        assert_eq!(claimed.attempt, 1);
        assert_eq!(claimed.steps, BTreeMap::new());
        assert_eq!(claimed.deadline, now.plus(PROCESSING_LIMIT));
        assert_eq!(f.look(&claimed.job).await, claimed.job);
    }
    assert_eq!(ids(&f.claim(2).await), ids_of(2..4));
    assert_eq!(ids(&f.claim(9).await), ids_of(4..5));
    assert_eq!(f.claim(9).await, []);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_lease_is_claimable_and_its_token_dead() {
    let f = fresh().await;
    let old = one(&f).await;
    assert_eq!(f.claim(1).await, []);
    let lease_end = old.job.started_at.unwrap().plus(LEASE);
    let early = Timestamp::from_micros(lease_end.as_micros() - 1);
    assert_eq!(f.claim_at(1, early).await, []);
    let again = f.claim_at(1, lease_end).await;
    assert_eq!(ids(&again), std::slice::from_ref(&old.job.id));
    assert_eq!(again[0].attempt, 2);
    assert_ne!(again[0].lease, old.lease);
    assert_eq!(again[0].job.started_at, old.job.started_at);
    assert_eq!(again[0].deadline, old.deadline, "the deadline is set once");
    assert_lease_lost(&f, &old.lease).await;
    f.store
        .settle_job(&again[0].lease, f.completed(vec![], 0))
        .await
        .unwrap();
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_leases_and_new_jobs_come_in_order_of_age() {
    let f = fresh().await;
    let jobs = jobs(&f, 4).await;
    let claimed = f.claim(3).await;
    // The younger a job, the sooner its lease ends.
    for (claimed, seconds) in claimed.iter().zip([30, 20, 10]) {
        let again_at = f.now().plus(Duration::from_secs(seconds));
        f.store
            .hand_back(&claimed.lease, again_at, &[0])
            .await
            .unwrap();
    }
    f.advance(LEASE);
    let expected: Vec<_> = jobs.iter().map(|job| job.id.clone()).collect();
    assert_eq!(ids(&f.claim(2).await), expected[..2]);
    assert_eq!(ids(&f.claim(9).await), expected[2..]);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_claimers_never_get_the_same_job() {
    let f = fresh().await;
    let jobs = jobs(&f, 60).await;
    for round in 1..=3 {
        let claims = (0..20).map(|_| {
            let (store, claim) = (Arc::clone(&f.store), f.new_claim(Mode::Live, 4, f.now()));
            async move { store.claim_jobs(claim).await.unwrap().jobs }
        });
        let claimed = at_once(claims).await.concat();
        assert_eq!(claimed.len(), jobs.len());
        let different: HashSet<_> = ids(&claimed).into_iter().collect();
        assert_eq!(different.len(), jobs.len());
        assert!(claimed.iter().all(|claimed| claimed.attempt == round));
        f.advance(LEASE);
    }
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_deadline_a_job_is_expired_and_not_claimed() {
    let f = fresh().await;
    let old = one(&f).await;
    f.store
        .report_progress(&old.lease, 50, Some("drawing"), old.deadline.plus(LEASE))
        .await
        .unwrap();
    let early = Timestamp::from_micros(old.deadline.as_micros() - 1);
    let none = f.store.expire_jobs(overdue(), f.entries(1), early).await;
    assert_eq!(none.unwrap().count, 0);
    f.advance(PROCESSING_LIMIT);
    assert_eq!(f.claim(1).await, [], "its lease still runs");
    f.advance(LEASE);
    assert_eq!(f.claim(1).await, [], "its time is over");
    let now = f.now();
    let ended = f
        .store
        .expire_jobs(overdue(), f.entries(9), now)
        .await
        .unwrap()
        .jobs;
    let expected = Job {
        status: JobStatus::Failed,
        progress: 50,
        refunded: credits(10),
        failure: Some(timeout()),
        completed_at: Some(now),
        ..old.job.clone()
    };
    assert_eq!(ended, std::slice::from_ref(&expected));
    assert_eq!(f.look(&old.job).await, expected);
    assert_eq!(f.live_balance(&old.job.org_id).await, 1_000);
    assert_lease_lost(&f, &old.lease).await;
    assert_eq!(expire(&f, 9).await, []);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expires_as_many_as_it_has_rows_for_and_only_running_ones() {
    let f = fresh().await;
    let jobs = jobs(&f, 5).await;
    f.claim(4).await;
    f.advance(PROCESSING_LIMIT);
    assert_eq!(expire(&f, 0).await, []);
    assert_eq!(expire(&f, 3).await.len(), 3);
    assert_eq!(expire(&f, 3).await.len(), 1);
    assert_eq!(expire(&f, 3).await, []);
    let waiting = f.look(&jobs[4]).await;
    assert_eq!(
        waiting.status,
        JobStatus::Pending,
        "waiting is not processing"
    );
    assert_eq!(f.live_balance(&waiting.org_id).await, 990);
    check(f).await;
}

// --- What a worker writes down ---

#[tokio::test(flavor = "multi_thread")]
async fn the_next_attempt_learns_how_far_the_last_one_came() {
    let f = fresh().await;
    one(&f).await;
    let reclaim = async || {
        f.advance(LEASE * 2);
        let [claimed] = <[_; 1]>::try_from(f.claim(2).await).unwrap();
        claimed
    };
    let mut held = reclaim().await;
    assert_eq!(held.steps, BTreeMap::new());

    f.store
        .mark_submitting(&held.lease, &asked(3, "fal"), f.until())
        .await
        .unwrap();
    let seen = f.look(&held.job).await;
    assert_eq!(
        (seen.provider.as_deref(), seen.external_id),
        (Some("fal"), None)
    );
    held = reclaim().await;
    assert_eq!(held.steps, unknown(3, "fal"));
    assert_eq!(held.job.provider.as_deref(), Some("fal"));

    f.store
        .record_task(&held.lease, &asked(3, "fal"), "task-9", f.until())
        .await
        .unwrap();
    assert_eq!(
        f.look(&held.job).await.external_id.as_deref(),
        Some("task-9")
    );
    held = reclaim().await;
    assert_eq!(held.steps, task(3, "fal", "task-9"));
    assert_eq!(held.attempt, 4);
    check(f).await;
}

/// The old name belongs to the old route: with the new one it would name somebody else's work, or none.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_submission_forgets_the_task_of_the_old_one() {
    let f = fresh().await;
    let held = one(&f).await;
    f.store
        .mark_submitting(&held.lease, &asked(0, "fal"), f.until())
        .await
        .unwrap();
    f.store
        .record_task(&held.lease, &asked(0, "fal"), "task-of-fal", f.until())
        .await
        .unwrap();
    f.store
        .mark_submitting(&held.lease, &asked(1, "replicate"), f.until())
        .await
        .unwrap();
    assert_eq!(f.look(&held.job).await.external_id, None);
    f.advance(LEASE * 2);
    let again = f.claim(1).await;
    assert_eq!(again[0].steps, unknown(1, "replicate"));
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_extends_the_lease() {
    let f = fresh().await;
    let held = one(&f).await;
    let soon = Duration::from_secs(40);
    for write in 0..3 {
        f.advance(soon);
        let (lease, until) = (&held.lease, f.until());
        match write {
            0 => f
                .store
                .mark_submitting(lease, &asked(0, "fal"), until)
                .await
                .unwrap(),
            1 => f
                .store
                .record_task(lease, &asked(0, "fal"), "task-1", until)
                .await
                .unwrap(),
            _ => f
                .store
                .report_progress(lease, 1, None, until)
                .await
                .unwrap(),
        }
        assert_eq!(f.store.next_due().await.unwrap().lease, Some(until));
        f.advance(soon / 2);
        assert_eq!(f.claim(1).await, []);
    }
    f.advance(LEASE);
    assert_eq!(f.claim(1).await.len(), 1);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handing_back_keeps_or_forgets_the_submission() {
    let f = fresh().await;
    let held = one(&f).await;
    f.store
        .mark_submitting(&held.lease, &asked(2, "fal"), f.until())
        .await
        .unwrap();
    f.store
        .record_task(&held.lease, &asked(2, "fal"), "task-1", f.until())
        .await
        .unwrap();
    let again_at = f.now().plus(Duration::from_secs(5));
    f.store.hand_back(&held.lease, again_at, &[]).await.unwrap();
    assert_lease_lost(&f, &held.lease).await;
    assert_eq!(f.store.next_due().await.unwrap().lease, Some(again_at));
    assert_eq!(f.claim(1).await, [], "not before its time");
    assert_eq!(f.look(&held.job).await.status, JobStatus::Running);
    f.advance(Duration::from_secs(5));

    let [kept] = <[_; 1]>::try_from(f.claim(1).await).unwrap();
    assert_eq!((kept.steps, kept.attempt), (task(2, "fal", "task-1"), 2));
    f.store.hand_back(&kept.lease, f.now(), &[0]).await.unwrap();
    let [forgotten] = <[_; 1]>::try_from(f.claim(1).await).unwrap();
    assert_eq!((forgotten.steps, forgotten.attempt), (BTreeMap::new(), 3));
    assert_eq!(forgotten.job.external_id, None);
    assert_eq!(forgotten.deadline, held.deadline);

    f.store
        .mark_submitting(&forgotten.lease, &asked(0, "fal"), f.until())
        .await
        .unwrap();
    f.store
        .hand_back(&forgotten.lease, f.now(), &[])
        .await
        .unwrap();
    let unsure = f.claim(1).await;
    assert_eq!(unsure[0].steps, unknown(0, "fal"));
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_never_goes_back() {
    let f = fresh().await;
    let held = one(&f).await;
    for (reported, message, shown) in [
        (10, Some("queued"), 10),
        (60, None, 60),
        (30, Some("drawing"), 60),
        (0, None, 60),
        (u8::MAX, Some("done"), 100),
    ] {
        f.store
            .report_progress(&held.lease, reported, message, f.until())
            .await
            .unwrap();
        let seen = f.look(&held.job).await;
        assert_eq!(
            (seen.progress, seen.status_message.as_deref()),
            (shown, message)
        );
    }
    f.store.hand_back(&held.lease, f.now(), &[0]).await.unwrap();
    let again = f.claim(1).await;
    f.store
        .report_progress(&again[0].lease, 5, None, f.until())
        .await
        .unwrap();
    assert_eq!(f.look(&held.job).await.progress, 100);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_no_lease() {
    let f = fresh().await;
    let (held, waiting) = (one(&f).await, f.org(10).await);
    let other = f.running(&waiting.id, 10).await;
    let waiting = f.job(&held.job.org_id, 10).await;
    let before = f.look(&held.job).await;
    for token in [LeaseToken(String::new()), other.lease.token.clone()] {
        for job in [held.job.id.clone(), waiting.id.clone(), f.job_id()] {
            assert_lease_lost(
                &f,
                &Lease {
                    org: held.job.org_id.clone(),
                    mode: Mode::Live,
                    job,
                    token: token.clone(),
                },
            )
            .await;
        }
    }
    assert_eq!(f.look(&held.job).await, before);
    assert_eq!(f.look(&waiting).await, waiting);
    check(f).await;
}

// --- Settle ---

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_delivery_refunds_nothing_and_keeps_its_order() {
    let f = fresh().await;
    let held = one(&f).await;
    f.store
        .report_progress(&held.lease, 70, Some("drawing"), f.until())
        .await
        .unwrap();
    let mut outputs: Vec<Asset> = (0..12).map(|_| f.output(&held.job)).collect();
    outputs.reverse();
    let settlement = f.completed(outputs.clone(), 0);
    let settled = f.settle(&held, settlement.clone()).await;
    let expected = Job {
        status: JobStatus::Completed,
        progress: 100,
        completed_at: Some(settlement.now),
        outputs,
        ..held.job.clone()
    };
    assert_eq!(settled, expected);
    assert_eq!(f.look(&held.job).await, expected);
    assert_eq!(f.live_balance(&held.job.org_id).await, 990);
    assert_lease_lost(&f, &held.lease).await;
    let twice = f.store.settle_job(&held.lease, settlement).await;
    assert!(matches!(twice, Err(StoreError::LeaseLost)), "{twice:?}");
    assert_eq!(f.look(&held.job).await, expected);
    f.advance(PROCESSING_LIMIT * 2);
    assert_eq!(f.claim(1).await, []);
    assert_eq!(expire(&f, 1).await, []);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_delivery_pays_the_rest_back() {
    let f = fresh().await;
    let held = one(&f).await;
    let outputs = vec![f.output(&held.job)];
    let settled = f.settle(&held, f.completed(outputs.clone(), 7)).await;
    assert_eq!(
        (settled.status, settled.refunded),
        (JobStatus::Completed, credits(7))
    );
    assert_eq!(settled.outputs, outputs);
    assert_eq!(f.live_balance(&held.job.org_id).await, 997);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_pays_everything_back() {
    let f = fresh().await;
    let held = one(&f).await;
    f.store
        .report_progress(&held.lease, 70, Some("drawing"), f.until())
        .await
        .unwrap();
    let settlement = f.failed();
    let now = settlement.now;
    let settled = f.settle(&held, settlement).await;
    let expected = Job {
        status: JobStatus::Failed,
        progress: 70,
        refunded: credits(10),
        failure: Some(failure()),
        completed_at: Some(now),
        ..held.job.clone()
    };
    assert_eq!(settled, expected);
    assert_eq!(f.look(&held.job).await, expected);
    assert_eq!(f.live_balance(&held.job.org_id).await, 1_000);
    assert_lease_lost(&f, &held.lease).await;
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_cannot_be_leaves_the_job_running() {
    let f = fresh().await;
    let held = one(&f).await;
    let first = f.output(&held.job);
    let twin = Asset {
        storage_key: first.storage_key.clone(),
        ..f.output(&held.job)
    };
    let before = f.store.audit().await.unwrap();
    for wrong in [
        f.completed(vec![], 11),
        f.completed(vec![first.clone(), twin], 5),
    ] {
        let refused = f.store.settle_job(&held.lease, wrong).await;
        assert!(
            matches!(refused, Err(StoreError::Database(_))),
            "{refused:?}"
        );
    }
    assert_eq!(f.look(&held.job).await, held.job);
    assert_eq!(f.store.audit().await.unwrap(), before);
    assert_eq!(
        f.store
            .asset(&held.job.org_id, Mode::Live, &first.id)
            .await
            .unwrap(),
        None
    );
    f.store
        .settle_job(&held.lease, f.completed(vec![first], 0))
        .await
        .unwrap();
    check(f).await;
}

/// Whoever still holds the token may deliver, however late: nobody else has begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_delivery_counts_while_nobody_took_the_job() {
    let f = fresh().await;
    let held = one(&f).await;
    f.advance(LEASE * 2);
    let settled = f.settle(&held, f.completed(vec![], 0)).await;
    assert_eq!(settled.status, JobStatus::Completed);
    check(f).await;
}

// --- Leases and times ---

#[tokio::test(flavor = "multi_thread")]
async fn a_start_voids_every_lease() {
    let f = fresh().await;
    let jobs = jobs(&f, 4).await;
    let mut held = f.claim(3).await;
    let backing_off = held.pop().unwrap();
    let again_at = f.now().plus(LEASE * 3);
    f.store
        .hand_back(&backing_off.lease, again_at, &[0])
        .await
        .unwrap();
    f.store
        .report_progress(&held[1].lease, 1, None, f.now())
        .await
        .unwrap();

    assert_eq!(f.store.release_leases(f.now()).await.unwrap(), 2);
    for held in &held {
        assert_lease_lost(&f, &held.lease).await;
    }
    let claimed = f.claim(9).await;
    let expected = [&jobs[0], &jobs[1], &jobs[3]].map(|job| job.id.clone());
    assert_eq!(
        ids(&claimed),
        expected,
        "at once, but for the one that was told to wait"
    );
    f.advance(LEASE * 3);
    assert!(ids(&f.claim(9).await).contains(&backing_off.job.id));
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leases_of_one_node_are_voided_and_no_others() {
    let f = fresh().await;
    let (gone, here) = (NodeId(0x0bad_f00d), NodeId(0x0bad_f00e));
    jobs(&f, 4).await;
    let mut claim = f.new_claim(Mode::Live, 3, f.now());
    claim.tokens = vec![
        LeaseToken::of(gone, "a", 0),
        LeaseToken::of(here, "0badf00d-", 1),
        LeaseToken::of(gone, "b", 2),
    ];
    let held = f.store.claim_jobs(claim).await.unwrap().jobs;
    let now = f.now();
    assert_eq!(f.store.release_leases_of(gone, now).await.unwrap(), 2);
    assert_eq!(f.store.release_leases_of(gone, now).await.unwrap(), 0);
    let lost = [&held[0], &held[2]];
    for held in lost {
        assert_lease_lost(&f, &held.lease).await;
    }
    let kept = f
        .store
        .report_progress(&held[1].lease, 1, None, f.until())
        .await;
    kept.unwrap();
    let free = ids(&f.claim(9).await);
    assert_eq!(free.len(), 3);
    assert!(lost.iter().all(|held| free.contains(&held.job.id)));
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn says_when_something_is_due() {
    let f = fresh().await;
    let due = async || f.store.next_due().await.unwrap();
    assert_eq!(f.store.release_leases(f.now()).await.unwrap(), 0);
    assert_eq!(due().await, Due::default());
    let org = f.org(1_000).await;
    let soon = f.now().plus(LEASE);
    for start_by in [soon.plus(LEASE), soon] {
        let new = f.new_job(&org.id, 10);
        f.accepted(NewJob { start_by, ..new }).await;
    }
    let waiting = Due {
        lease: None,
        deadline: Some(soon),
    };
    assert_eq!(due().await, waiting, "a job does not wait for ever");
    let held = f.claim(2).await;
    let lease_end = held[0].job.started_at.unwrap().plus(LEASE);
    let running = Due {
        lease: Some(lease_end),
        deadline: Some(held[0].deadline),
    };
    assert_eq!(due().await, running);
    for held in &held {
        f.settle(held, f.completed(vec![], 0)).await;
    }
    assert_eq!(due().await, Due::default());
    check(f).await;
}

// --- Waiting, turns, and rows that cannot be read ---

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waited_too_long_fails_and_is_paid_back() {
    let f = fresh().await;
    let org = f.org(100).await;
    let start_by = f.now().plus(LEASE);
    let new = f.new_job(&org.id, 10);
    let late = f.accepted(NewJob { start_by, ..new }).await;
    let patient = f.job(&org.id, 10).await;
    let early = Timestamp::from_micros(start_by.as_micros() - 1);
    let none = f.store.expire_jobs(overdue(), f.entries(9), early).await;
    assert_eq!(none.unwrap().count, 0);
    assert_eq!(ids(&f.claim_at(9, start_by).await), [patient.id]);
    f.advance(LEASE);
    let [ended] = <[_; 1]>::try_from(expire(&f, 9).await).unwrap();
    assert_eq!(ended, f.look(&late).await);
    assert_eq!(ended.failure.unwrap().reason, "queue_timeout");
    assert_eq!((ended.started_at, ended.refunded), (None, credits(10)));
    assert_eq!(f.live_balance(&org.id).await, 90);
    check(f).await;
}

/// One that has queued hundreds does not make the next one wait for them.
#[tokio::test(flavor = "multi_thread")]
async fn organizations_take_turns() {
    let f = fresh().await;
    let (greedy, modest, late) = (
        f.org(10_000).await,
        f.org(10_000).await,
        f.org(10_000).await,
    );
    for _ in 0..200 {
        f.job(&greedy.id, 1).await;
    }
    for _ in 0..3 {
        f.job(&modest.id, 1).await;
    }
    let whose = |claimed: &[ClaimedJob]| -> Vec<usize> {
        let place = |job: &ClaimedJob| {
            let org = &job.job.org_id;
            [&greedy.id, &modest.id, &late.id]
                .iter()
                .position(|known| *known == org)
                .unwrap()
        };
        claimed.iter().map(place).collect()
    };
    assert_eq!(whose(&f.claim(6).await), [0, 1, 0, 1, 0, 1]);
    f.claim(50).await;
    // Whoever was away joins at the turn of now: neither behind the queue, nor before everybody for what was missed.
    for _ in 0..3 {
        f.job(&late.id, 1).await;
        f.job(&modest.id, 1).await;
    }
    let mut first = whose(&f.claim(3).await);
    first.sort_unstable();
    assert_eq!(first, [0, 1, 2]);
    let mut rest = whose(&f.claim(6).await);
    rest.sort_unstable();
    assert_eq!(rest, [0, 0, 1, 1, 2, 2]);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_holds_every_place() {
    let f = fresh().await;
    let (greedy, modest) = (f.org(10_000).await, f.org(10_000).await);
    for _ in 0..40 {
        f.job(&greedy.id, 1).await;
    }
    let claim = |free, held: &[(&str, u32)]| {
        let named = |name: &str| match name {
            "greedy" => greedy.id.clone(),
            _ => modest.id.clone(),
        };
        vydra_store::store::Claim {
            held: held
                .iter()
                .map(|(org, places)| (named(org), *places))
                .collect(),
            share: Share(3),
            ..f.new_claim(Mode::Live, free, f.now())
        }
    };
    let first = f.store.claim_jobs(claim(16, &[])).await.unwrap().jobs;
    assert_eq!(first.len(), 12, "three quarters");
    let none = f.store.claim_jobs(claim(4, &[("greedy", 12)])).await;
    assert_eq!(none.unwrap().jobs, []);
    let newcomer = f.job(&modest.id, 1).await;
    let next = f.store.claim_jobs(claim(4, &[("greedy", 12)])).await;
    assert_eq!(ids(&next.unwrap().jobs), [newcomer.id]);
    for alone in [1, 2, 3] {
        let all = f.store.claim_jobs(claim(alone, &[])).await.unwrap();
        assert_eq!(all.jobs.len(), alone, "few places are not kept free");
    }
    check(f).await;
}

/// However much somebody has queued who holds their share, and however long: whoever comes is found at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_does_not_move_hides_nobody() {
    let f = fresh().await;
    let (greedy, modest, late) = (
        f.org(10_000).await,
        f.org(10_000).await,
        f.org(10_000).await,
    );
    for _ in 0..400 {
        f.job(&greedy.id, 1).await;
    }
    let claim = || vydra_store::store::Claim {
        held: vec![(greedy.id.clone(), 12)],
        share: Share(3),
        ..f.new_claim(Mode::Live, 4, f.now())
    };
    for _ in 0..300 {
        let next = f.job(&modest.id, 1).await;
        let claimed = f.store.claim_jobs(claim()).await.unwrap();
        assert_eq!(ids(&claimed.jobs), [next.id]);
        f.settle(&claimed.jobs[0], f.completed(vec![], 0)).await;
    }
    // Passed over itself for a while, so that its jobs lie behind both the long queue and what has begun since.
    let waits_behind = f.org(10).await;
    let behind = [
        f.job(&waits_behind.id, 1).await.id,
        f.job(&waits_behind.id, 1).await.id,
    ];
    for _ in 0..100 {
        let next = f.job(&modest.id, 1).await;
        let blocked = vydra_store::store::Claim {
            held: vec![(greedy.id.clone(), 12), (waits_behind.id.clone(), 12)],
            ..claim()
        };
        let claimed = f.store.claim_jobs(blocked).await.unwrap();
        assert_eq!(ids(&claimed.jobs), [next.id]);
        f.settle(&claimed.jobs[0], f.completed(vec![], 0)).await;
    }
    let claimed = f.store.claim_jobs(claim()).await.unwrap();
    assert_eq!(ids(&claimed.jobs), behind);
    let several = [
        f.job(&late.id, 1).await.id,
        f.job(&late.id, 1).await.id,
        f.job(&modest.id, 1).await.id,
    ];
    let mut claimed = ids(&f.store.claim_jobs(claim()).await.unwrap().jobs);
    claimed.sort();
    let mut expected = several.to_vec();
    expected.sort();
    assert_eq!(claimed, expected);
    assert_eq!(f.claim(500).await.len(), 400, "and nobody is forgotten");
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_read_holds_nobody_up_and_is_paid_back() {
    let f = fresh().await;
    let org = f.org(100).await;
    let broken = f.job(&org.id, 10).await;
    let sound = f.job(&org.id, 10).await;
    let damage = |job: &Job| {
        f.execute(&format!(
            "UPDATE jobs SET call = '{{' WHERE id = '{}'",
            job.id
        ));
    };
    damage(&broken);
    let claimed = f
        .store
        .claim_jobs(f.new_claim(Mode::Live, 9, f.now()))
        .await
        .unwrap();
    assert_eq!(ids(&claimed.jobs), [sound.id]);
    let [unreadable] = <[_; 1]>::try_from(claimed.unreadable).unwrap();
    assert_eq!(unreadable.job, broken.id);
    f.store.settle_job(&unreadable, f.failed()).await.unwrap();
    assert_eq!(f.live_balance(&org.id).await, 90);

    let again = f.job(&org.id, 10).await;
    f.claim(1).await;
    damage(&again);
    f.advance(PROCESSING_LIMIT + LEASE);
    let expired = f.store.expire_jobs(overdue(), f.entries(9), f.now()).await;
    let expired = expired.unwrap();
    assert_eq!((expired.count, expired.jobs.len()), (2, 1));
    assert_eq!(f.live_balance(&org.id).await, 100);
    check(f).await;
}

// --- Steps, and what comes too late ---

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_step_is_there_for_the_next_attempt() {
    let f = fresh().await;
    let held = one(&f).await;
    let step = |step| vydra_store::store::StepRoute {
        step,
        ..asked(0, "fal")
    };
    let made = Asset {
        role: AssetRole::Step,
        ..f.output(&held.job)
    };
    f.store
        .mark_submitting(&held.lease, &step(0), f.until())
        .await
        .unwrap();
    f.store
        .finish_step(&held.lease, &step(0), vec![made.clone()], f.until())
        .await
        .unwrap();
    f.store
        .record_task(&held.lease, &step(2), "task-2", f.until())
        .await
        .unwrap();
    // What is finished is never forgotten: it was bought.
    f.store
        .hand_back(&held.lease, f.now(), &[0, 1])
        .await
        .unwrap();
    let [again] = <[_; 1]>::try_from(f.claim(2).await).unwrap();
    let finished = PriorStep::Finished {
        outputs: vec![made],
    };
    let mut expected = task(0, "fal", "task-2");
    let running = expected.remove(&0).unwrap();
    assert_eq!(again.steps, [(0, finished), (2, running)].into());
    let job = f
        .settle(&again, f.completed(vec![f.output(&held.job)], 0))
        .await;
    assert_eq!(job.outputs.len(), 1, "what steps made is not delivered");
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_too_late_is_kept_and_changes_nothing() {
    let f = fresh().await;
    let held = one(&f).await;
    let late = |job: &Job| {
        vec![Asset {
            role: AssetRole::Late,
            ..f.output(job)
        }]
    };
    let kept = f.store.keep_late(&held.job.id, late(&held.job)).await;
    assert!(!kept.unwrap(), "the job has not ended");
    let ended = f.settle(&held, f.failed()).await;
    let (before, audit) = (f.look(&held.job).await, f.store.audit().await.unwrap());
    assert_eq!(f.store.late_jobs().await.unwrap(), 0);
    for _ in 0..2 {
        let outputs = late(&held.job);
        let key = outputs[0].storage_key.clone();
        assert!(f.store.keep_late(&ended.id, outputs).await.unwrap());
        assert!(f.store.asset_by_storage_key(&key).await.unwrap().is_some());
    }
    assert_eq!(f.store.late_jobs().await.unwrap(), 1);
    assert_eq!(f.look(&held.job).await, before);
    assert_eq!(f.store.audit().await.unwrap(), audit);
    let unknown = f.store.keep_late(&f.job_id(), late(&held.job)).await;
    assert!(!unknown.unwrap());
    check(f).await;
}
