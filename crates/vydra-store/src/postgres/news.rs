//! What nodes tell each other, by `NOTIFY`, and which of them are here.
//!
//! A server has one connection for it, its ear. What it has to tell waits until the ear sends it, many news in one statement:
//! never in the transaction that they tell of, because Postgres lets one transaction at a time commit that notifies. The only
//! exceptions are changes of callers, which are rare, are made by the command line too, and must not be lost.
//!
//! As long as the connection lives, it holds a lock of no consequence under the number of its node, which tells the others
//! that the node is here. Postgres gives the lock up when the process dies, and when it gives no sign of life. While no other
//! node is here, nothing is told.

mod words;

use super::db::Db;
use super::pool::Connector;
use super::rows::{Columns, collect};
use super::{PostgresStore, migrations, worker};
use crate::store::{Hearing, News, NewsFeed, NewsStore, NodeId};
use crate::{Result, StoreError};
use async_trait::async_trait;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vydra_core::time::Timestamp;
use words::{GOODBYE, HELLO, Untold, Word};

/// Of the locks of all nodes: any number that nobody else uses.
const LOCKS: u32 = 0x7679_6472;
/// The server hangs up on an ear that has been silent for so long, also when it only waits for a connection that is cut.
const SESSION: &str =
    "SET synchronous_commit = off; SET lock_timeout = '2s'; SET tcp_keepalives_idle = 5;
     SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; SET tcp_user_timeout = 10000;
     SELECT set_config(name, '10s', false) FROM pg_settings WHERE name = 'idle_session_timeout'";
/// A pooler that hands connections round lets us listen, and swallows what we would hear.
const UNHEARD_ITSELF: &str = "what is notified is not heard: the address must lead to the database itself, or to a pooler that \
     keeps each session on one connection";
const IMPORTED: &str = "all of it was imported while the server was starting: start it again";
/// How often a node gives a sign of life, and looks who else is here.
const BEAT: Duration = Duration::from_secs(1);
/// A database that is silent for so long is gone.
const PATIENCE: Duration = Duration::from_secs(3);
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(2);
/// How long a node may be away before it is taken for dead: longer than it takes to come back to a database that has restarted.
const GRACE: Duration = Duration::from_secs(5);
/// What is told in this span, once for each node there is, goes together, so that all nodes together send some hundred
/// statements a second, however many they are.
const GATHER: Duration = Duration::from_millis(2);
const LONGEST_GATHER: Duration = Duration::from_millis(100);
/// How many notifications may wait for the ear, and how many news for whoever listens to it.
const UNREAD: usize = 1_024;
const UNHEARD: usize = 8_192;
/// How long a stop tries to tell the last.
const LAST_WORDS: Duration = Duration::from_secs(2);

#[async_trait]
impl NewsStore for PostgresStore {
    fn tell(&self, news: News) {
        if let Some(voice) = self.voice.get() {
            voice.tell(news);
        }
    }

    async fn listen(&self, node: NodeId) -> Result<Option<NewsFeed>> {
        let (voice, feed) = start(self.pool.connector().clone(), node).await?;
        // Whoever imports sees from now on that somebody is here. What was imported before brought another secret.
        if migrations::kept_pepper(self.pool.get().await?.db()).await? != self.pepper {
            return Err(StoreError::Refused(IMPORTED.to_owned()));
        }
        self.voice
            .set(voice)
            .map_err(|_| StoreError::Database("this store listens already".into()))?;
        Ok(Some(feed))
    }

    async fn release_leases_of(&self, node: NodeId, now: Timestamp) -> Result<u64> {
        self.write("~1 leases", async move |db: &Db| {
            worker::release_leases_of(db, node, now).await
        })
        .await
    }
}

/// Selects the numbers of the nodes that are here, but for the one that is this parameter.
pub(super) fn others(but: &str) -> String {
    format!(
        "SELECT objid FROM pg_locks
         WHERE locktype = 'advisory' AND classid = {LOCKS} AND objsubid = 2 AND objid IS DISTINCT FROM {but}::oid
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
}

/// What a node has to tell, until its ear sends it.
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) node: NodeId,
    untold: Mutex<Untold>,
    /// Rung when there is something to tell.
    bell: Notify,
    hearing: Hearing,
}

impl Voice {
    fn tell(&self, news: News) {
        let others = self.hearing.others();
        if others > 0 {
            self.untold().add(news, others);
            self.bell.notify_one();
        }
    }

