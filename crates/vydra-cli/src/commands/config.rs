use super::DataAndOutput;
use crate::{output, wiring};
use clap::{Args, Subcommand};
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether the configuration and the catalogue can be used, without starting anything
    #[command(after_help = "Example:\n  vydra config check --config /etc/vydra.toml")]
    Check(Check),
    /// Print every key with its default and its meaning
    Defaults,
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    data: DataAndOutput,
}

impl ConfigCommand {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Check(command) => command.run(),
            Self::Defaults => {
                output::text(crate::config::DEFAULTS.trim_end());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Check {
    fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.data.data.load()?;
        let catalog = wiring::catalog(&config)?;
        let (models, workflows) = (catalog.models().len(), catalog.workflows().len());
        if self.data.json {
            output::json(&json!({
                "valid": true,
                "listen": config.server.listen,
                "database": config.database()?.to_string(),
                "media": config.media_place()?.to_string(),
                "models": models,
                "workflows": workflows,
            }));
        } else {
            output::line("The configuration can be used.");
            output::line(&format!("  listen     {}", config.server.listen));
            output::line(&format!("  database   {}", config.database()?));
            output::line(&format!("  media      {}", config.media_place()?));
            output::line(&format!(
                "  catalogue  {models} models, {workflows} workflows"
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
