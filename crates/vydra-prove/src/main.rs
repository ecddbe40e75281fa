//! The proofs: each gate shows one promise about jobs and credits on the real parts, from a seed, and says how to see a
//! failure again.
//!
//! A gate that meets a violation returns it as an error; whatever it prints besides is one line. [`gates`] is the list.
//!
//! The commonest change: a new gate. Write it in `gates/<noun>.rs`, add it to [`gates::ALL`] and to `docs/proofs.md`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool"
)]

mod api;
mod books;
mod fixture;
mod gates;
mod pool;
mod report;
mod server;
mod sim;

use clap::Parser;
use gates::{Gate, Run};
use report::{Format, Reporter};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  cargo xtask prove                                every gate, as before each commit
  cargo xtask prove kill --seed 7 --count 20       one gate, for a while, by another seed
  cargo xtask prove --tier release                 every gate, as before a release (hours)
  cargo xtask prove simulation --seed 42 --count 1 --log events.txt
                                                   one simulated run again, with all that happened in it
  cargo xtask prove faults --only 'cancel a running job'
                                                   the cases of one gate whose name has these words";

/// Prove what we promise about jobs, credits, files and URLs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask prove", after_help = EXAMPLES)]
struct Arguments {
    /// Which gates; all when none is named. Each has a name and a short one, such as `kill` or `G2`.
    gates: Vec<String>,
    /// How much.
    #[arg(long, value_enum, default_value_t = Tier::Commit)]
    tier: Tier,
    /// Where chance begins: the same seed is the same run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many cases, instead of the tier's number.
    #[arg(long)]
    count: Option<u64>,
    /// How long for each target, instead of a count (fuzz).
    #[arg(long)]
    seconds: Option<u64>,
    /// Only the cases whose name has these words (faults), or this target (fuzz).
    #[arg(long)]
    only: Option<String>,
    /// Write all that happens to this file (simulation).
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// One JSON object a gate instead of a line.
    #[arg(long)]
    json: bool,
    /// The program `vydra`.
    #[arg(long, hide = true, default_value = "target/debug/vydra")]
    binary: PathBuf,
    /// A folder on a real disk, for the gates that need one.
    #[arg(long, hide = true, default_value = "target/prove")]
    disk: PathBuf,
    /// Given by a gate that begins itself again in a namespace.
    #[arg(long, hide = true)]
    inside: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Tier {
    /// Before each commit: minutes.
    Commit,
    /// Before a release: hours.
    Release,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match prove(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every gate passed.
fn prove(arguments: &Arguments) -> anyhow::Result<bool> {
    let chosen = chosen(&arguments.gates)?;
    std::fs::create_dir_all(&arguments.disk)?;
    let format = if arguments.json {
        Format::Json
    } else {
        Format::Line
    };
    let mut passed = true;
    for gate in chosen {
        let reporter = Reporter::new(gate.name, format);
        let run = Run {
            seed: arguments.seed,
            count: arguments.count.unwrap_or(match arguments.tier {
                Tier::Commit => gate.commit,
                Tier::Release => gate.release,
            }),
            seconds: arguments.seconds,
            only: arguments.only.clone(),
            log: arguments.log.clone(),
            binary: std::path::absolute(&arguments.binary)?,
            disk: std::path::absolute(&arguments.disk)?,
            inside: arguments.inside,
            progress: reporter.progress(),
        };
        let outcome = gates::carry_out(gate, &run);
        passed &= outcome.is_ok();
        reporter.tell(&run, &outcome);
    }
    Ok(passed)
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Gate>> {
    if names.is_empty() {
        return Ok(gates::ALL.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            gates::ALL
                .iter()
                .find(|gate| gate.name == name || gate.short.eq_ignore_ascii_case(name))
                .ok_or_else(|| {
                    let known: Vec<&str> = gates::ALL.iter().map(|gate| gate.name).collect();
                    anyhow::anyhow!("there is no gate `{name}`; there are {}", known.join(", "))
                })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_found_by_either_name_and_unknown_ones_are_named() {
        let names = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            chosen(&words).map(|gates| gates.iter().map(|gate| gate.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["G2", "kill"]).unwrap(), ["kill", "kill"]);
        assert_eq!(names(&[]).unwrap().len(), gates::ALL.len());
        assert!(names(&["kil"]).unwrap_err().to_string().contains("`kil`"));
    }

    #[test]
    fn the_arguments_are_well_formed() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
