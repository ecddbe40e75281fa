//! A fresh store, and the values that the tests hand to it: times, ids and random bytes are all made here.

use crate::backend;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinSet;
use vydra_core::api_key::{ApiKey, KeyHash, KeySecret};
use vydra_core::asset::{Asset, AssetRole, MediaKind};
use vydra_core::catalog::Pricing;
use vydra_core::credits::Credits;
use vydra_core::error_code::ErrorCode;
use vydra_core::ids::{
    AssetId, DeliveryId, EndpointId, EntryId, EventId, JobId, KeyId, OrgId, UserId,
};
use vydra_core::job::{Action, Call, Failure, Job, Mode, PROCESSING_LIMIT, Script};
use vydra_core::organization::Organization;
use vydra_core::plan::LimitOverrides;
use vydra_core::random::{Random, letters_and_digits};
use vydra_core::scope::GrantedScopes;
use vydra_core::session::{SessionMark, SessionToken};
use vydra_core::time::{Clock, Timestamp};
use vydra_core::user::{PasswordHash, Role, User};
use vydra_core::webhook::WebhookSecret;
use vydra_store::Store;
use vydra_store::store::{
    Claim, ClaimedJob, Creation, Grant, LeaseToken, NewJob, NewOrganization, NewRotation,
    NewSession, NewUser, Outcome, Overdue, Settlement, Share, StepRoute, Submission, UserCreation,
};

pub(crate) const LEASE: Duration = Duration::from_mins(1);
pub(crate) const MANY_JOBS: u32 = 1_000_000;
/// For jobs that may wait as long as they like.
pub(crate) const FOREVER: Timestamp = Timestamp::from_micros(i64::MAX);

/// An empty store, of the database that runs the suite.
pub(crate) async fn fresh() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let store = backend::open(directory.path()).await;
    Fixture::over(store, directory)
}

/// Asserts that the books agree in every way that we know.
pub(crate) async fn check(f: Fixture) {
    assert_eq!(f.store.audit().await.unwrap().imbalances, []);
    for org in f.store.organizations().await.unwrap() {
        for mode in Mode::ALL {
            let totals = f.store.credit_totals(&org.id, mode).await.unwrap();
            assert_eq!(totals.remaining, org.credits(mode).get(), "{org:?}");
        }
    }
}

/// Runs them all in parallel. The answers come in the order in which they finished.
pub(crate) async fn at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    tasks.into_iter().collect::<JoinSet<T>>().join_all().await
}

/// Every look is a millisecond later than the one before, so that an order in time is never a tie.
#[derive(Debug)]
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(1_000, Ordering::SeqCst))
    }
}

#[derive(Debug)]
struct Seeded(AtomicU64);

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            // SplitMix64.
            let mut word = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst);
            word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            chunk.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) store: Arc<dyn Store>,
    clock: Ticking,
    random: Seeded,
    pub(crate) directory: TempDir,
}

impl Fixture {
    pub(crate) fn over(store: Arc<dyn Store>, directory: TempDir) -> Self {
        Self {
            store,
            clock: Ticking(AtomicI64::new(1_800_000_000_000_000)),
            random: Seeded(AtomicU64::new(42)),
            directory,
        }
    }

    /// As another process has it: a second store on the same database.
    pub(crate) async fn another(&self) -> Arc<dyn Store> {
        backend::open(self.directory.path()).await
    }

