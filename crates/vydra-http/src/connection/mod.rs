//! The server's loop: connections, their bounds, and their end.
//!
//! Ours instead of `axum::serve`, because hyper answers by itself what it cannot read, and every error has the one shape:
//! [`wire`] puts ours in its place. [`body`] knows whether a request was read to its end, [`pace`] who keeps whom waiting.

mod body;
mod pace;
mod wire;

use crate::layers::Around;
use crate::{ApiState, everything, health_alone, layers};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Version, header};
use axum::response::{IntoResponse, Response};
use body::Unread;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use pace::{Answer, Next, Ours};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::{Shared, Wire};

/// The request line and the header fields together. hyper itself takes at most 100 fields and a URI of 65,534 bytes.
const MAX_HEAD: usize = 128 * 1_024;
const MAX_HEAD_H2: u32 = 64 * 1_024;
const MAX_STREAMS: u32 = 100;
/// What is left of a body that nobody wanted is read up to here, so that the connection can be used again.
const MAX_LEFTOVER: usize = 64 * 1_024;
/// After a failed accept: when no file can be opened, trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What a server answers, and the bounds of its connections.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Whether nothing is answered but how the process is: it is a worker.
    pub only_health: bool,
    /// Further connections wait until one ends.
    pub max_connections: usize,
    /// For a request's head to arrive whole, and for how long a connection may idle.
    pub header_timeout: Duration,
    /// How long a caller may take nothing of what is written.
    pub write_timeout: Duration,
    /// For a request's body to arrive whole where JSON is asked for.
    pub body_timeout: Duration,
    /// How long the rest of a body is waited for that nobody wanted.
    pub leftover_timeout: Duration,
    /// How long a caller has to read the answer to what was not read to its end.
    pub linger: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            only_health: false,
            max_connections: 10_000,
            header_timeout: Duration::from_secs(30),
            // The system buffers megabytes: to a slow line it takes them in steps that are far apart.
            write_timeout: Duration::from_mins(2),
            body_timeout: Duration::from_secs(30),
            leftover_timeout: Duration::from_millis(200),
            linger: Duration::from_secs(1),
        }
    }
}

/// How long a body may take: on every request that came through a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyTimeout(pub(crate) Duration);

/// hyper's own tasks, one a stream, are waited for too.
#[derive(Debug, Clone)]
struct Tracked(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

#[derive(Debug)]
struct Server {
    around: Around,
    state: ApiState,
    options: ServeOptions,
    builder: auto::Builder<Tracked>,
    stop: CancellationToken,
}

/// Answers until `stop`, then ends what has begun.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    options: ServeOptions,
    stop: CancellationToken,
) -> io::Result<()> {
    let tasks = TaskTracker::new();
    let places = Arc::new(Semaphore::new(
        options.max_connections.min(Semaphore::MAX_PERMITS),
    ));
    let around = if options.only_health {
        health_alone(state.clone())
    } else {
        everything(state.clone())
    };
    let server = Arc::new(Server {
        around,
        builder: builder(&options, Tracked(tasks.clone())),
        state,
        options,
        stop: stop.clone(),
    });
    let accepting = async {
        // The semaphore is never closed.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let (stream, peer) = accept(&listener).await;
            let server = Arc::clone(&server);
            tasks.spawn(async move {
                server.talk(stream, peer).await;
                drop(place);
            });
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = accepting => {}
    }
    for (stream, peer) in knocking(listener) {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            break;
        };
        let server = Arc::clone(&server);
        tasks.spawn(async move {
            server.talk(stream, peer).await;
            drop(place);
        });
    }
    // Nobody waits for the end of a stream; its client comes back.
    server.state.engine.close();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // Of one caller who has gone again.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no connection can be taken; trying again"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Those whom the system has let in and nobody has taken yet: with the listener they would be cut off.
fn knocking(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let mut found = Vec::new();
    let Ok(listener) = listener.into_std() else {
        return found;
    };
    while let Ok((stream, peer)) = listener.accept() {
        let stream = stream.set_nonblocking(true).map(|()| stream);
        if let Ok(stream) = stream.and_then(TcpStream::from_std) {
            found.push((stream, peer));
        }
    }
    found
}

fn builder(options: &ServeOptions, tracked: Tracked) -> auto::Builder<Tracked> {
    let mut builder = auto::Builder::new(tracked);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_H2)
        .keep_alive_interval(options.header_timeout)
        .keep_alive_timeout(options.header_timeout);
    builder
}

