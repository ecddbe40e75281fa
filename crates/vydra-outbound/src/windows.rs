//! The windows of requests in a Redis or Valkey that all processes share (contract, section 4): counted there by one script, and
//! in its time, whatever the clocks of the processes show.
//!
//! The operator names it, so it may have any address: nothing here comes from a caller.

mod report;
#[cfg(test)]
mod tests;

pub use report::RedisReport;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, FromRedisValue,
    IntoConnectionInfo as _, RedisResult, Script, ServerErrorKind,
};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vydra_core::ids::OrgId;
use vydra_core::plan::Limits;
use vydra_core::time::{Clock, Timestamp};
use vydra_core::window::{Found, Tally, Window};

const SCRIPT: &str = include_str!("windows/admit.lua");
const NO_SCRIPT: ErrorKind = ErrorKind::Server(ServerErrorKind::NoScript);
const CONNECT: Duration = Duration::from_secs(2);
/// Far more than a call takes. Whoever waits for longer is told that nothing can be counted.
const PATIENCE: Duration = Duration::from_secs(3);
/// Written to see whether anything can be.
const PROBE: &str = "vydra:probe";
/// In seconds.
const PROBE_KEPT: u64 = 60;

/// Where it is: `redis://` or, encrypted, `rediss://`, with `USER:PASSWORD@HOST:PORT/DATABASE`; or `redis+unix://` and a path.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress {
    url: String,
    addr: ConnectionAddr,
    database: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be redis://HOST:PORT, or rediss://HOST:PORT where it is encrypted, and may have USER:PASSWORD@ in front of the host and the number of a database behind the port"
)]
pub struct NotARedis;

impl FromStr for RedisAddress {
    type Err = NotARedis;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The reader's own words would quote the password.
        let info = text.into_connection_info().map_err(|_quoting| NotARedis)?;
        let addr = info.addr().clone();
        let is_verified = !matches!(addr, ConnectionAddr::TcpTls { insecure: true, .. });
        if !is_verified || !addr.is_supported() {
            return Err(NotARedis);
        }
        Ok(Self {
            url: text.to_owned(),
            addr,
            database: info.redis_settings().db(),
        })
    }
}

impl RedisAddress {
    pub fn is_encrypted(&self) -> bool {
        matches!(self.addr, ConnectionAddr::TcpTls { .. })
    }

    /// Whether what is sent there stays on this machine.
    pub fn is_local(&self) -> bool {
        match &self.addr {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => {
                let is_loopback = |address: IpAddr| address.is_loopback();
                host == "localhost" || host.parse().is_ok_and(is_loopback)
            }
            _ => true,
        }
    }
}

/// For an operator; without user and password.
impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.database)
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisAddress({self})")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WindowsError {
    #[error("redis does not answer")]
    Late,
    #[error("redis cannot be used")]
    Redis(#[from] redis::RedisError),
    #[error("redis answers otherwise than it was asked")]
    Answer,
}

impl WindowsError {
    fn is_of_a_dead_connection(&self) -> bool {
        matches!(self, Self::Redis(error) if error.is_connection_dropped())
    }
}

/// Counts requests for all processes that use the same Redis. No window ever holds more than its limit; where it is not known
/// whether a request was counted, the answer is an error, and it may count for two.
pub struct RedisWindows {
    address: RedisAddress,
    client: Client,
    script: Script,
    /// In place of that of Redis.
    clock: Option<Arc<dyn Clock>>,
    /// Made with the first request: most commands of the program count none.
    line: Mutex<Line>,
    /// Whether it was said that nothing can be counted.
    is_failing: AtomicBool,
}

/// One connection, on which the requests of all callers follow one another without a wait.
#[derive(Default)]
struct Line {
    /// Of the connection, so that one that failed is given up once.
    number: u64,
    connection: Option<Connecting>,
}

/// Awaited by all who need it. Nobody who has no patience left breaks it off for the others.
type Connecting = Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

impl fmt::Debug for RedisWindows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisWindows({})", self.address)
    }
}

impl RedisWindows {
    pub fn new(address: RedisAddress) -> Result<Self, WindowsError> {
        Ok(Self {
            client: Client::open(address.url.as_str())?,
            address,
            script: Script::new(SCRIPT),
            clock: None,
            line: Mutex::default(),
            is_failing: AtomicBool::new(false),
        })
    }

