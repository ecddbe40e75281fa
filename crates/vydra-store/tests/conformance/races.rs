//! Several at once: fifty tasks end one job in every way, of which one wins and pays back at most once; files go while jobs take
//! them in.

use crate::assets::{DAY, recorded, upload};
use crate::fixture::{at_once, check, fresh, overdue};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::job::{Job, JobStatus, Mode};
use vydra_store::StoreError;
use vydra_store::store::{Cancellation, Claim, NewJob, Submission};

const JOBS: usize = 40;
const TASKS: usize = 50;
const PRICE: i64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_once() {
    let f = fresh().await;
    let org = f.org(1_000_000).await;
    let (mut balance, mut seen) = (1_000_000, Vec::new());
    for round in 0..JOBS {
        f.job(&org.id, PRICE).await;
        let claim = Claim {
            limit: Duration::from_micros(1),
            ..f.new_claim(Mode::Live, 1, f.now())
        };
        let claimed = f.store.claim_jobs(claim).await.unwrap();
        let [held] = <[_; 1]>::try_from(claimed.jobs).unwrap();
        let before = f.store.audit().await.unwrap();
        let enders = (0..TASKS).map(|task| {
            let (store, lease) = (Arc::clone(&f.store), held.lease.clone());
            let (org, id) = (org.id.clone(), held.job.id.clone());
            let (entry, entries, now) = (f.entry(), f.entries(1), f.now());
            let settlement = match task % 5 {
                0 => f.completed(vec![f.output(&held.job)], 0),
                1 => f.completed(vec![f.output(&held.job)], 5),
                _ => f.failed(),
            };
            // A different one goes first in each round.
            let way = (task + round) % 5;
            async move {
                if way < 3 {
                    return match store.settle_job(&lease, settlement).await {
                        Ok(()) => store.job(&org, &id).await.unwrap(),
                        Err(StoreError::LeaseLost) => None,
                        Err(error) => panic!("{error:?}"),
                    };
                }
                if way == 3 {
                    return match store.cancel_job(&org, &id, entry, now).await.unwrap() {
                        Cancellation::Now(job) => Some(*job),
                        Cancellation::Already(_) | Cancellation::Ended(_) => None,
                        Cancellation::NotFound => panic!("lost"),
                    };
                }
                let mut ended = store.expire_jobs(overdue(), entries, now).await.unwrap();
                assert!(ended.count <= 1);
                ended.jobs.pop()
            }
        });
        let winners: Vec<Job> = at_once(enders).await.into_iter().flatten().collect();
        let [end] = <[_; 1]>::try_from(winners).unwrap();
        assert!(end.status.is_final());
        assert_eq!(f.look(&held.job).await, end);
        balance -= PRICE - end.refunded.get();
        assert_eq!(f.live_balance(&org.id).await, balance);
        let after = f.store.audit().await.unwrap();
        let refund_rows = after.entries - before.entries;
        assert_eq!(refund_rows, u64::from(end.refunded.get() > 0));
        assert_eq!(
            end.outputs.len(),
            usize::from(end.status == JobStatus::Completed)
        );
        seen.push(end.status);
    }
    let different = [
        JobStatus::Completed,
        JobStatus::Failed,
        JobStatus::Cancelled,
    ]
    .into_iter()
    .filter(|status| seen.contains(status))
    .count();
    assert!(
        different >= 2,
        "the rounds must not all end alike: {seen:?}"
    );
    check(f).await;
}

// --- Two processes ---

