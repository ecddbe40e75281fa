//! What is known of a code.

pub use crate::catalogue::Code;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

impl Code {
    /// As it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unknown(word) => word,
            known => known.entry().map_or("", |entry| entry.name),
        }
    }

    /// The status that the server answers it with; none of an unknown one.
    pub fn status(&self) -> Option<u16> {
        self.entry().map(|entry| entry.status)
    }

    /// Whether the same request can succeed later; nothing is known of an unknown one.
    pub fn retryable(&self) -> Option<bool> {
        self.entry().map(|entry| entry.retryable)
    }

    /// What to tell people, with `{retryAfter}`, `{creditsRequired}` and `{creditsRemaining}` for the error's own numbers.
    pub fn friendly(&self) -> Option<&'static str> {
        self.entry().map(|entry| entry.friendly)
    }
}

impl From<String> for Code {
    fn from(word: String) -> Self {
        let known = Self::ALL.into_iter().find(|code| code.as_str() == word);
        known.unwrap_or(Self::Unknown(word))
    }
}

impl From<&str> for Code {
    fn from(word: &str) -> Self {
        word.to_owned().into()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}
