//! What clients were told, and whether that is what the books say.

use crate::api::{Answer, Purchase, bought, is_final};
use crate::books::{Books, JobRow};
use anyhow::{Context, bail, ensure};
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What a new organization's sandbox has.
const SANDBOX: i64 = 10_000;
/// How the reason of each grant begins that the journal knows of.
pub(crate) const REASON: &str = "round ";
/// With more requests cut off, clients send those again instead of new ones: otherwise a slow machine would have ever more to ask
/// after the last start, and the time that this takes would say nothing of the server.
const BACKLOG: usize = 50;

/// What a caller may meet just now through no fault of what is proved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weather {
    /// Nothing: whoever asks is answered.
    Calm,
    /// A server that dies, or is about to stop.
    #[default]
    Fair,
    /// And a database that is away, so that nobody can say what became of a request.
    Storm,
}

/// A purchase that was sent, and what its sender knows of it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) purchase: Purchase,
    /// The job that an answer named.
    pub(crate) job: Option<String>,
    /// Sent by a client that has not come back yet.
    pub(crate) open: bool,
    /// Answered in a storm, in which the answer may not have been kept: the next one is told what is true then.
    forgotten: bool,
}

impl Sent {
    /// By somebody who waits for the answer.
    pub(crate) fn new(purchase: Purchase) -> Self {
        Self {
            purchase,
            job: None,
            open: true,
            forgotten: false,
        }
    }
}

/// What the clients were told.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) weather: Weather,
    /// By idempotency key.
    pub(crate) sent: BTreeMap<String, Sent>,
    /// The end of a job, as somebody saw it: its status and its refund.
    pub(crate) ends: HashMap<String, (String, Option<i64>)>,
    granted: i64,
    /// What was asked for by commands that did not come back with success.
    in_doubt: i64,
    pub(crate) answers: u64,
    pub(crate) cut_off: u64,
    /// The last answer to a purchase, and the longest time without one.
    answered_at: Option<Instant>,
    silence: Duration,
}

pub(crate) type Shared = Arc<Mutex<Journal>>;

pub(crate) fn lock(journal: &Shared) -> std::sync::MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    /// The longest time since this was asked last in which nobody was answered.
    pub(crate) fn take_silence(&mut self) -> Duration {
        self.note_answer();
        std::mem::take(&mut self.silence)
    }

    /// Whether a purchase was answered since then.
    pub(crate) fn has_answered_since(&self, moment: Instant) -> bool {
        self.answered_at.is_some_and(|answered| answered > moment)
    }

    fn note_answer(&mut self) {
        let now = Instant::now();
        let before = self.answered_at.replace(now);
        let silence = before.map_or(Duration::ZERO, |before| now.duration_since(before));
        self.silence = self.silence.max(silence);
    }

    /// Credits that were given by a command, which says whether it came back with success.
    pub(crate) fn gave(&mut self, amount: u64, is_done: bool) {
        let amount = i64::try_from(amount).unwrap_or(i64::MAX);
        *(if is_done {
            &mut self.granted
        } else {
            &mut self.in_doubt
        }) += amount;
    }

    pub(crate) fn ended(
        &mut self,
        job: &str,
        status: &str,
        refunded: Option<i64>,
    ) -> anyhow::Result<()> {
        if !is_final(status) {
            if let Some(end) = self.ends.get(job) {
                bail!("{job} had ended ({end:?}) and is {status}");
            }
            return Ok(());
        }
        let new = (status.to_owned(), refunded);
        let known = self
            .ends
            .entry(job.to_owned())
            .or_insert_with(|| new.clone());
        let same = known.0 == new.0 && (known.1.is_none() || new.1.is_none() || known.1 == new.1);
        ensure!(same, "{job} had ended as {known:?} and now as {new:?}");
        known.1 = known.1.or(new.1);
        Ok(())
    }

    pub(crate) fn some_job(&self, random: &mut StdRng) -> Option<String> {
        let known: Vec<&String> = self
            .sent
            .values()
            .filter_map(|sent| sent.job.as_ref())
            .collect();
        // The latest ones are the likeliest to be in motion.
        let recent = known.len().min(200);
        (recent > 0).then(|| known[known.len() - 1 - random.random_range(0..recent)].clone())
    }

    /// Of a backlog that has grown too long, the next one.
    pub(crate) fn overdue(&mut self) -> Option<(String, Purchase)> {
        let cut_off = |sent: &&Sent| sent.job.is_none() && !sent.open;
        let backlog = self.sent.values().filter(cut_off).count();
        (backlog > BACKLOG).then(|| self.unanswered()).flatten()
    }

    /// A key whose request was cut off, taken by whoever sends it again.
    pub(crate) fn unanswered(&mut self) -> Option<(String, Purchase)> {
        let (key, sent) = self
            .sent
            .iter_mut()
            .find(|(_, sent)| sent.job.is_none() && !sent.open)?;
        sent.open = true;
        Some((key.clone(), sent.purchase.clone()))
    }

    /// What came of a purchase that was begun in this weather.
    pub(crate) fn learn(
        &mut self,
        key: &str,
        answer: Option<&Answer>,
        begun: Weather,
    ) -> anyhow::Result<()> {
        let weather = self.weather.max(begun);
        let sent = self.sent.get_mut(key).context("an answer to nothing")?;
        sent.open = false;
        let Some(answer) = answer else {
            self.cut_off += 1;
            ensure!(weather > Weather::Calm, "{key} was cut off");
            return Ok(());
        };
        self.answers += 1;
        match bought(answer) {
            Some((job, status)) => {
                let was_forgotten = sent.forgotten;
                sent.forgotten = !answer.replayed && weather == Weather::Storm;
                if let Some(known) = &sent.job {
                    ensure!(*known == job, "{key} bought {known} and then {job}");
                    ensure!(
                        answer.replayed || was_forgotten,
                        "{key} was answered anew: {answer:?}"
                    );
                    // A replay tells what was true when it was kept.
                    return Ok(());
                }
                sent.job = Some(job.clone());
                self.note_answer();
                let refund = answer.body["refund"]["creditsRefunded"].as_i64();
                if answer.status == 500 {
                    ensure!(refund.is_some(), "a failure without its refund: {answer:?}");
                }
                // Kept before a crash and sent after it, it may be older than what is known.
                if answer.replayed && !is_final(&status) {
                    return Ok(());
                }
                self.ended(&job, &status, refund)
            }
            None if may_be(answer, weather) => Ok(()),
            // Whoever asked before was cut off, and what he asked for is still under way.
            None if answer.status == 409 && weather == Weather::Storm => Ok(()),
            None => bail!("{key} was answered {}: {}", answer.status, answer.body),
        }
    }
}

