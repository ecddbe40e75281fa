//! Files that callers send: looked at while they stream through, stored, and known by a key (contract, section 9).

use crate::inputs::{is_too_large, max_bytes};
use crate::{Caller, Engine, Error, Identity, Result};
use bytes::BytesMut;
use std::sync::Arc;
use vydra_core::asset::{Asset, AssetRole, MediaKind};
use vydra_core::ids::{AssetId, OrgId};
use vydra_core::random::letters_and_digits;
use vydra_outbound::media::MediaWriter;
use vydra_outbound::scrub::Scrubber;
use vydra_outbound::sniff::{Sniffed, sniff};
use vydra_store::store::Recording;

/// What the key of every upload begins with.
pub(crate) const KEY_PREFIX: &str = "uploads/";
/// The most bytes of an upload.
pub const MAX_UPLOAD: u64 = max_bytes(MediaKind::Image);
/// So many bytes tell every type.
const ENOUGH_FOR_THE_TYPE: usize = 32;
/// A JPEG may hide its size behind this much of metadata.
const MAX_HEAD: usize = 1_024 * 1_024;
const MAX_NAME: usize = 100;
/// How often a name that is taken is tried with another ending.
const KEY_TRIES: usize = 5;

const TOO_LARGE: &str = "File size exceeds 20MB limit";
const TOO_MANY_PIXELS: &str =
    "Image exceeds the limit of 8192 pixels a side and 40 megapixels in all";

/// A file on its way in. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Upload {
    engine: Arc<Engine>,
    org: OrgId,
    /// Whose name stands in the key.
    maker: String,
    given_name: Option<String>,
    size: u64,
    /// The first bytes, until they tell what the file is.
    head: Vec<u8>,
    recognised: Option<Recognised>,
}

#[derive(Debug)]
struct Recognised {
    found: Sniffed,
    storage_key: String,
    writer: MediaWriter,
    scrubber: Scrubber,
}

impl Engine {
    pub fn begin_upload(self: &Arc<Self>, caller: &Caller, name: Option<&str>) -> Upload {
        let organization = || caller.organization.id.bare();
        let maker = match &caller.identity {
            Identity::Key(key) => key
                .user_id
                .as_ref()
                .map_or_else(organization, |id| id.bare()),
            Identity::Person { user, .. } => user.id.bare(),
        };
        Upload {
            engine: Arc::clone(self),
            org: caller.organization.id.clone(),
            maker: maker.to_owned(),
            given_name: name.map(str::to_owned),
            size: 0,
            head: Vec::new(),
            recognised: None,
        }
    }

    /// Under a key that nobody has: two files of one name may come in the same millisecond.
    async fn record_upload(&self, mut asset: Asset, maker: &str) -> Result<Asset> {
        let name = asset.filename.clone().unwrap_or_default();
        let millis = asset.created_at.as_micros() / 1_000;
        for attempt in 0..KEY_TRIES {
            let name = if attempt == 0 {
                name.clone()
            } else {
                with_ending(&name, &letters_and_digits(self.random(), 6))
            };
            asset.upload_key = Some(format!("{KEY_PREFIX}{maker}/{millis}-{name}"));
            match self.store().record_asset(&asset).await? {
                Recording::Recorded => return Ok(asset),
                Recording::UploadKeyTaken => {}
            }
        }
        Err(Error::Internal("no key is free for an upload".into()))
    }
}

impl Upload {
    /// The next bytes. After an error there is no use in more.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.size = self
            .size
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.size > MAX_UPLOAD {
            return Err(upload_too_large());
        }
        if let Some(recognised) = &mut self.recognised {
            return recognised.write(bytes).await;
        }
        self.head.extend_from_slice(bytes);
        self.recognise(false).await
    }

    /// Looks at the first bytes; `whole` when there are no more.
    async fn recognise(&mut self, whole: bool) -> Result<()> {
        if self.head.len() < ENOUGH_FOR_THE_TYPE && !whole {
            return Ok(());
        }
        let found = sniff(&self.head)
            .filter(|found| found.kind == MediaKind::Image)
            .ok_or(Error::InvalidFileType)?;
        let Some(dimensions) = found.dimensions else {
            // An image that does not tell its size is none.
            return if whole || self.head.len() >= MAX_HEAD {
                Err(Error::InvalidFileType)
            } else {
                Ok(())
            };
        };
        if is_too_large(dimensions) {
            return Err(Error::FileTooLarge(TOO_MANY_PIXELS));
        }
        let storage_key = self.engine.new_storage_key(found.extension);
        let mut recognised = Recognised {
            writer: self.engine.parts.media.create(&storage_key).await?,
            scrubber: Scrubber::new(found.media_type),
            storage_key,
            found,
        };
        recognised.write(&std::mem::take(&mut self.head)).await?;
        self.recognised = Some(recognised);
        Ok(())
    }

    /// The file is whole.
    pub async fn finish(mut self) -> Result<Asset> {
        if self.size == 0 && self.given_name.as_deref().is_none_or(str::is_empty) {
            return Err(no_file());
        }
        if self.recognised.is_none() {
            self.recognise(true).await?;
        }
        let Some(recognised) = self.recognised.take() else {
            return Err(Error::InvalidFileType);
        };
        // From here on it comes to its end even if the caller goes away: a file without a row would stay for ever.
        let engine = Arc::clone(&self.engine);
        let ending = engine.endings_of_uploads.spawn(self.keep(recognised));
        ending
            .await
            .map_err(|broken| Error::Internal(Box::new(broken)))?
    }

    async fn keep(self, recognised: Recognised) -> Result<Asset> {
        let Recognised {
            found,
            storage_key,
            mut writer,
            scrubber,
        } = recognised;
        let mut last = BytesMut::new();
        scrubber.finish(&mut last);
        writer.write(&last).await?;
        writer.finish().await?;
        let engine = &self.engine;
        let now = engine.now();
        let asset = Asset {
            id: AssetId::new(now, engine.random()),
            org_id: self.org,
            job_id: None,
            role: AssetRole::Upload,
            kind: found.kind,
            media_type: found.media_type.to_owned(),
            storage_key: storage_key.clone(),
            bytes: self.size,
            dimensions: found.dimensions,
            duration_ms: None,
            filename: Some(clean_name(self.given_name.as_deref(), found.extension)),
            upload_key: None,
            created_at: now,
        };
        let recorded = engine.record_upload(asset, &self.maker).await;
        // A row whose answer was lost names the file all the same: only what no row names is removed.
        if recorded.is_err()
            && let Ok(None) = engine.store().asset_by_storage_key(&storage_key).await
            && let Err(error) = engine.parts.media.delete(&storage_key).await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a file could not be removed"
            );
        }
        recorded
    }
}

