//! What nodes on one database tell each other, and how a node hears it.

use super::Lane;
use crate::Result;
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use vydra_core::ids::{JobId, OrgId};
use vydra_core::time::Timestamp;

#[async_trait]
pub trait NewsStore {
    /// Tells the other nodes. Never waits and never fails: what cannot be told is lost, so that whoever waits for something
    /// has to look now and then all the same.
    fn tell(&self, news: News);
    /// From now on, and as long as the feed lives, the other nodes see that this one is here, and what they tell is heard.
    /// Once for each store. None where no other node can be.
    async fn listen(&self, node: NodeId) -> Result<Option<NewsFeed>>;
    /// Voids the leases of a node that is gone. Says how many.
    async fn release_leases_of(&self, node: NodeId, now: Timestamp) -> Result<u64>;
}

/// A server on this database, from its start to its end: a number by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    pub fn parse(text: &str) -> Option<Self> {
        let is_one = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u32::from_str_radix(text, 16).ok().filter(|_| is_one);
        number.map(Self)
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// What others may want to know at once. None of it is needed: it spares waiting for the next look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// There may be a job to claim.
    Work,
    /// There may be a webhook to send.
    Mail,
    /// Whoever owns this receiver wants it to be called now, whatever it has asked for.
    Opened(Lane),
    Job {
        org: OrgId,
        id: JobId,
        change: JobChange,
    },
    /// Only heard: this node has been gone for a while, and whatever it held is held by nobody.
    Left(NodeId),
    /// Only heard: there was something that was not heard.
    Missed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobChange {
    /// It runs, or has come further.
    Progress,
    Ended,
}

/// What the other nodes tell. Who drops it is gone for them.
#[derive(Debug)]
pub struct NewsFeed {
    news: mpsc::Receiver<News>,
    hearing: Hearing,
    open: DropGuard,
    ear: TaskTracker,
}

impl NewsFeed {
    /// What `ear` puts into `news` until the token is cancelled.
    pub(crate) fn new(
        news: mpsc::Receiver<News>,
        hearing: Hearing,
        closing: CancellationToken,
        ear: TaskTracker,
    ) -> Self {
        Self {
            news,
            hearing,
            open: closing.drop_guard(),
            ear,
        }
    }

    /// None when nothing will come any more.
    pub async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }

    pub fn hearing(&self) -> Hearing {
        self.hearing.clone()
    }

    /// Tells what is still to be told, and takes leave.
    pub async fn close(self) {
        drop(self.open);
        self.ear.wait().await;
    }
}

/// How well a node hears the others.
#[derive(Debug, Clone, Default)]
pub struct Hearing(Arc<Heard>);

#[derive(Debug, Default)]
struct Heard {
    others: AtomicUsize,
    is_deaf: AtomicBool,
}

impl Hearing {
    /// How many other nodes are here. One more than there are rather than one less.
    pub fn others(&self) -> usize {
        self.0.others.load(Ordering::Relaxed)
    }

    /// Whether what is told just now is missed.
    pub fn is_deaf(&self) -> bool {
        self.0.is_deaf.load(Ordering::Relaxed)
    }

    pub(crate) fn set_others(&self, others: usize) {
        self.0.others.store(others, Ordering::Relaxed);
    }

    pub(crate) fn set_deaf(&self, is_deaf: bool) {
        self.0.is_deaf.store(is_deaf, Ordering::Relaxed);
    }
}
