//! Rows as they lie in the database, the same of both engines.

use super::snapshot::{Row, Snapshot};
use serde_json::Value;
use vydra_testkit::Database;

const BALANCES: &str = "SELECT org_id, mode, credits, charged, refunded, open, jobs, last_job, entries, last_entry, events, last_event
     FROM balances";
const ENTRIES: &str = "SELECT org_id, mode, id, kind, amount, balance_after, job_id, reason, seq, previous FROM ledger ORDER BY seq";
const JOBS: &str = "SELECT org_id, mode, id, status, price, refunded, call, lease_until, lease_token, deadline_at, started_at,
     completed_at, seq, previous FROM jobs ORDER BY created_at, id";
const ASSETS: &str =
    "SELECT id, org_id, job_id, role, storage_key, bytes, mode, deleted_at, erased_at FROM assets";
const INPUTS: &str = "SELECT job_id, asset_id FROM job_inputs";
const KEYS: &str = "SELECT org_id, mode, key, job_id FROM idempotency_keys";
const STEPS: &str = "SELECT job_id, step FROM steps";
const EVENTS: &str =
    "SELECT org_id, mode, job_id, kind, number, seq, previous FROM events ORDER BY seq";

/// One snapshot of all that the invariants speak of.
#[derive(Debug, Default, Clone)]
pub(crate) struct Books {
    pub(crate) balances: Vec<Balance>,
    /// In the order of their commits.
    pub(crate) entries: Vec<Entry>,
    pub(crate) jobs: Vec<JobRow>,
    pub(crate) assets: Vec<AssetRow>,
    pub(crate) inputs: Vec<InputRow>,
    pub(crate) keys: Vec<KeyRow>,
    pub(crate) steps: Vec<StepRow>,
    /// In the order of their commits.
    pub(crate) events: Vec<EventRow>,
}

/// An organization's real credits or those of its sandbox.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Purse {
    pub(crate) org: String,
    pub(crate) mode: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Balance {
    pub(crate) purse: Purse,
    pub(crate) credits: i64,
    /// What it counts of its rows.
    pub(crate) charged: i64,
    pub(crate) refunded: i64,
    pub(crate) open: i64,
    /// How many jobs, ledger rows and events it has, and the last of each.
    pub(crate) jobs: (i64, Option<i64>),
    pub(crate) entries: (i64, Option<i64>),
    pub(crate) events: (i64, Option<i64>),
}

/// The number of a row, and that of the one before it with the same purse.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub(crate) seq: i64,
    pub(crate) previous: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) link: Link,
    pub(crate) id: String,
    pub(crate) purse: Purse,
    pub(crate) kind: String,
    pub(crate) amount: i64,
    pub(crate) balance_after: i64,
    pub(crate) job: Option<String>,
    pub(crate) reason: String,
}

#[derive(Debug, Clone)]
pub(crate) struct JobRow {
    pub(crate) link: Link,
    pub(crate) id: String,
    pub(crate) purse: Purse,
    pub(crate) status: String,
    pub(crate) price: i64,
    pub(crate) refunded: i64,
    /// How many outputs were paid for.
    pub(crate) outputs: i64,
    pub(crate) lease_until: Option<i64>,
    pub(crate) lease_token: Option<String>,
    pub(crate) deadline_at: Option<i64>,
    pub(crate) started_at: Option<i64>,
    pub(crate) completed_at: Option<i64>,
}

impl JobRow {
    pub(crate) fn is_open(&self) -> bool {
        self.status == "pending" || self.status == "running"
    }
}

#[derive(Debug, Clone)]
pub(crate) struct AssetRow {
    pub(crate) id: String,
    pub(crate) org: String,
    pub(crate) job: Option<String>,
    pub(crate) role: String,
    pub(crate) storage_key: String,
    pub(crate) bytes: i64,
    pub(crate) mode: String,
    pub(crate) is_deleted: bool,
    pub(crate) is_erased: bool,
}

/// What a job takes in.
#[derive(Debug, Clone)]
pub(crate) struct InputRow {
    pub(crate) job: String,
    pub(crate) asset: String,
}

#[derive(Debug, Clone)]
pub(crate) struct KeyRow {
    pub(crate) purse: Purse,
    pub(crate) key: String,
    pub(crate) job: String,
}

