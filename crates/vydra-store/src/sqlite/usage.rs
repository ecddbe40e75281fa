use super::chains::Chain;
use super::rows::{Columns, collect};
use crate::Result;
use rusqlite::{Connection, params};
use vydra_core::ids::OrgId;
use vydra_core::job::Mode;
use vydra_core::time::Timestamp;
use vydra_core::usage::{UsageBy, UsageFigures, UsageRow};

fn read(row: &mut Columns<'_, '_>) -> Result<UsageRow> {
    Ok(UsageRow {
        group: row.take()?,
        figures: UsageFigures {
            jobs: row.take()?,
            completed: row.take()?,
            failed: row.take()?,
            cancelled: row.take()?,
            charged: row.take()?,
            refunded: row.take()?,
        },
    })
}

/// What a row stands under, for a job that counts at this time.
fn group(by: UsageBy, time: &str) -> String {
    match by {
        UsageBy::Day => format!("date({time} / 1000000, 'unixepoch')"),
        UsageBy::Model => "json_extract(j.call, '$.model')".to_owned(),
        UsageBy::Key => "j.key_id".to_owned(),
    }
}

pub(super) fn rows(
    db: &Connection,
    org: &OrgId,
    mode: Mode,
    by: UsageBy,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<UsageRow>> {
    let (made, ended, moved) = (
        group(by, "j.created_at"),
        group(by, "j.completed_at"),
        group(by, "l.created_at"),
    );
    let last = |column| format!("(SELECT {column} FROM balances WHERE org_id = ?1 AND mode = ?2)");
    let end = |column| {
        format!("coalesce((SELECT {column} FROM carried WHERE org_id = ?1 AND mode = ?2), 0)")
    };
    let jobs = Chain::Jobs.from(&last("last_job"), &end("job"));
    let ledger = Chain::Ledger.from(&last("last_entry"), &end("entry"));
    // Each thing counts when it happened, so that the credits of a span are those that the ledger moved in it, also for
    // a job that was made before it. One statement sees one snapshot.
    let mut statement = db.prepare_cached(&format!(
        "WITH RECURSIVE {jobs}, {ledger}
         SELECT place, sum(jobs), sum(completed), sum(failed), sum(cancelled), sum(charged), sum(refunded) FROM (
             SELECT {made} AS place, 1 AS jobs, 0 AS completed, 0 AS failed, 0 AS cancelled, 0 AS charged, 0 AS refunded
             FROM job_chain CROSS JOIN jobs j ON j.seq = number WHERE j.created_at >= ?3 AND j.created_at < ?4
             UNION ALL
             SELECT {ended}, 0, j.status = 'completed', j.status = 'failed', j.status = 'cancelled', 0, 0
             FROM job_chain CROSS JOIN jobs j ON j.seq = number WHERE j.completed_at >= ?3 AND j.completed_at < ?4
             UNION ALL
             SELECT {moved}, 0, 0, 0, 0, iif(l.kind = 'charge', -l.amount, 0), iif(l.kind = 'refund', l.amount, 0)
             FROM ledger_chain CROSS JOIN ledger l ON l.seq = number CROSS JOIN jobs j ON j.id = l.job_id
             WHERE l.kind IN ('charge', 'refund') AND l.created_at >= ?3 AND l.created_at < ?4)
         GROUP BY place ORDER BY place"
    ))?;
    collect(
        statement.query(params![
            org.as_str(),
            mode.as_str(),
            from.as_micros(),
            to.as_micros()
        ])?,
        read,
    )
}
