//! What the caller wants measured, and how long.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::scenarios::Scenario;

pub const HELP: &str = "\
Measures the real `vydra` binary (release) on loopback, beside yardsticks of the same minute.

Usage: cargo xtask bench [-- [scenario …] [options]]

Scenarios (all of them when none is named), on SQLite:
  read       An authenticated, limited read: GET /api/v1/organization
  submit     POST /api/v1/jobs, acknowledged and durable, on one organization and on 1,000
  jobs       Whole jobs: submitted, run and settled
  latency    One client: submit to completed, the sync call, submit to the worker's start
  memory     Resident memory, and spawn to the first answer
  limits     What a limit's window costs, and a refusal
  growth     How read, submit and jobs fare as the store grows

On Postgres, with --store postgres:
  targets    Submits of one organization and of 1,000, and whole jobs over two nodes, beside pgbench

Options:
      --store NAME    sqlite, or postgres: one of its own, which the bench starts [default: sqlite]
      --quick         Everything with small counts, in under a minute: whether it works, not how fast
      --seconds N     How long each measurement lasts [default: 3; may be a fraction]
      --runs N        How often each is repeated, in turns with the yardsticks [default: 3]
      --binary PATH   Measure this vydra, instead of building one
      --log LEVEL     The server's log.level [default: as it ships]
      --out DIR       Where the report is written [default: bench/results]
      --json          Print the report as JSON
  -h, --help          Show this text

Examples:
  cargo xtask bench                                  everything, for the record
  cargo xtask bench -- --quick                       does everything still run?
  cargo xtask bench --store postgres                 the targets on Postgres, with what pgbench reaches beside them
  cargo xtask bench -- submit --seconds 2 --runs 5   one scenario, closely
  cargo xtask bench -- read --binary ../before/target/release/vydra --out /tmp/before
";

/// Runs the yardstick server; the bench starts itself with it.
pub const SERVE_HELLO: &str = "serve-hello";

#[derive(Debug, PartialEq)]
pub enum Wish {
    Help,
    ServeHello,
    Measure(Options),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    Sqlite,
    Postgres,
}

impl Store {
    pub const fn scenarios(self) -> &'static [Scenario] {
        match self {
            Self::Sqlite => &Scenario::OF_SQLITE,
            Self::Postgres => &Scenario::OF_POSTGRES,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub store: Store,
    pub scenarios: Vec<Scenario>,
    pub quick: bool,
    pub span: Duration,
    pub runs: usize,
    /// None: the one beside this program.
    pub binary: Option<PathBuf>,
    /// None: as it ships.
    pub log: Option<String>,
    pub out: PathBuf,
    pub json: bool,
}

impl Options {
    pub fn parse(words: &[String]) -> anyhow::Result<Wish> {
        let (mut scenarios, mut quick, mut json) = (Vec::new(), false, false);
        let (mut store, mut named) = (Store::Sqlite, Vec::new());
        let (mut seconds, mut runs, mut binary, mut log, mut out) = (None, None, None, None, None);
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let mut value = || {
                rest.next()
                    .with_context(|| format!("{word} needs a value; see --help"))
            };
            match word.as_str() {
                "-h" | "--help" => return Ok(Wish::Help),
                SERVE_HELLO => return Ok(Wish::ServeHello),
                "--store" => {
                    let name = value()?;
                    store = [Store::Sqlite, Store::Postgres]
                        .into_iter()
                        .find(|known| known.name() == name)
                        .with_context(|| format!("--store {name} must be sqlite or postgres"))?;
                }
                "--quick" => quick = true,
                "--json" => json = true,
                "--seconds" => {
                    let text = value()?;
                    let number: f64 = text
                        .parse()
                        .with_context(|| format!("--seconds {text} is not a number"))?;
                    ensure!(
                        (0.1..=3_600.0).contains(&number),
                        "--seconds must be from 0.1 to 3600"
                    );
                    seconds = Some(Duration::from_secs_f64(number));
                }
                "--runs" => {
                    let text = value()?;
                    let number = text
                        .parse()
                        .with_context(|| format!("--runs {text} is not a whole number"))?;
                    ensure!((1..=100).contains(&number), "--runs must be from 1 to 100");
                    runs = Some(number);
                }
                "--binary" => binary = Some(PathBuf::from(value()?)),
                "--log" => log = Some(value()?.clone()),
                "--out" => out = Some(PathBuf::from(value()?)),
                name => named.push(name),
            }
        }
        for name in named {
            let all = store.scenarios().iter();
            match all.copied().find(|known| known.name() == name) {
                Some(scenario) => scenarios.push(scenario),
                None => bail!(
                    "there is no scenario or option `{name}` with --store {}; --help lists them",
                    store.name()
                ),
            }
        }
        if scenarios.is_empty() {
            scenarios = store.scenarios().to_vec();
        }
        let (usual_span, usual_runs) = if quick {
            (Duration::from_millis(200), 1)
        } else {
            (Duration::from_secs(3), 3)
        };
        Ok(Wish::Measure(Self {
            store,
            scenarios,
            quick,
            span: seconds.unwrap_or(usual_span),
            runs: runs.unwrap_or(usual_runs),
            binary,
            log,
            out: out.unwrap_or_else(|| PathBuf::from("bench/results")),
            json,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Wish, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words).map_err(|error| error.to_string())
    }

    fn measure(line: &str) -> Options {
        match parse(line) {
            Ok(Wish::Measure(options)) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_words_everything_is_measured() {
        let options = measure("");
        assert_eq!(options.scenarios, Scenario::OF_SQLITE);
        assert_eq!((options.span, options.runs), (Duration::from_secs(3), 3));
        assert_eq!(options.out, PathBuf::from("bench/results"));
    }

    #[test]
    fn words_choose_and_options_bound() {
        let options = measure("submit read --seconds 0.5 --runs 5 --json --log warn --out there");
        assert_eq!(options.scenarios, [Scenario::Submit, Scenario::Read]);
        assert_eq!(
            (options.span, options.runs, options.json),
            (Duration::from_millis(500), 5, true)
        );
        assert_eq!(
            (options.log.as_deref(), options.out),
            (Some("warn"), PathBuf::from("there"))
        );
        let quick = measure("--quick --runs 2");
        assert_eq!((quick.quick, quick.runs), (true, 2));
        assert!(quick.span < Duration::from_secs(1));
    }

    #[test]
    fn each_store_has_scenarios_of_its_own() {
        let options = measure("--quick --store postgres");
        assert_eq!(options.scenarios, Scenario::OF_POSTGRES);
        assert_eq!(
            measure("targets --store postgres"),
            measure("--store postgres")
        );
        assert!(parse("targets").unwrap_err().contains("--store sqlite"));
        assert!(
            parse("read --store postgres")
                .unwrap_err()
                .contains("`read`")
        );
        assert!(parse("--store mysql").unwrap_err().contains("postgres"));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(parse("sbmit").unwrap_err().contains("`sbmit`"));
        assert!(parse("--runs").unwrap_err().contains("--runs needs"));
        assert!(parse("--runs 0").unwrap_err().contains("from 1"));
        assert!(parse("--seconds soon").unwrap_err().contains("soon"));
        assert_eq!(parse("read --help"), Ok(Wish::Help));
    }

    #[test]
    fn every_scenario_is_in_the_help() {
        for scenario in [Store::Sqlite, Store::Postgres]
            .iter()
            .flat_map(|store| store.scenarios())
        {
            assert!(HELP.contains(&format!("\n  {} ", scenario.name())));
        }
    }
}
