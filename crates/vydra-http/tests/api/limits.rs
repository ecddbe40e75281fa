//! Too many requests, too many jobs, too few credits: what is told, and that nothing happened.

use crate::fixture::{Answer, Api, CREDITS, Call, is_time};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vydra_core::job::Mode;
use vydra_core::plan::LimitOverrides;
use vydra_core::time::{Clock, Timestamp};
use vydra_testkit::Database;

#[tokio::test]
async fn each_answer_tells_how_much_is_left() {
    let api = Api::with("free", |_| {}).await;
    for (used, call) in [
        api.get("organization"),
        api.get("jobs/nonsense"),
        api.post("models/gemini/generate", &json!({})),
        api.post(
            "jobs",
            &json!({"workflow": "generate_image", "input": {"prompt": "p"}}),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = call.send().await;
        assert_eq!(answer.number("x-ratelimit-limit"), 10);
        assert_eq!(
            answer.number("x-ratelimit-remaining"),
            9 - i64::try_from(used).unwrap()
        );
        // The clock of the test does not go on by itself.
        let now = api.clock.now().as_seconds();
        assert_eq!(answer.number("x-ratelimit-reset"), now + 60);
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"minute\";q=10;w=60, \"hour\";q=100;w=3600, \"day\";q=500;w=86400")
        );
        let left = answer.header("ratelimit").unwrap();
        let expected = format!(
            "\"minute\";r={};t=60, \"hour\";r={};t=3600, \"day\";r={};t=86400",
            9 - used,
            99 - used,
            499 - used
        );
        assert_eq!(left, expected);
    }
    // Whoever has no scope is counted and told too.
    let narrow = api.key(&api.org, &["keys:read"], Mode::Live).await;
    let answer = api.get("jobs").key(&narrow).send().await;
    answer.error("INSUFFICIENT_SCOPE");
    assert_eq!(answer.number("x-ratelimit-remaining"), 5);
}

#[tokio::test]
async fn one_request_too_many_in_a_minute() {
    let api = Api::with("free", |_| {}).await;
    let other_key = api.key(&api.org, &["*"], Mode::Live).await;
    for turn in 0..10 {
        // Over all keys of the organization.
        let key = if turn % 2 == 0 { &api.key } else { &other_key };
        api.get("organization").key(key).send().await.ok(200);
    }
    api.clock.advance(Duration::from_secs(20));
    for _ in 0..3 {
        let answer = api
            .post("models/gemini/generate", &json!({"prompt": "p"}))
            .send()
            .await;
        assert_eq!(answer.status, 429);
        let body = answer.error("RATE_LIMIT_EXCEEDED");
        assert_eq!(body["error"], "Rate limit exceeded");
        assert_eq!(
            body["limits"],
            json!({"type": "minute", "limit": 10, "used": 11})
        );
        let seconds = body["retryAfter"].as_i64().unwrap();
        assert_eq!(seconds, 40);
        assert_eq!(answer.number("retry-after"), seconds);
        assert_eq!(answer.number("x-ratelimit-limit"), 10);
        assert_eq!(answer.number("x-ratelimit-remaining"), 0);
    }
    assert_eq!(api.credits().await, CREDITS);
    let stranger = api.org_on("free", "stranger", 0).await;
    let strangers = api.key(&stranger, &["*"], Mode::Live).await;
    api.get("organization").key(&strangers).send().await.ok(200);
    api.get("health").send().await.ok(200);
    // Whoever waits as long as was told is served.
    api.clock
        .advance(Duration::from_secs(40) - Duration::from_micros(1));
    api.get("organization")
        .send()
        .await
        .error("RATE_LIMIT_EXCEEDED");
    api.clock.advance(Duration::from_micros(1));
    api.get("organization").send().await.ok(200);
}

#[tokio::test]
async fn the_longer_windows_hold_too() {
    let api = Api::with("free", |_| {}).await;
    for _ in 0..100 {
        api.get("organization").send().await.ok(200);
        api.clock.advance(Duration::from_secs(7));
    }
    let body = api
        .get("organization")
        .send()
        .await
        .error("RATE_LIMIT_EXCEEDED");
    assert_eq!(
        body["limits"],
        json!({"type": "hour", "limit": 100, "used": 101})
    );
}

