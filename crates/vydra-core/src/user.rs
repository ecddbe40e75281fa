//! People: who logs in, and what they may do in an organization (contract, section 3).

use crate::ids::{OrgId, UserId};
use crate::random::{Random, letters_and_digits};
use crate::scope::{GrantedScopes, Scope};
use crate::time::Timestamp;
use serde::Serialize;

/// What a person may do in one organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Owner,
    /// Everything but making and ending keys, and paying.
    Member,
}

impl Role {
    pub const ALL: [Self; 2] = [Self::Owner, Self::Member];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Member => "member",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    pub fn scopes(self) -> GrantedScopes {
        match self {
            Self::Owner => GrantedScopes::everything(),
            Self::Member => GrantedScopes::trusted(
                Scope::ALL
                    .into_iter()
                    .filter(|scope| !matches!(scope, Scope::KeysWrite | Scope::BillingWrite))
                    .map(|scope| scope.as_str().to_owned())
                    .collect(),
            ),
        }
    }
}

/// A person as we remember them; the password's hash stays in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    /// Trimmed and lower-case.
    pub email: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

const MAX_EMAIL: usize = 254;
const PASSWORD_LENGTHS: std::ops::RangeInclusive<usize> = 12..=128;
/// What a verification may have to digest.
const MAX_PASSWORD_BYTES: usize = 512;
const GENERATED_LENGTH: usize = 24;

/// The spelling under which an email is kept and looked up: trimmed and lower-case. None for what is no address.
pub fn normal_email(text: &str) -> Option<String> {
    let email = text.trim().to_lowercase();
    let (name, host) = email.split_once('@')?;
    let fits = !name.is_empty()
        && !host.is_empty()
        && !host.contains('@')
        && email.len() <= MAX_EMAIL
        && !email.chars().any(|c| c.is_whitespace() || c.is_control());
    fits.then_some(email)
}

/// One place where a person belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    pub org_id: OrgId,
    pub org_name: String,
    pub role: Role,
}

/// A password as its holder types it. Never stored, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    pub const RULE: &'static str = "12 to 128 characters";

    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// One that nobody has to think up.
    pub fn generate(random: &dyn Random) -> Self {
        Self(letters_and_digits(random, GENERATED_LENGTH))
    }

    /// Long enough to be worth guessing at, short enough to be digested. Nothing else makes a password better.
    pub fn is_acceptable(&self) -> bool {
        self.can_be_digested() && PASSWORD_LENGTHS.contains(&self.0.chars().count())
    }

    /// Whether it is worth looking at: nobody's password is longer.
    pub fn can_be_digested(&self) -> bool {
        self.0.len() <= MAX_PASSWORD_BYTES
    }

    /// For the one who hashes it, and the one moment at which a generated one is shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// What the store knows of a password, with the parameters that made it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_has_one_spelling() {
        assert_eq!(
            normal_email("  Ada.Lovelace@Example.COM\n").as_deref(),
            Some("ada.lovelace@example.com")
        );
        let longest = format!("{}@x.test", "a".repeat(MAX_EMAIL - 7));
        assert!(normal_email(&longest).is_some());
        for wrong in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@b@c",
            "a da@example.com",
            "ada@exam\tple.com",
            "ada@exam\0ple.com",
            &format!("a{longest}"),
        ] {
            assert_eq!(normal_email(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_password_is_judged_by_its_length_alone() {
        let of = |letter: &str, count| Password::new(letter.repeat(count)).is_acceptable();
        assert!(of(" ", 12) && of("a", 128) && of("é", 128) && of("🦊", 128));
        assert!(!of("a", 11) && !of("a", 129));
        assert!(!of("👩‍🚀", 60), "more than 512 bytes");
        let generated = Password::generate(&crate::random::tests::Counting(1.into()));
        assert!(generated.is_acceptable());
    }

    #[test]
    fn a_password_never_shows() {
        let word = "correct horse battery";
        let (password, hash) = (
            Password::new(word.to_owned()),
            PasswordHash::new(word.to_owned()),
        );
        assert!(!format!("{password:?} {hash:?}").contains("horse"));
    }

    #[test]
    fn a_member_uses_everything_and_hands_nothing_out() {
        let member = Role::Member.scopes();
        for scope in Scope::ALL {
            assert!(Role::Owner.scopes().allow(scope), "{scope:?}");
            let reserved = matches!(scope, Scope::KeysWrite | Scope::BillingWrite);
            assert_eq!(member.allow(scope), !reserved, "{scope:?}");
        }
    }
}
