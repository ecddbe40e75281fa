//! Faults on purpose: the store, the providers and the files, each behind a decorator whose every call is a point at which
//! something can go wrong.
//!
//! The product knows nothing of it. A command that [`Store`] gains does not compile before it is a point here.

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::future::pending;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use vydra_core::api_key::{ApiKey, KeyHash, Pepper};
use vydra_core::asset::{Asset, ListedAsset};
use vydra_core::credits::Credits;
use vydra_core::idempotency::{IdempotencyKey, IdempotencyRecord, StoredAnswer};
use vydra_core::ids::{
    AssetId, DeliveryId, EndpointId, EntryId, EventId, JobId, KeyId, OrgId, UserId,
};
use vydra_core::job::{Job, Mode};
use vydra_core::ledger::{Audit, CreditTotals};
use vydra_core::organization::Organization;
use vydra_core::plan::{LimitOverrides, Limits, Plans};
use vydra_core::session::SessionMark;
use vydra_core::time::Timestamp;
use vydra_core::usage::{UsageBy, UsageRow};
use vydra_core::user::{Membership, PasswordHash, Role, User};
use vydra_core::webhook::{Delivery, Endpoint, WebhookSecret, WebhookSecrets};
use vydra_outbound::fetch::FetchError;
use vydra_outbound::provider::{
    Accepted, Context, ErrorKind, Polled, Provider, ProviderError, Request, Submitted,
};
use vydra_outbound::webhook::{Answer, Courier, Message};
use vydra_store::store::{
    Admission, AssetFilter, AssetPage, AssetStore, AttemptFilter, AttemptStore, Cancellation,
    Claim, Claimed, ClaimedDeliveries, Creation, Deleted, DeliveryClaim, DeliveryFilter,
    DeliveryPage, Due, EndpointChange, EntryFilter, EntryPage, Event, Expired, Grant, JobFilter,
    JobPage, KeyAdmission, Lease, LimitStore, NewJob, NewNotice, NewOrganization, NewRotation,
    NewSession, NewUser, News, NewsFeed, NewsStore, NodeId, Old, Overdue, ProviderAttempt, PruneAt,
    PruneCounts, PruneStep, Recorded, Recording, RequestCounter, Resending, Rotation, Settled,
    SettledDelivery, Settlement, StepRoute, Submission, UpkeepStore, Usage, UserCreation,
    WebhookStore,
};
use vydra_store::{Result, Store, StoreError};

/// What goes wrong at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not done, and the caller is told so.
    ErrorBefore,
    /// It is done, and its answer is lost: the caller is told of a failure.
    ErrorAfter,
    /// The process dies before it is done.
    CrashBefore,
    /// The process dies after it was done and before anybody is told.
    CrashAfter,
    /// It is done after this time.
    Delay(Duration),
}

impl Fault {
    /// One of each kind.
    pub const ALL: [Self; 5] = [
        Self::ErrorBefore,
        Self::ErrorAfter,
        Self::CrashBefore,
        Self::CrashAfter,
        Self::Delay(Duration::from_secs(10)),
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ErrorBefore => "error-before",
            Self::ErrorAfter => "error-after",
            Self::CrashBefore => "crash-before",
            Self::CrashAfter => "crash-after",
            Self::Delay(_) => "delay",
        }
    }
}

/// Points that are not commands of the store.
pub const OUTSIDE_POINTS: &[&str] = &[
    "provider.submit",
    "provider.poll",
    "provider.cancel",
    "media.put",
    "media.create",
    "media.read",
    "media.delete",
    "webhook.send",
];

