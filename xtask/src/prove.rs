//! `cargo xtask prove`: the proofs of vydra-prove, against the real binary.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, ensure};

use crate::{fuzz, process};

/// Builds both programs and hands the arguments on.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let target = process::target(root)?;
    let binary = fuzz::build(root, &target)?;
    let built = process::cargo(root)
        // With the features of the whole workspace, as its tests have built everything that this needs.
        .args(["build", "--quiet", "--locked", "--workspace", "--bin"])
        .arg("vydra-prove")
        .status()
        .context("cargo cannot be started")?;
    ensure!(built.success(), "the proofs do not build");
    let status = std::process::Command::new(target.join("debug").join("vydra-prove"))
        .args(arguments)
        .arg("--binary")
        .arg(binary)
        .arg("--disk")
        .arg(target.join("prove"))
        .status()
        .context("the proofs cannot be started")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
