//! Who we call: providers, media storage, URLs that users name, receivers of webhooks. Whatever leaves the process goes
//! through here, with a bound on time and size, and a check of the address.
//!
//! Nothing here knows the store or the ledger. The time comes from a clock that is handed in, to the one provider that signs
//! with it.
//!
//! The commonest change: a new provider. Make a folder in `providers/`, implement [`provider::Provider`], and register
//! it in the binary's `wiring.rs`.

pub mod egress_proxy;
pub mod fetch;
mod http;
pub mod media;
pub mod output;
mod poster;
pub mod provider;
pub mod providers;
pub mod registry;
pub mod request;
pub mod retry_after;
pub mod scrub;
pub mod secret;
pub mod sniff;
pub mod thumbnail;
pub mod upstream;
pub mod url_guard;
pub mod webhook;
pub mod windows;
