//! What we decide. HTTP, the command line and the workers are three doors to the same [`Engine`].
//!
//! No SQL, no statuses, no sockets: the store remembers, the outbound crate calls, the HTTP crate answers.
//!
//! The commonest change: a new thing that a caller can do. Write it in the file of its noun, one store command long, and
//! give each refusal an arm in [`Error`].

mod admission;
mod assets;
mod bells;
mod bots;
mod credits;
mod deliverer;
mod endings;
mod error;
mod events;
mod generate;
mod health;
mod idempotency;
mod inputs;
mod intake;
mod jobs;
mod keys;
mod limits;
mod models;
mod news;
mod organizations;
mod passwords;
mod providers;
mod prune;
mod quotes;
mod routing;
mod sessions;
mod simulate;
mod strangers;
mod streams;
mod throttle;
mod thumbnails;
mod transactions;
mod upkeep;
mod uploads;
mod usage;
mod users;
mod webhooks;
pub mod worker;

pub use admission::{Access, Caller, Credentials, Identity};
pub use assets::{AssetQuery, DeletedAsset, OpenMedia};
pub use bots::{NewBot, RegisteredBot};
pub use deliverer::Deliverer;
pub use error::{Error, Result};
pub use events::{EventQuery, Feed};
pub use generate::{Asked, Preference, Started};
pub use idempotency::{Begun, KeyConflict, Ticket};
pub use jobs::JobQuery;
pub use keys::{CreatedKey, EXPIRY_DAYS, MAX_KEY_NAME, MAX_OVERLAP, NewKey, NewOwnKey, RotatedKey};
pub use limits::{Exceeded, LimitKind, RateLimits, Standing, WindowStanding};
pub use models::ListedModel;
pub use organizations::NewOrganizationRequest;
pub use providers::{CheckedProvider, CheckedRoute, Standing as RouteStanding};
pub use prune::{GRACE, HeldBack, Prune, Pruned, Pruning};
pub use quotes::{Quote, Quoted};
pub use sessions::{LoggedIn, LoginRequest, Person};
pub use streams::{EventKind, JobEvent, JobEvents, Watching};
pub use thumbnails::{has_thumbnail, thumbnail_key};
pub use transactions::{JobCharges, TransactionQuery};
pub use upkeep::SHORTEST_KEPT;
pub use uploads::{Upload, max_upload, no_file, upload_too_large};
pub use usage::{Usage, UsageQuery};
pub use users::{CreatedUser, NewUserRequest};
pub use webhooks::{DeliveryQuery, EndpointUpdate, MAX_DESCRIPTION, MAX_ENDPOINTS, NewEndpoint};

use bells::Bells;
use bots::Registrations;
use deliverer::Lanes;
use endings::{Endings, Running};
use health::Health;
use idempotency::InFlight;
use limits::{Counting, UnwrittenUsage};
use news::Nodes;
use passwords::Passwords;
use routing::Routing;
use sessions::LoginTries;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use strangers::Strangers;
use streams::Streams;
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vydra_core::catalog::Catalog;
use vydra_core::ids::{EntryId, JobId, OrgId};
use vydra_core::job::Job;
use vydra_core::plan::Plans;
use vydra_core::random::Random;
use vydra_core::time::{Clock, Timestamp};
use vydra_core::webhook::RetrySchedule;
use vydra_outbound::fetch::InputFetcher;
use vydra_outbound::media::MediaStore;
use vydra_outbound::registry::Registry;
use vydra_outbound::url_guard::Network;
use vydra_outbound::webhook::Courier;
use vydra_outbound::windows::RedisWindows;
use vydra_store::Store;
use worker::Floor;

/// How many input files are fetched at once: each is held in memory while it is checked.
const FETCHES: usize = 8;
/// How many mebibytes of input files are held for providers at once.
const INPUT_BUDGET_MIB: u32 = 512;

/// Everything that the engine works with, put together by the binary.
#[derive(Debug)]
pub struct Parts {
    pub store: Arc<dyn Store>,
    /// Where requests are counted, if not by the store or in the memory of the one process on it.
    pub windows: Option<RedisWindows>,
    pub catalog: Arc<Catalog>,
    pub providers: Registry,
    pub media: MediaStore,
    pub fetcher: InputFetcher,
    pub webhooks: Arc<dyn Courier>,
    /// How a job is shown, to whoever asks for it and in webhooks; with the address of this server.
    pub show_job: fn(Job, &str) -> serde_json::Value,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub settings: Settings,
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub plans: Plans,
    /// The address under which callers reach this server, without a slash at the end.
    pub public_url: String,
    /// How long a sync call waits before it answers that the job goes on.
    pub sync_wait: Duration,
    pub auth: AuthSettings,
    pub worker: WorkerSettings,
    pub webhooks: WebhookSettings,
    pub limits: LimitSettings,
}

