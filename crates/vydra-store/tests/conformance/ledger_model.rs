//! Random histories, step by step beside a naive model of the books.

use crate::fixture::{Fixture, LEASE, MANY_JOBS, credits, fresh, overdue};
use proptest::prelude::*;
use std::time::Duration;
use vydra_core::ids::OrgId;
use vydra_core::job::{JobStatus, Mode, PROCESSING_LIMIT};
use vydra_core::ledger::CreditTotals;
use vydra_core::time::Timestamp;
use vydra_store::StoreError;
use vydra_store::store::{Cancellation, Grant, JobFilter, Lease, NewJob, Submission};

/// Raise both for a long run: 2,000 x 50 before a merge, 100,000 x 50 at night.
const HISTORIES: u32 = 60;
const STEPS: usize = 40;

/// A number that picks one of what there is by then.
type Pick = usize;

#[derive(Debug, Clone)]
enum Step {
    Organization {
        live: i64,
        test: i64,
    },
    Grant {
        org: Pick,
        mode: Mode,
        amount: i64,
    },
    Submit {
        org: Pick,
        mode: Mode,
        price: i64,
        concurrent: u32,
    },
    Claim {
        count: usize,
    },
    Settle {
        lease: Pick,
        refund: SettleAs,
    },
    Cancel {
        job: Pick,
        by: Pick,
    },
    Expire {
        most: usize,
    },
    Pass {
        time: Duration,
    },
    GrantAgain {
        grant: Pick,
    },
    SubmitAgain {
        submission: Pick,
    },
    ReleaseLeases,
}

#[derive(Debug, Clone, Copy)]
enum SettleAs {
    Whole,
    /// So many of four outputs.
    Partial(u32),
    Failed,
}

fn step() -> impl Strategy<Value = Step> {
    let pick = 0..1_000_usize;
    let mode = prop_oneof![3 => Just(Mode::Live), 1 => Just(Mode::Test)];
    let settle = prop_oneof![
        Just(SettleAs::Whole),
        (0..=4_u32).prop_map(SettleAs::Partial),
        Just(SettleAs::Failed)
    ];
    let spans = [Duration::from_millis(1), LEASE, PROCESSING_LIMIT];
    prop_oneof![
        1 => (0..200_i64, 0..50_i64).prop_map(|(live, test)| Step::Organization { live, test }),
        2 => (pick.clone(), mode.clone(), 1..100_i64).prop_map(|(org, mode, amount)| Step::Grant { org, mode, amount }),
        8 => (pick.clone(), mode, 1..60_i64, prop_oneof![Just(MANY_JOBS), 0..6_u32])
            .prop_map(|(org, mode, price, concurrent)| Step::Submit { org, mode, price, concurrent }),
        5 => (0..4_usize).prop_map(|count| Step::Claim { count }),
        6 => (pick.clone(), settle).prop_map(|(lease, refund)| Step::Settle { lease, refund }),
        3 => (pick.clone(), pick.clone()).prop_map(|(job, by)| Step::Cancel { job, by }),
        2 => (0..4_usize).prop_map(|most| Step::Expire { most }),
        2 => prop::sample::select(spans.to_vec()).prop_map(|time| Step::Pass { time }),
        1 => pick.clone().prop_map(|grant| Step::GrantAgain { grant }),
        1 => pick.prop_map(|submission| Step::SubmitAgain { submission }),
        1 => Just(Step::ReleaseLeases),
    ]
}

#[derive(Debug)]
struct Purse {
    org: OrgId,
    mode: Mode,
    totals: CreditTotals,
}

#[derive(Debug)]
struct Work {
    new: NewJob,
    status: JobStatus,
    refunded: i64,
    lease: Option<Lease>,
    lease_until: Timestamp,
    deadline: Timestamp,
    attempt: u32,
}

