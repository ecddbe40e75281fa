//! A server that behaves as a test says: ours behaves too well for what a client must bear.

use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Such as `GET /api/v1/jobs`, with the query.
    pub(crate) line: String,
    head: String,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// What comes back.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Json(u16, Value),
    /// A status, its headers and a body.
    Raw(u16, String, Vec<u8>),
    /// The same once this is cancelled.
    After(CancellationToken, Box<Self>),
    /// The connection ends.
    Broken,
    /// Nothing, until the server ends.
    Held,
}

pub(crate) struct Fake {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _end: DropGuard,
}

impl Fake {
    /// `answer` is given the address of this server, and what was asked.
    pub(crate) async fn start(
        answer: impl Fn(&str, &Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, answer) = (Arc::default(), Arc::new(answer));
        let (end, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (here, heard, ended) = (url.clone(), Arc::clone(&asked), end.clone());
        tasks
            .clone()
            .spawn(end.clone().run_until_cancelled_owned(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (here, heard, answer) =
                        (here.clone(), Arc::clone(&heard), Arc::clone(&answer));
                    let one =
                        async move { serve(stream, &heard, |asked| answer(&here, asked)).await };
                    tasks.spawn(ended.clone().run_until_cancelled_owned(one));
                }
            }));
        Self {
            url,
            asked,
            _end: end.drop_guard(),
        }
    }

    /// A purchase becomes `job_1`, and that is `job`; what else is asked is not there.
    pub(crate) async fn of_job(job: impl Fn(&str) -> Value + Send + Sync + 'static) -> Self {
        Self::start(move |here, asked| match asked.line.as_str() {
            "POST /api/v1/jobs" => Answer::Json(201, pending()),
            line if line.contains("/events") => Answer::Raw(204, String::new(), Vec::new()),
            line if line.starts_with("GET /api/v1/jobs/job_1") => Answer::Json(200, job(here)),
            line if line.starts_with("GET /f/") => png(),
            _ => Answer::Json(404, json!({"error": "no", "code": "NOT_FOUND"})),
        })
        .await
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// A job that was just bought.
pub(crate) fn pending() -> Value {
    json!({
        "id": "job_1", "status": "pending", "model": "m", "workflow": "generate_image", "creditsCharged": 5,
        "creditsRefunded": 0, "progress": 0, "input": {"prompt": "x"}, "createdAt": "2026-01-01T00:00:00Z",
    })
}

/// The same once it has these results.
pub(crate) fn completed(urls: &[String]) -> Value {
    let mut job = pending();
    job["status"] = "completed".into();
    job["resultUrls"] = urls.into();
    job
}

pub(crate) fn png() -> Answer {
    let kind = "content-type: image/png\r\n";
    Answer::Raw(200, kind.to_owned(), b"\x89PNG and more".to_vec())
}

async fn serve(
    mut stream: TcpStream,
    heard: &Mutex<Vec<Asked>>,
    answer: impl FnOnce(&Asked) -> Answer,
) {
    let Some(asked) = read(&mut stream).await else {
        return;
    };
    heard.lock().unwrap().push(asked.clone());
    let mut answer = answer(&asked);
    while let Answer::After(moment, next) = answer {
        moment.cancelled().await;
        answer = *next;
    }
    let (status, headers, body) = match answer {
        Answer::Json(status, value) => {
            let kind = "content-type: application/json\r\n".to_owned();
            let wait = value["retryAfter"].as_u64();
            let wait = wait.map_or_else(String::new, |wait| format!("retry-after: {wait}\r\n"));
            (status, kind + &wait, value.to_string().into_bytes())
        }
        Answer::Raw(status, headers, body) => (status, headers, body),
        Answer::Broken | Answer::After(..) => return,
        Answer::Held => std::future::pending().await,
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} As told\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    // Whoever asked may be gone.
    if stream.write_all(head.as_bytes()).await.is_ok() {
        let _ = stream.write_all(&body).await;
        let _ = stream.shutdown().await;
    }
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut all = Vec::new();
    let (head, begun) = loop {
        if let Some(end) = all.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8(all[..end].to_vec()).unwrap();
            break (head, all.split_off(end + 4));
        }
        if stream.read_buf(&mut all).await.ok()? == 0 {
            return None;
        }
    };
    let (line, head) = head.split_once("\r\n")?;
    let line = line.strip_suffix(" HTTP/1.1")?.to_owned();
    let mut asked = Asked {
        line,
        head: head.to_owned(),
        body: Value::Null,
    };
    let length = asked
        .header("content-length")
        .and_then(|text| text.parse().ok());
    let mut body = begun;
    while body.len() < length.unwrap_or(0) {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    asked.body = serde_json::from_slice(&body).unwrap_or_default();
    Some(asked)
}
