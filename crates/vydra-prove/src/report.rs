//! One line a gate, and on a terminal how far it is.

use crate::gates::{Outcome, Run};
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Line,
    Json,
}

#[derive(Debug)]
pub(crate) struct Reporter {
    gate: &'static str,
    format: Format,
    began: Instant,
    progress: Progress,
}

/// Counts cases; cheap to clone, and allowed from any thread.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    gate: &'static str,
    shown: bool,
    done: Arc<AtomicU64>,
}

impl Progress {
    /// One more case of `all` is done.
    pub(crate) fn step(&self, all: u64) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let every = (all / 200).max(1);
        if self.shown && done.is_multiple_of(every) {
            let mut terminal = std::io::stderr().lock();
            // A terminal that cannot be written to is nobody's loss.
            let _ = write!(terminal, "\r\x1b[K{}: {done} of {all}", self.gate);
            let _ = terminal.flush();
        }
    }

    fn clear(&self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

impl Reporter {
    pub(crate) fn new(gate: &'static str, format: Format) -> Self {
        Self {
            gate,
            format,
            began: Instant::now(),
            progress: Progress {
                gate,
                shown: std::io::stderr().is_terminal(),
                done: Arc::default(),
            },
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    pub(crate) fn tell(self, run: &Run, outcome: &Outcome) {
        self.progress.clear();
        let took = self.began.elapsed();
        match self.format {
            Format::Line => println!("{}", line(self.gate, run, took, outcome)),
            Format::Json => println!("{}", object(self.gate, run, took, outcome)),
        }
    }
}

fn line(gate: &str, run: &Run, took: Duration, outcome: &Outcome) -> String {
    let (word, text) = match outcome {
        Ok(figures) => ("passed", figures.clone()),
        Err(violation) => (
            "FAILED",
            format!(
                "{:#}\n  again: {}",
                violation.error,
                again(gate, violation.replay.as_deref(), run)
            ),
        ),
    };
    format!(
        "{gate:<12} {:<8} seed {} count {} {:.1} s {word}: {text}",
        run.store.as_str(),
        run.seed,
        run.count,
        took.as_secs_f64()
    )
}

fn object(gate: &str, run: &Run, took: Duration, outcome: &Outcome) -> serde_json::Value {
    let mut object = json!({
        "gate": gate,
        "store": run.store.as_str(),
        "seed": run.seed,
        "count": run.count,
        "seconds": took.as_secs_f64(),
        "passed": outcome.is_ok(),
    });
    match outcome {
        Ok(figures) => object["figures"] = json!(figures),
        Err(violation) => {
            object["violation"] = json!(format!("{:#}", violation.error));
            object["replay"] = json!(again(gate, violation.replay.as_deref(), run));
        }
    }
    object
}

/// The command that shows a failure again.
fn again(gate: &str, replay: Option<&str>, run: &Run) -> String {
    let store = run.store.as_str();
    match replay {
        Some(arguments) => format!("cargo xtask prove {gate} --store {store} {arguments}"),
        None => format!(
            "cargo xtask prove {gate} --store {store} --seed {} --count {}",
            run.seed, run.count
        ),
    }
}
