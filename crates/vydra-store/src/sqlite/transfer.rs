//! All of a database out of a file and into one: see [`crate::transfer`].

use super::readers::reader;
use super::{SqliteStore, audit, connect, deliveries, migrations, worker};
use crate::StoreError;
use crate::transfer::{
    ADMISSIONS, Inlet, Kind, MOST_ADMITTED, Moved, OUTDATED, Outlet, Reading, Result, TABLES,
    Table, TransferError, Value, Writing,
};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, Row, ToSql, TransactionBehavior, params, params_from_iter};
use std::path::Path;
use vydra_core::time::Timestamp;
use vydra_core::window::{pack, unpack};

/// How many moments one row of admissions gets.
const MOMENTS: usize = 1_000;

impl SqliteStore {
    /// Writes all that the database holds, from one snapshot, beside a server that works.
    pub async fn export(path: &Path, outlet: Outlet) -> Result<Moved> {
        let path = path.to_owned();
        blocking(move || export(&path, outlet)).await
    }

    /// Reads it all into a database that is new or holds nothing of anybody: all of it, or nothing. What was being worked on
    /// waits to be taken up again.
    pub async fn import(path: &Path, inlet: Inlet) -> Result<Moved> {
        let path = path.to_owned();
        blocking(move || import(&path, inlet)).await
    }
}

pub(super) async fn blocking<T, E>(
    work: impl FnOnce() -> std::result::Result<T, E> + Send + 'static,
) -> std::result::Result<T, E>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(StoreError::Database(Box::new(error)).into()))
}

fn export(path: &Path, outlet: Outlet) -> Result<Moved> {
    let connection = reader(path)?;
    // It begins with the first look.
    let db = connection.unchecked_transaction()?;
    let mut writing = Writing::begin(outlet, migrations::current(&db)?)?;
    for table in TABLES {
        writing.table(table)?;
        let mut statement = db.prepare(&table.select())?;
        let mut rows = statement.query(())?;
        let mut values = Vec::with_capacity(table.columns.len());
        while let Some(row) = rows.next()? {
            values.clear();
            for (place, (name, kind)) in table.columns.iter().enumerate() {
                let value = read(row, place, *kind)?;
                let what = || StoreError::Corrupt(format!("{} of {}", name, table.name));
                values.push(value.ok_or_else(what)?);
            }
            writing.row(&values)?;
        }
    }
    writing.table(ADMISSIONS)?;
    export_admissions(&db, &mut writing)?;
    writing.end()
}

/// None when it holds what we never write.
fn read(row: &Row<'_>, place: usize, kind: Kind) -> Result<Option<Value>> {
    Ok(match (kind, row.get_ref(place)?) {
        (_, ValueRef::Null) => Some(Value::Null),
        (Kind::Integer, ValueRef::Integer(number)) => Some(Value::Integer(number)),
        (Kind::Boolean, ValueRef::Integer(flag)) => Some(Value::Boolean(flag != 0)),
        (Kind::Text, ValueRef::Text(text)) => std::str::from_utf8(text)
            .ok()
            .map(|text| Value::Text(text.to_owned())),
        (Kind::Bytes, ValueRef::Blob(bytes)) => Some(Value::Bytes(bytes.to_vec())),
        _ => None,
    })
}

/// Those of one moment together, in the order of their times. Where the clock was set back, they are of the last moment before.
fn export_admissions(db: &Connection, writing: &mut Writing) -> Result<()> {
    let mut statement =
        db.prepare("SELECT org_id, moments FROM admissions ORDER BY org_id, last_at, seq")?;
    let mut rows = statement.query(())?;
    let mut last: Option<Admission> = None;
    while let Some(row) = rows.next()? {
        let (org, moments): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let unreadable = || StoreError::Corrupt(format!("an admission of {org} cannot be read"));
        for moment in unpack(&moments).ok_or_else(unreadable)? {
            let mut at = moment.as_micros();
            if let Some(last) = last.as_mut().filter(|last| last.org == org) {
                if at <= last.at && last.requests < MOST_ADMITTED {
                    last.requests += 1;
                    continue;
                }
                at = at.max(last.at + 1);
            }
            put_admission(writing, last.take())?;
            last = Some(Admission {
                org: org.clone(),
                at,
                requests: 1,
            });
        }
    }
    put_admission(writing, last)
}

