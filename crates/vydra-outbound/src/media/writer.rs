//! A file that comes bit by bit, on its way into the storage.

use super::{MediaError, MediaStore};
use object_store::path::Path as StorePath;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload, PutPayloadMut};
use std::fmt;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// In how large pieces memory is taken for a part.
const PIECE: usize = 16 * 1_024;

/// A file on its way into the storage: nobody reads it before [`Self::finish`]. Dropping it leaves nothing behind: what
/// the storage holds of it is removed in the background ([`MediaStore::settled`]).
pub struct MediaWriter {
    store: MediaStore,
    location: StorePath,
    waiting: PutPayloadMut,
    progress: Progress,
}

enum Progress {
    /// All of it is in memory: what is not larger than a part takes one request.
    InMemory,
    InParts(Unfinished),
    /// A part is on its way, or did not arrive: a file without it must not be taken for whole.
    Broken,
}

#[derive(Debug, thiserror::Error)]
#[error("a part of the file was not written")]
struct Incomplete;

impl fmt::Debug for MediaWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediaWriter").finish_non_exhaustive()
    }
}

impl MediaWriter {
    pub(super) fn new(store: MediaStore, location: StorePath) -> Self {
        Self {
            store,
            location,
            waiting: nothing(),
            progress: Progress::InMemory,
        }
    }

    /// After an error, or when it was not waited for, the file can only be given up.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), MediaError> {
        let part = self.store.portions.part;
        while !bytes.is_empty() {
            // Only now, so that a file of exactly one part takes one request.
            if self.waiting.content_length() >= part {
                self.send_part().await?;
            }
            let room = part.saturating_sub(self.waiting.content_length());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.waiting.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Guarantee: as for [`MediaStore::put`].
    pub async fn finish(mut self) -> Result<(), MediaError> {
        let rest = self.take_waiting();
        match self.progress {
            Progress::InMemory => self.store.put_whole(&self.location, rest).await,
            Progress::InParts(mut parts) => {
                parts.put(rest).await?;
                parts.complete().await
            }
            Progress::Broken => Err(broken()),
        }
    }

    async fn send_part(&mut self) -> Result<(), MediaError> {
        let part = self.take_waiting();
        let mut parts = match std::mem::replace(&mut self.progress, Progress::Broken) {
            Progress::InMemory => begin(self.store.clone(), self.location.clone()).await?,
            Progress::InParts(parts) => parts,
            Progress::Broken => return Err(broken()),
        };
        parts.put(part).await?;
        self.progress = Progress::InParts(parts);
        Ok(())
    }

    fn take_waiting(&mut self) -> PutPayload {
        std::mem::replace(&mut self.waiting, nothing()).freeze()
    }
}

/// To its end even when nobody waits for it any more: what has begun without our knowing its name stays for ever.
async fn begin(media: MediaStore, location: StorePath) -> Result<Unfinished, MediaError> {
    let (give, given) = oneshot::channel();
    let MediaStore {
        store, leftovers, ..
    } = media;
    leftovers.clone().spawn(async move {
        let begun = store.put_multipart(&location).await;
        let begun = begun.map(|upload| Unfinished {
            upload: Some(upload),
            leftovers,
        });
        // Given back when nobody takes it, and dropped.
        drop(give.send(begun));
    });
    let begun = given
        .await
        .map_err(|broken| MediaError::Storage(Box::new(broken)))?;
    Ok(begun?)
}

fn nothing() -> PutPayloadMut {
    PutPayloadMut::new().with_block_size(PIECE)
}

fn broken() -> MediaError {
    MediaError::Storage(Box::new(Incomplete))
}

/// Parts that are no file yet. A bucket keeps them, and charges for them, until it is told to forget them: dropping this
/// tells it so.
struct Unfinished {
    upload: Option<Box<dyn MultipartUpload>>,
    leftovers: TaskTracker,
}

impl Unfinished {
    async fn put(&mut self, part: PutPayload) -> Result<(), MediaError> {
        let upload = self.upload.as_mut().ok_or_else(broken)?;
        Ok(upload.put_part(part).await?)
    }

    async fn complete(mut self) -> Result<(), MediaError> {
        let upload = self.upload.as_mut().ok_or_else(broken)?;
        upload.complete().await?;
        self.upload = None;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(mut upload) = self.upload.take() else {
            return;
        };
        // Where nothing runs any more, nothing can be sent; a folder removes its file by itself.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let forget = async move {
            match upload.abort().await {
                // It had become a file, and only the answer was lost.
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "parts of a file that was given up could not be removed"
                ),
            }
        };
        self.leftovers.spawn_on(forget, &runtime);
    }
}
