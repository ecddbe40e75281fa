//! What is old goes, and everything that is added up stays as it was.

use crate::attempts::attempt;
use crate::backend;
use crate::fixture::{Fixture, asked, at_once, check, credits, fresh, overdue};
use crate::idempotency::{found, keyed};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use vydra_core::asset::{Asset, AssetRole};
use vydra_core::ids::{EventId, JobId, OrgId};
use vydra_core::job::{Job, JobStatus, Mode};
use vydra_core::ledger::{Entry, EntryKind};
use vydra_core::time::Timestamp;
use vydra_core::usage::UsageBy;
use vydra_store::Store;
use vydra_store::store::{
    AssetFilter, AttemptFilter, DeliveryFilter, DeliveryOutcome, EntryFilter, JobFilter, NewJob,
    Old, PruneAt, PruneCounts,
};

const DAY: Duration = Duration::from_hours(24);

/// Removes what ended before then, until there is nothing more.
async fn prune(store: &dyn Store, old: Old, limit: u32) -> PruneCounts {
    let (mut counts, mut at) = (PruneCounts::default(), Some(PruneAt::START));
    while let Some(place) = at {
        let step = store.prune(old, place, limit).await.unwrap();
        counts.add(step.counts);
        at = step.next;
    }
    counts
}

impl Fixture {
    fn older_than(&self, span: Duration) -> Old {
        let now = self.now();
        Old {
            before: now.minus(span),
            now,
        }
    }

    /// How many rows a table has.
    fn rows(&self, table: &str) -> usize {
        let sql = format!("SELECT cast(count(*) AS text) FROM {table}");
        let count = backend::text(self.directory.path(), &sql);
        count.parse().unwrap()
    }

    async fn listed_jobs(&self, org: &OrgId, filter: JobFilter) -> (Vec<JobId>, u64) {
        let filter = JobFilter {
            limit: 10_000,
            ..filter
        };
        let page = self.store.jobs(org, Mode::Live, filter).await.unwrap();
        let ids = page.jobs.into_iter().map(|job| job.id);
        (ids.collect(), page.count)
    }

    async fn listed_entries(&self, org: &OrgId, filter: EntryFilter) -> (Vec<Entry>, u64) {
        let filter = EntryFilter {
            limit: 10_000,
            ..filter
        };
        let page = self.store.transactions(org, Mode::Live, filter).await;
        let page = page.unwrap().unwrap();
        (page.entries, page.count)
    }

    /// The feed from its beginning, in pages.
    async fn feed(&self, org: &OrgId, limit: u32) -> Vec<EventId> {
        let mut seen: Vec<EventId> = Vec::new();
        loop {
            let page = self.store.events(org, Mode::Live, seen.last(), limit);
            let page = page.await.unwrap().unwrap();
            if page.is_empty() {
                return seen;
            }
            seen.extend(page.into_iter().map(|event| event.id));
        }
    }
}

