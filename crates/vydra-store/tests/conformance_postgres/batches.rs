//! Many commands in one transaction: what one statement carries out for all of them is what it would be one by one.

use crate::backend;
use crate::fixture::{Fixture, LEASE, asked, check, credits, fresh};
use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use futures_util::poll;
use std::collections::BTreeSet;
use std::time::Duration;
use vydra_core::idempotency::{Fingerprint, IdempotencyKey, StoredAnswer};
use vydra_core::ids::OrgId;
use vydra_core::job::{JobStatus, Mode, PROCESSING_LIMIT};
use vydra_store::StoreError;
use vydra_store::store::{
    Cancellation, ClaimedJob, Lane, LeaseToken, NewIdempotency, NewJob, Recorded, Start, Submission,
};

/// Runs them in one batch: while its lane waits for a balance that somebody else has locked, they gather behind it.
async fn in_one_batch<T>(f: &Fixture, org: &OrgId, commands: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let url = backend::url(f.directory.path());
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .unwrap();
    let connection = tokio_util::task::TaskTracker::new().spawn(connection);
    let lock = format!("BEGIN; SELECT 1 FROM balances WHERE org_id = '{org}' FOR UPDATE");
    client.batch_execute(&lock).await.unwrap();
    let mut first = f.store.grant(f.new_grant(org, Mode::Live, 1));
    assert!(poll!(&mut first).is_pending());
    let waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while client.query_opt(waiting, &[]).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let mut gathered = join_all(commands);
    assert!(poll!(&mut gathered).is_pending());
    client.batch_execute("COMMIT").await.unwrap();
    let (granted, answers) = tokio::join!(first, gathered);
    granted.unwrap().unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
    answers
}

fn at_once(f: &Fixture, org: &OrgId, mode: Mode) -> NewJob {
    let new = f.new_job(org, 10);
    NewJob {
        mode,
        start: Some(Start {
            token: LeaseToken(format!("of {}", new.id)),
            lease: LEASE,
            limit: PROCESSING_LIMIT,
        }),
        ..new
    }
}

fn submit(f: &Fixture, new: NewJob) -> BoxFuture<'_, vydra_store::Result<Submission>> {
    f.store.submit_job(new)
}

