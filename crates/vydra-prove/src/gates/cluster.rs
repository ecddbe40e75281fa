//! G17: two servers that answer and two that work, on one Postgres and one folder of files, under load. Again and again one of them
//! is killed, or does not come back before its jobs have gone on elsewhere, or is cut off from the database with or without a word,
//! or all are replaced one after the other, or Postgres crashes. They heal by themselves, and at the end the books say what the clients were told.

use super::{Outcome, Run, on_disk};
use crate::api::{self, Api};
use crate::books::{self, Books};
use crate::front::Front;
use crate::load::{self, REASON, Shared, Weather, lock, press};
use crate::server::{Data, Server};
use anyhow::{Context, ensure};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use vydra_testkit::Database;
use vydra_testkit::postgres::Postgres;
use vydra_testkit::wire::Wire;

const ORG: &str = "acme";
/// More than all clients can spend.
const GRANT: u64 = 1_000_000_000;
const CLIENTS: u64 = 16;
/// Each with the one of the other kind that is replaced at the same time.
const NODES: [(&str, &str); 4] = [
    ("api-1", "api"),
    ("worker-1", "worker"),
    ("api-2", "api"),
    ("worker-2", "worker"),
];
/// How long a server that leaves still takes requests; the front looks several times meanwhile.
const DRAIN_DELAY: &str = "1s";
/// Jobs that nobody will hear of again must not hold up a stop.
const WORKER_DRAIN: &str = "1s";
/// How long it takes at most, once a fault is over, until every node is ready; and until the jobs of a dead one are with another.
const HEALING: Duration = Duration::from_secs(30);
/// How long the jobs take at most that were under way when the last fault was over: longer than a lease.
const DRAIN: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often the books are looked at; it reads them all.
const READ_EVERY: Duration = Duration::from_millis(250);
/// Between two faults, so that they do not become one.
const REST: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// A node is killed, and started again.
    Kill,
    /// A worker is killed, and started again when what it held has ended, or is with another one. No request fails.
    Lose,
    /// The connections of a node to the database are reset, and none can be made.
    BreakOff,
    /// Nothing passes between a node and the database, and neither is told.
    CutOff,
    /// Every node is told to stop, one of each kind at a time, and another one takes its place. No request fails.
    Replace,
    /// Postgres stops in the middle of everything, and is started again.
    Crash,
}

impl Fault {
    const ALL: [Self; 6] = [
        Self::Kill,
        Self::Lose,
        Self::BreakOff,
        Self::CutOff,
        Self::Replace,
        Self::Crash,
    ];

    /// What callers may meet of it: of a lost worker and a new version nothing.
    const fn weather(self) -> Weather {
        match self {
            Self::Lose | Self::Replace => Weather::Calm,
            Self::Kill | Self::BreakOff | Self::CutOff | Self::Crash => Weather::Storm,
        }
    }

    /// Of so many of them.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kills",
            Self::Lose => "workers lost",
            Self::BreakOff => "connections reset",
            Self::CutOff => "cuts without a word",
            Self::Replace => "rolling restarts",
            Self::Crash => "crashes of Postgres",
        }
    }
}

/// What came of all faults of one kind.
#[derive(Debug, Default, Clone, Copy)]
struct Figures {
    count: u64,
    /// The longest time in which no purchase was answered.
    silence: Duration,
    /// The longest time from the end of the fault until every node was ready.
    healing: Duration,
}

struct Node {
    name: &'static str,
    data: Data,
    wire: Wire,
    server: Option<Server>,
}

struct Cluster {
    postgres: Arc<Postgres>,
    database: Database,
    nodes: Vec<Node>,
    front: Arc<Front>,
    journal: Shared,
    random: StdRng,
    figures: BTreeMap<Fault, Figures>,
    /// Answers where nothing may be met, none of which was a failure.
    calm_answers: u64,
    /// How many jobs went on elsewhere while their worker was dead, and the longest time until all of one had.
    moved: (usize, Duration),
}

pub(super) fn prove(run: &Run) -> Outcome {
    on_disk("cluster", run, async |data| course(run, data).await)
}

async fn course(run: &Run, data: &Data) -> anyhow::Result<String> {
    let postgres = data.postgres().context("a cluster needs Postgres")?;
    let key = data.customer(ORG).await?;
    let journal = Shared::default();
    data.grant(ORG, GRANT, &format!("{REASON}0")).await?;
    lock(&journal).gave(GRANT, true);
    let mut cluster = Cluster::of(data, postgres, &journal, run.seed).await?;
    let client = api::client_without_connections()?;
    let mut watches = JoinSet::new();
    for place in 0..NODES.len() {
        let (front, client) = (Arc::clone(&cluster.front), client.clone());
        watches.spawn(async move { front.watch(place, &client).await });
    }
    cluster.heal().await?;
    let api = Api::behind(&cluster.front, &client, &key);
    let began = Instant::now();
    let mut clients = Clients::of(run, &api, &journal);
    for fault in faults(run.count, &mut cluster.random) {
        cluster
            .meet(fault, &mut clients)
            .await
            .with_context(|| format!("{fault:?}"))?;
        run.progress.step(run.count);
    }
    clients.end().await?;
    let pressed = began.elapsed();
    let drained = load::drain(&api, &journal, DRAIN).await?;
    drop(watches);
    cluster.stop().await?;
    data.audit().await?;
    let books = books::check_with_files(&data.database(), books::in_folder(&data.media()))?;
    books::ended(&books)?;
    load::compare(&lock(&journal), &books)?;
    Ok(cluster.told(books.jobs.len(), pressed, drained))
}