fn of_role(role: AssetRole, asset: Asset) -> Asset {
    Asset { role, ..asset }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_jobs_go_with_all_that_is_known_of_them_and_the_books_stay() {
    let f = fresh().await;
    let org = f.org(1_000).await.id;
    f.endpoint(&org, &[]).await;
    let delivered = {
        let new = NewJob {
            workflow: Some("generate_image".to_owned()),
            ..keyed(&f, &org, "once")
        };
        f.accepted(new).await;
        let [held] = <[_; 1]>::try_from(f.claim(2).await).unwrap();
        let made = of_role(AssetRole::Step, f.output(&held.job));
        f.store
            .finish_step(&held.lease, &asked(0, "fal"), vec![made.clone()], f.until())
            .await
            .unwrap();
        f.store
            .record_attempt(&attempt(&f, &held.job, "fal", None))
            .await
            .unwrap();
        let output = f.output(&held.job);
        let job = f.settle(&held, f.completed(vec![output.clone()], 2)).await;
        let late = of_role(AssetRole::Late, f.output(&job));
        assert!(
            f.store
                .keep_late(&job.id, vec![late.clone()])
                .await
                .unwrap()
        );
        (job, output, [made, late])
    };
    let (job, output, others) = delivered;
    let held = f.running(&org, 30).await;
    let failed = f.settle(&held, f.failed()).await;
    f.store
        .count_provider_day("fal", credits(5), 99, f.now())
        .await
        .unwrap();
    for sent in f.due().await {
        f.settle_delivery(&sent, DeliveryOutcome::Delivered).await;
    }
    f.advance(100 * DAY);
    f.store
        .count_provider_day("fal", credits(5), 99, f.now())
        .await
        .unwrap();
    let held = f.running(&org, 7).await;
    let young = f
        .settle(&held, f.completed(vec![f.output(&held.job)], 0))
        .await;
    let open = f.job(&org, 3).await;

    let totals = f.store.credit_totals(&org, Mode::Live).await.unwrap();
    let old = f.older_than(90 * DAY);
    let expected = f.store.prunable(old).await.unwrap();
    let counts = prune(&*f.store, old, 2).await;
    assert_eq!(counts, expected, "as it was told before");
    let everything = PruneCounts {
        jobs: 2,
        entries: 5,
        events: 2,
        attempts: 1,
    };
    assert_eq!(counts, everything, "the grant of the beginning too");

    assert_eq!(
        f.store.credit_totals(&org, Mode::Live).await.unwrap(),
        totals
    );
    assert_eq!(f.store.open_jobs(&org, Mode::Live).await.unwrap(), 1);
    for gone in [&job, &failed] {
        assert_eq!(f.store.job(&org, &gone.id).await.unwrap(), None);
        let after = JobFilter {
            after: Some(gone.id.clone()),
            ..JobFilter::default()
        };
        assert_eq!(f.listed_jobs(&org, after).await.0, []);
        let seen = EventId::of(&gone.id);
        let unknown = f.store.events(&org, Mode::Live, Some(&seen), 9).await;
        assert_eq!(unknown.unwrap(), None);
    }
    let kept = (vec![open.id.clone(), young.id.clone()], 2);
    assert_eq!(f.listed_jobs(&org, JobFilter::default()).await, kept);
    let completed = JobFilter {
        status: Some(JobStatus::Completed),
        ..JobFilter::default()
    };
    let kept = (vec![young.id.clone()], 1);
    assert_eq!(f.listed_jobs(&org, completed).await, kept);
    let (entries, count) = f.listed_entries(&org, EntryFilter::default()).await;
    let seen: Vec<_> = entries
        .iter()
        .map(|row| (row.amount, row.balance_after))
        .collect();
    assert_eq!((seen, count), (vec![(-3, 987), (-7, 990)], 2));
    assert_eq!(f.feed(&org, 1).await, [EventId::of(&young.id)]);
    assert_eq!(f.deliveries(&org, DeliveryFilter::default()).await.1, 1);
    assert_eq!(
        found(&f, &org, "once", Timestamp::from_micros(0)).await,
        None
    );
    let attempts = AttemptFilter {
        limit: 9,
        ..AttemptFilter::default()
    };
    assert_eq!(f.store.attempts(attempts).await.unwrap(), []);
    assert_eq!((f.rows("steps"), f.rows("provider_days")), (0, 1));

    // The file outlives its job, and is found as before.
    let listed = f.store.listed_asset(&org, Mode::Live, &output.id).await;
    let listed = listed.unwrap().unwrap();
    assert_eq!(
        listed.asset,
        Asset {
            job_id: None,
            ..output
        }
    );
    assert_eq!(listed.workflow.as_deref(), Some("generate_image"));
    let of_workflow = AssetFilter {
        workflow: Some("generate_image".to_owned()),
        limit: 9,
        ..AssetFilter::default()
    };
    let page = f.store.listed_assets(&org, Mode::Live, of_workflow).await;
    let page = page.unwrap().unwrap();
    assert_eq!((page.assets, page.count), (vec![listed], 1));
    // What nobody can ask for any more is removed by the next sweep.
    let mut erasable = f.store.erasable_assets(None, 9).await.unwrap();
    erasable.sort_by(|one, other| one.id.cmp(&other.id));
    let mut expected = others.map(|asset| Asset {
        job_id: None,
        ..asset
    });
    expected.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(erasable, expected);

    let audit = f.store.audit().await.unwrap();
    assert_eq!((audit.jobs, audit.entries), (2, 2));
    assert_eq!((audit.carried_jobs, audit.carried_entries), (2, 5));
    let again = prune(&*f.store, f.older_than(90 * DAY), 100).await;
    assert_eq!(again, PruneCounts::default());
    check(f).await;
}

/// Of a file whose bytes are gone the row goes too.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_erased_files_go_with_their_job() {
    let f = fresh().await;
    let org = f.org(100).await.id;
    let held = f.running(&org, 1).await;
    let outputs = [f.output(&held.job), f.output(&held.job)];
    f.settle(&held, f.completed(outputs.to_vec(), 0)).await;
    let [erased, _] = outputs;
    let deleted = f.store.delete_asset(&org, Mode::Live, &erased.id, f.now());
    assert!(deleted.await.unwrap().is_some());
    f.store.record_erased(&[erased.id], f.now()).await.unwrap();
    f.advance(DAY);
    f.ended(&org).await;
    prune(&*f.store, f.older_than(Duration::ZERO), 9).await;
    assert_eq!(f.rows("assets"), 1);
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_stays_while_something_needs_it_and_so_does_what_is_behind_it() {
    let f = fresh().await;
    let org = f.org(1_000).await.id;
    let other = f.org(1_000).await.id;
    // Whatever holds the first one holds the second one, and nobody else's.
    let told = NewJob {
        webhook_url: Some("https://own.example".to_owned()),
        ..f.new_job(&org, 1)
    };
    let told = f.accepted(told).await;
    f.store
        .cancel_job(&org, &told.id, f.entry(), f.now())
        .await
        .unwrap();
    let second = f.ended(&org).await;
    let foreign = f.ended(&other).await;
    let last = f.ended(&other).await;
    let is_there = async |job: &Job| {
        let found = f.store.job(&job.org_id, &job.id).await.unwrap();
        found.is_some()
    };
    f.advance(DAY);
    let all = || f.older_than(Duration::ZERO);

    // Somebody is still to be told.
    prune(&*f.store, all(), 3).await;
    assert!(!is_there(&foreign).await);
    assert!(is_there(&told).await && is_there(&second).await && is_there(&last).await);
    let [sent] = <[_; 1]>::try_from(f.due().await).unwrap();
    f.settle_delivery(&sent, DeliveryOutcome::Delivered).await;

    // Something came late, and not long ago.
    let late = of_role(AssetRole::Late, f.output(&told));
    assert!(f.store.keep_late(&told.id, vec![late]).await.unwrap());
    prune(&*f.store, f.older_than(DAY / 2), 3).await;
    assert!(is_there(&told).await && is_there(&second).await);
    prune(&*f.store, all(), 3).await;
    assert!(!is_there(&told).await && !is_there(&second).await);

    // It is open.
    let open = f.job(&org, 5).await;
    let behind = f.ended(&org).await;
    f.ended(&other).await;
    prune(&*f.store, all(), 3).await;
    assert!(is_there(&open).await && is_there(&behind).await);
    f.store
        .cancel_job(&org, &open.id, f.entry(), f.now())
        .await
        .unwrap();

    // Its key still holds.
    let kept = f.accepted(keyed(&f, &org, "again")).await;
    f.store
        .cancel_job(&org, &kept.id, f.entry(), f.now())
        .await
        .unwrap();
    f.ended(&other).await;
    prune(&*f.store, all(), 3).await;
    assert!(!is_there(&open).await && !is_there(&behind).await);
    assert!(is_there(&kept).await);
    f.advance(DAY);
    prune(&*f.store, all(), 3).await;
    assert!(!is_there(&kept).await);
    check(f).await;
}

/// Its event went when less was kept; it was charged long ago, and held up by the one before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ended_not_long_ago_stays_also_without_its_event() {
    let f = fresh().await;
    let (org, other) = (f.org(1_000).await.id, f.org(9).await.id);
    let mut before = keyed(&f, &org, "holds");
    if let Some(key) = &mut before.idempotency {
        key.expires_at = f.now().plus(4 * DAY);
    }
    let before = f.accepted(before).await;
    let waits = f.job(&org, 5).await;
    let cancel = async |job: &Job| {
        let cancelled = f.store.cancel_job(&org, &job.id, f.entry(), f.now());
        cancelled.await.unwrap();
    };
    cancel(&before).await;
    f.advance(3 * DAY);
    cancel(&waits).await;
    f.ended(&other).await;
    prune(&*f.store, f.older_than(Duration::ZERO), 9).await;
    assert_eq!(f.feed(&org, 9).await, []);
    f.advance(DAY + DAY / 2);
    let counts = prune(&*f.store, f.older_than(2 * DAY), 9).await;
    assert_eq!(counts.jobs, 0, "the refund stands behind the other charge");
    let charged = EntryFilter {
        kind: Some(EntryKind::Charge),
        ..EntryFilter::default()
    };
    let (charges, _) = f.listed_entries(&org, charged).await;
    assert_eq!(charges.len(), 1, "of the one that ended lately");
    assert_eq!(charges[0].job_id.as_ref(), Some(&waits.id));
    check(f).await;
}

