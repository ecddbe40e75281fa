//! A store in which there is some of everything.

use crate::assets::{recorded, upload};
use crate::attempts::attempt;
use crate::fixture::{Fixture, asked, credits};
use crate::idempotency::keyed;
use crate::limits::{moments, usage};
use crate::webhooks::MANY;
use std::time::Duration;
use vydra_core::api_key::KeyHash;
use vydra_core::asset::{Asset, AssetRole};
use vydra_core::idempotency::StoredAnswer;
use vydra_core::ids::OrgId;
use vydra_core::job::Mode;
use vydra_core::plan::LimitOverrides;
use vydra_core::session::SessionMark;
use vydra_core::user::Role;
use vydra_core::webhook::EventType;
use vydra_store::store::{
    DeliveryOutcome, EndpointChange, KeyUse, NewJob, NewNotice, Old, PruneAt, Usage,
};

/// What its callers hold.
pub(crate) struct Rich {
    pub(crate) org: OrgId,
    pub(crate) other: OrgId,
    pub(crate) key: KeyHash,
    pub(crate) session: SessionMark,
}

/// Every table has rows, and whatever may be empty in a row is so in one and not in another.
pub(crate) async fn rich(f: &Fixture) -> Rich {
    let org = f
        .org_of(f.new_org("acme \"& sons\" \u{1F98A}\n\\", 100_000, 500))
        .await
        .id;
    let other = f.org(7).await.id;
    let (key, session) = people(f, &org, &other).await;
    // So many that there is a mark among the events, in between those of others.
    for _ in 0..260 {
        f.ended(&org).await;
    }
    f.ended(&other).await;
    old_jobs(f, &org).await;
    jobs(f, &org).await;
    webhooks(f, &org).await;
    Rich {
        org,
        other,
        key,
        session,
    }
}

async fn people(f: &Fixture, org: &OrgId, other: &OrgId) -> (KeyHash, SessionMark) {
    let (bot_key, bot_hash) = f.new_key(org);
    let bot = f.new_org("bot", 0, 10_000);
    let bot_key = vydra_core::api_key::ApiKey {
        org_id: bot.id.clone(),
        ..bot_key
    };
    f.store
        .register_bot(bot, "payer@example.com", &bot_key, &bot_hash)
        .await
        .unwrap();
    let overrides = LimitOverrides {
        rpm: Some(7),
        rph: Some(8),
        rpd: Some(9),
        concurrent: Some(10),
    };
    f.store
        .set_plan(other, "enterprise", overrides, f.now())
        .await
        .unwrap();
    let kept = Some(Duration::from_hours(9_999));
    f.store.set_retention(other, kept, f.now()).await.unwrap();
    let ada = f.user("ada@example.com", org).await;
    f.user("grace@example.com", other).await;
    let role = Role::Member;
    f.store
        .set_membership(&ada.id, other, role, f.now())
        .await
        .unwrap();
    let session = f.session(&ada, org).await;
    // Rotated twice: the first names a key that comes later, and the last one that came before.
    let (first, hash) = f.new_key(org);
    let first = vydra_core::api_key::ApiKey {
        user_id: Some(ada.id.clone()),
        ..first
    };
    f.store.create_key(&first, &hash).await.unwrap();
    let rotation = f.new_rotation(&first, f.until());
    let key = rotation.hash.clone();
    f.store.rotate_key(rotation).await.unwrap();
    let (revoked, hash) = f.new_key(org);
    f.store.create_key(&revoked, &hash).await.unwrap();
    f.store.revoke_key(&revoked.id, f.now()).await.unwrap();
    let requests = [5, 5, 5, 6, 1_000_000].map(|ago| f.now().as_micros() - ago);
    let mut requests = requests.to_vec();
    requests.sort_unstable();
    f.store
        .record_usage(Usage {
            keys: vec![KeyUse {
                key: first.id,
                requests: 5,
                last_used_at: f.now(),
            }],
            ..usage(vec![
                (org.clone(), moments(requests.clone())),
                (other.clone(), moments([requests[0]])),
            ])
        })
        .await
        .unwrap();
    (key, session)
}

/// Some of what was there is carried forward.
async fn old_jobs(f: &Fixture, org: &OrgId) {
    let new = NewJob {
        workflow: Some("edit_image".to_owned()),
        ..f.new_job(org, 9)
    };
    f.accepted(new).await;
    let [held] = <[_; 1]>::try_from(f.claim(2).await).unwrap();
    let output = f.output(&held.job);
    f.settle(&held, f.completed(vec![output], 0)).await;
    f.ended(org).await;
    f.advance(Duration::from_hours(72));
    let now = f.now();
    let old = Old {
        before: now.minus(Duration::from_hours(24)),
        now,
    };
    let mut at = Some(PruneAt::START);
    while let Some(place) = at {
        at = f.store.prune(old, place, 50).await.unwrap().next;
    }
    // The feed is long again.
    for _ in 0..260 {
        f.ended(org).await;
    }
}

