//! Small pictures of stored files: made when they are asked for first, so that no job and no upload waits for one or fails
//! for it, and kept beside the file.

use crate::{Engine, Error, Result};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use vydra_core::asset::{Asset, MediaKind};
use vydra_outbound::media::MediaError;
use vydra_outbound::thumbnail::{self, SUFFIX};

/// How many pictures are decoded at once: each may take a few hundred mebibytes for a moment.
pub(crate) const AT_ONCE: usize = 2;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where it is kept, and served. Whoever does not know the file cannot guess it.
pub fn thumbnail_key(asset: &Asset) -> String {
    format!("{}{SUFFIX}", asset.storage_key)
}

/// Whether there is one, as far as is known before it is made.
pub fn has_thumbnail(asset: &Asset) -> bool {
    asset.has_thumbnail && thumbnail::is_possible(&asset.media_type, asset.bytes)
}

/// The file that a stored name belongs to: its own, or that of which it is the thumbnail.
pub(crate) fn original(name: &str) -> &str {
    name.strip_suffix(SUFFIX).unwrap_or(name)
}

fn not_found() -> Error {
    Error::NotFound {
        what: "file".to_owned(),
    }
}

impl Engine {
    /// The thumbnail under this key, made now if it was not made before; None for a key that is not one of a thumbnail.
    pub async fn thumbnail(&self, key: &str) -> Result<Option<Asset>> {
        let Some(storage_key) = key.strip_suffix(SUFFIX) else {
            return Ok(None);
        };
        let asset = self.media_asset(storage_key).await?;
        if !has_thumbnail(&asset) {
            return Err(not_found());
        }
        let bytes = match self.parts.media.size(key).await? {
            Some(bytes) => bytes,
            None => self.make_thumbnail(key, &asset).await?,
        };
        Ok(Some(Asset {
            kind: MediaKind::Image,
            media_type: thumbnail::MEDIA_TYPE.to_owned(),
            storage_key: key.to_owned(),
            bytes,
            ..asset
        }))
    }

    /// Says how large it is.
    async fn make_thumbnail(&self, key: &str, asset: &Asset) -> Result<u64> {
        let turn = Arc::clone(&self.thumbnails).acquire_owned();
        let turn = tokio::time::timeout(PATIENCE, turn)
            .await
            .map_err(|busy| Error::Unavailable(Box::new(busy)))?
            .map_err(|closed| Error::Internal(Box::new(closed)))?;
        // Whoever was before us in the queue may have asked for the same one.
        if let Some(bytes) = self.parts.media.size(key).await? {
            return Ok(bytes);
        }
        let read = self.parts.media.read(&asset.storage_key, asset.bytes);
        let file = read.await.map_err(|error| match error {
            MediaError::NotFound => not_found(),
            other => Error::Unavailable(Box::new(other)),
        })?;
        let media_type = asset.media_type.clone();
        let made = tokio::task::spawn_blocking(move || {
            // Held by the work itself: a caller who goes away does not make it cheaper.
            let _turn = turn;
            thumbnail::of(&file, &media_type)
        })
        .await
        .map_err(|broken| Error::Internal(Box::new(broken)))?;
        let Some(made) = made else {
            self.store().record_no_thumbnail(&asset.id).await?;
            return Err(not_found());
        };
        let bytes = u64::try_from(made.len()).unwrap_or(u64::MAX);
        self.parts.media.put(key, Bytes::from(made)).await?;
        Ok(bytes)
    }
}