/// A job that was at work where the ledger is cut keeps its refund, and goes when that does.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_across_the_cut_goes_later() {
    let f = fresh().await;
    let org = f.org(1_000).await.id;
    let (slow, quick) = (f.running(&org, 10).await, f.running(&org, 20).await);
    let open = f.job(&org, 5).await;
    f.settle(&quick, f.completed(vec![], 0)).await;
    let slow = f.settle(&slow, f.failed()).await;
    f.ended(&f.org(9).await.id).await;
    f.advance(DAY);
    let all = || f.older_than(Duration::ZERO);
    prune(&*f.store, all(), 100).await;
    assert_eq!(f.store.job(&org, &quick.job.id).await.unwrap(), None);
    assert_eq!(f.look(&slow).await, slow);
    let of_slow = EntryFilter {
        job: Some(slow.id.clone()),
        ..EntryFilter::default()
    };
    let amounts = f.listed_entries(&org, of_slow.clone()).await.0;
    let amounts: Vec<i64> = amounts.iter().map(|row| row.amount).collect();
    assert_eq!(amounts, [10], "its charge is carried forward");
    // It is in no list any more, and counts in none.
    let listed = f.listed_jobs(&org, JobFilter::default()).await;
    assert_eq!(listed, (vec![open.id.clone()], 1));
    let failed = JobFilter {
        status: Some(JobStatus::Failed),
        ..JobFilter::default()
    };
    assert_eq!(f.listed_jobs(&org, failed).await, (vec![], 0));
    assert_eq!(f.feed(&org, 9).await, [], "its event went before it");
    assert_eq!(f.store.audit().await.unwrap().imbalances, []);

    f.store
        .cancel_job(&org, &open.id, f.entry(), f.now())
        .await
        .unwrap();
    f.ended(&f.org(9).await.id).await;
    f.advance(DAY);
    prune(&*f.store, all(), 100).await;
    assert_eq!(f.store.job(&org, &slow.id).await.unwrap(), None);
    assert_eq!(f.listed_jobs(&org, JobFilter::default()).await, (vec![], 0));
    check(f).await;
}

