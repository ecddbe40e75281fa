//! Many commands share one commit, and none shares another's fate.

use crate::backend::sqlite;
use crate::fixture::{at_once, check, fresh};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use vydra_store::StoreError;
use vydra_store::store::Submission;

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_command_fails_alone() {
    let f = fresh().await;
    let org = f.org(10_000).await;
    let (known, hash) = f.new_key(&org.id);
    f.store.create_key(&known, &hash).await.unwrap();
    let bought = f.new_job(&org.id, 10);
    f.accepted(bought.clone()).await;

    // Of each five, one repeats a key's mark, one a job's id, one a ledger row's id after its job row was written.
    let commands = (0..250).map(|place| {
        let (key, own_hash) = f.new_key(&org.id);
        let hash = if place % 5 == 0 {
            hash.clone()
        } else {
            own_hash
        };
        let mut new = f.new_job(&org.id, 10);
        match place % 5 {
            1 => new.id = bought.id.clone(),
            2 => new.entry = bought.entry.clone(),
            _ => {}
        }
        let store = Arc::clone(&f.store);
        async move {
            let good = if place % 5 == 0 || place % 5 == 3 {
                store.create_key(&key, &hash).await.map(drop)
            } else {
                let submitted = store.submit_job(new).await;
                submitted.map(|answer| assert!(matches!(answer, Submission::Accepted { .. })))
            };
            (place % 5, good)
        }
    });
    for (kind, answer) in at_once(commands).await {
        match kind {
            0..=2 => assert!(
                matches!(answer, Err(StoreError::Database(_))),
                "{kind}: {answer:?}"
            ),
            _ => assert!(answer.is_ok(), "{kind}: {answer:?}"),
        }
    }
    assert_eq!(f.store.keys(&org.id).await.unwrap().len(), 1 + 50);
    assert_eq!(f.store.audit().await.unwrap().jobs, 1 + 50);
    assert_eq!(f.live_balance(&org.id).await, 10_000 - 51 * 10);
    check(f).await;
}

/// A caller that goes away before its answer, such as a closed connection, does not undo what it asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_breaks_nothing() {
    let f = fresh().await;
    let org = f.org(1_000).await;
    for _ in 0..50 {
        let (store, new) = (Arc::clone(&f.store), f.new_job(&org.id, 1));
        let mut task = tokio::task::JoinSet::new();
        task.spawn(async move { store.submit_job(new).await.map(drop) });
        tokio::task::yield_now().await;
        task.abort_all();
    }
    f.store.check_writable().await.unwrap();
    let jobs = f.store.audit().await.unwrap().jobs;
    assert_eq!(
        f.live_balance(&org.id).await,
        1_000 - i64::try_from(jobs).unwrap()
    );
    check(f).await;
}

/// While another process holds the database, commands wait; more than fit in the queue are told so at once.
#[tokio::test(flavor = "multi_thread")]
async fn waits_for_another_process_and_refuses_a_flood() {
    let (f, path) = sqlite();
    let other = rusqlite::Connection::open(path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut waiting = Vec::new();
    for _ in 0..6_000 {
        let mut command = f.store.check_writable();
        // Nothing can be written meanwhile: what has an answer at the first look was refused.
        match command
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Pending => waiting.push(command),
            Poll::Ready(answer) => assert!(matches!(answer, Err(StoreError::Busy)), "{answer:?}"),
        }
    }
    // The writer holds a batch in its hands beside those that wait.
    let room = 4_096..=4_096 + 256;
    assert!(room.contains(&waiting.len()), "{}", waiting.len());
    other.execute_batch("ROLLBACK").unwrap();
    for command in waiting {
        command.await.unwrap();
    }
    f.store.check_writable().await.unwrap();
    check(f).await;
}
