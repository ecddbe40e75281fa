//! Who we call: providers, media storage, URLs that users name, receivers of webhooks. Whatever leaves the process goes
//! through here, with a bound on time and size, and a check of the address.
//!
//! Nothing here knows the store, the ledger or the clock.
//!
//! The commonest change: a new provider. Make a folder in `providers/`, implement [`provider::Provider`], and register
//! it in the binary's `wiring.rs`.

pub mod egress_proxy;
pub mod fetch;
mod http;
pub mod media;
mod poster;
pub mod provider;
pub mod providers;
pub mod registry;
pub mod scrub;
pub mod sniff;
pub mod thumbnail;
pub mod url_guard;
pub mod webhook;
