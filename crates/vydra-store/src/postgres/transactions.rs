use super::chains::{Chain, Head};
use super::db::Db;
use super::rows::{self, Columns, collect};
use crate::Result;
use crate::store::{EntryFilter, EntryPage};
use vydra_core::ids::{EntryId, JobId, OrgId};
use vydra_core::job::Mode;
use vydra_core::ledger::{Entry, EntryKind};

fn read(row: &mut Columns<'_>) -> Result<Entry> {
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

/// To be called in one snapshot.
pub(super) async fn list(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    filter: &EntryFilter,
) -> Result<Option<EntryPage>> {
    // The order of the ledger is the order of its commits; times may be equal, and ids tell nothing.
    let head = Chain::Ledger.head(db, org, mode).await?;
    let first = match &filter.after {
        None => head.last,
        Some(after) => {
            let found = db
                .first(
                    "SELECT previous FROM ledger WHERE id = $1 AND org_id = $2 AND mode = $3",
                    &[&after.as_str(), &org.as_str(), &mode.as_str()],
                )
                .await?;
            match rows::read(found.as_ref(), Columns::take)? {
                Some(before) => before,
                None => return Ok(None),
            }
        }
    };
    let kind = filter.kind.map(EntryKind::as_str);
    let (count, entries) = match &filter.job {
        Some(job) => of_job(db, org, mode, job, (kind, first), filter).await?,
        None => of_chain(db, &head, (kind, first), filter).await?,
    };
    Ok(Some(EntryPage {
        entries,
        count: count.unsigned_abs(),
    }))
}

const COLUMNS: &str = "id, kind, amount, balance_after, job_id, reason, created_at";

/// Kind, if only one is wanted, and the first row that may be shown.
type From<'a> = (Option<&'a str>, Option<i64>);

async fn of_chain(
    db: &Db,
    head: &Head,
    (kind, first): From<'_>,
    filter: &EntryFilter,
) -> Result<(i64, Vec<Entry>)> {
    let count = if kind.is_none() {
        head.count
    } else {
        let chain = Chain::Ledger.from("$1", "$3");
        let counted = db
            .one(
                &format!(
                    "WITH RECURSIVE {chain}
                     SELECT count(*) FROM ledger_chain JOIN ledger ON seq = number WHERE kind = $2"
                ),
                &[&head.last, &kind, &head.end],
            )
            .await?;
        Columns::of(&counted).take()?
    };
    let chain = Chain::Ledger.page(
        "$1",
        "$5",
        "$2::text IS NULL OR kind = $2::text",
        "$3::bigint + $4::bigint",
    );
    let page = db
        .all(
            &format!(
                "WITH RECURSIVE {chain}
                 SELECT {COLUMNS} FROM ledger_chain JOIN ledger ON seq = number
                 WHERE is_wanted ORDER BY number DESC LIMIT $3::bigint OFFSET $4::bigint"
            ),
            &[
                &first,
                &kind,
                &i64::from(filter.limit),
                &i64::from(filter.offset),
                &head.end,
            ],
        )
        .await?;
    Ok((count, collect(&page, read)?))
}

async fn of_job(
    db: &Db,
    org: &OrgId,
    mode: Mode,
    job: &JobId,
    (kind, first): From<'_>,
    filter: &EntryFilter,
) -> Result<(i64, Vec<Entry>)> {
    const WANTED: &str =
        "job_id = $1 AND org_id = $2 AND mode = $3 AND ($4::text IS NULL OR kind = $4::text)";
    let (job, org, mode) = (job.as_str(), org.as_str(), mode.as_str());
    let counted = db
        .one(
            &format!("SELECT count(*) FROM ledger WHERE {WANTED}"),
            &[&job, &org, &mode, &kind],
        )
        .await?;
    let page = db
        .all(
            &format!(
                "SELECT {COLUMNS} FROM ledger WHERE {WANTED} AND seq <= $5 ORDER BY seq DESC LIMIT $6 OFFSET $7"
            ),
            &[
                &job,
                &org,
                &mode,
                &kind,
                &first,
                &i64::from(filter.limit),
                &i64::from(filter.offset),
            ],
        )
        .await?;
    Ok((Columns::of(&counted).take()?, collect(&page, read)?))
}
