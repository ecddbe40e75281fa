use super::{DataAndOutput, told};
use crate::config::Span;
use crate::output;
use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::json;
use std::process::ExitCode;
use vydra_core::job::Mode;
use vydra_engine::MAX_OVERLAP;

#[derive(Debug, Subcommand)]
pub enum Webhook {
    /// Show the secret with which an organization's webhooks are signed, or replace it
    #[command(
        after_help = "Examples:\n  vydra webhook secret --org acme\n  vydra webhook secret --org acme --rotate\n  vydra webhook secret --org acme --rotate --overlap 0s      after a leak\n\nOnly the secret is printed, so that a program can read it."
    )]
    Secret(Secret),
}

#[derive(Debug, Args)]
pub struct Secret {
    /// Id or name of the organization
    #[arg(long)]
    org: String,
    /// That of the sandbox
    #[arg(long)]
    test: bool,
    /// Replace it by a new one
    #[arg(long)]
    rotate: bool,
    /// How long webhooks are signed with the old one, too; at most 168h
    #[arg(long, value_name = "SPAN", default_value = "24h", requires = "rotate")]
    overlap: Span,
    #[command(flatten)]
    data: DataAndOutput,
}

impl Webhook {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Secret(command) => command.run().await,
        }
    }
}

impl Secret {
    async fn run(self) -> anyhow::Result<ExitCode> {
        if self.overlap.0 > MAX_OVERLAP {
            bail!("--overlap can be 168h at most");
        }
        let engine = self.data.open_existing().await?;
        let organization = engine.find_organization(&self.org).await.map_err(told)?;
        let mode = if self.test { Mode::Test } else { Mode::Live };
        let secrets = if self.rotate {
            let overlap = self.overlap.0;
            engine
                .rotate_webhook_secret_of(&organization.id, mode, overlap)
                .await
        } else {
            engine.webhook_secrets_of(&organization.id, mode).await
        };
        let secrets = secrets.map_err(told)?;
        let secret = secrets.current.reveal();
        let previous = secrets.previous_until(engine.now());
        if self.data.json {
            output::json(
                &json!({"org": organization.id, "mode": mode, "secret": secret, "previousSecretUntil": previous}),
            );
        } else {
            output::line(&secret);
        }
        Ok(ExitCode::SUCCESS)
    }
}