impl Server {
    async fn talk(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        // Small answers must not wait for an acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a connection keeps its delay"
            );
        }
        let shared = Arc::new(Shared::default());
        self.exchange(stream, peer, &shared).await;
        if let Some(stream) = shared.left_to_read() {
            linger(stream, self.options.linger).await;
        }
    }

    async fn exchange(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>) {
        let wire = Wire::new(stream, Arc::clone(shared), self.state.clone());
        let service = service_fn(|request| {
            let (server, shared) = (Arc::clone(self), Arc::clone(shared));
            let ours = Ours::of(&shared);
            async move {
                let response = server.answer(request, peer, &shared).await;
                drop(ours);
                Ok::<_, Infallible>(response.map(|body| Answer::new(body, shared)))
            }
        });
        let (idle, write) = (self.options.header_timeout, self.options.write_timeout);
        let mut look = pin!(tokio::time::sleep(idle.min(write)));
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(wire), service));
        let (mut stopping, mut is_shut) = (false, false);
        let ended = loop {
            tokio::select! {
                // Whoever has just taken or asked something must not be looked at before that is known.
                biased;
                ended = connection.as_mut() => break ended,
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    if shared.has_begun() {
                        is_shut = true;
                        connection.as_mut().graceful_shutdown();
                    } else {
                        // hyper would cut it off, and its first request may be on the way.
                        look.as_mut().reset(Instant::now() + self.options.linger);
                    }
                }
                // Nor may a caller who keeps the connection busy with trifles put the look off.
                () = tokio::task::unconstrained(look.as_mut()) => {
                    let next = shared.pace().next(idle, write, is_shut);
                    match next {
                        _ if stopping && !shared.has_begun() => return,
                        _ if stopping && !is_shut => {
                            is_shut = true;
                            connection.as_mut().graceful_shutdown();
                            look.as_mut().reset(Instant::now() + idle.min(write));
                        }
                        Next::LookAgain(at) => look.as_mut().reset(at),
                        // A silent caller: hyper has not even seen which HTTP it is.
                        Next::Shut if !shared.has_begun() => return,
                        Next::Shut => {
                            is_shut = true;
                            connection.as_mut().graceful_shutdown();
                        }
                        Next::Drop => {
                            tracing::debug!(%peer, "a connection was given up");
                            return;
                        }
                    }
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, error = error.as_ref() as &dyn std::error::Error, "a connection broke off");
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        shared: &Shared,
    ) -> Response {
        let is_h1 = request.version() < Version::HTTP_2;
        let mut response = self.answer_in_full(request, peer, shared).await;
        // The caller's next request shall go to another server. In HTTP/2 the end of the connection says so, and loses nothing.
        if is_h1 && self.state.engine.is_leaving() {
            close(&mut response);
        }
        response
    }

    async fn answer_in_full(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        shared: &Shared,
    ) -> Response {
        let is_h1 = request.version() < Version::HTTP_2;
        if is_h1 {
            shared.expect_answer(request.method() == Method::HEAD);
        }
        let (mut parts, incoming) = request.into_parts();
        if is_h1 && let Some(sentence) = misaddressed(parts.version, &parts.headers) {
            shared.cut();
            return layers::refusal(&self.state, sentence).into_response();
        }
        parts.extensions.insert(ConnectInfo(peer));
        parts
            .extensions
            .insert(BodyTimeout(self.options.body_timeout));
        if !is_h1 || incoming.is_end_stream() {
            let request = Request::from_parts(parts, Body::new(incoming));
            return self.around.answer(request).await;
        }
        let waits = parts.headers.contains_key(header::EXPECT);
        let unread = Unread::new(incoming);
        let request = Request::from_parts(parts, Body::new(unread.clone()));
        let mut response = self.around.answer(request).await;
        if !self.is_read(&unread, waits).await {
            shared.cut();
            close(&mut response);
        }
        response
    }

    /// Whether the next request can follow on the same connection.
    async fn is_read(&self, unread: &Unread, waits: bool) -> bool {
        // A caller who waits for a word before sending the body was never told to.
        if waits && !unread.was_asked_for() {
            return false;
        }
        let rest = unread.discard(MAX_LEFTOVER);
        tokio::time::timeout(self.options.leftover_timeout, rest)
            .await
            .unwrap_or(false)
    }
}

/// After this answer.
fn close(response: &mut Response) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
}

/// RFC 9112, section 3.2: servers that disagree on the host that is meant can be played off against each other.
fn misaddressed(version: Version, headers: &HeaderMap) -> Option<&'static str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 => Some("The request has no Host header"),
        (_, Some(_)) => Some("The request has more than one Host header"),
        _ => None,
    }
}

/// A socket that is closed with bytes unread is reset, and the caller would never see the answer.
async fn linger(mut stream: TcpStream, patience: Duration) {
    let mut sink = vec![0; 8 * 1_024];
    let rest = async { while matches!(stream.read(&mut sink).await, Ok(1..)) {} };
    // Who goes on sending has had the answer.
    let _ = tokio::time::timeout(patience, rest).await;
}