#[tokio::test(flavor = "multi_thread")]
async fn a_second_store_sees_every_write_at_once() {
    let f = fresh().await;
    let second = f.another().await;
    let org = f.org(1_000).await;
    let (key, hash) = f.new_key(&org.id);
    f.store.create_key(&key, &hash).await.unwrap();
    for _ in 0..50 {
        let (seen, _) = second.key_by_hash(&hash).await.unwrap().unwrap();
        assert!(seen.is_active(f.now()));
    }
    f.store.revoke_key(&key.id, f.now()).await.unwrap();
    let (seen, _) = second.key_by_hash(&hash).await.unwrap().unwrap();
    assert!(
        !seen.is_active(f.now()),
        "a revoked key works no more anywhere"
    );

    let new = f.new_job(&org.id, 10);
    let Submission::Accepted { job, .. } = second.submit_job(new).await.unwrap() else {
        panic!("refused");
    };
    assert_eq!(f.look(&job).await, *job);
    assert_eq!(f.live_balance(&org.id).await, 990);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_share_one_balance_and_one_queue() {
    let f = fresh().await;
    let second = f.another().await;
    let org = f.org(100).await;
    let submits = (0..100).map(|place| {
        let store = if place % 2 == 0 {
            Arc::clone(&f.store)
        } else {
            Arc::clone(&second)
        };
        let new = f.new_job(&org.id, 10);
        async move {
            matches!(
                store.submit_job(new).await.unwrap(),
                Submission::Accepted { .. }
            )
        }
    });
    let accepted = at_once(submits)
        .await
        .into_iter()
        .filter(|accepted| *accepted)
        .count();
    assert_eq!(accepted, 10);

    let claims = (0..20).map(|place| {
        let store = if place % 2 == 0 {
            Arc::clone(&f.store)
        } else {
            Arc::clone(&second)
        };
        let claim = f.new_claim(Mode::Live, 1, f.now());
        async move { store.claim_jobs(claim).await.unwrap().jobs }
    });
    let mut claimed: Vec<_> = at_once(claims)
        .await
        .concat()
        .into_iter()
        .map(|claimed| claimed.job.id)
        .collect();
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed.len(), 10);
    check(f).await;
}

/// On two stores at once, in either order: a job that takes the file in is known to whoever deletes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_deleted_while_a_job_takes_it_in() {
    let f = fresh().await;
    let other = f.another().await;
    let org = f.org(1_000).await.id;
    for _ in 0..50 {
        let sent = recorded(&f, upload(&f, &org, Mode::Live)).await;
        let new = NewJob {
            takes_in: vec![sent.id.clone()],
            ..f.new_job(&org, 10)
        };
        let now = f.now();
        let (submitted, deleted) = tokio::join!(
            f.store.submit_job(new),
            other.delete_asset(&org, Mode::Live, &sent.id, now)
        );
        let is_needed = deleted.unwrap().unwrap().is_needed;
        match submitted.unwrap() {
            Submission::Accepted { job, .. } => {
                assert!(is_needed);
                let kept = f.store.job_input(&job.id, &sent.id).await.unwrap();
                assert_eq!(kept.as_ref(), Some(&sent));
            }
            refused => {
                assert_eq!(refused, Submission::InputGone(sent.id));
                assert!(!is_needed);
            }
        }
    }
    check(f).await;
}

/// What an open job needs is not too old for it, also when it was taken in at that moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_becomes_too_old_while_a_job_takes_it_in() {
    let f = fresh().await;
    let other = f.another().await;
    let org = f.org(1_000).await.id;
    f.store
        .set_retention(&org, Some(DAY), f.now())
        .await
        .unwrap();
    for _ in 0..50 {
        let sent = recorded(&f, upload(&f, &org, Mode::Live)).await;
        let new = NewJob {
            takes_in: vec![sent.id.clone()],
            ..f.new_job(&org, 10)
        };
        let now = f.now().plus(DAY);
        let (submitted, expired) =
            tokio::join!(f.store.submit_job(new), other.expire_assets(now, 9));
        let is_there = f.store.asset(&org, Mode::Live, &sent.id).await.unwrap();
        let is_taken_in = matches!(submitted.unwrap(), Submission::Accepted { .. });
        assert_eq!(is_there.is_some(), is_taken_in);
        assert_eq!(expired.unwrap(), u64::from(!is_taken_in));
    }
    check(f).await;
}
