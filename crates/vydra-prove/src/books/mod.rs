//! The books, read from the database itself and added up in plain Rust: neither the store's queries nor its types are
//! believed, so that a mistake in them cannot hide itself.

mod invariants;
mod rows;
mod snapshot;

pub(crate) use invariants::Violated;
pub(crate) use rows::{Books, JobRow};

use std::path::Path;
use vydra_testkit::Database;

/// Reads one snapshot of the database and checks every invariant that needs no file.
pub(crate) fn check(database: &Database) -> anyhow::Result<Books> {
    let books = Books::read(database)?;
    agree(&invariants::check(&books))?;
    Ok(books)
}

/// The same, and every file that a row names is there with its size. `size` answers None for a file that is not.
pub(crate) fn check_with_files(
    database: &Database,
    size: impl Fn(&str) -> Option<u64>,
) -> anyhow::Result<Books> {
    let books = check(database)?;
    agree(&invariants::files(&books, size))?;
    Ok(books)
}

/// The size of a file in a media folder.
pub(crate) fn in_folder(media: &Path) -> impl Fn(&str) -> Option<u64> {
    |key| Some(std::fs::metadata(media.join(key)).ok()?.len())
}

/// When everything is to have ended.
pub(crate) fn ended(books: &Books) -> anyhow::Result<()> {
    let open: Vec<&JobRow> = books.jobs.iter().filter(|job| job.is_open()).collect();
    anyhow::ensure!(
        open.is_empty(),
        "{} jobs have not ended, such as {:?}",
        open.len(),
        open.first()
    );
    Ok(())
}

fn agree(violations: &[Violated]) -> anyhow::Result<()> {
    const SHOWN: usize = 5;
    let texts: Vec<String> = violations
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    anyhow::ensure!(
        violations.is_empty(),
        "{} violations: {}",
        violations.len(),
        texts.join("; ")
    );
    Ok(())
}

#[cfg(test)]
mod tests;
