//! Counts requests for all nodes, in `admit_requests_2` of the database. Whatever waits on this node for the same key is one line
//! of a call, so that a call takes as long for a hundred requests of one organization as for one.
//!
//! A few connections with a thread each, apart from the lanes: no request waits for a disk. A call is one statement without a
//! transaction around it, and one round trip.

use super::db::Db;
use super::pool::Connector;
use super::rows::{Columns, corrupt};
use super::{keys, organizations, pool};
use crate::store::{Admission, KeyAdmission, RequestCounter};
use crate::{Result, StoreError};
use async_trait::async_trait;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Row;
use vydra_core::api_key::{ApiKey, KeyHash};
use vydra_core::ids::OrgId;
use vydra_core::organization::Organization;
use vydra_core::plan::{Limits, Plans};
use vydra_core::time::{Clock, Timestamp};
use vydra_core::window::{Found, Tally, Window};

/// At most. Each works for its own share of the callers.
const CONNECTIONS: usize = 3;
/// How many requests may wait for a connection: beyond it callers are told that the store is busy.
const QUEUE: usize = 4_096;
/// How many are taken from the queue at once.
const BATCH: usize = 1_024;
/// How many lines a call has: it holds the windows of as many organizations until it ends.
const LINES: usize = 64;
/// Far more than a call takes. Whoever waits for longer is told that nothing can be counted.
const PATIENCE: Duration = Duration::from_secs(5);
/// A crash of the database's machine may forget the last of the windows: not worth a write to its disk for each request. Whoever
/// holds windows for so long hangs.
const SESSION: &str = "SET synchronous_commit = off; SET lock_timeout = '3s'";

pub(super) fn connections() -> usize {
    pool::by_cores(CONNECTIONS)
}

#[derive(Debug)]
pub(super) struct Counter {
    connector: Connector,
    plans: PlanColumns,
    /// In place of the database's own.
    clock: Option<Arc<dyn Clock>>,
    /// Begun with the first request: most commands of the program count none. None where they cannot be begun.
    lanes: OnceLock<Option<Vec<mpsc::Sender<Waiting>>>>,
}

/// The plans as a call takes them.
#[derive(Debug, Clone)]
struct PlanColumns {
    names: Vec<String>,
    limits: Vec<i64>,
}

impl PlanColumns {
    /// The first stands for all plans that are not listed, and has no name that a plan could have.
    fn of(plans: &Plans, unlisted: Limits) -> Self {
        let listed = plans
            .names()
            .filter_map(|name| Some((name.to_owned(), plans.get(name)?)));
        let (names, limits): (Vec<String>, Vec<Limits>) =
            std::iter::once((String::new(), unlisted))
                .chain(listed)
                .unzip();
        let limits = limits
            .into_iter()
            .flat_map(|limits| Window::ALL.map(|window| i64::from(window.limit(limits))));
        Self {
            names,
            limits: limits.collect(),
        }
    }
}

/// For whom a request is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Key(KeyHash),
    Organization(OrgId),
}

struct Waiting {
    subject: Subject,
    now: Timestamp,
    caller: Caller,
}

/// What one is told, and behind how many others of the same line. None when there is no such key or organization.
type Caller = oneshot::Sender<Result<Option<(Counted, u32)>>>;

#[derive(Debug, Clone)]
struct Counted {
    key: Option<ApiKey>,
    organization: Organization,
    /// None for a key that counts nothing.
    tally: Option<Tally>,
}

impl Counter {
    pub(super) fn new(
        connector: Connector,
        clock: Option<Arc<dyn Clock>>,
        plans: &Plans,
        unlisted: Limits,
    ) -> Self {
        Self {
            connector,
            plans: PlanColumns::of(plans, unlisted),
            clock,
            lanes: OnceLock::new(),
        }
    }

    async fn count(&self, subject: Subject, now: Timestamp) -> Result<Option<(Counted, u32)>> {
        let stopped = || StoreError::Database("the counting of requests has stopped".into());
        let lanes = self.lanes.get_or_init(|| self.start());
        let lanes = lanes.as_deref().ok_or_else(stopped)?;
        let lane = lanes
            .get(share(&subject, lanes.len()))
            .ok_or_else(stopped)?;
        let (caller, answer) = oneshot::channel();
        lane.try_send(Waiting {
            subject,
            now,
            caller,
        })
        .map_err(|_full_or_gone| StoreError::Busy)?;
        answer.await.unwrap_or_else(|_gone| Err(stopped()))
    }

    fn start(&self) -> Option<Vec<mpsc::Sender<Waiting>>> {
        let begin = |number| -> std::io::Result<mpsc::Sender<Waiting>> {
            let (queue, waiting) = mpsc::channel(QUEUE);
            let mut lane = Lane {
                connector: self.connector.clone(),
                plans: self.plans.clone(),
                clock: self.clock.clone(),
                db: None,
                is_failing: false,
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            std::thread::Builder::new()
                .name(format!("vydra-count-{number}"))
                .spawn(move || runtime.block_on(lane.count_all(waiting)))?;
            Ok(queue)
        };
        let begun: std::io::Result<Vec<_>> = (0..connections()).map(begin).collect();
        begun
            .inspect_err(|error| {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    "no thread can be begun that counts requests"
                );
            })
            .ok()
    }
}

