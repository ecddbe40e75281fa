//! The one writer: it takes all commands that wait, runs each under a savepoint in one transaction, and answers after the
//! commit. One slow disk sync is shared by all of them, and no command can undo another.

use crate::{Result, StoreError};
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::{mpsc, oneshot};

/// How many commands may wait: beyond it callers are told that the store is busy, instead of waiting without end.
const QUEUE: usize = 4_096;
const BATCH: usize = 256;

#[derive(Debug, Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Command>>,
}

trait Command: Send {
    /// Err undoes this command alone, or the whole batch where SQLite has given it up.
    fn run(&mut self, db: &Connection) -> std::result::Result<(), CommitFailure>;
    fn answer(self: Box<Self>, committed: std::result::Result<(), CommitFailure>);
}

/// Why a whole batch was undone: the same for each of its commands.
#[derive(Debug, Clone, Copy)]
enum CommitFailure {
    Busy,
    Unwritable,
    Other,
}

impl CommitFailure {
    fn of(error: &StoreError) -> Self {
        match error {
            StoreError::Busy => Self::Busy,
            StoreError::Unwritable(_) => Self::Unwritable,
            StoreError::LeaseLost
            | StoreError::SchemaTooNew { .. }
            | StoreError::Corrupt(_)
            | StoreError::Database(_) => Self::Other,
        }
    }
}

struct Waiting<T, F> {
    command: Option<F>,
    result: Option<Result<T>>,
    caller: oneshot::Sender<Result<T>>,
}

impl<T, F> Command for Waiting<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T> + Send,
{
    fn run(&mut self, db: &Connection) -> std::result::Result<(), CommitFailure> {
        let Some(command) = self.command.take() else {
            return Err(CommitFailure::Other);
        };
        // A command that panics must not take the only writer with it.
        let result = catch_unwind(AssertUnwindSafe(|| command(db)))
            .unwrap_or_else(|_panic| Err(StoreError::Database("a command panicked".into())));
        let outcome = result.as_ref().map(|_| ()).map_err(CommitFailure::of);
        self.result = Some(result);
        outcome
    }

    fn answer(self: Box<Self>, committed: std::result::Result<(), CommitFailure>) {
        let answer = match (committed, self.result) {
            // A command that failed by itself was undone by its own savepoint, and keeps its own reason.
            (_, Some(Err(error))) => Err(error),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Err(CommitFailure::Busy), _) => Err(StoreError::Busy),
            (Err(CommitFailure::Unwritable), _) => {
                Err(StoreError::Unwritable("the commit failed".into()))
            }
            (Err(CommitFailure::Other) | Ok(()), _) => {
                Err(StoreError::Database("the commit failed".into()))
            }
        };
        // A caller that has gone away needs no answer; what was committed stays.
        let _ = self.caller.send(answer);
    }
}

impl Writer {
    pub(super) fn start(connection: Connection) -> Result<Self> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("vydra-writer".to_owned())
            .spawn(move || write_all(&connection, waiting))
            .map_err(|error| StoreError::Database(Box::new(error)))?;
        Ok(Self { queue })
    }

    pub(super) async fn run<T, F>(&self, command: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let command = Box::new(Waiting {
            command: Some(command),
            result: None,
            caller,
        });
        self.queue
            .try_send(command)
            .map_err(|_full_or_gone| StoreError::Busy)?;
        answer
            .await
            .unwrap_or_else(|_gone| Err(StoreError::Database("the writer has stopped".into())))
    }
}

fn write_all(db: &Connection, mut waiting: mpsc::Receiver<Box<dyn Command>>) {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
        let committed = commit(db, &mut batch).inspect_err(|_| {
            // Whatever is left of it must not leak into the next one. Fails when SQLite has already undone it.
            let _ = db.execute_batch("ROLLBACK");
        });
        for command in batch.drain(..) {
            command.answer(committed);
        }
    }
}

fn commit(
    db: &Connection,
    batch: &mut [Box<dyn Command>],
) -> std::result::Result<(), CommitFailure> {
    let run = |sql: &'static str| {
        db.prepare_cached(sql)
            .and_then(|mut statement| statement.execute(()))
            .map(|_| ())
            .map_err(|error| {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a batch of writes could not be committed"
                );
                CommitFailure::of(&StoreError::from(error))
            })
    };
    run("BEGIN IMMEDIATE")?;
    for command in batch {
        run("SAVEPOINT command")?;
        if let Err(failure) = command.run(db) {
            // A full disk makes SQLite undo the whole transaction, the savepoint included.
            if db.is_autocommit() {
                return Err(failure);
            }
            run("ROLLBACK TO command")?;
        }
        run("RELEASE command")?;
    }
    run("COMMIT")
}
