//! The load generator: keep-alive connections that each send the next request when the last is answered (closed loop).
//!
//! Requests are made beforehand, and of an answer only the status and the length are read, so that what is measured is the
//! server; the two share the machine all the same.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::system;

/// As many as wrk is usually given on a machine of two cores.
const THREADS: usize = 2;
/// Longer than any answer that is waited for on purpose.
const PATIENCE: Duration = Duration::from_secs(90);

const LENGTH: &[u8] = b"content-length:";

/// The bytes of a request.
pub fn request(method: &str, path: &str, key: Option<&str>, more: &str, body: &str) -> Vec<u8> {
    let authorization = key.map_or_else(String::new, |key| {
        format!("authorization: Bearer {key}\r\n")
    });
    let content = if body.is_empty() {
        String::new()
    } else {
        let length = body.len();
        format!("content-type: application/json\r\ncontent-length: {length}\r\n")
    };
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{authorization}{more}{content}\r\n{body}"
    )
    .into_bytes()
}

#[derive(Debug, Clone)]
pub struct Load {
    /// Of one server, or of several among which the connections are spread.
    pub addresses: Vec<SocketAddr>,
    pub connections: usize,
    /// Sent in turns, each connection beginning at another.
    pub requests: Arc<Vec<Vec<u8>>>,
    /// The status of every answer; another one ends the measurement.
    pub status: u16,
    /// What is answered in it is not measured.
    pub warm_up: Duration,
    pub span: Duration,
    /// The end, when it comes before that of the time.
    pub most: Option<u64>,
}

#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Answers in the whole time, with those of the warm-up and of the end.
    pub answered: u64,
    /// Answers a second in the measured time.
    pub rate: f64,
    /// In nanoseconds, from the shortest.
    latencies: Vec<u64>,
}

impl Outcome {
    /// Exact, in milliseconds: the latency that this share of requests did not exceed.
    pub fn percentile(&self, percent: usize) -> f64 {
        percentile(&self.latencies, percent)
    }
}

/// Of sorted nanoseconds, in milliseconds.
pub fn percentile(sorted: &[u64], percent: usize) -> f64 {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    system::float(sorted.get(place).copied().unwrap_or_default()) / 1e6
}

