//! A file on its way into the storage: told by its first bytes, bounded while it streams through, and removed again unless a
//! row comes to name it.

use crate::Engine;
use crate::inputs::{is_too_large, max_bytes};
use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use vydra_core::asset::MediaKind;
use vydra_outbound::media::{MediaError, MediaStore, MediaWriter};
use vydra_outbound::scrub::Scrubber;
use vydra_outbound::sniff::{Sniffed, sniff};

/// So many bytes tell every image.
const ENOUGH_FOR_AN_IMAGE: usize = 32;
/// Two frames in a row tell music, and the longest one has 8 KiB.
const ENOUGH_FOR_OTHERS: usize = 16 * 1_024;
/// A JPEG may hide its size behind this much of metadata.
const MAX_HEAD: usize = 1_024 * 1_024;
const MIB: u64 = 1_024 * 1_024;

/// The most bytes of a file that a provider makes.
pub(crate) const fn max_output_bytes(kind: MediaKind) -> u64 {
    match kind {
        MediaKind::Image => 128 * MIB,
        MediaKind::Audio => 512 * MIB,
        MediaKind::Video => 2_048 * MIB,
    }
}

/// Who made the file, and so what it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// What tells of place and maker becomes blank, and an image has to tell its size, which is bounded.
    Caller,
    /// Kept as it is.
    Provider,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    #[error("the file is too large")]
    TooLarge,
    #[error("the image has too many pixels")]
    TooManyPixels,
    #[error("the bytes are not of the kind that is wanted")]
    WrongType,
    #[error(transparent)]
    Storage(#[from] MediaError),
}

/// A file that comes in pieces. Dropping it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Intake {
    kind: MediaKind,
    origin: Origin,
    size: u64,
    /// The first bytes, until they tell what the file is.
    head: Vec<u8>,
    /// How long the head has to be for another look. It doubles, so that a file in very small pieces is not looked at for each.
    next_look: usize,
    body: Option<Recognised>,
}

#[derive(Debug)]
struct Recognised {
    found: Sniffed,
    storage_key: String,
    writer: MediaWriter,
    scrubber: Option<Scrubber>,
}

impl Intake {
    pub(crate) fn new(kind: MediaKind, origin: Origin) -> Self {
        Self {
            kind,
            origin,
            size: 0,
            head: Vec::new(),
            next_look: match kind {
                MediaKind::Image => ENOUGH_FOR_AN_IMAGE,
                MediaKind::Audio | MediaKind::Video => ENOUGH_FOR_OTHERS,
            },
            body: None,
        }
    }

    pub(crate) fn max_bytes(&self) -> u64 {
        match self.origin {
            Origin::Caller => max_bytes(self.kind),
            Origin::Provider => max_output_bytes(self.kind),
        }
    }

    /// How many bytes have come.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes. After an error there is no use in more.
    pub(crate) async fn write(&mut self, engine: &Engine, bytes: &[u8]) -> Result<(), IntakeError> {
        self.size = self
            .size
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.size > self.max_bytes() {
            return Err(IntakeError::TooLarge);
        }
        if let Some(body) = &mut self.body {
            return body.write(bytes).await;
        }
        self.head.extend_from_slice(bytes);
        if self.head.len() < self.next_look {
            return Ok(());
        }
        self.next_look = (2 * self.head.len()).min(MAX_HEAD);
        self.recognise(engine, false).await
    }

    /// Looks at the first bytes; `whole` when there are no more.
    async fn recognise(&mut self, engine: &Engine, whole: bool) -> Result<(), IntakeError> {
        let found = sniff(&self.head)
            .filter(|found| found.kind == self.kind)
            .ok_or(IntakeError::WrongType)?;
        let sized = self.kind != MediaKind::Image || found.dimensions.is_some();
        if !sized && !whole && self.head.len() < MAX_HEAD {
            return Ok(());
        }
        let scrubber = match self.origin {
            Origin::Provider => None,
            // An image that does not tell its size is none.
            Origin::Caller if !sized => return Err(IntakeError::WrongType),
            Origin::Caller if found.dimensions.is_some_and(is_too_large) => {
                return Err(IntakeError::TooManyPixels);
            }
            Origin::Caller => Some(Scrubber::new(found.media_type)),
        };
        let storage_key = engine.new_storage_key(found.extension);
        let mut body = Recognised {
            writer: engine.parts.media.create(&storage_key)?,
            scrubber,
            storage_key,
            found,
        };
        body.write(&std::mem::take(&mut self.head)).await?;
        self.body = Some(body);
        Ok(())
    }

