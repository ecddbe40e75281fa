use super::rows::{Columns, collect};
use crate::Result;
use crate::store::{EntryFilter, EntryPage};
use rusqlite::{Connection, OptionalExtension, params};
use vydra_core::ids::{EntryId, JobId, OrgId};
use vydra_core::job::Mode;
use vydra_core::ledger::{Entry, EntryKind};

fn read(row: &mut Columns<'_, '_>) -> Result<Entry> {
    Ok(Entry {
        id: EntryId::trusted(row.take()?),
        kind: row.word(EntryKind::parse)?,
        amount: row.take()?,
        balance_after: row.take()?,
        job_id: row.take::<Option<String>>()?.map(JobId::trusted),
        reason: row.take()?,
        created_at: row.time()?,
    })
}

pub(super) fn list(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    filter: &EntryFilter,
) -> Result<Option<EntryPage>> {
    // The order of the ledger is the order of its commits; times may be equal, and ids tell nothing.
    let before: i64 = match &filter.after {
        None => i64::MAX,
        Some(after) => {
            let place = db
                .prepare_cached(
                    "SELECT seq FROM ledger WHERE id = ?1 AND org_id = ?2 AND mode = ?3",
                )?
                .query_row(
                    params![after.as_str(), org.as_str(), mode.as_str()],
                    |row| row.get(0),
                )
                .optional()?;
            match place {
                Some(place) => place,
                None => return Ok(None),
            }
        }
    };
    let (kind, job) = (
        filter.kind.map(EntryKind::as_str),
        filter.job.as_ref().map(JobId::as_str),
    );
    // A condition on an absent value would keep the index of what is there from being used.
    let wanted = match (kind.is_some(), job.is_some()) {
        (false, false) => "org_id = ?1 AND mode = ?2 AND ?3 IS NULL AND ?4 IS NULL",
        (true, false) => "org_id = ?1 AND mode = ?2 AND kind = ?3 AND ?4 IS NULL",
        (false, true) => "job_id = ?4 AND org_id = ?1 AND mode = ?2 AND ?3 IS NULL",
        (true, true) => "job_id = ?4 AND org_id = ?1 AND mode = ?2 AND kind = ?3",
    };
    let count: i64 = db
        .prepare_cached(&format!("SELECT count(*) FROM ledger WHERE {wanted}"))?
        .query_row(params![org.as_str(), mode.as_str(), kind, job], |row| {
            row.get(0)
        })?;
    let mut statement = db.prepare_cached(&format!(
        "SELECT id, kind, amount, balance_after, job_id, reason, created_at FROM ledger
         WHERE {wanted} AND seq < ?5 ORDER BY seq DESC LIMIT ?6 OFFSET ?7"
    ))?;
    let entries = collect(
        statement.query(params![
            org.as_str(),
            mode.as_str(),
            kind,
            job,
            before,
            filter.limit,
            filter.offset
        ])?,
        read,
    )?;
    Ok(Some(EntryPage {
        entries,
        count: count.unsigned_abs(),
    }))
}