#[derive(Debug, Clone)]
pub(crate) struct StepRow {
    pub(crate) job: String,
    pub(crate) step: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct EventRow {
    pub(crate) link: Link,
    /// Which it is of its purse.
    pub(crate) number: i64,
    pub(crate) purse: Purse,
    pub(crate) job: String,
    pub(crate) kind: String,
}

impl Books {
    /// From one snapshot, beside whatever else works on the database.
    pub(crate) fn read(database: &Database) -> anyhow::Result<Self> {
        let snapshot = Snapshot::of(
            database,
            &[BALANCES, ENTRIES, JOBS, ASSETS, INPUTS, KEYS, STEPS, EVENTS],
        )?;
        Ok(Self {
            balances: snapshot.rows(BALANCES, |row| {
                Ok(Balance {
                    purse: purse(row)?,
                    credits: row.number("credits")?,
                    charged: row.number("charged")?,
                    refunded: row.number("refunded")?,
                    open: row.number("open")?,
                    jobs: (row.number("jobs")?, row.perhaps("last_job")?),
                    entries: (row.number("entries")?, row.perhaps("last_entry")?),
                    events: (row.number("events")?, row.perhaps("last_event")?),
                })
            })?,
            entries: snapshot.rows(ENTRIES, |row| {
                Ok(Entry {
                    purse: purse(row)?,
                    id: row.text("id")?,
                    kind: row.text("kind")?,
                    amount: row.number("amount")?,
                    balance_after: row.number("balance_after")?,
                    job: row.perhaps_text("job_id")?,
                    reason: row.text("reason")?,
                    link: link(row)?,
                })
            })?,
            jobs: snapshot.rows(JOBS, |row| {
                Ok(JobRow {
                    purse: purse(row)?,
                    id: row.text("id")?,
                    status: row.text("status")?,
                    price: row.number("price")?,
                    refunded: row.number("refunded")?,
                    outputs: outputs(&row.text("call")?),
                    lease_until: row.perhaps("lease_until")?,
                    lease_token: row.perhaps_text("lease_token")?,
                    deadline_at: row.perhaps("deadline_at")?,
                    started_at: row.perhaps("started_at")?,
                    completed_at: row.perhaps("completed_at")?,
                    link: link(row)?,
                })
            })?,
            assets: snapshot.rows(ASSETS, |row| {
                Ok(AssetRow {
                    id: row.text("id")?,
                    org: row.text("org_id")?,
                    job: row.perhaps_text("job_id")?,
                    role: row.text("role")?,
                    storage_key: row.text("storage_key")?,
                    bytes: row.number("bytes")?,
                    mode: row.text("mode")?,
                    is_deleted: row.perhaps("deleted_at")?.is_some(),
                    is_erased: row.perhaps("erased_at")?.is_some(),
                })
            })?,
            inputs: snapshot.rows(INPUTS, |row| {
                Ok(InputRow {
                    job: row.text("job_id")?,
                    asset: row.text("asset_id")?,
                })
            })?,
            keys: snapshot.rows(KEYS, |row| {
                Ok(KeyRow {
                    purse: purse(row)?,
                    key: row.text("key")?,
                    job: row.text("job_id")?,
                })
            })?,
            steps: snapshot.rows(STEPS, |row| {
                Ok(StepRow {
                    job: row.text("job_id")?,
                    step: row.number("step")?,
                })
            })?,
            events: snapshot.rows(EVENTS, |row| {
                Ok(EventRow {
                    purse: purse(row)?,
                    job: row.text("job_id")?,
                    kind: row.text("kind")?,
                    number: row.number("number")?,
                    link: link(row)?,
                })
            })?,
        })
    }
}

fn link(row: &Row) -> anyhow::Result<Link> {
    Ok(Link {
        seq: row.number("seq")?,
        previous: row.perhaps("previous")?,
    })
}

fn purse(row: &Row) -> anyhow::Result<Purse> {
    Ok(Purse {
        org: row.text("org_id")?,
        mode: row.text("mode")?,
    })
}

/// Zero for a call that cannot be understood, which no price of a delivery will fit.
fn outputs(call: &str) -> i64 {
    serde_json::from_str::<Value>(call)
        .ok()
        .and_then(|call| call["outputs"].as_i64())
        .unwrap_or(0)
}
