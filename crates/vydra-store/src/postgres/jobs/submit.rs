//! The taking of jobs, of as many as wait at once.

use crate::new_job::Written;
use crate::postgres::db::Db;
use crate::postgres::idempotency;
use crate::postgres::jobs::Payers;
use crate::postgres::lanes::{Durability, Joint};
use crate::postgres::rows::{Columns, collect, column};
use crate::store::{NewIdempotency, NewJob, Start, Submission};
use crate::{Result, StoreError};
use std::sync::Arc;
use vydra_core::credits::Credits;
use vydra_core::ids::{AssetId, KeyId};
use vydra_core::job::Mode;

pub(in crate::postgres) struct Submit {
    pub(in crate::postgres) new: Arc<NewJob>,
    pub(in crate::postgres) written: Written,
}

/// What is left of the balance, or why there is no job.
pub(in crate::postgres) type Submitted = std::result::Result<Accepted, Submission>;

#[derive(Clone, Copy)]
pub(in crate::postgres) struct Accepted {
    pub(in crate::postgres) remaining: Credits,
    pub(in crate::postgres) begun: bool,
}

impl Joint for Submit {
    type Answer = Submitted;

    const STATEMENT: &'static str =
        "SELECT * FROM submit_jobs_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
         $14, $15, $16, $17, $18, $19, $20, $21, $22, $23) WHERE find_keys_1($5)";
    const DURABILITY: Durability = Durability::Disk;

    fn whose(&self) -> &str {
        self.new.org_id.as_str()
    }

    /// Of two with the same key the second finds what the first has made.
    fn apart_by(&self) -> Option<String> {
        let wanted = self.new.idempotency.as_ref()?;
        let (org, mode) = (&self.new.org_id, self.new.mode.as_str());
        Some(format!("{org} {mode} {}", wanted.key.as_str()))
    }

    fn balance(&self) -> Option<(&str, Mode)> {
        Some((self.new.org_id.as_str(), self.new.mode))
    }

    async fn run(db: &Db, all: &[Self]) -> Result<Vec<Result<Submitted>>> {
        let jobs: Vec<&NewJob> = column(all, |submit| &*submit.new);
        let payers = Payers::of(jobs.iter().map(|new| (new.org_id.as_str(), new.mode)));
        let files = (1_i64..).zip(&jobs);
        let (takers, files): (Vec<i64>, Vec<&str>) = files
            .flat_map(|(place, new)| new.takes_in.iter().map(move |file| (place, file.as_str())))
            .unzip();
        let key = |of: fn(&NewIdempotency) -> &str| {
            column(&jobs, move |new| new.idempotency.as_ref().map(of))
        };
        let rows = db
            .all(
                Self::STATEMENT,
                &[
                    &payers.orgs,
                    &payers.modes,
                    &payers.of,
                    &column(&jobs, |new| new.id.as_str()),
                    &column(&jobs, |new| new.key_id.as_ref().map(KeyId::as_str)),
                    &column(&jobs, |new| new.workflow.as_deref()),
                    &column(all, |submit| submit.written.input.as_str()),
                    &column(all, |submit| submit.written.call.as_str()),
                    &column(&jobs, |new| new.price.get()),
                    &column(&jobs, |new| i64::from(new.concurrent)),
                    &column(&jobs, |new| new.webhook_url.as_deref()),
                    &column(&jobs, |new| new.entry.as_str()),
                    &column(&jobs, |new| {
                        new.workflow.as_deref().unwrap_or(&new.call.model)
                    }),
                    &key(|wanted| wanted.key.as_str()),
                    &key(|wanted| wanted.fingerprint.as_str()),
                    &column(&jobs, |new| {
                        let wanted = new.idempotency.as_ref();
                        wanted.map(|wanted| wanted.expires_at.as_micros())
                    }),
                    &takers,
                    &files,
                    &column(&jobs, |new| {
                        new.start.as_ref().map(|start| start.token.0.as_str())
                    }),
                    &start(&jobs, |new, start| new.now.plus(start.lease).as_micros()),
                    &start(&jobs, |new, start| new.now.plus(start.limit).as_micros()),
                    &column(&jobs, |new| new.start_by.as_micros()),
                    &column(&jobs, |new| new.now.as_micros()),
                ],
            )
            .await?;
        let decided = collect(&rows, Decided::read)?;
        let mut answers = Vec::with_capacity(all.len());
        for (new, decided) in jobs.into_iter().zip(decided) {
            answers.push(decided.submitted(db, new).await);
        }
        Ok(answers)
    }
}

fn start(jobs: &[&NewJob], of: impl Fn(&NewJob, &Start) -> i64) -> Vec<Option<i64>> {
    column(jobs, |new| new.start.as_ref().map(|start| of(new, start)))
}

/// What became of a job, as the database tells.
struct Decided {
    outcome: String,
    amount: Option<i64>,
    begun: bool,
    gone: Option<AssetId>,
}

impl Decided {
    fn read(row: &mut Columns<'_>) -> Result<Self> {
        let _place: i64 = row.take()?;
        Ok(Self {
            outcome: row.take()?,
            amount: row.take()?,
            begun: row.take()?,
            gone: row.take::<Option<String>>()?.map(AssetId::trusted),
        })
    }

    async fn submitted(self, db: &Db, new: &NewJob) -> Result<Submitted> {
        let cannot_be = || StoreError::Corrupt(format!("a job was {}", self.outcome));
        let credits = || self.amount.and_then(Credits::new).ok_or_else(cannot_be);
        Ok(match self.outcome.as_str() {
            "accepted" => Ok(Accepted {
                remaining: credits()?,
                begun: self.begun,
            }),
            "insufficient_credits" => Err(Submission::InsufficientCredits {
                available: credits()?,
            }),
            "too_many_jobs" => Err(Submission::TooManyJobs {
                open: self
                    .amount
                    .and_then(|open| u32::try_from(open).ok())
                    .ok_or_else(cannot_be)?,
            }),
            "input_gone" => Err(Submission::InputGone(
                self.gone.clone().ok_or_else(cannot_be)?,
            )),
            "key_taken" => {
                let wanted = new.idempotency.as_ref().ok_or_else(cannot_be)?;
                // The balance is locked until the commit, and so is who has the key.
                let taken =
                    idempotency::get(db, &new.org_id, new.mode, &wanted.key, new.now).await?;
                Err(Submission::KeyTaken(Box::new(taken.ok_or_else(cannot_be)?)))
            }
            _ => return Err(cannot_be()),
        })
    }
}
