//! The store on Postgres: writes in lanes that commit everything waiting at once, readers on connections of their own.

mod assets;
mod attempts;
mod audit;
mod chains;
mod counter;
mod credits;
mod db;
mod deliveries;
mod events;
mod idempotency;
mod jobs;
mod keys;
mod lanes;
mod limits;
mod migrations;
mod news;
mod organizations;
mod pool;
mod refusal;
mod report;
mod rows;
mod sessions;
mod settings;
mod tls;
mod transactions;
mod transfer;
mod upkeep;
mod usage;
mod users;
mod webhooks;
mod worker;
mod writes;

use crate::Result;
use crate::document::to_json;
use crate::new_job::{Written, begun, fresh};
use crate::store::{
    Cancellation, Claim, Claimed, Creation, Due, EntryFilter, EntryPage, Expired, Grant, JobFilter,
    JobPage, Lease, NewJob, NewOrganization, NewRotation, NewSession, NewUser, NodeId, Overdue,
    Recorded, Rotation, Settlement, StepRoute, Store, Submission, UserCreation,
};
use async_trait::async_trait;
use db::Db;
use lanes::Lanes;
use limits::Forgetting;
use news::Voice;
use pool::{Connector, Pool};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::runtime::Handle;
use vydra_core::api_key::{ApiKey, KeyHash, Pepper};
use vydra_core::asset::Asset;
use vydra_core::credits::Credits;
use vydra_core::idempotency::{IdempotencyKey, IdempotencyRecord, StoredAnswer};
use vydra_core::ids::{EntryId, JobId, KeyId, OrgId, UserId};
use vydra_core::job::{Job, Mode};
use vydra_core::ledger::{Audit, CreditTotals};
use vydra_core::organization::Organization;
use vydra_core::plan::LimitOverrides;
use vydra_core::session::SessionMark;
use vydra_core::time::{Clock, Timestamp};
use vydra_core::usage::{UsageBy, UsageRow};
use vydra_core::user::{Membership, PasswordHash, Role, User};

pub use migrations::Found;
pub use report::PostgresReport;
pub use settings::{PostgresSettings, UrlError};

/// Connections that write for organizations, at most; beside them there is one for chores.
const WRITERS: usize = 4;

/// Durable at every commit, but for the few commands that say otherwise.
#[derive(Debug)]
pub struct PostgresStore {
    connector: Connector,
    lanes: Lanes,
    pool: Pool,
    pepper: Pepper,
    /// Of a server that listens to others.
    voice: OnceLock<Arc<Voice>>,
    /// By which requests are counted; the database's own when there is none.
    clock: Option<Arc<dyn Clock>>,
    forgetting: Arc<Forgetting>,
}

impl PostgresStore {
    /// Looks at a database without changing it.
    pub async fn look(settings: &PostgresSettings) -> Result<Found> {
        migrations::look(&Connector::new(settings)?.connect().await?).await
    }

    /// Over a connection of its own, and without changing anything.
    pub async fn report(settings: &PostgresSettings) -> Result<PostgresReport> {
        report::report(&Connector::new(settings)?.connect().await?).await
    }

    /// How many connections a store makes at most, with what else a server opens: it listens over one, and asks over another
    /// what became of a commit.
    pub fn most_connections(settings: &PostgresSettings) -> usize {
        settings.readers + pool::by_cores(WRITERS) + 1 + counter::connections() + 2
    }

    /// Connects and brings the schema up to date. `fresh_pepper` is kept only in a new database. Connections of readers live on
    /// the runtime that this is called on.
    pub async fn open(settings: &PostgresSettings, fresh_pepper: &Pepper) -> Result<Self> {
        let connector = Connector::new(settings)?;
        let db = connector.connect().await?;
        if migrations::look(&db).await? != Found::Current {
            migrations::migrate(&db).await?;
        }
        let pepper = migrations::pepper(&db, fresh_pepper).await?;
        Ok(Self {
            lanes: Lanes::start(&connector, pool::by_cores(WRITERS) + 1)?,
            pool: Pool::new(connector.clone(), Handle::current(), settings.readers),
            connector,
            pepper,
            voice: OnceLock::new(),
            clock: None,
            forgetting: Arc::default(),
        })
    }

    /// The node that this is, if it listens to others.
    fn node(&self) -> Option<NodeId> {
        self.voice.get().map(|voice| voice.node)
    }

    /// Counts requests by this clock in place of the database's own: for tests, which move time.
    #[must_use]
    pub fn windows_by(self, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock: Some(clock),
            ..self
        }
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn pepper(&self) -> Pepper {
        self.pepper.clone()
    }

