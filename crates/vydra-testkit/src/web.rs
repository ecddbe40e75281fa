//! The world outside, as far as tests need one: names without a resolver, a server of one file, a receiver of webhooks.

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
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

/// Answers every request with the same file, on a port of 127.0.0.1, until it is dropped.
#[derive(Debug)]
pub struct FileServer {
    pub url: String,
    requests: Arc<AtomicUsize>,
    _stop: DropGuard,
}

impl FileServer {
    pub async fn of(file: Bytes) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/file", listener.local_addr().unwrap());
        let (stop, requests) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), Arc::clone(&requests));
        TaskTracker::new().spawn(async move {
            loop {
                let mut connection = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    () = stopped.cancelled() => return,
                };
                counted.fetch_add(1, Ordering::SeqCst);
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(connection.read_u8().await.unwrap());
                }
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    file.len()
                );
                connection.write_all(head.as_bytes()).await.unwrap();
                connection.write_all(&file).await.unwrap();
            }
        });
        Self {
            url,
            requests,
            _stop: stop.drop_guard(),
        }
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
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
