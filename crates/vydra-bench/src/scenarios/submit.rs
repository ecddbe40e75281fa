//! Jobs taken: charged, written and acknowledged.

use std::sync::Arc;

use crate::lab::{Lab, say};
use crate::load::{Load, request};
use crate::report::{Section, Unit};
use crate::seed::Customer;
use crate::server::Server;

const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];
pub const ORGANIZATIONS: usize = 1_000;
/// Of the prompt, in bytes.
const PROMPT: usize = 200;
/// One such job keeps the worker busy for longer than a measurement.
pub const SLOW: &str = "SLOW=10m";

/// Submits jobs of test keys for which the provider shall do this.
pub fn scripted(
    lab: &Lab,
    server: &Server,
    connections: usize,
    keys: &[Customer],
    script: &str,
) -> Load {
    let header = format!("x-vydra-simulate: {script}\r\n");
    let requests = keys
        .iter()
        .map(|customer| job(&customer.test, &header))
        .collect();
    lab.load(server.address, connections, Arc::new(requests), 201)
}

/// The request for a job.
pub fn job(key: &str, more: &str) -> Vec<u8> {
    let prompt = "A lighthouse on a cliff at sunset. ".repeat(PROMPT / 35 + 1);
    let body = format!(
        "{{\"workflow\":\"generate_image\",\"input\":{{\"prompt\":\"{}\"}}}}",
        &prompt[..PROMPT]
    );
    request("POST", "/api/v1/jobs", Some(key), more, &body)
}

pub fn measure(lab: &mut Lab) -> anyhow::Result<Section> {
    let mut section = Section::new("submit", "Submit: POST /api/v1/jobs, acknowledged and durable")
        .note("The worker has one place, which a slow job holds, so that nothing but taking jobs is measured. Each row begins on fresh data. `of hello` is to 64 connections of hello.");
    for run in 1..=lab.options().runs {
        lab.durable_yardsticks(&mut section)?;
        let hello = lab.hello(64)?;
        section.add(
            "hello, 64 connections",
            "per second",
            Unit::PerSecond,
            hello.rate,
        );
        section.add(
            "hello, 64 connections",
            "p50 ms",
            Unit::Milliseconds,
            hello.percentile(50),
        );
        section.add(
            "hello, 64 connections",
            "p99 ms",
            Unit::Milliseconds,
            hello.percentile(99),
        );
        for connections in CONNECTIONS {
            let mut rates = Vec::new();
            for (name, organizations) in [("spread", ORGANIZATIONS), ("hot", 1)] {
                let (data, customers) = lab.data(ORGANIZATIONS)?;
                data.configure(&lab.setting())?;
                let server = data.serve()?;
                let load = scripted(lab, &server, connections, &customers[..organizations], SLOW);
                let outcome = load.run()?;
                say(&format!(
                    "submit, run {run}, {name}, {connections} connections: {:.0}/s, p99 {:.1} ms, hello {:.0}/s",
                    outcome.rate,
                    outcome.percentile(99),
                    hello.rate
                ));
                let row = format!("{name}, {connections} connections");
                section.add(&row, "per second", Unit::PerSecond, outcome.rate);
                section.add(&row, "p50 ms", Unit::Milliseconds, outcome.percentile(50));
                section.add(&row, "p99 ms", Unit::Milliseconds, outcome.percentile(99));
                section.add(&row, "of hello", Unit::Ratio, outcome.rate / hello.rate);
                rates.push(outcome.rate);
            }
            if let [spread, hot] = rates[..] {
                let row = format!("hot, {connections} connections");
                section.add(&row, "of spread", Unit::Ratio, hot / spread);
            }
        }
    }
    Ok(section)
}
