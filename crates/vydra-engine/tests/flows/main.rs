//! The engine's flows, from a request to its end: a real store, a provider that obeys the test, a clock that stands still, and
//! a worker that is stepped by hand. The ledger is audited at the end of each test. The store is SQLite, or Postgres where
//! `VYDRA_TEST_STORE` says so.

#[cfg(test)]
mod assets;
#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod inputs;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod models;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod outputs;
#[cfg(test)]
mod people;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod routing;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod start;
#[cfg(test)]
mod upkeep;
#[cfg(test)]
mod workflows;
