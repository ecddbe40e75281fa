//! Documents that must be there, and links between them that must lead somewhere.

use super::Finding;
use super::tree::File;

const REQUIRED: [&str; 5] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "LICENSE",
];
const UNRELEASED: &str = "## Unreleased";

/// Checks the documents among `files`; `exists` tells whether the checkout has a file or folder.
pub(crate) fn check(files: &[File], exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings: Vec<Finding> = REQUIRED
        .iter()
        .filter(|name| !files.iter().any(|file| file.path == **name))
        .map(|name| {
            Finding::new(
                *name,
                1,
                "the file is missing: every reader looks for it at the root",
            )
        })
        .collect();
    for file in files {
        if file.path == "CHANGELOG.md" {
            findings.extend(changelog(file));
        }
        let at_the_root =
            ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].contains(&file.path.as_str());
        if at_the_root || (file.path.starts_with("docs/") && file.has_extension("md")) {
            findings.extend(links(file, &exists));
        }
    }
    findings
}

fn changelog(file: &File) -> Option<Finding> {
    let has_heading = file.text.lines().any(|line| line.trim_end() == UNRELEASED);
    (!has_heading).then(|| {
        Finding::new(
            &file.path,
            1,
            format!("no heading `{UNRELEASED}`: the next change would have no place"),
        )
    })
}

fn links(file: &File, exists: &impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fence: Option<&str> = None;
    for (index, line) in file.text.lines().enumerate() {
        let trimmed = line.trim_start();
        let marker = ["```", "~~~"]
            .into_iter()
            .find(|marker| trimmed.starts_with(marker));
        match (fence, marker) {
            (None, Some(marker)) => fence = Some(marker),
            (Some(open), Some(marker)) if open == marker => fence = None,
            (None, None) => {
                for target in targets(&without_code(line)) {
                    if let Some(message) = broken(&file.path, target, exists) {
                        findings.push(Finding::new(&file.path, index + 1, message));
                    }
                }
            }
            (Some(_), _) => {}
        }
    }
    findings
}

/// Why a link leads nowhere, if it does.
fn broken(from: &str, target: &str, exists: &impl Fn(&str) -> bool) -> Option<String> {
    let path = target.split(['#', '?']).next().unwrap_or(target);
    let elsewhere =
        target.contains("://") || target.starts_with("mailto:") || target.starts_with("data:");
    if path.is_empty() || elsewhere {
        return None;
    }
    if path.starts_with('/') {
        return Some(format!(
            "link `{target}` is absolute: write it relative to this file"
        ));
    }
    match resolve(from, path) {
        None => Some(format!("link `{target}` leaves the checkout")),
        Some(resolved) if !exists(&resolved) => Some(format!(
            "link `{target}` leads nowhere: there is no `{resolved}`"
        )),
        Some(_) => None,
    }
}

/// The path from the root of what `path` means in the file `from`; nothing if it is outside.
fn resolve(from: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// A line with what stands between backticks replaced by nothing.
fn without_code(line: &str) -> String {
    let pieces: Vec<&str> = line.split('`').collect();
    // An opening backtick without its closing one is just a character.
    let complete = pieces.len() % 2 == 1;
    let kept = pieces
        .iter()
        .enumerate()
        .filter(|(index, _)| index % 2 == 0 || (!complete && index + 1 == pieces.len()));
    kept.map(|(_, piece)| *piece).collect()
}

/// Where the links of a line lead: `[…](target)`, `[name]: target`, `src="target"` and `href="target"`.
fn targets(line: &str) -> Vec<&str> {
    let inline = line
        .split("](")
        .skip(1)
        .filter_map(|rest| match rest.strip_prefix('<') {
            Some(bracketed) => bracketed.split('>').next(),
            None => rest.split([')', ' ']).next(),
        });
    let html = ["src=\"", "href=\""]
        .into_iter()
        .flat_map(|start| line.split(start).skip(1))
        .filter_map(|rest| rest.split('"').next());
    let definition = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "))
        .and_then(|(_, target)| target.split_whitespace().next());
    inline
        .chain(html)
        .chain(definition)
        .filter(|target| !target.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Vec<File> {
        REQUIRED
            .iter()
            .map(|name| {
                File::new(
                    *name,
                    if *name == "CHANGELOG.md" {
                        "# Changes\n\n## Unreleased\n"
                    } else {
                        ""
                    },
                )
            })
            .collect()
    }

    fn findings(files: &[File]) -> Vec<String> {
        check(files, |path| {
            files.iter().any(|file| file.path == path) || path == "docs"
        })
        .iter()
        .map(Finding::to_string)
        .collect()
    }

    fn findings_with(path: &str, text: &str) -> Vec<String> {
        let mut files = complete();
        files.retain(|file| file.path != path);
        files.push(File::new(path, text));
        findings(&files)
    }

    #[test]
    fn a_complete_set_passes() {
        assert_eq!(findings(&complete()), [""; 0]);
    }

    #[test]
    fn each_missing_document_fails() {
        for name in REQUIRED {
            let mut files = complete();
            files.retain(|file| file.path != name);
            let found = findings(&files);
            assert!(
                found.len() == 1 && found[0].starts_with(&format!("{name}:1: the file is missing")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_changelog_without_a_place_for_the_next_change_fails() {
        assert_eq!(
            findings_with("CHANGELOG.md", "# Changes\n\n## 0.1.0\n").len(),
            1
        );
        assert_eq!(
            findings_with("CHANGELOG.md", "# Changes\n\n### Unreleased\n").len(),
            1
        );
    }

    #[test]
    fn a_link_that_leads_nowhere_fails_with_its_line() {
        for link in [
            "[a](docs/no.md)",
            "![a](no.png)",
            "[a](<no way.md>)",
            "<img src=\"no.png\">",
            "[a]: no.md",
            "[a](no.md#part \"t\")",
        ] {
            let found = findings_with("README.md", &format!("# Title\n\n{link}\n"));
            assert!(
                found.len() == 1 && found[0].starts_with("README.md:3: link"),
                "{link}: {found:?}"
            );
        }
        assert_eq!(
            findings_with("docs/keys.md", "[a](README.md)").len(),
            1,
            "relative to the file, not to the root"
        );
        assert_eq!(
            findings_with("docs/keys.md", "[a](../../README.md)").len(),
            1,
            "outside the checkout"
        );
        assert_eq!(
            findings_with("README.md", "[a](/LICENSE)").len(),
            1,
            "absolute"
        );
        assert_eq!(
            findings_with("README.md", "[a](LICENSE) and [b](no.md)").len(),
            1,
            "the second of a line"
        );
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let text = "[a](LICENSE) [b](./ARCHITECTURE.md#map) [c](#here) [d](https://example.com/x) [e](mailto:a@example.com) [f](docs/)\n";
        assert_eq!(findings_with("README.md", text), [""; 0]);
        assert_eq!(
            findings_with("docs/deep/keys.md", "[a](../../README.md)"),
            [""; 0]
        );
    }

    #[test]
    fn code_holds_no_links() {
        assert_eq!(
            findings_with("README.md", "`[a](no.md)`\n```text\n[a](no.md)\n```\n"),
            [""; 0]
        );
        assert_eq!(
            findings_with("README.md", "```text\n```\n[a](no.md)\n").len(),
            1,
            "after the code"
        );
        assert_eq!(
            findings_with("README.md", "a ` alone [a](no.md)\n").len(),
            1,
            "a lone backtick is no code"
        );
    }

    #[test]
    fn other_documents_are_not_looked_at() {
        assert_eq!(findings_with("bench/notes.md", "[a](no.md)"), [""; 0]);
    }
}