impl Recognised {
    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut clean = BytesMut::with_capacity(bytes.len());
        self.scrubber.push(bytes, &mut clean);
        Ok(self.writer.write(&clean).await?)
    }
}

pub fn no_file() -> Error {
    Error::invalid("No file provided")
}

pub fn upload_too_large() -> Error {
    Error::FileTooLarge(TOO_LARGE)
}

/// A name that is harmless wherever it stands: in a path, in a header, in a shell, on any system.
fn clean_name(given: Option<&str>, extension: &str) -> String {
    let given = given.unwrap_or_default();
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let (stem, said) = last.rsplit_once('.').unwrap_or((last, ""));
    let extension = if extension == "jpg" && said.eq_ignore_ascii_case("jpeg") {
        "jpeg"
    } else {
        extension
    };
    let mut clean = String::new();
    for letter in stem.chars() {
        let letter = match letter {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '_' | '.' => letter,
            _ => '_',
        };
        // Two dots lead upwards.
        if letter != '.' || !clean.ends_with('.') {
            clean.push(letter);
        }
    }
    let clean = clean.trim_matches('.');
    let mut name = match clean {
        "" => "file".to_owned(),
        clean if is_reserved(clean) => format!("_{clean}"),
        clean => clean.to_owned(),
    };
    // Letters of one byte each.
    name.truncate(MAX_NAME - extension.len() - 1);
    format!("{}.{extension}", name.trim_end_matches('.'))
}

/// Names of devices on Windows, whatever stands behind their first dot.
fn is_reserved(stem: &str) -> bool {
    let first = stem.split('.').next().unwrap_or(stem).to_ascii_lowercase();
    matches!(first.as_str(), "con" | "prn" | "aux" | "nul")
        || first
            .strip_prefix("com")
            .or_else(|| first.strip_prefix("lpt"))
            .is_some_and(|number| number.len() == 1 && number.bytes().all(|b| b.is_ascii_digit()))
}

fn with_ending(name: &str, ending: &str) -> String {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let room = MAX_NAME.saturating_sub(extension.len() + ending.len() + 2);
    let stem = stem.get(..room).unwrap_or(stem);
    format!("{stem}-{ending}.{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_harmless() {
        let long = "x".repeat(300);
        for (given, clean) in [
            ("cat.png", "cat.png"),
            ("cat.jpeg", "cat.png"),
            ("cat", "cat.png"),
            ("my cat (1).PNG", "my_cat__1_.png"),
            ("../../etc/passwd", "passwd.png"),
            ("..\\..\\boot.ini", "boot.png"),
            ("C:\\pictures\\cat.png", "cat.png"),
            ("a/b/", "file.png"),
            ("..", "file.png"),
            (".htaccess", "file.png"),
            ("...x..y...", "x.y.png"),
            ("", "file.png"),
            ("\0.png", "_.png"),
            ("a\r\nSet-Cookie: x=1.png", "a__Set-Cookie__x_1.png"),
            ("\u{202e}gnp.exe", "_gnp.png"),
            ("\u{1f9a6}.png", "_.png"),
            ("caf\u{e9}.png", "caf_.png"),
            ("CON.png", "_CON.png"),
            ("com1", "_com1.png"),
            ("nul.tar.gz", "_nul.tar.png"),
            ("common.png", "common.png"),
            ("<script>.svg", "_script_.png"),
            ("a;b&c|d$(e).png", "a_b_c_d__e_.png"),
            (long.as_str(), &format!("{}.png", "x".repeat(96))),
        ] {
            let made = clean_name(Some(given), "png");
            assert_eq!(made, clean, "{given:?}");
            assert!(made.len() <= MAX_NAME && !made.starts_with('.') && !made.contains(".."));
        }
        assert_eq!(clean_name(None, "webp"), "file.webp");
        assert_eq!(clean_name(Some("cat.JPEG"), "jpg"), "cat.jpeg");
        assert_eq!(clean_name(Some("cat.jpg"), "jpg"), "cat.jpg");
        let other = with_ending(&clean_name(Some(&long), "jpg"), "abc123");
        assert_eq!(other.len(), MAX_NAME);
        assert!(other.ends_with("x-abc123.jpg"));
    }
}
