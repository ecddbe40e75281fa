//! What nodes tell each other, and how they know which of them are here.

use crate::backend;
use crate::fixture::{Fixture, check, fresh};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_postgres::{AsyncMessage, Client, NoTls};
use tokio_util::task::TaskTracker;
use vydra_core::api_key::Pepper;
use vydra_core::ids::{JobId, OrgId};
use vydra_core::job::Mode;
use vydra_store::store::{JobChange, Lane, LeaseToken, News, NewsFeed, NodeId};
use vydra_store::{PostgresStore, Store};
use vydra_testkit::wire::Wire;

/// A server on the database of the fixture.
struct Node {
    store: Arc<dyn Store>,
    id: NodeId,
    feed: NewsFeed,
}

impl Node {
    async fn of(f: &Fixture, number: u32) -> Self {
        Self::over(f.another().await, number).await
    }

    async fn behind(wire: &Wire, f: &Fixture, number: u32) -> Self {
        let url = wire
            .address(&backend::url(f.directory.path()))
            .parse()
            .unwrap();
        let store = PostgresStore::open(&url, &Pepper::new([7; 32])).await;
        Self::over(Arc::new(store.unwrap()), number).await
    }

    async fn over(store: Arc<dyn Store>, number: u32) -> Self {
        let id = NodeId(number);
        let feed = store.listen(id).await.unwrap();
        Self {
            store,
            id,
            feed: feed.expect("it can have neighbours"),
        }
    }

    /// Until it sees so many others.
    async fn sees(&self, others: usize) {
        until(|| self.feed.hearing().others() == others).await;
    }

    async fn hears(&mut self) -> News {
        let heard = tokio::time::timeout(Duration::from_mins(1), self.feed.next()).await;
        heard.expect("it hears nothing").expect("it is open")
    }

    /// Tells something that nobody else tells, and what everybody hears who has heard what was told before.
    fn marks(&self, f: &Fixture) -> News {
        let news = ended(&f.org_id(), &f.job_id());
        self.store.tell(news.clone());
        news
    }
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < end, "it never is so");
        tokio::task::yield_now().await;
    }
}

fn ended(org: &OrgId, id: &JobId) -> News {
    News::Job {
        org: org.clone(),
        id: id.clone(),
        change: JobChange::Ended,
    }
}

/// Hears what is notified, and is no node.
struct Spy {
    _client: Client,
    heard: mpsc::UnboundedReceiver<String>,
}

impl Spy {
    async fn on(f: &Fixture) -> Self {
        let url = backend::url(f.directory.path());
        let (client, mut connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        let (hears, heard) = mpsc::unbounded_channel();
        TaskTracker::new().spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await
            {
                if let AsyncMessage::Notification(notification) = message {
                    assert!(notification.payload().len() < 8_000);
                    let _gone = hears.send(notification.payload().to_owned());
                }
            }
        });
        client.batch_execute("LISTEN vydra").await.unwrap();
        Self {
            _client: client,
            heard,
        }
    }

    async fn hears(&mut self) -> String {
        self.heard.recv().await.unwrap()
    }
}