#[derive(Debug, Clone)]
pub struct WebhookSettings {
    pub retries: RetrySchedule,
    /// How long one attempt takes at most.
    pub timeout: Duration,
    /// How many are sent at once.
    pub concurrency: usize,
}

#[derive(Debug, Clone)]
pub struct LimitSettings {
    /// How many requests of one address may come from nobody whom we know.
    pub unauthenticated_per_minute: u32,
    /// Where the proxies stand whose word about a caller's address is taken.
    pub trusted_proxies: Vec<Network>,
}

impl LimitSettings {
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(address))
    }
}

#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// How long a login holds.
    pub session_lifetime: Duration,
    /// Whether agents may register themselves, and the plan that they get.
    pub bot_register: bool,
    pub bot_plan: String,
}

#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// How many jobs run at once in this process.
    pub concurrency: usize,
    /// How long a job waits for its turn at most.
    pub max_wait: Duration,
    /// How long a job stays ours without a sign of life.
    pub lease: Duration,
    pub max_attempts: u32,
    /// How long a stop waits for jobs that run.
    pub drain: Duration,
    /// How long jobs are kept that have ended, if not for ever.
    pub keep_jobs: Option<Duration>,
}

/// The one place of decisions. Cheap to share.
#[derive(Debug)]
pub struct Engine {
    parts: Parts,
    counting: Counting,
    usage: UnwrittenUsage,
    routing: Routing,
    strangers: Strangers,
    passwords: Passwords,
    login_tries: LoginTries,
    registrations: Registrations,
    endings: Arc<Endings>,
    running: Running,
    in_flight: InFlight,
    nodes: Nodes,
    /// Rung whenever something happens to a job, here or, as far as it is heard, elsewhere.
    changes: Arc<Bells<JobId>>,
    /// The same for the end of any job of the organization.
    ends: Arc<Bells<OrgId>>,
    /// Rung when there may be webhooks to send.
    mail: Notify,
    lanes: Lanes,
    streams: Arc<Streams>,
    /// Set when the process is about to stop: nobody shall send it anything more.
    leaving: CancellationToken,
    /// Set when the process stops: streams end, and nothing that waits is begun any more.
    closing: CancellationToken,
    /// Set when the time for ending what has begun is over: whoever waits for a job is told how it stands.
    hurrying: CancellationToken,
    endings_of_files: TaskTracker,
    /// Rung when there is a job to claim.
    work: Notify,
    /// Of the worker that works here, while it takes new jobs.
    floor: std::sync::Mutex<Weak<Floor>>,
    fetches: Semaphore,
    fetch_shares: inputs::FetchShares,
    /// In mebibytes.
    input_budget: Semaphore,
    /// Of pictures that are decoded at once.
    thumbnails: Arc<Semaphore>,
    health: Mutex<Option<(Timestamp, Health)>>,
}

impl Engine {
    pub fn new(mut parts: Parts) -> Arc<Self> {
        let routing = Routing::new(&parts.providers);
        let counting = Counting::of(&mut parts);
        Arc::new(Self {
            strangers: Strangers::new(parts.settings.limits.unauthenticated_per_minute),
            nodes: Nodes::new(parts.random.as_ref()),
            parts,
            counting,
            usage: UnwrittenUsage::default(),
            routing,
            passwords: Passwords::default(),
            login_tries: LoginTries::default(),
            registrations: Registrations::default(),
            endings: Arc::default(),
            running: Running::default(),
            in_flight: InFlight::default(),
            changes: Arc::default(),
            ends: Arc::default(),
            mail: Notify::new(),
            lanes: Lanes::default(),
            streams: Arc::default(),
            leaving: CancellationToken::new(),
            closing: CancellationToken::new(),
            hurrying: CancellationToken::new(),
            endings_of_files: TaskTracker::new(),
            work: Notify::new(),
            floor: std::sync::Mutex::default(),
            fetches: Semaphore::new(FETCHES),
            fetch_shares: inputs::FetchShares::default(),
            input_budget: Semaphore::new(INPUT_BUDGET_MIB as usize),
            thumbnails: Arc::new(Semaphore::new(thumbnails::AT_ONCE)),
            health: Mutex::new(None),
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.parts.settings
    }

    pub fn catalog(&self) -> &Catalog {
        &self.parts.catalog
    }

    fn store(&self) -> &dyn Store {
        self.parts.store.as_ref()
    }

    pub fn now(&self) -> Timestamp {
        self.clock().now()
    }

    fn clock(&self) -> &dyn Clock {
        self.parts.clock.as_ref()
    }

    fn random(&self) -> &dyn Random {
        self.parts.random.as_ref()
    }

    fn new_entry(&self) -> EntryId {
        EntryId::new(self.now(), self.random())
    }
}
