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
    pub const ALL: [Self; 13] = [
        Self::ModelsRead,
        Self::ModelsWrite,
        Self::UploadWrite,
        Self::JobsRead,
        Self::JobsWrite,
        Self::AssetsRead,
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

    /// Err with the first word that is no scope; an empty list grants nothing and is refused too.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Self, String> {
        if words.is_empty() {
            return Err(String::new());
        }
        match words.iter().find(|word| !is_grantable(word.as_ref())) {
            Some(unknown) => Err(unknown.as_ref().to_owned()),
            None => Ok(Self(
                words.iter().map(|word| word.as_ref().to_owned()).collect(),
            )),
        }
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
    fn unknown_words_are_named() {
        assert_eq!(
            GrantedScopes::parse(&["models:read", "everything"]),
            Err("everything".to_owned())
        );
        assert!(GrantedScopes::parse::<&str>(&[]).is_err());
    }
}
