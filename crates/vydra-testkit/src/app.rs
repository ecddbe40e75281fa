//! The whole application but its doors: a store and a media folder of its own, an engine, and a worker.

use crate::database::{self, Backend, Database};
use crate::faults::{Faults, FaultyProvider, FaultyStore, Life};
use crate::mailbox::Mailbox;
use crate::parts;
use crate::provider::ScriptedProvider;
use crate::redis;
use crate::{ManualClock, SeededRandom};
use object_store::memory::InMemory;
use object_store::path::Path as Location;
use object_store::{GetOptions, ObjectStore};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vydra_core::api_key::Pepper;
use vydra_core::credits::Credits;
use vydra_core::job::{Job, Mode};
use vydra_core::organization::Organization;
use vydra_core::user::{Password, Role, User};
use vydra_core::webhook::RetrySchedule;
use vydra_engine::worker::Worker;
use vydra_engine::{
    Access, AuthSettings, Caller, Credentials, Deliverer, Engine, LimitSettings, NewKey,
    NewOrganizationRequest, NewUserRequest, Parts, WebhookSettings, WorkerSettings,
};
use vydra_outbound::fetch::InputFetcher;
use vydra_outbound::provider::Provider;
use vydra_outbound::providers::sandbox::Sandbox;
use vydra_outbound::registry::{Bounds, Registry};
use vydra_outbound::windows::RedisAddress;
use vydra_store::Store;

/// The address that the application believes to have.
pub const PUBLIC_URL: &str = "https://vydra.test";

/// Of every user whom a test makes.
pub const PASSWORD: &str = "correct horse battery";

/// What can differ from one test to another.
#[derive(Debug, Clone)]
pub struct Setup {
    /// TOML that is laid over the compiled-in catalogue.
    pub catalog: String,
    /// Whether the scripted provider may be asked twice.
    pub repeatable: bool,
    /// Whether it serves every model that has no other route.
    pub fallback: bool,
    /// Providers under names that the catalogue's routes know.
    pub others: Vec<Arc<ScriptedProvider>>,
    /// What each of them is allowed.
    pub bounds: Bounds,
    /// The bounds of the one that serves everything, if it is called over the network, too.
    pub hosted: Option<Bounds>,
    /// Private networks that inputs may be fetched from.
    pub readable: Vec<&'static str>,
    /// Private networks that webhooks may be sent to.
    pub receivers: Vec<&'static str>,
    pub webhooks: WebhookSettings,
    /// In place of the network.
    pub mailbox: Option<Arc<Mailbox>>,
    /// Whether webhooks are sent in the background.
    pub deliverer: bool,
    /// How a job is shown in webhooks.
    pub show_job: fn(Job, &str) -> Value,
    pub sync_wait: Duration,
    pub auth: AuthSettings,
    pub worker: WorkerSettings,
    pub limits: LimitSettings,
    /// Where requests are counted, if not by the store.
    pub redis: Option<RedisAddress>,
    /// In place of the scripted provider: serves every model that has no other route, and draws for the sandbox.
    pub provider: Option<Arc<dyn Provider>>,
    /// With these, every command of the store and every call of a provider and of the files passes through them, and the files
    /// are kept in memory.
    pub faults: Option<Arc<Faults>>,
    /// In place of one of its own, which reads the certificates of the system.
    pub fetcher: Option<InputFetcher>,
    /// Where the folder of the data is made; the system's own place when there is none.
    pub place: Option<PathBuf>,
    /// What its database is of.
    pub backend: Backend,
    /// A file to begin with a copy of.
    pub template: Option<PathBuf>,
    /// Where chance begins.
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            catalog: String::new(),
            repeatable: true,
            fallback: true,
            others: Vec::new(),
            bounds: Bounds::default(),
            hosted: None,
            readable: Vec::new(),
            receivers: Vec::new(),
            webhooks: WebhookSettings {
                retries: RetrySchedule([5, 30, 300].map(Duration::from_secs).to_vec()),
                timeout: Duration::from_secs(20),
                concurrency: 16,
            },
            mailbox: None,
            deliverer: true,
            show_job: |job, _public_url| json!({"id": job.id, "status": job.status}),
            sync_wait: Duration::from_secs(20),
            auth: AuthSettings {
                session_lifetime: Duration::from_hours(720),
                bot_register: false,
                bot_plan: "free".to_owned(),
            },
            worker: WorkerSettings {
                concurrency: 4,
                max_wait: Duration::from_hours(1),
                lease: Duration::from_mins(1),
                max_attempts: 3,
                drain: Duration::ZERO,
                keep_jobs: None,
            },
            limits: LimitSettings {
                unauthenticated_per_minute: 60,
                trusted_proxies: Vec::new(),
            },
            redis: redis::chosen(),
            provider: None,
            faults: None,
            fetcher: None,
            place: None,
            backend: Backend::chosen(),
            template: None,
            seed: 1,
        }
    }
}

