use super::{DataAndOutput, told};
use crate::output;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::process::ExitCode;
use vydra_core::ledger::Imbalance;

#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// Add everything up again; exit 1 and list each difference if the books do not agree
    #[command(after_help = "Examples:\n  vydra ledger audit\n  vydra ledger audit --json || alert")]
    Audit(Audit),
}

#[derive(Debug, Args)]
pub struct Audit {
    #[command(flatten)]
    data: DataAndOutput,
}

impl Ledger {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Audit(command) => command.run().await,
        }
    }
}

fn describe(imbalance: &Imbalance) -> Value {
    json!({
        "org": imbalance.org_id,
        "mode": imbalance.mode,
        "job": imbalance.job_id,
        "problem": imbalance.problem,
        "expected": imbalance.expected,
        "found": imbalance.found,
        "difference": imbalance.found - imbalance.expected,
    })
}

impl Audit {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let engine = self.data.open_existing().await?;
        let audit = engine.audit().await.map_err(told)?;
        let balanced = audit.imbalances.is_empty();
        if self.data.json {
            output::json(&json!({
                "balanced": balanced,
                "organizations": audit.organizations,
                "entries": audit.entries,
                "jobs": audit.jobs,
                "carriedEntries": audit.carried_entries,
                "carriedJobs": audit.carried_jobs,
                "imbalances": audit.imbalances.iter().map(describe).collect::<Vec<_>>(),
            }));
        } else {
            let carried = if audit.carried_entries > 0 {
                format!(
                    ", and {} rows of {} jobs carried forward",
                    audit.carried_entries, audit.carried_jobs
                )
            } else {
                String::new()
            };
            let checked = format!(
                "{} organizations, {} ledger rows, {} jobs{carried}",
                audit.organizations, audit.entries, audit.jobs
            );
            if balanced {
                output::line(&format!("The books agree: {checked}."));
            } else {
                output::line(&format!("The books do NOT agree ({checked}):"));
                for imbalance in &audit.imbalances {
                    let job = imbalance
                        .job_id
                        .as_ref()
                        .map(|job| format!(" {job}"))
                        .unwrap_or_default();
                    output::line(&format!(
                        "  {}{job}: {}: expected {}, found {} (difference {})",
                        imbalance.org_id,
                        imbalance.problem,
                        imbalance.expected,
                        imbalance.found,
                        imbalance.found - imbalance.expected
                    ));
                }
            }
        }
        Ok(if balanced {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
