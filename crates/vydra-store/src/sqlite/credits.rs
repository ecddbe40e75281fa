use super::rows::{Columns, collect};
use crate::store::Grant;
use crate::{Result, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use vydra_core::credits::Credits;
use vydra_core::ids::{EntryId, JobId, OrgId};
use vydra_core::job::Mode;
use vydra_core::ledger::{Audit, CreditTotals, EntryKind, Imbalance};
use vydra_core::time::Timestamp;

/// A row that explains a change of a balance. `amount` is signed.
pub(super) struct Movement<'a> {
    pub(super) id: &'a EntryId,
    pub(super) org: &'a OrgId,
    pub(super) mode: Mode,
    pub(super) kind: EntryKind,
    pub(super) amount: i64,
    pub(super) job: Option<&'a JobId>,
    pub(super) reason: &'a str,
    pub(super) now: Timestamp,
}

/// Writes the row of a change that was just made to the balance.
fn record(db: &Connection, movement: &Movement<'_>, after: i64) -> Result<Credits> {
    db.prepare_cached(
        "INSERT INTO ledger (id, org_id, mode, kind, amount, balance_after, job_id, reason, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        movement.id.as_str(),
        movement.org.as_str(),
        movement.mode.as_str(),
        movement.kind.as_str(),
        movement.amount,
        after,
        movement.job.map(JobId::as_str),
        movement.reason,
        movement.now.as_micros(),
    ])?;
    Credits::new(after).ok_or_else(|| StoreError::Corrupt(format!("a balance of {after}")))
}

/// Adds credits that belong to no job. None, and nothing done, when there is no such organization.
pub(super) fn add(db: &Connection, movement: &Movement<'_>) -> Result<Option<Credits>> {
    let after: Option<i64> = db
        .prepare_cached(
            "UPDATE balances SET credits = credits + ?3
             WHERE org_id = ?1 AND mode = ?2 AND credits + ?3 >= 0 RETURNING credits",
        )?
        .query_row(
            params![
                movement.org.as_str(),
                movement.mode.as_str(),
                movement.amount
            ],
            |row| row.get(0),
        )
        .optional()?;
    after.map(|after| record(db, movement, after)).transpose()
}

/// What a job may be made with.
pub(super) enum Taken {
    /// The price was taken, the job counts as open, and this is its turn.
    Place {
        after: i64,
        turn: i64,
    },
    TooManyJobs {
        open: u32,
    },
    InsufficientCredits {
        available: Credits,
    },
}

/// Takes a price and a place among the open jobs, both or neither. The row that explains it is [`charged`].
pub(super) fn take(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    price: Credits,
    concurrent: u32,
) -> Result<Taken> {
    let place = db
        .prepare_cached(
            "UPDATE balances SET credits = credits - ?3, charged = charged + ?3, open = open + 1,
                 turn = max(turn, (SELECT turn FROM turns WHERE mode = ?2)) + 1
             WHERE org_id = ?1 AND mode = ?2 AND credits >= ?3 AND open < ?4 RETURNING credits, turn - 1",
        )?
        .query_row(
            params![org.as_str(), mode.as_str(), price.get(), concurrent],
            |row| {
                Ok(Taken::Place {
                    after: row.get(0)?,
                    turn: row.get(1)?,
                })
            },
        )
        .optional()?;
    if let Some(place) = place {
        return Ok(place);
    }
    let open = open(db, org, mode)?;
    Ok(if open >= concurrent {
        Taken::TooManyJobs { open }
    } else {
        Taken::InsufficientCredits {
            available: balance(db, org, mode)?,
        }
    })
}

/// The row of what [`take`] took: written when the job is there that it names.
pub(super) fn charged(db: &Connection, charge: &Movement<'_>, after: i64) -> Result<Credits> {
    record(db, charge, after)
}

/// A job is open no longer, and this much of its price goes back. Answers the balance after it.
pub(super) fn give_back(db: &Connection, refund: &Movement<'_>) -> Result<Credits> {
    let after: i64 = db
        .prepare_cached(
            "UPDATE balances SET credits = credits + ?3, refunded = refunded + ?3, open = open - 1
             WHERE org_id = ?1 AND mode = ?2 RETURNING credits",
        )?
        .query_row(
            params![refund.org.as_str(), refund.mode.as_str(), refund.amount],
            |row| row.get(0),
        )?;
    if refund.amount > 0 {
        return record(db, refund, after);
    }
    Credits::new(after).ok_or_else(|| StoreError::Corrupt(format!("a balance of {after}")))
}

