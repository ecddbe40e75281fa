//! Requests that were admitted before: full windows, without a day of waiting.

use std::time::Duration;

use rusqlite::params;
use vydra_core::time::Timestamp;
use vydra_core::window::pack;

use crate::server::Data;
use crate::system;

/// A row of the table.
const AT_ONCE: usize = 10_000;

/// Lets the first organization have made `count` requests evenly between `from` and `to` ago. No server runs on the data.
pub fn admissions(data: &Data, count: usize, from: Duration, to: Duration) -> anyhow::Result<()> {
    let mut db = data.open()?;
    let org: String = db.query_row(
        "SELECT id FROM organizations WHERE name = ?1",
        [super::FIRST],
        |row| row.get(0),
    )?;
    let (now, span) = (system::now(), from.saturating_sub(to));
    let step = span / u32::try_from(count)?.max(1);
    let moments: Vec<Timestamp> = (0..u32::try_from(count)?)
        .map(|number| now.minus(from).plus(step * number))
        .collect();
    let transaction = db.transaction()?;
    for part in moments.chunks(AT_ONCE) {
        if let Some(last) = part.last() {
            transaction.execute(
                "INSERT INTO admissions (org_id, last_at, moments) VALUES (?1, ?2, ?3)",
                params![org, last.as_micros(), pack(part)],
            )?;
        }
    }
    transaction.commit()?;
    super::settle(&db)
}