impl Load {
    pub fn run(&self) -> anyhow::Result<Outcome> {
        let threads = THREADS.min(self.connections).max(1);
        let begin = Instant::now();
        let begun = Arc::new(AtomicU64::new(0));
        let parts: Vec<anyhow::Result<Part>> = std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|thread| {
                    let numbers = (thread..self.connections).step_by(threads);
                    let begun = Arc::clone(&begun);
                    scope.spawn(move || {
                        system::runtime()?.block_on(self.part(numbers, begin, begun))
                    })
                })
                .collect();
            running
                .into_iter()
                .map(|thread| match thread.join() {
                    Ok(part) => part,
                    Err(_) => bail!("a thread of the load generator broke off"),
                })
                .collect()
        });
        let mut outcome = Outcome::default();
        for part in parts {
            let part = part?;
            outcome.answered += part.answered;
            outcome.latencies.extend(part.latencies);
        }
        outcome.latencies.sort_unstable();
        let measured = u64::try_from(outcome.latencies.len())?;
        outcome.rate = system::float(measured) / self.span.as_secs_f64();
        Ok(outcome)
    }

    async fn part(
        &self,
        numbers: impl Iterator<Item = usize>,
        begin: Instant,
        begun: Arc<AtomicU64>,
    ) -> anyhow::Result<Part> {
        let mut connections = JoinSet::new();
        for number in numbers {
            let (load, begun) = (self.clone(), Arc::clone(&begun));
            connections.spawn(async move { load.drive(number, begin, &begun).await });
        }
        let mut whole = Part::default();
        while let Some(part) = connections.join_next().await {
            let part = part.context("a connection of the load generator broke off")??;
            whole.answered += part.answered;
            whole.latencies.extend(part.latencies);
        }
        Ok(whole)
    }

    async fn drive(self, number: usize, begin: Instant, begun: &AtomicU64) -> anyhow::Result<Part> {
        let (from, until) = (begin + self.warm_up, begin + self.warm_up + self.span);
        let address = self.addresses.iter().cycle().nth(number);
        let address = address.context("there is no server")?;
        let mut connection = Connection::open(*address).await?;
        let mut requests = self.requests.iter().cycle().skip(
            // Far apart, so that connections do not follow each other through the list.
            number * self.requests.len() / self.connections.max(1),
        );
        let mut part = Part::default();
        loop {
            let began = Instant::now();
            let is_last = |most| begun.fetch_add(1, Ordering::Relaxed) >= most;
            if began >= until || self.most.is_some_and(is_last) {
                return Ok(part);
            }
            let request = requests.next().context("there is nothing to send")?;
            let answer = connection.call(request).await?;
            let ended = Instant::now();
            if answer.status != self.status {
                let body = String::from_utf8_lossy(answer.body);
                bail!(
                    "answer {} instead of {}: {body}",
                    answer.status,
                    self.status
                );
            }
            part.answered += 1;
            if ended > from && ended <= until {
                let latency = ended.duration_since(began).as_nanos();
                part.latencies.push(u64::try_from(latency)?);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Part {
    answered: u64,
    latencies: Vec<u64>,
}

/// A keep-alive connection on which one request at a time is under way.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

impl Connection {
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .context("no connection to the server")?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; 16 * 1024],
        })
    }

    pub async fn call(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        tokio::time::timeout(PATIENCE, self.exchange(request))
            .await
            .context("the server did not answer")?
    }

    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(read > 0, "the server closed the connection");
            filled += read;
            let Some(head) = Head::read(&self.buffer[..filled])? else {
                continue;
            };
            let end = head.length + head.body;
            if filled >= end {
                ensure!(filled == end, "the server sent more than it announced");
                return Ok(Answer {
                    status: head.status,
                    body: &self.buffer[head.length..end],
                });
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: usize,
    body: usize,
}

impl Head {
    /// None while it is not whole.
    fn read(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let mut body = None;
        let mut start = 0;
        while let Some(length) = bytes[start..].iter().position(|byte| *byte == b'\n') {
            let line = bytes[start..start + length].trim_ascii_end();
            start += length + 1;
            if line.is_empty() {
                let status = bytes
                    .get(9..12)
                    .and_then(|digits| std::str::from_utf8(digits).ok())
                    .and_then(|digits| digits.parse().ok())
                    .context("the answer has no status")?;
                return Ok(Some(Self {
                    status,
                    length: start,
                    body: body.context("the answer has no length")?,
                }));
            }
            if let Some((name, value)) = line.split_at_checked(LENGTH.len())
                && name.eq_ignore_ascii_case(LENGTH)
            {
                let value = std::str::from_utf8(value)?.trim();
                body = Some(
                    value
                        .parse()
                        .context("the length of an answer is no number")?,
                );
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_members_of_the_list() {
        let sorted: Vec<u64> = (1..=200).map(|number| number * 1_000_000).collect();
        let of = |percent| percentile(&sorted, percent);
        let whole = [50, 99, 100].map(|percent| format!("{:.0}", of(percent)));
        assert_eq!(whole, ["100", "198", "200"]);
        assert_eq!(percentile(&[], 50).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn an_answer_is_whole_when_its_head_and_length_are_there() {
        let text = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nx: y\r\n\r\n{}";
        let head = Head::read(text).unwrap().unwrap();
        assert_eq!((head.status, head.body), (201, 2));
        assert_eq!(&text[head.length..], b"{}");
        assert_eq!(Head::read(&text[..40]).unwrap(), None);
        assert!(Head::read(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_says_how_long_it_is() {
        let text = request("POST", "/x", Some("k"), "a: b\r\n", "{}");
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "POST /x HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer k\r\na: b\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        );
    }
}
