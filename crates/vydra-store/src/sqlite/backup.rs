//! A copy of the file, taken beside a server that works.

use super::migrations;
use super::transfer::blocking;
use super::{SqliteStore, audit, connect};
use crate::{Result, StoreError};
use rusqlite::{Connection, OpenFlags, params};
use std::path::Path;
use vydra_core::ledger::Audit;

impl SqliteStore {
    /// Writes the database as it is at one moment to a file that is empty or not there yet, and reads it all again: the copy is
    /// whole, and its audit is told. Nobody's writes wait for it. The copy is not on the disk for sure until whoever asked for
    /// it has seen to that.
    ///
    /// `VACUUM INTO` reads from one snapshot, where the steps of the backup interface begin anew whenever another process
    /// writes and would not come to an end under load. What is damaged makes it fail, and room that was given free is left out.
    pub async fn backup(path: &Path, copy: &Path) -> Result<Audit> {
        let (path, copy) = (path.to_owned(), copy.to_owned());
        blocking(move || backup(&path, &copy)).await
    }
}

fn backup(path: &Path, copy: &Path) -> Result<Audit> {
    let connection = connect(path)?;
    migrations::current(&connection)?;
    let name = copy.to_str().ok_or_else(|| {
        StoreError::Refused("the name of the copy must be UTF-8, as SQLite wants it".to_owned())
    })?;
    connection.execute("VACUUM INTO ?1", params![name])?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let copy = Connection::open_with_flags(copy, flags)?;
    let verdict: String = copy.query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StoreError::Corrupt(format!("the copy: {verdict}")));
    }
    audit::audit(&copy)
}
