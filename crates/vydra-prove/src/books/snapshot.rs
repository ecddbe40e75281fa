//! One moment of a database, as rows whose columns have names. Each engine is read by its own means, which share no code with the
//! store: a file by SQLite itself, a server by the program `psql`.

use anyhow::{Context, ensure};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value};
use std::path::Path;
use std::time::Duration;
use vydra_testkit::{Database, postgres};

#[derive(Debug)]
pub(super) struct Row(Map<String, Value>);

impl Row {
    fn column(&self, name: &str) -> anyhow::Result<&Value> {
        self.0
            .get(name)
            .with_context(|| format!("no column {name}"))
    }

    /// None for a number that is not there.
    pub(super) fn perhaps(&self, name: &str) -> anyhow::Result<Option<i64>> {
        let value = self.column(name)?;
        let number = value.as_i64();
        ensure!(number.is_some() || value.is_null(), "{name} is {value}");
        Ok(number)
    }

    pub(super) fn number(&self, name: &str) -> anyhow::Result<i64> {
        self.perhaps(name)?
            .with_context(|| format!("{name} is not there"))
    }

    /// None for a text that is not there.
    pub(super) fn perhaps_text(&self, name: &str) -> anyhow::Result<Option<String>> {
        let value = self.column(name)?;
        let text = value.as_str();
        ensure!(text.is_some() || value.is_null(), "{name} is {value}");
        Ok(text.map(str::to_owned))
    }

    pub(super) fn text(&self, name: &str) -> anyhow::Result<String> {
        self.perhaps_text(name)?
            .with_context(|| format!("{name} is not there"))
    }
}

/// What each of some statements answers, all at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    answers: Vec<(&'static str, Vec<Row>)>,
}

impl Snapshot {
    /// Beside whatever else works on the database.
    pub(super) fn of(database: &Database, statements: &[&'static str]) -> anyhow::Result<Self> {
        let answers = match database {
            Database::Sqlite(path) => of_file(path, statements)
                .with_context(|| format!("cannot read {}", path.display()))?,
            Database::Postgres(url) => of_server(url, statements)?,
        };
        let answers = statements.iter().copied().zip(answers).collect();
        Ok(Self { answers })
    }

    pub(super) fn rows<T>(
        &self,
        statement: &'static str,
        read: impl Fn(&Row) -> anyhow::Result<T>,
    ) -> anyhow::Result<Vec<T>> {
        let answer = self.answers.iter().find(|(asked, _)| *asked == statement);
        let (_, rows) = answer.context("this was not asked")?;
        rows.iter()
            .map(|row| read(row).with_context(|| statement))
            .collect()
    }
}

fn of_file(path: &Path, statements: &[&str]) -> anyhow::Result<Vec<Vec<Row>>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let snapshot = connection.transaction()?;
    statements
        .iter()
        .map(|sql| {
            let mut statement = snapshot.prepare(sql)?;
            let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
            let rows = statement.query_map((), |row| {
                let columns = names.iter().enumerate().map(|(place, name)| {
                    let value = match row.get_ref(place)? {
                        ValueRef::Null => Value::Null,
                        ValueRef::Integer(number) => number.into(),
                        ValueRef::Real(number) => number.into(),
                        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                            String::from_utf8_lossy(bytes).into()
                        }
                    };
                    Ok((name.clone(), value))
                });
                columns.collect::<rusqlite::Result<_>>().map(Row)
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .collect()
}

fn of_server(url: &str, statements: &[&str]) -> anyhow::Result<Vec<Vec<Row>>> {
    // No row is this, in whatever words it comes.
    const NEXT: &str = "next";
    let mut asked = vec!["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned()];
    for statement in statements {
        asked.push(format!("SELECT row_to_json(row) FROM ({statement}) row"));
        asked.push(format!("SELECT '{NEXT}'"));
    }
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let told = postgres::psql(url, &asked).map_err(anyhow::Error::msg)?;
    let mut answers = vec![Vec::new()];
    for line in told.lines() {
        if line == NEXT {
            answers.push(Vec::new());
        } else if let Some(rows) = answers.last_mut() {
            rows.push(Row(serde_json::from_str(line)?));
        }
    }
    // What follows the last of them.
    answers.pop();
    ensure!(answers.len() == statements.len(), "an answer is missing");
    Ok(answers)
}
