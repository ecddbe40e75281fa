//! Configuration: the compiled-in defaults, a file, the environment, flags; each later one wins. Only the binary knows
//! that it exists.

mod duration;
mod layers;
mod limits;
mod media;
mod providers;
mod store;

pub use duration::Span;
pub use limits::Limiting;
pub use media::{Media, MediaPlace};
pub use providers::{Hosted, HostedAuth, Kind, Provider};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
pub use store::{Database, Store};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use vydra_core::plan::{Limits, Plans};
use vydra_core::webhook::RetrySchedule;
use vydra_outbound::egress_proxy::EgressProxy;
use vydra_outbound::secret::Secret;
use vydra_outbound::url_guard::Network;

pub use layers::Sources;

/// The manual: every key with its default.
pub const DEFAULTS: &str = include_str!("../../../../config.default.toml");
const MOST_AT_ONCE: usize = 10_000;
const LONGEST_DELAY: Duration = Duration::from_mins(10);
const MIN_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_hours(8_760);
const MIN_WEBHOOK: Duration = Duration::from_millis(100);
const MAX_WEBHOOK: Duration = Duration::from_mins(1);
const MOST_RETRIES: usize = 50;
const LONGEST_RETRY: Duration = Duration::from_hours(24);
const MIN_SESSION: Duration = Duration::from_mins(1);
const MAX_SESSION: Duration = Duration::from_hours(8_760);

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub auth: Auth,
    pub store: Store,
    pub media: Media,
    pub worker: Worker,
    pub catalog: Catalog,
    pub providers: BTreeMap<String, Provider>,
    pub webhooks: Webhooks,
    pub outbound: Outbound,
    pub limits: Limiting,
    plans: BTreeMap<String, Limits>,
    pub log: Log,
    /// Where relative paths of this configuration start.
    #[serde(skip)]
    pub data_dir: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub role: Role,
    pub listen: SocketAddr,
    pub public_url: String,
    pub sync_wait: Span,
    pub max_connections: usize,
    pub body_timeout: Span,
    pub drain_delay: Span,
}

/// What a server does of what is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Both,
    /// Answers requests, and leaves jobs and webhooks to others.
    Api,
    /// Does jobs and sends webhooks; answers nothing but how it is.
    Worker,
}

impl Role {
    pub fn answers(self) -> bool {
        matches!(self, Self::Both | Self::Api)
    }

