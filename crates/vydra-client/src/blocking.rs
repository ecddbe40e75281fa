//! The same calls for programs without async. The client has a Tokio runtime of its own, with one thread.
//!
//! ```no_run
//! use vydra_client::{Buy, Client, ImageInput, Progress, Wait};
//!
//! # fn main() -> Result<(), vydra_client::Error> {
//! let client = Client::builder().build_blocking()?;
//! let input = ImageInput {
//!     prompt: "a boat".into(),
//!     ..ImageInput::default()
//! };
//! let job = client.generate().image(&input, &Buy::default(), &Wait::default())?;
//! for url in job.urls() {
//!     client.download(url, "boat.png", &Progress::none())?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! As with every such client, a call from within async code panics: there it would hold up the thread that all wait for.

use crate::client::Builder;
use crate::error::Error;
use crate::hooks::Progress;
use crate::options::{
    AssetFilter, Buy, DeliveryFilter, EventFilter, JobFilter, ModelFilter, Quoted,
    TransactionFilter, UploadOptions, UsageFilter, Wait,
};
use crate::stream::JobEvent;
use crate::types::{
    Charges, Credits, DeletedAsset, DeletedEndpoint, Delivery, Endpoint, EndpointChanges,
    EndpointList, EventList, Job, Key, KeyList, Model, ModelList, NewEndpoint, Organization, Quote,
    RateLimits, Secret, SentTests, StoredAsset, Transaction, Upload, Usage,
};
use crate::{files, pages, stream, webhooks};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use tokio::runtime::{Handle, Runtime};

/// A client whose calls come back when they are done. Its clones share their connections.
#[derive(Clone)]
pub struct Client {
    inner: crate::Client,
    runtime: Arc<Own>,
}

/// A runtime that can be dropped anywhere.
struct Own {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Own {
    fn run<F: Future>(&self, call: F) -> F::Output {
        self.handle.block_on(call)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // An ordinary drop waits, which async code may not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Builder {
    /// The client for programs without async; an error if there is no server or no key.
    pub fn build_blocking(self) -> Result<Client, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("vydra-client")
            .enable_all()
            .build();
        let runtime = runtime
            .map_err(|error| Error::Configuration(format!("no thread can be started: {error}")))?;
        Ok(Client {
            inner: self.build()?,
            runtime: Arc::new(Own {
                handle: runtime.handle().clone(),
                runtime: Some(runtime),
            }),
        })
    }
}

/// A group of calls that run those of the same name.
macro_rules! group {
    ($(#[$about:meta])* $group:ident of $inner:ty;
     $($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy)]
        pub struct $group<'a> {
            client: &'a Client,
            inner: $inner,
        }

        impl $group<'_> {
            $(
                $(#[$doc])*
                pub fn $name(&self, $($argument: $type),*) -> Result<$answer, Error> {
                    self.client.run(self.inner.$name($($argument),*))
                }
            )*
        }
    };
}

group! {
    /// What [`Client::generate`] gives: buys, waits, and gives the completed job.
    Generate of crate::Generate<'a>;
    /// Makes an image of a text.
    image(input: &impl Serialize, buy: &Buy, wait: &Wait) -> Job;
    /// Makes a video of a text, or of an image and a text.
    video(input: &impl Serialize, buy: &Buy, wait: &Wait) -> Job;
    /// Speaks a text.
    speech(input: &impl Serialize, buy: &Buy, wait: &Wait) -> Job;
}

group! {
    /// What [`Client::jobs`] gives: what was bought.
    Jobs of crate::Jobs<'a>;
    /// Buys a job of a workflow, and does not wait for it.
    create(workflow: &str, input: &impl Serialize, buy: &Buy) -> Job;
    /// A job as it is; with `wait`, once it has ended or after so many seconds (at most 60).
    get(id: &str, wait: Option<u64>) -> Job;
    /// Cancels a job; what it cost comes back.
    cancel(id: &str) -> Job;
    /// Why a job cost what it cost.
    charges(id: &str) -> Charges;
}

impl Jobs<'_> {
    /// The jobs of the organization, the newest first.
    pub fn list(&self, filter: &JobFilter) -> Result<Page<Job>, Error> {
        self.client.page(self.inner.list(filter))
    }
}

group! {
    /// What [`Client::models`] gives: what can be called, and calling it.
    Models of crate::Models<'a>;
    /// All models.
    list(filter: &ModelFilter) -> ModelList;
    /// One model, with the schema of its input.
    get(slug: &str) -> Model;
    /// Calls a model at its path, such as `gemini/edit`. What takes longer gives a pending job: wait for it.
    run(path: &str, input: &impl Serialize, buy: &Buy) -> Job;
}

