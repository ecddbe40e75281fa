use crate::fixture::{at_once, check, credits, fresh, overdue};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::api_key::{ApiKey, KeyHash};
use vydra_core::job::{Mode, PROCESSING_LIMIT};
use vydra_core::organization::Organization;
use vydra_core::plan::LimitOverrides;
use vydra_core::scope::GrantedScopes;
use vydra_store::store::{Creation, NewRotation, Rotation, Submission};
use vydra_store::{Store, StoreError};

#[tokio::test(flavor = "multi_thread")]
async fn is_found_by_its_mark_with_its_organization_as_it_is_now() {
    let f = fresh().await;
    let org = f.org(100).await;
    let (mut key, hash) = f.new_key(&org.id);
    key.mode = Mode::Test;
    key.scopes = GrantedScopes::parse(&["jobs:read", "models:*"]).unwrap();
    key.expires_at = Some(f.now());
    f.store.create_key(&key, &hash).await.unwrap();
    let found = f.store.key_by_hash(&hash).await.unwrap();
    assert_eq!(found, Some((key.clone(), org.clone())));

    let (_, unknown) = f.new_key(&org.id);
    assert_eq!(f.store.key_by_hash(&unknown).await.unwrap(), None);

    f.store
        .grant(f.new_grant(&org.id, Mode::Live, 11))
        .await
        .unwrap();
    let (_, richer) = f.store.key_by_hash(&hash).await.unwrap().unwrap();
    assert_eq!(richer.live_credits, credits(111));
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_holds_the_keys_of_one_organization() {
    let f = fresh().await;
    let (org, other) = (f.org(0).await, f.org(0).await);
    let mut made = Vec::new();
    for _ in 0..3 {
        let (key, hash) = f.new_key(&org.id);
        f.store.create_key(&key, &hash).await.unwrap();
        made.push(key);
    }
    let (foreign, hash) = f.new_key(&other.id);
    f.store.create_key(&foreign, &hash).await.unwrap();
    assert_eq!(f.store.keys(&org.id).await.unwrap(), made);
    assert_eq!(f.store.keys(&other.id).await.unwrap(), [foreign]);
    assert_eq!(f.store.keys(&f.org_id()).await.unwrap(), []);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_keeps_its_first_time() {
    let f = fresh().await;
    let org = f.org(0).await;
    let (key, hash) = f.new_key(&org.id);
    let (other, other_hash) = f.new_key(&org.id);
    f.store.create_key(&key, &hash).await.unwrap();
    f.store.create_key(&other, &other_hash).await.unwrap();

    let first = f.now();
    let revoked = f.store.revoke_key(&key.id, first).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(first));
    let again = f.store.revoke_key(&key.id, f.now()).await.unwrap();
    assert_eq!(again.as_ref(), Some(&revoked));
    let (seen, _) = f.store.key_by_hash(&hash).await.unwrap().unwrap();
    assert_eq!(seen, revoked);
    assert!(!seen.is_active(f.now()));

    let (untouched, _) = f.store.key_by_hash(&other_hash).await.unwrap().unwrap();
    assert_eq!(untouched, other);
    let unknown = f.store.revoke_key(&f.key_id(), f.now()).await.unwrap();
    assert_eq!(unknown, None);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_reaches_no_key_of_another_organization() {
    let f = fresh().await;
    let (org, other) = (f.org(0).await, f.org(0).await);
    let (key, hash) = f.new_key(&org.id);
    f.store.create_key(&key, &hash).await.unwrap();
    let found = f.store.key(&org.id, &key.id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&key));
    assert_eq!(f.store.key(&other.id, &key.id).await.unwrap(), None);
    assert_eq!(f.store.key(&org.id, &f.key_id()).await.unwrap(), None);
    let anywhere = f.store.key_anywhere(&key.id).await.unwrap();
    assert_eq!(anywhere.as_ref(), Some(&key));
    assert_eq!(f.store.key_anywhere(&f.key_id()).await.unwrap(), None);

    let now = f.now();
    let foreign = f
        .store
        .revoke_key_of(&other.id, &key.id, now)
        .await
        .unwrap();
    assert_eq!(foreign, None);
    assert_eq!(f.store.key(&org.id, &key.id).await.unwrap(), found);
    let own = f.store.revoke_key_of(&org.id, &key.id, now).await.unwrap();
    assert_eq!(own.unwrap().revoked_at, Some(now));
    let again = f.store.revoke_key_of(&org.id, &key.id, f.now()).await;
    assert_eq!(again.unwrap().unwrap().revoked_at, Some(now));
    check(f).await;
}

fn rotated(rotation: Rotation) -> (ApiKey, ApiKey) {
    match rotation {
        Rotation::Rotated { new, old } => (*new, *old),
        refused => panic!("{refused:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_leaves_the_old_key_its_overlap_and_no_longer_than_it_had() {
    let f = fresh().await;
    let org = f.org(0).await;
    let user = f.user("ada@example.com", &org.id).await;
    let (mut key, hash) = f.new_key(&org.id);
    key.scopes = GrantedScopes::parse(&["jobs:read"]).unwrap();
    key.mode = Mode::Test;
    key.user_id = Some(user.id.clone());
    f.store.create_key(&key, &hash).await.unwrap();

    let until = f.now().plus(Duration::from_hours(24));
    let rotation = f.new_rotation(&key, until);
    let (new, old) = rotated(f.store.rotate_key(rotation.clone()).await.unwrap());
    let expected = ApiKey {
        id: rotation.new.clone(),
        created_at: rotation.now,
        origin_id: Some(key.id.clone()),
        ..key.clone()
    };
    assert_eq!(
        new, expected,
        "name, mode, scopes and person are the old one's"
    );
    assert_eq!(old.expires_at, Some(until));
    let (found, _) = f.store.key_by_hash(&rotation.hash).await.unwrap().unwrap();
    assert_eq!(found, new);

    // Once more within the overlap: it has its successor, and another would end with the overlap.
    let later = f.new_rotation(&key, until.plus(Duration::from_hours(1)));
    assert_eq!(
        f.store.rotate_key(later).await.unwrap(),
        Rotation::NotActive
    );

    let mut taken_over = f.new_rotation(&new, until);
    let bob = f.user("bob@example.com", &org.id).await;
    taken_over.user_id = Some(bob.id.clone());
    let (new, _) = rotated(f.store.rotate_key(taken_over).await.unwrap());
    assert_eq!(new.user_id, Some(bob.id));
    assert_eq!(
        new.origin_id,
        Some(key.id),
        "the first of the line, not the last"
    );
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_active_key_of_the_organization_is_rotated() {
    let f = fresh().await;
    let (org, other) = (f.org(0).await, f.org(0).await);
    let [revoked, expired, active] = [f.new_key(&org.id), f.new_key(&org.id), f.new_key(&org.id)];
    let ends = f.now();
    let expired = (
        ApiKey {
            expires_at: Some(ends),
            ..expired.0
        },
        expired.1,
    );
    for (key, hash) in [&revoked, &expired, &active] {
        f.store.create_key(key, hash).await.unwrap();
    }
    f.store.revoke_key(&revoked.0.id, f.now()).await.unwrap();
    let rotate = async |key: &ApiKey| {
        let rotation = f.new_rotation(key, f.now());
        f.store.rotate_key(rotation).await.unwrap()
    };
    assert_eq!(rotate(&revoked.0).await, Rotation::NotActive);
    assert_eq!(rotate(&expired.0).await, Rotation::NotActive);
    let foreign = ApiKey {
        org_id: other.id.clone(),
        ..active.0.clone()
    };
    assert_eq!(rotate(&foreign).await, Rotation::NotFound);
    let unknown = ApiKey {
        id: f.key_id(),
        ..active.0.clone()
    };
    assert_eq!(rotate(&unknown).await, Rotation::NotFound);
    assert_eq!(f.store.keys(&org.id).await.unwrap().len(), 3);
    assert_eq!(f.store.keys(&other.id).await.unwrap(), []);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rotations_without_an_overlap_make_one_key() {
    let f = fresh().await;
    let org = f.org(0).await;
    let (key, hash) = f.new_key(&org.id);
    f.store.create_key(&key, &hash).await.unwrap();
    // All of the same moment, as those of one request that was sent many times.
    let now = f.now();
    let rotations: Vec<_> = (0..20)
        .map(|_| {
            let mut rotation = f.new_rotation(&key, now);
            rotation.now = now;
            let store = Arc::clone(&f.store);
            async move { store.rotate_key(rotation).await.unwrap() }
        })
        .collect();
    let outcomes = at_once(rotations).await;
    let made = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Rotation::Rotated { .. }))
        .count();
    assert_eq!(made, 1, "{outcomes:?}");
    assert_eq!(f.store.keys(&org.id).await.unwrap().len(), 2);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_gets_organization_and_key_or_neither() {
    let f = fresh().await;
    let new = f.new_org("scout-x1", 0, 10_000);
    let (key, hash) = f.new_key(&new.id);
    let bill = "bills@example.com";
    let made = f.store.register_bot(new.clone(), bill, &key, &hash).await;
    let Creation::Created(org) = made.unwrap() else {
        panic!("the name is free")
    };
    assert_eq!(org.billing_email.as_deref(), Some(bill));
    assert_eq!(
        (org.live_credits, org.test_credits),
        (credits(0), credits(10_000))
    );
    let found = f.store.key_by_hash(&hash).await.unwrap();
    assert_eq!(found, Some((key, org.clone())));

    let same_name = f.new_org("scout-x1", 0, 0);
    let (stray, stray_hash) = f.new_key(&same_name.id);
    let taken = f.store.register_bot(same_name, bill, &stray, &stray_hash);
    assert_eq!(taken.await.unwrap(), Creation::NameTaken);
    assert_eq!(f.store.key_by_hash(&stray_hash).await.unwrap(), None);

    // A mark that is there already: the organization goes with the key.
    let second = f.new_org("scout-x2", 0, 0);
    let (double, _) = f.new_key(&second.id);
    f.store
        .register_bot(second, bill, &double, &hash)
        .await
        .unwrap_err();
    let left = f.store.organization_by_name("scout-x2").await.unwrap();
    assert_eq!(left, None);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_mark_is_one_key() {
    let f = fresh().await;
    let org = f.org(0).await;
    let (key, hash) = f.new_key(&org.id);
    f.store.create_key(&key, &hash).await.unwrap();
    let (second, _) = f.new_key(&org.id);
    let (stray, stray_hash) = f.new_key(&f.org_id());
    for refused in [
        f.store.create_key(&second, &hash).await,
        f.store.create_key(&stray, &stray_hash).await,
    ] {
        assert!(
            matches!(&refused, Err(error @ StoreError::Database(_)) if !error.is_temporary()),
            "{refused:?}"
        );
    }
    assert_eq!(f.store.keys(&org.id).await.unwrap(), [key]);
    assert_eq!(f.store.key_by_hash(&stray_hash).await.unwrap(), None);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pepper_stays_and_marks_alike() {
    let f = fresh().await;
    assert_eq!(f.store.pepper(), f.store.pepper());
    f.store.check_writable().await.unwrap();
    f.store.check_writable().await.unwrap();
    check(f).await;
}

// --- What is remembered of callers from one request to the next ---

/// The key with its organization, as every request looks it up.
async fn look(store: &dyn Store, hash: &KeyHash) -> (ApiKey, Organization) {
    store.key_by_hash(hash).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_any_process_is_seen_at_the_next_look() {
    let f = fresh().await;
    let other = f.another().await;
    let org = f.org(100).await;
    let (key, hash) = f.new_key(&org.id);
    f.store.create_key(&key, &hash).await.unwrap();
    for (rpm, changed_by) in [(11, &*other), (12, &*f.store)] {
        // Both remember it.
        look(&*other, &hash).await;
        look(&*f.store, &hash).await;
        let overrides = LimitOverrides {
            rpm: Some(rpm),
            ..LimitOverrides::default()
        };
        let plan = changed_by.set_plan(&org.id, "starter", overrides, f.now());
        let changed = plan.await.unwrap().unwrap();
        let grant = f.new_grant(&org.id, Mode::Live, 11);
        let credits = changed_by.grant(grant).await.unwrap().unwrap();
        for store in [&*other, &*f.store] {
            let seen = look(store, &hash).await.1;
            assert_eq!(
                (seen.overrides, seen.live_credits),
                (changed.overrides, credits)
            );
        }
    }
    let (rotated, new_hash) = f.new_key(&org.id);
    let rotation = NewRotation {
        new: rotated.id,
        hash: new_hash.clone(),
        ..f.new_rotation(&key, f.now())
    };
    other.rotate_key(rotation).await.unwrap();
    assert!(look(&*f.store, &hash).await.0.expires_at.is_some());
    let revoked = other.revoke_key(&key.id, f.now()).await.unwrap().unwrap();
    assert_eq!(
        look(&*f.store, &hash).await.0.revoked_at,
        revoked.revoked_at
    );
    check(f).await;
}

/// Every way in which credits move for a job, and the balance that the next request sees.
#[tokio::test(flavor = "multi_thread")]
async fn a_balance_is_never_an_old_one() {
    let f = fresh().await;
    let org = f.org(1_000).await;
    let (key, hash) = f.new_key(&org.id);
    f.store.create_key(&key, &hash).await.unwrap();
    let agrees = async |what: &str| {
        let seen = look(&*f.store, &hash).await.1;
        let stored = f.store.organization(&org.id).await.unwrap().unwrap();
        assert_eq!(seen, stored, "{what}");
    };
    agrees("before").await;
    let first = f.job(&org.id, 100).await;
    agrees("a charge").await;
    let held = f.claim(1).await.pop().unwrap();
    f.settle(&held, f.completed(vec![], 30)).await;
    agrees("a partial delivery").await;
    f.running(&org.id, 50).await;
    let failed = f.job(&org.id, 7).await;
    f.store
        .cancel_job(&org.id, &failed.id, f.entry(), f.now())
        .await
        .unwrap();
    agrees("a cancel").await;
    f.advance(PROCESSING_LIMIT * 2);
    let expired = f.store.expire_jobs(overdue(), f.entries(9), f.now()).await;
    assert_eq!(expired.unwrap().count, 1);
    agrees("a timeout").await;
    let refused = f
        .store
        .submit_job(f.new_job(&org.id, 10_000))
        .await
        .unwrap();
    assert!(matches!(refused, Submission::InsufficientCredits { .. }));
    agrees("a refusal").await;
    assert_eq!(f.look(&first).await.refunded, credits(30));
    check(f).await;
}

/// While everything moves at once, whoever looks sees no balance that was never there, and in the end the last one.
#[tokio::test(flavor = "multi_thread")]
async fn looks_and_movements_at_once() {
    let f = fresh().await;
    let other = f.another().await;
    let org = f.org(1_000_000).await;
    let (key, hash) = f.new_key(&org.id);
    f.store.create_key(&key, &hash).await.unwrap();
    let movements = (0..400).map(|number| {
        let (store, other) = (Arc::clone(&f.store), Arc::clone(&other));
        let (new, grant) = (f.new_job(&org.id, 3), f.new_grant(&org.id, Mode::Live, 3));
        let hash = hash.clone();
        async move {
            match number % 4 {
                0 => drop(store.submit_job(new).await.unwrap()),
                1 => drop(other.grant(grant).await.unwrap()),
                _ => {
                    let credits = look(&*store, &hash).await.1.live_credits.get();
                    assert_eq!((credits - 1_000_000) % 3, 0);
                }
            }
        }
    });
    at_once(movements).await;
    let seen = look(&*f.store, &hash).await.1;
    assert_eq!(seen.live_credits.get(), 1_000_000);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_program_changes_is_seen_a_moment_later() {
    let f = fresh().await;
    let org = f.org(100).await;
    let (key, hash) = f.new_key(&org.id);
    f.store.create_key(&key, &hash).await.unwrap();
    look(&*f.store, &hash).await;
    f.execute("UPDATE api_keys SET revoked_at = 1");
    let seen = async {
        while look(&*f.store, &hash).await.0.revoked_at.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen)
        .await
        .expect("it is seen within a second or so");
    check(f).await;
}
