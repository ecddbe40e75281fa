//! `cargo xtask fuzz`: generated requests against the real binary, each answer checked against the OpenAPI document that
//! the binary itself serves. With `--target`, the proof `fuzz` of one reader instead.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::{process, programs};

/// Pinned, because its checks grow with every version.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
const SECONDS: &str = "60";
/// The same at each run, so that a failure comes from the change and not from luck; other seeds are given by hand.
const SEED: &str = "1";

pub(crate) fn run(root: &Path, more: &[String]) -> anyhow::Result<ExitCode> {
    programs::ensure()?;
    let target = process::target(root)?;
    let Some(generator) = install(&target)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let binary = build(root, &target)?;
    let data = target.join("fuzz");
    if data.exists() {
        std::fs::remove_dir_all(&data).context("the data of the last run cannot be removed")?;
    }
    let program = Program { binary, data };
    let key = program.customer()?;
    let server = Server::start(&program)?;
    println!(
        "fuzz: {}, on data in {}",
        server.url,
        program.data.display()
    );
    let status = Command::new(generator)
        .arg("--config-file")
        .arg(root.join("xtask/fuzz/schemathesis.toml"))
        .args(["run", &format!("{}/openapi.json", server.url)])
        .args(["--header", &format!("Authorization: Bearer {key}")])
        .args(["--checks", "all", "--mode", "all", "--warnings", "off"])
        // DELETE ends a job or a key and leaves it to be read: nothing is freed that could be used afterwards.
        .args(["--exclude-checks", "use_after_free"])
        .args(["--request-timeout", "90", "--workers", "1"])
        .args(["--max-time", SECONDS, "--seed", SEED])
        // Of an option that is given twice the later one counts.
        .args(more)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", root.join("xtask/fuzz"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("VYDRA_FUZZ_URL", &server.url)
        .env("VYDRA_FUZZ_KEY", &key)
        .current_dir(&program.data)
        .status()
        .context("the generator of requests cannot be started")?;
    drop(server);
    program.json(&["ledger", "audit"])?;
    println!("fuzz: the books agree");
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The arguments of the proof.
pub(crate) fn of_target(target: &str, options: &[&str]) -> anyhow::Result<Vec<String>> {
    let mut arguments = vec!["fuzz", "--only", target];
    for option in options.chunks(2) {
        match option {
            [name @ ("--seconds" | "--seed"), value] => arguments.extend([name, value]),
            [name, ..] => bail!("`fuzz --target` does not know `{name}`, or it lacks a value"),
            [] => {}
        }
    }
    if !options.contains(&"--seconds") {
        arguments.extend(["--seconds", SECONDS]);
    }
    Ok(arguments.into_iter().map(str::to_owned).collect())
}

/// Builds the program `vydra`, and says where it is.
pub(crate) fn build(root: &Path, target: &Path) -> anyhow::Result<PathBuf> {
    let built = process::cargo(root)
        .args(["build", "--locked", "--package", "vydra-cli"])
        .status()
        .context("cargo cannot be started")?;
    ensure!(built.success(), "the binary does not build");
    Ok(target.join("debug").join("vydra"))
}

/// The generator in a Python environment of its own; None, with the reason told, where it cannot be had.
fn install(target: &Path) -> anyhow::Result<Option<PathBuf>> {
    let folder = target.join(SCHEMATHESIS.replace("==", "-"));
    let generator = folder.join("bin").join("schemathesis");
    if process::is_quiet(Command::new(&generator).arg("--version")) {
        return Ok(Some(generator));
    }
    println!("fuzz: installing {SCHEMATHESIS}");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).context("the generator of before cannot be removed")?;
    }
    if process::python_environment(&folder, &[SCHEMATHESIS]) {
        return Ok(Some(generator));
    }
    eprintln!(
        "warning: {SCHEMATHESIS} could not be installed (it needs python3 with venv, and PyPI): the fuzz run is SKIPPED"
    );
    Ok(None)
}

struct Program {
    binary: PathBuf,
    data: PathBuf,
}

impl Program {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(words)
            .arg("--data-dir")
            .arg(&self.data)
            .env("VYDRA__PROVIDERS__LOCAL__ENABLED", "true")
            // Webhooks go to a port of this machine where nobody listens.
            .env("VYDRA__OUTBOUND__WEBHOOK_ALLOW_NETWORKS", "[\"127.0.0.1\"]")
            // Videos that nobody asked to see must not hold up the next request.
            .env("VYDRA__SERVER__SYNC_WAIT", "500ms")
            .env("VYDRA__LIMITS__UNAUTHENTICATED_PER_MINUTE", "10000")
            .env("VYDRA__LOG__LEVEL", "warn");
        command
    }

    fn json(&self, words: &[&str]) -> anyhow::Result<Value> {
        let output = self.command(&[words, &["--json"]].concat()).output()?;
        ensure!(
            output.status.success(),
            "vydra {}: {}{}",
            words.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The test key of an organization that neither limits nor credits stop.
    fn customer(&self) -> anyhow::Result<String> {
        let many = "100000000";
        self.json(&["org", "create", "--name", "fuzz", "--plan", "enterprise"])?;
        self.json(&[
            "org",
            "set-plan",
            "--org",
            "fuzz",
            "--plan",
            "enterprise",
            "--rpm",
            many,
            "--rph",
            many,
            "--rpd",
            many,
            "--concurrent",
            many,
        ])?;
        self.json(&[
            "credits", "grant", "--org", "fuzz", "--test", "--amount", many, "--reason", "fuzz",
        ])?;
        // To be ended by the requests, instead of the one that they are sent with.
        self.json(&[
            "key", "create", "--org", "fuzz", "--name", "spare", "--test",
        ])?;
        let key = self.json(&["key", "create", "--org", "fuzz", "--name", "fuzz", "--test"])?;
        let key = key["key"].as_str().context("a new key shows no secret")?;
        Ok(key.to_owned())
    }
}

/// Killed when dropped.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(program: &Program) -> anyhow::Result<Self> {
        let log = std::fs::File::create(program.data.join("server.log"))?;
        let mut process = program
            .command(&["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("the server cannot be started")?;
        let mut line = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let mut server = Self {
            process,
            url: String::new(),
        };
        match line.trim().rsplit_once("listening on ") {
            Some((_, url)) => url.clone_into(&mut server.url),
            None => bail!(
                "the server did not start; see server.log in {}",
                program.data.display()
            ),
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
