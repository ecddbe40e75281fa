use crate::fixture::{at_once, check, credits, fresh};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinSet;
use vydra_core::job::Mode;
use vydra_core::ledger::CreditTotals;
use vydra_store::StoreError;

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_adds_to_one_balance() {
    let f = fresh().await;
    let (org, other) = (f.org_of(f.new_org("acme", 10, 20)).await, f.org(5).await);
    let grant = f.new_grant(&org.id, Mode::Test, 7);
    assert_eq!(f.store.grant(grant).await.unwrap(), Some(credits(27)));
    assert_eq!(f.balance(&org.id, Mode::Test).await, 27);
    assert_eq!(f.live_balance(&org.id).await, 10);
    assert_eq!(f.live_balance(&other.id).await, 5);
    let stray = f.new_grant(&f.org_id(), Mode::Live, 7);
    assert_eq!(f.store.grant(stray).await.unwrap(), None);
    assert_eq!(f.store.audit().await.unwrap().entries, 4);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_grant_counts_once() {
    let f = fresh().await;
    let org = f.org(10).await;
    let grant = f.new_grant(&org.id, Mode::Live, 7);
    let store = Arc::clone(&f.store);
    let answers = at_once((0..20).map(|_| {
        let (store, grant) = (Arc::clone(&store), grant.clone());
        async move { store.grant(grant).await }
    }))
    .await;
    let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(accepted, 1, "{answers:?}");
    assert_eq!(f.live_balance(&org.id).await, 17);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_cannot_be_changes_nothing() {
    let f = fresh().await;
    let org = f.org(10).await;
    for amount in [0, i64::MAX] {
        let refused = f
            .store
            .grant(f.new_grant(&org.id, Mode::Live, amount))
            .await;
        assert!(
            matches!(refused, Err(StoreError::Database(_))),
            "{amount}: {refused:?}"
        );
    }
    assert_eq!(f.live_balance(&org.id).await, 10);
    let most = f.new_grant(&org.id, Mode::Live, i64::MAX - 10);
    assert_eq!(f.store.grant(most).await.unwrap(), Some(credits(i64::MAX)));
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_come_from_the_rows() {
    let f = fresh().await;
    let org = f.org(100).await;
    let job = f.running(&org.id, 40).await;
    f.store
        .settle_job(&job.lease, f.completed(vec![], 15))
        .await
        .unwrap();
    let job = f.running(&org.id, 30).await;
    f.store.settle_job(&job.lease, f.failed()).await.unwrap();
    f.job(&org.id, 5).await;
    f.store
        .grant(f.new_grant(&org.id, Mode::Live, 50))
        .await
        .unwrap();
    let totals = f.store.credit_totals(&org.id, Mode::Live).await.unwrap();
    let expected = CreditTotals {
        remaining: 100 - 40 + 15 - 30 + 30 - 5 + 50,
        used: 75,
        refunded: 45,
    };
    assert_eq!(totals, expected);
    let test = f.store.credit_totals(&org.id, Mode::Test).await.unwrap();
    assert_eq!(test, CreditTotals::default());
    let audit = f.store.audit().await.unwrap();
    assert_eq!((audit.organizations, audit.jobs, audit.entries), (1, 3, 7));
    check(f).await;
}

/// One snapshot: an audit beside a running server must not see half a movement.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_audit_amid_writes_finds_nothing() {
    let f = fresh().await;
    let org = f.org(1_000_000).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut audits = JoinSet::new();
    for _ in 0..3 {
        let (store, done) = (Arc::clone(&f.store), Arc::clone(&done));
        audits.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                let audit = store.audit().await.unwrap();
                assert_eq!(audit.imbalances, []);
                // The grant, and for each job a charge and, but for the last one, a refund.
                let rows = audit.entries - 1;
                let missing = (2 * audit.jobs).checked_sub(rows);
                assert!(matches!(missing, Some(0 | 1)), "{audit:?}");
            }
        });
    }
    for _ in 0..250 {
        let job = f.job(&org.id, 3).await;
        let (entry, now) = (f.entry(), f.now());
        f.store
            .cancel_job(&org.id, &job.id, entry, now)
            .await
            .unwrap();
    }
    done.store(true, Ordering::SeqCst);
    audits.join_all().await;
    assert_eq!(f.live_balance(&org.id).await, 1_000_000);
    check(f).await;
}