    fn untold(&self) -> MutexGuard<'_, Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn start(connector: Connector, node: NodeId) -> Result<(Arc<Voice>, NewsFeed)> {
    let hearing = Hearing::default();
    let voice = Arc::new(Voice {
        node,
        untold: Mutex::default(),
        bell: Notify::new(),
        hearing: hearing.clone(),
    });
    let (outlet, news) = mpsc::channel(UNHEARD);
    let mut ear = Ear {
        connector,
        voice: Arc::clone(&voice),
        unsent: Vec::new(),
        known: HashMap::new(),
        outlet: Outlet {
            news: outlet,
            has_lost: false,
        },
    };
    let line = ear.call().await?;
    ear.suspect_holders(&line.db).await?;
    let (closing, task) = (CancellationToken::new(), TaskTracker::new());
    task.spawn(ear.run(line, closing.clone()));
    task.close();
    Ok((voice, NewsFeed::new(news, hearing, closing, task)))
}

/// Where news go. Who does not take them in time is told that some were missed.
#[derive(Debug)]
struct Outlet {
    news: mpsc::Sender<News>,
    has_lost: bool,
}

impl Outlet {
    fn pass(&mut self, news: News) {
        self.own_up();
        self.has_lost |= self.news.try_send(news).is_err();
    }

    /// Tells of a loss as soon as there is room for it.
    fn own_up(&mut self) {
        if self.has_lost {
            self.has_lost = self.news.try_send(News::Missed).is_err();
        }
    }
}

/// A connection that hears.
#[derive(Debug)]
struct Line {
    db: Db,
    /// Ends with the connection.
    heard: mpsc::Receiver<String>,
}

#[derive(Debug)]
struct Ear {
    connector: Connector,
    voice: Arc<Voice>,
    /// What a connection broke on.
    unsent: Vec<String>,
    /// The other nodes, and since when those are away that are not here.
    known: HashMap<NodeId, Option<Instant>>,
    outlet: Outlet,
}

