//! All of a database of Postgres out and into one: see [`crate::transfer`].

use super::db::{Db, Params};
use super::pool::Connector;
use super::rows::{Columns, corrupt};
use super::{Found, PostgresSettings, PostgresStore, audit, deliveries, migrations, news, worker};
use crate::StoreError;
use crate::transfer::{
    ADMISSIONS, Inlet, Kind, Moved, NOTHING, OUTDATED, Outlet, Reading, Result, TABLES, Table,
    TransferError, Value, Writing,
};
use tokio_postgres::types::ToSql;

/// How many rows are read at once. They are in memory until they are written.
const READ_AT_ONCE: u32 = 200;
/// How many rows are written at once, and about how many bytes.
const WRITTEN_AT_ONCE: usize = 1_000;
const BYTES_AT_ONCE: usize = 1_024 * 1_024;
/// Whoever reads or writes the stream may take its time.
const PATIENT: &str = "SET LOCAL idle_in_transaction_session_timeout = 0";

impl PostgresStore {
    /// Writes all that the database holds, from one snapshot, beside servers that work.
    pub async fn export(settings: &PostgresSettings, outlet: Outlet) -> Result<Moved> {
        let connector = Connector::new(settings)?;
        apart(move || async move { export(&connector, outlet).await }).await
    }

    /// Reads it all into a database that is new or holds nothing of anybody: all of it, or nothing. What was being worked on
    /// waits to be taken up again.
    pub async fn import(settings: &PostgresSettings, inlet: Inlet) -> Result<Moved> {
        let connector = Connector::new(settings)?;
        apart(move || async move { import(&connector, inlet).await }).await
    }
}

/// On a thread of its own, because whoever reads and writes the stream blocks.
async fn apart<T, F>(work: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| StoreError::Database(error);
    let working = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(error.into()))?;
        runtime.block_on(work())
    });
    working
        .await
        .unwrap_or_else(|error| Err(failed(error.into()).into()))
}

async fn export(connector: &Connector, outlet: Outlet) -> Result<Moved> {
    let db = connector.connect().await?;
    match migrations::look(&db).await? {
        Found::Nothing => return refused(NOTHING),
        Found::Outdated => return refused(OUTDATED),
        Found::Current => {}
    }
    db.script(&format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {PATIENT}"
    ))
    .await?;
    let mut writing = Writing::begin(outlet, migrations::known())?;
    for table in TABLES {
        put_table(&db, &mut writing, table, &table.select()).await?;
    }
    let admissions = "SELECT l.org_id, l.at, lead(l.before, 1, w.admitted) OVER (PARTITION BY l.org_id ORDER BY l.at) - l.before
         FROM window_log l JOIN windows w ON w.org_id = l.org_id ORDER BY l.org_id, l.at";
    put_table(&db, &mut writing, ADMISSIONS, admissions).await?;
    writing.end()
}

fn refused<T>(why: &str) -> Result<T> {
    Err(StoreError::Refused(why.to_owned()).into())
}

async fn put_table(
    db: &Db,
    writing: &mut Writing,
    table: &'static Table,
    select: &str,
) -> Result<()> {
    writing.table(table)?;
    let name = table.name;
    db.script(&format!("DECLARE all_{name} NO SCROLL CURSOR FOR {select}"))
        .await?;
    let fetch = format!("FETCH {READ_AT_ONCE} FROM all_{name}");
    loop {
        let rows = db.all(&fetch, &[]).await?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            let mut row = Columns::of(row);
            let values = table.columns.iter().map(|(_, kind)| read(&mut row, *kind));
            writing.row(&values.collect::<Result<Vec<_>>>()?)?;
        }
    }
    db.script(&format!("CLOSE all_{name}")).await?;
    Ok(())
}

fn read(row: &mut Columns<'_>, kind: Kind) -> Result<Value> {
    Ok(match kind {
        Kind::Integer => row.take::<Option<i64>>()?.map(Value::Integer),
        Kind::Boolean => row.take::<Option<bool>>()?.map(Value::Boolean),
        Kind::Text => row.take::<Option<String>>()?.map(Value::Text),
        Kind::Bytes => row.take::<Option<Vec<u8>>>()?.map(Value::Bytes),
    }
    .unwrap_or(Value::Null))
}

async fn import(connector: &Connector, inlet: Inlet) -> Result<Moved> {
    let db = connector.connect().await?;
    match migrations::look(&db).await? {
        Found::Nothing => migrations::migrate(&db).await?,
        Found::Outdated => return refused(OUTDATED),
        Found::Current => {}
    }
    // A server that starts waits for its settings until this has ended.
    db.script(&format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {PATIENT};
         LOCK TABLE settings IN ACCESS EXCLUSIVE MODE; SET CONSTRAINTS ALL DEFERRED"
    ))
    .await?;
    alone(&db).await?;
    let empty = "SELECT NOT EXISTS (SELECT FROM organizations) AND NOT EXISTS (SELECT FROM users)";
    if !is_so(&db, empty).await? {
        return Err(TransferError::NotEmpty);
    }
    let now = inlet.now;
    let mut reading = Reading::begin(inlet, migrations::known())?;
    // What a new database begins with gives way.
    db.script("DELETE FROM settings WHERE name = 'pepper'; DELETE FROM turns")
        .await?;
    for table in TABLES {
        take_table(&db, &mut reading, table, &insertion(table)).await?;
        if table.is_numbered {
            let name = table.name;
            db.script(&format!(
                "SELECT setval(pg_get_serial_sequence('{name}', 'seq'), max(seq)) FROM {name} HAVING max(seq) IS NOT NULL"
            ))
            .await?;
        }
    }
    take_table(&db, &mut reading, ADMISSIONS, ADMIT).await?;
    db.script(COUNT_ADMITTED).await?;
    let moved = reading.end()?;
    worker::release_leases(&db, None, now).await?;
    deliveries::release(&db, None, now).await?;
    // What is planned by what was here before would take long.
    db.script("ANALYZE").await?;
    let imbalances = audit::audit(&db).await?.imbalances;
    if !imbalances.is_empty() {
        return Err(TransferError::Unbalanced(imbalances));
    }
    // One that had read its settings before they were held, and listens now, would go on with them.
    alone(&db).await?;
    db.script("COMMIT").await?;
    Ok(moved)
}

