//! G6: many tries at once under one key, on the real program, which is killed in the middle of half of them: one job and one
//! charge, and everybody who is told anything of it is told the same.

use super::{Outcome, Run, on_disk};
use crate::api::{self, Answer, Api, Purchase, bought};
use crate::books;
use crate::server::{Data, Server};
use anyhow::{Context, bail, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

const TRIES: u64 = 32;
/// Keys that are tried at once.
const BATCH: u64 = 10;

pub(super) fn prove(run: &Run) -> Outcome {
    on_disk("idempotency", run, async |data| batches(run, data).await)
}

/// What was said of a key.
#[derive(Debug, Default)]
struct Heard {
    job: Option<String>,
    body: Option<Value>,
    conflicts: u64,
}

impl Heard {
    fn hear(&mut self, key: &str, answer: &Answer) -> anyhow::Result<()> {
        match bought(answer) {
            Some((job, _)) => {
                let known = self.job.get_or_insert_with(|| job.clone());
                ensure!(*known == job, "{key} bought {known} and {job}");
                let body = self.body.get_or_insert_with(|| answer.body.clone());
                ensure!(
                    *body == answer.body,
                    "{key} was answered {body} and {}",
                    answer.body
                );
            }
            None if answer.status == 409 => self.conflicts += 1,
            None if answer.status == 503 => {}
            None => bail!("{key}: {answer:?}"),
        }
        Ok(())
    }
}

async fn batches(run: &Run, data: &Data) -> anyhow::Result<String> {
    let secret = data.customer("acme").await?;
    data.grant("acme", 100 * run.count, "plenty").await?;
    let client = api::client()?;
    let mut random = StdRng::seed_from_u64(run.seed);
    let mut heard: BTreeMap<String, Heard> = BTreeMap::new();
    let (mut server, mut kills) = (data.serve().await?, 0_u64);
    let mut next = 0;
    while next < run.count {
        let keys: Vec<u64> = (next..run.count.min(next + BATCH)).collect();
        next += BATCH;
        let wanted: Vec<(String, Purchase)> = keys
            .iter()
            .map(|number| purchase(&mut random, *number))
            .collect();
        let kill = random.random_bool(0.5);
        let mut tries = all_at_once(&client, &server, &secret, &wanted, &mut random);
        if kill {
            sleep(Duration::from_millis(random.random_range(1..60))).await;
            server.kill().await?;
            kills += 1;
            collect(&mut tries, &mut heard).await?;
            server = data.serve().await?;
            tries = all_at_once(&client, &server, &secret, &wanted, &mut random);
        }
        collect(&mut tries, &mut heard).await?;
        // Nobody tries any more, so the next one is told.
        let api = Api::new(&client, &server.url, &secret);
        for (key, purchase) in &wanted {
            let answer = api.buy(purchase).await?.context("the server is gone")?;
            ensure!(bought(&answer).is_some(), "{key} buys nothing: {answer:?}");
            heard.entry(key.clone()).or_default().hear(key, &answer)?;
            run.progress.step(run.count);
        }
    }
    server.stop().await?;
    data.audit().await?;
    let books = books::check(&data.database())?;
    let told: BTreeSet<&str> = heard
        .values()
        .filter_map(|heard| heard.job.as_deref())
        .collect();
    let there: BTreeSet<&str> = books.jobs.iter().map(|job| job.id.as_str()).collect();
    ensure!(
        told.len() as u64 == run.count,
        "{} jobs for {} keys",
        told.len(),
        run.count
    );
    ensure!(
        told == there,
        "{} jobs were told, {} are there",
        told.len(),
        there.len()
    );
    let charges = books
        .entries
        .iter()
        .filter(|entry| entry.kind == "charge")
        .count();
    ensure!(
        charges as u64 == run.count,
        "{charges} charges for {} keys",
        run.count
    );
    for row in &books.keys {
        let known = heard.get(&row.key).and_then(|heard| heard.job.as_deref());
        ensure!(known == Some(&row.job), "{row:?} was told as {known:?}");
    }
    Ok(format!(
        "{TRIES} tries of each key, {kills} kills, {} conflicts: one job and one charge a key, one answer",
        heard.values().map(|heard| heard.conflicts).sum::<u64>()
    ))
}

fn purchase(random: &mut StdRng, number: u64) -> (String, Purchase) {
    let key = format!("key-{number}");
    let outcomes = ["", "", "GENERATION_FAILED", "SLOW=50ms", "FLAKY=1"];
    let purchase = Purchase {
        path: "models/elevenlabs/tts".into(),
        body: json!({"text": format!("Number {number}.")}),
        outcome: outcomes.choose(random).copied().unwrap_or_default(),
        respond_async: random.random_bool(0.5),
        key: Some(key.clone()),
    };
    (key, purchase)
}

type Tries = JoinSet<anyhow::Result<(String, Option<Answer>)>>;

fn all_at_once(
    client: &Client,
    server: &Server,
    secret: &str,
    wanted: &[(String, Purchase)],
    random: &mut StdRng,
) -> Tries {
    let mut tries = JoinSet::new();
    for _ in 0..TRIES {
        for (key, purchase) in wanted {
            let api = Api::new(client, &server.url, secret);
            let (key, purchase) = (key.clone(), purchase.clone());
            let pause = Duration::from_micros(random.random_range(0..20_000));
            tries.spawn(async move {
                sleep(pause).await;
                Ok((key, api.buy(&purchase).await?))
            });
        }
    }
    tries
}

async fn collect(tries: &mut Tries, heard: &mut BTreeMap<String, Heard>) -> anyhow::Result<()> {
    while let Some(tried) = tries.join_next().await {
        let (key, answer) = tried??;
        if let Some(answer) = answer {
            heard.entry(key.clone()).or_default().hear(&key, &answer)?;
        }
    }
    Ok(())
}
