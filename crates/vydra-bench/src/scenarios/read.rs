//! An authenticated, limited read.

use crate::lab::{Lab, say};
use crate::report::{Section, Unit};

const CONNECTIONS: [usize; 3] = [1, 16, 64];

pub fn measure(lab: &mut Lab) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "read",
        "Authenticated, limited read: GET /api/v1/organization",
    )
    .note("One organization. `hello` is a bare axum server of JSON, with as many connections.");
    let (data, customers) = lab.data(1)?;
    data.configure(&lab.setting())?;
    for run in 1..=lab.options().runs {
        let server = data.serve()?;
        for connections in CONNECTIONS {
            let hello = lab.hello(connections)?;
            let read = lab.reads(&server, connections, &customers).run()?;
            say(&format!(
                "read, run {run}, {connections} connections: {:.0}/s, hello {:.0}/s",
                read.rate, hello.rate
            ));
            let ratio = read.rate / hello.rate;
            for (name, outcome) in [("hello", &hello), ("read", &read)] {
                let row = format!("{name}, {connections} connections");
                section.add(&row, "per second", Unit::PerSecond, outcome.rate);
                section.add(&row, "p50 ms", Unit::Milliseconds, outcome.percentile(50));
                section.add(&row, "p99 ms", Unit::Milliseconds, outcome.percentile(99));
            }
            let row = format!("read, {connections} connections");
            section.add(&row, "of hello", Unit::Ratio, ratio);
        }
    }
    Ok(section)
}
