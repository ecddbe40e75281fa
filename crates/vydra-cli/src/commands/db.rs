use super::{DataAndOutput, told};
use crate::config::Span;
use crate::output;
use clap::{Args, Subcommand};
use serde_json::json;
use std::process::ExitCode;
use vydra_store::store::PruneCounts;

#[derive(Debug, Subcommand)]
pub enum Db {
    /// Remove jobs that ended long ago, with their rows of the ledger; what they come to is carried forward
    #[command(
        after_help = "The whole ledger before them goes too, grants and purchases as well: balances and totals stay, and `vydra ledger audit` goes on proving them. Files stay. A job stays while it is open, or somebody is still to be told of its end, and so does what is behind it. It cannot be taken back: a copy of the database keeps what was.\n\nExamples:\n  vydra db prune --older-than 90d --dry-run\n  vydra db prune --older-than 90d\n  vydra db prune --older-than 90d --json | jq .jobs"
    )]
    Prune(Prune),
}

#[derive(Debug, Args)]
pub struct Prune {
    /// How long ago they ended, such as 90d; 24h at least
    #[arg(long, value_name = "DURATION")]
    older_than: Span,
    /// Look, and remove nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    data: DataAndOutput,
}

impl Db {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Prune(command) => command.run().await,
        }
    }
}

impl Prune {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let engine = self.data.open_existing().await?;
        let kept = self.older_than.0;
        let counts = if self.dry_run {
            engine.prunable_jobs(kept).await
        } else {
            let bar = output::spinner();
            let show = |counts: PruneCounts| {
                bar.set_message(format!(
                    "{} jobs, {} ledger rows removed",
                    counts.jobs, counts.entries
                ));
            };
            let counts = engine.prune_jobs(kept, show).await;
            bar.finish_and_clear();
            counts
        };
        let counts = counts.map_err(told)?;
        if self.data.json {
            output::json(&json!({
                "dryRun": self.dry_run,
                "jobs": counts.jobs,
                "ledgerRows": counts.entries,
                "events": counts.events,
                "attempts": counts.attempts,
            }));
            return Ok(ExitCode::SUCCESS);
        }
        let what = format!(
            "{} jobs, {} ledger rows, {} events and {} attempts of providers",
            counts.jobs, counts.entries, counts.events, counts.attempts
        );
        output::line(&if self.dry_run {
            format!("{what} could go. Nothing was removed (--dry-run).")
        } else {
            format!("{what} were removed. What they come to is carried forward.")
        });
        Ok(ExitCode::SUCCESS)
    }
}