/// Plain lists and sums: too simple to be wrong in the same way as the store.
#[derive(Debug, Default)]
struct Model {
    orgs: Vec<OrgId>,
    purses: Vec<Purse>,
    jobs: Vec<Work>,
    entries: u64,
    grants: Vec<Grant>,
    submissions: Vec<NewJob>,
    leases: Vec<Lease>,
}

impl Model {
    fn purse(&mut self, org: &OrgId, mode: Mode) -> &mut CreditTotals {
        let purse = self
            .purses
            .iter_mut()
            .find(|purse| purse.org == *org && purse.mode == mode);
        &mut purse.unwrap().totals
    }

    fn granted(&mut self, org: &OrgId, mode: Mode, amount: i64) {
        self.purse(org, mode).remaining += amount;
        self.entries += u64::from(amount > 0);
    }

    fn ended(&mut self, place: usize, status: JobStatus, refund: i64) {
        let job = &mut self.jobs[place];
        (job.status, job.refunded, job.lease) = (status, refund, None);
        let (org, mode) = (job.new.org_id.clone(), job.new.mode);
        let purse = self.purse(&org, mode);
        purse.remaining += refund;
        purse.refunded += refund;
        self.entries += u64::from(refund > 0);
    }

    fn open(&self, org: &OrgId, mode: Mode) -> u32 {
        let open = self
            .jobs
            .iter()
            .filter(|job| job.new.org_id == *org && job.new.mode == mode)
            .filter(|job| !job.status.is_final());
        u32::try_from(open.count()).unwrap()
    }
}

async fn apply(f: &Fixture, model: &mut Model, step: Step) {
    let picked = |place: Pick, among: usize| (among > 0).then(|| place % among.max(1));
    match step {
        Step::Organization { live, test } => {
            let name = format!("org {}", model.orgs.len());
            let org = f.org_of(f.new_org(&name, live, test)).await.id;
            model.orgs.push(org.clone());
            for (mode, amount) in [(Mode::Live, live), (Mode::Test, test)] {
                let totals = CreditTotals::default();
                model.purses.push(Purse {
                    org: org.clone(),
                    mode,
                    totals,
                });
                model.granted(&org, mode, amount);
            }
        }
        Step::Grant { org, mode, amount } => {
            let Some(org) = picked(org, model.orgs.len()) else {
                return;
            };
            let grant = f.new_grant(&model.orgs[org].clone(), mode, amount);
            let balance = f.store.grant(grant.clone()).await.unwrap().unwrap();
            model.granted(&grant.org_id, mode, amount);
            assert_eq!(balance.get(), model.purse(&grant.org_id, mode).remaining);
            model.grants.push(grant);
        }
        Step::GrantAgain { grant } => {
            let Some(grant) = picked(grant, model.grants.len()) else {
                return;
            };
            let refused = f.store.grant(model.grants[grant].clone()).await;
            assert!(
                matches!(refused, Err(StoreError::Database(_))),
                "{refused:?}"
            );
        }
        Step::Submit {
            org,
            mode,
            price,
            concurrent,
        } => {
            let Some(org) = picked(org, model.orgs.len()) else {
                return;
            };
            let new = f.new_job(&model.orgs[org], price);
            // Some wait no longer than a lease.
            let start_by = if price % 3 == 0 {
                new.now.plus(LEASE)
            } else {
                new.start_by
            };
            let new = NewJob {
                mode,
                concurrent,
                start_by,
                ..new
            };
            submit(f, model, new).await;
        }
        Step::SubmitAgain { submission } => {
            let Some(submission) = picked(submission, model.submissions.len()) else {
                return;
            };
            let again = NewJob {
                now: f.now(),
                ..model.submissions[submission].clone()
            };
            submit(f, model, again).await;
        }
        Step::Claim { count } => claim(f, model, count).await,
        Step::Settle { lease, refund } => {
            let Some(lease) = picked(lease, model.leases.len()) else {
                return;
            };
            let lease = model.leases[lease].clone();
            let place = model
                .jobs
                .iter()
                .position(|job| job.new.id == lease.job)
                .unwrap();
            settle(f, model, place, &lease, refund).await;
        }
        Step::Cancel { job, by } => {
            let Some(place) = picked(job, model.jobs.len()) else {
                return;
            };
            let by = model.orgs[by % model.orgs.len()].clone();
            let (id, status) = (model.jobs[place].new.id.clone(), model.jobs[place].status);
            let answer = f
                .store
                .cancel_job(&by, &id, f.entry(), f.now())
                .await
                .unwrap();
            let own = by == model.jobs[place].new.org_id;
            match (own, status) {
                (false, _) => assert_eq!(answer, Cancellation::NotFound),
                (true, JobStatus::Cancelled) => assert!(matches!(answer, Cancellation::Already(_))),
                (true, JobStatus::Completed | JobStatus::Failed) => {
                    assert!(matches!(answer, Cancellation::Ended(_)));
                }
                (true, JobStatus::Pending | JobStatus::Running) => {
                    assert!(matches!(answer, Cancellation::Now(_)));
                    let price = model.jobs[place].new.price.get();
                    model.ended(place, JobStatus::Cancelled, price);
                }
            }
        }
        Step::Expire { most } => {
            let (entries, now) = (f.entries(most), f.now());
            let expired = f.store.expire_jobs(overdue(), entries, now).await.unwrap();
            let ended = expired.jobs;
            assert_eq!(expired.count, ended.len());
            let due = |job: &Work| !job.status.is_final() && job.deadline <= now;
            let over = model.jobs.iter().filter(|job| due(job)).count();
            assert_eq!(ended.len(), over.min(most));
            for job in ended {
                let place = model
                    .jobs
                    .iter()
                    .position(|work| work.new.id == job.id)
                    .unwrap();
                assert!(due(&model.jobs[place]));
                model.ended(place, JobStatus::Failed, job.price.get());
            }
        }
        Step::Pass { time } => f.advance(time),
        Step::ReleaseLeases => {
            let now = f.now();
            let mut voided = 0;
            for job in &mut model.jobs {
                if job.lease.take().is_some() {
                    job.lease_until = job.lease_until.min(now);
                    voided += 1;
                }
            }
            assert_eq!(f.store.release_leases(now).await.unwrap(), voided);
        }
    }
}

