//! Media that a request names: found in our own storage, fetched once through the guarded client, or given in the text
//! itself (RFC 2397), before anything is charged (contract, section 9).

use crate::intake::Stored;
use crate::uploads::KEY_PREFIX;
use crate::{Caller, Engine, Error, INPUT_BUDGET_MIB, Result};
use bytes::Bytes;
use data_url::DataUrl;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vydra_core::asset::{Asset, AssetRole, MediaKind};
use vydra_core::catalog::{InputSchema, MediaField};
use vydra_core::ids::{AssetId, OrgId};
use vydra_core::job::Call;
use vydra_outbound::fetch::FetchError;
use vydra_outbound::sniff::{Sniffed, sniff};
use vydra_outbound::url_guard::{MAX_LENGTH, Refusal};

/// How a job names a stored file.
pub(crate) const REFERENCE: &str = vydra_core::job::ASSET;
const NO_SUCH_FILE: &str = "there is no such file";
/// What a file in the text itself begins with.
const DATA: &str = "data:";
/// How long that and the type behind it may be. The type counts for nothing, and its reader compares each parameter with all
/// before it.
const MAX_DATA_HEAD: usize = 256;
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

/// Larger images are refused wherever they come from: what is small in the file may fill the memory.
pub(crate) fn is_too_large((width, height): (u32, u32)) -> bool {
    width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS
}

/// One URL of an input, and how it is called: `imageUrl`, or `imageUrls[2]`.
struct Named<'a> {
    field: String,
    kind: MediaKind,
    url: &'a mut String,
}

fn named<'a>(schema: &InputSchema, input: &'a mut Map<String, Value>) -> Vec<Named<'a>> {
    let mut all = Vec::new();
    for (name, value) in input {
        let Some(MediaField { name, kind }) =
            schema.media_fields().find(|field| field.name == name)
        else {
            continue;
        };
        match value {
            Value::String(url) => all.push(Named {
                field: name.to_owned(),
                kind,
                url,
            }),
            Value::Array(urls) => {
                let urls = urls.iter_mut().enumerate();
                all.extend(urls.filter_map(|(place, url)| match url {
                    Value::String(url) => Some(Named {
                        field: format!("{name}[{place}]"),
                        kind,
                        url,
                    }),
                    _ => None,
                }));
            }
            _ => {}
        }
    }
    all
}

/// The stored files that an input names, each once.
pub(crate) fn taken_in(schema: &InputSchema, input: &Map<String, Value>) -> Vec<AssetId> {
    let mut all = Vec::new();
    for field in schema.media_fields() {
        let named = input.get(field.name).into_iter().flat_map(texts);
        for id in named.filter_map(|text| AssetId::parse(text.strip_prefix(REFERENCE)?)) {
            if !all.contains(&id) {
                all.push(id);
            }
        }
    }
    all
}

/// A file was deleted after it had been looked at: told as if it had never been there.
pub(crate) fn gone(schema: &InputSchema, mut input: Map<String, Value>, id: &AssetId) -> Error {
    let reference = format!("{REFERENCE}{id}");
    let field = named(schema, &mut input)
        .into_iter()
        .find(|named| *named.url == reference)
        .map_or_else(String::new, |named| named.field);
    refused(&field, NO_SUCH_FILE)
}

pub(crate) fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let several = match value {
        Value::Array(several) => several.as_slice(),
        one => std::slice::from_ref(one),
    };
    several.iter().filter_map(Value::as_str)
}

pub(crate) fn refused(field: &str, why: &str) -> Error {
    Error::InvalidUrl {
        field: field.to_owned(),
        sentence: format!("Invalid URL in {field}: {why}"),
    }
}

/// How much of all fetching, and of all looking up of names, each organization may do at once: one that names slow places must
/// not stop the others.
#[derive(Debug, Default)]
pub(crate) struct FetchShares(Mutex<HashMap<OrgId, Arc<Semaphore>>>);

impl FetchShares {
    const EACH: usize = 2;

    fn of(&self, org: &OrgId) -> Arc<Semaphore> {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody uses now are as good as new ones.
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        let share = shares.entry(org.clone());
        let share = share.or_insert_with(|| Arc::new(Semaphore::new(Self::EACH)));
        Arc::clone(share)
    }

    /// A part of the share, held until it is dropped.
    pub(crate) async fn take(&self, org: &OrgId) -> Result<OwnedSemaphorePermit> {
        tokio::time::timeout(FETCH_PATIENCE, self.of(org).acquire_owned())
            .await
            .map_err(|busy| Error::Unavailable(Box::new(busy)))?
            .map_err(|closed| Error::Internal(Box::new(closed)))
    }
}

