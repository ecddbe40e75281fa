//! Which jobs a worker takes, and the taking of them.

use crate::postgres::db::Db;
use crate::postgres::rows::{Columns, collect};
use crate::postgres::{assets, jobs};
use crate::store::{Claim, Claimed, ClaimedJob, Lease, LeaseToken, PriorStep};
use crate::{Result, StoreError};
use std::collections::{BTreeMap, HashMap, HashSet};
use vydra_core::ids::{JobId, OrgId};

/// How many jobs of organizations that hold their share are passed over one by one. Behind them there may be as many
/// thousands as somebody has queued, and nobody else's.
const PASSED_OVER: usize = 64;
/// How many candidates are read at once.
const PAGE: i64 = 64;

pub(in crate::postgres) async fn claim(db: &Db, claim: &Claim) -> Result<Claimed> {
    let mut choice = Choice {
        claim,
        claimed: Claimed::default(),
        begun: None,
        held: claim
            .held
            .iter()
            .map(|(org, places)| (org.as_str().to_owned(), *places))
            .collect(),
        full: HashSet::new(),
    };
    choice.choose(db, Queue::Again, usize::MAX).await?;
    if !choice.choose(db, Queue::Waiting, PASSED_OVER).await?
        // To look through all of a long queue takes a millisecond or more: only when there is somebody to be found in it.
        && choice.others_wait(db).await?
    {
        choice.choose(db, Queue::Others, usize::MAX).await?;
    }
    if let Some(turn) = choice.begun {
        // Whoever was idle joins the queue there.
        db.one(
            "SELECT begin_turn_1($1, $2)",
            &[&claim.mode.as_str(), &turn],
        )
        .await?;
    }
    Ok(choice.claimed)
}

/// Where there are jobs that may be taken, each with the same parameters: mode, now, the place behind which to look, the
/// organizations that are left out, and how many.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    /// Their turn has been, and their lease has expired.
    Again,
    Waiting,
    /// Those that wait, but for organizations that were passed over.
    Others,
}

impl Queue {
    fn sql(self) -> &'static str {
        match self {
            Self::Again => {
                "SELECT id, org_id, turn FROM jobs
                 WHERE status = 'running' AND mode = $1 AND lease_until <= $2 AND deadline_at > $2
                   AND (turn, id) > ($3, $4) AND org_id <> ALL ($5) ORDER BY turn, id LIMIT $6"
            }
            Self::Waiting | Self::Others => {
                "SELECT id, org_id, turn FROM jobs
                 WHERE status = 'pending' AND mode = $1 AND deadline_at > $2
                   AND (turn, id) > ($3, $4) AND org_id <> ALL ($5) ORDER BY turn, id LIMIT $6"
            }
        }
    }
}

/// A job that may be taken, if nobody else takes it first.
struct Candidate {
    id: String,
    org: String,
    turn: i64,
}

impl Candidate {
    fn read(row: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            id: row.take()?,
            org: row.take()?,
            turn: row.take()?,
        })
    }
}

struct Choice<'a> {
    claim: &'a Claim,
    claimed: Claimed,
    /// The highest turn of those that had waited.
    begun: Option<i64>,
    held: HashMap<String, u32>,
    /// Who was passed over: it is not given a place again by this claim, because less and less is free.
    full: HashSet<String>,
}

impl Choice<'_> {
    /// Takes what may be taken, in order. False when it has passed over so many that it gave up.
    ///
    /// Only what is taken is locked: another node, where other places are free, may be looking for what is passed over here.
    async fn choose(&mut self, db: &Db, queue: Queue, patience: usize) -> Result<bool> {
        let mut passed_over = 0;
        let mut behind = (i64::MIN, String::new());
        while self.taken() < self.claim.tokens.len() {
            let page = self.page(db, queue, &behind).await?;
            let Some(last) = page.last() else {
                return Ok(true);
            };
            behind = (last.turn, last.id.clone());
            for candidate in &page {
                let places = self.held.get(&candidate.org).copied().unwrap_or(0);
                let free = self.claim.free.saturating_sub(self.taken());
                let Some(token) = self.claim.tokens.get(self.taken()) else {
                    return Ok(true);
                };
                if !self.claim.share.allows(places, free) {
                    self.full.insert(candidate.org.clone());
                    passed_over += 1;
                    if passed_over > patience {
                        return Ok(false);
                    }
                } else if take(db, self.claim, candidate, token, &mut self.claimed).await? {
                    self.held.insert(candidate.org.clone(), places + 1);
                    if queue != Queue::Again {
                        self.begun = self.begun.max(Some(candidate.turn));
                    }
                }
            }
        }
        Ok(true)
    }

    fn taken(&self) -> usize {
        self.claimed.jobs.len() + self.claimed.unreadable.len()
    }

    async fn page(
        &self,
        db: &Db,
        queue: Queue,
        (turn, id): &(i64, String),
    ) -> Result<Vec<Candidate>> {
        let left_out = match queue {
            Queue::Again | Queue::Waiting => Vec::new(),
            Queue::Others => self.full(),
        };
        let (mode, now) = (self.claim.mode.as_str(), self.claim.now.as_micros());
        let rows = db
            .all(queue.sql(), &[&mode, &now, turn, id, &left_out, &PAGE])
            .await?;
        collect(&rows, Candidate::read)
    }

    fn full(&self) -> Vec<&str> {
        self.full.iter().map(String::as_str).collect()
    }

    /// Whether anybody who was not passed over has more jobs open than run: on whatever node, so that those of other nodes
    /// do not look as if they waited.
    async fn others_wait(&self, db: &Db) -> Result<bool> {
        let row = db
            .one(
                "SELECT EXISTS (
                     SELECT 1 FROM balances b LEFT JOIN (
                         SELECT org_id, count(*) AS places FROM jobs
                         WHERE status = 'running' AND mode = $1 GROUP BY org_id) running ON running.org_id = b.org_id
                     WHERE b.mode = $1 AND b.open > coalesce(running.places, 0) AND b.org_id <> ALL ($2))",
                &[&self.claim.mode.as_str(), &self.full()],
            )
            .await?;
        Columns::of(&row).take()
    }
}

