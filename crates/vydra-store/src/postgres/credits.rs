use super::db::Db;
use super::rows::{Columns, corrupt, read};
use crate::store::Grant;
use crate::{Result, StoreError};
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
///
/// The balance is locked from here on, before the row takes its number: so numbers rise along the chain, and nobody writes
/// between this row and the change that it explains.
async fn record(db: &Db, movement: &Movement<'_>) -> Result<Option<i64>> {
    // What a provider said may hold a character that no text in Postgres can: no refund may fail for it.
    let reason = movement.reason.replace('\0', " ");
    let row = db
        .first(
            "INSERT INTO ledger (id, previous, org_id, mode, kind, amount, balance_after, job_id, reason, created_at)
             SELECT $1, last_entry, $2, $3, $4, $5, credits + $5, $6, $7, $8
             FROM (SELECT credits, last_entry FROM balances WHERE org_id = $2 AND mode = $3 FOR UPDATE) b
             WHERE credits + $5 >= 0
             RETURNING seq",
            &[
                &movement.id.as_str(),
                &movement.org.as_str(),
                &movement.mode.as_str(),
                &movement.kind.as_str(),
                &movement.amount,
                &movement.job.map(JobId::as_str),
                &reason,
                &movement.now.as_micros(),
            ],
        )
        .await?;
    read(row.as_ref(), Columns::take)
}

/// Adds credits that belong to no job. None, and nothing done, when there is no such organization.
pub(super) async fn add(db: &Db, movement: &Movement<'_>) -> Result<Option<Credits>> {
    let Some(entry) = record(db, movement).await? else {
        return Ok(None);
    };
    let row = db
        .one(
            "UPDATE balances SET credits = credits + $3, entries = entries + 1, last_entry = $4
             WHERE org_id = $1 AND mode = $2 RETURNING credits",
            &[
                &movement.org.as_str(),
                &movement.mode.as_str(),
                &movement.amount,
                &entry,
            ],
        )
        .await?;
    sound(Columns::of(&row).take()?).map(Some)
}

fn sound(balance: i64) -> Result<Credits> {
    Credits::new(balance).ok_or_else(|| corrupt("balance", &balance))
}

/// Locks the balance, as everybody does before the jobs that are paid from it.
pub(super) async fn lock(db: &Db, org: &OrgId, mode: Mode) -> Result<()> {
    db.run(
        "SELECT 1 FROM balances WHERE org_id = $1 AND mode = $2 FOR UPDATE",
        &[&org.as_str(), &mode.as_str()],
    )
    .await?;
    Ok(())
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
    /// Of the job, in the order of [`super::worker::claim()`].
    pub(super) turn: i64,
    /// The highest turn that was ever begun.
    pub(super) begun: i64,
    pub(super) last_job: Option<i64>,
}

/// Looks for the price and for a place among the open jobs. Nothing is taken before [`charge`].
///
/// The balance stays locked until the transaction ends: no other job of the organization is submitted meanwhile, so a
/// number that is given to the job from here on is higher than that of the job before it. The turn that was begun is not
/// locked, and may be that of a moment ago: it says who is served first, nothing about credits.
pub(super) async fn place(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    price: Credits,
    concurrent: u32,
) -> Result<Place> {
    let row = db
        .first(
            "SELECT b.open, b.credits, greatest(b.turn, t.turn), t.turn, b.last_job
             FROM balances b JOIN turns t ON t.mode = b.mode WHERE b.org_id = $1 AND b.mode = $2
             FOR UPDATE OF b",
            &[&org.as_str(), &mode.as_str()],
        )
        .await?;
    let found = read(row.as_ref(), |row| {
        let open: u32 = row.number()?;
        let account = Account {
            credits: row.take()?,
            turn: row.take()?,
            begun: row.take()?,
            last_job: row.take()?,
        };
        Ok((open, account))
    })?;
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
pub(super) async fn charge(
    db: &Db,
    charge: &Movement<'_>,
    account: &Account,
    job: i64,
) -> Result<Credits> {
    let changed = || StoreError::Corrupt("a balance changed while it was charged".to_owned());
    let entry = record(db, charge).await?.ok_or_else(changed)?;
    let row = db
        .one(
            "UPDATE balances SET credits = credits + $3, charged = charged - $3, open = open + 1, turn = $4,
                 jobs = jobs + 1, last_job = $5, entries = entries + 1, last_entry = $6
             WHERE org_id = $1 AND mode = $2 RETURNING credits",
            &[
                &charge.org.as_str(),
                &charge.mode.as_str(),
                &charge.amount,
                &(account.turn + 1),
                &job,
                &entry,
            ],
        )
        .await?;
    let after: i64 = Columns::of(&row).take()?;
    // Only when it was not locked since it was looked at.
    if after != account.credits + charge.amount {
        return Err(changed());
    }
    sound(after)
}

/// A job is open no longer, as the event with this number tells, and this much of its price goes back. Answers the balance
/// after it.
pub(super) async fn give_back(db: &Db, refund: &Movement<'_>, event: i64) -> Result<Credits> {
    let entry = if refund.amount > 0 {
        let entry = record(db, refund).await?;
        Some(entry.ok_or_else(|| StoreError::Corrupt("a job without a balance".to_owned()))?)
    } else {
        None
    };
    let row = db
        .one(
            "UPDATE balances SET credits = credits + $3, refunded = refunded + $3, open = open - 1,
                 entries = entries + CASE WHEN $4::bigint IS NULL THEN 0 ELSE 1 END,
                 last_entry = coalesce($4::bigint, last_entry),
                 events = events + 1, last_event = $5
             WHERE org_id = $1 AND mode = $2 RETURNING credits",
            &[
                &refund.org.as_str(),
                &refund.mode.as_str(),
                &refund.amount,
                &entry,
                &event,
            ],
        )
        .await?;
    sound(Columns::of(&row).take()?)
}

/// How many jobs have not ended.
pub(super) async fn open(db: &Db, org: &OrgId, mode: Mode) -> Result<u32> {
    let row = db
        .first(
            "SELECT open FROM balances WHERE org_id = $1 AND mode = $2",
            &[&org.as_str(), &mode.as_str()],
        )
        .await?;
    Ok(read(row.as_ref(), Columns::number)?.unwrap_or(0))
}

pub(super) async fn grant(db: &Db, grant: &Grant) -> Result<Option<Credits>> {
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
    add(db, &movement).await
}

pub(super) async fn totals(db: &Db, org: &OrgId, mode: Mode) -> Result<CreditTotals> {
    let row = db
        .first(
            "SELECT credits, charged, refunded FROM balances WHERE org_id = $1 AND mode = $2",
            &[&org.as_str(), &mode.as_str()],
        )
        .await?;
    let totals = read(row.as_ref(), |row| {
        Ok(CreditTotals {
            remaining: row.take()?,
            used: row.take()?,
            refunded: row.take()?,
        })
    })?;
    Ok(totals.unwrap_or_default())
}