async fn alone(db: &Db) -> Result<()> {
    let nobody = format!("SELECT NOT EXISTS ({})", news::others("NULL"));
    if is_so(db, &nobody).await? {
        Ok(())
    } else {
        Err(TransferError::InUse)
    }
}

async fn is_so(db: &Db, question: &str) -> Result<bool> {
    Ok(Columns::of(&db.one(question, &[]).await?).take()?)
}

fn insertion(table: &Table) -> String {
    let lists = table.columns.iter().enumerate().map(|(place, (_, kind))| {
        let kind = match kind {
            Kind::Integer => "bigint",
            Kind::Boolean => "boolean",
            Kind::Text => "text",
            Kind::Bytes => "bytea",
        };
        format!("${}::{kind}[]", place + 1)
    });
    format!(
        "INSERT INTO {} ({}) SELECT * FROM unnest({})",
        table.name,
        table.list(),
        lists.collect::<Vec<_>>().join(", ")
    )
}

/// A moment counts those that were admitted before it; they come in the order of their times, in several parts.
const ADMIT: &str = "WITH row AS (
         SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS r (org_id, at, requests)),
     known AS (
         INSERT INTO windows (org_id, admitted) SELECT org_id, sum(requests)::bigint FROM row GROUP BY org_id
         ON CONFLICT (org_id) DO UPDATE SET admitted = windows.admitted + excluded.admitted
         RETURNING org_id, admitted)
     INSERT INTO window_log (org_id, at, before)
     SELECT r.org_id, r.at, k.admitted - sum(r.requests) OVER (PARTITION BY r.org_id ORDER BY r.at DESC)
     FROM row r JOIN known k ON k.org_id = r.org_id";
/// Time goes on from the last of them.
const COUNT_ADMITTED: &str = "UPDATE windows w SET shown = l.at
     FROM (SELECT org_id, max(at) AS at FROM window_log GROUP BY org_id) l WHERE l.org_id = w.org_id";

/// A list of the values of each column.
enum List {
    Integer(Vec<Option<i64>>),
    Boolean(Vec<Option<bool>>),
    Text(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl List {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Integer => Self::Integer(Vec::new()),
            Kind::Boolean => Self::Boolean(Vec::new()),
            Kind::Text => Self::Text(Vec::new()),
            Kind::Bytes => Self::Bytes(Vec::new()),
        }
    }

    /// About how many bytes it is; None when it is of another kind.
    fn push(&mut self, value: Value) -> Option<usize> {
        const NUMBER: usize = 8;
        match (self, value) {
            (Self::Integer(list), Value::Integer(number)) => list.push(Some(number)),
            (Self::Boolean(list), Value::Boolean(flag)) => list.push(Some(flag)),
            (Self::Text(list), Value::Text(mut text)) => {
                // No text in Postgres holds this character.
                if text.contains('\0') {
                    text = text.replace('\0', " ");
                }
                let length = text.len();
                list.push(Some(text));
                return Some(length);
            }
            (Self::Bytes(list), Value::Bytes(bytes)) => {
                let length = bytes.len();
                list.push(Some(bytes));
                return Some(length);
            }
            (Self::Integer(list), Value::Null) => list.push(None),
            (Self::Boolean(list), Value::Null) => list.push(None),
            (Self::Text(list), Value::Null) => list.push(None),
            (Self::Bytes(list), Value::Null) => list.push(None),
            _ => return None,
        }
        Some(NUMBER)
    }

    fn parameter(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Integer(list) => list,
            Self::Boolean(list) => list,
            Self::Text(list) => list,
            Self::Bytes(list) => list,
        }
    }
}

async fn take_table(
    db: &Db,
    reading: &mut Reading,
    table: &'static Table,
    insert: &str,
) -> Result<()> {
    reading.table(table)?;
    loop {
        let mut lists: Vec<List> = table
            .columns
            .iter()
            .map(|(_, kind)| List::of(*kind))
            .collect();
        let (mut rows, mut bytes) = (0, 0);
        while rows < WRITTEN_AT_ONCE && bytes < BYTES_AT_ONCE {
            let Some(values) = reading.row(table)? else {
                break;
            };
            for (list, value) in lists.iter_mut().zip(values) {
                bytes += list
                    .push(value)
                    .ok_or_else(|| corrupt("column of", &table.name))?;
            }
            rows += 1;
        }
        if rows == 0 {
            return Ok(());
        }
        let lists: Vec<_> = lists.iter().map(List::parameter).collect();
        let lists: Params<'_> = &lists;
        let written = db.run(insert, lists).await;
        written.map_err(|error| {
            if breaks_a_rule(&error) {
                reading.refused(table)
            } else {
                error.into()
            }
        })?;
    }
}

fn breaks_a_rule(error: &StoreError) -> bool {
    const INTEGRITY_CONSTRAINT_VIOLATION: &str = "23";
    let StoreError::Database(source) = error else {
        return false;
    };
    let code = source
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(tokio_postgres::Error::code);
    code.is_some_and(|code| code.code().starts_with(INTEGRITY_CONSTRAINT_VIOLATION))
}
