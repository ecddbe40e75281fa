//! Plain lists and sums: too simple to be wrong in the same way as the store.

use crate::books::Books;
use crate::fixture::{Fixture, LEASE, OUTPUTS, credits, overdue};
use anyhow::{Context, bail, ensure};
use std::collections::BTreeMap;
use std::time::Duration;
use vydra_core::idempotency::{Fingerprint, IdempotencyKey, REMEMBERED};
use vydra_core::ids::OrgId;
use vydra_core::job::{JobStatus, Mode, PROCESSING_LIMIT};
use vydra_core::ledger::CreditTotals;
use vydra_core::time::Timestamp;
use vydra_store::StoreError;
use vydra_store::store::{
    Cancellation, ClaimedJob, Grant, JobFilter, Lease, NewIdempotency, NewJob, Submission,
};

/// A number that picks one of what there is by then.
type Pick = usize;

#[derive(Debug, Clone)]
pub(super) enum Step {
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
        keyed: bool,
        at_once: bool,
    },
    Claim {
        mode: Mode,
        count: usize,
    },
    Settle {
        lease: Pick,
        how: WholeOr,
    },
    Cancel {
        job: Pick,
        by: Pick,
    },
    Expire {
        most: usize,
    },
    HandBack {
        lease: Pick,
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
    ReplayKey {
        submission: Pick,
    },
    ReleaseLeases,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum WholeOr {
    Whole,
    /// So many of the outputs.
    Partial(u32),
    Failed,
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

impl Work {
    fn begin(&mut self, claimed: &ClaimedJob, now: Timestamp) -> anyhow::Result<()> {
        if self.status == JobStatus::Pending {
            self.deadline = now.plus(PROCESSING_LIMIT);
        }
        self.status = JobStatus::Running;
        self.lease_until = now.plus(LEASE);
        self.attempt += 1;
        self.lease = Some(claimed.lease.clone());
        ensure!((claimed.attempt, claimed.deadline) == (self.attempt, self.deadline));
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(super) struct Model {
    orgs: Vec<OrgId>,
    purses: Vec<Purse>,
    jobs: Vec<Work>,
    entries: usize,
    grants: Vec<Grant>,
    submissions: Vec<NewJob>,
    leases: Vec<Lease>,
}

fn pick<T>(place: Pick, among: &[T]) -> Option<&T> {
    among.get(place % among.len().max(1))
}

impl Model {
    fn purse(&mut self, org: &OrgId, mode: Mode) -> anyhow::Result<&mut CreditTotals> {
        let purse = self
            .purses
            .iter_mut()
            .find(|purse| purse.org == *org && purse.mode == mode);
        Ok(&mut purse.context("no purse")?.totals)
    }

    fn granted(&mut self, org: &OrgId, mode: Mode, amount: i64) -> anyhow::Result<()> {
        self.purse(org, mode)?.remaining += amount;
        self.entries += usize::from(amount > 0);
        Ok(())
    }

    fn ended(&mut self, place: usize, status: JobStatus, refund: i64) -> anyhow::Result<()> {
        let job = &mut self.jobs[place];
        (job.status, job.refunded, job.lease) = (status, refund, None);
        let (org, mode) = (job.new.org_id.clone(), job.new.mode);
        let purse = self.purse(&org, mode)?;
        purse.remaining += refund;
        purse.refunded += refund;
        self.entries += usize::from(refund > 0);
        Ok(())
    }

    fn open(&self, org: &OrgId, mode: Mode) -> usize {
        let of_org = |job: &&Work| job.new.org_id == *org && job.new.mode == mode;
        let jobs = self.jobs.iter().filter(of_org);
        jobs.filter(|job| !job.status.is_final()).count()
    }

    /// One step of both; what the store answers is what the model expects.
    pub(super) async fn apply(&mut self, f: &Fixture, step: Step) -> anyhow::Result<()> {
        match step {
            Step::Organization { live, test } => self.organization(f, live, test).await,
            Step::Grant { org, mode, amount } => self.grant(f, org, mode, amount).await,
            Step::GrantAgain { grant } => {
                if let Some(grant) = pick(grant, &self.grants) {
                    let refused = f.store.grant(grant.clone()).await;
                    ensure!(
                        matches!(refused, Err(StoreError::Database(_))),
                        "{refused:?}"
                    );
                }
                Ok(())
            }
            Step::Submit {
                org,
                mode,
                price,
                concurrent,
                keyed,
                at_once,
            } => {
                let Some(org) = pick(org, &self.orgs) else {
                    return Ok(());
                };
                let mut new = f.new_job(org, mode, price);
                new.concurrent = concurrent;
                // Some wait no longer than a lease.
                if price % 3 == 0 {
                    new.start_by = new.now.plus(LEASE);
                }
                if keyed {
                    new.idempotency = Some(NewIdempotency {
                        key: IdempotencyKey::parse(new.id.as_str()).context("a key")?,
                        fingerprint: Fingerprint::trusted("f".to_owned()),
                        expires_at: new.now.plus(REMEMBERED * 1_000),
                    });
                }
                new.start = at_once.then(|| f.start());
                self.submit(f, new).await
            }
            Step::SubmitAgain { submission } => {
                let Some(again) = pick(submission, &self.submissions) else {
                    return Ok(());
                };
                let again = NewJob {
                    now: f.now(),
                    idempotency: None,
                    ..again.clone()
                };
                self.submit(f, again).await
            }
            Step::ReplayKey { submission } => {
                let Some(again) = pick(submission, &self.submissions) else {
                    return Ok(());
                };
                // As a second try makes it: everything new but the key.
                let new = f.new_job(&again.org_id, again.mode, again.price.get());
                let new = NewJob {
                    idempotency: again.idempotency.clone(),
                    ..new
                };
                self.submit(f, new).await
            }
            Step::Claim { mode, count } => self.claim(f, mode, count).await,
            Step::Settle { lease, how } => self.settle(f, lease, how).await,
            Step::Cancel { job, by } => self.cancel(f, job, by).await,
            Step::Expire { most } => self.expire(f, most).await,
            Step::HandBack { lease } => self.hand_back(f, lease).await,
            Step::Pass { time } => {
                f.advance(time);
                Ok(())
            }
            Step::ReleaseLeases => {
                let now = f.now();
                let mut voided = 0;
                for job in &mut self.jobs {
                    if job.lease.take().is_some() {
                        job.lease_until = job.lease_until.min(now);
                        voided += 1;
                    }
                }
                ensure!(f.store.release_leases(now).await? == voided);
                Ok(())
            }
        }
    }

    async fn organization(&mut self, f: &Fixture, live: i64, test: i64) -> anyhow::Result<()> {
        let name = format!("org {}", self.orgs.len());
        let org = f.organization(&name, live, test).await?;
        self.orgs.push(org.clone());
        for (mode, amount) in [(Mode::Live, live), (Mode::Test, test)] {
            self.purses.push(Purse {
                org: org.clone(),
                mode,
                totals: CreditTotals::default(),
            });
            self.granted(&org, mode, amount)?;
        }
        Ok(())
    }

    async fn grant(
        &mut self,
        f: &Fixture,
        org: Pick,
        mode: Mode,
        amount: i64,
    ) -> anyhow::Result<()> {
        let Some(org) = pick(org, &self.orgs).cloned() else {
            return Ok(());
        };
        let grant = Grant {
            id: f.entry(),
            org_id: org.clone(),
            mode,
            amount: credits(amount),
            reason: "goodwill".to_owned(),
            now: f.now(),
        };
        let balance = f
            .store
            .grant(grant.clone())
            .await?
            .context("no organization")?;
        self.granted(&org, mode, amount)?;
        ensure!(balance.get() == self.purse(&org, mode)?.remaining);
        self.grants.push(grant);
        Ok(())
    }

    async fn submit(&mut self, f: &Fixture, new: NewJob) -> anyhow::Result<()> {
        let answer = f.store.submit_job(new.clone()).await;
        let open = self.open(&new.org_id, new.mode);
        let available = self.purse(&new.org_id, new.mode)?.remaining;
        let known = self.jobs.iter().any(|job| job.new.id == new.id);
        let same_key = |job: &&Work| {
            new.idempotency.is_some()
                && job.new.idempotency.as_ref().map(|wanted| &wanted.key)
                    == new.idempotency.as_ref().map(|wanted| &wanted.key)
                && (&job.new.org_id, job.new.mode) == (&new.org_id, new.mode)
        };
        if let Some(first) = self.jobs.iter().find(same_key) {
            let Submission::KeyTaken(taken) = answer? else {
                bail!("the key has bought {}, and was not known", first.new.id);
            };
            ensure!(taken.job_id == first.new.id);
            return Ok(());
        }
        if open >= usize::try_from(new.concurrent)? {
            let open = u32::try_from(open)?;
            ensure!(answer? == Submission::TooManyJobs { open });
        } else if available < new.price.get() {
            let available = credits(available);
            ensure!(answer? == Submission::InsufficientCredits { available });
        } else if known {
            ensure!(matches!(answer, Err(StoreError::Database(_))), "{answer:?}");
        } else {
            let begins = new.start.is_some() && self.nobody_waits(new.mode, new.now);
            let Ok(Submission::Accepted {
                remaining, begun, ..
            }) = answer
            else {
                bail!("{answer:?}");
            };
            ensure!(remaining.get() == available - new.price.get());
            let purse = self.purse(&new.org_id, new.mode)?;
            purse.remaining -= new.price.get();
            purse.used += new.price.get();
            self.entries += 1;
            ensure!(begun.is_some() == begins, "{begun:?}");
            let mut job = Work {
                new: new.clone(),
                status: JobStatus::Pending,
                refunded: 0,
                lease: None,
                lease_until: Timestamp::from_micros(0),
                deadline: new.start_by,
                attempt: 0,
            };
            if let Some(begun) = begun {
                job.begin(&begun, new.now)?;
                self.leases.push(begun.lease);
            }
            self.jobs.push(job);
        }
        self.submissions.push(new);
        Ok(())
    }

    async fn claim(&mut self, f: &Fixture, mode: Mode, count: usize) -> anyhow::Result<()> {
        let claim = f.claim(mode, count);
        let now = claim.now;
        let claimed = f.store.claim_jobs(claim).await?;
        ensure!(claimed.unreadable.is_empty());
        let claimable = |job: &Work| {
            let free = match job.status {
                JobStatus::Pending => true,
                JobStatus::Running => job.lease_until <= now,
                JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled => false,
            };
            free && job.new.mode == mode && job.deadline > now
        };
        let free = self.jobs.iter().filter(|job| claimable(job)).count();
        ensure!(claimed.jobs.len() == free.min(count));
        for claimed in claimed.jobs {
            let job = self
                .jobs
                .iter_mut()
                .find(|job| job.new.id == claimed.job.id);
            let job = job.context("a job that nobody submitted")?;
            ensure!(claimable(job), "{job:?} was claimed");
            job.begin(&claimed, now)?;
            self.leases.push(claimed.lease);
        }
        Ok(())
    }

    fn nobody_waits(&self, mode: Mode, now: Timestamp) -> bool {
        !self.jobs.iter().any(|job| {
            let waits = match job.status {
                JobStatus::Pending => true,
                JobStatus::Running => job.lease_until <= now,
                JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled => false,
            };
            waits && job.new.mode == mode
        })
    }

    fn place_of(&self, lease: &Lease) -> anyhow::Result<usize> {
        let place = self.jobs.iter().position(|job| job.new.id == lease.job);
        place.context("a lease of nothing")
    }

    async fn settle(&mut self, f: &Fixture, lease: Pick, how: WholeOr) -> anyhow::Result<()> {
        let Some(lease) = pick(lease, &self.leases).cloned() else {
            return Ok(());
        };
        let place = self.place_of(&lease)?;
        let job = &self.jobs[place];
        let (owner, price) = ((&job.new.org_id, job.new.mode), job.new.price.get());
        let (settlement, status, refund) = match how {
            WholeOr::Whole => (
                f.completed(&lease, owner, price, OUTPUTS),
                JobStatus::Completed,
                0,
            ),
            WholeOr::Partial(count) => (
                f.completed(&lease, owner, price, count),
                JobStatus::Completed,
                credits(price).missing_share(OUTPUTS, count).get(),
            ),
            WholeOr::Failed => (f.failed(), JobStatus::Failed, price),
        };
        let held = job.lease.as_ref() == Some(&lease);
        let answer = f.store.settle_job(&lease, settlement).await;
        if !held {
            ensure!(matches!(answer, Err(StoreError::LeaseLost)), "{answer:?}");
            return Ok(());
        }
        answer?;
        self.ended(place, status, refund)
    }

    async fn hand_back(&mut self, f: &Fixture, lease: Pick) -> anyhow::Result<()> {
        let Some(lease) = pick(lease, &self.leases).cloned() else {
            return Ok(());
        };
        let place = self.place_of(&lease)?;
        let job = &mut self.jobs[place];
        let held = job.lease.as_ref() == Some(&lease);
        let again_at = f.now();
        let answer = f.store.hand_back(&lease, again_at, &[]).await;
        if held {
            answer?;
            (job.lease, job.lease_until) = (None, again_at);
        } else {
            ensure!(matches!(answer, Err(StoreError::LeaseLost)), "{answer:?}");
        }
        Ok(())
    }

    async fn cancel(&mut self, f: &Fixture, job: Pick, by: Pick) -> anyhow::Result<()> {
        let (Some(place), Some(by)) = (
            (!self.jobs.is_empty()).then(|| job % self.jobs.len()),
            pick(by, &self.orgs).cloned(),
        ) else {
            return Ok(());
        };
        let job = &self.jobs[place];
        let (price, status) = (job.new.price.get(), job.status);
        let (entry, now) = (f.entry(), f.now());
        let answer = f.store.cancel_job(&by, &job.new.id, entry, now).await?;
        let right = match (by == job.new.org_id, status) {
            (false, _) => answer == Cancellation::NotFound,
            (true, JobStatus::Cancelled) => matches!(answer, Cancellation::Already(_)),
            (true, JobStatus::Completed | JobStatus::Failed) => {
                matches!(answer, Cancellation::Ended(_))
            }
            (true, JobStatus::Pending | JobStatus::Running) => {
                self.ended(place, JobStatus::Cancelled, price)?;
                matches!(answer, Cancellation::Now(_))
            }
        };
        ensure!(right, "{status:?} was cancelled with {answer:?}");
        Ok(())
    }

    async fn expire(&mut self, f: &Fixture, most: usize) -> anyhow::Result<()> {
        let (entries, now) = (f.entries(most), f.now());
        let expired = f.store.expire_jobs(overdue(), entries, now).await?;
        ensure!(expired.count == expired.jobs.len());
        let due = |job: &Work| !job.status.is_final() && job.deadline <= now;
        let over = self.jobs.iter().filter(|job| due(job)).count();
        ensure!(expired.count == over.min(most));
        for job in expired.jobs {
            let place = self.jobs.iter().position(|work| work.new.id == job.id);
            let place = place.context("a job that nobody submitted")?;
            ensure!(
                due(&self.jobs[place]),
                "{:?} was ended too early",
                self.jobs[place]
            );
            self.ended(place, JobStatus::Failed, job.price.get())?;
        }
        Ok(())
    }

    /// The cheap part, after each step.
    pub(super) async fn compare_balances(&self, f: &Fixture) -> anyhow::Result<()> {
        for purse in &self.purses {
            let totals = f.store.credit_totals(&purse.org, purse.mode).await?;
            ensure!(
                totals == purse.totals,
                "{purse:?}, and the store says {totals:?}"
            );
        }
        Ok(())
    }

    /// Each balance, each job, and how many rows there are.
    pub(super) async fn compare(&self, f: &Fixture) -> anyhow::Result<()> {
        for purse in &self.purses {
            let balance = f.balance(&purse.org, purse.mode).await?;
            ensure!(
                balance == purse.totals.remaining,
                "{purse:?}, and the store says {balance}"
            );
        }
        let mut found = BTreeMap::new();
        for org in &self.orgs {
            for mode in [Mode::Live, Mode::Test] {
                let all = JobFilter {
                    limit: u32::MAX,
                    ..JobFilter::default()
                };
                for job in f.store.jobs(org, mode, all).await?.jobs {
                    found.insert(job.id.clone(), (job.status, job.refunded.get()));
                }
            }
        }
        let expected: BTreeMap<_, _> = self
            .jobs
            .iter()
            .map(|job| (job.new.id.clone(), (job.status, job.refunded)))
            .collect();
        ensure!(
            found == expected,
            "{expected:?}, and the store says {found:?}"
        );
        Ok(())
    }

    pub(super) fn compare_rows(&self, books: &Books) -> anyhow::Result<()> {
        let rows = (books.entries.len(), books.jobs.len(), books.balances.len());
        let expected = (self.entries, self.jobs.len(), self.purses.len());
        ensure!(
            rows == expected,
            "{expected:?} rows, and there are {rows:?}"
        );
        Ok(())
    }
}
