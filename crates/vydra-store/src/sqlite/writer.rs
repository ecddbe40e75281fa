//! The one writer: it takes all commands that wait, runs them in one transaction, and answers after the commit. One slow
//! disk sync is shared by all of them, and no command can undo another.
//!
//! A savepoint around each command costs as much as the command, because every page that it touches is copied. So a batch
//! is run without; when a command fails after it has changed something, all of it is undone and run again, each command
//! under a savepoint of its own. A command must therefore do the same when it is run twice.
//!
//! A command says how much its answer promises ([`Durability`]). A batch of nothing but relaxed ones is committed without
//! waiting for the disk: what it wrote is in the log file, where it outlives the process, and the next durable commit
//! takes it to the disk.

use super::checkpoints::Checkpoints;
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

/// What a committed command outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// The machine: `synchronous=FULL`.
    Disk,
    /// The process alone: `synchronous=NORMAL`. The database stays whole in either case.
    Process,
}

impl Durability {
    fn pragma(self) -> &'static str {
        match self {
            Self::Disk => "PRAGMA synchronous=FULL",
            Self::Process => "PRAGMA synchronous=NORMAL",
        }
    }
}

trait Command: Send {
    fn durability(&self) -> Durability;
    /// Err when nothing of it shall stay. May be called again after everything was undone.
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
            | StoreError::Unknown
            | StoreError::Refused(_)
            | StoreError::SchemaTooNew { .. }
            | StoreError::Corrupt(_)
            | StoreError::Database(_) => Self::Other,
        }
    }
}

struct Waiting<T, F, G> {
    durability: Durability,
    command: F,
    committed: G,
    result: Option<Result<T>>,
    caller: oneshot::Sender<Result<T>>,
}

impl<T, F, G> Command for Waiting<T, F, G>
where
    T: Send,
    F: Fn(&Connection) -> Result<T> + Send,
    G: FnOnce(&T) + Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, db: &Connection) -> std::result::Result<(), CommitFailure> {
        let command = &self.command;
        // A command that panics must not take the only writer with it.
        let result = catch_unwind(AssertUnwindSafe(|| command(db)))
            .unwrap_or_else(|_panic| Err(StoreError::Database("a command panicked".into())));
        let outcome = result.as_ref().map(|_| ()).map_err(CommitFailure::of);
        self.result = Some(result);
        outcome
    }

    fn answer(self: Box<Self>, committed: std::result::Result<(), CommitFailure>) {
        let Self {
            command,
            committed: then,
            result,
            caller,
            ..
        } = *self;
        // Before the caller goes on: it may want back what the command shared with it.
        drop(command);
        let answer = match (committed, result) {
            // A command that failed by itself left nothing behind, and keeps its own reason.
            (_, Some(Err(error))) => Err(error),
            (Ok(()), Some(Ok(value))) => {
                then(&value);
                Ok(value)
            }
            (Err(CommitFailure::Busy), _) => Err(StoreError::Busy),
            (Err(CommitFailure::Unwritable), _) => {
                Err(StoreError::Unwritable("the commit failed".into()))
            }
            (Err(CommitFailure::Other) | Ok(()), _) => {
                Err(StoreError::Database("the commit failed".into()))
            }
        };
        // A caller that has gone away needs no answer; what was committed stays.
        let _ = caller.send(answer);
    }
}

impl Writer {
    pub(super) fn start(mut connection: Connection) -> Result<Self> {
        let checkpoints = Checkpoints::of(&mut connection)?;
        let (queue, waiting) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("vydra-writer".to_owned())
            .spawn(move || {
                let mut database = Database {
                    connection,
                    durability: None,
                    checkpoints,
                };
                database.write_all(waiting);
            })
            .map_err(|error| StoreError::Database(Box::new(error)))?;
        Ok(Self { queue })
    }

