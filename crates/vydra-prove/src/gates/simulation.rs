//! G15: the whole application under a random course of events: clients, faults, crashes, stops, leaps of time and a provider of
//! moods, one thing at a time on paused time. The same seed is the same course, event by event.

use super::{Outcome, Run, Violation, in_memory};
use crate::api::{Answer, bought, is_final};
use crate::fixture::template;
use crate::pool;
use crate::sim::{Act, Actor, Ask, OVERDUE, Sim, on_paused_time, send};
use anyhow::{Context, bail, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use vydra_core::credits::Credits;
use vydra_core::job::Mode;
use vydra_outbound::provider::{Accepted, ErrorKind};
use vydra_testkit::Fault;

const STEPS: u32 = 200;
/// Each seed of so many is run twice.
const TWICE: u64 = 10;

/// All that happened, a line each.
#[derive(Debug, Default, Clone)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn note(&self, line: std::fmt::Arguments<'_>) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String cannot fail.
        let _ = text.write_fmt(line);
        text.push('\n');
    }

    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the clients know.
#[derive(Debug, Default)]
struct Journal {
    /// By idempotency key: what is sent, and the job that an answer named.
    sent: BTreeMap<String, (Ask, Option<String>)>,
    ends: BTreeMap<String, String>,
    violation: Option<anyhow::Error>,
    answers: u64,
}

type Shared = Arc<Mutex<Journal>>;

fn lock(journal: &Shared) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    fn learn(&mut self, key: Option<&str>, answer: &Answer) -> anyhow::Result<()> {
        self.answers += 1;
        ensure!(
            matches!(
                answer.status,
                200 | 201 | 202 | 400 | 402 | 409 | 429 | 500 | 503
            ),
            "an answer that nothing explains: {answer:?}"
        );
        let Some((job, status)) = bought(answer) else {
            return Ok(());
        };
        if let Some(key) = key {
            let (_, known) = self.sent.get_mut(key).context("an answer to nothing")?;
            match known {
                Some(known) => ensure!(*known == job, "{key} bought {known} and then {job}"),
                None => *known = Some(job.clone()),
            }
            if answer.status == 500 {
                ensure!(
                    answer.body["refund"]["applied"] == true,
                    "no refund: {answer:?}"
                );
            }
        }
        self.ended(&job, &status)
    }

    fn ended(&mut self, job: &str, status: &str) -> anyhow::Result<()> {
        if is_final(status) {
            let known = self
                .ends
                .entry(job.to_owned())
                .or_insert_with(|| status.to_owned());
            ensure!(
                known == status,
                "{job} had ended as {known} and now as {status}"
            );
        }
        Ok(())
    }

    fn keep(&mut self, result: anyhow::Result<()>) {
        if let Err(error) = result {
            self.violation.get_or_insert(error);
        }
    }

    fn some_job(&self, random: &mut StdRng) -> Option<String> {
        let jobs: Vec<&String> = self
            .sent
            .values()
            .filter_map(|(_, job)| job.as_ref())
            .collect();
        jobs.choose(random).map(|job| (*job).clone())
    }
}

pub(super) fn prove(run: &Run) -> Outcome {
    let folder = in_memory()?;
    let template = template(folder.path())?;
    let figures = pool::each(run.count, |number| {
        let seed = run.seed + number;
        let (log, figures) = one(&template, seed)?;
        if let Some(path) = &run.log {
            std::fs::write(path, &log)?;
        }
        if number % TWICE == 0 {
            let (again, _) = one(&template, seed)?;
            let lines = log.lines().zip(again.lines());
            let difference = lines.enumerate().find(|(_, (one, other))| one != other);
            ensure!(
                log == again,
                "the same seed took another course: {difference:?}"
            );
        }
        run.progress.step(run.count);
        Ok((Sha256::digest(log.as_bytes()).to_vec(), figures))
    })
    .map_err(|(number, error)| {
        let replay = format!("--seed {} --count 1 --log events.txt", run.seed + number);
        Violation::at(replay, error)
    })?;
    let mut all = Sha256::new();
    let mut sum = Figures::default();
    for (hash, figures) in &figures {
        all.update(hash);
        sum.events += figures.events;
        sum.jobs += figures.jobs;
        sum.faults += figures.faults;
        sum.restarts += figures.restarts;
    }
    let mut hash = String::new();
    for byte in all.finalize().iter().take(6) {
        let _ = write!(hash, "{byte:02x}");
    }
    Ok(format!(
        "{} events, {} jobs, {} faults, {} restarts, log {hash}; one course in {TWICE} taken twice, line by line the same",
        sum.events, sum.jobs, sum.faults, sum.restarts
    ))
}

