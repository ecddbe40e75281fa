//! The schema by numbers, and the few settings that live in the database itself.

use super::db::Db;
use super::rows::Columns;
use crate::{Result, StoreError};
use vydra_core::api_key::Pepper;

/// The numbers are those of the other engine; this one began at the seventh.
const MIGRATIONS: &[(u32, &str)] = &[(7, include_str!("../../migrations/postgres/0007_start.sql"))];
/// Of the lock under which one process at a time migrates: any number that nobody else uses.
const LOCK: i64 = 0x7679_6472_6120_0001;

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
    migrated
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

fn known() -> u32 {
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
