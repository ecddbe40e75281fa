//! `cargo xtask tidy`: the rules of the house that the compiler cannot see.
//!
//! Each rule is a function from what it looks at to findings, and has a test that shows it failing.

mod arrows;
mod docs;
mod migrations;
mod rust;
mod settings;
mod sources;
mod tree;

use std::fmt;
use std::path::Path;

/// One fault, at one place, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Relative to the root, with slashes.
    pub(crate) file: String,
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl Finding {
    pub(crate) fn new(file: impl Into<String>, line: usize, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// Checks every rule over the checkout at `root`.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let files = tree::read(root)?;
    let mut findings = arrows::check(&arrows::packages(root)?);
    for file in &files {
        findings.extend(sources::check(file));
    }
    findings.extend(docs::check(&files, |path| root.join(path).exists()));
    findings.extend(migrations::check(&files));
    findings.extend(settings::check(&files));
    findings.sort();
    findings.dedup();
    Ok(findings)
}
