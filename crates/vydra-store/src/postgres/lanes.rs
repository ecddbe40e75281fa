//! Writes, many in one transaction. A node writes through a few connections, each with its own thread: a command goes to the
//! connection of its organization, where it does not wait for the row of its balance. Whatever waits for a connection is
//! run in one transaction, one command after the other, and answered after the commit.
//!
//! In Postgres a statement that fails undoes its transaction. So when a command fails, all of the batch is undone and run
//! again, each command in a transaction of its own. A command must therefore do the same when it is run twice.

use super::db::Db;
use super::pool::Connector;
use crate::{Result, StoreError};
use async_trait::async_trait;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// How many commands may wait for a connection: beyond it callers are told that the store is busy.
const QUEUE: usize = 1_024;
const BATCH: usize = 128;

/// What a committed command outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// The database's machine.
    Disk,
    /// The database's process alone: what it wrote may be lost with the power, never a part of it.
    Process,
}

#[async_trait(?Send)]
trait Command: Send {
    fn durability(&self) -> Durability;
    /// Err when nothing of it shall stay. May be called again after everything was undone.
    async fn run(&mut self, db: &Db) -> std::result::Result<(), Undone>;
    fn answer(self: Box<Self>, committed: std::result::Result<(), Undone>);
}

/// Why a command or a whole batch was undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undone {
    /// The connection is gone, or the database cannot write: the same for everybody.
    Away,
    Busy,
    Other,
}

impl Undone {
    fn of(error: &StoreError) -> Self {
        match error {
            StoreError::Unwritable(_) => Self::Away,
            StoreError::Busy => Self::Busy,
            StoreError::LeaseLost
            | StoreError::SchemaTooNew { .. }
            | StoreError::Corrupt(_)
            | StoreError::Database(_) => Self::Other,
        }
    }

    fn error(self) -> StoreError {
        match self {
            Self::Away => StoreError::Unwritable("the transaction failed".into()),
            Self::Busy => StoreError::Busy,
            Self::Other => StoreError::Database("the transaction failed".into()),
        }
    }
}

struct Waiting<T, F> {
    durability: Durability,
    command: F,
    result: Option<Result<T>>,
    caller: oneshot::Sender<Result<T>>,
}

#[async_trait(?Send)]
impl<T, F> Command for Waiting<T, F>
where
    T: Send,
    F: AsyncFn(&Db) -> Result<T> + Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    async fn run(&mut self, db: &Db) -> std::result::Result<(), Undone> {
        let result = (self.command)(db).await;
        let outcome = result.as_ref().map(|_| ()).map_err(Undone::of);
        self.result = Some(result);
        outcome
    }

    fn answer(self: Box<Self>, committed: std::result::Result<(), Undone>) {
        let answer = match (committed, self.result) {
            // What failed by itself keeps its own reason.
            (_, Some(Err(error))) => Err(error),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Err(undone), _) => Err(undone.error()),
            (Ok(()), None) => Err(Undone::Other.error()),
        };
        // A caller that has gone away needs no answer; what was committed stays.
        let _ = self.caller.send(answer);
    }
}

#[derive(Debug, Clone)]
pub(super) struct Lanes {
    lanes: Arc<[mpsc::Sender<Box<dyn Command>>]>,
}

impl Lanes {
    pub(super) fn start(connector: &Connector, count: usize) -> Result<Self> {
        let lanes: Result<Vec<_>> = (0..count.max(1))
            .map(|number| {
                let (queue, waiting) = mpsc::channel(QUEUE);
                let mut lane = Lane {
                    connector: connector.clone(),
                    db: None,
                };
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| StoreError::Database(Box::new(error)))?;
                std::thread::Builder::new()
                    .name(format!("vydra-lane-{number}"))
                    .spawn(move || runtime.block_on(lane.write_all(waiting)))
                    .map_err(|error| StoreError::Database(Box::new(error)))?;
                Ok(queue)
            })
            .collect();
        Ok(Self {
            lanes: lanes?.into(),
        })
    }

    /// Runs a command beside others of the same `whose`: an organization, a job, or whatever it is about.
    pub(super) async fn run<T, F>(
        &self,
        whose: &str,
        durability: Durability,
        command: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: AsyncFn(&Db) -> Result<T> + Send + 'static,
    {
        let mut hasher = DefaultHasher::new();
        whose.hash(&mut hasher);
        let count = u64::try_from(self.lanes.len()).unwrap_or(1);
        let lane = usize::try_from(hasher.finish() % count).unwrap_or(0);
        let (caller, answer) = oneshot::channel();
        let command = Box::new(Waiting {
            durability,
            command,
            result: None,
            caller,
        });
        self.lanes[lane]
            .try_send(command)
            .map_err(|_full_or_gone| StoreError::Busy)?;
        answer
            .await
            .unwrap_or_else(|_gone| Err(StoreError::Database("the writer has stopped".into())))
    }
}

struct Lane {
    connector: Connector,
    db: Option<Db>,
}

impl Lane {
    async fn write_all(&mut self, mut waiting: mpsc::Receiver<Box<dyn Command>>) {
        let mut batch = Vec::with_capacity(BATCH);
        while waiting.recv_many(&mut batch, BATCH).await > 0 {
            let committed = self.commit(&mut batch).await;
            // Two batches that wait for one another end as busy, through no fault of their commands.
            let is_mendable = matches!(committed, Err(Undone::Other | Undone::Busy));
            if is_mendable && batch.len() > 1 {
                for mut command in batch.drain(..) {
                    let committed = self.commit(std::slice::from_mut(&mut command)).await;
                    command.answer(committed);
                }
            }
            for command in batch.drain(..) {
                command.answer(committed);
            }
        }
    }

    async fn commit(&mut self, batch: &mut [Box<dyn Command>]) -> std::result::Result<(), Undone> {
        let db = match self.db.take().filter(|db| !db.is_closed()) {
            Some(db) => db,
            None => self.connector.connect().await.map_err(|error| {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the database cannot be reached"
                );
                Undone::Away
            })?,
        };
        let committed = in_one(&db, batch).await;
        if committed.is_err() && !db.is_closed() {
            // Whatever is left of it must not leak into the next one.
            let _ = db.script("ROLLBACK").await;
        }
        self.db = Some(db);
        committed
    }
}

async fn in_one(db: &Db, batch: &mut [Box<dyn Command>]) -> std::result::Result<(), Undone> {
    let is_relaxed = batch
        .iter()
        .all(|command| command.durability() == Durability::Process);
    let begin = if is_relaxed {
        "BEGIN; SET LOCAL synchronous_commit = off"
    } else {
        "BEGIN"
    };
    let failed = |error: StoreError| Undone::of(&error);
    db.script(begin).await.map_err(failed)?;
    for command in batch {
        command.run(db).await?;
    }
    db.script("COMMIT").await.map_err(failed)
}
