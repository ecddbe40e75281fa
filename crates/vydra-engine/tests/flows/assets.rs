//! What becomes of stored files: those that no row names, and those that are too old.

use crate::fixture::Flow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use vydra_core::asset::Asset;
use vydra_core::error_code::ErrorCode;
use vydra_core::time::{Clock, Timestamp};
use vydra_engine::{GRACE, HeldBack, Prune, Pruned, thumbnail_key};
use vydra_testkit::{Fault, Faults};

/// In the media folder, written so long ago.
fn file(flow: &Flow, name: &str, age: Duration) -> PathBuf {
    let path = flow.media_folder().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "12345").unwrap();
    written(&path, flow.clock.now(), age);
    path
}

fn written(path: &PathBuf, now: Timestamp, age: Duration) {
    let now = UNIX_EPOCH + Duration::from_micros(u64::try_from(now.as_micros()).unwrap());
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(now - age).unwrap();
}

/// As the engine makes them.
fn key(number: u32) -> String {
    format!("aa/aa{number:038x}.png")
}

async fn prune(flow: &Flow, what: Prune) -> Pruned {
    let mut told = 0;
    let pruned = flow.engine.prune(what, |_| told += 1).await.unwrap();
    assert!(told > 0 || pruned.files == 0);
    pruned
}

#[tokio::test]
async fn files_that_no_row_names_are_removed_when_they_are_old() {
    let flow = Flow::new().await;
    let kept = flow.picture().await;
    file(&flow, &thumbnail_key(&kept), GRACE);
    let widow = file(&flow, &format!("{}.thumb.jpg", key(1)), GRACE);
    for path in flow.media_files() {
        written(&path, flow.clock.now(), GRACE * 2);
    }
    let old = file(&flow, &key(1), GRACE);
    let leftover = file(&flow, &format!("{}#1", key(2)), GRACE);
    let young = file(&flow, &key(3), GRACE * 9 / 10);
    let begun = file(&flow, &format!("{}#2", key(2)), Duration::ZERO);
    let expected = Pruned {
        files: 7,
        orphans: 3,
        orphan_bytes: 15,
        rows: 1,
        ..Pruned::default()
    };
    assert_eq!(prune(&flow, Prune::Look).await, expected);
    assert!(old.exists() && leftover.exists());
    let removed = Pruned {
        removed: 3,
        ..expected.clone()
    };
    assert_eq!(prune(&flow, Prune::Remove).await, removed);
    assert!(!widow.exists());
    assert!(!old.exists() && !leftover.exists() && young.exists() && begun.exists());
    let nothing = Pruned {
        files: 4,
        orphans: 0,
        orphan_bytes: 0,
        ..expected
    };
    assert_eq!(prune(&flow, Prune::Remove).await, nothing);
}

#[tokio::test]
async fn rows_whose_file_is_gone_are_told() {
    let flow = Flow::new().await;
    let (lost, deleted, kept) = (
        flow.picture().await,
        flow.picture().await,
        flow.picture().await,
    );
    flow.lose_file(&lost.storage_key);
    let id = deleted.id.as_str();
    flow.engine.delete_asset(&flow.caller, id).await.unwrap();
    let pruned = prune(&flow, Prune::Remove).await;
    assert_eq!((pruned.rows, pruned.missing), (2, 1));
    assert_eq!(pruned.missing_ids, [lost.id]);
    assert!(flow.engine.media_asset(&kept.storage_key).await.is_ok());
}

/// A wrong --database-url must not cost all files of another server.
#[tokio::test]
async fn a_database_that_names_no_file_removes_none() {
    let flow = Flow::new().await;
    let old = file(&flow, &key(1), GRACE * 2);
    let pruned = prune(&flow, Prune::Remove).await;
    assert_eq!(pruned.held_back, Some(HeldBack::NoRows));
    assert!(old.exists());
    assert_eq!((pruned.orphans, pruned.removed), (1, 0));
}

/// As with the database of another server that has a file or two.
#[tokio::test]
async fn a_database_that_does_not_name_most_files_removes_none_of_them() {
    let flow = Flow::new().await;
    for _ in 0..11 {
        let kept = flow.picture().await;
        let path = flow.media_folder();
        written(&path.join(kept.storage_key), flow.clock.now(), GRACE);
    }
    for number in 0..11 {
        file(&flow, &key(number), GRACE);
    }
    file(&flow, &key(11), GRACE * 9 / 10);
    file(&flow, &format!("{}#1", key(12)), GRACE);
    assert_eq!(prune(&flow, Prune::Look).await.held_back, None, "half");
    file(&flow, &key(13), GRACE);
    let pruned = prune(&flow, Prune::Remove).await;
    assert_eq!(pruned.held_back, Some(HeldBack::MostUnnamed));
    assert_eq!((pruned.orphans, pruned.removed, pruned.rows), (13, 0, 11));
    assert_eq!(flow.media_files().len(), 25);
    let pruned = prune(&flow, Prune::Force).await;
    assert_eq!((pruned.held_back, pruned.removed), (None, 13));
}

/// As after a deletion without a server, or a disk that was away for a while.
#[tokio::test]
async fn what_was_deleted_goes_with_it() {
    let flow = Flow::new().await;
    let (asset, _kept) = (flow.picture().await, flow.picture().await);
    flow.break_media();
    let id = asset.id.as_str();
    flow.engine.delete_asset(&flow.caller, id).await.unwrap();
    flow.mend_media();
    assert_eq!(prune(&flow, Prune::Look).await.files, 2);
    assert_eq!(prune(&flow, Prune::Remove).await.files, 1);
}

