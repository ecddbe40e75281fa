//! What Vydra on Postgres is to reach, beside pgbench with the naive transactions of the same minute.

use std::time::Duration;

use anyhow::ensure;

use super::jobs::{Kind, request_of};
use super::submit::{ORGANIZATIONS, SLOW, scripted};
use crate::lab::{Lab, PostgresData, say};
use crate::load::Outcome;
use crate::pgbench::{self, Form, Work};
use crate::report::{Section, Unit};
use crate::server::Server;
use crate::system;

const CONNECTIONS: usize = 64;
const PLACES: usize = 256;

/// One line of the table.
struct Target {
    name: &'static str,
    organizations: usize,
    nodes: usize,
    /// None: jobs are submitted, and a slow one keeps the worker out of it.
    whole: Option<Kind>,
    work: Work,
    /// A second.
    wanted: f64,
}

/// The one that makes files is the first: see [`Lab::leave`]; databases that are dropped are files that are removed, too.
const TARGETS: [Target; 4] = [
    Target {
        name: "whole jobs with an instant file, two nodes",
        organizations: ORGANIZATIONS,
        nodes: 2,
        whole: Some(Kind::Instant),
        work: Work::Whole,
        wanted: 2_500.0,
    },
    Target {
        name: "submits, one organization",
        organizations: 1,
        nodes: 1,
        whole: None,
        work: Work::Submit,
        wanted: 5_000.0,
    },
    Target {
        name: "submits, 1,000 organizations",
        organizations: ORGANIZATIONS,
        nodes: 1,
        whole: None,
        work: Work::Submit,
        wanted: 8_000.0,
    },
    Target {
        name: "whole jobs that fail at once, two nodes",
        organizations: ORGANIZATIONS,
        nodes: 2,
        whole: Some(Kind::Fails),
        work: Work::Whole,
        wanted: 2_500.0,
    },
];

pub fn measure(lab: &mut Lab) -> anyhow::Result<Section> {
    let postgres = lab.postgres()?;
    let version = postgres.version()?;
    let mut section = Section::new("targets", format!("Targets on PostgreSQL {version}"))
        .note(format!(
            "{CONNECTIONS} connections, durable at every acknowledgement; PostgreSQL, Vydra and the load share the cores. `pgbench` runs the naive transactions in the same minute, with as many connections and balances: a conditional change of a balance, a job and a ledger row, statement by statement, and for whole jobs a second transaction with the end and the refund. `one call each` is the same with a stored function for each transaction. Neither has HTTP, keys, limits, or an index beyond the primary keys. Whole jobs are counted from the first request until none is left. The ledger is audited after each."
        ));
    for run in 1..=lab.options().runs {
        let synced = lab.synced_writes()?;
        for target in &TARGETS {
            let load = pgbench::Load {
                organizations: target.organizations,
                connections: CONNECTIONS,
                span: lab.options().span,
            };
            let yardstick = |form| target.work.measure(form, load, &postgres, lab.place());
            let (naive, call) = (yardstick(Form::Naive)?, yardstick(Form::Call)?);
            let measured = target.measure(lab)?;
            say(&format!(
                "targets, run {run}, {}: {:.0}/s, pgbench {:.0}/s, one call each {:.0}/s, fsync {:.0}/s",
                target.name, measured.rate, naive, call, synced.rate
            ));
            section.add(target.name, "per second", Unit::PerSecond, measured.rate);
            section.add(target.name, "p50 ms", Unit::Milliseconds, measured.p50);
            section.add(target.name, "p99 ms", Unit::Milliseconds, measured.p99);
            section.add(target.name, "pgbench", Unit::PerSecond, naive);
            section.add(
                target.name,
                "of pgbench",
                Unit::Ratio,
                measured.rate / naive,
            );
            section.add(target.name, "pgbench, one call each", Unit::PerSecond, call);
            section.add(target.name, "target", Unit::PerSecond, target.wanted);
            section.add(
                target.name,
                "is",
                Unit::Verdict,
                measured.rate / target.wanted,
            );
        }
    }
    Ok(section)
}

struct Measured {
    rate: f64,
    p50: f64,
    p99: f64,
}

impl Target {
    fn measure(&self, lab: &mut Lab) -> anyhow::Result<Measured> {
        let data = lab.postgres_data(ORGANIZATIONS, self.nodes)?;
        let customers = &data.customers[..self.organizations];
        let measured = match self.whole {
            None => {
                let servers = data.serve(&lab.setting())?;
                let mut load = scripted(lab, &servers[0], CONNECTIONS, customers, SLOW);
                load.addresses = servers.iter().map(|server| server.address).collect();
                Measured::of(&load.run()?)
            }
            Some(kind) => self.whole(lab, &data, kind)?,
        };
        data.audit()?;
        lab.leave(data);
        Ok(measured)
    }

    fn whole(&self, lab: &Lab, data: &PostgresData, kind: Kind) -> anyhow::Result<Measured> {
        let mut setting = lab.setting();
        (setting.concurrency, setting.instant) = (kind.concurrency(PLACES), kind == Kind::Instant);
        let servers: Vec<Server> = data.serve(&setting)?;
        let customers = &data.customers[..self.organizations];
        let mut load = request_of(lab, &servers[0], CONNECTIONS, customers, kind);
        load.addresses = servers.iter().map(|server| server.address).collect();
        load.warm_up = Duration::ZERO;
        let begin = tokio::time::Instant::now();
        let submitted = load.run()?;
        data.wait_for_the_end()?;
        let span = begin.elapsed();
        let ended = data.count(kind.ending())?;
        ensure!(
            ended == submitted.answered,
            "{} jobs were taken, {ended} of them {}",
            submitted.answered,
            kind.ending()
        );
        Ok(Measured {
            rate: system::float(ended) / span.as_secs_f64(),
            ..Measured::of(&submitted)
        })
    }
}

impl Measured {
    fn of(outcome: &Outcome) -> Self {
        Self {
            rate: outcome.rate,
            p50: outcome.percentile(50),
            p99: outcome.percentile(99),
        }
    }
}
