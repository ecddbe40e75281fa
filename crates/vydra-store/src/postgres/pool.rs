//! Connections: how one is made, and those that readers share.

use super::db::Db;
use super::refusal::refusal;
use super::settings::PostgresSettings;
use crate::{Result, StoreError};
use std::fmt;
use std::future::poll_fn;
use std::num::NonZero;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{AsyncMessage, Config, Connection};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::TaskTracker;

const CONNECT: Duration = Duration::from_secs(5);
/// Whatever the role or the database has set: a commit is one that lasts, a lock that is held this long belongs to somebody
/// who hangs, and so does a transaction in which nothing happens. Most of what is asked for is a few rows by an index, also
/// while tables are so small that it would seem cheaper to read them in whole: they grow by thousands of rows a second, and
/// nobody counts them again for a minute.
const SESSION: &str = "SET synchronous_commit = on; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '10s';
     SET enable_seqscan = off; SET jit = off";
/// What may be about all rows of a table is planned for the tables as they are.
const PLANNED: &str = "SET LOCAL enable_seqscan = on";
/// How long a reader waits for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many connections of a kind there are, each with a thread of its own: half as many as this machine has cores. What waits
/// goes together: more connections than can be at work at once only make smaller batches, of which each costs nearly as much.
pub(super) fn by_cores(most: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    (cores / 2).clamp(1, most)
}

#[derive(Clone)]
pub(super) struct Connector {
    config: Arc<Config>,
    tls: MakeRustlsConnect,
    /// For one attempt at each of its hosts.
    patience: Duration,
}

impl Connector {
    pub(super) fn new(settings: &PostgresSettings) -> Result<Self> {
        let mut config = settings.config.clone();
        let connect = *config.get_connect_timeout().unwrap_or(&CONNECT);
        if config.get_application_name().is_none() {
            config.application_name("vydra");
        }
        config
            .connect_timeout(connect)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            // A peer that is gone without a word is noticed within seconds.
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(3))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(10));
        let hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
        Ok(Self {
            patience: connect * u32::try_from(hosts).unwrap_or(1),
            config: Arc::new(config),
            tls: settings.trust.connector()?,
        })
    }

    /// A connection that lives on the runtime of whoever asks.
    pub(super) async fn connect(&self) -> Result<Db> {
        self.connect_in_time(None).await
    }

    /// The same, which hands on what it is notified of. It ends when nobody takes that in time.
    pub(super) async fn connect_listening(&self, heard: mpsc::Sender<String>) -> Result<Db> {
        self.connect_in_time(Some(heard)).await
    }

    async fn connect_in_time(&self, heard: Option<mpsc::Sender<String>>) -> Result<Db> {
        let connected = tokio::time::timeout(self.patience, self.try_connect(heard)).await;
        connected.unwrap_or_else(|_late| {
            Err(StoreError::Unwritable(
                "the database does not answer".into(),
            ))
        })
    }

    async fn try_connect(&self, heard: Option<mpsc::Sender<String>>) -> Result<Db> {
        let connected = self.config.connect(self.tls.clone()).await;
        let (client, connection) =
            connected.map_err(|error| refusal(&error).unwrap_or_else(|| error.into()))?;
        // Ends with the client.
        match heard {
            None => drop(TaskTracker::new().spawn(connection)),
            Some(heard) => drop(TaskTracker::new().spawn(hand_on(connection, heard))),
        }
        let db = Db::over(client);
        db.script(SESSION).await?;
        Ok(db)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

async fn hand_on<S, T>(mut connection: Connection<S, T>, heard: mpsc::Sender<String>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    // What breaks is seen by the client.
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notification(notification) = message
            && heard.try_send(notification.payload().to_owned()).is_err()
        {
            return;
        }
    }
}

/// A few connections for whoever reads. They live on the runtime on which the store was opened, not on that of whoever reads
/// first, which may end before the others do, or stand still while somebody waits.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Connector,
    home: Handle,
    idle: Mutex<Vec<Db>>,
    places: Arc<Semaphore>,
}

impl Pool {
    pub(super) fn new(connector: Connector, home: Handle, size: usize) -> Self {
        Self {
            connector,
            home,
            idle: Mutex::default(),
            places: Arc::new(Semaphore::new(size)),
        }
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
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
                None => break self.connect().await.map_err(StoreError::away)?,
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
    async fn connect(&self) -> Result<Db> {
        let connector = self.connector.clone();
        let connecting = async move { connector.connect().await };
        let connecting = TaskTracker::new().spawn_on(connecting, &self.home);
        connecting.await.unwrap_or_else(|_gone| {
            Err(StoreError::Unwritable(
                "what the store runs on has ended".into(),
            ))
        })
    }

    /// What is read over it is of one moment.
    pub(super) async fn snapshot(&self) -> Result<Transaction<'_>> {
        self.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
    }

    /// For a chore that changes much, so that nobody's writes wait for it in a lane. What is locked is read anew.
    pub(super) async fn chore(&self) -> Result<Transaction<'_>> {
        self.begin("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
            .await
    }

    async fn begin(&self, how: &str) -> Result<Transaction<'_>> {
        let mut reader = self.get().await?;
        reader.is_clean = false;
        let begin = format!("{how}; {PLANNED}");
        reader.db().script(&begin).await?;
        Ok(Transaction { reader })
    }
}

/// Whoever drops it before its [`end`](Self::end) gives the connection up, and undoes what was done over it.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    reader: Reader<'a>,
}

impl Transaction<'_> {
    pub(super) async fn end<T>(mut self, found: Result<T>) -> Result<T> {
        // After a statement that failed it is a rollback.
        self.reader.db().script("COMMIT").await?;
        self.reader.is_clean = true;
        found
    }
}

impl Deref for Transaction<'_> {
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
