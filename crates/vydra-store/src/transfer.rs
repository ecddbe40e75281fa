//! All that a database holds as one stream of lines, the same for both engines: written from one snapshot, read into an empty
//! database.
//!
//! The first line says what it is. Each table follows with a line for its name and columns, and one for each row; the last line
//! counts the rows and bears the checksum of all lines between.

mod tables;

pub(crate) use tables::{ADMISSIONS, Kind, TABLES, Table};

use crate::StoreError;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, Read as _, Write};
use vydra_core::ledger::Imbalance;
use vydra_core::time::Timestamp;

/// Of the lines; the tables have the number of their schema.
const FORMAT: u32 = 1;
/// No row of ours comes near it.
const LONGEST_LINE: u64 = 64 * 1_024 * 1_024;
/// How many requests one moment can have admitted, of a microsecond.
pub(crate) const MOST_ADMITTED: i64 = 1_000_000;
/// How much is written or read between two looks at how far it is.
const ROWS_BETWEEN_LOOKS: u64 = 1_000;

pub(crate) const NOTHING: &str = "there is nothing of vydra in it";
pub(crate) const OUTDATED: &str =
    "it is of an older version: `vydra migrate` or a server of this version brings it up to date";

pub type Result<T> = std::result::Result<T, TransferError>;

/// Why data could not be moved. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the export cannot be written")]
    Write(#[source] io::Error),
    #[error("the export cannot be read")]
    Read(#[source] io::Error),
    #[error("line {line} cannot be: {problem}")]
    Malformed { line: u64, problem: String },
    #[error(
        "it has schema {found} and this version {known}: import it with the version that wrote it, and let a newer one bring the database up to date"
    )]
    OtherSchema { found: u32, known: u32 },
    #[error("its form has number {found} and this version knows {known}: start the newer version")]
    OtherFormat { found: u32, known: u32 },
    #[error("it is damaged: rows were lost or changed since it was written")]
    Damaged,
    #[error("there is something in the database already; what is imported takes one that is new")]
    NotEmpty,
    #[error("a server works on the database: stop it first")]
    InUse,
    #[error("its books do not agree: {}", differences(.0))]
    Unbalanced(Vec<Imbalance>),
}

/// The first of them stands for all; whoever wants the others audits what was exported.
fn differences(imbalances: &[Imbalance]) -> String {
    let first = imbalances.first().map(|first| {
        let Imbalance {
            org_id,
            problem,
            expected,
            found,
            ..
        } = first;
        format!("{org_id}: {problem}: expected {expected}, found {found}")
    });
    let others = imbalances.len().saturating_sub(1);
    format!("{}, and {others} more", first.unwrap_or_default())
}

impl From<rusqlite::Error> for TransferError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Where an export goes.
pub struct Outlet {
    pub to: Box<dyn Write + Send>,
    /// Told now and then how many rows were written.
    pub tell: Box<dyn FnMut(u64) + Send>,
    pub now: Timestamp,
    /// Of the program, for whoever reads the first line.
    pub version: String,
}

/// Where an import comes from.
pub struct Inlet {
    pub from: Box<dyn BufRead + Send>,
    /// Told now and then how many rows were read.
    pub tell: Box<dyn FnMut(u64) + Send>,
    pub now: Timestamp,
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Inlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inlet").finish_non_exhaustive()
    }
}

/// How many rows of each table were moved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moved(pub BTreeMap<String, u64>);

impl Moved {
    pub fn rows(&self) -> u64 {
        self.0.values().sum()
    }

    pub fn of(&self, table: &str) -> u64 {
        self.0.get(table).copied().unwrap_or(0)
    }
}

/// The value of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Boolean(bool),
    Text(String),
    Bytes(Vec<u8>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    vydra: String,
    format: u32,
    schema: u32,
    version: String,
    #[serde(rename = "exportedAt")]
    exported_at: String,
}

/// What every form begins with.
#[derive(Debug, Deserialize)]
struct Form {
    vydra: String,
    format: u32,
}

const HEADER: &str = "export";
const NO_EXPORT: &str = "this is no export of vydra";

#[derive(Debug, Serialize, Deserialize)]
struct Heading {
    table: String,
    columns: Vec<String>,
}

