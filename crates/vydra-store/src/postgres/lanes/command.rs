//! What waits in a lane: commands that run by themselves, and those of one kind that one statement carries out together.

use super::{Balances, Durability, Turn};
use crate::postgres::db::Db;
use crate::{Result, StoreError};
use async_trait::async_trait;
use std::any::Any;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use tokio::sync::oneshot;
use vydra_core::job::Mode;

/// Why a command or a whole batch was undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undone {
    /// The connection is gone, or the database cannot write: the same for everybody.
    Away,
    Busy,
    Other,
    /// Perhaps it was not.
    Unknown,
}

impl Undone {
    pub(super) fn of(error: &StoreError) -> Self {
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

    pub(super) fn error(self) -> StoreError {
        match self {
            Self::Away => StoreError::Unwritable("the transaction failed".into()),
            Self::Busy => StoreError::Busy,
            Self::Other => StoreError::Database("the transaction failed".into()),
            Self::Unknown => StoreError::Unknown,
        }
    }
}

pub(super) type Outcome = std::result::Result<(), Undone>;

/// In which order the commands of a batch are run. Balances are locked before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    TogetherWithBalances,
    Together,
    /// One after the other.
    Alone,
}

#[async_trait(?Send)]
pub(super) trait Command: Send {
    /// Rows are locked in one order by all, so that no two batches wait for each other.
    fn order(&self) -> (Rank, &str, Turn);
    fn durability(&self) -> Durability;
    /// The statement of commands that consist of one. It does not wait for the answer to the one before.
    fn statement(&self) -> Option<&'static str>;
    /// Names the balances that it locks.
    fn lock(&self, balances: &mut Balances);
    /// Takes in what `other` has to do. False, and nothing taken, when one statement does not carry out both.
    fn join(&mut self, other: &mut dyn Command) -> bool;
    fn as_any(&mut self) -> &mut dyn Any;
    /// Each of those that had joined, by itself.
    fn apart(self: Box<Self>) -> Vec<Box<dyn Command>>;
    /// Err when nothing of it shall stay. May be called again after everything was undone.
    async fn run(&mut self, db: &Db) -> Outcome;
    /// Its failure was that of another one.
    fn forget(&mut self);
    fn answer(self: Box<Self>, committed: Outcome);
}

/// What is told when the command has ended thus, and its batch.
fn told<T>(committed: Outcome, result: Option<Result<T>>) -> Result<T> {
    match (committed, result) {
        // What failed by itself keeps its own reason.
        (_, Some(Err(error))) => Err(error),
        (Ok(()), Some(Ok(value))) => Ok(value),
        (Err(undone), _) => Err(undone.error()),
        (Ok(()), None) => Err(Undone::Other.error()),
    }
}

/// A command that panics must not take its lane with it.
async fn caught<T>(running: impl Future<Output = Result<T>>) -> Result<T> {
    let mut running = std::pin::pin!(running);
    std::future::poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context))).unwrap_or_else(|_panic| {
            Poll::Ready(Err(StoreError::Database("a command panicked".into())))
        })
    })
    .await
}

// --- By itself ---

pub(super) struct Alone<T, F> {
    pub(super) whose: String,
    pub(super) turn: Turn,
    pub(super) durability: Durability,
    pub(super) command: F,
    pub(super) result: Option<Result<T>>,
    pub(super) caller: oneshot::Sender<Result<T>>,
}

#[async_trait(?Send)]
impl<T, F> Command for Alone<T, F>
where
    T: Send + 'static,
    F: AsyncFn(&Db) -> Result<T> + Send + 'static,
{
    fn order(&self) -> (Rank, &str, Turn) {
        (Rank::Alone, &self.whose, self.turn)
    }

    fn durability(&self) -> Durability {
        self.durability
    }

    fn statement(&self) -> Option<&'static str> {
        None
    }

    fn lock(&self, balances: &mut Balances) {
        if self.turn == Turn::Balance {
            balances.add(&self.whose, None);
        }
    }

    fn join(&mut self, _other: &mut dyn Command) -> bool {
        false
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn apart(self: Box<Self>) -> Vec<Box<dyn Command>> {
        vec![self]
    }

    async fn run(&mut self, db: &Db) -> Outcome {
        let result = caught((self.command)(db)).await;
        let outcome = match &result {
            // Seen before anything was changed, and an everyday answer: there is nothing to undo.
            Ok(_) | Err(StoreError::LeaseLost) => Ok(()),
            Err(error) => Err(Undone::of(error)),
        };
        self.result = Some(result);
        outcome
    }

    fn forget(&mut self) {
        self.result = None;
    }

    fn answer(self: Box<Self>, committed: Outcome) {
        // A caller that has gone away needs no answer; what was committed stays.
        let _ = self.caller.send(told(committed, self.result));
    }
}

