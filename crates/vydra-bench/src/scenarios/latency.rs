//! One client, and nobody else.

use std::time::Duration;

use anyhow::{Context, ensure};
use rusqlite::Connection as Database;
use serde_json::Value;
use tokio::time::Instant;

use super::submit::job;
use crate::lab::{Lab, say};
use crate::load::{Connection, percentile, request};
use crate::report::{Section, Unit};
use crate::seed::Customer;
use crate::server::Server;
use crate::system;

const CONCURRENCY: usize = 64;
/// Long enough for a server to have nothing left to do.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct Latencies {
    accepted: Vec<u64>,
    completed: Vec<u64>,
    sync: Vec<u64>,
    /// From a job's row to the worker's start, as the database tells.
    started: Vec<u64>,
}

pub fn measure(lab: &mut Lab) -> anyhow::Result<Section> {
    let mut section = Section::new("latency", "One client: submit to completed").note(
        "One connection, the local provider with a ready-made file. `completed` ends when GET /jobs/{id}?wait=10 has shown it. `idle: submit to start` is startedAt less createdAt, on a server that had nothing to do. `of fsync` is to the p50 of a 4 KiB write + fdatasync, `of hello` to that of hello with one connection.",
    );
    let (data, customers) = lab.data(1)?;
    let mut setting = lab.setting();
    (setting.concurrency, setting.instant) = (CONCURRENCY, true);
    data.configure(&setting)?;
    for run in 1..=lab.options().runs {
        let synced = lab.synced_writes()?;
        section.add(
            "disk: 4 KiB write + fdatasync",
            "p50 ms",
            Unit::Milliseconds,
            synced.p50,
        );
        let hello = lab.hello(1)?;
        let hello_p50 = hello.percentile(50);
        section.add("hello", "p50 ms", Unit::Milliseconds, hello_p50);
        section.add("hello", "p99 ms", Unit::Milliseconds, hello.percentile(99));
        let server = data.serve()?;
        let span = lab.options().span;
        let found =
            system::runtime()?.block_on(client(&server, &customers[0], &data.look()?, span))?;
        for (row, mut latencies) in [
            ("submit to accepted", found.accepted),
            ("submit to completed", found.completed),
            ("sync call", found.sync),
            ("idle: submit to start", found.started),
        ] {
            latencies.sort_unstable();
            let p50 = percentile(&latencies, 50);
            section.add(row, "p50 ms", Unit::Milliseconds, p50);
            section.add(
                row,
                "p99 ms",
                Unit::Milliseconds,
                percentile(&latencies, 99),
            );
            section.add(row, "of fsync", Unit::Ratio, p50 / synced.p50);
            section.add(row, "of hello", Unit::Ratio, p50 / hello_p50);
            say(&format!(
                "latency, run {run}, {row}: p50 {p50:.3} ms of {} (fsync {:.3} ms, hello {hello_p50:.3} ms)",
                latencies.len(),
                synced.p50
            ));
        }
    }
    Ok(section)
}

async fn client(
    server: &Server,
    customer: &Customer,
    db: &Database,
    span: Duration,
) -> anyhow::Result<Latencies> {
    let mut found = Latencies::default();
    let mut line = Connection::open(server.address).await?;
    let submit = job(&customer.live, "");
    let generate = request(
        "POST",
        "/api/v1/models/gemini/generate",
        Some(&customer.live),
        "",
        "{\"prompt\":\"A lighthouse on a cliff at sunset\"}",
    );
    // The first of each pays for what is done once.
    one(&mut line, &submit, customer, &mut Latencies::default()).await?;
    call(&mut line, &generate, 200).await?;
    let begin = Instant::now();
    while begin.elapsed() < span {
        one(&mut line, &submit, customer, &mut found).await?;
    }
    let begin = Instant::now();
    while begin.elapsed() < span {
        let began = Instant::now();
        call(&mut line, &generate, 200).await?;
        found.sync.push(nanoseconds(began)?);
    }
    let begin = Instant::now();
    let mut idle = Latencies::default();
    while begin.elapsed() < span {
        tokio::time::sleep(PAUSE).await;
        let id = one(&mut line, &submit, customer, &mut idle).await?;
        let waited: i64 = db
            .prepare_cached("SELECT started_at - created_at FROM jobs WHERE id = ?1")?
            .query_row([id], |row| row.get(0))?;
        found.started.push(waited.unsigned_abs() * 1_000);
    }
    Ok(found)
}

/// One job from beginning to end.
async fn one(
    line: &mut Connection,
    submit: &[u8],
    customer: &Customer,
    found: &mut Latencies,
) -> anyhow::Result<String> {
    let began = Instant::now();
    let accepted = call(line, submit, 201).await?;
    found.accepted.push(nanoseconds(began)?);
    let id = accepted["id"].as_str().context("a job without an id")?;
    let wait = request(
        "GET",
        &format!("/api/v1/jobs/{id}?wait=10"),
        Some(&customer.live),
        "",
        "",
    );
    let job = call(line, &wait, 200).await?;
    found.completed.push(nanoseconds(began)?);
    ensure!(job["status"] == "completed", "the job is {}", job["status"]);
    Ok(id.to_owned())
}

async fn call(line: &mut Connection, request: &[u8], status: u16) -> anyhow::Result<Value> {
    let answer = line.call(request).await?;
    let body = serde_json::from_slice(answer.body)?;
    ensure!(answer.status == status, "answer {}: {body}", answer.status);
    Ok(body)
}

fn nanoseconds(since: Instant) -> anyhow::Result<u64> {
    Ok(u64::try_from(since.elapsed().as_nanos())?)
}
