//! The binary on data of its own.

use crate::api::Api;
use crate::programs::{self, PATIENCE, Ran};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

pub(crate) const VYDRA: &str = env!("CARGO_BIN_EXE_vydra");
/// Before the address, in the first line of every server.
const LISTENING: &str = "listening on ";

/// A data directory, and the environment of whatever works on it. Its ledger is audited at the end.
pub(crate) struct Data {
    folder: TempDir,
    environment: Vec<(&'static str, String)>,
    /// The database, if it is no file here.
    postgres: Option<String>,
    audited: bool,
}

impl Data {
    /// With what `serve` needs to generate.
    pub(crate) fn new() -> Self {
        Self::without_providers().with("VYDRA__PROVIDERS__LOCAL__ENABLED", "true")
    }

    pub(crate) fn without_providers() -> Self {
        Self {
            folder: tempfile::Builder::new()
                .prefix("vydra e2e'")
                .tempdir()
                .unwrap(),
            environment: Vec::new(),
            postgres: None,
            audited: true,
        }
    }

    /// With a database of Postgres, at this address.
    pub(crate) fn on(url: &str) -> Self {
        let mut data = Self::new().with("VYDRA__STORE__URL", url);
        data.postgres = Some(url.to_owned());
        data
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// For a test that spoils the books on purpose.
    pub(crate) fn unaudited(mut self) -> Self {
        self.audited = false;
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `vydra` with these words, on these data.
    pub(crate) fn vydra(&self, words: &[&str]) -> Command {
        let mut command = Command::new(VYDRA);
        command
            .args(words)
            .arg("--data-dir")
            .arg(self.folder.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path());
        command
    }

    /// The same after `setup`, a line of shell.
    pub(crate) fn vydra_after(&self, setup: &str, words: &[&str]) -> Command {
        let plain = self.vydra(words);
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{setup}; exec \"$0\" \"$@\""), VYDRA])
            .args(plain.as_std().get_args())
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) async fn run(&self, words: &[&str]) -> Ran {
        programs::run(self.vydra(words)).await
    }

    /// What a command prints that must succeed.
    pub(crate) async fn prose(&self, words: &[&str]) -> String {
        let ran = self.run(words).await;
        assert_eq!(ran.code, Some(0), "{words:?}: {ran:?}");
        ran.stdout
    }

    /// The same with `--json`: one object on one line.
    pub(crate) async fn json(&self, words: &[&str]) -> Value {
        let text = self.prose(&[words, &["--json"]].concat()).await;
        assert_eq!(text.lines().count(), 1, "{words:?}: {text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(value.is_object(), "{words:?}: {text}");
        value
    }

    /// An organization that no limit stops.
    pub(crate) async fn org(&self, name: &str, credits: u32) -> String {
        let credits = credits.to_string();
        let words = [
            "org",
            "create",
            "--name",
            name,
            "--plan",
            "enterprise",
            "--credits",
            &credits,
        ];
        text(&self.json(&words).await["id"])
    }

    pub(crate) async fn key(&self, org: &str, more: &[&str]) -> String {
        let words = [&["key", "create", "--org", org], more].concat();
        text(&self.json(&words).await["key"])
    }

    pub(crate) async fn serve(&self) -> Server {
        Server::start(self.vydra(&["serve", "--listen", "127.0.0.1:0"])).await
    }

    /// A server that does a part of the work.
    pub(crate) async fn serve_as(&self, role: &str) -> Server {
        let words = ["serve", "--listen", "127.0.0.1:0", "--role", role];
        Server::start(self.vydra(&words)).await
    }

    pub(crate) async fn dev(&self, more: &[&str]) -> Server {
        Server::start(self.vydra(&[&["dev", "--listen", "127.0.0.1:0"], more].concat())).await
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let is_there = self.postgres.is_some() || self.path("vydra.db").exists();
        if std::thread::panicking() || !self.audited || !is_there {
            return;
        }
        let mut audit = std::process::Command::new(VYDRA);
        audit.args(["ledger", "audit", "--data-dir"]);
        audit.arg(self.folder.path());
        if let Some(url) = &self.postgres {
            audit.args(["--database-url", url]);
        }
        let audit = audit.output().unwrap();
        assert!(audit.status.success(), "the books do not agree: {audit:?}");
    }
}

pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

/// A server that answers, until it is stopped, killed or dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    /// All that was printed until now.
    printed: Vec<String>,
    complaints: Arc<Mutex<String>>,
    readers: TaskTracker,
}

impl Server {
    pub(crate) async fn start(command: Command) -> Self {
        let mut server = Self::begin(command);
        let line = server.line_with(LISTENING).await;
        server.url = line.split_once(LISTENING).unwrap().1.to_owned();
        server
    }

    /// Another program that goes on until it is stopped, and has no address.
    pub(crate) fn begin(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let readers = TaskTracker::new();
        let (sender, lines) = mpsc::unbounded_channel();
        readers.spawn(each_line(child.stdout.take().unwrap(), move |line| {
            let _ = sender.send(line);
        }));
        let complaints = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&complaints);
        readers.spawn(each_line(child.stderr.take().unwrap(), move |line| {
            let mut all = heard.lock().unwrap();
            all.push_str(&line);
            all.push('\n');
        }));
        readers.close();
        Self {
            url: String::new(),
            child,
            lines,
            printed: Vec::new(),
            complaints,
            readers,
        }
    }

    /// The next line that holds `words`.
    pub(crate) async fn line_with(&mut self, words: &str) -> String {
        let wanted = async {
            while let Some(line) = self.lines.recv().await {
                self.printed.push(line.clone());
                if line.contains(words) {
                    return Some(line);
                }
            }
            None
        };
        let line = timeout(PATIENCE, wanted).await;
        let line = line
            .unwrap_or_else(|_| panic!("the server does not say {words:?}: {:?}", self.printed));
        line.unwrap_or_else(|| panic!("the server has ended without {words:?}: {:?}", self.printed))
    }

    /// What was printed until the last line that was waited for.
    pub(crate) fn printed(&self) -> &[String] {
        &self.printed
    }

    /// The log until now.
    pub(crate) fn log(&self) -> String {
        self.complaints.lock().unwrap().clone()
    }

    pub(crate) fn api(&self, key: &str) -> Api {
        Api::new(&self.url, key)
    }

    /// The most memory that it has had at once until now, in bytes, as Linux remembers it.
    pub(crate) fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
        kib.parse::<u64>().unwrap() * 1_024
    }

    pub(crate) async fn terminate(&self) {
        self.signal("-TERM").await;
    }

    pub(crate) async fn signal(&self, signal: &str) {
        let mut kill = Command::new("kill");
        kill.args([signal, &self.child.id().unwrap().to_string()]);
        assert_eq!(programs::run(kill).await.code, Some(0));
    }

    /// By itself, or after [`Self::terminate`].
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let status = timeout(PATIENCE, self.child.wait()).await;
        self.readers.wait().await;
        status.expect("the server does not end").unwrap()
    }

    /// As an operator stops it; gives its whole log.
    pub(crate) async fn stop(mut self) -> String {
        self.terminate().await;
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0));
        self.log()
    }

    /// As a loss of power would; gives its whole log.
    pub(crate) async fn kill(mut self) -> String {
        self.child.kill().await.unwrap();
        self.readers.wait().await;
        self.log()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what the server complained of:\n{}", self.log());
        }
    }
}

async fn each_line(stream: impl AsyncRead + Unpin, mut take: impl FnMut(String)) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        take(line);
    }
}
