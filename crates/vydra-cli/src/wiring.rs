//! The only place where everything meets.

pub mod concerns;
mod limits;
mod providers;
mod store;
mod transfer;

pub use store::{Purpose, ServerLock};
pub use transfer::{backup, export, import};

use crate::config::{Config, MediaPlace};
use crate::system::{SystemClock, SystemRandom};
use anyhow::Context;
use std::net::SocketAddr;
use std::sync::Arc;
use vydra_core::catalog::Catalog;
use vydra_core::random::Random;
use vydra_engine::{
    AuthSettings, Engine, LimitSettings, Parts, Settings, WebhookSettings, WorkerSettings,
};
use vydra_outbound::fetch::{FetchLimits, InputFetcher};
use vydra_outbound::media::MediaStore;
use vydra_outbound::url_guard::UrlGuard;
use vydra_outbound::webhook::{Courier, WebhookSender};

/// Everything that a command needs, on the data that it was pointed to.
pub async fn engine(config: &Config, purpose: Purpose) -> anyhow::Result<Arc<Engine>> {
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let public_url = match (config.server.public_url.as_str(), purpose) {
        ("", Purpose::Server(address)) => url_of(address),
        ("", _) => url_of(config.server.listen),
        (url, _) => url.to_owned(),
    };
    let catalog = catalog(config)?;
    let parts = Parts {
        store: store::open(config, purpose, random.as_ref()).await?,
        windows: limits::windows(config, purpose).await?,
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
                keep_jobs: config.keep_jobs()?,
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
