use crate::fixture::{Fixture, asked, check, fresh};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::asset::{Asset, AssetRole, ListedAsset, MediaKind};
use vydra_core::ids::{AssetId, OrgId};
use vydra_core::job::{Job, Mode};
use vydra_core::time::Timestamp;
use vydra_store::StoreError;
use vydra_store::store::{AssetFilter, Cancellation, Deleted, NewJob, Recording, Submission};

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
        let own = f.store.asset(&org.id, Mode::Live, &asset.id).await.unwrap();
        assert_eq!(own.as_ref(), Some(&asset));
        let foreign = f
            .store
            .asset(&other.id, Mode::Live, &asset.id)
            .await
            .unwrap();
        assert_eq!(foreign, None);
        let by_key = f.store.asset_by_storage_key(&asset.storage_key).await;
        assert_eq!(by_key.unwrap(), Some(asset));
    }
    assert_eq!(
        f.store
            .asset(&org.id, Mode::Live, &f.asset_id())
            .await
            .unwrap(),
        None
    );
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
    let kept = f.store.asset(&org.id, Mode::Live, &first.id).await.unwrap();
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
    assert_eq!(
        f.store
            .asset(&org.id, Mode::Live, &second.id)
            .await
            .unwrap(),
        None
    );
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
        let asset = f
            .store
            .asset_by_upload_key(&owner.id, Mode::Live, key)
            .await
            .unwrap();
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

// --- Listed, deleted, erased ---

pub(crate) fn upload(f: &Fixture, org: &OrgId, mode: Mode) -> Asset {
    let id = f.asset_id();
    Asset {
        upload_key: Some(format!("uploads/u/{id}.png")),
        org_id: org.clone(),
        mode,
        job_id: None,
        role: AssetRole::Upload,
        kind: MediaKind::Image,
        media_type: "image/png".to_owned(),
        storage_key: id.bare().to_owned(),
        bytes: 1_234,
        dimensions: Some((64, 32)),
        duration_ms: None,
        filename: Some("cat.png".to_owned()),
        has_thumbnail: true,
        created_at: f.now(),
        id,
    }
}

pub(crate) async fn recorded(f: &Fixture, asset: Asset) -> Asset {
    f.store.record_asset(&asset).await.unwrap();
    asset
}

async fn pages(f: &Fixture, org: &OrgId, mode: Mode, filter: AssetFilter) -> (Vec<AssetId>, u64) {
    let page = f.store.listed_assets(org, mode, filter).await.unwrap();
    let page = page.expect("a cursor of this list");
    let ids = page.assets.into_iter().map(|listed| listed.asset.id);
    (ids.collect(), page.count)
}

