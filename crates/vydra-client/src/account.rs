//! The account: its credits, keys, limits, results, and what happened.

use crate::client::Client;
use crate::error::Error;
use crate::options::{AssetFilter, EventFilter, TransactionFilter, UsageFilter};
use crate::pages::Page;
use crate::types::{
    Credits, DeletedAsset, EventList, Key, KeyList, Organization, RateLimits, StoredAsset,
    Transaction, Usage,
};
use reqwest::Method;

impl Client {
    /// What is left, was used and came back.
    pub async fn credits(&self) -> Result<Credits, Error> {
        self.core
            .json(&self.core.get(&["billing", "credits"])?)
            .await
    }

    /// What was used between two days, by day, model or key.
    pub async fn usage(&self, filter: &UsageFilter) -> Result<Usage, Error> {
        let request = self
            .core
            .get(&["usage"])?
            .query("from", filter.from.as_ref())
            .query("to", filter.to.as_ref())
            .query("by", filter.by.as_ref());
        self.core.json(&request).await
    }

    /// Every movement of credits, the newest first.
    pub async fn transactions(
        &self,
        filter: &TransactionFilter,
    ) -> Result<Page<Transaction>, Error> {
        let request = self
            .core
            .get(&["billing", "transactions"])?
            .query("limit", filter.limit)
            .query("offset", filter.offset)
            .query("type", filter.r#type.as_ref())
            .query("jobId", filter.job_id.as_ref())
            .query("after", filter.after.as_ref());
        Page::fetch(&self.core, request).await
    }

    /// Whose key this is.
    pub async fn organization(&self) -> Result<Organization, Error> {
        self.core.json(&self.core.get(&["organization"])?).await
    }

    /// How many requests are allowed, and were made.
    pub async fn rate_limits(&self) -> Result<RateLimits, Error> {
        self.core
            .json(&self.core.get(&["account", "rate-limits"])?)
            .await
    }

    /// The ends of jobs in their order; keep the `cursor`, and ask for what is behind it.
    pub async fn events(&self, filter: &EventFilter) -> Result<EventList, Error> {
        let request = self
            .core
            .get(&["events"])?
            .query("after", filter.after.as_ref())
            .query("limit", filter.limit)
            .wait(filter.wait);
        self.core.json(&request).await
    }

    /// The keys of the organization. They are made by people, in the dashboard.
    pub fn keys(&self) -> Keys<'_> {
        Keys(self)
    }

    /// What was made, and what was sent in.
    pub fn assets(&self) -> Assets<'_> {
        Assets(self)
    }
}

/// What [`Client::keys`] gives.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a>(&'a Client);

impl Keys<'_> {
    /// All keys, without their secret parts.
    pub async fn list(&self) -> Result<KeyList, Error> {
        let core = &self.0.core;
        core.json(&core.get(&["api-keys"])?).await
    }

    /// One key.
    pub async fn get(&self, id: &str) -> Result<Key, Error> {
        let core = &self.0.core;
        core.json(&core.get(&["api-keys", id])?).await
    }

    /// Revokes a key, from the next request on.
    pub async fn revoke(&self, id: &str) -> Result<Key, Error> {
        let core = &self.0.core;
        core.json(&core.request(Method::DELETE, &["api-keys", id])?)
            .await
    }
}

/// What [`Client::assets`] gives.
#[derive(Debug, Clone, Copy)]
pub struct Assets<'a>(&'a Client);

impl Assets<'_> {
    /// The files of the organization, the newest first.
    pub async fn list(&self, filter: &AssetFilter) -> Result<Page<StoredAsset>, Error> {
        let core = &self.0.core;
        let request = core
            .get(&["assets"])?
            .query("limit", filter.limit)
            .query("offset", filter.offset)
            .query("workflow", filter.workflow.as_ref())
            .query("after", filter.after.as_ref());
        Page::fetch(core, request).await
    }

    /// One file.
    pub async fn get(&self, id: &str) -> Result<StoredAsset, Error> {
        let core = &self.0.core;
        core.json(&core.get(&["assets", id])?).await
    }

    /// Deletes a file.
    pub async fn delete(&self, id: &str) -> Result<DeletedAsset, Error> {
        let core = &self.0.core;
        core.json(&core.request(Method::DELETE, &["assets", id])?)
            .await
    }
}
