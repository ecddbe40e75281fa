//! Keys: made, listed, ended.

use crate::{Engine, Error, Result};
use std::time::Duration;
use vydra_core::api_key::{ApiKey, KeySecret};
use vydra_core::ids::{KeyId, OrgId};
use vydra_core::job::Mode;
use vydra_core::scope::GrantedScopes;

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
            user_id: None,
            request_count: 0,
            last_used_at: None,
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