    async fn check_writable(&self) -> Result<()> {
        self.write("settings", async |db: &Db| migrations::touch(db).await)
            .await
    }

    async fn create_organization(&self, new: NewOrganization) -> Result<Creation<Organization>> {
        let whose = new.id.as_str().to_owned();
        self.write(&whose, async move |db: &Db| {
            organizations::create(db, &new).await
        })
        .await
    }

    async fn register_bot(
        &self,
        new: NewOrganization,
        billing_email: &str,
        key: &ApiKey,
        hash: &KeyHash,
    ) -> Result<Creation<Organization>> {
        let whose = new.id.as_str().to_owned();
        let (billing_email, key, hash) = (billing_email.to_owned(), key.clone(), hash.clone());
        self.write(&whose, async move |db: &Db| {
            organizations::register_bot(db, &new, &billing_email, &key, &hash).await
        })
        .await
    }

    async fn organization(&self, id: &OrgId) -> Result<Option<Organization>> {
        organizations::get(self.pool.get().await?.db(), id).await
    }

    async fn organization_by_name(&self, name: &str) -> Result<Option<Organization>> {
        organizations::by_name(self.pool.get().await?.db(), name).await
    }

    async fn organizations(&self) -> Result<Vec<Organization>> {
        let snapshot = self.pool.snapshot().await?;
        let found = organizations::list(&snapshot).await;
        snapshot.end(found).await
    }

    async fn set_plan(
        &self,
        id: &OrgId,
        plan: &str,
        overrides: LimitOverrides,
        now: Timestamp,
    ) -> Result<Option<Organization>> {
        let whose = id.as_str().to_owned();
        let (id, plan) = (id.clone(), plan.to_owned());
        self.write(&whose, async move |db: &Db| {
            organizations::set_plan(db, &id, &plan, overrides, now).await
        })
        .await
    }

