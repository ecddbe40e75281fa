//! Sessions: what the cookie of a person who logged in holds, and the one-way mark under which we remember it
//! (contract, section 3).

use crate::api_key::Pepper;
use crate::random::{Random, letters_and_digits};

/// Over 190 bits.
const LENGTH: usize = 32;

/// A session as the browser of its person knows it. Never stored, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken(String);

impl SessionToken {
    pub fn generate(random: &dyn Random) -> Self {
        Self(letters_and_digits(random, LENGTH))
    }

    /// None for what cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == LENGTH && text.bytes().all(|b| b.is_ascii_alphanumeric()))
            .then(|| Self(text.to_owned()))
    }

    /// For the cookie.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn mark(&self, pepper: &Pepper) -> SessionMark {
        SessionMark(pepper.mark(&self.0))
    }
}

impl std::fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

/// HMAC-SHA256 of a session's token under the server's pepper, in hex: what the store knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionMark(String);

impl SessionMark {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::tests::Counting;
    use std::sync::Mutex;

    #[test]
    fn a_token_parses_back_and_never_shows() {
        let random = Counting(Mutex::new(3));
        let token = SessionToken::generate(&random);
        assert_eq!(SessionToken::parse(token.reveal()), Some(token.clone()));
        assert!(!format!("{token:?}").contains(token.reveal()));
        assert_ne!(SessionToken::generate(&random), token);
        for wrong in [
            "",
            "a",
            &format!("{}a", token.reveal()),
            &"-".repeat(LENGTH),
        ] {
            assert_eq!(SessionToken::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_mark_depends_on_the_pepper() {
        let token = SessionToken::generate(&Counting(Mutex::new(3)));
        let (one, two) = (Pepper::new([1; 32]), Pepper::new([2; 32]));
        assert_eq!(token.mark(&one), token.mark(&one));
        assert_ne!(token.mark(&one), token.mark(&two));
        assert_eq!(token.mark(&one).as_str().len(), 64);
    }
}
