use crate::fixture::{check, credits, fresh};
use vydra_core::job::Mode;
use vydra_core::scope::GrantedScopes;
use vydra_store::StoreError;

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