#[derive(Debug, Default)]
struct Figures {
    events: usize,
    jobs: usize,
    faults: u64,
    restarts: u64,
}

/// A provider of moods.
fn mood(random: &mut StdRng) -> Act {
    const KINDS: [ErrorKind; 6] = [
        ErrorKind::Unavailable,
        ErrorKind::RateLimited,
        ErrorKind::ContentRefused,
        ErrorKind::Unknown,
        ErrorKind::NoOutput,
        ErrorKind::TimedOut,
    ];
    const ACCEPTED: [Accepted; 3] = [Accepted::No, Accepted::Yes, Accepted::Unknown];
    let kind = *KINDS.choose(random).unwrap_or(&ErrorKind::Unknown);
    let accepted = *ACCEPTED.choose(random).unwrap_or(&Accepted::Unknown);
    match random.random_range(0..100) {
        0..35 => Act::Make,
        35..40 => Act::MakeOnly(random.random_range(0..2)),
        40..50 => Act::MakeIn(Duration::from_millis(random.random_range(1..40_000))),
        50..65 => Act::Fail(kind, accepted),
        65..80 => Act::Task(random.random_range(0..4)),
        80..88 => Act::FailingTask(random.random_range(0..4), kind),
        88..94 => Act::LostTask,
        _ => Act::Silence,
    }
}

/// What goes wrong by itself: more in some courses than in others, and nothing in a few.
fn misfortune(random: &mut StdRng) -> Fault {
    match random.random_range(0..100) {
        0..40 => Fault::ErrorBefore,
        40..70 => Fault::ErrorAfter,
        70..80 => Fault::CrashBefore,
        80..90 => Fault::CrashAfter,
        _ => Fault::Delay(Duration::from_millis(random.random_range(1..90_000))),
    }
}

/// One course of events: its log, and its figures.
fn one(template: &Path, seed: u64) -> anyhow::Result<(String, Figures)> {
    let log = Log::default();
    let figures = on_paused_time(course(template, seed, log.clone()));
    let text = log.take();
    let mut figures = figures?;
    figures.events = text.lines().count();
    Ok((text, figures))
}

