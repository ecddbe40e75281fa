use crate::fixture::{check, fresh};
use vydra_core::asset::{Asset, AssetRole, MediaKind};
use vydra_store::StoreError;
use vydra_store::store::Recording;

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
        role: AssetRole::Input,
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
    let first = Asset {
        role: AssetRole::Input,
        ..f.output(&job)
    };
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

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_an_upload_is_given_once_and_leads_only_its_owner_to_it() {
    let f = fresh().await;
    let (org, other) = (f.org(10).await, f.org(0).await);
    let job = f.job(&org.id, 1).await;
    let upload = |key: &str| Asset {
        job_id: None,
        role: AssetRole::Upload,
        filename: Some("cat.png".to_owned()),
        upload_key: Some(key.to_owned()),
        ..f.output(&job)
    };
    let first = upload("uploads/u/1-cat.png");
    let recorded = f.store.record_asset(&first).await.unwrap();
    assert_eq!(recorded, Recording::Recorded);
    let second = upload("uploads/u/1-cat.png");
    let recorded = f.store.record_asset(&second).await.unwrap();
    assert_eq!(recorded, Recording::UploadKeyTaken);
    assert_eq!(f.store.asset(&org.id, &second.id).await.unwrap(), None);
    // Somebody else's file must not be replaced, or hidden, by it either.
    let theirs = Asset {
        org_id: other.id.clone(),
        ..upload("uploads/u/1-cat.png")
    };
    let recorded = f.store.record_asset(&theirs).await.unwrap();
    assert_eq!(recorded, Recording::UploadKeyTaken);
    for (owner, key, found) in [
        (&org, "uploads/u/1-cat.png", Some(&first)),
        (&other, "uploads/u/1-cat.png", None),
        (&org, "uploads/u/2-cat.png", None),
    ] {
        let asset = f.store.asset_by_upload_key(&owner.id, key).await.unwrap();
        assert_eq!(asset.as_ref(), found, "{key}");
    }
    // An upload without a key, and a key without an upload, are mistakes of ours.
    for wrong in [
        Asset {
            upload_key: None,
            ..upload("")
        },
        Asset {
            role: AssetRole::Input,
            ..upload("uploads/u/3-cat.png")
        },
    ] {
        let refused = f.store.record_asset(&wrong).await;
        assert!(
            matches!(refused, Err(StoreError::Database(_))),
            "{refused:?}"
        );
    }
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_uploads_at_once_one_gets_the_key() {
    let f = fresh().await;
    let org = f.org(10).await;
    let job = f.job(&org.id, 1).await;
    let upload = || Asset {
        job_id: None,
        role: AssetRole::Upload,
        upload_key: Some("uploads/u/1-cat.png".to_owned()),
        ..f.output(&job)
    };
    let (one, two) = (upload(), upload());
    let (first, second) = tokio::join!(f.store.record_asset(&one), f.store.record_asset(&two));
    let mut told = [first.unwrap(), second.unwrap()];
    told.sort_by_key(|recording| *recording == Recording::UploadKeyTaken);
    assert_eq!(told, [Recording::Recorded, Recording::UploadKeyTaken]);
    check(f).await;
}
