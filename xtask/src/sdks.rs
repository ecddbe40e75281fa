//! `cargo xtask sdks`: the providers' own SDKs, which the tests of the adapters hold them against.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::{process, programs};

/// What is asked for stands beside the tests.
const LISTS: &str = "crates/vydra-outbound/tests/adapters/sdks";

/// Installs what is missing. Never fails for what cannot be fetched: the tests that need it say so and skip.
pub(crate) fn ensure(root: &Path) -> anyhow::Result<()> {
    programs::ensure()?;
    let (lists, place) = (root.join(LISTS), process::target(root)?.join("sdks"));
    installed(
        &lists,
        &place.join("node"),
        &["package-lock.json", "package.json"],
        |folder| {
            let mut npm = Command::new("npm");
            npm.args([
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--silent",
            ]);
            process::is_quiet(npm.current_dir(folder))
        },
    )?;
    installed(
        &lists,
        &place.join("python"),
        &["requirements.txt"],
        |folder| process::python_environment(folder, &["--requirement", "requirements.txt"]),
    )
}

/// Installs in a folder what these lists name, unless they are what it was installed from.
fn installed(
    lists: &Path,
    folder: &Path,
    names: &[&str],
    install: impl FnOnce(&Path) -> bool,
) -> anyhow::Result<()> {
    let stamp = folder.join("installed");
    let mut wanted = String::new();
    for name in names {
        let list = lists.join(name);
        wanted += &fs::read_to_string(&list)
            .with_context(|| format!("{} cannot be read", list.display()))?;
    }
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        println!("sdks: {} is here", folder.display());
        return Ok(());
    }
    println!("sdks: installing {} into {}", names[0], folder.display());
    if folder.exists() {
        fs::remove_dir_all(folder).context("the packages of before cannot be removed")?;
    }
    fs::create_dir_all(folder)?;
    for name in names {
        fs::copy(lists.join(name), folder.join(name))?;
    }
    if install(folder) {
        fs::write(stamp, wanted)?;
    } else {
        // Half of the packages would fail the tests instead of being missed by them.
        fs::remove_dir_all(folder)?;
        eprintln!(
            "warning: the packages of {} could not be installed; the tests that need them skip",
            names[0]
        );
    }
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
        let (lists, place) = (folder("lists"), folder("place").join("node"));
        let list = lists.join("list");
        fs::write(&list, "one").unwrap();
        let ask = |works: bool| {
            let mut asked = false;
            installed(&lists, &place, &["list"], |folder| {
                asked = folder.join("list").exists();
                works
            })
            .unwrap();
            asked
        };
        assert!(ask(false));
        assert!(!place.exists(), "nothing is left of what failed");
        assert!(ask(true));
        assert!(!ask(true));
        fs::write(&list, "two").unwrap();
        assert!(ask(true));
        for folder in [&lists, &place] {
            fs::remove_dir_all(folder).unwrap();
        }
    }
}