    /// Changes the database behind the store's back.
    pub(crate) fn execute(&self, sql: &str) {
        backend::execute(self.directory.path(), sql);
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn advance(&self, span: Duration) {
        let micros = i64::try_from(span.as_micros()).unwrap();
        self.clock.0.fetch_add(micros, Ordering::SeqCst);
    }

    pub(crate) fn org_id(&self) -> OrgId {
        OrgId::new(self.now(), &self.random)
    }

    pub(crate) fn job_id(&self) -> JobId {
        JobId::new(self.now(), &self.random)
    }

    pub(crate) fn key_id(&self) -> KeyId {
        KeyId::new(self.now(), &self.random)
    }

    pub(crate) fn asset_id(&self) -> AssetId {
        AssetId::new(self.now(), &self.random)
    }

    pub(crate) fn endpoint_id(&self) -> EndpointId {
        EndpointId::new(self.now(), &self.random)
    }

    pub(crate) fn delivery_id(&self) -> DeliveryId {
        DeliveryId::new(self.now(), &self.random)
    }

    pub(crate) fn event_id(&self) -> EventId {
        EventId::new(self.now(), &self.random)
    }

    pub(crate) fn webhook_secret(&self) -> WebhookSecret {
        WebhookSecret::generate(&self.random)
    }

    pub(crate) fn entry(&self) -> EntryId {
        EntryId::new(self.now(), &self.random)
    }

    pub(crate) fn entries(&self, count: usize) -> Vec<EntryId> {
        (0..count).map(|_| self.entry()).collect()
    }

    pub(crate) fn tokens(&self, count: usize) -> Vec<LeaseToken> {
        (0..count)
            .map(|_| LeaseToken(letters_and_digits(&self.random, 22)))
            .collect()
    }

    // --- Organizations, keys, credits ---

    pub(crate) fn new_org(&self, name: &str, live: i64, test: i64) -> NewOrganization {
        NewOrganization {
            id: self.org_id(),
            name: name.to_owned(),
            plan: "free".to_owned(),
            overrides: LimitOverrides::default(),
            live: (self.entry(), credits(live)),
            test: (self.entry(), credits(test)),
            reason: "welcome".to_owned(),
            now: self.now(),
        }
    }

    /// An organization with this many live credits, and none for tests.
    pub(crate) async fn org(&self, live: i64) -> Organization {
        let name = letters_and_digits(&self.random, 12);
        self.org_of(self.new_org(&name, live, 0)).await
    }

    pub(crate) async fn org_of(&self, new: NewOrganization) -> Organization {
        match self.store.create_organization(new).await.unwrap() {
            Creation::Created(org) => org,
            Creation::NameTaken => panic!("the name is taken"),
        }
    }

    pub(crate) fn new_key(&self, org: &OrgId) -> (ApiKey, KeyHash) {
        let secret = KeySecret::generate(Mode::Live, "acme", &self.random);
        let key = ApiKey {
            id: self.key_id(),
            org_id: org.clone(),
            name: "a key".to_owned(),
            shown_prefix: secret.shown_prefix(),
            mode: Mode::Live,
            scopes: GrantedScopes::everything(),
            created_at: self.now(),
            expires_at: None,
            revoked_at: None,
            user_id: None,
            origin_id: None,
            request_count: 0,
            last_used_at: None,
        };
        (key, secret.hash(&self.store.pepper()))
    }

    pub(crate) fn new_rotation(&self, old: &ApiKey, until: Timestamp) -> NewRotation {
        let (new, hash) = self.new_key(&old.org_id);
        NewRotation {
            org_id: old.org_id.clone(),
            old: old.id.clone(),
            new: new.id,
            shown_prefix: new.shown_prefix,
            hash,
            user_id: None,
            until,
            now: self.now(),
        }
    }

    // --- People and sessions ---

    pub(crate) fn user_id(&self) -> UserId {
        UserId::new(self.now(), &self.random)
    }

    pub(crate) fn new_user(&self, email: &str, org: &OrgId, role: Role) -> NewUser {
        NewUser {
            id: self.user_id(),
            email: email.to_owned(),
            password: first_password(),
            org_id: org.clone(),
            role,
            now: self.now(),
        }
    }

    pub(crate) async fn user(&self, email: &str, org: &OrgId) -> User {
        let new = self.new_user(email, org, Role::Owner);
        match self.store.create_user(new).await.unwrap() {
            UserCreation::Created(user) => user,
            UserCreation::EmailTaken => panic!("the email is taken"),
        }
    }

    pub(crate) fn mark(&self) -> SessionMark {
        SessionToken::generate(&self.random).mark(&self.store.pepper())
    }

    /// An hour long.
    pub(crate) fn new_session(&self, user: &User, org: &OrgId) -> NewSession {
        let now = self.now();
        NewSession {
            mark: self.mark(),
            user_id: user.id.clone(),
            org_id: org.clone(),
            password: first_password(),
            replaces: None,
            expires_at: now.plus(Duration::from_hours(1)),
            now,
        }
    }

    /// A session that has begun.
    pub(crate) async fn session(&self, user: &User, org: &OrgId) -> SessionMark {
        let new = self.new_session(user, org);
        let mark = new.mark.clone();
        assert!(self.store.create_session(new).await.unwrap());
        mark
    }

    /// Whether somebody is logged in under this mark.
    pub(crate) async fn is_open(&self, mark: &SessionMark) -> bool {
        let found = self.store.session(mark, self.now()).await.unwrap();
        found.is_some()
    }

    pub(crate) fn new_grant(&self, org: &OrgId, mode: Mode, amount: i64) -> Grant {
        Grant {
            id: self.entry(),
            org_id: org.clone(),
            mode,
            amount: credits(amount),
            reason: "a present".to_owned(),
            now: self.now(),
        }
    }

    pub(crate) async fn balance(&self, org: &OrgId, mode: Mode) -> i64 {
        let org = self.store.organization(org).await.unwrap().unwrap();
        org.credits(mode).get()
    }

    pub(crate) async fn live_balance(&self, org: &OrgId) -> i64 {
        self.balance(org, Mode::Live).await
    }

    // --- Jobs ---

    pub(crate) fn new_job(&self, org: &OrgId, price: i64) -> NewJob {
        NewJob {
            id: self.job_id(),
            org_id: org.clone(),
            key_id: None,
            mode: Mode::Live,
            workflow: None,
            input: document(&json!({"prompt": "a fox"})),
            call: Call {
                no_fallback: false,
                model: "pixel-1".to_owned(),
                kind: MediaKind::Image,
                action: Action::Generate,
                outputs: 4,
                input: document(&json!({"prompt": "a fox", "count": 4})),
                steps: Vec::new(),
                script: Script::default(),
                pricing: Pricing::default(),
            },
            takes_in: Vec::new(),
            price: credits(price),
            webhook_url: None,
            entry: self.entry(),
            concurrent: MANY_JOBS,
            idempotency: None,
            start_by: FOREVER,
            start: None,
            now: self.now(),
        }
    }

    pub(crate) async fn accepted(&self, new: NewJob) -> Job {
        match self.store.submit_job(new).await.unwrap() {
            Submission::Accepted { job, .. } => *job,
            refused => panic!("refused: {refused:?}"),
        }
    }

    /// A job that waits.
    pub(crate) async fn job(&self, org: &OrgId, price: i64) -> Job {
        self.accepted(self.new_job(org, price)).await
    }

    /// The job as its organization sees it.
    pub(crate) async fn look(&self, job: &Job) -> Job {
        let found = self.store.job(&job.org_id, &job.id).await.unwrap();
        found.unwrap()
    }

    /// Whatever organization holds how many places already.
    pub(crate) fn new_claim(&self, mode: Mode, count: usize, now: Timestamp) -> Claim {
        Claim {
            mode,
            tokens: self.tokens(count),
            free: count,
            held: Vec::new(),
            share: Share(u32::MAX),
            now,
            lease: LEASE,
            limit: PROCESSING_LIMIT,
        }
    }

    /// Live jobs as of `now`.
    pub(crate) async fn claim_at(&self, count: usize, now: Timestamp) -> Vec<ClaimedJob> {
        let claim = self.new_claim(Mode::Live, count, now);
        let claimed = self.store.claim_jobs(claim).await.unwrap();
        assert_eq!(claimed.unreadable, []);
        claimed.jobs
    }

    /// Live jobs first, then those of the sandbox.
    pub(crate) async fn claim(&self, count: usize) -> Vec<ClaimedJob> {
        let mut claimed = self.claim_at(count, self.now()).await;
        let rest = self.new_claim(Mode::Test, count - claimed.len(), self.now());
        claimed.extend(self.store.claim_jobs(rest).await.unwrap().jobs);
        claimed
    }

    /// Settles, and says how the job looks afterwards.
    pub(crate) async fn settle(&self, held: &ClaimedJob, how: Settlement) -> Job {
        self.store.settle_job(&held.lease, how).await.unwrap();
        self.look(&held.job).await
    }

    /// A job that one worker runs: the only one that can be claimed.
    pub(crate) async fn running(&self, org: &OrgId, price: i64) -> ClaimedJob {
        let job = self.job(org, price).await;
        let claimed = self.claim(2).await;
        let [claimed] = <[_; 1]>::try_from(claimed).unwrap();
        assert_eq!(claimed.job.id, job.id);
        claimed
    }

    pub(crate) fn until(&self) -> Timestamp {
        self.now().plus(LEASE)
    }

    pub(crate) fn completed(&self, outputs: Vec<Asset>, refund: i64) -> Settlement {
        Settlement {
            outcome: Outcome::Completed {
                outputs,
                refund: credits(refund),
            },
            provider: None,
            entry: self.entry(),
            now: self.now(),
        }
    }

    pub(crate) fn failed(&self) -> Settlement {
        Settlement {
            outcome: Outcome::Failed(failure()),
            provider: None,
            entry: self.entry(),
            now: self.now(),
        }
    }

    pub(crate) fn output(&self, job: &Job) -> Asset {
        Asset {
            id: self.asset_id(),
            org_id: job.org_id.clone(),
            mode: job.mode,
            job_id: Some(job.id.clone()),
            role: AssetRole::Output,
            kind: MediaKind::Image,
            media_type: "image/png".to_owned(),
            storage_key: letters_and_digits(&self.random, 30),
            bytes: 1_234,
            dimensions: Some((64, 32)),
            duration_ms: None,
            filename: None,
            upload_key: None,
            has_thumbnail: true,
            created_at: self.now(),
        }
    }
}

/// Of every user, until it is changed.
pub(crate) fn first_password() -> PasswordHash {
    PasswordHash::new("$argon2id$first".to_owned())
}

pub(crate) fn credits(amount: i64) -> Credits {
    Credits::new(amount).unwrap()
}

pub(crate) fn document(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

pub(crate) fn failure() -> Failure {
    Failure {
        code: ErrorCode::GenerationFailed,
        message: "The model refused".to_owned(),
        reason: "content_policy".to_owned(),
        retryable: true,
    }
}

pub(crate) fn timeout() -> Failure {
    Failure {
        code: ErrorCode::ProcessingTimeout,
        message: "It took too long".to_owned(),
        reason: "processing_timeout".to_owned(),
        retryable: true,
    }
}

/// How jobs are ended whose time is over.
pub(crate) fn overdue() -> Overdue {
    Overdue {
        waiting: Failure {
            reason: "queue_timeout".to_owned(),
            ..timeout()
        },
        processing: timeout(),
    }
}

/// The only step of a single call.
pub(crate) fn asked(route: u32, provider: &str) -> StepRoute {
    StepRoute {
        step: 0,
        route,
        provider: provider.to_owned(),
    }
}
