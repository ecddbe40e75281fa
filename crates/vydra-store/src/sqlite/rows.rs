//! Rows to values. A value that we never write is reported as corrupt, not guessed.

use crate::{Result, StoreError};
use rusqlite::Row;
use rusqlite::types::FromSql;
use serde::de::DeserializeOwned;
use vydra_core::credits::Credits;
use vydra_core::time::Timestamp;

/// Reads the columns of a row in the order in which they were selected.
pub(super) struct Columns<'row, 'stmt> {
    row: &'row Row<'stmt>,
    next: usize,
}

impl<'row, 'stmt> Columns<'row, 'stmt> {
    pub(super) fn of(row: &'row Row<'stmt>) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn take<T: FromSql>(&mut self) -> Result<T> {
        let place = self.next;
        self.next += 1;
        Ok(self.row.get(place)?)
    }

    pub(super) fn time(&mut self) -> Result<Timestamp> {
        Ok(Timestamp::from_micros(self.take()?))
    }

    pub(super) fn time_if_any(&mut self) -> Result<Option<Timestamp>> {
        Ok(self.take::<Option<i64>>()?.map(Timestamp::from_micros))
    }

    pub(super) fn credits(&mut self) -> Result<Credits> {
        let amount = self.take()?;
        Credits::new(amount).ok_or_else(|| corrupt("credits", &amount))
    }

    /// A word of a closed list.
    pub(super) fn word<T>(&mut self, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
        let text: String = self.take()?;
        parse(&text).ok_or_else(|| corrupt("word", &text))
    }

    pub(super) fn word_if_any<T>(
        &mut self,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.take::<Option<String>>()? {
            None => Ok(None),
            Some(text) => parse(&text).map(Some).ok_or_else(|| corrupt("word", &text)),
        }
    }

    pub(super) fn json<T: DeserializeOwned>(&mut self) -> Result<T> {
        let text: String = self.take()?;
        serde_json::from_str(&text).map_err(|error| corrupt("document", &error))
    }
}

fn corrupt(what: &str, value: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{what} {value}"))
}

/// Every row through `read`, stopping at the first that fails.
pub(super) fn collect<T>(
    mut rows: rusqlite::Rows<'_>,
    read: impl Fn(&mut Columns<'_, '_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut values = Vec::new();
    while let Some(row) = rows.next()? {
        values.push(read(&mut Columns::of(row))?);
    }
    Ok(values)
}

pub(super) fn first<T>(
    mut rows: rusqlite::Rows<'_>,
    read: impl Fn(&mut Columns<'_, '_>) -> Result<T>,
) -> Result<Option<T>> {
    match rows.next()? {
        Some(row) => read(&mut Columns::of(row)).map(Some),
        None => Ok(None),
    }
}
