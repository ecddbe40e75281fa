//! The `vydra` binary: one server, one worker, one command line.
//!
//! It decides nothing about jobs or money: it reads the configuration, puts the parts together ([`wiring`]) and hands
//! over. What callers do with a server goes through `vydra-client` ([`caller`]), as it does for everybody. The commonest
//! change: a new command, as a file in `commands/`.

mod caller;
mod commands;
mod config;
mod new_file;
mod output;
mod system;
mod telemetry;
mod wiring;

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// A request makes some hundred small allocations, freed on whatever thread is there: measured in docs/performance.md.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match commands::run(commands::parse()) {
        Ok(code) if code == ExitCode::SUCCESS && output::is_lost() => ExitCode::FAILURE,
        Ok(code) => code,
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}
