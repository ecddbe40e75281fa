//! A real listener, and a caller who may send whatever bytes it likes. Nothing here waits for time to pass: a limit on a
//! read is only there so that a fault ends the test.

use crate::fixture::{Answer, Api};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use bytes::Bytes;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vydra_http::{ApiState, ServeOptions, serve};

pub(crate) const FAULT: Duration = Duration::from_secs(20);
pub(crate) const HEALTH: &str = "GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n";

pub(crate) struct Served {
    api: Api,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    tasks: TaskTracker,
}

impl Deref for Served {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Served {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut ServeOptions)) -> Self {
        Self::of(Api::idle().await, change).await
    }

    pub(crate) async fn of(api: Api, change: impl FnOnce(&mut ServeOptions)) -> Self {
        let mut options = ServeOptions {
            leftover_timeout: Duration::from_millis(20),
            linger: Duration::from_millis(200),
            ..ServeOptions::default()
        };
        change(&mut options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = ApiState {
            engine: Arc::clone(&api.engine),
            random: Arc::clone(&api.random) as _,
        };
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(serve(listener, state, options, stop.clone()));
        tasks.close();
        Self {
            api,
            address,
            stop,
            tasks,
        }
    }

    pub(crate) async fn connect(&self) -> Socket {
        self.socket(TcpSocket::new_v4().unwrap()).await
    }

    /// A caller for whom the kernel keeps little, so that what it does not read soon stays with the server.
    pub(crate) async fn connect_narrow(&self) -> Socket {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 * 1_024).unwrap();
        self.socket(socket).await
    }

    async fn socket(&self, socket: TcpSocket) -> Socket {
        let stream = socket.connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Socket {
            stream,
            read: Vec::new(),
        }
    }

    /// The server goes on answering new callers.
    pub(crate) async fn is_well(&self, after: &str) {
        let mut socket = self.connect().await;
        socket.send(HEALTH).await;
        assert_eq!(socket.answer(after, false).await.status, 200, "{after}");
    }

    /// Until the server has let go of everything.
    pub(crate) async fn ended(&self) {
        timeout(FAULT, self.tasks.wait())
            .await
            .expect("the server ends");
    }
}

pub(crate) struct Socket {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Socket {
    /// What the server does not want to read any more is no fault of the test. Says whether it took all.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Sends more than fits between the two, while the answers are read.
    pub(crate) async fn send_and_read_all(&mut self, bytes: &[u8], then_shut: bool) {
        let (mut reader, mut writer) = self.stream.split();
        let writing = async {
            let _ = writer.write_all(bytes).await;
            if then_shut {
                let _ = writer.shutdown().await;
            }
        };
        let mut got = Vec::new();
        let reading = async { while let Ok(1..) = reader.read_buf(&mut got).await {} };
        timeout(FAULT, async { tokio::join!(writing, reading) })
            .await
            .expect("the connection ends");
        self.read.extend(got);
    }

    /// Nothing has come that was not read.
    pub(crate) fn is_silent(&self) -> bool {
        let read = self.stream.try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    pub(crate) async fn shut(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Whether there was something more to read.
    async fn more(&mut self, call: &str) -> bool {
        let read = timeout(FAULT, self.stream.read_buf(&mut self.read)).await;
        // A reset is an end too.
        let count = read
            .unwrap_or_else(|_| panic!("{call}: neither an answer nor an end"))
            .unwrap_or(0);
        count > 0
    }

    /// The next answer, checked as every answer is. An end before it fails the test.
    pub(crate) async fn answer(&mut self, call: &str, is_head: bool) -> Answer {
        let end = loop {
            let end = self.read.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            assert!(
                self.more(call).await,
                "{call}: an end, not an answer: {:?}",
                String::from_utf8_lossy(&self.read)
            );
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).expect(call);
        let mut lines = head.trim_end().split("\r\n");
        let first = lines.next().expect(call);
        let (version, rest) = first.split_once(' ').expect(call);
        assert!(
            ["HTTP/1.1", "HTTP/1.0"].contains(&version),
            "{call}: {first}"
        );
        let status: StatusCode = rest.split(' ').next().unwrap().parse().expect(call);
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').expect(call);
            let name: HeaderName = name.parse().expect(call);
            headers.append(name, HeaderValue::from_str(value.trim()).expect(call));
        }
        if status.is_informational() {
            return Answer {
                status,
                headers,
                bytes: Bytes::new(),
            };
        }
        let length = headers.get("content-length").expect(call);
        let length: usize = length.to_str().unwrap().parse().expect(call);
        let length = if is_head { 0 } else { length };
        while self.read.len() < length {
            assert!(self.more(call).await, "{call}: the body is cut");
        }
        let answer = Answer {
            status,
            headers,
            bytes: self.read.drain(..length).collect(),
        };
        assert!(!status.is_server_error(), "{call}: {answer:?}");
        answer.check(if is_head { "HEAD" } else { call });
        answer
    }

    /// That many bytes as they come, or fewer at an end.
    pub(crate) async fn take(&mut self, call: &str, count: usize) -> Vec<u8> {
        while self.read.len() < count && self.more(call).await {}
        let count = count.min(self.read.len());
        self.read.drain(..count).collect()
    }

    /// All up to there.
    pub(crate) async fn take_until(&mut self, call: &str, last: &str) -> Vec<u8> {
        loop {
            let mut parts = self.read.windows(last.len());
            if let Some(at) = parts.position(|part| part == last.as_bytes()) {
                return self.read.drain(..at + last.len()).collect();
            }
            assert!(self.more(call).await, "{call}: an end before {last}");
        }
    }

    /// Nothing more is said, and the connection is closed.
    pub(crate) async fn end(&mut self, call: &str) {
        while self.more(call).await {}
        let rest = String::from_utf8_lossy(&self.read);
        assert!(rest.is_empty(), "{call}: more was said: {rest}");
    }
}
