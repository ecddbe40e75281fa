//! Keys: made, listed, replaced, ended. The command line acts on any; a caller on those of the own organization and, with a
//! key, of its own mode.

use crate::{Caller, Engine, Error, Identity, Result};
use std::ops::RangeInclusive;
use std::time::Duration;
use vydra_core::api_key::{ApiKey, KeyHash, KeySecret};
use vydra_core::catalog::Violations;
use vydra_core::ids::{KeyId, OrgId, UserId};
use vydra_core::job::Mode;
use vydra_core::scope::{GrantedScopes, Scope};
use vydra_store::store::{NewRotation, Rotation};

pub const MAX_KEY_NAME: usize = 100;
/// What a caller may ask for; the operator may ask for one that has expired, too.
pub const EXPIRY_DAYS: RangeInclusive<u32> = 1..=3_650;
/// How long a rotated key may live on.
pub const MAX_OVERLAP: Duration = Duration::from_hours(168);

#[derive(Debug, Clone)]
pub struct NewKey {
    pub organization: OrgId,
    pub name: String,
    pub scopes: Vec<String>,
    pub expires_in_days: Option<u32>,
    pub mode: Mode,
}

/// A key that a person asks for in the own organization.
#[derive(Debug, Clone)]
pub struct NewOwnKey {
    pub name: String,
    pub scopes: Vec<String>,
    pub expires_in_days: Option<u32>,
    pub mode: Mode,
}

/// A key with its secret, for the one moment at which it can be shown.
#[derive(Debug)]
pub struct CreatedKey {
    pub key: ApiKey,
    pub secret: KeySecret,
}

#[derive(Debug)]
pub struct RotatedKey {
    pub created: CreatedKey,
    /// With the end that it has now.
    pub old: ApiKey,
}

impl Engine {
    /// For the operator.
    pub async fn create_key(&self, new: NewKey) -> Result<CreatedKey> {
        let organization = self
            .store()
            .organization(&new.organization)
            .await?
            .ok_or_else(|| Error::NotFound {
                what: "organization".to_owned(),
            })?;
        let own = NewOwnKey {
            name: new.name,
            scopes: new.scopes,
            expires_in_days: new.expires_in_days,
            mode: new.mode,
        };
        self.make_key(organization.id, None, own).await
    }

    /// For a person who may hand out keys.
    pub async fn create_own_key(&self, caller: &Caller, new: NewOwnKey) -> Result<CreatedKey> {
        let Identity::Person { user, .. } = &caller.identity else {
            return Err(Error::NotLoggedIn);
        };
        caller.require(Scope::KeysWrite)?;
        if new
            .expires_in_days
            .is_some_and(|days| !EXPIRY_DAYS.contains(&days))
        {
            let (from, to) = (EXPIRY_DAYS.start(), EXPIRY_DAYS.end());
            let expected = format!("a whole number from {from} to {to}");
            return Err(Violations::one("expiresInDays", "out of range", &expected).into());
        }
        self.make_key(caller.organization.id.clone(), Some(user.id.clone()), new)
            .await
    }

    async fn make_key(
        &self,
        org_id: OrgId,
        user_id: Option<UserId>,
        new: NewOwnKey,
    ) -> Result<CreatedKey> {
        let name = new.name.trim().to_owned();
        if !(1..=MAX_KEY_NAME).contains(&name.chars().count()) || name.chars().any(char::is_control)
        {
            let expected = format!("1 to {MAX_KEY_NAME} printable characters");
            return Err(Violations::one("name", "not usable", &expected).into());
        }
        let scopes = GrantedScopes::parse(&new.scopes).map_err(|unknown| Error::InvalidInput {
            sentence: format!("Invalid field: scopes has an unknown scope {unknown:?}"),
            fields: Vec::new(),
            allowed: vydra_core::scope::grantable(),
        })?;
        let now = self.now();
        let owner = user_id.as_ref().map_or(org_id.bare(), UserId::bare);
        let secret = KeySecret::generate(new.mode, owner, self.random());
        let key = ApiKey {
            id: KeyId::new(now, self.random()),
            org_id,
            name,
            shown_prefix: secret.shown_prefix(),
            mode: new.mode,
            scopes,
            created_at: now,
            expires_at: new
                .expires_in_days
                .map(|days| now.plus(Duration::from_secs(u64::from(days) * 86_400))),
            revoked_at: None,
            user_id,
            origin_id: None,
            request_count: 0,
            last_used_at: None,
        };
        self.store().create_key(&key, &self.mark(&secret)).await?;
        Ok(CreatedKey { key, secret })
    }

