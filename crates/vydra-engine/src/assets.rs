//! Media files, for whoever holds a key that cannot be guessed.

use crate::{Engine, Error, Result};
use std::fmt::Write as _;
use std::ops::Range;
use vydra_core::asset::Asset;
use vydra_outbound::media::{MediaError, MediaStream};

/// A file and its bytes, or the asked part of them.
#[derive(Debug)]
pub struct OpenMedia {
    pub asset: Asset,
    pub stream: MediaStream,
}

impl Engine {
    pub async fn media_asset(&self, storage_key: &str) -> Result<Asset> {
        self.store()
            .asset_by_storage_key(storage_key)
            .await?
            .ok_or_else(|| Error::NotFound {
                what: "file".to_owned(),
            })
    }

    pub async fn open_media(&self, asset: Asset, range: Option<Range<u64>>) -> Result<OpenMedia> {
        let stream = self
            .parts
            .media
            .open(&asset.storage_key, range)
            .await
            .map_err(|error| match error {
                MediaError::NotFound => Error::NotFound {
                    what: "file".to_owned(),
                },
                other => Error::Unavailable(Box::new(other)),
            })?;
        Ok(OpenMedia { asset, stream })
    }

    /// Where the storage itself gives the file away, if readers are sent there: for a short time, to whoever has the link.
    pub async fn media_link(&self, asset: &Asset, disposition: &str) -> Result<Option<String>> {
        let (key, media_type) = (&asset.storage_key, &asset.media_type);
        Ok(self.parts.media.link(key, media_type, disposition).await?)
    }

    /// 160 random bits: the only thing that keeps a file from strangers.
    pub(crate) fn new_storage_key(&self, extension: &str) -> String {
        let mut bytes = [0_u8; 20];
        self.random().fill(&mut bytes);
        let name = bytes
            .iter()
            .fold(String::with_capacity(40), |mut name, byte| {
                // Writing to a String cannot fail.
                let _ = write!(name, "{byte:02x}");
                name
            });
        let (shard, _) = name.split_at(2);
        format!("{shard}/{name}.{extension}")
    }
}
