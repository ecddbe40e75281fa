//! Where requests are counted, and what is taken for the address of a caller.

use super::{Config, ConfigError, Secret, networks};
use serde::Deserialize;
use std::path::PathBuf;
use vydra_outbound::url_guard::Network;
use vydra_outbound::windows::RedisAddress;

const MOST_STRANGERS: u32 = 10_000;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limiting {
    backend: LimitBackend,
    redis_url: Secret,
    redis_url_file: PathBuf,
    pub unauthenticated_per_minute: u32,
    pub trusted_proxies: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LimitBackend {
    Store,
    Redis,
}

impl Config {
    /// None where requests are counted by what remembers everything else.
    pub fn redis(&self) -> Result<Option<RedisAddress>, ConfigError> {
        const KEY: &str = "limits.redis_url";
        let limits = &self.limits;
        let (key, url) = self.given_or_in_file(
            (KEY, &limits.redis_url),
            ("limits.redis_url_file", &limits.redis_url_file),
        )?;
        match (limits.backend, url.as_str()) {
            (LimitBackend::Store, "") => Ok(None),
            (LimitBackend::Store, _) => {
                let problem =
                    "is given, and limits.backend is not redis: nothing would be counted there";
                Err(ConfigError::key(key, problem))
            }
            (LimitBackend::Redis, "") => {
                let problem =
                    "must be given where limits.backend is redis, here or as redis_url_file";
                Err(ConfigError::key(KEY, problem))
            }
            (LimitBackend::Redis, url) => {
                let address = url.parse::<RedisAddress>();
                address
                    .map(Some)
                    .map_err(|error| ConfigError::key(key, error.to_string()))
            }
        }
    }

    pub fn trusted_proxies(&self) -> Result<Vec<Network>, ConfigError> {
        networks("limits.trusted_proxies", &self.limits.trusted_proxies)
    }

    pub(super) fn check_limits(&self) -> Result<(), ConfigError> {
        if !(1..=MOST_STRANGERS).contains(&self.limits.unauthenticated_per_minute) {
            let problem = format!("must be from 1 to {MOST_STRANGERS}");
            return Err(ConfigError::key(
                "limits.unauthenticated_per_minute",
                problem,
            ));
        }
        self.trusted_proxies()?;
        self.redis()?;
        Ok(())
    }
}