struct Admission {
    org: String,
    at: i64,
    requests: i64,
}

fn put_admission(writing: &mut Writing, admission: Option<Admission>) -> Result<()> {
    let Some(Admission { org, at, requests }) = admission else {
        return Ok(());
    };
    writing.row(&[
        Value::Text(org),
        Value::Integer(at),
        Value::Integer(requests),
    ])
}

fn import(path: &Path, inlet: Inlet) -> Result<Moved> {
    if migrations::is_outdated(path)? {
        return Err(StoreError::Refused(OUTDATED.to_owned()).into());
    }
    let mut connection = connect(path)?;
    migrations::migrate(&mut connection)?;
    let now = inlet.now;
    let db = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let is_empty: bool = db.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM organizations) AND NOT EXISTS (SELECT 1 FROM users)",
        (),
        |row| row.get(0),
    )?;
    if !is_empty {
        return Err(TransferError::NotEmpty);
    }
    let mut reading = Reading::begin(inlet, migrations::current(&db)?)?;
    // Some rows name others that come later. And what a new database begins with gives way.
    db.execute_batch(
        "PRAGMA defer_foreign_keys = ON; DELETE FROM settings WHERE name = 'pepper'; DELETE FROM turns",
    )?;
    for table in TABLES {
        reading.table(table)?;
        let mut insert = db.prepare(&insertion(table))?;
        while let Some(values) = reading.row(table)? {
            insert.execute(params_from_iter(&values)).map_err(|error| {
                match error.sqlite_error_code() {
                    Some(ErrorCode::ConstraintViolation) => reading.refused(table),
                    _ => error.into(),
                }
            })?;
        }
    }
    reading.table(ADMISSIONS)?;
    import_admissions(&db, &mut reading)?;
    let moved = reading.end()?;
    worker::release_leases(&db, None, now)?;
    deliveries::release(&db, now)?;
    let imbalances = audit::audit_snapshot(&db)?.imbalances;
    if !imbalances.is_empty() {
        return Err(TransferError::Unbalanced(imbalances));
    }
    db.commit()?;
    Ok(moved)
}

fn insertion(table: &Table) -> String {
    let places = vec!["?"; table.columns.len()].join(", ");
    format!(
        "INSERT INTO {} ({}) VALUES ({places})",
        table.name,
        table.list()
    )
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Null => Ok(ToSqlOutput::Borrowed(ValueRef::Null)),
            Self::Integer(number) => number.to_sql(),
            Self::Boolean(flag) => flag.to_sql(),
            Self::Text(text) => text.to_sql(),
            Self::Bytes(bytes) => bytes.to_sql(),
        }
    }
}

fn import_admissions(db: &Connection, reading: &mut Reading) -> Result<()> {
    let mut insert =
        db.prepare("INSERT INTO admissions (org_id, last_at, moments) VALUES (?1, ?2, ?3)")?;
    let mut put = |org: &str, moments: &mut Vec<Timestamp>| -> Result<()> {
        if let Some(last) = moments.last() {
            insert.execute(params![org, last.as_micros(), pack(moments)])?;
        }
        moments.clear();
        Ok(())
    };
    let (mut org, mut moments) = (String::new(), Vec::new());
    while let Some(row) = reading.row(ADMISSIONS)? {
        let [
            Value::Text(next),
            Value::Integer(at),
            Value::Integer(requests),
        ] = row.as_slice()
        else {
            return Err(TransferError::Damaged);
        };
        if *next != org {
            put(&org, &mut moments)?;
            org.clone_from(next);
        }
        for _ in 0..*requests {
            moments.push(Timestamp::from_micros(*at));
            if moments.len() == MOMENTS {
                put(&org, &mut moments)?;
            }
        }
    }
    put(&org, &mut moments)
}
