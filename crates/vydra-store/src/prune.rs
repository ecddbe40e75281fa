//! Which of the oldest rows may go, and what they come to: decided once for both databases.
//!
//! The ledger is cut like a statement of account. Of each balance the rows go in the order in which they were written, up to
//! the charge of the first job that has to stay, and what they come to is carried forward. A job is carried forward with its
//! charge, and goes when its last row does: one whose refund stands behind the cut is still there, without its charge, until
//! the cut has passed the refund too. A cut that no job stands across could not be found where there is always one at work.
//!
//! Events are in the order in which jobs ended, which is another one: they have a cut of their own, which is made first.

use crate::store::{Old, PruneCounts};
use std::collections::HashMap;
use vydra_core::time::Timestamp;

/// Whose rows: an organization and a mode.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Purse {
    pub(crate) org: String,
    pub(crate) mode: String,
}

/// How far a balance is carried forward; numbers begin at 1.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {
    pub(crate) job: i64,
    pub(crate) entry: i64,
    pub(crate) event: i64,
    pub(crate) credits: i64,
}

/// One of the oldest events.
#[derive(Debug)]
pub(crate) struct OldEvent {
    pub(crate) seq: i64,
    pub(crate) previous: Option<i64>,
    pub(crate) purse: Purse,
    pub(crate) mark: Mark,
    pub(crate) number: i64,
    pub(crate) job: String,
    pub(crate) created_at: Timestamp,
    /// Somebody is still to be told of it.
    pub(crate) is_held: bool,
}

/// One of the oldest rows of the ledger.
#[derive(Debug)]
pub(crate) struct OldEntry {
    pub(crate) seq: i64,
    pub(crate) previous: Option<i64>,
    pub(crate) purse: Purse,
    pub(crate) mark: Mark,
    pub(crate) kind: String,
    pub(crate) amount: i64,
    pub(crate) balance_after: i64,
    pub(crate) created_at: Timestamp,
    pub(crate) job: Option<OldJob>,
}

/// The job of a row of the ledger.
#[derive(Debug)]
pub(crate) struct OldJob {
    pub(crate) id: String,
    pub(crate) seq: i64,
    pub(crate) previous: Option<i64>,
    pub(crate) price: i64,
    pub(crate) refunded: i64,
    pub(crate) completed_at: Option<Timestamp>,
    /// The event of its end, while that is there.
    pub(crate) event: Option<i64>,
    /// Something else needs it.
    pub(crate) is_held: bool,
    /// The last row of the ledger that is about it.
    pub(crate) last_entry: i64,
}

/// How far the events of a balance are carried forward, and how many they were up to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CarriedEvents {
    pub(crate) event: i64,
    pub(crate) events: i64,
}

/// How far the ledger of a balance is carried forward, what it came to there, and what is added to the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CarriedEntries {
    pub(crate) entry: i64,
    pub(crate) job: i64,
    pub(crate) credits: i64,
    pub(crate) jobs: i64,
    pub(crate) entries: i64,
    pub(crate) charged: i64,
    pub(crate) refunded: i64,
}

/// What goes of some rows: in the order of their balances, so that all lock them in one order.
#[derive(Debug)]
pub(crate) struct Cut<C> {
    pub(crate) carried: Vec<(Purse, C)>,
    pub(crate) rows: Vec<i64>,
    /// Of events: those that they tell of. Of the ledger: those that go with them.
    pub(crate) jobs: Vec<String>,
}

/// Looks at rows in the order of their numbers.
#[derive(Debug)]
pub(crate) struct Pruner {
    old: Old,
    marks: HashMap<Purse, Mark>,
}

impl Pruner {
    pub(crate) fn new(old: Old) -> Self {
        Self {
            old,
            marks: HashMap::new(),
        }
    }

