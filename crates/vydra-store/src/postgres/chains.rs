//! The rows of one organization and mode, the newest first. Each names the one before it, and the balance the last of them:
//! see SQLite's migration that began it.

use super::db::Db;
use super::rows::{Columns, read};
use crate::Result;
use vydra_core::ids::OrgId;
use vydra_core::job::Mode;

/// What hangs together.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chain {
    Jobs,
    Ledger,
}

/// How many rows a chain has, where it begins, and behind which number it ends: what comes there was carried forward.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) count: i64,
    pub(super) last: Option<i64>,
    pub(super) end: i64,
}

impl Chain {
    pub(super) async fn head(self, db: &Db, org: &OrgId, mode: Mode) -> Result<Head> {
        let columns = match self {
            Self::Jobs => "b.jobs - coalesce(c.jobs, 0), b.last_job, coalesce(c.job, 0)",
            Self::Ledger => {
                "b.entries - coalesce(c.entries, 0), b.last_entry, coalesce(c.entry, 0)"
            }
        };
        let row = db
            .first(
                &format!(
                    "SELECT {columns} FROM balances b LEFT JOIN carried c ON c.org_id = b.org_id AND c.mode = b.mode
                     WHERE b.org_id = $1 AND b.mode = $2"
                ),
                &[&org.as_str(), &mode.as_str()],
            )
            .await?;
        let head = read(row.as_ref(), |row: &mut Columns<'_>| {
            Ok(Head {
                count: row.take()?,
                last: row.take()?,
                end: row.take()?,
            })
        })?;
        Ok(head.unwrap_or_default())
    }

    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Jobs => ("job_chain", "jobs"),
            Self::Ledger => ("ledger_chain", "ledger"),
        }
    }

    /// A common table expression: the numbers from `first` on and above `end`, expressions. All of them are walked, and
    /// whoever joins them gets them in no order.
    pub(super) fn from(self, first: &str, end: &str) -> String {
        let (name, table) = self.names();
        // The limit keeps Postgres from reading the whole table for every row of the chain.
        format!(
            "{name} (number, before) AS (
                 SELECT seq, previous FROM {table} WHERE seq = ({first})::bigint AND seq > ({end})::bigint
                 UNION ALL
                 SELECT t.seq, t.previous FROM {name} c CROSS JOIN LATERAL
                     (SELECT seq, previous FROM {table} WHERE seq = c.before LIMIT 1) t
                 WHERE c.before > ({end})::bigint)"
        )
    }

    /// The same, but only as far as it takes to find `most` rows that are `wanted`, a condition on the table's own columns.
    /// Whoever joins it says `WHERE is_wanted ORDER BY number DESC`: so little can be sorted.
    pub(super) fn page(self, first: &str, end: &str, wanted: &str, most: &str) -> String {
        let (name, table) = self.names();
        let columns = format!("seq, previous, coalesce(({wanted}), false) AS is_wanted");
        format!(
            "{name} (number, before, is_wanted, found) AS (
                 SELECT seq, previous, is_wanted, is_wanted::int::bigint
                 FROM (SELECT {columns} FROM {table} WHERE seq = ({first})::bigint AND seq > ({end})::bigint) t
                 UNION ALL
                 SELECT t.seq, t.previous, t.is_wanted, c.found + t.is_wanted::int FROM {name} c CROSS JOIN LATERAL
                     (SELECT {columns} FROM {table} WHERE seq = c.before LIMIT 1) t
                 WHERE c.found < ({most}) AND c.before > ({end})::bigint)"
        )
    }
}
