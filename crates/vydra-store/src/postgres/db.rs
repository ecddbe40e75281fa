//! One connection: statements that are prepared once, and rows.

use crate::{Result, StoreError};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

/// What a statement is given.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

#[derive(Debug)]
pub(super) struct Db {
    client: Client,
    statements: Mutex<HashMap<String, Statement>>,
    /// Whether a statement has failed since this was asked last: Postgres then undoes the transaction, also one that is committed.
    has_failed: AtomicBool,
}

impl Db {
    pub(super) fn over(client: Client) -> Self {
        Self {
            client,
            statements: Mutex::default(),
            has_failed: AtomicBool::new(false),
        }
    }

    fn noted<T>(&self, result: std::result::Result<T, tokio_postgres::Error>) -> Result<T> {
        result.map_err(|error| {
            self.has_failed.store(true, Ordering::Relaxed);
            error.into()
        })
    }

    /// Whether a statement has failed since this was asked last.
    pub(super) fn take_failure(&self) -> bool {
        self.has_failed.swap(false, Ordering::Relaxed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// So that its first use need not wait for it.
    pub(super) async fn prepare(&self, sql: &str) -> Result<()> {
        self.prepared(sql).await?;
        Ok(())
    }

    async fn prepared(&self, sql: &str) -> Result<Statement> {
        let known = || {
            self.statements
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(statement) = known().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.noted(self.client.prepare(sql).await)?;
        known().insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    pub(super) async fn all(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>> {
        let statement = self.prepared(sql).await?;
        self.noted(self.client.query(&statement, params).await)
    }

    pub(super) async fn first(&self, sql: &str, params: Params<'_>) -> Result<Option<Row>> {
        let statement = self.prepared(sql).await?;
        self.noted(self.client.query_opt(&statement, params).await)
    }

    /// The only row that there can be.
    pub(super) async fn one(&self, sql: &str, params: Params<'_>) -> Result<Row> {
        let row = self.first(sql, params).await?;
        row.ok_or_else(|| StoreError::Corrupt("a row is gone".to_owned()))
    }

    /// How many rows it touched.
    pub(super) async fn run(&self, sql: &str, params: Params<'_>) -> Result<u64> {
        let statement = self.prepared(sql).await?;
        self.noted(self.client.execute(&statement, params).await)
    }

    /// Under a savepoint: what fails is undone by itself. None when it has failed.
    pub(super) async fn attempt<T>(
        &self,
        running: impl Future<Output = Result<T>>,
    ) -> Result<Option<T>> {
        self.script("SAVEPOINT attempt").await?;
        match running.await {
            Ok(value) => {
                self.script("RELEASE attempt").await?;
                Ok(Some(value))
            }
            Err(error) if error.is_temporary() => Err(error),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a part of a command has failed"
                );
                self.script("ROLLBACK TO attempt; RELEASE attempt").await?;
                self.take_failure();
                Ok(None)
            }
        }
    }

    /// Statements without parameters.
    pub(super) async fn script(&self, sql: &str) -> Result<()> {
        self.noted(self.client.batch_execute(sql).await)
    }
}