/// Dropping it adds up the books, and panics where they do not agree.
#[derive(Debug)]
pub struct TestApp {
    pub clock: Arc<ManualClock>,
    pub random: Arc<SeededRandom>,
    pub provider: Arc<ScriptedProvider>,
    /// Without faults, whatever the set-up says: for looking.
    pub store: Arc<dyn Store>,
    pub engine: Arc<Engine>,
    /// Changes take effect at the next [`Self::restart`].
    pub setup: Setup,
    worker: Worker,
    deliverer: Deliverer,
    background: CancellationToken,
    working: Mutex<Option<TaskTracker>>,
    memory: Arc<InMemory>,
    life: Option<Life>,
    database: Database,
    folder: TempDir,
}

/// What a new process makes of the data.
struct Started {
    store: Arc<dyn Store>,
    engine: Arc<Engine>,
    life: Option<Life>,
}

impl TestApp {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::default();
        change(&mut setup);
        let (clock, random) = (Arc::default(), Arc::new(SeededRandom::new(setup.seed)));
        let provider = ScriptedProvider::new("scripted", setup.repeatable);
        let folder = match &setup.place {
            Some(place) => tempfile::tempdir_in(place).unwrap(),
            None => tempfile::tempdir().unwrap(),
        };
        // There is no way to skip one test, and all of this process miss the same: they end here, as passed.
        let database = Database::new(setup.backend, folder.path());
        let database = database.unwrap_or_else(|| std::process::exit(0));
        if let (Some(template), Database::Sqlite(path)) = (&setup.template, &database) {
            std::fs::copy(template, path).unwrap();
        }
        let memory = Arc::new(InMemory::new());
        let place = (folder.path(), &database);
        let started = start(place, &setup, &clock, &random, &provider, &memory);
        Self {
            worker: Worker::new(Arc::clone(&started.engine)),
            deliverer: Deliverer::new(Arc::clone(&started.engine)),
            background: CancellationToken::new(),
            working: Mutex::default(),
            clock,
            random,
            provider,
            store: started.store,
            engine: started.engine,
            life: started.life,
            setup,
            memory,
            database,
            folder,
        }
    }

    /// A new process on the same data, after the old one has written down what it still knew.
    pub async fn restart(&mut self) {
        self.engine.flush_usage().await.unwrap();
        self.crash().await;
    }

    /// A new process on the same data: it takes over what the dead one left.
    pub async fn crash(&mut self) {
        self.try_crash().await.unwrap();
    }

    /// The same where the start may fail.
    pub async fn try_crash(&mut self) -> vydra_engine::Result<()> {
        if let Some(life) = &self.life {
            life.end();
        }
        self.background.cancel();
        self.background = CancellationToken::new();
        let started = start(
            (self.folder.path(), &self.database),
            &self.setup,
            &self.clock,
            &self.random,
            &self.provider,
            &self.memory,
        );
        (self.store, self.engine, self.life) = (started.store, started.engine, started.life);
        self.engine.load_usage().await?;
        self.worker = Worker::new(Arc::clone(&self.engine));
        self.worker.take_over().await?;
        self.deliverer = Deliverer::new(Arc::clone(&self.engine));
        self.deliverer.take_over().await
    }

    /// Works until `moment`, and then dies as a process does: nothing that runs comes to its end.
    pub async fn crash_at(&mut self, moment: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = moment => {}
            _ = self.step() => panic!("the work was done before the crash"),
        }
        self.crash().await;
    }

    /// Every job that can be claimed now is run to the end of its attempt, one after the other. Says how many.
    pub async fn step(&self) -> usize {
        self.worker.step().await.unwrap()
    }

    /// Every webhook that is due now is tried once, one after the other. Says how many.
    pub async fn deliver(&self) -> usize {
        self.deliverer.step().await.unwrap()
    }

    /// A worker and a deliverer in the background, until the application is dropped or restarted.
    pub fn work(&self) {
        let tasks = TaskTracker::new();
        let worker = Worker::new(Arc::clone(&self.engine));
        tasks.spawn(worker.run(self.background.clone()));
        if self.setup.deliverer {
            let deliverer = Deliverer::new(Arc::clone(&self.engine));
            tasks.spawn(deliverer.run(self.background.clone()));
        }
        *self.working.lock().unwrap() = Some(tasks);
    }

    /// Until the worker in the background has stopped as it does at the end of a process, and what is known of usage is
    /// written down.
    pub async fn stop_working(&mut self) {
        self.background.cancel();
        self.background = CancellationToken::new();
        let working = self.working.lock().unwrap().take();
        if let Some(worker) = working {
            worker.close();
            worker.wait().await;
        }
        // What cannot be written is lost with the process.
        let _ = self.engine.flush_usage().await;
    }

    /// The same, until `stop`; the answer ends when the worker has.
    pub fn work_until(&self, stop: CancellationToken) -> impl Future<Output = ()> + use<> {
        let worker = Worker::new(Arc::clone(&self.engine));
        let tasks = TaskTracker::new();
        tasks.spawn(worker.run(stop));
        tasks.close();
        async move { tasks.wait().await }
    }

    /// An organization with the limits of `enterprise`.
    pub async fn org(&self, name: &str, credits: i64) -> Organization {
        self.org_on("enterprise", name, credits).await
    }

    pub async fn org_on(&self, plan: &str, name: &str, credits: i64) -> Organization {
        let new = NewOrganizationRequest {
            name: name.to_owned(),
            plan: plan.to_owned(),
            credits: Credits::new(credits).unwrap(),
        };
        self.engine.create_organization(new).await.unwrap()
    }

    /// The key's secret.
    pub async fn key(&self, org: &Organization, scopes: &[&str], mode: Mode) -> String {
        let new = NewKey {
            organization: org.id.clone(),
            name: "test".to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            expires_in_days: None,
            mode,
        };
        let created = self.engine.create_key(new).await.unwrap();
        created.secret.reveal().to_owned()
    }

    /// Somebody who can log in with [`PASSWORD`].
    pub async fn user(&self, org: &Organization, email: &str, role: Role) -> User {
        let new = NewUserRequest {
            email: email.to_owned(),
            password: Some(Password::new(PASSWORD.to_owned())),
            organization: org.id.clone(),
            role,
        };
        self.engine.create_user(new).await.unwrap().user
    }

    pub async fn caller(&self, key: &str) -> Caller {
        let header = format!("Bearer {key}");
        let credentials = Credentials {
            authorization: Some(&header),
            ..Credentials::default()
        };
        self.engine
            .authenticate(Access::Public, credentials)
            .await
            .unwrap()
    }

    /// A caller of the organization who may do everything.
    pub async fn caller_of(&self, org: &Organization, mode: Mode) -> Caller {
        let key = self.key(org, &["*"], mode).await;
        self.caller(&key).await
    }

    pub async fn balance(&self, org: &Organization, mode: Mode) -> i64 {
        let totals = self.engine.credit_totals(&org.id, mode).await.unwrap();
        totals.remaining
    }

    /// Takes a file out of the media folder, as an operator's slip would.
    pub fn lose_file(&self, storage_key: &str) {
        std::fs::remove_file(self.media_folder().join(storage_key)).unwrap();
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    pub fn media_folder(&self) -> PathBuf {
        self.folder.path().join("media")
    }

    /// The size of a file that is kept in memory; None for one that is not.
    pub async fn size_in_memory(&self, storage_key: &str) -> Option<u64> {
        let location = Location::from(storage_key);
        let found = self.memory.get_opts(&location, GetOptions::default()).await;
        Some(found.ok()?.meta.size)
    }

    /// Every file in the media folder, those that are being written too.
    pub fn media_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.media_folder()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path);
                }
            }
        }
        files
    }

    /// From here on no file can be written or read, as on a disk that went away.
    pub fn break_media(&self) {
        let media = self.media_folder();
        std::fs::rename(&media, self.folder.path().join("away")).unwrap();
        std::fs::write(&media, "no folder").unwrap();
    }

    /// Takes [`Self::break_media`] back.
    pub fn mend_media(&self) {
        let media = self.media_folder();
        std::fs::remove_file(&media).unwrap();
        std::fs::rename(self.folder.path().join("away"), media).unwrap();
    }

    /// The job as it stands.
    pub async fn job(&self, job: &Job) -> Job {
        let found = self.store.job(&job.org_id, &job.id).await.unwrap();
        found.expect("a job is never lost")
    }
}

