//! Which crate may depend on which: the picture in ARCHITECTURE.md, kept true.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::Finding;
use crate::process;

/// Crates of the workspace and the crates of the workspace that they may use.
const ARROWS: [(&str, &[&str]); 11] = [
    ("vydra-core", &[]),
    ("vydra-store", &["vydra-core"]),
    ("vydra-outbound", &["vydra-core"]),
    (
        "vydra-engine",
        &["vydra-core", "vydra-outbound", "vydra-store"],
    ),
    ("vydra-http", &["vydra-core", "vydra-engine"]),
    ("vydra-client", &[]),
    (
        "vydra-cli",
        &[
            "vydra-client",
            "vydra-core",
            "vydra-engine",
            "vydra-http",
            "vydra-outbound",
            "vydra-store",
        ],
    ),
    (
        "vydra-testkit",
        &[
            "vydra-core",
            "vydra-engine",
            "vydra-http",
            "vydra-outbound",
            "vydra-store",
        ],
    ),
    (
        "vydra-prove",
        &[
            "vydra-core",
            "vydra-engine",
            "vydra-http",
            "vydra-outbound",
            "vydra-store",
            "vydra-testkit",
        ],
    ),
    ("vydra-bench", &["vydra-core"]),
    ("xtask", &[]),
];

/// What every crate may use in its tests, beyond its arrows.
const FOR_TESTS: [&str; 2] = ["vydra-client", "vydra-testkit"];

/// Crates whose tests may use the whole workspace.
const TESTS_USE_ALL: [&str; 2] = ["vydra-cli", "xtask"];

/// Crates from outside that only some crates may use, so that a layer stays the only one that can do its work. A star stands for any
/// ending. Tests are free.
const OWNERS: [(&[&str], &[&str]); 7] = [
    (
        &[
            "rusqlite",
            "libsqlite3-sys",
            "sqlx*",
            "tokio-postgres",
            "postgres",
        ],
        // A proof that read the books through the store would believe what it is to prove; the bench has plain SQLite as a
        // yardstick, and fills databases faster than commands could.
        &["vydra-store", "vydra-prove", "vydra-bench"],
    ),
    (
        &["reqwest", "tokio-tungstenite"],
        &["vydra-outbound", "vydra-client", "vydra-prove"],
    ),
    (&["object_store"], &["vydra-outbound", "vydra-testkit"]),
    (&["openh264", "image"], &["vydra-outbound"]),
    (
        &["axum*", "hyper*", "utoipa*", "tower-http"],
        // The bench has a bare server as a yardstick.
        &["vydra-http", "vydra-testkit", "vydra-prove", "vydra-bench"],
    ),
    (&["clap*", "indicatif"], &["vydra-cli", "vydra-prove"]),
    (
        &["anyhow"],
        &["vydra-cli", "vydra-prove", "vydra-bench", "xtask"],
    ),
];

/// A crate of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    name: String,
    /// Relative to the root.
    manifest: String,
    manifest_text: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// Absent for a normal one.
    kind: Option<String>,
}

/// The crates of the workspace at `root`, as cargo sees them.
pub(crate) fn packages(root: &Path) -> anyhow::Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Described>,
    }
    #[derive(Deserialize)]
    struct Described {
        name: String,
        manifest_path: String,
        dependencies: Vec<Dependency>,
    }

    let output = process::cargo(root)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed ({})", output.status);
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)
        .context("`cargo metadata` printed something unexpected")?;
    metadata
        .packages
        .into_iter()
        .map(|package| {
            let path = Path::new(&package.manifest_path);
            let relative = path.strip_prefix(root).unwrap_or(path);
            Ok(Package {
                name: package.name,
                manifest: relative.to_string_lossy().replace('\\', "/"),
                manifest_text: fs::read_to_string(path)
                    .with_context(|| format!("{} cannot be read", path.display()))?,
                dependencies: package.dependencies,
            })
        })
        .collect()
}

/// Every arrow that is not in the picture, and every crate from outside in the wrong layer.
pub(crate) fn check(packages: &[Package]) -> Vec<Finding> {
    let members: BTreeSet<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    packages
        .iter()
        .flat_map(|package| check_package(package, &members))
        .collect()
}

fn check_package(package: &Package, members: &BTreeSet<&str>) -> Vec<Finding> {
    let name = package.name.as_str();
    let Some((_, arrows)) = ARROWS.iter().find(|(from, _)| *from == name) else {
        let message = format!(
            "crate `{name}` has no place in the picture: add it to ARCHITECTURE.md and to xtask/src/tidy/arrows.rs"
        );
        return vec![Finding::new(&package.manifest, 1, message)];
    };
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let used = dependency.name.as_str();
        let for_tests = dependency.kind.as_deref() == Some("dev");
        let message = if members.contains(used) {
            let allowed = arrows.contains(&used)
                || (for_tests && (FOR_TESTS.contains(&used) || TESTS_USE_ALL.contains(&name)));
            (!allowed).then(|| {
                let kind = if for_tests { "in its tests " } else { "" };
                format!("`{name}` may not use `{used}` {kind}(it may use {}): ARCHITECTURE.md shows the arrows", list(arrows))
            })
        } else if for_tests {
            None
        } else {
            let rule = OWNERS
                .iter()
                .find(|(crates, _)| crates.iter().any(|pattern| matches(pattern, used)));
            rule.filter(|(_, owners)| !owners.contains(&name))
                .map(|(_, owners)| format!("`{name}` may not use `{used}`: only {} may, so that its work has one place", list(owners)))
        };
        findings.extend(message.map(|message| {
            Finding::new(
                &package.manifest,
                line_of(&package.manifest_text, used),
                message,
            )
        }));
    }
    findings
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(pattern == name, |start| name.starts_with(start))
}

