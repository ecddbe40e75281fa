//! The one client for URLs that others name: callers in their requests, providers in their answers.
//!
//! Layers 3 to 5 of the guard: every address of an answer is checked and exactly the checked ones are connected to;
//! redirects are followed by hand and checked like the first URL; time and size are bounded. Nothing may be sent here
//! that the URL does not name: no key, no cookie, no referrer.

mod body;

use crate::egress_proxy::EgressProxy;
use crate::http::{ClientFactory, SetupError};
use crate::url_guard::{Reach, Refusal, UrlGuard};
use async_trait::async_trait;
use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{RequestBuilder, Response, StatusCode};
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use url::{Host, Url};

pub use crate::http::SetupError as FetchSetupError;
pub use body::Body;

/// Names looked up at the same time. The system's resolver blocks a thread each, for as long as the slowest name
/// server of any caller pleases: without a bound they would take the threads that read files.
const LOOKUPS_AT_ONCE: usize = 64;

/// The bounds of one fetch, redirects included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchLimits {
    /// Bytes of a file that is held in memory, whatever a single call asks for.
    pub max_bytes: u64,
    /// To resolve the name and connect.
    pub connect: Duration,
    /// Until the headers of one answer are there, connecting included.
    pub headers: Duration,
    /// Between two pieces of a body.
    pub idle: Duration,
    /// For everything, where a file is held in memory.
    pub total: Duration,
    /// Redirects followed.
    pub redirects: usize,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            max_bytes: 100 * 1024 * 1024,
            connect: Duration::from_secs(5),
            headers: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            total: Duration::from_mins(1),
            redirects: 3,
        }
    }
}

/// Why nothing was fetched. The texts are for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the host could not be reached or ended the answer early")]
    Unreachable,
    #[error("the host answered with status {0}")]
    Status(u16),
    #[error("the file is too large")]
    TooLarge,
    #[error("the host took too long")]
    TimedOut,
    #[error("the host redirects too often or to somewhere that is not followed")]
    Redirects,
}

impl FetchError {
    /// Whether the same URL may be readable a little later.
    pub const fn is_temporary(self) -> bool {
        match self {
            Self::Unreachable | Self::TimedOut => true,
            Self::Status(status) => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::Refused(_) | Self::TooLarge | Self::Redirects => false,
        }
    }
}

/// Turns names into addresses. Tests hand in their own.
#[async_trait]
pub trait Lookup: Send + Sync + fmt::Debug {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system.
#[derive(Debug)]
pub struct SystemLookup {
    slots: Arc<Semaphore>,
}

impl Default for SystemLookup {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(LOOKUPS_AT_ONCE)),
        }
    }
}

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let slot = Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let host = host.to_owned();
        tokio::task::spawn_blocking(move || {
            // Held until the look-up has ended, which may be long after the caller has gone.
            let _slot = slot;
            let addresses = (host.as_str(), 0).to_socket_addrs()?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
        .await
        .map_err(io::Error::other)?
    }
}

/// Layer 3: hands out the addresses of a name only if every one of them may be called.
#[derive(Debug, Clone)]
struct GuardedResolver {
    guard: Arc<UrlGuard>,
    lookup: Arc<dyn Lookup>,
    reach: Reach,
}

impl GuardedResolver {
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, FetchError> {
        let addresses = self
            .lookup
            .lookup(host)
            .await
            .map_err(|_| FetchError::Unreachable)?;
        if addresses.is_empty() {
            return Err(FetchError::Unreachable);
        }
        // One forbidden address condemns the answer: a server that mixes them is up to something.
        for address in &addresses {
            self.guard.check_address_within(*address, self.reach)?;
        }
        Ok(addresses)
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let checked = this.addresses(name.as_str()).await?;
            let sockets: Addrs = Box::new(checked.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(sockets)
        })
    }
}

/// A client, and the resolver that it asks.
#[derive(Debug, Clone)]
struct Route {
    client: reqwest::Client,
    resolver: GuardedResolver,
}

