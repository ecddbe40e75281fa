//! What other nodes tell, turned into the bells that ring here; and what they are told.

use crate::{Engine, Result};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vydra_core::ids::{JobId, OrgId};
use vydra_core::job::{Job, Mode};
use vydra_core::random::Random;
use vydra_store::store::{Hearing, JobChange, Lane, News, NewsFeed, NodeId, Submission};

/// News of work reach all nodes at once, and one of them is enough. So each waits by chance, for up to this span for every
/// other node: most come when it is done, and all together ask no more often than a few would.
const JOSTLE: Duration = Duration::from_millis(2);
const LONGEST_JOSTLE: Duration = Duration::from_millis(50);
/// How often whoever waits for something looks all the same, for news that were lost.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The same where nothing is heard of what other processes do.
const LOOK_EVERY_WHILE_DEAF: Duration = Duration::from_secs(1);

/// This node among the others.
#[derive(Debug)]
pub(crate) struct Nodes {
    pub(crate) own: NodeId,
    /// Of a server that can have neighbours.
    hearing: OnceLock<Hearing>,
    /// Those that are gone, until a worker has freed what they held.
    gone: Mutex<Vec<NodeId>>,
}

impl Nodes {
    pub(crate) fn new(random: &dyn Random) -> Self {
        let mut bytes = [0; 4];
        random.fill(&mut bytes);
        Self {
            own: NodeId(u32::from_be_bytes(bytes)),
            hearing: OnceLock::new(),
            gone: Mutex::default(),
        }
    }

    fn others(&self) -> usize {
        self.hearing.get().map_or(0, Hearing::others)
    }

    /// Whether jobs are run by other processes too.
    pub(crate) fn may_be_several(&self) -> bool {
        self.hearing.get().is_some()
    }

    /// How long whoever waits for what another process may do waits until he looks.
    pub(crate) fn look_after(&self) -> Duration {
        match self.hearing.get() {
            Some(hearing) if !hearing.is_deaf() => LOOK_EVERY,
            Some(_) | None => LOOK_EVERY_WHILE_DEAF,
        }
    }

    pub(crate) fn take_gone(&self) -> Vec<NodeId> {
        std::mem::take(&mut *self.gone())
    }

    pub(crate) fn add_gone(&self, node: NodeId) {
        self.gone().push(node);
    }

    fn gone(&self) -> MutexGuard<'_, Vec<NodeId>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is heard.
impl Engine {
    /// For the start of a server, before it takes over what dead ones left: from now on the others see that it is here. What
    /// they tell is for [`Self::hear`].
    pub async fn listen(&self) -> Result<Option<NewsFeed>> {
        let feed = self.store().listen(self.nodes.own).await?;
        if let Some(feed) = &feed {
            // A store listens once.
            let _is_first = self.nodes.hearing.set(feed.hearing());
        }
        Ok(feed)
    }

    /// Hears until `stop`; then what is still to be told is told.
    pub async fn hear(&self, feed: Option<NewsFeed>, stop: CancellationToken) {
        let Some(mut feed) = feed else {
            return;
        };
        let mut look_at = None;
        loop {
            let look = async {
                match look_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                news = feed.next() => match news {
                    Some(News::Work) => {
                        look_at = look_at.or_else(|| Some(Instant::now() + self.jostle()));
                    }
                    Some(news) => self.heard(news),
                    None => break,
                },
                () = look => {
                    look_at = None;
                    self.look_for_work();
                }
            }
        }
        feed.close().await;
    }

    fn jostle(&self) -> Duration {
        let others = u32::try_from(self.nodes.others()).unwrap_or(u32::MAX);
        let longest = JOSTLE.saturating_mul(others).min(LONGEST_JOSTLE);
        let mut chance = [0; 1];
        self.random().fill(&mut chance);
        longest * u32::from(chance[0]) / u32::from(u8::MAX)
    }

    /// Whoever has no place for it looks when one becomes free.
    fn look_for_work(&self) {
        if self.floor().is_some_and(|floor| floor.has_room()) {
            self.work.notify_one();
        }
    }

    fn heard(&self, news: News) {
        match news {
            News::Work => self.look_for_work(),
            News::Mail => self.mail.notify_one(),
            News::Opened(lane) => {
                self.lanes.open(&lane);
                self.mail.notify_one();
            }
            News::Job { org, id, change } => self.heard_of_job(&org, &id, change),
            News::Left(node) => {
                self.nodes.add_gone(node);
                self.work.notify_one();
            }
            News::Missed => {
                self.work.notify_one();
                self.mail.notify_one();
                self.endings.look_at_all();
                self.changes.ring_all();
                self.ends.ring_all();
            }
        }
    }

    fn heard_of_job(&self, org: &OrgId, id: &JobId, change: JobChange) {
        if change == JobChange::Ended {
            self.running.stop(id);
            self.endings.look_at(id);
            self.ends.ring(org);
        }
        self.changes.ring(id);
    }
}

/// What happened here, for whoever waits for it here and elsewhere.
impl Engine {
    /// Makes news only where somebody may hear them.
    fn tell(&self, news: impl FnOnce() -> News) {
        if self.nodes.others() > 0 {
            self.store().tell(news());
        }
    }

    /// A job waits for a worker.
    pub(crate) fn work_waits(&self) {
        self.work.notify_one();
        self.tell(|| News::Work);
    }

    /// A job that was not begun here may wait. A worker of this process that has no place for it looks when one becomes free.
    pub(crate) fn submitted(&self, submitted: &vydra_store::Result<Submission>, mode: Mode) {
        if self.floor().is_some_and(|floor| floor.has_room_for(mode)) {
            self.work.notify_one();
        }
        // Written down or not, nobody but this process needs to look for any other.
        if let Ok(Submission::Accepted { .. }) = submitted {
            self.tell(|| News::Work);
        }
    }

    /// There may be something to send. Whoever sends here needs no help.
    pub(crate) fn mail_waits(&self) {
        self.mail.notify_one();
        if !self.lanes.are_served() {
            self.tell(|| News::Mail);
        }
    }

    /// Whoever changes a receiver, tests it or sends to it again does not wait for what it had asked for before.
    pub(crate) fn call_now(&self, lane: Lane) {
        self.lanes.open(&lane);
        self.mail.notify_one();
        self.tell(|| News::Opened(lane));
    }

    pub(crate) fn came_further(&self, job: &Job) {
        self.changes.ring(&job.id);
        self.tell(|| news_of(job, JobChange::Progress));
    }

    /// Tells all who wait.
    pub(crate) fn ended(&self, job: &Job) {
        tracing::info!(job.id = %job.id, org.id = %job.org_id, status = job.status.as_str(), refunded = %job.refunded, "job ended");
        self.endings.announce(job);
        self.changes.ring(&job.id);
        self.ends.ring(&job.org_id);
        self.tell(|| news_of(job, JobChange::Ended));
        self.mail_waits();
    }
}

fn news_of(job: &Job, change: JobChange) -> News {
    News::Job {
        org: job.org_id.clone(),
        id: job.id.clone(),
        change,
    }
}
