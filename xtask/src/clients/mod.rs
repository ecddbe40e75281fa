//! `cargo xtask clients`: what the clients in TypeScript and Python promise, and the package of the one in Rust, against a server that
//! was just built (or that `VYDRA_BINARY` names).

mod rust;

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;

use crate::{fuzz, process, programs};

const TYPESCRIPT: &str = "sdks/typescript";
const PYTHON: &str = "sdks/python";
/// Names the server for the tests; one that is built for them where it does not.
const BINARY: &str = "VYDRA_BINARY";

/// How a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    /// What its checks are run with is not here, and could not be fetched.
    Missed,
}

/// Fails where a check does. What cannot be fetched is missed, and that is said; where nobody would read it, it is a failure.
pub(crate) fn run(root: &Path) -> anyhow::Result<ExitCode> {
    programs::ensure()?;
    let target = process::target(root)?;
    let server = match variable(BINARY) {
        Some(given) => given.into(),
        None => fuzz::build(root, &target)?,
    };
    let environment = target.join("sdks/client-python");
    let outcomes = [
        ("Rust", rust::check(root, &target, &server)?),
        ("TypeScript", typescript(&root.join(TYPESCRIPT), &server)?),
        ("Python", python(&root.join(PYTHON), &environment, &server)?),
    ];
    for (language, outcome) in outcomes {
        println!("clients: {language}: {}", word(outcome));
    }
    Ok(ExitCode::from(u8::from(!is_good(
        &outcomes.map(|(_, outcome)| outcome),
        variable("CI").is_some(),
    ))))
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "FAILED",
        Outcome::Missed => "NOT TESTED",
    }
}

fn is_good(outcomes: &[Outcome], everything: bool) -> bool {
    outcomes.iter().all(|outcome| match outcome {
        Outcome::Passed => true,
        Outcome::Failed => false,
        Outcome::Missed => !everything,
    })
}

fn variable(name: &str) -> Option<OsString> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the environment says which server, and whether anybody reads a warning; no product code runs here"
    )]
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn typescript(folder: &Path, server: &Path) -> anyhow::Result<Outcome> {
    // Deno and Bun, and what the checks are run with.
    for place in [folder.join("runtimes"), folder.to_owned()] {
        let mut install = npm(&place);
        // No package runs code of its own while it is installed.
        install.args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
            "--fetch-retries=1",
        ]);
        println!("clients: {}, in {}", shown(&install), place.display());
        if !process::is_quiet(&mut install) {
            missed("TypeScript", "Node.js 18 with npm, and its registry");
            return Ok(Outcome::Missed);
        }
    }
    all(&[&["run", "check"], &["test"]], |words| {
        let mut check = npm(folder);
        check.args(words).env(BINARY, server);
        check
    })
}

fn npm(folder: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(folder);
    npm
}

fn python(folder: &Path, environment: &Path, server: &Path) -> anyhow::Result<Outcome> {
    let list = format!(
        "--requirement={}",
        folder.join("requirements.txt").display()
    );
    // No package runs code of its own while it is installed.
    let arguments = ["--retries=1", "--only-binary=:all:", &list];
    std::fs::create_dir_all(environment)?;
    println!(
        "clients: pip install {}, in {}",
        arguments.join(" "),
        environment.display()
    );
    if !process::python_environment(environment, &arguments) {
        missed("Python", "Python 3.9 with venv, and PyPI");
        return Ok(Outcome::Missed);
    }
    let checks: [&[&str]; 5] = [
        &["ruff", "check"],
        &["ruff", "format", "--check"],
        &["mypy"],
        &["python", "scripts/generate.py", "--check"],
        &["pytest", "-q"],
    ];
    all(&checks, |words| {
        let mut check = Command::new(environment.join("bin").join(words[0]));
        check.args(&words[1..]).current_dir(folder);
        check.env(BINARY, server);
        check
    })
}

/// Runs these checks, up to the first that fails.
fn all(checks: &[&[&str]], command: impl Fn(&[&str]) -> Command) -> anyhow::Result<Outcome> {
    for words in checks {
        if !passes(&mut command(words))? {
            eprintln!("error: `{}` failed", words.join(" "));
            return Ok(Outcome::Failed);
        }
    }
    Ok(Outcome::Passed)
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

    use std::fs;

    use serde_json::Value;

    fn root() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn a_check_that_fails_is_told_and_one_that_cannot_begin_is_an_error() {
        assert!(passes(&mut Command::new("true")).unwrap());
        assert!(!passes(&mut Command::new("false")).unwrap());
        let error = passes(&mut Command::new("/nowhere/vydra-check")).unwrap_err();
        assert_eq!(error.to_string(), "vydra-check cannot be started");
    }

    #[test]
    fn the_first_check_that_fails_ends_them() {
        let begun = std::cell::Cell::new(0);
        let run = |checks: &[&[&str]]| {
            all(checks, |words| {
                begun.set(begun.get() + 1);
                Command::new(words[0])
            })
            .unwrap()
        };
        assert_eq!(run(&[&["true"], &["true"]]), Outcome::Passed);
        assert_eq!(begun.replace(0), 2);
        assert_eq!(run(&[&["true"], &["false"], &["true"]]), Outcome::Failed);
        assert_eq!(begun.get(), 2);
    }

    #[test]
    fn where_all_must_be_tested_a_client_that_is_not_is_a_failure() {
        use Outcome::{Failed, Missed, Passed};
        assert!(is_good(&[Passed, Passed], true));
        assert!(is_good(&[Missed, Passed], false));
        assert!(!is_good(&[Missed, Passed], true));
        assert!(!is_good(&[Passed, Failed], false));
    }

    #[test]
    fn what_is_run_is_there() {
        for file in [
            "sdks/typescript/package-lock.json",
            "sdks/typescript/runtimes/package-lock.json",
            "sdks/python/requirements.txt",
            "sdks/python/scripts/generate.py",
        ] {
            assert!(root().join(file).is_file(), "{file}");
        }
    }

    /// Their user agents say these versions: the tests of each client look at that.
    #[test]
    fn every_client_has_the_version_of_the_server() {
        let version = env!("CARGO_PKG_VERSION");
        let text = |file: &str| fs::read_to_string(root().join(file)).unwrap();
        let json = |file: &str| -> Value { serde_json::from_str(&text(file)).unwrap() };
        let package = json("sdks/typescript/package.json");
        let lock = json("sdks/typescript/package-lock.json");
        for found in [
            &package["version"],
            &lock["version"],
            &lock["packages"][""]["version"],
        ] {
            assert_eq!(found, version);
        }
        for (file, line) in [
            (
                "sdks/typescript/src/version.ts",
                format!("VERSION = \"{version}\""),
            ),
            (
                "sdks/python/src/vydra/_version.py",
                format!("__version__ = \"{version}\""),
            ),
            (
                "crates/vydra-client/Cargo.toml",
                "version.workspace = true".to_owned(),
            ),
        ] {
            assert!(text(file).contains(&line), "{file} lacks {line}");
        }
    }
}