group! {
    /// What [`Client::keys`] gives.
    Keys of crate::Keys<'a>;
    /// All keys, without their secret parts.
    list() -> KeyList;
    /// One key.
    get(id: &str) -> Key;
    /// Revokes a key, from the next request on.
    revoke(id: &str) -> Key;
}

group! {
    /// What [`Client::assets`] gives.
    Assets of crate::Assets<'a>;
    /// One file.
    get(id: &str) -> StoredAsset;
    /// Deletes a file.
    delete(id: &str) -> DeletedAsset;
}

impl Assets<'_> {
    /// The files of the organization, the newest first.
    pub fn list(&self, filter: &AssetFilter) -> Result<Page<StoredAsset>, Error> {
        self.client.page(self.inner.list(filter))
    }
}

group! {
    /// What [`Client::webhooks`] gives.
    Webhooks of webhooks::Webhooks<'a>;
    /// Sends a `webhook.test` to an endpoint, or to all.
    test(endpoint_id: Option<&str>) -> SentTests;
}

impl<'a> Webhooks<'a> {
    /// Where the ends of all jobs are told.
    pub fn endpoints(&self) -> Endpoints<'a> {
        Endpoints {
            client: self.client,
            inner: self.inner.endpoints(),
        }
    }

    /// What was sent in the last 30 days.
    pub fn deliveries(&self) -> Deliveries<'a> {
        Deliveries {
            client: self.client,
            inner: self.inner.deliveries(),
        }
    }

    /// What webhooks are signed with.
    pub fn secret(&self) -> WebhookSecret<'a> {
        WebhookSecret {
            client: self.client,
            inner: self.inner.secret(),
        }
    }
}

group! {
    /// What [`Webhooks::endpoints`] gives.
    Endpoints of webhooks::Endpoints<'a>;
    /// All endpoints.
    list() -> EndpointList;
    /// Adds an endpoint, for these events or for all.
    create(endpoint: &NewEndpoint) -> Endpoint;
    /// One endpoint.
    get(id: &str) -> Endpoint;
    /// Changes what is named of an endpoint.
    update(id: &str, changes: &EndpointChanges) -> Endpoint;
    /// Removes an endpoint.
    delete(id: &str) -> DeletedEndpoint;
}

group! {
    /// What [`Webhooks::deliveries`] gives.
    Deliveries of webhooks::Deliveries<'a>;
    /// One delivery.
    get(id: &str) -> Delivery;
    /// Sends one again, with the same id.
    resend(id: &str) -> Delivery;
}

impl Deliveries<'_> {
    /// The deliveries, the newest first.
    pub fn list(&self, filter: &DeliveryFilter) -> Result<Page<Delivery>, Error> {
        self.client.page(self.inner.list(filter))
    }
}

group! {
    /// What [`Webhooks::secret`] gives.
    WebhookSecret of webhooks::WebhookSecret<'a>;
    /// The secret of this key's mode.
    get() -> Secret;
    /// Replaces the secret; the old one signs too for so many hours, 24 if nothing is said.
    rotate(overlap_hours: Option<u32>) -> Secret;
}

impl Client {
    fn run<F: Future>(&self, call: F) -> F::Output {
        self.runtime.run(call)
    }

    fn page<T>(
        &self,
        list: impl Future<Output = Result<pages::Page<T>, Error>>,
    ) -> Result<Page<T>, Error> {
        let inner = self.run(list)?;
        let runtime = Arc::clone(&self.runtime);
        Ok(Page { inner, runtime })
    }

    /// The server that is asked.
    pub fn base_url(&self) -> &str {
        self.inner.base_url()
    }

