//! Answers that chance has made of good and bad ones. Nothing that a server says may make an adapter panic, tell a secret, wait for
//! ever, or take what was sold for something to be bought again.
//!
//! `VYDRA_ANSWERS=100000` takes so many for each adapter, and `VYDRA_ANSWERS_SEED` another course; a failure names the seed that
//! shows it again alone.

use crate::harness::{Harness, context};
use crate::suite;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use vydra_outbound::provider::{Next, Polled, Provider, ProviderError, Request, Submitted};
use vydra_testkit::upstream::{Ending, KEY, Reply, Stub};

const ANSWERS: u64 = 150;
/// After as many a server is opened anew, so that what it has seen does not fill the memory.
const A_SERVER: u64 = 2_000;

fn told(name: &str, otherwise: u64) -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a test runs is said to it as to proptest"
    )]
    let told = std::env::var(name);
    told.map_or(otherwise, |text| text.parse().unwrap())
}

/// Every conversation that the harness knows, from the first call on.
fn conversations(harness: &Harness) -> Vec<(Request, Vec<Reply>)> {
    let file = suite::made(harness, 0);
    let one = |replies: Vec<Reply>| ((harness.request)(), replies);
    let mut all = vec![
        one((harness.works)(std::slice::from_ref(&file))),
        one(vec![(harness.limited)()]),
    ];
    if let Ok(partial) = harness.partial {
        all.push(partial(&[file.clone(), file.clone()]));
    }
    if let Ok(refusals) = harness.refusals {
        all.extend(refusals().into_iter().map(one));
    }
    if let Ok(task) = &harness.task {
        for found in [(task.unknown_word)(), (task.gone)(), (task.done)(&[file])] {
            all.push(one([vec![(task.accepted)()], found].concat()));
        }
    }
    all.extend((harness.empty)().into_iter().map(one));
    all.extend((harness.errors)().into_iter().map(|row| one(row.replies)));
    for (_, replies) in &mut all {
        replies.splice(..0, (harness.before)());
    }
    all
}

const WORDS: [&str; 14] = [
    "",
    "\0",
    "null",
    "COMPLETED",
    "succeeded",
    "..",
    "../../admin",
    "https://files.example/x.png",
    "file:///etc/passwd",
    "data:image/png;base64,AAAA",
    "data:image/png;base64,%%%",
    "-1",
    "\u{202e}\u{feff}ß",
    "9999999999999999999999",
];

fn value(chance: &mut SmallRng, others: &Value) -> Value {
    match chance.random_range(0..10) {
        0 => Value::Null,
        1 => json!(chance.random::<bool>()),
        2 => json!(chance.random::<i64>()),
        3 => json!(f64::MAX),
        4 => json!([]),
        5 => json!({}),
        6 => json!("x".repeat(chance.random_range(0..70_000))),
        7 => (0..chance.random_range(1..120)).fold(json!(1), |inner, _| json!([inner])),
        8 => others.clone(),
        _ => json!(WORDS.choose(chance).unwrap()),
    }
}

fn places(value: &mut Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter_mut().map(places).sum(),
        Value::Object(fields) => fields.values_mut().map(places).sum::<usize>(),
        _ => 0,
    }
}

fn nth(value: &mut Value, place: usize) -> &mut Value {
    if place == 0 {
        return value;
    }
    let mut left = place - 1;
    let inner: Vec<&mut Value> = match value {
        Value::Array(list) => list.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => unreachable!("a place beyond the last"),
    };
    for one in inner {
        let here = places(one);
        if left < here {
            return nth(one, left);
        }
        left -= here;
    }
    unreachable!("a place beyond the last")
}

fn change_json(chance: &mut SmallRng, body: &mut Value) {
    let whole = body.clone();
    let place = chance.random_range(0..places(body));
    let found = nth(body, place);
    match found {
        Value::Object(fields) if !fields.is_empty() && chance.random() => {
            let names: Vec<String> = fields.keys().cloned().collect();
            let name = names.choose(chance).unwrap();
            let taken = fields.remove(name).unwrap();
            if chance.random() {
                fields.insert(WORDS.choose(chance).unwrap().to_string(), taken);
            }
        }
        Value::Array(list) if !list.is_empty() && chance.random() => {
            let at = chance.random_range(0..list.len());
            if chance.random() {
                list.remove(at);
            } else {
                list.insert(at, list[at].clone());
            }
        }
        found => *found = value(chance, &whole),
    }
}

fn change_bytes(chance: &mut SmallRng, body: &mut Vec<u8>) {
    let at = chance.random_range(0..=body.len());
    match chance.random_range(0..3) {
        0 => body.truncate(at),
        1 if at < body.len() => body[at] ^= 1 << chance.random_range(0..8),
        _ => body.insert(at, chance.random()),
    }
}

