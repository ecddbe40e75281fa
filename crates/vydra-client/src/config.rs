//! Where the server is, and as whom it is asked.

use crate::error::Error;
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What the environment says: of the server, of the key, and where the credentials file is.
#[derive(Clone, Default)]
pub struct Environment {
    /// `VYDRA_BASE_URL`.
    pub base_url: Option<String>,
    /// `VYDRA_API_KEY`.
    pub api_key: Option<String>,
    /// `$XDG_CONFIG_HOME`, else `~/.config`. The credentials are in `vydra/credentials.json` below it.
    pub config_home: Option<PathBuf>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        Self {
            base_url: text("VYDRA_BASE_URL"),
            api_key: text("VYDRA_API_KEY"),
            config_home: config_home(variable("XDG_CONFIG_HOME"), std::env::home_dir()),
        }
    }

    fn credentials(&self) -> Option<PathBuf> {
        let folder = self.config_home.as_ref()?;
        Some(folder.join("vydra").join("credentials.json"))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("base_url", &self.base_url)
            .field("config_home", &self.config_home)
            .finish_non_exhaustive()
    }
}

/// The XDG specification has a path that is not absolute ignored.
fn config_home(said: Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    let said = said.map(PathBuf::from).filter(|path| path.is_absolute());
    said.or_else(|| home.map(|home| home.join(".config")))
}

fn variable(name: &str) -> Option<OsString> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the program that uses this client expects it to read the environment; a test hands in its own"
    )]
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The credentials file: a server, and the key for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The server.
    pub base_url: String,
    /// The key.
    pub api_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

/// As it is written: a person may have left something out.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    base_url: Option<String>,
    api_key: Option<String>,
}

impl Credentials {
    /// Where the file is.
    pub fn path() -> Result<PathBuf, Error> {
        let path = Environment::of_process().credentials();
        path.ok_or_else(|| {
            Error::Configuration("there is no home folder: set XDG_CONFIG_HOME".into())
        })
    }

    /// What the file holds; none where it is not there, or lacks one of the two.
    pub fn load() -> Result<Option<Self>, Error> {
        Self::load_from(&Self::path()?)
    }

    /// Writes the file, for its owner alone, whole or not at all. A symbolic link stays, and what it names is written.
    pub fn save(&self) -> Result<(), Error> {
        self.save_to(&Self::path()?)
    }

    /// Removes the file, where a symbolic link leads, too; whether it was there.
    pub fn remove() -> Result<bool, Error> {
        Self::remove_from(&Self::path()?)
    }

    /// Whether others of this machine can read the file, if it is there.
    pub fn is_open() -> Result<bool, Error> {
        Self::is_open_at(&Self::path()?)
    }

    /// [`load`](Self::load) from a file of one's own.
    pub fn load_from(path: &Path) -> Result<Option<Self>, Error> {
        Ok(match read(path)? {
            Written {
                base_url: Some(base_url),
                api_key: Some(api_key),
            } => Some(Self { base_url, api_key }),
            Written { .. } => None,
        })
    }

    /// [`save`](Self::save) to a file of one's own.
    pub fn save_to(&self, path: &Path) -> Result<(), Error> {
        let written = behind_links(path).and_then(|path| write(&path, self));
        written.map_err(|error| file_error(path, "cannot be written", error))
    }

    /// [`remove`](Self::remove) of a file of one's own.
    pub fn remove_from(path: &Path) -> Result<bool, Error> {
        match behind_links(path).and_then(std::fs::remove_file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(file_error(path, "cannot be removed", error)),
        }
    }

    /// [`is_open`](Self::is_open) of a file of one's own.
    pub fn is_open_at(path: &Path) -> Result<bool, Error> {
        match std::fs::metadata(path) {
            Ok(file) => Ok(can_be_read_by_others(&file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(file_error(path, "cannot be read", error)),
        }
    }
}

/// The file that a path leads to, there or not.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    match std::fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let named = std::fs::read_link(path).ok();
            let beside = |named| path.parent().unwrap_or(Path::new("")).join(named);
            Ok(named.map_or_else(|| path.to_owned(), beside))
        }
        found => found,
    }
}

#[cfg(unix)]
fn can_be_read_by_others(file: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.permissions().mode() & 0o044 != 0
}

#[cfg(not(unix))]
fn can_be_read_by_others(_: &std::fs::Metadata) -> bool {
    false
}

fn file_error(path: &Path, what: &str, source: io::Error) -> Error {
    Error::File {
        message: format!("{} {what}", path.display()),
        source,
    }
}

