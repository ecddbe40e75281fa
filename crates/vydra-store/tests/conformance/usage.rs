use crate::fixture::{check, fresh};
use std::time::Duration;
use vydra_core::job::Mode;
use vydra_core::ledger::CreditTotals;
use vydra_core::time::Timestamp;
use vydra_core::usage::{UsageBy, UsageFigures, UsageRow};
use vydra_store::store::NewJob;

const HOUR: Duration = Duration::from_hours(1);

fn total(rows: &[UsageRow]) -> UsageFigures {
    rows.iter().map(|row| row.figures).sum()
}

#[tokio::test]
async fn every_way_to_divide_a_span_adds_up_to_what_the_ledger_moved() {
    let f = fresh().await;
    let org = f.org_of(f.new_org("a", 1_000_000, 100)).await;
    let other = f.org(1_000).await;
    let (key, hash) = f.new_key(&org.id);
    f.store.create_key(&key, &hash).await.unwrap();
    let began = f.now();
    let mut moments = vec![(began, CreditTotals::default())];
    for round in 0..30_i64 {
        let mut new = f.new_job(&org.id, 10 + round);
        new.call.model = format!("model-{}", round % 3);
        new.key_id = (round % 2 == 0).then(|| key.id.clone());
        f.accepted(new).await;
        f.job(&other.id, 1).await;
        let test = NewJob {
            mode: Mode::Test,
            ..f.new_job(&org.id, 1)
        };
        f.accepted(test).await;
        f.advance(HOUR * 5);
        for claimed in f.claim(3).await {
            let price = claimed.job.price.get();
            match round % 5 {
                0 => {
                    let settlement = f.failed();
                    f.store
                        .settle_job(&claimed.lease, settlement)
                        .await
                        .unwrap();
                }
                1 => {
                    let settlement = f.completed(vec![f.output(&claimed.job)], 1.min(price - 1));
                    f.store
                        .settle_job(&claimed.lease, settlement)
                        .await
                        .unwrap();
                }
                2 => {
                    let job = &claimed.job;
                    f.store
                        .cancel_job(&job.org_id, &job.id, f.entry(), f.now())
                        .await
                        .unwrap();
                }
                3 => {
                    let settlement = f.completed(vec![f.output(&claimed.job)], 0);
                    f.store
                        .settle_job(&claimed.lease, settlement)
                        .await
                        .unwrap();
                }
                _ => {}
            }
        }
        f.advance(HOUR * 3);
        let totals = f.store.credit_totals(&org.id, Mode::Live).await.unwrap();
        moments.push((f.now(), totals));
    }
    let usage = async |by, from, to| {
        let rows = f.store.usage(&org.id, Mode::Live, by, from, to);
        rows.await.unwrap()
    };
    for (place, (from, before)) in moments.iter().enumerate() {
        for (to, after) in &moments[place + 1..] {
            let by_day = usage(UsageBy::Day, *from, *to).await;
            let sum = total(&by_day);
            assert_eq!(sum.charged, after.used - before.used);
            assert_eq!(sum.refunded, after.refunded - before.refunded);
            for by in [UsageBy::Model, UsageBy::Key] {
                assert_eq!(total(&usage(by, *from, *to).await), sum, "{by:?}");
            }
        }
    }
    let end = moments.last().unwrap().0;
    let sum = total(&usage(UsageBy::Day, began, end).await);
    assert_eq!(sum.jobs, 30);
    assert_eq!((sum.completed, sum.failed, sum.cancelled), (12, 6, 6));
    let days = usage(UsageBy::Day, began, end).await;
    assert_eq!(days.len(), 11, "240 hours from some moment of a day on");
    assert!(days.windows(2).all(|pair| pair[0].group < pair[1].group));
    let models = usage(UsageBy::Model, began, end).await;
    let names: Vec<_> = models
        .iter()
        .filter_map(|row| row.group.as_deref())
        .collect();
    assert_eq!(names, ["model-0", "model-1", "model-2"]);
    let keys = usage(UsageBy::Key, began, end).await;
    assert_eq!(keys[0].group, None);
    assert_eq!(keys[1].group.as_deref(), Some(key.id.as_str()));
    assert_eq!((keys.len(), keys[0].figures.jobs), (2, 15));
    check(f).await;
}

#[tokio::test]
async fn a_span_has_its_first_moment_and_not_its_last() {
    let f = fresh().await;
    let org = f.org(100).await;
    let midnight = Timestamp::parse("2027-03-01").unwrap();
    let mut new = f.new_job(&org.id, 7);
    new.now = midnight;
    f.accepted(new).await;
    let tick = Duration::from_micros(1);
    for (from, to, jobs) in [
        (midnight, midnight.plus(tick), 1),
        (midnight.minus(HOUR), midnight, 0),
        (midnight.plus(tick), midnight.plus(HOUR), 0),
    ] {
        let rows = f.store.usage(&org.id, Mode::Live, UsageBy::Day, from, to);
        let sum = total(&rows.await.unwrap());
        assert_eq!((sum.jobs, sum.charged), (jobs, 7 * jobs));
    }
    let rows = f.store.usage(
        &org.id,
        Mode::Live,
        UsageBy::Day,
        midnight,
        midnight.plus(HOUR),
    );
    assert_eq!(rows.await.unwrap()[0].group.as_deref(), Some("2027-03-01"));
    check(f).await;
}
