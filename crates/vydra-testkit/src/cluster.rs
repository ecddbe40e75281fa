//! Several servers on one Postgres, each with an engine of its own. They share what is outside: the clock, the provider, the
//! folder of the files, and where webhooks go.

use crate::app::Setup;
use crate::parts::{parts, windows};
use crate::postgres::Postgres;
use crate::wire::Wire;
use crate::{ManualClock, ScriptedProvider, SeededRandom};
use std::sync::Arc;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vydra_core::api_key::Pepper;
use vydra_engine::worker::Worker;
use vydra_engine::{Deliverer, Engine, Parts};
use vydra_outbound::registry::Registry;
use vydra_store::store::{Hearing, NewsFeed};
use vydra_store::{PostgresStore, Store};

#[derive(Debug)]
pub struct Cluster {
    pub clock: Arc<ManualClock>,
    pub random: Arc<SeededRandom>,
    pub provider: Arc<ScriptedProvider>,
    setup: Setup,
    url: String,
    folder: TempDir,
}

/// A server.
#[derive(Debug)]
pub struct Node {
    pub engine: Arc<Engine>,
    pub store: Arc<dyn Store>,
    hears: Option<Hearing>,
    hearing: TaskTracker,
    stop_hearing: CancellationToken,
    working: TaskTracker,
    stop_working: CancellationToken,
}

impl Cluster {
    /// None where there is no Postgres.
    pub fn new(change: impl FnOnce(&mut Setup)) -> Option<Self> {
        let mut setup = Setup::default();
        change(&mut setup);
        Some(Self {
            clock: Arc::default(),
            random: Arc::new(SeededRandom::new(setup.seed)),
            provider: ScriptedProvider::new("scripted", setup.repeatable),
            url: Postgres::shared()?.database(),
            folder: tempfile::tempdir().unwrap(),
            setup,
        })
    }

    /// Starts a server that answers.
    pub async fn node(&self) -> Node {
        self.node_at(&self.url, true).await
    }

    /// The same, with the network between it and the database.
    pub async fn node_behind_a_wire(&self) -> (Node, Wire) {
        let port = Postgres::shared().unwrap().port();
        let wire = Wire::to(port).await;
        let node = self.node_at(&wire.address(&self.url), true).await;
        (node, wire)
    }

    /// Breaks the connections over which the servers hear, and none of the others.
    pub fn deafen_all(&self) {
        Postgres::shared().unwrap().hang_up_on_ears(&self.url);
    }

    /// The same, which neither tells the others anything nor hears of them.
    pub async fn deaf_node(&self) -> Node {
        self.node_at(&self.url, false).await
    }

    async fn node_at(&self, url: &str, listens: bool) -> Node {
        let pepper = Pepper::generate(self.random.as_ref());
        let store: Arc<dyn Store> = Arc::new(
            PostgresStore::open(&url.parse().unwrap(), &pepper)
                .await
                .unwrap()
                .windows_by(Arc::clone(&self.clock) as _),
        );
        let engine = Engine::new(self.parts(Arc::clone(&store)));
        let (hearing, stop_hearing) = (TaskTracker::new(), CancellationToken::new());
        let mut hears = None;
        if listens {
            let feed = engine.listen().await.unwrap();
            hears = feed.as_ref().map(NewsFeed::hearing);
            let (engine, stop) = (Arc::clone(&engine), stop_hearing.clone());
            hearing.spawn(async move { engine.hear(feed, stop).await });
        }
        hearing.close();
        Node {
            engine,
            store,
            hears,
            hearing,
            stop_hearing,
            working: TaskTracker::new(),
            stop_working: CancellationToken::new(),
        }
    }

    fn parts(&self, store: Arc<dyn Store>) -> Parts {
        let mut providers = Registry::default();
        providers.set_fallback(Arc::clone(&self.provider) as _);
        Parts {
            windows: windows(&self.setup, &self.clock),
            providers,
            clock: Arc::clone(&self.clock) as _,
            random: Arc::clone(&self.random) as _,
            ..parts(&self.setup, store, self.folder.path())
        }
    }
}

impl Node {
    /// Whether it misses what the others tell.
    pub fn is_deaf(&self) -> bool {
        self.hears.as_ref().is_none_or(Hearing::is_deaf)
    }

    /// Works too, and sends webhooks.
    pub async fn work(&self) {
        let worker = Worker::new(Arc::clone(&self.engine));
        worker.take_over().await.unwrap();
        self.working.spawn(worker.run(self.stop_working.clone()));
        let deliverer = Deliverer::new(Arc::clone(&self.engine));
        self.working.spawn(deliverer.run(self.stop_working.clone()));
    }

    /// What has begun is ended or handed back.
    pub async fn stop_working(&self) {
        self.stop_working.cancel();
        self.working.close();
        self.working.wait().await;
    }

    /// As a server stops: the same, and the last of it is told.
    pub async fn stop(self) {
        self.stop_working().await;
        self.stop_hearing.cancel();
        self.hearing.wait().await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop_working.cancel();
        self.stop_hearing.cancel();
    }
}
