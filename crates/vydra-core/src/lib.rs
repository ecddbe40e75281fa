//! What things are: ids, credits, jobs, the ledger, the catalogue, keys, people, scopes, plans and the one list of errors.
//!
//! Pure: no IO, no async, no clock, no randomness of its own. Whatever needs the time or random bytes takes them as
//! arguments ([`time::Clock`], [`random::Random`]).
//!
//! The commonest change here is a new error code: add an arm to [`error_code::ErrorCode`] and the compiler leads through
//! the rest.

pub mod api_key;
pub mod asset;
pub mod catalog;
pub mod credits;
pub mod error_code;
pub mod idempotency;
pub mod ids;
pub mod job;
pub mod ledger;
pub mod organization;
pub mod plan;
pub mod random;
pub mod scope;
pub mod session;
pub mod time;
pub mod usage;
pub mod user;
pub mod webhook;
pub mod window;
