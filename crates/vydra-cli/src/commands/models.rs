use super::DataAndOutput;
use crate::output;
use clap::{Args, Subcommand};
use serde_json::json;
use std::process::ExitCode;
use vydra_engine::{CheckedRoute, RouteStanding as Standing};

#[derive(Debug, Subcommand)]
pub enum Models {
    /// Ask each provider whether it still has what the catalogue routes to it
    #[command(
        after_help = "Examples:\n  vydra models check\n  vydra models check --config /etc/vydra.toml --json\n\nExits with 1 when a provider cannot be asked or lacks a model."
    )]
    Check(Check),
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    data: DataAndOutput,
}

impl Models {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Check(command) => command.run().await,
        }
    }
}

/// For a person.
pub fn standing(route: &CheckedRoute) -> String {
    match &route.standing {
        Standing::Listed => "listed".to_owned(),
        Standing::Retires(day) => format!("will be switched off: {day}"),
        Standing::Unknown => "not in the provider's list".to_owned(),
        Standing::Lacks(what) => format!("the provider lacks {}", what.join(", ")),
        Standing::NotTold => "the provider does not tell".to_owned(),
    }
}

impl Check {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let engine = self.data.open_existing().await?;
        let checked = engine.check_providers().await;
        let is_good = checked.iter().all(|provider| {
            let lacks = |route: &CheckedRoute| {
                matches!(route.standing, Standing::Unknown | Standing::Lacks(_))
            };
            provider.answer.is_ok() && !provider.routes.iter().any(lacks)
        });
        if self.data.json {
            let rows: Vec<_> = checked
                .iter()
                .flat_map(|provider| {
                    let error = provider.answer.as_ref().err().map(ToString::to_string);
                    provider.routes.iter().map(move |route| {
                        json!({
                            "model": route.model,
                            "provider": provider.name,
                            "upstream": route.upstream,
                            "standing": standing(route),
                            "error": error,
                        })
                    })
                })
                .collect();
            output::json(&json!({"good": is_good, "data": rows}));
        } else {
            let rows: Vec<Vec<String>> = checked
                .iter()
                .flat_map(|provider| {
                    provider.routes.iter().map(|route| {
                        vec![
                            route.model.clone(),
                            provider.name.clone(),
                            route.upstream.clone(),
                            match &provider.answer {
                                Ok(_) => standing(route),
                                Err(error) => error.to_string(),
                            },
                        ]
                    })
                })
                .collect();
            output::table(&["MODEL", "PROVIDER", "UPSTREAM", "STANDING"], &rows);
            if checked.is_empty() {
                output::line("No provider is set up: docs/providers tells how, one page for each.");
            }
        }
        Ok(if is_good {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
