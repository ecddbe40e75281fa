//! The files of the storage against the rows that name them, for the operator, beside a server that works.

use crate::thumbnails::original;
use crate::{Engine, Result};
use futures_util::StreamExt;
use std::collections::HashSet;
use std::time::Duration;
use vydra_core::asset::Asset;
use vydra_core::ids::AssetId;
use vydra_core::time::Timestamp;
use vydra_outbound::media::StoredFile;

/// A file is written before its row, so that a young one without a row may be on its way in.
pub const GRACE: Duration = Duration::from_hours(24);
/// How many names are looked up at once.
const CHUNK: usize = 500;
const ROWS: u32 = 500;
/// How many files are looked for at once.
const LOOKS: usize = 16;
/// So many unnamed files are no sign of anything, even where there are hardly any others.
const FEW: u64 = 10;
/// How many rows without their file are named; the others are counted.
const NAMED: usize = 100;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pruning {
    Files(u64),
    Rows(u64),
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many files there are.
    pub files: u64,
    /// Those of them that no row names, and leftovers of writes that were broken off.
    pub orphans: u64,
    pub orphan_bytes: u64,
    /// Those of them that were removed.
    pub removed: u64,
    /// How many rows name a file.
    pub rows: u64,
    /// Those of them whose file is not there; some are named.
    pub missing: u64,
    pub missing_ids: Vec<AssetId>,
    /// Why nothing was removed that was to be.
    pub held_back: Option<HeldBack>,
}

/// What to do about files that no row names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Tell of them.
    Look,
    Remove,
    /// Remove them even if they are most of all files.
    Force,
}

/// The database may be another than that of this storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldBack {
    /// It names no file at all.
    NoRows,
    /// It does not name most of the files.
    MostUnnamed,
}

/// Finished files that are past the time of grace.
#[derive(Debug, Default)]
struct Old {
    all: u64,
    unnamed: u64,
}

impl Old {
    fn are_mostly_unnamed(&self) -> bool {
        self.unnamed > FEW && self.unnamed > self.all / 2
    }
}

impl Engine {
    /// Removes files that no row names, or only tells of them, and of rows whose file is not there.
    pub async fn prune(&self, what: Prune, mut tell: impl FnMut(Pruning)) -> Result<Pruned> {
        // All of them are looked at before one is removed.
        let (mut pruned, old) = self.prune_files(true, &mut tell).await?;
        if self.store().kept_assets(None, 1).await?.is_empty() {
            pruned.held_back = Some(HeldBack::NoRows);
        } else if old.are_mostly_unnamed() && what != Prune::Force {
            pruned.held_back = Some(HeldBack::MostUnnamed);
        } else if what != Prune::Look {
            self.erase_deleted().await?;
            (pruned, _) = self.prune_files(false, &mut tell).await?;
        }
        let mut after: Option<AssetId> = None;
        loop {
            let rows = self.store().kept_assets(after.as_ref(), ROWS).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.id.clone());
            pruned.rows += rows.len() as u64;
            self.look_for(rows, &mut pruned).await?;
            tell(Pruning::Rows(pruned.rows));
        }
        Ok(pruned)
    }

    /// What was deleted may still lie here without a server that sweeps.
    async fn erase_deleted(&self) -> Result<()> {
        let mut after: Option<AssetId> = None;
        loop {
            let deleted = self.store().erasable_assets(after.as_ref(), ROWS).await?;
            let erasing = self.erase(&deleted).await?;
            if erasing.last.is_none() || erasing.is_broken_off {
                return Ok(());
            }
            after = erasing.last;
        }
    }

    async fn prune_files(
        &self,
        look_only: bool,
        mut tell: impl FnMut(Pruning),
    ) -> Result<(Pruned, Old)> {
        let (mut pruned, mut old) = (Pruned::default(), Old::default());
        let mut chunks = self.parts.media.list().chunks(CHUNK);
        while let Some(chunk) = chunks.next().await {
            let files: Vec<StoredFile> =
                chunk.into_iter().collect::<std::result::Result<_, _>>()?;
            pruned.files += files.len() as u64;
            let some = self.prune_some(files, look_only, &mut pruned).await?;
            old.all += some.all;
            old.unnamed += some.unnamed;
            tell(Pruning::Files(pruned.files));
        }
        Ok((pruned, old))
    }

    async fn prune_some(
        &self,
        files: Vec<StoredFile>,
        look_only: bool,
        pruned: &mut Pruned,
    ) -> Result<Old> {
        let now = self.now();
        let old: Vec<StoredFile> = files
            .into_iter()
            .filter(|file| is_past_grace(file, now))
            .collect();
        let names = old.iter().filter(|file| !file.is_unfinished);
        let names = names.map(|file| original(&file.name).to_owned()).collect();
        let unnamed = self.store().unnamed_files(names).await?;
        let unnamed: HashSet<&str> = unnamed.iter().map(String::as_str).collect();
        let mut seen = Old::default();
        for file in old {
            if !file.is_unfinished {
                seen.all += 1;
                if !unnamed.contains(original(&file.name)) {
                    continue;
                }
                seen.unnamed += 1;
            }
            pruned.orphans += 1;
            pruned.orphan_bytes += file.bytes;
            if look_only {
                continue;
            }
            match self.parts.media.remove(&file).await {
                Ok(()) => {
                    pruned.removed += 1;
                    tracing::info!(file.bytes, "a file that no row names was removed");
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a file that no row names could not be removed"
                    );
                }
            }
        }
        Ok(seen)
    }

    async fn look_for(&self, rows: Vec<Asset>, pruned: &mut Pruned) -> Result<()> {
        let media = &self.parts.media;
        let mut looks = futures_util::stream::iter(rows)
            .map(|asset| async move { (media.size(&asset.storage_key).await, asset) })
            .buffer_unordered(LOOKS);
        while let Some((there, asset)) = looks.next().await {
            if there?.is_some() {
                continue;
            }
            // Deleted while we looked: then it is not missed.
            let row = self.store().asset_by_storage_key(&asset.storage_key);
            if row.await?.is_some() {
                pruned.missing += 1;
                if pruned.missing_ids.len() < NAMED {
                    pruned.missing_ids.push(asset.id);
                }
            }
        }
        Ok(())
    }
}

fn is_past_grace(file: &StoredFile, now: Timestamp) -> bool {
    now.since(file.modified_at) >= GRACE
}
