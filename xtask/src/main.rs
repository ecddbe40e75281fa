//! Chores of the project, run as `cargo xtask <verb>`.
//!
//! Nothing of the product may live here, and no product crate may depend on it. A new chore is a verb in [`Verb::parse`], a module
//! beside this one and a line in [`HELP`]; a new rule for the sources is a function in [`tidy`] from inputs to findings.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool"
)]

mod bench;
mod clients;
mod fuzz;
mod openapi;
mod process;
mod programs;
mod prove;
mod sdks;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

const HELP: &str = "\
Chores of the project.

Usage: cargo xtask <verb> [arguments]

Verbs:
  tidy                  Check the rules of the house that the compiler cannot see
  openapi [--check]     Write openapi.json, sdks/errors.json and what the Rust client takes of them from the code; with --check, fail
                        if the committed files differ
  programs              Install what the tests need and is missing (Debian and Ubuntu as root), or say what to install
  sdks                  Install the providers' own SDKs, which the adapters are held against (npm and PyPI)
  clients               Check the clients as packages and against a server (npm and PyPI)
  fuzz [-- arguments]   Generated requests against the real server for 60 s, each answer checked against its OpenAPI document;
                        the arguments go to schemathesis, such as --max-time 600 --seed 2
  fuzz --target NAME    One reader of strangers' bytes (multipart, probe, urls) on what chance makes of its corpus;
                        --seconds N (60), --seed N (1). What fails is kept in the corpus
  prove [gate…]         Prove what is promised about jobs and credits; `cargo xtask prove --help` lists the gates and options
  bench [-- arguments]  Build the binary and its bench for release, and measure; `cargo xtask bench -- --help` tells more
  bench --store postgres
                        The same on a PostgreSQL of its own, beside what pgbench reaches on it
  test [-- arguments]   Do `programs` and `sdks`, then run every test, those of whole applications on SQLite and on Postgres;
                        with arguments, which go to `cargo test`, on what VYDRA_TEST_STORE names (sqlite)

Options:
  -h, --help            Show this text

Examples:
  cargo xtask tidy
  cargo xtask openapi                                write openapi.json after an endpoint changed
  cargo xtask fuzz --target urls --seconds 600       the guard of URLs, for ten minutes
  cargo xtask bench -- --quick                       does the bench still run?
  cargo xtask test                                   everything
  cargo xtask test -- -p vydra-store                 one crate
  cargo xtask test -- settle_job -- --nocapture      tests whose name has settle_job, with their output
";

#[derive(Debug, PartialEq, Eq)]
enum Verb {
    Help,
    Tidy,
    Openapi { check: bool },
    Programs,
    Sdks,
    Clients,
    Prove { arguments: Vec<String> },
    Fuzz { arguments: Vec<String> },
    Bench { arguments: Vec<String> },
    Test { arguments: Vec<String> },
}

