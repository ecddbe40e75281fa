//! The schema by numbers, and the few settings that live in the database itself.

use super::db::Db;
use super::refusal::refused_change;
use super::rows::Columns;
use crate::{Result, StoreError};
use vydra_core::api_key::Pepper;

/// The numbers are those of the other engine; this one began at the seventh.
const MIGRATIONS: &[(u32, &str)] = &[
    (7, include_str!("../../migrations/postgres/0007_start.sql")),
    (
        8,
        include_str!("../../migrations/postgres/0008_commands.sql"),
    ),
    (
        9,
        include_str!("../../migrations/postgres/0009_windows.sql"),
    ),
    (10, include_str!("../../migrations/postgres/0010_prune.sql")),
    (
        11,
        include_str!("../../migrations/postgres/0011_transfer.sql"),
    ),
    (
        12,
        include_str!("../../migrations/postgres/0012_incarnation.sql"),
    ),
    (
        13,
        include_str!("../../migrations/postgres/0013_admission.sql"),
    ),
    (
        14,
        include_str!("../../migrations/postgres/0014_references.sql"),
    ),
    (
        15,
        include_str!("../../migrations/postgres/0015_keys_of_jobs.sql"),
    ),
];
/// Of the lock under which one process at a time migrates: any number that nobody else uses.
const LOCK: i64 = 0x7679_6472_6120_0001;

/// The oldest whose words we use, as its server counts: 14.
const OLDEST: u32 = 140_000;

/// What there is of ours in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Nothing,
    /// Opening it would change its schema, under servers of the older version that may be at work.
    Outdated,
    Current,
}

/// Changes nothing. Refuses what is no database for us.
pub(super) async fn look(db: &Db) -> Result<Found> {
    let asked = db.one(
        "SELECT current_setting('server_version_num')::bigint, current_setting('server_version'),
                current_setting('server_encoding'), to_regclass('schema_version') IS NOT NULL",
        &[],
    );
    let asked = asked.await?;
    let mut columns = Columns::of(&asked);
    let (number, version): (u32, String) = (columns.number()?, columns.take()?);
    let (encoding, is_ours): (String, bool) = (columns.take()?, columns.take()?);
    if number < OLDEST {
        let oldest = OLDEST / 10_000;
        return Err(StoreError::Refused(format!(
            "it is PostgreSQL {version}, and {oldest} is the oldest that will do"
        )));
    }
    if encoding != "UTF8" {
        return Err(StoreError::Refused(format!(
            "its encoding is {encoding} and must be UTF8: make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )));
    }
    let found = if is_ours { schema(db).await? } else { 0 };
    let known = known();
    match found {
        0 => Ok(Found::Nothing),
        found if found > known => Err(StoreError::SchemaTooNew { found, known }),
        found if found < known => Ok(Found::Outdated),
        _ => Ok(Found::Current),
    }
}

/// Brings the schema up to date, all or nothing, also when several processes start at once.
pub(super) async fn migrate(db: &Db) -> Result<()> {
    // Whoever waits for another one that migrates waits for as long as it takes.
    db.script("BEGIN; SET LOCAL lock_timeout = 0").await?;
    let migrated = bring_up(db).await;
    db.script(if migrated.is_ok() {
        "COMMIT"
    } else {
        "ROLLBACK"
    })
    .await?;
    migrated.map_err(refused_change)
}

async fn bring_up(db: &Db) -> Result<()> {
    db.run("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    db.script("CREATE TABLE IF NOT EXISTS schema_version (number BIGINT NOT NULL)")
        .await?;
    let found = schema(db).await?;
    let known = known();
    if found > known {
        return Err(StoreError::SchemaTooNew { found, known });
    }
    for (number, sql) in MIGRATIONS {
        if *number > found {
            db.script(sql).await?;
            db.script("DELETE FROM schema_version").await?;
            db.run(
                "INSERT INTO schema_version (number) VALUES ($1)",
                &[&i64::from(*number)],
            )
            .await?;
        }
    }
    Ok(())
}

pub(super) fn known() -> u32 {
    MIGRATIONS.last().map_or(0, |(number, _)| *number)
}

async fn schema(db: &Db) -> Result<u32> {
    let found = db.one("SELECT coalesce(max(number), 0) FROM schema_version", &[]);
    Columns::of(&found.await?).number()
}

pub(super) async fn pepper(db: &Db, fresh: &Pepper) -> Result<Pepper> {
    db.run(
        "INSERT INTO settings (name, value) VALUES ('pepper', $1) ON CONFLICT DO NOTHING",
        &[&fresh.as_bytes().as_slice()],
    )
    .await?;
    kept_pepper(db).await
}

pub(super) async fn kept_pepper(db: &Db) -> Result<Pepper> {
    let kept = db.one("SELECT value FROM settings WHERE name = 'pepper'", &[]);
    let kept: Vec<u8> = Columns::of(&kept.await?).take()?;
    <[u8; 32]>::try_from(kept)
        .map(Pepper::new)
        .map_err(|_| StoreError::Corrupt("the pepper is not 32 bytes".to_owned()))
}

/// The smallest write that reaches the disk.
pub(super) async fn touch(db: &Db) -> Result<()> {
    db.run(
        "INSERT INTO settings (name, value) VALUES ('touched', '\\x00')
         ON CONFLICT (name) DO UPDATE SET value = CASE settings.value WHEN '\\x00' THEN '\\x01'::bytea ELSE '\\x00' END",
        &[],
    )
    .await?;
    Ok(())
}
