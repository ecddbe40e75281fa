use crate::fixture::{Fixture, check, fresh};
use std::time::Duration;
use vydra_core::ids::OrgId;
use vydra_core::job::Mode;
use vydra_core::time::Timestamp;
use vydra_core::webhook::{Disabled, Endpoint, EventType, WebhookSecret, WebhookSecrets};
use vydra_store::store::EndpointChange;

pub(crate) const MANY: u32 = 100;

impl Fixture {
    pub(crate) fn new_endpoint(&self, org: &OrgId, events: &[EventType]) -> Endpoint {
        let id = self.endpoint_id();
        let now = self.now();
        Endpoint {
            url: format!("https://hooks.example/{id}"),
            id,
            org_id: org.clone(),
            mode: Mode::Live,
            events: events.to_vec(),
            description: None,
            disabled: None,
            failing_since: None,
            created_at: now,
            updated_at: now,
        }
    }

    /// One that wants to know of `events`; of all when there are none.
    pub(crate) async fn endpoint(&self, org: &OrgId, events: &[EventType]) -> Endpoint {
        let new = self.new_endpoint(org, events);
        assert!(self.store.create_endpoint(&new, MANY).await.unwrap());
        new
    }

    pub(crate) async fn look_at(&self, endpoint: &Endpoint) -> Endpoint {
        let (org, mode) = (&endpoint.org_id, endpoint.mode);
        let found = self.store.endpoint(org, mode, &endpoint.id).await.unwrap();
        found.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_secret_stays_and_a_rotation_keeps_the_one_before() {
    let f = fresh().await;
    let org = f.org(0).await;
    let [first, other, second, third, last] = [(); 5].map(|()| f.webhook_secret());
    let live = Mode::Live;
    let kept = f
        .store
        .webhook_secrets(&org.id, live, &first)
        .await
        .unwrap();
    assert_eq!(kept.as_ref().map(|kept| &kept.current), Some(&first));
    let again = f
        .store
        .webhook_secrets(&org.id, live, &other)
        .await
        .unwrap();
    assert_eq!(again, kept);
    // The sandbox's is another one.
    let test = f.store.webhook_secrets(&org.id, Mode::Test, &other).await;
    assert_eq!(test.unwrap().unwrap().current, other);

    let until = |hours| f.now().plus(Duration::from_hours(hours));
    let rotate = async |fresh: &WebhookSecret, until| -> WebhookSecrets {
        let store = &f.store;
        let rotated = store.rotate_webhook_secret(&org.id, live, fresh, until, f.now());
        rotated.await.unwrap().unwrap()
    };
    let (day, week) = (until(24), until(168));
    let rotated = rotate(&second, week).await;
    assert_eq!(rotated.current, second);
    assert_eq!(rotated.previous, [(first.clone(), week)]);
    // A try whose answer was lost is made again: the one that receivers have is still good.
    let rotated = rotate(&third, day).await;
    assert_eq!(rotated.previous, [(second, day), (first.clone(), week)]);
    let read = f
        .store
        .webhook_secrets(&org.id, live, &other)
        .await
        .unwrap();
    assert_eq!(read, Some(rotated));
    f.advance(Duration::from_hours(25));
    let rotated = rotate(&other, week).await;
    assert_eq!(rotated.previous, [(third, week), (first, week)]);
    // After a leak none of them is.
    let rotated = rotate(&last, f.now()).await;
    assert_eq!((rotated.current, rotated.previous), (last, Vec::new()));
    for _ in 0..9 {
        let rotated = rotate(&f.webhook_secret(), until(1)).await;
        assert!(rotated.previous.len() <= 4);
    }

    // One that never had a secret has nothing to keep.
    let new = f.org(0).await;
    let begun = f
        .store
        .rotate_webhook_secret(&new.id, live, &other, week, f.now());
    let begun = begun.await.unwrap().unwrap();
    assert_eq!((begun.current, begun.previous), (other.clone(), Vec::new()));

    let nobody = f.org_id();
    let none = f
        .store
        .webhook_secrets(&nobody, live, &other)
        .await
        .unwrap();
    assert_eq!(none, None);
    let none = f
        .store
        .rotate_webhook_secret(&nobody, live, &other, week, f.now());
    assert_eq!(none.await.unwrap(), None);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_belongs_to_one_organization_and_mode() {
    let f = fresh().await;
    let (org, other) = (f.org(0).await, f.org(0).await);
    let first = f.endpoint(&org.id, &[EventType::JobFailed]).await;
    let second = f.endpoint(&org.id, &[]).await;
    let test = Endpoint {
        mode: Mode::Test,
        ..f.new_endpoint(&org.id, &[])
    };
    assert!(f.store.create_endpoint(&test, 1).await.unwrap());

    let list = |org, mode| f.store.endpoints(org, mode);
    assert_eq!(
        list(&org.id, Mode::Live).await.unwrap(),
        [first.clone(), second.clone()]
    );
    assert_eq!(list(&org.id, Mode::Test).await.unwrap(), [test]);
    assert_eq!(list(&other.id, Mode::Live).await.unwrap(), []);
    assert_eq!(f.look_at(&first).await, first);
    for (org, mode) in [(&other.id, Mode::Live), (&org.id, Mode::Test)] {
        let found = f.store.endpoint(org, mode, &first.id).await.unwrap();
        assert_eq!(found, None);
        let change = EndpointChange {
            enabled: Some(false),
            ..EndpointChange::default()
        };
        let changed = f
            .store
            .change_endpoint(org, mode, &first.id, change, f.now());
        assert_eq!(changed.await.unwrap(), None);
        let deleted = f.store.delete_endpoint(org, mode, &first.id, f.now());
        assert!(!deleted.await.unwrap());
    }
    assert_eq!(f.look_at(&first).await, first);

    // The third of the mode is one too many, until one is deleted.
    let third = f.new_endpoint(&org.id, &[]);
    assert!(!f.store.create_endpoint(&third, 2).await.unwrap());
    let delete = || {
        f.store
            .delete_endpoint(&org.id, Mode::Live, &first.id, f.now())
    };
    assert!(delete().await.unwrap());
    assert!(!delete().await.unwrap());
    assert!(f.store.create_endpoint(&third, 2).await.unwrap());
    assert_eq!(
        list(&org.id, Mode::Live).await.unwrap(),
        [second, third.clone()]
    );
    let gone = f.store.endpoint(&org.id, Mode::Live, &first.id).await;
    assert_eq!(gone.unwrap(), None);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_leaves_what_it_does_not_name() {
    let f = fresh().await;
    let org = f.org(0).await;
    let made = f.endpoint(&org.id, &[EventType::JobFailed]).await;
    let change = async |change| -> Endpoint {
        let now = f.now();
        let changed = f
            .store
            .change_endpoint(&org.id, Mode::Live, &made.id, change, now);
        let changed = changed.await.unwrap().unwrap();
        assert_eq!(changed.updated_at, now);
        assert_eq!(changed, f.look_at(&made).await);
        changed
    };
    let none = EndpointChange::default();

    let same = change(none.clone()).await;
    assert_eq!(
        Endpoint {
            updated_at: made.updated_at,
            ..same
        },
        made
    );
    let moved = change(EndpointChange {
        url: Some("https://elsewhere.example".to_owned()),
        description: Some("ours".to_owned()),
        ..none.clone()
    })
    .await;
    assert_eq!(moved.url, "https://elsewhere.example");
    assert_eq!(moved.description.as_deref(), Some("ours"));
    assert_eq!(moved.events, made.events);
    let all = change(EndpointChange {
        events: Some(Vec::new()),
        description: Some(String::new()),
        ..none.clone()
    })
    .await;
    assert_eq!((all.events, all.description), (Vec::new(), None));

    let off = EndpointChange {
        enabled: Some(false),
        ..none.clone()
    };
    let switched_off = change(off.clone()).await.disabled.unwrap();
    assert_eq!(switched_off.0, Disabled::ByOwner);
    // It was off already, and keeps its time.
    f.advance(Duration::from_hours(1));
    assert_eq!(change(off).await.disabled, Some(switched_off));
    let on = change(EndpointChange {
        enabled: Some(true),
        ..none
    })
    .await;
    assert_eq!(on.disabled, None);
    check(f).await;
}

/// The time of an endpoint's failures begins anew with another address, and when it is switched on again.
#[tokio::test(flavor = "multi_thread")]
async fn another_address_begins_without_failures() {
    let f = fresh().await;
    let org = f.org(100).await;
    let endpoint = f.endpoint(&org.id, &[]).await;
    let failing = async || -> Option<Timestamp> { f.look_at(&endpoint).await.failing_since };
    for change in [
        EndpointChange {
            url: Some("https://elsewhere.example".to_owned()),
            ..EndpointChange::default()
        },
        EndpointChange {
            enabled: Some(true),
            ..EndpointChange::default()
        },
    ] {
        f.ended(&org.id).await;
        f.fail_all().await;
        assert!(failing().await.is_some());
        let (org, id) = (&org.id, &endpoint.id);
        let described = EndpointChange {
            description: Some(String::new()),
            ..EndpointChange::default()
        };
        let changed = f
            .store
            .change_endpoint(org, Mode::Live, id, described, f.now());
        assert!(changed.await.unwrap().unwrap().failing_since.is_some());
        let changed = f
            .store
            .change_endpoint(org, Mode::Live, id, change, f.now());
        assert_eq!(changed.await.unwrap().unwrap().failing_since, None);
    }
    check(f).await;
}
