//! `cargo xtask test`: the one command that runs every test on a fresh machine.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use crate::{process, sdks};

/// Runs the tests and hands on the exit code of `cargo test`.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<ExitCode> {
    sdks::ensure(root)?;
    let all = cargo_arguments(arguments);
    println!("test: cargo {}", all.join(" "));
    let status = process::cargo(root)
        .args(&all)
        .status()
        .context("cargo cannot be started")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
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
