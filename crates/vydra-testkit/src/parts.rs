//! What the engine of a server of tests is made of.

use crate::app::{PUBLIC_URL, Setup};
use crate::faults::{FaultyCourier, Life};
use crate::faulty_files::FaultyFiles;
use crate::plans::plans;
use crate::web::Names;
use crate::{ManualClock, SeededRandom};
use object_store::memory::InMemory;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use vydra_core::catalog::{Catalog, DEFAULT};
use vydra_engine::{Parts, Settings};
use vydra_outbound::fetch::{FetchLimits, InputFetcher};
use vydra_outbound::media::MediaStore;
use vydra_outbound::registry::Registry;
use vydra_outbound::url_guard::{Network, UrlGuard};
use vydra_outbound::webhook::{Courier, WebhookSender};
use vydra_outbound::windows::RedisWindows;
use vydra_store::Store;

/// Of a server without providers, whose time stands still.
pub fn parts(setup: &Setup, store: Arc<dyn Store>, folder: &Path) -> Parts {
    Parts {
        windows: None,
        store,
        catalog: catalog(&setup.catalog),
        providers: Registry::default(),
        media: MediaStore::folder(&folder.join("media")).unwrap(),
        fetcher: fetcher(setup),
        webhooks: courier(setup, None),
        show_job: setup.show_job,
        clock: Arc::<ManualClock>::default(),
        random: Arc::new(SeededRandom::new(setup.seed)),
        settings: settings(setup),
    }
}

/// By the clock of the test.
pub(crate) fn windows(setup: &Setup, clock: &Arc<ManualClock>) -> Option<RedisWindows> {
    let windows = RedisWindows::new(setup.redis.clone()?).unwrap();
    Some(windows.by(Arc::clone(clock) as _))
}

pub(crate) fn settings(setup: &Setup) -> Settings {
    Settings {
        plans: plans(),
        public_url: PUBLIC_URL.to_owned(),
        sync_wait: setup.sync_wait,
        auth: setup.auth.clone(),
        worker: setup.worker.clone(),
        webhooks: setup.webhooks.clone(),
        limits: setup.limits.clone(),
    }
}

/// To read and to compile it takes longer than most tests do otherwise.
pub(crate) fn catalog(own: &str) -> Arc<Catalog> {
    static KNOWN: Mutex<BTreeMap<String, Arc<Catalog>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let catalog = known.entry(own.to_owned()).or_insert_with(|| {
        let texts = [("catalog.default.toml", DEFAULT), ("test.toml", own)];
        Arc::new(Catalog::load(texts).unwrap())
    });
    Arc::clone(catalog)
}

pub(crate) fn fetcher(setup: &Setup) -> InputFetcher {
    let limits = FetchLimits {
        connect: Duration::from_millis(500),
        headers: Duration::from_secs(1),
        idle: Duration::from_secs(1),
        total: Duration::from_secs(2),
        ..FetchLimits::default()
    };
    let guard = UrlGuard::new(networks(&setup.readable));
    InputFetcher::with_lookup(guard, limits, Names).unwrap()
}

fn networks(list: &[&str]) -> Vec<Network> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

pub(crate) fn courier(setup: &Setup, life: Option<&Life>) -> Arc<dyn Courier> {
    let inner: Arc<dyn Courier> = if let Some(mailbox) = &setup.mailbox {
        Arc::clone(mailbox) as _
    } else {
        let guard = UrlGuard::new(networks(&setup.receivers));
        let timeout = setup.webhooks.timeout;
        Arc::new(WebhookSender::with_lookup(guard, timeout, None, Names).unwrap())
    };
    match life {
        Some(life) => Arc::new(FaultyCourier {
            inner,
            life: life.clone(),
        }),
        None => inner,
    }
}

pub(crate) fn media(folder: &Path, memory: &Arc<InMemory>, life: Option<&Life>) -> MediaStore {
    match life {
        // Parts so small that the little files of proofs go the way of large ones.
        Some(life) => MediaStore::over(
            Arc::new(FaultyFiles {
                inner: Arc::clone(memory) as _,
                life: life.clone(),
            }),
            32,
        ),
        None => MediaStore::folder(&folder.join("media")).unwrap(),
    }
}
