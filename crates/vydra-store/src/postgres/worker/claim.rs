//! Which jobs a worker takes, and the taking of them.

use crate::postgres::db::Db;
use crate::postgres::rows::{Columns, collect, column};
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
const PAGE_LENGTH: usize = 64;

/// Whether there is anything to claim, at this moment.
pub(in crate::postgres) async fn is_worth_it(db: &Db, claim: &Claim) -> Result<bool> {
    // In order, so that only an index can answer it soon: EXISTS may be looked for in the whole table.
    let row = db
        .one(
            "SELECT (SELECT seq FROM jobs WHERE status = 'pending' AND mode = $1 ORDER BY turn, id LIMIT 1) IS NOT NULL
                OR (SELECT seq FROM jobs WHERE status = 'running' AND lease_until <= $2 AND mode = $1
                    ORDER BY turn, id LIMIT 1) IS NOT NULL",
            &[&claim.mode.as_str(), &claim.now.as_micros()],
        )
        .await?;
    Columns::of(&row).take()
}

/// `is_careful` for a claim that has failed before: jobs are taken one by one then, so that one whose row is damaged is in
/// nobody's way.
pub(in crate::postgres) async fn claim(
    db: &Db,
    claim: &Claim,
    is_careful: bool,
) -> Result<Claimed> {
    let mut choice = Choice {
        claim,
        is_careful,
        tokens: claim.tokens.iter().rev().collect(),
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
    is_careful: bool,
    /// Those that are left, the next one last.
    tokens: Vec<&'a LeaseToken>,
    claimed: Claimed,
    /// The highest turn of those that had waited.
    begun: Option<i64>,
    held: HashMap<String, u32>,
    /// Who was passed over: it is not given a place again by this claim, while less and less is free.
    full: HashSet<String>,
}

/// A candidate and the lease that it is to be taken under.
type Chosen<'a> = (Candidate, &'a LeaseToken);
/// Those that were taken, by their ids; None for one that cannot be read.
type Taken = HashMap<String, Option<ClaimedJob>>;

impl<'a> Choice<'a> {
    /// Takes what may be taken, in order. False when it has passed over so many that it gave up.
    ///
    /// Only what is taken is locked: another node, where other places are free, may be looking for what is passed over here.
    async fn choose(&mut self, db: &Db, queue: Queue, patience: usize) -> Result<bool> {
        let mut passed_over = 0;
        let mut behind = (i64::MIN, String::new());
        while !self.tokens.is_empty() {
            let page = self.page(db, queue, &behind).await?;
            // What is left of a page when the tokens are given out is looked at again when some of them come back.
            let (length, mut looked_at) = (page.len(), 0);
            let mut chosen: Vec<Chosen<'a>> = Vec::new();
            for candidate in page {
                if self.tokens.is_empty() || passed_over > patience {
                    break;
                }
                looked_at += 1;
                behind = (candidate.turn, candidate.id.clone());
                let places = self.held.get(&candidate.org).copied().unwrap_or(0);
                let free = self.claim.free.saturating_sub(self.taken() + chosen.len());
                if !self.claim.share.allows(places, free) {
                    self.full.insert(candidate.org);
                    passed_over += 1;
                } else if let Some(token) = self.tokens.pop() {
                    self.held.insert(candidate.org.clone(), places + 1);
                    chosen.push((candidate, token));
                }
            }
            self.take(db, queue, chosen).await?;
            if passed_over > patience {
                return Ok(false);
            }
            if length < PAGE_LENGTH && looked_at == length {
                return Ok(true);
            }
        }
        Ok(true)
    }

    fn taken(&self) -> usize {
        self.claimed.jobs.len() + self.claimed.unreadable.len()
    }

