//! From one engine to the other and back.

use crate::backend;
use crate::fixture::{Fixture, check, fresh};
use crate::rich::rich;
use crate::transfer::{Written, export, inlet};
use std::sync::Arc;
use vydra_core::api_key::Pepper;
use vydra_store::store::NodeId;
use vydra_store::transfer::TransferError;
use vydra_store::{SqliteStore, Store as _, StoreError};

fn without_first_line(text: &str) -> &str {
    text.split_once('\n').unwrap().1
}

/// Nobody works on it any more.
async fn release(f: &Fixture) {
    f.store.release_leases(f.now()).await.unwrap();
    f.store.release_deliveries(f.now()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_went_to_postgres_and_back_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vydra.db");
    let store = SqliteStore::open(&path, &Pepper::new([9; 32])).unwrap();
    let f = Fixture::over(Arc::new(store), folder);
    let callers = rich(&f).await;
    release(&f).await;
    let key = f.store.key_by_hash(&callers.key).await.unwrap();
    let written = Written::default();
    SqliteStore::export(&path, written.outlet()).await.unwrap();
    let first = written.text();

    let away = tempfile::tempdir().unwrap();
    backend::import(away.path(), inlet(&first)).await.unwrap();
    let store = backend::open(away.path()).await;
    assert_eq!(store.audit().await.unwrap(), f.store.audit().await.unwrap());
    assert_eq!(store.pepper(), Pepper::new([9; 32]));
    assert!(key.is_some());
    assert_eq!(store.key_by_hash(&callers.key).await.unwrap(), key);
    let second = export(away.path()).await;

    let back = f.directory.path().join("back.db");
    SqliteStore::import(&back, inlet(&second)).await.unwrap();
    let written = Written::default();
    SqliteStore::export(&back, written.outlet()).await.unwrap();
    assert!(first.len() > 100_000);
    // No text in Postgres holds this character.
    let first = first.replace("\\u0000", " ");
    let (_, checksum) = first.rsplit_once("\"sha256\"").unwrap();
    for text in [second, written.text()] {
        let text =
            without_first_line(&text).replace(text.rsplit_once("\"sha256\"").unwrap().1, checksum);
        assert_eq!(text, without_first_line(&first));
    }
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_went_to_a_file_and_back_is_the_same() {
    let f = fresh().await;
    rich(&f).await;
    release(&f).await;
    let first = export(f.directory.path()).await;
    let path = f.directory.path().join("vydra.db");
    SqliteStore::import(&path, inlet(&first)).await.unwrap();
    let store = SqliteStore::open(&path, &Pepper::new([1; 32])).unwrap();
    assert_eq!(store.audit().await.unwrap(), f.store.audit().await.unwrap());
    let written = Written::default();
    SqliteStore::export(&path, written.outlet()).await.unwrap();
    let back = tempfile::tempdir().unwrap();
    backend::import(back.path(), inlet(&written.text()))
        .await
        .unwrap();
    let last = export(back.path()).await;
    for text in [written.text(), last] {
        assert_eq!(without_first_line(&text), without_first_line(&first));
    }
    check(f).await;
}

/// It would go on with the secret that it has read.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_imported_under_a_server() {
    let f = fresh().await;
    let text = export(f.directory.path()).await;
    let feed = f.store.listen(NodeId(7)).await.unwrap();
    let refused = backend::import(f.directory.path(), inlet(&text)).await;
    assert!(matches!(refused, Err(TransferError::InUse)), "{refused:?}");
    feed.unwrap().close().await;
    // The connection of the node is gone a moment after it.
    while backend::text(f.directory.path(), NODES) != "0" {}
    backend::import(f.directory.path(), inlet(&text))
        .await
        .unwrap();
}

/// The same of one that has begun and is not seen yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_overtaken_by_an_import_does_not_begin() {
    let f = fresh().await;
    f.execute("UPDATE settings SET value = decode(repeat('05', 32), 'hex') WHERE name = 'pepper'");
    let refused = f.store.listen(NodeId(7)).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Refused(why) if why.contains("start it again")),
        "{refused:?}"
    );
    let again = backend::open(f.directory.path()).await;
    let feed = again.listen(NodeId(8)).await.unwrap();
    feed.unwrap().close().await;
}

const NODES: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
