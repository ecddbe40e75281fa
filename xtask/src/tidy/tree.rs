//! The files of the checkout: everything that `.gitignore` does not name.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;

/// A file of the checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Relative to the root, with slashes.
    pub(crate) path: String,
    /// Empty for a file that is not text.
    pub(crate) text: String,
}

impl File {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }

    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|found| found == extension)
    }
}

/// Every file under `root` that is not ignored, in the order of its path.
pub(crate) fn read(root: &Path) -> anyhow::Result<Vec<File>> {
    let ignore = match fs::read_to_string(root.join(".gitignore")) {
        Ok(text) => Ignore::parse(&text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ignore::parse(""),
        Err(error) => return Err(error).context(".gitignore cannot be read"),
    };
    let mut files = Vec::new();
    walk(root, "", &ignore, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn walk(root: &Path, folder: &str, ignore: &Ignore, files: &mut Vec<File>) -> anyhow::Result<()> {
    let cannot = || format!("`{folder}` cannot be read");
    for entry in fs::read_dir(root.join(folder)).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() {
            name
        } else {
            format!("{folder}/{name}")
        };
        let kind = entry.file_type().with_context(cannot)?;
        if ignore.names(&path) {
            continue;
        }
        if kind.is_dir() {
            walk(root, &path, ignore, files)?;
        } else if kind.is_file() {
            let bytes =
                fs::read(entry.path()).with_context(|| format!("`{path}` cannot be read"))?;
            files.push(File::new(
                path,
                String::from_utf8(bytes).unwrap_or_default(),
            ));
        }
    }
    Ok(())
}

/// The forms of `.gitignore` that this project uses: `/at-the-root`, `*.suffix` and `name`, each with or without a last slash.
#[derive(Debug)]
struct Ignore(Vec<String>);

impl Ignore {
    fn parse(text: &str) -> Self {
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut patterns: Vec<String> = lines
            .map(|line| line.trim_end_matches('/').to_owned())
            .collect();
        patterns.push(".git".to_owned());
        Self(patterns)
    }

    fn names(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.0.iter().any(|pattern| {
            if let Some(suffix) = pattern.strip_prefix('*') {
                name.ends_with(suffix)
            } else if let Some(rooted) = pattern.strip_prefix('/') {
                path == rooted
            } else {
                path == pattern || name == pattern
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_ignores_is_not_looked_at() {
        let ignore = Ignore::parse("# build\n/target\n*.snap.new\nnode_modules/\n");
        for path in [
            "target",
            "a/b.snap.new",
            "sdks/typescript/node_modules",
            ".git",
        ] {
            assert!(ignore.names(path), "{path}");
        }
        for path in [
            "crates/target",
            "a/b.snap",
            "targets",
            ".gitignore",
            ".github",
        ] {
            assert!(!ignore.names(path), "{path}");
        }
    }

    #[test]
    fn this_checkout_has_this_file() {
        let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = read(xtask).unwrap();
        assert!(files.iter().any(|file| file.path == "src/tidy/tree.rs"
            && file.text.contains("this_checkout_has_this_file")));
    }
}
