use super::{DataAndOutput, told};
use crate::output;
use clap::{Args, Subcommand};
use serde_json::json;
use std::process::ExitCode;
use vydra_engine::{GRACE, HeldBack, Pruned, Pruning};

#[derive(Debug, Subcommand)]
pub enum Assets {
    /// Remove files that no row of the database names, and tell of rows whose file is gone; exit 1 if there are such
    #[command(
        after_help = "A file that is younger than 24 hours is left alone: it may be on its way in.\n\nExamples:\n  vydra assets prune --dry-run\n  vydra assets prune --json | jq .removed"
    )]
    Prune(Prune),
}

#[derive(Debug, Args)]
pub struct Prune {
    /// Look, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove them even if they are more than half of the old files
    #[arg(long, conflicts_with = "dry_run")]
    force: bool,
    #[command(flatten)]
    data: DataAndOutput,
}

impl Assets {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Prune(command) => command.run().await,
        }
    }
}

impl Prune {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let engine = self.data.open_existing().await?;
        let bar = output::spinner();
        let show = |how_far| match how_far {
            Pruning::Files(count) => bar.set_message(format!("{count} files looked at")),
            Pruning::Rows(count) => bar.set_message(format!("{count} rows looked at")),
        };
        let what = match (self.dry_run, self.force) {
            (true, _) => vydra_engine::Prune::Look,
            (false, true) => vydra_engine::Prune::Force,
            (false, false) => vydra_engine::Prune::Remove,
        };
        let pruned = engine.prune(what, show).await.map_err(told)?;
        bar.finish_and_clear();
        if self.data.json {
            output::json(&json!({
                "dryRun": self.dry_run,
                "files": pruned.files,
                "orphans": pruned.orphans,
                "orphanBytes": pruned.orphan_bytes,
                "removed": pruned.removed,
                "heldBack": pruned.held_back.is_some(),
                "rows": pruned.rows,
                "missing": pruned.missing,
                "missingAssets": pruned.missing_ids,
            }));
        } else {
            self.tell(&pruned);
        }
        Ok(if pruned.missing == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn tell(&self, pruned: &Pruned) {
        let what = format!(
            "{} of {} files are older than {} hours and no row names them ({} bytes)",
            pruned.orphans,
            pruned.files,
            GRACE.as_secs() / 3_600,
            pruned.orphan_bytes
        );
        if let Some(why) = pruned.held_back {
            let why = match why {
                HeldBack::NoRows => {
                    "the database names no file at all, so it may be another than that of these files."
                }
                HeldBack::MostUnnamed => {
                    "these are more than half of the old files, so the database may be another than that of these files. \
                     If it is the right one, say --force."
                }
            };
            output::line(&format!("{what}. Nothing was removed: {why}"));
        } else if self.dry_run {
            output::line(&format!("{what}. Nothing was removed (--dry-run)."));
        } else {
            output::line(&format!("{what}; {} were removed.", pruned.removed));
        }
        if pruned.missing == 0 {
            output::line(&format!("The files of all {} rows are there.", pruned.rows));
            return;
        }
        output::line(&format!(
            "{} of {} rows name a file that is NOT there:",
            pruned.missing, pruned.rows
        ));
        for id in &pruned.missing_ids {
            output::line(&format!("  {id}"));
        }
        if pruned.missing > pruned.missing_ids.len() as u64 {
            output::line("  …");
        }
    }
}