/// Always the same for the same one, so that two connections of a node do not wait for each other.
fn share(subject: &Subject, shares: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    subject.hash(&mut hasher);
    let shares = u64::try_from(shares).unwrap_or(1).max(1);
    usize::try_from(hasher.finish() % shares).unwrap_or(0)
}

#[async_trait]
impl RequestCounter for Counter {
    async fn admit_key(&self, hash: &KeyHash, now: Timestamp) -> Result<KeyAdmission> {
        let counted = self.count(Subject::Key(hash.clone()), now).await?;
        let Some((counted, before)) = counted else {
            return Ok(KeyAdmission::Unknown);
        };
        let Some(key) = counted.key.map(Box::new) else {
            return Err(corrupt("key", &"without a row"));
        };
        let Some(tally) = counted.tally else {
            return Ok(KeyAdmission::Inactive(key));
        };
        let admission = Box::new(Admission {
            organization: counted.organization,
            tally,
            before,
        });
        Ok(KeyAdmission::Counted { key, admission })
    }

    async fn admit(&self, org: &OrgId) -> Result<Option<Admission>> {
        let subject = Subject::Organization(org.clone());
        // No organization expires.
        let counted = self.count(subject, Timestamp::from_micros(0)).await?;
        Ok(counted.and_then(|(counted, before)| {
            Some(Admission {
                organization: counted.organization,
                tally: counted.tally?,
                before,
            })
        }))
    }
}

struct Lane {
    connector: Connector,
    plans: PlanColumns,
    clock: Option<Arc<dyn Clock>>,
    db: Option<Db>,
    /// Whether it was said that nothing can be counted.
    is_failing: bool,
}

impl Lane {
    async fn count_all(&mut self, mut waiting: mpsc::Receiver<Waiting>) {
        let mut batch = Vec::with_capacity(BATCH);
        while waiting.recv_many(&mut batch, BATCH).await > 0 {
            // Of two that come at once nobody can say which was first: a key has expired for both or for none.
            let now = batch.iter().map(|waiting| waiting.now).max();
            let now = now.unwrap_or(Timestamp::from_micros(0));
            let mut lines = in_lines(batch.drain(..));
            while !lines.is_empty() {
                let rest = lines.split_off(lines.len().min(LINES));
                self.answer(std::mem::replace(&mut lines, rest), now).await;
            }
        }
    }

    async fn answer(&mut self, lines: Vec<Line>, now: Timestamp) {
        let called = tokio::time::timeout(PATIENCE, self.call(&lines, now)).await;
        let called = called.unwrap_or_else(|_late| {
            Err(StoreError::Unwritable(
                "the database does not answer".into(),
            ))
        });
        let error = match called {
            Ok(found) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("requests are counted again");
                }
                for (line, counted) in lines.into_iter().zip(found) {
                    line.tell(&counted);
                }
                return;
            }
            Err(error) => error,
        };
        // Once: it goes on for as long as the database is away.
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "requests cannot be counted, and are refused"
            );
        }
        let refused = Err(error);
        for line in lines {
            line.tell(&refused);
        }
    }

    /// What was found for each line, in their order.
    async fn call(
        &mut self,
        lines: &[Line],
        now: Timestamp,
    ) -> Result<Vec<Result<Option<Counted>>>> {
        // Taken: of a call that fails or takes too long nothing is known, and the next one begins on a new connection.
        let known = self.db.take().filter(|db| !db.is_closed());
        let db = if let Some(db) = known {
            db
        } else {
            let db = self.connector.connect().await.map_err(StoreError::away)?;
            db.script(SESSION).await?;
            db
        };
        let rows = self.ask(&db, lines, now).await?;
        self.db = Some(db);
        let mut found: Vec<_> = lines.iter().map(|_| Ok(None)).collect();
        for row in &rows {
            let mut columns = Columns::of(row);
            let place = usize::try_from(columns.take::<i64>()?).unwrap_or(0);
            let line = place.checked_sub(1).and_then(|place| found.get_mut(place));
            // What is wrong with one is not told to the others.
            *line.ok_or_else(|| corrupt("line", &place))? = read(&mut columns).map(Some);
        }
        Ok(found)
    }

    async fn ask(&self, db: &Db, lines: &[Line], now: Timestamp) -> Result<Vec<Row>> {
        let hashes: Vec<Option<&str>> = lines.iter().map(Line::hash).collect();
        let orgs: Vec<Option<&str>> = lines.iter().map(Line::org).collect();
        let waiting: Vec<i64> = lines.iter().map(Line::waiting).collect();
        let spans = Window::ALL.map(|window| i64::try_from(window.span().as_micros()));
        let spans: Vec<i64> = spans.into_iter().flatten().collect();
        let clock = self.clock.as_ref().map(|clock| clock.now().as_micros());
        db.all(
            &format!(
                "SELECT a.place, a.counted, a.at, a.ahead, a.taken, a.limits, a.used, a.oldest, a.blocking,
                     {}, k.id IS NOT NULL, {}
                 FROM admit_requests_2($1, $2, $3, $4, $5, $6, $7, $8) a
                 CROSS JOIN LATERAL (SELECT (a.organization).*) o CROSS JOIN LATERAL (SELECT (a.key).*) k",
                organizations::COLUMNS,
                keys::COLUMNS
            ),
            &[
                &hashes,
                &orgs,
                &waiting,
                &self.plans.names,
                &self.plans.limits,
                &spans,
                &now.as_micros(),
                &clock,
            ],
        )
        .await
    }
}