    pub(crate) fn events(&mut self, rows: &[OldEvent]) -> Cut<CarriedEvents> {
        let mut cut = Unsorted::default();
        for row in rows {
            let mark = self.marks.entry(row.purse.clone()).or_insert(row.mark);
            let is_next = row.previous.unwrap_or(0) == mark.event;
            if is_next && row.created_at < self.old.before && !row.is_held {
                mark.event = row.seq;
                *cut.of(&row.purse) = CarriedEvents {
                    event: row.seq,
                    events: row.number,
                };
                cut.rows.push(row.seq);
                cut.jobs.push(row.job.clone());
            }
        }
        cut.sorted()
    }

    pub(crate) fn entries(&mut self, rows: &[OldEntry]) -> Cut<CarriedEntries> {
        let mut cut = Unsorted::default();
        for row in rows {
            let mark = self.marks.entry(row.purse.clone()).or_insert(row.mark);
            if !may_go(row, mark, self.old.before) {
                continue;
            }
            mark.entry = row.seq;
            mark.credits = row.balance_after;
            let carried: &mut CarriedEntries = cut.of(&row.purse);
            carried.entry = row.seq;
            carried.credits = row.balance_after;
            carried.entries += 1;
            if row.kind == "refund" {
                carried.refunded += row.amount;
            }
            if let Some(job) = &row.job {
                if row.kind == "charge" {
                    mark.job = job.seq;
                    carried.job = job.seq;
                    carried.jobs += 1;
                    carried.charged -= row.amount;
                }
                if job.last_entry == row.seq {
                    cut.jobs.push(job.id.clone());
                }
            }
            cut.rows.push(row.seq);
        }
        cut.sorted()
    }
}

/// What does not add up stays, so that the audit goes on telling of it.
fn may_go(row: &OldEntry, mark: &Mark, before: Timestamp) -> bool {
    let adds_up = row.previous.unwrap_or(0) == mark.entry
        && mark.credits.checked_add(row.amount) == Some(row.balance_after);
    if !adds_up || row.created_at >= before {
        return false;
    }
    let Some(job) = &row.job else {
        return row.kind != "charge" && row.kind != "refund";
    };
    if job.is_held {
        return false;
    }
    match row.kind.as_str() {
        "charge" => {
            job.completed_at.is_some_and(|ended| ended < before)
                && job.event.is_none_or(|event| event <= mark.event)
                && job.previous.unwrap_or(0) == mark.job
                && -row.amount == job.price
        }
        "refund" => job.seq <= mark.job && row.amount == job.refunded,
        _ => job.seq <= mark.job,
    }
}

#[derive(Debug)]
struct Unsorted<C> {
    carried: HashMap<Purse, C>,
    rows: Vec<i64>,
    jobs: Vec<String>,
}

impl<C> Default for Unsorted<C> {
    fn default() -> Self {
        Self {
            carried: HashMap::new(),
            rows: Vec::new(),
            jobs: Vec::new(),
        }
    }
}

impl<C: Default> Unsorted<C> {
    fn of(&mut self, purse: &Purse) -> &mut C {
        self.carried.entry(purse.clone()).or_default()
    }

    fn sorted(self) -> Cut<C> {
        let mut carried: Vec<_> = self.carried.into_iter().collect();
        carried.sort_by(|(one, _), (other, _)| one.cmp(other));
        Cut {
            carried,
            rows: self.rows,
            jobs: self.jobs,
        }
    }
}

impl Cut<CarriedEvents> {
    pub(crate) fn counts(&self) -> PruneCounts {
        PruneCounts {
            events: self.rows.len() as u64,
            ..PruneCounts::default()
        }
    }
}

impl Cut<CarriedEntries> {
    pub(crate) fn counts(&self) -> PruneCounts {
        PruneCounts {
            jobs: self.jobs.len() as u64,
            entries: self.rows.len() as u64,
            ..PruneCounts::default()
        }
    }
}

/// Behind which row to go on: None when these were the last, or none behind them is old.
pub(crate) fn last<T>(
    rows: &[T],
    limit: u32,
    old: Old,
    seen: impl Fn(&T) -> (i64, Timestamp),
) -> Option<i64> {
    let (seq, at) = seen(rows.last()?);
    (rows.len() >= limit as usize && at < old.before).then_some(seq)
}