fn list(names: &[&str]) -> String {
    if names.is_empty() {
        "none of ours".to_owned()
    } else {
        names.join(", ")
    }
}

/// Where a manifest names a dependency; its first line if the manifest renames it.
fn line_of(manifest: &str, name: &str) -> usize {
    let named = |line: &str| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with([' ', '.', '=']))
    };
    manifest
        .lines()
        .position(named)
        .map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let mut lines = vec!["[dependencies]".to_owned()];
        lines.extend(
            dependencies
                .iter()
                .map(|(used, _)| format!("{used}.workspace = true")),
        );
        Package {
            name: name.to_owned(),
            manifest: format!("crates/{name}/Cargo.toml"),
            manifest_text: lines.join("\n"),
            dependencies: dependencies
                .iter()
                .map(|(used, kind)| Dependency {
                    name: (*used).to_owned(),
                    kind: kind.map(str::to_owned),
                })
                .collect(),
        }
    }

    /// The findings for one crate in a workspace of all of them.
    fn findings(name: &str, dependencies: &[(&str, Option<&str>)]) -> Vec<String> {
        let mut packages = vec![package(name, dependencies)];
        packages.extend(
            ARROWS
                .iter()
                .filter(|(other, _)| *other != name)
                .map(|(other, _)| package(other, &[])),
        );
        check(&packages).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn arrows_of_the_picture_pass() {
        for (name, arrows) in ARROWS {
            let all: Vec<_> = arrows.iter().map(|used| (*used, None)).collect();
            assert_eq!(findings(name, &all), [""; 0], "{name}");
        }
    }

    #[test]
    fn every_arrow_that_is_not_in_the_picture_fails() {
        for (name, arrows) in ARROWS {
            for (used, _) in ARROWS
                .iter()
                .filter(|(used, _)| *used != name && !arrows.contains(used))
            {
                assert_eq!(findings(name, &[(used, None)]).len(), 1, "{name} -> {used}");
                assert_eq!(
                    findings(name, &[(used, Some("build"))]).len(),
                    1,
                    "{name} -> {used} in its build"
                );
            }
        }
    }

    #[test]
    fn a_wrong_arrow_is_shown_with_its_line_and_what_is_allowed() {
        let findings = findings(
            "vydra-http",
            &[("vydra-engine", None), ("vydra-store", None)],
        );
        let expected = "crates/vydra-http/Cargo.toml:3: `vydra-http` may not use `vydra-store` \
                        (it may use vydra-core, vydra-engine): ARCHITECTURE.md shows the arrows";
        assert_eq!(findings, [expected]);
    }

    #[test]
    fn tests_may_use_the_testkit_and_the_client_but_not_turn_an_arrow_round() {
        assert_eq!(
            findings(
                "vydra-store",
                &[
                    ("vydra-testkit", Some("dev")),
                    ("vydra-client", Some("dev"))
                ]
            ),
            [""; 0]
        );
        assert_eq!(
            findings("vydra-store", &[("vydra-engine", Some("dev"))]).len(),
            1
        );
        assert_eq!(
            findings(
                "vydra-cli",
                &[("vydra-testkit", Some("dev")), ("vydra-core", Some("dev"))]
            ),
            [""; 0]
        );
        assert_eq!(findings("vydra-cli", &[("vydra-testkit", None)]).len(), 1);
    }

    #[test]
    fn a_crate_from_outside_stays_in_its_layer() {
        let wrong = [
            ("vydra-engine", "rusqlite"),
            ("vydra-cli", "tokio-postgres"),
            ("vydra-core", "sqlx"),
            ("vydra-engine", "reqwest"),
            ("vydra-http", "image"),
            ("vydra-store", "object_store"),
            ("vydra-cli", "openh264"),
            ("vydra-cli", "axum"),
            ("vydra-engine", "utoipa-axum"),
            ("vydra-outbound", "tower-http"),
            ("vydra-outbound", "hyper-util"),
            ("vydra-http", "clap"),
            ("vydra-client", "indicatif"),
            ("vydra-engine", "anyhow"),
        ];
        for (name, used) in wrong {
            assert_eq!(findings(name, &[(used, None)]).len(), 1, "{name} -> {used}");
            assert_eq!(
                findings(name, &[(used, Some("dev"))]),
                [""; 0],
                "{name} -> {used} in its tests"
            );
        }
        let right = [
            ("vydra-store", "rusqlite"),
            ("vydra-outbound", "reqwest"),
            ("vydra-client", "reqwest"),
            ("vydra-outbound", "image"),
            ("vydra-http", "utoipa"),
            ("vydra-testkit", "axum"),
            ("vydra-cli", "clap"),
            ("xtask", "anyhow"),
        ];
        for (name, used) in right {
            assert_eq!(findings(name, &[(used, None)]), [""; 0], "{name} -> {used}");
        }
    }

    #[test]
    fn a_crate_without_a_place_fails() {
        let findings = findings("vydra-helpers", &[]);
        assert!(
            findings.len() == 1 && findings[0].contains("no place"),
            "{findings:?}"
        );
    }
}
