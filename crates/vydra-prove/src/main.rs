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
mod front;
mod gates;
mod load;
mod pool;
mod report;
mod server;
mod sim;

use clap::Parser;
use gates::{Cases, Gate, Run};
use report::{Format, Reporter};
use std::path::PathBuf;
use std::process::ExitCode;
use vydra_testkit::{Backend, postgres};

const EXAMPLES: &str = "\
Examples:
  cargo xtask prove                                every gate, as before each commit
  cargo xtask prove kill --seed 7 --count 20       one gate, for a while, by another seed
  cargo xtask prove kill --store postgres          the same gate on Postgres alone
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
    /// On this engine alone, `sqlite` or `postgres`. Otherwise each gate runs on all those of which it says something.
    #[arg(long, value_name = "ENGINE", value_parser = engine)]
    store: Option<Backend>,
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
    /// Only the cases whose name has these words (faults, windows), or this target (fuzz).
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
    /// Given by a gate to each of the processes that it begins: which of them this is.
    #[arg(long, hide = true)]
    node: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Tier {
    /// Before each commit: minutes.
    Commit,
    /// Before a release: hours.
    Release,
}

fn engine(word: &str) -> Result<Backend, String> {
    let known = Backend::ALL.into_iter().find(|one| one.as_str() == word);
    known.ok_or_else(|| "there are sqlite and postgres".to_owned())
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
    let chosen = chosen(&arguments.gates, arguments.store)?;
    std::fs::create_dir_all(&arguments.disk)?;
    let format = if arguments.json {
        Format::Json
    } else {
        Format::Line
    };
    let mut passed = true;
    for (gate, store, cases) in chosen {
        if store == Backend::Postgres && arguments.store.is_none() && !postgres::is_here() {
            eprintln!(
                "{}: skipped on postgres, which is not here; `cargo xtask programs` brings it",
                gate.name
            );
            continue;
        }
        let reporter = Reporter::new(gate.name, format);
        let run = Run {
            store,
            seed: arguments.seed,
            count: arguments.count.unwrap_or(match arguments.tier {
                Tier::Commit => cases.commit,
                Tier::Release => cases.release,
            }),
            seconds: arguments.seconds,
            only: arguments.only.clone(),
            log: arguments.log.clone(),
            binary: std::path::absolute(&arguments.binary)?,
            disk: std::path::absolute(&arguments.disk)?,
            inside: arguments.inside,
            node: arguments.node,
            progress: reporter.progress(),
        };
        let outcome = gates::carry_out(gate, &run);
        passed &= outcome.is_ok();
        reporter.tell(&run, &outcome);
    }
    Ok(passed)
}

type Chosen = (&'static Gate, Backend, Cases);

/// Each gate on each engine that it knows, unless one is named.
fn chosen(names: &[String], store: Option<Backend>) -> anyhow::Result<Vec<Chosen>> {
    let gates: Vec<&Gate> = if names.is_empty() {
        gates::ALL.iter().collect()
    } else {
        names
            .iter()
            .map(|name| named(name))
            .collect::<Result<_, _>>()?
    };
    let mut all = Vec::new();
    for gate in gates {
        let before = all.len();
        let wanted = |on: &Backend| store.is_none_or(|store| store == *on);
        for on in Backend::ALL.into_iter().filter(wanted) {
            all.extend(gate.cases(on).map(|cases| (gate, on, cases)));
        }
        if let (false, Some(store)) = (names.is_empty(), store) {
            let (name, store) = (gate.name, store.as_str());
            anyhow::ensure!(all.len() > before, "`{name}` says nothing of {store}");
        }
    }
    Ok(all)
}

fn named(name: &str) -> anyhow::Result<&'static Gate> {
    gates::ALL
        .iter()
        .find(|gate| gate.name == name || gate.short.eq_ignore_ascii_case(name))
        .ok_or_else(|| {
            let known: Vec<&str> = gates::ALL.iter().map(|gate| gate.name).collect();
            anyhow::anyhow!("there is no gate `{name}`; there are {}", known.join(", "))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_found_by_either_name_and_unknown_ones_are_named() {
        let names = |words: &[&str], store| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let name = |(gate, store, _): &Chosen| format!("{} {}", gate.name, store.as_str());
            chosen(&words, store).map(|all| all.iter().map(name).collect::<Vec<_>>())
        };
        let (sqlite, postgres) = (Some(Backend::Sqlite), Some(Backend::Postgres));
        assert_eq!(
            names(&["G2"], None).unwrap(),
            ["kill sqlite", "kill postgres"]
        );
        assert_eq!(
            names(&["G2", "kill"], postgres).unwrap(),
            ["kill postgres"; 2]
        );
        let all = names(&[], None).unwrap().len();
        let (of_one, of_other) = (names(&[], sqlite).unwrap(), names(&[], postgres).unwrap());
        assert_eq!(of_one.len() + of_other.len(), all);
        assert!(!of_other.is_empty());
        let wrong = |words, store| names(words, store).unwrap_err().to_string();
        assert!(wrong(&["kil"], None).contains("`kil`"));
        assert!(wrong(&["ssrf"], postgres).contains("says nothing of postgres"));
    }

    #[test]
    fn the_arguments_are_well_formed() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
