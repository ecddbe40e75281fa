//! Beside the log of one process, which says what exact means.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::sync::atomic::AtomicI64;
use vydra_core::window::{AdmissionLog, Full, SteadyTime};
use vydra_testkit::redis::Redis;
use vydra_testkit::wire::Wire;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
const START: i64 = 1_800_000_000 * SECOND;
/// As many as a test never brings.
const PLENTY: u32 = 1_000_000;

const fn limits(rpm: u32, rph: u32, rpd: u32) -> Limits {
    Limits {
        rpm,
        rph,
        rpd,
        concurrent: 1,
    }
}

/// The clock of Redis, as a test wants it.
#[derive(Debug)]
struct Hands(AtomicI64);

impl Hands {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(START)))
    }

    fn show(&self, micros: i64) {
        self.0.store(micros, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

fn org(name: &str) -> OrgId {
    OrgId::trusted(name.to_owned())
}

fn at(url: &str) -> RedisWindows {
    RedisWindows::new(url.parse().unwrap()).unwrap()
}

async fn ask(windows: &RedisWindows, limits: Limits) -> Result<[u32; 3], Full> {
    let tally = windows.count(&org("a"), limits).await.unwrap();
    tally.admit(0)?;
    Ok(Window::ALL.map(|window| tally.used(window, 0)))
}

fn full(window: Window, limit: u32, wait_s: u32) -> Result<[u32; 3], Full> {
    Err(Full {
        window,
        limit,
        wait_s,
    })
}

#[tokio::test]
async fn each_window_is_left_to_the_microsecond() {
    let Some(redis) = Redis::shared() else { return };
    let clock = Hands::new();
    let windows = at(&redis.database()).by(clock.clone());
    let plan = limits(3, 5, 6);
    let moment = async |moment| {
        clock.show(START + moment);
        ask(&windows, plan).await
    };
    for early in [7, SECOND / 2, 30 * SECOND] {
        moment(early).await.unwrap();
    }
    assert_eq!(moment(31 * SECOND).await, full(Window::Minute, 3, 30));
    assert_eq!(moment(60 * SECOND + 6).await, full(Window::Minute, 3, 1));
    assert_eq!(moment(60 * SECOND + 7).await, Ok([3, 4, 4]));
    assert_eq!(moment(100 * SECOND).await, Ok([2, 5, 5]));
    assert_eq!(moment(200 * SECOND).await, full(Window::Hour, 5, 3_401));
    assert_eq!(moment(3_600 * SECOND + 7).await, Ok([1, 5, 6]));
    assert_eq!(moment(DAY + 6).await, full(Window::Day, 6, 1));
    assert_eq!(moment(DAY + 7).await, Ok([1, 1, 6]));
}

/// What a process is told that counts alone, and what several are told who share a Redis, is the same.
#[test]
fn what_is_counted_together_is_what_one_process_counts() {
    #[derive(Debug, Clone)]
    enum Step {
        Ask,
        Pass(i64),
        SetBack(i64),
        Plan(Limits),
    }
    let span = || {
        prop_oneof![
            Just(1),
            (1..7_i64).prop_map(|sixth| sixth * 10 * SECOND),
            (1..7_i64).prop_map(|sixth| sixth * 600 * SECOND),
            (1..5_i64).prop_map(|quarter| quarter * 21_600 * SECOND),
            0..10_000 * SECOND,
        ]
    };
    let plan = || (0..6_u32, 0..9_u32, 0..12_u32).prop_map(|(m, h, d)| limits(m, h, d));
    let step = prop_oneof![
        12 => Just(Step::Ask),
        8 => span().prop_map(Step::Pass),
        1 => span().prop_map(Step::SetBack),
        1 => plan().prop_map(Step::Plan),
    ];
    let Some(redis) = Redis::shared() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config::with_cases(150));
    let courses = (plan(), prop::collection::vec(step, 1..80));
    runner
        .run(&courses, |(first, steps)| {
            let (url, clock) = (redis.database(), Hands::new());
            let nodes = [0, 1].map(|_| at(&url).by(clock.clone()));
            let (mut time, mut log) = (SteadyTime::default(), AdmissionLog::default());
            let (mut now, mut plan) = (START, first);
            for (turn, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Pass(span) => now += span,
                    Step::SetBack(span) => now -= span,
                    Step::Plan(other) => plan = other,
                    Step::Ask => {
                        clock.show(now);
                        let shown = Timestamp::from_micros(now);
                        let expected = log.count(plan, 1, time.at(shown), shown);
                        let counted = runtime.block_on(nodes[turn % 2].count(&org("a"), plan));
                        let counted = counted.unwrap();
                        prop_assert_eq!(counted.admit(0), expected.admit(0));
                        prop_assert_eq!(
                            (counted.now, counted.clock),
                            (expected.now, expected.clock)
                        );
                        for window in Window::ALL {
                            prop_assert_eq!(counted.used(window, 0), expected.used(window, 0));
                            prop_assert_eq!(counted.leaves(window), expected.leaves(window));
                        }
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_come_at_once_no_more_than_the_limit_is_admitted_in_the_time_of_redis() {
    let Some(redis) = Redis::shared() else { return };
    let url = redis.database();
    let plan = limits(40, PLENTY, PLENTY);
    let callers = (0..4).flat_map(|_| {
        let windows = Arc::new(at(&url));
        (0..25).map(move |_| Arc::clone(&windows))
    });
    let asked = callers.map(|windows| async move { ask(&windows, plan).await });
    let answers = futures_util::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 40);
    // Another organization has windows of its own.
    let other = at(&url).count(&org("b"), plan).await.unwrap();
    assert_eq!((other.taken, other.used(Window::Minute, 0)), (1, 1));
}

#[tokio::test]
async fn what_is_in_no_window_any_more_is_forgotten() {
    let Some(redis) = Redis::shared() else { return };
    let (url, clock) = (redis.database(), Hands::new());
    let windows = at(&url).by(clock.clone());
    let plan = limits(PLENTY, PLENTY, PLENTY);
    for moment in 0..3 {
        clock.show(START + moment * SECOND);
        ask(&windows, plan).await.unwrap();
    }
    clock.show(START + DAY + SECOND);
    assert_eq!(ask(&windows, plan).await, Ok([1, 1, 2]));
    assert_eq!(redis.ask(&url, &["ZCARD", "vydra:{a}:log"]), "2");
    // Of whoever asks no more Redis forgets all, and not before a day has passed.
    for key in ["vydra:{a}:known", "vydra:{a}:log"] {
        let left: i64 = redis.ask(&url, &["PTTL", key]).parse().unwrap();
        assert!((86_400_000..=86_460_000).contains(&left), "{key}: {left}");
    }
}

/// As a Redis does whose memory is full, and that may evict.
#[tokio::test]
async fn an_organization_of_which_half_was_thrown_away_begins_anew() {
    let Some(redis) = Redis::shared() else { return };
    let url = redis.database();
    let windows = at(&url);
    let plan = limits(2, 2, 2);
    for _ in 0..2 {
        ask(&windows, plan).await.unwrap();
    }
    redis.ask(&url, &["DEL", "vydra:{a}:known"]);
    assert_eq!(ask(&windows, plan).await, Ok([1, 1, 1]));
    assert_eq!(ask(&windows, plan).await, Ok([2, 2, 2]));
    redis.ask(&url, &["DEL", "vydra:{a}:log"]);
    assert_eq!(ask(&windows, plan).await, Ok([1, 1, 1]));
}

#[tokio::test]
async fn one_that_starts_anew_is_found_again_without_an_error() {
    let Some(redis) = Redis::start() else { return };
    let windows = at(&redis.database());
    let plan = limits(2, 2, 2);
    ask(&windows, plan).await.unwrap();
    let redis = redis.restart();
    // It knows neither the connection nor the script any more; nor, as it keeps no files, the windows.
    assert_eq!(ask(&windows, plan).await, Ok([1, 1, 1]));
    drop(redis);
    assert!(windows.count(&org("a"), plan).await.is_err());
    assert!(windows.check_writable().await.is_err());
}

#[tokio::test]
async fn one_that_is_cut_off_without_a_word_is_given_up_in_time_and_found_again() {
    let Some(redis) = Redis::shared() else { return };
    let url = redis.database();
    let wire = Wire::to(redis.port()).await;
    let windows = at(&wire.address(&url));
    let plan = limits(9, 9, 9);
    ask(&windows, plan).await.unwrap();
    wire.cut();
    let refused = windows.count(&org("a"), plan).await.unwrap_err();
    assert!(matches!(refused, WindowsError::Late), "{refused:?}");
    wire.mend();
    // The request that nobody was told of may have been counted, and has not been twice.
    let (first, second) = (ask(&windows, plan).await, ask(&windows, plan).await);
    let used = first.unwrap()[0];
    assert!((2..=3).contains(&used), "{used}");
    assert_eq!(second.unwrap()[0], used + 1);
}

#[tokio::test]
async fn one_that_can_take_no_more_admits_nobody() {
    let Some(redis) = Redis::start_with(&["--maxmemory", "1kb"]) else {
        return;
    };
    let windows = at(&redis.database());
    let refused = windows.count(&org("a"), limits(9, 9, 9)).await.unwrap_err();
    assert!(refused.to_string().contains("cannot be used"), "{refused}");
    assert!(windows.check_writable().await.is_err());
    let report = windows.report().await.unwrap();
    assert_eq!(
        (report.eviction.as_str(), report.most_memory),
        ("noeviction", 1_024)
    );
    assert!(report.version.starts_with("Redis "), "{}", report.version);
    assert!(!report.has_append_only_file && !report.is_replica);
}

#[test]
fn addresses_are_shown_without_their_secrets() {
    let address = |text: &str| text.parse::<RedisAddress>();
    let secret = address("rediss://user:geheim@redis.example:6380/3").unwrap();
    assert_eq!(secret.to_string(), "redis.example:6380/3");
    let windows = RedisWindows::new(secret.clone()).unwrap();
    let shown = format!("{secret:?} {windows:?}");
    assert!(
        !shown.contains("geheim") && !shown.contains("user"),
        "{shown}"
    );
    assert!(secret.is_encrypted() && !secret.is_local());
    for local in [
        "redis://localhost",
        "redis://127.0.0.1:7",
        "redis://[::1]:7",
        "redis+unix:///run/redis.sock",
    ] {
        assert!(address(local).unwrap().is_local(), "{local}");
    }
    assert!(!address("redis://10.0.0.7").unwrap().is_local());
    for wrong in [
        "",
        "geheim",
        "http://redis.example",
        "redis://",
        "rediss://redis.example/#insecure",
        "redis://h/geheim",
    ] {
        let refused = address(wrong).unwrap_err().to_string();
        assert!(!refused.contains("geheim"), "{refused}");
    }
}
