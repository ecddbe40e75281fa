//! Writes, many in one transaction. A node writes through a few connections, each with its own thread: a command goes to the
//! connection of its organization, where it does not wait for the row of its balance. Whatever waits for a connection is
//! run in one transaction, one command after the other, and answered after the commit.
//!
//! In Postgres a statement that fails undoes its transaction. So when a command fails, all of the batch is undone and run
//! again, each command under a savepoint of its own. A command must therefore do the same when it is run twice.
//!
//! When the connection breaks while a batch is committed, the database is asked, over another connection, what became of it.

use super::db::Db;
use super::pool::Connector;
use super::rows::Columns;
use crate::{Result, StoreError};
use async_trait::async_trait;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How many commands may wait for a connection: beyond it callers are told that the store is busy.
const QUEUE: usize = 1_024;
/// No more than the savepoints that Postgres keeps track of cheaply (64).
const BATCH: usize = 60;
/// Far more than a batch takes. A database that is silent for so long is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the fate of a commit is asked for, and how often.
const ASKED_FOR: Duration = Duration::from_secs(30);
const ASKED_EVERY: Duration = Duration::from_millis(250);

/// What a committed command outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// The database's machine.
    Disk,
    /// Our own process alone: what it wrote may be lost when the database's process or machine breaks down, never a part of it.
    Process,
}

/// Of the commands of one organization those that lock its balance come first: whoever locks a job does so behind its balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    Balance,
    Later,
}

#[async_trait(?Send)]
trait Command: Send {
    /// Rows are locked in one order by all, so that no two batches wait for each other.
    fn order(&self) -> (&str, Turn);
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
    /// Perhaps it was not.
    Unknown,
}

impl Undone {
    fn of(error: &StoreError) -> Self {
        match error {
            StoreError::Unwritable(_) => Self::Away,
            StoreError::Busy => Self::Busy,
            StoreError::Unknown => Self::Unknown,
            StoreError::LeaseLost
            | StoreError::Refused(_)
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
            Self::Unknown => StoreError::Unknown,
        }
    }
}

struct Waiting<T, F> {
    whose: String,
    turn: Turn,
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
    fn order(&self) -> (&str, Turn) {
        (&self.whose, self.turn)
    }

    fn durability(&self) -> Durability {
        self.durability
    }

