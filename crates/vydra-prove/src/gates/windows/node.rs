//! One of the processes: a server's engine, with a clock that nobody should trust.

use super::clock::{Pace, SECOND, Skewed, machine};
use super::{ASKED, engine};
use crate::gates::Run;
use anyhow::{Context, bail};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vydra_core::time::Clock;
use vydra_engine::{Access, Credentials, Engine, Error, Exceeded, LimitKind};

/// Callers at once.
const CALLERS: u64 = 50;
/// How often the clock jumps.
const JUMP: Duration = Duration::from_millis(300);
/// Of so many parts of time all callers of all processes pass over one, and come back at once.
const PARTS: i64 = 4;
const PART: i64 = SECOND / 4;
/// One of so many that are refused waits as long as it is told.
const PATIENT: u32 = 8;

/// What the processes are told.
pub(super) fn settings(folder: &Path) -> PathBuf {
    folder.join("settings.json")
}

/// What one of them was told for an organization: a line for each request.
pub(super) fn told(folder: &Path, process: u64, case: usize) -> PathBuf {
    folder.join(format!("told-{process}-{case}"))
}

/// What is asked, of whom, and until when.
#[derive(Debug)]
struct Asking {
    engine: Arc<Engine>,
    keys: Vec<Vec<String>>,
    pace: Pace,
    until: i64,
}

pub(super) fn run(run: &Run, number: u64) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let text = std::fs::read_to_string(settings(&run.disk))?;
    let settings: Value = serde_json::from_str(&text)?;
    runtime.block_on(ask(run, number, &settings))
}

async fn ask(run: &Run, number: u64, settings: &Value) -> anyhow::Result<String> {
    let whole = |name: &str| settings[name].as_i64().context("a number is missing");
    let database = settings["database"].as_str().context("no database")?;
    let pace = Pace {
        began: whole("began")?,
        factor: whole("factor")?,
    };
    let mut chance = StdRng::seed_from_u64(run.seed ^ ((number + 1) << 32));
    let clock = Arc::new(Skewed::new(pace, number));
    let redis = settings["redis"].as_str();
    let (engine, _store) = engine(database, redis, Arc::clone(&clock) as _, &run.disk).await?;
    let asking = Arc::new(Asking {
        engine: Arc::clone(&engine),
        keys: serde_json::from_value(settings["keys"].clone())?,
        pace,
        // Whoever was slow to begin asks for as long as the others.
        until: whole("until")?.max(machine() + ASKED),
    });
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let chance = StdRng::seed_from_u64(run.seed ^ (((number + 1) << 32) | (caller + 1)));
        callers.spawn(call(Arc::clone(&asking), chance));
    }
    // As a server does it: what is old is forgotten meanwhile.
    let stop = CancellationToken::new();
    let mut keeping = JoinSet::new();
    let stopped = stop.clone();
    keeping.spawn(async move { engine.keep_usage(stopped).await });
    let mut all = vec![String::new(); asking.keys.len()];
    loop {
        tokio::select! {
            () = tokio::time::sleep(JUMP) => clock.jump(&mut chance),
            ended = callers.join_next() => match ended {
                None => break,
                Some(told) => for (all, told) in all.iter_mut().zip(told??) {
                    all.push_str(&told);
                },
            }
        }
    }
    stop.cancel();
    keeping.join_all().await;
    for (case, lines) in all.iter().enumerate() {
        std::fs::write(told(&run.disk, number, case), lines)?;
    }
    Ok(String::new())
}

/// What it was told, for each organization.
async fn call(asking: Arc<Asking>, mut chance: StdRng) -> anyhow::Result<Vec<String>> {
    let Asking {
        engine,
        keys,
        pace,
        until,
    } = &*asking;
    let mut all = vec![String::new(); keys.len()];
    let mut again = None;
    loop {
        pass_over().await;
        if machine() >= *until {
            return Ok(all);
        }
        let case = again
            .take()
            .unwrap_or_else(|| chance.random_range(0..keys.len()));
        let key = chance.random_range(0..keys[case].len());
        let header = format!("Bearer {}", keys[case][key]);
        let credentials = Credentials {
            authorization: Some(&header),
            ..Credentials::default()
        };
        let before = pace.now();
        let answer = engine.authenticate(Access::Public, credentials).await;
        // The clock shows whole microseconds, each of which is as many as its time is faster.
        let after = pace.now().as_micros() + pace.factor;
        write!(all[case], "{} {after} ", before.as_micros())?;
        let exceeded = match answer {
            Ok(_) => {
                writeln!(all[case], "admitted")?;
                continue;
            }
            Err(Error::RateLimited(exceeded)) => exceeded,
            Err(error) => return Err(error.into()),
        };
        let Exceeded {
            kind,
            retry_after_s,
            ..
        } = exceeded;
        let word = match kind {
            LimitKind::Minute => "minute",
            LimitKind::Hour => "hour",
            LimitKind::Day => "day",
            LimitKind::Concurrent => bail!("no job was asked for"),
        };
        writeln!(all[case], "{word} {retry_after_s}")?;
        if chance.random_range(0..PATIENT) == 0 {
            let wait = i64::from(retry_after_s) * SECOND / pace.factor;
            sleep(wait.min(until - machine())).await;
            again = Some(case);
        }
    }
}

/// The moments in which nobody asks.
async fn pass_over() {
    let now = machine();
    if (now / PART) % PARTS == 0 {
        sleep(PART - now % PART).await;
    }
}

async fn sleep(micros: i64) {
    let span = u64::try_from(micros).unwrap_or(0);
    tokio::time::sleep(Duration::from_micros(span)).await;
}
