use crate::fixture::{FOREVER, Fixture, check, fresh, overdue};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use vydra_core::ids::OrgId;
use vydra_core::job::{Job, Mode};
use vydra_core::time::Timestamp;
use vydra_core::webhook::{
    Attempted, Delivery, DeliveryStatus, Disabled, Endpoint, EventType, FAILING_LIMIT, FAILURES,
};
use vydra_store::store::{
    Cancellation, ClaimedDeliveries, ClaimedDelivery, DeliveryClaim, DeliveryFilter,
    DeliveryOutcome, EndpointChange, Lane, NewJob, NewNotice, Resending, Settled, SettledDelivery,
};

const LEASE: Duration = Duration::from_mins(1);

impl Fixture {
    /// A job of the organization that was cancelled.
    pub(crate) async fn ended(&self, org: &OrgId) -> Job {
        self.cancelled(self.new_job(org, 1)).await
    }

    async fn cancelled(&self, new: NewJob) -> Job {
        let job = self.accepted(new).await;
        let cancelled = self
            .store
            .cancel_job(&job.org_id, &job.id, self.entry(), self.now());
        match cancelled.await.unwrap() {
            Cancellation::Now(job) => *job,
            other => panic!("{other:?}"),
        }
    }

    fn delivery_claim(&self) -> DeliveryClaim {
        let now = self.now();
        DeliveryClaim {
            limit: 1_000,
            share: 1_000,
            share_of_organization: 1_000,
            held: HashMap::new(),
            closed: HashSet::new(),
            after: None,
            now,
            until: now.plus(LEASE),
        }
    }

    async fn claim_deliveries(&self, claim: DeliveryClaim) -> ClaimedDeliveries {
        self.store.claim_deliveries(claim).await.unwrap()
    }

    /// All that are due.
    pub(crate) async fn due(&self) -> Vec<ClaimedDelivery> {
        self.claim_deliveries(self.delivery_claim())
            .await
            .deliveries
    }

    pub(crate) async fn settle_delivery(
        &self,
        sent: &ClaimedDelivery,
        outcome: DeliveryOutcome,
    ) -> Settled {
        let now = self.now();
        let is_delivered = outcome == DeliveryOutcome::Delivered;
        let settled = SettledDelivery {
            id: sent.delivery.id.clone(),
            attempt: sent.delivery.attempts,
            url: sent.delivery.url.clone(),
            outcome,
            attempted: Attempted {
                at: now,
                response_status: Some(if is_delivered { 204 } else { 500 }),
                duration_ms: 12,
            },
            error: (!is_delivered).then(|| "it answered 500".to_owned()),
            notice: self.event_id(),
            now,
        };
        self.store.settle_delivery(settled).await.unwrap()
    }

    pub(crate) async fn fail_all(&self) {
        for sent in self.due().await {
            let again = Some(self.now().plus(Duration::from_secs(5)));
            self.settle_delivery(&sent, DeliveryOutcome::Failed(again))
                .await;
        }
    }

    async fn delivery(&self, sent: &Delivery) -> Delivery {
        let found = self.store.delivery(&sent.org_id, sent.mode, &sent.id).await;
        found.unwrap().unwrap()
    }

    pub(crate) async fn deliveries(
        &self,
        org: &OrgId,
        filter: DeliveryFilter,
    ) -> (Vec<Delivery>, u64) {
        let filter = DeliveryFilter {
            limit: filter.limit.max(1_000),
            ..filter
        };
        let page = self.store.deliveries(org, Mode::Live, filter).await;
        let page = page.unwrap().unwrap();
        (page.deliveries, page.count)
    }
}

fn places(deliveries: &[ClaimedDelivery]) -> Vec<(&str, EventType)> {
    let mut places: Vec<_> = deliveries
        .iter()
        .map(|sent| (sent.delivery.url.as_str(), sent.delivery.kind))
        .collect();
    places.sort_by_key(|(url, kind)| (*url, kind.as_str()));
    places
}

