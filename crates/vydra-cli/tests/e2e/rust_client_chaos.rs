//! The Rust client over a line that breaks whatever it can: nothing is bought twice.

use crate::rust_client::{Hasty, client};
use crate::server::Data;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vydra_client::{Buy, Client, Error, JobFilter, TransactionFilter};

const CALLS: usize = 1_000;
/// Of these, so many are made by the blocking client.
const BLOCKING: usize = 200;
const AT_ONCE: usize = 16;

/// What happens to a request, and how often of a hundred times.
const FAULTS: [(&str, u32); 9] = [
    ("none", 30),
    ("reset before", 10),
    ("reset after", 12),
    ("half", 12),
    ("429 seconds", 5),
    ("429 date", 5),
    ("429 body", 5),
    ("429", 5),
    ("500 after", 16),
];

/// A line to a server that breaks what it can, by a dice that always falls alike.
struct Line {
    upstream: String,
    dice: Mutex<StdRng>,
    faults: Mutex<BTreeMap<&'static str, u32>>,
}

impl Line {
    fn roll(&self) -> &'static str {
        let mut roll = self.dice.lock().unwrap().random_range(0..100);
        let fault = FAULTS.iter().find(|(_, share)| {
            let is_it = roll < *share;
            roll = roll.saturating_sub(*share);
            is_it
        });
        let (fault, _) = fault.unwrap();
        *self.faults.lock().unwrap().entry(fault).or_default() += 1;
        fault
    }

    async fn carry(&self, mut connection: TcpStream) -> std::io::Result<()> {
        let Some(request) = request(&mut connection).await? else {
            return Ok(());
        };
        let fault = self.roll();
        let refused = |retry_after: &str, more: &str| {
            let body = format!(
                r#"{{"error": "slow", "code": "RATE_LIMIT_EXCEEDED", "requestId": "r"{more}}}"#
            );
            answer("429 Slow", retry_after, &body)
        };
        let told = match fault {
            "reset before" => return connection.set_zero_linger(),
            "429 seconds" => refused("retry-after: 1\r\n", ""),
            "429 date" => refused("retry-after: Sat, 01 Jan 2000 00:00:00 GMT\r\n", ""),
            "429 body" => refused("", r#", "retryAfter": 1"#),
            "429" => refused("", ""),
            _ => {
                let mut told = self.forward(&request).await?;
                match fault {
                    "reset after" => return connection.set_zero_linger(),
                    "500 after" => {
                        told = answer("500 Broken", "", "<html>broken behind the proxy</html>");
                    }
                    "half" => {
                        let begin = told
                            .windows(4)
                            .position(|window| window == b"\r\n\r\n")
                            .unwrap()
                            + 4;
                        told.truncate(usize::midpoint(begin, told.len()));
                    }
                    _ => {}
                }
                told
            }
        };
        connection.write_all(&told).await?;
        connection.shutdown().await
    }

    async fn forward(&self, request: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut upstream = TcpStream::connect(&self.upstream).await?;
        upstream.write_all(request).await?;
        let mut told = Vec::new();
        upstream.read_to_end(&mut told).await?;
        Ok(told)
    }
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The bytes of one request, as the last of its connection; none where the connection ended before.
async fn request(connection: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut reader = BufReader::new(connection);
    let (mut request, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let lower = line.to_lowercase();
        if let Some(said) = lower.strip_prefix("content-length:") {
            length = said.trim().parse().unwrap();
        }
        if line == "\r\n" {
            request.extend_from_slice(b"connection: close\r\n\r\n");
            break;
        }
        request.extend_from_slice(line.as_bytes());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    request.extend_from_slice(&body);
    Ok(Some(request))
}

/// How often each text was charged, from the ledger.
async fn charged(client: &Client) -> BTreeMap<String, u32> {
    let hundred = Some(100);
    let filter = JobFilter {
        limit: hundred,
        ..JobFilter::default()
    };
    let mut jobs = client.jobs().list(&filter).await.unwrap().items();
    let mut texts = BTreeMap::new();
    while let Some(job) = jobs.next().await.unwrap() {
        texts.insert(job.id, job.input["text"].as_str().unwrap().to_owned());
    }
    let filter = TransactionFilter {
        r#type: Some("charge".into()),
        limit: hundred,
        ..TransactionFilter::default()
    };
    let mut rows = client.transactions(&filter).await.unwrap().items();
    let mut charged = BTreeMap::new();
    while let Some(row) = rows.next().await.unwrap() {
        assert_eq!(row.amount, -5);
        *charged
            .entry(texts[&row.job_id.unwrap()].clone())
            .or_default() += 1;
    }
    charged
}

/// What became of the calls.
#[derive(Default)]
struct Outcomes {
    succeeded: BTreeSet<String>,
    failed: Vec<String>,
}

impl Outcomes {
    fn take(&mut self, text: String, outcome: Result<vydra_client::Job, Error>) {
        match outcome {
            Ok(_) => assert!(self.succeeded.insert(text)),
            Err(error) => self.failed.push(format!("{text}: {error}")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_over_a_broken_line_are_charged_once_each() {
    let data = Data::new();
    let org = data.org("acme", 10_000).await;
    let key = data.key(&org, &[]).await;
    let server = data.serve().await;
    let line = Arc::new(Line {
        upstream: server.url.strip_prefix("http://").unwrap().to_owned(),
        dice: Mutex::new(StdRng::seed_from_u64(20_261_128)),
        faults: Mutex::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (carrying, stop) = (TaskTracker::new(), CancellationToken::new());
    let (carriers, stopped, carried) = (carrying.clone(), stop.clone(), Arc::clone(&line));
    carrying.spawn(async move {
        while let Some(Ok((connection, _))) = stopped.run_until_cancelled(listener.accept()).await {
            let line = Arc::clone(&carried);
            // A client that goes away is none of its business.
            carriers.spawn(async move { line.carry(connection).await.ok() });
        }
    });
    let builder = client(&url, &key).clock(Hasty::default());
    let outcomes = Arc::new(Mutex::new(Outcomes::default()));

    let caller = builder.clone().build().unwrap();
    let texts: Vec<_> = (0..CALLS - BLOCKING)
        .map(|index| format!("async {index}"))
        .collect();
    let texts = Arc::new(Mutex::new(texts));
    let workers = TaskTracker::new();
    for _ in 0..AT_ONCE {
        let (caller, texts, outcomes) = (caller.clone(), Arc::clone(&texts), Arc::clone(&outcomes));
        workers.spawn(async move {
            let next = || texts.lock().unwrap().pop();
            while let Some(text) = next() {
                let input = json!({"text": text});
                let outcome = caller
                    .models()
                    .run("elevenlabs/tts", &input, &Buy::default())
                    .await;
                outcomes.lock().unwrap().take(text, outcome);
            }
        });
    }
    workers.close();
    workers.wait().await;

    let taken = Arc::clone(&outcomes);
    let blocking = tokio::task::spawn_blocking(move || {
        let caller = builder.build_blocking().unwrap();
        for index in 0..BLOCKING {
            let text = format!("blocking {index}");
            let input: Value = json!({"text": text});
            let outcome = caller
                .models()
                .run("elevenlabs/tts", &input, &Buy::default());
            taken.lock().unwrap().take(text, outcome);
        }
    });
    blocking.await.unwrap();
    stop.cancel();
    carrying.close();
    carrying.wait().await;

    let straight = client(&server.url, &key).build().unwrap();
    let charged = charged(&straight).await;
    let outcomes = outcomes
        .lock()
        .unwrap()
        .succeeded
        .clone()
        .into_iter()
        .collect::<Vec<_>>();
    let faults = line.faults.lock().unwrap().clone();
    println!(
        "{} succeeded, {} were charged; {faults:?}",
        outcomes.len(),
        charged.len()
    );
    let twice: Vec<_> = charged.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    for text in &outcomes {
        assert!(charged.contains_key(text), "{text} was never charged");
    }
    // Faults are rare enough for most calls, and frequent enough for many to be sent again.
    assert!(
        faults.len() == FAULTS.len() && faults.values().all(|times| *times > 20),
        "{faults:?}"
    );
    assert!(outcomes.len() > CALLS * 7 / 10, "{}", outcomes.len());
    assert!(
        faults.values().sum::<u32>() as usize > CALLS * 2,
        "{faults:?}"
    );
    let left = straight.credits().await.unwrap().credits_remaining;
    assert_eq!(left, 10_000 - 5 * i64::try_from(charged.len()).unwrap());
    server.stop().await;
}