impl Ear {
    /// Until it is closed, over one connection after the other.
    async fn run(mut self, mut line: Line, closing: CancellationToken) {
        loop {
            let Err(error) = self.hear(&mut line, &closing).await else {
                break;
            };
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "other nodes are not heard"
            );
            drop(line);
            self.voice.hearing.set_deaf(true);
            line = tokio::select! {
                () = closing.cancelled() => return,
                line = self.call_again() => line,
            };
            self.voice.hearing.set_deaf(false);
            tracing::info!("other nodes are heard again");
            self.outlet.pass(News::Missed);
        }
        let goodbye = async {
            self.send(&line.db).await?;
            self.say(&line.db, GOODBYE).await
        };
        // Nobody waits for it for ever.
        let _untold = tokio::time::timeout(LAST_WORDS, goodbye).await;
    }

    /// Until it is closed; an error when the connection breaks before. What is being told then is told to its end: nothing comes
    /// twice.
    async fn hear(&mut self, line: &mut Line, closing: &CancellationToken) -> Result<()> {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let voice = Arc::clone(&self.voice);
        let mut send_at = Instant::now();
        loop {
            let has_news = !self.unsent.is_empty() || !voice.untold().is_empty();
            tokio::select! {
                () = closing.cancelled() => return Ok(()),
                heard = line.heard.recv() => match heard {
                    Some(payload) => self.take_in(&payload),
                    None => return Err(hung_up()),
                },
                () = voice.bell.notified(), if !has_news => {}
                () = tokio::time::sleep_until(send_at), if has_news => {
                    in_time(self.send(&line.db)).await?;
                    send_at = Instant::now() + self.gather();
                }
                _ = beat.tick() => {
                    in_time(self.look(&line.db)).await?;
                    self.outlet.own_up();
                }
            }
        }
    }

    fn gather(&self) -> Duration {
        let nodes = u32::try_from(self.known.len() + 1).unwrap_or(u32::MAX);
        GATHER.saturating_mul(nodes).min(LONGEST_GATHER)
    }

    async fn call_again(&mut self) -> Line {
        let mut rest = FIRST_REST;
        loop {
            match self.call().await {
                Ok(line) => return line,
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "other nodes cannot be heard yet"
                    );
                }
            }
            tokio::time::sleep(rest).await;
            rest = (rest * 2).min(LONGEST_REST);
        }
    }

    /// A new connection, over which this node is here, and hears.
    async fn call(&mut self) -> Result<Line> {
        let (heard, mut hears) = mpsc::channel(UNREAD);
        let db = self.connector.connect_listening(heard).await?;
        in_time(async {
            db.script(SESSION).await?;
            db.script("LISTEN vydra").await?;
            self.say(&db, HELLO).await
        })
        .await?;
        let heard = tokio::time::timeout(PATIENCE, self.hear_itself(&mut hears)).await;
        heard.unwrap_or_else(|_late| Err(StoreError::Database(UNHEARD_ITSELF.into())))?;
        in_time(async {
            let number = self.voice.node.0.cast_signed();
            db.run(
                "SELECT pg_advisory_lock_shared($1, $2)",
                &[&LOCKS.cast_signed(), &number],
            )
            .await?;
            // Whoever is away may have lost its connection as we did.
            self.known.values_mut().for_each(|since| *since = None);
            self.look(&db).await
        })
        .await?;
        Ok(Line { db, heard: hears })
    }

    async fn hear_itself(&mut self, heard: &mut mpsc::Receiver<String>) -> Result<()> {
        let own = words::payload(self.voice.node, HELLO);
        loop {
            match heard.recv().await {
                Some(payload) if payload == own => return Ok(()),
                Some(payload) => self.take_in(&payload),
                None => return Err(hung_up()),
            }
        }
    }

    fn take_in(&mut self, payload: &str) {
        let (from, said) = words::read(payload);
        if from == Some(self.voice.node) {
            return;
        }
        if let Some(node) = from {
            self.known.insert(node, None);
        }
        for word in said {
            match word {
                Word::News(news) => self.outlet.pass(news),
                Word::Goodbye => {
                    if let Some(node) = from {
                        self.known.remove(&node);
                        self.outlet.pass(News::Left(node));
                    }
                }
            }
        }
        self.voice.hearing.set_others(self.known.len());
    }

    /// Looks who is here.
    async fn look(&mut self, db: &Db) -> Result<()> {
        let here = db.all(&others("$1"), &[&self.voice.node.0]).await?;
        let here = collect(&here, |row: &mut Columns<'_>| row.take().map(NodeId))?;
        let here: HashSet<NodeId> = here.into_iter().collect();
        self.known.extend(here.iter().map(|node| (*node, None)));
        let now = Instant::now();
        let mut gone = Vec::new();
        self.known.retain(|node, since| {
            let is_gone = !here.contains(node) && now - *since.get_or_insert(now) >= GRACE;
            if is_gone {
                gone.push(*node);
            } else if here.contains(node) {
                *since = None;
            }
            !is_gone
        });
        for node in gone {
            self.outlet.pass(News::Left(node));
        }
        self.voice.hearing.set_others(self.known.len());
        Ok(())
    }

    /// Whoever holds leases and is not here may have died before anybody looked.
    async fn suspect_holders(&mut self, db: &Db) -> Result<()> {
        let holders = db.all(
            "SELECT DISTINCT left(lease_token, 8) FROM jobs WHERE status = 'running' AND lease_token IS NOT NULL",
            &[],
        );
        let now = Instant::now();
        for holder in collect(&holders.await?, Columns::take::<String>)? {
            if let Some(node) = NodeId::parse(&holder) {
                self.known.entry(node).or_insert(Some(now));
            }
        }
        self.voice.hearing.set_others(self.known.len());
        Ok(())
    }

    async fn send(&mut self, db: &Db) -> Result<()> {
        if self.unsent.is_empty() {
            let untold = std::mem::take(&mut *self.voice.untold());
            self.unsent = untold.payloads(self.voice.node);
        }
        if !self.unsent.is_empty() {
            notify(db, &self.unsent).await?;
            self.unsent.clear();
        }
        Ok(())
    }

    async fn say(&self, db: &Db, word: &str) -> Result<()> {
        notify(db, &[words::payload(self.voice.node, word)]).await
    }
}

async fn notify(db: &Db, payloads: &[String]) -> Result<()> {
    db.run(
        "SELECT pg_notify('vydra', payload) FROM unnest($1::text[]) AS payload",
        &[&payloads],
    )
    .await?;
    Ok(())
}

async fn in_time<T>(asked: impl Future<Output = Result<T>>) -> Result<T> {
    let answered = tokio::time::timeout(PATIENCE, asked).await;
    answered.unwrap_or_else(|_late| {
        Err(StoreError::Unwritable(
            "nothing is heard from the database".into(),
        ))
    })
}

fn hung_up() -> StoreError {
    StoreError::Unwritable("the database hung up".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_does_not_listen_is_told_that_there_was_something() {
        let (sender, mut news) = mpsc::channel(2);
        let mut outlet = Outlet {
            news: sender,
            has_lost: false,
        };
        for _ in 0..5 {
            outlet.pass(News::Work);
        }
        assert_eq!(news.recv().await, Some(News::Work));
        outlet.own_up();
        assert_eq!(news.recv().await, Some(News::Work));
        assert_eq!(news.recv().await, Some(News::Missed));
        outlet.pass(News::Mail);
        assert_eq!(news.recv().await, Some(News::Mail), "it is told once");
    }
}
