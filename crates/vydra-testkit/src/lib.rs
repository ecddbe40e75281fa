//! Parts for tests: an application without a network, whose clock, chance and providers obey the test, and whose books
//! are audited when it is dropped. Only for dev-dependencies.
//!
//! Nothing of the product may live here. [`TestApp::new`] is where a test starts; [`TestApp::step`] runs the worker by
//! hand, [`TestApp::work`] in the background.
//!
//! The commonest change: one more thing that a provider can do. Give it an arm in [`Reply`].

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on ends here"
)]

mod app;
pub mod certificates;
mod clock;
mod cluster;
mod database;
mod faults;
mod faulty_files;
pub mod files;
mod mailbox;
mod parts;
mod plans;
pub mod postgres;
mod provider;
mod random;
pub mod redis;
pub mod s3;
pub mod upstream;
mod web;
pub mod wire;

pub use app::{PASSWORD, PUBLIC_URL, Setup, TestApp};
pub use clock::ManualClock;
pub use cluster::{Cluster, Node};
pub use database::{Backend, Database};
pub use faults::{Fault, Faults, OUTSIDE_POINTS, STORE_POINTS};
pub use mailbox::Mailbox;
pub use parts::parts;
pub use provider::{Gate, PollReply, Reply, ScriptedProvider, refused};
pub use random::SeededRandom;
pub use vydra_outbound::provider::{Accepted, ErrorKind, Next, ProviderError};
pub use web::{FileServer, Received, Served, WebhookSink, filler};
