//! The list of things that can happen to our data, and what each one promises.

mod assets;
mod attempts;
mod limits;
mod news;
mod upkeep;
mod webhooks;
mod worker;

pub use assets::{AssetFilter, AssetPage, AssetStore, Deleted};
pub use attempts::{AttemptFilter, AttemptStore, ProviderAttempt};
pub use limits::{Admission, KeyAdmission, KeyUse, LimitStore, RequestCounter, Usage};
pub use news::{Hearing, JobChange, News, NewsFeed, NewsStore, NodeId};
pub use upkeep::{Old, PruneAt, PruneCounts, PruneStep, UpkeepStore};
pub use webhooks::{
    ClaimedDeliveries, ClaimedDelivery, DeliveryClaim, DeliveryFilter, DeliveryOutcome,
    DeliveryPage, EndpointChange, Event, Lane, NewNotice, Resending, Settled, SettledDelivery,
    WebhookStore,
};
pub use worker::{
    Claim, Claimed, ClaimedJob, Due, Expired, Lease, LeaseToken, Outcome, Overdue, PriorStep,
    Settlement, Share, Start, StepRoute,
};

use crate::Result;
use async_trait::async_trait;
use serde_json::{Map, Value};
use vydra_core::api_key::{ApiKey, KeyHash, Pepper};
use vydra_core::asset::Asset;
use vydra_core::credits::Credits;
use vydra_core::idempotency::{Fingerprint, IdempotencyKey, IdempotencyRecord, StoredAnswer};
use vydra_core::ids::{AssetId, EntryId, JobId, KeyId, OrgId, UserId};
use vydra_core::job::{Call, Job, JobStatus, Mode};
use vydra_core::ledger::{Audit, CreditTotals, Entry, EntryKind};
use vydra_core::organization::Organization;
use vydra_core::plan::LimitOverrides;
use vydra_core::session::SessionMark;
use vydra_core::time::Timestamp;
use vydra_core::usage::{UsageBy, UsageRow};
use vydra_core::user::{Membership, PasswordHash, Role, User};

