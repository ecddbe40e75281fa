//! The subject: the real binary, on data of its own, on a real disk.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{load, system};

/// Before the address, in the first line of the server.
const LISTENING: &str = "listening on http://";
const CONFIG: &str = "bench.toml";
pub const DATABASE: &str = "vydra.db";
/// The plan of every organization of the bench.
pub const PLAN: &str = "bench";
/// What no measurement reaches.
pub const UNLIMITED: u32 = u32::MAX;

/// What differs between the servers of the bench; all else is as it ships.
#[derive(Debug, Clone)]
pub struct Setting {
    pub concurrency: usize,
    /// Whether the local provider serves, and answers at once.
    pub instant: bool,
    pub minute: u32,
    pub hour: u32,
    pub day: u32,
    pub log: Option<String>,
    /// None: a database of its own, in a file beside its other data.
    pub database: Option<String>,
}

impl Setting {
    fn text(&self) -> String {
        let Self {
            concurrency,
            minute,
            hour,
            day,
            ..
        } = self;
        let mut text = format!(
            "[worker]\nconcurrency = {concurrency}\n[plans.{PLAN}]\nrpm = {minute}\nrph = {hour}\nrpd = {day}\nconcurrent = {UNLIMITED}\n"
        );
        if self.instant {
            text.push_str("[providers.local]\nenabled = true\ninstant = true\n");
        }
        if let Some(url) = &self.database {
            let _ = writeln!(text, "[store]\nurl = {url:?}");
        }
        if let Some(level) = &self.log {
            let _ = writeln!(text, "[log]\nlevel = {level:?}");
        }
        text
    }
}

/// A data directory.
#[derive(Debug)]
pub struct Data {
    folder: TempDir,
    binary: Arc<Path>,
}

impl Data {
    /// A new one in `place`, in which nothing is yet.
    pub fn new(place: &Path, binary: &Arc<Path>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("data-")
            .tempdir_in(place)
            .context("no folder for the data can be made")?;
        Ok(Self {
            folder,
            binary: Arc::clone(binary),
        })
    }

    /// The same database in a folder of its own. No process may have it open.
    pub fn copy(&self, place: &Path) -> anyhow::Result<Self> {
        let copy = Self::new(place, &self.binary)?;
        let target = copy.path(DATABASE);
        fs::copy(self.path(DATABASE), &target)?;
        // Else the first commit of the measurement would take all of it to the disk.
        fs::File::open(target)?.sync_all()?;
        Ok(copy)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn configure(&self, setting: &Setting) -> anyhow::Result<()> {
        fs::write(self.path(CONFIG), setting.text()).context("the configuration cannot be written")
    }

    fn vydra(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&*self.binary);
        command
            .args(words)
            .arg("--data-dir")
            .arg(self.folder.path())
            .arg("--config")
            .arg(self.path(CONFIG))
            // What somebody's shell sets must not change the figures.
            .env_clear()
            .stdin(Stdio::null());
        command
    }

    /// What a command of the binary prints that must succeed.
    pub fn json(&self, words: &[&str]) -> anyhow::Result<Value> {
        let output = self
            .vydra(&[words, &["--json"]].concat())
            .output()
            .context("the binary does not start")?;
        ensure!(
            output.status.success(),
            "`vydra {}`: {}{}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr),
            // What is wrong stands in the answer, of the books for example.
            String::from_utf8_lossy(&output.stdout)
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub fn audit(&self) -> anyhow::Result<()> {
        self.json(&["ledger", "audit"])
            .context("the books do not agree after the measurement")?;
        Ok(())
    }

    pub fn open(&self) -> anyhow::Result<Connection> {
        Connection::open(self.path(DATABASE)).context("the database cannot be opened")
    }

    pub fn look(&self) -> anyhow::Result<Connection> {
        Connection::open_with_flags(self.path(DATABASE), OpenFlags::SQLITE_OPEN_READ_ONLY)
            .context("the database cannot be read")
    }

    pub fn serve(&self) -> anyhow::Result<Server> {
        let log = fs::File::create(self.path("server.log"))?;
        let begin = Instant::now();
        let child = self
            .vydra(&["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("the binary does not start")?;
        let mut server = Server {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            started: Duration::ZERO,
        };
        let stdout = server.child.stdout.take().context("no output to read")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let Some((_, address)) = line.trim().split_once(LISTENING) else {
            let log = fs::read_to_string(self.path("server.log"))?;
            bail!("the server does not start: {line}{log}");
        };
        server.address = address.parse()?;
        let health = load::request("GET", "/api/v1/health", None, "", "");
        let status = system::runtime()?.block_on(async {
            let mut connection = load::Connection::open(server.address).await?;
            anyhow::Ok(connection.call(&health).await?.status)
        })?;
        server.started = begin.elapsed();
        ensure!(
            status == 200,
            "the server answers {status} to a question for its health"
        );
        Ok(server)
    }
}

/// A server that has answered; it is killed with this value, as what it did is on the disk.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// From the start of the process to its first answer.
    pub started: Duration,
}

impl Server {
    /// Resident memory in MiB.
    pub fn resident(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .context("the server's memory is read from /proc")?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next())
            .context("no VmRSS")?
            .parse()?;
        Ok(system::float(kib) / 1_024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
