//! The world outside, as far as tests need one: names without a resolver, a server of files, a receiver of webhooks.

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use vydra_outbound::fetch::Lookup;

/// Knows only the names below `.test`, and asks nobody.
#[derive(Debug)]
pub(crate) struct Names;

#[async_trait]
impl Lookup for Names {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        match host {
            // Nobody is ever called there.
            "public.test" => Ok(vec![IpAddr::from([93, 184, 216, 34])]),
            "private.test" => Ok(vec![IpAddr::from([10, 0, 0, 7])]),
            "metadata.test" => Ok(vec![IpAddr::from([169, 254, 169, 254])]),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }
}

/// What is sent of a long file at once.
const PIECE: usize = 64 * 1_024;

/// What a [`FileServer`] does with a request.
#[derive(Debug, Clone)]
pub enum Served {
    Whole(Bytes),
    /// These bytes, whatever they are, and hangs up.
    Raw(Vec<u8>),
    /// These bytes, and nothing more until the other side hangs up.
    Stalled(Vec<u8>),
    /// So many bytes, of which these are the first and [`filler`] gives the rest.
    Long(Bytes, u64),
}

impl Served {
    /// A redirect to there.
    pub fn redirect(to: &str) -> Self {
        Self::Raw(
            format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
                .into_bytes(),
        )
    }

    /// The first bytes of a file that is said to have so many.
    pub fn cut_off(file: &[u8], length: usize) -> Vec<u8> {
        [head(length).as_bytes(), file].concat()
    }

    async fn send(self, to: &mut TcpStream, hung_up: &Semaphore) -> io::Result<()> {
        match self {
            Self::Whole(file) => {
                to.write_all(head(file.len()).as_bytes()).await?;
                to.write_all(&file).await
            }
            Self::Raw(bytes) => to.write_all(&bytes).await,
            Self::Stalled(bytes) => {
                to.write_all(&bytes).await?;
                // Zero bytes, or an error: gone either way.
                let _gone = to.read_u8().await;
                hung_up.add_permits(1);
                Ok(())
            }
            Self::Long(first, length) => {
                to.write_all(head(length).as_bytes()).await?;
                to.write_all(&first).await?;
                let mut sent = u64::try_from(first.len()).expect("a length");
                while sent < length {
                    let piece = filler(sent, length - sent);
                    to.write_all(piece).await?;
                    sent += u64::try_from(piece.len()).expect("a length");
                }
                Ok(())
            }
        }
    }
}

fn head(length: impl std::fmt::Display) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")
}

/// What stands in a long file from this position on: so many bytes, or as many as are given at once.
pub fn filler(position: u64, length: u64) -> &'static [u8] {
    const PERIOD: u8 = 251;
    static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
        (0..PERIOD)
            .cycle()
            .take(PIECE + usize::from(PERIOD))
            .collect()
    });
    let start = usize::try_from(position % u64::from(PERIOD)).expect("less than the period");
    let length = usize::try_from(length).unwrap_or(PIECE).min(PIECE);
    &BLOCK[start..start + length]
}

/// Answers requests on a port of 127.0.0.1, until it is dropped.
#[derive(Debug)]
pub struct FileServer {
    pub url: String,
    requests: Arc<AtomicUsize>,
    hung_up: Arc<Semaphore>,
    _stop: DropGuard,
}

impl FileServer {
    /// The same file for everybody.
    pub async fn of(file: Bytes) -> Self {
        Self::serving([Served::Whole(file)]).await
    }

    /// One after the other, the last one again and again.
    pub async fn serving(answers: impl IntoIterator<Item = Served>) -> Self {
        let mut answers: VecDeque<Served> = answers.into_iter().collect();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/file", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let (requests, hung_up) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (stopped, counted) = (stop.clone(), Arc::clone(&requests));
        let gone = Arc::clone(&hung_up);
        TaskTracker::new().spawn(stopped.run_until_cancelled_owned(async move {
            loop {
                let mut connection = listener.accept().await.unwrap().0;
                counted.fetch_add(1, Ordering::SeqCst);
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(connection.read_u8().await.unwrap());
                }
                let answer = match answers.len() {
                    1 => answers.front().cloned(),
                    _ => answers.pop_front(),
                };
                // It fails when the other side has had enough, which is what some tests want.
                let _gone = answer.unwrap().send(&mut connection, &gone).await;
            }
        }));
        Self {
            url,
            requests,
            hung_up,
            _stop: stop.drop_guard(),
        }
    }

    /// How many came so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Until somebody has had enough of a stalled answer.
    pub async fn hung_up(&self) {
        self.hung_up.acquire().await.unwrap().forget();
    }
}

/// What a receiver of webhooks was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    pub id: String,
    /// In seconds, as it was signed.
    pub timestamp: String,
    pub signature: String,
    pub body: Bytes,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Receives webhooks on a port of 127.0.0.1 until it is dropped: answers as it is told to, or 204.
#[derive(Debug)]
pub struct WebhookSink {
    pub url: String,
    state: Arc<Mutex<SinkState>>,
    _stop: DropGuard,
}

#[derive(Debug, Default)]
struct SinkState {
    received: Vec<Received>,
    /// The heads of the next answers.
    answers: VecDeque<String>,
}

impl WebhookSink {
    pub async fn open() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (stop, state) = (CancellationToken::new(), Arc::default());
        let (stopped, told) = (stop.clone(), Arc::clone(&state));
        TaskTracker::new().spawn(async move {
            loop {
                let connection = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    () = stopped.cancelled() => return,
                };
                receive(connection, &told).await;
            }
        });
        Self {
            url,
            state,
            _stop: stop.drop_guard(),
        }
    }

    /// What the next answers begin with, such as `429 Too Many Requests\r\nretry-after: 60`.
    pub fn will_answer(&self, heads: &[&str]) {
        let heads = heads.iter().map(|head| (*head).to_owned());
        self.state.lock().unwrap().answers.extend(heads);
    }

    /// All there was since the last time.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.state.lock().unwrap().received)
    }
}

async fn receive(mut connection: TcpStream, state: &Mutex<SinkState>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map_or_else(String::new, |(_, value)| value.to_owned())
    };
    let mut body = vec![0; header("content-length").parse().unwrap()];
    connection.read_exact(&mut body).await.unwrap();
    let received = Received {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body: Bytes::from(body),
    };
    let answer = {
        let mut state = state.lock().unwrap();
        state.received.push(received);
        state.answers.pop_front()
    };
    let answer = answer.unwrap_or_else(|| "204 No Content".to_owned());
    let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    // A sender that has hung up had enough.
    let _gone = connection.write_all(answer.as_bytes()).await;
}
