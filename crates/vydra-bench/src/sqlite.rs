//! Yardstick: what plain SQLite does for one charge and one job, without HTTP, keys, limits or anything else around it.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use rusqlite::{Connection, TransactionBehavior, params};
use tokio::time::Instant;

use crate::system;

const SCHEMA: &str = "
    CREATE TABLE balances (org TEXT PRIMARY KEY, credits INTEGER NOT NULL CHECK (credits >= 0)) STRICT, WITHOUT ROWID;
    CREATE TABLE ledger (seq INTEGER PRIMARY KEY, org TEXT NOT NULL, amount INTEGER NOT NULL, job TEXT NOT NULL) STRICT;
    CREATE TABLE jobs (id TEXT PRIMARY KEY, org TEXT NOT NULL, status TEXT NOT NULL, input TEXT NOT NULL) STRICT, WITHOUT ROWID;";
const ORGS: u64 = 1_000;

/// Charges a second: a conditional change of a balance, a ledger row and a job row each, `batch` of them a commit, every commit
/// durable (WAL, synchronous=FULL).
pub fn charges(folder: &Path, batch: u64, span: Duration) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir_in(folder)?;
    let mut db = Connection::open(folder.path().join("yardstick.db"))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.execute_batch(SCHEMA)?;
    let input = format!("{{\"prompt\":\"{}\"}}", "a".repeat(200));
    let filling = db.transaction()?;
    for org in 0..ORGS {
        filling.execute(
            "INSERT INTO balances VALUES (?1, 1000000000)",
            params![format!("org_{org:026}")],
        )?;
    }
    filling.commit()?;
    let begin = Instant::now();
    let mut charged = 0_u64;
    while begin.elapsed() < span {
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for _ in 0..batch {
            let (org, job) = (
                format!("org_{:026}", charged * 7 % ORGS),
                format!("job_{charged:026}"),
            );
            let paid = transaction
                .prepare_cached(
                    "UPDATE balances SET credits = credits - 5 WHERE org = ?1 AND credits >= 5",
                )?
                .execute(params![org])?;
            ensure!(paid == 1, "a balance is empty");
            transaction
                .prepare_cached("INSERT INTO ledger (org, amount, job) VALUES (?1, -5, ?2)")?
                .execute(params![org, job])?;
            transaction
                .prepare_cached("INSERT INTO jobs VALUES (?1, ?2, 'pending', ?3)")?
                .execute(params![job, org, input])?;
            charged += 1;
        }
        transaction.commit()?;
    }
    Ok(system::float(charged) / begin.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_are_counted_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let rate = charges(folder.path(), 100, Duration::from_millis(1)).unwrap();
        assert!(rate >= 100.0, "{rate}");
    }
}
