//! Connections that only read, each used by one query at a time.
//!
//! A look-up by key takes some microseconds, less than a change of threads would: it runs where it is asked for. Whatever
//! may read many rows goes to the blocking pool.

use super::connect;
use crate::{Result, StoreError};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    /// Bounds the queries on the blocking pool. Look-ups need no bound: there are never more than threads.
    free: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(path: &Path, count: usize) -> Result<Self> {
        let idle = (0..count)
            .map(|_| reader(path))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            path: path.to_owned(),
            idle: Arc::new(Mutex::new(idle)),
            free: Arc::new(Semaphore::new(count)),
        })
    }

    /// For what finds its rows by a key.
    pub(super) fn look_up<T>(&self, query: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match idle {
            Some(connection) => connection,
            None => reader(&self.path)?,
        };
        let borrowed = Borrowed {
            connection: Some(connection),
            idle: Arc::clone(&self.idle),
        };
        borrowed
            .connection
            .as_ref()
            .map_or(Err(StoreError::Busy), query)
    }

    /// For what may read many rows.
    pub(super) async fn scan<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let permit = Arc::clone(&self.free)
            .acquire_owned()
            .await
            .map_err(|_closed| StoreError::Busy)?;
        let readers = Self {
            path: self.path.clone(),
            idle: Arc::clone(&self.idle),
            free: Arc::clone(&self.free),
        };
        tokio::task::spawn_blocking(move || {
            let result = readers.look_up(query);
            drop(permit);
            result
        })
        .await
        .unwrap_or_else(|error| Err(StoreError::Database(Box::new(error))))
    }
}

pub(super) fn reader(path: &Path) -> Result<Connection> {
    let reader = connect(path)?;
    reader.pragma_update(None, "query_only", true)?;
    Ok(reader)
}

/// Goes back even when the query panics.
struct Borrowed {
    connection: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let connection = self.connection.take();
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(connection);
    }
}
