//! Rows as they lie in the file.

use anyhow::Context;
use rusqlite::{Connection, OpenFlags, Row};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

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
    pub(crate) fn read(database: &Path) -> anyhow::Result<Self> {
        let mut connection = Connection::open_with_flags(
            database,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .with_context(|| format!("cannot read {}", database.display()))?;
        connection.busy_timeout(Duration::from_secs(5))?;
        let snapshot = connection.transaction()?;
        Ok(Self {
            balances: rows(&snapshot, "SELECT org_id, mode, credits, charged, refunded, open, jobs, last_job, entries, last_entry, events, last_event FROM balances", |row| {
                Ok(Balance {
                    purse: purse(row)?,
                    credits: row.get(2)?,
                    charged: row.get(3)?,
                    refunded: row.get(4)?,
                    open: row.get(5)?,
                    jobs: (row.get(6)?, row.get(7)?),
                    entries: (row.get(8)?, row.get(9)?),
                    events: (row.get(10)?, row.get(11)?),
                })
            })?,
            entries: rows(
                &snapshot,
                "SELECT org_id, mode, id, kind, amount, balance_after, job_id, reason, seq, previous FROM ledger ORDER BY seq",
                |row| {
                    Ok(Entry {
                        purse: purse(row)?,
                        id: row.get(2)?,
                        kind: row.get(3)?,
                        amount: row.get(4)?,
                        balance_after: row.get(5)?,
                        job: row.get(6)?,
                        reason: row.get(7)?,
                        link: link(row, 8)?,
                    })
                },
            )?,
            jobs: rows(
                &snapshot,
                "SELECT org_id, mode, id, status, price, refunded, call, lease_until, lease_token, deadline_at, started_at,
                        completed_at, seq, previous
                 FROM jobs ORDER BY created_at, id",
                |row| {
                    Ok(JobRow {
                        purse: purse(row)?,
                        id: row.get(2)?,
                        status: row.get(3)?,
                        price: row.get(4)?,
                        refunded: row.get(5)?,
                        outputs: outputs(&row.get::<_, String>(6)?),
                        lease_until: row.get(7)?,
                        lease_token: row.get(8)?,
                        deadline_at: row.get(9)?,
                        started_at: row.get(10)?,
                        completed_at: row.get(11)?,
                        link: link(row, 12)?,
                    })
                },
            )?,
            assets: rows(
                &snapshot,
                "SELECT id, org_id, job_id, role, storage_key, bytes, mode, deleted_at IS NOT NULL, erased_at IS NOT NULL FROM assets",
                |row| {
                    Ok(AssetRow {
                        id: row.get(0)?,
                        org: row.get(1)?,
                        job: row.get(2)?,
                        role: row.get(3)?,
                        storage_key: row.get(4)?,
                        bytes: row.get(5)?,
                        mode: row.get(6)?,
                        is_deleted: row.get(7)?,
                        is_erased: row.get(8)?,
                    })
                },
            )?,
            inputs: rows(&snapshot, "SELECT job_id, asset_id FROM job_inputs", |row| {
                Ok(InputRow {
                    job: row.get(0)?,
                    asset: row.get(1)?,
                })
            })?,
            keys: rows(
                &snapshot,
                "SELECT org_id, mode, key, job_id FROM idempotency_keys",
                |row| {
                    Ok(KeyRow {
                        purse: purse(row)?,
                        key: row.get(2)?,
                        job: row.get(3)?,
                    })
                },
            )?,
            steps: rows(&snapshot, "SELECT job_id, step FROM steps", |row| {
                Ok(StepRow {
                    job: row.get(0)?,
                    step: row.get(1)?,

                })
            })?,
            events: rows(
                &snapshot,
                "SELECT org_id, mode, job_id, kind, number, seq, previous FROM events ORDER BY seq",
                |row| {
                    Ok(EventRow {
                        purse: purse(row)?,
                        job: row.get(2)?,
                        kind: row.get(3)?,
                        number: row.get(4)?,
                        link: link(row, 5)?,
                    })
                },
            )?,
        })
    }
}

fn rows<T>(
    snapshot: &Connection,
    sql: &'static str,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> anyhow::Result<Vec<T>> {
    let mut statement = snapshot.prepare(sql)?;
    let rows = statement.query_map((), |row| read(row))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn link(row: &Row<'_>, first: usize) -> rusqlite::Result<Link> {
    Ok(Link {
        seq: row.get(first)?,
        previous: row.get(first + 1)?,
    })
}

fn purse(row: &Row<'_>) -> rusqlite::Result<Purse> {
    Ok(Purse {
        org: row.get(0)?,
        mode: row.get(1)?,
    })
}

/// Zero for a call that cannot be understood, which no price of a delivery will fit.
fn outputs(call: &str) -> i64 {
    serde_json::from_str::<Value>(call)
        .ok()
        .and_then(|call| call["outputs"].as_i64())
        .unwrap_or(0)
}