    /// For the operator: all keys of an organization.
    pub async fn keys(&self, organization: &OrgId) -> Result<Vec<ApiKey>> {
        Ok(self.store().keys(organization).await?)
    }

    pub async fn own_keys(&self, caller: &Caller) -> Result<Vec<ApiKey>> {
        let mut keys = self.store().keys(&caller.organization.id).await?;
        keys.retain(|key| sees(caller, key));
        Ok(keys)
    }

    pub async fn own_key(&self, caller: &Caller, id: &str) -> Result<ApiKey> {
        let id = KeyId::parse(id).ok_or_else(no_key)?;
        let found = self.store().key(&caller.organization.id, &id).await?;
        found.filter(|key| sees(caller, key)).ok_or_else(no_key)
    }

    /// For the operator: a key of any organization.
    pub async fn revoke_key(&self, id: &KeyId) -> Result<ApiKey> {
        let revoked = self.store().revoke_key(id, self.now()).await?;
        revoked.ok_or_else(no_key)
    }

    pub async fn revoke_own_key(&self, caller: &Caller, id: &str) -> Result<ApiKey> {
        let key = self.own_key(caller, id).await?;
        reaches(caller, &key)?;
        let revoked = self
            .store()
            .revoke_key_of(&key.org_id, &key.id, self.now())
            .await?;
        revoked.ok_or_else(no_key)
    }

    /// For the operator: a key of any organization.
    pub async fn rotate_key(&self, id: &KeyId, overlap: Duration) -> Result<RotatedKey> {
        let key = self.store().key_anywhere(id).await?;
        self.replace(key.ok_or_else(no_key)?, None, overlap).await
    }

    pub async fn rotate_own_key(
        &self,
        caller: &Caller,
        id: &str,
        overlap: Duration,
    ) -> Result<RotatedKey> {
        let key = self.own_key(caller, id).await?;
        reaches(caller, &key)?;
        let user_id = match &caller.identity {
            Identity::Person { user, .. } => Some(user.id.clone()),
            Identity::Key(_) => None,
        };
        self.replace(key, user_id, overlap).await
    }

    async fn replace(
        &self,
        old: ApiKey,
        user_id: Option<UserId>,
        overlap: Duration,
    ) -> Result<RotatedKey> {
        if overlap > MAX_OVERLAP {
            let expected = format!("at most {}", MAX_OVERLAP.as_secs() / 3_600);
            return Err(Violations::one("overlapHours", "too large", &expected).into());
        }
        let now = self.now();
        let owner = user_id
            .as_ref()
            .or(old.user_id.as_ref())
            .map_or(old.org_id.bare(), UserId::bare);
        let secret = KeySecret::generate_for(old.kind(), old.mode, owner, self.random());
        let rotation = self
            .store()
            .rotate_key(NewRotation {
                new: KeyId::new(now, self.random()),
                shown_prefix: secret.shown_prefix(),
                hash: self.mark(&secret),
                org_id: old.org_id,
                old: old.id,
                user_id,
                until: now.plus(overlap),
                now,
            })
            .await?;
        match rotation {
            Rotation::Rotated { new, old } => Ok(RotatedKey {
                created: CreatedKey { key: *new, secret },
                old: *old,
            }),
            Rotation::NotActive => Err(Error::invalid(
                "The key was revoked, has expired or was replaced before; only an active key can be rotated",
            )),
            Rotation::NotFound => Err(no_key()),
        }
    }

    fn mark(&self, secret: &KeySecret) -> KeyHash {
        secret.hash(&self.store().pepper())
    }
}

/// To a key those of the other mode are not there.
fn sees(caller: &Caller, key: &ApiKey) -> bool {
    match &caller.identity {
        Identity::Person { .. } => true,
        Identity::Key(own) => own.mode == key.mode,
    }
}

/// A key must not get at what it was not given by way of another key.
fn reaches(caller: &Caller, key: &ApiKey) -> Result<()> {
    let Identity::Key(own) = &caller.identity else {
        return Ok(());
    };
    let lacking = own.scopes.lacking(&key.scopes);
    if own.id == key.id || lacking.is_empty() {
        return Ok(());
    }
    Err(Error::KeyOutOfReach {
        required: lacking,
        granted: own.scopes.words().to_vec(),
    })
}

fn no_key() -> Error {
    Error::NotFound {
        what: "key".to_owned(),
    }
}
