//! Media that a request names: found in our own storage, or fetched once through the guarded client, before anything is
//! charged (contract, section 9).

use crate::{Engine, Error, Result};
use serde_json::{Map, Value};
use std::time::Duration;
use vydra_core::asset::{Asset, AssetRole, MediaKind};
use vydra_core::catalog::{InputSchema, MediaField};
use vydra_core::ids::{AssetId, OrgId};
use vydra_outbound::fetch::FetchError;
use vydra_outbound::sniff::sniff;
use vydra_outbound::url_guard::Refusal;

/// How a job names a stored file.
pub(crate) const REFERENCE: &str = "asset:";
const MIB: u64 = 1_024 * 1_024;
/// How long a request waits for its turn to fetch a file.
const FETCH_PATIENCE: Duration = Duration::from_secs(5);
const MAX_SIDE: u32 = 8_192;
const MAX_PIXELS: u64 = 40_000_000;

pub(crate) const fn max_bytes(kind: MediaKind) -> u64 {
    match kind {
        MediaKind::Image => 20 * MIB,
        MediaKind::Video => 100 * MIB,
        MediaKind::Audio => 50 * MIB,
    }
}

impl Engine {
    /// Replaces every media URL of the input by a reference to a stored file.
    pub(crate) async fn take_in(
        &self,
        org: &OrgId,
        schema: &InputSchema,
        input: &mut Map<String, Value>,
    ) -> Result<()> {
        for field in schema.media_fields() {
            match input.get_mut(field.name) {
                Some(Value::String(url)) => *url = self.take_in_one(org, field, url).await?,
                Some(Value::Array(urls)) => {
                    for url in urls {
                        if let Value::String(url) = url {
                            *url = self.take_in_one(org, field, url).await?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn take_in_one(&self, org: &OrgId, field: MediaField<'_>, url: &str) -> Result<String> {
        let refused = |why: &str| Error::InvalidUrl {
            field: field.name.to_owned(),
            sentence: format!("Invalid URL in {}: {why}", field.name),
        };
        let asset = match self.own_asset(org, url).await? {
            Own::Found(asset) => *asset,
            Own::Absent => return Err(refused("there is no such file")),
            Own::Elsewhere => self.fetch(org, field, url).await?,
        };
        if asset.kind != field.kind {
            return Err(refused(&format!(
                "it leads to {}, not to {}",
                with_article(asset.kind),
                with_article(field.kind)
            )));
        }
        Ok(format!("{REFERENCE}{}", asset.id))
    }

    /// Our own files are taken from storage, whatever address the server has.
    async fn own_asset(&self, org: &OrgId, url: &str) -> Result<Own> {
        if let Some(id) = url.strip_prefix(REFERENCE) {
            let found = match AssetId::parse(id) {
                Some(id) => self.store().asset(org, &id).await?,
                None => None,
            };
            return Ok(found.map_or(Own::Absent, |asset| Own::Found(Box::new(asset))));
        }
        let Ok(parsed) = url::Url::parse(url) else {
            return Ok(Own::Elsewhere);
        };
        if let Some(key) = parsed.path().rsplit_once("/media/").map(|(_, key)| key)
            && let Some(asset) = self
                .store()
                .asset_by_storage_key(key)
                .await?
                .filter(|asset| asset.org_id == *org)
        {
            return Ok(Own::Found(Box::new(asset)));
        }
        let ours = url::Url::parse(&self.settings().public_url)
            .is_ok_and(|ours| ours.origin() == parsed.origin());
        Ok(if ours { Own::Absent } else { Own::Elsewhere })
    }

    async fn fetch(&self, org: &OrgId, field: MediaField<'_>, url: &str) -> Result<Asset> {
        let refused = |why: String| Error::InvalidUrl {
            field: field.name.to_owned(),
            sentence: format!("Invalid URL in {}: {why}", field.name),
        };
        let _slot = tokio::time::timeout(FETCH_PATIENCE, self.fetches.acquire())
            .await
            .map_err(|busy| Error::Unavailable(Box::new(busy)))?
            .map_err(|closed| Error::Internal(Box::new(closed)))?;
        let bytes = self
            .parts
            .fetcher
            .fetch(url, max_bytes(field.kind))
            .await
            .map_err(|error| refused(unreadable(error)))?;
        let found = sniff(&bytes)
            .ok_or_else(|| refused(format!("it does not lead to {}", with_article(field.kind))))?;
        if found.dimensions.is_some_and(|(width, height)| {
            width > MAX_SIDE
                || height > MAX_SIDE
                || u64::from(width) * u64::from(height) > MAX_PIXELS
        }) {
            return Err(refused(format!(
                "the image is larger than {MAX_SIDE} pixels a side or {} megapixels",
                MAX_PIXELS / 1_000_000
            )));
        }
        let asset = Asset {
            id: AssetId::new(self.now(), self.random()),
            org_id: org.clone(),
            job_id: None,
            role: AssetRole::Input,
            kind: found.kind,
            media_type: found.media_type.to_owned(),
            storage_key: self.new_storage_key(found.extension),
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            dimensions: found.dimensions,
            duration_ms: None,
            created_at: self.now(),
        };
        self.parts.media.put(&asset.storage_key, bytes).await?;
        self.store().record_asset(&asset).await?;
        Ok(asset)
    }
}

/// A name that leads inside and one that leads nowhere sound alike: otherwise callers could explore our network.
fn unreadable(error: FetchError) -> String {
    match error {
        FetchError::Refused(Refusal::ForbiddenHost | Refusal::ForbiddenAddress)
        | FetchError::Unreachable => "the address cannot be reached".to_owned(),
        other => other.to_string(),
    }
}

enum Own {
    Found(Box<Asset>),
    /// It claims to be ours, and is not there for this organization.
    Absent,
    Elsewhere,
}

const fn with_article(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "an image",
        MediaKind::Video => "a video",
        MediaKind::Audio => "an audio file",
    }
}
