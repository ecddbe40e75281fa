//! The `vydra` binary: one server, one worker, one command line.
//!
//! It decides nothing about jobs or money: it reads the configuration, puts the parts together ([`wiring`]) and hands
//! over. The commonest change: a new command, as a file in `commands/`.

mod commands;
mod config;
mod new_file;
mod output;
mod system;
mod telemetry;
mod wiring;

use clap::Parser;
use commands::Command;
use mimalloc::MiMalloc;
use std::process::ExitCode;

/// A request makes some hundred small allocations, freed on whatever thread is there: measured in docs/performance.md.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Many AI models behind one metered API, self-hosted.
#[derive(Debug, Parser)]
#[command(
    name = "vydra",
    version,
    after_help = "Examples:
  vydra dev                                      start here: a server that shows what it does
  vydra serve --config /etc/vydra.toml           the production form
  vydra org create --name acme --credits 1000    make a customer
  vydra key create --org acme --name backend     and a key for it
  vydra ledger audit                             prove that the books agree
  vydra backup /backups/vydra.db                 copy the database beside a running server"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match commands::run(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}
