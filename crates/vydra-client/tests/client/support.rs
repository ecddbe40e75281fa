//! A server that answers as it is told, and a clock that waits for nobody.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::future::Future;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use vydra_client::{Builder, Client, Clock, Environment};

pub(crate) const KEY: &str = "KEY";

/// Goes on only when somebody sleeps, or a server says so.
#[derive(Clone)]
pub(crate) struct FakeClock {
    start: SystemTime,
    share: f64,
    passed: Arc<Mutex<Duration>>,
    waits: Arc<Mutex<Vec<f64>>>,
}

impl FakeClock {
    /// That of a case.
    pub(crate) fn of(case: &Value) -> Self {
        // The beginning of 2026.
        let standard = UNIX_EPOCH + Duration::from_hours(490_896);
        let said = case["now"].as_str();
        Self {
            start: said.map_or(standard, |said| httpdate::parse_http_date(said).unwrap()),
            share: case["client"]["random"].as_f64().unwrap_or(0.5),
            passed: Arc::default(),
            waits: Arc::default(),
        }
    }

    pub(crate) fn waits(&self) -> Vec<f64> {
        self.waits.lock().unwrap().clone()
    }

    fn pass(&self, duration: Duration) {
        *self.passed.lock().unwrap() += duration;
    }
}

impl Clock for FakeClock {
    fn now(&self) -> SystemTime {
        self.start + *self.passed.lock().unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(1000) + *self.passed.lock().unwrap()
    }

    fn random(&self) -> f64 {
        self.share
    }

    fn pause(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.waits.lock().unwrap().push(duration.as_secs_f64());
        self.pass(duration);
        Box::pin(std::future::ready(()))
    }
}

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) target: String,
    /// By names in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// One request; none where the connection ended before.
pub(crate) fn read_request(connection: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(connection);
    let mut line = || {
        let mut line = String::new();
        reader
            .read_line(&mut line)
            .ok()
            .filter(|count| *count > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    while let Some((name, value)) = line()?.split_once(':') {
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if headers
        .get("transfer-encoding")
        .is_some_and(|coding| coding == "chunked")
    {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut piece = vec![0; size + 2];
            reader.read_exact(&mut piece).ok()?;
            body.extend_from_slice(&piece[..size]);
            if size == 0 {
                break;
            }
        }
    } else {
        body = vec![
            0;
            headers
                .get("content-length")
                .map_or(0, |length| length.parse().unwrap())
        ];
        reader.read_exact(&mut body).ok()?;
    }
    Some(Received {
        method,
        target,
        headers,
        body,
    })
}

/// Answers with exchanges in their order, and remembers what was wrong.
pub(crate) struct Scripted {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    arrived: watch::Receiver<usize>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    exchanges: Vec<Value>,
    wrong: Vec<String>,
    requests: usize,
    same: HashMap<String, String>,
}

impl Scripted {
    pub(crate) fn start(clock: &FakeClock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, clock) = (Arc::clone(&state), clock.clone());
        let (count, arrived) = watch::channel(0);
        let serving = std::thread::spawn(move || {
            for connection in listener.incoming() {
                let connection = connection.unwrap();
                // A connection that was opened for nothing asks for nothing.
                let Some(received) = read_request(&connection) else {
                    continue;
                };
                if received.method == "STOP" {
                    return;
                }
                let answer = shared.lock().unwrap().take(&received);
                count.send_modify(|count| *count += 1);
                answered(&connection, &answer, &clock);
            }
        });
        Self {
            url,
            state,
            arrived,
            serving,
        }
    }

    pub(crate) fn answers_with(&self, exchanges: &Value) {
        self.state.lock().unwrap().exchanges = exchanges.as_array().cloned().unwrap_or_default();
    }

    /// Waits for so many requests.
    pub(crate) async fn arrived(&self, count: usize) {
        let mut arrived = self.arrived.clone();
        arrived.wait_for(|arrived| *arrived >= count).await.unwrap();
    }

    /// What was not as it should be.
    pub(crate) fn wrong(self) -> Vec<String> {
        self.stop().wrong.clone()
    }

    /// How many requests came; fails where one was not as it should be.
    pub(crate) fn finish(self) -> usize {
        let state = self.stop();
        assert!(state.wrong.is_empty(), "{:#?}", state.wrong);
        state.requests
    }

    fn stop(self) -> State {
        let address = self.url.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(b"STOP / HTTP/1.1\r\n\r\n").unwrap();
        self.serving.join().unwrap();
        std::mem::take(&mut *self.state.lock().unwrap())
    }
}

impl State {
    fn take(&mut self, received: &Received) -> Value {
        let index = self.requests;
        self.requests += 1;
        let Some(exchange) = self.exchanges.get(index).cloned() else {
            self.wrong.push(format!(
                "one request too many: {} {}",
                received.method, received.target
            ));
            return serde_json::json!({"status": 418, "text": ""});
        };
        self.compare(index, &exchange["expect"], received);
        exchange["answer"].clone()
    }

    fn compare(&mut self, index: usize, expect: &Value, received: &Received) {
        let wrong = &mut self.wrong;
        let mut differ = |what: &str, wanted: &Value, got: Value| {
            if *wanted != got {
                wrong.push(format!(
                    "exchange {index}: {what} should be {wanted} and is {got}"
                ));
            }
        };
        let url = reqwest::Url::parse(&format!("http://host{}", received.target)).unwrap();
        let query: Map<String, Value> = url
            .query_pairs()
            .map(|(name, value)| (name.into(), value.into_owned().into()))
            .collect();
        let json = || serde_json::from_slice(&received.body).unwrap_or_default();
        for (what, wanted) in expect.as_object().into_iter().flatten() {
            match what.as_str() {
                "method" => differ(what, wanted, received.method.as_str().into()),
                "path" => differ(
                    what,
                    wanted,
                    received.target.split('?').next().unwrap().into(),
                ),
                "query" => differ(what, wanted, query.clone().into()),
                "json" => differ(what, wanted, json()),
                "multipart" => differ(what, wanted, part(received)),
                "headers" => {
                    for (name, wanted) in wanted.as_object().unwrap() {
                        let got = received.headers.get(name);
                        if wanted == "$same" {
                            let first = got.cloned().unwrap_or_else(|| "something".into());
                            let first = self.same.entry(name.clone()).or_insert(first);
                            differ(name, &first.as_str().into(), got.cloned().into());
                        } else {
                            differ(name, wanted, got.cloned().into());
                        }
                    }
                }
                _ => panic!("{what} is not known"),
            }
        }
    }
}

/// The one part of a form.
fn part(received: &Received) -> Value {
    let boundary = received.headers["content-type"]
        .split("boundary=")
        .nth(1)
        .unwrap();
    let body = received
        .body
        .strip_prefix(format!("--{boundary}\r\n").as_bytes())
        .unwrap();
    let body = body
        .strip_suffix(format!("\r\n--{boundary}--\r\n").as_bytes())
        .unwrap();
    let at = body
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8(body[..at].to_vec()).unwrap();
    let parameter = |name: &str| {
        let begin = head.find(&format!("; {name}=\"")).unwrap() + name.len() + 4;
        head[begin..].split('"').next().unwrap().to_owned()
    };
    serde_json::json!({
        "name": parameter("name"), "filename": parameter("filename"), "base64": STANDARD.encode(&body[at + 4..]),
    })
}

fn answered(mut connection: &TcpStream, answer: &Value, clock: &FakeClock) {
    clock.pass(Duration::from_secs_f64(
        answer["takes"].as_f64().unwrap_or(0.0),
    ));
    if answer["fault"] == "reset" {
        return reset(connection);
    }
    if answer["fault"] == "hang" {
        // Until the client goes.
        let _ = connection.read(&mut [0]);
        return;
    }
    let mut headers: HashMap<String, String> = HashMap::new();
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        headers.insert(name.to_lowercase(), value.as_str().unwrap().to_owned());
    }
    let mut body = match (answer.get("json"), answer["base64"].as_str()) {
        (Some(json), _) => {
            headers
                .entry("content-type".into())
                .or_insert_with(|| "application/json".into());
            json.to_string().into_bytes()
        }
        (None, Some(content)) => STANDARD.decode(content).unwrap(),
        (None, None) => {
            let text = answer["events"].as_str().or(answer["text"].as_str());
            text.unwrap_or_default().as_bytes().to_vec()
        }
    };
    // An event stream has no length: it ends with its connection.
    if answer.get("events").is_none() && answer["status"] != 204 {
        headers.insert("content-length".into(), body.len().to_string());
    }
    if answer["fault"] == "half" {
        body.truncate(body.len() / 2);
    }
    headers.insert("connection".into(), "close".into());
    let mut head = format!("HTTP/1.1 {} Status\r\n", answer["status"]);
    for (name, value) in headers {
        head.extend([&name, ": ", &value, "\r\n"]);
    }
    head += "\r\n";
    // The client may have gone.
    let _ = connection
        .write_all(head.as_bytes())
        .and_then(|()| connection.write_all(&body));
}

