//! Who runs models: a section for each account of each provider.

use super::{Config, ConfigError, Span};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vydra_outbound::providers::{comfyui, elevenlabs, fal, gemini, openai, replicate, xai};
use vydra_outbound::secret::Secret;

/// The provider that draws by rule, in this process.
pub const LOCAL: &str = "local";
const TIMEOUT: Duration = Duration::from_mins(10);
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_TIMEOUT: Duration = Duration::from_mins(30);
const MOST_AT_ONCE: u32 = 10_000;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// What it speaks; as the section is called, if it is not said.
    #[serde(default)]
    pub kind: String,
    pub enabled: Option<bool>,
    /// Of the local one alone.
    #[serde(default)]
    pub instant: bool,
    #[serde(default)]
    pub api_key: Secret,
    #[serde(default)]
    pub api_key_file: PathBuf,
    #[serde(default)]
    pub base_url: String,
    pub timeout: Option<Span>,
    /// `bearer`, `basic`, or the name of a header.
    #[serde(default)]
    pub auth: String,
    /// Of a server that the catalogue describes: a path that costs nothing and needs the key.
    #[serde(default)]
    pub check_path: String,
    /// How many calls and tasks at once; 0 for no bound of its own.
    #[serde(default)]
    pub concurrency: u32,
    /// The credits for which it may be asked on one day, in UTC; 0 for no bound.
    #[serde(default)]
    pub daily_credits: u64,
}

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Fal,
    OpenAi,
    OpenAiCompatible,
    Gemini,
    Vertex,
    Xai,
    Replicate,
    ElevenLabs,
    ComfyUi,
    A1111,
    Http,
}

impl Kind {
    const ALL: [(&'static str, Self); 11] = [
        ("fal", Self::Fal),
        ("openai", Self::OpenAi),
        ("openai-compatible", Self::OpenAiCompatible),
        ("gemini", Self::Gemini),
        ("vertex", Self::Vertex),
        ("xai", Self::Xai),
        ("replicate", Self::Replicate),
        ("elevenlabs", Self::ElevenLabs),
        ("comfyui", Self::ComfyUi),
        ("a1111", Self::A1111),
        ("http", Self::Http),
    ];

    fn of_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    fn words() -> String {
        Self::ALL.map(|(word, _)| word).join(", ")
    }

    /// Where its vendor is; None where every operator has a server of their own, or a key tells it.
    const fn base_url(self) -> Option<&'static str> {
        match self {
            Self::Fal => Some(fal::BASE_URL),
            Self::OpenAi => Some(openai::BASE_URL),
            Self::Gemini => Some(gemini::BASE_URL),
            Self::Xai => Some(xai::BASE_URL),
            Self::Replicate => Some(replicate::BASE_URL),
            Self::ElevenLabs => Some(elevenlabs::BASE_URL),
            Self::ComfyUi => Some(comfyui::BASE_URL),
            Self::OpenAiCompatible | Self::Vertex | Self::A1111 | Self::Http => None,
        }
    }

    /// Whether it is a server of the operator's own, which may know nobody or know them in its own way.
    const fn is_own(self) -> bool {
        match self {
            Self::OpenAiCompatible | Self::ComfyUi | Self::A1111 | Self::Http => true,
            Self::Fal
            | Self::OpenAi
            | Self::Gemini
            | Self::Vertex
            | Self::Xai
            | Self::Replicate
            | Self::ElevenLabs => false,
        }
    }
}

/// A provider that is to be called, with all that it takes.
#[derive(Debug, Clone)]
pub struct Hosted {
    pub name: String,
    pub kind: Kind,
    pub key: Secret,
    pub base_url: String,
    pub timeout: Duration,
    pub auth: HostedAuth,
    pub check_path: Option<String>,
    pub concurrency: Option<u32>,
    pub daily_credits: Option<u64>,
}

/// How a server of the operator's own knows us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostedAuth {
    /// As servers of its kind do.
    Usual,
    Bearer,
    Basic,
    Header(String),
}

impl Config {
    /// Those that are called over the network, in the order of their names.
    pub fn hosted_providers(&self) -> Result<Vec<Hosted>, ConfigError> {
        let mut hosted = Vec::new();
        for (name, provider) in &self.providers {
            if name == LOCAL {
                provider.is_local()?;
                continue;
            }
            let kind = provider.kind(name)?;
            if provider.enabled != Some(false) {
                hosted.push(provider.hosted(name, kind, &self.data_dir)?);
            }
        }
        Ok(hosted)
    }
}