async fn course(template: &Path, seed: u64, log: Log) -> anyhow::Result<Figures> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut moods = StdRng::seed_from_u64(seed ^ 0x6d6f_6f64);
    let actor = Actor::new(random.random_bool(0.5), move |_| mood(&mut moods));
    let mut sim = Sim::new(template, seed, actor, |_| {}).await?;
    if random.random_bool(0.5) {
        sim.listen().await?;
    }
    let began = tokio::time::Instant::now();
    let heard = log.clone();
    sim.faults.listen(move |point, outcome| {
        heard.note(format_args!(
            "{} {point} {outcome}",
            began.elapsed().as_millis()
        ));
    });
    let misfortunes = [0.0, 0.002, 0.005, 0.02];
    let chance = *misfortunes.choose(&mut random).unwrap_or(&0.0);
    let faults = Arc::new(Mutex::new(0_u64));
    let (counted, mut luck) = (
        Arc::clone(&faults),
        StdRng::seed_from_u64(seed ^ 0x6c75_636b),
    );
    sim.faults.plan(move |_| {
        let fault = luck.random_bool(chance).then(|| misfortune(&mut luck));
        *counted.lock().unwrap_or_else(PoisonError::into_inner) += u64::from(fault.is_some());
        fault
    });
    let journal = Shared::default();
    let mut clients = JoinSet::new();
    for number in 0..STEPS {
        step(&mut sim, &journal, &mut clients, &mut random, &log, number).await?;
        let span = match random.random_range(0..10) {
            0..5 => Duration::ZERO,
            5..9 => Duration::from_millis(random.random_range(1..3_000)),
            _ => Duration::from_millis(random.random_range(3_000..20_000)),
        };
        let restarts = sim.restarts;
        sim.rest(span).await?;
        if sim.restarts != restarts {
            log.note(format_args!("started again"));
            clients.shutdown().await;
        }
        while let Some(ended) = clients.try_join_next() {
            ended?;
        }
        if let Some(violation) = lock(&journal).violation.take() {
            return Err(violation.context(format!("at step {number}")));
        }
    }
    clients.shutdown().await;
    sim.faults.clear();
    ask_again(&mut sim, &journal).await?;
    let books = sim.settle().await?;
    for job in &books.jobs {
        log.note(format_args!(
            "{} {} {} {}",
            job.id, job.status, job.price, job.refunded
        ));
    }
    let journal = lock(&journal);
    let rows: BTreeMap<&str, &str> = books
        .jobs
        .iter()
        .map(|job| (job.id.as_str(), job.status.as_str()))
        .collect();
    let known: BTreeSet<&str> = journal
        .sent
        .values()
        .filter_map(|(_, job)| job.as_deref())
        .collect();
    let there: BTreeSet<&str> = rows.keys().copied().collect();
    ensure!(
        there == known,
        "{} were bought, and {} were told",
        there.len(),
        known.len()
    );
    for (job, status) in &journal.ends {
        ensure!(
            rows.get(job.as_str()) == Some(&status.as_str()),
            "{job} had ended as {status} and is {:?}",
            rows.get(job.as_str())
        );
    }
    let faults = *faults.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Figures {
        events: 0,
        jobs: books.jobs.len(),
        faults,
        restarts: sim.restarts.into(),
    })
}

async fn step(
    sim: &mut Sim,
    journal: &Shared,
    clients: &mut JoinSet<()>,
    random: &mut StdRng,
    log: &Log,
    number: u32,
) -> anyhow::Result<()> {
    let what = random.random_range(0..100);
    log.note(format_args!("step {number} {what}"));
    match what {
        0..45 => {
            let key = format!("k{number}");
            let asked = purchase(sim, random, &key);
            lock(journal)
                .sent
                .insert(key.clone(), (asked.clone(), None));
            client(sim, journal, clients, log, Some(key), asked);
        }
        45..52 => {
            // The same again, whatever became of it.
            let again = {
                let journal = lock(journal);
                let keys: Vec<&String> = journal.sent.keys().collect();
                keys.choose(random)
                    .map(|key| ((*key).clone(), journal.sent[*key].0.clone()))
            };
            if let Some((key, asked)) = again {
                client(sim, journal, clients, log, Some(key), asked);
            }
        }
        52..65 => look_or_cancel(sim, journal, clients, random, log, "DELETE"),
        65..78 => look_or_cancel(sim, journal, clients, random, log, "GET"),
        78..83 => {
            let (org, amount) = (sim.org.id.clone(), Credits::new(random.random_range(1..50)));
            let mode = *Mode::ALL.choose(random).unwrap_or(&Mode::Live);
            sim.chore(async |engine| {
                let amount = amount.unwrap_or_default();
                engine.grant(&org, mode, amount, "more").await.map(drop)
            })
            .await?;
        }
        83..86 => {
            sim.chore(async |engine| engine.flush_usage().await.map(drop))
                .await?;
        }
        86..92 => {
            let leaps = [
                Duration::from_secs(20),
                Duration::from_secs(70),
                OVERDUE / 2,
                OVERDUE,
            ];
            sim.app
                .clock
                .advance(*leaps.choose(random).unwrap_or(&OVERDUE));
        }
        92..95 => {
            clients.shutdown().await;
            sim.stop_in_order().await?;
        }
        95..98 => {
            clients.shutdown().await;
            sim.restart().await?;
        }
        _ => {
            // Set back, as a time server may.
            sim.app
                .clock
                .set_back(Duration::from_millis(random.random_range(1..5_000)));
        }
    }
    Ok(())
}