/// Each kind once, and then by chance.
fn faults(count: u64, random: &mut StdRng) -> Vec<Fault> {
    let mut faults = Vec::new();
    while (faults.len() as u64) < count {
        let mut each = Fault::ALL;
        each.shuffle(random);
        faults.extend(each);
    }
    faults.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    faults
}

/// The jobs that are leased, and by which node: its number stands in front of the token.
fn holders(books: &Books) -> BTreeMap<String, String> {
    let leased = books.jobs.iter().filter_map(|job| {
        let (node, _) = job.lease_token.as_deref()?.split_once('-')?;
        Some((job.id.clone(), node.to_owned()))
    });
    leased.collect()
}

struct Clients {
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Clients {
    /// They go on behind the front, whatever becomes of one server.
    fn of(run: &Run, api: &Api, journal: &Shared) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for number in 0..CLIENTS {
            let (api, journal, stop) = (api.clone(), Arc::clone(journal), stop.clone());
            let mut random = StdRng::seed_from_u64(run.seed ^ ((number + 1) << 16));
            tasks.spawn(async move {
                for life in 0_u64.. {
                    if stop.is_cancelled() {
                        break;
                    }
                    let name = format!("{number}-{life}");
                    let random = StdRng::seed_from_u64(random.random());
                    let (api, journal, stop) = (api.clone(), Arc::clone(&journal), stop.clone());
                    press(api, journal, name, random, stop).await?;
                }
                Ok(())
            });
        }
        Self { tasks, stop }
    }

    /// An error when one of them has seen something wrong.
    fn check(&mut self) -> anyhow::Result<()> {
        if let Some(ended) = self.tasks.try_join_next() {
            ended??;
            anyhow::bail!("a client has come to an end");
        }
        Ok(())
    }

    async fn end(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(client) = self.tasks.join_next().await {
            client??;
        }
        Ok(())
    }
}

impl Cluster {
    async fn of(
        data: &Data,
        postgres: &Arc<Postgres>,
        journal: &Shared,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let media = format!("file:{}", data.media().display());
        let mut nodes = Vec::new();
        for (name, role) in NODES {
            let wire = Wire::to(postgres.port()).await;
            let data = data
                .beside(name)?
                .over(&wire)
                .with("VYDRA__SERVER__ROLE", role)
                .with("VYDRA__SERVER__PUBLIC_URL", "http://127.0.0.1:1")
                .with("VYDRA__SERVER__DRAIN_DELAY", DRAIN_DELAY)
                .with("VYDRA__WORKER__DRAIN", WORKER_DRAIN)
                .with("VYDRA__MEDIA__URL", media.clone());
            nodes.push(Node {
                name,
                data,
                wire,
                server: None,
            });
        }
        let mut cluster = Self {
            postgres: Arc::clone(postgres),
            database: data.database(),
            nodes,
            front: Arc::new(Front::new(NODES.map(|(_, role)| role == "api"))),
            journal: Arc::clone(journal),
            random: StdRng::seed_from_u64(seed),
            figures: BTreeMap::new(),
            calm_answers: 0,
            moved: (0, Duration::ZERO),
        };
        for number in 0..NODES.len() {
            cluster.start(number).await?;
        }
        Ok(cluster)
    }

    async fn start(&mut self, number: usize) -> anyhow::Result<()> {
        let node = &mut self.nodes[number];
        let server = node.data.serve().await.with_context(|| node.name)?;
        self.front.put(number, Some(&server.url));
        node.server = Some(server);
        Ok(())
    }

    fn take(&mut self, number: usize) -> anyhow::Result<Server> {
        let server = self.nodes[number].server.take();
        server.with_context(|| format!("{} is not there", NODES[number].0))
    }