#[tokio::test]
async fn a_job_too_many_at_once() {
    let api = Api::with("free", |_| {}).await;
    api.pending().await;
    api.pending().await;
    let veo = api.post("models/veo3", &json!({"prompt": "p"}));
    let body = json!({"workflow": "generate_image", "input": {"prompt": "p"}});
    for call in [veo.clone(), api.post("jobs", &body)] {
        let answer = call.send().await;
        assert_eq!(answer.status, 429);
        let body = answer.error("RATE_LIMIT_EXCEEDED");
        assert_eq!(
            body["limits"],
            json!({"type": "concurrent", "limit": 2, "used": 3})
        );
        assert!(body["retryAfter"].as_i64().unwrap() >= 1);
    }
    assert_eq!(api.credits().await, CREDITS - 10);
    let list = api.get("jobs").send().await.ok(200);
    assert_eq!(list["pagination"]["count"], 2);
    api.step().await;
    veo.send().await.ok(202);
}

#[tokio::test]
async fn too_few_credits_change_nothing() {
    let api = Api::new().await;
    let poor = api.org("poor", 4).await;
    let key = api.key(&poor, &["*"], Mode::Live).await;
    let workflow = json!({"workflow": "generate_image", "input": {"prompt": "p"}});
    for call in [
        api.post("models/gemini/generate", &json!({"prompt": "p"})),
        api.post("jobs", &workflow),
    ] {
        let answer = call.key(&key).send().await;
        assert_eq!(answer.status, 402);
        let mut body = answer.error("INSUFFICIENT_CREDITS");
        body.as_object_mut().unwrap().remove("requestId");
        assert_eq!(
            body,
            json!({
                "error": "Insufficient credits", "code": "INSUFFICIENT_CREDITS",
                "creditsRequired": 5, "creditsRemaining": 4,
            })
        );
    }
    assert_eq!(api.balance(&poor, Mode::Live).await, 4);
    let list = api.get("jobs").key(&key).send().await.ok(200);
    assert_eq!(list["pagination"]["count"], 0);
    assert!(api.provider.submitted().is_empty());
}

// --- What was used ---

/// How many requests count in the minute, the hour and the day, this one included.
async fn used(api: &Api) -> [i64; 3] {
    let body = api.get("account/rate-limits").send().await.ok(200);
    ["minute", "hour", "day"].map(|window| body["usage"][window]["used"].as_i64().unwrap())
}

#[tokio::test]
async fn what_is_used_is_shown() {
    let api = Api::with("starter", |_| {}).await;
    api.get("organization").send().await.ok(200);
    api.clock.advance(Duration::from_mins(1));
    api.pending().await;
    let mut body = api.get("account/rate-limits").send().await.ok(200);
    let shown = body.as_object_mut().unwrap().remove("timestamp").unwrap();
    assert!(is_time(&shown), "{shown}");
    assert_eq!(
        body,
        json!({
            "plan": "starter",
            "limits": {"rpm": 30, "rph": 500, "rpd": 5_000, "concurrent": 5},
            "usage": {
                "minute": {"used": 2, "limit": 30},
                "hour": {"used": 3, "limit": 500},
                "day": {"used": 3, "limit": 5_000},
                "concurrent": {"used": 1, "limit": 5},
            },
        })
    );
    api.step().await;
    let body = api.get("account/rate-limits").send().await.ok(200);
    assert_eq!(body["usage"]["concurrent"]["used"], 0);
}

#[tokio::test]
async fn the_reset_is_when_the_oldest_leaves() {
    let api = Api::with("free", |_| {}).await;
    let start = api.clock.now().as_seconds();
    api.get("organization").send().await.ok(200);
    api.clock.advance(Duration::from_millis(10_300));
    let answer = api.get("organization").send().await;
    assert_eq!(answer.number("x-ratelimit-reset"), start + 60);
    assert_eq!(
        answer.header("ratelimit"),
        Some("\"minute\";r=8;t=50, \"hour\";r=98;t=3590, \"day\";r=498;t=86390")
    );
    // The first has left: now the second is the oldest, and its fraction of a second is rounded up.
    api.clock.advance(Duration::from_secs(50));
    let answer = api.get("organization").send().await;
    assert_eq!(answer.number("x-ratelimit-remaining"), 8);
    assert_eq!(answer.number("x-ratelimit-reset"), start + 71);
}

