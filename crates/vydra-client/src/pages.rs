//! Lists that come in pages.

use crate::error::Error;
use crate::transport::{Core, Request};
use crate::types::Pagination;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;

/// A page of a list.
pub struct Page<T> {
    /// What is on this page.
    pub data: Vec<T>,
    /// Where it stands among all.
    pub pagination: Pagination,
    core: Arc<Core>,
    request: Request,
}

impl<T: fmt::Debug> fmt::Debug for Page<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("data", &self.data)
            .field("pagination", &self.pagination)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Answer<T> {
    data: Vec<T>,
    #[serde(default)]
    pagination: Pagination,
}

impl<T: DeserializeOwned> Page<T> {
    pub(crate) async fn fetch(core: &Arc<Core>, request: Request) -> Result<Self, Error> {
        let mut answer: Answer<T> = core.json(&request).await?;
        // A cursor that leads to itself leads nowhere.
        let mut asked = request.url.query_pairs();
        let after = asked.find(|(name, _)| name == "after");
        answer
            .pagination
            .next_cursor
            .take_if(|next| after.is_some_and(|(_, after)| after == *next));
        Ok(Self {
            data: answer.data,
            pagination: answer.pagination,
            core: Arc::clone(core),
            request,
        })
    }

    /// For `after`; none at the end.
    pub fn next_cursor(&self) -> Option<&str> {
        self.pagination.next_cursor.as_deref()
    }

    /// The page behind this one; none at the end.
    pub async fn next_page(&self) -> Result<Option<Self>, Error> {
        let Some(cursor) = self.next_cursor() else {
            return Ok(None);
        };
        let mut request = self.request.clone();
        // A cursor goes on from where it is; an offset beside it would skip.
        let kept: Vec<_> = self.request.url.query_pairs().into_owned().collect();
        let kept = kept
            .into_iter()
            .filter(|(name, _)| name != "after" && name != "offset");
        request
            .url
            .query_pairs_mut()
            .clear()
            .extend_pairs(kept)
            .append_pair("after", cursor);
        Self::fetch(&self.core, request).await.map(Some)
    }

    /// What is on this page and on all behind it, one after the other.
    pub fn items(mut self) -> Items<T> {
        Items {
            ready: std::mem::take(&mut self.data).into_iter(),
            page: self,
        }
    }
}

/// What is on a page and on all behind it.
#[derive(Debug)]
pub struct Items<T> {
    ready: std::vec::IntoIter<T>,
    /// That what is ready came from; its own data is taken out.
    page: Page<T>,
}

impl<T: DeserializeOwned> Items<T> {
    /// The next item; none at the end.
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        loop {
            if let Some(item) = self.ready.next() {
                return Ok(Some(item));
            }
            let Some(mut page) = self.page.next_page().await? else {
                return Ok(None);
            };
            self.ready = std::mem::take(&mut page.data).into_iter();
            self.page = page;
        }
    }
}
