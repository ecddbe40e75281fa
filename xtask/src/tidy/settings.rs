//! What files for operators say of the program: each setting that they name is one, and versions are the workspace's own.

use super::Finding;
use super::tree::File;
use std::collections::BTreeSet;

const MANUAL: &str = "config.default.toml";
const PREFIX: &str = "VYDRA__";
/// Sections that operators name themselves.
const OPEN: &str = "providers.";

/// Where a version stands that is somebody else's: the file, what stands before it, and the key of the workspace's package.
const COPIES: [(&str, &str, &str); 3] = [
    ("deploy/helm/vydra/Chart.yaml", "appVersion: \"", "version"),
    ("deploy/helm/vydra/Chart.yaml", "version: ", "version"),
    ("Dockerfile", "FROM rust:", "rust-version"),
];

/// Checks the files for operators among `files`.
pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let text_of = |path: &str| {
        let found = files.iter().find(|file| file.path == path);
        found.map_or("", |file| file.text.as_str())
    };
    let known = settings(text_of(MANUAL));
    let mut findings: Vec<Finding> = files
        .iter()
        .filter(|file| is_for_operators(&file.path))
        .flat_map(|file| unknown(file, &known))
        .collect();
    for (path, before, key) in COPIES {
        if let Some(file) = files.iter().find(|file| file.path == path) {
            findings.extend(copy(file, before, key, text_of("Cargo.toml")));
        }
    }
    findings
}

fn is_for_operators(path: &str) -> bool {
    let at_the_root = ["Dockerfile", "README.md", MANUAL].contains(&path);
    at_the_root || path.starts_with("deploy/") || path.starts_with("docs/")
}

/// `section.key` of everything in the manual.
fn settings(manual: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut found = BTreeSet::new();
    for line in manual.lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = name;
        } else if let Some((key, _)) = line.split_once(" = ")
            && !key.starts_with('#')
        {
            found.insert(format!("{section}.{key}"));
        }
    }
    found
}

fn unknown(file: &File, known: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for (at, _) in line.match_indices(PREFIX) {
            let rest = &line[at + PREFIX.len()..];
            let end = rest.find(|c: char| !(c.is_ascii_uppercase() || c == '_'));
            let name = &rest[..end.unwrap_or(rest.len())];
            let key = name.to_ascii_lowercase().replace("__", ".");
            // Of the pattern itself, as in "VYDRA__SECTION__KEY".
            let is_pattern = key.is_empty() || key.starts_with("section.");
            if !is_pattern && !key.starts_with(OPEN) && !known.contains(&key) {
                let message = format!("{PREFIX}{name} is no setting: {MANUAL} has no {key}");
                findings.push(Finding::new(&file.path, index + 1, message));
            }
        }
    }
    findings
}

fn copy(file: &File, before: &str, key: &str, workspace: &str) -> Option<Finding> {
    let wanted = workspace.lines().find_map(|line| {
        let value = line.strip_prefix(key)?.strip_prefix(" = \"")?;
        value.strip_suffix('"')
    })?;
    let found = file.text.lines().enumerate().find_map(|(index, line)| {
        let value = line.strip_prefix(before)?;
        let end = value.find(|c: char| !(c.is_ascii_digit() || c == '.'));
        Some((index + 1, &value[..end.unwrap_or(value.len())]))
    });
    let (line, message) = match found {
        Some((_, version)) if version == wanted => return None,
        Some((line, version)) => (
            line,
            format!("{version} where the workspace's {key} is {wanted}"),
        ),
        None => (1, format!("no line that begins with `{before}`")),
    };
    Some(Finding::new(&file.path, line, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "[workspace.package]\nversion = \"1.2.3\"\nrust-version = \"1.95\"\n";
    const DEFAULTS: &str = "[server]\n# port = 1\nlisten = \"a\"\n\n[log]\nformat = \"text\"\n";

    fn findings(path: &str, text: &str) -> Vec<String> {
        let files = [
            File::new(MANUAL, DEFAULTS),
            File::new("Cargo.toml", TOML),
            File::new(path, text),
        ];
        check(&files).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn settings_that_there_are_pass() {
        let text = "VYDRA__SERVER__LISTEN: x\nVYDRA__LOG__FORMAT=json VYDRA__PROVIDERS__FAL__API_KEY=1 VYDRA__SECTION__KEY=value";
        assert_eq!(findings("deploy/compose.yaml", text), [""; 0]);
        assert_eq!(findings("crates/x.rs", "VYDRA__SERVER__PORT"), [""; 0]);
    }

    #[test]
    fn a_setting_that_is_none_is_found() {
        assert_eq!(
            findings("docs/x.md", "a\nset VYDRA__SERVER__PORT=1"),
            [
                "docs/x.md:2: VYDRA__SERVER__PORT is no setting: config.default.toml has no server.port"
            ]
        );
    }

    #[test]
    fn versions_are_the_workspaces() {
        assert_eq!(findings("Dockerfile", "FROM rust:1.95-bookworm"), [""; 0]);
        let chart = |version: &str| format!("version: 1.2.3\nappVersion: \"{version}\"");
        assert_eq!(
            findings("deploy/helm/vydra/Chart.yaml", &chart("1.2.3")),
            [""; 0]
        );
        assert_eq!(
            findings("deploy/helm/vydra/Chart.yaml", &chart("1.2.2")),
            ["deploy/helm/vydra/Chart.yaml:2: 1.2.2 where the workspace's version is 1.2.3"]
        );
        assert_eq!(
            findings("Dockerfile", "FROM debian"),
            ["Dockerfile:1: no line that begins with `FROM rust:`"]
        );
    }
}