impl Default for TestApp {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.background.cancel();
        if std::thread::panicking() {
            return;
        }
        // Whoever sets faults says when they are over, and audits then.
        if self.life.is_none() {
            let store = Arc::clone(&self.store);
            // The test's own runtime may be busy with this very call.
            let audit = database::apart(async move { store.audit().await }).unwrap();
            assert!(
                audit.imbalances.is_empty(),
                "the books do not agree: {:#?}",
                audit.imbalances
            );
        }
        self.database.give_back();
    }
}

fn start(
    (folder, database): (&Path, &Database),
    setup: &Setup,
    clock: &Arc<ManualClock>,
    random: &Arc<SeededRandom>,
    provider: &Arc<ScriptedProvider>,
    memory: &Arc<InMemory>,
) -> Started {
    let life = setup.faults.as_ref().map(Life::new);
    let pepper = Pepper::generate(random.as_ref());
    let store = database.open(&pepper, Arc::clone(clock) as _);
    let provider: Arc<dyn Provider> = match &setup.provider {
        Some(own) => Arc::clone(own),
        None => Arc::clone(provider) as _,
    };
    let provider = match &life {
        Some(life) => Arc::new(FaultyProvider {
            inner: provider,
            life: life.clone(),
        }),
        None => provider,
    };
    let mut providers = Registry::default();
    for other in &setup.others {
        providers.add_hosted(Arc::clone(other) as _, setup.bounds);
    }
    if setup.fallback {
        providers.set_fallback(Arc::clone(&provider));
    } else {
        providers.add(Arc::clone(&provider));
    }
    if let Some(bounds) = setup.hosted {
        providers.add_hosted(Arc::clone(&provider), bounds);
    }
    providers.set_sandbox(Arc::new(Sandbox::new(provider)));
    let engine = Engine::new(Parts {
        windows: parts::windows(setup, clock),
        store: match &life {
            Some(life) => Arc::new(FaultyStore {
                inner: Arc::clone(&store),
                life: life.clone(),
            }),
            None => Arc::clone(&store),
        },
        catalog: parts::catalog(&setup.catalog),
        providers,
        media: parts::media(folder, memory, life.as_ref()),
        fetcher: setup
            .fetcher
            .clone()
            .unwrap_or_else(|| parts::fetcher(setup)),
        webhooks: parts::courier(setup, life.as_ref()),
        show_job: setup.show_job,
        clock: Arc::clone(clock) as _,
        random: Arc::clone(random) as _,
        settings: parts::settings(setup),
    });
    // Looked at without faults, and in one poll as well: a paused clock must not leap while a test looks.
    let store: Arc<dyn Store> = match &life {
        Some(_) => Arc::new(FaultyStore {
            inner: store,
            life: Life::new(&Arc::default()),
        }),
        None => store,
    };
    Started {
        store,
        engine,
        life,
    }
}