/// The audit goes on telling of what does not add up.
#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_is_not_carried_forward() {
    for forgery in [
        "UPDATE ledger SET amount = -2 WHERE seq = (SELECT max(seq) FROM ledger WHERE kind = 'charge' AND amount = -7)",
        "UPDATE ledger SET balance_after = 1 WHERE amount = 7",
        "UPDATE jobs SET refunded = 6 WHERE price = 7",
        "UPDATE jobs SET price = 8 WHERE price = 7",
        "UPDATE ledger SET previous = NULL WHERE amount = -7",
    ] {
        let f = fresh().await;
        let org = f.org(1_000).await.id;
        f.ended(&org).await;
        let held = f.running(&org, 7).await;
        f.settle(&held, f.failed()).await;
        f.ended(&org).await;
        f.execute(&format!("{}\n{forgery}", backend::UNGUARDED));
        f.advance(DAY);
        let before = f.store.audit().await.unwrap().imbalances;
        assert!(!before.is_empty(), "{forgery}");
        let counts = prune(&*f.store, f.older_than(Duration::ZERO), 9).await;
        assert!(counts.entries >= 3, "what is before it goes: {forgery}");
        let after = f.store.audit().await.unwrap().imbalances;
        assert_eq!(after, before, "{forgery}");
    }
}

