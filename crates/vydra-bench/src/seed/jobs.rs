//! Finished jobs by the million: copies of two that the binary really ran, with everything that belongs to them, so that the
//! ledger agrees and a later schema needs no change here.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Customer, org_number, settle};
use crate::load::Connection as Line;
use crate::scenarios::submit::job;
use crate::server::{Data, Setting};
use crate::system;

/// Of this many jobs one has failed and was paid back; the others have delivered.
const FAILED_SHARE: usize = 10;
/// Between two of the copies.
const APART_MICROS: i64 = 1_000;
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Completed,
    Failed,
}

impl Ending {
    const fn status(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    const fn mode(self) -> &'static str {
        match self {
            Self::Completed => "live",
            Self::Failed => "test",
        }
    }

    /// Makes the ids of its copies differ from the other's.
    const fn tag(self) -> &'static str {
        match self {
            Self::Completed => "c",
            Self::Failed => "f",
        }
    }
}

/// A job that the binary ran, and what it did to the balance of its organization.
#[derive(Debug)]
struct Template {
    ending: Ending,
    job: String,
    org: String,
    moved: BTreeMap<String, i64>,
}

/// Adds so many finished jobs, the same number to each organization. `setting` has an instant provider.
pub fn finished(
    data: &Data,
    customers: &[Customer],
    count: usize,
    setting: &Setting,
) -> anyhow::Result<()> {
    data.configure(setting)?;
    let failed = count / FAILED_SHARE;
    for (ending, count) in [
        (Ending::Completed, count - failed),
        (Ending::Failed, failed),
    ] {
        let template = run(data, &customers[0], ending)?;
        let mut db = data.open()?;
        // A job comes before what names it; looking that up for each row would take most of the time.
        db.pragma_update(None, "foreign_keys", false)?;
        let transaction = db.transaction()?;
        fill(&transaction, &template, count, customers.len())?;
        transaction.commit()?;
        settle(&db)?;
    }
    data.audit()
}

/// Lets the binary run one job to this end.
fn run(data: &Data, customer: &Customer, ending: Ending) -> anyhow::Result<Template> {
    let (key, script) = match ending {
        Ending::Completed => (&customer.live, ""),
        Ending::Failed => (&customer.test, "x-vydra-simulate: GENERATION_FAILED\r\n"),
    };
    let db = data.open()?;
    let org: String = db.query_row(
        "SELECT id FROM organizations WHERE name = ?1",
        [super::FIRST],
        |row| row.get(0),
    )?;
    let before = balance(&db, &org, ending.mode())?;
    let server = data.serve()?;
    let status = system::runtime()?.block_on(async {
        let mut line = Line::open(server.address).await?;
        anyhow::Ok(line.call(&job(key, script)).await?.status)
    })?;
    ensure!(status == 201, "a job to copy was answered {status}");
    let job = system::wait_for(PATIENCE, LOOK, || {
        let found = db
            .query_row(
                "SELECT id FROM jobs WHERE org_id = ?1 AND mode = ?2 AND status = ?3",
                params![org, ending.mode(), ending.status()],
                |row| row.get(0),
            )
            .optional()?;
        Ok(found)
    })?;
    let job = job.with_context(|| format!("a job to copy was never {}", ending.status()))?;
    drop(server);
    let after = balance(&db, &org, ending.mode())?;
    let moved = after
        .into_iter()
        .map(|(column, value)| {
            let moved = value - before.get(&column).copied().unwrap_or_default();
            (column, moved)
        })
        .collect();
    settle(&db)?;
    Ok(Template {
        ending,
        job,
        org,
        moved,
    })
}

/// The figures of a balance that add up over jobs.
fn balance(db: &Connection, org: &str, mode: &str) -> anyhow::Result<BTreeMap<String, i64>> {
    let columns: Vec<String> = super::columns(db, "balances")?
        .into_iter()
        // A place in the queue is none, nor is the last row of a chain.
        .filter(|column| {
            column != "org_id"
                && column != "mode"
                && column != "turn"
                && !column.starts_with("last_")
        })
        .collect();
    let statement = format!(
        "SELECT {} FROM balances WHERE org_id = ?1 AND mode = ?2",
        columns.join(", ")
    );
    Ok(db.query_row(&statement, params![org, mode], |row| {
        let figures = columns.iter().enumerate();
        figures
            .map(|(place, column)| Ok((column.clone(), row.get(place)?)))
            .collect()
    })?)
}

