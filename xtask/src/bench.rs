//! `cargo xtask bench`: the binary as it is released, measured by the crate `vydra-bench`.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};

use crate::process;

/// Builds what is needed and hands on the exit code of the bench.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<ExitCode> {
    // Apart, as features that only the bench asks for must not be in the binary that is measured.
    let packages: &[&str] = if arguments.iter().any(|word| word == "--binary") {
        &["vydra-bench"]
    } else {
        &["vydra-cli", "vydra-bench"]
    };
    for package in packages {
        let built = process::cargo(root)
            .args(["build", "--release", "--locked", "--package", package])
            .status()
            .context("cargo cannot be started")?;
        ensure!(built.success(), "{package} does not build");
    }
    let status = Command::new(process::target(root)?.join("release").join("vydra-bench"))
        .args(arguments)
        .current_dir(root)
        .status()
        .context("the bench cannot be started")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
