//! What we remember. The only crate with SQL; transactions never leave it.
//!
//! [`Store`] is the table of contents of our data: each of its commands is one transaction and returns a value. Credits
//! move only in [`Store::grant`], [`Store::submit_job`], [`Store::settle_job`], [`Store::cancel_job`] and
//! [`Store::expire_jobs`], each as a row of the ledger in the transaction that changes the state it pays for.
//!
//! The commonest change: a new command. Write its guarantee in [`store`], its statement in `sqlite/<noun>.rs` and
//! `postgres/<noun>.rs`, its test in `tests/conformance/`, which runs on both. A new column: a new file in `migrations/sqlite/`
//! and one of the same name in `migrations/postgres/`, numbered without a gap.

mod document;
mod error;
mod new_job;
mod postgres;
mod prune;
mod sqlite;
pub mod store;
pub mod transfer;

pub use error::{Result, StoreError};
pub use postgres::{Found, PostgresReport, PostgresSettings, PostgresStore, UrlError};
pub use sqlite::{SqliteStore, sqlite_version};
pub use store::Store;
