use crate::fixture::{Fixture, at_once, check, credits, document, fresh};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use vydra_core::idempotency::{Fingerprint, IdempotencyKey, IdempotencyRecord, StoredAnswer};
use vydra_core::ids::OrgId;
use vydra_core::job::Mode;
use vydra_core::time::Timestamp;
use vydra_store::store::{NewIdempotency, NewJob, Recorded, Submission};

const DAY: Duration = Duration::from_hours(24);

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::parse(text).unwrap()
}

fn fingerprint(word: &str) -> Fingerprint {
    Fingerprint::of("POST", "/jobs", &document(&json!({"prompt": word})))
}

/// It holds for a day.
pub(crate) fn keyed(f: &Fixture, org: &OrgId, text: &str) -> NewJob {
    let new = f.new_job(org, 5);
    NewJob {
        idempotency: Some(NewIdempotency {
            key: key(text),
            fingerprint: fingerprint("a fox"),
            expires_at: new.now.plus(DAY),
        }),
        ..new
    }
}

pub(crate) async fn found(
    f: &Fixture,
    org: &OrgId,
    text: &str,
    now: Timestamp,
) -> Option<IdempotencyRecord> {
    let found = f.store.idempotency(org, Mode::Live, &key(text), now).await;
    found.unwrap()
}

async fn tell(f: &Fixture, org: &OrgId, mode: Mode, text: &str, body: &str) -> Recorded {
    let key = key(text);
    let recorded = f.store.record_answer(org, mode, &key, answer(body)).await;
    recorded.unwrap()
}

fn answer(body: &str) -> StoredAnswer {
    StoredAnswer {
        status: 201,
        headers: vec![("location".to_owned(), "https://vydra.test/x".to_owned())],
        body: body.as_bytes().to_vec(),
    }
}

#[tokio::test]
async fn a_key_is_remembered_with_its_job_and_then_its_answer() {
    let f = fresh().await;
    let org = f.org(100).await;
    let new = keyed(&f, &org.id, "a");
    let look = async || found(&f, &org.id, "a", f.now()).await;
    assert_eq!(look().await, None);
    let job = f.accepted(new.clone()).await;
    let record = look().await.unwrap();
    assert_eq!((&record.job_id, &record.answer), (&job.id, &None));
    assert_eq!(record.fingerprint, fingerprint("a fox"));
    assert_eq!(record.expires_at, new.now.plus(DAY));

    let record_answer = async |body| tell(&f, &org.id, Mode::Live, "a", body).await;
    assert_eq!(record_answer("first").await, Recorded::Now);
    let already = Recorded::Already(answer("first"));
    assert_eq!(record_answer("second").await, already);
    assert_eq!(look().await.unwrap().answer, Some(answer("first")));
    let unknown = tell(&f, &org.id, Mode::Test, "a", "x").await;
    assert_eq!(unknown, Recorded::Forgotten);
    check(f).await;
}

#[tokio::test]
async fn a_taken_key_changes_nothing() {
    let f = fresh().await;
    let org = f.org(100).await;
    let first = f.accepted(keyed(&f, &org.id, "a")).await;
    // Even where there would be no credits and no room: what was bought is bought.
    for change in [(5, 100), (1_000, 100), (5, 1)] {
        let mut again = keyed(&f, &org.id, "a");
        (again.price, again.concurrent) = (credits(change.0), change.1);
        let Submission::KeyTaken(taken) = f.store.submit_job(again).await.unwrap() else {
            panic!("bought again: {change:?}")
        };
        assert_eq!(taken.job_id, first.id);
    }
    assert_eq!(f.live_balance(&org.id).await, 95);
    assert_eq!(f.store.audit().await.unwrap().jobs, 1);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_buy_once() {
    let f = fresh().await;
    let org = f.org(1_000).await;
    let submits = (0..100).map(|_| {
        let (store, new) = (Arc::clone(&f.store), keyed(&f, &org.id, "a"));
        async move { store.submit_job(new).await.unwrap() }
    });
    let answers = at_once(submits).await;
    let accepted = answers
        .iter()
        .filter(|answer| matches!(answer, Submission::Accepted { .. }));
    assert_eq!(accepted.count(), 1);
    assert_eq!(f.live_balance(&org.id).await, 995);
    check(f).await;
}

#[tokio::test]
async fn organizations_and_modes_have_keys_of_their_own() {
    let f = fresh().await;
    let org = f.org_of(f.new_org("a", 10, 10)).await;
    let other = f.org(10).await;
    f.accepted(keyed(&f, &org.id, "a")).await;
    f.accepted(keyed(&f, &other.id, "a")).await;
    f.accepted(keyed(&f, &org.id, "A")).await;
    let test = NewJob {
        mode: Mode::Test,
        ..keyed(&f, &org.id, "a")
    };
    f.accepted(test).await;
    check(f).await;
}

#[tokio::test]
async fn a_submit_that_fails_remembers_no_key() {
    let f = fresh().await;
    let org = f.org(10).await;
    let poor = NewJob {
        price: credits(11),
        ..keyed(&f, &org.id, "poor")
    };
    let no_room = NewJob {
        concurrent: 0,
        ..keyed(&f, &org.id, "no-room")
    };
    for refused in [poor, no_room] {
        let refused = f.store.submit_job(refused).await.unwrap();
        assert!(!matches!(refused, Submission::Accepted { .. }));
    }
    let bought = f.accepted(f.new_job(&org.id, 1)).await;
    // The job's row and the key are written before the charge fails.
    let mut broken = keyed(&f, &org.id, "broken");
    broken.key_id = Some(f.key_id());
    let mut twice = keyed(&f, &org.id, "twice");
    twice.id = bought.id;
    for failing in [broken, twice] {
        assert!(f.store.submit_job(failing).await.is_err());
    }
    for text in ["poor", "no-room", "broken", "twice"] {
        assert_eq!(found(&f, &org.id, text, f.now()).await, None, "{text}");
    }
    check(f).await;
}

#[tokio::test]
async fn an_expired_key_is_free_and_is_forgotten_bit_by_bit() {
    let f = fresh().await;
    let org = f.org(100).await;
    let first = keyed(&f, &org.id, "a");
    let ends = first.idempotency.as_ref().unwrap().expires_at;
    f.accepted(first).await;
    for text in ["b", "c", "d"] {
        f.accepted(keyed(&f, &org.id, text)).await;
    }
    let at = async |now| found(&f, &org.id, "a", now).await.is_some();
    let last = ends.minus(Duration::from_micros(1));
    assert!(at(last).await && !at(ends).await);
    assert_eq!(f.store.forget_idempotency(last, 10).await.unwrap(), 0);
    f.advance(DAY + Duration::from_mins(1));
    let again = f.accepted(keyed(&f, &org.id, "a")).await;
    let record = found(&f, &org.id, "a", f.now()).await.unwrap();
    assert_eq!(record.job_id, again.id);
    for expected in [2, 1, 0] {
        let forgotten = f.store.forget_idempotency(f.now(), 2).await.unwrap();
        assert_eq!(forgotten, expected);
    }
    assert!(found(&f, &org.id, "a", f.now()).await.is_some());
    check(f).await;
}