type Plan = Box<dyn FnMut(&'static str) -> Option<Fault> + Send>;
type Listener = Box<dyn FnMut(&'static str, &str) + Send>;

/// What is to go wrong, over all lives of an application.
#[derive(Default)]
pub struct Faults {
    plan: Mutex<Option<Plan>>,
    listener: Mutex<Option<Listener>>,
    calls: Mutex<BTreeMap<&'static str, u64>>,
    crashed: Notify,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faults {
    /// Asked at each call from now on.
    pub fn plan(&self, plan: impl FnMut(&'static str) -> Option<Fault> + Send + 'static) {
        *lock(&self.plan) = Some(Box::new(plan));
    }

    /// The `nth` call of this point from now on, 1 for the next one.
    pub fn at(&self, point: &'static str, nth: u64, fault: Fault) {
        let mut left = nth;
        self.plan(move |reached| {
            if reached != point {
                return None;
            }
            left = left.wrapping_sub(1);
            (left == 0).then_some(fault)
        });
    }

    /// Nothing more goes wrong.
    pub fn clear(&self) {
        *lock(&self.plan) = None;
    }

    /// Told of every call that has come to its end, and how.
    pub fn listen(&self, listener: impl FnMut(&'static str, &str) + Send + 'static) {
        *lock(&self.listener) = Some(Box::new(listener));
    }

    /// How often each point was reached since the last time.
    pub fn take_calls(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut *lock(&self.calls))
    }

    /// Until a fault has ended the process.
    pub async fn crashed(&self) {
        self.crashed.notified().await;
    }

    fn reached(&self, point: &'static str) -> Option<Fault> {
        *lock(&self.calls).entry(point).or_default() += 1;
        lock(&self.plan).as_mut().and_then(|plan| plan(point))
    }

    fn tell(&self, point: &'static str, outcome: &str) {
        if let Some(listener) = lock(&self.listener).as_mut() {
            listener(point, outcome);
        }
    }
}

/// From one start of the application to its end, after which nothing of it does anything any more.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    faults: Arc<Faults>,
    over: Arc<AtomicBool>,
}

impl Life {
    pub(crate) fn new(faults: &Arc<Faults>) -> Self {
        Self {
            faults: Arc::clone(faults),
            over: Arc::default(),
        }
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    async fn die<T>(&self, point: &'static str) -> T {
        self.end();
        self.faults.tell(point, "crash");
        self.faults.crashed.notify_one();
        pending().await
    }

    /// `lost` makes the error: with true, of a call that was done.
    pub(crate) async fn pass<T, E: std::fmt::Display>(
        &self,
        point: &'static str,
        call: impl Future<Output = std::result::Result<T, E>>,
        lost: impl FnOnce(bool) -> E,
    ) -> std::result::Result<T, E> {
        if self.over.load(Ordering::SeqCst) {
            return pending().await;
        }
        let outcome = match self.faults.reached(point) {
            None => call.await,
            Some(Fault::ErrorBefore) => Err(lost(false)),
            Some(Fault::CrashBefore) => self.die(point).await,
            Some(Fault::ErrorAfter) => match call.await {
                Ok(_) => Err(lost(true)),
                failed => failed,
            },
            Some(Fault::CrashAfter) => {
                // Whatever it answered, nobody hears it.
                drop(call.await);
                self.die(point).await
            }
            Some(Fault::Delay(span)) => {
                let _elapsed = tokio::time::timeout(span, pending::<()>()).await;
                if self.over.load(Ordering::SeqCst) {
                    return pending().await;
                }
                call.await
            }
        };
        match &outcome {
            Ok(_) => self.faults.tell(point, "ok"),
            Err(error) => self.faults.tell(point, &error.to_string()),
        }
        outcome
    }
}

/// Runs to its end within one poll. Time that is paused does not move meanwhile, and the order of commands is the order in which
/// they were given, whatever the store's threads do.
async fn at_once<T>(command: impl Future<Output = T>) -> T {
    // Without it the runtime would want its turn in the middle.
    let mut command = pin!(tokio::task::unconstrained(command));
    std::future::poll_fn(move |_| {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = TaskContext::from_waker(&waker);
        loop {
            if let Poll::Ready(answer) = command.as_mut().poll(&mut context) {
                return Poll::Ready(answer);
            }
            std::thread::park();
        }
    })
    .await
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A store that fails where it is told to.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) life: Life,
}

/// One that counts requests, and fails where it is told to.
#[derive(Debug)]
struct FaultyCounter {
    inner: Arc<dyn RequestCounter>,
    life: Life,
}

/// Busy promises that nothing was done.
fn failed(done: bool) -> StoreError {
    if done {
        StoreError::Database("the answer was lost".into())
    } else {
        StoreError::Busy
    }
}

macro_rules! points {
    ($($store:ident for $faulty:ident {
        $(without_fault { $($own:tt)* })?
        $(fn $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*
    })*) => {
        /// Every command of the store, by its name.
        pub const STORE_POINTS: &[&str] = &[$($(stringify!($name),)*)*];

        $(#[async_trait]
        impl $store for $faulty {
            $($($own)*)?

            $(async fn $name(&self, $($argument: $kind),*) -> Result<$answer> {
                let call = at_once(self.inner.$name($($argument),*));
                self.life.pass(stringify!($name), call, failed).await
            })*
        })*
    };
}

points! {
Store for FaultyStore {
    without_fault {
        fn pepper(&self) -> Pepper {
            self.inner.pepper()
        }
    }
    fn check_writable() -> ();
    fn create_organization(new: NewOrganization) -> Creation<Organization>;
    fn register_bot(new: NewOrganization, billing_email: &str, key: &ApiKey, hash: &KeyHash) -> Creation<Organization>;
    fn organization(id: &OrgId) -> Option<Organization>;
    fn organization_by_name(name: &str) -> Option<Organization>;
    fn organizations() -> Vec<Organization>;
    fn set_plan(id: &OrgId, plan: &str, overrides: LimitOverrides, now: Timestamp) -> Option<Organization>;
    fn create_key(key: &ApiKey, hash: &KeyHash) -> ();
    fn key_by_hash(hash: &KeyHash) -> Option<(ApiKey, Organization)>;
    fn keys(org: &OrgId) -> Vec<ApiKey>;
    fn revoke_key(id: &KeyId, now: Timestamp) -> Option<ApiKey>;
    fn key(org: &OrgId, id: &KeyId) -> Option<ApiKey>;
    fn key_anywhere(id: &KeyId) -> Option<ApiKey>;
    fn revoke_key_of(org: &OrgId, id: &KeyId, now: Timestamp) -> Option<ApiKey>;
    fn rotate_key(rotation: NewRotation) -> Rotation;
    fn create_user(new: NewUser) -> UserCreation;
    fn set_membership(user: &UserId, org: &OrgId, role: Role, now: Timestamp) -> bool;
    fn user_by_email(email: &str) -> Option<(User, PasswordHash)>;
    fn memberships(user: &UserId) -> Vec<Membership>;
    fn members(org: &OrgId) -> Vec<(User, Role)>;
    fn set_password(user: &UserId, password: &PasswordHash, now: Timestamp) -> bool;
    fn create_session(new: NewSession) -> bool;
    fn session(mark: &SessionMark, now: Timestamp) -> Option<(User, Role, Organization)>;
    fn end_session(mark: &SessionMark) -> bool;
    fn open_jobs(org: &OrgId, mode: Mode) -> u32;
    fn grant(grant: Grant) -> Option<Credits>;
    fn credit_totals(org: &OrgId, mode: Mode) -> CreditTotals;
    fn audit() -> Audit;
    fn transactions(org: &OrgId, mode: Mode, filter: EntryFilter) -> Option<EntryPage>;
    fn usage(org: &OrgId, mode: Mode, by: UsageBy, from: Timestamp, to: Timestamp) -> Vec<UsageRow>;
    fn submit_job(new: NewJob) -> Submission;
    fn job(org: &OrgId, id: &JobId) -> Option<Job>;
    fn jobs(org: &OrgId, mode: Mode, filter: JobFilter) -> JobPage;
    fn cancel_job(org: &OrgId, id: &JobId, entry: EntryId, now: Timestamp) -> Cancellation;
    fn idempotency(org: &OrgId, mode: Mode, key: &IdempotencyKey, now: Timestamp) -> Option<IdempotencyRecord>;
    fn record_answer(org: &OrgId, mode: Mode, key: &IdempotencyKey, answer: StoredAnswer) -> Recorded;
    fn forget_idempotency(now: Timestamp, limit: u32) -> u64;
    fn claim_jobs(claim: Claim) -> Claimed;
    fn mark_submitting(lease: &Lease, step: &StepRoute, until: Timestamp) -> ();
    fn record_task(lease: &Lease, step: &StepRoute, external_id: &str, until: Timestamp) -> ();
    fn finish_step(lease: &Lease, step: &StepRoute, outputs: Vec<Asset>, until: Timestamp) -> ();
    fn report_progress(lease: &Lease, progress: u8, message: Option<&str>, until: Timestamp) -> ();
    fn hand_back(lease: &Lease, again_at: Timestamp, forget: &[u32]) -> ();
    fn postpone(lease: &Lease, again_at: Timestamp, deadline: Timestamp, forget: &[u32]) -> ();
    fn settle_job(lease: &Lease, settlement: Settlement) -> ();
    fn expire_jobs(overdue: Overdue, entries: Vec<EntryId>, now: Timestamp) -> Expired;
    fn keep_late(job: &JobId, outputs: Vec<Asset>) -> bool;
    fn late_jobs() -> u64;
    fn release_leases(now: Timestamp) -> u64;
    fn next_due() -> Due;
}

LimitStore for FaultyStore {
    without_fault {
        fn request_counter(&self, plans: &Plans, unlisted: Limits) -> Option<Arc<dyn RequestCounter>> {
            let inner = self.inner.request_counter(plans, unlisted)?;
            let life = self.life.clone();
            Some(Arc::new(FaultyCounter { inner, life }))
        }
    }
    fn record_usage(usage: Usage) -> ();
    fn admissions(since: Timestamp) -> Vec<(OrgId, Vec<Timestamp>)>;
}

RequestCounter for FaultyCounter {
    fn admit_key(hash: &KeyHash, now: Timestamp) -> KeyAdmission;
    fn admit(org: &OrgId) -> Option<Admission>;
}

AssetStore for FaultyStore {
    fn record_asset(asset: &Asset) -> Recording;
    fn asset(org: &OrgId, mode: Mode, id: &AssetId) -> Option<Asset>;
    fn asset_by_storage_key(storage_key: &str) -> Option<Asset>;
    fn asset_by_upload_key(org: &OrgId, mode: Mode, upload_key: &str) -> Option<Asset>;
    fn job_input(job: &JobId, id: &AssetId) -> Option<Asset>;
    fn listed_asset(org: &OrgId, mode: Mode, id: &AssetId) -> Option<ListedAsset>;
    fn listed_assets(org: &OrgId, mode: Mode, filter: AssetFilter) -> Option<AssetPage>;
    fn delete_asset(org: &OrgId, mode: Mode, id: &AssetId, now: Timestamp) -> Option<Deleted>;
    fn set_retention(org: &OrgId, keep_assets: Option<Duration>, now: Timestamp) -> Option<Organization>;
    fn expire_assets(now: Timestamp, limit: u32) -> u64;
    fn erasable_assets(after: Option<&AssetId>, limit: u32) -> Vec<Asset>;
    fn record_no_thumbnail(id: &AssetId) -> ();
    fn unnamed_files(storage_keys: Vec<String>) -> Vec<String>;
    fn kept_assets(after: Option<&AssetId>, limit: u32) -> Vec<Asset>;
    fn record_erased(ids: &[AssetId], now: Timestamp) -> ();
}

NewsStore for FaultyStore {
    without_fault {
        fn tell(&self, news: News) {
            self.inner.tell(news);
        }

        async fn listen(&self, node: NodeId) -> Result<Option<NewsFeed>> {
            self.inner.listen(node).await
        }
    }
    fn release_leases_of(node: NodeId, now: Timestamp) -> u64;
}

AttemptStore for FaultyStore {
    fn record_attempt(attempt: &ProviderAttempt) -> ();
    fn attempts(filter: AttemptFilter) -> Vec<ProviderAttempt>;
    fn count_provider_day(provider: &str, credits: Credits, cap: u64, now: Timestamp) -> bool;
    fn uncount_provider_day(provider: &str, credits: Credits, counted_at: Timestamp) -> ();
}

UpkeepStore for FaultyStore {
    fn prune(old: Old, at: PruneAt, limit: u32) -> PruneStep;
    fn prunable(old: Old) -> PruneCounts;
}

WebhookStore for FaultyStore {
    fn webhook_secrets(org: &OrgId, mode: Mode, fresh: &WebhookSecret) -> Option<WebhookSecrets>;
    fn rotate_webhook_secret(org: &OrgId, mode: Mode, fresh: &WebhookSecret, previous_until: Timestamp, now: Timestamp) -> Option<WebhookSecrets>;
    fn create_endpoint(new: &Endpoint, most: u32) -> bool;
    fn endpoints(org: &OrgId, mode: Mode) -> Vec<Endpoint>;
    fn endpoint(org: &OrgId, mode: Mode, id: &EndpointId) -> Option<Endpoint>;
    fn change_endpoint(org: &OrgId, mode: Mode, id: &EndpointId, change: EndpointChange, now: Timestamp) -> Option<Endpoint>;
    fn delete_endpoint(org: &OrgId, mode: Mode, id: &EndpointId, now: Timestamp) -> bool;
    fn deliveries(org: &OrgId, mode: Mode, filter: DeliveryFilter) -> Option<DeliveryPage>;
    fn delivery(org: &OrgId, mode: Mode, id: &DeliveryId) -> Option<Delivery>;
    fn resend_delivery(org: &OrgId, mode: Mode, id: &DeliveryId, now: Timestamp) -> Resending;
    fn send_notice(notice: NewNotice) -> Delivery;
    fn claim_deliveries(claim: DeliveryClaim) -> ClaimedDeliveries;
    fn settle_delivery(settled: SettledDelivery) -> Settled;
    fn release_deliveries(now: Timestamp) -> u64;
    fn next_delivery() -> Option<Timestamp>;
    fn forget_deliveries(lost: Timestamp, old: Timestamp, limit: u32) -> u64;
    fn events(org: &OrgId, mode: Mode, after: Option<&EventId>, limit: u32) -> Option<Vec<Event>>;
    fn last_event(org: &OrgId, mode: Mode) -> Option<EventId>;
}
}

/// A provider behind a connection that fails where it is told to.
#[derive(Debug)]
pub(crate) struct FaultyProvider {
    pub(crate) inner: Arc<dyn Provider>,
    pub(crate) life: Life,
}

/// Before it is sent, nothing was taken; afterwards nobody knows.
fn unheard(done: bool) -> ProviderError {
    if done {
        ProviderError::new(ErrorKind::Unknown, Accepted::Unknown, "the answer was lost")
    } else {
        ProviderError::new(ErrorKind::Unavailable, Accepted::No, "not connected")
    }
}

#[async_trait]
impl Provider for FaultyProvider {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn is_repeatable(&self) -> bool {
        self.inner.is_repeatable()
    }

    async fn submit(
        &self,
        context: &Context,
        request: Request,
    ) -> std::result::Result<Submitted, ProviderError> {
        let call = self.inner.submit(context, request);
        self.life.pass("provider.submit", call, unheard).await
    }

    async fn poll(
        &self,
        context: &Context,
        task: &str,
    ) -> std::result::Result<Polled, ProviderError> {
        let call = self.inner.poll(context, task);
        self.life.pass("provider.poll", call, unheard).await
    }

    async fn cancel(&self, task: &str) {
        let call = async {
            self.inner.cancel(task).await;
            Ok::<_, ProviderError>(())
        };
        // That it may be too late is no failure.
        let _ = self.life.pass("provider.cancel", call, unheard).await;
    }
}

/// A courier that fails where it is told to.
#[derive(Debug)]
pub(crate) struct FaultyCourier {
    pub(crate) inner: Arc<dyn Courier>,
    pub(crate) life: Life,
}

#[async_trait]
impl Courier for FaultyCourier {
    async fn check(&self, url: &str) -> std::result::Result<(), FetchError> {
        // Only looks, and says no to a caller who did nothing wrong when it fails.
        self.inner.check(url).await
    }

    async fn send(
        &self,
        url: &str,
        message: Message<'_>,
    ) -> std::result::Result<Answer, FetchError> {
        // Whether it has arrived is not known to whoever sent it.
        let unreachable = |_done| FetchError::Unreachable;
        let call = self.inner.send(url, message);
        self.life.pass("webhook.send", call, unreachable).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TestApp;

    #[tokio::test]
    async fn the_nth_call_fails_and_the_others_do_not() {
        let faults = Arc::new(Faults::default());
        let app = TestApp::with(|setup| setup.faults = Some(Arc::clone(&faults)));
        faults.at("organizations", 2, Fault::ErrorBefore);
        let mut outcomes = Vec::new();
        for _ in 0..3 {
            outcomes.push(app.engine.organizations().await.is_ok());
        }
        assert_eq!(outcomes, [true, false, true]);
        assert_eq!(faults.take_calls()["organizations"], 3);
    }

    #[tokio::test]
    async fn a_crash_after_the_commit_leaves_what_was_done_and_answers_nobody() {
        let faults = Arc::new(Faults::default());
        let mut app = TestApp::with(|setup| setup.faults = Some(Arc::clone(&faults)));
        faults.at("create_organization", 1, Fault::CrashAfter);
        tokio::select! {
            _ = app.org("acme", 5) => panic!("it was answered"),
            () = faults.crashed() => {}
        }
        app.crash().await;
        let found = app.engine.organizations().await.unwrap();
        assert_eq!(found.len(), 1);
    }
}
