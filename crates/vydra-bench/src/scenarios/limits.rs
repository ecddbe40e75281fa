//! What the limits' windows cost.

use std::time::Duration;

use crate::lab::{Lab, say};
use crate::report::{Section, Unit};
use crate::seed;
use crate::server::Setting;

const CONNECTIONS: usize = 64;
const LOG: usize = 1_000_000;
const REFUSED: u16 = 429;

/// What an organization did before, and what it may do.
#[derive(Debug)]
struct Case {
    name: String,
    /// From and to how long ago its earlier requests were made.
    earlier: Option<(Duration, Duration)>,
    minute: u32,
    day: u32,
    status: u16,
}

fn cases(lab: &Lab) -> anyhow::Result<[Case; 5]> {
    let log = lab.count(LOG);
    let unlimited = lab.setting();
    let case = |name: String, earlier: Option<(Duration, Duration)>| Case {
        name,
        earlier,
        minute: unlimited.minute,
        day: unlimited.day,
        status: 200,
    };
    let of_the_day = (Duration::from_hours(23), Duration::from_hours(2));
    Ok([
        case("empty windows".to_owned(), None),
        case(
            format!("{log} earlier requests in the day alone"),
            Some(of_the_day),
        ),
        case(
            format!("{log} earlier requests in minute, hour and day"),
            Some((Duration::from_secs(20), Duration::ZERO)),
        ),
        Case {
            minute: 10,
            status: REFUSED,
            ..case(
                "refused: 10 a minute are over".to_owned(),
                Some((Duration::from_secs(5), Duration::ZERO)),
            )
        },
        Case {
            day: u32::try_from(log)?,
            status: REFUSED,
            ..case(format!("refused: {log} a day are over"), Some(of_the_day))
        },
    ])
}

pub fn measure(lab: &mut Lab) -> anyhow::Result<Section> {
    let mut section = Section::new("limits", "What the windows of the limits cost").note(
        "GET /api/v1/organization of one organization, 64 connections. All three windows are checked for every request, whatever their limits.",
    );
    let cases = cases(lab)?;
    for run in 1..=lab.options().runs {
        let mut empty = None;
        for case in &cases {
            let (data, customers) = lab.data(1)?;
            let setting = Setting {
                minute: case.minute,
                day: case.day,
                ..lab.setting()
            };
            data.configure(&setting)?;
            let hello = lab.hello(CONNECTIONS)?;
            if let Some((from, to)) = case.earlier {
                seed::admissions(&data, lab.count(LOG), from, to)?;
            }
            let server = data.serve()?;
            let mut load = lab.reads(&server, CONNECTIONS, &customers);
            load.status = case.status;
            let outcome = load.run()?;
            let row = &case.name;
            section.add(row, "per second", Unit::PerSecond, outcome.rate);
            section.add(row, "p50 ms", Unit::Milliseconds, outcome.percentile(50));
            section.add(row, "p99 ms", Unit::Milliseconds, outcome.percentile(99));
            section.add(row, "of hello", Unit::Ratio, outcome.rate / hello.rate);
            let ratio = outcome.rate / hello.rate;
            section.add(
                row,
                "of empty windows",
                Unit::Ratio,
                ratio / *empty.get_or_insert(ratio),
            );
            section.add(row, "MiB", Unit::Mebibytes, server.resident()?);
            say(&format!(
                "limits, run {run}, {row}: {:.0}/s, hello {:.0}/s",
                outcome.rate, hello.rate
            ));
        }
    }
    Ok(section)
}
