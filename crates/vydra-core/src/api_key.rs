//! API keys: their form, their checksum, and the one-way mark under which we remember them (contract, section 3).
//!
//! `vydra_<live|test>_<user|bot>_<owner>_<random><checksum>`, where the owner is the person who made it or, for a bot and
//! for whoever has no login, the organization: 27 random letters and digits (over 160 bits), then the
//! CRC-32 of everything before it as six letters and digits, so that a typo needs no database.

use crate::ids::{KeyId, OrgId, UserId};
use crate::job::Mode;
use crate::random::{Random, letters_and_digits};
use crate::scope::GrantedScopes;
use crate::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const RANDOM_LENGTH: usize = 27;
const CHECKSUM_LENGTH: usize = 6;
const SHOWN_LENGTH: usize = 14;
const MAX_LENGTH: usize = 200;

/// A key as its holder knows it. Shown once, never stored, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret {
    text: String,
    mode: Mode,
}

impl std::fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeySecret({})", self.shown_prefix())
    }
}

/// Whom a key was made for: it stands in the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    User,
    /// An agent that registered itself.
    Bot,
}

impl KeyKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Bot => "bot",
        }
    }
}

impl KeySecret {
    /// `owner` is letters and digits.
    pub fn generate(mode: Mode, owner: &str, random: &dyn Random) -> Self {
        Self::generate_for(KeyKind::User, mode, owner, random)
    }

    /// The same for either kind.
    pub fn generate_for(kind: KeyKind, mode: Mode, owner: &str, random: &dyn Random) -> Self {
        let mut text = format!(
            "vydra_{}_{}_{owner}_{}",
            mode.as_str(),
            kind.as_str(),
            letters_and_digits(random, RANDOM_LENGTH)
        );
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Self { text, mode }
    }

    /// None when the shape or the checksum is wrong: `INVALID_FORMAT`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_LENGTH || !text.is_ascii() {
            return None;
        }
        let mut parts = text.split('_');
        let (Some("vydra"), Some(mode), Some("user" | "bot"), Some(owner), Some(random), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return None;
        };
        let mode = Mode::parse(mode)?;
        let letters_and_digits =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
        if !letters_and_digits(owner)
            || !letters_and_digits(random)
            || random.len() != RANDOM_LENGTH + CHECKSUM_LENGTH
        {
            return None;
        }
        let (body, given) = text.split_at(text.len() - CHECKSUM_LENGTH);
        (checksum(body) == given).then(|| Self {
            text: text.to_owned(),
            mode,
        })
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// For the one moment at which the key is shown to its holder.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What lists show: the first 14 characters and an ellipsis.
    pub fn shown_prefix(&self) -> String {
        format!("{}...", self.text.get(..SHOWN_LENGTH).unwrap_or_default())
    }

    pub fn hash(&self, pepper: &Pepper) -> KeyHash {
        KeyHash(pepper.mark(&self.text))
    }
}

fn checksum(body: &str) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut text = [b'0'; CHECKSUM_LENGTH];
    for place in text.iter_mut().rev() {
        *place = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    text.iter().copied().map(char::from).collect()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    let mut text = String::with_capacity(bytes.len() * 2);
    text.extend(
        bytes
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]),
    );
    text
}

/// The server's part of the mark: without it, a copy of the key table tells nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Pepper([u8; 32]);

impl Pepper {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = [0; 32];
        random.fill(&mut bytes);
        Self(bytes)
    }

    /// For the store alone.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// HMAC-SHA256, in hex: under this a secret is remembered.
    pub(crate) fn mark(&self, secret: &str) -> String {
        // HMAC takes keys of any length, so this cannot fail; an empty mark would match no row.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return String::new();
        };
        mac.update(secret.as_bytes());
        hex(&mac.finalize().into_bytes())
    }
}

impl std::fmt::Debug for Pepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pepper(…)")
    }
}

/// HMAC-SHA256 of a key under the server's pepper, in hex: what the store knows of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyHash(String);

impl KeyHash {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key as we remember it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: KeyId,
    pub org_id: OrgId,
    pub name: String,
    pub shown_prefix: String,
    pub mode: Mode,
    pub scopes: GrantedScopes,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// The person who made it; None for one that the command line made.
    pub user_id: Option<UserId>,
    /// The first of the keys that it and its forerunners replaced; None for one that replaced none.
    pub origin_id: Option<KeyId>,
    /// Requests that were admitted, up to a moment ago; those that a limit refused are not counted.
    pub request_count: u64,
    /// Of the last of them.
    pub last_used_at: Option<Timestamp>,
}

