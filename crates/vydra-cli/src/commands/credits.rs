use super::{DataAndOutput, told};
use crate::caller::failure::Failure;
use crate::caller::{Caller, credits, value};
use crate::output;
use clap::{Args, Subcommand};
use serde_json::json;
use std::process::ExitCode;
use vydra_core::job::Mode;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  vydra credits                          the balance of who is logged in\n  vydra credits --json | jq .creditsRemaining\n  vydra credits grant --org acme --amount 500 --reason goodwill\n\nThe last one is for operators: it works on the server's database."
)]
pub struct Credits {
    #[command(flatten)]
    caller: Caller,
    #[command(subcommand)]
    command: Option<ForOperators>,
}

#[derive(Debug, Subcommand)]
pub enum ForOperators {
    /// For operators: give credits to an organization
    #[command(
        after_help = "Examples:\n  vydra credits grant --org acme --amount 500 --reason \"goodwill, ticket 42\"\n  vydra credits grant --org acme --amount 10000 --reason refill --test"
    )]
    Grant(Grant),
}

#[derive(Debug, Args)]
pub struct Grant {
    /// Id or name of the organization
    #[arg(long)]
    org: String,
    /// How many, at least 1
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    amount: i64,
    /// Why; it stands in the ledger for ever
    #[arg(long)]
    reason: String,
    /// To the sandbox's balance
    #[arg(long)]
    test: bool,
    #[command(flatten)]
    data: DataAndOutput,
}

impl Credits {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match &self.command {
            Some(ForOperators::Grant(command)) => command.run().await,
            None => Ok(self.caller.end(self.show().await)),
        }
    }

    async fn show(&self) -> Result<(), Failure> {
        let balance = self.caller.client()?.credits().await?;
        if self.caller.json {
            output::json(&value(&balance)?);
        } else {
            output::line(&format!("{} left", credits(balance.credits_remaining)));
            output::line(&format!(
                "  used {}, of which {} came back",
                balance.credits_used, balance.credits_refunded
            ));
        }
        Ok(())
    }
}

impl Grant {
    async fn run(&self) -> anyhow::Result<ExitCode> {
        let engine = self.data.open_existing().await?;
        let organization = engine.find_organization(&self.org).await.map_err(told)?;
        let mode = if self.test { Mode::Test } else { Mode::Live };
        let amount = vydra_core::credits::Credits::new(self.amount).unwrap_or_default();
        let balance = engine
            .grant(&organization.id, mode, amount, &self.reason)
            .await
            .map_err(told)?;
        if self.data.json {
            output::json(
                &json!({"org": organization.id, "mode": mode, "granted": amount, "creditsRemaining": balance}),
            );
        } else {
            output::line(&format!(
                "{} has {balance} {} credits now.",
                organization.name,
                mode.as_str()
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
