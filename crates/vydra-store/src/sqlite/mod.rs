//! The store on SQLite: one writer thread that commits everything waiting at once, readers on their own connections.

mod assets;
mod attempts;
mod audit;
mod backup;
mod callers;
mod chains;
mod checkpoints;
mod credits;
mod deliveries;
mod events;
mod idempotency;
mod jobs;
mod keys;
mod limits;
mod migrations;
mod news;
mod organizations;
mod readers;
mod rows;
mod sessions;
mod transactions;
mod transfer;
mod upkeep;
mod usage;
mod users;
mod webhooks;
mod worker;
mod writer;

use crate::new_job::{Written, begun, fresh};
use crate::store::{
    Cancellation, Claim, Claimed, Creation, Due, EntryFilter, EntryPage, Expired, Grant, JobFilter,
    JobPage, Lease, NewJob, NewOrganization, NewRotation, NewSession, NewUser, Overdue, Recorded,
    Rotation, Settlement, StepRoute, Store, Submission, UserCreation,
};
use crate::{Result, StoreError};
use async_trait::async_trait;
use callers::{Callers, Moved};
use readers::{Readers, reader};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
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
use vydra_core::time::Timestamp;
use vydra_core::usage::{UsageBy, UsageRow};
use vydra_core::user::{Membership, PasswordHash, Role, User};
use writer::{Durability, Writer};

/// 3.51.2 and older can corrupt a write-ahead log when two connections write and checkpoint at the same instant.
const OLDEST_SAFE_SQLITE: i32 = 3_051_003;
/// How long a write waits for another process, such as the command line beside a running server.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const READERS: usize = 4;
/// More than there are, so that none is prepared twice.
const STATEMENTS: usize = 256;

/// The version of SQLite that is compiled in.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// Durable at every commit: write-ahead log with `synchronous=FULL`, but for the few commands that say otherwise.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    callers: Arc<Callers>,
    pepper: Pepper,
}

impl SqliteStore {
    /// Opens or creates the database and brings its schema up to date. `fresh_pepper` is kept only in a new database.
    pub fn open(path: &Path, fresh_pepper: &Pepper) -> Result<Self> {
        if rusqlite::version_number() < OLDEST_SAFE_SQLITE {
            return Err(StoreError::Corrupt(format!(
                "SQLite {} can damage a database; 3.51.3 is needed",
                rusqlite::version()
            )));
        }
        let mut connection = connect(path)?;
        migrations::migrate(&mut connection)?;
        let pepper = migrations::pepper(&connection, fresh_pepper)?;
        let readers = Readers::open(path, READERS)?;
        Ok(Self {
            writer: Writer::start(connection)?,
            readers,
            callers: Arc::new(Callers::open(path)?),
            pepper,
        })
    }

    /// Whether there is a database here whose schema [`Self::open`] would change. A server of the older version must not
    /// work on it meanwhile or afterwards: it would go on writing as if nothing had changed.
    pub fn is_outdated(path: &Path) -> Result<bool> {
        migrations::is_outdated(path)
    }

    async fn write<T, F>(&self, command: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Result<T> + Send + 'static,
    {
        self.writer.run(Durability::Disk, command).await
    }

    /// For what changes a key or an organization: every process sees it at its next look-up.
    async fn write_callers<T, F>(&self, command: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Result<T> + Send + 'static,
    {
        let callers = Arc::clone(&self.callers);
        self.writer
            .run_then(Durability::Disk, command, move |_| callers.changed())
            .await
    }

    /// For what moves credits for a job: `moved` tells the balances as they are after it.
    async fn write_moving<T, F, I>(&self, command: F, moved: fn(&T) -> I) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Result<T> + Send + 'static,
        I: IntoIterator<Item = Moved> + 'static,
    {
        let callers = Arc::clone(&self.callers);
        self.writer
            .run_then(Durability::Disk, command, move |done| {
                for moved in moved(done) {
                    callers.publish(&moved);
                }
            })
            .await
    }

    /// For what may be lost with the machine's power, though not with the process.
    async fn write_relaxed<T, F>(&self, command: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Result<T> + Send + 'static,
    {
        self.writer.run(Durability::Process, command).await
    }

    /// A query that finds its rows by a key.
    fn look_up<T>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.readers.look_up(query)
    }

    /// A query that may read many rows.
    async fn scan<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.readers.scan(query).await
    }
}

fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    write_ahead(&connection)?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // What a statement or a savepoint would undo is kept beside: in memory, because nothing of it outlives a transaction.
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Otherwise a statement is planned anew whenever a value that is bound to it might suit another index: at nearly every
    // use, and at several times the cost of the statement itself.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// Switches a new database to the write-ahead log. When several processes create it at once, SQLite refuses all but one
/// without its busy timeout; an empty write waits for that one.
fn write_ahead(connection: &Connection) -> Result<()> {
    const ATTEMPTS: u32 = 50;
    for _ in 0..ATTEMPTS {
        match connection
            .pragma_update(None, "journal_mode", "wal")
            .map_err(StoreError::from)
        {
            Err(StoreError::Busy) => connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK")?,
            switched => return switched,
        }
    }
    Err(StoreError::Busy)
}

#[async_trait]
impl Store for SqliteStore {
    fn pepper(&self) -> Pepper {
        self.pepper.clone()
    }

