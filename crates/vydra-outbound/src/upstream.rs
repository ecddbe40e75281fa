//! The client for one provider: its address, our key for it, and no other address.
//!
//! The operator names the server, so that it may be anywhere; a key goes only there. No redirect is followed, and what an answer
//! calls by a URL is read with [`crate::fetch::InputFetcher`], without any key, unless it is on that same server.

mod answer;
mod socket;

use crate::fetch::{Body, FetchError};
use crate::http::{ClientFactory, SetupError};
use crate::provider::{Accepted, ErrorKind, ProviderError};
use crate::secret::Secret;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use std::fmt::{self, Write as _};
use std::time::Duration;
use url::{Url, form_urlencoded};

pub use answer::{Answer, word};
pub use socket::Socket;

const CONNECT: Duration = Duration::from_secs(10);
/// Between two pieces of a file.
const IDLE: Duration = Duration::from_mins(1);
/// A question that costs nothing.
const ASK: Duration = Duration::from_secs(30);
/// Of an answer that holds no files.
pub const SMALL: u64 = 8 * 1024 * 1024;
/// Of an answer with files in it, which are in memory until they are stored.
pub const LARGE: u64 = 256 * 1024 * 1024;

/// How a provider knows us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    None,
    /// `Authorization: Bearer …`, or another word in place of Bearer.
    Scheme(&'static str, Secret),
    /// A header of its own, by its name.
    Header(String, Secret),
    /// `Authorization: Basic …`, of a name and a password parted by a colon.
    Basic(Secret),
}

impl Credential {
    pub fn bearer(key: Secret) -> Self {
        Self::Scheme("Bearer", key)
    }

    fn header(&self) -> Result<Option<(HeaderName, String)>, UpstreamError> {
        Ok(match self {
            Self::None => None,
            Self::Scheme(word, key) => Some((AUTHORIZATION, format!("{word} {}", key.reveal()))),
            Self::Header(name, key) => {
                let name = name.parse().map_err(|_| UpstreamError::Header)?;
                Some((name, key.reveal().to_owned()))
            }
            Self::Basic(pair) => {
                let pair = BASE64_STANDARD.encode(pair.reveal());
                Some((AUTHORIZATION, format!("Basic {pair}")))
            }
        })
    }
}

#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// With a path, if all calls begin with one: `https://api.example.com/v1`.
    pub base_url: String,
    pub credential: Credential,
    /// How long a call may take that makes something.
    pub timeout: Duration,
}

/// Why there is no client. The texts are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error(
        "must be an address that begins with https:// or http:// and has no query and no password, such as https://api.example.com/v1"
    )]
    Address,
    #[error("the key has characters that no header can carry")]
    Key,
    #[error("auth must be bearer, basic, or the name of a header")]
    Header,
    #[error(transparent)]
    Setup(#[from] SetupError),
}

/// Whether a call may buy something, which decides what a broken connection means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Once it is sent, nothing tells whether it was bought, unless the provider answers.
    Buy,
    /// Costs nothing, and may be asked again.
    Ask,
}

#[derive(Debug)]
pub enum Content {
    None,
    Json(Value),
    Form(Vec<(String, Field)>),
    /// As a form of a web page without files is sent.
    UrlEncoded(Vec<(&'static str, String)>),
}

/// A part of a form.
#[derive(Debug, Clone)]
pub enum Field {
    Text(String),
    File {
        name: String,
        media_type: String,
        bytes: bytes::Bytes,
    },
}

#[derive(Debug)]
pub struct Call {
    method: Method,
    path: String,
    purpose: Purpose,
    content: Content,
    headers: HeaderMap,
    max_bytes: u64,
}

impl Call {
    pub fn new(method: Method, path: impl Into<String>, purpose: Purpose) -> Self {
        Self {
            method,
            path: path.into(),
            purpose,
            content: Content::None,
            headers: HeaderMap::new(),
            max_bytes: SMALL,
        }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, Purpose::Ask)
    }

    /// A purchase.
    pub fn buy(path: impl Into<String>, content: Content) -> Self {
        Self::new(Method::POST, path, Purpose::Buy).with(content)
    }

    #[must_use]
    pub fn with(mut self, content: Content) -> Self {
        self.content = content;
        self
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        // What no header can carry is left out: names are ours, and values come from the catalogue at most.
        if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// For a credential that changes: that of the server is [`Credential::None`] then.
    #[must_use]
    pub fn bearer(mut self, token: &Secret) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.reveal())) {
            value.set_sensitive(true);
            self.headers.insert(AUTHORIZATION, value);
        }
        self
    }

    /// A header that is named in the catalogue. The key's own wins over it.
    #[must_use]
    pub fn named_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    #[must_use]
    pub fn at_most(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }
}

