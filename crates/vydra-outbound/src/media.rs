//! Where media files are kept, behind `object_store`: in a folder, or in a bucket of any store that speaks S3
//! ([`s3`]).
//!
//! Keys are made by us, never by a caller: small letters, digits, `.`, `_`, `-`, in segments divided by `/`. Anything
//! else names nothing.

mod folder;
pub mod s3;
mod writer;

pub use writer::MediaWriter;

use crate::thumbnail;
use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use object_store::signer::Signer;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};
use tokio_util::task::TaskTracker;
use vydra_core::time::Timestamp;

const MAX_KEY_LENGTH: usize = 512;
/// Of the name of a file: 160 random bits.
const KEY_DIGITS: usize = 40;
/// Written and removed to see whether the storage takes files.
const PROBE_KEY: &str = "probe/writable";
/// Never written.
const MISSING_KEY: &str = "probe/missing";

#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    #[error("there is no such media file")]
    NotFound,
    #[error("the media file is larger than asked for")]
    TooLarge,
    #[error("the range is outside of the media file")]
    Range { size: u64 },
    #[error("the media storage failed")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<object_store::Error> for MediaError {
    fn from(error: object_store::Error) -> Self {
        match error {
            // A bucket that is not there is told in the same way as a file.
            object_store::Error::NotFound { ref source, .. }
                if source.to_string().contains("NoSuchBucket") =>
            {
                Self::Storage(Box::new(Refusal::NoBucket(error)))
            }
            object_store::Error::NotFound { .. } => Self::NotFound,
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => {
                Self::Storage(Box::new(Refusal::Key(error)))
            }
            other => Self::Storage(Box::new(other)),
        }
    }
}

/// What an operator can mend; the storage's own words stand behind it.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the access key, its secret, or what it may do is refused")]
    Key(#[source] object_store::Error),
    #[error(
        "a file that is not there is answered as a forbidden one: the access key lacks s3:ListBucket on the bucket, or \
         s3:GetObject on its objects"
    )]
    Blind(#[source] object_store::Error),
    #[error("there is no such bucket")]
    NoBucket(#[source] object_store::Error),
}

/// A file that is being read.
pub struct MediaStream {
    /// Of the whole file.
    pub size: u64,
    /// What `stream` gives: the range asked for, cut at the end of the file.
    pub range: Range<u64>,
    pub stream: BoxStream<'static, Result<Bytes, MediaError>>,
}

impl fmt::Debug for MediaStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediaStream")
            .field("size", &self.size)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// In what portions a kind of storage wants its files.
#[derive(Debug, Clone, Copy)]
struct Portions {
    /// Of a file that comes bit by bit: so much of it is held in memory at most, and a file that has no more is written
    /// at once.
    part: usize,
    /// Of a file that is in memory already.
    whole: usize,
}

/// A file as the storage lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Of a finished file, its key.
    pub name: String,
    pub bytes: u64,
    pub modified_at: Timestamp,
    /// What a write left that never came to its end.
    pub is_unfinished: bool,
}

/// Media storage. Cheap to clone.
#[derive(Clone)]
pub struct MediaStore {
    store: Arc<dyn ObjectStore>,
    /// In front of every key: empty, or with a slash at its end.
    prefix: String,
    portions: Portions,
    check_holds: Duration,
    /// Makes links to files, where readers are sent to the storage itself.
    links: Option<Arc<dyn Signer>>,
    /// What files that were given up left behind, on its way out.
    leftovers: TaskTracker,
    /// Of a folder. The store itself hides what it has not finished.
    root: Option<Arc<Path>>,
}

impl fmt::Debug for MediaStore {
    /// What stores tell of themselves goes down to what they sign with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MediaStore({})", self.store)
    }
}

