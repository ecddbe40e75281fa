//! Whoever uses the command line as a client: the real binary, knowing the address of a server and a key.

use crate::programs::{Ran, run};
use crate::server::{Data, Server, VYDRA};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

pub(crate) const PNG: &[u8] = b"\x89PNG";
pub(crate) const PROMPT: &str = "A fox, in the snow!";

/// Somebody at another machine: an empty home, and no more of the server than its address and a key.
pub(crate) struct Person {
    pub(crate) home: TempDir,
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) key: String,
}

impl Person {
    /// Knows the server and the key from the environment.
    pub(crate) fn new(server: &str, key: &str) -> Self {
        let mut person = Self::stranger(key);
        person
            .environment
            .push(("VYDRA_BASE_URL", server.to_owned()));
        person.environment.push(("VYDRA_API_KEY", key.to_owned()));
        person
    }

    /// Is not logged in; the key is one that nobody may see.
    pub(crate) fn stranger(key: &str) -> Self {
        Self {
            home: tempfile::Builder::new()
                .prefix("vydra e2e'")
                .tempdir()
                .unwrap(),
            environment: Vec::new(),
            key: key.to_owned(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn credentials(&self) -> PathBuf {
        self.path("config/vydra/credentials.json")
    }

    pub(crate) fn vydra(&self, words: &[&str]) -> Command {
        let mut command = Command::new(VYDRA);
        command
            .args(words)
            .env_remove("VYDRA_API_KEY")
            .env_remove("VYDRA_BASE_URL")
            .env("XDG_CONFIG_HOME", self.path("config"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home.path());
        command
    }

    /// Whatever happens, nothing that is printed shows the key, nor moves a cursor where no terminal is.
    pub(crate) fn checked(&self, ran: Ran, words: &[&str]) -> Ran {
        for printed in [&ran.stdout, &ran.stderr] {
            assert!(!printed.contains(&self.key), "{words:?} shows the key");
            assert!(!printed.contains('\x1b'), "{words:?}: {ran:?}");
        }
        ran
    }

    pub(crate) async fn run(&self, words: &[&str]) -> Ran {
        self.checked(run(self.vydra(words)).await, words)
    }

    pub(crate) async fn run_with(&self, words: &[&str], stdin: &str) -> Ran {
        let mut command = self.vydra(words);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = pipes.stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(stdin.as_bytes()).await.unwrap();
        drop(pipe);
        let output = child.wait_with_output().await.unwrap();
        let ran = Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        self.checked(ran, words)
    }

    /// All of stdout of a command that must succeed.
    pub(crate) async fn prose(&self, words: &[&str]) -> String {
        let ran = self.run(words).await;
        assert_eq!(ran.code, Some(0), "{words:?}: {ran:?}");
        ran.stdout
    }

    /// The same with `--json`: one object on one line, and nothing beside it.
    pub(crate) async fn json(&self, words: &[&str]) -> Value {
        let words = [words, &["--json"]].concat();
        let ran = self.run(&words).await;
        assert_eq!(
            (ran.code, ran.stderr.as_str()),
            (Some(0), ""),
            "{words:?}: {ran:?}"
        );
        assert_eq!(ran.stdout.lines().count(), 1, "{words:?}: {ran:?}");
        let value: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert!(value.is_object(), "{words:?}: {value}");
        value
    }

    /// Nothing on stdout, this exit code, one sentence and, below it, these words.
    pub(crate) async fn refused(&self, words: &[&str], code: i32, told: &[&str]) -> String {
        let ran = self.run(words).await;
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(code), ""),
            "{words:?}: {ran:?}"
        );
        let errors = ran
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "));
        assert_eq!(errors.count(), 1, "{words:?}: {ran:?}");
        for words in told {
            assert!(ran.stderr.contains(words), "no {words:?} in {ran:?}");
        }
        ran.stderr
    }
}

pub(crate) fn is_image(file: &Path) -> bool {
    fs::read(file).unwrap().starts_with(PNG)
}

/// A server, and a key of the organization acme.
pub(crate) async fn acme(more: &[&str]) -> (Data, Server, String) {
    let data = Data::new();
    let org = data.org("acme", 1_000).await;
    let key = data.key(&org, more).await;
    let server = data.serve().await;
    (data, server, key)
}

pub(crate) fn is_video(file: &Path) -> bool {
    fs::read(file).unwrap()[..12]
        .windows(4)
        .any(|bytes| bytes == b"ftyp")
}
