//! G14: ends of jobs told to a receiver that fails, hangs and asks for patience, by a server that is killed over and over. Each
//! arrives, with the same id and body at every attempt and a signature that an implementation of others verifies.

mod receiver;

use super::{Outcome, Run, on_disk};
use crate::api::{self, Api, Purchase, bought};
use crate::books::{self, Books};
use crate::server::{Data, Server};
use anyhow::{Context, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use receiver::{Door, Receiver};
use reqwest::Client;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const ORG: &str = "acme";
/// Jobs of each life of the server.
const A_LIFE: u64 = 100;
const CLIENTS: u64 = 8;
/// Enough that no delivery fails for good, and short enough to be waited for.
const RETRIES: usize = 50;
const TIMEOUT: Duration = Duration::from_secs(1);
/// Of one receiver, by the configuration that is in force here.
const AT_ONCE: usize = 8;
/// All retries of the unluckiest delivery.
const PATIENCE: Duration = Duration::from_mins(3);

pub(super) fn prove(run: &Run) -> Outcome {
    on_disk("webhooks", run, async |data| {
        let retries = vec!["\"200ms\""; RETRIES].join(",");
        let data = data
            .clone()
            .with("VYDRA__OUTBOUND__WEBHOOK_ALLOW_NETWORKS", "[\"127.0.0.1\"]")
            // Each life has another port, and what is told of files is to be the same.
            .with("VYDRA__SERVER__PUBLIC_URL", "https://vydra.example")
            .with("VYDRA__WEBHOOKS__RETRIES", format!("[{retries}]"))
            .with(
                "VYDRA__WEBHOOKS__TIMEOUT",
                format!("{}ms", TIMEOUT.as_millis()),
            );
        lives(run, &data).await
    })
}

/// What is the same in all lives of the server.
struct World<'a> {
    run: &'a Run,
    client: Client,
    key: String,
    receiver: Receiver,
}

async fn lives(run: &Run, data: &Data) -> anyhow::Result<String> {
    let key = data.customer(ORG).await?;
    data.grant(ORG, run.count * 100, "for all the jobs").await?;
    let receiver = Receiver::open(run.seed, 10 * TIMEOUT).await?;
    receiver.knows(&secret(data, &[]).await?)?;
    let world = World {
        run,
        client: api::client()?,
        key,
        receiver,
    };
    let mut random = StdRng::seed_from_u64(run.seed);
    let lives = run.count.div_ceil(A_LIFE);
    let mut own = HashSet::new();
    for life in 0..lives {
        let server = data.serve().await?;
        if life == 0 {
            world.make_endpoints(&server).await?;
        }
        let jobs = A_LIFE.min(run.count - life * A_LIFE);
        own.extend(world.submit(&server, life, jobs).await?);
        if life == lives / 2 {
            // What was signed with the old secret alone is still good, and so is what comes now.
            secret(data, &["--rotate"]).await?;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..800))).await;
        server.kill().await?;
    }
    let began = Instant::now();
    let server = data.serve().await?;
    let api = Api::new(&world.client, &server.url, &world.key);
    world.drain(&api, began).await?;
    let drained = began.elapsed();
    let told = feed(&api).await?;
    let endpoints = api.get("webhooks/endpoints").await?;
    let endpoints = endpoints.context("the server is gone")?.body;
    server.stop().await?;
    data.audit().await?;
    let books = books::check_with_files(&data.database(), books::in_folder(&data.media()))?;
    books::ended(&books)?;
    world.compare(&books, &own, &told, &endpoints)?;
    let attempts = world.receiver.attempts();
    Ok(format!(
        "{} events to {} receivers, {attempts} attempts, {} arrived twice, {lives} kills: each arrived, signed and with its id; drained in {:.1} s",
        books.events.len(),
        Door::ALL.len(),
        world.receiver.repeated(),
        drained.as_secs_f64()
    ))
}

async fn secret(data: &Data, more: &[&str]) -> anyhow::Result<String> {
    let words = [&["webhook", "secret", "--org", ORG, "--test"], more].concat();
    let shown = data.run(&words).await?;
    let secret = shown["secret"].as_str().context("no secret is shown")?;
    Ok(secret.to_owned())
}

