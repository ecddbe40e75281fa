use crate::fixture::{at_once, check, credits, fresh};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::job::Mode;
use vydra_core::user::Role;

#[tokio::test(flavor = "multi_thread")]
async fn is_its_persons_until_it_expires() {
    let f = fresh().await;
    let org = f.org(100).await;
    let user = f.user("ada@example.com", &org.id).await;
    let new = f.new_session(&user, &org.id);
    assert!(f.store.create_session(new.clone()).await.unwrap());
    let last = new.expires_at;
    let found = f.store.session(&new.mark, f.now()).await.unwrap();
    assert_eq!(found, Some((user.clone(), Role::Owner, org.clone())));
    assert_eq!(f.store.session(&new.mark, last).await.unwrap(), None);
    assert_eq!(f.store.session(&f.mark(), f.now()).await.unwrap(), None);

    // Organization and role as they are now.
    f.store
        .grant(f.new_grant(&org.id, Mode::Live, 11))
        .await
        .unwrap();
    let now = f.now();
    let changed = f.store.set_membership(&user.id, &org.id, Role::Member, now);
    assert!(changed.await.unwrap());
    let (_, role, richer) = f.store.session(&new.mark, f.now()).await.unwrap().unwrap();
    assert_eq!((role, richer.live_credits), (Role::Member, credits(111)));
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_once() {
    let f = fresh().await;
    let org = f.org(0).await;
    let user = f.user("ada@example.com", &org.id).await;
    let (mark, other) = (
        f.session(&user, &org.id).await,
        f.session(&user, &org.id).await,
    );
    assert!(f.store.end_session(&mark).await.unwrap());
    assert!(!f.store.end_session(&mark).await.unwrap());
    assert!(!f.is_open(&mark).await);
    assert!(f.is_open(&other).await);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replaces_the_one_before_it_or_leaves_it() {
    let f = fresh().await;
    let (org, foreign) = (f.org(0).await, f.org(0).await);
    let user = f.user("ada@example.com", &org.id).await;
    let old = f.session(&user, &org.id).await;
    let mut new = f.new_session(&user, &foreign.id);
    new.replaces = Some(old.clone());
    assert!(
        !f.store.create_session(new.clone()).await.unwrap(),
        "belongs to another organization"
    );
    assert!(f.is_open(&old).await);
    new.org_id = org.id.clone();
    assert!(f.store.create_session(new.clone()).await.unwrap());
    assert!(!f.is_open(&old).await);
    assert!(f.is_open(&new.mark).await);
    check(f).await;
}

/// Two logins that came with the same session: both begin, and neither has the old one left.
#[tokio::test(flavor = "multi_thread")]
async fn many_may_replace_the_same_one_at_once() {
    let f = fresh().await;
    let org = f.org(0).await;
    let user = f.user("ada@example.com", &org.id).await;
    let old = f.session(&user, &org.id).await;
    let logins = (0..10).map(|_| {
        let mut new = f.new_session(&user, &org.id);
        new.replaces = Some(old.clone());
        let store = Arc::clone(&f.store);
        async move {
            assert!(store.create_session(new.clone()).await.unwrap());
            new.mark
        }
    });
    let marks = at_once(logins).await;
    assert!(!f.is_open(&old).await);
    for mark in marks {
        assert!(f.is_open(&mark).await);
    }
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_goes_when_another_begins() {
    let f = fresh().await;
    let org = f.org(0).await;
    let user = f.user("ada@example.com", &org.id).await;
    let mut short = f.new_session(&user, &org.id);
    short.expires_at = short.now.plus(Duration::from_mins(1));
    assert!(f.store.create_session(short.clone()).await.unwrap());
    let lasting = f.session(&user, &org.id).await;
    f.advance(Duration::from_mins(2));
    f.session(&user, &org.id).await;
    assert!(!f.store.end_session(&short.mark).await.unwrap(), "is gone");
    assert!(f.is_open(&lasting).await);
    check(f).await;
}
