use crate::fixture::{check, credits, fresh};
use vydra_core::job::Mode;
use vydra_core::ledger::CreditTotals;
use vydra_core::plan::LimitOverrides;
use vydra_store::StoreError;
use vydra_store::store::Creation;

#[tokio::test(flavor = "multi_thread")]
async fn begins_with_the_grants_that_explain_its_balances() {
    let f = fresh().await;
    let mut new = f.new_org("acme", 100, 0);
    new.overrides.rpd = Some(9);
    let created = f.org_of(new.clone()).await;
    assert_eq!(created.id, new.id);
    assert_eq!(
        (created.name.as_str(), created.plan.as_str()),
        ("acme", "free")
    );
    assert_eq!(created.overrides, new.overrides);
    assert_eq!(created.live_credits, credits(100));
    assert_eq!(created.test_credits, credits(0));
    assert_eq!((created.created_at, created.updated_at), (new.now, new.now));

    let by_id = f.store.organization(&new.id).await.unwrap();
    let by_name = f.store.organization_by_name("acme").await.unwrap();
    assert_eq!(by_id.as_ref(), Some(&created));
    assert_eq!(by_name.as_ref(), Some(&created));
    assert_eq!(f.store.organizations().await.unwrap(), [created]);

    let audit = f.store.audit().await.unwrap();
    assert_eq!(
        (audit.organizations, audit.entries),
        (1, 1),
        "zero needs no grant"
    );
    let granted = CreditTotals {
        remaining: 100,
        ..CreditTotals::default()
    };
    let live = f.store.credit_totals(&new.id, Mode::Live).await.unwrap();
    let test = f.store.credit_totals(&new.id, Mode::Test).await.unwrap();
    assert_eq!((live, test), (granted, CreditTotals::default()));
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_taken_once() {
    let f = fresh().await;
    let first = f.org_of(f.new_org("acme", 100, 10)).await;
    let second = f.store.create_organization(f.new_org("acme", 5, 5)).await;
    assert_eq!(second.unwrap(), Creation::NameTaken);
    assert_eq!(f.store.organizations().await.unwrap(), [first]);
    assert_eq!(f.store.audit().await.unwrap().entries, 2);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_creation_leaves_nothing() {
    let f = fresh().await;
    let first = f.org_of(f.new_org("acme", 100, 10)).await;
    let mut same_id = f.new_org("globex", 5, 5);
    same_id.id = first.id.clone();
    let mut same_entry = f.new_org("initech", 5, 5);
    same_entry.test.0 = same_entry.live.0.clone();
    for new in [same_id, same_entry] {
        let refused = f.store.create_organization(new).await;
        assert!(
            matches!(refused, Err(StoreError::Database(_))),
            "{refused:?}"
        );
    }
    assert_eq!(f.store.organizations().await.unwrap(), [first]);
    assert_eq!(f.store.audit().await.unwrap().entries, 2);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_one_is_none() {
    let f = fresh().await;
    f.org(10).await;
    let unknown = f.org_id();
    assert_eq!(f.store.organization(&unknown).await.unwrap(), None);
    assert_eq!(f.store.organization_by_name("nobody").await.unwrap(), None);
    let changed = f
        .store
        .set_plan(&unknown, "pro", LimitOverrides::default(), f.now())
        .await;
    assert_eq!(changed.unwrap(), None);
    let totals = f.store.credit_totals(&unknown, Mode::Live).await.unwrap();
    assert_eq!(totals, CreditTotals::default());
    assert_eq!(f.store.organizations().await.unwrap().len(), 1);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_plan_erases_no_usage() {
    let f = fresh().await;
    let (org, other) = (f.org(100).await, f.org(100).await);
    f.job(&org.id, 30).await;
    let before = f.store.credit_totals(&org.id, Mode::Live).await.unwrap();
    let overrides = LimitOverrides {
        rpm: Some(1),
        rph: Some(0),
        rpd: None,
        concurrent: Some(u32::MAX),
    };
    let now = f.now();
    let changed = f.store.set_plan(&org.id, "pro", overrides, now).await;
    let changed = changed.unwrap().unwrap();
    assert_eq!(
        (changed.plan.as_str(), changed.overrides),
        ("pro", overrides)
    );
    assert_eq!(
        (changed.created_at, changed.updated_at),
        (org.created_at, now)
    );
    assert_eq!(changed.live_credits, credits(70));
    let found = f.store.organization(&org.id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&changed));
    let after = f.store.credit_totals(&org.id, Mode::Live).await.unwrap();
    assert_eq!(after, before);
    let untouched = f.store.organization(&other.id).await.unwrap();
    assert_eq!(untouched, Some(other));

    let plain = f
        .store
        .set_plan(&org.id, "free", LimitOverrides::default(), now)
        .await;
    assert_eq!(plain.unwrap().unwrap().overrides, LimitOverrides::default());
    check(f).await;
}
