//! Keys: who calls, and what they may do.

use crate::limits::Standing;
use crate::{Engine, Error, Exceeded, LimitKind, Result};
use std::time::Duration;
use vydra_core::api_key::{ApiKey, KeySecret};
use vydra_core::ids::{KeyId, OrgId};
use vydra_core::job::Mode;
use vydra_core::organization::Organization;
use vydra_core::plan::Limits;
use vydra_core::scope::{GrantedScopes, Scope};

/// A caller whose key holds, counted against the limits.
#[derive(Debug, Clone)]
pub struct Caller {
    pub key: ApiKey,
    pub organization: Organization,
    pub limits: Limits,
    pub standing: Standing,
}

impl Caller {
    pub fn require(&self, scope: Scope) -> Result<()> {
        if self.key.scopes.allow(scope) {
            return Ok(());
        }
        Err(Error::InsufficientScope {
            required: scope,
            granted: self.key.scopes.words().to_vec(),
        })
    }

    pub fn mode(&self) -> Mode {
        self.key.mode
    }
}

#[derive(Debug, Clone)]
pub struct NewKey {
    pub organization: OrgId,
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

impl Engine {
    /// Who sends this `Authorization` header. Looked up at each request, so that a revocation holds at the next one.
    pub async fn authenticate(&self, authorization: Option<&str>) -> Result<Caller> {
        let header = authorization.ok_or(Error::MissingAuth)?;
        let secret = header
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, key)| KeySecret::parse(key.trim()))
            .ok_or(Error::InvalidFormat)?;
        let found = self
            .store()
            .key_by_hash(&secret.hash(&self.store().pepper()))
            .await?;
        let (key, organization) = found.ok_or(Error::KeyNotFound)?;
        let now = self.now();
        if key.revoked_at.is_some_and(|end| end <= now) {
            return Err(Error::KeyRevoked);
        }
        if key.is_expired(now) {
            return Err(Error::KeyExpired);
        }
        let limits = self.limits_of(&organization);
        let standing = self
            .limiter
            .admit(&organization.id, limits, now)
            .map_err(Error::RateLimited)?;
        Ok(Caller {
            key,
            organization,
            limits,
            standing,
        })
    }

    pub(crate) fn too_many_jobs(caller: &Caller, open: u32) -> Error {
        Error::RateLimited(Exceeded {
            kind: LimitKind::Concurrent,
            limit: caller.limits.concurrent,
            used: open.saturating_add(1),
            // Nobody knows when a job will end: soon enough to be worth another try.
            retry_after_s: 5,
            standing: Some(caller.standing),
        })
    }

    pub async fn create_key(&self, new: NewKey) -> Result<CreatedKey> {
        let scopes = GrantedScopes::parse(&new.scopes).map_err(|unknown| Error::InvalidInput {
            sentence: format!("Invalid field: scopes has an unknown scope {unknown:?}"),
            fields: Vec::new(),
            allowed: vydra_core::scope::grantable(),
        })?;
        let organization = self
            .store()
            .organization(&new.organization)
            .await?
            .ok_or_else(|| Error::NotFound {
                what: "organization".to_owned(),
            })?;
        let now = self.now();
        let secret = KeySecret::generate(new.mode, organization.id.bare(), self.random());
        let key = ApiKey {
            id: KeyId::new(now, self.random()),
            org_id: organization.id,
            name: new.name,
            shown_prefix: secret.shown_prefix(),
            mode: new.mode,
            scopes,
            created_at: now,
            expires_at: new
                .expires_in_days
                .map(|days| now.plus(Duration::from_secs(u64::from(days) * 86_400))),
            revoked_at: None,
        };
        self.store()
            .create_key(&key, &secret.hash(&self.store().pepper()))
            .await?;
        Ok(CreatedKey { key, secret })
    }

    pub async fn keys(&self, organization: &OrgId) -> Result<Vec<ApiKey>> {
        Ok(self.store().keys(organization).await?)
    }

    pub async fn revoke_key(&self, id: &KeyId) -> Result<ApiKey> {
        self.store()
            .revoke_key(id, self.now())
            .await?
            .ok_or_else(|| Error::NotFound {
                what: "key".to_owned(),
            })
    }
}