impl ApiKey {
    /// Under which name its jobs are kept: a rotated key has those of its forerunners.
    pub fn origin(&self) -> &KeyId {
        self.origin_id.as_ref().unwrap_or(&self.id)
    }

    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && !self.is_expired(now)
    }

    /// What shows of a key tells its kind.
    pub fn kind(&self) -> KeyKind {
        let of_a_bot = Mode::ALL.into_iter().any(|mode| {
            let start = format!("vydra_{}_{}", mode.as_str(), KeyKind::Bot.as_str());
            self.shown_prefix.starts_with(&start)
        });
        if of_a_bot {
            KeyKind::Bot
        } else {
            KeyKind::User
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::tests::Counting;
    use proptest::prelude::*;
    use std::sync::Mutex;

    fn key() -> KeySecret {
        KeySecret::generate(Mode::Live, "01jd", &Counting(Mutex::new(3)))
    }

    #[test]
    fn a_key_parses_back() {
        let key = key();
        assert!(key.reveal().starts_with("vydra_live_user_01jd_"));
        assert_eq!(KeySecret::parse(key.reveal()), Some(key.clone()));
        assert_eq!(key.shown_prefix(), "vydra_live_use...");
        assert!(!format!("{key:?}").contains(&key.reveal()[30..]));
    }

    #[test]
    fn a_typo_anywhere_is_seen() {
        let text = key().reveal().to_owned();
        for place in 0..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[place] = if wrong[place] == b'x' { b'y' } else { b'x' };
            assert_eq!(
                KeySecret::parse(std::str::from_utf8(&wrong).unwrap()),
                None,
                "place {place}"
            );
        }
        for wrong in [
            "",
            "vydra_live_user_",
            &text[1..],
            &format!("{text}x"),
            "sk-1234",
            &"_".repeat(5000),
        ] {
            assert_eq!(KeySecret::parse(wrong), None);
        }
    }

    #[test]
    fn a_bots_key_says_so() {
        let random = Counting(Mutex::new(5));
        for mode in Mode::ALL {
            let secret = KeySecret::generate_for(KeyKind::Bot, mode, "01jd", &random);
            let start = format!("vydra_{}_bot_01jd_", mode.as_str());
            assert!(secret.reveal().starts_with(&start));
            assert_eq!(KeySecret::parse(secret.reveal()), Some(secret.clone()));
            let key = |secret: &KeySecret| ApiKey {
                id: KeyId::trusted("key_1".to_owned()),
                org_id: OrgId::trusted("org_1".to_owned()),
                name: String::new(),
                shown_prefix: secret.shown_prefix(),
                mode,
                scopes: GrantedScopes::everything(),
                created_at: Timestamp::from_micros(0),
                expires_at: None,
                revoked_at: None,
                user_id: None,
                origin_id: None,
                request_count: 0,
                last_used_at: None,
            };
            assert_eq!(key(&secret).kind(), KeyKind::Bot);
            let plain = KeySecret::generate(mode, "01jd", &random);
            assert_eq!(key(&plain).kind(), KeyKind::User);
        }
    }

    /// Of the right shape, so that the checksum alone can refuse them.
    #[test]
    fn what_only_looks_like_a_key_does_not_pass_the_checksum() {
        let random = Counting(Mutex::new(11));
        for _ in 0..100_000 {
            let tail = letters_and_digits(&random, RANDOM_LENGTH + CHECKSUM_LENGTH);
            let text = format!("vydra_live_user_01jd_{tail}");
            assert_eq!(KeySecret::parse(&text), None, "{text}");
        }
    }

    /// RFC 4231, test case 2, with its key filled up with the zeros that HMAC adds.
    #[test]
    fn the_mark_is_hmac_sha256_in_hex() {
        let mut pepper = [0; 32];
        pepper[..4].copy_from_slice(b"Jefe");
        assert_eq!(
            Pepper::new(pepper).mark("what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn the_mark_depends_on_the_pepper() {
        let (one, two) = (Pepper::new([1; 32]), Pepper::new([2; 32]));
        assert_eq!(key().hash(&one), key().hash(&one));
        assert_ne!(key().hash(&one), key().hash(&two));
        assert_eq!(key().hash(&one).as_str().len(), 64);
    }

    proptest! {
        #[test]
        fn random_text_is_no_key(text in "\\PC{0,80}") {
            prop_assert_eq!(KeySecret::parse(&text), None);
        }
    }
}
