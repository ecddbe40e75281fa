use crate::fixture::{check, fresh};
use vydra_core::ids::EventId;
use vydra_core::job::{JobStatus, Mode};
use vydra_core::webhook::EventType;
use vydra_store::store::{Event, NewJob};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_missed_some_reads_on_from_the_last_one_they_saw() {
    let f = fresh().await;
    let (org, other) = (f.org(2_000).await, f.org(100).await);
    let read = async |after: Option<&EventId>, limit| -> Vec<Event> {
        let events = f.store.events(&org.id, Mode::Live, after, limit).await;
        events.unwrap().unwrap()
    };
    assert_eq!(read(None, 10).await, []);
    assert_eq!(f.store.last_event(&org.id, Mode::Live).await.unwrap(), None);
    // Beyond two marks, with the events of others in between.
    let mut expected = Vec::new();
    for number in 0..600 {
        if number % 7 == 0 {
            f.ended(&other.id).await;
        }
        let job = f.ended(&org.id).await;
        expected.push(EventId::of(&job.id));
    }
    for limit in [1, 100, 255, 256, 257, 1_000] {
        let mut seen: Vec<EventId> = Vec::new();
        loop {
            let page = read(seen.last(), limit).await;
            assert!(page.len() <= limit as usize);
            if page.is_empty() {
                break;
            }
            seen.extend(page.into_iter().map(|event| event.id));
        }
        assert_eq!(seen, expected, "in pages of {limit}");
    }
    let last = f.store.last_event(&org.id, Mode::Live).await.unwrap();
    assert_eq!(last.as_ref(), expected.last());
    let foreign = f.store.events(&other.id, Mode::Live, last.as_ref(), 9);
    assert_eq!(foreign.await.unwrap(), None);
    let test = f.store.events(&org.id, Mode::Test, last.as_ref(), 9).await;
    assert_eq!(test.unwrap(), None);
    let none = f.store.events(&org.id, Mode::Test, None, 9).await;
    assert_eq!(none.unwrap(), Some(Vec::new()));
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_stand_in_the_order_in_which_the_jobs_ended() {
    let f = fresh().await;
    let org = f.org(100).await;
    let (slow, quick) = (f.running(&org.id, 1).await, f.running(&org.id, 1).await);
    let waits = f.job(&org.id, 1).await;
    let failed = f.settle(&quick, f.failed()).await;
    let asset = f.output(&slow.job);
    let completed = f.settle(&slow, f.completed(vec![asset], 0)).await;
    let events = f.store.events(&org.id, Mode::Live, None, 9).await.unwrap();
    let [first, second] = events.unwrap().try_into().unwrap();
    assert_eq!((first.kind, &first.job), (EventType::JobFailed, &failed));
    assert_eq!(first.at, failed.completed_at.unwrap());
    assert_eq!(first.id, EventId::of(&failed.id));
    assert_eq!(second.kind, EventType::JobCompleted);
    assert_eq!(second.job, completed);
    assert_eq!(second.job.outputs.len(), 1);
    assert_eq!(waits.status, JobStatus::Pending);
    // A job that runs has no event yet.
    let unknown = EventId::of(&waits.id);
    let none = f.store.events(&org.id, Mode::Live, Some(&unknown), 9);
    assert_eq!(none.await.unwrap(), None);
    f.accepted(NewJob {
        webhook_url: Some("https://own.example".to_owned()),
        ..f.new_job(&org.id, 1)
    })
    .await;
    check(f).await;
}