    pub fn works(self) -> bool {
        matches!(self, Self::Both | Self::Worker)
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    pub session_lifetime: Span,
    pub bot_register: bool,
    pub bot_plan: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    pub concurrency: usize,
    pub max_wait: Span,
    pub lease: Span,
    pub max_attempts: u32,
    pub drain: Span,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    pub default: bool,
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    pub timeout: Span,
    pub retries: Vec<Span>,
    pub concurrency: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbound {
    pub proxy: Secret,
    pub webhook_allow_networks: Vec<String>,
    pub input_allow_networks: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

impl Log {
    pub fn filter(&self) -> Result<EnvFilter, ConfigError> {
        let refused = |problem: String| ConfigError::key("log.level", problem);
        // A lone word that is no level would name a module, and a slip of the pen silence all others.
        for word in self.level.split(',') {
            if !word.contains('=') && word.parse::<LevelFilter>().is_err() {
                return Err(refused(format!(
                    "{word:?} is none of off, error, warn, info, debug, trace"
                )));
            }
        }
        EnvFilter::try_new(&self.level).map_err(|error| refused(error.to_string()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// Why a configuration cannot be used; names the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is not valid TOML: {problem}")]
    Syntax { path: PathBuf, problem: String },
    #[error("configuration key {key}: {problem}")]
    Key { key: String, problem: String },
}

impl ConfigError {
    fn key(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Key {
            key: key.into(),
            problem: problem.into(),
        }
    }
}

impl Config {
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let merged = layers::merge(DEFAULTS, sources)?;
        let mut config: Self = serde_path_to_error::deserialize(merged).map_err(|error| {
            let key = error.path().to_string();
            // Its key is told already; TOML's own sentence would repeat it on a line below.
            ConfigError::key(key, error.into_inner().message())
        })?;
        config.data_dir.clone_from(&sources.data_dir);
        config.check()?;
        Ok(config)
    }

    /// What is well-formed and still cannot be.
    fn check(&self) -> Result<(), ConfigError> {
        if !(1..=MOST_AT_ONCE).contains(&self.worker.concurrency) {
            let problem = format!("must be from 1 to {MOST_AT_ONCE}");
            return Err(ConfigError::key("worker.concurrency", problem));
        }
        if self.server.max_connections == 0 {
            let problem = "must be at least 1";
            return Err(ConfigError::key("server.max_connections", problem));
        }
        if self.server.body_timeout.0.is_zero() {
            return Err(ConfigError::key(
                "server.body_timeout",
                "must be longer than nothing",
            ));
        }
        if self.server.drain_delay.0 > LONGEST_DELAY {
            return Err(ConfigError::key(
                "server.drain_delay",
                "must be at most 10m",
            ));
        }
        if !(MIN_WAIT..=MAX_WAIT).contains(&self.worker.max_wait.0) {
            let problem = "must be from 1s to 8760h, a year";
            return Err(ConfigError::key("worker.max_wait", problem));
        }
        if self.worker.lease.0.as_secs() < 5 {
            return Err(ConfigError::key("worker.lease", "must be at least 5s"));
        }
        if self.worker.max_attempts == 0 {
            return Err(ConfigError::key(
                "worker.max_attempts",
                "must be at least 1",
            ));
        }
        if !(MIN_SESSION..=MAX_SESSION).contains(&self.auth.session_lifetime.0) {
            let problem = "must be from 1m to 8760h, a year";
            return Err(ConfigError::key("auth.session_lifetime", problem));
        }
        if !self.plans.contains_key(&self.auth.bot_plan) {
            let known: Vec<&str> = self.plans.keys().map(String::as_str).collect();
            return Err(ConfigError::key(
                "auth.bot_plan",
                format!("there is no such plan; there are: {}", known.join(", ")),
            ));
        }
        let url = &self.server.public_url;
        if !url.is_empty()
            && (!(url.starts_with("http://") || url.starts_with("https://")) || url.ends_with('/'))
        {
            return Err(ConfigError::key(
                "server.public_url",
                "must start with http:// or https:// and not end with a slash",
            ));
        }
        self.hosted_providers()?;
        self.input_networks()?;
        self.egress_proxy()?;
        self.webhook_networks()?;
        if !(MIN_WEBHOOK..=MAX_WEBHOOK).contains(&self.webhooks.timeout.0) {
            let problem = "must be from 100ms to 60s";
            return Err(ConfigError::key("webhooks.timeout", problem));
        }
        let retries = &self.webhooks.retries;
        if retries.len() > MOST_RETRIES || retries.iter().any(|span| span.0 > LONGEST_RETRY) {
            let problem = format!("must be at most {MOST_RETRIES}, of at most 24h each");
            return Err(ConfigError::key("webhooks.retries", problem));
        }
        if !(1..=MOST_AT_ONCE).contains(&self.webhooks.concurrency) {
            let problem = format!("must be from 1 to {MOST_AT_ONCE}");
            return Err(ConfigError::key("webhooks.concurrency", problem));
        }
        self.check_limits()?;
        self.check_store()?;
        self.check_role()?;
        self.media_place()?;
        self.log.filter()?;
        Ok(())
    }

    fn check_role(&self) -> Result<(), ConfigError> {
        let Server {
            role, public_url, ..
        } = &self.server;
        if *role == Role::Both {
            return Ok(());
        }
        if let Database::Sqlite(_) = self.database()? {
            return Err(ConfigError::key(
                "server.role",
                "must be both: one server does everything on SQLite, only Postgres (store.url) is shared by several",
            ));
        }
        if *role == Role::Worker && public_url.is_empty() {
            return Err(ConfigError::key(
                "server.public_url",
                "must be given for a worker: webhooks name files below it",
            ));
        }
        Ok(())
    }

    pub fn input_networks(&self) -> Result<Vec<Network>, ConfigError> {
        networks(
            "outbound.input_allow_networks",
            &self.outbound.input_allow_networks,
        )
    }

    pub fn webhook_networks(&self) -> Result<Vec<Network>, ConfigError> {
        networks(
            "outbound.webhook_allow_networks",
            &self.outbound.webhook_allow_networks,
        )
    }

    pub fn retry_schedule(&self) -> RetrySchedule {
        RetrySchedule(self.webhooks.retries.iter().map(|span| span.0).collect())
    }

    pub fn egress_proxy(&self) -> Result<Option<EgressProxy>, ConfigError> {
        let proxy = &self.outbound.proxy;
        if proxy.is_empty() {
            return Ok(None);
        }
        let parsed = proxy.reveal().parse::<EgressProxy>();
        parsed
            .map(Some)
            .map_err(|error| ConfigError::key("outbound.proxy", error.to_string()))
    }

    /// A secret that stands in the configuration or in a file of its own, with the key that gives it; empty where neither does.
    fn given_or_in_file(
        &self,
        (key, value): (&'static str, &Secret),
        (file_key, file): (&'static str, &Path),
    ) -> Result<(&'static str, String), ConfigError> {
        if file.as_os_str().is_empty() {
            return Ok((key, value.reveal().to_owned()));
        }
        if !value.is_empty() {
            let problem = format!("is given beside {key}; one of them is enough");
            return Err(ConfigError::key(file_key, problem));
        }
        let path = self.data_dir.join(file);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            ConfigError::key(file_key, format!("cannot read {}: {error}", path.display()))
        })?;
        match text.trim() {
            "" => Err(ConfigError::key(file_key, "is an empty file")),
            value => Ok((file_key, value.to_owned())),
        }
    }

    pub fn plans(&self) -> Plans {
        Plans::new(self.plans.clone())
    }

    pub fn local_is_fallback(&self) -> bool {
        self.providers
            .get(providers::LOCAL)
            .is_some_and(|local| local.enabled == Some(true))
    }

    pub fn local_is_instant(&self) -> bool {
        self.providers
            .get(providers::LOCAL)
            .is_some_and(|local| local.instant)
    }

    /// The catalogue's texts with their names, in the order in which they apply.
    pub fn catalog_texts(&self) -> Result<Vec<(String, String)>, ConfigError> {
        let mut texts = Vec::new();
        if self.catalog.default {
            texts.push((
                "catalog.default.toml".to_owned(),
                vydra_core::catalog::DEFAULT.to_owned(),
            ));
        }
        for file in &self.catalog.files {
            let path = self.data_dir.join(file);
            let text = read(&path)?;
            texts.push((path.display().to_string(), text));
        }
        Ok(texts)
    }
}

fn networks(key: &str, list: &[String]) -> Result<Vec<Network>, ConfigError> {
    list.iter()
        .map(|text| {
            text.parse()
                .map_err(|error| ConfigError::key(key, format!("{error}")))
        })
        .collect()
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
