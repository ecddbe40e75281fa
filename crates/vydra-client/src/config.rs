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
        let given = variable("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = || std::env::home_dir().map(|home| home.join(".config"));
        Self {
            base_url: text("VYDRA_BASE_URL"),
            api_key: text("VYDRA_API_KEY"),
            config_home: given.or_else(home),
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

    /// Writes the file, for its owner alone, whole or not at all.
    pub fn save(&self) -> Result<(), Error> {
        self.save_to(&Self::path()?)
    }

    /// Removes the file; whether it was there.
    pub fn remove() -> Result<bool, Error> {
        let path = Self::path()?;
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(file_error(&path, "cannot be removed", error)),
        }
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
        write(path, self).map_err(|error| file_error(path, "cannot be written", error))
    }
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
