//! Requests that the database counts for all nodes, beside the log of one process, which says what exact means.

use crate::backend;
use crate::fixture::{Fixture, at_once, check, fresh};
use crate::limits::{moments, usage};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio_postgres::NoTls;
use tokio_util::task::TaskTracker;
use vydra_core::api_key::{ApiKey, KeyHash, Pepper};
use vydra_core::ids::OrgId;
use vydra_core::plan::{LimitOverrides, Limits, Plans};
use vydra_core::time::{Clock, Timestamp};
use vydra_core::window::{AdmissionLog, Full, SteadyTime, Tally, Window};
use vydra_store::store::{Admission, KeyAdmission, LimitStore as _, RequestCounter};
use vydra_store::{PostgresStore, StoreError};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
const START: i64 = 1_800_000_000 * SECOND;
const FREE: Limits = limits(3, 5, 6);
/// For plans that are not listed.
const UNLISTED: Limits = limits(1, 1, 1);

const fn limits(rpm: u32, rph: u32, rpd: u32) -> Limits {
    Limits {
        rpm,
        rph,
        rpd,
        concurrent: 1,
    }
}

fn plans() -> Plans {
    Plans::new(BTreeMap::from([
        ("free".to_owned(), FREE),
        ("large".to_owned(), limits(1_000_000, 1_000_000, 1_000_000)),
    ]))
}

/// The database's clock, as a test wants it.
#[derive(Debug)]
struct Hands(AtomicI64);

