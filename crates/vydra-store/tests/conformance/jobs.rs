//! Jobs from the caller's side.

use crate::fixture::{Fixture, at_once, check, credits, fresh};
use serde_json::json;
use std::sync::Arc;
use vydra_core::ids::{JobId, OrgId};
use vydra_core::job::{Job, JobStatus, Mode};
use vydra_store::StoreError;
use vydra_store::store::{Cancellation, JobFilter, JobPage, Submission};

async fn cancel(f: &Fixture, org: &OrgId, id: &JobId) -> Cancellation {
    let (entry, now) = (f.entry(), f.now());
    f.store.cancel_job(org, id, entry, now).await.unwrap()
}

// --- Submit ---

#[tokio::test(flavor = "multi_thread")]
async fn takes_the_price_and_remembers_everything() {
    let f = fresh().await;
    let org = f.org(100).await;
    let (key, hash) = f.new_key(&org.id);
    f.store.create_key(&key, &hash).await.unwrap();
    let mut new = f.new_job(&org.id, 30);
    new.key_id = Some(key.id.clone());
    new.workflow = Some("portrait".to_owned());
    new.call.script.slow_ms = 5;
    new.input = crate::fixture::document(&json!({"z": 1, "a": ["é\u{1F98A}", null, 1.5]}));
    let submitted = f.store.submit_job(new.clone()).await.unwrap();
    let Submission::Accepted {
        job,
        remaining,
        begun: None,
    } = submitted
    else {
        panic!("{submitted:?}");
    };
    let expected = Job {
        id: new.id,
        org_id: org.id.clone(),
        key_id: new.key_id,
        mode: Mode::Live,
        workflow: new.workflow,
        status: JobStatus::Pending,
        progress: 0,
        status_message: None,
        input: new.input,
        call: new.call,
        price: credits(30),
        refunded: credits(0),
        failure: None,
        provider: None,
        external_id: None,
        created_at: new.now,
        started_at: None,
        completed_at: None,
        outputs: vec![],
    };
    assert_eq!(*job, expected);
    assert_eq!(
        job.input.keys().collect::<Vec<_>>(),
        ["z", "a"],
        "the caller's order"
    );
    assert_eq!(remaining, credits(70));
    assert_eq!(f.look(&job).await, expected);
    assert_eq!(f.live_balance(&org.id).await, 70);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_credits_change_nothing() {
    let f = fresh().await;
    let org = f.org(29).await;
    let new = f.new_job(&org.id, 30);
    let before = f.store.audit().await.unwrap();
    let refused = f.store.submit_job(new.clone()).await.unwrap();
    let available = credits(29);
    assert_eq!(refused, Submission::InsufficientCredits { available });
    assert_eq!(f.store.audit().await.unwrap(), before);
    assert_eq!(f.live_balance(&org.id).await, 29);
    assert_eq!(f.store.job(&org.id, &new.id).await.unwrap(), None);

    let stray = f.store.submit_job(f.new_job(&f.org_id(), 1)).await.unwrap();
    let available = credits(0);
    assert_eq!(stray, Submission::InsufficientCredits { available });
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_credit_can_be_spent() {
    let f = fresh().await;
    let org = f.org(30).await;
    let submitted = f.store.submit_job(f.new_job(&org.id, 30)).await.unwrap();
    assert!(matches!(submitted, Submission::Accepted { remaining, .. } if remaining == credits(0)));
    let refused = f.store.submit_job(f.new_job(&org.id, 1)).await.unwrap();
    let available = credits(0);
    assert_eq!(refused, Submission::InsufficientCredits { available });
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_and_test_credits_are_apart() {
    let f = fresh().await;
    let org = f.org_of(f.new_org("acme", 100, 5)).await;
    let mut new = f.new_job(&org.id, 6);
    new.mode = Mode::Test;
    let refused = f.store.submit_job(new.clone()).await.unwrap();
    let available = credits(5);
    assert_eq!(refused, Submission::InsufficientCredits { available });
    new.price = credits(5);
    let job = f.accepted(new).await;
    assert_eq!(job.mode, Mode::Test);
    assert_eq!(f.balance(&org.id, Mode::Test).await, 0);
    assert_eq!(f.live_balance(&org.id).await, 100);
    cancel(&f, &org.id, &job.id).await;
    assert_eq!(f.balance(&org.id, Mode::Test).await, 5);
    assert_eq!(f.live_balance(&org.id).await, 100);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_jobs_are_open_at_once() {
    let f = fresh().await;
    let (org, other) = (
        f.org_of(f.new_org("acme", 100, 100)).await,
        f.org(100).await,
    );
    let limited = |org: &OrgId, mode| {
        let mut new = f.new_job(org, 1);
        new.concurrent = 2;
        new.mode = mode;
        new
    };
    let running = f.running(&org.id, 1).await;
    let waiting = f.accepted(limited(&org.id, Mode::Live)).await;
    let refused = f.store.submit_job(limited(&org.id, Mode::Live)).await;
    assert_eq!(refused.unwrap(), Submission::TooManyJobs { open: 2 });
    assert_eq!(f.live_balance(&org.id).await, 98);
    f.accepted(limited(&other.id, Mode::Live)).await;
    // What is free must not stand in the way of what is paid for, nor the other way round.
    f.accepted(limited(&org.id, Mode::Test)).await;

    cancel(&f, &org.id, &waiting.id).await;
    f.accepted(limited(&org.id, Mode::Live)).await;
    let refused = f.store.submit_job(limited(&org.id, Mode::Live)).await;
    assert_eq!(refused.unwrap(), Submission::TooManyJobs { open: 2 });
    f.store
        .settle_job(&running.lease, f.completed(vec![], 0))
        .await
        .unwrap();
    f.accepted(limited(&org.id, Mode::Live)).await;

    let mut none = limited(&other.id, Mode::Live);
    none.concurrent = 0;
    let refused = f.store.submit_job(none).await.unwrap();
    assert_eq!(refused, Submission::TooManyJobs { open: 1 });
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_for_ten_buys_ten_of_a_thousand() {
    let f = fresh().await;
    let org = f.org(10 * 7 + 6).await;
    let submits = (0..1_000).map(|_| {
        let (store, new) = (Arc::clone(&f.store), f.new_job(&org.id, 7));
        async move { store.submit_job(new).await.unwrap() }
    });
    let answers = at_once(submits).await;
    let accepted = answers
        .iter()
        .filter(|answer| matches!(answer, Submission::Accepted { .. }))
        .count();
    assert_eq!(accepted, 10);
    let available = credits(6);
    let refusal = Submission::InsufficientCredits { available };
    assert_eq!(
        answers.iter().filter(|answer| **answer == refusal).count(),
        990
    );
    assert_eq!(f.live_balance(&org.id).await, 6);
    assert_eq!(f.store.audit().await.unwrap().jobs, 10);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn places_for_three_take_three_of_a_hundred() {
    let f = fresh().await;
    let org = f.org(1_000).await;
    let submits = (0..100).map(|_| {
        let mut new = f.new_job(&org.id, 1);
        new.concurrent = 3;
        let store = Arc::clone(&f.store);
        async move { store.submit_job(new).await.unwrap() }
    });
    let refusal = Submission::TooManyJobs { open: 3 };
    let answers = at_once(submits).await;
    assert_eq!(
        answers.iter().filter(|answer| **answer == refusal).count(),
        97
    );
    assert_eq!(f.live_balance(&org.id).await, 997);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_job_is_bought_once() {
    let f = fresh().await;
    let (org, other) = (f.org(100).await, f.org(100).await);
    let new = f.new_job(&org.id, 30);
    f.accepted(new.clone()).await;
    let mut other_entry = new.clone();
    other_entry.entry = f.entry();
    let mut foreign = f.new_job(&other.id, 30);
    foreign.id = new.id.clone();
    let mut other_id = f.new_job(&org.id, 30);
    other_id.entry = new.entry.clone();
    let mut unknown_key = f.new_job(&org.id, 30);
    unknown_key.key_id = Some(f.key_id());
    let free = f.new_job(&org.id, 0);
    for again in [new, other_entry, foreign, other_id, unknown_key, free] {
        let refused = f.store.submit_job(again).await;
        assert!(
            matches!(refused, Err(StoreError::Database(_))),
            "{refused:?}"
        );
    }
    assert_eq!(f.live_balance(&org.id).await, 70);
    assert_eq!(f.live_balance(&other.id).await, 100);
    let audit = f.store.audit().await.unwrap();
    assert_eq!((audit.jobs, audit.entries), (1, 3));
    check(f).await;
}

// --- Look ---

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_job_is_like_an_unknown_one() {
    let f = fresh().await;
    let (org, other) = (f.org(100).await, f.org(100).await);
    let older = f.job(&other.id, 1).await;
    let job = f.job(&org.id, 30).await;
    assert_eq!(f.store.job(&other.id, &job.id).await.unwrap(), None);
    assert_eq!(f.store.job(&org.id, &f.job_id()).await.unwrap(), None);
    assert_eq!(cancel(&f, &other.id, &job.id).await, Cancellation::NotFound);
    assert_eq!(
        cancel(&f, &org.id, &f.job_id()).await,
        Cancellation::NotFound
    );
    assert_eq!(f.look(&job).await, job);
    let filter = JobFilter {
        limit: 9,
        ..JobFilter::default()
    };
    let page = f
        .store
        .jobs(&other.id, Mode::Live, filter.clone())
        .await
        .unwrap();
    assert_eq!((page.jobs, page.count), (vec![older], 1));
    let behind = JobFilter {
        after: Some(job.id.clone()),
        ..filter
    };
    let page = f.store.jobs(&other.id, Mode::Live, behind).await.unwrap();
    assert_eq!(page.jobs, [], "a foreign job is no place in the list");
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_the_newest_first_in_pages() {
    let f = fresh().await;
    let org = f.org(1_000).await;
    let mut all = Vec::new();
    for place in 0..10 {
        let mut new = f.new_job(&org.id, 1);
        new.workflow = (place % 3 == 0).then(|| "portrait".to_owned());
        all.insert(0, f.accepted(new).await);
    }
    for place in [2, 3] {
        cancel(&f, &org.id, &all[place].id).await;
        all[place] = f.look(&all[place]).await;
    }
    let list = async |filter: JobFilter| f.store.jobs(&org.id, Mode::Live, filter).await.unwrap();
    let page = |limit, offset| JobFilter {
        limit,
        offset,
        ..JobFilter::default()
    };

    let whole = list(page(100, 0)).await;
    assert_eq!((whole.jobs.as_slice(), whole.count), (all.as_slice(), 10));
    let second = list(page(4, 4)).await;
    assert_eq!((second.jobs.as_slice(), second.count), (&all[4..8], 10));
    let beyond = list(page(4, 10)).await;
    assert_eq!((beyond.jobs.as_slice(), beyond.count), (&[][..], 10));
    assert_eq!(list(page(0, 0)).await.count, 10);
    let after = JobFilter {
        after: Some(all[5].id.clone()),
        ..page(3, 0)
    };
    let after = list(after).await;
    assert_eq!((after.jobs.as_slice(), after.count), (&all[6..9], 10));
    let unknown = JobFilter {
        after: Some(f.job_id()),
        ..page(3, 0)
    };
    assert_eq!(list(unknown).await.jobs, []);

    let cancelled = JobFilter {
        status: Some(JobStatus::Cancelled),
        ..page(9, 0)
    };
    let cancelled = list(cancelled).await;
    assert_eq!(
        (cancelled.jobs.as_slice(), cancelled.count),
        (&all[2..4], 2)
    );
    let portraits = JobFilter {
        workflow: Some("portrait".to_owned()),
        ..page(2, 0)
    };
    let portraits = list(portraits).await;
    let expected = [all[0].clone(), all[3].clone()];
    assert_eq!(
        (portraits.jobs.as_slice(), portraits.count),
        (&expected[..], 4)
    );
    let both = JobFilter {
        status: Some(JobStatus::Cancelled),
        workflow: Some("portrait".to_owned()),
        ..page(9, 0)
    };
    assert_eq!(
        list(both).await,
        JobPage {
            jobs: vec![all[3].clone()],
            count: 1
        }
    );
    check(f).await;
}

// --- Cancel ---

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_pays_back_once() {
    let f = fresh().await;
    let org = f.org(100).await;
    let waiting = f.job(&org.id, 30).await;
    let (entry, now) = (f.entry(), f.now());
    let Cancellation::Now(ended) = f
        .store
        .cancel_job(&org.id, &waiting.id, entry, now)
        .await
        .unwrap()
    else {
        panic!("not cancelled");
    };
    let expected = Job {
        status: JobStatus::Cancelled,
        refunded: credits(30),
        completed_at: Some(now),
        ..waiting.clone()
    };
    assert_eq!(*ended, expected);
    assert_eq!(f.live_balance(&org.id).await, 100);
    let again = cancel(&f, &org.id, &waiting.id).await;
    assert_eq!(again, Cancellation::Already(Box::new(expected.clone())));
    assert_eq!(f.look(&waiting).await, expected);
    assert_eq!(f.live_balance(&org.id).await, 100);
    assert_eq!(f.claim(1).await, []);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_takes_the_lease_away() {
    let f = fresh().await;
    let org = f.org(100).await;
    let running = f.running(&org.id, 30).await;
    f.store
        .report_progress(&running.lease, 40, Some("drawing"), f.until())
        .await
        .unwrap();
    let ended = cancel(&f, &org.id, &running.job.id).await;
    let Cancellation::Now(ended) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!((ended.status, ended.progress), (JobStatus::Cancelled, 40));
    crate::worker::assert_lease_lost(&f, &running.lease).await;
    assert_eq!(f.look(&ended).await, *ended);
    assert_eq!(f.live_balance(&org.id).await, 100);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_is_not_cancelled() {
    let f = fresh().await;
    let org = f.org(100).await;
    let delivered = f.running(&org.id, 30).await;
    let outputs = vec![f.output(&delivered.job)];
    let delivered = f.settle(&delivered, f.completed(outputs, 0)).await;
    let failed = f.running(&org.id, 20).await;
    let failed = f.settle(&failed, f.failed()).await;
    let entries = f.store.audit().await.unwrap().entries;
    for ended in [delivered, failed] {
        let refused = cancel(&f, &org.id, &ended.id).await;
        assert_eq!(refused, Cancellation::Ended(Box::new(ended.clone())));
        assert_eq!(f.look(&ended).await, ended);
    }
    assert_eq!(f.live_balance(&org.id).await, 70);
    assert_eq!(f.store.audit().await.unwrap().entries, entries);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_row_that_cannot_be_written_undoes_the_end() {
    let f = fresh().await;
    let org = f.org(100).await;
    let new = f.new_job(&org.id, 30);
    let job = f.accepted(new.clone()).await;
    let refused = f
        .store
        .cancel_job(&org.id, &job.id, new.entry, f.now())
        .await;
    assert!(
        matches!(refused, Err(StoreError::Database(_))),
        "{refused:?}"
    );
    assert_eq!(f.look(&job).await, job);
    assert_eq!(f.live_balance(&org.id).await, 70);
    check(f).await;
}