impl Heading {
    fn of(table: &Table) -> Self {
        Self {
            table: table.name.to_owned(),
            columns: table.names().map(str::to_owned).collect(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct End {
    rows: BTreeMap<String, u64>,
    sha256: String,
}

/// Lines on their way out.
pub(crate) struct Writing {
    outlet: Outlet,
    hash: Sha256,
    moved: Moved,
    table: &'static str,
    line: Vec<u8>,
    rows: u64,
}

impl Writing {
    pub(crate) fn begin(outlet: Outlet, schema: u32) -> Result<Self> {
        let header = Header {
            vydra: HEADER.to_owned(),
            format: FORMAT,
            schema,
            version: outlet.version.clone(),
            exported_at: outlet.now.to_string(),
        };
        let mut writing = Self {
            outlet,
            hash: Sha256::new(),
            moved: Moved::default(),
            table: "",
            line: Vec::new(),
            rows: 0,
        };
        writing.put(&header)?;
        writing.hash = Sha256::new();
        Ok(writing)
    }

    pub(crate) fn table(&mut self, table: &'static Table) -> Result<()> {
        self.table = table.name;
        self.moved.0.insert(table.name.to_owned(), 0);
        self.put(&Heading::of(table))
    }

    pub(crate) fn row(&mut self, values: &[Value]) -> Result<()> {
        self.line.clear();
        for (place, value) in values.iter().enumerate() {
            self.line.push(if place == 0 { b'[' } else { b',' });
            write_value(&mut self.line, value).map_err(TransferError::Write)?;
        }
        self.line.extend_from_slice(b"]\n");
        if let Some(count) = self.moved.0.get_mut(self.table) {
            *count += 1;
        }
        self.rows += 1;
        if self.rows.is_multiple_of(ROWS_BETWEEN_LOOKS) {
            (self.outlet.tell)(self.rows);
        }
        self.put_line()
    }

    pub(crate) fn end(mut self) -> Result<Moved> {
        let end = End {
            rows: self.moved.0.clone(),
            sha256: hex(&self.hash.finalize_reset()),
        };
        self.put(&end)?;
        self.outlet.to.flush().map_err(TransferError::Write)?;
        Ok(self.moved)
    }

    fn put(&mut self, line: &impl Serialize) -> Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)
            .map_err(|error| TransferError::Write(error.into()))?;
        self.line.push(b'\n');
        self.put_line()
    }

    fn put_line(&mut self) -> Result<()> {
        self.hash.update(&self.line);
        let to = &mut self.outlet.to;
        to.write_all(&self.line).map_err(TransferError::Write)
    }
}

fn write_value(line: &mut Vec<u8>, value: &Value) -> io::Result<()> {
    match value {
        Value::Null => line.write_all(b"null"),
        Value::Integer(number) => write!(line, "{number}"),
        Value::Boolean(flag) => write!(line, "{flag}"),
        Value::Text(text) => serde_json::to_writer(line, text).map_err(io::Error::from),
        Value::Bytes(bytes) => write!(line, "\"{}\"", BASE64_STANDARD.encode(bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Lines on their way in.
pub(crate) struct Reading {
    inlet: Inlet,
    hash: Sha256,
    moved: Moved,
    line: Vec<u8>,
    number: u64,
    rows: u64,
    /// Whose the last admission was, and of when.
    admitted: Option<(String, i64)>,
}

/// What a line is.
enum Line {
    Row(Vec<Value>),
    /// The next table begins, or the stream ends.
    Other,
}

impl Reading {
    pub(crate) fn begin(inlet: Inlet, schema: u32) -> Result<Self> {
        let mut reading = Self {
            inlet,
            hash: Sha256::new(),
            moved: Moved::default(),
            line: Vec::new(),
            number: 0,
            rows: 0,
            admitted: None,
        };
        reading.next_line()?;
        // What else a newer form says of itself is not for us.
        let form: Form = reading.parse(NO_EXPORT)?;
        if form.vydra != HEADER {
            return Err(reading.malformed(NO_EXPORT));
        }
        if form.format != FORMAT {
            return Err(TransferError::OtherFormat {
                found: form.format,
                known: FORMAT,
            });
        }
        let header: Header = reading.parse(NO_EXPORT)?;
        if header.schema != schema {
            return Err(TransferError::OtherSchema {
                found: header.schema,
                known: schema,
            });
        }
        reading.hash = Sha256::new();
        reading.next_line()?;
        Ok(reading)
    }

    /// The line that begins this table, which must be the next one.
    pub(crate) fn table(&mut self, table: &'static Table) -> Result<()> {
        let expected = Heading::of(table);
        let heading: Heading = self.parse("a table must begin here")?;
        if heading.table != expected.table || heading.columns != expected.columns {
            let problem = format!(
                "here the table {} must begin, with the columns {}",
                expected.table,
                expected.columns.join(", ")
            );
            return Err(self.malformed(&problem));
        }
        self.moved.0.insert(expected.table, 0);
        self.take()
    }

    /// The next row of the table; None behind the last one.
    pub(crate) fn row(&mut self, table: &'static Table) -> Result<Option<Vec<Value>>> {
        let Line::Row(values) = self.classify(table)? else {
            return Ok(None);
        };
        if table.name == ADMISSIONS.name {
            self.check_admission(&values)?;
        }
        if let Some(count) = self.moved.0.get_mut(table.name) {
            *count += 1;
        }
        self.rows += 1;
        if self.rows.is_multiple_of(ROWS_BETWEEN_LOOKS) {
            (self.inlet.tell)(self.rows);
        }
        self.take()?;
        Ok(Some(values))
    }

    /// Each counts somebody, and comes after the one before it: they are added up as they come.
    fn check_admission(&mut self, values: &[Value]) -> Result<()> {
        let [
            Value::Text(org),
            Value::Integer(at),
            Value::Integer(requests),
        ] = values
        else {
            return Err(self.malformed("an admission without its time"));
        };
        if !(1..=MOST_ADMITTED).contains(requests) {
            return Err(self.malformed("an admission of nobody, or of too many"));
        }
        let this = (org.clone(), *at);
        if self.admitted.as_ref().is_some_and(|last| *last >= this) {
            return Err(self.malformed("an admission that is not in its place"));
        }
        self.admitted = Some(this);
        Ok(())
    }

    /// Checks that all of it was read as it was written.
    pub(crate) fn end(mut self) -> Result<Moved> {
        let end: End = self.parse("the export must end here")?;
        if end.rows != self.moved.0 || end.sha256 != hex(&self.hash.finalize_reset()) {
            return Err(TransferError::Damaged);
        }
        self.line.clear();
        let from = self.inlet.from.as_mut();
        let read = from.take(1).read_to_end(&mut self.line);
        if read.map_err(TransferError::Read)? > 0 {
            self.number += 1;
            return Err(self.malformed("nothing may follow the end"));
        }
        Ok(self.moved)
    }

    fn classify(&self, table: &'static Table) -> Result<Line> {
        if self.line.first() != Some(&b'[') {
            return Ok(Line::Other);
        }
        let values: Vec<serde_json::Value> = self.parse("a row that is no list")?;
        let kinds = table.columns;
        if values.len() != kinds.len() {
            return Err(self.malformed("a row with too many columns or too few"));
        }
        let values = values.into_iter().zip(kinds).map(|(value, (name, kind))| {
            kind.read(value)
                .ok_or_else(|| self.malformed(&format!("a value of {name} that cannot be")))
        });
        Ok(Line::Row(values.collect::<Result<_>>()?))
    }

    /// The line is done with.
    fn take(&mut self) -> Result<()> {
        self.hash.update(&self.line);
        self.next_line()
    }

    fn next_line(&mut self) -> Result<()> {
        self.line.clear();
        self.number += 1;
        let mut bounded = self.inlet.from.as_mut().take(LONGEST_LINE);
        let read = bounded.read_until(b'\n', &mut self.line);
        read.map_err(TransferError::Read)?;
        if self.line.last() != Some(&b'\n') {
            return Err(self.malformed("the export is cut off here"));
        }
        Ok(())
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, problem: &str) -> Result<T> {
        serde_json::from_slice(&self.line).map_err(|_| self.malformed(problem))
    }

    /// What the database says of it may hold the row itself.
    pub(crate) fn refused(&self, table: &Table) -> TransferError {
        let name = table.name;
        self.malformed(&format!(
            "the table {name} does not take this row, or one of the thousand before it"
        ))
    }

    /// Tells nothing of what the line holds: there are secrets among them.
    pub(crate) fn malformed(&self, problem: &str) -> TransferError {
        TransferError::Malformed {
            line: self.number,
            problem: problem.to_owned(),
        }
    }
}

impl Kind {
    /// None when it is of another kind.
    fn read(self, value: serde_json::Value) -> Option<Value> {
        use serde_json::Value as Json;
        match (self, value) {
            (_, Json::Null) => Some(Value::Null),
            (Self::Integer, Json::Number(number)) => number.as_i64().map(Value::Integer),
            (Self::Boolean, Json::Bool(flag)) => Some(Value::Boolean(flag)),
            (Self::Text, Json::String(text)) => Some(Value::Text(text)),
            (Self::Bytes, Json::String(text)) => {
                BASE64_STANDARD.decode(text).ok().map(Value::Bytes)
            }
            _ => None,
        }
    }
}
