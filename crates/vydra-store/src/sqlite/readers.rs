//! Connections that only read, each used by one query at a time, on the blocking pool.

use crate::{Result, StoreError};
use rusqlite::Connection;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

#[derive(Debug)]
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    free: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(count: usize, connect: impl Fn() -> Result<Connection>) -> Result<Self> {
        let idle = (0..count).map(|_| connect()).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            idle: Arc::new(Mutex::new(idle)),
            free: Arc::new(Semaphore::new(count)),
        })
    }

    pub(super) async fn run<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let permit = Arc::clone(&self.free)
            .acquire_owned()
            .await
            .map_err(|_closed| StoreError::Busy)?;
        let idle = Arc::clone(&self.idle);
        tokio::task::spawn_blocking(move || {
            let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let borrowed = Borrowed { connection, idle };
            let result = borrowed
                .connection
                .as_ref()
                .map_or(Err(StoreError::Busy), query);
            drop(borrowed);
            drop(permit);
            result
        })
        .await
        .unwrap_or_else(|error| Err(StoreError::Database(Box::new(error))))
    }
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