fn read(path: &Path) -> Result<Written, Error> {
    let wrong = |what: &str| Error::Configuration(format!("{} {what}", path.display()));
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Written::default()),
        Err(error) => return Err(wrong(&format!("cannot be read: {error}"))),
    };
    // Without the cause, which may show what stands in the file.
    let written: Written = serde_json::from_slice(&bytes)
        .map_err(|_| wrong(r#"must hold {"baseUrl": "https://…", "apiKey": "…"}"#))?;
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(Written {
        base_url: filled(written.base_url),
        api_key: filled(written.api_key),
    })
}

fn write(path: &Path, credentials: &Credentials) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        builder.mode(0o700);
        options.mode(0o600);
    }
    builder.create(folder)?;
    let temporary = folder.join(format!(
        ".credentials.{}.part",
        crate::transport::random_hex()?
    ));
    let text = serde_json::to_vec_pretty(&Written {
        base_url: Some(credentials.base_url.clone()),
        api_key: Some(credentials.api_key.clone()),
    })?;
    let written = options.open(&temporary).and_then(|mut file| {
        file.write_all(&text)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    });
    if written.is_err() {
        // What failed is told; that its rest stays too would help nobody.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// A key that shows itself only in the header that it is for.
#[derive(Clone)]
pub(crate) struct Secret(HeaderValue);

impl Secret {
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// The server and the key: what was given, else what the environment says, else the credentials file.
pub(crate) fn resolve(
    base_url: Option<String>,
    api_key: Option<String>,
    environment: &Environment,
) -> Result<(Url, Secret), Error> {
    let first = |given: Option<String>, said: &Option<String>| {
        let filled = |text: &String| !text.is_empty();
        let given = given.filter(filled).map(|text| (text, Origin::Given));
        given.or_else(|| Some((said.clone().filter(filled)?, Origin::Around)))
    };
    let mut url = first(base_url, &environment.base_url);
    let mut key = first(api_key, &environment.api_key);
    if (url.is_none() || key.is_none())
        && let Some(path) = environment.credentials()
    {
        let file = read(&path)?;
        let named = file.base_url.map(|url| (url, Origin::Around));
        url = url.or_else(|| named.clone());
        // A key of one server is never offered to another.
        if key.is_none()
            && let (Some(url), Some(named)) = (&url, &named)
            && base_of(url)? == base_of(named)?
        {
            key = file.api_key.map(|key| (key, Origin::Around));
        }
    }
    let url = url.ok_or_else(|| {
        Error::Configuration("no server: give base_url, or set VYDRA_BASE_URL".into())
    })?;
    let base = base_of(&url)?;
    let (key, origin) = key.ok_or_else(|| {
        Error::Configuration(format!(
            "no key for {}: give api_key, or set VYDRA_API_KEY",
            base.as_str().trim_end_matches('/')
        ))
    })?;
    let key = key.trim();
    let is_sound = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    let header = is_sound
        .then(|| HeaderValue::from_str(&format!("Bearer {key}")).ok())
        .flatten();
    let mut header =
        header.ok_or_else(|| origin.error("the key holds characters that no key has".into()))?;
    header.set_sensitive(true);
    Ok((base, Secret(header)))
}

/// Who said something: that tells whose fault it is.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// Whoever calls.
    Given,
    /// The environment, or the credentials file.
    Around,
}

impl Origin {
    fn error(self, message: String) -> Error {
        match self {
            Self::Given => Error::Request(message),
            Self::Around => Error::Configuration(message),
        }
    }
}

/// The address of a server in its one form, without `/` or `/api/v1` at its end; an [`Error::Request`] if it cannot be one.
pub fn base_url(text: &str) -> Result<String, Error> {
    let url = base_of(&(text.to_owned(), Origin::Given))?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn base_of((text, origin): &(String, Origin)) -> Result<Url, Error> {
    let url = Url::parse(text.trim()).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.port() != Some(0)
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    // Without the text, which may hold a password.
    let mut url = url.ok_or_else(|| {
        origin
            .error("base_url must be an http or https URL without a user, query or fragment".into())
    })?;
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/api/v1").unwrap_or(path);
    let path = path.trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_home_of_configurations_is_ignored() {
        let folder = |said: Option<&str>| config_home(said.map(OsString::from), Some("/me".into()));
        let own = Some(PathBuf::from("/me/.config"));
        assert_eq!(folder(None), own);
        assert_eq!(folder(Some("here/and/there")), own);
        assert_eq!(folder(Some("/elsewhere")), Some("/elsewhere".into()));
    }
}
