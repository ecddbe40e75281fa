use super::DataAndOutput;
use crate::caller::failure::{EXIT_CODES, Failure};
use crate::caller::purchase::{Product, Purchase};
use crate::caller::{Caller, value};
use crate::output;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use vydra_client::ModelFilter;
use vydra_client::types::Model;
use vydra_engine::{CheckedRoute, RouteStanding as Standing};

/// Before the path of a model, in its endpoint.
const MODELS: &str = "/models/";

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  vydra models                     what the server has, and what each costs\n  vydra models --kind video\n  vydra models show flux-edit      what it takes\n  vydra models check               for operators, on the server's configuration"
)]
pub struct Models {
    /// Only those that make this
    #[arg(long, value_parser = ["image", "video", "audio"])]
    kind: Option<String>,
    /// Only those of this provider
    #[arg(long)]
    provider: Option<String>,
    #[command(flatten)]
    caller: Caller,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show a model: what it takes and what it costs
    #[command(after_help = "Example:\n  vydra models show flux-edit")]
    Show(Show),
    /// Call a model that has an endpoint
    #[command(after_help = format!("Examples:
  vydra models run flux-edit -i imageUrl=house.png -i prompt=\"winter\" -i numImages=2 -o winter/
  vydra models run nano-banana -i prompt=\"a banana in a spacesuit\" --dry-run

A file that is given for a field whose name ends in `url` is sent in first.

{EXIT_CODES}"))]
    Run(Run),
    /// For operators: ask each provider whether it still has what the catalogue routes to it
    #[command(
        after_help = "Examples:\n  vydra models check\n  vydra models check --config /etc/vydra.toml --json\n\nExits with 1 when a provider cannot be asked or lacks a model."
    )]
    Check(Check),
}

#[derive(Debug, Args)]
pub struct Show {
    /// The model, by its name in the list
    model: String,
    #[command(flatten)]
    caller: Caller,
}

#[derive(Debug, Args)]
pub struct Run {
    /// The model, by its name in the list or by its path
    model: String,
    #[command(flatten)]
    purchase: Purchase,
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    data: DataAndOutput,
}

impl Models {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        Ok(match &self.command {
            None => self.caller.end(self.list().await),
            Some(Command::Show(command)) => command.caller.end(command.run().await),
            Some(Command::Run(command)) => command.purchase.caller.end(command.run().await),
            Some(Command::Check(command)) => command.run().await?,
        })
    }

    async fn list(&self) -> Result<(), Failure> {
        let filter = ModelFilter {
            provider: self.provider.clone(),
            ..ModelFilter::default()
        };
        let mut models = self.caller.client()?.models().list(&filter).await?.data;
        if let Some(kind) = &self.kind {
            let makes = |model: &Model| {
                model.kind == *kind || model.variants.iter().any(|variant| variant.kind == *kind)
            };
            models.retain(makes);
        }
        if self.caller.json {
            output::json(&json!({"count": models.len(), "data": value(&models)?}));
            return Ok(());
        }
        let rows: Vec<Vec<String>> = models
            .iter()
            .map(|model| {
                let path = model.endpoint.as_deref().map_or("-", path);
                vec![
                    output::clean(&model.slug),
                    model.kind.clone(),
                    prices(model),
                    output::clean(path),
                    output::clean(&model.description),
                ]
            })
            .collect();
        output::table(&["MODEL", "KIND", "CREDITS", "PATH", "WHAT IT DOES"], &rows);
        Ok(())
    }
}

/// Where it is called.
fn path(endpoint: &str) -> &str {
    endpoint.strip_prefix(MODELS).unwrap_or(endpoint)
}

/// One for each unit; the least first.
fn prices(model: &Model) -> String {
    let mut all = vec![model.credits_per_unit];
    all.extend(
        model
            .variants
            .iter()
            .map(|variant| variant.credits_per_unit),
    );
    all.sort_unstable();
    all.dedup();
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    format!("{} / {}", all.join(" or "), model.pricing_unit)
}

impl Show {
    async fn run(&self) -> Result<(), Failure> {
        let model = self.caller.client()?.models().get(&self.model).await?;
        if self.caller.json {
            output::json(&value(&model)?);
            return Ok(());
        }
        output::line(&format!("{}  {}", model.slug, output::clean(&model.name)));
        output::line(&format!("  {}", output::clean(&model.description)));
        let path = model
            .endpoint
            .as_deref()
            .map_or("none: only workflows use it", path);
        for (name, text) in [
            ("makes", model.kind.as_str()),
            ("credits", &prices(&model)),
            ("path", path),
            ("provider", &model.provider),
        ] {
            output::line(&format!("  {name:<9} {}", output::clean(text)));
        }
        let nothing = Map::new();
        let fields = model.input_schema.get("properties");
        let fields = fields.and_then(Value::as_object).unwrap_or(&nothing);
        let required = model.input_schema.get("required").and_then(Value::as_array);
        let is_required =
            |name: &str| required.is_some_and(|all| all.iter().any(|one| one == name));
        output::line("");
        let rows: Vec<Vec<String>> = fields
            .iter()
            .map(|(name, schema)| {
                let mark = if is_required(name) { "*" } else { "" };
                vec![
                    output::clean(&format!("{name}{mark}")),
                    schema["type"].as_str().unwrap_or_default().to_owned(),
                    output::clean(&possible(schema)),
                    output::clean(schema["description"].as_str().unwrap_or_default()),
                ]
            })
            .collect();
        output::table(
            &["INPUT (* needed)", "TYPE", "POSSIBLE", "WHAT IT IS"],
            &rows,
        );
        Ok(())
    }
}

/// The values that a field can have, as far as the schema bounds them, and its default.
fn possible(schema: &Value) -> String {
    let plain = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let mut parts = Vec::new();
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(plain).collect();
        parts.push(values.join(" "));
    }
    match (schema.get("minimum"), schema.get("maximum")) {
        (Some(least), Some(most)) => parts.push(format!("{least} to {most}")),
        (Some(least), None) => parts.push(format!("at least {least}")),
        (None, Some(most)) => parts.push(format!("at most {most}")),
        (None, None) => {}
    }
    parts.extend(
        schema
            .get("default")
            .map(|value| format!("[{}]", plain(value))),
    );
    parts.join(" ")
}

impl Run {
    async fn run(&self) -> Result<(), Failure> {
        let input = self.purchase.input()?;
        // As the catalogue writes it, or as it is in the list.
        let named = path(&self.model);
        let path = if named.contains('/') {
            named.to_owned()
        } else {
            let model = self.purchase.caller.client()?.models().get(named).await?;
            let Some(endpoint) = &model.endpoint else {
                return Err(Failure::usage(format!(
                    "{} has no endpoint: only workflows use it",
                    self.model
                ))
                .advise("`vydra jobs create --help` tells how a workflow is started."));
            };
            path(endpoint).to_owned()
        };
        self.purchase.run(Product::Model(path), input).await
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
    async fn run(&self) -> anyhow::Result<ExitCode> {
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
