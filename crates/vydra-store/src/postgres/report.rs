//! What an operator should know of a database before relying on it.

use super::db::Db;
use super::rows::Columns;
use crate::Result;
use std::time::Duration;
use tokio::time::Instant;

/// The fastest counts: the first has the statement prepared, and any other may have waited for something else.
const ROUND_TRIPS: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresReport {
    pub version: String,
    /// On the way from here to there.
    pub is_encrypted: bool,
    pub round_trip: Duration,
    /// How many connections this user may have there at once, shared with whoever else uses the database.
    pub most_connections: u32,
    /// Of those, how many are taken, this one not counted.
    pub taken_connections: u32,
    /// Whether what is committed is on the disk.
    pub fsync: bool,
    /// Whether a page that was being written when the power failed is mended.
    pub full_page_writes: bool,
    /// What a commit waits for where nobody says otherwise. We do.
    pub synchronous_commit: String,
}

pub(super) async fn report(db: &Db) -> Result<PostgresReport> {
    let mut round_trip = Duration::MAX;
    for _ in 0..ROUND_TRIPS {
        let began = Instant::now();
        db.one("SELECT 1", &[]).await?;
        round_trip = round_trip.min(began.elapsed());
    }
    let asked = db.one(
        "SELECT current_setting('server_version'),
                coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
                least(current_setting('max_connections')::bigint
                          - current_setting('superuser_reserved_connections')::bigint,
                      nullif((SELECT datconnlimit FROM pg_database WHERE datname = current_database()), -1),
                      nullif((SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), -1)),
                (SELECT count(*) FROM pg_stat_activity
                 WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()),
                current_setting('fsync')::bool,
                current_setting('full_page_writes')::bool,
                (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit')",
        &[],
    );
    let asked = asked.await?;
    let mut columns = Columns::of(&asked);
    Ok(PostgresReport {
        round_trip,
        version: columns.take()?,
        is_encrypted: columns.take()?,
        most_connections: columns.number()?,
        taken_connections: columns.number()?,
        fsync: columns.take()?,
        full_page_writes: columns.take()?,
        synchronous_commit: columns.take()?,
    })
}
