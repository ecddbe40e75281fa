//! Where media files are kept, behind `object_store`: today a folder, one day a bucket.
//!
//! Keys are made by us, never by a caller: small letters, digits, `.`, `_`, `-`, in segments divided by `/`. Anything
//! else names nothing.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use object_store::{
    GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload,
};
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

const MAX_KEY_LENGTH: usize = 512;
/// Written and removed to see whether the storage takes files.
const PROBE_KEY: &str = "probe/writable";

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
            object_store::Error::NotFound { .. } => Self::NotFound,
            other => Self::Storage(Box::new(other)),
        }
    }
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

/// What of a file is held in memory while it is written.
const PART: usize = 64 * 1_024;

/// A file on its way into the storage: nobody reads it before [`Self::finish`]. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct MediaWriter {
    upload: Box<dyn MultipartUpload>,
    waiting: BytesMut,
}

impl MediaWriter {
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), MediaError> {
        while !bytes.is_empty() {
            let room = PART.saturating_sub(self.waiting.len()).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            self.waiting.extend_from_slice(now);
            bytes = later;
            if self.waiting.len() >= PART {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Guarantee: as for [`MediaStore::put`].
    pub async fn finish(mut self) -> Result<(), MediaError> {
        if !self.waiting.is_empty() {
            self.flush().await?;
        }
        self.upload.complete().await?;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), MediaError> {
        let part = self.waiting.split().freeze();
        Ok(self.upload.put_part(PutPayload::from(part)).await?)
    }
}

/// Media storage. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MediaStore {
    store: Arc<dyn ObjectStore>,
}

impl MediaStore {
    /// Keeps the files below `root`, which is created.
    pub fn folder(root: &Path) -> Result<Self, MediaError> {
        std::fs::create_dir_all(root).map_err(|error| MediaError::Storage(Box::new(error)))?;
        let store = LocalFileSystem::new_with_prefix(root)?.with_fsync(true);
        Ok(Self {
            store: Arc::new(store),
        })
    }

    /// Keeps the files in `store`, whose own guarantees then take the place of those below.
    pub fn over(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// Guarantee: when it has answered, the file outlives a loss of power; until then, readers see what was there
    /// before. An existing file is replaced.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), MediaError> {
        self.store
            .put(&location(key)?, PutPayload::from(bytes))
            .await?;
        Ok(())
    }

    /// For a file that is too large to hold in memory.
    pub async fn create(&self, key: &str) -> Result<MediaWriter, MediaError> {
        Ok(MediaWriter {
            upload: self.store.put_multipart(&location(key)?).await?,
            waiting: BytesMut::new(),
        })
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
        let location = location(key)?;
        if let Some(range) = &range {
            // Asked first, because each kind of storage tells of an impossible range in its own way.
            let size = self.store.head(&location).await?.size;
            if range.start >= range.end || range.start >= size {
                return Err(MediaError::Range { size });
            }
        }
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let found = self.store.get_opts(&location, options).await?;
        Ok(MediaStream {
            size: found.meta.size,
            range: found.range.clone(),
            stream: found
                .into_stream()
                .map(|chunk| chunk.map_err(MediaError::from))
                .boxed(),
        })
    }

    /// A file that is not there counts as deleted.
    pub async fn delete(&self, key: &str) -> Result<(), MediaError> {
        match self.store.delete(&location(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes and removes a file, in the way that [`Self::put`] does.
    pub async fn check_writable(&self) -> Result<(), MediaError> {
        self.put(PROBE_KEY, Bytes::from_static(b"writable")).await?;
        self.delete(PROBE_KEY).await
    }
}

fn location(key: &str) -> Result<StorePath, MediaError> {
    let made_by_us = key.len() <= MAX_KEY_LENGTH
        && key.split('/').all(|segment| {
            !segment.is_empty()
                && !segment.starts_with('.')
                && !segment.contains("..")
                && segment.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-')
                })
        });
    if !made_by_us {
        return Err(MediaError::NotFound);
    }
    StorePath::parse(key).map_err(|_| MediaError::NotFound)
}

#[cfg(test)]
mod tests;
