//! The write-ahead log, moved into the database beside the writer.
//!
//! Where SQLite does it by itself, a commit waits for it every thousand pages: some milliseconds, and two disk syncs. Here a
//! thread copies the bulk while the writer goes on. It cannot come to an end while the log grows, so the writer copies the
//! little that is left, between two batches; then the log begins anew.

use super::connect;
use crate::{Result, StoreError};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

/// How many pages the log may have before it is moved: 32 MiB. A page that was written often is copied once.
const FULL: u32 = 8_192;
/// How much the log may have grown while it was copied, to be left to the writer.
const REST: u32 = 512;
/// What a log is cut to when it begins anew, in bytes.
const KEPT: i64 = 64 * 1_024 * 1_024;
const ROUNDS: u32 = 4;

#[derive(Debug)]
pub(super) struct Checkpoints {
    /// None of a database in memory.
    path: Option<PathBuf>,
    /// Pages in the log after the last commit of the writer.
    log: Arc<AtomicU32>,
    full: u32,
    next: u32,
    /// Gives the number of pages that it left.
    running: Option<JoinHandle<Result<u32>>>,
}

impl Checkpoints {
    /// Takes them over from SQLite, for commits of this connection.
    pub(super) fn of(connection: &mut Connection) -> Result<Self> {
        Self::every(FULL, connection)
    }

    fn every(full: u32, connection: &mut Connection) -> Result<Self> {
        connection.pragma_update(None, "journal_size_limit", KEPT)?;
        let log = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&log);
        connection.wal_hook(Some(move |_: &mut _, pages| {
            seen.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self {
            path: connection.path().map(PathBuf::from),
            log,
            full,
            next: full,
            running: None,
        })
    }

    /// Between two batches, on the writer's thread.
    pub(super) fn keep_up(&mut self, connection: &Connection) {
        if let Err(error) = self.step(connection) {
            // What is in the log is as durable there; it only grows, and the next batch tries again.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the write-ahead log could not be moved into the database"
            );
        }
    }

    fn step(&mut self, connection: &Connection) -> Result<()> {
        let pages = self.log.load(Ordering::Relaxed);
        if let Some(running) = self.running.take_if(|running| running.is_finished()) {
            // Somebody still reads what is in the log when it does not begin anew; not every batch asks again.
            self.next = pages + self.full / 8;
            let left = running
                .join()
                .map_err(|_panic| StoreError::Database("a checkpoint panicked".into()))
                .flatten();
            // What is much is left to the next thread: a reader may have stood in the way of this one. Where there can be no
            // thread, it is still better to wait for the disk than to fill it.
            if !matches!(left, Ok(left) if left > 2 * REST) {
                checkpoint(connection)?;
            }
            left?;
        } else if pages < self.full {
            self.next = self.full;
        }
        if pages >= self.next && self.running.is_none() {
            self.next = pages + self.full / 8;
            self.running = match self.path.clone().map(beside).transpose() {
                Ok(running) => running,
                Err(error) => {
                    checkpoint(connection)?;
                    return Err(error);
                }
            };
        }
        Ok(())
    }
}

fn beside(path: PathBuf) -> Result<JoinHandle<Result<u32>>> {
    std::thread::Builder::new()
        .name("vydra-log".to_owned())
        .spawn(move || {
            let connection = connect(&path)?;
            let mut left = 0;
            for _ in 0..ROUNDS {
                left = checkpoint(&connection)?;
                if left <= REST {
                    break;
                }
            }
            Ok(left)
        })
        .map_err(|error| StoreError::Database(Box::new(error)))
}

/// Copies what it can without waiting for anybody. How many pages were left.
fn checkpoint(connection: &Connection) -> Result<u32> {
    let (log, copied) = connection
        .prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?
        .query_row((), |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))?;
    Ok(u32::try_from(log - copied).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection to a new database, checkpointed after so many pages.
    fn database(folder: &tempfile::TempDir, full: u32) -> (Connection, Checkpoints) {
        let mut connection = connect(&folder.path().join("vydra.db")).unwrap();
        connection
            .execute_batch("CREATE TABLE seen (word TEXT)")
            .unwrap();
        let checkpoints = Checkpoints::every(full, &mut connection).unwrap();
        (connection, checkpoints)
    }

    fn write(connection: &Connection, checkpoints: &mut Checkpoints) -> u32 {
        connection
            .execute("INSERT INTO seen VALUES (hex(randomblob(10000)))", ())
            .unwrap();
        let pages = checkpoints.log.load(Ordering::Relaxed);
        checkpoints.keep_up(connection);
        pages
    }

    #[test]
    fn the_log_begins_anew_while_the_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, mut checkpoints) = database(&folder, 64);
        let (mut times, mut before) = (0, 0);
        let mut written = 0;
        while times < 3 {
            let pages = write(&connection, &mut checkpoints);
            times += u32::from(pages < before);
            before = pages;
            written += 1;
            assert!(written < 100_000, "the log only grows: {pages} pages");
        }
        let whole: String = connection
            .query_row("PRAGMA integrity_check", (), |row| row.get(0))
            .unwrap();
        assert_eq!(whole, "ok");
    }

    #[test]
    fn a_reader_of_the_log_holds_up_the_log_and_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, mut checkpoints) = database(&folder, 64);
        write(&connection, &mut checkpoints);
        let reader = connect(&folder.path().join("vydra.db")).unwrap();
        let snapshot = reader.unchecked_transaction().unwrap();
        let count = |db: &Connection| -> i64 {
            db.query_row("SELECT count(*) FROM seen", (), |row| row.get(0))
                .unwrap()
        };
        assert_eq!(count(&snapshot), 1);
        let mut pages = 0;
        while pages < 640 {
            let now = write(&connection, &mut checkpoints);
            assert!(now > pages, "the log began anew under a reader");
            pages = now;
        }
        assert_eq!(count(&snapshot), 1);
        snapshot.commit().unwrap();
        let mut written = 0;
        while write(&connection, &mut checkpoints) > 64 {
            written += 1;
            assert!(written < 100_000, "the log only grows");
        }
    }

    #[test]
    fn without_a_thread_the_writer_moves_the_log_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, mut checkpoints) = database(&folder, 64);
        checkpoints.path = Some(folder.path().join("no such folder").join("vydra.db"));
        let (mut times, mut before, mut written) = (0, 0, 0);
        while times < 3 {
            let pages = write(&connection, &mut checkpoints);
            times += u32::from(pages < before);
            before = pages;
            written += 1;
            assert!(written < 100_000, "the log only grows: {pages} pages");
        }
        let rows: i64 = connection
            .query_row("SELECT count(*) FROM seen", (), |row| row.get(0))
            .unwrap();
        assert_eq!(rows, written);
    }
}
