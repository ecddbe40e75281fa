//! The client, and how it is made.

use crate::clock::{Clock, SystemClock};
use crate::config::{self, Environment};
use crate::error::Error;
use crate::hooks::{Hooks, RequestEvent, ResponseEvent, RetryEvent};
use crate::transport::{Core, Settings, is_this_machine};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A client of one server, as one key. Its clones share their connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) core: Arc<Core>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base_url", &self.base_url())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client for the server and the key of the environment, or of the credentials file.
    pub fn new() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// A client that is told more.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The server that is asked.
    pub fn base_url(&self) -> &str {
        self.core.settings.base.as_str().trim_end_matches('/')
    }

    /// Whether the key goes to another machine without TLS, where everybody on the way can read it.
    pub fn is_in_the_clear(&self) -> bool {
        let base = &self.core.settings.base;
        base.scheme() == "http" && !is_this_machine(base)
    }

    /// Waits for what still runs in the background: the cancelling of jobs whose wait was dropped.
    pub async fn close(&self) {
        self.core.background.close();
        self.core.background.wait().await;
    }
}

/// Makes a [`Client`]. What is not given is taken from the environment, and then from the credentials file.
#[derive(Clone)]
pub struct Builder {
    base_url: Option<String>,
    api_key: Option<String>,
    environment: Option<Environment>,
    timeout: Duration,
    max_retries: u32,
    retry_budget: Duration,
    max_retry_after: Duration,
    friendly: HashMap<String, String>,
    hooks: Hooks,
    clock: Option<Arc<dyn Clock>>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            base_url: None,
            api_key: None,
            environment: None,
            timeout: Duration::from_secs(90),
            max_retries: 4,
            retry_budget: Duration::from_mins(2),
            max_retry_after: Duration::from_mins(1),
            friendly: HashMap::new(),
            hooks: Hooks::default(),
            clock: None,
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// The server, such as `https://api.example.com`; it may end with `/` or `/api/v1`.
    #[must_use]
    pub fn base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = Some(base_url.into());
        self
    }

    /// The key.
    #[must_use]
    pub fn api_key(mut self, api_key: impl Into<String>) -> Self {
        self.api_key = Some(api_key.into());
        self
    }

    /// What stands in for the environment of the process.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// How long one request may take, from its beginning to its last byte: 90 s if nothing is said. Uploads, downloads and
    /// streams are bounded by silence instead.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often a call is repeated at most: 4 times if nothing is said.
    #[must_use]
    pub fn max_retries(mut self, max_retries: u32) -> Self {
        self.max_retries = max_retries;
        self
    }

    /// How long after the beginning of a call its last repetition may begin: 120 s if nothing is said.
    #[must_use]
    pub fn retry_budget(mut self, retry_budget: Duration) -> Self {
        self.retry_budget = retry_budget;
        self
    }

    /// How long a server may ask to be left alone before it counts as an error: 60 s if nothing is said.
    #[must_use]
    pub fn max_retry_after(mut self, max_retry_after: Duration) -> Self {
        self.max_retry_after = max_retry_after;
        self
    }

    /// A text of one's own for people, in place of the one for this code.
    #[must_use]
    pub fn friendly(mut self, code: impl Into<String>, text: impl Into<String>) -> Self {
        self.friendly.insert(code.into(), text.into());
        self
    }

    /// Is told of each request before it is sent.
    #[must_use]
    pub fn on_request(mut self, hook: impl Fn(&RequestEvent<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.request = Some(Arc::new(hook));
        self
    }

    /// Is told of each answer.
    #[must_use]
    pub fn on_response(
        mut self,
        hook: impl Fn(&ResponseEvent<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.hooks.response = Some(Arc::new(hook));
        self
    }

    /// Is told of each repetition before it is waited for.
    #[must_use]
    pub fn on_retry(mut self, hook: impl Fn(&RetryEvent<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.retry = Some(Arc::new(hook));
        self
    }

    /// Time and chance of one's own, for tests.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// The client; an error if there is no server or no key.
    pub fn build(self) -> Result<Client, Error> {
        let environment = self.environment.unwrap_or_else(Environment::of_process);
        let (base, key) = config::resolve(self.base_url, self.api_key, &environment)?;
        let core = Core::new(Settings {
            base,
            key,
            timeout: self.timeout,
            max_retries: self.max_retries,
            retry_budget: self.retry_budget,
            max_retry_after: self.max_retry_after,
            texts: Arc::new(self.friendly),
            hooks: self.hooks,
            clock: self
                .clock
                .unwrap_or_else(|| Arc::new(SystemClock::default())),
        })?;
        Ok(Client {
            core: Arc::new(core),
        })
    }
}
