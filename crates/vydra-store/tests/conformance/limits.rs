use crate::fixture::{Fixture, check, fresh};
use std::collections::BTreeMap;
use std::time::Duration;
use vydra_core::ids::{KeyId, OrgId};
use vydra_core::job::Mode;
use vydra_core::time::Timestamp;
use vydra_store::store::{KeyUse, Usage};

pub(crate) const NEVER: Timestamp = Timestamp::from_micros(0);

/// So late that no clock has forgotten it.
pub(crate) const LATE: i64 = 4_000_000_000_000_000;

pub(crate) fn moments(micros: impl IntoIterator<Item = i64>) -> Vec<Timestamp> {
    micros.into_iter().map(Timestamp::from_micros).collect()
}

fn late(micros: impl IntoIterator<Item = i64>) -> Vec<Timestamp> {
    moments(micros.into_iter().map(|micros| LATE + micros))
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

/// In one list for each organization.
async fn remembered(f: &Fixture, since: i64) -> BTreeMap<OrgId, Vec<Timestamp>> {
    let since = Timestamp::from_micros(since);
    let mut by_org: BTreeMap<OrgId, Vec<Timestamp>> = BTreeMap::new();
    for (org, moments) in f.store.admissions(since).await.unwrap() {
        by_org.entry(org).or_default().extend(moments);
    }
    by_org
}

#[tokio::test(flavor = "multi_thread")]
async fn admissions_come_back_as_they_were() {
    let f = fresh().await;
    let (one, two) = (f.org(0).await.id, f.org(0).await.id);
    let first = vec![
        (one.clone(), late([10, 10, 11, 5_000_000_000])),
        (two.clone(), late([12])),
    ];
    f.store.record_usage(usage(first)).await.unwrap();
    let many = late((0..10_000).map(|n| 6_000_000_000 + n * n));
    let second = vec![(one.clone(), many.clone()), (two.clone(), Vec::new())];
    f.store.record_usage(usage(second)).await.unwrap();
    let all = [late([10, 10, 11, 5_000_000_000]), many].concat();
    let expected = BTreeMap::from([(one.clone(), all), (two.clone(), late([12]))]);
    assert_eq!(remembered(&f, 0).await, expected);
    // Those that are later, and nobody who has none.
    for since in [LATE + 12, LATE + 5_000_000_000] {
        let found = remembered(&f, since).await;
        let later = |moment: &&Timestamp| moment.as_micros() > since;
        assert_eq!(found.keys().collect::<Vec<_>>(), [&one]);
        let [found, all] = [&found[&one], &expected[&one]].map(|all| all.iter().filter(later));
        assert_eq!(found.collect::<Vec<_>>(), all.collect::<Vec<_>>());
    }
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
        admissions: vec![(f.org_id(), late([1])), (org.clone(), late([2]))],
        ..used(&f.key_id(), 1, f.now())
    };
    f.store.record_usage(record).await.unwrap();
    let expected = BTreeMap::from([(org, late([2]))]);
    assert_eq!(remembered(&f, 0).await, expected);
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
        admissions: vec![(org.id.clone(), late([1]))],
        ..used(&key.id, 1, f.now())
    };
    record.keys.extend(too_many);
    f.store.record_usage(record).await.unwrap_err();
    assert_eq!(remembered(&f, 0).await, BTreeMap::new());
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