impl Route {
    fn new(
        factory: &ClientFactory,
        resolver: GuardedResolver,
        connect: Duration,
    ) -> Result<Self, SetupError> {
        let client = factory
            .builder(connect)
            .dns_resolver(resolver.clone())
            // A connection is used once: each request goes to an address that was checked for it.
            .pool_max_idle_per_host(0)
            .http1_only()
            .build()?;
        Ok(Self { client, resolver })
    }
}

/// Fetches files that others name.
///
/// Guarantee: no connection is opened to an address that the [`UrlGuard`] forbids, whatever the URL, its redirects or
/// the DNS say; and no fetch takes more time or memory than its limits.
#[derive(Debug, Clone)]
pub struct InputFetcher {
    guard: Arc<UrlGuard>,
    limits: FetchLimits,
    /// reqwest tells its resolver no port, so the stricter rule for unusual ports has a client of its own.
    public: Route,
    allowed: Route,
    /// Through the operator's proxy, if there is one.
    proxied: Option<reqwest::Client>,
}

impl InputFetcher {
    pub fn new(guard: UrlGuard, limits: FetchLimits) -> Result<Self, FetchSetupError> {
        Self::with_lookup(guard, limits, SystemLookup::default())
    }

    /// The same, with another source of addresses.
    pub fn with_lookup(
        guard: UrlGuard,
        limits: FetchLimits,
        lookup: impl Lookup + 'static,
    ) -> Result<Self, FetchSetupError> {
        let guard = Arc::new(guard);
        let lookup: Arc<dyn Lookup> = Arc::new(lookup);
        let factory = ClientFactory::new()?;
        let route = |reach| {
            let resolver = GuardedResolver {
                guard: Arc::clone(&guard),
                lookup: Arc::clone(&lookup),
                reach,
            };
            Route::new(&factory, resolver, limits.connect)
        };
        Ok(Self {
            public: route(Reach::Public)?,
            allowed: route(Reach::Allowed)?,
            proxied: None,
            guard,
            limits,
        })
    }

    /// The same, but what is not in a network that the operator allows is read through `proxy`.
    ///
    /// The guard refuses what it would refuse without it. But the proxy looks a name up by itself, later, so that it has to
    /// refuse private addresses, too; and a name that is not known here is left to it.
    pub fn through(mut self, proxy: &EgressProxy) -> Result<Self, FetchSetupError> {
        let client = ClientFactory::new()?
            .builder(self.limits.connect)
            .proxy(proxy.of_all_schemes()?)
            .pool_max_idle_per_host(0)
            .http1_only()
            .build()?;
        self.proxied = Some(client);
        Ok(self)
    }

    /// Says whether `url` could be called, as far as its text tells: no name is looked up.
    pub fn check_shape(&self, url: &str) -> Result<Url, Refusal> {
        self.guard.check_url(url)
    }

    /// Says whether `url` may be called, now, without calling it. A later call is checked again.
    pub async fn check(&self, url: &str) -> Result<Url, FetchError> {
        let url = self.guard.check_url(url)?;
        if let Some(name) = url.domain() {
            let addresses = self.route(&url).resolver.addresses(name);
            let known = tokio::time::timeout(self.limits.connect, addresses)
                .await
                .map_err(|_| FetchError::TimedOut)?;
            match known {
                Err(FetchError::Unreachable) if self.proxied.is_some() => {}
                known => drop(known?),
            }
        }
        Ok(url)
    }

    /// The bytes behind `url`, at most `max_bytes` of them, in memory.
    pub async fn fetch(&self, url: &str, max_bytes: u64) -> Result<Bytes, FetchError> {
        let max_bytes = max_bytes.min(self.limits.max_bytes);
        let whole = async { self.open(url, max_bytes).await?.whole().await };
        tokio::time::timeout(self.limits.total, whole)
            .await
            .map_err(|_| FetchError::TimedOut)?
    }

    /// The file behind `url`, to be read piece by piece, at most `max_bytes` of it: for what is too large for the memory.
    ///
    /// Each answer on the way there and each piece has its limit of time; how long all of it may take is for whoever reads.
    pub async fn open(&self, url: &str, max_bytes: u64) -> Result<Body, FetchError> {
        let mut url = self.guard.check_url(url)?;
        for _ in 0..=self.limits.redirects {
            let response = self.request(&url, |client| client.get(url.clone())).await?;
            let status = response.status();
            // Nobody asked for a part, and no other success is the whole file as its server has it.
            if status == StatusCode::OK {
                return Body::of(response, max_bytes, self.limits.idle);
            }
            if !is_redirect(status) {
                return Err(FetchError::Status(status.as_u16()));
            }
            url = self.next_hop(&url, response.headers())?;
        }
        Err(FetchError::Redirects)
    }