/// Whatever ends a job writes its deliveries in the same step.
#[tokio::test(flavor = "multi_thread")]
async fn each_end_of_a_job_is_told_to_whoever_asked_for_it() {
    let f = fresh().await;
    let org = f.org(100).await;
    let all = f.endpoint(&org.id, &[]).await;
    let failures = f.endpoint(&org.id, &[EventType::JobFailed]).await;
    let (off, deleted) = (
        f.endpoint(&org.id, &[]).await,
        f.endpoint(&org.id, &[]).await,
    );
    let switched_off = EndpointChange {
        enabled: Some(false),
        ..EndpointChange::default()
    };
    f.store
        .change_endpoint(&org.id, Mode::Live, &off.id, switched_off, f.now())
        .await
        .unwrap();
    f.store
        .delete_endpoint(&org.id, Mode::Live, &deleted.id, f.now())
        .await
        .unwrap();
    let foreign = f.org(0).await;
    f.endpoint(&foreign.id, &[]).await;
    let sandbox = Endpoint {
        mode: Mode::Test,
        ..f.new_endpoint(&org.id, &[])
    };
    assert!(f.store.create_endpoint(&sandbox, 9).await.unwrap());

    let own = "https://own.example/hook";
    let with_own = |new| NewJob {
        webhook_url: Some(own.to_owned()),
        ..new
    };
    assert_eq!(f.store.next_delivery().await.unwrap(), None);
    f.accepted(with_own(f.new_job(&org.id, 1))).await;
    let held = f.claim(1).await.remove(0);
    let completed = f.settle(&held, f.completed(Vec::new(), 1)).await;
    assert_eq!(
        f.store.next_delivery().await.unwrap(),
        completed.completed_at
    );
    let sent = f.due().await;
    let kind = EventType::JobCompleted;
    assert_eq!(places(&sent), [(all.url.as_str(), kind), (own, kind)]);
    for sent in &sent {
        let delivery = &sent.delivery;
        assert_eq!(delivery.event.job(), completed.id);
        assert_eq!((delivery.attempts, sent.failed, &sent.data), (1, 0, &None));
        assert_eq!(delivery.status, DeliveryStatus::Pending);
        assert_eq!(Some(delivery.created_at), completed.completed_at);
        assert_eq!(delivery.endpoint_id.is_none(), delivery.url == own);
        assert_eq!(*delivery, f.delivery(delivery).await);
    }

    let held = f.running(&org.id, 1).await;
    f.settle(&held, f.failed()).await;
    let kind = EventType::JobFailed;
    let mut both = [(all.url.as_str(), kind), (failures.url.as_str(), kind)];
    both.sort_by_key(|(url, _)| *url);
    assert_eq!(places(&f.due().await), both);

    f.cancelled(f.new_job(&org.id, 1)).await;
    let kind = EventType::JobCancelled;
    assert_eq!(places(&f.due().await), [(all.url.as_str(), kind)]);

    f.accepted(NewJob {
        start_by: f.now(),
        ..f.new_job(&org.id, 1)
    })
    .await;
    f.store
        .expire_jobs(overdue(), f.entries(1), f.now())
        .await
        .unwrap();
    assert_eq!(places(&f.due().await), both);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_is_settled_once_and_by_whoever_made_it() {
    let f = fresh().await;
    let org = f.org(100).await;
    f.endpoint(&org.id, &[]).await;
    f.ended(&org.id).await;
    let first = f.due().await.remove(0);
    assert!(f.due().await.is_empty(), "it is under way");
    assert_eq!(
        f.store.next_delivery().await.unwrap(),
        first.delivery.next_attempt_at
    );

    // Nothing was heard of it: it is begun again, and the first one has nothing more to say.
    f.advance(LEASE);
    let second = f.due().await.remove(0);
    assert_eq!(second.delivery.attempts, 2);
    assert_eq!(second.delivery.id, first.delivery.id);
    let delivered = DeliveryOutcome::Delivered;
    assert_eq!(f.settle_delivery(&first, delivered).await, Settled::Lost);
    let again = f.now().plus(Duration::from_secs(5));
    let failed = DeliveryOutcome::Failed(Some(again));
    assert_eq!(f.settle_delivery(&second, failed).await, Settled::Done);
    assert_eq!(f.settle_delivery(&second, delivered).await, Settled::Lost);
    let waiting = f.delivery(&first.delivery).await;
    assert_eq!(waiting.status, DeliveryStatus::Pending);
    assert_eq!(waiting.next_attempt_at, Some(again));
    let last = waiting.last.unwrap();
    assert_eq!((last.response_status, last.duration_ms), (Some(500), 12));
    assert_eq!(waiting.error.as_deref(), Some("it answered 500"));

    assert!(f.due().await.is_empty(), "it waits");
    f.advance(Duration::from_secs(5));
    let third = f.due().await.remove(0);
    assert_eq!((third.delivery.attempts, third.failed), (3, 1));
    assert_eq!(f.settle_delivery(&third, delivered).await, Settled::Done);
    let done = f.delivery(&first.delivery).await;
    assert_eq!(done.status, DeliveryStatus::Delivered);
    assert_eq!((done.attempts, done.next_attempt_at), (3, None));
    assert_eq!(done.error, None);
    assert_eq!(f.store.next_delivery().await.unwrap(), None);
    check(f).await;
}

/// What a dead process had begun need not wait for the end of its lease.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_under_way_is_due_when_it_is_released() {
    let f = fresh().await;
    let org = f.org(100).await;
    f.endpoint(&org.id, &[]).await;
    f.ended(&org.id).await;
    f.ended(&org.id).await;
    let mut sent = f.due().await;
    let waiting = sent.pop().unwrap();
    let again = f.now().plus(Duration::from_secs(5));
    f.settle_delivery(&waiting, DeliveryOutcome::Failed(Some(again)))
        .await;
    assert_eq!(f.store.release_deliveries(f.now()).await.unwrap(), 1);
    let due = f.due().await;
    assert_eq!(due.len(), 1, "one that waits goes on waiting");
    assert_eq!(due[0].delivery.id, sent[0].delivery.id);
    assert_eq!(
        f.settle_delivery(&sent[0], DeliveryOutcome::Delivered)
            .await,
        Settled::Lost
    );
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_take_turns() {
    let f = fresh().await;
    let mut lanes = Vec::new();
    for _ in 0..3 {
        let org = f.org(100).await;
        let endpoint = f.endpoint(&org.id, &[]).await;
        for _ in 0..5 {
            f.ended(&org.id).await;
        }
        lanes.push(Lane::of_endpoint(&org.id, &endpoint.id));
    }
    lanes.sort();
    let lanes_of = |claimed: &ClaimedDeliveries| -> Vec<Lane> {
        claimed
            .deliveries
            .iter()
            .map(|sent| sent.lane.clone())
            .collect()
    };
    let claim = |limit, held: &[(&Lane, usize)], after: Option<&Lane>| DeliveryClaim {
        limit,
        share: 2,
        held: held
            .iter()
            .map(|(lane, count)| ((*lane).clone(), *count))
            .collect(),
        after: after.cloned(),
        ..f.delivery_claim()
    };
    let [a, b, c] = [&lanes[0], &lanes[1], &lanes[2]];
    let first = f.claim_deliveries(claim(3, &[], None)).await;
    assert_eq!(lanes_of(&first), [a, a, b].map(Clone::clone));
    let second = f
        .claim_deliveries(claim(4, &[(a, 2), (b, 1)], Some(b)))
        .await;
    assert_eq!(lanes_of(&second), [c, c, b].map(Clone::clone));
    // All have what one may have.
    let full = [(a, 2), (b, 2), (c, 2)];
    let third = f.claim_deliveries(claim(4, &full, Some(b))).await;
    assert_eq!(third.deliveries, []);
    // What is under way counts wherever it is sent from: it must have ended before they are told that nobody holds anything.
    for sent in first.deliveries.iter().chain(&second.deliveries) {
        f.settle_delivery(sent, DeliveryOutcome::Delivered).await;
    }
    // One wants to be left alone.
    let patient = DeliveryClaim {
        closed: HashSet::from([a.clone(), b.clone()]),
        ..claim(4, &[], None)
    };
    let fourth = f.claim_deliveries(patient).await;
    assert_eq!(lanes_of(&fourth), [c, c].map(Clone::clone));
    // The oldest of each come first.
    let rest = f.claim_deliveries(claim(100, &[], None)).await;
    let mut of_a: Vec<Timestamp> = [&first, &rest]
        .iter()
        .flat_map(|claimed| &claimed.deliveries)
        .filter(|sent| sent.lane == *a)
        .map(|sent| sent.delivery.created_at)
        .collect();
    assert!(of_a.is_sorted(), "{of_a:?}");
    of_a.dedup();
    assert_eq!(of_a.len(), 4);
    check(f).await;
}

/// However many endpoints and addresses it has, an organization leaves places to others.
#[tokio::test(flavor = "multi_thread")]
async fn an_organization_has_its_share_in_all() {
    let f = fresh().await;
    let (greedy, other) = (f.org(100).await, f.org(100).await);
    for _ in 0..4 {
        f.endpoint(&greedy.id, &[]).await;
    }
    f.endpoint(&other.id, &[]).await;
    for host in ["one.example", "two.example/hook"] {
        let own = NewJob {
            webhook_url: Some(format!("https://{host}")),
            ..f.new_job(&greedy.id, 1)
        };
        f.cancelled(own).await;
    }
    f.ended(&other.id).await;
    let claim = |held| DeliveryClaim {
        share: 2,
        share_of_organization: 3,
        held,
        ..f.delivery_claim()
    };
    let claimed = f.claim_deliveries(claim(HashMap::new())).await.deliveries;
    let of = |claimed: &[ClaimedDelivery], org: &OrgId| {
        let theirs = claimed.iter().filter(|sent| sent.delivery.org_id == *org);
        theirs.count()
    };
    assert_eq!(of(&claimed, &greedy.id), 3);
    assert_eq!(of(&claimed, &other.id), 1);
    let held: HashMap<Lane, usize> = claimed.into_iter().map(|sent| (sent.lane, 1)).collect();
    for host in ["one.example", "two.example"] {
        let lane = Lane(format!("{}/live/{host}", greedy.id));
        assert!(held.contains_key(&lane), "{host}: {held:?}");
    }
    let more = f.claim_deliveries(claim(held)).await.deliveries;
    assert_eq!(more, []);
    assert_eq!(f.due().await.len(), 7);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_gone_is_sent_nothing_more_and_the_others_are_told() {
    let f = fresh().await;
    let org = f.org(100).await;
    let gone = f.endpoint(&org.id, &[EventType::JobCancelled]).await;
    let other = f.endpoint(&org.id, &[EventType::EndpointDisabled]).await;
    f.endpoint(&org.id, &[EventType::JobFailed]).await;
    for _ in 0..3 {
        f.ended(&org.id).await;
    }
    let sent = f
        .claim_deliveries(DeliveryClaim {
            limit: 1,
            ..f.delivery_claim()
        })
        .await
        .deliveries
        .remove(0);
    let settled = f.settle_delivery(&sent, DeliveryOutcome::Gone).await;
    assert_eq!(settled, Settled::SwitchedOff);
    let (why, at) = f.look_at(&gone).await.disabled.unwrap();
    assert_eq!(why, Disabled::Gone);
    assert_eq!(
        f.delivery(&sent.delivery).await.status,
        DeliveryStatus::Failed
    );

    let claimed = f.claim_deliveries(f.delivery_claim()).await;
    let [notice] = claimed.deliveries.try_into().unwrap();
    assert_eq!(notice.delivery.url, other.url);
    assert_eq!(notice.delivery.kind, EventType::EndpointDisabled);
    assert_eq!(notice.delivery.created_at, at);
    let data: serde_json::Value = serde_json::from_str(notice.data.as_deref().unwrap()).unwrap();
    let expected =
        serde_json::json!({"endpointId": gone.id.as_str(), "url": gone.url, "reason": "gone"});
    assert_eq!(data, expected);
    let filter = DeliveryFilter {
        endpoint: Some(gone.id.clone()),
        status: Some(DeliveryStatus::Failed),
        ..DeliveryFilter::default()
    };
    let (failed, count) = f.deliveries(&org.id, filter).await;
    assert_eq!(count, 3);
    let why = failed[0].error.as_deref();
    assert_eq!(
        (why, failed[0].attempts),
        (Some("the endpoint is switched off"), 0)
    );
    // Nothing is written for it any more.
    f.ended(&org.id).await;
    assert!(f.due().await.is_empty());
    let again = f
        .store
        .resend_delivery(&org.id, Mode::Live, &sent.delivery.id, f.now());
    assert_eq!(again.await.unwrap(), Resending::SwitchedOff);
    check(f).await;
}

/// The address of a job is one delivery, and says nothing of others of its organization.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_jobs_own_address_only_its_delivery_ends() {
    let f = fresh().await;
    let org = f.org(100).await;
    let own = |url: &str| NewJob {
        webhook_url: Some(url.to_owned()),
        ..f.new_job(&org.id, 1)
    };
    f.cancelled(own("https://one.example")).await;
    f.cancelled(own("https://two.example")).await;
    let sent = f.due().await;
    let settled = f.settle_delivery(&sent[0], DeliveryOutcome::Gone).await;
    assert_eq!(settled, Settled::Done);
    let settled = f
        .settle_delivery(&sent[1], DeliveryOutcome::Failed(None))
        .await;
    assert_eq!(settled, Settled::Done);
    for sent in &sent {
        let failed = f.delivery(&sent.delivery).await;
        assert_eq!(failed.status, DeliveryStatus::Failed);
    }
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_only_fails_is_switched_off_after_five_days() {
    let f = fresh().await;
    let org = f.org(100).await;
    let endpoint = f.endpoint(&org.id, &[]).await;
    let fail = async || {
        f.ended(&org.id).await;
        let sent = f.due().await.pop().unwrap();
        f.settle_delivery(&sent, DeliveryOutcome::Failed(None))
            .await
    };
    assert_eq!(fail().await, Settled::Done);
    let since = f.look_at(&endpoint).await.failing_since.unwrap();
    f.advance(FAILING_LIMIT.saturating_sub(Duration::from_mins(1)));
    assert_eq!(fail().await, Settled::Done);
    assert_eq!(f.look_at(&endpoint).await.failing_since, Some(since));
    // One that arrives begins the time anew.
    f.ended(&org.id).await;
    let sent = f.due().await.pop().unwrap();
    f.settle_delivery(&sent, DeliveryOutcome::Delivered).await;
    assert_eq!(f.look_at(&endpoint).await.failing_since, None);
    f.advance(Duration::from_mins(1));
    for _ in 1..FAILURES {
        assert_eq!(fail().await, Settled::Done);
    }
    // So many, but not for so long.
    assert_eq!(fail().await, Settled::Done);
    f.advance(FAILING_LIMIT);
    assert_eq!(fail().await, Settled::SwitchedOff);
    let (why, _) = f.look_at(&endpoint).await.disabled.unwrap();
    assert_eq!(why, Disabled::Failing);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_has_all_its_attempts_before_it() {
    let f = fresh().await;
    let org = f.org(100).await;
    let endpoint = f.endpoint(&org.id, &[]).await;
    f.ended(&org.id).await;
    let sent = f.due().await.remove(0);
    let resend = async || {
        let now = f.now();
        let again = f
            .store
            .resend_delivery(&org.id, Mode::Live, &sent.delivery.id, now);
        match again.await.unwrap() {
            Resending::Now(delivery) => (*delivery, now),
            other => panic!("{other:?}"),
        }
    };
    // Under way: when that fails, it begins anew at once, whatever its attempt was.
    let (same, _) = resend().await;
    assert_eq!(same, sent.delivery);
    f.settle_delivery(&sent, DeliveryOutcome::Failed(None))
        .await;
    let sent = f.due().await.remove(0);
    assert_eq!((sent.delivery.attempts, sent.failed), (2, 0));
    f.settle_delivery(&sent, DeliveryOutcome::Failed(None))
        .await;
    assert!(f.due().await.is_empty());
    let moved = EndpointChange {
        url: Some("https://elsewhere.example".to_owned()),
        ..EndpointChange::default()
    };
    f.store
        .change_endpoint(&org.id, Mode::Live, &endpoint.id, moved, f.now())
        .await
        .unwrap();
    let (again, now) = resend().await;
    assert_eq!(again.status, DeliveryStatus::Pending);
    assert_eq!(again.next_attempt_at, Some(now));
    let second = f.due().await.remove(0);
    assert_eq!(second.delivery.url, "https://elsewhere.example");
    assert_eq!((second.delivery.attempts, second.failed), (3, 0));
    assert_eq!(second.delivery.event, sent.delivery.event);
    // Waiting for its next attempt: that is due at once.
    let later = f.now().plus(Duration::from_hours(5));
    f.settle_delivery(&second, DeliveryOutcome::Failed(Some(later)))
        .await;
    let (again, now) = resend().await;
    assert_eq!(again.next_attempt_at, Some(now));
    assert_eq!(f.due().await.len(), 1);

    let other = f.org(0).await;
    for (org, mode) in [(&other.id, Mode::Live), (&org.id, Mode::Test)] {
        let id = &sent.delivery.id;
        let foreign = f.store.resend_delivery(org, mode, id, f.now()).await;
        assert_eq!(foreign.unwrap(), Resending::NotFound);
        assert_eq!(f.store.delivery(org, mode, id).await.unwrap(), None);
        let filter = DeliveryFilter {
            after: Some(id.clone()),
            ..DeliveryFilter::default()
        };
        assert_eq!(f.store.deliveries(org, mode, filter).await.unwrap(), None);
    }
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_read_in_pages_and_forgotten_from_its_old_end() {
    let f = fresh().await;
    let org = f.org(100).await;
    let endpoint = f.endpoint(&org.id, &[]).await;
    for _ in 0..5 {
        f.ended(&org.id).await;
    }
    let (all, count) = f.deliveries(&org.id, DeliveryFilter::default()).await;
    assert_eq!((all.len(), count), (5, 5));
    assert!(all.is_sorted_by_key(|delivery| std::cmp::Reverse(delivery.created_at)));
    let page = |offset, after: Option<&Delivery>| DeliveryFilter {
        limit: 2,
        offset,
        after: after.map(|delivery| delivery.id.clone()),
        endpoint: Some(endpoint.id.clone()),
        ..DeliveryFilter::default()
    };
    for (filter, expected) in [
        (page(0, None), &all[..2]),
        (page(3, None), &all[3..]),
        (page(0, Some(&all[1])), &all[2..4]),
        (page(1, Some(&all[1])), &all[3..]),
        (page(0, Some(&all[4])), &[]),
    ] {
        let found = f.store.deliveries(&org.id, Mode::Live, filter).await;
        let found = found.unwrap().unwrap();
        assert_eq!((found.deliveries.as_slice(), found.count), (expected, 5));
    }

    let sent = f.due().await;
    for sent in &sent[..4] {
        f.settle_delivery(sent, DeliveryOutcome::Delivered).await;
    }
    let (old, never) = (all[1].created_at, Timestamp::from_micros(0));
    // Three of those that have ended are old enough; one is not, and one is on its way.
    let forget = || f.store.forget_deliveries(never, old, 2);
    assert_eq!(forget().await.unwrap(), 2);
    assert_eq!(forget().await.unwrap(), 1);
    assert_eq!(forget().await.unwrap(), 0);
    let all = f.store.forget_deliveries(never, FOREVER, 9).await;
    assert_eq!(all.unwrap(), 1);
    let (left, _) = f.deliveries(&org.id, DeliveryFilter::default()).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].status, DeliveryStatus::Pending);
    check(f).await;
}

/// A receiver that puts us off again and again does not fill the disk.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_for_too_long_is_given_up() {
    let f = fresh().await;
    let org = f.org(100).await;
    f.endpoint(&org.id, &[]).await;
    f.ended(&org.id).await;
    let lost = f.due().await.remove(0);
    let later = f.now().plus(Duration::from_hours(900));
    f.settle_delivery(&lost, DeliveryOutcome::Failed(Some(later)))
        .await;
    let between = f.now();
    f.ended(&org.id).await;
    let never = Timestamp::from_micros(0);
    f.store.forget_deliveries(between, never, 9).await.unwrap();
    let given_up = f.delivery(&lost.delivery).await;
    assert_eq!(given_up.status, DeliveryStatus::Failed);
    let why = "it could not be sent in five days";
    assert_eq!(given_up.error.as_deref(), Some(why));
    assert_eq!(f.due().await.len(), 1, "the other one has time");
    // Asked for again, it has all its time again.
    let id = &lost.delivery.id;
    f.store
        .resend_delivery(&org.id, Mode::Live, id, f.now())
        .await
        .unwrap();
    f.store.forget_deliveries(between, never, 9).await.unwrap();
    assert_eq!(f.due().await.len(), 1);
    check(f).await;
}

/// What an old address does late is no fault of the new one; what we could not send is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn only_its_own_failures_are_counted() {
    let f = fresh().await;
    let org = f.org(100).await;
    let endpoint = f.endpoint(&org.id, &[]).await;
    f.ended(&org.id).await;
    let sent = f.due().await.remove(0);
    let again = f.now().plus(Duration::from_secs(30));
    f.settle_delivery(&sent, DeliveryOutcome::NotSent(again))
        .await;
    assert_eq!(f.look_at(&endpoint).await.failing_since, None);
    f.advance(Duration::from_secs(30));
    let sent = f.due().await.remove(0);
    assert_eq!((sent.delivery.attempts, sent.failed), (2, 0));
    let moved = EndpointChange {
        url: Some("https://elsewhere.example".to_owned()),
        ..EndpointChange::default()
    };
    let moved = f
        .store
        .change_endpoint(&org.id, Mode::Live, &endpoint.id, moved, f.now());
    moved.await.unwrap();
    let settled = f.settle_delivery(&sent, DeliveryOutcome::Gone).await;
    assert_eq!(settled, Settled::Done);
    let there = f.look_at(&endpoint).await;
    assert_eq!((there.disabled, there.failing_since), (None, None));
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_a_delivery_with_its_own_data() {
    let f = fresh().await;
    let org = f.org(0).await;
    let endpoint = f.endpoint(&org.id, &[EventType::JobFailed]).await;
    let notice = |endpoint: Option<&Endpoint>| NewNotice {
        id: f.delivery_id(),
        org_id: org.id.clone(),
        mode: Mode::Live,
        event: f.event_id(),
        kind: EventType::Test,
        data: r#"{"message":"hello"}"#.to_owned(),
        endpoint: endpoint.map(|endpoint| endpoint.id.clone()),
        url: "https://hooks.example/test".to_owned(),
        now: f.now(),
    };
    for endpoint in [Some(&endpoint), None] {
        let new = notice(endpoint);
        let written = f.store.send_notice(new.clone()).await.unwrap();
        assert_eq!((&written.id, &written.event), (&new.id, &new.event));
        assert_eq!(written.kind, EventType::Test);
        let sent = f.due().await.remove(0);
        assert_eq!(sent.data, Some(new.data));
        assert_eq!(sent.delivery.endpoint_id, new.endpoint);
    }
    check(f).await;
}