impl World<'_> {
    async fn make_endpoints(&self, server: &Server) -> anyhow::Result<()> {
        let api = Api::new(&self.client, &server.url, &self.key);
        for door in [Door::Endpoint, Door::Gone] {
            let body = json!({"url": self.receiver.url(door)});
            let made = api.post("webhooks/endpoints", &body).await?;
            let made = made.context("the server is gone")?;
            ensure!(made.status == 201, "no endpoint: {made:?}");
        }
        Ok(())
    }

    /// Jobs that fail, deliver or are cancelled. Those that have an address of their own.
    async fn submit(&self, server: &Server, life: u64, jobs: u64) -> anyhow::Result<Vec<String>> {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let api = Api::new(&self.client, &server.url, &self.key);
            let own = self.receiver.url(Door::Own);
            let count = jobs / CLIENTS + u64::from(client < jobs % CLIENTS);
            let mut random = StdRng::seed_from_u64(self.run.seed ^ (life << 16) ^ (client << 8));
            clients.spawn(async move {
                let mut with_own = Vec::new();
                for _ in 0..count {
                    with_own.extend(one_job(&api, &own, &mut random).await?);
                }
                anyhow::Ok(with_own)
            });
        }
        let mut with_own = Vec::new();
        while let Some(client) = clients.join_next().await {
            with_own.extend(client??);
        }
        for _ in 0..jobs {
            self.run.progress.step(self.run.count);
        }
        Ok(with_own)
    }

    /// Until nothing is on its way any more.
    async fn drain(&self, api: &Api, began: Instant) -> anyhow::Result<()> {
        loop {
            self.receiver.check()?;
            let mut left = 0;
            for list in [
                "jobs?limit=1&status=pending",
                "jobs?limit=1&status=running",
                "webhooks/deliveries?limit=1&status=pending",
            ] {
                let page = api.get(list).await?.context("the server is gone")?;
                let count = page.body["pagination"]["count"].as_u64();
                left += count.with_context(|| format!("{list}: {page:?}"))?;
            }
            if left == 0 {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "{left} are still on their way");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn compare(
        &self,
        books: &Books,
        own: &HashSet<String>,
        told: &[String],
        endpoints: &Value,
    ) -> anyhow::Result<()> {
        self.receiver.check()?;
        let expected: Vec<String> = books
            .events
            .iter()
            .map(|event| event.job.replacen("job_", "evt_", 1))
            .collect();
        ensure!(
            u64::try_from(expected.len())? == self.run.count,
            "{} jobs ended as {} events",
            self.run.count,
            expected.len()
        );
        ensure!(told == expected, "the feed tells something else");
        let all: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
        let owned: BTreeSet<String> = own
            .iter()
            .map(|job| job.replacen("job_", "evt_", 1))
            .collect();
        let owned: BTreeSet<&str> = owned.iter().map(String::as_str).collect();
        for (door, expected) in [(Door::Endpoint, &all), (Door::Own, &owned)] {
            let arrived = self.receiver.arrived(door);
            let arrived: BTreeSet<&str> = arrived.iter().map(String::as_str).collect();
            let missing: Vec<_> = expected.difference(&arrived).collect();
            ensure!(missing.is_empty(), "{door:?} was never told of {missing:?}");
            let invented: Vec<_> = arrived.difference(expected).collect();
            ensure!(invented.is_empty(), "{door:?} was told of {invented:?}");
        }
        // Those that were under way when it said so may still come.
        let late = self.receiver.after_it_was_gone();
        ensure!(late < AT_ONCE, "{late} were sent to whoever was gone");
        let gone = endpoints["data"].as_array().and_then(|list| {
            list.iter()
                .find(|endpoint| endpoint["url"] == self.receiver.url(Door::Gone))
        });
        ensure!(
            gone.is_some_and(|endpoint| endpoint["disabledReason"] == "gone"),
            "the endpoint that is gone is {gone:?}"
        );
        ensure!(
            self.receiver.has_noticed(),
            "the owner was not told that an endpoint is gone"
        );
        Ok(())
    }
}

/// A job, with its own address or without. Its id when it has one.
async fn one_job(api: &Api, own: &str, random: &mut StdRng) -> anyhow::Result<Option<String>> {
    let with_own = random.random_bool(0.5);
    let outcome = match random.random_range(0..100) {
        0..10 => "",
        10..80 => "GENERATION_FAILED",
        80..90 => "CONTENT_POLICY",
        _ => "SLOW=5s",
    };
    let mut body = json!({"text": "Again."});
    if with_own {
        body["webhookUrl"] = json!(own);
    }
    let purchase = Purchase {
        path: "models/elevenlabs/tts".into(),
        body,
        outcome,
        respond_async: true,
        key: None,
    };
    let answer = api.buy(&purchase).await?.context("the server is gone")?;
    let (job, _) = bought(&answer).with_context(|| format!("nothing was bought: {answer:?}"))?;
    if outcome.starts_with("SLOW") {
        let answer = api.cancel(&job).await?.context("the server is gone")?;
        ensure!(answer.status == 200, "not cancelled: {answer:?}");
    }
    Ok(with_own.then_some(job))
}

/// All events, page by page.
async fn feed(api: &Api) -> anyhow::Result<Vec<String>> {
    let mut told = Vec::new();
    let mut path = "events?limit=100".to_owned();
    loop {
        let page = api.get(&path).await?.context("the server is gone")?;
        let events = page.body["data"].as_array();
        for event in events.with_context(|| format!("{path}: {page:?}"))? {
            let id = event["id"].as_str().context("an event without an id")?;
            told.push(id.to_owned());
        }
        let Some(next) = page.body["pagination"]["nextCursor"].as_str() else {
            return Ok(told);
        };
        path = format!("events?limit=100&after={next}");
    }
}