fn port(f: &Fixture) -> u16 {
    let url = backend::url(f.directory.path());
    let (_, place) = url.rsplit_once(':').unwrap();
    place.split_once('/').unwrap().0.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_tells_is_heard_by_all_others_and_not_by_itself() {
    let f = fresh().await;
    let mut nodes = [Node::of(&f, 1).await, Node::of(&f, 2).await];
    let mut third = Node::of(&f, 3).await;
    for node in nodes.iter().chain([&third]) {
        node.sees(2).await;
    }
    let (org, id) = (f.org_id(), f.job_id());
    let told = [
        News::Work,
        News::Mail,
        News::Opened(Lane::of_endpoint(&org, &f.endpoint_id())),
        News::Job {
            org,
            id,
            change: JobChange::Progress,
        },
    ];
    for news in &told {
        third.store.tell(news.clone());
        for node in &mut nodes {
            assert_eq!(node.hears().await, *news);
        }
    }
    let mark = nodes[0].marks(&f);
    assert_eq!(third.hears().await, mark, "it did not hear itself");
    assert!(f.another().await.listen(NodeId(4)).await.is_ok());
    assert!(third.store.listen(NodeId(5)).await.is_err(), "once a store");
    check(f).await;
}

/// On one thread, so that all is told before the ear has its turn.
#[tokio::test]
async fn what_is_told_together_goes_in_few_notifications() {
    let f = fresh().await;
    let node = Node::of(&f, 1).await;
    let mut other = Node::of(&f, 2).await;
    node.sees(1).await;
    let mut spy = Spy::on(&f).await;
    let ends: Vec<News> = (0..1_000)
        .map(|_| ended(&f.org_id(), &f.job_id()))
        .collect();
    for news in ends.iter().chain(&ends) {
        node.store.tell(news.clone());
    }
    let mut heard = Vec::new();
    while heard.len() < ends.len() {
        heard.push(other.hears().await);
    }
    assert!(ends.iter().all(|news| heard.contains(news)));
    let mark = node.marks(&f);
    assert_eq!(other.hears().await, mark, "each was told once");
    for _ in 0..8 {
        assert!(spy.hears().await.len() > 900);
    }
    assert!(spy.hears().await.len() < 100, "eight, and the mark");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_alone_tells_nothing() {
    let f = fresh().await;
    let mut spy = Spy::on(&f).await;
    let alone = Node::of(&f, 0xabcd).await;
    assert_eq!(spy.hears().await, "0000abcd hello");
    for _ in 0..100 {
        alone.marks(&f);
    }
    let second = Node::of(&f, 0xdcba).await;
    assert_eq!(spy.hears().await, "0000dcba hello");
    alone.sees(1).await;
    alone.store.tell(News::Work);
    assert_eq!(spy.hears().await, "0000abcd work");
    second.feed.close().await;
    assert_eq!(spy.hears().await, "0000dcba goodbye");
    // Its lock may be seen for a moment longer.
    alone.sees(0).await;
}

/// What was told before a node takes leave is told.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_leave_has_told_everything_and_is_gone_at_once() {
    let f = fresh().await;
    let mut node = Node::of(&f, 1).await;
    let leaving = Node::of(&f, 2).await;
    leaving.sees(1).await;
    let last = leaving.marks(&f);
    leaving.feed.close().await;
    assert_eq!(node.hears().await, last);
    assert_eq!(node.hears().await, News::Left(leaving.id));
    leaving.store.tell(News::Work);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_cut_off_knows_that_something_was_missed() {
    let f = fresh().await;
    let mut nodes = [Node::of(&f, 1).await, Node::of(&f, 2).await];
    for node in &nodes {
        node.sees(1).await;
    }
    f.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    for node in &mut nodes {
        assert_eq!(node.hears().await, News::Missed);
        assert!(!node.feed.hearing().is_deaf());
        node.sees(1).await;
    }
    let mark = nodes[0].marks(&f);
    assert_eq!(nodes[1].hears().await, mark);
    let mark = nodes[1].marks(&f);
    assert_eq!(nodes[0].hears().await, mark);
}

/// The network between one node and the database is cut, and no end of a connection is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_without_a_word_notices_it_and_is_taken_for_gone() {
    let f = fresh().await;
    let wire = Wire::to(port(&f)).await;
    let mut here = Node::of(&f, 1).await;
    let mut away = Node::behind(&wire, &f, 2).await;
    here.sees(1).await;
    let cut_at = Instant::now();
    wire.cut();
    // Sent, and not known to have arrived.
    let sent_in_vain = away.marks(&f);
    until(|| away.feed.hearing().is_deaf()).await;
    assert!(cut_at.elapsed() < Duration::from_secs(8));
    let unheard = here.marks(&f);
    // Told to nobody yet, and not lost.
    let told_late = away.marks(&f);
    assert_eq!(here.hears().await, News::Left(away.id));
    here.sees(0).await;
    wire.mend();
    assert_eq!(away.hears().await, News::Missed);
    away.sees(1).await;
    assert_eq!(here.hears().await, sent_in_vain);
    assert_eq!(here.hears().await, told_late);
    here.sees(1).await;
    let mark = here.marks(&f);
    assert_eq!(away.hears().await, mark, "and not {unheard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_takes_nothing_from_a_node_that_is_here() {
    let f = fresh().await;
    let org = f.org(100).await;
    f.endpoint(&org.id, &[]).await;
    f.ended(&org.id).await;
    assert_eq!(f.due().await.len(), 1, "it is being sent");
    let living = Node::of(&f, 1).await;
    let job = f.job(&org.id, 10).await;
    let mut claim = f.new_claim(Mode::Live, 1, f.now());
    claim.tokens = vec![LeaseToken::of(living.id, "secret", 0)];
    let held = living.store.claim_jobs(claim).await.unwrap().jobs;
    assert_eq!(held[0].job.id, job.id);

    let starting = Node::of(&f, 2).await;
    for store in [&starting.store, &f.store] {
        assert_eq!(store.release_leases(f.now()).await.unwrap(), 0);
        assert_eq!(store.release_deliveries(f.now()).await.unwrap(), 0);
    }
    let alive = living
        .store
        .report_progress(&held[0].lease, 1, None, f.until());
    alive.await.unwrap();

    let Node { store, feed, .. } = living;
    drop((store, feed));
    // The lock goes with the connection, a moment later.
    let mut released = 0;
    while released == 0 {
        released = starting.store.release_leases(f.now()).await.unwrap();
    }
    assert_eq!(released, 1);
    assert_eq!(starting.store.release_deliveries(f.now()).await.unwrap(), 1);
    assert_eq!(f.claim(1).await[0].job.id, job.id);
    check(f).await;
}

/// As when the only worker has died, and others that only answer are here when it starts again.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_starts_learns_of_those_who_died_before() {
    let f = fresh().await;
    let org = f.org(100).await;
    let dead = NodeId(0xdead_0001);
    f.job(&org.id, 10).await;
    let mut claim = f.new_claim(Mode::Live, 1, f.now());
    claim.tokens = vec![LeaseToken::of(dead, "secret", 0)];
    assert_eq!(f.store.claim_jobs(claim).await.unwrap().jobs.len(), 1);
    let answering = Node::of(&f, 1).await;
    let mut starting = Node::of(&f, 2).await;
    let released = starting.store.release_leases(f.now()).await.unwrap();
    assert_eq!(released, 0, "{:?} may hold it", answering.id);
    assert_eq!(starting.hears().await, News::Left(dead));
    let freed = starting.store.release_leases_of(dead, f.now()).await;
    assert_eq!(freed.unwrap(), 1);
    starting.sees(1).await;
}

/// Whatever anybody else notifies on the same channel.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_harms_nobody() {
    let f = fresh().await;
    let mut node = Node::of(&f, 1).await;
    for payload in ["", " ", "{\"a\": 1}", "0000000 ended:a/b", "- later work"] {
        f.execute(&format!("SELECT pg_notify('vydra', '{payload}')"));
    }
    assert_eq!(node.hears().await, News::Work);
    assert_eq!(node.feed.hearing().others(), 0);
}
