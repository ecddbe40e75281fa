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

/// How many rows a chain has, and where it begins.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) count: i64,
    pub(super) last: Option<i64>,
}

impl Chain {
    pub(super) fn head(self, db: &Connection, org: &OrgId, mode: Mode) -> Result<Head> {
        let columns = match self {
            Self::Jobs => "jobs, last_job",
            Self::Ledger => "entries, last_entry",
        };
        let head = db
            .prepare_cached(&format!(
                "SELECT {columns} FROM balances WHERE org_id = ?1 AND mode = ?2"
            ))?
            .query_row(params![org.as_str(), mode.as_str()], |row| {
                Ok(Head {
                    count: row.get(0)?,
                    last: row.get(1)?,
                })
            })
            .optional()?;
        Ok(head.unwrap_or_default())
    }

    /// A common table expression: the numbers from `first` on, an expression. Whoever joins it must say CROSS JOIN, which
    /// keeps SQLite from turning the order round.
    pub(super) fn from(self, first: &str) -> String {
        let (name, table) = match self {
            Self::Jobs => ("job_chain", "jobs"),
            Self::Ledger => ("ledger_chain", "ledger"),
        };
        format!(
            "{name} (number, before) AS (
                 SELECT seq, previous FROM {table} WHERE seq = {first}
                 UNION ALL
                 SELECT t.seq, t.previous FROM {name} c CROSS JOIN {table} t ON t.seq = c.before)"
        )
    }
}
