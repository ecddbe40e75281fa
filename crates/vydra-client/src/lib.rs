//! The Rust client of a Vydra server.
#![warn(missing_docs)]

mod account;
pub mod blocking;
mod catalogue;
mod client;
mod clock;
mod code;
mod config;
mod error;
mod files;
mod hooks;
mod jobs;
mod models;
mod options;
mod pages;
mod sse;
mod stream;
mod transport;
pub mod types;
pub mod webhooks;

pub use account::{Assets, Keys};
pub use client::{Builder, Client};
pub use clock::Clock;
pub use code::Code;
pub use config::{Credentials, Environment};
pub use error::{ApiError, Error, ErrorClass};
pub use files::Source;
pub use hooks::{Progress, RequestEvent, ResponseEvent, RetryEvent};
pub use jobs::{Generate, JobStatus, Jobs};
pub use models::Models;
pub use options::{
    AssetFilter, Buy, DeliveryFilter, EventFilter, ImageInput, JobFilter, ModelFilter, Quoted,
    SpeechInput, TransactionFilter, UploadOptions, UsageFilter, VideoInput, Wait,
};
pub use pages::{Items, Page};
pub use stream::{JobEvent, JobEventKind, JobStream};
pub use types::Job;
