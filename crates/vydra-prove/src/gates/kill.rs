//! G2: the real program on a real disk, killed at random moments under load. Clients write down what they were told; after the
//! last start the books and the journal must say the same. On Postgres, that is killed now and then in place of the program,
//! which must come back to it by itself.

use super::{Outcome, Run, on_disk};
use crate::api::{self, Api};
use crate::books;
use crate::load::{self, REASON, Shared, Weather, ask_again, lock, press};
use crate::server::Data;
use anyhow::{Context, bail, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Client;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use vydra_testkit::postgres::Postgres;

const CLIENTS: u64 = 6;
const ORG: &str = "acme";
const GRANT: u64 = 20_000;
/// A start-up, a kill, and everything that was cut off has ended by then.
const DRAIN: Duration = Duration::from_mins(1);
/// One grant by the command line so many kills.
const GRANT_EVERY: u64 = 5;
/// One crash of Postgres so many kills, and how long it takes at most until the program answers again.
const CRASH_EVERY: u64 = 5;
const RECOVERY: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) fn prove(run: &Run) -> Outcome {
    on_disk("kill", run, async |data| rounds(run, data).await)
}

async fn rounds(run: &Run, data: &Data) -> anyhow::Result<String> {
    let key = data.customer(ORG).await?;
    let client = api::client()?;
    let journal = Shared::default();
    let mut random = StdRng::seed_from_u64(run.seed);
    let (mut crashes, mut longest) = (0_u64, Duration::ZERO);
    for round in 0..run.count {
        let away = one_round(run, data, &client, &key, &journal, &mut random, round)
            .await
            .with_context(|| format!("in round {round}"))?;
        crashes += u64::from(away.is_some());
        longest = longest.max(away.unwrap_or_default());
        run.progress.step(run.count);
    }
    let server = data.serve().await?;
    let api = Api::new(&client, &server.url, &key);
    let drained = load::drain(&api, &journal, DRAIN).await?;
    server.stop().await?;
    data.audit().await?;
    let books = books::check_with_files(&data.database(), books::in_folder(&data.media()))?;
    books::ended(&books)?;
    let journal = lock(&journal);
    load::compare(&journal, &books)?;
    let crashed = if crashes == 0 {
        String::new()
    } else {
        let longest = longest.as_secs_f64();
        format!("; {crashes} crashes of Postgres, each answered after within {longest:.1} s")
    };
    Ok(format!(
        "{} answers, {} requests cut off, {} jobs, {} ends seen, none lost and none refunded twice; drained in {:.1} s{crashed}",
        journal.answers,
        journal.cut_off,
        books.jobs.len(),
        journal.ends.len(),
        drained.as_secs_f64()
    ))
}

/// The clients of one round. Each goes on until its server is gone.
struct Clients {
    tasks: JoinSet<anyhow::Result<()>>,
    /// One of them only asks again, and comes to an end.
    asked_all: bool,
}

impl Clients {
    fn of(run: &Run, api: &Api, journal: &Shared, round: u64) -> Self {
        let mut tasks = JoinSet::new();
        for number in 0..CLIENTS {
            let seed = run.seed ^ ((round * CLIENTS + number + 1) << 16);
            tasks.spawn(press(
                api.clone(),
                Arc::clone(journal),
                format!("{round}-{number}"),
                StdRng::seed_from_u64(seed),
                CancellationToken::new(),
            ));
        }
        tasks.spawn(ask_again(api.clone(), Arc::clone(journal)));
        Self {
            tasks,
            asked_all: false,
        }
    }

    /// Until then every client goes on; one that has seen something wrong says so here or at the end.
    async fn until(&mut self, moment: Instant) -> anyhow::Result<()> {
        while let Some(left) = moment.checked_duration_since(Instant::now()) {
            match timeout(left, self.tasks.join_next()).await {
                Err(_elapsed) => break,
                Ok(Some(ended)) => {
                    ended??;
                    ensure!(!self.asked_all, "a client has lost a server that is alive");
                    self.asked_all = true;
                }
                Ok(None) => bail!("no client is left"),
            }
        }
        Ok(())
    }

    async fn end(mut self) -> anyhow::Result<()> {
        while let Some(client) = self.tasks.join_next().await {
            client??;
        }
        Ok(())
    }
}

/// If Postgres crashed in it, how long nobody was answered afterwards.
async fn one_round(
    run: &Run,
    data: &Data,
    client: &Client,
    key: &str,
    journal: &Shared,
    random: &mut StdRng,
    round: u64,
) -> anyhow::Result<Option<Duration>> {
    let server = data.serve().await?;
    let api = Api::new(client, &server.url, key);
    let moment = Instant::now() + Duration::from_millis(random.random_range(5..500));
    let mut clients = Clients::of(run, &api, journal, round);
    let mut grants = JoinSet::new();
    if round.is_multiple_of(GRANT_EVERY) {
        let (data, journal) = (data.clone(), Arc::clone(journal));
        grants.spawn(async move {
            let granted = data.grant(ORG, GRANT, &format!("{REASON}{round}")).await;
            lock(&journal).gave(GRANT, granted.is_ok());
        });
    }
    clients.until(moment).await?;
    let away = match data.postgres() {
        Some(postgres) if round % CRASH_EVERY == CRASH_EVERY - 1 => {
            lock(journal).weather = Weather::Storm;
            Some(crash(postgres, journal, &mut clients, random).await?)
        }
        _ => None,
    };
    server.kill().await?;
    clients.end().await?;
    while let Some(grant) = grants.join_next().await {
        grant?;
    }
    lock(journal).weather = Weather::Fair;
    Ok(away)
}

/// Says how long it took from the moment at which Postgres was there again until the program, which lives on, had sold something.
async fn crash(
    postgres: &Arc<Postgres>,
    journal: &Shared,
    clients: &mut Clients,
    random: &mut StdRng,
) -> anyhow::Result<Duration> {
    let crashing = Arc::clone(postgres);
    spawn_blocking(move || crashing.crash()).await?;
    let gone = Duration::from_millis(random.random_range(0..500));
    clients.until(Instant::now() + gone).await?;
    let starting = Arc::clone(postgres);
    spawn_blocking(move || starting.start_again()).await?;
    let back = Instant::now();
    while !lock(journal).has_answered_since(back) {
        let away = back.elapsed();
        ensure!(away < RECOVERY, "nobody is answered {away:?} after a crash");
        clients.until(Instant::now() + LOOK_EVERY).await?;
    }
    let away = back.elapsed();
    let rest = Duration::from_millis(random.random_range(0..500));
    clients.until(Instant::now() + rest).await?;
    Ok(away)
}