    /// Buys, waits, and gives the completed job with the addresses of what was made.
    pub fn generate(&self) -> Generate<'_> {
        Generate {
            client: self,
            inner: self.inner.generate(),
        }
    }

    /// What was bought.
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs {
            client: self,
            inner: self.inner.jobs(),
        }
    }

    /// What can be called, and calling it.
    pub fn models(&self) -> Models<'_> {
        Models {
            client: self,
            inner: self.inner.models(),
        }
    }

    /// The keys of the organization. They are made by people, in the dashboard.
    pub fn keys(&self) -> Keys<'_> {
        Keys {
            client: self,
            inner: self.inner.keys(),
        }
    }

    /// What was made, and what was sent in.
    pub fn assets(&self) -> Assets<'_> {
        Assets {
            client: self,
            inner: self.inner.assets(),
        }
    }

    /// How the ends of jobs are told.
    pub fn webhooks(&self) -> Webhooks<'_> {
        Webhooks {
            client: self,
            inner: self.inner.webhooks(),
        }
    }

    /// Waits until a job has ended: see [`crate::Client::wait`].
    pub fn wait(&self, id: &str, wait: &Wait) -> Result<Job, Error> {
        self.run(self.inner.wait(id, wait))
    }

    /// How a job goes on, as it happens: see [`crate::Client::stream`].
    pub fn stream(&self, id: &str, wait: &Wait) -> JobStream {
        JobStream {
            inner: self.inner.stream(id, wait),
            runtime: Arc::clone(&self.runtime),
        }
    }

    /// What a call would cost; it costs nothing to ask.
    pub fn quote(&self, what: Quoted<'_>, input: &impl Serialize) -> Result<Quote, Error> {
        self.run(self.inner.quote(what, input))
    }

    /// What is left, was used and came back.
    pub fn credits(&self) -> Result<Credits, Error> {
        self.run(self.inner.credits())
    }

    /// What was used between two days, by day, model or key.
    pub fn usage(&self, filter: &UsageFilter) -> Result<Usage, Error> {
        self.run(self.inner.usage(filter))
    }

    /// Every movement of credits, the newest first.
    pub fn transactions(&self, filter: &TransactionFilter) -> Result<Page<Transaction>, Error> {
        self.page(self.inner.transactions(filter))
    }

    /// Whose key this is.
    pub fn organization(&self) -> Result<Organization, Error> {
        self.run(self.inner.organization())
    }

    /// How many requests are allowed, and were made.
    pub fn rate_limits(&self) -> Result<RateLimits, Error> {
        self.run(self.inner.rate_limits())
    }

    /// The ends of jobs in their order; keep the `cursor`, and ask for what is behind it.
    pub fn events(&self, filter: &EventFilter) -> Result<EventList, Error> {
        self.run(self.inner.events(filter))
    }

    /// Sends a file in; its `url` can be an input. It is never sent again by itself: a stream is gone once it was read.
    pub fn upload(
        &self,
        source: files::Source,
        options: &UploadOptions,
        progress: &Progress,
    ) -> Result<Upload, Error> {
        self.run(self.inner.upload(source, options, progress))
    }

    /// Fetches a file to a path, whole or not at all; gives how long it is. What is no medium is refused.
    pub fn download(
        &self,
        url: &str,
        to: impl AsRef<Path>,
        progress: &Progress,
    ) -> Result<u64, Error> {
        self.run(self.inner.download(url, to, progress))
    }

    /// Fetches a file to memory. What is no medium is refused.
    pub fn bytes(&self, url: &str, progress: &Progress) -> Result<Bytes, Error> {
        self.run(self.inner.bytes(url, progress))
    }

    /// Fetches a file and hands it on as it comes; gives how long it is. What is no medium is refused before its first byte. From
    /// then on nothing is repeated: what breaks off is an [`Error::Download`], and a part of it was handed on.
    pub fn download_to(
        &self,
        url: &str,
        to: &mut impl io::Write,
        progress: &Progress,
    ) -> Result<u64, Error> {
        self.run(self.inner.download_to(url, &mut HeldUp(to), progress))
    }

    /// Waits for what still runs in the background.
    pub fn close(&self) {
        self.run(self.inner.close());
    }
}

/// Holds up the thread that writes, on which nothing else waits.
struct HeldUp<'a, T>(&'a mut T);

impl<T: io::Write> AsyncWrite for HeldUp<'_, T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.0.write(piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

/// A page of a list; what it holds is that of [`crate::Page`].
pub struct Page<T> {
    inner: pages::Page<T>,
    runtime: Arc<Own>,
}

impl<T: fmt::Debug> fmt::Debug for Page<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<T> Deref for Page<T> {
    type Target = pages::Page<T>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl<T: DeserializeOwned> Page<T> {
    /// The page behind this one; none at the end.
    pub fn next_page(&self) -> Result<Option<Self>, Error> {
        let next = self.runtime.run(self.inner.next_page())?;
        Ok(next.map(|inner| Self {
            inner,
            runtime: Arc::clone(&self.runtime),
        }))
    }

    /// What is on this page and on all behind it, one after the other.
    pub fn items(self) -> Items<T> {
        Items {
            inner: self.inner.items(),
            runtime: self.runtime,
        }
    }
}

/// What is on a page and on all behind it.
pub struct Items<T> {
    inner: pages::Items<T>,
    runtime: Arc<Own>,
}

impl<T: fmt::Debug> fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<T: DeserializeOwned> Iterator for Items<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.run(self.inner.next()).transpose()
    }
}

/// The events of a job: see [`Client::stream`].
pub struct JobStream {
    inner: stream::JobStream,
    runtime: Arc<Own>,
}

impl fmt::Debug for JobStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Iterator for JobStream {
    type Item = Result<JobEvent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.run(self.inner.next()).transpose()
    }
}
