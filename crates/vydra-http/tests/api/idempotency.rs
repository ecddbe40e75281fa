//! `Idempotency-Key`: the same request is carried out once and answered the same way again, whatever happens between.

use crate::fixture::{Answer, Api, CREDITS, Call};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::JoinSet;
use vydra_core::credits::Credits;
use vydra_core::job::Mode;
use vydra_testkit::{Accepted, ErrorKind, Reply, refused};

const DAY: Duration = Duration::from_hours(24);
const KEPT: [&str; 7] = [
    "content-type",
    "location",
    "x-credits-charged",
    "x-credits-remaining",
    "retry-after",
    "cache-control",
    "x-request-id",
];

fn prompt() -> Value {
    json!({"prompt": "p"})
}

fn image(api: &Api, key: &str) -> Call {
    let call = api.post("models/gemini/generate", &prompt());
    call.header("idempotency-key", key)
}

fn later(call: Call) -> Call {
    call.header("prefer", "respond-async")
}

fn is_replay(answer: &Answer) -> bool {
    match answer.header("idempotent-replayed") {
        None => false,
        Some(word) => {
            assert_eq!(word, "true");
            true
        }
    }
}

#[track_caller]
fn assert_same(first: &Answer, again: &Answer) {
    assert!(!is_replay(first) && is_replay(again));
    assert_eq!((first.status, &first.bytes), (again.status, &again.bytes));
    for name in KEPT {
        assert_eq!(first.header(name), again.header(name), "{name}");
    }
    // About the request at hand, not about the first one.
    let left = |answer: &Answer| answer.number("x-ratelimit-remaining");
    assert!(left(again) < left(first));
}

async fn jobs(api: &Api) -> i64 {
    let list = api.get("jobs").send().await.ok(200);
    list["pagination"]["count"].as_i64().unwrap()
}

