//! Scopes: what a key may do (contract, section 3).

use serde::Serialize;

/// What a route asks for. The granted side is text, with `*` and `<area>:*` as wildcards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Scope {
    #[serde(rename = "models:read")]
    ModelsRead,
    #[serde(rename = "models:write")]
    ModelsWrite,
    #[serde(rename = "upload:write")]
    UploadWrite,
    #[serde(rename = "jobs:read")]
    JobsRead,
    #[serde(rename = "jobs:write")]
    JobsWrite,
    #[serde(rename = "assets:read")]
    AssetsRead,
    #[serde(rename = "assets:write")]
    AssetsWrite,
    #[serde(rename = "account:read")]
    AccountRead,
    #[serde(rename = "keys:read")]
    KeysRead,
    #[serde(rename = "keys:write")]
    KeysWrite,
    #[serde(rename = "billing:read")]
    BillingRead,
    #[serde(rename = "billing:write")]
    BillingWrite,
    #[serde(rename = "webhooks:read")]
    WebhooksRead,
    #[serde(rename = "webhooks:write")]
    WebhooksWrite,
}

impl Scope {
    pub const ALL: [Self; 14] = [
        Self::ModelsRead,
        Self::ModelsWrite,
        Self::UploadWrite,
        Self::JobsRead,
        Self::JobsWrite,
        Self::AssetsRead,
        Self::AssetsWrite,
        Self::AccountRead,
        Self::KeysRead,
        Self::KeysWrite,
        Self::BillingRead,
        Self::BillingWrite,
        Self::WebhooksRead,
        Self::WebhooksWrite,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ModelsRead => "models:read",
            Self::ModelsWrite => "models:write",
            Self::UploadWrite => "upload:write",
            Self::JobsRead => "jobs:read",
            Self::JobsWrite => "jobs:write",
            Self::AssetsRead => "assets:read",
            Self::AssetsWrite => "assets:write",
            Self::AccountRead => "account:read",
            Self::KeysRead => "keys:read",
            Self::KeysWrite => "keys:write",
            Self::BillingRead => "billing:read",
            Self::BillingWrite => "billing:write",
            Self::WebhooksRead => "webhooks:read",
            Self::WebhooksWrite => "webhooks:write",
        }
    }

    fn area(self) -> &'static str {
        self.as_str().split_once(':').map_or("", |(area, _)| area)
    }
}

/// The scopes that a key was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct GrantedScopes(Vec<String>);

impl GrantedScopes {
    pub fn everything() -> Self {
        Self(vec!["*".to_owned()])
    }

    /// Each word once. Err with the first that is no scope; an empty list grants nothing and is refused too.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Self, String> {
        if words.is_empty() {
            return Err(String::new());
        }
        if let Some(unknown) = words.iter().find(|word| !is_grantable(word.as_ref())) {
            return Err(unknown.as_ref().to_owned());
        }
        let mut once: Vec<String> = Vec::with_capacity(words.len());
        for word in words.iter().map(AsRef::as_ref) {
            if !once.iter().any(|known| known == word) {
                once.push(word.to_owned());
            }
        }
        Ok(Self(once))
    }

    /// From our own store.
    pub fn trusted(words: Vec<String>) -> Self {
        Self(words)
    }

    pub fn allow(&self, wanted: Scope) -> bool {
        self.0.iter().any(|granted| {
            granted == "*"
                || granted == wanted.as_str()
                || granted
                    .strip_suffix(":*")
                    .is_some_and(|area| area == wanted.area())
        })
    }

    /// The words of `other` that reach further than these.
    pub fn lacking(&self, other: &Self) -> Vec<String> {
        let held = |word: &String| {
            let area = word.split_once(':').map_or("", |(area, _)| area);
            self.0.iter().any(|granted| {
                granted == "*"
                    || granted == word
                    || granted.strip_suffix(":*").is_some_and(|held| held == area)
            })
        };
        other.0.iter().filter(|word| !held(word)).cloned().collect()
    }

    pub fn words(&self) -> &[String] {
        &self.0
    }
}

/// Every word that a key can be given, for help texts.
pub fn grantable() -> Vec<String> {
    let mut words = vec!["*".to_owned()];
    for scope in Scope::ALL {
        let wildcard = format!("{}:*", scope.area());
        if !words.contains(&wildcard) {
            words.push(wildcard);
        }
        words.push(scope.as_str().to_owned());
    }
    words
}

fn is_grantable(word: &str) -> bool {
    grantable().iter().any(|known| known == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_reach_their_area_and_no_further() {
        let models = GrantedScopes::parse(&["models:*"]).unwrap();
        assert!(models.allow(Scope::ModelsRead) && models.allow(Scope::ModelsWrite));
        assert!(!models.allow(Scope::JobsRead));
        assert!(
            Scope::ALL
                .into_iter()
                .all(|scope| GrantedScopes::everything().allow(scope))
        );
        assert!(
            !GrantedScopes::parse(&["models:read"])
                .unwrap()
                .allow(Scope::ModelsWrite)
        );
    }

    #[test]
    fn what_reaches_further_is_named() {
        let of = |words: &[&str]| GrantedScopes::parse(words).unwrap();
        let lacking = |own: &[&str], other: &[&str]| of(own).lacking(&of(other));
        assert_eq!(lacking(&["*"], &["*", "models:*", "jobs:read"]), [""; 0]);
        assert_eq!(
            lacking(&["models:*"], &["models:read", "models:*"]),
            [""; 0]
        );
        assert_eq!(
            lacking(&["models:read", "models:write"], &["models:*"]),
            ["models:*"]
        );
        assert_eq!(
            lacking(&["keys:*", "jobs:read"], &["jobs:write", "*", "jobs:read"]),
            ["jobs:write", "*"]
        );
    }

    #[test]
    fn a_word_given_twice_is_granted_once() {
        let words = ["jobs:read", "models:*", "jobs:read"];
        assert_eq!(
            GrantedScopes::parse(&words).unwrap().words(),
            ["jobs:read", "models:*"]
        );
    }

    #[test]
    fn unknown_words_are_named() {
        assert_eq!(
            GrantedScopes::parse(&["models:read", "everything"]),
            Err("everything".to_owned())
        );
        assert!(GrantedScopes::parse::<&str>(&[]).is_err());
    }
}