impl Engine {
    /// Looks at every media URL of the input and fetches none: what is ours becomes a reference to the stored file, and
    /// what can only be refused is refused.
    pub(crate) async fn look_at_urls(
        &self,
        caller: &Caller,
        schema: &InputSchema,
        input: &mut Map<String, Value>,
    ) -> Result<()> {
        for Named { field, kind, url } in named(schema, input) {
            if is_inline(url) {
                inline(url, kind)
                    .and_then(|bytes| examine(kind, &bytes).map(drop))
                    .map_err(|why| refused(&field, &why))?;
                continue;
            }
            check_text(url).map_err(|why| refused(&field, &why))?;
            match self.own_asset(caller, url).await? {
                Own::Found(asset) => *url = reference(&field, kind, &asset)?,
                Own::Absent => return Err(refused(&field, NO_SUCH_FILE)),
                Own::Elsewhere => {
                    if let Err(why) = self.check_shape(url) {
                        return Err(refused(&field, &why));
                    }
                }
            }
        }
        Ok(())
    }

    /// Keeps what [`Self::look_at_urls`] has let pass: what stands in the text, and what has to be fetched.
    pub(crate) async fn take_in(
        &self,
        caller: &Caller,
        schema: &InputSchema,
        input: &mut Map<String, Value>,
    ) -> Result<()> {
        let mut all = Vec::new();
        for Named { field, kind, url } in named(schema, input) {
            if url.starts_with(REFERENCE) {
                continue;
            }
            let bytes = if is_inline(url) {
                inline(url, kind).map_err(|why| refused(&field, &why))?
            } else {
                self.fetch(&caller.organization.id, &field, kind, url)
                    .await?
            };
            let found = examine(kind, &bytes).map_err(|why| refused(&field, &why))?;
            all.push((url, self.store_whole(found, bytes).await?));
        }
        // None has a row before all are there: a file that is refused leaves nothing of the others behind.
        for (url, stored) in all {
            let asset = self.keep(caller, stored).await?;
            *url = format!("{REFERENCE}{}", asset.id);
        }
        Ok(())
    }

    /// Each step that names a file of the job's input as the caller `given` it names the stored one instead.
    pub(crate) fn hand_on(
        &self,
        schema: &InputSchema,
        given: &Map<String, Value>,
        call: &mut Call,
    ) {
        let Call { steps, input, .. } = call;
        if steps.is_empty() {
            return;
        }
        let stored: HashMap<&str, &str> = schema
            .media_fields()
            .filter_map(|field| Some((given.get(field.name)?, input.get(field.name)?)))
            .flat_map(|(given, stored)| texts(given).zip(texts(stored)))
            .collect();
        for step in steps {
            let Some(model) = self.catalog().model(&step.model) else {
                continue;
            };
            for Named { url, .. } in named(&model.schema, &mut step.input) {
                if let Some(reference) = stored.get(url.as_str()) {
                    (*reference).clone_into(url);
                }
            }
        }
    }

    fn check_shape(&self, url: &str) -> std::result::Result<(), String> {
        match self.parts.fetcher.check_shape(url) {
            Ok(_) => Ok(()),
            Err(refusal) => Err(unreadable(FetchError::Refused(refusal))),
        }
    }

    /// Our own files are taken from storage, whatever address the server has.
    async fn own_asset(&self, caller: &Caller, url: &str) -> Result<Own> {
        let (org, mode) = (&caller.organization.id, caller.mode());
        let told =
            |found: Option<Asset>| found.map_or(Own::Absent, |asset| Own::Found(Box::new(asset)));
        if let Some(id) = url.strip_prefix(REFERENCE) {
            return Ok(match AssetId::parse(id) {
                Some(id) => told(self.store().asset(org, mode, &id).await?),
                None => Own::Absent,
            });
        }
        if url.starts_with(KEY_PREFIX) {
            let found = self.store().asset_by_upload_key(org, mode, url).await?;
            return Ok(told(found));
        }
        let Ok(parsed) = url::Url::parse(url) else {
            return Ok(Own::Elsewhere);
        };
        // Refused like any other with a password in it.
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Ok(Own::Elsewhere);
        }
        if let Some(key) = parsed.path().rsplit_once("/media/").map(|(_, key)| key)
            && let Some(asset) = self
                .store()
                .asset_by_storage_key(key)
                .await?
                .filter(|asset| asset.org_id == *org && asset.mode == mode)
        {
            return Ok(Own::Found(Box::new(asset)));
        }
        let ours = url::Url::parse(&self.settings().public_url)
            .is_ok_and(|ours| ours.origin() == parsed.origin());
        Ok(if ours { Own::Absent } else { Own::Elsewhere })
    }

    async fn fetch(&self, org: &OrgId, field: &str, kind: MediaKind, url: &str) -> Result<Bytes> {
        let _share = self.fetch_shares.take(org).await?;
        let _slot = tokio::time::timeout(FETCH_PATIENCE, self.fetches.acquire())
            .await
            .map_err(|busy| Error::Unavailable(Box::new(busy)))?
            .map_err(|closed| Error::Internal(Box::new(closed)))?;
        self.parts
            .fetcher
            .fetch(url, max_bytes(kind))
            .await
            .map_err(|error| refused(field, &unreadable(error)))
    }

    async fn keep(&self, caller: &Caller, mut stored: Stored) -> Result<Asset> {
        let found = &stored.found;
        let asset = Asset {
            id: AssetId::new(self.now(), self.random()),
            org_id: caller.organization.id.clone(),
            mode: caller.mode(),
            job_id: None,
            role: AssetRole::Input,
            kind: found.kind,
            media_type: found.media_type.to_owned(),
            storage_key: stored.storage_key.clone(),
            bytes: stored.bytes,
            dimensions: found.dimensions,
            duration_ms: None,
            filename: None,
            upload_key: None,
            has_thumbnail: true,
            created_at: self.now(),
        };
        // From here on a row may name it, whatever is heard of that.
        stored.keep();
        self.store().record_asset(&asset).await?;
        Ok(asset)
    }
}

