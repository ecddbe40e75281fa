//! One suite for every database: what each command of [`vydra_store::Store`] promises. `fixture::fresh` makes the store,
//! and each test ends with `fixture::check`, which adds the books up again. What differs from one database to another is in
//! `backend`; `tests/conformance_postgres` runs the same files with its own. What only a SQLite file can show is in
//! `sqlite_files`.

#[cfg(test)]
mod assets;
#[cfg(test)]
mod attempts;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod backend;
#[cfg(test)]
mod credits;
#[cfg(test)]
mod deliveries;
#[cfg(test)]
mod events;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod organizations;
#[cfg(test)]
mod prune;
#[cfg(test)]
mod races;
#[cfg(test)]
mod rich;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod sqlite_files;
#[cfg(test)]
mod start;
#[cfg(test)]
mod transactions;
#[cfg(test)]
mod transfer;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod users;
#[cfg(test)]
mod webhooks;
#[cfg(test)]
mod worker;
#[cfg(test)]
mod writer;