    async fn check_writable(&self) -> Result<()> {
        self.write(migrations::touch).await
    }

    async fn create_organization(&self, new: NewOrganization) -> Result<Creation<Organization>> {
        self.write(move |db| organizations::create(db, &new)).await
    }

    async fn register_bot(
        &self,
        new: NewOrganization,
        billing_email: &str,
        key: &ApiKey,
        hash: &KeyHash,
    ) -> Result<Creation<Organization>> {
        let (billing_email, key, hash) = (billing_email.to_owned(), key.clone(), hash.clone());
        self.write(move |db| organizations::register_bot(db, &new, &billing_email, &key, &hash))
            .await
    }

    async fn organization(&self, id: &OrgId) -> Result<Option<Organization>> {
        self.look_up(|db| organizations::get(db, id))
    }

    async fn organization_by_name(&self, name: &str) -> Result<Option<Organization>> {
        self.look_up(|db| organizations::by_name(db, name))
    }

    async fn organizations(&self) -> Result<Vec<Organization>> {
        self.scan(organizations::list).await
    }

    async fn set_plan(
        &self,
        id: &OrgId,
        plan: &str,
        overrides: LimitOverrides,
        now: Timestamp,
    ) -> Result<Option<Organization>> {
        let (id, plan) = (id.clone(), plan.to_owned());
        self.write_callers(move |db| organizations::set_plan(db, &id, &plan, overrides, now))
            .await
    }

