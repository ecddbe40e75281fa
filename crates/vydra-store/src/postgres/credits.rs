use super::db::Db;
use super::rows::{Columns, corrupt, read};
use crate::Result;
use crate::store::Grant;
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