/// What the audit says of what was carried forward.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_carried_forward_is_audited_too() {
    for (forgery, problem) in [
        (
            "UPDATE carried SET credits = credits + 1",
            "the balance is not the sum of its ledger rows",
        ),
        (
            "UPDATE carried SET charged = charged + 1",
            "the sum of all charges is not that of the rows",
        ),
        (
            "UPDATE carried SET refunded = refunded + 1",
            "the sum of all refunds is not that of the rows",
        ),
        (
            "UPDATE carried SET jobs = jobs + 1",
            "the count of jobs is not that of the rows",
        ),
        (
            "UPDATE carried SET entries = entries + 1",
            "the count of ledger rows is not that of the rows",
        ),
        (
            "UPDATE carried SET events = events + 1",
            "the count of events is not that of the rows",
        ),
        (
            "UPDATE carried SET job = job + 1",
            "the charge is not the price of the job",
        ),
        (
            "UPDATE carried SET event = event + 1",
            "an event that was carried forward and is still there",
        ),
        ("UPDATE carried SET until = until + 999999999999", ""),
        (
            "DELETE FROM carried",
            "a job that does not follow the one before it",
        ),
        ("DELETE FROM balances", "carried forward, without a balance"),
        (
            "INSERT INTO event_marks SELECT org_id, mode, 256, 1 FROM carried",
            "a mark of an event that is not there",
        ),
        (
            "DELETE FROM jobs WHERE seq = (SELECT max(seq) FROM jobs)",
            "the count of jobs is not that of the rows",
        ),
    ] {
        let f = fresh().await;
        let org = f.org(1_000).await.id;
        for _ in 0..3 {
            f.ended(&org).await;
        }
        f.advance(DAY);
        let old = f.older_than(Duration::ZERO);
        f.ended(&org).await;
        f.ended(&org).await;
        prune(&*f.store, old, 9).await;
        assert_eq!(f.store.audit().await.unwrap().imbalances, []);
        let guards = backend::UNGUARDED;
        let more = backend::UNGUARDED_CARRIED;
        f.execute(&format!("{guards}\n{more}\n{forgery}"));
        let told = f.store.audit().await.unwrap().imbalances;
        let is_told = told.iter().any(|one| one.problem == problem);
        assert_eq!(is_told, !problem.is_empty(), "{forgery}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_lets_nothing_else_go() {
    let f = fresh().await;
    let org = f.org(1_000).await.id;
    for _ in 0..3 {
        f.ended(&org).await;
    }
    f.advance(DAY);
    let old = f.older_than(Duration::ZERO);
    f.ended(&org).await;
    let slow = f.running(&org, 5).await;
    prune(&*f.store, old, 9).await;
    assert_eq!(f.rows("ledger"), 3);
    for sql in [
        "DELETE FROM ledger",
        "DELETE FROM ledger WHERE seq = (SELECT min(seq) FROM ledger)",
        "DELETE FROM events",
        "DELETE FROM jobs",
        "UPDATE ledger SET reason = 'other'",
        "UPDATE carried SET entry = entry - 1",
        "UPDATE carried SET job = 0",
        "UPDATE carried SET event = 0",
        "UPDATE carried SET jobs = jobs - 1",
        "UPDATE carried SET charged = 0",
        "UPDATE carried SET refunded = 0",
        "UPDATE carried SET until = 0",
        "UPDATE carried SET mode = 'test'",
        "UPDATE carried SET credits = -1",
        "DELETE FROM carried",
        // Also behind a mark that was moved: it is open, or something refers to it.
        "UPDATE carried SET job = 1000000; DELETE FROM jobs WHERE status = 'running'",
        "UPDATE carried SET job = 1000000; DELETE FROM jobs WHERE completed_at IS NOT NULL",
    ] {
        assert!(backend::refuses(f.directory.path(), sql), "{sql}");
    }
    assert_eq!(f.look(&slow.job).await, slow.job);
    check(f).await;
}

/// No number is given twice, or a new row would count as carried forward.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_everything_is_gone_is_new() {
    let f = fresh().await;
    let org = f.org(1_000).await.id;
    for round in 1..=3 {
        for _ in 0..4 {
            f.ended(&org).await;
        }
        f.advance(DAY);
        prune(&*f.store, f.older_than(Duration::ZERO), 5).await;
        let (jobs, count) = f.listed_jobs(&org, JobFilter::default()).await;
        assert_eq!((jobs.len(), count), (1, 1), "the last one stays");
        let audit = f.store.audit().await.unwrap();
        assert_eq!(audit.imbalances, []);
        assert_eq!(audit.carried_jobs, 4 * round - 1);
    }
    check(f).await;
}