impl MediaStore {
    /// Keeps the files below `root`, which is created.
    pub fn folder(root: &Path) -> Result<Self, MediaError> {
        std::fs::create_dir_all(root).map_err(|error| MediaError::Storage(Box::new(error)))?;
        let store = LocalFileSystem::new_with_prefix(root)?.with_fsync(true);
        Ok(Self {
            root: Some(root.into()),
            ..Self::over(Arc::new(store), 64 * 1_024)
        })
    }

    /// Keeps the files in `store`, whose own guarantees then take the place of those below, in parts of so many bytes.
    pub fn over(store: Arc<dyn ObjectStore>, part: usize) -> Self {
        Self {
            store,
            prefix: String::new(),
            portions: Portions {
                part,
                whole: usize::MAX,
            },
            check_holds: Duration::from_secs(1),
            links: None,
            leftovers: TaskTracker::new(),
            root: None,
        }
    }

    /// Guarantee: when it has answered, the file outlives a loss of power; until then, readers see what was there
    /// before. An existing file is replaced.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), MediaError> {
        if bytes.len() > self.portions.whole {
            let mut writer = self.create(key)?;
            writer.write(&bytes).await?;
            return writer.finish().await;
        }
        self.put_whole(&self.location(key)?, bytes.into()).await
    }

    async fn put_whole(&self, location: &StorePath, bytes: PutPayload) -> Result<(), MediaError> {
        self.store.put(location, bytes).await?;
        Ok(())
    }

    /// For a file that is too large to hold in memory. Nothing is asked of the storage before there is a part of it.
    pub fn create(&self, key: &str) -> Result<MediaWriter, MediaError> {
        Ok(MediaWriter::new(self.clone(), self.location(key)?))
    }

    /// Until nothing is left of files that were given up, as far as the storage can be reached.
    pub async fn settled(&self) {
        self.leftovers.close();
        self.leftovers.wait().await;
    }

    /// The whole file, unless it has more than `max_bytes`.
    pub async fn read(&self, key: &str, max_bytes: u64) -> Result<Bytes, MediaError> {
        let mut file = self.open(key, None).await?;
        if file.size > max_bytes {
            return Err(MediaError::TooLarge);
        }
        let mut bytes = BytesMut::with_capacity(usize::try_from(file.size).unwrap_or(0));
        while let Some(chunk) = file.stream.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes.freeze())
    }

    /// The file as a stream, or the part of it that `range` asks for. A range that ends behind the file is cut.
    pub async fn open(
        &self,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<MediaStream, MediaError> {
        let location = self.location(key)?;
        if let Some(range) = &range
            && range.is_empty()
        {
            return Err(self.out_of_range(&location).await);
        }
        let options = GetOptions {
            range: range.clone().map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let found = match self.store.get_opts(&location, options).await {
            Ok(found) => found,
            Err(error) => {
                let error = MediaError::from(error);
                // Each kind of storage tells of an impossible range in its own way; the size tells for all of them.
                return Err(match (error, range) {
                    (MediaError::Storage(error), Some(range)) => {
                        match self.out_of_range(&location).await {
                            MediaError::Range { size } if range.start < size => {
                                MediaError::Storage(error)
                            }
                            told => told,
                        }
                    }
                    (error, _) => error,
                });
            }
        };
        Ok(MediaStream {
            size: found.meta.size,
            range: found.range.clone(),
            stream: found
                .into_stream()
                .map(|chunk| chunk.map_err(MediaError::from))
                .boxed(),
        })
    }

    async fn out_of_range(&self, location: &StorePath) -> MediaError {
        match self.store.head(location).await {
            Ok(file) => MediaError::Range { size: file.size },
            Err(error) => error.into(),
        }
    }

    /// A file that is not there counts as deleted.
    pub async fn delete(&self, key: &str) -> Result<(), MediaError> {
        let deleted = self.store.delete(&self.location(key)?).await;
        // Not before it is told whether there is a bucket at all.
        match deleted.map_err(MediaError::from) {
            Ok(()) | Err(MediaError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// None for a file that is not there.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, MediaError> {
        let found = self.store.head(&self.location(key)?).await;
        match found.map_err(MediaError::from) {
            Ok(found) => Ok(Some(found.size)),
            Err(MediaError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All files of ours that lie in the storage, in no order and never all at once in memory. What is written or removed
    /// meanwhile may be there or not; what others put beside them is passed over, and in a folder not even looked into.
    pub fn list(&self) -> BoxStream<'static, Result<StoredFile, MediaError>> {
        if let Some(root) = &self.root {
            return folder::walk(root);
        }
        let prefix = self.prefix.clone();
        let below = StorePath::from(prefix.trim_end_matches('/'));
        let told = move |found: object_store::ObjectMeta| {
            let name = found.location.as_ref().strip_prefix(&prefix)?;
            is_name_of_ours(name).then(|| StoredFile {
                name: name.to_owned(),
                bytes: found.size,
                modified_at: Timestamp::from_micros(found.last_modified.timestamp_micros()),
                is_unfinished: false,
            })
        };
        self.store
            .list(Some(&below))
            .map_err(MediaError::from)
            .try_filter_map(move |found| std::future::ready(Ok(told(found))))
            .boxed()
    }

    /// Removes what [`Self::list`] has told of. What is not there any more counts as removed.
    pub async fn remove(&self, file: &StoredFile) -> Result<(), MediaError> {
        if let (true, Some(root)) = (file.is_unfinished, &self.root) {
            return match tokio::fs::remove_file(root.join(&file.name)).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(MediaError::Storage(Box::new(error)))
                }
                _ => Ok(()),
            };
        }
        self.delete(&file.name).await
    }

    /// Writes and removes a file, in the way that [`Self::put`] does, and looks for one that is not there: whoever may not
    /// list a bucket is refused in place of being told so, and could make no thumbnail.
    pub async fn check_writable(&self) -> Result<(), MediaError> {
        self.put(PROBE_KEY, Bytes::from_static(b"writable")).await?;
        self.delete(PROBE_KEY).await?;
        // Not the probe itself, which another process may have written again.
        match self.store.head(&self.location(MISSING_KEY)?).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error @ object_store::Error::PermissionDenied { .. }) => {
                Err(MediaError::Storage(Box::new(Refusal::Blind(error))))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// How long the answer of [`Self::check_writable`] is good enough: a bucket charges for each request.
    pub fn check_holds(&self) -> Duration {
        self.check_holds
    }

    fn location(&self, key: &str) -> Result<StorePath, MediaError> {
        if !is_made_by_us(key) {
            return Err(MediaError::NotFound);
        }
        StorePath::parse(format!("{}{key}", self.prefix)).map_err(|_| MediaError::NotFound)
    }
}

/// Whether a file that lies in the storage is one of ours: of exactly the shape that the engine gives its keys, or the
/// thumbnail of one, or the probe. Whatever is listed may be removed, so nothing that another could have put there counts.
fn is_name_of_ours(name: &str) -> bool {
    if name == PROBE_KEY {
        return true;
    }
    let original = name.strip_suffix(thumbnail::SUFFIX).unwrap_or(name);
    let Some((folder, file)) = original.split_once('/') else {
        return false;
    };
    let Some((digits, extension)) = file.split_once('.') else {
        return false;
    };
    is_shard(folder)
        && digits.len() == KEY_DIGITS
        && digits.starts_with(folder)
        && digits.bytes().all(is_hex_digit)
        && !extension.is_empty()
        && extension
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// The folder of those files whose names begin with it.
fn is_shard(folder: &str) -> bool {
    folder.len() == 2 && folder.bytes().all(is_hex_digit)
}

fn is_hex_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn is_made_by_us(key: &str) -> bool {
    key.len() <= MAX_KEY_LENGTH
        && key.split('/').all(|segment| {
            !segment.is_empty()
                && !segment.starts_with('.')
                && !segment.contains("..")
                && segment.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-')
                })
        })
}

#[cfg(test)]
mod tests;