/// How many transactions there have been in which jobs were written.
fn transactions_of_jobs(f: &Fixture) -> String {
    backend::text(
        f.directory.path(),
        "SELECT count(DISTINCT xmin::text) FROM jobs",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_a_batch_has_its_own_outcome() {
    let f = fresh().await;
    let org = f.org_of(f.new_org("acme", 29, 100)).await.id;
    let mut costly = f.new_job(&org, 15);
    costly.price = credits(16);
    let crowded = NewJob {
        concurrent: 2,
        ..f.new_job(&org, 1)
    };
    let bereft = NewJob {
        takes_in: vec![f.asset_id()],
        ..f.new_job(&org, 1)
    };
    let gone = bereft.takes_in[0].clone();
    let test = NewJob {
        mode: Mode::Test,
        ..f.new_job(&org, 60)
    };
    let test_again = NewJob {
        mode: Mode::Test,
        ..f.new_job(&org, 60)
    };
    let stray = f.new_job(&f.org_id(), 1);
    // One credit more is granted in front of them.
    let commands = [
        f.new_job(&org, 10),
        f.new_job(&org, 5),
        costly,
        crowded,
        bereft,
        test,
        test_again,
    ]
    .map(|new| submit(&f, new));
    let answers = in_one_batch(&f, &org, commands.into()).await;
    let mut left = Vec::new();
    let refusals: Vec<_> = answers
        .into_iter()
        .filter_map(|answer| match answer.unwrap() {
            Submission::Accepted { remaining, .. } => {
                left.push(remaining.get());
                None
            }
            refused => Some(refused),
        })
        .collect();
    assert_eq!(left, [20, 15, 40]);
    assert_eq!(
        refusals,
        [
            Submission::InsufficientCredits {
                available: credits(15)
            },
            Submission::TooManyJobs { open: 2 },
            Submission::InputGone(gone),
            Submission::InsufficientCredits {
                available: credits(40)
            },
        ]
    );
    assert_eq!(transactions_of_jobs(&f), "1", "it was one batch");
    let unknown = f.store.submit_job(stray).await.unwrap();
    assert_eq!(
        unknown,
        Submission::InsufficientCredits {
            available: credits(0)
        }
    );
    assert_eq!(f.live_balance(&org).await, 15);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_takes_nobody_with_him() {
    let f = fresh().await;
    let org = f.org(1_000).await.id;
    let taken = f.job(&org, 10).await;
    // The id and the ledger row's are guarded by the database alone.
    let twice = NewJob {
        id: taken.id.clone(),
        ..f.new_job(&org, 10)
    };
    let commands = (0..70).map(|number| {
        let new = if number == 33 {
            twice.clone()
        } else {
            f.new_job(&org, 10)
        };
        submit(&f, new)
    });
    let answers = in_one_batch(&f, &org, commands.collect()).await;
    for (number, answer) in answers.into_iter().enumerate() {
        if number == 33 {
            assert!(matches!(answer, Err(StoreError::Database(_))), "{answer:?}");
        } else {
            assert!(
                matches!(answer, Ok(Submission::Accepted { .. })),
                "{number}: {answer:?}"
            );
        }
    }
    assert_eq!(f.live_balance(&org).await, 1_001 - 70 * 10);
    check(f).await;
}

/// One that must wait makes those wait that are behind it, and no others.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_batch_begin_until_one_must_wait() {
    let f = fresh().await;
    let org = f.org_of(f.new_org("acme", 1_000, 1_000)).await.id;
    let begins = |mode| at_once(&f, &org, mode);
    let commands = [
        begins(Mode::Live),
        begins(Mode::Live),
        f.new_job(&org, 10),
        begins(Mode::Live),
        begins(Mode::Test),
        begins(Mode::Test),
    ];
    let commands = commands.map(|new| submit(&f, new)).into();
    let answers = in_one_batch(&f, &org, commands).await;
    let begun: Vec<bool> = answers
        .into_iter()
        .map(|answer| match answer.unwrap() {
            Submission::Accepted { begun, job, .. } => {
                if let Some(begun) = &begun {
                    assert_eq!(begun.job.id, job.id);
                    assert_eq!(begun.lease.token.0, format!("of {}", job.id));
                }
                begun.is_some()
            }
            refused => panic!("{refused:?}"),
        })
        .collect();
    assert_eq!(begun, [true, true, false, false, true, true]);
    assert_eq!(f.claim(9).await.len(), 2);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_with_one_key_in_a_batch_one_buys() {
    let f = fresh().await;
    let org = f.org_of(f.new_org("acme", 100, 100)).await.id;
    let keyed = |mode, key: &str| {
        let new = f.new_job(&org, 10);
        NewJob {
            mode,
            idempotency: Some(NewIdempotency {
                key: IdempotencyKey::parse(key).unwrap(),
                fingerprint: Fingerprint::trusted("a fox".to_owned()),
                expires_at: new.now.plus(Duration::from_hours(1)),
            }),
            ..new
        }
    };
    let commands = [
        keyed(Mode::Live, "a"),
        keyed(Mode::Live, "a"),
        keyed(Mode::Test, "a"),
        keyed(Mode::Live, "b"),
        keyed(Mode::Live, "a"),
    ];
    let first = commands[0].id.clone();
    let commands = commands.map(|new| submit(&f, new)).into();
    let answers = in_one_batch(&f, &org, commands).await;
    let bought: Vec<bool> = answers
        .into_iter()
        .map(|answer| match answer.unwrap() {
            Submission::Accepted { .. } => true,
            Submission::KeyTaken(taken) => {
                assert_eq!(taken.job_id, first);
                false
            }
            refused => panic!("{refused:?}"),
        })
        .collect();
    assert_eq!(bought, [true, false, true, true, false]);
    check(f).await;
}

/// Submits, ends, marks and signs of life of one organization, and commands that run alone among them.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_waits_is_carried_out_together() {
    let f = fresh().await;
    let org = f.org(1_000).await.id;
    let key = IdempotencyKey::parse("a-key").unwrap();
    let mut new = f.new_job(&org, 10);
    new.idempotency = Some(NewIdempotency {
        key: key.clone(),
        fingerprint: Fingerprint::trusted("a fox".to_owned()),
        expires_at: new.now.plus(Duration::from_hours(1)),
    });
    f.accepted(new).await;
    for _ in 0..4 {
        f.job(&org, 10).await;
    }
    let held = <[ClaimedJob; 5]>::try_from(f.claim(9).await).unwrap();
    let [delivers, fails, works, lives, cancelled] = &held;
    let mut lost = works.lease.clone();
    lost.token = LeaseToken("of somebody else".to_owned());
    let answer = StoredAnswer {
        status: 201,
        headers: Vec::new(),
        body: b"{}".to_vec(),
    };
    let step = asked(3, "acme");
    let store = &f.store;
    let (until, entry, now) = (f.until(), f.entry(), f.now());
    let (delivered, failed, failed_again) = (
        f.completed(vec![f.output(&delivers.job)], 4),
        f.failed(),
        f.failed(),
    );
    let (submitted, granted) = (f.new_job(&org, 10), f.new_grant(&org, Mode::Live, 7));
    let commands: Vec<BoxFuture<'_, ()>> = vec![
        async {
            store
                .report_progress(&lives.lease, 40, Some("on its way"), until)
                .await
                .unwrap();
        }
        .boxed(),
        async {
            store
                .mark_submitting(&works.lease, &step, until)
                .await
                .unwrap();
        }
        .boxed(),
        async { store.settle_job(&delivers.lease, delivered).await.unwrap() }.boxed(),
        async {
            let ended = store.cancel_job(&org, &cancelled.job.id, entry, now).await;
            assert!(matches!(ended.unwrap(), Cancellation::Now(_)));
        }
        .boxed(),
        async {
            let refused = store.mark_submitting(&lost, &step, until).await;
            assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
        }
        .boxed(),
        async { store.settle_job(&fails.lease, failed).await.unwrap() }.boxed(),
        async {
            let refused = store.settle_job(&lost, failed_again).await;
            assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
        }
        .boxed(),
        async {
            let told = store.record_answer(&org, Mode::Live, &key, answer).await;
            assert_eq!(told.unwrap(), Recorded::Now);
        }
        .boxed(),
        async {
            let taken = store.submit_job(submitted).await.unwrap();
            assert!(matches!(taken, Submission::Accepted { .. }), "{taken:?}");
        }
        .boxed(),
        async {
            store.grant(granted).await.unwrap().unwrap();
        }
        .boxed(),
    ];
    in_one_batch(&f, &org, commands).await;
    let looks: Vec<_> = join_all(held.iter().map(|held| f.look(&held.job))).await;
    let states: Vec<_> = looks
        .iter()
        .map(|job| (job.status, job.refunded.get()))
        .collect();
    assert_eq!(
        states,
        [
            (JobStatus::Completed, 4),
            (JobStatus::Failed, 10),
            (JobStatus::Running, 0),
            (JobStatus::Running, 0),
            (JobStatus::Cancelled, 10),
        ]
    );
    assert_eq!(looks[0].outputs.len(), 1);
    assert_eq!(looks[2].provider.as_deref(), Some("acme"));
    assert_eq!(
        (looks[3].progress, looks[3].status_message.as_deref()),
        (40, Some("on its way"))
    );
    assert_eq!(f.live_balance(&org).await, 1_000 - 50 + 24 - 10 + 1 + 7);
    let written = "SELECT count(DISTINCT xmin::text) FROM (
         SELECT xmin FROM jobs UNION ALL SELECT xmin FROM steps UNION ALL SELECT xmin FROM idempotency_keys) t";
    let transactions = backend::text(f.directory.path(), written);
    assert_eq!(transactions, "1", "it was one batch");
    check(f).await;
}

/// A delivery finds its receiver's places by a word that the database and the program make alike.
#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_of_an_address_is_its_host() {
    let f = fresh().await;
    let org = f.org(100).await.id;
    let addresses = [
        "https://one.example",
        "https://one.example:8443/hook?to=https://two.example/#here",
        "https://two.example?a=/b#c",
        "https://two.example#a?b/c",
        "https://user@three.example/://",
        "one.example/without/a/scheme",
        "://",
        "",
    ];
    for address in addresses {
        let mut new = f.new_job(&org, 1);
        new.webhook_url = Some(address.to_owned());
        let job = f.accepted(new).await;
        let ended = f.store.cancel_job(&org, &job.id, f.entry(), f.now()).await;
        assert!(matches!(ended.unwrap(), Cancellation::Now(_)));
        let lane = format!("SELECT lane FROM deliveries WHERE job_id = '{}'", job.id);
        let lane = backend::text(f.directory.path(), &lane);
        assert_eq!(lane, Lane::of_url(&org, Mode::Live, address).0, "{address}");
    }
    let lanes: BTreeSet<&str> = addresses.into_iter().collect();
    assert_eq!(lanes.len(), addresses.len());
    check(f).await;
}