/// Also where the last of each is another organization's.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_job_of_all_stays_though_others_ended_after_it() {
    let f = fresh().await;
    let (org, other) = (f.org(1_000).await.id, f.org(1_000).await.id);
    let slow = f.running(&other, 5).await;
    let last = f.ended(&org).await;
    f.settle(&slow, f.failed()).await;
    f.advance(DAY);
    prune(&*f.store, f.older_than(Duration::ZERO), 9).await;
    assert_eq!(f.look(&last).await, last);
    f.ended(&org).await;
    check(f).await;
}

/// A feed whose beginning is gone goes on at its marks.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_feed_is_read_on_after_its_beginning_is_gone() {
    let f = fresh().await;
    let org = f.org(2_000).await.id;
    let mut cut = None;
    let mut expected = Vec::new();
    for number in 0..700 {
        if number == 300 {
            f.advance(DAY);
            cut = Some(f.older_than(Duration::ZERO));
        }
        let job = f.ended(&org).await;
        if number >= 300 {
            expected.push(EventId::of(&job.id));
        }
    }
    let counts = prune(&*f.store, cut.unwrap(), 100).await;
    assert_eq!((counts.jobs, counts.events), (300, 300));
    for limit in [1, 255, 256, 1_000] {
        assert_eq!(f.feed(&org, limit).await, expected, "in pages of {limit}");
    }
    assert_eq!(f.rows("event_marks"), 1);
    check(f).await;
}

/// What the callers of some organizations do, with prunes in between: nothing that is young is ever touched, whatever is
/// counted is what is listed, and the books agree at every moment.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_young_is_lost_whatever_happens_in_between() {
    for seed in 0..3 {
        let f = fresh().await;
        let mut random = Dice(seed);
        let orgs = [f.org(50_000).await.id, f.org(50_000).await.id];
        let mut ended: HashMap<JobId, (OrgId, Timestamp)> = HashMap::new();
        let (mut running, mut pruned) = (Vec::new(), Timestamp::from_micros(0));
        for _ in 0..400 {
            f.advance(Duration::from_mins(random.below(12)));
            let org = &orgs[usize::try_from(random.below(2)).unwrap()];
            match random.below(11) {
                0..=3 => {
                    f.job(org, 1 + i64::try_from(random.below(9)).unwrap())
                        .await;
                }
                4..=5 => running.extend(f.claim(5).await),
                6..=7 if !running.is_empty() => {
                    let place = usize::try_from(random.below(running.len() as u64)).unwrap();
                    let held = running.swap_remove(place);
                    let how = match random.below(3) {
                        0 => f.failed(),
                        1 => f.completed(vec![f.output(&held.job)], 1),
                        _ => f.completed(vec![f.output(&held.job)], 0),
                    };
                    // An expired lease was claimed again.
                    if f.store.settle_job(&held.lease, how).await.is_ok() {
                        let job = f.look(&held.job).await;
                        ended.insert(job.id, (job.org_id, job.completed_at.unwrap()));
                    }
                }
                8 => {
                    let expired = f.store.expire_jobs(overdue(), f.entries(5), f.now());
                    for job in expired.await.unwrap().jobs {
                        ended.insert(job.id, (job.org_id, job.completed_at.unwrap()));
                    }
                }
                9 => {
                    f.store
                        .grant(f.new_grant(org, Mode::Live, 3))
                        .await
                        .unwrap();
                }
                _ => {
                    let hours = Duration::from_hours(random.below(20));
                    let (old, limit) = (f.older_than(hours), 1 + random.below(30));
                    let expected = f.store.prunable(old).await.unwrap();
                    let limit = u32::try_from(limit).unwrap();
                    let counts = prune(&*f.store, old, limit).await;
                    assert_eq!(counts, expected);
                    pruned = pruned.max(old.before);
                    look(&f, &orgs, &ended, pruned).await;
                }
            }
        }
        assert!(ended.len() > 20, "something has happened");
        let audit = f.store.audit().await.unwrap();
        assert!(audit.carried_jobs > 10, "and something was carried forward");
        check(f).await;
    }
}