async fn submit(f: &Fixture, model: &mut Model, new: NewJob) {
    let answer = f.store.submit_job(new.clone()).await;
    let open = model.open(&new.org_id, new.mode);
    let available = model.purse(&new.org_id, new.mode).remaining;
    let known = model.jobs.iter().any(|job| job.new.id == new.id);
    if open >= new.concurrent {
        assert_eq!(answer.unwrap(), Submission::TooManyJobs { open });
    } else if available < new.price.get() {
        let available = credits(available);
        assert_eq!(
            answer.unwrap(),
            Submission::InsufficientCredits { available }
        );
    } else if known {
        assert!(matches!(answer, Err(StoreError::Database(_))), "{answer:?}");
    } else {
        let Ok(Submission::Accepted { remaining, .. }) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(remaining.get(), available - new.price.get());
        let purse = model.purse(&new.org_id, new.mode);
        purse.remaining -= new.price.get();
        purse.used += new.price.get();
        model.entries += 1;
        let never = Timestamp::from_micros(0);
        model.jobs.push(Work {
            new: new.clone(),
            status: JobStatus::Pending,
            refunded: 0,
            lease: None,
            lease_until: never,
            deadline: new.start_by,
            attempt: 0,
        });
    }
    model.submissions.push(new);
}

async fn claim(f: &Fixture, model: &mut Model, count: usize) {
    for mode in [Mode::Live, Mode::Test] {
        let now = f.now();
        let claimed = f.store.claim_jobs(f.new_claim(mode, count, now)).await;
        let claimed = claimed.unwrap().jobs;
        let claimable = |job: &Work| {
            let free = match job.status {
                JobStatus::Pending => true,
                JobStatus::Running => job.lease_until <= now,
                JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled => false,
            };
            free && job.new.mode == mode && job.deadline > now
        };
        let free = model.jobs.iter().filter(|job| claimable(job)).count();
        assert_eq!(claimed.len(), free.min(count));
        for claimed in claimed {
            let job = model
                .jobs
                .iter_mut()
                .find(|job| job.new.id == claimed.job.id)
                .unwrap();
            assert!(claimable(job), "{job:?}");
            if job.status == JobStatus::Pending {
                job.deadline = now.plus(PROCESSING_LIMIT);
            }
            job.status = JobStatus::Running;
            job.lease_until = now.plus(LEASE);
            job.attempt += 1;
            job.lease = Some(claimed.lease.clone());
            assert_eq!(
                (claimed.attempt, claimed.deadline),
                (job.attempt, job.deadline)
            );
            model.leases.push(claimed.lease);
        }
    }
}

