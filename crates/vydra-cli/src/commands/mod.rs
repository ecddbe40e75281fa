//! The commands, one file a noun.

mod assets;
mod backup;
mod completion;
mod config;
mod credits;
mod db;
mod dev;
mod doctor;
mod export;
mod generate;
mod import;
mod jobs;
mod key;
mod ledger;
mod listen;
mod login;
mod migrate;
mod models;
mod openapi;
mod org;
mod provider;
mod quote;
mod serve;
mod upload;
mod usage;
mod user;
mod webhook;

use crate::caller::failure::EXIT_CODES;
use crate::config::{Config, Sources};
use crate::wiring::{self, Purpose};
use anyhow::Context;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::runtime::Runtime;
use vydra_engine::{Engine, Error};
use vydra_outbound::secret::Secret;
use vydra_store::transfer::Moved;

/// Many AI models behind one metered API, self-hosted.
#[derive(Debug, Parser)]
#[command(
    name = "vydra",
    version,
    after_help = "Examples for callers:
  vydra login https://api.example.com                 who you are there; it asks for the key
  vydra generate image \"a fox in the snow\" -o fox.png
  vydra generate video \"waves at night\" --dry-run     what it would cost
  vydra jobs list                                     what was made, and what it cost

Examples for operators:
  vydra dev                                           start here: a server that shows what it does
  vydra serve --config /etc/vydra.toml                the production form
  vydra org create --name acme --credits 1000         make a customer
  vydra key create --org acme --name backend          and a key for it
  vydra ledger audit                                  prove that the books agree

`vydra COMMAND --help` has more of them, `vydra generate --help` the exit codes."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(flatten)]
    Caller(ForCallers),
    #[command(flatten)]
    Operator(ForOperators),
}

/// What whoever has a key does with a server, wherever it is.
#[derive(Debug, Subcommand)]
pub enum ForCallers {
    /// Say once which server to use, and with which key
    Login(login::Login),
    /// Forget them
    Logout(login::Logout),
    /// Make an image, a video or speech
    #[command(subcommand, after_help = EXIT_CODES)]
    Generate(generate::Generate),
    /// Jobs: every generation is one
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    /// The models of the server, and what they cost; for operators, `models check`
    Models(models::Models),
    /// What a call would cost
    Quote(quote::Quote),
    /// Prepaid credits: how many are left; for operators, `credits grant`
    Credits(credits::Credits),
    /// What was used, by day, model or key
    Usage(usage::Usage),
    /// Send a file in, to be used as an input
    Upload(upload::Upload),
    /// Forward the webhooks of a server to a program on this machine, for development
    Listen(listen::Listen),
    /// Print the completions of a shell
    Completion(completion::Completion),
}

/// What whoever runs a server does on its machine, with its database.
#[derive(Debug, Subcommand)]
pub enum ForOperators {
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
    /// Webhooks: the secret that signs them
    #[command(subcommand)]
    Webhook(webhook::Webhook),
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

/// What was typed; whoever asks for help or typed something wrong is told so here.
pub fn parse() -> Command {
    let matches = command_line().get_matches();
    match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments.command,
        Err(error) => error.exit(),
    }
}

/// All of the command line, its help in two parts: clap knows one list of commands only.
fn command_line() -> clap::Command {
    let plain = Arguments::command();
    let heading = *plain.get_styles().get_header();
    let name = *plain.get_styles().get_literal();
    let list = |title: &str, commands: clap::Command| {
        let shown = commands
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        let lines = shown.map(|command| {
            let about = command.get_about().map(ToString::to_string);
            format!(
                "  {name}{:<10}{name:#}  {}",
                command.get_name(),
                about.unwrap_or_default()
            )
        });
        let lines: Vec<String> = lines.collect();
        format!("{heading}{title}:{heading:#}\n{}", lines.join("\n"))
    };
    let callers = list(
        "Commands for callers, with any server",
        ForCallers::augment_subcommands(clap::Command::new("")),
    );
    let operators = list(
        "Commands for operators, on the server's machine",
        ForOperators::augment_subcommands(clap::Command::new("")),
    );
    let options = format!("{heading}Options:{heading:#}");
    plain.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{callers}\n\n{operators}\n\n{options}\n{{options}}{{after-help}}"
    ))
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
        Command::Caller(command) => {
            let runtime = runtime()?;
            let code = runtime.block_on(call(command));
            // A thread that writes to a reader who does not read, or reads a key that nobody types, ends with the program.
            runtime.shutdown_background();
            code
        }
        Command::Operator(command) => operate(command),
    }
}

async fn call(command: ForCallers) -> anyhow::Result<ExitCode> {
    match command {
        ForCallers::Login(login) => login.run().await,
        ForCallers::Logout(logout) => Ok(logout.run()),
        ForCallers::Generate(generate) => generate.run().await,
        ForCallers::Jobs(jobs) => jobs.run().await,
        ForCallers::Models(models) => models.run().await,
        ForCallers::Quote(quote) => quote.run().await,
        ForCallers::Credits(credits) => credits.run().await,
        ForCallers::Usage(usage) => usage.run().await,
        ForCallers::Upload(upload) => upload.run().await,
        ForCallers::Listen(listen) => listen.run().await,
        ForCallers::Completion(completion) => Ok(completion.run()),
    }
}

fn operate(command: ForOperators) -> anyhow::Result<ExitCode> {
    match command {
        ForOperators::Dev(dev) => block_on(dev.run()),
        ForOperators::Serve(serve) => block_on(serve.run()),
        ForOperators::Org(org) => block_on(org.run()),
        ForOperators::Key(key) => block_on(key.run()),
        ForOperators::User(user) => block_on(user.run()),
        ForOperators::Assets(assets) => block_on(assets.run()),
        ForOperators::Ledger(ledger) => block_on(ledger.run()),
        ForOperators::Db(db) => block_on(db.run()),
        ForOperators::Provider(provider) => block_on(provider.run()),
        ForOperators::Webhook(webhook) => block_on(webhook.run()),
        ForOperators::Backup(backup) => block_on(backup.run()),
        ForOperators::Export(export) => block_on(export.run()),
        ForOperators::Import(import) => block_on(import.run()),
        ForOperators::Migrate(migrate) => block_on(migrate.run()),
        ForOperators::Config(config) => config.run(),
        ForOperators::Doctor(doctor) => block_on(doctor.run()),
        ForOperators::Openapi => openapi::run(),
    }
}

fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(command)
}

fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")
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
