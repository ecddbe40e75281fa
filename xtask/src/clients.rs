//! `cargo xtask clients`: what the clients in TypeScript and Python promise, against a server that was just built.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;

use crate::{fuzz, process, programs};

const TYPESCRIPT: &str = "sdks/typescript";
const PYTHON: &str = "sdks/python";
/// Names the server for the tests.
const BINARY: &str = "VYDRA_BINARY";

/// Fails where a check does. What cannot be fetched is missed, and that is said.
pub(crate) fn run(root: &Path) -> anyhow::Result<ExitCode> {
    programs::ensure()?;
    let target = process::target(root)?;
    let server = fuzz::build(root, &target)?;
    let typescript = typescript(&root.join(TYPESCRIPT), &server)?;
    let python = python(
        &root.join(PYTHON),
        &target.join("sdks/client-python"),
        &server,
    )?;
    Ok(ExitCode::from(u8::from(!(typescript && python))))
}

fn typescript(folder: &Path, server: &Path) -> anyhow::Result<bool> {
    let mut install = npm(folder);
    install.args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--silent",
        "--fetch-retries=1",
    ]);
    if !process::is_quiet(&mut install) {
        missed("TypeScript", "Node.js 18 with npm, and its registry");
        return Ok(true);
    }
    for words in [&["run", "check"][..], &["test"]] {
        if !passes(npm(folder).args(words).env(BINARY, server))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn npm(folder: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(folder);
    npm
}

fn python(folder: &Path, environment: &Path, server: &Path) -> anyhow::Result<bool> {
    let list = format!(
        "--requirement={}",
        folder.join("requirements.txt").display()
    );
    // No package runs code of its own while it is installed.
    let arguments = ["--retries=1", "--only-binary=:all:", &list];
    std::fs::create_dir_all(environment)?;
    if !process::python_environment(environment, &arguments) {
        missed("Python", "Python 3.9 with venv, and PyPI");
        return Ok(true);
    }
    for words in [
        &["ruff", "check"][..],
        &["ruff", "format", "--check"],
        &["mypy"],
        &["python", "scripts/generate.py", "--check"],
        &["pytest", "-q"],
    ] {
        let mut check = Command::new(environment.join("bin").join(words[0]));
        check.args(&words[1..]).current_dir(folder);
        if !passes(check.env(BINARY, server))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn missed(language: &str, needs: &str) {
    eprintln!("warning: the client in {language} is not tested; that needs {needs}");
}

fn passes(command: &mut Command) -> anyhow::Result<bool> {
    println!("clients: {}", shown(command));
    let status = command.stdin(Stdio::null()).status();
    Ok(status
        .with_context(|| format!("{} cannot be started", shown(command)))?
        .success())
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_fails_is_told_and_one_that_cannot_begin_is_an_error() {
        assert!(passes(&mut Command::new("true")).unwrap());
        assert!(!passes(&mut Command::new("false")).unwrap());
        let error = passes(&mut Command::new("/nowhere/vydra-check")).unwrap_err();
        assert_eq!(error.to_string(), "vydra-check cannot be started");
    }

    #[test]
    fn what_is_run_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for file in [
            "sdks/typescript/package-lock.json",
            "sdks/python/requirements.txt",
            "sdks/python/scripts/generate.py",
        ] {
            assert!(root.join(file).is_file(), "{file}");
        }
    }
}