pub struct Upstream {
    client: reqwest::Client,
    base: Url,
    credential: HeaderMap,
    timeout: Duration,
}

/// The address may hold a name of the operator's network; the key is never shown.
impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}

impl Upstream {
    pub fn new(settings: &UpstreamSettings) -> Result<Self, UpstreamError> {
        let base = Url::parse(settings.base_url.trim_end_matches('/'))
            .map_err(|_| UpstreamError::Address)?;
        let is_plain = matches!(base.scheme(), "http" | "https")
            && base.has_host()
            && base.query().is_none()
            && base.fragment().is_none()
            && base.username().is_empty()
            && base.password().is_none();
        if !is_plain {
            return Err(UpstreamError::Address);
        }
        let mut credential = HeaderMap::new();
        if let Some((name, value)) = settings.credential.header()? {
            let mut value = HeaderValue::from_str(&value).map_err(|_| UpstreamError::Key)?;
            value.set_sensitive(true);
            credential.insert(name, value);
        }
        let client = ClientFactory::new()?.http1().builder(CONNECT).build();
        Ok(Self {
            client: client.map_err(SetupError::from)?,
            base,
            credential,
            timeout: settings.timeout,
        })
    }

    /// Where a path below the base is. A path cannot leave the server.
    fn at(&self, path: &str) -> Option<Url> {
        let base = self.base.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}/{}", path.trim_start_matches('/'))).ok()?;
        self.is_own(&url).then_some(url)
    }

    /// The same, for what is put together of names that others gave: it does not leave the base either.
    fn below(&self, path: &str) -> Option<Url> {
        (!leads_upwards(path)).then(|| self.at(path)).flatten()
    }

    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin() && url.username().is_empty() && url.password().is_none()
    }

    /// The path below the base of a URL that an answer names, if it is one of this server: with our key it may be called.
    /// A relative reference counts from the server's root, as in a browser.
    pub fn own_path(&self, reference: &str) -> Option<String> {
        let url = self.base.join(reference).ok()?;
        if !self.is_own(&url) || reference.contains('\\') {
            return None;
        }
        let base = self.base.path().trim_end_matches('/');
        let path = url.path().strip_prefix(base)?;
        if !(path.is_empty() || path.starts_with('/')) {
            return None;
        }
        Some(match url.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        })
    }

    /// As [`Self::own_path`], of a server that keeps its files beside its calls: also what is not below the base.
    pub fn own_file(&self, reference: &str) -> Option<String> {
        if let Some(path) = self.own_path(reference) {
            return Some(path);
        }
        let url = self.base.join(reference).ok()?;
        if !self.is_own(&url) || reference.contains('\\') {
            return None;
        }
        let up = "/..".repeat(self.base.path().split('/').count());
        Some(match url.query() {
            Some(query) => format!("{up}{}?{query}", url.path()),
            None => format!("{up}{}", url.path()),
        })
    }

    /// The address to which a file of this server redirects, if it does; the file itself is not read.
    pub async fn moved(&self, path: &str) -> Result<Option<String>, ProviderError> {
        let response = self.send_to(self.at(path), Call::get(path)).await?;
        if !response.status().is_redirection() {
            return Ok(None);
        }
        let place = response.headers().get(LOCATION);
        let place = place.and_then(|place| response.url().join(place.to_str().ok()?).ok());
        Ok(place.map(String::from))
    }

    /// One call and its whole answer, whatever its status.
    pub async fn call(&self, call: Call) -> Result<Answer, ProviderError> {
        let (purpose, max_bytes) = (call.purpose, call.max_bytes);
        let timeout = match purpose {
            Purpose::Buy => self.timeout,
            // Files take their time on the way.
            Purpose::Ask if max_bytes > SMALL => self.timeout.max(ASK),
            Purpose::Ask => ASK,
        };
        let whole = async {
            let response = self.send_to(self.below(&call.path), call).await?;
            Answer::read(response, purpose, max_bytes).await
        };
        tokio::time::timeout(timeout, whole)
            .await
            .unwrap_or_else(|_| Err(broken(purpose, "no answer in time")))
    }

    /// A file of this server, to be read piece by piece.
    pub async fn open(&self, path: &str, max_bytes: u64) -> Result<Body, FetchError> {
        let url = self.at(path).ok_or(FetchError::Unreachable)?;
        let request = self.client.get(url).headers(self.credential.clone());
        let response = tokio::time::timeout(ASK, request.send())
            .await
            .map_err(|_| FetchError::TimedOut)?
            .map_err(|_| FetchError::Unreachable)?;
        match response.status().as_u16() {
            200 => Body::of(response, max_bytes, IDLE),
            300..=399 => Err(FetchError::Redirects),
            status => Err(FetchError::Status(status)),
        }
    }

    /// Until the head of the answer is here. What costs nothing is not waited for longer than a question is worth.
    async fn send_to(&self, url: Option<Url>, call: Call) -> Result<Response, ProviderError> {
        let (purpose, sent) = (call.purpose, self.sent(url, call));
        match purpose {
            Purpose::Buy => sent.await,
            Purpose::Ask => tokio::time::timeout(ASK, sent)
                .await
                .unwrap_or_else(|_| Err(broken(purpose, "no answer in time"))),
        }
    }

    async fn sent(&self, url: Option<Url>, call: Call) -> Result<Response, ProviderError> {
        let url = url.ok_or_else(|| {
            ProviderError::new(
                ErrorKind::InvalidRequest,
                Accepted::No,
                "the path of a call leads away from its server",
            )
        })?;
        let request = self
            .client
            .request(call.method, url)
            .headers(call.headers)
            .headers(self.credential.clone());
        filled(request, call.content)?
            .send()
            .await
            .map_err(|error| {
                if error.is_connect() {
                    // Nothing was sent, so nothing was bought.
                    let kind = ErrorKind::Unavailable;
                    ProviderError::new(kind, Accepted::No, "the provider cannot be reached")
                } else {
                    broken(call.purpose, "the connection broke before an answer")
                }
            })
    }
}

