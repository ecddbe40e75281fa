//! The one server of a database is its only node.

use super::{SqliteStore, worker};
use crate::Result;
use crate::store::{News, NewsFeed, NewsStore, NodeId};
use async_trait::async_trait;
use vydra_core::time::Timestamp;

#[async_trait]
impl NewsStore for SqliteStore {
    fn tell(&self, _news: News) {}

    async fn listen(&self, _node: NodeId) -> Result<Option<NewsFeed>> {
        Ok(None)
    }

    async fn release_leases_of(&self, node: NodeId, now: Timestamp) -> Result<u64> {
        self.write(move |db| worker::release_leases(db, Some(node), now))
            .await
    }
}