#[async_trait]
pub trait Store:
    AssetStore
    + AttemptStore
    + LimitStore
    + NewsStore
    + UpkeepStore
    + WebhookStore
    + Send
    + Sync
    + std::fmt::Debug
{
    /// The secret under which keys are marked; the same for every process on this database.
    fn pepper(&self) -> Pepper;

    /// Ok when a write reaches the disk.
    async fn check_writable(&self) -> Result<()>;

    // --- Organizations ---

    /// Creates an organization with its two balances and, for each that is not zero, the grant that explains it.
    async fn create_organization(&self, new: NewOrganization) -> Result<Creation<Organization>>;
    /// The same for an agent that registers itself, with the address of whoever pays and its first key: all or nothing.
    async fn register_bot(
        &self,
        new: NewOrganization,
        billing_email: &str,
        key: &ApiKey,
        hash: &KeyHash,
    ) -> Result<Creation<Organization>>;
    async fn organization(&self, id: &OrgId) -> Result<Option<Organization>>;
    async fn organization_by_name(&self, name: &str) -> Result<Option<Organization>>;
    async fn organizations(&self) -> Result<Vec<Organization>>;
    /// None when there is no such organization. Erases no usage.
    async fn set_plan(
        &self,
        id: &OrgId,
        plan: &str,
        overrides: LimitOverrides,
        now: Timestamp,
    ) -> Result<Option<Organization>>;

    // --- Keys ---

    async fn create_key(&self, key: &ApiKey, hash: &KeyHash) -> Result<()>;
    /// The key with this mark and its organization, as they are now: a revocation by any process is seen.
    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<(ApiKey, Organization)>>;
    async fn keys(&self, org: &OrgId) -> Result<Vec<ApiKey>>;
    /// None when there is no such key. A key that is already revoked keeps its first time.
    async fn revoke_key(&self, id: &KeyId, now: Timestamp) -> Result<Option<ApiKey>>;
    /// None also for a key of another organization.
    async fn key(&self, org: &OrgId, id: &KeyId) -> Result<Option<ApiKey>>;
    /// For the operator: of whatever organization.
    async fn key_anywhere(&self, id: &KeyId) -> Result<Option<ApiKey>>;
    /// [`Self::revoke_key`] for a caller: touches no key of another organization.
    async fn revoke_key_of(
        &self,
        org: &OrgId,
        id: &KeyId,
        now: Timestamp,
    ) -> Result<Option<ApiKey>>;
    /// Puts a new key beside an active one of its organization and lets the old one live until `until` at most. The new
    /// one expires when the old one would have: nobody lengthens a life by it, also not with several rotations at once.
    async fn rotate_key(&self, rotation: NewRotation) -> Result<Rotation>;

    // --- People ---

    /// Creates a user with the first membership, or neither.
    async fn create_user(&self, new: NewUser) -> Result<UserCreation>;
    /// A membership that is there already keeps its beginning and takes the role. False when there is no such user or
    /// organization.
    async fn set_membership(
        &self,
        user: &UserId,
        org: &OrgId,
        role: Role,
        now: Timestamp,
    ) -> Result<bool>;
    /// By the email's one spelling.
    async fn user_by_email(&self, email: &str) -> Result<Option<(User, PasswordHash)>>;
    /// Where a user belongs, oldest first.
    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>>;
    /// Who belongs to an organization, oldest user first.
    async fn members(&self, org: &OrgId) -> Result<Vec<(User, Role)>>;
    /// Ends all sessions of the user too: whoever held the old password is out. False when there is no such user.
    async fn set_password(
        &self,
        user: &UserId,
        password: &PasswordHash,
        now: Timestamp,
    ) -> Result<bool>;

    // --- Sessions ---

    /// Begins a session and ends the one that it replaces. False, and nothing done, when the user's password is no longer
    /// the one that was verified, or the user does not belong to the organization.
    async fn create_session(&self, new: NewSession) -> Result<bool>;
    /// Whose session this is, as they are now; None when it has ended or expired.
    async fn session(
        &self,
        mark: &SessionMark,
        now: Timestamp,
    ) -> Result<Option<(User, Role, Organization)>>;
    /// False when there is none.
    async fn end_session(&self, mark: &SessionMark) -> Result<bool>;

    // --- Limits ---

    /// How many jobs of the organization have not ended: what [`Self::submit_job`] looks at.
    async fn open_jobs(&self, org: &OrgId, mode: Mode) -> Result<u32>;

    // --- Credits ---

    /// Adds credits and the ledger row that explains them. None when there is no such organization.
    async fn grant(&self, grant: Grant) -> Result<Option<Credits>>;
    /// What the ledger's rows add up to, kept with the balance; [`Self::audit`] proves that they do.
    async fn credit_totals(&self, org: &OrgId, mode: Mode) -> Result<CreditTotals>;
    /// Adds everything up again and lists each place where the books do not agree.
    async fn audit(&self) -> Result<Audit>;
    /// Rows of the ledger, the newest first. None when the cursor is not one of this organization and mode.
    async fn transactions(
        &self,
        org: &OrgId,
        mode: Mode,
        filter: EntryFilter,
    ) -> Result<Option<EntryPage>>;
    /// What happened from `from` up to and without `to`, from one snapshot: the credits of all rows together are those by
    /// which [`Self::credit_totals`] moved.
    async fn usage(
        &self,
        org: &OrgId,
        mode: Mode,
        by: UsageBy,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<UsageRow>>;

    // --- Jobs, from the caller's side ---

    /// Takes the price, creates the job and remembers its idempotency key, or changes nothing at all.
    async fn submit_job(&self, new: NewJob) -> Result<Submission>;
    /// None also for a job of another organization.
    async fn job(&self, org: &OrgId, id: &JobId) -> Result<Option<Job>>;
    async fn jobs(&self, org: &OrgId, mode: Mode, filter: JobFilter) -> Result<JobPage>;
    /// Ends the job at once, whatever state it is in, with its refund. The worker that runs it loses its lease.
    async fn cancel_job(
        &self,
        org: &OrgId,
        id: &JobId,
        entry: EntryId,
        now: Timestamp,
    ) -> Result<Cancellation>;

    // --- Idempotency ---

    /// What is remembered of a key and has not expired.
    async fn idempotency(
        &self,
        org: &OrgId,
        mode: Mode,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<IdempotencyRecord>>;
    /// Remembers the answer of the request that made this job. The first answer stays: a later one changes nothing.
    async fn record_answer(
        &self,
        org: &OrgId,
        mode: Mode,
        key: &IdempotencyKey,
        answer: StoredAnswer,
    ) -> Result<Recorded>;
    /// Removes at most `limit` keys that have expired, the oldest first. Says how many.
    async fn forget_idempotency(&self, now: Timestamp, limit: u32) -> Result<u64>;

    // --- Jobs, from the worker's side. Each write bears the lease's token; without it, `LeaseLost` ---

    /// Takes at most as many jobs as there are tokens, each under its own: first those whose lease has expired, then those
    /// that wait, in their turn. Organizations take turns, and one that holds its share of the places is passed over. The
    /// first claim of a job replaces the deadline of its waiting by that of its processing.
    ///
    /// May be lost with the machine's power, though not with the process: the job waits again then.
    async fn claim_jobs(&self, claim: Claim) -> Result<Claimed>;
    /// Written down before a provider is asked for a step: from here on the purchase may have happened.
    async fn mark_submitting(
        &self,
        lease: &Lease,
        step: &StepRoute,
        until: Timestamp,
    ) -> Result<()>;
    /// The provider has taken the step, under this name.
    async fn record_task(
        &self,
        lease: &Lease,
        step: &StepRoute,
        external_id: &str,
        until: Timestamp,
    ) -> Result<()>;
    /// Keeps what a step has made for the steps behind it: no later attempt runs it again.
    async fn finish_step(
        &self,
        lease: &Lease,
        step: &StepRoute,
        outputs: Vec<Asset>,
        until: Timestamp,
    ) -> Result<()>;
    /// Extends the lease; the progress shown never goes back.
    async fn report_progress(
        &self,
        lease: &Lease,
        progress: u8,
        message: Option<&str>,
        until: Timestamp,
    ) -> Result<()>;
    /// Hands the job back: claimable from `again_at` on. Of the steps in `forget` nothing was bought: they begin anew.
    async fn hand_back(&self, lease: &Lease, again_at: Timestamp, forget: &[u32]) -> Result<()>;
    /// Hands a job back of which nothing was bought, as if it had not been claimed: claimable from `again_at` on, and with at
    /// least until `deadline`. The steps in `forget` begin anew.
    async fn postpone(
        &self,
        lease: &Lease,
        again_at: Timestamp,
        deadline: Timestamp,
        forget: &[u32],
    ) -> Result<()>;
    /// Ends the job: its final state, the refund of what was not delivered, the assets and the event, together.
    async fn settle_job(&self, lease: &Lease, settlement: Settlement) -> Result<()>;
    /// Fails, with its refund, every job that has waited or run for too long; at most as many as there are entries.
    async fn expire_jobs(
        &self,
        overdue: Overdue,
        entries: Vec<EntryId>,
        now: Timestamp,
    ) -> Result<Expired>;
    /// Keeps what came after its job had ended, for the operator alone: it changes neither the job nor any credits. False,
    /// and nothing kept, when the job has not ended.
    async fn keep_late(&self, job: &JobId, outputs: Vec<Asset>) -> Result<bool>;
    /// How many jobs have something that came after their end.
    async fn late_jobs(&self) -> Result<u64>;
    /// For the start of a node, which has begun to listen: voids every lease, and nothing at all while another node is here.
    async fn release_leases(&self, now: Timestamp) -> Result<u64>;
    /// When a worker has something to do next without being woken.
    async fn next_due(&self) -> Result<Due>;
}

#[derive(Debug, Clone)]
pub struct NewOrganization {
    pub id: OrgId,
    pub name: String,
    pub plan: String,
    pub overrides: LimitOverrides,
    pub live: (EntryId, Credits),
    pub test: (EntryId, Credits),
    pub reason: String,
    pub now: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Creation<T> {
    Created(T),
    NameTaken,
}

/// What is decided of a new key; the rest it takes from the old one.
#[derive(Debug, Clone)]
pub struct NewRotation {
    pub org_id: OrgId,
    pub old: KeyId,
    pub new: KeyId,
    pub shown_prefix: String,
    pub hash: KeyHash,
    /// Who asked for it; None leaves it with the person of the old one.
    pub user_id: Option<UserId>,
    pub until: Timestamp,
    pub now: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Rotation {
    Rotated {
        new: Box<ApiKey>,
        old: Box<ApiKey>,
    },
    /// Revoked or expired: nothing was made.
    NotActive,
    NotFound,
}

#[derive(Debug, Clone)]
pub struct NewUser {
    pub id: UserId,
    /// In its one spelling.
    pub email: String,
    pub password: PasswordHash,
    pub org_id: OrgId,
    pub role: Role,
    pub now: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub enum UserCreation {
    Created(User),
    EmailTaken,
}

#[derive(Debug, Clone)]
pub struct NewSession {
    pub mark: SessionMark,
    pub user_id: UserId,
    pub org_id: OrgId,
    /// As it was when the password was verified.
    pub password: PasswordHash,
    /// The session that the request came with.
    pub replaces: Option<SessionMark>,
    pub expires_at: Timestamp,
    pub now: Timestamp,
}

#[derive(Debug, Clone)]
pub struct Grant {
    pub id: EntryId,
    pub org_id: OrgId,
    pub mode: Mode,
    pub amount: Credits,
    pub reason: String,
    pub now: Timestamp,
}

#[derive(Debug, Clone)]
pub struct NewJob {
    pub id: JobId,
    pub org_id: OrgId,
    pub key_id: Option<KeyId>,
    pub mode: Mode,
    pub workflow: Option<String>,
    pub input: Map<String, Value>,
    pub call: Call,
    /// The stored files that it takes in, each once.
    pub takes_in: Vec<AssetId>,
    pub price: Credits,
    /// Where its end is told, besides the endpoints of the organization.
    pub webhook_url: Option<String>,
    pub entry: EntryId,
    /// How many jobs of the organization may be open at once, this one counted.
    pub concurrent: u32,
    pub idempotency: Option<NewIdempotency>,
    /// When it is to have begun at the latest.
    pub start_by: Timestamp,
    /// Of whoever has a place for it: it begins at once, unless another job waits for such a place.
    pub start: Option<Start>,
    pub now: Timestamp,
}

/// A key to be remembered with the job that it buys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIdempotency {
    pub key: IdempotencyKey,
    pub fingerprint: Fingerprint,
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Submission {
    /// The key has bought a job before: nothing was done.
    KeyTaken(Box<IdempotencyRecord>),
    Accepted {
        /// As it was taken: pending.
        job: Box<Job>,
        remaining: Credits,
        /// As it runs, when it has begun.
        begun: Option<Box<ClaimedJob>>,
    },
    InsufficientCredits {
        available: Credits,
    },
    TooManyJobs {
        open: u32,
    },
    /// This file was deleted before the job could take it in.
    InputGone(AssetId),
}

/// What became of an answer that was to be remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    Now,
    /// There is an earlier answer, and it stays.
    Already(StoredAnswer),
    /// The key is no longer remembered.
    Forgotten,
}

#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    pub kind: Option<EntryKind>,
    pub job: Option<JobId>,
    pub limit: u32,
    pub offset: u32,
    /// Only rows behind this one in the list.
    pub after: Option<EntryId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPage {
    pub entries: Vec<Entry>,
    /// How many the filter finds in all.
    pub count: u64,
}

#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    pub status: Option<JobStatus>,
    pub workflow: Option<String>,
    pub limit: u32,
    pub offset: u32,
    /// Only jobs behind this one in the list; it makes a page cheap however deep it lies.
    pub after: Option<JobId>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct JobPage {
    pub jobs: Vec<Job>,
    /// How many the filter finds in all.
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Cancellation {
    /// Ended by this command.
    Now(Box<Job>),
    /// Ended by an earlier cancel: nothing more was refunded.
    Already(Box<Job>),
    /// Ended in another way.
    Ended(Box<Job>),
    NotFound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    Recorded,
    UploadKeyTaken,
}