impl Verb {
    fn parse(arguments: &[String]) -> anyhow::Result<Self> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => bail!("a verb is missing; `cargo xtask --help` lists them"),
            // It has a help of its own.
            ["prove", ..] => Ok(Self::Prove {
                arguments: arguments[1..].to_vec(),
            }),
            ["-h" | "--help" | "help", ..] | [_, "-h" | "--help"] => Ok(Self::Help),
            ["tidy"] => Ok(Self::Tidy),
            ["openapi"] => Ok(Self::Openapi { check: false }),
            ["openapi", "--check"] => Ok(Self::Openapi { check: true }),
            ["programs"] => Ok(Self::Programs),
            ["sdks"] => Ok(Self::Sdks),
            ["clients"] => Ok(Self::Clients),
            ["fuzz"] => Ok(Self::Fuzz {
                arguments: Vec::new(),
            }),
            ["fuzz", "--", ..] => Ok(Self::Fuzz {
                arguments: arguments[2..].to_vec(),
            }),
            ["fuzz", "--target", target, options @ ..] => Ok(Self::Prove {
                arguments: fuzz::of_target(target, options)?,
            }),
            ["bench"] => Ok(Self::Bench {
                arguments: Vec::new(),
            }),
            ["bench", "--", ..] => Ok(Self::Bench {
                arguments: arguments[2..].to_vec(),
            }),
            ["bench", "--store", ..] => Ok(Self::Bench {
                arguments: arguments[1..].to_vec(),
            }),
            ["test"] => Ok(Self::Test {
                arguments: Vec::new(),
            }),
            ["test", "--", ..] => Ok(Self::Test {
                arguments: arguments[2..].to_vec(),
            }),
            [verb @ ("test" | "fuzz" | "bench"), word, ..] => bail!(
                "`{verb}` does not know `{word}`; arguments to hand on follow `--`: cargo xtask {verb} -- {word}"
            ),
            [
                verb @ ("tidy" | "openapi" | "programs" | "sdks" | "clients"),
                rest @ ..,
            ] => {
                bail!(
                    "`{verb}` does not know `{}`; see `cargo xtask --help`",
                    rest.join(" ")
                )
            }
            [verb, ..] => bail!("there is no verb `{verb}`; `cargo xtask --help` lists them"),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let verb = Verb::parse(arguments)?;
    if verb == Verb::Help {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    let root =
        workspace_root(&std::env::current_dir().context("the current folder cannot be read")?)?;
    match verb {
        Verb::Help => Ok(ExitCode::SUCCESS),
        Verb::Tidy => {
            let findings = tidy::check(&root)?;
            for finding in &findings {
                println!("{finding}");
            }
            if findings.is_empty() {
                println!("tidy: nothing to find fault with");
                return Ok(ExitCode::SUCCESS);
            }
            eprintln!(
                "error: tidy has {} finding(s); CONTRIBUTING.md explains the rules",
                findings.len()
            );
            Ok(ExitCode::FAILURE)
        }
        Verb::Openapi { check } => {
            openapi::run(&root, check)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Programs => {
            programs::ensure()?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Sdks => {
            sdks::ensure(&root)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Clients => clients::run(&root),
        Verb::Prove { arguments } => prove::run(&root, &arguments),
        Verb::Fuzz { arguments } => fuzz::run(&root, &arguments),
        Verb::Bench { arguments } => bench::run(&root, &arguments),
        Verb::Test { arguments } => test::run(&root, &arguments),
    }
}

/// The nearest folder upwards that holds this crate as `xtask`: the verbs work from any folder of the checkout.
fn workspace_root(from: &Path) -> anyhow::Result<PathBuf> {
    from.ancestors()
        .find(|folder| folder.join("xtask").join("Cargo.toml").is_file())
        .map(Path::to_path_buf)
        .context("this is not a checkout of the project: no folder upwards has xtask/Cargo.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Verb, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Verb::parse(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn verbs_are_understood() {
        assert_eq!(parse("tidy"), Ok(Verb::Tidy));
        assert_eq!(parse("openapi"), Ok(Verb::Openapi { check: false }));
        assert_eq!(parse("openapi --check"), Ok(Verb::Openapi { check: true }));
        assert_eq!(parse("programs"), Ok(Verb::Programs));
        assert_eq!(parse("sdks"), Ok(Verb::Sdks));
        assert_eq!(parse("--help"), Ok(Verb::Help));
        assert_eq!(parse("openapi --help"), Ok(Verb::Help));
        let arguments = ["kill", "--help"].map(str::to_owned).to_vec();
        assert_eq!(parse("prove kill --help"), Ok(Verb::Prove { arguments }));
    }

    #[test]
    fn a_target_is_fuzzed_by_its_proof() {
        let arguments = |line: &str| match parse(line) {
            Ok(Verb::Prove { arguments }) => arguments.join(" "),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(
            arguments("fuzz --target urls"),
            "fuzz --only urls --seconds 60"
        );
        assert_eq!(
            arguments("fuzz --target probe --seed 7 --seconds 5"),
            "fuzz --only probe --seed 7 --seconds 5"
        );
        assert!(parse("fuzz --target").unwrap_err().contains("--target"));
        assert!(
            parse("fuzz --target urls --mode all")
                .unwrap_err()
                .contains("`--mode`")
        );
        assert!(
            parse("fuzz --target urls --seed")
                .unwrap_err()
                .contains("`--seed`")
        );
    }

    #[test]
    fn arguments_after_the_dashes_go_to_cargo_test_as_they_are() {
        let arguments = ["name", "--", "--nocapture"].map(str::to_owned).to_vec();
        assert_eq!(
            parse("test -- name -- --nocapture"),
            Ok(Verb::Test { arguments })
        );
        assert_eq!(
            parse("test"),
            Ok(Verb::Test {
                arguments: Vec::new()
            })
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(parse("tidyy").unwrap_err().contains("`tidyy`"));
        assert!(parse("tidy --fast").unwrap_err().contains("`--fast`"));
        assert!(
            parse("test name")
                .unwrap_err()
                .contains("cargo xtask test -- name")
        );
        assert!(parse("").unwrap_err().contains("--help"));
    }

    #[test]
    fn every_verb_is_in_the_help() {
        for verb in [
            "tidy",
            "openapi [--check]",
            "programs",
            "fuzz [-- arguments]",
            "fuzz --target NAME",
            "prove [gate…]",
            "bench [-- arguments]",
            "test [-- arguments]",
        ] {
            assert!(HELP.contains(&format!("\n  {verb}")), "{verb}");
        }
    }
}
