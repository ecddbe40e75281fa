//! What an operator puts in: the file of a service account, or an access token.

use crate::secret::Secret;
use crate::upstream::{Credential, Upstream, UpstreamError, UpstreamSettings};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;
use url::{Host, Url};
use vydra_core::time::Timestamp;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The longest that is taken.
const LIFETIME: i64 = 3600;
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a key is none. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key is empty")]
    Empty,
    #[error(
        "the key is neither an access token nor the JSON file of a service account with client_email, private_key and token_uri"
    )]
    Account,
    #[error("private_key of the service account is no RSA key in PKCS#8, as PEM")]
    PrivateKey,
    #[error("token_uri of the service account must begin with https://, or be on this machine")]
    TokenUri,
    #[error(transparent)]
    Upstream(UpstreamError),
}

#[derive(Debug)]
pub enum Key {
    /// Gets tokens by itself.
    Account(Box<ServiceAccount>),
    /// Good for about an hour.
    Token(Secret),
}

impl Key {
    pub fn read(text: &Secret) -> Result<Self, KeyError> {
        let text = text.reveal().trim();
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if text.starts_with('{') {
            let account = ServiceAccount::read(text)?;
            return Ok(Self::Account(Box::new(account)));
        }
        if !text.chars().all(|c| c.is_ascii_graphic()) {
            return Err(KeyError::Account);
        }
        Ok(Self::Token(Secret::new(text)))
    }

    /// That of the account's own project; None where the key does not tell it.
    pub fn base_url(&self) -> Option<String> {
        match self {
            Self::Account(account) => account
                .project
                .as_deref()
                .map(|project| super::base_url(project, super::REGION)),
            Self::Token(_) => None,
        }
    }
}

/// The file of a service account as Google writes it.
#[derive(Deserialize)]
struct AccountFile {
    client_email: String,
    private_key: Secret,
    token_uri: String,
    #[serde(default)]
    private_key_id: Option<String>,
    #[serde(default)]
    project_id: Option<String>,
}

/// Whoever has its key acts as it.
pub struct ServiceAccount {
    email: String,
    key_id: Option<String>,
    project: Option<String>,
    keys: RsaKeyPair,
    token_uri: String,
    pub(super) server: Upstream,
    /// Of the token endpoint, on its server.
    pub(super) path: String,
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").finish_non_exhaustive()
    }
}

impl ServiceAccount {
    fn read(text: &str) -> Result<Self, KeyError> {
        // The reader's own words would quote the file.
        let file: AccountFile = serde_json::from_str(text).map_err(|_| KeyError::Account)?;
        let keys = pkcs8(file.private_key.reveal())
            .and_then(|der| RsaKeyPair::from_pkcs8(&der).ok())
            .ok_or(KeyError::PrivateKey)?;
        let endpoint = endpoint(&file.token_uri).ok_or(KeyError::TokenUri)?;
        let server = Upstream::new(&UpstreamSettings {
            base_url: endpoint.origin().ascii_serialization(),
            credential: Credential::None,
            timeout: TIMEOUT,
        });
        Ok(Self {
            email: file.client_email,
            key_id: file.private_key_id,
            project: file.project_id.filter(|project| !project.is_empty()),
            keys,
            token_uri: file.token_uri,
            server: server.map_err(KeyError::Upstream)?,
            path: endpoint.path().to_owned(),
        })
    }

    /// A signed wish for a token (RFC 7523).
    pub(super) fn assertion(&self, now: Timestamp) -> Option<Secret> {
        let now = now.as_seconds();
        let mut head = json!({"alg": "RS256", "typ": "JWT"});
        if let Some(key_id) = &self.key_id {
            head["kid"] = json!(key_id);
        }
        let claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": self.token_uri, "iat": now, "exp": now.saturating_add(LIFETIME),
        });
        let signed = format!("{}.{}", encoded(&head), encoded(&claims));
        let mut signature = vec![0; self.keys.public().modulus_len()];
        let chance = SystemRandom::new();
        self.keys
            .sign(
                &RSA_PKCS1_SHA256,
                &chance,
                signed.as_bytes(),
                &mut signature,
            )
            .ok()?;
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        Some(Secret::new(format!("{signed}.{signature}")))
    }
}

fn encoded(part: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part.to_string())
}

fn pkcs8(pem: &str) -> Option<Vec<u8>> {
    let body = pem
        .trim()
        .strip_prefix("-----BEGIN PRIVATE KEY-----")?
        .strip_suffix("-----END PRIVATE KEY-----")?;
    let plain: String = body.split_ascii_whitespace().collect();
    BASE64_STANDARD.decode(plain).ok()
}

/// A signed wish is as good as a key, so that it goes over TLS, or nowhere.
fn endpoint(token_uri: &str) -> Option<Url> {
    let url = Url::parse(token_uri).ok()?;
    let is_local = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_local);
    let is_plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    (is_safe && is_plain).then_some(url)
}
