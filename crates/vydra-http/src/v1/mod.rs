//! Version 1 of the API: one resource, one file.

pub(crate) mod billing;
pub(crate) mod generate;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod models;
pub(crate) mod organization;
pub(crate) mod quotes;
pub(crate) mod transactions;
pub(crate) mod usage;
