use super::{DataAndOutput, told};
use crate::config::Span;
use crate::output;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;
use vydra_core::credits::Credits;
use vydra_core::organization::Organization;
use vydra_core::plan::LimitOverrides;
use vydra_engine::{Engine, NewOrganizationRequest};

#[derive(Debug, Subcommand)]
pub enum Org {
    /// Create an organization
    #[command(
        after_help = "Examples:\n  vydra org create --name acme --plan creator --credits 5000\n  vydra org create --name acme --json | jq -r .id"
    )]
    Create(Create),
    /// List all organizations
    List(List),
    /// Show one organization
    Show(Show),
    /// Put an organization on a plan, with limits of its own if given
    #[command(
        after_help = "Examples:\n  vydra org set-plan --org acme --plan starter\n  vydra org set-plan --org acme --plan enterprise --rpm 12000 --concurrent 500"
    )]
    SetPlan(SetPlan),
    /// Say how long an organization's media files are kept
    #[command(
        after_help = "What is older is deleted: results, uploads, and what jobs that have ended took in. It begins within a minute and cannot be taken back.\n\nExamples:\n  vydra org set-retention --org acme --keep-assets 30d\n  vydra org set-retention --org acme --keep-assets forever"
    )]
    SetRetention(SetRetention),
}

#[derive(Debug, Args)]
pub struct Create {
    /// A name that no other organization has
    #[arg(long)]
    name: String,
    /// One of the plans of the configuration
    #[arg(long, default_value = "free")]
    plan: String,
    /// Credits to start with
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    credits: i64,
    #[command(flatten)]
    data: DataAndOutput,
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    data: DataAndOutput,
}

#[derive(Debug, Args)]
pub struct Show {
    /// Id or name
    #[arg(long)]
    org: String,
    #[command(flatten)]
    data: DataAndOutput,
}

#[derive(Debug, Args)]
pub struct SetPlan {
    /// Id or name
    #[arg(long)]
    org: String,
    /// One of the plans of the configuration
    #[arg(long)]
    plan: String,
    /// Requests a minute, instead of the plan's
    #[arg(long)]
    rpm: Option<u32>,
    /// Requests an hour, instead of the plan's
    #[arg(long)]
    rph: Option<u32>,
    /// Requests a day, instead of the plan's
    #[arg(long)]
    rpd: Option<u32>,
    /// Jobs at once, instead of the plan's
    #[arg(long)]
    concurrent: Option<u32>,
    #[command(flatten)]
    data: DataAndOutput,
}

#[derive(Debug, Args)]
pub struct SetRetention {
    /// Id or name
    #[arg(long)]
    org: String,
    /// Such as 30d or 12h, at least 1h; or forever
    #[arg(long, value_name = "SPAN")]
    keep_assets: Keep,
    #[command(flatten)]
    data: DataAndOutput,
}

/// A span, or for ever.
#[derive(Debug, Clone, Copy)]
struct Keep(Option<Duration>);

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self(None));
        }
        let span: Span = text
            .parse()
            .map_err(|told| format!("{told}, and not forever"))?;
        Ok(Self(Some(span.0)))
    }
}

impl Org {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create(command) => command.run().await,
            Self::List(command) => command.run().await,
            Self::Show(command) => command.run().await,
            Self::SetPlan(command) => command.run().await,
            Self::SetRetention(command) => command.run().await,
        }
    }
}

fn describe(engine: &Engine, organization: &Organization) -> Value {
    let limits = engine.limits_of(organization);
    json!({
        "id": organization.id,
        "name": organization.name,
        "plan": organization.plan,
        "limits": limits,
        "credits": organization.live_credits,
        "testCredits": organization.test_credits,
        "billingEmail": organization.billing_email,
        "keepAssetsSeconds": organization.keep_assets.map(|span| span.as_secs()),
        "createdAt": organization.created_at,
        "updatedAt": organization.updated_at,
    })
}

fn show(engine: &Engine, organization: &Organization, as_json: bool) {
    if as_json {
        return output::json(&describe(engine, organization));
    }
    let limits = engine.limits_of(organization);
    output::line(&format!("{}  {}", organization.id, organization.name));
    output::line(&format!(
        "  plan      {} ({} a minute, {} an hour, {} a day, {} jobs at once)",
        organization.plan, limits.rpm, limits.rph, limits.rpd, limits.concurrent
    ));
    output::line(&format!(
        "  credits   {} live, {} test",
        organization.live_credits, organization.test_credits
    ));
    output::line(&format!(
        "  files     kept {}",
        organization
            .keep_assets
            .map_or_else(|| "for ever".to_owned(), told_span)
    ));
    if let Some(email) = &organization.billing_email {
        output::line(&format!("  bills to  {email}"));
    }
    output::line(&format!("  created   {}", organization.created_at));
}

/// In days where that is exact.
fn told_span(span: Duration) -> String {
    let seconds = span.as_secs();
    match (seconds % 86_400, seconds % 3_600) {
        (0, _) => format!("{} days", seconds / 86_400),
        (_, 0) => format!("{} hours", seconds / 3_600),
        _ => format!("{seconds} seconds"),
    }
}

impl Create {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let engine = self.data.open().await?;
        let credits = Credits::new(self.credits).unwrap_or_default();
        let new = NewOrganizationRequest {
            name: self.name,
            plan: self.plan,
            credits,
        };
        let organization = engine.create_organization(new).await.map_err(told)?;
        show(&engine, &organization, self.data.json);
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let engine = self.data.open_existing().await?;
        let organizations = engine.organizations().await.map_err(told)?;
        if self.data.json {
            let data: Vec<Value> = organizations
                .iter()
                .map(|organization| describe(&engine, organization))
                .collect();
            output::json(&json!({"data": data, "count": data.len()}));
        } else if organizations.is_empty() {
            output::line("There are no organizations yet: vydra org create --name NAME");
        } else {
            let rows: Vec<Vec<String>> = organizations
                .into_iter()
                .map(|org| {
                    vec![
                        org.id.to_string(),
                        org.name,
                        org.plan,
                        org.live_credits.to_string(),
                        org.test_credits.to_string(),
                    ]
                })
                .collect();
            output::table(&["ID", "NAME", "PLAN", "CREDITS", "TEST CREDITS"], &rows);
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let engine = self.data.open_existing().await?;
        let organization = engine.find_organization(&self.org).await.map_err(told)?;
        show(&engine, &organization, self.data.json);
        Ok(ExitCode::SUCCESS)
    }
}

impl SetPlan {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let engine = self.data.open_existing().await?;
        let organization = engine.find_organization(&self.org).await.map_err(told)?;
        let overrides = LimitOverrides {
            rpm: self.rpm,
            rph: self.rph,
            rpd: self.rpd,
            concurrent: self.concurrent,
        };
        let organization = engine
            .set_plan(&organization.id, &self.plan, overrides)
            .await
            .map_err(told)?;
        show(&engine, &organization, self.data.json);
        Ok(ExitCode::SUCCESS)
    }
}

impl SetRetention {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let engine = self.data.open_existing().await?;
        let organization = engine.find_organization(&self.org).await.map_err(told)?;
        let organization = engine
            .set_retention(&organization.id, self.keep_assets.0)
            .await
            .map_err(told)?;
        show(&engine, &organization, self.data.json);
        Ok(ExitCode::SUCCESS)
    }
}