    /// What somebody else has taken meanwhile is left to them.
    async fn take(&mut self, db: &Db, queue: Queue, chosen: Vec<Chosen<'a>>) -> Result<()> {
        let mut taken = Taken::new();
        if self.is_careful {
            for one in &chosen {
                taken.extend(take_carefully(db, self.claim, one).await?);
            }
        } else {
            taken = take(db, self.claim, &chosen).await?;
        }
        // The first token that is given back is the next one again.
        let mut left = Vec::new();
        for (candidate, token) in chosen {
            match taken.remove(&candidate.id) {
                Some(Some(job)) => self.claimed.jobs.push(job),
                Some(None) => self.claimed.unreadable.push(Lease {
                    org: OrgId::trusted(candidate.org),
                    mode: self.claim.mode,
                    job: JobId::trusted(candidate.id),
                    token: token.clone(),
                }),
                None => {
                    self.held
                        .entry(candidate.org)
                        .and_modify(|places| *places -= 1);
                    left.push(token);
                    continue;
                }
            }
            if queue != Queue::Again {
                self.begun = self.begun.max(Some(candidate.turn));
            }
        }
        if !left.is_empty() {
            // More is free than there was when they were passed over.
            self.full.clear();
        }
        self.tokens.extend(left.into_iter().rev());
        Ok(())
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

/// Parameters: the candidates, their tokens, the end of the lease, now, and the end of the processing. One whose row is locked
/// belongs to whoever locked it: it is being taken, or ended.
const TAKE: &str = "WITH free AS MATERIALIZED (
         SELECT f.seq AS number, n.token AS lease
         FROM unnest($1::text[], $2::text[]) AS n (candidate, token) JOIN jobs f ON f.id = n.candidate
         WHERE f.deadline_at > $4 AND (f.status = 'pending' OR (f.status = 'running' AND f.lease_until <= $4))
         FOR NO KEY UPDATE OF f SKIP LOCKED)
     UPDATE jobs SET status = 'running', attempt = attempt + 1, lease_token = free.lease, lease_until = $3,
         started_at = coalesce(started_at, $4), deadline_at = CASE WHEN started_at IS NULL THEN $5 ELSE deadline_at END
     FROM free WHERE seq = free.number";

/// By their ids, those that are taken; None for one that cannot be read.
async fn take(db: &Db, claim: &Claim, chosen: &[Chosen<'_>]) -> Result<Taken> {
    if chosen.is_empty() {
        return Ok(Taken::new());
    }
    let rows = db
        .all(
            &format!(
                "{TAKE} RETURNING id, attempt, deadline_at, lease_token, {}",
                jobs::COLUMNS
            ),
            &[
                &column(chosen, |(candidate, _)| candidate.id.as_str()),
                &column(chosen, |(_, token)| token.0.as_str()),
                &claim.now.plus(claim.lease).as_micros(),
                &claim.now.as_micros(),
                &claim.now.plus(claim.limit).as_micros(),
            ],
        )
        .await?;
    let mut taken = Taken::new();
    for row in &rows {
        let mut row = Columns::of(row);
        let id: String = row.take()?;
        let job = match read(&mut row) {
            Ok(job) => Some(job),
            Err(error) => {
                tracing::error!(
                    job.id = id,
                    error = &error as &dyn std::error::Error,
                    "a job cannot be read"
                );
                None
            }
        };
        taken.insert(id, job);
    }
    with_steps(db, &mut taken).await?;
    Ok(taken)
}

/// The same for one of them, when it may be that its row is damaged. One that can neither be read nor changed stays where it is.
async fn take_carefully(db: &Db, claim: &Claim, chosen: &Chosen<'_>) -> Result<Taken> {
    let chosen = std::slice::from_ref(chosen);
    if let Some(taken) = db.attempt(take(db, claim, chosen)).await? {
        return Ok(taken);
    }
    let unread = async {
        db.run(
            TAKE,
            &[
                &column(chosen, |(candidate, _)| candidate.id.as_str()),
                &column(chosen, |(_, token)| token.0.as_str()),
                &claim.now.plus(claim.lease).as_micros(),
                &claim.now.as_micros(),
                &claim.now.plus(claim.limit).as_micros(),
            ],
        )
        .await
    };
    let count = db.attempt(unread).await?.unwrap_or(0);
    let taken = chosen.iter().filter(|_| count > 0);
    Ok(taken
        .map(|(candidate, _)| (candidate.id.clone(), None))
        .collect())
}

fn read(row: &mut Columns<'_>) -> Result<ClaimedJob> {
    let (attempt, deadline) = (row.number()?, row.time()?);
    let token = LeaseToken(row.take()?);
    let job = jobs::read(row)?;
    Ok(ClaimedJob {
        lease: Lease {
            org: job.org_id.clone(),
            mode: job.mode,
            job: job.id.clone(),
            token,
        },
        job,
        attempt,
        steps: BTreeMap::new(),
        deadline,
    })
}

/// What earlier attempts have left behind. The first one finds nothing.
async fn with_steps(db: &Db, taken: &mut Taken) -> Result<()> {
    let again = taken.values().flatten().filter(|job| job.attempt > 1);
    let again: Vec<String> = again.map(|job| job.job.id.as_str().to_owned()).collect();
    if again.is_empty() {
        return Ok(());
    }
    let rows = db
        .all(
            "SELECT job_id, step, provider, route, external_id, finished FROM steps WHERE job_id = ANY ($1)",
            &[&again],
        )
        .await?;
    for row in &rows {
        let mut row = Columns::of(row);
        let id = JobId::trusted(row.take()?);
        let read = step(db, &id, &mut row).await;
        let Some(job) = taken.get_mut(id.as_str()) else {
            continue;
        };
        match (job.as_mut(), read) {
            (Some(job), Ok((number, prior))) => {
                job.steps.insert(number, prior);
            }
            (None, Ok(_)) => {}
            (_, Err(error @ StoreError::Corrupt(_))) => {
                tracing::error!(job.id = %id, error = &error as &dyn std::error::Error, "a job cannot be read");
                *job = None;
            }
            // Any other error has undone the transaction.
            (_, Err(error)) => return Err(error),
        }
    }
    Ok(())
}

async fn step(db: &Db, job: &JobId, row: &mut Columns<'_>) -> Result<(u32, PriorStep)> {
    let number = row.number()?;
    let (provider, route) = (row.take()?, row.number()?);
    let (external_id, finished) = (row.take::<Option<String>>()?, row.take::<bool>()?);
    let prior = match external_id {
        _ if finished => PriorStep::Finished {
            outputs: assets::of_step(db, job, number).await?,
        },
        Some(external_id) => PriorStep::Task {
            provider,
            route,
            external_id,
        },
        None => PriorStep::Unknown { provider, route },
    };
    Ok((number, prior))
}
