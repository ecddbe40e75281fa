//! What a provider answered: its status, its headers and its bytes.

use super::{Purpose, broken};
use crate::provider::{Accepted, ErrorKind, ProviderError};
use crate::retry_after;
use bytes::{Bytes, BytesMut};
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;
use std::time::Duration;

/// Of a word that a provider sends and that stands in our log.
const LONGEST_WORD: usize = 80;

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Bytes,
    purpose: Purpose,
}

impl Answer {
    pub(super) async fn read(
        mut response: Response,
        purpose: Purpose,
        max_bytes: u64,
    ) -> Result<Self, ProviderError> {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let mut bytes = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece),
                Ok(None) => break,
                // A refusal counts by its status, also without its text.
                Err(_) if status >= 400 => break,
                Err(_) => return Err(broken(purpose, "the connection broke in an answer")),
            }
            if bytes.len() as u64 > max_bytes {
                return Err(broken(purpose, "an answer that is too long"));
            }
        }
        Ok(Self {
            status,
            headers,
            bytes: bytes.freeze(),
            purpose,
        })
    }

    pub const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body of any answer, if it is JSON.
    pub fn body(&self) -> Option<Value> {
        serde_json::from_slice(&self.bytes).ok()
    }

    /// The body of a success.
    pub fn json(&self) -> Result<Value, ProviderError> {
        self.body().ok_or_else(|| self.not_understood("no JSON"))
    }

    /// An answer that breaks the provider's own rules.
    pub fn not_understood(&self, why: &str) -> ProviderError {
        let media_type = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let detail = format!(
            "status {}, {} bytes of {}: {why}",
            self.status,
            self.bytes.len(),
            word(media_type)
        );
        ProviderError::new(ErrorKind::Protocol, self.unknown(), detail)
    }

    pub fn retry_after(&self) -> Option<Duration> {
        retry_after::read(&self.headers, self.body().as_ref())
    }

    /// A failure of this kind that the provider told, in words of its own that are fit for a log: codes, never sentences.
    pub fn failure(&self, kind: ErrorKind, accepted: Accepted, told: &str) -> ProviderError {
        ProviderError {
            retry_after: self.retry_after(),
            ..ProviderError::new(
                kind,
                accepted,
                format!("status {}: {}", self.status, word(told)),
            )
        }
    }

    /// What a status says of itself, where the provider's own words say nothing more.
    ///
    /// A gateway that answers 500, 502 or 504 in the place of a server may have handed a purchase on; `is_theirs` says that
    /// the answer has the shape of the provider's own errors.
    pub fn failure_by_status(&self, is_theirs: bool, told: &str) -> ProviderError {
        let (kind, accepted) = match self.status {
            401 | 403 => (ErrorKind::Auth, Accepted::No),
            402 => (ErrorKind::QuotaExhausted, Accepted::No),
            404 | 410 => (ErrorKind::ModelGone, Accepted::No),
            429 => (ErrorKind::RateLimited, Accepted::No),
            408 | 409 | 425 | 503 => (ErrorKind::Unavailable, Accepted::No),
            400..=499 => (ErrorKind::InvalidRequest, Accepted::No),
            500..=599 if self.purpose == Purpose::Ask => (ErrorKind::Unavailable, Accepted::No),
            // A gateway may speak as its provider does.
            502 | 504 => (ErrorKind::Unknown, Accepted::Unknown),
            500..=599 if is_theirs => (ErrorKind::Unavailable, Accepted::No),
            500..=599 => (ErrorKind::Unknown, Accepted::Unknown),
            _ => (ErrorKind::Protocol, self.unknown()),
        };
        self.failure(kind, accepted, told)
    }

    const fn unknown(&self) -> Accepted {
        match self.purpose {
            Purpose::Buy => Accepted::Unknown,
            Purpose::Ask => Accepted::Yes,
        }
    }
}

/// What may stand in a log of a text that a provider sent: a code or a name, and nothing that could be a prompt, a key or a URL.
pub fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':');
    let is_word = !text.is_empty() && text.len() <= LONGEST_WORD && text.chars().all(is_plain);
    if is_word && !text.contains("//") && !text.starts_with("sk-") {
        text.to_owned()
    } else {
        "(text)".to_owned()
    }
}