    /// The file is whole.
    pub(crate) async fn finish(mut self, engine: &Engine) -> Result<Stored, IntakeError> {
        if self.body.is_none() {
            self.recognise(engine, true).await?;
        }
        let Some(body) = self.body else {
            return Err(IntakeError::WrongType);
        };
        let Recognised {
            found,
            storage_key,
            mut writer,
            scrubber,
        } = body;
        let mut last = BytesMut::new();
        if let Some(scrubber) = scrubber {
            scrubber.finish(&mut last);
        }
        let stored = engine.will_be_stored(found, storage_key, self.size);
        let ending = async move {
            writer.write(&last).await?;
            writer.finish().await
        };
        Ok(engine.store_to_the_end(stored, ending).await?)
    }
}

impl Recognised {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), IntakeError> {
        match &mut self.scrubber {
            Some(scrubber) => {
                let mut clean = BytesMut::with_capacity(bytes.len());
                scrubber.push(bytes, &mut clean);
                self.writer.write(&clean).await?;
            }
            None => self.writer.write(bytes).await?,
        }
        Ok(())
    }
}

impl Engine {
    /// The same for a provider's file that is in memory anyway: in one go.
    pub(crate) async fn store_output(
        &self,
        kind: MediaKind,
        bytes: Bytes,
    ) -> Result<Stored, IntakeError> {
        let found = sniff(&bytes)
            .filter(|found| found.kind == kind)
            .ok_or(IntakeError::WrongType)?;
        Ok(self.store_whole(found, bytes).await?)
    }

    pub(crate) async fn store_whole(
        &self,
        found: Sniffed,
        bytes: Bytes,
    ) -> Result<Stored, MediaError> {
        let storage_key = self.new_storage_key(found.extension);
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let stored = self.will_be_stored(found, storage_key.clone(), size);
        let media = self.parts.media.clone();
        let put = async move { media.put(&storage_key, bytes).await };
        self.store_to_the_end(stored, put).await
    }

    fn will_be_stored(&self, found: Sniffed, storage_key: String, bytes: u64) -> Stored {
        Stored {
            found,
            storage_key,
            bytes,
            named: false,
            media: self.parts.media.clone(),
            endings: self.endings_of_files.clone(),
        }
    }

    /// What puts a file into its place goes on in the storage when nobody waits for it any more; so it is awaited all the same,
    /// and what comes too late is removed.
    async fn store_to_the_end(
        &self,
        stored: Stored,
        put: impl Future<Output = Result<(), MediaError>> + Send + 'static,
    ) -> Result<Stored, MediaError> {
        let ending = self.endings_of_files.spawn(async move {
            put.await?;
            Ok(stored)
        });
        ending
            .await
            .map_err(|broken| MediaError::Storage(Box::new(broken)))?
    }

    /// Until every file is in its place or removed: for a stop.
    pub async fn settle_files(&self) {
        self.endings_of_files.close();
        self.endings_of_files.wait().await;
        self.parts.media.settled().await;
    }
}

/// A file in the storage that no row names yet. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) found: Sniffed,
    pub(crate) storage_key: String,
    pub(crate) bytes: u64,
    named: bool,
    media: MediaStore,
    endings: TaskTracker,
}

impl Stored {
    /// A row names the file, or may: it stays.
    pub(crate) fn keep(&mut self) {
        self.named = true;
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        if self.named {
            return;
        }
        // Without a runtime the process is ending, and the file stays as it does after a crash.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (media, storage_key) = (self.media.clone(), std::mem::take(&mut self.storage_key));
        let removal = async move {
            if let Err(error) = media.delete(&storage_key).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a file could not be removed"
                );
            }
        };
        self.endings.spawn_on(removal, &runtime);
    }
}