    async fn run(&mut self, db: &Db) -> std::result::Result<(), Undone> {
        let mut running = std::pin::pin!((self.command)(db));
        // A command that panics must not take its lane with it.
        let result = std::future::poll_fn(|context| {
            catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context))).unwrap_or_else(
                |_panic| Poll::Ready(Err(StoreError::Database("a command panicked".into()))),
            )
        })
        .await;
        let outcome = match &result {
            // Seen before anything was changed, and an everyday answer: there is nothing to undo.
            Ok(_) | Err(StoreError::LeaseLost) => Ok(()),
            Err(error) => Err(Undone::of(error)),
        };
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

    /// What is about many organizations has a lane of its own, and is named with this in front and the order in which it is
    /// run: ends first, which lock balances; claims last, which wait for nobody.
    const CHORE: char = '~';

    fn lane_of(&self, whose: &str) -> usize {
        let last = self.lanes.len() - 1;
        if last == 0 || whose.starts_with(Self::CHORE) {
            return last;
        }
        let mut hasher = DefaultHasher::new();
        whose.hash(&mut hasher);
        let count = u64::try_from(last).unwrap_or(1);
        usize::try_from(hasher.finish() % count).unwrap_or(0)
    }

    /// Runs a command beside others of the same `whose`: an organization, or whatever it is about.
    pub(super) async fn run<T, F>(
        &self,
        whose: &str,
        turn: Turn,
        durability: Durability,
        command: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: AsyncFn(&Db) -> Result<T> + Send + 'static,
    {
        let lane = self.lane_of(whose);
        let (caller, answer) = oneshot::channel();
        let command = Box::new(Waiting {
            whose: whose.to_owned(),
            turn,
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

/// How far a transaction has come.
enum Reached {
    Commands,
    /// As [`Broken::AtCommit`].
    Commit(Option<String>),
}

/// Where a transaction broke off.
enum Broken {
    /// Nothing of it stays.
    Before(Undone),
    /// While it was made final; the number under which the database knows it, if it has changed anything.
    AtCommit(Option<String>),
}

impl Lane {
    async fn write_all(&mut self, mut waiting: mpsc::Receiver<Box<dyn Command>>) {
        let mut batch = Vec::with_capacity(BATCH);
        while waiting.recv_many(&mut batch, BATCH).await > 0 {
            batch.sort_by(|one, other| one.order().cmp(&other.order()));
            let mut committed = self.commit(&mut batch, false).await;
            // Two batches that wait for one another end as busy, through no fault of their commands.
            if matches!(committed, Err(Undone::Other | Undone::Busy)) {
                committed = self.commit(&mut batch, true).await;
            }
            if let Err(undone) = committed {
                tracing::warn!(commands = batch.len(), reason = ?undone, "a batch was not written");
            }
            for command in batch.drain(..) {
                command.answer(committed);
            }
        }
    }

    async fn commit(
        &mut self,
        batch: &mut [Box<dyn Command>],
        is_apart: bool,
    ) -> std::result::Result<(), Undone> {
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
        let mut reached = Reached::Commands;
        let written = in_one(&db, batch, is_apart, &mut reached);
        let written = tokio::time::timeout(PATIENCE, written).await;
        let broken = match written {
            Ok(Ok(())) => {
                self.db = Some(db);
                return Ok(());
            }
            Ok(Err(broken)) => broken,
            Err(_late) => match reached {
                Reached::Commit(transaction) => Broken::AtCommit(transaction),
                Reached::Commands => Broken::Before(Undone::Away),
            },
        };
        match broken {
            Broken::Before(undone) => {
                // A connection that cannot even undo is given up, and so is one whose database cannot write.
                if undone != Undone::Away && db.script("ROLLBACK").await.is_ok() {
                    db.take_failure();
                    self.db = Some(db);
                }
                Err(undone)
            }
            Broken::AtCommit(transaction) => {
                drop(db);
                self.fate(transaction).await
            }
        }
    }

    /// What became of a transaction whose commit was not answered.
    async fn fate(&self, transaction: Option<String>) -> std::result::Result<(), Undone> {
        let Some(transaction) = transaction else {
            return Err(Undone::Away);
        };
        let asked = async {
            loop {
                match self.ask(&transaction).await {
                    Ok(Some(fate)) if fate == "committed" => return Ok(()),
                    Ok(Some(fate)) if fate == "aborted" => return Err(Undone::Away),
                    // Too long ago to be remembered.
                    Ok(None) => return Err(Undone::Unknown),
                    Ok(Some(_)) | Err(_) => tokio::time::sleep(ASKED_EVERY).await,
                }
            }
        };
        let fate = tokio::time::timeout(ASKED_FOR, asked).await;
        fate.unwrap_or(Err(Undone::Unknown))
    }

    async fn ask(&self, transaction: &str) -> Result<Option<String>> {
        let db = self.connector.connect().await?;
        let asked = db
            .one("SELECT pg_xact_status($1::text::xid8)", &[&transaction])
            .await?;
        Columns::of(&asked).take()
    }
}

async fn in_one(
    db: &Db,
    batch: &mut [Box<dyn Command>],
    is_apart: bool,
    reached: &mut Reached,
) -> std::result::Result<(), Broken> {
    let is_relaxed = batch
        .iter()
        .all(|command| command.durability() == Durability::Process);
    // Whatever the role or the database has set: what is locked is read anew.
    let mut begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE".to_owned();
    if is_relaxed {
        begin += "; SET LOCAL synchronous_commit = off";
    }
    if is_apart {
        // One of them may wait for somebody who hangs: the others must not wait for it.
        begin += "; SET LOCAL lock_timeout = '500ms'";
    }
    let failed = |error: StoreError| Broken::Before(Undone::of(&error));
    db.script(&begin).await.map_err(failed)?;
    for command in batch {
        if is_apart {
            apart(db, command.as_mut()).await.map_err(failed)?;
        } else {
            command.run(db).await.map_err(Broken::Before)?;
        }
    }
    let transaction = db
        .one("SELECT pg_current_xact_id_if_assigned()::text", &[])
        .await
        .and_then(|row| Columns::of(&row).take());
    let transaction: Option<String> = transaction.map_err(failed)?;
    // A commit of what has failed is a rollback, and does not say so.
    if db.take_failure() {
        return Err(Broken::Before(Undone::Other));
    }
    *reached = Reached::Commit(transaction.clone());
    let committed = db.script("COMMIT").await;
    committed.map_err(|_| Broken::AtCommit(transaction))
}

/// Under a savepoint, so that it undoes nothing but itself.
async fn apart(db: &Db, command: &mut dyn Command) -> Result<()> {
    db.script("SAVEPOINT command").await?;
    match command.run(db).await {
        Ok(()) => db.script("RELEASE command").await,
        Err(Undone::Away) => Err(Undone::Away.error()),
        Err(_) => {
            db.script("ROLLBACK TO command; RELEASE command").await?;
            db.take_failure();
            Ok(())
        }
    }
}