fn purchase(sim: &Sim, random: &mut StdRng, key: &str) -> Ask {
    let outcomes = [
        "GENERATION_FAILED",
        "FLAKY=2",
        "LOST",
        "SLOW=5s",
        "PARTIAL=0",
        "",
    ];
    let in_sandbox = random.random_bool(0.3);
    let caller = if in_sandbox { &sim.test } else { &sim.live };
    let asked = match random.random_range(0..3) {
        0 => Ask::new("POST", "jobs", caller)
            .json(&json!({"workflow": "generate_image", "input": {"prompt": "a wave"}})),
        1 => Ask::new("POST", "models/gemini/generate", caller).json(&json!({"prompt": "a wave"})),
        _ => Ask::new("POST", "models/elevenlabs/tts", caller).json(&json!({"text": "Again."})),
    };
    let asked = asked.with("idempotency-key", key);
    let asked = if random.random_bool(0.5) {
        asked.with("prefer", "respond-async")
    } else {
        asked
    };
    match outcomes.choose(random) {
        Some(outcome) if in_sandbox && !outcome.is_empty() => {
            asked.with("x-vydra-simulate", *outcome)
        }
        _ => asked,
    }
}

/// A request beside all others; what it is answered is written down.
fn client(
    sim: &Sim,
    journal: &Shared,
    clients: &mut JoinSet<()>,
    log: &Log,
    key: Option<String>,
    asked: Ask,
) {
    let (router, journal, log) = (sim.router(), Arc::clone(journal), log.clone());
    clients.spawn(async move {
        let path = asked.path.clone();
        let answer = send(router, asked).await;
        let mut journal = lock(&journal);
        let learned = answer.and_then(|answer| {
            log.note(format_args!("{path} {:?} answered {}", key, answer.status));
            journal.learn(key.as_deref(), &answer)
        });
        journal.keep(learned);
    });
}

fn look_or_cancel(
    sim: &Sim,
    journal: &Shared,
    clients: &mut JoinSet<()>,
    random: &mut StdRng,
    log: &Log,
    method: &'static str,
) {
    let Some(job) = lock(journal).some_job(random) else {
        return;
    };
    // Only the half of them finds it: the sandbox and the real thing do not see each other.
    let caller = if random.random_bool(0.3) {
        &sim.test
    } else {
        &sim.live
    };
    let asked = Ask::new(method, format!("jobs/{job}"), caller);
    let (router, journal, log) = (sim.router(), Arc::clone(journal), log.clone());
    clients.spawn(async move {
        let answer = send(router, asked).await;
        let mut journal = lock(&journal);
        let learned = answer.and_then(|answer| {
            log.note(format_args!("{method} {job} answered {}", answer.status));
            journal.answers += 1;
            match answer.status {
                200 => {
                    let status = answer.body["status"].as_str().unwrap_or_default();
                    if method == "DELETE" {
                        ensure!(status == "cancelled", "{answer:?}");
                    }
                    journal.ended(&job, status)
                }
                404 | 409 | 500 | 503 => Ok(()),
                _ => bail!("{method} {job}: {answer:?}"),
            }
        });
        journal.keep(learned);
    });
}

/// Whoever was not answered asks again, until it knows.
async fn ask_again(sim: &mut Sim, journal: &Shared) -> anyhow::Result<()> {
    let unanswered: Vec<(String, Ask)> = {
        let journal = lock(journal);
        let open = journal.sent.iter().filter(|(_, (_, job))| job.is_none());
        open.map(|(key, (asked, _))| (key.clone(), asked.clone()))
            .collect()
    };
    for (key, asked) in unanswered {
        // Only the buying matters now.
        let answer = sim.ask(asked.with("prefer", "respond-async")).await?;
        ensure!(bought(&answer).is_some(), "{key}: {answer:?}");
        lock(journal).learn(Some(&key), &answer)?;
    }
    Ok(())
}
