//! The real program on data of its own.

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use vydra_testkit::Database;
use vydra_testkit::postgres::{Options, Postgres};
use vydra_testkit::wire::Wire;

const DATABASE: &str = "VYDRA__STORE__URL";
const LISTENING: &str = "listening on ";
/// No start and no stop takes this long.
const PATIENCE: Duration = Duration::from_mins(1);
/// No limit is to stop what is proved.
const MANY: &str = "100000000";

/// A data directory, and the program that works on it.
#[derive(Debug, Clone)]
pub(crate) struct Data {
    binary: PathBuf,
    folder: PathBuf,
    environment: Vec<(&'static str, String)>,
    /// The server that keeps the database, and its address; without it that is a file.
    postgres: Option<(Arc<Postgres>, String)>,
}

impl Data {
    pub(crate) fn new(binary: &Path, folder: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            folder: folder.to_owned(),
            environment: Vec::new(),
            postgres: None,
        }
    }

    /// With a database on a server of its own, which keeps what it has committed.
    pub(crate) fn on_postgres(mut self) -> anyhow::Result<Self> {
        let server = Postgres::start(Options { is_durable: true });
        let server = server.context("there are no programs of Postgres")?;
        let url = server.database();
        self.postgres = Some((Arc::new(server), url.clone()));
        Ok(self.with(DATABASE, url))
    }

    /// Another server on the same database, with a folder of its own.
    pub(crate) fn beside(&self, name: &str) -> anyhow::Result<Self> {
        let mut beside = self.clone();
        beside.folder = self.folder.join(name);
        std::fs::create_dir_all(&beside.folder)?;
        Ok(beside)
    }

    /// It reaches its database over this wire.
    pub(crate) fn over(self, wire: &Wire) -> Self {
        match &self.postgres {
            Some((_, url)) => {
                let address = wire.address(url);
                self.with(DATABASE, address)
            }
            None => self,
        }
    }

    pub(crate) fn postgres(&self) -> Option<&Arc<Postgres>> {
        self.postgres.as_ref().map(|(server, _)| server)
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    pub(crate) fn database(&self) -> Database {
        match &self.postgres {
            Some((_, url)) => Database::Postgres(url.clone()),
            None => Database::Sqlite(self.folder.join("vydra.db")),
        }
    }

    /// What a server keeps goes with it; this writes it into the folder.
    pub(crate) fn keep_database(&self) {
        if let Some((server, url)) = &self.postgres {
            // A server that is gone keeps it to itself.
            let _ = server.dump(url, &self.folder.join("vydra.sql"));
        }
    }

    pub(crate) fn media(&self) -> PathBuf {
        self.folder.join("media")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(words)
            .arg("--data-dir")
            .arg(&self.folder)
            .current_dir(&self.folder)
            .env("VYDRA__PROVIDERS__LOCAL__ENABLED", "true")
            // Jobs that are never heard of again hold a place each: those that this loses must not take all of them.
            .env("VYDRA__WORKER__CONCURRENCY", "8192")
            .env("VYDRA__LOG__LEVEL", "error")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// What a command that must succeed prints.
    pub(crate) async fn run(&self, words: &[&str]) -> anyhow::Result<Value> {
        let output = self
            .command(&[words, &["--json"]].concat())
            .output()
            .await?;
        ensure!(
            output.status.success(),
            "vydra {}: {}{}",
            words.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// An organization that nothing stops but its credits, and its test key.
    pub(crate) async fn customer(&self, name: &str) -> anyhow::Result<String> {
        // A file is made by whatever needs it.
        if self.postgres.is_some() {
            self.run(&["migrate"]).await?;
        }
        self.run(&["org", "create", "--name", name, "--plan", "enterprise"])
            .await?;
        self.run(&[
            "org",
            "set-plan",
            "--org",
            name,
            "--plan",
            "enterprise",
            "--rpm",
            MANY,
            "--rph",
            MANY,
            "--rpd",
            MANY,
            "--concurrent",
            MANY,
        ])
        .await?;
        let key = self
            .run(&["key", "create", "--org", name, "--name", name, "--test"])
            .await?;
        let key = key["key"].as_str().context("a new key shows no secret")?;
        Ok(key.to_owned())
    }

    /// Credits for the sandbox, with a reason by which the row can be found.
    pub(crate) async fn grant(&self, org: &str, amount: u64, reason: &str) -> anyhow::Result<()> {
        let amount = amount.to_string();
        self.run(&[
            "credits", "grant", "--org", org, "--test", "--amount", &amount, "--reason", reason,
        ])
        .await?;
        Ok(())
    }

    /// The product's own look at the books.
    pub(crate) async fn audit(&self) -> anyhow::Result<()> {
        self.run(&["ledger", "audit"]).await?;
        Ok(())
    }

    pub(crate) async fn serve(&self) -> anyhow::Result<Server> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("server.log"))?;
        let mut child = self
            .command(&["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("the server cannot be started")?;
        let output = child.stdout.take().context("a server without an output")?;
        let mut line = String::new();
        let mut lines = BufReader::new(output);
        timeout(PATIENCE, lines.read_line(&mut line))
            .await
            .context("the server does not start")??;
        let Some((_, url)) = line.trim().rsplit_once(LISTENING) else {
            bail!(
                "the server did not start; see {}",
                self.folder.join("server.log").display()
            );
        };
        Ok(Server {
            url: url.to_owned(),
            child,
            _lines: lines,
        })
    }
}

/// Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: String,
    child: Child,
    /// Held open: a server that cannot print would end by itself.
    _lines: BufReader<tokio::process::ChildStdout>,
}

impl Server {
    pub(crate) fn process(&self) -> anyhow::Result<u32> {
        self.child.id().context("the server has ended by itself")
    }

    /// As a loss of power would, but for the disk's own memory.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        ensure!(
            self.child.try_wait()?.is_none(),
            "the server has ended by itself"
        );
        self.child.kill().await?;
        Ok(())
    }

    /// As an operator stops it.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let process = self.process()?;
        let asked = Command::new("kill")
            .args(["-TERM", &process.to_string()])
            .status()
            .await?;
        ensure!(asked.success(), "the server cannot be asked to stop");
        let ended = timeout(PATIENCE, self.child.wait())
            .await
            .context("the server does not stop")??;
        ensure!(ended.success(), "the server stopped with {ended}");
        Ok(())
    }
}
