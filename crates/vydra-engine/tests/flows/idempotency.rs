//! Tickets: who handles the request of a key, and what a second handler does.

use crate::fixture::{Flow, object};
use serde_json::json;
use std::sync::Arc;
use vydra_core::idempotency::{Fingerprint, IdempotencyKey, StoredAnswer};
use vydra_engine::{Asked, Begun, Engine, Error, KeyConflict, Preference, Result, Started, Ticket};

fn key() -> IdempotencyKey {
    IdempotencyKey::parse("a").unwrap()
}

fn fingerprint(word: &str) -> Fingerprint {
    Fingerprint::of("POST", "/models/x", &object(json!({"prompt": word})))
}

async fn begin(flow: &Flow, engine: &Engine, word: &str) -> Result<Begun> {
    engine.begin(&flow.caller, key(), fingerprint(word)).await
}

async fn ticket(flow: &Flow, engine: &Engine) -> Ticket {
    match begin(flow, engine, "p").await.unwrap() {
        Begun::Ticket(ticket) => ticket,
        Begun::Replay(answer) => panic!("{answer:?}"),
    }
}

async fn call(flow: &Flow, engine: &Engine, ticket: &Ticket) -> Result<Started> {
    let asked = Asked {
        preference: Preference::RespondAsync,
        ticket: Some(ticket),
        ..Asked::default()
    };
    let input = object(json!({"prompt": "p"}));
    engine
        .generate(&flow.caller, "gemini/generate", input, asked)
        .await
}

fn conflict<T: std::fmt::Debug>(result: Result<T>) -> KeyConflict {
    match result {
        Err(Error::IdempotencyConflict(conflict)) => conflict,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_key_is_free_as_soon_as_its_ticket_is_dropped() {
    let flow = Flow::new().await;
    let held = ticket(&flow, &flow.engine).await;
    let twin = begin(&flow, &flow.engine, "p").await;
    assert_eq!(conflict(twin), KeyConflict::InProgress);
    let other = begin(&flow, &flow.engine, "q").await;
    assert_eq!(conflict(other), KeyConflict::DifferentRequest);
    drop(held);
    ticket(&flow, &flow.engine).await;
}

/// A try whose caller hung up may still be on its way to the store when the next one looks there.
#[tokio::test]
async fn whoever_comes_second_to_the_store_takes_the_job_over() {
    let mut flow = Flow::new().await;
    let slow = Arc::clone(&flow.engine);
    let late = ticket(&flow, &slow).await;
    // A second process on the same database, which knows nothing of the first one's tickets.
    flow.restart().await;
    let first = ticket(&flow, &flow.engine).await;
    let started = call(&flow, &flow.engine, &first).await.unwrap();
    let again = call(&flow, &slow, &late).await.unwrap();
    assert_eq!(again.job.id, started.job.id);
    assert_eq!(again.remaining, started.remaining);
    assert_eq!(flow.credits().await, 995);

    let answer = |body: &str| StoredAnswer {
        status: 202,
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
    };
    let told = flow.engine.record_answer(&first, answer("first"));
    assert_eq!(told.await.unwrap(), None);
    // Its caller is told what the other one was told.
    let told = slow.record_answer(&late, answer("second"));
    assert_eq!(told.await.unwrap(), Some(answer("first")));
    let once_more = call(&flow, &slow, &late).await;
    assert_eq!(conflict(once_more), KeyConflict::InProgress);
}