async fn settle(f: &Fixture, model: &mut Model, place: usize, lease: &Lease, how: SettleAs) {
    let job = &model.jobs[place];
    let price = job.new.price;
    let refund = match how {
        SettleAs::Whole => 0,
        SettleAs::Partial(delivered) => price.missing_share(4, delivered).get(),
        SettleAs::Failed => price.get(),
    };
    let settlement = match how {
        SettleAs::Whole | SettleAs::Partial(_) => f.completed(vec![], refund),
        SettleAs::Failed => f.failed(),
    };
    let held = job.lease.as_ref() == Some(lease);
    let answer = f.store.settle_job(lease, settlement).await;
    if !held {
        assert!(matches!(answer, Err(StoreError::LeaseLost)), "{answer:?}");
        return;
    }
    let status = match how {
        SettleAs::Whole | SettleAs::Partial(_) => JobStatus::Completed,
        SettleAs::Failed => JobStatus::Failed,
    };
    answer.unwrap();
    model.ended(place, status, refund);
}

/// The store says what the model says: each balance, each sum, each job, and the books as a whole.
async fn compare(f: &Fixture, model: &Model) {
    for purse in &model.purses {
        let totals = f.store.credit_totals(&purse.org, purse.mode).await.unwrap();
        assert_eq!(totals, purse.totals, "{purse:?}");
        assert_eq!(
            f.balance(&purse.org, purse.mode).await,
            purse.totals.remaining,
            "{purse:?}"
        );
    }
    for org in &model.orgs {
        let all = JobFilter {
            limit: u32::MAX,
            ..JobFilter::default()
        };
        let mut found = f.store.jobs(org, all).await.unwrap().jobs;
        found.reverse();
        let found: Vec<_> = found
            .iter()
            .map(|job| (&job.id, job.status, job.refunded.get()))
            .collect();
        let mut expected: Vec<_> = model
            .jobs
            .iter()
            .filter(|job| job.new.org_id == *org)
            .collect();
        expected.sort_by_key(|job| job.new.now);
        let expected: Vec<_> = expected
            .iter()
            .map(|job| (&job.new.id, job.status, job.refunded))
            .collect();
        assert_eq!(found, expected);
    }
    let audit = f.store.audit().await.unwrap();
    assert_eq!(audit.imbalances, []);
    assert_eq!(audit.entries, model.entries);
    assert_eq!(audit.jobs, u64::try_from(model.jobs.len()).unwrap());
    assert_eq!(
        audit.organizations,
        u64::try_from(model.orgs.len()).unwrap()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: HISTORIES, ..ProptestConfig::default() })]

    #[test]
    fn the_books_are_those_of_the_model(steps in prop::collection::vec(step(), STEPS)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let f = fresh().await;
            let mut model = Model::default();
            let first = Step::Organization { live: 150, test: 30 };
            for step in std::iter::once(first).chain(steps) {
                apply(&f, &mut model, step).await;
                compare(&f, &model).await;
            }
            crate::fixture::check(f).await;
        });
    }
}