fn many() -> AssetFilter {
    AssetFilter {
        limit: 99,
        ..AssetFilter::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_and_sent_in_is_listed_the_newest_first() {
    let f = fresh().await;
    let (org, other) = (f.org(100).await.id, f.org(100).await.id);
    let first = recorded(&f, upload(&f, &org, Mode::Live)).await;
    let sandboxed = recorded(&f, upload(&f, &org, Mode::Test)).await;
    let foreign = recorded(&f, upload(&f, &other, Mode::Live)).await;
    let held = f
        .accepted(NewJob {
            workflow: Some("generate_image".to_owned()),
            ..f.new_job(&org, 10)
        })
        .await;
    let [held] = <[_; 1]>::try_from(f.claim(9).await)
        .unwrap_or_else(|claimed| panic!("{held:?} {claimed:?}"));
    let outputs = vec![f.output(&held.job), f.output(&held.job)];
    f.settle(&held, f.completed(outputs.clone(), 0)).await;
    // Neither what was fetched for a job nor what came too late.
    let fetched = Asset {
        role: AssetRole::Input,
        job_id: None,
        ..f.output(&held.job)
    };
    f.store.record_asset(&fetched).await.unwrap();
    let late = Asset {
        role: AssetRole::Late,
        ..f.output(&held.job)
    };
    f.store.keep_late(&held.job.id, vec![late]).await.unwrap();

    let all = [&outputs[1].id, &outputs[0].id, &first.id].map(Clone::clone);
    assert_eq!(pages(&f, &org, Mode::Live, many()).await, (all.to_vec(), 3));
    assert_eq!(
        pages(&f, &org, Mode::Test, many()).await,
        (vec![sandboxed.id.clone()], 1)
    );
    for (after, behind) in [
        (&all[0], &all[1..]),
        (&all[1], &all[2..]),
        (&all[2], &[][..]),
    ] {
        let filter = AssetFilter {
            after: Some(after.clone()),
            ..many()
        };
        let page = pages(&f, &org, Mode::Live, filter).await;
        assert_eq!(page, (behind.to_vec(), 3));
    }
    let filter = AssetFilter {
        offset: 1,
        limit: 1,
        ..AssetFilter::default()
    };
    let page = pages(&f, &org, Mode::Live, filter).await;
    assert_eq!(page, (vec![all[1].clone()], 3));
    for (workflow, found) in [("generate_image", &all[..2]), ("generate_video", &[][..])] {
        let filter = AssetFilter {
            workflow: Some(workflow.to_owned()),
            ..many()
        };
        let page = pages(&f, &org, Mode::Live, filter).await;
        assert_eq!(page, (found.to_vec(), found.len() as u64));
    }
    for cursor in [&sandboxed.id, &foreign.id, &fetched.id, &f.asset_id()] {
        let filter = AssetFilter {
            after: Some(cursor.clone()),
            ..many()
        };
        let page = f.store.listed_assets(&org, Mode::Live, filter).await;
        assert_eq!(page.unwrap(), None, "{cursor}");
        let one = f.store.listed_asset(&org, Mode::Live, cursor).await;
        assert_eq!(one.unwrap(), None, "{cursor}");
    }
    let one = f.store.listed_asset(&org, Mode::Live, &all[0]).await;
    let expected = ListedAsset {
        asset: outputs[1].clone(),
        workflow: Some("generate_image".to_owned()),
    };
    assert_eq!(one.unwrap(), Some(expected));
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_there_for_nobody() {
    let f = fresh().await;
    let (org, other) = (f.org(100).await.id, f.org(100).await.id);
    let sent = recorded(&f, upload(&f, &org, Mode::Live)).await;
    let held = f.running(&org, 10).await;
    let output = f.output(&held.job);
    f.settle(
        &held,
        f.completed(vec![output.clone(), f.output(&held.job)], 0),
    )
    .await;
    let now = f.now();
    for (owner, mode) in [(&other, Mode::Live), (&org, Mode::Test)] {
        let deleted = f.store.delete_asset(owner, mode, &sent.id, now).await;
        assert_eq!(deleted.unwrap(), None);
    }
    for asset in [&sent, &output] {
        let delete = || f.store.delete_asset(&org, Mode::Live, &asset.id, now);
        let expected = Deleted {
            asset: asset.clone(),
            is_needed: false,
        };
        assert_eq!(delete().await.unwrap(), Some(expected));
        assert_eq!(delete().await.unwrap(), None, "once");
        let found = f.store.asset(&org, Mode::Live, &asset.id).await;
        assert_eq!(found.unwrap(), None);
        let found = f.store.listed_asset(&org, Mode::Live, &asset.id).await;
        assert_eq!(found.unwrap(), None);
        let found = f.store.asset_by_storage_key(&asset.storage_key).await;
        assert_eq!(found.unwrap(), None);
    }
    let key = sent.upload_key.as_deref().unwrap();
    let found = f.store.asset_by_upload_key(&org, Mode::Live, key).await;
    assert_eq!(found.unwrap(), None);
    // Its key is not given to another file.
    let again = Asset {
        upload_key: sent.upload_key.clone(),
        ..upload(&f, &org, Mode::Live)
    };
    let recorded = f.store.record_asset(&again).await.unwrap();
    assert_eq!(recorded, Recording::UploadKeyTaken);
    assert_eq!(f.look(&held.job).await.outputs.len(), 1);
    let (left, count) = pages(&f, &org, Mode::Live, many()).await;
    assert_eq!((left.len(), count), (1, 1));
    // Whoever was in the middle of the list goes on.
    let filter = AssetFilter {
        after: Some(output.id.clone()),
        ..many()
    };
    assert_eq!(pages(&f, &org, Mode::Live, filter).await, (vec![], 1));
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_delete_at_once_one_does() {
    let f = fresh().await;
    let org = f.org(0).await.id;
    let sent = recorded(&f, upload(&f, &org, Mode::Live)).await;
    let (store, now) = (&f.store, f.now());
    let (one, two) = tokio::join!(
        store.delete_asset(&org, Mode::Live, &sent.id, now),
        store.delete_asset(&org, Mode::Live, &sent.id, now)
    );
    let told = [one.unwrap(), two.unwrap()].map(|deleted| deleted.is_some());
    assert!(told[0] != told[1], "{told:?}");
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_stay_until_no_job_takes_them_in() {
    let f = fresh().await;
    let org = f.org(100).await.id;
    let sent = recorded(&f, upload(&f, &org, Mode::Live)).await;
    let takes_in = |asset: &Asset| NewJob {
        takes_in: vec![asset.id.clone()],
        ..f.new_job(&org, 10)
    };
    let one = f.accepted(takes_in(&sent)).await;
    let two = f.accepted(takes_in(&sent)).await;
    let deleted = f.store.delete_asset(&org, Mode::Live, &sent.id, f.now());
    assert!(deleted.await.unwrap().unwrap().is_needed);
    // No new job begins with it.
    let before = f.store.audit().await.unwrap();
    let refused = f.store.submit_job(takes_in(&sent)).await.unwrap();
    assert_eq!(refused, Submission::InputGone(sent.id.clone()));
    assert_eq!(f.store.audit().await.unwrap(), before, "nothing was taken");

    let input = |job: &Job| {
        let (store, id) = (Arc::clone(&f.store), sent.id.clone());
        let job = job.id.clone();
        async move { store.job_input(&job, &id).await.unwrap() }
    };
    assert_eq!(input(&one).await, Some(sent.clone()));
    assert_eq!(input(&two).await, Some(sent.clone()));
    assert_eq!(f.store.erasable_assets(None, 9).await.unwrap(), []);
    let cancelled = f.store.cancel_job(&org, &one.id, f.entry(), f.now()).await;
    assert!(matches!(cancelled.unwrap(), Cancellation::Now(_)));
    assert_eq!(input(&one).await, None, "an ended job takes nothing in");
    assert_eq!(f.store.erasable_assets(None, 9).await.unwrap(), []);
    let [held] = <[_; 1]>::try_from(f.claim(9).await).unwrap();
    f.settle(&held, f.failed()).await;
    let erasable = f.store.erasable_assets(None, 9).await.unwrap();
    assert_eq!(erasable, std::slice::from_ref(&sent));
    f.store
        .record_erased(std::slice::from_ref(&sent.id), f.now())
        .await
        .unwrap();
    assert_eq!(f.store.erasable_assets(None, 9).await.unwrap(), []);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_others_cannot_be_taken_in() {
    let f = fresh().await;
    let (org, other) = (f.org(100).await.id, f.org(100).await.id);
    for asset in [upload(&f, &other, Mode::Live), upload(&f, &org, Mode::Test)] {
        let asset = recorded(&f, asset).await;
        let new = NewJob {
            takes_in: vec![asset.id.clone()],
            ..f.new_job(&org, 10)
        };
        let refused = f.store.submit_job(new).await.unwrap();
        assert_eq!(refused, Submission::InputGone(asset.id));
    }
    assert_eq!(f.live_balance(&org).await, 100);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_deleted_is_erased_and_the_oldest_first() {
    let f = fresh().await;
    let org = f.org(0).await.id;
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(recorded(&f, upload(&f, &org, Mode::Live)).await);
    }
    for asset in [&sent[2], &sent[0]] {
        let deleted = f.store.delete_asset(&org, Mode::Live, &asset.id, f.now());
        deleted.await.unwrap().unwrap();
    }
    let erasable = f.store.erasable_assets(None, 1).await.unwrap();
    let [first] = erasable.as_slice() else {
        panic!("{erasable:?}");
    };
    let rest = f.store.erasable_assets(Some(&first.id), 9).await.unwrap();
    let [second] = rest.as_slice() else {
        panic!("{rest:?}");
    };
    assert_eq!((first, second), (&sent[2], &sent[0]));
    let end = f.store.erasable_assets(Some(&second.id), 9).await;
    assert_eq!(end.unwrap(), []);
    let ids: Vec<AssetId> = sent.iter().map(|asset| asset.id.clone()).collect();
    f.store.record_erased(&ids, f.now()).await.unwrap();
    assert_eq!(f.store.erasable_assets(None, 9).await.unwrap(), []);
    let kept = f.store.asset(&org, Mode::Live, &sent[1].id).await.unwrap();
    assert_eq!(kept.as_ref(), Some(&sent[1]));
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thumbnail_is_tried_in_vain_once() {
    let f = fresh().await;
    let org = f.org(0).await.id;
    let sent = recorded(&f, upload(&f, &org, Mode::Live)).await;
    let other = recorded(&f, upload(&f, &org, Mode::Live)).await;
    f.store.record_no_thumbnail(&sent.id).await.unwrap();
    for (asset, expected) in [(&sent, false), (&other, true)] {
        let found = f.store.asset(&org, Mode::Live, &asset.id).await.unwrap();
        assert_eq!(found.unwrap().has_thumbnail, expected);
    }
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_held_against_rows() {
    let f = fresh().await;
    let org = f.org(0).await.id;
    let mut sent = Vec::new();
    for _ in 0..4 {
        sent.push(recorded(&f, upload(&f, &org, Mode::Live)).await);
    }
    for asset in &sent[..2] {
        let deleted = f.store.delete_asset(&org, Mode::Live, &asset.id, f.now());
        deleted.await.unwrap().unwrap();
    }
    let erased = [sent[0].id.clone()];
    f.store.record_erased(&erased, f.now()).await.unwrap();
    let mut keys: Vec<String> = sent.iter().map(|asset| asset.storage_key.clone()).collect();
    keys.push("nobodys".to_owned());
    let unnamed = f.store.unnamed_files(keys.clone()).await.unwrap();
    assert_eq!(unnamed, [keys[0].as_str(), "nobodys"]);
    let kept = async |after: Option<&AssetId>, limit| {
        let kept = f.store.kept_assets(after, limit).await.unwrap();
        kept.into_iter().map(|asset| asset.id).collect::<Vec<_>>()
    };
    let (third, fourth) = (&sent[2].id, &sent[3].id);
    assert_eq!(kept(None, 9).await, [third.clone(), fourth.clone()]);
    assert_eq!(kept(None, 1).await, std::slice::from_ref(third));
    assert_eq!(kept(Some(third), 9).await, std::slice::from_ref(fourth));
    assert!(kept(Some(fourth), 9).await.is_empty());
    check(f).await;
}

pub(crate) const DAY: Duration = Duration::from_hours(24);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_deleted_and_nothing_else() {
    let f = fresh().await;
    let (org, keeps_all) = (f.org(100).await.id, f.org(100).await.id);
    let made = f.running(&org, 10).await;
    let output = f.output(&made.job);
    f.settle(&made, f.completed(vec![output.clone()], 0)).await;
    let old = recorded(&f, upload(&f, &org, Mode::Live)).await;
    let sandboxed = recorded(&f, upload(&f, &org, Mode::Test)).await;
    let others = recorded(&f, upload(&f, &keeps_all, Mode::Live)).await;
    let fetched = Asset {
        role: AssetRole::Input,
        job_id: None,
        ..f.output(&made.job)
    };
    let fetched = recorded(&f, fetched).await;
    let late = Asset {
        role: AssetRole::Late,
        ..f.output(&made.job)
    };
    f.store
        .keep_late(&made.job.id, vec![late.clone()])
        .await
        .unwrap();
    // What an open job takes in, and what its first step has made.
    let needed = recorded(&f, upload(&f, &org, Mode::Live)).await;
    f.accepted(NewJob {
        takes_in: vec![needed.id.clone()],
        ..f.new_job(&org, 10)
    })
    .await;
    let [open] = <[_; 1]>::try_from(f.claim(1).await).unwrap();
    let step = Asset {
        role: AssetRole::Step,
        ..f.output(&open.job)
    };
    f.store
        .finish_step(&open.lease, &asked(0, "fal"), vec![step.clone()], f.until())
        .await
        .unwrap();
    f.advance(DAY);
    let edge = f.now();
    let young = Asset {
        created_at: edge,
        ..upload(&f, &org, Mode::Live)
    };
    let young = recorded(&f, young).await;

    let expire = |now| f.store.expire_assets(now, 9);
    let late_enough = edge.plus(DAY);
    assert_eq!(expire(late_enough).await.unwrap(), 0, "for ever by default");
    let told = f.store.set_retention(&org, Some(DAY), f.now()).await;
    assert_eq!(told.unwrap().unwrap().keep_assets, Some(DAY));
    let just_before = Timestamp::from_micros(late_enough.as_micros() - 1);
    assert_eq!(f.store.expire_assets(just_before, 3).await.unwrap(), 3);
    assert_eq!(expire(just_before).await.unwrap(), 1);
    let erasable = f.store.erasable_assets(None, 9).await.unwrap();
    let mut gone: Vec<AssetId> = erasable.into_iter().map(|asset| asset.id).collect();
    gone.sort();
    let mut expected = [&output, &old, &sandboxed, &fetched].map(|asset| asset.id.clone());
    expected.sort();
    assert_eq!(gone, expected);
    for kept in [&others, &late, &needed, &step, &young] {
        let found = f.store.asset_by_storage_key(&kept.storage_key).await;
        assert!(found.unwrap().is_some(), "{kept:?}");
    }
    f.settle(&open, f.failed()).await;
    assert_eq!(expire(just_before).await.unwrap(), 2, "the job has ended");
    assert_eq!(expire(late_enough).await.unwrap(), 1, "the young one");

    let told = f.store.set_retention(&org, None, f.now()).await;
    assert_eq!(told.unwrap().unwrap().keep_assets, None);
    let nobody = f.store.set_retention(&f.org_id(), None, f.now()).await;
    assert_eq!(nobody.unwrap(), None);
    check(f).await;
}