/// False, and nothing done, when somebody else has it meanwhile. One whose row is locked belongs to whoever locked it: it
/// is being taken, or ended.
async fn take(
    db: &Db,
    claim: &Claim,
    candidate: &Candidate,
    token: &LeaseToken,
    claimed: &mut Claimed,
) -> Result<bool> {
    let row = db
        .first(
            &format!(
                "UPDATE jobs SET status = 'running', attempt = attempt + 1, lease_token = $2, lease_until = $3,
                    started_at = coalesce(started_at, $4),
                    deadline_at = CASE WHEN started_at IS NULL THEN $5 ELSE deadline_at END
                 WHERE seq = (
                     SELECT seq FROM jobs WHERE id = $1 AND deadline_at > $4
                        AND (status = 'pending' OR (status = 'running' AND lease_until <= $4))
                     FOR NO KEY UPDATE SKIP LOCKED)
                 RETURNING {}, attempt, deadline_at",
                jobs::COLUMNS
            ),
            &[
                &candidate.id,
                &token.0,
                &claim.now.plus(claim.lease).as_micros(),
                &claim.now.as_micros(),
                &claim.now.plus(claim.limit).as_micros(),
            ],
        )
        .await?;
    let Some(row) = row else {
        return Ok(false);
    };
    match taken(db, &mut Columns::of(&row), token).await {
        Ok(job) => claimed.jobs.push(job),
        // Any other error has undone the transaction.
        Err(error @ StoreError::Corrupt(_)) => {
            tracing::error!(job.id = %candidate.id, error = &error as &dyn std::error::Error, "a job cannot be read");
            claimed.unreadable.push(Lease {
                org: OrgId::trusted(candidate.org.clone()),
                mode: claim.mode,
                job: JobId::trusted(candidate.id.clone()),
                token: token.clone(),
            });
        }
        Err(error) => return Err(error),
    }
    Ok(true)
}

async fn taken(db: &Db, row: &mut Columns<'_>, token: &LeaseToken) -> Result<ClaimedJob> {
    let job = jobs::read(row)?;
    let (attempt, deadline) = (row.number()?, row.time()?);
    // The first attempt finds nothing that one before it could have left.
    let steps = if attempt > 1 {
        steps(db, &job.id).await?
    } else {
        BTreeMap::new()
    };
    let lease = Lease {
        org: job.org_id.clone(),
        mode: job.mode,
        job: job.id.clone(),
        token: token.clone(),
    };
    Ok(ClaimedJob {
        job,
        lease,
        attempt,
        steps,
        deadline,
    })
}

async fn steps(db: &Db, job: &JobId) -> Result<BTreeMap<u32, PriorStep>> {
    let rows = db
        .all(
            "SELECT step, provider, route, external_id, finished FROM steps WHERE job_id = $1",
            &[&job.as_str()],
        )
        .await?;
    let mut steps = BTreeMap::new();
    for row in &rows {
        let mut row = Columns::of(row);
        let step: u32 = row.number()?;
        let (provider, route) = (row.take()?, row.number()?);
        let (external_id, finished) = (row.take::<Option<String>>()?, row.take::<bool>()?);
        let prior = match external_id {
            _ if finished => PriorStep::Finished {
                outputs: assets::of_step(db, job, step).await?,
            },
            Some(external_id) => PriorStep::Task {
                provider,
                route,
                external_id,
            },
            None => PriorStep::Unknown { provider, route },
        };
        steps.insert(step, prior);
    }
    Ok(steps)
}
