use crate::fixture::{Fixture, check, fresh};
use std::time::Duration;
use vydra_core::ids::{KeyId, OrgId};
use vydra_core::job::Mode;
use vydra_core::time::Timestamp;
use vydra_store::store::{KeyUse, Usage};

pub(crate) const NEVER: Timestamp = Timestamp::from_micros(0);

pub(crate) fn moments(micros: impl IntoIterator<Item = i64>) -> Vec<Timestamp> {
    micros.into_iter().map(Timestamp::from_micros).collect()
}

pub(crate) fn usage(admissions: Vec<(OrgId, Vec<Timestamp>)>) -> Usage {
    Usage {
        admissions,
        keys: Vec::new(),
        forget: NEVER,
    }
}

fn used(key: &KeyId, requests: u64, last_used_at: Timestamp) -> Usage {
    Usage {
        keys: vec![KeyUse {
            key: key.clone(),
            requests,
            last_used_at,
        }],
        ..usage(Vec::new())
    }
}

async fn remembered(f: &Fixture, since: i64) -> Vec<(OrgId, Vec<Timestamp>)> {
    let since = Timestamp::from_micros(since);
    f.store.admissions(since).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn admissions_come_back_as_they_were() {
    let f = fresh().await;
    let (one, two) = (f.org(0).await.id, f.org(0).await.id);
    let first = vec![
        (one.clone(), moments([10, 10, 11, 5_000_000_000])),
        (two.clone(), moments([12])),
    ];
    f.store.record_usage(usage(first)).await.unwrap();
    let many = moments((0..10_000).map(|n| 6_000_000_000 + n * n));
    let second = vec![(one.clone(), many.clone()), (two.clone(), Vec::new())];
    f.store.record_usage(usage(second)).await.unwrap();
    let all = remembered(&f, 0).await;
    let expected = vec![
        (two.clone(), moments([12])),
        (one.clone(), moments([10, 10, 11, 5_000_000_000])),
        (one.clone(), many.clone()),
    ];
    assert_eq!(all, expected);
    // Whatever has a moment later than that, in whole.
    assert_eq!(remembered(&f, 12).await, expected[1..]);
    assert_eq!(remembered(&f, 5_000_000_000).await, expected[2..]);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_is_forgotten_bit_by_bit() {
    let f = fresh().await;
    let org = f.org(0).await.id;
    let old = (1..=2_500).map(|n| (org.clone(), moments([n]))).collect();
    f.store.record_usage(usage(old)).await.unwrap();
    let mut left = Vec::new();
    for _ in 0..3 {
        let forget = Timestamp::from_micros(2_400);
        let nothing = Usage {
            forget,
            ..usage(Vec::new())
        };
        f.store.record_usage(nothing).await.unwrap();
        left.push(remembered(&f, 0).await.len());
    }
    assert_eq!(left, [1_500, 500, 100]);
    assert_eq!(remembered(&f, 0).await[0].1, moments([2_401]));
    // It is always more than comes in.
    let storm = (0..2_000).map(|n| (org.clone(), moments([3_000 + n])));
    let busy = Usage {
        forget: Timestamp::from_micros(2_500),
        ..usage(storm.collect())
    };
    f.store.record_usage(busy).await.unwrap();
    assert_eq!(remembered(&f, 0).await.len(), 2_000);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_use_of_a_key_adds_up() {
    let f = fresh().await;
    let org = f.org(0).await;
    let (key, hash) = f.new_key(&org.id);
    f.store.create_key(&key, &hash).await.unwrap();
    let (early, late) = (f.now(), f.now());
    for (requests, at) in [(3, early), (4, late), (5, early)] {
        f.store
            .record_usage(used(&key.id, requests, at))
            .await
            .unwrap();
    }
    let (found, _) = f.store.key_by_hash(&hash).await.unwrap().unwrap();
    assert_eq!((found.request_count, found.last_used_at), (12, Some(late)));
    check(f).await;
}

/// A key or an organization that is gone keeps nobody else's usage from being remembered.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_passed_over() {
    let f = fresh().await;
    let org = f.org(0).await.id;
    let record = Usage {
        admissions: vec![(f.org_id(), moments([1])), (org.clone(), moments([2]))],
        ..used(&f.key_id(), 1, f.now())
    };
    f.store.record_usage(record).await.unwrap();
    assert_eq!(remembered(&f, 0).await, [(org, moments([2]))]);
    check(f).await;
}

/// All of it or nothing, so that what failed can be handed in again.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_fails_leaves_nothing() {
    let f = fresh().await;
    let org = f.org(0).await;
    let (key, hash) = f.new_key(&org.id);
    f.store.create_key(&key, &hash).await.unwrap();
    let too_many = used(&key.id, u64::MAX, f.now()).keys;
    let mut record = Usage {
        admissions: vec![(org.id.clone(), moments([1]))],
        ..used(&key.id, 1, f.now())
    };
    record.keys.extend(too_many);
    f.store.record_usage(record).await.unwrap_err();
    assert_eq!(remembered(&f, 0).await, []);
    let (found, _) = f.store.key_by_hash(&hash).await.unwrap().unwrap();
    assert_eq!(found.request_count, 0);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_jobs_are_those_that_have_not_ended() {
    let f = fresh().await;
    let (org, other) = (f.org(100).await, f.org(100).await);
    f.job(&other.id, 1).await;
    assert_eq!(f.store.open_jobs(&org.id, Mode::Live).await.unwrap(), 0);
    let waiting = f.job(&org.id, 1).await;
    f.job(&org.id, 1).await;
    f.claim(2).await;
    assert_eq!(f.store.open_jobs(&org.id, Mode::Live).await.unwrap(), 2);
    let (entry, now) = (f.entry(), f.now());
    f.advance(Duration::from_secs(1));
    f.store
        .cancel_job(&org.id, &waiting.id, entry, now)
        .await
        .unwrap();
    assert_eq!(f.store.open_jobs(&org.id, Mode::Live).await.unwrap(), 1);
    check(f).await;
}
