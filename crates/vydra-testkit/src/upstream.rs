//! A provider's server, as far as tests need one: it answers what it was told to, writes down what it is sent, and minds who
//! is given the key.

use bytes::Bytes;
use serde_json::Value;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The key of every provider in tests. Whatever shows it has leaked it.
pub const KEY: &str = "key-that-nobody-else-may-see";

/// What a server was sent.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub method: String,
    /// With its query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Recorded {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn names(&self, secret: &str) -> bool {
        let within = |text: &str| text.contains(secret);
        within(&self.path)
            || self.headers.iter().any(|(_, value)| within(value))
            || within(&String::from_utf8_lossy(&self.body))
    }
}

/// What a server does with a request.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Whole,
    /// Hangs up when the request is read.
    Nothing,
    /// Hangs up in the middle of the head.
    InTheHead,
    /// Says nothing until the other side hangs up.
    Never,
    /// Promises the whole body, and hangs up after half of it.
    InTheBody,
}

impl Reply {
    pub fn new(status: u16, media_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), media_type.to_owned())],
            body: body.into(),
            ending: Ending::Whole,
        }
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    async fn send(self, to: &mut TcpStream) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Told\r\n", self.status);
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        let length = self.body.len().to_string();
        head.extend(["content-length: ", &length, "\r\nconnection: close\r\n\r\n"]);
        match self.ending {
            Ending::Nothing => Ok(()),
            Ending::Never => {
                // Zero bytes, or an error: gone either way.
                let _gone = to.read_u8().await;
                Ok(())
            }
            Ending::InTheHead => to.write_all(&head.as_bytes()[..head.len() / 2]).await,
            Ending::InTheBody => {
                to.write_all(head.as_bytes()).await?;
                to.write_all(&self.body[..self.body.len() / 2]).await
            }
            Ending::Whole => {
                to.write_all(head.as_bytes()).await?;
                to.write_all(&self.body).await
            }
        }
    }
}

type Answering = dyn Fn(&Recorded) -> Reply + Send + Sync;

/// Listens on a port of 127.0.0.1, until it is dropped; then it fails the test if a key went astray.
pub struct Stub {
    pub url: String,
    seen: Arc<Mutex<Seen>>,
    arrivals: Arc<Semaphore>,
    /// Whether the key is for this server.
    is_own: bool,
    _stop: DropGuard,
}

impl std::fmt::Debug for Stub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stub")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Seen {
    requests: Vec<Recorded>,
    unexpected: Vec<String>,
}

impl Stub {
    /// The server of a provider: one reply after the other. What is asked besides is answered 500, and fails the test.
    pub async fn replying(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies: Mutex<VecDeque<Reply>> = Mutex::new(replies.into_iter().collect());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noted = Arc::clone(&seen);
        let answer = move |request: &Recorded| {
            replies.lock().unwrap().pop_front().unwrap_or_else(|| {
                let asked = format!("{} {}", request.method, request.path);
                noted.lock().unwrap().unexpected.push(asked);
                Reply::json(500, &Value::Null)
            })
        };
        Self::open(seen, Box::new(answer), true).await
    }

    /// The server of a provider that thinks for itself.
    pub async fn answering(answer: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Self {
        Self::open(Arc::default(), Box::new(answer), true).await
    }

    /// Somebody else's server, which must never see the key.
    pub async fn foreign(reply: Reply) -> Self {
        let answer = move |_: &Recorded| reply.clone();
        Self::open(Arc::default(), Box::new(answer), false).await
    }

    async fn open(seen: Arc<Mutex<Seen>>, answer: Box<Answering>, is_own: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let (stopped, noted) = (stop.clone(), Arc::clone(&seen));
        let arrivals = Arc::new(Semaphore::new(0));
        let arrived = Arc::clone(&arrivals);
        let answer: Arc<Answering> = answer.into();
        TaskTracker::new().spawn(stopped.run_until_cancelled_owned(async move {
            let connections = TaskTracker::new();
            loop {
                let mut connection = listener.accept().await.unwrap().0;
                let (answer, noted) = (Arc::clone(&answer), Arc::clone(&noted));
                let arrived = Arc::clone(&arrived);
                connections.spawn(async move {
                    // Whoever hangs up while sending wants no answer.
                    let Ok(request) = read(&mut connection).await else {
                        return;
                    };
                    noted.lock().unwrap().requests.push(request.clone());
                    arrived.add_permits(1);
                    let _gone = answer(&request).send(&mut connection).await;
                });
            }
        }));
        Self {
            url,
            seen,
            arrivals,
            is_own,
            _stop: stop.drop_guard(),
        }
    }

    /// Until one more request is here.
    pub async fn arrived(&self) {
        self.arrivals.acquire().await.unwrap().forget();
    }

    /// All so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.seen.lock().unwrap().requests.clone()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let seen = self.seen.lock().unwrap();
        assert!(
            seen.unexpected.is_empty(),
            "nobody expected {:?}",
            seen.unexpected
        );
        for request in &seen.requests {
            assert_eq!(
                request.names(KEY) || request.names(&base64_of_key()),
                self.is_own,
                "the key, in {} {} {:?}",
                request.method,
                request.path,
                request.headers
            );
        }
    }
}

/// As `Authorization: Basic` sends it, of a key that is `name:word`.
fn base64_of_key() -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(format!("user:{KEY}"))
}

async fn read(connection: &mut TcpStream) -> io::Result<Recorded> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, path) = (word(), word());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut request = Recorded {
        method,
        path,
        headers,
        body: Bytes::new(),
    };
    request.body = if request.header("transfer-encoding") == Some("chunked") {
        chunked(connection).await?
    } else {
        let length = request
            .header("content-length")
            .and_then(|text| text.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        connection.read_exact(&mut body).await?;
        body.into()
    };
    Ok(request)
}

async fn chunked(connection: &mut TcpStream) -> io::Result<Bytes> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(connection.read_u8().await?);
        }
        let line = String::from_utf8_lossy(&line);
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; length + 2];
        connection.read_exact(&mut chunk).await?;
        chunk.truncate(length);
        if length == 0 {
            return Ok(body.into());
        }
        body.extend_from_slice(&chunk);
    }
}
