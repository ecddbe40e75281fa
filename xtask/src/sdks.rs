//! `cargo xtask sdks`: the providers' own SDKs, which the tests of the adapters hold them against.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::{process, programs};

/// What is asked for stands beside the tests.
const LISTS: &str = "crates/vydra-outbound/tests/adapters/sdks";

/// Older ones do not run the scripts.
const OLDEST_NODE: u32 = 18;

/// Installs what is missing. Never fails for what cannot be fetched: the tests that need it say so and skip.
pub(crate) fn ensure(root: &Path) -> anyhow::Result<()> {
    programs::ensure()?;
    let (lists, place) = (root.join(LISTS), process::target(root)?.join("sdks"));
    let node = process::version("node").filter(|version| major(version) >= Some(OLDEST_NODE));
    let lock = ["package-lock.json", "package.json"];
    installed(
        &lists,
        &place.join("node"),
        &lock,
        node.as_deref(),
        |folder| {
            let mut npm = Command::new("npm");
            npm.args([
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--silent",
                "--fetch-retries=1",
            ]);
            process::is_quiet(npm.current_dir(folder))
        },
    )?;
    let python = process::version("python3");
    let requirements = ["requirements.txt"];
    installed(
        &lists,
        &place.join("python"),
        &requirements,
        python.as_deref(),
        |folder| {
            // No package runs code of its own while it is installed.
            let arguments = [
                "--retries=1",
                "--only-binary=:all:",
                "--requirement=requirements.txt",
            ];
            process::python_environment(folder, &arguments)
        },
    )
}

/// Of `v20.1.0`.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// Installs in a folder what these lists name for this version of a program, unless it was installed from the same.
fn installed(
    lists: &Path,
    folder: &Path,
    names: &[&str],
    version: Option<&str>,
    install: impl FnOnce(&Path) -> bool,
) -> anyhow::Result<()> {
    let stamp = folder.join("installed");
    let mut wanted = version.unwrap_or_default().to_owned();
    for name in names {
        let list = lists.join(name);
        wanted += &fs::read_to_string(&list)
            .with_context(|| format!("{} cannot be read", list.display()))?;
    }
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        println!("sdks: {} is here", folder.display());
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).context("the packages of before cannot be removed")?;
    }
    if version.is_some() {
        println!("sdks: installing {} into {}", names[0], folder.display());
        fs::create_dir_all(folder)?;
        for name in names {
            fs::copy(lists.join(name), folder.join(name))?;
        }
        if install(folder) {
            return Ok(fs::write(stamp, wanted)?);
        }
        // Half of the packages would fail the tests instead of being missed by them.
        fs::remove_dir_all(folder)?;
    }
    eprintln!(
        "warning: the packages of {} could not be installed (they need Node.js {OLDEST_NODE} with npm, Python with venv, and \
         their registries); the tests that need them skip",
        names[0]
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("vydra-sdks-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn packages_are_installed_once_until_their_list_changes() {
        let (lists, parent) = (folder("lists"), folder("place"));
        let place = parent.join("node");
        let list = lists.join("list");
        fs::write(&list, "one").unwrap();
        let ask = |works: bool, version: &str| {
            let version = Some(version).filter(|version| !version.is_empty());
            let mut asked = false;
            installed(&lists, &place, &["list"], version, |folder| {
                asked = folder.join("list").exists();
                works
            })
            .unwrap();
            asked
        };
        assert!(!ask(true, ""), "without the program");
        assert!(ask(false, "v20"));
        assert!(!place.exists(), "nothing is left of what failed");
        assert!(ask(true, "v20"));
        assert!(!ask(true, "v20"));
        assert!(ask(true, "v22"), "another program");
        fs::write(&list, "two").unwrap();
        assert!(ask(true, "v22"));
        assert_eq!((major("v18.20.4"), major("18")), (Some(18), None));
        for folder in [&lists, &parent] {
            fs::remove_dir_all(folder).unwrap();
        }
    }
}
