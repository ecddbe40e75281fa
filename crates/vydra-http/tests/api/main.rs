//! The wire, line by line of the contract: the router, the engine, a real store and a provider that obeys the test. Every
//! answer passes the checks in `fixture`, whatever its test looks at. The store is SQLite, or Postgres where
//! `VYDRA_TEST_STORE` says so.

#[cfg(test)]
mod account;
#[cfg(test)]
mod assets;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod bots;
#[cfg(test)]
mod caps;
#[cfg(test)]
mod described;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod events;
#[cfg(test)]
mod fallback;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod headers;
#[cfg(test)]
mod help;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod machinery;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod media;
#[cfg(test)]
mod models;
#[cfg(test)]
mod naughty;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod probes;
#[cfg(test)]
mod quotes;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod seed;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod socket;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod transactions;
#[cfg(test)]
mod uploads;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod webhooks;
#[cfg(test)]
mod workflows;