impl Provider {
    fn kind(&self, name: &str) -> Result<Kind, ConfigError> {
        let (key, word) = match self.kind.as_str() {
            "" => ("", name),
            kind => ("kind", kind),
        };
        Kind::of_name(word).ok_or_else(|| {
            let known = Kind::words();
            let problem = match key {
                "" => format!("this version has no such provider: give it a kind, one of {known}"),
                _ => format!("must be one of {known}"),
            };
            refused(name, key, &problem)
        })
    }

    fn is_local(&self) -> Result<(), ConfigError> {
        let is_of_network = !self.kind.is_empty()
            || !self.base_url.is_empty()
            || !self.auth.is_empty()
            || self.timeout.is_some()
            || self.concurrency > 0
            || self.daily_credits > 0;
        if is_of_network {
            let problem = "is in this process: it has no kind, base_url, auth, timeout or bounds";
            return Err(refused(LOCAL, "", problem));
        }
        Ok(())
    }

    fn hosted(&self, name: &str, kind: Kind, data_dir: &Path) -> Result<Hosted, ConfigError> {
        if self.instant {
            return Err(refused(name, "instant", "is for the local provider alone"));
        }
        let key = self.key(name, data_dir)?;
        if key.is_empty() && !kind.is_own() {
            let problem = format!(
                "must be given, here, as api_key_file or as VYDRA__PROVIDERS__{}__API_KEY; or set enabled = false",
                name.to_ascii_uppercase()
            );
            return Err(refused(name, "api_key", &problem));
        }
        if !self.auth.is_empty() && !kind.is_own() {
            let problem = "is for servers of your own: this provider has its own way";
            return Err(refused(name, "auth", problem));
        }
        let base_url = match (self.base_url.as_str(), kind.base_url()) {
            // Its key names the project.
            ("", None) if kind == Kind::Vertex => String::new(),
            ("", None) => {
                return Err(refused(
                    name,
                    "base_url",
                    "must be given: the address of your server",
                ));
            }
            ("", Some(theirs)) => theirs.to_owned(),
            (own, _) => own.to_owned(),
        };
        if !self.check_path.is_empty() && kind != Kind::Http {
            let problem = "is for providers of the kind http: all others know their own";
            return Err(refused(name, "check_path", problem));
        }
        let timeout = self.timeout.map_or(TIMEOUT, |span| span.0);
        if !(SHORTEST_TIMEOUT..=LONGEST_TIMEOUT).contains(&timeout) {
            return Err(refused(name, "timeout", "must be from 5s to 30m"));
        }
        if self.concurrency > MOST_AT_ONCE {
            let problem = format!("must be at most {MOST_AT_ONCE}, or 0 for no bound");
            return Err(refused(name, "concurrency", &problem));
        }
        Ok(Hosted {
            name: name.to_owned(),
            kind,
            key,
            base_url,
            timeout,
            auth: match self.auth.to_ascii_lowercase().as_str() {
                "" => HostedAuth::Usual,
                "bearer" => HostedAuth::Bearer,
                "basic" => HostedAuth::Basic,
                header => HostedAuth::Header(header.to_owned()),
            },
            check_path: (!self.check_path.is_empty()).then(|| self.check_path.clone()),
            concurrency: (self.concurrency > 0).then_some(self.concurrency),
            daily_credits: (self.daily_credits > 0).then_some(self.daily_credits),
        })
    }

    fn key(&self, name: &str, data_dir: &Path) -> Result<Secret, ConfigError> {
        if self.api_key_file.as_os_str().is_empty() {
            return Ok(self.api_key.clone());
        }
        if !self.api_key.is_empty() {
            return Err(refused(
                name,
                "api_key",
                "is given twice: here and as api_key_file",
            ));
        }
        let path = data_dir.join(&self.api_key_file);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let problem = format!("cannot read {}: {error}", path.display());
            refused(name, "api_key_file", &problem)
        })?;
        let key = text.trim();
        if key.is_empty() {
            return Err(refused(name, "api_key_file", "is an empty file"));
        }
        Ok(Secret::new(key))
    }
}

fn refused(name: &str, key: &str, problem: &str) -> ConfigError {
    let key = if key.is_empty() {
        format!("providers.{name}")
    } else {
        format!("providers.{name}.{key}")
    };
    ConfigError::key(key, problem)
}