    async fn create_key(&self, key: &ApiKey, hash: &KeyHash) -> Result<()> {
        let whose = key.org_id.as_str().to_owned();
        let (key, hash) = (key.clone(), hash.clone());
        self.write(&whose, async move |db: &Db| {
            keys::create(db, &key, &hash).await
        })
        .await
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<(ApiKey, Organization)>> {
        keys::by_hash(self.pool.get().await?.db(), hash).await
    }

    async fn keys(&self, org: &OrgId) -> Result<Vec<ApiKey>> {
        keys::list(self.pool.get().await?.db(), org).await
    }

    async fn revoke_key(&self, id: &KeyId, now: Timestamp) -> Result<Option<ApiKey>> {
        let whose = id.as_str().to_owned();
        let id = id.clone();
        self.write(&whose, async move |db: &Db| {
            keys::revoke(db, &id, now).await
        })
        .await
    }

    async fn open_jobs(&self, org: &OrgId, mode: Mode) -> Result<u32> {
        credits::open(self.pool.get().await?.db(), org, mode).await
    }

    async fn key(&self, org: &OrgId, id: &KeyId) -> Result<Option<ApiKey>> {
        keys::of(self.pool.get().await?.db(), org, id).await
    }

    async fn key_anywhere(&self, id: &KeyId) -> Result<Option<ApiKey>> {
        keys::get(self.pool.get().await?.db(), id).await
    }

    async fn revoke_key_of(
        &self,
        org: &OrgId,
        id: &KeyId,
        now: Timestamp,
    ) -> Result<Option<ApiKey>> {
        let whose = org.as_str().to_owned();
        let (org, id) = (org.clone(), id.clone());
        self.write(&whose, async move |db: &Db| {
            keys::revoke_of(db, &org, &id, now).await
        })
        .await
    }

    async fn rotate_key(&self, rotation: NewRotation) -> Result<Rotation> {
        let whose = rotation.org_id.as_str().to_owned();
        self.write(&whose, async move |db: &Db| {
            keys::rotate(db, &rotation).await
        })
        .await
    }

    async fn create_user(&self, new: NewUser) -> Result<UserCreation> {
        let whose = new.email.clone();
        self.write(&whose, async move |db: &Db| users::create(db, &new).await)
            .await
    }

    async fn set_membership(
        &self,
        user: &UserId,
        org: &OrgId,
        role: Role,
        now: Timestamp,
    ) -> Result<bool> {
        let whose = org.as_str().to_owned();
        let (user, org) = (user.clone(), org.clone());
        self.write(&whose, async move |db: &Db| {
            users::set_membership(db, &user, &org, role, now).await
        })
        .await
    }

    async fn user_by_email(&self, email: &str) -> Result<Option<(User, PasswordHash)>> {
        users::by_email(self.pool.get().await?.db(), email).await
    }

    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>> {
        users::memberships(self.pool.get().await?.db(), user).await
    }

    async fn members(&self, org: &OrgId) -> Result<Vec<(User, Role)>> {
        users::members(self.pool.get().await?.db(), org).await
    }

    async fn set_password(
        &self,
        user: &UserId,
        password: &PasswordHash,
        now: Timestamp,
    ) -> Result<bool> {
        let whose = user.as_str().to_owned();
        let (user, password) = (user.clone(), password.clone());
        self.write(&whose, async move |db: &Db| {
            users::set_password(db, &user, &password, now).await
        })
        .await
    }

    async fn create_session(&self, new: NewSession) -> Result<bool> {
        let whose = new.org_id.as_str().to_owned();
        self.write(&whose, async move |db: &Db| {
            sessions::create(db, &new).await
        })
        .await
    }

    async fn session(
        &self,
        mark: &SessionMark,
        now: Timestamp,
    ) -> Result<Option<(User, Role, Organization)>> {
        sessions::get(self.pool.get().await?.db(), mark, now).await
    }

    async fn end_session(&self, mark: &SessionMark) -> Result<bool> {
        let whose = "sessions".to_owned();
        let mark = mark.clone();
        self.write(&whose, async move |db: &Db| sessions::end(db, &mark).await)
            .await
    }

    async fn grant(&self, grant: Grant) -> Result<Option<Credits>> {
        let whose = grant.org_id.as_str().to_owned();
        self.write_balance(&whose, async move |db: &Db| {
            credits::grant(db, &grant).await
        })
        .await
    }

    async fn credit_totals(&self, org: &OrgId, mode: Mode) -> Result<CreditTotals> {
        credits::totals(self.pool.get().await?.db(), org, mode).await
    }

    async fn audit(&self) -> Result<Audit> {
        let snapshot = self.pool.snapshot().await?;
        let found = audit::audit(&snapshot).await;
        snapshot.end(found).await
    }

    async fn transactions(
        &self,
        org: &OrgId,
        mode: Mode,
        filter: EntryFilter,
    ) -> Result<Option<EntryPage>> {
        let snapshot = self.pool.snapshot().await?;
        let found = transactions::list(&snapshot, org, mode, &filter).await;
        snapshot.end(found).await
    }

    async fn usage(
        &self,
        org: &OrgId,
        mode: Mode,
        by: UsageBy,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<UsageRow>> {
        let snapshot = self.pool.snapshot().await?;
        let found = usage::rows(&snapshot, org, mode, by, from, to).await;
        snapshot.end(found).await
    }

    async fn submit_job(&self, new: NewJob) -> Result<Submission> {
        let (written, new) = (Written::of(&new)?, Arc::new(new));
        let submit = jobs::Submit {
            new: Arc::clone(&new),
            written,
        };
        let submitted = self.lanes.join(submit).await?;
        Ok(match submitted {
            Ok(accepted) => {
                let mut new = Arc::unwrap_or_clone(new);
                let start = new.start.take().filter(|_| accepted.begun);
                let job = Box::new(fresh(new));
                Submission::Accepted {
                    begun: start.map(|start| Box::new(begun(&job, start))),
                    remaining: accepted.remaining,
                    job,
                }
            }
            Err(refused) => refused,
        })
    }

    async fn job(&self, org: &OrgId, id: &JobId) -> Result<Option<Job>> {
        jobs::get(self.pool.get().await?.db(), org, id).await
    }

    async fn jobs(&self, org: &OrgId, mode: Mode, filter: JobFilter) -> Result<JobPage> {
        let snapshot = self.pool.snapshot().await?;
        let found = jobs::list(&snapshot, org, mode, &filter).await;
        snapshot.end(found).await
    }

    async fn cancel_job(
        &self,
        org: &OrgId,
        id: &JobId,
        entry: EntryId,
        now: Timestamp,
    ) -> Result<Cancellation> {
        let whose = org.as_str().to_owned();
        let (org, id) = (org.clone(), id.clone());
        self.write_balance(&whose, async move |db: &Db| {
            jobs::cancel(db, &org, &id, &entry, now).await
        })
        .await
    }

    async fn idempotency(
        &self,
        org: &OrgId,
        mode: Mode,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<IdempotencyRecord>> {
        idempotency::get(self.pool.get().await?.db(), org, mode, key, now).await
    }

    async fn record_answer(
        &self,
        org: &OrgId,
        mode: Mode,
        key: &IdempotencyKey,
        answer: StoredAnswer,
    ) -> Result<Recorded> {
        let answering = idempotency::Answering {
            org: org.clone(),
            mode,
            key: key.clone(),
            headers: to_json(&answer.headers)?,
            answer,
        };
        self.lanes.join(answering).await
    }

    async fn forget_idempotency(&self, now: Timestamp, limit: u32) -> Result<u64> {
        self.write("~2 idempotency", async move |db: &Db| {
            idempotency::forget(db, now, limit).await
        })
        .await
    }

    async fn claim_jobs(&self, claim: Claim) -> Result<Claimed> {
        // Most look for work where there is none: nobody need wait for their transactions.
        if !worker::is_worth_it(self.pool.get().await?.db(), &claim).await? {
            return Ok(Claimed::default());
        }
        let has_failed = AtomicBool::new(false);
        self.write_relaxed("~3 claim", async move |db: &Db| {
            worker::claim(db, &claim, has_failed.swap(true, Ordering::Relaxed)).await
        })
        .await
    }

    async fn mark_submitting(
        &self,
        lease: &Lease,
        step: &StepRoute,
        until: Timestamp,
    ) -> Result<()> {
        let working = worker::Working {
            lease: lease.clone(),
            step: step.clone(),
            external_id: None,
            until,
        };
        self.lanes.join(working).await
    }

    async fn record_task(
        &self,
        lease: &Lease,
        step: &StepRoute,
        external_id: &str,
        until: Timestamp,
    ) -> Result<()> {
        let working = worker::Working {
            lease: lease.clone(),
            step: step.clone(),
            external_id: Some(external_id.to_owned()),
            until,
        };
        self.lanes.join(working).await
    }

    async fn finish_step(
        &self,
        lease: &Lease,
        step: &StepRoute,
        outputs: Vec<Asset>,
        until: Timestamp,
    ) -> Result<()> {
        let whose = lease.org.as_str().to_owned();
        let (lease, step) = (lease.clone(), step.clone());
        self.write(&whose, async move |db: &Db| {
            worker::finish_step(db, &lease, &step, &outputs, until).await
        })
        .await
    }

    async fn report_progress(
        &self,
        lease: &Lease,
        progress: u8,
        message: Option<&str>,
        until: Timestamp,
    ) -> Result<()> {
        let sign = worker::SignOfLife {
            lease: lease.clone(),
            progress,
            message: message.map(str::to_owned),
            until,
        };
        self.lanes.join(sign).await
    }

    async fn hand_back(&self, lease: &Lease, again_at: Timestamp, forget: &[u32]) -> Result<()> {
        let whose = lease.org.as_str().to_owned();
        let (lease, forget) = (lease.clone(), forget.to_vec());
        self.write(&whose, async move |db: &Db| {
            worker::hand_back(db, &lease, again_at, &forget).await
        })
        .await
    }

    async fn postpone(
        &self,
        lease: &Lease,
        again_at: Timestamp,
        deadline: Timestamp,
        forget: &[u32],
    ) -> Result<()> {
        let whose = lease.org.as_str().to_owned();
        let (lease, forget) = (lease.clone(), forget.to_vec());
        self.write(&whose, async move |db: &Db| {
            worker::postpone(db, &lease, again_at, deadline, &forget).await
        })
        .await
    }

    async fn settle_job(&self, lease: &Lease, settlement: Settlement) -> Result<()> {
        self.lanes.join(jobs::End::of(lease, settlement)).await
    }

    async fn expire_jobs(
        &self,
        overdue: Overdue,
        entries: Vec<EntryId>,
        now: Timestamp,
    ) -> Result<Expired> {
        self.write("~1 expire", async move |db: &Db| {
            worker::expire(db, &overdue, &entries, now).await
        })
        .await
    }

    async fn keep_late(&self, job: &JobId, outputs: Vec<Asset>) -> Result<bool> {
        let whose = job.as_str().to_owned();
        let job = job.clone();
        self.write(&whose, async move |db: &Db| {
            worker::keep_late(db, &job, &outputs).await
        })
        .await
    }

    async fn late_jobs(&self) -> Result<u64> {
        let snapshot = self.pool.snapshot().await?;
        let found = worker::late_jobs(&snapshot).await;
        snapshot.end(found).await
    }

    async fn release_leases(&self, now: Timestamp) -> Result<u64> {
        let node = self.node();
        self.write("~1 leases", async move |db: &Db| {
            worker::release_leases(db, node, now).await
        })
        .await
    }

    async fn next_due(&self) -> Result<Due> {
        worker::next_due(self.pool.get().await?.db()).await
    }
}