// --- Together ---

/// Commands of which one statement carries out as many as wait.
pub(in crate::postgres) trait Joint: Sized + Send + Sync + 'static {
    type Answer: Send + 'static;

    /// Prepared before the transaction begins, so that nothing is waited for between the statements of a batch.
    const STATEMENT: &'static str;
    const DURABILITY: Durability;

    /// The organization, or whatever it is about: what is whose is carried out in one lane.
    fn whose(&self) -> &str;
    /// No two of which this is the same are carried out by one statement.
    fn apart_by(&self) -> Option<String>;
    /// The balance that it locks: all of them do, or none.
    fn balance(&self) -> Option<(&str, Mode)>;
    /// The answer of each, in their order. Those that are refused have changed nothing.
    fn run(db: &Db, all: &[Self]) -> impl Future<Output = Result<Vec<Result<Self::Answer>>>>;
}

pub(super) struct Joined<J: Joint> {
    all: Vec<J>,
    callers: Vec<oneshot::Sender<Result<J::Answer>>>,
    /// What each is kept apart by, if by anything.
    apart_by: HashSet<String>,
    result: Option<Result<Vec<Result<J::Answer>>>>,
}

impl<J: Joint> Joined<J> {
    pub(super) fn of(one: J, caller: oneshot::Sender<Result<J::Answer>>) -> Self {
        Self {
            apart_by: one.apart_by().into_iter().collect(),
            all: vec![one],
            callers: vec![caller],
            result: None,
        }
    }
}

#[async_trait(?Send)]
impl<J: Joint> Command for Joined<J> {
    fn order(&self) -> (Rank, &str, Turn) {
        let first = self.all.first();
        let (rank, turn) = if first.is_some_and(|one| one.balance().is_some()) {
            (Rank::TogetherWithBalances, Turn::Balance)
        } else {
            (Rank::Together, Turn::Later)
        };
        (rank, first.map_or("", J::whose), turn)
    }

    fn durability(&self) -> Durability {
        J::DURABILITY
    }

    fn statement(&self) -> Option<&'static str> {
        Some(J::STATEMENT)
    }

    fn lock(&self, balances: &mut Balances) {
        for (org, mode) in self.all.iter().filter_map(J::balance) {
            balances.add(org, Some(mode));
        }
    }

    fn join(&mut self, other: &mut dyn Command) -> bool {
        let Some(other) = other.as_any().downcast_mut::<Self>() else {
            return false;
        };
        if !self.apart_by.is_disjoint(&other.apart_by) {
            return false;
        }
        self.all.append(&mut other.all);
        self.callers.append(&mut other.callers);
        self.apart_by.extend(other.apart_by.drain());
        true
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn apart(self: Box<Self>) -> Vec<Box<dyn Command>> {
        let each = self.all.into_iter().zip(self.callers);
        each.map(|(one, caller)| Box::new(Self::of(one, caller)) as Box<dyn Command>)
            .collect()
    }

    async fn run(&mut self, db: &Db) -> Outcome {
        let result = caught(J::run(db, &self.all)).await;
        let outcome = result.as_ref().map(|_| ()).map_err(Undone::of);
        self.result = Some(result);
        outcome
    }

    fn forget(&mut self) {
        self.result = None;
    }

    fn answer(mut self: Box<Self>, committed: Outcome) {
        match self.result {
            Some(Ok(results)) => {
                for (caller, result) in self.callers.into_iter().zip(results) {
                    let _ = caller.send(told(committed, Some(result)));
                }
            }
            Some(Err(error)) if self.callers.len() == 1 => {
                let _ = self.callers.pop().map(|caller| caller.send(Err(error)));
            }
            // Of several that have joined nobody knows whose failure it was.
            Some(Err(_)) | None => {
                for caller in self.callers {
                    let _ = caller.send(told(committed, None));
                }
            }
        }
    }
}