fn filled(request: RequestBuilder, content: Content) -> Result<RequestBuilder, ProviderError> {
    Ok(match content {
        Content::None => request,
        Content::Json(body) => request.json(&body),
        Content::UrlEncoded(fields) => {
            let body = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(fields)
                .finish();
            request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(body)
        }
        Content::Form(fields) => {
            let mut form = Form::new();
            for (name, field) in fields {
                form = match field {
                    Field::Text(text) => form.text(name, text),
                    Field::File {
                        name: file,
                        media_type,
                        bytes,
                    } => {
                        let length = bytes.len() as u64;
                        let part = Part::stream_with_length(bytes, length).file_name(file);
                        let part = part.mime_str(&media_type).map_err(|_| {
                            let kind = ErrorKind::InputUnreadable;
                            ProviderError::new(kind, Accepted::No, "a media type that is none")
                        })?;
                        form.part(name, part)
                    }
                };
            }
            request.multipart(form)
        }
    })
}

/// Whether a step of a path is made of dots alone, in either spelling.
fn leads_upwards(path: &str) -> bool {
    let steps = path.split(['?', '#']).next().unwrap_or_default();
    steps.split(['/', '\\']).any(|step| {
        let step = step.to_ascii_lowercase().replace("%2e", ".");
        matches!(step.as_str(), "." | "..")
    })
}

/// What follows when there is no answer, or only a part of one.
fn broken(purpose: Purpose, detail: &str) -> ProviderError {
    match purpose {
        Purpose::Buy => ProviderError::new(ErrorKind::Unknown, Accepted::Unknown, detail),
        Purpose::Ask => ProviderError::new(ErrorKind::Unavailable, Accepted::Yes, detail),
    }
}

/// A name, such as a task's, as one piece of a path.
pub fn segment(name: &str) -> String {
    let mut piece = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~' | b'.') {
            piece.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(piece, "%{byte:02X}");
        }
    }
    // Alone they lead elsewhere, also when they are written so: no call is made to such a path.
    match piece.as_str() {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => piece,
    }
}

#[cfg(test)]
mod tests;
