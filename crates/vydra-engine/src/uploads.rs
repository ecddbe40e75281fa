//! Files that callers send: looked at while they stream through, stored, and known by a key (contract, section 9).

use crate::inputs::max_bytes;
use crate::intake::{Intake, IntakeError, Origin, Stored};
use crate::{Caller, Engine, Error, Identity, Result};
use std::sync::Arc;
use vydra_core::asset::{Asset, AssetRole, MediaKind};
use vydra_core::ids::{AssetId, OrgId};
use vydra_core::job::Mode;
use vydra_core::random::letters_and_digits;
use vydra_store::store::Recording;

/// What the key of every upload begins with.
pub(crate) const KEY_PREFIX: &str = "uploads/";
const MAX_NAME: usize = 100;
/// How often a name that is taken is tried with another ending.
const KEY_TRIES: usize = 5;

const TOO_MANY_PIXELS: &str =
    "Image exceeds the limit of 8192 pixels a side and 40 megapixels in all";

/// A file on its way in. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Upload {
    engine: Arc<Engine>,
    org: OrgId,
    mode: Mode,
    /// Whose name stands in the key.
    maker: String,
    given_name: Option<String>,
    kind: MediaKind,
    intake: Intake,
}

impl Engine {
    /// Of a file that is to be of this kind.
    pub fn begin_upload(
        self: &Arc<Self>,
        caller: &Caller,
        kind: MediaKind,
        name: Option<&str>,
    ) -> Upload {
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
            mode: caller.mode(),
            maker: maker.to_owned(),
            given_name: name.map(str::to_owned),
            kind,
            intake: Intake::new(kind, Origin::Caller),
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
        let written = self.intake.write(&self.engine, bytes).await;
        written.map_err(|error| refused(self.kind, error))
    }

    /// The file is whole.
    pub async fn finish(self) -> Result<Asset> {
        if self.intake.size() == 0 && self.given_name.as_deref().is_none_or(str::is_empty) {
            return Err(no_file());
        }
        // From here on it comes to its end even if the caller goes away: a file without a row would stay for ever.
        let engine = Arc::clone(&self.engine);
        let ending = engine.endings_of_files.spawn(self.keep());
        ending
            .await
            .map_err(|broken| Error::Internal(Box::new(broken)))?
    }

    async fn keep(self) -> Result<Asset> {
        let engine = &self.engine;
        let stored = self.intake.finish(engine).await;
        let mut stored = stored.map_err(|error| refused(self.kind, error))?;
        let Stored {
            found, storage_key, ..
        } = &stored;
        let now = engine.now();
        let asset = Asset {
            id: AssetId::new(now, engine.random()),
            org_id: self.org,
            mode: self.mode,
            job_id: None,
            role: AssetRole::Upload,
            kind: found.kind,
            media_type: found.media_type.to_owned(),
            storage_key: storage_key.clone(),
            bytes: stored.bytes,
            dimensions: found.dimensions,
            duration_ms: None,
            filename: Some(clean_name(self.given_name.as_deref(), found.extension)),
            upload_key: None,
            has_thumbnail: true,
            created_at: now,
        };
        let recorded = engine.record_upload(asset, &self.maker).await;
        // A row whose answer was lost names the file all the same: only what no row names is removed.
        let is_nameless = recorded.is_err()
            && matches!(
                engine.store().asset_by_storage_key(storage_key).await,
                Ok(None)
            );
        if !is_nameless {
            stored.keep();
        }
        recorded
    }
}

fn refused(kind: MediaKind, error: IntakeError) -> Error {
    match error {
        IntakeError::TooLarge => upload_too_large(kind),
        IntakeError::TooManyPixels => Error::FileTooLarge(TOO_MANY_PIXELS.to_owned()),
        IntakeError::WrongType => Error::InvalidFileType(kind),
        IntakeError::Storage(error) => error.into(),
    }
}

pub fn no_file() -> Error {
    Error::invalid("No file provided")
}

/// The most bytes of an upload of this kind.
pub const fn max_upload(kind: MediaKind) -> u64 {
    max_bytes(kind)
}

pub fn upload_too_large(kind: MediaKind) -> Error {
    let mib = max_upload(kind) / (1_024 * 1_024);
    Error::FileTooLarge(format!("File size exceeds {mib}MB limit"))
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
