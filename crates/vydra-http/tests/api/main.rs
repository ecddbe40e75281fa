//! The wire, line by line of the contract: the router, the engine, SQLite and a provider that obeys the test. Every
//! answer passes the checks in `fixture`, whatever its test looks at.

#[cfg(test)]
mod account;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod caps;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod headers;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod media;
#[cfg(test)]
mod models;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod quotes;
#[cfg(test)]
mod sandbox;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod transactions;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod workflows;
