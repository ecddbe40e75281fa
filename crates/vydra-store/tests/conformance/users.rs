use crate::fixture::{at_once, check, first_password, fresh};
use std::sync::Arc;
use vydra_core::user::{Membership, PasswordHash, Role};
use vydra_store::store::UserCreation;

#[tokio::test(flavor = "multi_thread")]
async fn is_created_with_the_first_membership_and_found_by_email() {
    let f = fresh().await;
    let org = f.org(0).await;
    let new = f.new_user("ada@example.com", &org.id, Role::Member);
    let created = f.store.create_user(new.clone()).await.unwrap();
    let UserCreation::Created(user) = created else {
        panic!("{created:?}")
    };
    assert_eq!((&user.id, &user.email), (&new.id, &new.email));
    let found = f.store.user_by_email("ada@example.com").await.unwrap();
    assert_eq!(found, Some((user.clone(), first_password())));
    let belongs = Membership {
        org_id: org.id.clone(),
        org_name: org.name.clone(),
        role: Role::Member,
    };
    assert_eq!(f.store.memberships(&user.id).await.unwrap(), [belongs]);
    let members = f.store.members(&org.id).await.unwrap();
    assert_eq!(members, [(user, Role::Member)]);
    for other in ["", "ADA@example.com", "ada@example.org"] {
        assert_eq!(f.store.user_by_email(other).await.unwrap(), None);
    }
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_email_is_one_user_also_when_many_ask_at_once() {
    let f = fresh().await;
    let org = f.org(0).await;
    let tries = (0..20).map(|_| {
        let store = Arc::clone(&f.store);
        let new = f.new_user("ada@example.com", &org.id, Role::Owner);
        async move { store.create_user(new).await.unwrap() }
    });
    let outcomes = at_once(tries).await;
    let created = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, UserCreation::Created(_)))
        .count();
    assert_eq!(created, 1);
    assert_eq!(f.store.members(&org.id).await.unwrap().len(), 1);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_user_is_left_without_the_organization() {
    let f = fresh().await;
    let stray = f.new_user("ada@example.com", &f.org_id(), Role::Owner);
    f.store.create_user(stray).await.unwrap_err();
    assert_eq!(
        f.store.user_by_email("ada@example.com").await.unwrap(),
        None
    );
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn belongs_to_several_organizations_with_a_role_in_each() {
    let f = fresh().await;
    let (first, second) = (f.org(0).await, f.org(0).await);
    let user = f.user("ada@example.com", &first.id).await;
    let roles = async || {
        let all = f.store.memberships(&user.id).await.unwrap();
        let all: Vec<_> = all.into_iter().map(|m| (m.org_id, m.role)).collect();
        all
    };
    let set = async |org, role| {
        let now = f.now();
        f.store
            .set_membership(&user.id, org, role, now)
            .await
            .unwrap()
    };
    assert!(set(&second.id, Role::Member).await);
    let both = |role| vec![(first.id.clone(), Role::Owner), (second.id.clone(), role)];
    assert_eq!(roles().await, both(Role::Member));
    assert!(set(&second.id, Role::Owner).await);
    assert_eq!(roles().await, both(Role::Owner));
    assert!(!set(&f.org_id(), Role::Owner).await);
    let (nobody, now) = (f.user_id(), f.now());
    let strange = f.store.set_membership(&nobody, &first.id, Role::Owner, now);
    assert!(!strange.await.unwrap());
    assert_eq!(f.store.members(&first.id).await.unwrap().len(), 1);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_every_session_of_its_user_and_no_other() {
    let f = fresh().await;
    let (org, second) = (f.org(0).await, f.org(0).await);
    let ada = f.user("ada@example.com", &org.id).await;
    let bob = f.user("bob@example.com", &org.id).await;
    let now = f.now();
    let belongs = f
        .store
        .set_membership(&ada.id, &second.id, Role::Member, now);
    assert!(belongs.await.unwrap());
    let open = [
        f.session(&ada, &org.id).await,
        f.session(&ada, &second.id).await,
    ];
    let other = f.session(&bob, &org.id).await;
    let second_password = PasswordHash::new("$argon2id$second".to_owned());
    let changed_at = f.now();
    let changed = f.store.set_password(&ada.id, &second_password, changed_at);
    assert!(changed.await.unwrap());
    for mark in &open {
        assert!(!f.is_open(mark).await);
    }
    assert!(f.is_open(&other).await);
    let (user, hash) = f
        .store
        .user_by_email("ada@example.com")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (user.updated_at, hash),
        (changed_at, second_password.clone())
    );
    let nobody = f
        .store
        .set_password(&f.user_id(), &second_password, f.now())
        .await;
    assert!(!nobody.unwrap());
    check(f).await;
}

/// A login verified the old password and is about to begin its session while the password is changed.
#[tokio::test(flavor = "multi_thread")]
async fn no_session_begins_under_a_password_that_was_changed() {
    let f = fresh().await;
    let org = f.org(0).await;
    let ada = f.user("ada@example.com", &org.id).await;
    let late = f.new_session(&ada, &org.id);
    let second = PasswordHash::new("$argon2id$second".to_owned());
    assert!(
        f.store
            .set_password(&ada.id, &second, f.now())
            .await
            .unwrap()
    );
    assert!(!f.store.create_session(late.clone()).await.unwrap());
    assert!(!f.is_open(&late.mark).await);

    // However they meet, nobody with the old password is in afterwards.
    for round in 0..20 {
        let (old, new) = (format!("p{round}"), format!("p{}", round + 1));
        let (old, new) = (PasswordHash::new(old), PasswordHash::new(new));
        assert!(f.store.set_password(&ada.id, &old, f.now()).await.unwrap());
        let mut session = f.new_session(&ada, &org.id);
        session.password = old;
        let mark = session.mark.clone();
        let (store, id, now) = (Arc::clone(&f.store), ada.id.clone(), f.now());
        let change = async move { store.set_password(&id, &new, now).await.unwrap() };
        let store = Arc::clone(&f.store);
        let begin = async move { store.create_session(session).await.unwrap() };
        let both: [std::pin::Pin<Box<dyn Future<Output = bool> + Send>>; 2] =
            [Box::pin(change), Box::pin(begin)];
        at_once(both).await;
        assert!(!f.is_open(&mark).await);
    }
    check(f).await;
}