/// Some that can never be removed must not keep all that were deleted later.
#[tokio::test]
async fn files_that_cannot_be_removed_are_in_nobodys_way() {
    let flow = Flow::new().await;
    let mut pictures = Vec::new();
    for _ in 0..7 {
        pictures.push(flow.picture().await);
    }
    flow.break_media();
    for picture in &pictures {
        let id = picture.id.as_str();
        flow.engine.delete_asset(&flow.caller, id).await.unwrap();
        flow.clock.advance(Duration::from_secs(1));
    }
    flow.mend_media();
    let at = |picture: &Asset| {
        let media = flow.media_folder();
        media.join(&picture.storage_key)
    };
    let (last, stuck) = pictures.split_last().unwrap();
    for picture in stuck {
        std::fs::remove_file(at(picture)).unwrap();
        std::fs::create_dir(at(picture)).unwrap();
    }
    flow.step().await;
    assert!(at(last).exists(), "after a few failures no more is tried");
    flow.step().await;
    assert!(!at(last).exists());
    // And they are not forgotten.
    std::fs::remove_dir(at(&stuck[0])).unwrap();
    std::fs::write(at(&stuck[0]), "x").unwrap();
    flow.step().await;
    assert!(!at(&stuck[0]).exists());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_files_that_are_removed() {
    let faults = Arc::new(Faults::default());
    let flow = Flow::with(|setup| setup.faults = Some(Arc::clone(&faults))).await;
    let picture = flow.picture().await;
    faults.at("media.delete", 1, Fault::ErrorBefore);
    let id = picture.id.as_str();
    flow.engine.delete_asset(&flow.caller, id).await.unwrap();
    let removing = Arc::new(Notify::new());
    let reached = Arc::clone(&removing);
    faults.plan(move |point| {
        (point == "media.delete").then(|| {
            reached.notify_one();
            Fault::Delay(Duration::MAX)
        })
    });
    let stop = CancellationToken::new();
    let stopped = flow.work_until(stop.clone());
    removing.notified().await;
    stop.cancel();
    let stopped = tokio::time::timeout(Duration::from_secs(10), stopped);
    stopped.await.expect("the worker waits for the storage");
}

/// Whoever asks again finds it made, and a file that is large to decode is decoded once.
#[tokio::test]
async fn a_thumbnail_is_made_for_whoever_hangs_up_as_well() {
    let faults = Arc::new(Faults::default());
    let flow = Flow::with(|setup| setup.faults = Some(Arc::clone(&faults))).await;
    let key = thumbnail_key(&flow.picture().await);
    let reading = Arc::new(Notify::new());
    let (reached, mut reads) = (Arc::clone(&reading), 0);
    faults.plan(move |point| {
        reads += u32::from(point == "media.read");
        // Whether there is one, twice, and then the file itself.
        if reads == 3 {
            reached.notify_one();
        }
        None
    });
    tokio::select! {
        biased;
        () = reading.notified() => {}
        made = flow.engine.thumbnail(&key) => panic!("{made:?}"),
    }
    flow.engine.settle_files().await;
    assert!(flow.size_in_memory(&key).await.is_some());
}

/// Time that is paused goes on when nothing else does: the deletion is over before the file is written.
#[tokio::test(start_paused = true)]
async fn no_thumbnail_outlives_a_file_that_is_deleted_meanwhile() {
    let faults = Arc::new(Faults::default());
    let flow = Flow::with(|setup| setup.faults = Some(Arc::clone(&faults))).await;
    let picture = flow.picture().await;
    let key = thumbnail_key(&picture);
    let writing = Arc::new(Notify::new());
    let reached = Arc::clone(&writing);
    faults.plan(move |point| {
        (point == "media.put").then(|| {
            reached.notify_one();
            Fault::Delay(Duration::from_secs(1))
        })
    });
    let deleting = async {
        writing.notified().await;
        let id = picture.id.as_str();
        flow.engine.delete_asset(&flow.caller, id).await.unwrap();
    };
    let (made, ()) = tokio::join!(flow.engine.thumbnail(&key), deleting);
    assert_eq!(made.unwrap_err().code(), ErrorCode::NotFound);
    assert_eq!(flow.size_in_memory(&key).await, None);
}

#[tokio::test]
async fn files_are_kept_as_long_as_their_organization_wants() {
    let flow = Flow::new().await;
    let day = Duration::from_hours(24);
    for wrong in [Duration::from_mins(59), day * 36_501] {
        let refused = flow.engine.set_retention(&flow.org.id, Some(wrong)).await;
        assert_eq!(refused.unwrap_err().code(), ErrorCode::InvalidInput);
    }
    let changed = flow
        .engine
        .set_retention(&flow.org.id, Some(day * 30))
        .await;
    assert_eq!(changed.unwrap().keep_assets, Some(day * 30));
    let old = flow.picture().await;
    flow.clock.advance(day * 29);
    let young = flow.picture().await;
    flow.clock.advance(day);
    flow.step().await;
    let gone = flow.engine.media_asset(&old.storage_key).await;
    assert_eq!(gone.unwrap_err().code(), ErrorCode::NotFound);
    assert!(flow.engine.media_asset(&young.storage_key).await.is_ok());
    assert_eq!(flow.media_files().len(), 1, "the bytes are gone too");
    flow.clock.advance(day * 30);
    flow.step().await;
    assert!(flow.media_files().is_empty());
}