/// Such a server, and what makes a client of it.
pub(crate) fn server(exchanges: &Value) -> (Scripted, Builder) {
    let clock = FakeClock::of(&Value::Null);
    let server = Scripted::start(&clock);
    server.answers_with(exchanges);
    let builder = Client::builder()
        .environment(Environment::default())
        .base_url(&server.url)
        .api_key(KEY)
        .clock(clock);
    (server, builder)
}

/// Ends a connection before an answer.
fn reset(connection: &TcpStream) {
    connection.shutdown(std::net::Shutdown::Both).unwrap();
}

/// The value, with the addresses of the servers where they are asked for.
pub(crate) fn filled(value: &Value, server: &str, other: &str) -> Value {
    match value {
        Value::String(text) => text
            .replace("{server}", server)
            .replace("{other}", other)
            .into(),
        Value::Array(items) => items
            .iter()
            .map(|item| filled(item, server, other))
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), filled(value, server, other)))
            .collect(),
        other => other.clone(),
    }
}

/// Fails unless everything that is wanted is there.
pub(crate) fn subset(wanted: &Value, got: &Value, at: &str) {
    match (wanted, got) {
        (Value::Object(wanted), _) => {
            for (name, value) in wanted {
                subset(value, &got[name], &format!("{at}.{name}"));
            }
        }
        (Value::Array(wanted), Value::Array(got)) => {
            assert_eq!(wanted.len(), got.len(), "{at}");
            for (index, (wanted, got)) in wanted.iter().zip(got).enumerate() {
                subset(wanted, got, &format!("{at}[{index}]"));
            }
        }
        (Value::Number(wanted), Value::Number(got)) => {
            assert_eq!(wanted.as_f64(), got.as_f64(), "{at}");
        }
        _ => assert_eq!(wanted, got, "{at}"),
    }
}
