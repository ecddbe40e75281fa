//! The database of a configuration, opened for a purpose.

use super::concerns;
use crate::config::{Config, Database};
use anyhow::{Context, bail};
use std::fs::{DirBuilder, File, TryLockError};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use vydra_core::api_key::Pepper;
use vydra_core::random::Random;
use vydra_store::{Found, PostgresSettings, PostgresStore, SqliteStore, Store};

/// Between two tries to reach a database, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What data are opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A server that listens there and holds the lock. It brings the schema up to date, and waits for a database that is away.
    Server(SocketAddr),
    /// To bring the schema up to date.
    Migration,
    /// A command that may be the first one on these data.
    Command,
    /// A command that has nothing to show on data that are not there.
    Look,
}

pub(super) async fn open(
    config: &Config,
    purpose: Purpose,
    random: &dyn Random,
) -> anyhow::Result<Arc<dyn Store>> {
    let pepper = Pepper::generate(random);
    match config.database()? {
        Database::Sqlite(path) => Ok(Arc::new(sqlite(&path, purpose, &pepper)?)),
        Database::Postgres(settings) => {
            let patience = match purpose {
                Purpose::Server(_) => config.store.connect_timeout.0,
                Purpose::Migration | Purpose::Command | Purpose::Look => Duration::ZERO,
            };
            let store = postgres(&settings, purpose, patience, &pepper).await?;
            if let Purpose::Server(_) = purpose {
                introduce(&settings).await;
            }
            Ok(Arc::new(store))
        }
    }
}

fn sqlite(path: &Path, purpose: Purpose, pepper: &Pepper) -> anyhow::Result<SqliteStore> {
    if purpose == Purpose::Look {
        there_is(path)?;
    }
    if let Some(folder) = path.parent() {
        private_folder(folder)?;
    }
    // Under a server of the older version no schema is changed.
    let is_server = matches!(purpose, Purpose::Server(_));
    let _alone = (!is_server && SqliteStore::is_outdated(path)?)
        .then(|| ServerLock::take(path))
        .transpose()
        .context("the database is of an older version and would have to be brought up to date")?;
    SqliteStore::open(path, pepper)
        .with_context(|| format!("cannot open the database {}", path.display()))
}

pub(super) fn there_is(path: &Path) -> anyhow::Result<()> {
    if !path.exists() {
        bail!(
            "there is no database at {}. `vydra dev`, `vydra serve` or `vydra migrate` makes one; --data-dir points to another.",
            path.display()
        );
    }
    Ok(())
}

async fn postgres(
    settings: &PostgresSettings,
    purpose: Purpose,
    patience: Duration,
    pepper: &Pepper,
) -> anyhow::Result<PostgresStore> {
    let failed = || format!("cannot open the database {settings}");
    // Servers of the older version may be at work, and nobody but them knows: a command changes no schema by the way.
    if matches!(purpose, Purpose::Command | Purpose::Look) {
        match (
            PostgresStore::look(settings).await.with_context(failed)?,
            purpose,
        ) {
            (Found::Outdated, _) => bail!(
                "the database {settings} is of an older version: `vydra migrate` or a server of this version brings it up to date"
            ),
            (Found::Nothing, Purpose::Look) => bail!(
                "there is nothing of vydra in the database {settings}. `vydra serve` or `vydra migrate` makes it; --database-url points to another."
            ),
            (Found::Nothing | Found::Current, _) => {}
        }
    }
    let (began, mut pause) = (Instant::now(), FIRST_PAUSE);
    loop {
        let error = match PostgresStore::open(settings, pepper).await {
            Ok(store) => return Ok(store),
            Err(error) => error,
        };
        let left = patience.saturating_sub(began.elapsed());
        if !error.is_temporary() || left.is_zero() {
            return Err(error).with_context(failed);
        }
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "waiting for the database {settings}; it is tried for {} more seconds",
            left.as_secs()
        );
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What the log of a server says of its database; a server that cannot learn it works all the same.
async fn introduce(settings: &PostgresSettings) {
    match PostgresStore::report(settings).await {
        Ok(report) => {
            tracing::info!(
                version = %report.version,
                is_encrypted = report.is_encrypted,
                "the database is {settings}"
            );
            for concern in concerns::of_postgres(settings, &report) {
                tracing::warn!("the database {settings}: {concern}");
            }
        }
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the database {settings} does not tell how it is set up"
        ),
    }
}

/// The database holds what callers asked for and the secret that marks their keys: nobody else's business.
fn private_folder(folder: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot create the folder {}", folder.display()))
}

/// Held while a server works on the data: SQLite has one server only.
#[derive(Debug)]
pub struct ServerLock {
    _file: File,
}

impl ServerLock {
    /// None where servers share a database.
    pub fn of(config: &Config) -> anyhow::Result<Option<Self>> {
        match config.database()? {
            Database::Sqlite(path) => Self::take(&path).map(Some),
            Database::Postgres(_) => Ok(None),
        }
    }

    fn path(database: &Path) -> PathBuf {
        let mut name = database.as_os_str().to_owned();
        name.push(".lock");
        name.into()
    }

    pub(super) fn take(database: &Path) -> anyhow::Result<Self> {
        let path = Self::path(database);
        if let Some(folder) = path.parent() {
            private_folder(folder)?;
        }
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot write to {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "another vydra server is already working on {}{}. Stop it first, or give this one another --data-dir.",
                database.display(),
                owner(&path),
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).context(format!("cannot lock {}", path.display()));
            }
        }
        // Only to tell a person who holds it; the lock itself is what counts.
        let _ = file
            .set_len(0)
            .and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
        Ok(Self { _file: file })
    }
}

fn owner(path: &Path) -> String {
    match std::fs::read_to_string(path) {
        Ok(pid) if !pid.is_empty() => format!(" (process {pid})"),
        _ => String::new(),
    }
}
