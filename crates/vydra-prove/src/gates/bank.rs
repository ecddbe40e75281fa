//! G5: the bank. Clients of several organizations buy and cancel over HTTP, an operator gives credits by the command line, and
//! readers add everything up all the time, over HTTP and in the file: every look adds up.

use super::{Outcome, Run, on_disk};
use crate::api::{self, Api, Purchase, bought};
use crate::books::{self, Books};
use crate::server::Data;
use anyhow::{Context, bail, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const ORGANIZATIONS: u64 = 8;
const CLIENTS_EACH: u64 = 2;
/// What a new organization's sandbox has.
const SANDBOX: i64 = 10_000;
const GRANT: i64 = 100;
/// The file is read whole each time, and it grows.
const FILE_EVERY: Duration = Duration::from_millis(500);

/// Grants of one organization: those that were asked for, and those of which that came back.
#[derive(Debug, Default, Clone, Copy)]
struct Given {
    asked: i64,
    done: i64,
}

#[derive(Debug)]
struct Bank {
    data: Data,
    keys: Vec<String>,
    given: Mutex<HashMap<usize, Given>>,
    until: Instant,
    purchases: AtomicU64,
    reads: AtomicU64,
}

pub(super) fn prove(run: &Run) -> Outcome {
    on_disk("bank", run, async |data| open(run, data).await)
}

async fn open(run: &Run, data: &Data) -> anyhow::Result<String> {
    let mut keys = Vec::new();
    for number in 0..ORGANIZATIONS {
        keys.push(data.customer(&format!("org-{number}")).await?);
    }
    let server = data.serve().await?;
    let client = api::client()?;
    let bank = Arc::new(Bank {
        data: data.clone(),
        keys,
        given: Mutex::default(),
        until: Instant::now() + Duration::from_secs(run.count),
        purchases: AtomicU64::new(0),
        reads: AtomicU64::new(0),
    });
    let mut hands = JoinSet::new();
    for (org, key) in bank.keys.iter().enumerate() {
        let api = Api::new(&client, &server.url, key);
        for number in 0..CLIENTS_EACH {
            let seed = run.seed ^ ((org as u64 * CLIENTS_EACH + number + 1) << 16);
            let random = StdRng::seed_from_u64(seed);
            hands.spawn(customer(Arc::clone(&bank), api.clone(), random));
        }
        hands.spawn(reader(Arc::clone(&bank), api, org));
    }
    hands.spawn(operator(Arc::clone(&bank), StdRng::seed_from_u64(run.seed)));
    hands.spawn(auditor(Arc::clone(&bank)));
    while let Some(hand) = hands.join_next().await {
        hand??;
    }
    server.stop().await?;
    data.audit().await?;
    let books = books::check(&data.database())?;
    let all_given = bank
        .given
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let given: i64 = all_given.values().map(|given| given.done).sum();
    let granted: i64 = books
        .entries
        .iter()
        .filter(|entry| entry.kind == "grant" && entry.reason == "more")
        .map(|entry| entry.amount)
        .sum();
    ensure!(
        granted == given,
        "{given} was given, and {granted} is there"
    );
    Ok(format!(
        "{} purchases, {} reads that added up, {} rows",
        bank.purchases.load(Ordering::Relaxed),
        bank.reads.load(Ordering::Relaxed),
        books.entries.len()
    ))
}

impl Bank {
    fn is_open(&self) -> bool {
        Instant::now() < self.until
    }

    fn given(&self, org: usize) -> Given {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.get(&org).copied().unwrap_or_default()
    }
}

/// Buys more than there is credit for in the long run, and cancels much of it.
async fn customer(bank: Arc<Bank>, api: Api, mut random: StdRng) -> anyhow::Result<()> {
    let mut jobs: Vec<String> = Vec::new();
    while bank.is_open() {
        if !jobs.is_empty() && random.random_bool(0.4) {
            let job = jobs.swap_remove(random.random_range(0..jobs.len()));
            let answer = api.cancel(&job).await?.context("the server is gone")?;
            ensure!(matches!(answer.status, 200 | 409), "{answer:?}");
            continue;
        }
        let purchase = if random.random_bool(0.2) {
            // Delivered at once: what is charged stays charged.
            Purchase {
                path: "models/elevenlabs/tts".into(),
                body: json!({"text": "Again."}),
                outcome: "",
                respond_async: true,
                key: None,
            }
        } else {
            // Dear, and never delivered: a film takes a while to draw.
            let input = json!({"prompt": "a wave", "model": "kling-3.1"});
            let outcomes = [
                "GENERATION_FAILED",
                "CONTENT_POLICY",
                "SLOW=2s,GENERATION_FAILED",
            ];
            Purchase {
                path: "jobs".into(),
                body: json!({"workflow": "generate_video", "input": input}),
                outcome: outcomes.choose(&mut random).copied().unwrap_or_default(),
                respond_async: true,
                key: None,
            }
        };
        let answer = api.buy(&purchase).await?.context("the server is gone")?;
        match bought(&answer) {
            Some((job, _)) => {
                bank.purchases.fetch_add(1, Ordering::Relaxed);
                jobs.push(job);
            }
            None => ensure!(matches!(answer.status, 402 | 429), "{answer:?}"),
        }
    }
    Ok(())
}

/// Each answer adds up in itself.
async fn reader(bank: Arc<Bank>, api: Api, org: usize) -> anyhow::Result<()> {
    while bank.is_open() {
        let before = bank.given(org).done;
        let answer = api
            .get("billing/credits")
            .await?
            .context("the server is gone")?;
        let after = bank.given(org).asked;
        let number = |name: &str| {
            let number = answer.body[name].as_i64();
            number.with_context(|| format!("no {name}: {answer:?}"))
        };
        let remaining = number("creditsRemaining")?;
        let granted = remaining + number("creditsUsed")? - number("creditsRefunded")?;
        ensure!(remaining >= 0, "below zero: {answer:?}");
        ensure!(
            (SANDBOX + before..=SANDBOX + after).contains(&granted),
            "{before} to {after} was given to org-{org}: {answer:?}"
        );
        let page = api
            .get("billing/transactions?limit=100")
            .await?
            .context("the server is gone")?;
        let rows = page.body["data"].as_array().context("no rows")?;
        let field = |row: usize, name: &str| rows[row][name].as_i64().unwrap_or(i64::MIN);
        for row in 1..rows.len() {
            // The newest is the first.
            let (newer, older) = (row - 1, row);
            if field(newer, "balanceAfter") - field(newer, "amount") != field(older, "balanceAfter")
            {
                bail!("these do not follow: {} {}", rows[newer], rows[older]);
            }
            ensure!(
                field(older, "balanceAfter") >= 0,
                "below zero: {}",
                rows[older]
            );
        }
        bank.reads.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn operator(bank: Arc<Bank>, mut random: StdRng) -> anyhow::Result<()> {
    while bank.is_open() {
        let org = random.random_range(0..bank.keys.len());
        let note = |change: fn(&mut Given)| {
            let mut given = bank.given.lock().unwrap_or_else(PoisonError::into_inner);
            change(given.entry(org).or_default());
        };
        note(|given| given.asked += GRANT);
        bank.data
            .grant(&format!("org-{org}"), GRANT.unsigned_abs(), "more")
            .await?;
        note(|given| given.done += GRANT);
    }
    Ok(())
}

/// From one snapshot of the file: not over HTTP, but everything at once.
async fn auditor(bank: Arc<Bank>) -> anyhow::Result<()> {
    while bank.is_open() {
        let database = bank.data.database();
        let books = tokio::task::spawn_blocking(move || books::check(&database)).await??;
        total(&books)?;
        bank.reads.fetch_add(1, Ordering::Relaxed);
        sleep(FILE_EVERY).await;
    }
    Ok(())
}

/// What was ever given is what is left and what is held by jobs.
fn total(books: &Books) -> anyhow::Result<()> {
    let given: i64 = books
        .entries
        .iter()
        .filter(|entry| entry.kind == "grant")
        .map(|entry| entry.amount)
        .sum();
    let left: i64 = books.balances.iter().map(|balance| balance.credits).sum();
    let held: i64 = books.jobs.iter().map(|job| job.price - job.refunded).sum();
    ensure!(
        given == left + held,
        "{given} was given, {left} is left, {held} is held"
    );
    Ok(())
}