#[tokio::test]
async fn a_change_of_plan_erases_no_usage() {
    let mut api = Api::with("starter", |_| {}).await;
    for _ in 0..12 {
        api.get("organization").send().await.ok(200);
    }
    let none = LimitOverrides::default();
    let plan = async |api: &Api, name| {
        let changed = api.engine.set_plan(&api.org.id, name, none).await;
        changed.unwrap();
    };
    // Smaller than what is used: the refusal speaks of one request more than the limit.
    plan(&api, "free").await;
    for _ in 0..2 {
        let refused = api.get("account/rate-limits").send().await;
        assert_eq!(
            refused.error("RATE_LIMIT_EXCEEDED")["limits"],
            json!({"type": "minute", "limit": 10, "used": 11})
        );
        assert_eq!(refused.number("x-ratelimit-remaining"), 0);
        // Also for another process.
        api.restart().await;
    }
    plan(&api, "creator").await;
    assert_eq!(used(&api).await, [13, 13, 13]);
    api.clock.advance(Duration::from_mins(1));
    plan(&api, "free").await;
    assert_eq!(used(&api).await, [1, 14, 14]);
}

#[tokio::test]
async fn a_restart_forgets_no_request() {
    let mut api = Api::with("free", |_| {}).await;
    let second = api.key(&api.org, &["*"], Mode::Live).await;
    for _ in 0..4 {
        api.get("organization").send().await.ok(200);
        api.clock.advance(Duration::from_secs(10));
    }
    api.restart().await;
    for _ in 0..5 {
        api.get("organization").key(&second).send().await.ok(200);
    }
    api.restart().await;
    assert_eq!(used(&api).await, [10, 10, 10]);
    let refused = api.get("organization").send().await;
    assert_eq!(refused.error("RATE_LIMIT_EXCEEDED")["retryAfter"], 20);
    // Nothing was counted twice, and a refusal not at all: to the microsecond when the first leaves.
    api.clock
        .advance(Duration::from_secs(20) - Duration::from_micros(1));
    api.restart().await;
    api.get("organization")
        .send()
        .await
        .error("RATE_LIMIT_EXCEEDED");
    api.clock.advance(Duration::from_micros(1));
    assert_eq!(used(&api).await, [10, 11, 11]);
    api.clock.advance(Duration::from_hours(24));
    api.restart().await;
    assert_eq!(used(&api).await, [1, 1, 1]);
}

#[tokio::test]
async fn a_crash_forgets_only_what_was_not_yet_written() {
    let mut api = Api::with("free", |_| {}).await;
    for _ in 0..3 {
        api.get("organization").send().await.ok(200);
    }
    api.engine.flush_usage().await.unwrap();
    for _ in 0..2 {
        api.get("organization").send().await.ok(200);
    }
    api.crash().await;
    // Where several servers count, each request is written down at once.
    let forgotten = match (api.database(), &api.setup.redis) {
        (Database::Sqlite(_), None) => 2,
        (Database::Postgres(_), None) | (_, Some(_)) => 0,
    };
    assert_eq!(used(&api).await, [6 - forgotten; 3]);
}

/// As the server does it: nobody asks for a flush.
#[tokio::test]
async fn what_is_admitted_is_written_behind_the_request() {
    let api = Api::with("free", |_| {}).await;
    let stop = CancellationToken::new();
    let mut keeping = JoinSet::new();
    let (engine, stopped) = (Arc::clone(&api.engine), stop.clone());
    keeping.spawn(async move { engine.keep_usage(stopped).await });
    api.get("organization").send().await.ok(200);
    let since = Timestamp::from_micros(0);
    if api.setup.redis.is_some() {
        // Only what the store counts is its business.
        api.engine.flush_usage().await.unwrap();
        assert_eq!(api.store.admissions(since).await.unwrap(), []);
        return;
    }
    let written = async || api.store.admissions(since).await.unwrap().len();
    let seen = async {
        while written().await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), seen)
        .await
        .unwrap();
    stop.cancel();
    keeping.join_all().await;
    // What is left at the stop too.
    api.get("organization").send().await.ok(200);
    api.engine.keep_usage(stop).await;
    let moments: usize = api
        .store
        .admissions(since)
        .await
        .unwrap()
        .iter()
        .map(|(_, moments)| moments.len())
        .sum();
    assert_eq!(moments, 2);
}

