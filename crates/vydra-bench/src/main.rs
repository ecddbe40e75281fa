//! The bench of the product, run as `cargo xtask bench`: the real binary under load, always beside yardsticks of the same minute.
//!
//! A scenario is a module of [`scenarios`] that fills the tables of a [`report`] from what [`lab`] lets it measure: a server
//! on data of its own, the load generator, and the yardsticks. Nothing of the product may use this crate.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool"
)]

mod disk;
mod hello;
mod host;
mod lab;
mod load;
mod options;
mod pgbench;
mod postgres;
mod report;
mod scenarios;
mod seed;
mod server;
mod sqlite;
mod system;

use std::process::ExitCode;

use anyhow::ensure;
use options::{Options, Wish};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let ran = match Options::parse(&words) {
        Ok(Wish::Help) => {
            print!("{}", options::HELP);
            Ok(())
        }
        Ok(Wish::ServeHello) => hello::serve(),
        Ok(Wish::Measure(options)) => measure(options),
        Err(error) => Err(error),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: Options) -> anyhow::Result<()> {
    let mut lab = lab::Lab::open(options)?;
    let (mut sections, mut failed) = (Vec::new(), Vec::new());
    for scenario in lab.options().scenarios.clone() {
        match scenario.measure(&mut lab) {
            Ok(section) => {
                // As soon as it is there: the next may take minutes.
                eprintln!("\n{}", section.table());
                sections.push(section);
            }
            // What the others tell is worth the same without this one.
            Err(error) => {
                eprintln!(
                    "error: {} could not be measured: {error:#}",
                    scenario.name()
                );
                failed.push(scenario.name());
            }
        }
    }
    let report = lab.report(sections)?;
    if lab.options().json {
        println!("{}", serde_json::to_string_pretty(&report.json())?);
    } else {
        print!("{}", report.markdown());
    }
    let (text, json) = report.write(&lab.options().out)?;
    eprintln!("written: {} and {}", text.display(), json.display());
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}
