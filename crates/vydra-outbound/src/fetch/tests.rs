//! Real sockets on loopback. What is forbidden is watched by a [`Canary`]: the kernel queues every connection to it, so
//! that one look at the end sees whether there ever was one.

mod addresses;
mod answers;
mod proxy;
mod redirects;

use super::*;
use crate::url_guard::Network;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const SHORT: Duration = Duration::from_millis(50);
const KIB: u64 = 1024;

/// Listens where nobody may call.
struct Canary(TcpListener);

impl Canary {
    /// On an address of its own, so that tests can allow 127.0.0.1 and forbid this one. None where the system gives
    /// loopback one address only.
    fn new() -> Option<Self> {
        let listener = ["127.0.0.2:0", "[::1]:0"]
            .iter()
            .find_map(|address| TcpListener::bind(address).ok());
        if listener.is_none() {
            println!("skipped: no second loopback address");
        }
        listener.map(Self::watching)
    }

    fn watching(listener: TcpListener) -> Self {
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn was_called(&self) -> bool {
        match self.0.accept() {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        }
    }
}

/// Answers each connection by `answer`, which gets the request's head.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: impl Fn(&str, &mut TcpStream) -> io::Result<()> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head = read_head(&mut stream);
                seen.lock().unwrap().push(head.clone());
                // It fails when the fetcher has hung up, which is what some tests want.
                let _ = answer(&head, &mut stream);
            }
        });
        Self { address, requests }
    }

    /// The same answer to everything.
    fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |_, stream| stream.write_all(&answer))
    }

    fn redirecting(status: u16, location: &str) -> Self {
        Self::saying(format!(
            "HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        ))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

/// Up to the empty line, or the first byte of what is no HTTP at all.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        head.push(byte[0]);
        if !head[0].is_ascii_uppercase() {
            break;
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Waits until the other side hangs up.
fn until_hung_up(stream: &mut TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 64])? > 0 {}
    Ok(())
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Answers look-ups in turn, from the start again after the last.
#[derive(Debug)]
struct Scripted {
    answers: Vec<Vec<IpAddr>>,
    calls: Arc<AtomicUsize>,
}

#[async_trait]
impl Lookup for Scripted {
    async fn lookup(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        Ok(self.answers[call % self.answers.len()].clone())
    }
}

fn answers(turns: &[&[&str]]) -> Scripted {
    Scripted {
        answers: turns
            .iter()
            .map(|turn| turn.iter().map(|ip| ip.parse().unwrap()).collect())
            .collect(),
        calls: Arc::default(),
    }
}

/// For tests in which nothing may be looked up.
#[derive(Debug)]
struct NoLookup;

#[async_trait]
impl Lookup for NoLookup {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        panic!("{host} was looked up");
    }
}

/// Never answers.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl Lookup for Silent {
    async fn lookup(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

fn allowing(networks: &[&str]) -> UrlGuard {
    let parsed = networks.iter().map(|n| n.parse::<Network>().unwrap());
    UrlGuard::new(parsed.collect())
}

fn fetcher(guard: UrlGuard, lookup: impl Lookup + 'static) -> InputFetcher {
    InputFetcher::with_lookup(guard, FetchLimits::default(), lookup).unwrap()
}

/// May call the test's servers, which listen on 127.0.0.1.
fn local_fetcher() -> InputFetcher {
    fetcher(allowing(&["127.0.0.1"]), NoLookup)
}

fn impatient(limits: FetchLimits) -> InputFetcher {
    InputFetcher::with_lookup(allowing(&["127.0.0.1"]), limits, NoLookup).unwrap()
}

const FORBIDDEN: FetchError = FetchError::Refused(Refusal::ForbiddenAddress);
