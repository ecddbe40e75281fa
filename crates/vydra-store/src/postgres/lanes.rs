//! Writes, many in one transaction. A node writes through a few connections, each with its own thread: a command goes to the
//! connection of its organization, where it does not wait for the row of its balance. Whatever waits for a connection is
//! run in one transaction, and answered after the commit.
//!
//! The commands that are carried out most are [`Joint`]: one statement carries out all of a kind that wait, and the
//! statements of all kinds are sent without waiting for the answers, together with the begin of the transaction. So a batch
//! costs two round trips, of which the second is the commit. Whatever else waits is run behind them, one by one.
//!
//! In Postgres a statement that fails undoes its transaction. So when a command fails, all of the batch is undone and run
//! again, each command under a savepoint of its own. A command must therefore do the same when it is run twice.
//!
//! When the connection breaks while a batch is committed, the database is asked, over another connection, what became of it.
//! It can be, because the commit is only sent when the number of the transaction is known. After a crash of the database the number
//! of a transaction that was lost may be that of another one: then a commit is not taken for ours.

mod command;

use super::db::Db;
use super::pool::Connector;
use super::rows::Columns;
use crate::{Result, StoreError};
use command::{Alone, Command, Joined, Outcome, Undone};
use futures_util::future::{join_all, join4};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use vydra_core::job::Mode;

pub(super) use command::Joint;

/// How many commands may wait for a connection: beyond it callers are told that the store is busy.
const QUEUE: usize = 1_024;
/// Enough for what a statement costs by itself to be little of each command, and few enough to be answered soon.
const BATCH: usize = 240;
/// No more than the savepoints that Postgres keeps track of cheaply (64).
const APART: usize = 60;
/// How many statements are sent without waiting for the one before; `join_all` polls no more than 30 in their order.
const AT_ONCE: usize = 16;
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

