use super::chains::{Chain, Head};
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
    let head = Chain::Ledger.head(db, org, mode)?;
    let first = match &filter.after {
        None => head.last,
        Some(after) => {
            let found = db
                .prepare_cached(
                    "SELECT previous FROM ledger WHERE id = ?1 AND org_id = ?2 AND mode = ?3",
                )?
                .query_row(
                    params![after.as_str(), org.as_str(), mode.as_str()],
                    |row| row.get(0),
                )
                .optional()?;
            match found {
                Some(before) => before,
                None => return Ok(None),
            }
        }
    };
    let kind = filter.kind.map(EntryKind::as_str);
    let (count, entries) = match &filter.job {
        Some(job) => of_job(db, org, mode, job, (kind, first), filter)?,
        None => of_chain(db, &head, (kind, first), filter)?,
    };
    Ok(Some(EntryPage {
        entries,
        count: count.unsigned_abs(),
    }))
}

const COLUMNS: &str = "id, kind, amount, balance_after, job_id, reason, created_at";

/// Kind, if only one is wanted, and the first row that may be shown.
type From<'a> = (Option<&'a str>, Option<i64>);

fn of_chain(
    db: &Connection,
    head: &Head,
    (kind, first): From<'_>,
    filter: &EntryFilter,
) -> Result<(i64, Vec<Entry>)> {
    let chain = Chain::Ledger.from("?1", "?3");
    let count = if kind.is_none() {
        head.count
    } else {
        db.prepare_cached(&format!(
            "WITH RECURSIVE {chain}
             SELECT count(*) FROM ledger_chain CROSS JOIN ledger ON seq = number WHERE kind = ?2"
        ))?
        .query_row(params![head.last, kind, head.end], |row| row.get(0))?
    };
    let mut statement = db.prepare_cached(&format!(
        "WITH RECURSIVE {chain}
         SELECT {COLUMNS} FROM ledger_chain CROSS JOIN ledger ON seq = number
         WHERE (?2 IS NULL OR kind = ?2) LIMIT ?4 OFFSET ?5"
    ))?;
    let page = params![first, kind, head.end, filter.limit, filter.offset];
    Ok((count, collect(statement.query(page)?, read)?))
}

fn of_job(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    job: &JobId,
    (kind, first): From<'_>,
    filter: &EntryFilter,
) -> Result<(i64, Vec<Entry>)> {
    const WANTED: &str = "job_id = ?1 AND org_id = ?2 AND mode = ?3 AND (?4 IS NULL OR kind = ?4)";
    let (job, org, mode) = (job.as_str(), org.as_str(), mode.as_str());
    let count = db
        .prepare_cached(&format!("SELECT count(*) FROM ledger WHERE {WANTED}"))?
        .query_row(params![job, org, mode, kind], |row| row.get(0))?;
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM ledger WHERE {WANTED} AND seq <= ?5 ORDER BY seq DESC LIMIT ?6 OFFSET ?7"
    ))?;
    let page = params![job, org, mode, kind, first, filter.limit, filter.offset];
    Ok((count, collect(statement.query(page)?, read)?))
}
