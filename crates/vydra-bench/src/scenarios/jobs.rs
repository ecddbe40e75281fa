//! Whole jobs: submitted, run and settled.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use rusqlite::Connection;
use tokio::time::Instant;

use super::submit::{ORGANIZATIONS, job, scripted};
use crate::lab::{Lab, say};
use crate::load::Load;
use crate::report::{Section, Unit};
use crate::seed::Customer;
use crate::server::{Data, Server};
use crate::system;

const CONNECTIONS: usize = 64;
/// More places than jobs that are on their way at once, so that none waits for one.
const PLACES: usize = 256;
/// Of `worker.concurrency`, this part is the places of test keys.
const PART_OF_TEST_KEYS: usize = 4;
/// How long the jobs that are left may take, once no more come.
const PATIENCE: Duration = Duration::from_mins(10);
const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Test keys, and a provider that fails at once: charge, claim, settlement with a refund.
    Fails,
    /// Live keys, and the local provider with a ready-made file: charge, claim, file, settlement.
    Instant,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Fails, Self::Instant];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Fails => "fails at once",
            Self::Instant => "instant file",
        }
    }

    /// `worker.concurrency`, for so many places in either case.
    pub const fn concurrency(self, places: usize) -> usize {
        match self {
            Self::Fails => places * PART_OF_TEST_KEYS,
            Self::Instant => places,
        }
    }

    pub const fn ending(self) -> &'static str {
        match self {
            Self::Fails => "failed",
            Self::Instant => "completed",
        }
    }
}

#[derive(Debug)]
pub struct Whole {
    /// Jobs that ended a second, from the first request to the last ending.
    pub rate: f64,
    pub ended: u64,
    /// Of submitting them.
    pub p50: f64,
    pub p99: f64,
    pub resident: f64,
}

/// Submits with 64 connections for `span`, and waits until every job has ended.
pub fn whole(
    lab: &Lab,
    data: &Data,
    customers: &[Customer],
    kind: Kind,
    span: Duration,
) -> anyhow::Result<Whole> {
    let mut setting = lab.setting();
    setting.concurrency = kind.concurrency(PLACES);
    setting.instant = kind == Kind::Instant;
    data.configure(&setting)?;
    let server = data.serve()?;
    let db = data.look()?;
    let before = ended(&db, kind)?;
    let mut load = request_of(lab, &server, CONNECTIONS, customers, kind);
    (load.warm_up, load.span) = (Duration::ZERO, span);
    let begin = Instant::now();
    let submitted = load.run()?;
    system::wait_for(PATIENCE, LOOK, || Ok((!is_busy(&db)?).then_some(())))?
        .context("the jobs did not end")?;
    let span = begin.elapsed();
    let ended = ended(&db, kind)? - before;
    ensure!(
        ended == submitted.answered,
        "{} jobs were taken, {ended} of them {}",
        submitted.answered,
        kind.ending()
    );
    Ok(Whole {
        rate: system::float(ended) / span.as_secs_f64(),
        ended,
        p50: submitted.percentile(50),
        p99: submitted.percentile(99),
        resident: server.resident()?,
    })
}

/// Submits jobs of this kind.
pub fn request_of(
    lab: &Lab,
    server: &Server,
    connections: usize,
    customers: &[Customer],
    kind: Kind,
) -> Load {
    match kind {
        Kind::Fails => scripted(lab, server, connections, customers, "GENERATION_FAILED"),
        Kind::Instant => {
            let requests = customers
                .iter()
                .map(|customer| job(&customer.live, ""))
                .collect();
            lab.load(server.address, connections, Arc::new(requests), 201)
        }
    }
}

fn is_busy(db: &Connection) -> anyhow::Result<bool> {
    Ok(db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM jobs WHERE status = 'pending') OR EXISTS (SELECT 1 FROM jobs WHERE status = 'running')",
        )?
        .query_row((), |row| row.get(0))?)
}

fn ended(db: &Connection, kind: Kind) -> anyhow::Result<u64> {
    let count: i64 = db.query_row(
        "SELECT count(*) FROM jobs WHERE status = ?1",
        [kind.ending()],
        |row| row.get(0),
    )?;
    Ok(count.unsigned_abs())
}

pub fn measure(lab: &mut Lab) -> anyhow::Result<Section> {
    let mut section = Section::new("jobs", "Whole jobs: submitted, run and settled")
        .note(format!(
            "{CONNECTIONS} connections submit, {ORGANIZATIONS} organizations or one (hot), {PLACES} places of the worker. The rate is of jobs that ended, from the first request until none is left. `fails at once`: charge, start, refund. `instant file`: the local provider with a ready-made file, written durably. The ledger is audited after each."
        ));
    for run in 1..=lab.options().runs {
        lab.durable_yardsticks(&mut section)?;
        let hello = lab.hello(CONNECTIONS)?;
        section.add(
            "hello, 64 connections",
            "per second",
            Unit::PerSecond,
            hello.rate,
        );
        for kind in Kind::ALL {
            for (name, organizations) in [("spread", ORGANIZATIONS), ("hot", 1)] {
                let (data, customers) = lab.data(ORGANIZATIONS)?;
                let span = lab.options().span;
                let whole = whole(lab, &data, &customers[..organizations], kind, span)?;
                data.audit()?;
                say(&format!(
                    "jobs, run {run}, {}, {name}: {:.0}/s ({} jobs), hello {:.0}/s",
                    kind.name(),
                    whole.rate,
                    whole.ended,
                    hello.rate
                ));
                let row = format!("{}, {name}", kind.name());
                section.add(&row, "per second", Unit::PerSecond, whole.rate);
                section.add(&row, "p50 ms", Unit::Milliseconds, whole.p50);
                section.add(&row, "p99 ms", Unit::Milliseconds, whole.p99);
                section.add(&row, "of hello", Unit::Ratio, whole.rate / hello.rate);
                section.add(&row, "jobs", Unit::Count, system::float(whole.ended));
                section.add(&row, "MiB", Unit::Mebibytes, whole.resident);
            }
        }
    }
    Ok(section)
}