fn is_inline(url: &str) -> bool {
    url.get(..DATA.len())
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(DATA))
}

/// The bytes of a `data:` URI. What type it claims says nothing: the bytes do.
fn inline(url: &str, kind: MediaKind) -> std::result::Result<Bytes, String> {
    let unreadable =
        || "it is not a complete data: URI, such as data:image/png;base64,…".to_owned();
    if !url.bytes().take(MAX_DATA_HEAD).any(|byte| byte == b',') {
        return Err(unreadable());
    }
    let url = DataUrl::process(url).map_err(|_| unreadable())?;
    let (bytes, _fragment) = url.decode_to_vec().map_err(|_| unreadable())?;
    if u64::try_from(bytes.len()).is_ok_and(|bytes| bytes <= max_bytes(kind)) {
        Ok(bytes.into())
    } else {
        Err(FetchError::TooLarge.to_string())
    }
}

/// What the bytes are, if that is what the field takes.
fn examine(kind: MediaKind, bytes: &[u8]) -> std::result::Result<Sniffed, String> {
    let found = sniff(bytes)
        // An image that does not tell its size is none.
        .filter(|found| found.kind != MediaKind::Image || found.dimensions.is_some())
        .ok_or_else(|| format!("it does not lead to {}", with_article(kind)))?;
    if found.dimensions.is_some_and(is_too_large) {
        return Err(format!(
            "the image is larger than {MAX_SIDE} pixels a side or {} megapixels",
            MAX_PIXELS / 1_000_000
        ));
    }
    if found.kind != kind {
        return Err(another_kind(found.kind, kind));
    }
    Ok(found)
}

/// What no URL of whomever may be.
pub(crate) fn check_text(url: &str) -> std::result::Result<(), String> {
    if url.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    if url.trim() != url {
        return Err("it begins or ends with a space".to_owned());
    }
    if url.len() > MAX_LENGTH {
        return Err(Refusal::TooLong.to_string());
    }
    Ok(())
}

/// A file of ours may be larger than one that is sent in, but not than what is held for providers.
fn reference(field: &str, kind: MediaKind, asset: &Asset) -> Result<String> {
    if asset.kind != kind {
        return Err(refused(field, &another_kind(asset.kind, kind)));
    }
    if mebibytes(asset.bytes) > INPUT_BUDGET_MIB {
        return Err(refused(field, &FetchError::TooLarge.to_string()));
    }
    Ok(format!("{REFERENCE}{}", asset.id))
}

/// What so many bytes take of the budget of inputs.
pub(crate) fn mebibytes(bytes: u64) -> u32 {
    u32::try_from(bytes / MIB + 1).unwrap_or(u32::MAX)
}

fn another_kind(found: MediaKind, wanted: MediaKind) -> String {
    format!(
        "it leads to {}, not to {}",
        with_article(found),
        with_article(wanted)
    )
}

/// A name that leads inside and one that leads nowhere sound alike: otherwise callers could explore our network.
pub(crate) fn unreadable(error: FetchError) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_organization_fetches_at_most_two_files_at_once() {
        let shares = FetchShares::default();
        let org = |name: &str| OrgId::trusted(name.to_owned());
        let (one, same) = (shares.of(&org("a")), shares.of(&org("a")));
        let held = (one.try_acquire().unwrap(), same.try_acquire().unwrap());
        assert!(shares.of(&org("a")).try_acquire().is_err());
        assert!(shares.of(&org("b")).try_acquire().is_ok());
        drop(held);
        assert!(shares.of(&org("a")).try_acquire().is_ok());
        drop((one, same));
        shares.of(&org("c"));
        assert_eq!(shares.0.lock().unwrap().len(), 1, "the idle are forgotten");
    }
}
