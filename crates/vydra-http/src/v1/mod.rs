//! Version 1 of the API: one resource, one file.

pub(crate) mod assets;
pub(crate) mod billing;
pub(crate) mod bots;
pub(crate) mod deliveries;
pub(crate) mod events;
pub(crate) mod generate;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod limits;
pub(crate) mod models;
pub(crate) mod organization;
pub(crate) mod quotes;
pub(crate) mod sessions;
pub(crate) mod streams;
pub(crate) mod transactions;
pub(crate) mod uploads;
pub(crate) mod usage;
pub(crate) mod webhooks;