/// Pseudo-random numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

async fn look(
    f: &Fixture,
    orgs: &[OrgId],
    ended: &HashMap<JobId, (OrgId, Timestamp)>,
    before: Timestamp,
) {
    assert_eq!(f.store.audit().await.unwrap().imbalances, []);
    for org in orgs {
        let (jobs, count) = f.listed_jobs(org, JobFilter::default()).await;
        assert_eq!(jobs.len() as u64, count);
        for status in JobStatus::ALL {
            let filter = JobFilter {
                status: Some(status),
                ..JobFilter::default()
            };
            let (some, count) = f.listed_jobs(org, filter).await;
            assert_eq!(some.len() as u64, count);
        }
        let (entries, count) = f.listed_entries(org, EntryFilter::default()).await;
        assert_eq!(entries.len() as u64, count);
        let feed = f.feed(org, 3).await;
        for (id, (owner, at)) in ended {
            if owner == org && *at >= before {
                assert!(jobs.contains(id) && feed.contains(&EventId::of(id)));
                let charge = |row: &&Entry| row.job_id.as_ref() == Some(id) && row.amount < 0;
                assert_eq!(entries.iter().filter(charge).count(), 1);
            }
        }
        let (from, to) = (before, Timestamp::from_micros(i64::MAX));
        let usage = f.store.usage(org, Mode::Live, UsageBy::Day, from, to).await;
        let refunded: i64 = usage.unwrap().iter().map(|row| row.figures.refunded).sum();
        let rows = entries.iter().filter(|row| row.created_at >= before);
        let refunds: i64 = rows
            .filter(|row| row.amount > 0 && row.job_id.is_some())
            .map(|row| row.amount)
            .sum();
        assert_eq!(refunded, refunds);
    }
}

/// Several at once, beside everything that writes.
#[tokio::test(flavor = "multi_thread")]
async fn prunes_hold_nobody_up_and_not_each_other() {
    let f = fresh().await;
    let org = f.org(10_000).await.id;
    for _ in 0..60 {
        f.ended(&org).await;
    }
    f.advance(DAY);
    let old = f.older_than(Duration::ZERO);
    let stores = [Arc::clone(&f.store), f.another().await];
    let prunes = (0..4).map(|number| {
        let store = Arc::clone(&stores[number % 2]);
        async move { prune(&*store, old, 7).await.jobs }
    });
    let submits = (0..40).map(|number| {
        let (store, new) = (Arc::clone(&stores[number % 2]), f.new_job(&org, 2));
        let (org, id, entry, now) = (org.clone(), new.id.clone(), f.entry(), f.now());
        async move {
            store.submit_job(new).await.unwrap();
            store.cancel_job(&org, &id, entry, now).await.unwrap();
            0_u64
        }
    });
    let prunes: Vec<std::pin::Pin<Box<dyn Future<Output = u64> + Send>>> = prunes
        .map(|prune| Box::pin(prune) as _)
        .chain(submits.map(|submit| Box::pin(submit) as _))
        .collect();
    let removed: u64 = at_once(prunes).await.into_iter().sum();
    let rest = prune(&*f.store, old, 7).await.jobs;
    assert_eq!(removed + rest, 60, "each went once");
    let (jobs, count) = f.listed_jobs(&org, JobFilter::default()).await;
    assert_eq!((jobs.len(), count), (40, 40));
    check(f).await;
}
