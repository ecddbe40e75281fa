//! Rows to values. A value that we never write is reported as corrupt, not guessed.

use crate::{Result, StoreError};
use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use tokio_postgres::types::FromSqlOwned;
use vydra_core::credits::Credits;
use vydra_core::time::Timestamp;

/// Reads the columns of a row in the order in which they were selected.
pub(super) struct Columns<'row> {
    row: &'row Row,
    next: usize,
}

impl<'row> Columns<'row> {
    pub(super) fn of(row: &'row Row) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn take<T: FromSqlOwned>(&mut self) -> Result<T> {
        let place = self.next;
        self.next += 1;
        self.row
            .try_get(place)
            .map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    /// A whole number of whatever width; all are kept as 64 bits.
    pub(super) fn number<T: TryFrom<i64>>(&mut self) -> Result<T> {
        let number = self.take::<i64>()?;
        T::try_from(number).map_err(|_| corrupt("number", &number))
    }

    pub(super) fn number_if_any<T: TryFrom<i64>>(&mut self) -> Result<Option<T>> {
        let number = self.take::<Option<i64>>()?;
        let narrow = |number| T::try_from(number).map_err(|_| corrupt("number", &number));
        number.map(narrow).transpose()
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

/// One value of each: a column of a statement that takes many.
pub(super) fn column<'all, T, V>(all: &'all [T], of: impl Fn(&'all T) -> V) -> Vec<V> {
    all.iter().map(of).collect()
}

pub(super) fn corrupt(what: &str, value: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{what} {value}"))
}

/// Every row through `read`, stopping at the first that fails.
pub(super) fn collect<'row, T>(
    rows: &'row [Row],
    read: impl Fn(&mut Columns<'row>) -> Result<T>,
) -> Result<Vec<T>> {
    rows.iter().map(|row| read(&mut Columns::of(row))).collect()
}

/// The row, if there is one, through `read`.
pub(super) fn read<'row, T>(
    row: Option<&'row Row>,
    read: impl Fn(&mut Columns<'row>) -> Result<T>,
) -> Result<Option<T>> {
    row.map(|row| read(&mut Columns::of(row))).transpose()
}
