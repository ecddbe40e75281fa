//! What lies in a folder of media, read from the folder itself: `object_store` does not tell of writes that were broken off.

use super::{MediaError, StoredFile, is_name_of_ours, is_shard};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use vydra_core::time::Timestamp;

/// How many files are looked at before others have their turn.
const AT_ONCE: usize = 256;

/// Where the probe lies.
const PROBES: &str = "probe";

/// Every file of ours below a folder, some at a time on a thread that may wait for the disk.
pub(super) fn walk(root: &Arc<Path>) -> BoxStream<'static, Result<StoredFile, MediaError>> {
    let walk = Walk {
        root: Arc::clone(root),
        folders: vec![root.to_path_buf()],
        entries: None,
    };
    futures_util::stream::try_unfold(walk, async |mut walk| {
        let looked = tokio::task::spawn_blocking(move || {
            let some = walk.some()?;
            Ok((!some.is_empty()).then_some((some, walk)))
        });
        looked
            .await
            .unwrap_or_else(|broken| Err(io::Error::other(broken)))
            .map_err(|error| MediaError::Storage(Box::new(error)))
    })
    .map_ok(|some| futures_util::stream::iter(some.into_iter().map(Ok::<_, MediaError>)))
    .try_flatten()
    .boxed()
}

struct Walk {
    root: Arc<Path>,
    /// Those that were seen and not yet opened.
    folders: Vec<PathBuf>,
    entries: Option<std::fs::ReadDir>,
}

impl Walk {
    /// The next files; none when there are no more.
    fn some(&mut self) -> io::Result<Vec<StoredFile>> {
        let mut some = Vec::new();
        while some.len() < AT_ONCE {
            let Some(entries) = &mut self.entries else {
                let Some(folder) = self.folders.pop() else {
                    break;
                };
                match std::fs::read_dir(&folder) {
                    Ok(entries) => self.entries = Some(entries),
                    // A folder that went meanwhile; without its root there is no storage.
                    Err(error) if is_gone(&error) && *folder != *self.root => {}
                    Err(error) => return Err(error),
                }
                continue;
            };
            let Some(entry) = entries.next() else {
                self.entries = None;
                continue;
            };
            let entry = entry?;
            let about = match entry.metadata() {
                Ok(about) => about,
                // Files come and go while one looks.
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(error),
            };
            if about.is_dir() {
                let path = entry.path();
                if self.is_folder_of_ours(&path) {
                    self.folders.push(path);
                }
            } else if about.is_file() {
                some.extend(self.told(&entry.path(), &about)?);
            }
        }
        Ok(some)
    }

    /// The others may be as deep as they like, and forbidden to us.
    fn is_folder_of_ours(&self, path: &Path) -> bool {
        let name = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
        name.is_some_and(|name| is_shard(name) || name == PROBES)
    }

    /// None for a file whose name is not one of ours: nobody knows whose it is.
    fn told(&self, path: &Path, about: &Metadata) -> io::Result<Option<StoredFile>> {
        let name = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
        let Some(name) = name else { return Ok(None) };
        let (key, is_unfinished) = match name.rsplit_once('#') {
            Some((key, number))
                if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                (key, true)
            }
            _ => (name, false),
        };
        if !is_name_of_ours(key) {
            return Ok(None);
        }
        let modified = about.modified()?.duration_since(UNIX_EPOCH);
        let modified = modified.unwrap_or_default().as_micros();
        Ok(Some(StoredFile {
            name: name.to_owned(),
            bytes: about.len(),
            modified_at: Timestamp::from_micros(i64::try_from(modified).unwrap_or(i64::MAX)),
            is_unfinished,
        }))
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some cannot be opened by us at all, as `lost+found` of a disk.
    #[test]
    fn only_folders_of_ours_are_looked_into() {
        let walk = Walk {
            root: Path::new("/media").into(),
            folders: Vec::new(),
            entries: None,
        };
        let is_ours = |name| walk.is_folder_of_ours(&walk.root.join(name));
        assert!(["00", "af", "probe"].into_iter().all(is_ours));
        for stranger in [
            "lost+found",
            "prod",
            "AB",
            "abc",
            "a",
            "ab/cd",
            "ab/probe",
            "..",
        ] {
            assert!(!is_ours(stranger), "{stranger}");
        }
    }
}
