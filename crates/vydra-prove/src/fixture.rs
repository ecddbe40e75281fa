//! A store alone, and the values that are handed to it: times, ids and chance are made here, from a seed.

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use vydra_core::api_key::Pepper;
use vydra_core::asset::{Asset, AssetRole, MediaKind};
use vydra_core::catalog::Pricing;
use vydra_core::credits::Credits;
use vydra_core::error_code::ErrorCode;
use vydra_core::ids::{AssetId, EntryId, JobId, OrgId};
use vydra_core::job::{Action, Call, Failure, Mode, PROCESSING_LIMIT, Script};
use vydra_core::plan::LimitOverrides;
use vydra_core::random::letters_and_digits;
use vydra_core::time::Timestamp;
use vydra_store::store::{
    Claim, Creation, Lease, LeaseToken, NewJob, NewOrganization, Outcome, Overdue, Settlement,
    Share, Start,
};
use vydra_store::{SqliteStore, Store};
use vydra_testkit::{Database, ManualClock, SeededRandom};

pub(crate) const LEASE: Duration = Duration::from_mins(1);
/// How many outputs each job is paid for.
pub(crate) const OUTPUTS: u32 = 4;
pub(crate) const MANY_JOBS: u32 = 1_000_000;
/// Longer than any history takes.
const FOREVER: Timestamp = Timestamp::from_micros(4_000_000_000_000_000);

#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) database: Database,
    clock: AtomicI64,
    random: SeededRandom,
}

pub(crate) fn credits(amount: i64) -> Credits {
    Credits::new(amount).unwrap_or_default()
}

fn document(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// An empty database, for all those below `place` to begin as its copies: to make each anew takes longer than most cases do.
pub(crate) fn template(place: &Path) -> anyhow::Result<PathBuf> {
    let path = place.join("template.db");
    let first = place.join("first.db");
    let _made = SqliteStore::open(&first, &Pepper::new([7; 32]))?;
    let target = path.to_str().context("a place whose name is text")?;
    rusqlite::Connection::open(&first)?.execute("VACUUM INTO ?1", [target])?;
    Ok(path)
}

impl Fixture {
    /// On a copy of the template.
    pub(crate) fn copied(template: &Path, path: &Path, seed: u64) -> anyhow::Result<Self> {
        std::fs::copy(template, path)?;
        Ok(Self::new(Database::Sqlite(path.to_owned()), seed))
    }

    pub(crate) fn new(database: Database, seed: u64) -> Self {
        Self {
            store: database.open(&Pepper::new([7; 32]), Arc::<ManualClock>::default()),
            database,
            clock: AtomicI64::new(1_800_000_000_000_000),
            random: SeededRandom::new(seed),
        }
    }

    /// Every look is a millisecond later than the one before, so that an order in time is never a tie.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock.fetch_add(1_000, Ordering::SeqCst))
    }

    pub(crate) fn advance(&self, span: Duration) {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        self.clock.fetch_add(micros, Ordering::SeqCst);
    }

    pub(crate) fn entry(&self) -> EntryId {
        EntryId::new(self.now(), &self.random)
    }

    pub(crate) fn entries(&self, count: usize) -> Vec<EntryId> {
        (0..count).map(|_| self.entry()).collect()
    }

    pub(crate) async fn organization(
        &self,
        name: &str,
        live: i64,
        test: i64,
    ) -> anyhow::Result<OrgId> {
        let new = NewOrganization {
            id: OrgId::new(self.now(), &self.random),
            name: name.to_owned(),
            plan: "free".to_owned(),
            overrides: LimitOverrides::default(),
            live: (self.entry(), credits(live)),
            test: (self.entry(), credits(test)),
            reason: "welcome".to_owned(),
            now: self.now(),
        };
        match self.store.create_organization(new).await? {
            Creation::Created(org) => Ok(org.id),
            Creation::NameTaken => bail!("the name {name} is taken"),
        }
    }

    pub(crate) fn new_job(&self, org: &OrgId, mode: Mode, price: i64) -> NewJob {
        NewJob {
            id: JobId::new(self.now(), &self.random),
            org_id: org.clone(),
            key_id: None,
            mode,
            workflow: None,
            input: document(&json!({"prompt": "a fox"})),
            call: Call {
                no_fallback: false,
                model: "pixel-1".to_owned(),
                kind: MediaKind::Image,
                action: Action::Generate,
                outputs: OUTPUTS,
                input: document(&json!({"prompt": "a fox"})),
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

    fn token(&self) -> LeaseToken {
        LeaseToken(letters_and_digits(&self.random, 22))
    }

    /// Of a worker that has a place.
    pub(crate) fn start(&self) -> Start {
        Start {
            token: self.token(),
            lease: LEASE,
            limit: PROCESSING_LIMIT,
        }
    }

    pub(crate) fn claim(&self, mode: Mode, count: usize) -> Claim {
        Claim {
            mode,
            tokens: (0..count).map(|_| self.token()).collect(),
            free: count,
            held: Vec::new(),
            share: Share(u32::MAX),
            now: self.now(),
            lease: LEASE,
            limit: PROCESSING_LIMIT,
        }
    }

    /// So many of its outputs, and the refund of the others.
    pub(crate) fn completed(
        &self,
        lease: &Lease,
        owner: (&OrgId, Mode),
        price: i64,
        delivered: u32,
    ) -> Settlement {
        let outputs = (0..delivered).map(|_| self.output(lease, owner)).collect();
        Settlement {
            outcome: Outcome::Completed {
                outputs,
                refund: credits(price).missing_share(OUTPUTS, delivered),
            },
            provider: None,
            entry: self.entry(),
            now: self.now(),
        }
    }

    fn output(&self, lease: &Lease, (org, mode): (&OrgId, Mode)) -> Asset {
        Asset {
            id: AssetId::new(self.now(), &self.random),
            org_id: org.clone(),
            mode,
            job_id: Some(lease.job.clone()),
            role: AssetRole::Output,
            kind: MediaKind::Image,
            media_type: "image/png".to_owned(),
            storage_key: letters_and_digits(&self.random, 22).to_lowercase(),
            bytes: 1,
            dimensions: None,
            duration_ms: None,
            filename: None,
            upload_key: None,
            has_thumbnail: true,
            created_at: self.now(),
        }
    }

    pub(crate) fn failed(&self) -> Settlement {
        Settlement {
            outcome: Outcome::Failed(failure("content_policy")),
            provider: None,
            entry: self.entry(),
            now: self.now(),
        }
    }

    /// What the store says that there is.
    pub(crate) async fn balance(&self, org: &OrgId, mode: Mode) -> anyhow::Result<i64> {
        let org = self.store.organization(org).await?;
        Ok(org.context("the organization is gone")?.credits(mode).get())
    }
}

pub(crate) fn overdue() -> Overdue {
    Overdue {
        waiting: failure("queue_timeout"),
        processing: failure("timed_out"),
    }
}

fn failure(reason: &str) -> Failure {
    Failure {
        code: ErrorCode::GenerationFailed,
        message: "Failed to generate image".to_owned(),
        reason: reason.to_owned(),
        retryable: true,
    }
}
