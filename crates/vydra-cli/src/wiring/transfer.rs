//! All of a database out of its place and into another one: without an engine, which would work on it.

use super::store::{ServerLock, there_is};
use crate::config::{Config, Database};
use anyhow::Context;
use std::path::Path;
use vydra_core::ledger::Audit;
use vydra_store::transfer::{Inlet, Moved, Outlet};
use vydra_store::{PostgresStore, SqliteStore};

pub async fn export(config: &Config, outlet: Outlet) -> anyhow::Result<Moved> {
    let database = config.database()?;
    let moved = match &database {
        Database::Sqlite(path) => {
            there_is(path)?;
            SqliteStore::export(path, outlet).await
        }
        Database::Postgres(settings) => PostgresStore::export(settings, outlet).await,
    };
    moved.with_context(|| format!("cannot export {database}"))
}

/// No server can begin to work on the database meanwhile.
pub async fn import(config: &Config, inlet: Inlet) -> anyhow::Result<Moved> {
    let database = config.database()?;
    let moved = match &database {
        Database::Sqlite(path) => {
            let _alone = ServerLock::take(path)?;
            SqliteStore::import(path, inlet).await
        }
        Database::Postgres(settings) => PostgresStore::import(settings, inlet).await,
    };
    moved.with_context(|| format!("cannot import into {database}, which is as it was"))
}

pub async fn backup(path: &Path, copy: &Path) -> anyhow::Result<Audit> {
    there_is(path)?;
    SqliteStore::backup(path, copy)
        .await
        .with_context(|| format!("cannot copy {}", path.display()))
}
