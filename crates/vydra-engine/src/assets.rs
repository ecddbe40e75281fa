//! Media files: for their organization, which lists and deletes them, and for whoever holds a key that cannot be guessed.

use crate::thumbnails::thumbnail_key;
use crate::transactions::unknown_cursor;
use crate::{Caller, Engine, Error, Result};
use std::fmt::Write as _;
use std::ops::Range;
use vydra_core::asset::{Asset, ListedAsset};
use vydra_core::ids::AssetId;
use vydra_core::time::Timestamp;
use vydra_outbound::media::{MediaError, MediaStream};
use vydra_store::store::{AssetFilter, AssetPage};

/// A file and its bytes, or the asked part of them.
#[derive(Debug)]
pub struct OpenMedia {
    pub asset: Asset,
    pub stream: MediaStream,
}

/// Which files a list shall show.
#[derive(Debug, Clone, Default)]
pub struct AssetQuery {
    pub workflow: Option<String>,
    pub limit: u32,
    pub offset: u32,
    pub after: Option<String>,
}

/// A file that is not there any more.
#[derive(Debug, Clone)]
pub struct DeletedAsset {
    pub id: AssetId,
    pub at: Timestamp,
}

fn no_such_asset() -> Error {
    Error::NotFound {
        what: "asset".to_owned(),
    }
}

/// When so many files cannot be removed, no more are tried: the storage itself may be away.
const FAILURES: usize = 5;

/// How far the removing of files came.
#[derive(Debug, Default)]
pub(crate) struct Erasing {
    /// How many were removed.
    pub(crate) count: usize,
    /// The last one that was tried.
    pub(crate) last: Option<AssetId>,
    /// Too many failed: the others were not tried.
    pub(crate) is_broken_off: bool,
}

impl Engine {
    /// What jobs delivered and what was sent in, the newest first.
    pub async fn assets(&self, caller: &Caller, query: AssetQuery) -> Result<AssetPage> {
        let after = match query.after.as_deref() {
            None => None,
            Some(word) => Some(AssetId::parse(word).ok_or_else(unknown_cursor)?),
        };
        let filter = AssetFilter {
            workflow: query.workflow,
            limit: query.limit,
            offset: query.offset,
            after,
        };
        self.store()
            .listed_assets(&caller.organization.id, caller.mode(), filter)
            .await?
            .ok_or_else(unknown_cursor)
    }

    pub async fn asset(&self, caller: &Caller, id: &str) -> Result<ListedAsset> {
        let id = AssetId::parse(id).ok_or_else(no_such_asset)?;
        self.store()
            .listed_asset(&caller.organization.id, caller.mode(), &id)
            .await?
            .ok_or_else(no_such_asset)
    }

    /// Gone at once for whoever asks. A job that took it in before and has not ended reads it all the same: its bytes go
    /// when it has ended.
    pub async fn delete_asset(&self, caller: &Caller, id: &str) -> Result<DeletedAsset> {
        let id = AssetId::parse(id).ok_or_else(no_such_asset)?;
        let at = self.now();
        let deleted = self
            .store()
            .delete_asset(&caller.organization.id, caller.mode(), &id, at)
            .await?
            .ok_or_else(no_such_asset)?;
        tracing::info!(asset.id = %id, org.id = %caller.organization.id, "a file was deleted");
        if !deleted.is_needed {
            // The file is deleted whether or not this succeeds: the sweep finds what is left.
            if let Err(error) = self.erase(&[deleted.asset]).await {
                tracing::warn!(asset.id = %id, error = &error as &dyn std::error::Error, "that a file is gone could not be written down");
            }
        }
        Ok(DeletedAsset { id, at })
    }

    /// Removes the bytes of files that were deleted and that no job needs any more, until too many fail.
    pub(crate) async fn erase(&self, deleted: &[Asset]) -> Result<Erasing> {
        let mut erased = Vec::with_capacity(deleted.len());
        let (mut last, mut failures) = (None, 0);
        for asset in deleted {
            if failures == FAILURES {
                break;
            }
            last = Some(asset.id.clone());
            match self.remove_files(asset).await {
                Ok(()) => erased.push(asset.id.clone()),
                Err(error) => {
                    failures += 1;
                    tracing::warn!(asset.id = %asset.id, error = &error as &dyn std::error::Error, "a file could not be removed");
                }
            }
        }
        if !erased.is_empty() {
            self.store().record_erased(&erased, self.now()).await?;
        }
        Ok(Erasing {
            count: erased.len(),
            last,
            is_broken_off: failures == FAILURES,
        })
    }

    async fn remove_files(&self, asset: &Asset) -> std::result::Result<(), MediaError> {
        self.parts.media.delete(&thumbnail_key(asset)).await?;
        self.parts.media.delete(&asset.storage_key).await
    }

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
