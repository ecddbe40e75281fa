use crate::fixture::{Fixture, fresh};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use vydra_core::credits::Credits;
use vydra_core::job::Job;
use vydra_store::store::{AttemptFilter, ProviderAttempt};

pub(crate) fn attempt(
    f: &Fixture,
    job: &Job,
    provider: &str,
    failure: Option<&str>,
) -> ProviderAttempt {
    ProviderAttempt {
        job: job.id.clone(),
        step: 0,
        provider: provider.to_owned(),
        model: "up/stream".to_owned(),
        started_at: f.now(),
        ended_at: f.now().plus(Duration::from_secs(3)),
        failure: failure.map(str::to_owned),
        accepted: if failure.is_some() { "no" } else { "yes" }.to_owned(),
        request_id: Some("req-1".to_owned()),
        cost: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_kept_and_listed_the_newest_first() {
    let f = fresh().await;
    let org = f.org(10).await;
    let (one, other) = (f.job(&org.id, 1).await, f.job(&org.id, 1).await);
    let made = [
        attempt(&f, &one, "a", Some("unavailable")),
        attempt(&f, &one, "b", None),
        attempt(&f, &other, "a", None),
    ];
    for attempt in &made {
        f.store.record_attempt(attempt).await.unwrap();
    }
    let listed = async |change: fn(&mut AttemptFilter, &Job), job: &Job| {
        let mut filter = AttemptFilter {
            limit: 10,
            ..AttemptFilter::default()
        };
        change(&mut filter, job);
        f.store.attempts(filter).await.unwrap()
    };
    let [first, second, third] = made;
    assert_eq!(
        listed(|_, _| {}, &one).await,
        [third.clone(), second.clone(), first.clone()]
    );
    let of_job = listed(|filter, job| filter.job = Some(job.id.clone()), &one).await;
    assert_eq!(of_job, [second, first.clone()]);
    let of_provider = listed(|filter, _| filter.provider = Some("a".to_owned()), &one).await;
    assert_eq!(of_provider, [third.clone(), first.clone()]);
    let both = listed(
        |filter, job| {
            filter.provider = Some("a".to_owned());
            filter.job = Some(job.id.clone());
        },
        &one,
    );
    assert_eq!(both.await, std::slice::from_ref(&first));
    assert_eq!(
        listed(|filter, _| filter.failed = true, &one).await,
        [first]
    );
    assert_eq!(listed(|filter, _| filter.limit = 1, &one).await, [third]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_never_goes_beyond_its_cap_however_many_count_at_once() {
    let f = fresh().await;
    let (store, now) = (Arc::clone(&f.store), f.now());
    let mut counting = JoinSet::new();
    for _ in 0..64 {
        let store = Arc::clone(&store);
        counting.spawn(async move {
            let counted = store.count_provider_day("p", Credits::new(3).unwrap(), 100, now);
            counted.await.unwrap()
        });
    }
    let counted = counting
        .join_all()
        .await
        .into_iter()
        .filter(|yes| *yes)
        .count();
    assert_eq!(counted, 33);
    let count = async |provider: &str, credits: i64, at| {
        let credits = Credits::new(credits).unwrap();
        store
            .count_provider_day(provider, credits, 100, at)
            .await
            .unwrap()
    };
    assert!(count("p", 1, now).await, "the last one");
    assert!(!count("p", 1, now).await);
    assert!(count("another", 100, now).await);
    assert!(!count("third", 101, now).await, "not even on an empty day");
    assert!(count("p", 100, now.plus(Duration::from_hours(24))).await);
    store
        .uncount_provider_day("p", Credits::new(3).unwrap(), now)
        .await
        .unwrap();
    assert!(count("p", 3, now).await);
    assert!(!count("p", 1, now).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postponed_job_is_claimed_again_as_if_it_had_not_been() {
    let f = fresh().await;
    let org = f.org(10).await;
    f.job(&org.id, 1).await;
    let mut deadline = None;
    for later in [60, 0, 90] {
        let claimed = f.claim(1).await.remove(0);
        assert_eq!(claimed.attempt, 1);
        assert_eq!(claimed.deadline, deadline.unwrap_or(claimed.deadline));
        let later = f.now().plus(Duration::from_mins(later));
        deadline = Some(claimed.deadline.max(later));
        let again_at = f.now().plus(Duration::from_secs(1));
        f.store
            .postpone(&claimed.lease, again_at, later, &[0])
            .await
            .unwrap();
        assert!(f.claim(1).await.is_empty(), "not before its time");
        assert!(
            f.store
                .postpone(&claimed.lease, again_at, later, &[0])
                .await
                .is_err(),
            "the lease is gone"
        );
        f.advance(Duration::from_secs(1));
    }
}
