//! The one server of a database is its only node.

use super::SqliteStore;
use crate::Result;
use crate::store::{News, NewsFeed, NewsStore, NodeId};
use async_trait::async_trait;

#[async_trait]
impl NewsStore for SqliteStore {
    fn tell(&self, _news: News) {}

    async fn listen(&self, _node: NodeId) -> Result<Option<NewsFeed>> {
        Ok(None)
    }
}
