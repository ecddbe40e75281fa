//! G2: the real program on a real disk, killed at random moments under load. Clients write down what they were told; after the
//! last start the books and the journal must say the same.

use super::{Outcome, Run, on_disk};
use crate::api::{self, Answer, Api, Purchase, bought, is_final};
use crate::books::{self, Books, JobRow};
use crate::server::Data;
use anyhow::{Context, bail, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const CLIENTS: u64 = 6;
const ORG: &str = "acme";
/// What a new organization's sandbox has.
const SANDBOX: i64 = 10_000;
const GRANT: u64 = 20_000;
/// A start-up, a kill, and everything that was cut off has ended by then.
const DRAIN: Duration = Duration::from_mins(1);
/// With more requests cut off, clients send those again instead of new ones: otherwise a slow machine would have ever more to ask
/// after the last start, and the time that this takes would say nothing of the server.
const BACKLOG: usize = 50;
/// One grant by the command line so many kills.
const GRANT_EVERY: u64 = 5;

/// A purchase that was sent, and what its sender knows of it.
#[derive(Debug, Clone)]
struct Sent {
    purchase: Purchase,
    /// The job that an answer named.
    job: Option<String>,
    /// Sent by a client that has not come back yet.
    open: bool,
}

/// What the clients were told.
#[derive(Debug, Default)]
struct Journal {
    /// By idempotency key.
    sent: BTreeMap<String, Sent>,
    /// The end of a job, as somebody saw it: its status and its refund.
    ends: HashMap<String, (String, Option<i64>)>,
    granted: i64,
    /// Grants whose command did not come back with success.
    grants_in_doubt: u64,
    answers: u64,
    cut_off: u64,
}

type Shared = Arc<Mutex<Journal>>;

fn lock(journal: &Shared) -> std::sync::MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    fn ended(&mut self, job: &str, status: &str, refunded: Option<i64>) -> anyhow::Result<()> {
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

    fn some_job(&self, random: &mut StdRng) -> Option<String> {
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
    fn overdue(&mut self) -> Option<(String, Purchase)> {
        let cut_off = |sent: &&Sent| sent.job.is_none() && !sent.open;
        let backlog = self.sent.values().filter(cut_off).count();
        (backlog > BACKLOG).then(|| self.unanswered()).flatten()
    }

    /// A key whose request was cut off, taken by whoever sends it again.
    fn unanswered(&mut self) -> Option<(String, Purchase)> {
        let (key, sent) = self
            .sent
            .iter_mut()
            .find(|(_, sent)| sent.job.is_none() && !sent.open)?;
        sent.open = true;
        Some((key.clone(), sent.purchase.clone()))
    }

    fn learn(&mut self, key: &str, answer: Option<&Answer>) -> anyhow::Result<()> {
        let sent = self.sent.get_mut(key).context("an answer to nothing")?;
        sent.open = false;
        let Some(answer) = answer else {
            self.cut_off += 1;
            return Ok(());
        };
        self.answers += 1;
        match bought(answer) {
            Some((job, status)) => {
                if let Some(known) = &sent.job {
                    ensure!(*known == job, "{key} bought {known} and then {job}");
                    ensure!(answer.replayed, "{key} was answered anew: {answer:?}");
                    // A replay tells what was true when it was kept.
                    return Ok(());
                }
                sent.job = Some(job.clone());
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
            // Stopping, or too busy: nothing was taken.
            None if answer.status == 503 => Ok(()),
            None => bail!("{key} was answered {}: {}", answer.status, answer.body),
        }
    }
}

fn purchase(random: &mut StdRng, key: &str) -> Purchase {
    let outcome = match random.random_range(0..100) {
        0..35 => "",
        35..50 => "GENERATION_FAILED",
        50..57 => "CONTENT_POLICY",
        57..64 => "PROCESSING_TIMEOUT",
        64..70 => "PARTIAL=0",
        70..82 => "SLOW=300ms",
        82..94 => "FLAKY=1",
        _ => "LOST",
    };
    let (path, body) = match random.random_range(0..100) {
        // A picture takes a while to draw.
        0..4 => ("models/gemini/generate", json!({"prompt": "a wave"})),
        4..30 => {
            let input = json!({"prompt": "a wave"});
            (
                "jobs",
                json!({"workflow": "generate_image", "input": input}),
            )
        }
        _ => ("models/elevenlabs/tts", json!({"text": "Again."})),
    };
    let outcome = if path == "jobs" && outcome.is_empty() {
        "GENERATION_FAILED"
    } else {
        outcome
    };
    Purchase {
        path: path.into(),
        body,
        outcome,
        // A lost one is never heard of again.
        respond_async: outcome == "LOST" || random.random_bool(0.4),
        key: Some(key.to_owned()),
    }
}

/// One client: calls as fast as it is answered, until the server is gone.
async fn press(api: Api, journal: Shared, name: String, mut random: StdRng) -> anyhow::Result<()> {
    for number in 0_u64.. {
        let alive = match random.random_range(0..100) {
            0..60 => {
                let overdue = lock(&journal).overdue();
                let (key, wanted) = overdue.unwrap_or_else(|| {
                    let key = format!("{name}-{number}");
                    let wanted = purchase(&mut random, &key);
                    let sent = Sent {
                        purchase: wanted.clone(),
                        job: None,
                        open: true,
                    };
                    lock(&journal).sent.insert(key.clone(), sent);
                    (key, wanted)
                });
                send(&api, &journal, &key, &wanted).await?
            }
            60..70 => {
                let again = {
                    let journal = lock(&journal);
                    let known: Vec<_> = journal
                        .sent
                        .iter()
                        .filter(|(_, sent)| sent.job.is_some())
                        .collect();
                    (!known.is_empty()).then(|| {
                        let (key, sent) = known[random.random_range(0..known.len())];
                        (key.clone(), sent.purchase.clone())
                    })
                };
                match again {
                    Some((key, wanted)) => send(&api, &journal, &key, &wanted).await?,
                    None => true,
                }
            }
            70..85 => {
                let job = lock(&journal).some_job(&mut random);
                match job {
                    Some(job) => cancel(&api, &journal, &job).await?,
                    None => true,
                }
            }
            _ => {
                let job = lock(&journal).some_job(&mut random);
                match job {
                    Some(job) => look(&api, &journal, &job).await?,
                    None => true,
                }
            }
        };
        if !alive {
            break;
        }
    }
    Ok(())
}

async fn send(api: &Api, journal: &Shared, key: &str, wanted: &Purchase) -> anyhow::Result<bool> {
    let answer = api.buy(wanted).await?;
    // Two clients may try a known key at once.
    let conflict = answer.as_ref().is_some_and(|answer| answer.status == 409);
    if conflict
        && lock(journal)
            .sent
            .get(key)
            .is_some_and(|sent| sent.job.is_some())
    {
        return Ok(true);
    }
    lock(journal).learn(key, answer.as_ref())?;
    Ok(answer.is_some())
}

async fn cancel(api: &Api, journal: &Shared, job: &str) -> anyhow::Result<bool> {
    let Some(answer) = api.cancel(job).await? else {
        return Ok(false);
    };
    let mut journal = lock(journal);
    journal.answers += 1;
    match answer.status {
        200 => {
            let refunded = answer.body["creditsRefunded"].as_i64();
            ensure!(
                refunded == answer.body["creditsCharged"].as_i64(),
                "cancelled without its refund: {answer:?}"
            );
            journal.ended(job, "cancelled", refunded)?;
        }
        409 | 503 => {}
        _ => bail!("cancelling {job} was answered {answer:?}"),
    }
    Ok(true)
}

async fn look(api: &Api, journal: &Shared, job: &str) -> anyhow::Result<bool> {
    let had_ended = lock(journal).ends.contains_key(job);
    let Some(answer) = api.get(&format!("jobs/{job}")).await? else {
        return Ok(false);
    };
    ensure!(answer.status == 200, "{job} is lost: {answer:?}");
    let status = answer.body["status"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let refunded = answer.body["creditsRefunded"].as_i64();
    let mut journal = lock(journal);
    journal.answers += 1;
    // A read that began before the end may arrive after it was written down.
    if is_final(&status) || had_ended {
        journal.ended(job, &status, refunded)?;
    }
    Ok(true)
}

pub(super) fn prove(run: &Run) -> Outcome {
    on_disk("kill", run, async |data| rounds(run, data).await)
}

async fn rounds(run: &Run, data: &Data) -> anyhow::Result<String> {
    let key = data.customer(ORG).await?;
    let client = api::client()?;
    let journal = Shared::default();
    let mut random = StdRng::seed_from_u64(run.seed);
    for round in 0..run.count {
        one_round(run, data, &client, &key, &journal, &mut random, round)
            .await
            .with_context(|| format!("in round {round}"))?;
        run.progress.step(run.count);
    }
    let drained = drain(data, &client, &key, &journal).await?;
    data.audit().await?;
    let books = books::check_with_files(&data.database(), books::in_folder(&data.media()))?;
    books::ended(&books)?;
    let journal = lock(&journal);
    compare(&journal, &books)?;
    Ok(format!(
        "{} answers, {} requests cut off, {} jobs, {} ends seen, none lost and none refunded twice; drained in {:.1} s",
        journal.answers,
        journal.cut_off,
        books.jobs.len(),
        journal.ends.len(),
        drained.as_secs_f64()
    ))
}

async fn one_round(
    run: &Run,
    data: &Data,
    client: &Client,
    key: &str,
    journal: &Shared,
    random: &mut StdRng,
    round: u64,
) -> anyhow::Result<()> {
    let server = data.serve().await?;
    let api = Api::new(client, &server.url, key);
    let moment = Instant::now() + Duration::from_millis(random.random_range(5..500));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let seed = run.seed ^ ((round * CLIENTS + number + 1) << 16);
        let name = format!("{round}-{number}");
        clients.spawn(press(
            api.clone(),
            Arc::clone(journal),
            name,
            StdRng::seed_from_u64(seed),
        ));
    }
    clients.spawn(ask_again(api.clone(), Arc::clone(journal)));
    let mut grants = JoinSet::new();
    if round.is_multiple_of(GRANT_EVERY) {
        let (data, journal) = (data.clone(), Arc::clone(journal));
        grants.spawn(async move {
            let granted = data.grant(ORG, GRANT, &format!("round {round}")).await;
            let mut journal = lock(&journal);
            match granted {
                Ok(()) => journal.granted += i64::try_from(GRANT).unwrap_or(i64::MAX),
                Err(_busy) => journal.grants_in_doubt += 1,
            }
        });
    }
    // Until then every client goes on; one that has seen something wrong says so here or below.
    let mut asked_all = false;
    while let Some(left) = moment.checked_duration_since(Instant::now()) {
        match timeout(left, clients.join_next()).await {
            Err(_elapsed) => break,
            Ok(Some(ended)) => {
                ended??;
                ensure!(!asked_all, "a client has lost a server that is alive");
                asked_all = true;
            }
            Ok(None) => bail!("no client is left"),
        }
    }
    server.kill().await?;
    while let Some(client) = clients.join_next().await {
        client??;
    }
    while let Some(grant) = grants.join_next().await {
        grant?;
    }
    Ok(())
}

/// Sends again what was cut off by an earlier kill. What is being sent is sent by nobody else, so nothing may answer that it is in
/// progress.
async fn ask_again(api: Api, journal: Shared) -> anyhow::Result<()> {
    // They hold the places that the others wait for.
    let mut alive = cancel_lost(&api, &journal).await?;
    while alive {
        let next = lock(&journal).unanswered();
        let Some((key, wanted)) = next else {
            cancel_lost(&api, &journal).await?;
            break;
        };
        alive = send(&api, &journal, &key, &wanted).await?;
    }
    Ok(())
}

/// Cancels what is lost by script and would hold a place until its deadline; whether the server is still there.
async fn cancel_lost(api: &Api, journal: &Shared) -> anyhow::Result<bool> {
    let lost: Vec<String> = {
        let journal = lock(journal);
        let lost = journal
            .sent
            .values()
            .filter(|sent| sent.purchase.outcome == "LOST");
        lost.filter_map(|sent| sent.job.clone())
            .filter(|job| !journal.ends.contains_key(job))
            .collect()
    };
    for job in lost {
        if !cancel(api, journal, &job).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// One more start, after which all comes to its end.
async fn drain(
    data: &Data,
    client: &Client,
    key: &str,
    journal: &Shared,
) -> anyhow::Result<Duration> {
    let server = data.serve().await?;
    let began = Instant::now();
    let api = Api::new(client, &server.url, key);
    ask_again(api.clone(), Arc::clone(journal)).await?;
    let left: Vec<String> = {
        let journal = lock(journal);
        ensure!(
            journal.sent.values().all(|sent| sent.job.is_some()),
            "a key bought nothing although its server lives: {:?}",
            journal.sent.iter().find(|(_, sent)| sent.job.is_none())
        );
        let jobs = journal.sent.values().filter_map(|sent| sent.job.clone());
        jobs.filter(|job| !journal.ends.contains_key(job)).collect()
    };
    for job in left {
        let rest = DRAIN.saturating_sub(began.elapsed()).as_secs().min(30);
        let path = format!("jobs/{job}?wait={rest}");
        let answer = api.get(&path).await?.context("the server is gone")?;
        let status = answer.body["status"].as_str().unwrap_or_default();
        ensure!(is_final(status), "{job} does not end: {answer:?}");
        lock(journal).ended(&job, status, answer.body["creditsRefunded"].as_i64())?;
    }
    let took = began.elapsed();
    ensure!(took <= DRAIN, "jobs took {took:?} to end");
    server.stop().await?;
    Ok(took)
}

/// What clients were told is what the books say.
fn compare(journal: &Journal, books: &Books) -> anyhow::Result<()> {
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
        .filter(|entry| entry.kind == "grant" && entry.reason.starts_with("round "))
        .map(|entry| entry.amount)
        .sum();
    let doubt = i64::try_from(journal.grants_in_doubt * GRANT)?;
    ensure!(
        (journal.granted..=journal.granted + doubt).contains(&granted),
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