#[tokio::test]
async fn a_key_tells_how_often_it_was_used_and_when() {
    let api = Api::with("free", |_| {}).await;
    // Keys are listed in the order of their milliseconds.
    api.clock.advance(Duration::from_millis(1));
    let busy = api.key(&api.org, &["*"], Mode::Live).await;
    for _ in 0..11 {
        api.get("organization").key(&busy).send().await;
        api.clock.advance(Duration::from_secs(1));
    }
    api.engine.flush_usage().await.unwrap();
    let keys = api.engine.keys(&api.org.id).await.unwrap();
    let [quiet, busy] = keys.as_slice() else {
        panic!("{keys:?}")
    };
    assert_eq!((quiet.request_count, quiet.last_used_at), (0, None));
    // The eleventh was refused.
    assert_eq!(busy.request_count, 10);
    let now = api.clock.now();
    let last = busy.last_used_at.unwrap();
    assert_eq!(now.since(last), Duration::from_secs(2));
    api.clock.advance(Duration::from_mins(1));
    api.get("organization").send().await.ok(200);
    api.engine.flush_usage().await.unwrap();
    let keys = api.engine.keys(&api.org.id).await.unwrap();
    assert_eq!((keys[0].request_count, keys[1].request_count), (1, 10));
}

// --- Storms ---

async fn at_once(calls: impl Iterator<Item = Call>) -> Vec<Answer> {
    calls
        .map(Call::send)
        .collect::<JoinSet<_>>()
        .join_all()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_storms_admit_exactly_the_limit() {
    let api = Api::with("creator", |_| {}).await;
    let second = api.key(&api.org, &["*"], Mode::Live).await;
    let storm = |key: &str| vec![api.get("organization").key(key); 1_000];
    let calls = storm(&api.key).into_iter().chain(storm(&second));
    let answers = at_once(calls).await;
    let admitted = answers.iter().filter(|answer| answer.status == 200);
    assert_eq!(admitted.count(), 60);
    let mut left: Vec<i64> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .map(|answer| answer.number("x-ratelimit-remaining"))
        .collect();
    left.sort_unstable();
    assert_eq!(
        left,
        (0..60).collect::<Vec<_>>(),
        "each has a place of its own"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_jobs_takes_exactly_the_places_that_there_are() {
    let api = Api::idle().await;
    let overrides = LimitOverrides {
        concurrent: Some(5),
        ..Default::default()
    };
    let changed = api
        .engine
        .set_plan(&api.org.id, "enterprise", overrides)
        .await;
    changed.unwrap();
    let body = json!({"workflow": "generate_image", "input": {"prompt": "p"}});
    let answers = at_once((0..1_000).map(|_| api.post("jobs", &body))).await;
    let taken = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(taken, 5);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!(
            answer.error("RATE_LIMIT_EXCEEDED")["limits"],
            json!({"type": "concurrent", "limit": 5, "used": 6})
        );
    }
    assert_eq!(api.credits().await, CREDITS - 25);
}

#[tokio::test]
async fn jobs_of_the_sandbox_do_not_stand_in_the_way_of_those_that_are_paid_for() {
    let api = Api::with("free", |_| {}).await;
    let test = api.key(&api.org, &["*"], Mode::Test).await;
    let veo = api.post("models/veo3", &json!({"prompt": "p"}));
    for _ in 0..2 {
        veo.clone().key(&test).send().await.ok(202);
    }
    let third = veo.clone().key(&test).send().await;
    third.error("RATE_LIMIT_EXCEEDED");
    veo.send().await.ok(202);
}

#[tokio::test]
async fn no_file_is_fetched_for_a_job_that_has_no_room() {
    let api = Api::with("free", |_| {}).await;
    api.pending().await;
    api.pending().await;
    let edit = json!({"prompt": "p", "imageUrl": "https://example.com/house.png"});
    let answer = api.post("models/gemini/edit", &edit).send().await;
    assert_eq!(
        answer.error("RATE_LIMIT_EXCEEDED")["limits"]["type"],
        "concurrent"
    );
}
