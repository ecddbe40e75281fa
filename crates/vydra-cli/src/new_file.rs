//! A file that is written as a whole or not at all, and read by nobody but its owner.

use crate::config::Database;
use anyhow::{Context, bail};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Under another name until it is [kept](Self::keep); dropped before, it is removed.
#[derive(Debug)]
pub struct NewFile {
    place: PathBuf,
    folder: PathBuf,
    partial: PathBuf,
    overwrites: bool,
}

impl NewFile {
    /// Refuses a place where there is something, unless it is to be overwritten; and that of `source` or what belongs to it, always.
    pub fn create(place: &Path, overwrites: bool, source: &Database) -> anyhow::Result<Self> {
        let folder = match place.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let folder = folder
            .canonicalize()
            .with_context(|| format!("cannot write to {}", place.display()))?;
        let Some(name) = place.file_name() else {
            bail!("{} is no name for a file", place.display());
        };
        let mut partial = name.to_owned();
        partial.push(format!(".partial-{}", std::process::id()));
        let file = Self {
            place: place.to_owned(),
            partial: folder.join(partial),
            folder,
            overwrites,
        };
        file.check_place()?;
        if source.has(&file.folder.join(name)) {
            bail!(
                "{} is the database itself, or belongs to it: name another file",
                place.display()
            );
        }
        // It holds what callers asked for and the secret that marks their keys.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file.partial)
            .with_context(|| format!("cannot write to {}", file.partial.display()))?;
        Ok(file)
    }

    fn check_place(&self) -> anyhow::Result<()> {
        let place = self.place.display();
        match self.place.symlink_metadata() {
            Ok(found) if found.is_dir() => bail!("{place} is a folder"),
            Ok(_) if !self.overwrites => {
                bail!("{place} is there already; --force overwrites it")
            }
            _ => Ok(()),
        }
    }

    /// What is there until it is kept: an empty file at first.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    pub fn open(&self) -> anyhow::Result<File> {
        OpenOptions::new()
            .write(true)
            .open(&self.partial)
            .with_context(|| format!("cannot write to {}", self.partial.display()))
    }

    /// On the disk, and under its name. How many bytes it has.
    pub fn keep(self) -> anyhow::Result<u64> {
        let failed = || format!("cannot write to {}", self.place.display());
        let file = File::open(&self.partial).with_context(failed)?;
        file.sync_all().with_context(failed)?;
        let bytes = file.metadata().with_context(failed)?.len();
        self.check_place()?;
        fs::rename(&self.partial, &self.place).with_context(failed)?;
        // So that the name outlives a loss of power too.
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .with_context(failed)?;
        Ok(bytes)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Nothing is there any more once it was kept.
        let _ = fs::remove_file(&self.partial);
    }
}
