//! The only place where everything meets.

mod providers;

use crate::config::{Config, MediaPlace};
use crate::system::{SystemClock, SystemRandom};
use anyhow::{Context, bail};
use std::fs::{DirBuilder, File, TryLockError};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vydra_core::api_key::Pepper;
use vydra_core::catalog::Catalog;
use vydra_core::random::Random;
use vydra_engine::{
    AuthSettings, Engine, LimitSettings, Parts, Settings, WebhookSettings, WorkerSettings,
};
use vydra_outbound::fetch::{FetchLimits, InputFetcher};
use vydra_outbound::media::MediaStore;
use vydra_outbound::url_guard::UrlGuard;
use vydra_outbound::webhook::{Courier, WebhookSender};
use vydra_store::{SqliteStore, Store};

/// Everything that a command needs, on the data that it was pointed to. A server has an address, and holds the lock.
pub fn engine(config: &Config, address: Option<SocketAddr>) -> anyhow::Result<Arc<Engine>> {
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let public_url = match (config.server.public_url.as_str(), address) {
        ("", address) => url_of(address.unwrap_or(config.server.listen)),
        (url, _) => url.to_owned(),
    };
    let catalog = catalog(config)?;
    let parts = Parts {
        store: store(config, address.is_some(), random.as_ref())?,
        providers: providers::providers(config, &catalog)?,
        catalog: Arc::new(catalog),
        media: media(config)?,
        fetcher: fetcher(config)
            .context("the client for URLs that others name could not be set up")?,
        webhooks: webhooks(config).context("the client for webhooks could not be set up")?,
        show_job: vydra_http::show_job,
        clock: Arc::new(SystemClock),
        random,
        settings: Settings {
            plans: config.plans(),
            public_url,
            sync_wait: config.server.sync_wait.0,
            auth: AuthSettings {
                session_lifetime: config.auth.session_lifetime.0,
                bot_register: config.auth.bot_register,
                bot_plan: config.auth.bot_plan.clone(),
            },
            worker: WorkerSettings {
                concurrency: config.worker.concurrency,
                max_wait: config.worker.max_wait.0,
                lease: config.worker.lease.0,
                max_attempts: config.worker.max_attempts,
                drain: config.worker.drain.0,
            },
            webhooks: WebhookSettings {
                retries: config.retry_schedule(),
                timeout: config.webhooks.timeout.0,
                concurrency: config.webhooks.concurrency,
            },
            limits: LimitSettings {
                unauthenticated_per_minute: config.limits.unauthenticated_per_minute,
                trusted_proxies: config.trusted_proxies()?,
            },
        },
    };
    Ok(Engine::new(parts))
}

/// A wildcard address is where one listens, not where one is reached.
pub fn url_of(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

pub fn catalog(config: &Config) -> anyhow::Result<Catalog> {
    let texts = config.catalog_texts()?;
    Ok(Catalog::load(
        texts
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
    )?)
}

fn store(config: &Config, is_server: bool, random: &dyn Random) -> anyhow::Result<Arc<dyn Store>> {
    let path = config.database_path()?;
    if let Some(folder) = path.parent() {
        private_folder(folder)?;
    }
    // Under a server of the older version no schema is changed.
    let _alone = (!is_server && SqliteStore::is_outdated(&path)?)
        .then(|| ServerLock::take(config))
        .transpose()
        .context("the database is of an older version and would have to be brought up to date")?;
    let store = SqliteStore::open(&path, &Pepper::generate(random))
        .with_context(|| format!("cannot open the database {}", path.display()))?;
    Ok(Arc::new(store))
}

/// The database holds what callers asked for and the secret that marks their keys: nobody else's business.
fn private_folder(folder: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot create the folder {}", folder.display()))
}

fn media(config: &Config) -> anyhow::Result<MediaStore> {
    match config.media_place()? {
        MediaPlace::Folder(path) => MediaStore::folder(&path)
            .with_context(|| format!("cannot use the media folder {}", path.display())),
        MediaPlace::Bucket(settings) => {
            MediaStore::s3(&settings).with_context(|| format!("cannot use {settings}"))
        }
    }
}

fn fetcher(config: &Config) -> anyhow::Result<InputFetcher> {
    let guard = UrlGuard::new(config.input_networks()?);
    let fetcher = InputFetcher::new(guard, FetchLimits::default())?;
    match config.egress_proxy()? {
        Some(proxy) => Ok(fetcher.through(&proxy)?),
        None => Ok(fetcher),
    }
}

fn webhooks(config: &Config) -> anyhow::Result<Arc<dyn Courier>> {
    let guard = UrlGuard::new(config.webhook_networks()?);
    let (timeout, proxy) = (config.webhooks.timeout.0, config.egress_proxy()?);
    let sender = WebhookSender::new(guard, timeout, proxy.as_ref())?;
    Ok(Arc::new(sender))
}

/// Held while a server works on the data: SQLite has one server only.
#[derive(Debug)]
pub struct ServerLock {
    _file: File,
}

impl ServerLock {
    pub fn path(config: &Config) -> anyhow::Result<PathBuf> {
        let mut name = config.database_path()?.into_os_string();
        name.push(".lock");
        Ok(name.into())
    }

    pub fn take(config: &Config) -> anyhow::Result<Self> {
        let path = Self::path(config)?;
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
                config.database_path()?.display(),
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
