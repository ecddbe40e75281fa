//! Servers that are stopped and started while callers ask without a pause: none of them notices.
//!
//! The callers speak HTTP/1.1 by hand, over connections that they keep: a client of a library would try again by itself.

use crate::programs::{PATIENCE, until};
use crate::server::{Data, Server};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};
use tokio_util::task::TaskTracker;
use vydra_testkit::postgres::Postgres;

const DELAY: &str = "VYDRA__SERVER__DRAIN_DELAY";
/// They ask more than any plan allows.
const PER_MINUTE: (&str, &str) = ("VYDRA__PLANS__ENTERPRISE__RPM", "100000");

#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) is_last: bool,
    body: String,
}

/// A caller's connection.
pub(crate) struct Line {
    stream: TcpStream,
    asked: bool,
}

impl Line {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let asked = false;
        Ok(Self { stream, asked })
    }

    pub(crate) async fn ask(&mut self, request: &str) -> io::Result<Told> {
        self.asked = true;
        self.stream.write_all(request.as_bytes()).await?;
        let mut read = Vec::new();
        loop {
            if let Some(told) = whole(&read) {
                return Ok(told);
            }
            let count = timeout(PATIENCE, self.stream.read_buf(&mut read)).await??;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn whole(read: &[u8]) -> Option<Told> {
    let text = std::str::from_utf8(read).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.to_ascii_lowercase();
    let field = |name: &str| {
        let mut lines = head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let length: usize = field("content-length")?.parse().ok()?;
    (body.len() == length).then(|| Told {
        status: head
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .unwrap_or(0),
        is_last: field("connection") == Some("close"),
        body: body.to_owned(),
    })
}

pub(crate) fn get(path: &str, key: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n")
}

pub(crate) fn generate(key: &str) -> String {
    let body = r#"{"prompt": "a lighthouse"}"#;
    format!(
        "POST /api/v1/models/gemini/generate HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn address(server: &Server) -> SocketAddr {
    server.url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// What a load balancer sees.
async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut line) = Line::open(address).await else {
        return false;
    };
    let told = line.ask(&get("/readyz", "")).await;
    told.is_ok_and(|told| told.status == 200)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_told_first_and_cuts_nobody_off() {
    const CALLERS: usize = 8;
    let data = Data::new()
        .with(DELAY, "2s")
        .with(PER_MINUTE.0, PER_MINUTE.1);
    let org = data.org("acme", 10).await;
    let key = data.key(&org, &[]).await;
    let mut server = data.serve().await;
    let at = address(&server);
    assert!(is_ready(at).await);

    // They look at nothing, and ask until no connection can be made any more.
    let (calls, tasks) = (Arc::new(AtomicUsize::new(0)), TaskTracker::new());
    let callers = (0..CALLERS).map(|_| {
        let (calls, request) = (Arc::clone(&calls), get("/api/v1/organization", &key));
        tasks.spawn(async move {
            loop {
                let Ok(mut line) = Line::open(at).await else {
                    return Instant::now();
                };
                loop {
                    let is_first = !line.asked;
                    let told = match line.ask(&request).await {
                        Ok(told) => told,
                        // Let in by the system in the moment in which the listener goes, and never by the server.
                        Err(_) if is_first => return Instant::now(),
                        Err(error) => panic!("a request was cut off: {error}"),
                    };
                    assert_eq!(told.status, 200, "{told:?}");
                    calls.fetch_add(1, Ordering::Relaxed);
                    if told.is_last {
                        break;
                    }
                }
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    until("they have begun", || async {
        (calls.load(Ordering::Relaxed) > 200).then_some(())
    })
    .await;

    let began = Instant::now();
    server.terminate().await;
    until("it is not ready any more", || async {
        (!is_ready(at).await).then_some(())
    })
    .await;
    let told_after = began.elapsed();
    assert!(told_after < Duration::from_millis(1_500), "{told_after:?}");
    let mut line = Line::open(at).await.expect("it still takes callers");
    let told = line.ask(&get("/readyz", "")).await.unwrap();
    assert!(
        told.status == 503 && told.body.contains("stopping"),
        "{told:?}"
    );
    for caller in callers {
        let refused = caller.await.unwrap().duration_since(began);
        assert!(refused >= Duration::from_millis(1_900), "{refused:?}");
    }
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_does_not_wait_for_load_balancers() {
    let data = Data::new().with(DELAY, "10m");
    let mut server = data.serve().await;
    let at = address(&server);
    server.terminate().await;
    until("it is not ready any more", || async {
        (!is_ready(at).await).then_some(())
    })
    .await;
    server.terminate().await;
    assert_eq!(server.ended().await.code(), Some(1));
}

/// A place at which there is one server after another, and what its balancer knows of it.
#[derive(Default)]
struct Place {
    at: Mutex<Option<SocketAddr>>,
    is_ready: AtomicBool,
}

impl Place {
    fn take(&self, server: &Server) {
        *self.at.lock().unwrap() = Some(address(server));
    }

    fn ready(&self) -> Option<SocketAddr> {
        let at = *self.at.lock().unwrap();
        at.filter(|_| self.is_ready.load(Ordering::SeqCst))
    }

    async fn look(&self) {
        let at = *self.at.lock().unwrap();
        let is_ready = match at {
            Some(at) => is_ready(at).await,
            None => false,
        };
        self.is_ready.store(is_ready, Ordering::SeqCst);
    }
}

/// Two servers behind a balancer that looks at each twenty times a second; both are replaced, one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_all_servers_are_replaced() {
    const CALLERS: usize = 6;
    let Some(postgres) = Postgres::shared() else {
        return;
    };
    let data = Data::on(&postgres.database())
        .with("VYDRA__PROVIDERS__LOCAL__INSTANT", "true")
        .with(PER_MINUTE.0, PER_MINUTE.1)
        .with(DELAY, "1s");
    let mut servers = vec![data.serve().await, data.serve().await];
    let org = data.org("acme", 1_000_000).await;
    let key = data.key(&org, &[]).await;
    let places: Arc<[Place; 2]> = Arc::default();
    for (place, server) in places.iter().zip(&servers) {
        place.take(server);
        place.look().await;
    }
    let (tasks, done) = (TaskTracker::new(), Arc::new(AtomicBool::new(false)));
    let balancer = tasks.spawn({
        let (places, done) = (Arc::clone(&places), Arc::clone(&done));
        async move {
            let mut tick = interval(Duration::from_millis(50));
            while !done.load(Ordering::SeqCst) {
                tick.tick().await;
                for place in places.iter() {
                    place.look().await;
                }
            }
        }
    });
    let callers = (0..CALLERS).map(|number| {
        let (places, done, key) = (Arc::clone(&places), Arc::clone(&done), key.clone());
        tasks.spawn(async move {
            let mut lines: [Option<(SocketAddr, Line)>; 2] = Default::default();
            let (mut next, mut calls) = (number, [0; 2]);
            while !done.load(Ordering::SeqCst) {
                next += 1;
                let (place, line) = (&places[next % 2], &mut lines[next % 2]);
                let Some(at) = place.ready() else {
                    // As a balancer does: what stands open to a server that goes is let go.
                    *line = None;
                    tokio::task::yield_now().await;
                    continue;
                };
                let (_, open) = match line.take().filter(|(known, _)| *known == at) {
                    Some(open) => line.insert(open),
                    None => {
                        line.insert((at, Line::open(at).await.expect("a ready server lets in")))
                    }
                };
                let request = match calls[next % 2] % 4 {
                    0 => generate(&key),
                    _ => get("/api/v1/organization", &key),
                };
                let told = open.ask(&request).await;
                let told = told.expect("a ready server answers");
                assert_eq!(told.status, 200, "{told:?}");
                calls[next % 2] += 1;
                if told.is_last {
                    *line = None;
                }
            }
            calls
        })
    });
    let callers: Vec<_> = callers.collect();
    for number in 0..2 {
        servers.remove(0).stop().await;
        let new = data.serve().await;
        places[number].take(&new);
        until("the new one is ready", || async { places[number].ready() }).await;
        servers.push(new);
    }
    done.store(true, Ordering::SeqCst);
    balancer.await.unwrap();
    for caller in callers {
        let calls = caller.await.unwrap();
        assert!(calls.iter().all(|calls| *calls > 10), "{calls:?}");
    }
    for server in servers {
        server.stop().await;
    }
}
