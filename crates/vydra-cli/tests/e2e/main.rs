//! The real binary, end to end: started as an operator starts it, called as clients call it, stopped, killed, and started
//! again. The ledger is audited when the data of a test are dropped.
//!
//! A test that needs a program of the system (curl, ffprobe, chromium) says so and skips when it is not installed.

#[cfg(test)]
mod api;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod buckets;
#[cfg(test)]
mod callers;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod dev;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod files;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod generations;
#[cfg(test)]
mod images;
#[cfg(test)]
mod mishaps;
#[cfg(test)]
mod moves;
#[cfg(test)]
mod oddities;
#[cfg(test)]
mod person;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod providers;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod rust_client;
#[cfg(test)]
mod rust_client_chaos;
#[cfg(test)]
mod server;
#[cfg(test)]
mod stops;
#[cfg(test)]
mod upkeep;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod watches;
#[cfg(test)]
mod webhooks;