impl Hands {
    fn show(&self, micros: i64) {
        self.0.store(micros, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// A node whose database has a clock of the test's.
struct Node {
    store: PostgresStore,
    counter: Arc<dyn RequestCounter>,
    clock: Arc<Hands>,
}

impl Node {
    async fn of(f: &Fixture) -> Self {
        Self::with(f, Arc::new(Hands(AtomicI64::new(START)))).await
    }

    async fn with(f: &Fixture, clock: Arc<Hands>) -> Self {
        let store = open(f).await.windows_by(Arc::clone(&clock) as _);
        Self {
            counter: store.request_counter(&plans(), UNLISTED).unwrap(),
            store,
            clock,
        }
    }

    async fn admit(&self, org: &OrgId) -> Admission {
        self.counter.admit(org).await.unwrap().unwrap()
    }

    /// What the request was told: of the windows with what counts in each, or why not.
    async fn ask(&self, org: &OrgId) -> Result<[u32; 3], Full> {
        told(&self.admit(org).await)
    }
}

async fn open(f: &Fixture) -> PostgresStore {
    let settings = backend::url(f.directory.path()).parse().unwrap();
    let store = PostgresStore::open(&settings, &Pepper::new([7; 32])).await;
    store.unwrap()
}

fn told(admission: &Admission) -> Result<[u32; 3], Full> {
    let Admission { tally, before, .. } = admission;
    tally.admit(*before)?;
    Ok(Window::ALL.map(|window| tally.used(window, *before)))
}

fn full(window: Window, limit: u32, wait_s: u32) -> Result<[u32; 3], Full> {
    Err(Full {
        window,
        limit,
        wait_s,
    })
}

async fn key(f: &Fixture, org: &OrgId, change: impl FnOnce(&mut ApiKey)) -> (ApiKey, KeyHash) {
    let (mut key, hash) = f.new_key(org);
    change(&mut key);
    f.store.create_key(&key, &hash).await.unwrap();
    (key, hash)
}

async fn set_limits(f: &Fixture, org: &OrgId, limits: Limits) {
    let overrides = LimitOverrides {
        rpm: Some(limits.rpm),
        rph: Some(limits.rph),
        rpd: Some(limits.rpd),
        concurrent: None,
    };
    let changed = f.store.set_plan(org, "free", overrides, f.now()).await;
    changed.unwrap().unwrap();
}

/// How many rows there are of the organization's log.
fn rows(f: &Fixture, org: &OrgId) -> String {
    let sql = format!("SELECT count(*) FROM window_log WHERE org_id = '{org}'");
    backend::text(f.directory.path(), &sql)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_found_and_its_request_counted_in_one_step() {
    let f = fresh().await;
    let org = f.org(7).await;
    let (key, hash) = key(&f, &org.id, |_| {}).await;
    let node = Node::of(&f).await;
    let now = f.now();
    let found = node.counter.admit_key(&hash, now).await.unwrap();
    let KeyAdmission::Counted {
        key: same,
        admission,
    } = found
    else {
        panic!("{found:?}")
    };
    assert_eq!((*same, &admission.organization), (key, &org));
    assert_eq!(told(&admission), Ok([1, 1, 1]));
    assert_eq!(
        (admission.tally.now, admission.tally.clock),
        (node.clock.now(), node.clock.now())
    );
    // Over all keys of the organization, and over its people.
    let (_, second) = self::key(&f, &org.id, |_| {}).await;
    let found = node.counter.admit_key(&second, now).await.unwrap();
    let KeyAdmission::Counted { admission, .. } = found else {
        panic!("{found:?}")
    };
    assert_eq!(told(&admission), Ok([2, 2, 2]));
    let admission = node.admit(&org.id).await;
    assert_eq!(
        (told(&admission), admission.organization),
        (Ok([3, 3, 3]), org)
    );
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_nobody_counts_nothing() {
    let f = fresh().await;
    let org = f.org(0).await.id;
    let node = Node::of(&f).await;
    let (_, unknown) = f.new_key(&org);
    let now = f.now();
    let found = node.counter.admit_key(&unknown, now).await.unwrap();
    assert_eq!(found, KeyAdmission::Unknown);
    assert_eq!(node.counter.admit(&f.org_id()).await.unwrap(), None);
    let (revoked, revoked_hash) = key(&f, &org, |key| key.revoked_at = Some(now)).await;
    let soon = now.plus(Duration::from_secs(5));
    let (expiring, expiring_hash) = key(&f, &org, |key| key.expires_at = Some(soon)).await;
    let inactive = async |hash, at| match node.counter.admit_key(hash, at).await.unwrap() {
        KeyAdmission::Inactive(key) => Some(*key),
        KeyAdmission::Counted { .. } => None,
        KeyAdmission::Unknown => panic!("it is known"),
    };
    assert_eq!(inactive(&revoked_hash, now).await, Some(revoked));
    assert_eq!(inactive(&expiring_hash, soon).await, Some(expiring));
    assert_eq!(rows(&f, &org), "0");
    // As of the moment that is handed in, whatever the clocks show.
    let last = Timestamp::from_micros(soon.as_micros() - 1);
    assert_eq!(inactive(&expiring_hash, last).await, None);
    assert_eq!(rows(&f, &org), "1");
    // A revocation is seen at the next request.
    f.store
        .revoke_key(&f.store.keys(&org).await.unwrap()[1].id, now)
        .await
        .unwrap();
    assert!(inactive(&expiring_hash, last).await.is_some());
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_window_is_left_to_the_microsecond() {
    let f = fresh().await;
    let org = f.org(0).await.id;
    let node = Node::of(&f).await;
    for moment in [7, SECOND / 2, 30 * SECOND] {
        node.clock.show(START + moment);
        node.ask(&org).await.unwrap();
    }
    let at = async |moment| {
        node.clock.show(START + moment);
        node.ask(&org).await
    };
    assert_eq!(at(31 * SECOND).await, full(Window::Minute, 3, 30));
    let admission = node.admit(&org).await;
    let minute = admission.tally.leaves(Window::Minute);
    assert_eq!(minute.as_micros(), START + 60 * SECOND + 7);
    assert_eq!(at(60 * SECOND + 6).await, full(Window::Minute, 3, 1));
    assert_eq!(at(60 * SECOND + 7).await, Ok([3, 4, 4]));
    assert_eq!(at(100 * SECOND).await, Ok([2, 5, 5]));
    // The hour is full, and then the day, too.
    assert_eq!(at(200 * SECOND).await, full(Window::Hour, 5, 3_401));
    assert_eq!(at(3_600 * SECOND + 7).await, Ok([1, 5, 6]));
    let until_day = u32::try_from((DAY - 5_000 * SECOND) / SECOND).unwrap();
    assert_eq!(
        at(5_000 * SECOND).await,
        full(Window::Day, 6, until_day + 1)
    );
    assert_eq!(at(DAY + 6).await, full(Window::Day, 6, 1));
    assert_eq!(at(DAY + 7).await, Ok([1, 1, 6]));
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_those_of_the_organization_at_each_request() {
    let f = fresh().await;
    let org = f.org(0).await.id;
    let node = Node::of(&f).await;
    let none = LimitOverrides::default();
    let plan = async |plan, overrides| {
        f.store
            .set_plan(&org, plan, overrides, f.now())
            .await
            .unwrap();
        let windows = node.admit(&org).await.tally.windows;
        windows.map(|window| window.limit)
    };
    assert_eq!(plan("free", none).await, [3, 5, 6]);
    assert_eq!(plan("large", none).await, [1_000_000; 3]);
    assert_eq!(plan("gone", none).await, [1; 3]);
    // A name that no plan has is not listed either.
    assert_eq!(plan("", none).await, [1; 3]);
    let own = LimitOverrides {
        rph: Some(u32::MAX),
        ..none
    };
    assert_eq!(plan("free", own).await, [3, u32::MAX, 6]);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_plan_waits_until_enough_have_left() {
    let f = fresh().await;
    let org = f.org(0).await.id;
    let node = Node::of(&f).await;
    for moment in 0..3 {
        node.clock.show(START + moment * SECOND);
        node.ask(&org).await.unwrap();
    }
    node.clock.show(START + 3 * SECOND);
    set_limits(&f, &org, limits(1, 5, 6)).await;
    assert_eq!(node.ask(&org).await, full(Window::Minute, 1, 59));
    set_limits(&f, &org, limits(2, 5, 2)).await;
    assert_eq!(node.ask(&org).await, full(Window::Minute, 2, 86_398));
    let admission = node.admit(&org).await;
    assert_eq!(admission.tally.used(Window::Minute, 0), 3);
    // A limit of zero never opens.
    set_limits(&f, &org, limits(0, 5, 6)).await;
    assert_eq!(node.ask(&org).await, full(Window::Minute, 0, 60));
    set_limits(&f, &org, FREE).await;
    node.clock.show(START + 60 * SECOND);
    assert_eq!(node.ask(&org).await, Ok([3, 4, 4]));
    check(f).await;
}

/// As after a failover: time goes on from where it was, for each organization that has asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_opens_no_window_and_stops_none() {
    let f = fresh().await;
    let (org, other) = (f.org(0).await.id, f.org(0).await.id);
    let node = Node::of(&f).await;
    for _ in 0..3 {
        node.ask(&org).await.unwrap();
    }
    node.clock.show(START - 3_000 * SECOND);
    assert_eq!(node.ask(&org).await, full(Window::Minute, 3, 60));
    node.clock.show(START - 2_950 * SECOND);
    assert_eq!(node.ask(&org).await, full(Window::Minute, 3, 10));
    let Tally { now, clock, .. } = node.admit(&org).await.tally;
    assert_eq!(
        (now.as_micros(), clock.as_micros()),
        (START + 50 * SECOND, START - 2_950 * SECOND)
    );
    node.clock.show(START - 2_940 * SECOND);
    assert_eq!(node.ask(&org).await, Ok([1, 4, 4]));
    assert_eq!(node.admit(&other).await.tally.now, node.clock.now());
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_has_counted_counts() {
    let f = fresh().await;
    let org = f.org(0).await.id;
    let node = Node::of(&f).await;
    let minute = START - 60 * SECOND;
    let earlier = moments([minute - 1, minute, minute + 1, minute + 1]);
    let record = vec![(org.clone(), earlier)];
    node.store.record_usage(usage(record)).await.unwrap();
    assert_eq!(node.ask(&org).await, Ok([3, 5, 5]));
    // What comes late is taken for the last: never for less than it was.
    let late = vec![(org.clone(), moments([minute]))];
    node.store.record_usage(usage(late)).await.unwrap();
    assert_eq!(
        node.store.admissions(moments([minute])[0]).await.unwrap(),
        [(org.clone(), moments([minute + 1, minute + 1, START, START]))]
    );
    // Nor does time begin before it.
    let ahead = f.org(0).await.id;
    let record = vec![(ahead.clone(), moments([START + SECOND]))];
    node.store.record_usage(usage(record)).await.unwrap();
    assert_eq!(node.ask(&ahead).await, Ok([2, 2, 2]));
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_left_the_day_is_forgotten_bit_by_bit() {
    let f = fresh().await;
    let (org, quiet) = (f.org(0).await.id, f.org(0).await.id);
    let node = Node::of(&f).await;
    let record = |org: &OrgId, first: i64| {
        usage(vec![(
            org.clone(),
            moments((0..300).map(|n| first + n * SECOND)),
        )])
    };
    for org in [&org, &quiet] {
        node.store.record_usage(record(org, START)).await.unwrap();
    }
    let go_round = async || {
        for _ in 0..2 {
            node.store.record_usage(usage(Vec::new())).await.unwrap();
        }
    };
    go_round().await;
    assert_eq!(
        (rows(&f, &org), rows(&f, &quiet)),
        ("300".into(), "300".into())
    );
    // Until it asks again, the day ends with its last request.
    node.clock.show(START + DAY + 249 * SECOND);
    go_round().await;
    assert_eq!(rows(&f, &org), "300");
    let admission = node.admit(&org).await;
    assert_eq!(admission.tally.used(Window::Day, 0), 50);
    go_round().await;
    assert_eq!(
        (rows(&f, &org), rows(&f, &quiet)),
        ("100".into(), "300".into())
    );
    go_round().await;
    assert_eq!(rows(&f, &org), "50");
    assert_eq!(node.admit(&org).await.tally, admission.tally);
    // And of one that asks no more a day after that.
    node.clock.show(START + 2 * DAY + 299 * SECOND);
    for _ in 0..2 {
        go_round().await;
    }
    assert_eq!(rows(&f, &quiet), "0");
    assert_eq!(node.ask(&quiet).await, Ok([1, 1, 1]));
    check(f).await;
}

// --- Several at once ---

/// By the database's own time.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_on_two_nodes_admits_exactly_the_limit() {
    let f = fresh().await;
    let (org, other) = (f.org(0).await.id, f.org(0).await.id);
    for org in [&org, &other] {
        set_limits(&f, org, limits(100, 1_000, 1_000)).await;
    }
    let (_, one) = key(&f, &org, |_| {}).await;
    let (_, two) = key(&f, &org, |_| {}).await;
    let (_, others) = key(&f, &other, |_| {}).await;
    let (first, second) = (open(&f).await, open(&f).await);
    let nodes = [&first, &second].map(|node| node.request_counter(&plans(), UNLISTED).unwrap());
    let now = f.now();
    let asks = (0..900).map(|number| {
        let node = Arc::clone(&nodes[number % 2]);
        let hash = [&one, &two, &others][number % 3].clone();
        async move {
            match node.admit_key(&hash, now).await.unwrap() {
                KeyAdmission::Counted { key, admission } => (key.org_id, told(&admission)),
                nobody => panic!("{nobody:?}"),
            }
        }
    });
    let answers = at_once(asks).await;
    for org in [&org, &other] {
        let of = answers.iter().filter(|(whose, _)| whose == org);
        let mut used: Vec<[u32; 3]> = of.filter_map(|(_, told)| told.ok()).collect();
        used.sort_unstable();
        let each = (1..=100).map(|place| [place; 3]);
        assert_eq!(
            used,
            each.collect::<Vec<_>>(),
            "each has a place of its own"
        );
    }
    check(f).await;
}

/// Two nodes whose calls hold many windows at once, in lines that come in any order.
#[tokio::test(flavor = "multi_thread")]
async fn calls_of_two_nodes_wait_for_no_circle() {
    const ORGANIZATIONS: usize = 40;
    let f = fresh().await;
    let mut hashes = Vec::new();
    for _ in 0..ORGANIZATIONS {
        let org = f.org(0).await.id;
        hashes.push(key(&f, &org, |_| {}).await.1);
    }
    let (first, second) = (open(&f).await, open(&f).await);
    let nodes = [&first, &second].map(|node| node.request_counter(&plans(), UNLISTED).unwrap());
    let now = f.now();
    for round in 0..10 {
        let asks = (0..4 * ORGANIZATIONS).map(|number| {
            let node = Arc::clone(&nodes[number % 2]);
            let place = (number * 7 + round * 11) % ORGANIZATIONS;
            let hash = hashes[place].clone();
            async move { node.admit_key(&hash, now).await.map(drop) }
        });
        for answer in at_once(asks).await {
            answer.unwrap();
        }
    }
    check(f).await;
}

/// Nobody is let in uncounted, and the next request counts again.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_refuses_those_that_wait_and_nobody_else() {
    let f = fresh().await;
    let org = f.org(0).await.id;
    let node = Node::of(&f).await;
    assert_eq!(node.ask(&org).await, Ok([1, 1, 1]));
    f.execute(
        "CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
         CREATE TRIGGER hang_up AFTER INSERT ON window_log FOR EACH ROW EXECUTE FUNCTION hang_up()",
    );
    // A moment of its own, and a row.
    node.clock.show(START + 1);
    let refused = node.counter.admit(&org).await;
    assert!(
        matches!(refused, Err(StoreError::Unwritable(_))),
        "{refused:?}"
    );
    f.execute("DROP TRIGGER hang_up ON window_log");
    assert_eq!(node.ask(&org).await, Ok([2, 2, 2]));
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_that_somebody_holds_are_waited_for_and_then_given_up() {
    let f = fresh().await;
    let (org, other) = (f.org(0).await.id, f.org(0).await.id);
    let node = Node::of(&f).await;
    node.ask(&org).await.unwrap();
    let url = backend::url(f.directory.path());
    let (mut holder, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    TaskTracker::new().spawn(connection);
    let holding = holder.transaction().await.unwrap();
    let held = "SELECT FROM windows WHERE org_id = $1 FOR UPDATE";
    assert_eq!(holding.execute(held, &[&org.as_str()]).await.unwrap(), 1);
    let refused = node.counter.admit(&org).await;
    assert!(matches!(refused, Err(StoreError::Busy)), "{refused:?}");
    assert_eq!(node.ask(&other).await, Ok([1, 1, 1]));
    holding.rollback().await.unwrap();
    assert_eq!(node.ask(&org).await, Ok([2, 2, 2]));
    check(f).await;
}

// --- Beside the log of one process ---

#[derive(Debug, Clone)]
enum Step {
    /// So many at once, on this node.
    Ask(usize, u8),
    Pass(i64),
    SetBack(i64),
    Limits(Limits),
    Forget,
    /// A node ends, and another takes its place.
    Restart(usize),
}

fn span() -> impl Strategy<Value = i64> {
    // Ends of windows are met to the microsecond, so most spans are parts of them.
    prop_oneof![
        Just(0),
        Just(1),
        (1..7_i64).prop_map(|sixth| sixth * 10 * SECOND),
        (1..7_i64).prop_map(|sixth| sixth * 600 * SECOND),
        (1..5_i64).prop_map(|quarter| quarter * 21_600 * SECOND),
        0..100 * SECOND,
        0..10_000 * SECOND,
    ]
}

fn any_limits() -> impl Strategy<Value = Limits> {
    (0..6_u32, 0..9_u32, 0..12_u32).prop_map(|(rpm, rph, rpd)| limits(rpm, rph, rpd))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..2_usize, 1..8_u8).prop_map(|(node, count)| Step::Ask(node, count)),
        8 => span().prop_map(Step::Pass),
        1 => span().prop_map(Step::SetBack),
        1 => any_limits().prop_map(Step::Limits),
        1 => Just(Step::Forget),
        1 => (0..2_usize).prop_map(Step::Restart),
    ]
}

/// All that a request can tell its caller.
type Told = (Result<(), String>, [u32; 3], [i64; 3], i64);

fn all_told(tally: &Tally, before: u32) -> Told {
    (
        tally.admit(before).map_err(|full| format!("{full:?}")),
        Window::ALL.map(|window| tally.used(window, before)),
        Window::ALL.map(|window| tally.leaves(window).as_micros()),
        tally.on_the_clock(tally.now).as_micros(),
    )
}

/// One organization, and what the log of one process says of it.
struct Course<'a> {
    f: &'a Fixture,
    org: OrgId,
    /// What waits for one of them is counted apart from what waits for the other, and for the organization itself.
    keys: [KeyHash; 2],
    nodes: Vec<Node>,
    clock: Arc<Hands>,
    time: SteadyTime,
    log: AdmissionLog,
    limits: Limits,
    /// Whether nothing has moved the clock since the last request.
    is_fresh: bool,
}

impl Course<'_> {
    async fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let shown = self.clock.now().as_micros();
        match step {
            Step::Ask(node, count) => return self.ask(node, count).await,
            Step::Pass(span) => self.clock.show(shown + span),
            Step::SetBack(span) => self.clock.show(shown - span),
            Step::Limits(limits) => {
                set_limits(self.f, &self.org, limits).await;
                self.limits = limits;
            }
            Step::Forget if self.is_fresh => {
                let store = &self.nodes[0].store;
                for _ in 0..2 {
                    store.record_usage(usage(Vec::new())).await.unwrap();
                }
            }
            Step::Forget => {}
            Step::Restart(node) => {
                self.nodes[node] = Node::with(self.f, Arc::clone(&self.clock)).await;
            }
        }
        self.is_fresh &= self.clock.now().as_micros() == shown;
        Ok(())
    }

    async fn ask(&mut self, node: usize, count: u8) -> Result<(), TestCaseError> {
        let asks = (0..count).map(|place| {
            let (counter, org) = (Arc::clone(&self.nodes[node].counter), self.org.clone());
            let (key, now) = (self.keys.get(usize::from(place % 3)).cloned(), self.f.now());
            async move {
                let admission = match key {
                    None => counter.admit(&org).await.unwrap().unwrap(),
                    Some(key) => match counter.admit_key(&key, now).await.unwrap() {
                        KeyAdmission::Counted { admission, .. } => *admission,
                        nobody => panic!("{nobody:?}"),
                    },
                };
                all_told(&admission.tally, admission.before)
            }
        });
        let mut found = at_once(asks).await;
        found.sort();
        let shown = self.clock.now();
        let now = self.time.at(shown);
        let one = |_| all_told(&self.log.count(self.limits, 1, now, shown), 0);
        let mut expected: Vec<Told> = (0..count).map(one).collect();
        expected.sort();
        prop_assert_eq!(found, expected);
        self.is_fresh = true;
        Ok(())
    }
}

/// Never one more and never one less, and each is told the same.
#[test]
fn exactly_what_one_process_would_admit_is_admitted() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let f = runtime.block_on(fresh());
    let courses = (any_limits(), prop::collection::vec(step(), 1..60));
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&courses, |(first, steps)| {
        runtime.block_on(async {
            let clock = Arc::new(Hands(AtomicI64::new(START)));
            let org = f.org(0).await.id;
            let mut course = Course {
                keys: [key(&f, &org, |_| {}).await.1, key(&f, &org, |_| {}).await.1],
                org,
                nodes: vec![
                    Node::with(&f, Arc::clone(&clock)).await,
                    Node::with(&f, Arc::clone(&clock)).await,
                ],
                f: &f,
                clock,
                time: SteadyTime::default(),
                log: AdmissionLog::default(),
                limits: first,
                is_fresh: false,
            };
            set_limits(&f, &course.org, first).await;
            for step in steps {
                course.step(step).await?;
            }
            Ok(())
        })
    });
    outcome.unwrap();
    runtime.block_on(check(f));
}
