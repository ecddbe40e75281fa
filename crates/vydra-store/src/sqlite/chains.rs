//! The rows of one organization and mode, the newest first. Each names the one before it, and the balance the last of them:
//! see the migration that began it.

use crate::Result;
use rusqlite::{Connection, OptionalExtension, params};
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
    pub(super) fn head(self, db: &Connection, org: &OrgId, mode: Mode) -> Result<Head> {
        let columns = match self {
            Self::Jobs => "b.jobs - coalesce(c.jobs, 0), last_job, coalesce(c.job, 0)",
            Self::Ledger => "b.entries - coalesce(c.entries, 0), last_entry, coalesce(c.entry, 0)",
        };
        let head = db
            .prepare_cached(&format!(
                "SELECT {columns} FROM balances b LEFT JOIN carried c ON c.org_id = b.org_id AND c.mode = b.mode
                 WHERE b.org_id = ?1 AND b.mode = ?2"
            ))?
            .query_row(params![org.as_str(), mode.as_str()], |row| {
                Ok(Head {
                    count: row.get(0)?,
                    last: row.get(1)?,
                    end: row.get(2)?,
                })
            })
            .optional()?;
        Ok(head.unwrap_or_default())
    }

    /// A common table expression: the numbers from `first` on and above `end`, expressions. Whoever joins it must say CROSS
    /// JOIN, which keeps SQLite from turning the order round.
    pub(super) fn from(self, first: &str, end: &str) -> String {
        let (name, table) = match self {
            Self::Jobs => ("job_chain", "jobs"),
            Self::Ledger => ("ledger_chain", "ledger"),
        };
        format!(
            "{name} (number, before) AS (
                 SELECT seq, previous FROM {table} WHERE seq = {first} AND seq > {end}
                 UNION ALL
                 SELECT t.seq, t.previous FROM {name} c CROSS JOIN {table} t ON t.seq = c.before WHERE c.before > {end})"
        )
    }
}
