//! How everything fares as the store grows.

use super::jobs::{Kind, whole};
use super::submit::{SLOW, scripted};
use crate::lab::{Lab, say};
use crate::report::{Section, Unit};

const CONNECTIONS: usize = 64;
/// Organizations, and finished jobs.
const SIZES: [(usize, usize); 5] = [
    (1, 0),
    (1_000, 0),
    (10_000, 0),
    (1_000, 100_000),
    (1_000, 1_000_000),
];

pub fn measure(lab: &mut Lab) -> anyhow::Result<Section> {
    let mut section = Section::new("growth", "Growth: read, submit and whole jobs on a store that holds more")
        .note("64 connections, over all organizations. Whole jobs are those of `fails at once`. Each ratio is to hello of the same minute.");
    for run in 1..=lab.options().runs {
        for (organizations, jobs) in SIZES {
            let (organizations, jobs) = (lab.count(organizations), lab.count(jobs));
            let row = format!("{organizations} organizations, {jobs} finished jobs");
            let (data, customers) = lab.data_with_jobs(organizations, jobs)?;
            let hello = lab.hello(CONNECTIONS)?;

            data.configure(&lab.setting())?;
            let server = data.serve()?;
            let read = lab.reads(&server, CONNECTIONS, &customers).run()?;
            drop(server);
            let whole = whole(lab, &data, &customers, Kind::Fails, lab.options().span)?;
            // The last, as it leaves jobs behind.
            data.configure(&lab.setting())?;
            let server = data.serve()?;
            let submit = scripted(lab, &server, CONNECTIONS, &customers, SLOW).run()?;

            for (column, ratio, rate) in [
                ("read/s", "read of hello", read.rate),
                ("submit/s", "submit of hello", submit.rate),
                ("jobs/s", "jobs of hello", whole.rate),
            ] {
                section.add(&row, column, Unit::PerSecond, rate);
                section.add(&row, ratio, Unit::Ratio, rate / hello.rate);
            }
            section.add(
                &row,
                "submit p99 ms",
                Unit::Milliseconds,
                submit.percentile(99),
            );
            say(&format!(
                "growth, run {run}, {row}: read {:.0}/s, submit {:.0}/s, jobs {:.0}/s, hello {:.0}/s",
                read.rate, submit.rate, whole.rate, hello.rate
            ));
        }
    }
    Ok(section)
}
