//! Resident memory, and how long a start takes.

use std::time::Duration;

use anyhow::ensure;

use super::jobs::{Kind, whole};
use super::submit::{ORGANIZATIONS, SLOW, scripted};
use crate::lab::{Lab, say};
use crate::report::{Section, Unit};
use crate::server::Server;
use crate::system;

const PENDING: usize = 100_000;
const FINISHED: usize = 1_000_000;
const CONNECTIONS: usize = 64;
/// How long that many jobs may take to be submitted.
const PATIENCE: Duration = Duration::from_mins(5);
/// Of running jobs, in times of a usual measurement.
const LONGER: u32 = 5;

pub fn measure(lab: &mut Lab) -> anyhow::Result<Section> {
    let mut section = Section::new("memory", "Memory and start").note(
        "Resident memory (RSS) of the server. `start` is from the start of the process to its first answer, GET /api/v1/health.",
    );
    let mut add = |row: &str, server: &Server| -> anyhow::Result<()> {
        let resident = server.resident()?;
        section.add(row, "MiB", Unit::Mebibytes, resident);
        say(&format!("memory, {row}: {resident:.1} MiB"));
        Ok(())
    };
    let mut starts = Vec::new();
    let (pending, finished) = (lab.count(PENDING), lab.count(FINISHED));
    let of_many = format!("on {finished} finished jobs");
    for _ in 0..lab.options().runs {
        let server = lab.nothing()?.serve()?;
        starts.push(("fresh, no database yet".to_owned(), server.started));
        add("fresh, no database yet", &server)?;
        drop(server);

        let (data, customers) = lab.data_with_jobs(ORGANIZATIONS, finished)?;
        data.configure(&lab.setting())?;
        let server = data.serve()?;
        starts.push((of_many.clone(), server.started));
        add(&of_many, &server)?;
        lab.reads(&server, CONNECTIONS, &customers).run()?;
        add(
            &format!("{of_many}, after reads of {ORGANIZATIONS} organizations"),
            &server,
        )?;
    }
    // Once: they take long, and memory hardly varies.
    let (data, customers) = lab.data(ORGANIZATIONS)?;
    data.configure(&lab.setting())?;
    let server = data.serve()?;
    let mut load = scripted(lab, &server, CONNECTIONS, &customers, SLOW);
    (load.warm_up, load.span) = (Duration::ZERO, PATIENCE);
    load.most = Some(u64::try_from(pending)?);
    let taken = load.run()?.answered;
    ensure!(
        taken == u64::try_from(pending)?,
        "only {taken} of {pending} jobs were taken in {PATIENCE:?}"
    );
    add(
        &format!("{pending} pending jobs, taken by this process"),
        &server,
    )?;
    drop(server);
    let server = data.serve()?;
    starts.push((
        format!("{pending} pending jobs, after a new start"),
        server.started,
    ));
    add(
        &format!("{pending} pending jobs, after a new start"),
        &server,
    )?;
    drop(server);

    let (data, customers) = lab.data(ORGANIZATIONS)?;
    let span = lab.options().span * LONGER;
    let whole = whole(lab, &data, &customers, Kind::Fails, span)?;
    let row = "after jobs that this process ran";
    section.add(row, "MiB", Unit::Mebibytes, whole.resident);
    section.add(row, "jobs", Unit::Count, system::float(whole.ended));
    for (row, started) in starts {
        section.add(
            &row,
            "start ms",
            Unit::Milliseconds,
            started.as_secs_f64() * 1e3,
        );
        say(&format!("memory, {row}: start {started:.0?}"));
    }
    Ok(section)
}
