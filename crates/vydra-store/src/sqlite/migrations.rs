//! The schema by numbers, and the few settings that live in the database itself.

use crate::transfer::{NOTHING, OUTDATED};
use crate::{Result, StoreError};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};
use std::path::Path;
use vydra_core::api_key::Pepper;

const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/sqlite/0001_start.sql"),
    include_str!("../../migrations/sqlite/0002_callers.sql"),
    include_str!("../../migrations/sqlite/0003_queue.sql"),
    include_str!("../../migrations/sqlite/0004_chains.sql"),
    include_str!("../../migrations/sqlite/0005_webhooks.sql"),
    include_str!("../../migrations/sqlite/0006_assets.sql"),
    include_str!("../../migrations/sqlite/0007_attempts.sql"),
    include_str!("../../migrations/sqlite/0008_commands.sql"),
    include_str!("../../migrations/sqlite/0009_windows.sql"),
    include_str!("../../migrations/sqlite/0010_prune.sql"),
    include_str!("../../migrations/sqlite/0011_transfer.sql"),
    include_str!("../../migrations/sqlite/0012_incarnation.sql"),
    include_str!("../../migrations/sqlite/0013_admission.sql"),
    include_str!("../../migrations/sqlite/0014_references.sql"),
    include_str!("../../migrations/sqlite/0015_keys_of_jobs.sql"),
];

/// Brings the schema up to date, all or nothing, also when two processes start at once.
pub(super) fn migrate(db: &mut Connection) -> Result<()> {
    let known = known();
    if schema(db)? == known {
        return Ok(());
    }
    // A table that is made anew is away for a moment, with all that refers to it. Inside a transaction it has no effect.
    db.pragma_update(None, "foreign_keys", false)?;
    let migrated = bring_up(db, known);
    db.pragma_update(None, "foreign_keys", true)?;
    migrated
}

fn bring_up(db: &mut Connection, known: u32) -> Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = schema(&transaction)?;
    if found > known {
        return Err(StoreError::SchemaTooNew { found, known });
    }
    for (number, sql) in (1_u32..).zip(MIGRATIONS) {
        if number > found {
            transaction.execute_batch(sql)?;
        }
    }
    if transaction
        .prepare("PRAGMA foreign_key_check")?
        .exists(())?
    {
        return Err(StoreError::Corrupt(
            "a row refers to another one that does not exist".to_owned(),
        ));
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}

/// Whether there is a database that [`migrate`] would change.
pub(super) fn is_outdated(path: &Path) -> Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let found = schema(&Connection::open_with_flags(path, flags)?)?;
    Ok((1..known()).contains(&found))
}

/// Of a database to be read as it is: its number, which must be the one that we know.
pub(super) fn current(db: &Connection) -> Result<u32> {
    let (found, known) = (schema(db)?, known());
    if found > known {
        return Err(StoreError::SchemaTooNew { found, known });
    }
    match found {
        0 => Err(StoreError::Refused(NOTHING.to_owned())),
        found if found < known => Err(StoreError::Refused(OUTDATED.to_owned())),
        _ => Ok(known),
    }
}

fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

fn schema(db: &Connection) -> Result<u32> {
    Ok(db.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

pub(super) fn pepper(db: &Connection, fresh: &Pepper) -> Result<Pepper> {
    db.execute(
        "INSERT INTO settings (name, value) VALUES ('pepper', ?1) ON CONFLICT DO NOTHING",
        params![fresh.as_bytes()],
    )?;
    let kept: Vec<u8> = db.query_row(
        "SELECT value FROM settings WHERE name = 'pepper'",
        (),
        |row| row.get(0),
    )?;
    <[u8; 32]>::try_from(kept)
        .map(Pepper::new)
        .map_err(|_| StoreError::Corrupt("the pepper is not 32 bytes".to_owned()))
}

/// The smallest write that reaches the disk.
pub(super) fn touch(db: &Connection) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO settings (name, value) VALUES ('touched', x'00')
         ON CONFLICT (name) DO UPDATE SET value = CASE value WHEN x'00' THEN x'01' ELSE x'00' END",
    )?
    .execute(())?;
    Ok(())
}
