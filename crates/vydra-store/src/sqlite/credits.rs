use crate::store::Grant;
use crate::{Result, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use vydra_core::credits::Credits;
use vydra_core::ids::{EntryId, JobId, OrgId};
use vydra_core::job::Mode;
use vydra_core::ledger::{CreditTotals, EntryKind};
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

/// Writes the row of a change that is about to be made to the balance, at the end of the balance's chain. Its number, or
/// None and nothing done when there is no such balance or it would be less than nothing.
fn record(db: &Connection, movement: &Movement<'_>) -> Result<Option<i64>> {
    let written = db
        .prepare_cached(
            "INSERT INTO ledger (id, previous, org_id, mode, kind, amount, balance_after, job_id, reason, created_at)
             SELECT ?1, last_entry, ?2, ?3, ?4, ?5, credits + ?5, ?6, ?7, ?8 FROM balances
             WHERE org_id = ?2 AND mode = ?3 AND credits + ?5 >= 0",
        )?
        .execute(params![
            movement.id.as_str(),
            movement.org.as_str(),
            movement.mode.as_str(),
            movement.kind.as_str(),
            movement.amount,
            movement.job.map(JobId::as_str),
            movement.reason,
            movement.now.as_micros(),
        ])?;
    Ok((written == 1).then(|| db.last_insert_rowid()))
}

/// Adds credits that belong to no job. None, and nothing done, when there is no such organization.
pub(super) fn add(db: &Connection, movement: &Movement<'_>) -> Result<Option<Credits>> {
    let Some(entry) = record(db, movement)? else {
        return Ok(None);
    };
    let after: i64 = db
        .prepare_cached(
            "UPDATE balances SET credits = credits + ?3, entries = entries + 1, last_entry = ?4
             WHERE org_id = ?1 AND mode = ?2 RETURNING credits",
        )?
        .query_row(
            params![
                movement.org.as_str(),
                movement.mode.as_str(),
                movement.amount,
                entry
            ],
            |row| row.get(0),
        )?;
    sound(after).map(Some)
}

fn sound(balance: i64) -> Result<Credits> {
    Credits::new(balance).ok_or_else(|| StoreError::Corrupt(format!("a balance of {balance}")))
}

/// What a new job begins with, or why there can be none.
pub(super) enum Place {
    Free(Account),
    TooManyJobs { open: u32 },
    InsufficientCredits { available: Credits },
}

/// A balance that can pay for one job more.
pub(super) struct Account {
    credits: i64,
    /// Of the job, in the order of [`super::worker::claim`].
    pub(super) turn: i64,
    /// The highest turn that was ever begun.
    pub(super) begun: i64,
    pub(super) last_job: Option<i64>,
}

/// Looks for the price and for a place among the open jobs. Nothing is taken before [`charge`].
pub(super) fn place(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    price: Credits,
    concurrent: u32,
) -> Result<Place> {
    let found = db
        .prepare_cached(
            "SELECT open, credits, max(b.turn, t.turn), t.turn, last_job
             FROM balances b JOIN turns t USING (mode) WHERE org_id = ?1 AND mode = ?2",
        )?
        .query_row(params![org.as_str(), mode.as_str()], |row| {
            let account = Account {
                credits: row.get(1)?,
                turn: row.get(2)?,
                begun: row.get(3)?,
                last_job: row.get(4)?,
            };
            Ok((row.get(0)?, account))
        })
        .optional()?;
    Ok(match found {
        Some((open, _)) if open >= concurrent => Place::TooManyJobs { open },
        Some((_, account)) if account.credits >= price.get() => Place::Free(account),
        Some((_, account)) => Place::InsufficientCredits {
            available: sound(account.credits)?,
        },
        None => Place::InsufficientCredits {
            available: Credits::ZERO,
        },
    })
}

/// Takes the price of the job that was just written under this number. Answers the balance after it.
pub(super) fn charge(
    db: &Connection,
    charge: &Movement<'_>,
    account: &Account,
    job: i64,
) -> Result<Credits> {
    let entry = record(db, charge)?
        .ok_or_else(|| StoreError::Corrupt("a balance changed while it was charged".to_owned()))?;
    let after = account.credits + charge.amount;
    db.prepare_cached(
        "UPDATE balances SET credits = ?3, charged = charged - ?4, open = open + 1, turn = ?5, jobs = jobs + 1,
             last_job = ?6, entries = entries + 1, last_entry = ?7
         WHERE org_id = ?1 AND mode = ?2",
    )?
    .execute(params![
        charge.org.as_str(),
        charge.mode.as_str(),
        after,
        charge.amount,
        account.turn + 1,
        job,
        entry
    ])?;
    sound(after)
}

/// A job is open no longer, as the event with this number tells, and this much of its price goes back. Answers the balance
/// after it.
pub(super) fn give_back(db: &Connection, refund: &Movement<'_>, event: i64) -> Result<Credits> {
    let entry = if refund.amount > 0 {
        let entry = record(db, refund)?;
        Some(entry.ok_or_else(|| StoreError::Corrupt("a job without a balance".to_owned()))?)
    } else {
        None
    };
    let after: i64 = db
        .prepare_cached(
            "UPDATE balances SET credits = credits + ?3, refunded = refunded + ?3, open = open - 1,
                 entries = entries + (?4 IS NOT NULL), last_entry = coalesce(?4, last_entry),
                 events = events + 1, last_event = ?5
             WHERE org_id = ?1 AND mode = ?2 RETURNING credits",
        )?
        .query_row(
            params![
                refund.org.as_str(),
                refund.mode.as_str(),
                refund.amount,
                entry,
                event
            ],
            |row| row.get(0),
        )?;
    sound(after)
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
