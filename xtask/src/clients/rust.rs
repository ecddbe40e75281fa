//! The Rust client as others get it: packed, unpacked into an empty project, and asked for what the README begins with.
//!
//! What it does is tested where it is written; here is what only the package can be wrong about.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

use super::{Outcome, passes};
use crate::process;

const PACKAGE: &str = "vydra-client";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What the package holds, and nothing else.
const FILES: [&str; 27] = [
    "Cargo.lock",
    "Cargo.toml",
    "Cargo.toml.orig",
    "LICENSE",
    "README.md",
    "examples/batch.rs",
    "examples/quickstart.rs",
    "src/account.rs",
    "src/blocking.rs",
    "src/catalogue.rs",
    "src/client.rs",
    "src/clock.rs",
    "src/code.rs",
    "src/config.rs",
    "src/error.rs",
    "src/files.rs",
    "src/hooks.rs",
    "src/jobs.rs",
    "src/lib.rs",
    "src/models.rs",
    "src/options.rs",
    "src/pages.rs",
    "src/sse.rs",
    "src/stream.rs",
    "src/transport.rs",
    "src/types.rs",
    "src/webhooks.rs",
];

pub(super) fn check(root: &Path, target: &Path, server: &Path) -> anyhow::Result<Outcome> {
    let folder = target.join("sdks").join("client-rust");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).context("the project of before cannot be removed")?;
    }
    let mut pack = process::cargo(root);
    // Verified below, by a program that uses it.
    pack.args(["package", "--locked", "--no-verify", "--allow-dirty"])
        .args(["--package", PACKAGE]);
    if !passes(&mut pack)? {
        return Ok(Outcome::Failed);
    }
    let archive = target
        .join("package")
        .join(format!("{PACKAGE}-{VERSION}.crate"));
    let files = listed(&archive)?;
    let (missing, surplus) = compared(&files);
    if !missing.is_empty() || !surplus.is_empty() {
        eprintln!("error: the package of {PACKAGE} lacks {missing:?} and has {surplus:?} besides");
        return Ok(Outcome::Failed);
    }
    let package = unpack(&archive, &folder)?;
    let readme = std::fs::read_to_string(root.join("README.md"))?;
    let snippet = snippet(&readme).context("README.md shows no Rust")?;
    project(root, &folder, &package, &program(snippet))?;
    let server = Server::start(server, &folder.join("server"))?;
    let mut run = process::cargo(&folder);
    run.args(["run", "--quiet", "--target-dir"])
        .arg(target)
        .env("VYDRA_BASE_URL", &server.url)
        .env("VYDRA_API_KEY", &server.key);
    if !passes(&mut run)? {
        return Ok(Outcome::Failed);
    }
    let picture = std::fs::read(folder.join("fox.png")).context("the README made no fox.png")?;
    ensure!(
        picture.starts_with(b"\x89PNG"),
        "the fox of the README is no PNG"
    );
    let mut document = process::cargo(&folder);
    document
        .args(["doc", "--quiet", "--no-deps", "--package", PACKAGE])
        .arg("--target-dir")
        .arg(target)
        .env("RUSTDOCFLAGS", "--deny warnings");
    if !passes(&mut document)? {
        return Ok(Outcome::Failed);
    }
    Ok(Outcome::Passed)
}

/// What is in the package, without the commit that cargo notes where there is one.
fn listed(archive: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut tar = Command::new("tar");
    tar.arg("-tzf").arg(archive);
    let output = tar.output().context("tar cannot be run")?;
    ensure!(output.status.success(), "the package cannot be read");
    let paths = String::from_utf8(output.stdout)?;
    let folder = format!("{PACKAGE}-{VERSION}/");
    let files = paths.lines().map(|path| {
        let file = path.strip_prefix(&folder);
        file.with_context(|| format!("{path} lies beside the package"))
    });
    let mut files: BTreeSet<_> = files
        .map(|file| file.map(str::to_owned))
        .collect::<anyhow::Result<_>>()?;
    files.remove(".cargo_vcs_info.json");
    Ok(files)
}

