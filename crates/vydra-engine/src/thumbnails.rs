//! Small pictures of stored files: made when they are asked for first, so that no job and no upload waits for one or fails
//! for it, and kept beside the file.

use crate::{Engine, Error, Result};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinError;
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
    pub async fn thumbnail(self: &Arc<Self>, key: &str) -> Result<Option<Asset>> {
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
    async fn make_thumbnail(self: &Arc<Self>, key: &str, asset: &Asset) -> Result<u64> {
        let turn = Arc::clone(&self.thumbnails).acquire_owned();
        let turn = tokio::time::timeout(PATIENCE, turn)
            .await
            .map_err(|busy| Error::Unavailable(Box::new(busy)))?
            .map_err(|closed| Error::Internal(Box::new(closed)))?;
        // Whoever was before us in the queue may have asked for the same one.
        if let Some(bytes) = self.parts.media.size(key).await? {
            return Ok(bytes);
        }
        // To its end even if the caller goes away: what he began is not begun again by the next one.
        let (engine, key, asset) = (Arc::clone(self), key.to_owned(), asset.clone());
        let making = self.endings_of_files.spawn(async move {
            // Until it is stored, so that whoever is next in the queue finds it.
            let _turn = turn;
            engine.store_thumbnail(&key, &asset).await
        });
        making
            .await
            .map_err(|broken| Error::Internal(Box::new(broken)))?
    }

    async fn store_thumbnail(&self, key: &str, asset: &Asset) -> Result<u64> {
        let media = &self.parts.media;
        let read = media.read(&asset.storage_key, asset.bytes);
        let file = read.await.map_err(|error| match error {
            MediaError::NotFound => not_found(),
            other => Error::Unavailable(Box::new(other)),
        })?;
        let media_type = asset.media_type.clone();
        let made = tokio::task::spawn_blocking(move || thumbnail::of(&file, &media_type));
        let Some(made) = unless_it_panicked(made.await)? else {
            self.store().record_no_thumbnail(&asset.id).await?;
            return Err(not_found());
        };
        let bytes = u64::try_from(made.len()).unwrap_or(u64::MAX);
        media.put(key, Bytes::from(made)).await?;
        // Whoever deleted the file meanwhile may have looked for a thumbnail before there was one.
        let row = self.store().asset_by_storage_key(&asset.storage_key);
        if row.await?.is_none() {
            media.delete(key).await?;
            return Err(not_found());
        }
        Ok(bytes)
    }
}

/// Decoders are other people's code fed with strangers' bytes: a file on which one breaks cannot be shown, now or later.
fn unless_it_panicked(
    made: std::result::Result<Option<Vec<u8>>, JoinError>,
) -> Result<Option<Vec<u8>>> {
    match made {
        Ok(made) => Ok(made),
        Err(broken) if broken.is_panic() => Ok(None),
        Err(broken) => Err(Error::Internal(Box::new(broken))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_util::task::TaskTracker;

    #[tokio::test]
    async fn a_decoder_that_breaks_has_nothing_to_show() {
        let broken = tokio::task::spawn_blocking(|| panic!("a decoder")).await;
        assert!(matches!(unless_it_panicked(broken), Ok(None)));
        let stopped = TaskTracker::new().spawn(std::future::pending());
        stopped.abort();
        assert!(unless_it_panicked(stopped.await).is_err());
    }
}