fn fill(
    db: &Transaction<'_>,
    template: &Template,
    count: usize,
    organizations: usize,
) -> anyhow::Result<()> {
    let Template {
        ending,
        job,
        org,
        moved,
    } = template;
    let tag = ending.tag();
    let numbers = format!(
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count})"
    );
    let of = |first: &str, other: &str| {
        format!(
            "CASE n.i % {organizations} WHEN 0 THEN {first} ELSE printf('{other}', n.i % {organizations}) END"
        )
    };
    let new_org = of(&format!("'{org}'"), "org_%026d");
    let new_key = of("t.key_id", &format!("key_{}%022d", ending.mode()));
    let new_job = format!("printf('job_00{tag}%023d', n.i)");
    let credits = moved.get("credits").copied().unwrap_or_default();
    let value = |table: &str, column: &str, rows: &Rows| {
        match column {
        "id" if table == "jobs" => Some(new_job.clone()),
        // Of several rows of a job each has another last digit.
        "id" => Some(format!(
            "substr(t.id, 1, instr(t.id, '_')) || printf('00{tag}%d%022d', {}, n.i)",
            rows.apart
        )),
        "job_id" => Some(new_job.clone()),
        "org_id" => Some(new_org.clone()),
        "key_id" => Some(new_key.clone()),
        "seq" => Some(rows.number("n.i")),
        // Each job has one event: the place of each among those of its organization.
        "number" => Some(format!(
            "(SELECT events FROM balances WHERE org_id = {new_org} AND mode = t.mode) + n.i / {organizations} + 1"
        )),
        "previous" => Some(format!(
            "CASE WHEN {place} > 0 THEN {number} - 1 WHEN n.i >= {organizations} THEN {earlier}
                  ELSE (SELECT {last} FROM balances WHERE org_id = {new_org} AND mode = t.mode) END",
            place = rows.place,
            number = rows.number("n.i"),
            earlier = rows.last_of(&format!("(n.i - {organizations})")),
            last = last_of_chain(table),
        )),
        "storage_key" => Some(format!("t.storage_key || '-{tag}' || n.i")),
        "balance_after" => Some(format!(
            "(SELECT credits FROM balances WHERE org_id = {new_org} AND mode = t.mode) + (n.i / {organizations}) * {credits}
             + (SELECT sum(amount) FROM ledger u WHERE u.job_id = t.job_id AND u.seq <= t.seq)"
        )),
        column if column.ends_with("_at") => {
            Some(format!("t.{column} - ({count} - n.i) * {APART_MICROS}"))
        }
        _ => None,
    }
    };
    for table in tables(db)? {
        let which = if table == "jobs" { "t.id" } else { "t.job_id" };
        let mut rest = format!("FROM n, {table} t WHERE {which} = '{job}' ORDER BY n.i");
        if table == "ledger" {
            rest.push_str(", t.seq");
        }
        let columns = super::columns(db, &table)?;
        let rows = Rows::of(db, &table, which, job, &columns)?;
        let values: Vec<String> = columns
            .iter()
            .map(|column| value(&table, column, &rows).unwrap_or_else(|| format!("t.{column}")))
            .collect();
        let (columns, values) = (columns.join(", "), values.join(", "));
        db.execute(
            &format!("INSERT INTO {table} ({columns}) {numbers} SELECT {values} {rest}"),
            (),
        )
        .with_context(|| format!("the rows of a job in {table} cannot be copied"))?;
    }
    let sums: Vec<String> = moved
        .iter()
        .map(|(column, moved)| format!("{column} = {column} + ?2 * ({moved})"))
        .collect();
    let statement = format!(
        "UPDATE balances SET {} WHERE org_id = ?1 AND mode = '{}'",
        sums.join(", "),
        ending.mode()
    );
    for number in 0..organizations {
        let id = if number == 0 {
            org.clone()
        } else {
            org_number(number)
        };
        let jobs = count / organizations + usize::from(number < count % organizations);
        db.prepare_cached(&statement)?
            .execute(params![id, i64::try_from(jobs)?])?;
    }
    let chains = super::columns(db, "balances")?;
    for table in ["jobs", "ledger", "events"] {
        let last = last_of_chain(table);
        if chains.iter().any(|column| column == last) {
            db.execute(
                &format!(
                    "UPDATE balances SET {last} = t.last
                     FROM (SELECT org_id, mode, max(seq) AS last FROM {table} GROUP BY org_id, mode) t
                     WHERE t.org_id = balances.org_id AND t.mode = balances.mode"
                ),
                (),
            )?;
        }
    }
    if chains.iter().any(|column| column == "last_event") {
        db.execute(
            "INSERT OR IGNORE INTO event_marks (org_id, mode, number, seq)
             SELECT org_id, mode, number, seq FROM events WHERE number % 256 = 0",
            (),
        )?;
    }
    Ok(())
}

/// The column of a balance that names the last row of its chain.
fn last_of_chain(table: &str) -> &'static str {
    match table {
        "jobs" => "last_job",
        "events" => "last_event",
        _ => "last_entry",
    }
}

/// The numbers of the copies in a table that has some: those of one job follow each other.
struct Rows {
    first: i64,
    of_each: i64,
    /// Which of the rows of its job it is, from 0 on.
    place: String,
    /// The digit that tells the rows of one job apart.
    apart: &'static str,
}

impl Rows {
    fn of(
        db: &Connection,
        table: &str,
        which: &str,
        job: &str,
        columns: &[String],
    ) -> anyhow::Result<Self> {
        if !columns.iter().any(|column| column == "seq") {
            return Ok(Self {
                first: 0,
                of_each: 0,
                place: "0".to_owned(),
                apart: "t.place % 10",
            });
        }
        let (first, of_each) = db.query_row(
            &format!(
                "SELECT coalesce(max(seq), 0) + 1, (SELECT count(*) FROM {table} t WHERE {which} = ?1) FROM {table}"
            ),
            [job],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let earlier = which.replace("t.", "u.");
        Ok(Self {
            first,
            of_each,
            place: format!(
                "(SELECT count(*) FROM {table} u WHERE {earlier} = '{job}' AND u.seq < t.seq)"
            ),
            apart: "t.seq % 10",
        })
    }

    fn number(&self, job: &str) -> String {
        format!("{} + {job} * {} + {}", self.first, self.of_each, self.place)
    }

    fn last_of(&self, job: &str) -> String {
        format!(
            "{} + {job} * {} + {}",
            self.first,
            self.of_each,
            self.of_each - 1
        )
    }
}

/// The jobs, and whatever belongs to one.
fn tables(db: &Connection) -> anyhow::Result<Vec<String>> {
    let others = db
        .prepare(
            "SELECT DISTINCT s.name FROM sqlite_schema s, pragma_table_info(s.name) c
             WHERE s.type = 'table' AND c.name = 'job_id' ORDER BY s.name",
        )?
        .query_map((), |row| row.get(0))?
        .collect::<Result<Vec<String>, _>>()?;
    Ok(std::iter::once("jobs".to_owned()).chain(others).collect())
}
