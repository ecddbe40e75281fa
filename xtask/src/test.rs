//! `cargo xtask test`: the one command that runs every test on a fresh machine.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use crate::{process, sdks};

/// Says to the applications of the tests what they remember on (vydra-testkit).
const STORE: &str = "VYDRA_TEST_STORE";
/// The suites of whole applications: the same tests run on each store.
const SUITES: [&str; 2] = ["flows", "api"];
/// Says to the applications of the tests where their requests are counted (vydra-testkit).
const LIMITS: &str = "VYDRA_TEST_LIMITS";

/// Runs the tests and hands on the exit code of `cargo test`.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<ExitCode> {
    sdks::ensure(root)?;
    let code = cargo_test(root, &cargo_arguments(arguments), &[])?;
    if code != Some(0) || !arguments.is_empty() || is_chosen() {
        return Ok(exit_code(code));
    }
    let code = cargo_test(root, &on_postgres(), &[(STORE, "postgres")])?;
    if code != Some(0) {
        return Ok(exit_code(code));
    }
    Ok(exit_code(cargo_test(
        root,
        &of_limits(),
        &[(LIMITS, "redis")],
    )?))
}

fn cargo_test(
    root: &Path,
    arguments: &[&str],
    chosen: &[(&str, &str)],
) -> anyhow::Result<Option<i32>> {
    let mut cargo = process::cargo(root);
    let mut told = format!("cargo {}", arguments.join(" "));
    for (variable, word) in chosen {
        cargo.env(variable, word);
        told = format!("{variable}={word} {told}");
    }
    println!("test: {told}");
    let status = cargo.args(arguments).status();
    Ok(status.context("cargo cannot be started")?.code())
}

fn exit_code(code: Option<i32>) -> ExitCode {
    let code = code.and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Whether whoever calls has said what the tests remember on.
fn is_chosen() -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests read it, and this must not say otherwise"
    )]
    std::env::var_os(STORE).is_some()
}

/// With the features of the whole workspace, so that nothing is built again.
fn on_postgres() -> Vec<&'static str> {
    let mut arguments = vec!["test", "--locked", "--workspace"];
    for suite in SUITES {
        arguments.extend(["--test", suite]);
    }
    // Servers that share a database have Postgres in either run.
    arguments.extend(["--", "--skip", "nodes::"]);
    arguments
}

/// Those of limits.
fn of_limits() -> [&'static str; 7] {
    let suite = SUITES[1];
    [
        "test",
        "--locked",
        "--workspace",
        "--test",
        suite,
        "--",
        "limits::",
    ]
}

/// `--workspace` would silently win over a package that the caller chose, so it is left out then.
fn cargo_arguments(extra: &[String]) -> Vec<&str> {
    let chosen = extra.iter().take_while(|word| *word != "--").any(|word| {
        word == "--package"
            || word.starts_with("--package=")
            || (word.starts_with("-p") && !word.starts_with("--"))
    });
    let mut all = vec!["test", "--locked"];
    if !chosen {
        all.push("--workspace");
    }
    all.extend(extra.iter().map(String::as_str));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> String {
        let extra: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        cargo_arguments(&extra).join(" ")
    }

    #[test]
    fn without_arguments_the_whole_workspace_is_tested() {
        assert_eq!(arguments(""), "test --locked --workspace");
    }

    #[test]
    fn the_suites_of_applications_run_on_postgres_too() {
        assert_eq!(
            on_postgres().join(" "),
            "test --locked --workspace --test flows --test api -- --skip nodes::"
        );
        // A suite that is renamed would be left out without a word.
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
        for (suite, package) in SUITES.iter().zip(["vydra-engine", "vydra-http"]) {
            let main = crates
                .join(package)
                .join("tests")
                .join(suite)
                .join("main.rs");
            assert!(main.is_file(), "{}", main.display());
        }
    }

    #[test]
    fn arguments_are_passed_on_in_their_order() {
        assert_eq!(
            arguments("name -- --nocapture"),
            "test --locked --workspace name -- --nocapture"
        );
    }

    #[test]
    fn a_chosen_package_is_the_only_one_tested() {
        assert_eq!(arguments("-p xtask"), "test --locked -p xtask");
        assert_eq!(
            arguments("--package=xtask"),
            "test --locked --package=xtask"
        );
        assert_eq!(
            arguments("name -- -p"),
            "test --locked --workspace name -- -p"
        );
    }
}