    async fn create_key(&self, key: &ApiKey, hash: &KeyHash) -> Result<()> {
        let (key, hash) = (key.clone(), hash.clone());
        self.write(move |db| keys::create(db, &key, &hash)).await
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<(ApiKey, Organization)>> {
        self.callers
            .get(hash, || self.look_up(|db| keys::by_hash(db, hash)))
    }

    async fn keys(&self, org: &OrgId) -> Result<Vec<ApiKey>> {
        self.look_up(|db| keys::list(db, org))
    }

    async fn revoke_key(&self, id: &KeyId, now: Timestamp) -> Result<Option<ApiKey>> {
        let id = id.clone();
        self.write_callers(move |db| keys::revoke(db, &id, now))
            .await
    }

    async fn open_jobs(&self, org: &OrgId, mode: Mode) -> Result<u32> {
        self.look_up(|db| credits::open(db, org, mode))
    }

    async fn key(&self, org: &OrgId, id: &KeyId) -> Result<Option<ApiKey>> {
        self.look_up(|db| keys::of(db, org, id))
    }

    async fn key_anywhere(&self, id: &KeyId) -> Result<Option<ApiKey>> {
        self.look_up(|db| keys::get(db, id))
    }

    async fn revoke_key_of(
        &self,
        org: &OrgId,
        id: &KeyId,
        now: Timestamp,
    ) -> Result<Option<ApiKey>> {
        let (org, id) = (org.clone(), id.clone());
        self.write_callers(move |db| keys::revoke_of(db, &org, &id, now))
            .await
    }

    async fn rotate_key(&self, rotation: NewRotation) -> Result<Rotation> {
        self.write_callers(move |db| keys::rotate(db, &rotation))
            .await
    }

    async fn create_user(&self, new: NewUser) -> Result<UserCreation> {
        self.write(move |db| users::create(db, &new)).await
    }

    async fn set_membership(
        &self,
        user: &UserId,
        org: &OrgId,
        role: Role,
        now: Timestamp,
    ) -> Result<bool> {
        let (user, org) = (user.clone(), org.clone());
        self.write(move |db| users::set_membership(db, &user, &org, role, now))
            .await
    }

    async fn user_by_email(&self, email: &str) -> Result<Option<(User, PasswordHash)>> {
        self.look_up(|db| users::by_email(db, email))
    }

    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>> {
        self.look_up(|db| users::memberships(db, user))
    }

    async fn members(&self, org: &OrgId) -> Result<Vec<(User, Role)>> {
        self.look_up(|db| users::members(db, org))
    }

    async fn set_password(
        &self,
        user: &UserId,
        password: &PasswordHash,
        now: Timestamp,
    ) -> Result<bool> {
        let (user, password) = (user.clone(), password.clone());
        self.write(move |db| users::set_password(db, &user, &password, now))
            .await
    }

    async fn create_session(&self, new: NewSession) -> Result<bool> {
        self.write(move |db| sessions::create(db, &new)).await
    }

    async fn session(
        &self,
        mark: &SessionMark,
        now: Timestamp,
    ) -> Result<Option<(User, Role, Organization)>> {
        self.look_up(|db| sessions::get(db, mark, now))
    }

    async fn end_session(&self, mark: &SessionMark) -> Result<bool> {
        let mark = mark.clone();
        self.write(move |db| sessions::end(db, &mark)).await
    }

    async fn grant(&self, grant: Grant) -> Result<Option<Credits>> {
        self.write_callers(move |db| credits::grant(db, &grant))
            .await
    }

    async fn credit_totals(&self, org: &OrgId, mode: Mode) -> Result<CreditTotals> {
        self.look_up(|db| credits::totals(db, org, mode))
    }

    async fn audit(&self) -> Result<Audit> {
        self.scan(audit::audit).await
    }

    async fn transactions(
        &self,
        org: &OrgId,
        mode: Mode,
        filter: EntryFilter,
    ) -> Result<Option<EntryPage>> {
        let org = org.clone();
        self.scan(move |db| transactions::list(db, &org, mode, &filter))
            .await
    }

    async fn usage(
        &self,
        org: &OrgId,
        mode: Mode,
        by: UsageBy,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<UsageRow>> {
        let org = org.clone();
        self.scan(move |db| usage::rows(db, &org, mode, by, from, to))
            .await
    }

    async fn submit_job(&self, new: NewJob) -> Result<Submission> {
        let (written, new) = (Written::of(&new)?, Arc::new(new));
        let shared = Arc::clone(&new);
        let submitted = self
            .write_moving(
                move |db| {
                    let submitted = jobs::submit(db, &shared, &written)?;
                    let moved = submitted.as_ref().ok().map(|accepted| Moved {
                        org: shared.org_id.clone(),
                        mode: shared.mode,
                        credits: accepted.remaining,
                    });
                    Ok((submitted, moved))
                },
                |(_, moved)| moved.clone(),
            )
            .await?
            .0;
        Ok(match submitted {
            // The writer's time is everybody's: whatever can be done elsewhere is.
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
        self.look_up(|db| jobs::get(db, org, id))
    }

    async fn jobs(&self, org: &OrgId, mode: Mode, filter: JobFilter) -> Result<JobPage> {
        let org = org.clone();
        self.scan(move |db| jobs::list(db, &org, mode, &filter))
            .await
    }

    async fn cancel_job(
        &self,
        org: &OrgId,
        id: &JobId,
        entry: EntryId,
        now: Timestamp,
    ) -> Result<Cancellation> {
        let (org, id) = (org.clone(), id.clone());
        let command = move |db: &Connection| jobs::cancel(db, &org, &id, &entry, now);
        Ok(self
            .write_moving(command, |(_, moved)| moved.clone())
            .await?
            .0)
    }

    async fn idempotency(
        &self,
        org: &OrgId,
        mode: Mode,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<IdempotencyRecord>> {
        self.look_up(|db| idempotency::get(db, org, mode, key, now))
    }

    async fn record_answer(
        &self,
        org: &OrgId,
        mode: Mode,
        key: &IdempotencyKey,
        answer: StoredAnswer,
    ) -> Result<Recorded> {
        let (org, key) = (org.clone(), key.clone());
        self.write(move |db| idempotency::record_answer(db, &org, mode, &key, &answer))
            .await
    }

    async fn forget_idempotency(&self, now: Timestamp, limit: u32) -> Result<u64> {
        self.write(move |db| idempotency::forget(db, now, limit))
            .await
    }

    async fn claim_jobs(&self, claim: Claim) -> Result<Claimed> {
        self.write_relaxed(move |db| worker::claim(db, &claim))
            .await
    }

    async fn mark_submitting(
        &self,
        lease: &Lease,
        step: &StepRoute,
        until: Timestamp,
    ) -> Result<()> {
        let (lease, step) = (lease.clone(), step.clone());
        self.write(move |db| worker::mark_submitting(db, &lease, &step, until))
            .await
    }

    async fn record_task(
        &self,
        lease: &Lease,
        step: &StepRoute,
        external_id: &str,
        until: Timestamp,
    ) -> Result<()> {
        let (lease, step, external_id) = (lease.clone(), step.clone(), external_id.to_owned());
        self.write(move |db| worker::record_task(db, &lease, &step, &external_id, until))
            .await
    }

    async fn finish_step(
        &self,
        lease: &Lease,
        step: &StepRoute,
        outputs: Vec<Asset>,
        until: Timestamp,
    ) -> Result<()> {
        let (lease, step) = (lease.clone(), step.clone());
        self.write(move |db| worker::finish_step(db, &lease, &step, &outputs, until))
            .await
    }

    async fn report_progress(
        &self,
        lease: &Lease,
        progress: u8,
        message: Option<&str>,
        until: Timestamp,
    ) -> Result<()> {
        let (lease, message) = (lease.clone(), message.map(str::to_owned));
        self.write_relaxed(move |db| {
            worker::report_progress(db, &lease, progress, message.as_deref(), until)
        })
        .await
    }

    async fn hand_back(&self, lease: &Lease, again_at: Timestamp, forget: &[u32]) -> Result<()> {
        let (lease, forget) = (lease.clone(), forget.to_vec());
        self.write(move |db| worker::hand_back(db, &lease, again_at, &forget))
            .await
    }

    async fn postpone(
        &self,
        lease: &Lease,
        again_at: Timestamp,
        deadline: Timestamp,
        forget: &[u32],
    ) -> Result<()> {
        let (lease, forget) = (lease.clone(), forget.to_vec());
        self.write(move |db| worker::postpone(db, &lease, again_at, deadline, &forget))
            .await
    }

    async fn settle_job(&self, lease: &Lease, settlement: Settlement) -> Result<()> {
        let lease = lease.clone();
        let command = move |db: &Connection| worker::settle(db, &lease, &settlement);
        self.write_moving(command, |moved| [moved.clone()]).await?;
        Ok(())
    }

    async fn expire_jobs(
        &self,
        overdue: Overdue,
        entries: Vec<EntryId>,
        now: Timestamp,
    ) -> Result<Expired> {
        let command = move |db: &Connection| worker::expire(db, &overdue, &entries, now);
        Ok(self
            .write_moving(command, |(_, moves)| moves.clone())
            .await?
            .0)
    }

    async fn keep_late(&self, job: &JobId, outputs: Vec<Asset>) -> Result<bool> {
        let job = job.clone();
        self.write(move |db| worker::keep_late(db, &job, &outputs))
            .await
    }

    async fn late_jobs(&self) -> Result<u64> {
        self.scan(worker::late_jobs).await
    }

    async fn release_leases(&self, now: Timestamp) -> Result<u64> {
        self.write(move |db| worker::release_leases(db, None, now))
            .await
    }

    async fn next_due(&self) -> Result<Due> {
        self.look_up(worker::next_due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both hold for one connection alone, so no other connection can tell whether they are set.
    #[test]
    fn a_connection_is_durable_and_follows_references() {
        let directory = tempfile::tempdir().unwrap();
        let db = connect(&directory.path().join("vydra.db")).unwrap();
        let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        assert_eq!(pragma("synchronous").unwrap(), 2, "FULL");
        assert_eq!(pragma("foreign_keys").unwrap(), 1);
    }
}