/// Until somebody has bought something: a store without a job cannot lose one.
async fn bought(api: &Api) {
    while api.credits().await == CREDITS {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_keys_with_32_tries_each_buy_a_hundred_jobs() {
    let api = Api::idle().await;
    let mut tries = JoinSet::new();
    for attempt in 0..32 {
        for key in 0..100 {
            let call = later(image(&api, &format!("key-{key}")));
            tries.spawn(async move { (key, attempt, call.send().await) });
        }
    }
    let mut seen = vec![BTreeSet::new(); 100];
    let mut conflicts = 0;
    for (key, attempt, answer) in tries.join_all().await {
        if answer.status == 409 {
            let body = answer.error("IDEMPOTENCY_CONFLICT");
            assert_eq!(body["details"]["reason"], "in_progress", "{attempt}");
            conflicts += 1;
        } else {
            answer.ok(202);
            seen[key].insert(answer.bytes);
        }
    }
    assert!(seen.iter().all(|bodies| bodies.len() == 1));
    let different: BTreeSet<_> = seen.iter().flatten().collect();
    assert_eq!(different.len(), 100, "after {conflicts} conflicts");
    assert_eq!(api.credits().await, CREDITS - 100 * 5);
    let audit = api.store.audit().await.unwrap();
    assert_eq!(audit.jobs, 100);
    // Two opening balances and a charge for each key.
    assert_eq!(audit.entries, 102);
}

#[tokio::test]
async fn every_kind_of_answer_is_given_again_byte_for_byte() {
    let api = Api::new().await;
    let workflow = json!({"workflow": "generate_image", "input": prompt()});
    let calls = [
        (200, image(&api, "sync")),
        (202, later(image(&api, "async"))),
        (
            201,
            api.post("jobs", &workflow).header("idempotency-key", "job"),
        ),
        (500, image(&api, "failure")),
    ];
    for (status, call) in calls {
        let before = api.credits().await;
        if status == 500 {
            let error = refused(ErrorKind::ContentRefused, Accepted::No);
            // Whatever the calls before it have started must not get this reply.
            while jobs_open(&api).await > 0 {
                tokio::task::yield_now().await;
            }
            api.provider.next(Reply::Error(error));
        }
        let first = call.clone().send().await;
        first.ok(status);
        let (after, made) = (api.credits().await, jobs(&api).await);
        assert_eq!(after, if status == 500 { before } else { before - 5 });
        for _ in 0..2 {
            assert_same(&first, &call.clone().send().await);
        }
        assert_eq!(
            first.header("location").is_some(),
            status < 300 && status != 200
        );
        assert_eq!((api.credits().await, jobs(&api).await), (after, made));
    }
    let failed = image(&api, "failure")
        .send()
        .await
        .error("GENERATION_FAILED");
    let refund = json!({"applied": true, "creditsRefunded": 5});
    assert_eq!(failed["refund"], refund);
}

async fn jobs_open(api: &Api) -> i64 {
    let mut open = 0;
    for status in ["pending", "running"] {
        let list = api.get(&format!("jobs?status={status}")).send().await;
        open += list.ok(200)["pagination"]["count"].as_i64().unwrap();
    }
    open
}

#[tokio::test]
async fn only_the_meaning_of_a_request_counts() {
    let api = Api::idle().await;
    let send = async |body: &str| {
        let call = later(image(&api, "same")).body(body.to_owned());
        call.send().await
    };
    let first = send(r#"{"prompt": "p", "aspectRatio": "16:9"}"#).await;
    let again = send("{\"aspectRatio\":\"16:9\",\n \"prompt\":\"\\u0070\"}").await;
    assert_same(&first, &again);
    let waits = image(&api, "same").body(r#"{"prompt":"p","aspectRatio":"16:9"}"#);
    let waits = waits
        .header("prefer", "wait=1")
        .header("x-request-id", "mine");
    assert_same(&first, &waits.send().await);
}

#[tokio::test]
async fn another_request_under_the_same_key_is_a_conflict() {
    let api = Api::idle().await;
    let first = later(image(&api, "one")).send().await;
    first.ok(202);
    for other in [
        api.post("models/gemini/generate", &json!({"prompt": "q"})),
        api.post(
            "models/gemini/generate",
            &json!({"prompt": "p", "maxCredits": 5}),
        ),
        api.post("models/veo3", &prompt()),
        api.post(
            "jobs",
            &json!({"workflow": "generate_image", "input": prompt()}),
        ),
    ] {
        let answer = later(other).header("idempotency-key", "one").send().await;
        let body = answer.error("IDEMPOTENCY_CONFLICT");
        assert_eq!(body["details"], json!({"reason": "different_request"}));
        assert_eq!(answer.header("retry-after"), None);
    }
    assert_eq!(api.credits().await, CREDITS - 5);
    assert_same(&first, &later(image(&api, "one")).send().await);
}

#[tokio::test]
async fn a_twin_of_a_request_that_still_runs_is_told_to_wait() {
    let api = Api::new().await;
    let gate = api.provider.hold_next();
    let (first, ()) = tokio::join!(image(&api, "twin").send(), async {
        gate.reached().await;
        let twin = image(&api, "twin").send().await;
        let body = twin.error("IDEMPOTENCY_CONFLICT");
        assert_eq!(body["details"], json!({"reason": "in_progress"}));
        assert!((1..=5).contains(&twin.number("retry-after")));
        assert!(body["error"].as_str().unwrap().contains("still running"));
        let other = api.post("models/veo3", &prompt());
        let other = other.header("idempotency-key", "twin").send().await;
        let body = other.error("IDEMPOTENCY_CONFLICT");
        assert_eq!(body["details"], json!({"reason": "different_request"}));
        assert_eq!(other.header("retry-after"), None);
        gate.open();
    });
    first.ok(200);
    assert_same(&first, &image(&api, "twin").send().await);
    assert_eq!(api.credits().await, CREDITS - 5);
}

#[tokio::test]
async fn what_was_refused_before_any_effect_is_not_remembered() {
    let api = Api::with("free", |_| {}).await;
    let poor = api.org("poor", 4).await;
    let poor_key = api.key(&poor, &["*"], Mode::Live).await;
    let reader = api.key(&poor, &["models:read"], Mode::Live).await;
    let test = api.key(&poor, &["*"], Mode::Test).await;
    let call = |key: &str| later(image(&api, "k")).key(key);

    call(&poor_key)
        .body("{}")
        .send()
        .await
        .error("INVALID_INPUT");
    call(&poor_key)
        .body("{")
        .send()
        .await
        .error("INVALID_INPUT");
    call(&reader).send().await.error("INSUFFICIENT_SCOPE");
    call(&format!("{poor_key}x"))
        .send()
        .await
        .error("INVALID_FORMAT");
    let capped = call(&poor_key).header("x-max-credits", "3").send().await;
    capped.error("INSUFFICIENT_CREDITS");
    let unknown = api.post("models/none", &prompt()).key(&poor_key);
    let unknown = unknown.header("idempotency-key", "k").send().await;
    unknown.error("MODEL_NOT_FOUND");
    call(&poor_key).send().await.error("INSUFFICIENT_CREDITS");
    let one = Credits::new(1).unwrap();
    api.engine
        .grant(&poor.id, Mode::Live, one, "for the test")
        .await
        .unwrap();
    let bought = call(&poor_key).send().await;
    bought.ok(202);
    assert!(!is_replay(&bought));

    for code in ["UNAVAILABLE", "INTERNAL_ERROR", "RATE_LIMIT_EXCEEDED"] {
        let simulated = call(&test).header("x-vydra-simulate", code);
        simulated.send().await.error(code);
    }
    assert!(!is_replay(&call(&test).send().await));

    // Two places are taken: the third waits until one is free.
    for key in ["1", "2"] {
        later(image(&api, key)).send().await.ok(202);
    }
    let refused = later(image(&api, "3")).send().await;
    refused.error("RATE_LIMIT_EXCEEDED");
    api.step().await;
    let bought = later(image(&api, "3")).send().await;
    bought.ok(202);
    assert!(!is_replay(&bought));
}

#[tokio::test]
async fn a_key_is_free_again_after_24_hours() {
    let api = Api::idle().await;
    let first = later(image(&api, "old")).send().await;
    first.ok(202);
    let last = Duration::from_micros(1);
    api.clock.advance(DAY.checked_sub(last).unwrap());
    let again = later(image(&api, "old")).send().await;
    assert!(is_replay(&again));
    assert_eq!(again.bytes, first.bytes);
    api.clock.advance(last);
    let other = api.post("models/veo3", &prompt());
    let other = later(other).header("idempotency-key", "old").send().await;
    other.ok(202);
    assert!(!is_replay(&other));
    assert_eq!(api.credits().await, CREDITS - 5 - 175);
}

#[tokio::test]
async fn expired_keys_are_swept_away() {
    let api = Api::idle().await;
    later(image(&api, "old")).send().await.ok(202);
    api.clock.advance(DAY);
    api.step().await;
    let left = api.store.forget_idempotency(far(), 10).await.unwrap();
    assert_eq!(left, 0);
    later(image(&api, "new")).send().await.ok(202);
    api.clock.advance(Duration::from_mins(2));
    api.step().await;
    let left = api.store.forget_idempotency(far(), 10).await.unwrap();
    assert_eq!(left, 1, "it has not expired");
}

fn far() -> vydra_core::time::Timestamp {
    vydra_core::time::Timestamp::parse("2100-01-01").unwrap()
}

#[tokio::test]
async fn a_caller_that_hung_up_takes_its_job_over() {
    let api = Api::new().await;
    let gate = api.provider.hold_next();
    tokio::select! {
        biased;
        () = gate.reached() => {}
        _ = image(&api, "gone").send() => panic!("nothing was made yet"),
    }
    // Two more tries: the one that comes first waits as the lost one did, and the other is told so.
    let attempt = async || {
        let answer = image(&api, "gone").send().await;
        if answer.status == 409 {
            gate.open();
        }
        answer
    };
    let (one, other) = tokio::join!(attempt(), attempt());
    let (answer, twin) = if one.status == 409 {
        (other, one)
    } else {
        (one, other)
    };
    twin.error("IDEMPOTENCY_CONFLICT");
    let body = answer.ok(200);
    assert_eq!(body["status"], "completed");
    assert_eq!(answer.number("x-credits-charged"), 5);
    assert_eq!(answer.number("x-credits-remaining"), CREDITS - 5);
    assert_same(&answer, &image(&api, "gone").send().await);
    assert_eq!((api.credits().await, jobs(&api).await), (CREDITS - 5, 1));
    assert_eq!(api.provider.submitted().len(), 1);
}

#[tokio::test]
async fn a_crash_between_charge_and_answer_is_mended_by_the_next_try() {
    let mut api = Api::idle().await;
    tokio::select! {
        biased;
        _ = image(&api, "crash").send() => panic!("nobody works"),
        () = bought(&api) => {}
    }
    api.restart().await;
    api.work();
    let answer = image(&api, "crash").send().await;
    assert_eq!(answer.ok(200)["status"], "completed");
    assert_same(&answer, &image(&api, "crash").send().await);
    assert_eq!((api.credits().await, jobs(&api).await), (CREDITS - 5, 1));

    // What was answered survives a crash too.
    api.restart().await;
    assert_eq!(image(&api, "crash").send().await.bytes, answer.bytes);
    let other = api.post("models/veo3", &prompt());
    let other = other.header("idempotency-key", "crash").send().await;
    other.error("IDEMPOTENCY_CONFLICT");
}

#[tokio::test]
async fn a_job_that_failed_meanwhile_is_answered_with_its_failure() {
    let mut api = Api::idle().await;
    tokio::select! {
        biased;
        _ = image(&api, "failed").send() => panic!("nobody works"),
        () = bought(&api) => {}
    }
    api.restart().await;
    let error = refused(ErrorKind::ContentRefused, Accepted::No);
    api.provider.next(Reply::Error(error));
    api.step().await;
    let answer = later(image(&api, "failed")).send().await;
    let body = answer.error("GENERATION_FAILED");
    assert_eq!(body["refund"]["creditsRefunded"], 5);
    assert_same(&answer, &image(&api, "failed").send().await);
    assert_eq!((api.credits().await, jobs(&api).await), (CREDITS, 1));
}

#[tokio::test]
async fn a_take_over_obeys_the_wish_of_its_own_try() {
    let mut api = Api::idle().await;
    let workflow = json!({"workflow": "generate_image", "input": prompt()});
    tokio::select! {
        biased;
        _ = image(&api, "wish").send() => panic!("nobody works"),
        () = bought(&api) => {}
    }
    api.restart().await;
    let answer = later(image(&api, "wish")).send().await;
    assert_eq!(answer.ok(202)["status"], "pending");
    assert_same(&answer, &image(&api, "wish").send().await);
    let job = api
        .post("jobs", &workflow)
        .header("idempotency-key", "wish");
    job.send().await.error("IDEMPOTENCY_CONFLICT");
}

#[tokio::test]
async fn organizations_and_the_sandbox_have_keys_of_their_own() {
    let api = Api::idle().await;
    let other = api.org("other", 100).await;
    let keys = [
        api.key.clone(),
        api.key(&other, &["*"], Mode::Live).await,
        api.key(&api.org, &["*"], Mode::Test).await,
    ];
    let mut ids = BTreeSet::new();
    for key in &keys {
        let answer = later(image(&api, "shared")).key(key).send().await;
        assert!(!is_replay(&answer));
        ids.insert(answer.ok(202)["jobId"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 3);
    // Another key of the same organization is the same caller.
    let second = api.key(&api.org, &["models:write"], Mode::Live).await;
    let again = later(image(&api, "shared")).key(&second).send().await;
    assert!(is_replay(&again));
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let api = Api::idle().await;
    let long = "x".repeat(256);
    for wrong in ["", "a b", "\t", "\u{e4}", long.as_str()] {
        let call = image(&api, "x").raw_header("idempotency-key", wrong.as_bytes());
        let body = call.send().await.error("INVALID_INPUT");
        assert_eq!(body["details"]["fields"][0]["field"], "Idempotency-Key");
    }
    let twice = image(&api, "a").another_header("idempotency-key", "b");
    twice.send().await.error("INVALID_INPUT");
    assert_eq!(jobs(&api).await, 0);
    let same = later(image(&api, "a")).another_header("idempotency-key", "a");
    same.send().await.ok(202);
    later(image(&api, &long[1..])).send().await.ok(202);
    // Nobody else has to mind it.
    api.get("jobs")
        .header("idempotency-key", "")
        .send()
        .await
        .ok(200);
}
