//! The suite of `tests/conformance` on Postgres: the same files, over a `backend` of its own. Without the programs of
//! Postgres it says so and passes.

#[cfg(test)]
#[path = "../conformance/assets.rs"]
mod assets;
#[cfg(test)]
#[path = "../conformance/attempts.rs"]
mod attempts;
#[cfg(test)]
#[path = "../conformance/audit.rs"]
mod audit;
#[cfg(test)]
mod backend;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod connections;
#[cfg(test)]
#[path = "../conformance/credits.rs"]
mod credits;
#[cfg(test)]
#[path = "../conformance/deliveries.rs"]
mod deliveries;
#[cfg(test)]
mod encryption;
#[cfg(test)]
#[path = "../conformance/events.rs"]
mod events;
#[cfg(test)]
#[path = "../conformance/fixture.rs"]
mod fixture;
#[cfg(test)]
#[path = "../conformance/idempotency.rs"]
mod idempotency;
#[cfg(test)]
#[path = "../conformance/jobs.rs"]
mod jobs;
#[cfg(test)]
#[path = "../conformance/keys.rs"]
mod keys;
#[cfg(test)]
#[path = "../conformance/limits.rs"]
mod limits;
#[cfg(test)]
mod moves;
#[cfg(test)]
mod news;
#[cfg(test)]
mod nodes;
#[cfg(test)]
#[path = "../conformance/organizations.rs"]
mod organizations;
#[cfg(test)]
#[path = "../conformance/prune.rs"]
mod prune;
#[cfg(test)]
#[path = "../conformance/races.rs"]
mod races;
#[cfg(test)]
#[path = "../conformance/rich.rs"]
mod rich;
#[cfg(test)]
#[path = "../conformance/sessions.rs"]
mod sessions;
#[cfg(test)]
#[path = "../conformance/transactions.rs"]
mod transactions;
#[cfg(test)]
#[path = "../conformance/transfer.rs"]
mod transfer;
#[cfg(test)]
#[path = "../conformance/usage.rs"]
mod usage;
#[cfg(test)]
#[path = "../conformance/users.rs"]
mod users;
#[cfg(test)]
#[path = "../conformance/webhooks.rs"]
mod webhooks;
#[cfg(test)]
mod windows;
#[cfg(test)]
#[path = "../conformance/worker.rs"]
mod worker;