/// Those that a batch locks.
#[derive(Debug, Default)]
struct Balances(BTreeSet<(String, Option<&'static str>)>);

impl Balances {
    const LOCK: &str = "SELECT lock_balances_1($1, $2)";

    /// What is to be locked before the first command of a batch: nothing, when that one locks all of it by itself.
    fn of(batch: &[Box<dyn Command>]) -> Self {
        let mut all = Self::default();
        let mut lockers = 0;
        for command in batch {
            let mut balances = Self::default();
            command.lock(&mut balances);
            lockers += usize::from(!balances.0.is_empty());
            all.0.append(&mut balances.0);
        }
        let is_by_the_first = batch.first().is_some_and(|first| {
            let mut balances = Self::default();
            first.lock(&mut balances);
            // One that runs alone locks one of both modes, and which is not known.
            balances.0 == all.0 && (lockers == 1 || first.statement().is_some())
        });
        if is_by_the_first {
            Self::default()
        } else {
            all
        }
    }

    /// A mode of None stands for both.
    fn add(&mut self, org: &str, mode: Option<Mode>) {
        self.0.insert((org.to_owned(), mode.map(Mode::as_str)));
    }

    async fn lock(&self, db: &Db) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let orgs: Vec<&str> = self.0.iter().map(|(org, _)| org.as_str()).collect();
        let modes: Vec<Option<&str>> = self.0.iter().map(|(_, mode)| *mode).collect();
        db.one(Self::LOCK, &[&orgs, &modes]).await?;
        Ok(())
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
                    incarnation: String::new(),
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

    fn lane_of(&self, whose: &str) -> &mpsc::Sender<Box<dyn Command>> {
        let last = self.lanes.len() - 1;
        if last == 0 || whose.starts_with(Self::CHORE) {
            return &self.lanes[last];
        }
        let mut hasher = DefaultHasher::new();
        whose.hash(&mut hasher);
        let count = u64::try_from(last).unwrap_or(1);
        let number = usize::try_from(hasher.finish() % count).unwrap_or(0);
        &self.lanes[number]
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
        let (caller, answer) = oneshot::channel();
        let command = Alone {
            whose: whose.to_owned(),
            turn,
            durability,
            command,
            result: None,
            caller,
        };
        let lane = self.lane_of(whose);
        wait(lane, Box::new(command), answer).await
    }

    /// Runs a command together with all of its kind that wait.
    pub(super) async fn join<J: Joint>(&self, command: J) -> Result<J::Answer> {
        let (caller, answer) = oneshot::channel();
        let lane = self.lane_of(command.whose());
        wait(lane, Box::new(Joined::of(command, caller)), answer).await
    }
}

async fn wait<T>(
    lane: &mpsc::Sender<Box<dyn Command>>,
    command: Box<dyn Command>,
    answer: oneshot::Receiver<Result<T>>,
) -> Result<T> {
    lane.try_send(command)
        .map_err(|_full_or_gone| StoreError::Busy)?;
    answer
        .await
        .unwrap_or_else(|_gone| Err(StoreError::Database("the writer has stopped".into())))
}

/// Whatever one statement can carry out becomes one command.
fn joined(waiting: impl Iterator<Item = Box<dyn Command>>) -> Vec<Box<dyn Command>> {
    let mut batch: Vec<Box<dyn Command>> = Vec::new();
    for mut command in waiting {
        if !batch.iter_mut().any(|other| other.join(command.as_mut())) {
            batch.push(command);
        }
    }
    batch.sort_by(|one, other| one.order().cmp(&other.order()));
    batch
}

struct Lane {
    connector: Connector,
    db: Option<Db>,
    /// Of the database, as the connection was made.
    incarnation: String,
}

/// Ends with a crash of the database.
const INCARNATION: &str = "SELECT word FROM incarnation";
const BEGIN_INCARNATION: &str =
    "INSERT INTO incarnation (word) VALUES (gen_random_uuid()::text) ON CONFLICT DO NOTHING";

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

impl From<Undone> for Broken {
    fn from(undone: Undone) -> Self {
        Self::Before(undone)
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Before(Undone::of(&error))
    }
}

impl Lane {
    async fn write_all(&mut self, mut queue: mpsc::Receiver<Box<dyn Command>>) {
        let mut waiting = Vec::with_capacity(BATCH);
        while queue.recv_many(&mut waiting, BATCH).await > 0 {
            let mut batch = joined(waiting.drain(..));
            let committed = self.commit(&mut batch, false).await;
            // Two batches that wait for one another end as busy, through no fault of their commands.
            if matches!(committed, Err(Undone::Other | Undone::Busy)) {
                self.write_apart(batch).await;
            } else {
                answer(batch, committed);
            }
        }
    }

    async fn write_apart(&mut self, batch: Vec<Box<dyn Command>>) {
        let mut apart: Vec<_> = batch.into_iter().flat_map(Command::apart).collect();
        apart.sort_by(|one, other| {
            let ((_, whose, turn), (_, whose_other, turn_other)) = (one.order(), other.order());
            (whose, turn).cmp(&(whose_other, turn_other))
        });
        while !apart.is_empty() {
            let mut batch: Vec<_> = apart.drain(..APART.min(apart.len())).collect();
            let committed = self.commit(&mut batch, true).await;
            answer(batch, committed);
        }
    }

    async fn commit(&mut self, batch: &mut [Box<dyn Command>], is_apart: bool) -> Outcome {
        let db = match self.db.take().filter(|db| !db.is_closed()) {
            Some(db) => db,
            None => self.connect().await.map_err(|error| {
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

    async fn connect(&mut self) -> Result<Db> {
        let db = self.connector.connect().await?;
        db.run(BEGIN_INCARNATION, &[]).await?;
        self.incarnation = Columns::of(&db.one(INCARNATION, &[]).await?).take()?;
        Ok(db)
    }

    /// What became of a transaction whose commit was not answered.
    async fn fate(&self, transaction: Option<String>) -> Outcome {
        let Some(transaction) = transaction else {
            return Err(Undone::Away);
        };
        let asked = async {
            loop {
                match self.ask(&transaction).await {
                    Ok((Some(fate), true)) if fate == "committed" => return Ok(()),
                    // It may be another one by now.
                    Ok((Some(fate), false)) if fate == "committed" => return Err(Undone::Unknown),
                    Ok((Some(fate), _)) if fate == "aborted" => return Err(Undone::Away),
                    // Too long ago to be remembered.
                    Ok((None, _)) => return Err(Undone::Unknown),
                    Ok((Some(_), _)) | Err(_) => tokio::time::sleep(ASKED_EVERY).await,
                }
            }
        };
        let fate = tokio::time::timeout(ASKED_FOR, asked).await;
        fate.unwrap_or(Err(Undone::Unknown))
    }

    /// And whether the database has not crashed meanwhile.
    async fn ask(&self, transaction: &str) -> Result<(Option<String>, bool)> {
        let db = self.connector.connect().await?;
        let sql = format!(
            "SELECT pg_xact_status($1::text::xid8), ({INCARNATION}) IS NOT DISTINCT FROM $2"
        );
        let asked = db.one(&sql, &[&transaction, &self.incarnation]).await?;
        let mut asked = Columns::of(&asked);
        Ok((asked.take()?, asked.take()?))
    }
}

fn answer(batch: Vec<Box<dyn Command>>, committed: Outcome) {
    if let Err(undone) = committed {
        tracing::warn!(commands = batch.len(), reason = ?undone, "a batch was not written");
    }
    for command in batch {
        command.answer(committed);
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
    let transaction = if is_apart {
        // One of them may wait for somebody who hangs: the others must not wait for it.
        begin += "; SET LOCAL lock_timeout = '500ms'";
        db.script(&begin).await?;
        for command in batch {
            apart(db, command.as_mut()).await?;
        }
        number(db).await?
    } else {
        together(db, &begin, batch).await?
    };
    // A commit of what has failed is a rollback, and does not say so.
    if db.take_failure() {
        return Err(Broken::Before(Undone::Other));
    }
    *reached = Reached::Commit(transaction.clone());
    let committed = db.script("COMMIT").await;
    committed.map_err(|_| Broken::AtCommit(transaction))
}

const NUMBER: &str = "SELECT pg_current_xact_id_if_assigned()::text";

/// Under which the database knows the transaction, if it has changed anything.
async fn number(db: &Db) -> Result<Option<String>> {
    let row = db.one(NUMBER, &[]).await?;
    Columns::of(&row).take()
}

/// All that are one statement at once, and the others behind them. The number of the transaction.
async fn together(
    db: &Db,
    begin: &str,
    batch: &mut [Box<dyn Command>],
) -> std::result::Result<Option<String>, Broken> {
    let balances = Balances::of(batch);
    let count = batch.partition_point(|command| command.statement().is_some());
    let count = count.min(AT_ONCE);
    let (joint, alone) = batch.split_at_mut(count);
    // What is not prepared would be sent later than what is.
    for statement in [Balances::LOCK, NUMBER] {
        db.prepare(statement).await?;
    }
    for statement in joint.iter().filter_map(|command| command.statement()) {
        db.prepare(statement).await?;
    }
    // They are sent in the order in which they are polled for the first time.
    let (begun, locked, ran, transaction) = join4(
        db.script(begin),
        balances.lock(db),
        join_all(joint.iter_mut().map(|command| command.run(db))),
        async {
            if alone.is_empty() {
                number(db).await
            } else {
                Ok(None)
            }
        },
    )
    .await;
    if let Err(error) = begun {
        // Each of them by itself was a transaction then. The database begins whatever it is able to write.
        let is_written = !joint.is_empty() && ran.contains(&Ok(()));
        return Err(Broken::Before(if is_written {
            Undone::Unknown
        } else {
            Undone::of(&error)
        }));
    }
    locked?;
    if let Some(first) = ran.iter().position(Outcome::is_err) {
        // Nothing is carried out behind the first that fails.
        for behind in &mut joint[first + 1..] {
            behind.forget();
        }
        ran.into_iter().collect::<Outcome>()?;
    }
    if alone.is_empty() {
        return Ok(transaction?);
    }
    for command in alone {
        command.run(db).await?;
    }
    Ok(number(db).await?)
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
