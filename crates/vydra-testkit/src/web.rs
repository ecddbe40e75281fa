//! The world outside, as far as tests need one: names without a resolver, and a server of one file.

use async_trait::async_trait;
use bytes::Bytes;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
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
