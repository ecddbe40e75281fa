//! People: who logs in, and what they may do in an organization (contract, section 3).

use crate::ids::UserId;
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

#[cfg(test)]
mod tests {
    use super::*;

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
