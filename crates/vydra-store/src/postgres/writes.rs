//! What a command of the store asks of the lanes.

use super::PostgresStore;
use super::db::Db;
use super::lanes::{Durability, Turn};
use crate::Result;

impl PostgresStore {
    /// `whose` decides which commands follow one another on one connection.
    pub(super) async fn write<T, F>(&self, whose: &str, command: F) -> Result<T>
    where
        T: Send + 'static,
        F: AsyncFn(&Db) -> Result<T> + Send + 'static,
    {
        let turn = Turn::Later;
        self.lanes.run(whose, turn, Durability::Disk, command).await
    }

    /// For what takes from the balance of an organization, or gives to it.
    pub(super) async fn write_balance<T, F>(&self, org: &str, command: F) -> Result<T>
    where
        T: Send + 'static,
        F: AsyncFn(&Db) -> Result<T> + Send + 'static,
    {
        let turn = Turn::Balance;
        self.lanes.run(org, turn, Durability::Disk, command).await
    }

    /// For what may be lost with the power of the database's machine, though not with its process.
    pub(super) async fn write_relaxed<T, F>(&self, whose: &str, command: F) -> Result<T>
    where
        T: Send + 'static,
        F: AsyncFn(&Db) -> Result<T> + Send + 'static,
    {
        let turn = Turn::Later;
        self.lanes
            .run(whose, turn, Durability::Process, command)
            .await
    }
}
