//! G8: four processes, whose clocks are apart, drift and jump, ask as fast as they can for organizations whose windows slide. By
//! the log of whoever counts, in no position of a window is one more than its limit, nobody was refused whose window had room, and
//! whoever waits as long as he was told finds some.

mod cases;
mod clock;
mod counter;
mod history;
mod node;

use super::{Outcome, Run, Violation};
use anyhow::{Context, bail, ensure};
use cases::{COURSES, Case, Course};
use clock::{Pace, SECOND, machine};
use counter::{Counter, Servers};
use history::History;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::api_key::Pepper;
use vydra_core::ids::OrgId;
use vydra_core::job::Mode;
use vydra_core::plan::LimitOverrides;
use vydra_core::time::Clock;
use vydra_engine::{Engine, NewKey, NewOrganizationRequest, Parts};
use vydra_outbound::windows::RedisWindows;
use vydra_store::{PostgresStore, Store};
use vydra_testkit::{Setup, parts};

const PROCESSES: u64 = 4;
/// How long is asked, behind the time that processes take to begin.
const ASKED: i64 = 4 * SECOND;
const BEGINNING: i64 = 5 * SECOND / 2;
const KEYS: usize = 2;
/// How often the plan of the organization is changed that has no plan of its own for long.
const CHANGE: Duration = Duration::from_millis(100);

pub(super) fn prove(run: &Run) -> Outcome {
    if let Some(number) = run.node {
        return Ok(node::run(run, number)?);
    }
    let words = run.only.as_deref().unwrap_or_default();
    let courses = || (COURSES.iter()).filter(|course| course.name.contains(words));
    if courses().next().is_none() {
        return Err(anyhow::anyhow!("there is no course whose name has `{words}`").into());
    }
    let servers = Servers::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut sum = Sum::default();
    for turn in 0..run.count {
        let seed = run.seed.wrapping_add(turn);
        for course in courses() {
            let done = runtime.block_on(carry_out(run, seed, course, &servers));
            sum += done.map_err(|error| {
                let replay = format!("--seed {seed} --count 1 --only '{}'", course.name);
                Violation::at(replay, error.context(course.name))
            })?;
        }
        run.progress.step(run.count);
    }
    Ok(format!(
        "{PROCESSES} processes with clocks of their own on one Postgres, and on one Redis: {} asked, {} admitted, {} refused; \
         none too many in any window, and none too few",
        sum.admitted + sum.refused,
        sum.admitted,
        sum.refused,
    ))
}

async fn carry_out(
    run: &Run,
    seed: u64,
    course: &Course,
    servers: &Servers,
) -> anyhow::Result<Sum> {
    let folder = tempfile::Builder::new()
        .prefix("windows-")
        .tempdir_in(&run.disk)?;
    let pace = Pace {
        began: machine(),
        factor: course.factor,
    };
    let round = Round {
        run,
        seed,
        folder: folder.path(),
        course,
        pace,
        database: servers.postgres.database(),
        redis: servers.redis.database(),
        servers,
    };
    round.go().await
}

#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    admitted: usize,
    refused: usize,
}

impl std::ops::AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.admitted += other.admitted;
        self.refused += other.refused;
    }
}

/// A server's engine, without anything that jobs need.
async fn engine(
    database: &str,
    redis: Option<&str>,
    clock: Arc<dyn Clock>,
    folder: &Path,
) -> anyhow::Result<(Arc<Engine>, Arc<dyn Store>)> {
    let store = PostgresStore::open(&database.parse()?, &Pepper::new([7; 32])).await?;
    let store: Arc<dyn Store> = Arc::new(store);
    let windows = redis.map(|url| anyhow::Ok(RedisWindows::new(url.parse()?)?));
    let engine = Engine::new(Parts {
        clock,
        windows: windows.transpose()?,
        ..parts(&Setup::default(), Arc::clone(&store), folder)
    });
    Ok((engine, store))
}

#[derive(Debug)]
struct Round<'a> {
    run: &'a Run,
    seed: u64,
    folder: &'a Path,
    course: &'a Course,
    pace: Pace,
    servers: &'a Servers,
    database: String,
    redis: String,
}