    /// Counts by this clock, as tests want it. All that count for one organization must see the same.
    #[must_use]
    pub fn by(self, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock: Some(clock),
            ..self
        }
    }

    /// Counts one request in all windows of the organization, or in none.
    pub async fn count(&self, org: &OrgId, limits: Limits) -> Result<Tally, WindowsError> {
        let counted = self.call(org, limits).await;
        let counted = counted.and_then(|answer| tally(&answer, limits).ok_or(WindowsError::Answer));
        self.report_change(counted.as_ref().err());
        counted
    }

    async fn call(&self, org: &OrgId, limits: Limits) -> Result<Vec<Option<i64>>, WindowsError> {
        let mut call = redis::cmd("EVALSHA");
        call.arg(self.script.get_hash()).arg(2);
        // In one slot, should the keys be spread over several servers.
        call.arg(format!("vydra:{{{org}}}:known"));
        call.arg(format!("vydra:{{{org}}}:log"));
        for window in Window::ALL {
            call.arg(window.limit(limits));
        }
        for window in Window::ALL {
            call.arg(micros(window));
        }
        let clock = self.clock.as_ref().map(|clock| clock.now().as_micros());
        call.arg(clock.map_or_else(String::new, |clock| clock.to_string()));
        match self.ask(&call).await {
            // Whoever starts anew has forgotten it.
            Err(WindowsError::Redis(error)) if error.kind() == NO_SCRIPT => {
                let mut load = redis::cmd("SCRIPT");
                load.arg("LOAD").arg(SCRIPT);
                self.ask::<()>(&load).await?;
                self.ask(&call).await
            }
            answer => answer,
        }
    }

    /// Ok when requests can be counted.
    pub async fn check_writable(&self) -> Result<(), WindowsError> {
        let mut probe = redis::cmd("SET");
        probe.arg(PROBE).arg(1).arg("EX").arg(PROBE_KEPT);
        self.ask(&probe).await
    }

    /// How it is set up.
    pub async fn report(&self) -> Result<RedisReport, WindowsError> {
        let info: String = self.ask(&redis::cmd("INFO")).await?;
        Ok(RedisReport::read(&info))
    }

    pub fn address(&self) -> &RedisAddress {
        &self.address
    }

    async fn ask<T: FromRedisValue>(&self, question: &Cmd) -> Result<T, WindowsError> {
        match self.try_to_ask(question).await {
            // That a connection was ended while nobody used it is seen when it is used.
            Err(error) if error.is_of_a_dead_connection() => self.try_to_ask(question).await,
            answer => answer,
        }
    }

    async fn try_to_ask<T: FromRedisValue>(&self, question: &Cmd) -> Result<T, WindowsError> {
        let (number, connecting) = self.connection();
        let asked = tokio::time::timeout(PATIENCE, async {
            let mut connection = connecting.await?;
            question.query_async(&mut connection).await
        });
        let answer = match asked.await {
            Ok(answer) => answer.map_err(WindowsError::from),
            Err(_late) => Err(WindowsError::Late),
        };
        // Whoever fails once may have become a replica, or be cut off without a word.
        if answer.is_err() {
            self.give_up(number);
        }
        answer
    }

    fn connection(&self) -> (u64, Connecting) {
        let mut line = self.line();
        if let Some(connecting) = &line.connection {
            return (line.number, connecting.clone());
        }
        let client = self.client.clone();
        let connecting = async move {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT))
                .set_response_timeout(None);
            client
                .get_multiplexed_async_connection_with_config(&config)
                .await
        };
        let connecting = connecting.boxed().shared();
        line.number += 1;
        line.connection = Some(connecting.clone());
        (line.number, connecting)
    }

    fn give_up(&self, number: u64) {
        let mut line = self.line();
        if line.number == number {
            line.connection = None;
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once: it goes on for as long as Redis is away.
    fn report_change(&self, error: Option<&WindowsError>) {
        let was_failing = self.is_failing.swap(error.is_some(), Ordering::Relaxed);
        match error {
            Some(error) if !was_failing => tracing::error!(
                error = error as &dyn std::error::Error,
                "requests cannot be counted at {}, and are refused",
                self.address
            ),
            None if was_failing => tracing::info!("requests are counted again"),
            Some(_) | None => {}
        }
    }
}

fn micros(window: Window) -> u64 {
    u64::try_from(window.span().as_micros()).unwrap_or(u64::MAX)
}

fn tally(answer: &[Option<i64>], limits: Limits) -> Option<Tally> {
    let [Some(now), Some(ahead), Some(taken), rest @ ..] = answer else {
        return None;
    };
    let (found, []) = rest.as_chunks::<3>() else {
        return None;
    };
    let windows: &[[Option<i64>; 3]; 3] = found.try_into().ok()?;
    let window = |place: usize, window: Window| {
        let [used, oldest, blocking] = *windows.get(place)?;
        Some(Found {
            limit: window.limit(limits),
            used: u32::try_from(used?).unwrap_or(u32::MAX),
            oldest: oldest.map(Timestamp::from_micros),
            blocking: blocking.map(Timestamp::from_micros),
        })
    };
    let [minute, hour, day] = Window::ALL;
    Some(Tally {
        now: Timestamp::from_micros(*now),
        clock: Timestamp::from_micros(now.saturating_sub(*ahead)),
        taken: u32::try_from(*taken).ok()?,
        windows: [window(0, minute)?, window(1, hour)?, window(2, day)?],
    })
}