    pub(super) async fn run<T, F>(&self, durability: Durability, command: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Result<T> + Send + 'static,
    {
        self.run_then(durability, command, |_| {}).await
    }

    /// `committed` is called after the commit and before the answer, in the order of the commits.
    pub(super) async fn run_then<T, F, G>(
        &self,
        durability: Durability,
        command: F,
        committed: G,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Result<T> + Send + 'static,
        G: FnOnce(&T) + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let command = Box::new(Waiting {
            durability,
            command,
            committed,
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

/// The writer's connection, and which durability it is set to; None while that is not known.
struct Database {
    connection: Connection,
    durability: Option<Durability>,
    checkpoints: Checkpoints,
}

impl Database {
    fn write_all(&mut self, mut waiting: mpsc::Receiver<Box<dyn Command>>) {
        let mut batch = Vec::with_capacity(BATCH);
        while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
            let committed = self.commit(&mut batch).inspect_err(|_| {
                // Whatever is left of it must not leak into the next one. Fails when SQLite has already undone it.
                let _ = self.connection.execute_batch("ROLLBACK");
            });
            for command in batch.drain(..) {
                command.answer(committed);
            }
            self.checkpoints.keep_up(&self.connection);
        }
    }

    fn commit(&mut self, batch: &mut [Box<dyn Command>]) -> std::result::Result<(), CommitFailure> {
        let durability = if batch
            .iter()
            .all(|command| command.durability() == Durability::Process)
        {
            Durability::Process
        } else {
            Durability::Disk
        };
        // Inside a transaction it would have no effect.
        if self.durability != Some(durability) {
            self.durability = None;
            // Prepared anew each time: SQLite may carry it out while it prepares it.
            self.connection
                .execute_batch(durability.pragma())
                .map_err(|error| CommitFailure::of(&StoreError::from(error)))?;
            self.durability = Some(durability);
        }
        self.run("BEGIN IMMEDIATE")?;
        if !self.run_all(batch)? {
            self.run("ROLLBACK")?;
            self.run("BEGIN IMMEDIATE")?;
            self.run_apart(batch)?;
        }
        self.run("COMMIT")
    }

    /// False when a command has failed and left something behind.
    fn run_all(&self, batch: &mut [Box<dyn Command>]) -> std::result::Result<bool, CommitFailure> {
        for command in batch {
            let before = self.connection.total_changes();
            if let Err(failure) = command.run(&self.connection) {
                // A full disk makes SQLite undo the whole transaction.
                if self.connection.is_autocommit() {
                    return Err(failure);
                }
                if self.connection.total_changes() != before {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Each under its own savepoint, so that it undoes nothing but itself.
    fn run_apart(&self, batch: &mut [Box<dyn Command>]) -> std::result::Result<(), CommitFailure> {
        for command in batch {
            self.run("SAVEPOINT command")?;
            if let Err(failure) = command.run(&self.connection) {
                if self.connection.is_autocommit() {
                    return Err(failure);
                }
                self.run("ROLLBACK TO command")?;
            }
            self.run("RELEASE command")?;
        }
        Ok(())
    }

    fn run(&self, sql: &'static str) -> std::result::Result<(), CommitFailure> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(()))
            .map(|_| ())
            .map_err(|error| {
                let cause = &error as &dyn std::error::Error;
                // What is relaxed is tried again and again; who asked for it says so once.
                if self.durability == Some(Durability::Process) {
                    tracing::debug!(
                        error = cause,
                        "a relaxed batch of writes could not be committed"
                    );
                } else {
                    tracing::error!(error = cause, "a batch of writes could not be committed");
                }
                CommitFailure::of(&StoreError::from(error))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    /// How far the connection goes to disk, as a command sees it: 1 is NORMAL, 2 is FULL.
    fn seen(db: &Connection) -> Result<i64> {
        Ok(db.pragma_query_value(None, "synchronous", |row| row.get(0))?)
    }

    fn writer(directory: &tempfile::TempDir) -> Writer {
        let connection = super::super::connect(&directory.path().join("vydra.db")).unwrap();
        connection
            .execute_batch("CREATE TABLE seen (word TEXT UNIQUE)")
            .unwrap();
        Writer::start(connection).unwrap()
    }

    /// Holds the writer until all of `commands` wait, so that these are one batch.
    async fn in_one_batch<T>(writer: &Writer, commands: impl Future<Output = T>) -> T {
        let (open, gate) = channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let (reached, at_gate) = tokio::sync::mpsc::unbounded_channel();
        let first = writer.run(Durability::Process, move |_| {
            let _ = reached.send(());
            let _ = gate.lock().unwrap().recv();
            Ok(())
        });
        let mut at_gate = at_gate;
        let rest = async {
            at_gate.recv().await.unwrap();
            let release = async { open.send(()).unwrap() };
            tokio::join!(biased; commands, release).0
        };
        let (first, rest) = tokio::join!(first, rest);
        first.unwrap();
        rest
    }

    fn say(word: &'static str) -> impl Fn(&Connection) -> Result<()> + Send {
        move |db| {
            db.execute("INSERT INTO seen (word) VALUES (?1)", [word])?;
            Ok(())
        }
    }

    /// Whatever becomes of one, the others keep what they did, and nobody finds what it left behind.
    #[tokio::test(flavor = "multi_thread")]
    async fn no_command_undoes_another() {
        let directory = tempfile::tempdir().unwrap();
        let writer = writer(&directory);
        let run = |command| writer.run(Durability::Disk, command);
        let all = async {
            tokio::join!(biased;
                run(say("before")),
                writer.run(Durability::Disk, |db| {
                    say("undone")(db)?;
                    Err::<(), _>(StoreError::LeaseLost)
                }),
                writer.run(Durability::Disk, |_| Err::<(), _>(StoreError::LeaseLost)),
                writer.run(Durability::Disk, |db| -> Result<()> {
                    say("lost")(db)?;
                    panic!("a mistake")
                }),
                run(say("before")),
                run(say("after")),
            )
        };
        let (before, undone, refused, lost, twice, after) = in_one_batch(&writer, all).await;
        before.unwrap();
        assert!(matches!(undone, Err(StoreError::LeaseLost)), "{undone:?}");
        assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
        assert!(matches!(lost, Err(StoreError::Database(_))), "{lost:?}");
        assert!(matches!(twice, Err(StoreError::Database(_))), "{twice:?}");
        after.unwrap();
        let words = writer.run(Durability::Disk, |db| {
            let mut words = db.prepare("SELECT word FROM seen ORDER BY rowid")?;
            let words = words.query_map((), |row| row.get::<_, String>(0))?;
            Ok(words.collect::<rusqlite::Result<Vec<_>>>()?)
        });
        assert_eq!(words.await.unwrap(), ["before", "after"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_a_batch_without_a_durable_command_is_relaxed() {
        let directory = tempfile::tempdir().unwrap();
        let writer = writer(&directory);
        for (durability, expected) in [
            (Durability::Disk, 2),
            (Durability::Process, 1),
            (Durability::Process, 1),
            (Durability::Disk, 2),
            (Durability::Process, 1),
        ] {
            let found = writer.run(durability, seen).await.unwrap();
            assert_eq!(found, expected, "{durability:?}");
        }

        let relaxed = writer.run(Durability::Process, seen);
        let durable = writer.run(Durability::Disk, seen);
        let both = async { tokio::join!(biased; relaxed, durable) };
        let (relaxed, durable) = in_one_batch(&writer, both).await;
        assert_eq!((relaxed.unwrap(), durable.unwrap()), (2, 2));
        assert_eq!(writer.run(Durability::Process, seen).await.unwrap(), 1);
        // One that fails leaves no mistake about what is set.
        let failed = writer.run(Durability::Process, |_| -> Result<()> {
            Err(StoreError::LeaseLost)
        });
        failed.await.unwrap_err();
        assert_eq!(writer.run(Durability::Disk, seen).await.unwrap(), 2);
    }
}
