use crate::fixture::{check, fresh};
use vydra_core::asset::{Asset, AssetRole, MediaKind};
use vydra_store::StoreError;

#[tokio::test(flavor = "multi_thread")]
async fn is_found_by_its_owner_and_by_its_storage_key() {
    let f = fresh().await;
    let (org, other) = (f.org(10).await, f.org(0).await);
    let job = f.job(&org.id, 1).await;
    let picture = Asset {
        job_id: None,
        role: AssetRole::Input,
        ..f.output(&job)
    };
    let sound = Asset {
        kind: MediaKind::Audio,
        media_type: "audio/mpeg".to_owned(),
        dimensions: None,
        duration_ms: Some(12_345),
        bytes: 1 << 40,
        ..f.output(&job)
    };
    for asset in [picture, sound] {
        f.store.record_asset(&asset).await.unwrap();
        let own = f.store.asset(&org.id, &asset.id).await.unwrap();
        assert_eq!(own.as_ref(), Some(&asset));
        let foreign = f.store.asset(&other.id, &asset.id).await.unwrap();
        assert_eq!(foreign, None);
        let by_key = f.store.asset_by_storage_key(&asset.storage_key).await;
        assert_eq!(by_key.unwrap(), Some(asset));
    }
    assert_eq!(f.store.asset(&org.id, &f.asset_id()).await.unwrap(), None);
    assert_eq!(f.store.asset_by_storage_key("nowhere").await.unwrap(), None);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_and_storage_keys_are_never_used_twice() {
    let f = fresh().await;
    let org = f.org(10).await;
    let job = f.job(&org.id, 1).await;
    let first = f.output(&job);
    f.store.record_asset(&first).await.unwrap();
    let same_id = Asset {
        id: first.id.clone(),
        ..f.output(&job)
    };
    let same_key = Asset {
        storage_key: first.storage_key.clone(),
        ..f.output(&job)
    };
    let of_no_job = Asset {
        job_id: Some(f.job_id()),
        ..f.output(&job)
    };
    let empty = Asset {
        bytes: 0,
        ..f.output(&job)
    };
    for asset in [same_id, same_key, of_no_job, empty] {
        let refused = f.store.record_asset(&asset).await;
        assert!(
            matches!(refused, Err(StoreError::Database(_))),
            "{asset:?}: {refused:?}"
        );
    }
    let kept = f.store.asset(&org.id, &first.id).await.unwrap();
    assert_eq!(kept, Some(first));
    check(f).await;
}
