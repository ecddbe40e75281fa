//! The commands, one file a noun.

mod assets;
mod backup;
mod config;
mod credits;
mod db;
mod dev;
mod doctor;
mod export;
mod import;
mod key;
mod ledger;
mod listen;
mod migrate;
mod models;
mod openapi;
mod org;
mod provider;
mod serve;
mod user;
mod webhook;

use crate::config::{Config, Sources};
use crate::wiring::{self, Purpose};
use anyhow::Context;
use clap::{Args, Subcommand};
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use vydra_engine::{Engine, Error};
use vydra_outbound::secret::Secret;
use vydra_store::transfer::Moved;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start here: a server with made-up data that shows what it does, then serves on
    Dev(dev::Dev),
    /// Serve: the production form, nothing made up
    Serve(serve::Serve),
    /// Organizations: who is billed and limited
    #[command(subcommand)]
    Org(org::Org),
    /// API keys
    #[command(subcommand)]
    Key(key::Key),
    /// People who log in
    #[command(subcommand)]
    User(user::User),
    /// Prepaid credits
    #[command(subcommand)]
    Credits(credits::Credits),
    /// The media files that are kept
    #[command(subcommand)]
    Assets(assets::Assets),
    /// The ledger of all credits
    #[command(subcommand)]
    Ledger(ledger::Ledger),
    /// The database: what is old in it
    #[command(subcommand)]
    Db(db::Db),
    /// Providers: what they were asked, and how they answered
    #[command(subcommand)]
    Provider(provider::Provider),
    /// The models of the catalogue
    #[command(subcommand)]
    Models(models::Models),
    /// Webhooks: the secret that signs them
    #[command(subcommand)]
    Webhook(webhook::Webhook),
    /// Forward the webhooks of a server to a program on this machine, for development
    Listen(listen::Listen),
    /// Copy the SQLite database beside a server that works
    Backup(backup::Backup),
    /// Write all that the database holds, of SQLite or Postgres, to a file that `vydra import` takes
    Export(export::Export),
    /// Read what `vydra export` has written into a new database, of SQLite or Postgres
    Import(import::Import),
    /// Create the database or bring it up to date
    Migrate(migrate::Migrate),
    /// The configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Look for what is wrong with this installation, and say what to do
    Doctor(doctor::Doctor),
    /// Print the OpenAPI document
    #[command(hide = true)]
    Openapi,
}

/// What every command that opens the data takes.
#[derive(Debug, Clone, Args)]
pub struct DataArguments {
    /// Configuration file (TOML); see config.default.toml for every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the database and the media files
    #[arg(long, value_name = "DIR", default_value = "vydra-data")]
    data_dir: PathBuf,
    /// Database, such as sqlite:vydra.db (relative to the data directory), or `postgres://user@host/database`
    #[arg(long, value_name = "URL")]
    database_url: Option<Secret>,
}

/// The same, for commands that print something.
#[derive(Debug, Clone, Args)]
pub struct DataAndOutput {
    #[command(flatten)]
    data: DataArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl DataArguments {
    /// Where the values of the configuration come from, by these flags.
    fn sources(&self) -> Sources {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is where the environment enters"
        )]
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let mut flags = Vec::new();
        if let Some(url) = &self.database_url {
            flags.push(("store.url", url.reveal().to_owned()));
            // A file of the configuration that names another one must not stand against it.
            flags.push(("store.url_file", String::new()));
        }
        Sources {
            file: self.config.clone(),
            data_dir: self.data_dir.clone(),
            environment,
            flags,
            presets: Vec::new(),
        }
    }

    fn load(&self) -> anyhow::Result<Config> {
        Ok(Config::load(&self.sources())?)
    }
}

impl DataAndOutput {
    /// For a command that may be the first one on this data.
    async fn open(&self) -> anyhow::Result<Arc<Engine>> {
        wiring::engine(&self.data.load()?, Purpose::Command).await
    }

    /// For a command that has nothing to show on data that is not there.
    async fn open_existing(&self) -> anyhow::Result<Arc<Engine>> {
        wiring::engine(&self.data.load()?, Purpose::Look).await
    }
}

pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Dev(dev) => block_on(dev.run()),
        Command::Serve(serve) => block_on(serve.run()),
        Command::Org(org) => block_on(org.run()),
        Command::Key(key) => block_on(key.run()),
        Command::User(user) => block_on(user.run()),
        Command::Credits(credits) => block_on(credits.run()),
        Command::Assets(assets) => block_on(assets.run()),
        Command::Ledger(ledger) => block_on(ledger.run()),
        Command::Db(db) => block_on(db.run()),
        Command::Provider(provider) => block_on(provider.run()),
        Command::Models(models) => block_on(models.run()),
        Command::Webhook(webhook) => block_on(webhook.run()),
        Command::Listen(listen) => block_on(listen.run()),
        Command::Backup(backup) => block_on(backup.run()),
        Command::Export(export) => block_on(export.run()),
        Command::Import(import) => block_on(import.run()),
        Command::Migrate(migrate) => block_on(migrate.run()),
        Command::Config(config) => config.run(),
        Command::Doctor(doctor) => block_on(doctor.run()),
        Command::Openapi => openapi::run(),
    }
}

fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?
        .block_on(command)
}

/// What was moved, in the words of an operator.
fn summary(moved: &Moved) -> String {
    format!(
        "{} organizations, {} ledger rows, {} jobs and {} assets, {} rows in all,",
        moved.of("organizations"),
        moved.of("ledger"),
        moved.of("jobs"),
        moved.of("assets"),
        moved.rows()
    )
}

/// The engine's refusals, as sentences for the person at the terminal.
fn told(error: Error) -> anyhow::Error {
    match error {
        Error::InvalidInput {
            sentence, allowed, ..
        } if allowed.is_empty() => anyhow::anyhow!(sentence),
        Error::InvalidInput {
            sentence, allowed, ..
        } => anyhow::anyhow!("{sentence}. Possible: {}", allowed.join(", ")),
        Error::NameTaken(name) => anyhow::anyhow!(
            "there is already an organization named {name:?}; `vydra org show --org {name}` shows it"
        ),
        Error::EmailTaken(email) => anyhow::anyhow!(
            "there is already a user with the email {email:?}; `vydra user add` lets them into another organization, and `vydra user set-password` gives a new password"
        ),
        Error::NotFound { what } => anyhow::anyhow!("there is no {what}"),
        other => anyhow::Error::new(other),
    }
}
