//! The gates, in the order in which they are carried out: the quick ones first. Each says on which engines it runs.

mod bank;
mod cluster;
mod deadlines;
mod ends;
mod faults;
mod fuzz;
mod idempotency;
mod kill;
mod ledger;
mod simulation;
mod ssrf;
mod uploads;
mod webhooks;
mod windows;

use crate::report::Progress;
use crate::server::Data;
use std::path::PathBuf;
use tempfile::TempDir;
use vydra_testkit::Backend;

/// What a gate shows, and how often.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) name: &'static str,
    /// As the map of proofs calls it.
    pub(crate) short: &'static str,
    /// None for a gate that says nothing of this engine.
    pub(crate) sqlite: Option<Cases>,
    pub(crate) postgres: Option<Cases>,
    pub(crate) prove: fn(&Run) -> Outcome,
}

/// How many there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cases {
    /// Before each commit.
    pub(crate) commit: u64,
    pub(crate) release: u64,
}

const fn cases(commit: u64, release: u64) -> Cases {
    Cases { commit, release }
}

impl Gate {
    pub(crate) const fn cases(&self, store: Backend) -> Option<Cases> {
        match store {
            Backend::Sqlite => self.sqlite,
            Backend::Postgres => self.postgres,
        }
    }
}

pub(crate) const ALL: &[Gate] = &[
    Gate {
        name: "ledger",
        short: "G1",
        sqlite: Some(cases(2_000, 100_000)),
        postgres: None,
        prove: ledger::prove,
    },
    Gate {
        name: "ends",
        short: "G7",
        sqlite: Some(cases(200, 10_000)),
        postgres: Some(cases(100, 2_000)),
        prove: ends::prove,
    },
    Gate {
        name: "deadlines",
        short: "G3",
        sqlite: Some(cases(10_000, 100_000)),
        postgres: None,
        prove: deadlines::prove,
    },
    Gate {
        name: "simulation",
        short: "G15",
        sqlite: Some(cases(100, 50_000)),
        postgres: None,
        prove: simulation::prove,
    },
    Gate {
        name: "faults",
        short: "G4",
        sqlite: Some(cases(1, 20)),
        postgres: None,
        prove: faults::prove,
    },
    Gate {
        name: "fuzz",
        short: "G16",
        // Of each target.
        sqlite: Some(cases(2_000, 1_000_000)),
        postgres: None,
        prove: fuzz::prove,
    },
    Gate {
        name: "idempotency",
        short: "G6",
        sqlite: Some(cases(100, 1_000)),
        postgres: Some(cases(60, 1_000)),
        prove: idempotency::prove,
    },
    Gate {
        name: "bank",
        short: "G5",
        // Seconds.
        sqlite: Some(cases(20, 600)),
        postgres: Some(cases(8, 600)),
        prove: bank::prove,
    },
    Gate {
        name: "cluster",
        short: "G17",
        sqlite: None,
        // Faults.
        postgres: Some(cases(6, 500)),
        prove: cluster::prove,
    },
    Gate {
        name: "windows",
        short: "G8",
        sqlite: None,
        // Turns of five courses.
        postgres: Some(cases(1, 30)),
        prove: windows::prove,
    },
    Gate {
        name: "ssrf",
        short: "G9",
        sqlite: Some(cases(1_500, 20_000)),
        postgres: None,
        prove: ssrf::prove,
    },
    Gate {
        name: "uploads",
        short: "G10",
        // Damaged files, beside those that are always sent.
        sqlite: Some(cases(500, 100_000)),
        postgres: None,
        prove: uploads::prove,
    },
    Gate {
        name: "webhooks",
        short: "G14",
        sqlite: Some(cases(500, 10_000)),
        postgres: None,
        prove: webhooks::prove,
    },
    Gate {
        name: "kill",
        short: "G2",
        sqlite: Some(cases(200, 10_000)),
        postgres: Some(cases(40, 2_000)),
        prove: kill::prove,
    },
];

/// What a gate is given.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// The engine below.
    pub(crate) store: Backend,
    pub(crate) seed: u64,
    pub(crate) count: u64,
    /// How long for each part, instead of a count.
    pub(crate) seconds: Option<u64>,
    /// Words that a case's name must have.
    pub(crate) only: Option<String>,
    /// Where all that happens is written.
    pub(crate) log: Option<PathBuf>,
    /// The program `vydra`.
    pub(crate) binary: PathBuf,
    /// A folder on a real disk.
    pub(crate) disk: PathBuf,
    /// Whether this process is in the namespace already that its gate made.
    pub(crate) inside: bool,
    /// Which of the processes of its gate this is; None for the one that a person began.
    pub(crate) node: Option<u64>,
    pub(crate) progress: Progress,
}

/// Figures for the line, or what was violated.
pub(crate) type Outcome = Result<String, Violation>;

#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) error: anyhow::Error,
    /// Arguments that show it again, where they are not those of the whole run.
    pub(crate) replay: Option<String>,
}

impl Violation {
    /// Seen again by these arguments alone.
    pub(crate) fn at(replay: impl Into<String>, error: anyhow::Error) -> Self {
        Self {
            error,
            replay: Some(replay.into()),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Violation {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            replay: None,
        }
    }
}

/// A panic is a violation like any other.
pub(crate) fn carry_out(gate: &Gate, run: &Run) -> Outcome {
    std::panic::catch_unwind(|| (gate.prove)(run))
        .unwrap_or_else(|panic| Err(panicked(&*panic).into()))
}

/// What a panic said.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> anyhow::Error {
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    anyhow::anyhow!(
        "panicked: {}",
        text.unwrap_or_else(|| "without words".to_owned())
    )
}

/// Runs on data of its own on a real disk. A failure keeps them, and says where.
fn on_disk(
    gate: &str,
    run: &Run,
    prove: impl AsyncFnOnce(&Data) -> anyhow::Result<String>,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let folder = tempfile::Builder::new()
        .prefix(&format!("{gate}-"))
        .tempdir_in(&run.disk)?;
    let mut data = Data::new(&run.binary, folder.path());
    if run.store == Backend::Postgres {
        data = data.on_postgres()?;
    }
    runtime.block_on(prove(&data)).map_err(|error| {
        let kept = folder.keep();
        data.keep_database();
        Violation::from(error.context(format!("the data are kept in {}", kept.display())))
    })
}

/// A folder in memory where the system has one, for what no power cut is to be shown of.
pub(crate) fn in_memory() -> anyhow::Result<TempDir> {
    let memory = std::path::Path::new("/dev/shm");
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("vydra-prove-");
        builder
    };
    if memory.is_dir()
        && let Ok(folder) = builder().tempdir_in(memory)
    {
        return Ok(folder);
    }
    Ok(builder().tempdir()?)
}
