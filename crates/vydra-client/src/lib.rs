//! The Rust client of Vydra, the self-hosted generation API: images, video and speech.
//!
//! ```no_run
//! use vydra_client::{Buy, Client, ImageInput, Progress, Wait};
//!
//! # async fn example() -> Result<(), vydra_client::Error> {
//! // The server and the key are those of VYDRA_BASE_URL and VYDRA_API_KEY, or of the credentials file.
//! let client = Client::new()?;
//! let input = ImageInput {
//!     prompt: "a fox in the snow at dawn".into(),
//!     ..ImageInput::default()
//! };
//! let buy = Buy {
//!     max_credits: Some(10),
//!     ..Buy::default()
//! };
//! let job = client.generate().image(&input, &buy, &Wait::default()).await?;
//! for url in job.urls() {
//!     client.download(url, "fox.png", &Progress::none()).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! Every call fails with an [`Error`]. [`Error::friendly`] is a sentence for the person in front of the program; the error itself
//! has what belongs into the log. What the server said is an [`ApiError`] with its [`Code`] and [`ErrorClass`].
//!
//! ```
//! use vydra_client::{Code, Error, ErrorClass};
//!
//! fn tell(error: &Error) -> String {
//!     match error {
//!         Error::Api(api) if api.code == Some(Code::InsufficientCredits) => {
//!             format!("{} credits are missing", api.credits_required.unwrap_or(0) - api.credits_remaining.unwrap_or(0))
//!         }
//!         Error::Api(api) if api.class() == ErrorClass::Authentication => "Please log in again.".into(),
//!         other => other.friendly(),
//!     }
//! }
//! ```
//!
//! # Repetitions
//!
//! What may be sent twice is: GET and DELETE, and whatever buys, because that bears an `Idempotency-Key` which stays the same over
//! all tries of a call. It is repeated after a lost connection, 429 and 5xx, with growing pauses and as the server says, at most
//! [`max_retries`](Builder::max_retries) times within [`retry_budget`](Builder::retry_budget). No other 4xx is.
//!
//! # Jobs
//!
//! ```no_run
//! # use serde_json::json;
//! # use vydra_client::{Buy, Client, Error, Wait};
//! # async fn example(client: Client) -> Result<(), Error> {
//! let input = json!({"prompt": "waves under a full moon", "duration": 4});
//! let job = client.jobs().create("generate_video", &input, &Buy::default()).await?;
//! let mut events = client.stream(&job.id, &Wait::default());
//! while let Some(event) = events.next().await? {
//!     eprintln!("{} %", event.progress);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A call ends when its future is dropped. With [`Wait::cancel_on_drop`] the job ends with it, and what it cost comes back.
//!
//! # Where the key goes
//!
//! To the server that the client was made for, and to nobody else: redirects of the API are errors, and files are fetched without
//! it. It stands in no error, and in nothing that is printed.
//!
//! [`blocking`] has the same calls without async, and [`webhooks`] tells whether a webhook is ours.
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
pub use clock::{Clock, SystemClock};
pub use code::Code;
pub use config::{Credentials, Environment, base_url};
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