fn read(row: &mut Columns<'_>) -> Result<Counted> {
    let is_counted: bool = row.take()?;
    let tally = tally(row)?.filter(|_| is_counted);
    let organization = organizations::read(row)?;
    let has_key: bool = row.take()?;
    let key = has_key.then(|| keys::read(row)).transpose()?;
    Ok(Counted {
        key,
        organization,
        tally,
    })
}

/// None where nothing was counted.
fn tally(row: &mut Columns<'_>) -> Result<Option<Tally>> {
    let at: Option<i64> = row.take()?;
    let [ahead, taken] = [row.take::<Option<i64>>()?, row.take()?];
    let (limits, used): (Cells, Cells) = (row.take()?, row.take()?);
    let (oldest, blocking): (Cells, Cells) = (row.take()?, row.take()?);
    let (Some(at), Some(ahead), Some(taken)) = (at, ahead, taken) else {
        return Ok(None);
    };
    let window = |place| {
        Some(Found {
            limit: count(cell(&limits, place)?),
            used: count(cell(&used, place)?),
            oldest: cell(&oldest, place).map(Timestamp::from_micros),
            blocking: cell(&blocking, place).map(Timestamp::from_micros),
        })
    };
    let [Some(minute), Some(hour), Some(day)] = [0, 1, 2].map(window) else {
        return Err(corrupt("tally of", &at));
    };
    Ok(Some(Tally {
        now: Timestamp::from_micros(at),
        clock: Timestamp::from_micros(at.saturating_sub(ahead)),
        taken: count(taken),
        windows: [minute, hour, day],
    }))
}

/// One for each window.
type Cells = Option<Vec<Option<i64>>>;

fn cell(cells: &Cells, place: usize) -> Option<i64> {
    cells.as_ref()?.get(place).copied().flatten()
}

/// What is more than can be told counts as so many.
fn count(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// Requests of one key or organization, which are counted together.
struct Line {
    subject: Subject,
    callers: Vec<Caller>,
}

/// In the order in which they came.
fn in_lines(waiting: impl Iterator<Item = Waiting>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut places: HashMap<Subject, usize> = HashMap::new();
    for Waiting {
        subject, caller, ..
    } in waiting
    {
        let place = *places.entry(subject.clone()).or_insert(lines.len());
        match lines.get_mut(place) {
            Some(line) => line.callers.push(caller),
            None => lines.push(Line {
                subject,
                callers: vec![caller],
            }),
        }
    }
    lines
}

impl Line {
    fn hash(&self) -> Option<&str> {
        match &self.subject {
            Subject::Key(hash) => Some(hash.as_str()),
            Subject::Organization(_) => None,
        }
    }

    fn org(&self) -> Option<&str> {
        match &self.subject {
            Subject::Key(_) => None,
            Subject::Organization(org) => Some(org.as_str()),
        }
    }

    fn waiting(&self) -> i64 {
        i64::try_from(self.callers.len()).unwrap_or(i64::MAX)
    }

    fn tell(self, counted: &Result<Option<Counted>>) {
        for (before, caller) in (0_u32..).zip(self.callers) {
            let answer = match counted {
                Ok(counted) => Ok(counted.clone().map(|counted| (counted, before))),
                Err(error) => Err(alike(error)),
            };
            // Who has gone away was counted all the same.
            let _ = caller.send(answer);
        }
    }
}

/// For each of those that it concerns; the cause itself stands in the log.
fn alike(error: &StoreError) -> StoreError {
    match error {
        StoreError::Busy => StoreError::Busy,
        StoreError::Unwritable(_) => StoreError::Unwritable("requests cannot be counted".into()),
        StoreError::Refused(why) => StoreError::Refused(why.clone()),
        StoreError::Corrupt(what) => StoreError::Corrupt(what.clone()),
        StoreError::LeaseLost
        | StoreError::Unknown
        | StoreError::SchemaTooNew { .. }
        | StoreError::Database(_) => StoreError::Database("requests could not be counted".into()),
    }
}
