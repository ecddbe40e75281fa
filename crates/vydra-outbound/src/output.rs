//! What a provider made: one file, as bytes or by where it is.

use crate::upstream::Upstream;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// Written by many hands: with padding and without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// One file that was made.
#[derive(Debug, Clone)]
pub struct Output {
    pub source: OutputSource,
    pub duration_ms: Option<u64>,
}

/// Where a file that was made is.
#[derive(Clone)]
pub enum OutputSource {
    Bytes(Bytes),
    /// On a server that the provider names. It is trusted as little as a caller's URL, and often a secret: whoever has it can
    /// read the file.
    Url(String),
    /// On the provider's own server, which gives it only to whoever has our key: the path below its address.
    Own(Arc<Upstream>, String),
}

/// A text that is neither a file nor the address of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither base64 nor an address")]
pub struct NotAnOutput;

impl fmt::Debug for OutputSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Url(_) => f.write_str("Url(…)"),
            Self::Own(..) => f.write_str("Own(…)"),
        }
    }
}

impl Output {
    pub fn bytes(bytes: impl Into<Bytes>, duration_ms: Option<u64>) -> Self {
        Self {
            source: OutputSource::Bytes(bytes.into()),
            duration_ms,
        }
    }

    pub fn url(url: impl Into<String>, duration_ms: Option<u64>) -> Self {
        Self {
            source: OutputSource::Url(url.into()),
            duration_ms,
        }
    }

    pub fn own(upstream: &Arc<Upstream>, path: impl Into<String>) -> Self {
        Self {
            source: OutputSource::Own(Arc::clone(upstream), path.into()),
            duration_ms: None,
        }
    }

    /// Base64 of either alphabet, with or without padding and line breaks; also as a `data:` URI.
    pub fn base64(text: &str) -> Result<Self, NotAnOutput> {
        Ok(Self::bytes(decode(text)?, None))
    }

    /// An absolute URL, or a `data:` URI.
    pub fn reference(text: &str) -> Result<Self, NotAnOutput> {
        let text = text.trim();
        if text.starts_with("https://") || text.starts_with("http://") {
            return Ok(Self::url(text, None));
        }
        if text.starts_with("data:") {
            return Self::base64(text);
        }
        Err(NotAnOutput)
    }
}

fn decode(text: &str) -> Result<Vec<u8>, NotAnOutput> {
    let text = text.trim_start();
    let payload = match text.strip_prefix("data:") {
        Some(uri) => uri.split_once(";base64,").ok_or(NotAnOutput)?.1,
        None => text,
    };
    let mut standard = Vec::with_capacity(payload.len());
    standard.extend(payload.bytes().filter_map(|byte| match byte {
        b'-' => Some(b'+'),
        b'_' => Some(b'/'),
        other => (!other.is_ascii_whitespace()).then_some(other),
    }));
    let bytes = LENIENT.decode(standard).map_err(|_| NotAnOutput)?;
    if bytes.is_empty() {
        return Err(NotAnOutput);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_output_is_stands_in_no_log() {
        let signed = Output::url("https://files.example/a.mp4?signature=secret", None);
        assert!(!format!("{signed:?}").contains("example"));
        let bytes = Output::bytes(vec![0; 1_000_000], None);
        assert!(format!("{bytes:?}").len() < 100);
    }

    #[test]
    fn base64_is_read_as_every_hand_writes_it() {
        let file = [0xfb, 0xef, 0xff, 0x00, 0x10];
        for text in [
            "++//ABA=",
            "++//ABA",
            "--__ABA=",
            "--__ABA",
            "++//\r\n  ABA=\n",
            "data:image/png;base64,++//ABA=",
            " data:image/png;charset=x;base64,--__ABA",
        ] {
            let read = Output::base64(text).unwrap_or_else(|_| panic!("{text:?}"));
            assert!(
                matches!(&read.source, OutputSource::Bytes(bytes) if bytes[..] == file),
                "{text:?}"
            );
        }
        for bad in [
            "",
            "   ",
            "++//A*A=",
            "data:image/png,hello",
            "a",
            "data:;base64,",
        ] {
            assert!(Output::base64(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_reference_is_an_address_or_the_file_itself() {
        for good in [
            "https://a.example/b.png",
            "http://a.example",
            "data:image/png;base64,AAAA",
        ] {
            Output::reference(good).unwrap();
        }
        for bad in [
            "",
            "a.png",
            "/view?filename=a.png",
            "ftp://a.example/",
            "AAAA",
            "data:text/plain,x",
        ] {
            assert!(Output::reference(bad).is_err(), "{bad:?}");
        }
    }
}
