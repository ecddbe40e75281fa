//! Starting cargo from within cargo.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use serde_json::Value;

/// What `cargo run` sets for this program. Some build scripts (ring's) ask to be run again when these change, so a cargo that
/// inherits them rebuilds a good part of the tree that a cargo started by hand has just built.
const SET_BY_CARGO_RUN: [&str; 17] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_AUTHORS",
    "CARGO_PKG_DESCRIPTION",
    "CARGO_PKG_HOMEPAGE",
    "CARGO_PKG_LICENSE",
    "CARGO_PKG_LICENSE_FILE",
    "CARGO_PKG_NAME",
    "CARGO_PKG_README",
    "CARGO_PKG_REPOSITORY",
    "CARGO_PKG_RUST_VERSION",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
    "CARGO_BIN_NAME",
];

/// A cargo command at the root, with the environment that a person's shell would give it.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root);
    for name in SET_BY_CARGO_RUN {
        command.env_remove(name);
    }
    command
}

/// Where cargo puts what it builds.
pub(crate) fn target(root: &Path) -> anyhow::Result<PathBuf> {
    let metadata = cargo(root)
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .output()
        .context("cargo cannot be started")?;
    let metadata: Value = serde_json::from_slice(&metadata.stdout)?;
    let folder = metadata["target_directory"].as_str();
    Ok(folder.context("cargo names no target folder")?.into())
}

/// Whether it ends well; what it says on its standard output is not shown.
pub(crate) fn is_quiet(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// What a program says of its version; None where it is not here.
pub(crate) fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| version.trim().to_owned())
}

/// Makes a Python environment there, with what these arguments of `pip install` name; false where it cannot be had.
pub(crate) fn python_environment(folder: &Path, packages: &[&str]) -> bool {
    let mut python = Command::new("python3");
    let mut pip = Command::new(folder.join("bin").join("pip"));
    pip.args(["install", "--quiet"]).args(packages);
    is_quiet(python.args(["-m", "venv"]).arg(folder)) && is_quiet(pip.current_dir(folder))
}