impl Round<'_> {
    async fn go(&self) -> anyhow::Result<Sum> {
        // Makes the tables.
        drop(engine(&self.database, None, Arc::new(self.pace), self.folder).await?);
        self.servers.prepare(&self.database, self.pace);
        let clock = Arc::new(self.pace);
        let (engine, store) = engine(&self.database, self.redis(), clock, self.folder).await?;
        let mut keys = Vec::new();
        let mut orgs = Vec::new();
        for case in self.course.cases {
            let org = found(&engine, case).await?;
            keys.push(new_keys(&engine, &org).await?);
            orgs.push(org);
        }
        // Of a pace that is not the machine's nothing was admitted before.
        let began = self.pace.now();
        let until = machine() + BEGINNING + ASKED;
        for (case, org) in self.course.cases.iter().zip(&orgs) {
            let counter = self.course.counter;
            let on = (self.servers, self.redis.as_str());
            let moments = case.moments(began);
            counter.remember(on, &*store, org, &moments).await?;
        }
        let Pace {
            began: pace_began,
            factor,
        } = self.pace;
        let told = json!({
            "database": self.database, "redis": self.redis(), "began": pace_began, "factor": factor,
            "keys": keys, "until": until,
        });
        std::fs::write(node::settings(self.folder), told.to_string())?;
        let processes = (0..PROCESSES)
            .map(|number| self.begin(number))
            .collect::<anyhow::Result<Vec<_>>>()?;
        self.change_plans(&engine, &orgs, until).await?;
        for process in processes {
            ended(process)?;
        }
        let mut sum = Sum::default();
        for (number, (case, org)) in self.course.cases.iter().zip(&orgs).enumerate() {
            let on = (self.database.as_str(), self.redis.as_str());
            let log = self.course.counter.log(self.servers, on, org)?;
            let before = case
                .moments(began)
                .iter()
                .map(|at| at.as_micros())
                .collect();
            let checked = self.told(number, History::of(before, &log)?);
            sum += checked
                .and_then(|history| history.check(case))
                .with_context(|| case.name)?;
        }
        Ok(sum)
    }

    fn redis(&self) -> Option<&str> {
        match self.course.counter {
            Counter::Postgres => None,
            Counter::Redis => Some(&self.redis),
        }
    }

    fn begin(&self, number: u64) -> anyhow::Result<Child> {
        let mut process = Command::new(std::env::current_exe()?);
        process
            .args(["windows", "--json", "--node", &number.to_string()])
            .args(["--seed", &self.seed.to_string(), "--disk"])
            .arg(self.folder)
            .arg("--binary")
            .arg(&self.run.binary)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        process.spawn().context("a process cannot be begun")
    }

    /// Of the organizations whose limits are not the same at both ends, over and over.
    async fn change_plans(
        &self,
        engine: &Engine,
        orgs: &[OrgId],
        until: i64,
    ) -> anyhow::Result<()> {
        let all = self.course.cases.iter().zip(orgs);
        let changing: Vec<(&Case, &OrgId)> = all.filter(|(case, _)| case.changes()).collect();
        let mut is_large = false;
        while machine() < until {
            for (case, org) in &changing {
                let end = |(least, most)| if is_large { most } else { least };
                set_limits(engine, org, case.limits.map(end)).await?;
            }
            is_large = !is_large;
            tokio::time::sleep(CHANGE).await;
        }
        Ok(())
    }

    fn told(&self, number: usize, mut history: History) -> anyhow::Result<History> {
        for process in 0..PROCESSES {
            let told = std::fs::read_to_string(node::told(self.folder, process, number))?;
            history.read(&told)?;
        }
        Ok(history)
    }
}

async fn found(engine: &Engine, case: &Case) -> anyhow::Result<OrgId> {
    let new = NewOrganizationRequest {
        name: case.name.to_owned(),
        plan: "free".to_owned(),
        credits: vydra_core::credits::Credits::default(),
    };
    let org = engine.create_organization(new).await?.id;
    set_limits(engine, &org, case.limits.map(|(least, _)| least)).await?;
    Ok(org)
}

async fn new_keys(engine: &Engine, org: &OrgId) -> anyhow::Result<Vec<String>> {
    let mut keys = Vec::new();
    for _ in 0..KEYS {
        let key = NewKey {
            organization: org.clone(),
            name: "windows".to_owned(),
            scopes: vec!["*".to_owned()],
            expires_in_days: None,
            mode: Mode::Live,
        };
        let created = engine.create_key(key).await?;
        keys.push(created.secret.reveal().to_owned());
    }
    Ok(keys)
}

async fn set_limits(engine: &Engine, org: &OrgId, limits: [u32; 3]) -> anyhow::Result<()> {
    let [rpm, rph, rpd] = limits.map(Some);
    let own = LimitOverrides {
        rpm,
        rph,
        rpd,
        concurrent: None,
    };
    engine.set_plan(org, "free", own).await?;
    Ok(())
}

fn ended(process: Child) -> anyhow::Result<()> {
    let output = process.wait_with_output()?;
    let told: Value = serde_json::from_slice(&output.stdout).context("a process broke off")?;
    if let Some(violation) = told["violation"].as_str() {
        bail!("{violation}");
    }
    ensure!(
        output.status.success(),
        "a process failed: {}",
        output.status
    );
    Ok(())
}
