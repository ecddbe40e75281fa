//! Connections: how one is made, and those that readers share.

use super::db::Db;
use crate::{Result, StoreError};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{Config, NoTls};
use tokio_util::task::TaskTracker;

const CONNECT: Duration = Duration::from_secs(5);
/// Whatever the role or the database has set: a commit is one that lasts, a lock that is held this long belongs to somebody
/// who hangs, and so does a transaction in which nothing happens.
const SESSION: &str = "SET synchronous_commit = on; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '10s'";
/// How long a reader waits for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub(super) struct Connector {
    config: Arc<Config>,
}

impl Connector {
    pub(super) fn new(url: &str) -> Result<Self> {
        let mut config: Config = url
            .parse()
            .map_err(|error: tokio_postgres::Error| StoreError::Database(Box::new(error)))?;
        config
            .connect_timeout(CONNECT)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            // A peer that is gone without a word is noticed within seconds.
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(3))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(10))
            .application_name("vydra");
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// A connection that lives on the runtime of whoever asks.
    pub(super) async fn connect(&self) -> Result<Db> {
        let connected = tokio::time::timeout(CONNECT, self.try_connect()).await;
        connected.unwrap_or_else(|_late| {
            Err(StoreError::Unwritable(
                "the database does not answer".into(),
            ))
        })
    }

    async fn try_connect(&self) -> Result<Db> {
        let (client, connection) = self.config.connect(NoTls).await?;
        // Ends with the client.
        TaskTracker::new().spawn(connection);
        let db = Db::over(client);
        db.script(SESSION).await?;
        Ok(db)
    }
}

/// A few connections for whoever reads.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Connector,
    idle: Mutex<Vec<Db>>,
    places: Arc<Semaphore>,
}

impl Pool {
    pub(super) fn new(connector: Connector, size: usize) -> Self {
        Self {
            connector,
            idle: Mutex::default(),
            places: Arc::new(Semaphore::new(size)),
        }
    }

    pub(super) async fn get(&self) -> Result<Reader<'_>> {
        let place = Arc::clone(&self.places).acquire_owned();
        let place = tokio::time::timeout(PATIENCE, place).await;
        let Ok(Ok(place)) = place else {
            return Err(StoreError::Busy);
        };
        let idle = || {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop()
        };
        let db = loop {
            match idle() {
                Some(db) if db.is_closed() => {}
                Some(db) => break db,
                None => break self.connector.connect().await?,
            }
        };
        Ok(Reader {
            is_clean: true,
            pool: self,
            db: Some(db),
            _place: place,
        })
    }
}

impl Pool {
    pub(super) async fn snapshot(&self) -> Result<Snapshot<'_>> {
        let mut reader = self.get().await?;
        reader.is_clean = false;
        reader
            .db()
            .script("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?;
        Ok(Snapshot { reader })
    }
}

/// What is read over it is of one moment. Whoever drops it before its [`end`](Self::end) gives the connection up.
#[derive(Debug)]
pub(super) struct Snapshot<'a> {
    reader: Reader<'a>,
}

impl Snapshot<'_> {
    pub(super) async fn end<T>(mut self, found: Result<T>) -> Result<T> {
        self.reader.db().script("COMMIT").await?;
        self.reader.is_clean = true;
        found
    }
}

impl Deref for Snapshot<'_> {
    type Target = Db;

    fn deref(&self) -> &Db {
        self.reader.db()
    }
}

/// A connection that goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    is_clean: bool,
    pool: &'a Pool,
    db: Option<Db>,
    _place: OwnedSemaphorePermit,
}

impl Reader<'_> {
    pub(super) fn db(&self) -> &Db {
        self.db
            .as_ref()
            .unwrap_or_else(|| unreachable!("it goes back when it is dropped"))
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let is_clean = self.is_clean;
        if let Some(db) = self
            .db
            .take()
            .filter(|db| is_clean && !db.is_closed() && !db.take_failure())
        {
            let mut idle = self
                .pool
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            idle.push(db);
        }
    }
}