    fn next_hop(&self, from: &Url, headers: &HeaderMap) -> Result<Url, FetchError> {
        let location = headers
            .get(LOCATION)
            .and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
            .ok_or(FetchError::Redirects)?;
        // Resolving a relative reference reads a backslash as a slash, which would hide it from the check below.
        if location.contains('\\') {
            return Err(FetchError::Refused(Refusal::NotAUrl));
        }
        let joined = from
            .join(location)
            .map_err(|_| FetchError::Refused(Refusal::NotAUrl))?;
        let next = self.guard.check_url(joined.as_str())?;
        if from.scheme() == "https" && next.scheme() != "https" {
            return Err(FetchError::Redirects);
        }
        Ok(next)
    }

    fn route(&self, url: &Url) -> &Route {
        match self.guard.reach(url) {
            Reach::Public => &self.public,
            Reach::Allowed => &self.allowed,
        }
    }

    /// One POST, and the head of what it was answered. Redirects are not followed.
    pub(crate) async fn post(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, FetchError> {
        let url = self.guard.check_url(url)?;
        let post = |client: &reqwest::Client| {
            client
                .post(url.clone())
                .headers(headers.clone())
                .body(body.clone())
        };
        self.request(&url, post).await
    }

    /// One request to a checked URL.
    async fn request(
        &self,
        url: &Url,
        of: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, FetchError> {
        let answer = async {
            match &self.proxied {
                Some(client) if !self.is_near(url).await? => far(of(client)).await,
                _ => self.near(url, of).await,
            }
        };
        tokio::time::timeout(self.limits.headers, answer)
            .await
            .map_err(|_| FetchError::TimedOut)?
    }

    /// Whether it leads into a network that the operator allows, which no way out is asked for.
    async fn is_near(&self, url: &Url) -> Result<bool, FetchError> {
        if self.guard.reach(url) == Reach::Allowed {
            return Ok(true);
        }
        let is_allowed = |ip| self.guard.check_address_within(ip, Reach::Allowed).is_ok();
        match url.host() {
            Some(Host::Ipv4(ip)) => Ok(is_allowed(IpAddr::V4(ip))),
            Some(Host::Ipv6(ip)) => Ok(is_allowed(IpAddr::V6(ip))),
            Some(Host::Domain(name)) => match self.public.resolver.addresses(name).await {
                Ok(addresses) => Ok(addresses.into_iter().all(is_allowed)),
                // Behind a proxy a machine often knows no names of the world.
                Err(FetchError::Unreachable) => Ok(false),
                Err(refused) => Err(refused),
            },
            None => Ok(false),
        }
    }

    async fn near(
        &self,
        url: &Url,
        of: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, FetchError> {
        let route = self.route(url);
        let answer = of(&route.client).send().await;
        let response = answer.map_err(|error| explain(&error))?;
        // Cannot differ from what was checked; if it ever does, nothing of the answer leaves here.
        let peer = response.remote_addr().ok_or(Refusal::ForbiddenAddress)?;
        self.guard
            .check_address_within(peer.ip(), route.resolver.reach)?;
        Ok(response)
    }
}

async fn far(request: RequestBuilder) -> Result<Response, FetchError> {
    let answer = request.send().await;
    let response = answer.map_err(|error| explain(&error))?;
    // The proxy's own word, which is not about the file.
    if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        return Err(FetchError::Unreachable);
    }
    Ok(response)
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Our resolver's own verdict is at the bottom of the chain; anything else is told without detail.
fn explain(error: &reqwest::Error) -> FetchError {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(verdict) = cause.downcast_ref::<FetchError>() {
            return *verdict;
        }
        source = cause.source();
    }
    if error.is_timeout() {
        FetchError::TimedOut
    } else {
        FetchError::Unreachable
    }
}

#[cfg(test)]
mod tests;
