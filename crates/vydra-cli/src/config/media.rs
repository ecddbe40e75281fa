//! Where media files are kept: a folder, or a bucket with all that it takes to reach it.

use super::{Config, ConfigError, Secret};
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;
use vydra_outbound::media::s3::S3Settings;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Media {
    pub url: String,
    pub endpoint: String,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub secret_access_key_file: PathBuf,
    pub virtual_hosted: bool,
    pub reads: Reads,
}

/// How a reader gets the bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reads {
    Proxy,
    Redirect,
}

#[derive(Debug, Clone)]
pub enum MediaPlace {
    Folder(PathBuf),
    Bucket(S3Settings),
}

/// For an operator.
impl fmt::Display for MediaPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Bucket(settings) => settings.fmt(f),
        }
    }
}

impl Config {
    pub fn media_place(&self) -> Result<MediaPlace, ConfigError> {
        let media = &self.media;
        let url = media.url.as_str();
        if url.starts_with("s3:") {
            return Ok(MediaPlace::Bucket(self.bucket()?));
        }
        media.names_no_bucket()?;
        if url.is_empty() {
            return Ok(MediaPlace::Folder(self.data_dir.join("media")));
        }
        match url.strip_prefix("file:") {
            Some(path) => Ok(MediaPlace::Folder(
                self.data_dir.join(path.strip_prefix("//").unwrap_or(path)),
            )),
            None => Err(ConfigError::key(
                "media.url",
                "must be file: and a path, or s3:// and a bucket",
            )),
        }
    }

    fn bucket(&self) -> Result<S3Settings, ConfigError> {
        let media = &self.media;
        let bucket = media.url.parse().map_err(refused("media.url"))?;
        let endpoint = match media.endpoint.as_str() {
            "" => None,
            text => Some(text.parse().map_err(refused("media.endpoint"))?),
        };
        if media.virtual_hosted && endpoint.is_none() {
            return Err(ConfigError::key(
                "media.virtual_hosted",
                "is for a store that media.endpoint names; AWS has it always",
            ));
        }
        for (key, value) in [
            ("media.region", &media.region),
            ("media.access_key_id", &media.access_key_id),
        ] {
            if value.is_empty() {
                return Err(ConfigError::key(key, "must be given for a bucket"));
            }
            // Both stand in a header of every request.
            if !value.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(ConfigError::key(
                    key,
                    "must be letters, digits and signs, without spaces",
                ));
            }
        }
        Ok(S3Settings {
            bucket,
            endpoint,
            region: media.region.clone(),
            access_key_id: media.access_key_id.clone(),
            secret_access_key: self.secret_access_key()?,
            virtual_hosted: media.virtual_hosted,
            redirects: media.reads == Reads::Redirect,
        })
    }

    fn secret_access_key(&self) -> Result<String, ConfigError> {
        const KEY: &str = "media.secret_access_key";
        let media = &self.media;
        let (_, secret) = self.given_or_in_file(
            (KEY, &media.secret_access_key),
            (
                "media.secret_access_key_file",
                &media.secret_access_key_file,
            ),
        )?;
        if secret.is_empty() {
            let problem = "must be given for a bucket, here or as secret_access_key_file";
            return Err(ConfigError::key(KEY, problem));
        }
        Ok(secret)
    }
}

impl Media {
    /// Who names an endpoint or a key wants no folder.
    fn names_no_bucket(&self) -> Result<(), ConfigError> {
        for (key, is_given) in [
            ("media.endpoint", !self.endpoint.is_empty()),
            ("media.access_key_id", !self.access_key_id.is_empty()),
            (
                "media.secret_access_key",
                !self.secret_access_key.is_empty(),
            ),
            (
                "media.secret_access_key_file",
                !self.secret_access_key_file.as_os_str().is_empty(),
            ),
            ("media.virtual_hosted", self.virtual_hosted),
            ("media.reads", self.reads == Reads::Redirect),
        ] {
            if is_given {
                return Err(ConfigError::key(
                    key,
                    "is for a bucket, and media.url names none: s3:// and its name",
                ));
            }
        }
        Ok(())
    }
}

fn refused<E: fmt::Display>(key: &'static str) -> impl Fn(E) -> ConfigError {
    move |error| ConfigError::key(key, error.to_string())
}
