//! What can happen to files that we keep, and what each promises.

use super::Recording;
use crate::Result;
use async_trait::async_trait;
use std::time::Duration;
use vydra_core::asset::{Asset, ListedAsset};
use vydra_core::ids::{AssetId, JobId, OrgId};
use vydra_core::job::Mode;
use vydra_core::organization::Organization;
use vydra_core::time::Timestamp;

/// A file that was deleted is not there for anybody, but for jobs that took it in before. Its row stays for ever, its bytes
/// until no job needs them.
#[async_trait]
pub trait AssetStore: Send + Sync + std::fmt::Debug {
    /// A key of an upload is given once: a second file under it is not recorded.
    async fn record_asset(&self, asset: &Asset) -> Result<Recording>;
    /// None also for one of another organization or mode.
    async fn asset(&self, org: &OrgId, mode: Mode, id: &AssetId) -> Result<Option<Asset>>;
    /// For whoever holds the key that cannot be guessed, of whatever organization.
    async fn asset_by_storage_key(&self, storage_key: &str) -> Result<Option<Asset>>;
    /// None also for an upload of another organization or mode.
    async fn asset_by_upload_key(
        &self,
        org: &OrgId,
        mode: Mode,
        upload_key: &str,
    ) -> Result<Option<Asset>>;
    /// What a job that has not ended takes in, also when it was deleted meanwhile.
    async fn job_input(&self, job: &JobId, id: &AssetId) -> Result<Option<Asset>>;

    /// Of those that [`Self::listed_assets`] lists.
    async fn listed_asset(
        &self,
        org: &OrgId,
        mode: Mode,
        id: &AssetId,
    ) -> Result<Option<ListedAsset>>;
    /// What jobs delivered and what was sent in, the newest first. None when the cursor is not one of this list; one that
    /// was deleted meanwhile still is.
    async fn listed_assets(
        &self,
        org: &OrgId,
        mode: Mode,
        filter: AssetFilter,
    ) -> Result<Option<AssetPage>>;

    /// Deletes one of those that are listed: from here on nobody sees it, and no new job takes it in. None when there is no
    /// such file, or no longer.
    async fn delete_asset(
        &self,
        org: &OrgId,
        mode: Mode,
        id: &AssetId,
        now: Timestamp,
    ) -> Result<Option<Deleted>>;
    /// How long the files of an organization are kept; None for ever. None when there is no such organization.
    async fn set_retention(
        &self,
        org: &OrgId,
        keep_assets: Option<Duration>,
        now: Timestamp,
    ) -> Result<Option<Organization>>;
    /// Deletes what is older than its organization keeps it, at most `limit`: whatever role it has, but what came too late,
    /// which is the operator's, and what an open job needs. Says how many.
    async fn expire_assets(&self, now: Timestamp, limit: u32) -> Result<u64>;
    /// Bytes that nobody needs any more: of deleted files that no open job takes in, those deleted first. At most `limit`,
    /// behind `after` where there is one.
    async fn erasable_assets(&self, after: Option<&AssetId>, limit: u32) -> Result<Vec<Asset>>;
    /// No small picture can be made of it: it is not tried again.
    async fn record_no_thumbnail(&self, id: &AssetId) -> Result<()>;
    /// Of these storage keys, those that no row names whose bytes are to be there.
    async fn unnamed_files(&self, storage_keys: Vec<String>) -> Result<Vec<String>>;
    /// Every file that is to be there, of whatever organization, in the order of ids and behind `after`. At most `limit`.
    async fn kept_assets(&self, after: Option<&AssetId>, limit: u32) -> Result<Vec<Asset>>;
    /// Their bytes are gone. What was not deleted stays as it is.
    async fn record_erased(&self, ids: &[AssetId], now: Timestamp) -> Result<()>;
}

#[derive(Debug, Clone, Default)]
pub struct AssetFilter {
    pub workflow: Option<String>,
    pub limit: u32,
    pub offset: u32,
    /// Only files behind this one in the list.
    pub after: Option<AssetId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetPage {
    pub assets: Vec<ListedAsset>,
    /// How many the filter finds in all.
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    pub asset: Asset,
    /// Whether a job that has not ended takes it in: its bytes stay until then.
    pub is_needed: bool,
}