/// What is missing, and what nobody named.
fn compared(files: &BTreeSet<String>) -> (Vec<&str>, Vec<&str>) {
    let missing = FILES.into_iter().filter(|file| !files.contains(*file));
    let surplus = files.iter().map(String::as_str);
    let surplus = surplus.filter(|file| !FILES.contains(file));
    (missing.collect(), surplus.collect())
}

/// Where the package is, as it comes out of its archive.
fn unpack(archive: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(archive).current_dir(folder);
    ensure!(passes(&mut tar)?, "the package cannot be unpacked");
    Ok(folder.join(format!("{PACKAGE}-{VERSION}")))
}

/// The first Rust that a page shows.
fn snippet(page: &str) -> Option<&str> {
    let (_, behind) = page.split_once("```rust\n")?;
    Some(behind.split_once("```")?.0)
}

/// What a reader would put around it.
fn program(snippet: &str) -> String {
    let (uses, body): (Vec<_>, Vec<_>) = snippet.lines().partition(|line| line.starts_with("use "));
    let (uses, body) = (uses.join("\n"), body.join("\n"));
    format!(
        "{uses}\n#[tokio::main]\nasync fn main() -> Result<(), Box<dyn std::error::Error>> {{\n{body}\nOk(())\n}}\n"
    )
}

fn project(root: &Path, folder: &Path, package: &Path, program: &str) -> anyhow::Result<()> {
    let package = package.file_name().unwrap_or_default().to_string_lossy();
    let manifest = format!(
        r#"[package]
name = "reader"
version = "0.0.0"
edition = "2024"

[dependencies]
{PACKAGE} = {{ path = "{package}" }}
serde_json = "1"
tokio = {{ version = "1", features = ["macros", "rt-multi-thread"] }}

# Apart from the project that it lies in.
[workspace]
"#
    );
    std::fs::create_dir_all(folder.join("src"))?;
    std::fs::write(folder.join("Cargo.toml"), manifest)?;
    std::fs::write(folder.join("src/main.rs"), program)?;
    // The versions that were tested, and that are here already.
    std::fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(())
}

/// `vydra dev`, killed when dropped.
struct Server {
    process: Child,
    url: String,
    key: String,
}

impl Server {
    fn start(binary: &Path, data: &Path) -> anyhow::Result<Self> {
        let process = Command::new(binary)
            .args(["dev", "--quiet-start", "--listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started", binary.display()))?;
        let mut server = Self {
            process,
            url: String::new(),
            key: String::new(),
        };
        let output = server.process.stdout.take();
        let mut lines = BufReader::new(output.context("the server has no output")?);
        let mut line = String::new();
        while server.url.is_empty() {
            line.clear();
            ensure!(lines.read_line(&mut line)? > 0, "`vydra dev` did not start");
            if let Some(told) = line.strip_prefix("Serving on ") {
                let url = told.split_whitespace().next();
                url.unwrap_or_default().clone_into(&mut server.url);
            }
        }
        // A server that is listened to no more would fail to write.
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        let keys = std::fs::read_to_string(data.join("dev-keys.env"))?;
        let key = keys
            .lines()
            .find_map(|line| line.strip_prefix("VYDRA_API_KEY="));
        key.context("`vydra dev` wrote no key")?
            .clone_into(&mut server.key);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rust_of_a_page_becomes_a_program() {
        let page = "Words.\n```ts\nno\n```\n```rust\nuse one::Two;\n\nlet x = Two;\n```\n```rust\nlater\n```\n";
        let program = program(snippet(page).unwrap());
        assert!(program.starts_with("use one::Two;\n"), "{program}");
        assert!(
            program.contains("{\n\nlet x = Two;\nOk(())\n}"),
            "{program}"
        );
        assert!(!program.contains("later"), "{program}");
        assert_eq!(snippet("```ts\nno\n```\n"), None);
    }

    #[test]
    fn a_package_is_compared_file_by_file() {
        let mut files = BTreeSet::from(FILES.map(str::to_owned));
        assert_eq!(compared(&files), (vec![], vec![]));
        files.remove("src/sse.rs");
        files.insert("tests/client/main.rs".to_owned());
        assert_eq!(
            compared(&files),
            (vec!["src/sse.rs"], vec!["tests/client/main.rs"])
        );
    }
}