fn change(chance: &mut SmallRng, reply: &mut Reply) {
    for _ in 0..chance.random_range(1..4) {
        match chance.random_range(0..12) {
            0..6 => match serde_json::from_slice::<Value>(&reply.body) {
                Ok(mut body) => {
                    change_json(chance, &mut body);
                    reply.body = body.to_string().into();
                }
                Err(_) => reply.body = value(chance, &Value::Null).to_string().into(),
            },
            6..8 => {
                let mut body = reply.body.to_vec();
                change_bytes(chance, &mut body);
                reply.body = body.into();
            }
            8 => {
                let statuses = [
                    200, 201, 202, 204, 206, 301, 302, 304, 400, 401, 402, 403, 404, 405, 408, 409,
                    410, 413, 418, 422, 425, 429, 451, 499, 500, 501, 502, 503, 504, 520, 529, 599,
                ];
                reply.status = *statuses.choose(chance).unwrap();
            }
            9 => {
                let types = [
                    "application/json",
                    "text/html",
                    "image/png",
                    "video/mp4",
                    "",
                    ";;",
                ];
                reply.headers[0].1 = (*types.choose(chance).unwrap()).to_owned();
            }
            10 => {
                let names = [
                    "retry-after",
                    "retry-after-ms",
                    "location",
                    "x-request-id",
                    "x-fal-error-type",
                ];
                let values = [
                    "-1",
                    "1e308",
                    "0",
                    "Wed, 21 Oct 2015 07:28:00 GMT",
                    "http://127.0.0.1:9/",
                    "x",
                    "a b",
                ];
                let name = names.choose(chance).unwrap();
                *reply = reply.clone().with(name, values.choose(chance).unwrap());
            }
            _ => {
                let endings = [Ending::Nothing, Ending::InTheHead, Ending::InTheBody];
                reply.ending = *endings.choose(chance).unwrap();
            }
        }
    }
    // Of these there is no body, whatever was said.
    if matches!(reply.status, 204 | 304) {
        reply.body = bytes::Bytes::new();
    }
}

fn check(error: &ProviderError) {
    let shown = format!("{error} {error:?}");
    assert!(shown.len() < 900, "{shown}");
    assert!(!shown.contains(KEY), "{shown}");
    assert!(
        error
            .retry_after
            .is_none_or(|wait| wait <= Duration::from_mins(2)),
        "{shown}"
    );
}

/// Whether something may have been bought by what was answered so: it was not refused, and names no error.
fn may_be_sold(purchase: Option<&Reply>) -> bool {
    purchase.is_some_and(|reply| {
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let is_told = |name: &&str| body.get(name).is_some_and(|value| !value.is_null());
        matches!(reply.ending, Ending::Nothing | Ending::InTheHead)
            || ((200..300).contains(&reply.status)
                && !["error", "detail", "code"].iter().any(is_told))
    })
}

/// `sold` is whether the purchase may have happened, whatever follows, where asking twice buys twice.
async fn talk(provider: &dyn Provider, request: Request, polls: usize, sold: bool) {
    let context = context();
    let task = match provider.submit(&context, request).await {
        Ok(Submitted::Done(outputs)) => return assert!(!outputs.is_empty(), "done, with nothing"),
        Ok(Submitted::Accepted(task)) => task,
        Err(error) => {
            assert!(
                !sold || (error.next() == Next::Fail && !error.lets_another_try()),
                "what may be sold is not bought again: {error}"
            );
            return check(&error);
        }
    };
    assert!(!task.is_empty() && task.len() < 4096, "{task}");
    for _ in 0..polls {
        match provider.poll(&context, &task).await {
            Ok(Polled::Pending { progress }) => assert!(progress.is_none_or(|part| part <= 100)),
            Ok(Polled::Done(outputs)) => return assert!(!outputs.is_empty(), "done, with nothing"),
            Err(error) => check(&error),
        }
    }
    provider.cancel(&task).await;
}

pub(crate) async fn answers_of_chance(harness: &Harness) {
    let (count, first) = (
        told("VYDRA_ANSWERS", ANSWERS),
        told("VYDRA_ANSWERS_SEED", 1),
    );
    let conversations = conversations(harness);
    let next: Arc<Mutex<VecDeque<Reply>>> = Arc::default();
    let answer = || {
        let next = Arc::clone(&next);
        Stub::answering(move |_| {
            let reply = next.lock().unwrap().pop_front();
            reply.unwrap_or_else(|| Reply::json(404, &Value::Null))
        })
    };
    let mut stub = answer().await;
    let mut provider = (harness.provider)(&stub.url);
    for seed in first..first + count {
        if seed % A_SERVER == 0 {
            stub = answer().await;
            provider = (harness.provider)(&stub.url);
        }
        let chance = &mut SmallRng::seed_from_u64(seed);
        let (request, mut replies) = conversations.choose(chance).unwrap().clone();
        let at = chance.random_range(0..replies.len());
        change(chance, &mut replies[at]);
        let (polls, asked) = (replies.len(), (harness.before)().len());
        let sold = at >= asked && !provider.is_repeatable() && may_be_sold(replies.get(asked));
        *next.lock().unwrap() = replies.into();
        let named = SeedOnPanic(seed);
        let bound = Duration::from_mins(1);
        let over = tokio::time::timeout(bound, talk(provider.as_ref(), request, polls, sold)).await;
        assert!(over.is_ok(), "it waits for ever");
        std::mem::forget(named);
    }
}

/// Says which course it was.
struct SeedOnPanic(u64);

impl Drop for SeedOnPanic {
    fn drop(&mut self) {
        println!("again by VYDRA_ANSWERS_SEED={} VYDRA_ANSWERS=1", self.0);
    }
}