    /// One fault, from its beginning until every node is ready again.
    async fn meet(&mut self, fault: Fault, clients: &mut Clients) -> anyhow::Result<()> {
        clients.check()?;
        let number = self.random.random_range(0..NODES.len());
        let answers = {
            let mut journal = lock(&self.journal);
            journal.weather = fault.weather();
            journal.take_silence();
            journal.answers
        };
        match fault {
            Fault::Kill => {
                self.take(number)?.kill().await?;
                self.front.put(number, None);
                self.pause(0..1_000).await;
                self.start(number).await?;
            }
            Fault::Lose => self.lose().await?,
            Fault::BreakOff => {
                self.nodes[number].wire.break_off();
                self.pause(500..2_000).await;
                self.nodes[number].wire.mend();
            }
            Fault::CutOff => {
                // Beyond some ten seconds its worker is taken for dead. The first one is shorter, for those who wait.
                let is_first = !self.figures.contains_key(&fault);
                self.nodes[number].wire.cut();
                self.pause(if is_first {
                    3_000..6_000
                } else {
                    1_000..25_000
                })
                .await;
                self.nodes[number].wire.mend();
            }
            Fault::Replace => self.replace().await?,
            Fault::Crash => {
                let postgres = Arc::clone(&self.postgres);
                spawn_blocking(move || postgres.crash()).await?;
                self.pause(0..1_500).await;
                let postgres = Arc::clone(&self.postgres);
                spawn_blocking(move || postgres.start_again()).await?;
            }
        }
        let healing = self.heal().await?;
        if fault.weather() == Weather::Calm {
            self.calm_answers += lock(&self.journal).answers - answers;
        }
        let figures = self.figures.entry(fault).or_default();
        figures.count += 1;
        figures.healing = figures.healing.max(healing);
        figures.silence = figures.silence.max(lock(&self.journal).take_silence());
        clients.check()
    }

    /// A worker that does not come back, while both had jobs.
    async fn lose(&mut self) -> anyhow::Result<()> {
        let workers: Vec<usize> = (0..NODES.len())
            .filter(|number| NODES[*number].1 == "worker")
            .collect();
        let number = *workers.choose(&mut self.random).context("no worker")?;
        let of_both = |holders: &BTreeSet<String>| holders.len() == workers.len();
        self.until(of_both, "not all workers have jobs").await?;
        self.take(number)?.kill().await?;
        self.front.put(number, None);
        let held = holders(&self.books().await?);
        let began = Instant::now();
        let of_the_other = |holders: &BTreeSet<String>| holders.len() == 1;
        let left = self.until(of_the_other, "a dead worker has jobs").await?;
        let moved = held.iter().filter(|(_, holder)| !left.contains(*holder));
        self.moved.0 += moved.count();
        self.moved.1 = self.moved.1.max(began.elapsed());
        self.start(number).await
    }

    /// Until those who hold jobs are such, and who they are.
    async fn until(
        &self,
        wanted: impl Fn(&BTreeSet<String>) -> bool,
        otherwise: &'static str,
    ) -> anyhow::Result<BTreeSet<String>> {
        let began = Instant::now();
        loop {
            let holders: BTreeSet<String> = holders(&self.books().await?).into_values().collect();
            if wanted(&holders) {
                return Ok(holders);
            }
            let waited = began.elapsed();
            ensure!(
                waited < HEALING,
                "{otherwise} after {waited:?}: {holders:?}"
            );
            sleep(READ_EVERY).await;
        }
    }

    /// In the middle of everything, they add up.
    async fn books(&self) -> anyhow::Result<Books> {
        let database = self.database.clone();
        spawn_blocking(move || books::check(&database)).await?
    }

    async fn pause(&mut self, millis: std::ops::Range<u64>) {
        sleep(Duration::from_millis(self.random.random_range(millis))).await;
    }

    /// All of them, one that answers and one that works at a time, with both kinds always there.
    async fn replace(&mut self) -> anyhow::Result<()> {
        for pair in [[0, 1], [2, 3]] {
            let mut leaving = JoinSet::new();
            for number in pair {
                leaving.spawn(self.take(number)?.stop());
            }
            while let Some(left) = leaving.join_next().await {
                left??;
            }
            for number in pair {
                self.front.put(number, None);
                self.start(number).await?;
            }
            self.heal().await?;
        }
        Ok(())
    }

    /// Until every node is ready: says how long that took.
    async fn heal(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        for (number, (name, _)) in NODES.into_iter().enumerate() {
            while !self.front.is_ready(number) {
                let waited = began.elapsed();
                ensure!(waited < HEALING, "{name} is not ready after {waited:?}");
                sleep(LOOK_EVERY).await;
            }
        }
        let healing = began.elapsed();
        sleep(REST).await;
        Ok(healing)
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        for number in 0..NODES.len() {
            self.take(number)?.stop().await?;
        }
        Ok(())
    }

    fn told(&self, jobs: usize, pressed: Duration, drained: Duration) -> String {
        let seconds = pressed.as_secs_f64();
        let rate = u32::try_from(jobs).map_or(0.0, f64::from) / seconds;
        let journal = lock(&self.journal);
        let mut told = vec![format!(
            "{jobs} jobs ({rate:.0}/s), {} answers, {} requests cut off, none lost and none refunded twice; {} answers while \
             workers were lost and nodes replaced, none a failure; {} jobs of dead workers were with others within {:.1} s; drained in {:.1} s",
            journal.answers,
            journal.cut_off,
            self.calm_answers,
            self.moved.0,
            self.moved.1.as_secs_f64(),
            drained.as_secs_f64()
        )];
        told.extend(self.figures.iter().map(|(fault, figures)| {
            format!(
                "{} {} (nobody answered for {:.1} s, all ready {:.1} s afterwards)",
                figures.count,
                fault.as_str(),
                figures.silence.as_secs_f64(),
                figures.healing.as_secs_f64()
            )
        }));
        told.join("; ")
    }
}