/// Whether a request that changes something may be answered so: nothing was taken, or nobody knows.
pub(crate) fn may_be(answer: &Answer, weather: Weather) -> bool {
    match answer.status {
        503 => weather > Weather::Calm,
        500 => weather == Weather::Storm,
        _ => false,
    }
}

/// What clients were told is what the books say.
pub(crate) fn compare(journal: &Journal, books: &Books) -> anyhow::Result<()> {
    let by_id: HashMap<&str, &JobRow> = books
        .jobs
        .iter()
        .map(|job| (job.id.as_str(), job))
        .collect();
    let mut keys = HashMap::new();
    for (key, sent) in &journal.sent {
        let job = sent
            .job
            .as_deref()
            .with_context(|| format!("{key} bought nothing"))?;
        ensure!(by_id.contains_key(job), "{job} of {key} is lost");
        let before = keys.insert(job, key);
        ensure!(
            before.is_none(),
            "{key} and {before:?} were given the same job"
        );
    }
    ensure!(
        books.jobs.len() == journal.sent.len(),
        "{} keys bought {} jobs",
        journal.sent.len(),
        books.jobs.len()
    );
    for (job, (status, refunded)) in &journal.ends {
        let row = by_id
            .get(job.as_str())
            .with_context(|| format!("{job} is lost"))?;
        ensure!(
            row.status == *status && refunded.is_none_or(|refunded| refunded == row.refunded),
            "{job} had ended as {status} ({refunded:?}): {row:?}"
        );
    }
    let granted: i64 = books
        .entries
        .iter()
        .filter(|entry| entry.kind == "grant" && entry.reason.starts_with(REASON))
        .map(|entry| entry.amount)
        .sum();
    ensure!(
        (journal.granted..=journal.granted + journal.in_doubt).contains(&granted),
        "{} was granted, and {granted} is there",
        journal.granted
    );
    let spent: i64 = books.jobs.iter().map(|job| job.price - job.refunded).sum();
    let balance = books
        .balances
        .iter()
        .find(|balance| balance.purse.mode == "test");
    let balance = balance.context("no balance")?.credits;
    ensure!(
        balance == SANDBOX + granted - spent,
        "{SANDBOX} + {granted} - {spent} should be left, and {balance} is"
    );
    Ok(())
}