async fn jobs(f: &Fixture, org: &OrgId) {
    f.store
        .count_provider_day("fal", credits(5), 99, f.now())
        .await
        .unwrap();
    // Made in two steps, with what came late, a file that is gone and one that has no thumbnail.
    let taken = recorded(f, upload(f, org, Mode::Live)).await;
    let (key, hash) = f.new_key(org);
    f.store.create_key(&key, &hash).await.unwrap();
    let new = NewJob {
        key_id: Some(key.id),
        workflow: Some("edit_image".to_owned()),
        takes_in: vec![taken.id.clone()],
        ..keyed(f, org, "once")
    };
    f.accepted(new).await;
    let [held] = <[_; 1]>::try_from(f.claim(2).await).unwrap();
    let step = Asset {
        role: AssetRole::Step,
        duration_ms: Some(1_500),
        dimensions: None,
        ..f.output(&held.job)
    };
    f.store
        .finish_step(&held.lease, &asked(0, "fal"), vec![step], f.until())
        .await
        .unwrap();
    for failure in [Some("unavailable"), None] {
        let mut attempt = attempt(f, &held.job, "fal", failure);
        attempt.cost = failure.map(|_| "0.04 USD".to_owned());
        f.store.record_attempt(&attempt).await.unwrap();
    }
    let outputs = [f.output(&held.job), f.output(&held.job)];
    f.store.record_no_thumbnail(&taken.id).await.unwrap();
    let done = f.settle(&held, f.completed(outputs.to_vec(), 2)).await;
    let late = Asset {
        role: AssetRole::Late,
        ..f.output(&done)
    };
    assert!(f.store.keep_late(&done.id, vec![late]).await.unwrap());
    let [gone, _] = outputs;
    let deleted = f.store.delete_asset(org, Mode::Live, &gone.id, f.now());
    deleted.await.unwrap();
    f.store.record_erased(&[gone.id], f.now()).await.unwrap();
    let key = vydra_core::idempotency::IdempotencyKey::parse("once").unwrap();
    let answer = StoredAnswer {
        status: 201,
        headers: vec![("location".to_owned(), "https://vydra.test/x".to_owned())],
        body: vec![0, 159, 146, 150, b'{'],
    };
    f.store
        .record_answer(org, Mode::Live, &key, answer)
        .await
        .unwrap();

    let held = f.running(org, 30).await;
    f.settle(&held, f.failed()).await;
    let held = f.running(org, 40).await;
    let (step, until) = (asked(1, "replicate"), f.until());
    f.store
        .mark_submitting(&held.lease, &step, until)
        .await
        .unwrap();
    f.store
        .record_task(&held.lease, &step, "task-1", until)
        .await
        .unwrap();
    f.store
        .report_progress(&held.lease, 40, Some("drawing \u{0}"), until)
        .await
        .unwrap();
    f.job(org, 50).await;
    let sandboxed = NewJob {
        mode: Mode::Test,
        takes_in: Vec::new(),
        ..f.new_job(org, 5)
    };
    f.accepted(sandboxed).await;
    let input = recorded(f, upload(f, org, Mode::Live)).await;
    let waits = NewJob {
        takes_in: vec![input.id],
        webhook_url: Some("https://own.example/hook?a=b".to_owned()),
        ..f.new_job(org, 5)
    };
    f.accepted(waits).await;
}

async fn webhooks(f: &Fixture, org: &OrgId) {
    let live = Mode::Live;
    f.store
        .webhook_secrets(org, live, &f.webhook_secret())
        .await
        .unwrap();
    f.store
        .rotate_webhook_secret(org, live, &f.webhook_secret(), f.until(), f.now())
        .await
        .unwrap();
    let endpoint = f.endpoint(org, &[]).await;
    f.endpoint(org, &[EventType::JobFailed]).await;
    let off = f.endpoint(org, &[]).await;
    let change = EndpointChange {
        enabled: Some(false),
        description: Some("mine".to_owned()),
        ..EndpointChange::default()
    };
    f.store
        .change_endpoint(org, live, &off.id, change, f.now())
        .await
        .unwrap();
    let deleted = f.new_endpoint(org, &[]);
    assert!(f.store.create_endpoint(&deleted, MANY).await.unwrap());
    f.store
        .delete_endpoint(org, live, &deleted.id, f.now())
        .await
        .unwrap();
    f.ended(org).await;
    for sent in f.due().await {
        f.settle_delivery(&sent, DeliveryOutcome::Delivered).await;
    }
    f.ended(org).await;
    for sent in f.due().await {
        let again = Some(f.now().plus(Duration::from_secs(5)));
        f.settle_delivery(&sent, DeliveryOutcome::Failed(again))
            .await;
    }
    f.ended(org).await;
    let notice = NewNotice {
        id: f.delivery_id(),
        org_id: org.clone(),
        mode: live,
        event: f.event_id(),
        kind: EventType::Test,
        data: r#"{"message":"hello"}"#.to_owned(),
        endpoint: Some(endpoint.id),
        url: "https://hooks.example/test".to_owned(),
        now: f.now(),
    };
    f.store.send_notice(notice).await.unwrap();
}
