//! Where the database is.

use super::{Config, ConfigError, Secret, Span};
use serde::Deserialize;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vydra_engine::SHORTEST_KEPT;
use vydra_store::PostgresSettings;

const FILE: &str = "vydra.db";
const MOST_CONNECTIONS: usize = 1_000;
const LONGEST_WAIT: Duration = Duration::from_hours(1);

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    pub url: Secret,
    pub url_file: PathBuf,
    pub connections: usize,
    pub connect_timeout: Span,
    keep_jobs: String,
}

#[derive(Debug, Clone)]
pub enum Database {
    Sqlite(PathBuf),
    Postgres(Box<PostgresSettings>),
}

/// For an operator; without the password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(settings) => settings.fmt(f),
        }
    }
}

/// What SQLite and a server keep beside the file of a database.
const BESIDE: [&str; 4] = ["-wal", "-shm", "-journal", ".lock"];

impl Database {
    /// Whether this file is it, or one of those that belong to it.
    pub fn has(&self, file: &Path) -> bool {
        let Self::Sqlite(path) = self else {
            return false;
        };
        let beside = BESIDE.map(|end| {
            let mut name = path.clone().into_os_string();
            name.push(end);
            PathBuf::from(name)
        });
        // A log that is not there now may be at the next write.
        let place = |path: &Path| {
            Some((
                path.parent()?.canonicalize().ok()?,
                path.file_name()?.to_owned(),
            ))
        };
        let same = |own: &PathBuf| match (own.metadata(), file.metadata()) {
            (Ok(own), Ok(file)) => (own.dev(), own.ino()) == (file.dev(), file.ino()),
            _ => place(own).is_some_and(|own| place(file) == Some(own)),
        };
        std::iter::once(path).chain(&beside).any(same)
    }
}

impl Config {
    pub fn database(&self) -> Result<Database, ConfigError> {
        let Store { url, url_file, .. } = &self.store;
        let (key, url) = self.given_or_in_file(("store.url", url), ("store.url_file", url_file))?;
        let refused = |problem: String| Err(ConfigError::key(key, problem));
        if url.starts_with("postgres") {
            return match PostgresSettings::read(&url, &self.data_dir) {
                Ok(mut settings) => {
                    settings.readers = self.store.connections;
                    Ok(Database::Postgres(Box::new(settings)))
                }
                Err(error) => refused(error.to_string()),
            };
        }
        let path = match url.as_str() {
            "" | "sqlite:" => Path::new(FILE),
            url => match url.strip_prefix("sqlite:") {
                Some(path) => Path::new(path.strip_prefix("//").unwrap_or(path)),
                None => {
                    return refused(
                        "must be sqlite: and a path, or postgres://USER@HOST/DATABASE".to_owned(),
                    );
                }
            },
        };
        Ok(Database::Sqlite(self.data_dir.join(path)))
    }

    /// None: for ever.
    pub fn keep_jobs(&self) -> Result<Option<Duration>, ConfigError> {
        const KEY: &str = "store.keep_jobs";
        let text = &self.store.keep_jobs;
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse::<Span>() {
            Ok(Span(kept)) if kept >= SHORTEST_KEPT => Ok(Some(kept)),
            Ok(_) => Err(ConfigError::key(KEY, "must be at least 24h")),
            Err(problem) => Err(ConfigError::key(KEY, problem)),
        }
    }

    pub(super) fn check_store(&self) -> Result<(), ConfigError> {
        if !(1..=MOST_CONNECTIONS).contains(&self.store.connections) {
            let problem = format!("must be from 1 to {MOST_CONNECTIONS}");
            return Err(ConfigError::key("store.connections", problem));
        }
        if self.store.connect_timeout.0 > LONGEST_WAIT {
            let problem = "must be at most 1h";
            return Err(ConfigError::key("store.connect_timeout", problem));
        }
        self.keep_jobs()?;
        self.database()?;
        Ok(())
    }
}