/// How many jobs have not ended.
pub(super) fn open(db: &Connection, org: &OrgId, mode: Mode) -> Result<u32> {
    Ok(db
        .prepare_cached("SELECT open FROM balances WHERE org_id = ?1 AND mode = ?2")?
        .query_row(params![org.as_str(), mode.as_str()], |row| row.get(0))
        .optional()?
        .unwrap_or(0))
}

pub(super) fn grant(db: &Connection, grant: &Grant) -> Result<Option<Credits>> {
    let movement = Movement {
        id: &grant.id,
        org: &grant.org_id,
        mode: grant.mode,
        kind: EntryKind::Grant,
        amount: grant.amount.get(),
        job: None,
        reason: &grant.reason,
        now: grant.now,
    };
    add(db, &movement)
}

pub(super) fn balance(db: &Connection, org: &OrgId, mode: Mode) -> Result<Credits> {
    let credits = db
        .prepare_cached("SELECT credits FROM balances WHERE org_id = ?1 AND mode = ?2")?
        .query_row(params![org.as_str(), mode.as_str()], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    Credits::new(credits).ok_or_else(|| StoreError::Corrupt(format!("a balance of {credits}")))
}

pub(super) fn totals(db: &Connection, org: &OrgId, mode: Mode) -> Result<CreditTotals> {
    let totals = db
        .prepare_cached(
            "SELECT credits, charged, refunded FROM balances WHERE org_id = ?1 AND mode = ?2",
        )?
        .query_row(params![org.as_str(), mode.as_str()], |row| {
            Ok(CreditTotals {
                remaining: row.get(0)?,
                used: row.get(1)?,
                refunded: row.get(2)?,
            })
        })
        .optional()?;
    Ok(totals.unwrap_or_default())
}

/// Each query lists organization, mode, job, what is wrong, what should be and what is. They trust no index and no other
/// table: rows are added up, never looked up, so that a second charge or one of another organization is seen too.
const AUDITS: &[&str] = &[
    "SELECT b.org_id, b.mode, NULL, 'the balance is not the sum of its ledger rows',
            coalesce((SELECT sum(l.amount) FROM ledger l WHERE l.org_id = b.org_id AND l.mode = b.mode), 0) AS rows, b.credits
     FROM balances b WHERE b.credits <> rows",
    "SELECT l.org_id, l.mode, NULL, 'ledger rows without a balance', sum(l.amount), 0
     FROM ledger l LEFT JOIN balances b ON b.org_id = l.org_id AND b.mode = l.mode
     WHERE b.org_id IS NULL GROUP BY l.org_id, l.mode",
    "SELECT l.org_id, l.mode, l.job_id, 'the balance after row ' || l.id || ' is not the sum of the rows up to it', l.running, l.balance_after
     FROM (SELECT *, sum(amount) OVER (PARTITION BY org_id, mode ORDER BY seq) AS running FROM ledger) l
     WHERE l.running <> l.balance_after",
    "SELECT j.org_id, j.mode, j.id, 'the charge is not the price of the job', -j.price, coalesce(l.charged, 0)
     FROM jobs j LEFT JOIN (SELECT job_id, org_id, mode, sum(amount) AS charged FROM ledger
                            WHERE kind = 'charge' GROUP BY job_id, org_id, mode) l
                        ON l.job_id = j.id AND l.org_id = j.org_id AND l.mode = j.mode
     WHERE coalesce(l.charged, 0) <> -j.price",
    "SELECT j.org_id, j.mode, j.id, 'the refund is not what the job says', j.refunded, coalesce(l.paid_back, 0)
     FROM jobs j LEFT JOIN (SELECT job_id, org_id, mode, sum(amount) AS paid_back FROM ledger
                            WHERE kind = 'refund' GROUP BY job_id, org_id, mode) l
                        ON l.job_id = j.id AND l.org_id = j.org_id AND l.mode = j.mode
     WHERE coalesce(l.paid_back, 0) <> j.refunded",
    "SELECT l.org_id, l.mode, l.job_id, 'rows of a job that the organization does not have', 0, sum(l.amount)
     FROM ledger l LEFT JOIN jobs j ON j.id = l.job_id AND j.org_id = l.org_id AND j.mode = l.mode
     WHERE l.job_id IS NOT NULL AND j.id IS NULL GROUP BY l.org_id, l.mode, l.job_id",
    "SELECT j.org_id, j.mode, j.id, 'a job that did not deliver was not refunded in full', j.price, j.refunded
     FROM jobs j WHERE j.status IN ('failed', 'cancelled') AND j.refunded <> j.price",
    "SELECT j.org_id, j.mode, j.id, 'a job that has not ended was refunded', 0, j.refunded
     FROM jobs j WHERE j.status IN ('pending', 'running') AND j.refunded <> 0",
    "SELECT b.org_id, b.mode, NULL, 'the sum of all charges is not that of the rows',
            coalesce((SELECT -sum(l.amount) FROM ledger l WHERE l.org_id = b.org_id AND l.mode = b.mode AND l.kind = 'charge'), 0) AS rows, b.charged
     FROM balances b WHERE b.charged <> rows",
    "SELECT b.org_id, b.mode, NULL, 'the sum of all refunds is not that of the rows',
            coalesce((SELECT sum(l.amount) FROM ledger l WHERE l.org_id = b.org_id AND l.mode = b.mode AND l.kind = 'refund'), 0) AS rows, b.refunded
     FROM balances b WHERE b.refunded <> rows",
    "SELECT b.org_id, b.mode, NULL, 'the count of open jobs is not that of the rows', coalesce(j.jobs, 0), b.open
     FROM balances b LEFT JOIN (SELECT org_id, mode, count(*) AS jobs FROM jobs NOT INDEXED
                                WHERE status IN ('pending', 'running') GROUP BY org_id, mode) j
                            ON j.org_id = b.org_id AND j.mode = b.mode
     WHERE b.open <> coalesce(j.jobs, 0)",
    "SELECT j.org_id, j.mode, j.id, 'a job whose end is not exactly one event', j.status IN ('completed', 'failed', 'cancelled'), count(e.seq)
     FROM jobs j LEFT JOIN events e ON e.job_id = j.id AND e.org_id = j.org_id AND e.mode = j.mode AND e.kind = 'job.' || j.status
     GROUP BY j.id HAVING count(e.seq) <> (j.status IN ('completed', 'failed', 'cancelled'))",
    "SELECT e.org_id, e.mode, e.job_id, 'an event that is not the end of its job', 0, 1
     FROM events e LEFT JOIN jobs j ON j.id = e.job_id AND j.org_id = e.org_id AND j.mode = e.mode AND e.kind = 'job.' || j.status
     WHERE j.id IS NULL",
    "SELECT j.org_id, j.mode, j.id, 'a job that nothing will end', 1, 0
     FROM jobs j WHERE j.status IN ('pending', 'running') AND j.deadline_at IS NULL",
    "SELECT a.org_id, b.mode, b.id, 'an asset of a job that is not its organization''s', 1, 0
     FROM assets a JOIN jobs b ON b.id = a.job_id WHERE a.org_id <> b.org_id",
    "SELECT j.org_id, j.mode, j.id, 'outputs of a job that did not deliver', 0, count(*)
     FROM assets a JOIN jobs j ON j.id = a.job_id WHERE a.role = 'output' AND j.status <> 'completed' GROUP BY j.id",
    "SELECT i.org_id, i.mode, i.job_id, 'an idempotency key of another organization''s job', 1, 0
     FROM idempotency_keys i JOIN jobs j ON j.id = i.job_id WHERE j.org_id <> i.org_id OR j.mode <> i.mode",
];

pub(super) fn audit(db: &Connection) -> Result<Audit> {
    // One snapshot: a charge that is committed between two of the queries must not look like a difference.
    let snapshot = db.unchecked_transaction()?;
    let count = |table: &str| {
        snapshot.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| {
            row.get::<_, i64>(0)
        })
    };
    let mut audit = Audit {
        organizations: count("organizations")?.unsigned_abs(),
        entries: count("ledger")?.unsigned_abs(),
        jobs: count("jobs")?.unsigned_abs(),
        imbalances: Vec::new(),
    };
    for sql in AUDITS {
        let mut statement = snapshot.prepare(sql)?;
        audit
            .imbalances
            .extend(collect(statement.query(())?, imbalance)?);
    }
    Ok(audit)
}

fn imbalance(row: &mut Columns<'_, '_>) -> Result<Imbalance> {
    Ok(Imbalance {
        org_id: OrgId::trusted(row.take()?),
        mode: row.word_if_any(Mode::parse)?,
        job_id: row.take::<Option<String>>()?.map(JobId::trusted),
        problem: row.take()?,
        expected: row.take()?,
        found: row.take()?,
    })
}
