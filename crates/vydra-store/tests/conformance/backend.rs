//! What the suite needs to know of SQLite.

use crate::fixture::Fixture;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vydra_core::api_key::Pepper;
use vydra_store::transfer::{self, Inlet, Moved, Outlet};
use vydra_store::{SqliteStore, Store};

/// Takes away whatever keeps books from being wrong, for the statements behind it.
pub(crate) const UNGUARDED: &str = "
    PRAGMA foreign_keys = OFF;
    PRAGMA ignore_check_constraints = ON;
    DROP TRIGGER ledger_is_never_edited;
    DROP TRIGGER ledger_is_never_shortened;
    DROP INDEX ledger_of_job;
    DROP TRIGGER jobs_go_forwards;
    DROP TRIGGER ended_jobs_stay;
    DROP TRIGGER jobs_are_never_removed;
    DROP TRIGGER events_are_never_removed;";

/// And what keeps from changing what was carried forward.
pub(crate) const UNGUARDED_CARRIED: &str = "
    DROP TRIGGER carried_goes_forwards;
    DROP TRIGGER carried_is_never_removed;";

/// The store of this folder, which is empty at first.
#[expect(
    clippy::unused_async,
    reason = "other databases are reached by a network"
)]
pub(crate) async fn open(directory: &Path) -> Arc<dyn Store> {
    open_file(&file(directory))
}

fn open_file(path: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(path, &Pepper::new([7; 32])).unwrap())
}

fn file(directory: &Path) -> PathBuf {
    directory.join("vydra.db")
}

/// An empty store and the file in which it lives.
pub(crate) fn sqlite() -> (Fixture, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path());
    (Fixture::over(open_file(&path), directory), path)
}

/// All that the database of this folder holds.
pub(crate) async fn export(directory: &Path, to: Outlet) -> transfer::Result<Moved> {
    SqliteStore::export(&file(directory), to).await
}

/// Into the database of this folder, which need not be there.
pub(crate) async fn import(directory: &Path, from: Inlet) -> transfer::Result<Moved> {
    SqliteStore::import(&file(directory), from).await
}

/// Every column of every table, with its table, and the tables that are not moved as they are.
pub(crate) const COLUMNS: (&str, &[&str]) = (
    "SELECT group_concat(t.name || '.' || c.name, ',') FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite!_%' ESCAPE '!'",
    &["admissions"],
);

/// Runs statements behind the store's back.
pub(crate) fn execute(directory: &Path, sql: &str) {
    let raw = Connection::open(file(directory)).unwrap();
    raw.execute_batch(sql).unwrap();
}

/// The only text that is found.
pub(crate) fn text(directory: &Path, sql: &str) -> String {
    let raw = Connection::open(file(directory)).unwrap();
    raw.query_row(sql, (), |row| row.get(0)).unwrap()
}

/// Whether the database itself refuses these statements, as one.
pub(crate) fn refuses(directory: &Path, sql: &str) -> bool {
    let raw = Connection::open(file(directory)).unwrap();
    let answer = raw.execute_batch(&format!("BEGIN; {sql}; COMMIT"));
    let code = answer.err().and_then(|error| error.sqlite_error_code());
    code == Some(rusqlite::ErrorCode::ConstraintViolation)
}
