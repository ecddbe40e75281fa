use super::{DataAndOutput, told};
use crate::config::Span;
use crate::output;
use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::process::ExitCode;
use vydra_core::api_key::ApiKey;
use vydra_core::ids::KeyId;
use vydra_core::job::Mode;
use vydra_core::time::{Clock, Timestamp};
use vydra_engine::{MAX_OVERLAP, NewKey};

#[derive(Debug, Subcommand)]
pub enum Key {
    /// Create a key; it is shown this once
    #[command(
        after_help = "Examples:\n  vydra key create --org acme --name backend\n  vydra key create --org acme --scope models:read --scope jobs:read --expires-in-days 30\n  vydra key create --org acme --test --json | jq -r .key"
    )]
    Create(Create),
    /// List the keys of an organization
    List(List),
    /// Revoke a key: it holds from the next request on
    #[command(after_help = "Example:\n  vydra key revoke key_01jd3x0v8kq6w5r4t3y2z1a0bc")]
    Revoke(Revoke),
    /// Replace a key by a new one that may do the same; it is shown this once
    #[command(
        after_help = "Examples:\n  vydra key rotate key_01jd3x0v8kq6w5r4t3y2z1a0bc\n  vydra key rotate key_01jd3x0v8kq6w5r4t3y2z1a0bc --overlap 24h --json | jq -r .key"
    )]
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub struct Create {
    /// Id or name of the organization
    #[arg(long)]
    org: String,
    /// What the key is for
    #[arg(long, default_value = "default")]
    name: String,
    /// What it may do, such as models:write; may be given several times [default: *]
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Days until it expires; 0 makes one that has expired
    #[arg(long, value_name = "DAYS")]
    expires_in_days: Option<u32>,
    /// A key for the sandbox: own credits, no provider, nothing to pay
    #[arg(long)]
    test: bool,
    #[command(flatten)]
    data: DataAndOutput,
}

#[derive(Debug, Args)]
pub struct List {
    /// Id or name of the organization
    #[arg(long)]
    org: String,
    #[command(flatten)]
    data: DataAndOutput,
}

#[derive(Debug, Args)]
pub struct Revoke {
    /// The key's id (not the key itself)
    #[arg(value_name = "KEY_ID")]
    key_id: String,
    #[command(flatten)]
    data: DataAndOutput,
}

#[derive(Debug, Args)]
pub struct Rotate {
    /// The id of the key to replace (not the key itself)
    #[arg(value_name = "KEY_ID")]
    key_id: String,
    /// How long the old key lives on, such as 24h; a week at most
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    overlap: Span,
    #[command(flatten)]
    data: DataAndOutput,
}

impl Key {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Create(command) => command.run().await,
            Self::List(command) => command.run().await,
            Self::Revoke(command) => command.run().await,
            Self::Rotate(command) => command.run().await,
        }
    }
}

fn key_id(text: &str) -> anyhow::Result<KeyId> {
    KeyId::parse(text).ok_or_else(|| {
        anyhow!(
            "{text:?} is no key id; they look like key_01jd…, and `vydra key list --org ORG` shows them"
        )
    })
}

fn describe(key: &ApiKey, now: Timestamp) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "keyPrefix": key.shown_prefix,
        "mode": key.mode,
        "scopes": key.scopes,
        "isActive": key.is_active(now),
        "expiresAt": key.expires_at,
        "lastUsedAt": key.last_used_at,
        "requestCount": key.request_count,
        "createdAt": key.created_at,
        "revokedAt": key.revoked_at,
        "requestCount": key.request_count,
        "lastUsedAt": key.last_used_at,
    })
}

fn state(key: &ApiKey, now: Timestamp) -> &'static str {
    if key.revoked_at.is_some() {
        "revoked"
    } else if key.is_expired(now) {
        "expired"
    } else {
        "active"
    }
}

impl Create {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let engine = self.data.open_existing().await?;
        let organization = engine.find_organization(&self.org).await.map_err(told)?;
        let scopes = if self.scopes.is_empty() {
            vec!["*".to_owned()]
        } else {
            self.scopes
        };
        let mode = if self.test { Mode::Test } else { Mode::Live };
        let new = NewKey {
            organization: organization.id,
            name: self.name,
            scopes,
            expires_in_days: self.expires_in_days,
            mode,
        };
        let created = engine.create_key(new).await.map_err(told)?;
        if self.data.json {
            let mut value = describe(&created.key, created.key.created_at);
            value["key"] = json!(created.secret.reveal());
            output::json(&value);
        } else {
            output::line(&format!("{}  {}", created.key.id, created.key.name));
            output::line(&format!("  key     {}", created.secret.reveal()));
            output::line("  This is the only time that it is shown.");
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let engine = self.data.open_existing().await?;
        let organization = engine.find_organization(&self.org).await.map_err(told)?;
        let keys = engine.keys(&organization.id).await.map_err(told)?;
        let now = crate::system::SystemClock.now();
        if self.data.json {
            let data: Vec<Value> = keys.iter().map(|key| describe(key, now)).collect();
            output::json(&json!({"data": data, "count": data.len()}));
        } else if keys.is_empty() {
            output::line(&format!(
                "{} has no keys yet: vydra key create --org {}",
                organization.name, organization.name
            ));
        } else {
            let rows: Vec<Vec<String>> = keys
                .iter()
                .map(|key| {
                    vec![
                        key.id.to_string(),
                        key.name.clone(),
                        key.mode.as_str().to_owned(),
                        state(key, now).to_owned(),
                        key.scopes.words().join(" "),
                        key.created_at.to_string(),
                    ]
                })
                .collect();
            output::table(&["ID", "NAME", "MODE", "STATE", "SCOPES", "CREATED"], &rows);
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Revoke {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let id = key_id(&self.key_id)?;
        let engine = self.data.open_existing().await?;
        let key = engine.revoke_key(&id).await.map_err(told)?;
        if self.data.json {
            output::json(&describe(&key, crate::system::SystemClock.now()));
        } else {
            output::line(&format!("{} is revoked.", key.id));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Rotate {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let id = key_id(&self.key_id)?;
        let engine = self.data.open_existing().await?;
        if self.overlap.0 > MAX_OVERLAP {
            bail!(
                "an overlap is {} hours at most",
                MAX_OVERLAP.as_secs() / 3_600
            );
        }
        let rotated = engine.rotate_key(&id, self.overlap.0).await.map_err(told)?;
        let (created, old) = (rotated.created, rotated.old);
        let now = created.key.created_at;
        if self.data.json {
            let mut value = describe(&created.key, now);
            value["key"] = json!(created.secret.reveal());
            value["replaces"] = describe(&old, now);
            output::json(&value);
        } else {
            output::line(&format!("{}  {}", created.key.id, created.key.name));
            output::line(&format!("  key     {}", created.secret.reveal()));
            output::line("  This is the only time that it is shown.");
            match old.expires_at {
                Some(end) if !old.is_expired(now) => {
                    output::line(&format!("  {} is good until {end}.", old.id));
                }
                _ => output::line(&format!("  {} has ended.", old.id)),
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
