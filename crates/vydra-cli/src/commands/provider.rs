use super::{DataAndOutput, told};
use crate::output;
use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::json;
use std::process::ExitCode;
use vydra_core::ids::JobId;
use vydra_store::store::AttemptFilter;

#[derive(Debug, Subcommand)]
pub enum Provider {
    /// What providers were asked and how they answered, the newest first
    #[command(
        after_help = "Examples:\n  vydra provider attempts --failed\n  vydra provider attempts --job job_01JZ8Q4X7C0000000000000000\n  vydra provider attempts --provider fal --limit 500 --json"
    )]
    Attempts(Attempts),
}

#[derive(Debug, Args)]
pub struct Attempts {
    /// Only those of this job
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// Only those of this provider, as the configuration calls it
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Only those that failed
    #[arg(long)]
    failed: bool,
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    #[command(flatten)]
    data: DataAndOutput,
}

impl Provider {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Attempts(command) => command.run().await,
        }
    }
}

impl Attempts {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let job = match &self.job {
            None => None,
            Some(text) => match JobId::parse(text) {
                Some(job) => Some(job),
                None => bail!("{text} is not the id of a job: they begin with job_"),
            },
        };
        let engine = self.data.open_existing().await?;
        let filter = AttemptFilter {
            job,
            provider: self.provider,
            failed: self.failed,
            limit: self.limit,
        };
        let attempts = engine.provider_attempts(filter).await.map_err(told)?;
        if self.data.json {
            let rows: Vec<_> = attempts
                .iter()
                .map(|attempt| {
                    json!({
                        "jobId": attempt.job,
                        "step": attempt.step,
                        "provider": attempt.provider,
                        "model": attempt.model,
                        "startedAt": attempt.started_at,
                        "durationMs": attempt.ended_at.since(attempt.started_at).as_millis(),
                        "failure": attempt.failure,
                        "accepted": attempt.accepted,
                        "requestId": attempt.request_id,
                        "cost": attempt.cost,
                    })
                })
                .collect();
            output::json(&json!({"data": rows}));
            return Ok(ExitCode::SUCCESS);
        }
        let rows: Vec<Vec<String>> = attempts
            .into_iter()
            .map(|attempt| {
                let took = attempt.ended_at.since(attempt.started_at);
                vec![
                    attempt.started_at.to_string(),
                    attempt.job.to_string(),
                    attempt.provider,
                    attempt.model,
                    attempt.failure.unwrap_or_else(|| "delivered".to_owned()),
                    attempt.accepted,
                    format!("{:.1} s", took.as_secs_f64()),
                    attempt.request_id.unwrap_or_default(),
                    attempt.cost.unwrap_or_default(),
                ]
            })
            .collect();
        output::table(
            &[
                "STARTED", "JOB", "PROVIDER", "MODEL", "OUTCOME", "TAKEN", "TIME", "REQUEST",
                "COST",
            ],
            &rows,
        );
        Ok(ExitCode::SUCCESS)
    }
}
