//! What the HTTP machinery does with bytes that no client of ours would send. Each case ends with a well-formed answer or
//! a closed connection, never with a 5xx, and the server goes on.

use crate::fixture::Api;
use crate::socket::{FAULT, HEALTH, Served, Socket};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;
use vydra_testkit::{Reply, files};

/// What a caller gets for its bytes.
struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    /// The statuses in their order; `head` before one says that no body follows.
    answers: &'static str,
    is_open: bool,
    /// The caller says that nothing more will come.
    shuts: bool,
}

fn case(name: &'static str, bytes: impl Into<Vec<u8>>, answers: &'static str) -> Case {
    Case {
        name,
        bytes: bytes.into(),
        answers,
        is_open: false,
        shuts: false,
    }
}

impl Case {
    fn open(self) -> Self {
        Self {
            is_open: true,
            ..self
        }
    }

    fn shut(self) -> Self {
        Self {
            shuts: true,
            ..self
        }
    }

    async fn run(self, served: Arc<Served>) {
        let name = self.name;
        let mut socket = served.connect().await;
        if self.is_open {
            socket.send(&self.bytes).await;
        } else {
            socket.send_and_read_all(&self.bytes, self.shuts).await;
        }
        for expected in self.answers.split_whitespace() {
            let status = expected.trim_start_matches("head");
            let answer = socket.answer(name, status != expected).await;
            assert_eq!(answer.status.as_str(), status, "{name}: {answer:?}");
            if status == "400" && !self.is_open {
                let sentence = answer.error("INVALID_INPUT")["error"].clone();
                assert!(sentence.as_str().unwrap().len() > 10, "{name}: {sentence}");
            }
        }
        if self.is_open {
            socket.send(HEALTH).await;
            let again = socket.answer(name, false).await;
            assert_eq!(
                again.status, 200,
                "{name}: the connection can be used again"
            );
        } else {
            socket.end(name).await;
        }
        served.is_well(name).await;
    }
}

/// A request for the server's health with this between its first line and the end of its head.
fn with(fields: impl AsRef<[u8]>) -> Vec<u8> {
    [
        b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n",
        fields.as_ref(),
        b"\r\n\r\n",
    ]
    .concat()
}

fn line(line: impl AsRef<[u8]>) -> Vec<u8> {
    [line.as_ref(), b"\r\nHost: x\r\n\r\n"].concat()
}

/// A call with a key and a body.
fn post(key: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("POST /api/v1/models/gemini/generate HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n{fields}\r\n\r\n{body}").into()
}

fn then(first: impl AsRef<[u8]>, second: impl AsRef<[u8]>) -> Vec<u8> {
    [first.as_ref(), second.as_ref()].concat()
}

fn targets() -> Vec<Case> {
    vec![
        case("a request", HEALTH, "200").open(),
        case("two at once", HEALTH.repeat(2), "200 200").open(),
        case("empty lines first", then("\r\n\r\n", HEALTH), "200").open(),
        case(
            "an absolute target",
            line("GET http://x/api/v1/health HTTP/1.1"),
            "200",
        )
        .open(),
        case(
            "an absolute target elsewhere",
            line("GET http://evil.example/nothing HTTP/1.1"),
            "404",
        )
        .open(),
        case(
            "an authority as the target",
            line("GET x:80 HTTP/1.1"),
            "404",
        )
        .open(),
        case("CONNECT", line("CONNECT x:80 HTTP/1.1"), "404").open(),
        case(
            "CONNECT to a path",
            line("CONNECT /api/v1/jobs HTTP/1.1"),
            "405",
        )
        .open(),
        case("TRACE", line("TRACE /api/v1/health HTTP/1.1"), "405").open(),
        case("a star", line("GET * HTTP/1.1"), "404").open(),
        case("OPTIONS of all", line("OPTIONS * HTTP/1.1"), "200").open(),
        case("OPTIONS", line("OPTIONS /api/v1/jobs HTTP/1.1"), "200").open(),
        case(
            "a method in small letters",
            line("get /api/v1/health HTTP/1.1"),
            "405",
        )
        .open(),
        case(
            "an unknown method",
            line("BREW /api/v1/health HTTP/1.1"),
            "405",
        )
        .open(),
        case(
            "a long method",
            line(format!("{} /api/v1/health HTTP/1.1", "A".repeat(10_000))),
            "405",
        )
        .open(),
        case(
            "a method that is none",
            line("G@T( /api/v1/health HTTP/1.1"),
            "400",
        ),
        case("no method", line(" /api/v1/health HTTP/1.1"), "400"),
        case("no target", line("GET  HTTP/1.1"), "400"),
        case("a target without a slash", line("GET api HTTP/1.1"), "404").open(),
        case("two spaces", line("GET  /api/v1/health HTTP/1.1"), "400"),
        case("a tab", line("GET\t/api/v1/health HTTP/1.1"), "400"),
        case(
            "a space in the target",
            line("GET /api/v1/he alth HTTP/1.1"),
            "400",
        ),
        case("a fragment", line("GET /api/v1/health#x HTTP/1.1"), "200").open(),
        case("a path of bytes", line(b"GET /api/v1/\xff HTTP/1.1"), "400"),
        case(
            "a query of bytes",
            line(b"GET /api/v1/health?\xff HTTP/1.1"),
            "400",
        ),
        case(
            "a path of coded bytes",
            line("GET /media/%ff%fe HTTP/1.1"),
            "400",
        )
        .open(),
        case("a coded NUL", line("GET /media/%00 HTTP/1.1"), "404").open(),
        case(
            "a percent sign alone",
            line("GET /media/%zz HTTP/1.1"),
            "404",
        )
        .open(),
        case(
            "the folder above",
            line("GET /media/../../etc/passwd HTTP/1.1"),
            "404",
        )
        .open(),
        case(
            "the folder above, coded",
            line("GET /media/%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1"),
            "404",
        )
        .open(),
        case("two slashes", line("GET //api/v1/health HTTP/1.1"), "404").open(),
        case(
            "a slash at the end",
            line("GET /api/v1/health/ HTTP/1.1"),
            "404",
        )
        .open(),
        case("a NUL in the path", line("GET /api/v1/\0 HTTP/1.1"), "400"),
        case(
            "a long path",
            line(format!("GET /{} HTTP/1.1", "a".repeat(60_000))),
            "404",
        )
        .open(),
        case(
            "a longer path",
            line(format!("GET /{} HTTP/1.1", "a".repeat(70_000))),
            "400",
        ),
        case(
            "a path of a megabyte",
            line(format!("GET /{} HTTP/1.1", "a".repeat(1_048_576))),
            "400",
        ),
        case(
            "a media URL with a query",
            line("GET /media/aa/x.png?a=b&a=%ff HTTP/1.1"),
            "404",
        )
        .open(),
    ]
}

fn heads() -> Vec<Case> {
    vec![
        case("line feeds alone", HEALTH.replace("\r\n", "\n"), "200").open(),
        case("a NUL in a value", with("X-A: a\0b"), "400"),
        case("a NUL in a name", with("X\0A: b"), "400"),
        case("a folded value", with("X-A: a\r\n b"), "400"),
        case("a field without a colon", with("X-A"), "400"),
        case("a space before the colon", with("X-A : b"), "400"),
        case("a space before the name", with(" X-A: b"), "400"),
        case("a field without a name", with(": b"), "400"),
        case("a carriage return alone", with("X-A: a\rb"), "400"),
        case("a name of bytes", with(b"X-\xc3\xa9: b"), "400"),
        case("a value of UTF-8", with("X-A: é"), "200").open(),
        case("a value of bytes", with(b"X-A: \xff\xfe"), "200").open(),
        case("a key of bytes", b"GET /api/v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n", "401").open(),
        case("99 further fields", with(vec!["A: b"; 99].join("\r\n")), "200").open(),
        case("100 further fields", with(vec!["A: b"; 100].join("\r\n")), "400"),
        case("10,000 fields", with(vec!["A: b"; 10_000].join("\r\n")), "400"),
        case("a value of a megabyte", with(format!("A: {}", "a".repeat(1_048_576))), "400"),
        case("fields without an end", then("GET / HTTP/1.1\r\n", "A: b\r\n".repeat(100_000)), "400"),
        case("no host", "GET /api/v1/health HTTP/1.1\r\n\r\n", "400"),
        case("an empty host", "GET /api/v1/health HTTP/1.1\r\nHost:\r\n\r\n", "200").open(),
        case("two hosts", with("Host: y"), "400"),
        case("two hosts in HTTP/1.0", "GET /api/v1/health HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", "400"),
        case("HTTP/0.9", "GET /api/v1/health\r\n\r\n", "400"),
        case("HTTP/1.0", "GET /api/v1/health HTTP/1.0\r\n\r\n", "200"),
        case("HTTP/1.0 that stays", "GET /api/v1/health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200").open(),
        case("HTTP/1.2", line("GET /api/v1/health HTTP/1.2"), "400"),
        case("HTTP/2.0 in words", line("GET /api/v1/health HTTP/2.0"), "400"),
        case("HTTP/3.0 in words", line("GET /api/v1/health HTTP/3.0"), "400"),
        case("no protocol", line("GET /api/v1/health JUNK"), "400"),
        case("goodbye", with("Connection: close"), "200"),
        case("both wishes", with("Connection: keep-alive, close"), "200"),
        case("an upgrade", with("Connection: Upgrade\r\nUpgrade: websocket"), "200").open(),
        case("an upgrade to HTTP/2", with("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"), "200").open(),
    ]
}

fn bodies(key: &str) -> Vec<Case> {
    let chunked = |body: &str| post(key, "Transfer-Encoding: chunked", body);
    let long = |length: &str| post(key, &format!("Content-Length: {length}"), "{}");
    let fine = "2\r\n{}\r\n0\r\n\r\n";
    let both = "Content-Length: 2\r\nTransfer-Encoding: chunked";
    let other_way = "Transfer-Encoding: chunked\r\nContent-Length: 2";
    vec![
        case("a body", long("2"), "400").open(),
        case("a body in chunks", chunked(fine), "400").open(),
        case(
            "a chunk with an extension",
            chunked("2;a=b\r\n{}\r\n0\r\n\r\n"),
            "400",
        )
        .open(),
        case(
            "a trailer",
            chunked("2\r\n{}\r\n0\r\nX-A: b\r\n\r\n"),
            "400",
        )
        .open(),
        case("both lengths", post(key, both, fine), "400"),
        case(
            "both lengths the other way",
            post(key, other_way, fine),
            "400",
        ),
        case(
            "a smuggled request",
            post(key, both, &format!("0\r\n\r\n{HEALTH}")),
            "400",
        ),
        case(
            "chunks in HTTP/1.0",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        case(
            "an unknown coding",
            post(key, "Transfer-Encoding: identity", ""),
            "400",
        ),
        case(
            "chunks that are packed",
            post(key, "Transfer-Encoding: chunked, gzip", fine),
            "400",
        ),
        case(
            "a length twice",
            post(key, "Content-Length: 2\r\nContent-Length: 2", "{}"),
            "400",
        )
        .open(),
        case(
            "two lengths",
            post(key, "Content-Length: 2\r\nContent-Length: 3", "{}"),
            "400",
        ),
        case("two lengths in one", long("2, 3"), "400"),
        case("a negative length", long("-2"), "400"),
        case("a length with a sign", long("+2"), "400"),
        case("a length of words", long("two"), "400"),
        case("a length in hexadecimal", long("0x2"), "400"),
        case("an empty length", long(""), "400"),
        case("a length beyond all", long("99999999999999999999"), "400"),
        case("the longest length", long("18446744073709551615"), "400"),
        case("a length over the limit", long("1048577"), "400"),
        case("a chunk of words", chunked("zz\r\n{}\r\n0\r\n\r\n"), "400"),
        case(
            "a chunk beyond all",
            chunked("ffffffffffffffffff\r\n{}"),
            "400",
        ),
        case("a negative chunk", chunked("-2\r\n{}\r\n0\r\n\r\n"), "400"),
        case("a chunk without an end", chunked("2\r\n{}0\r\n\r\n"), "400"),
        case(
            "a chunk that ends with a line feed",
            chunked("2\n{}\n0\n\n"),
            "400",
        ),
        case(
            "an endless extension",
            chunked(&format!("2;{}", "a".repeat(100_000))),
            "400",
        ),
        case(
            "endless trailers",
            chunked(&format!("2\r\n{{}}\r\n0\r\n{}", "A: b\r\n".repeat(50_000))),
            "400",
        ),
        case(
            "endless chunks",
            chunked(&"400\r\n".to_owned().chain_repeat(1_100)),
            "400",
        ),
        case("a body that is too short", long("3"), "400").shut(),
        case("a chunk that is too short", chunked("5\r\n{}"), "400").shut(),
        case(
            "a body that is too long",
            post(key, "Content-Length: 2", "{}GARBAGE\r\n\r\n"),
            "400 400",
        ),
        case(
            "a body that nobody wants",
            post("no-key", "Content-Length: 2", "{}"),
            "401",
        )
        .open(),
        case(
            "chunks that nobody wants",
            post("no-key", "Transfer-Encoding: chunked", fine),
            "401",
        )
        .open(),
        case(
            "much that nobody wants",
            post("no-key", "Content-Length: 900000", &"a".repeat(900_000)),
            "401",
        ),
        case(
            "little of what nobody wants",
            post("no-key", "Content-Length: 9000", "a"),
            "401",
        ),
        case(
            "a GET with a body",
            with("Content-Length: 3\r\n\r\nabc").strip_tail(),
            "200",
        )
        .open(),
        case(
            "asked for leave",
            post(key, "Content-Length: 2\r\nExpect: 100-continue", "{}"),
            "100 400",
        )
        .open(),
        case(
            "leave that is not given",
            post("no-key", "Content-Length: 2\r\nExpect: 100-continue", ""),
            "401",
        ),
        case(
            "another expectation",
            post(key, "Content-Length: 2\r\nExpect: 200-ok", "{}"),
            "400",
        )
        .open(),
    ]
}

trait Chunks {
    fn chain_repeat(self, count: usize) -> String;
}

impl Chunks for String {
    /// Chunks of 1,024 bytes, without the last one.
    fn chain_repeat(self, count: usize) -> String {
        format!("{self}{}\r\n", "a".repeat(1_024)).repeat(count)
    }
}

trait Tail {
    fn strip_tail(self) -> Self;
}

impl Tail for Vec<u8> {
    /// Without the empty line behind a body.
    fn strip_tail(mut self) -> Self {
        self.truncate(self.len() - 4);
        self
    }
}

fn others() -> Vec<Case> {
    let head = HEALTH.replace("GET", "HEAD");
    let hello = [
        b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03".as_slice(),
        &[7; 189],
    ]
    .concat();
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    vec![
        case("good, then bad", then(HEALTH, "GARBAGE\r\n\r\n"), "200 400"),
        case(
            "much good, then bad",
            then(HEALTH.repeat(50), with("X A: b")),
            FIFTY,
        ),
        case("HEAD", head.clone(), "head200").open(),
        case("HEAD, then GET", then(&head, HEALTH), "head200 200").open(),
        case(
            "HEAD, then bad",
            then(&head, "GARBAGE\r\n\r\n"),
            "head200 400",
        ),
        case(
            "HEAD of nothing",
            head.replace("health", "nothing"),
            "head404",
        )
        .open(),
        case("a TLS hello", hello, "400"),
        case("a remote shell", "SSH-2.0-OpenSSH_9.9\r\n", "400"),
        case("a mail", "EHLO mail.example\r\n", "400").shut(),
        case("NULs", vec![0; 1_000], "400"),
        case("bytes", (0..=255).collect::<Vec<u8>>(), "400"),
        case(
            "half a preface, then others",
            "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
            "400",
        ),
        case("nothing", "", "").shut(),
        case("empty lines", "\r\n\r\n", "").shut(),
        case("half a head", "GET /api/v1/health HTTP/1.1\r\nHo", "").shut(),
        case("half a first line", "GE", "").shut(),
        case("half a preface", &preface[..10], "").shut(),
    ]
}

const FIFTY: &str = "200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 400";

#[tokio::test]
async fn whatever_is_sent_is_answered_in_our_shape_or_not_at_all() {
    let served = Served::new().await;
    let cases: Vec<Case> = [targets(), heads(), bodies(&served.key), others()]
        .into_iter()
        .flatten()
        .collect();
    assert!(cases.len() >= 120, "{}", cases.len());
    // Each in a task of its own, so that one run tells all that is wrong.
    let (served, tasks) = (Arc::new(served), TaskTracker::new());
    let mut wrong = Vec::new();
    for case in cases {
        let name = case.name;
        let run = tasks.spawn(case.run(Arc::clone(&served)));
        if run.await.is_err() {
            wrong.push(name);
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[tokio::test]
async fn the_machinery_says_what_was_wrong() {
    let served = Served::new().await;
    for (bytes, sentence) in [
        (line("GET /x JUNK"), "The HTTP request is malformed"),
        (
            line(format!("GET /{} HTTP/1.1", "a".repeat(70_000))),
            "The request's URI is too long",
        ),
        (
            with(vec!["A: b"; 200].join("\r\n")),
            "The request's header fields are too many or too large",
        ),
        (
            with(format!("A: {}", "a".repeat(200_000))),
            "The request's header fields are too many or too large",
        ),
        (
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            "The request has no Host header",
        ),
        (with("Host: y"), "The request has more than one Host header"),
    ] {
        let mut socket = served.connect().await;
        socket.send_and_read_all(&bytes, false).await;
        let answer = socket.answer(sentence, false).await;
        assert_eq!(answer.error("INVALID_INPUT")["error"], sentence);
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert!(answer.header("date").is_some(), "{answer:?}");
        assert!(answer.header("x-request-id").unwrap().starts_with("req_"));
        socket.end(sentence).await;
    }
}

/// A file may end with what looks like an answer of the machinery's.
#[tokio::test]
async fn a_file_is_never_taken_for_an_error() {
    let own = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\ndate: Sun, 22 Nov 2026 22:00:00 GMT\r\n\r\n";
    let api = Api::new().await;
    let file = [&files::png(8, 6)[..], own, own].concat();
    api.provider.next(Reply::Files(vec![file.clone().into()]));
    let url = api.picture().await;
    let path = url
        .strip_prefix(vydra_testkit::PUBLIC_URL)
        .unwrap()
        .to_owned();
    let served = Served::of(api, |_| {}).await;
    let get = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = get.replace("GET", "HEAD");
    let part = get.replace(
        "Host: x",
        &format!("Host: x\r\nRange: bytes=-{}", own.len()),
    );
    let mut socket = served.connect().await;
    let all = [&get, &head, &part, &get, "GARBAGE\r\n\r\n"].concat();
    socket.send_and_read_all(all.as_bytes(), false).await;
    assert_eq!(socket.answer("whole", false).await.bytes, file);
    assert_eq!(socket.answer("head", true).await.status, 200);
    let answer = socket.answer("part", false).await;
    assert_eq!((answer.status.as_u16(), &answer.bytes[..]), (206, &own[..]));
    assert_eq!(socket.answer("again", false).await.bytes, file);
    socket.answer("bad", false).await.error("INVALID_INPUT");
    socket.end("bad").await;
}

#[tokio::test]
async fn who_is_silent_or_slow_is_let_go() {
    let served = Served::with(|options| options.header_timeout = Duration::from_millis(50)).await;
    for begun in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r",
        "GET /api/v1/health HT",
        "GET /api/v1/health HTTP/1.1\r\nHost: x\r\n",
    ] {
        let mut socket = served.connect().await;
        socket.send(begun).await;
        socket.end(begun).await;
    }
    // A connection that has answered once, and is then left alone.
    let mut socket = served.connect().await;
    socket.send(HEALTH).await;
    assert_eq!(socket.answer("idle", false).await.status, 200);
    socket.end("idle").await;
    served.is_well("silence").await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let served = Served::with(|options| options.body_timeout = Duration::from_millis(50)).await;
    for (fields, body) in [
        ("Content-Length: 20", "{\"prompt\""),
        ("Content-Length: 20", ""),
        ("Transfer-Encoding: chunked", "9\r\n{\"prompt\""),
    ] {
        for path in ["models/gemini/generate", "jobs"] {
            let mut socket = served.connect().await;
            let request = String::from_utf8(post(&served.key, fields, body)).unwrap();
            socket
                .send(request.replace("models/gemini/generate", path))
                .await;
            let answer = socket.answer(path, false).await;
            let error = answer.error("INVALID_INPUT");
            assert_eq!(
                error["error"],
                "The request body did not arrive within 50 milliseconds"
            );
            assert_eq!(answer.header("connection"), Some("close"));
            socket.end(path).await;
        }
    }
    assert_eq!(served.credits().await, crate::fixture::CREDITS);
}

#[tokio::test]
async fn further_connections_wait_for_a_place() {
    let served = Served::with(|options| options.max_connections = 2).await;
    let (mut one, mut two, mut three) = (
        served.connect().await,
        served.connect().await,
        served.connect().await,
    );
    for socket in [&mut one, &mut two] {
        socket.send(HEALTH).await;
        assert_eq!(socket.answer("at once", false).await.status, 200);
    }
    three.send(HEALTH).await;
    for _ in 0..20 {
        two.send(HEALTH).await;
        assert_eq!(two.answer("still here", false).await.status, 200);
    }
    assert!(three.is_silent(), "the places are taken");
    one.shut().await;
    one.end("gone").await;
    assert_eq!(three.answer("late", false).await.status, 200);
}

/// A socket that is closed while bytes still come is reset, and takes the answer with it.
#[tokio::test]
async fn who_sends_all_before_reading_sees_the_answer_too() {
    let served = Served::with(|options| options.linger = Duration::from_secs(10)).await;
    let much = "a".repeat(8 * 1_024 * 1_024);
    for (name, bytes, status) in [
        ("a value", with(format!("A: {much}")), 400),
        ("a path", line(format!("GET /{much} HTTP/1.1")), 400),
        (
            "two hosts",
            [with("Host: y"), much.clone().into()].concat(),
            400,
        ),
        (
            "a body over the limit",
            post(
                &served.key,
                &format!("Content-Length: {}", much.len()),
                &much,
            ),
            400,
        ),
        (
            "a body that nobody wants",
            post("no-key", &format!("Content-Length: {}", much.len()), &much),
            401,
        ),
    ] {
        let mut socket = served.connect().await;
        assert!(socket.send(&bytes).await, "{name}: reset");
        assert_eq!(socket.answer(name, false).await.status, status, "{name}");
        socket.end(name).await;
    }
}

#[tokio::test]
async fn a_stop_ends_what_has_begun_and_nothing_else() {
    let api = Api::new().await;
    let gate = api.provider.hold_next();
    let served = Served::of(api, |_| {}).await;
    let body = json!({"prompt": "p"}).to_string();
    let length = format!("Content-Length: {}", body.len());
    let (mut busy, mut idle, mut fresh) = (
        served.connect().await,
        served.connect().await,
        served.connect().await,
    );
    idle.send(HEALTH).await;
    idle.answer("idle", false).await;
    busy.send(post(&served.key, &length, &body)).await;
    gate.reached().await;
    served.stop.cancel();
    idle.end("an idle connection is closed at once").await;
    fresh.end("one that said nothing too").await;
    gate.open();
    assert_eq!(busy.answer("busy", false).await.status, 200);
    busy.end("busy").await;
    served.ended().await;
    assert!(
        tokio::net::TcpStream::connect(served.address)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn http_2_speaks_our_shape_too() {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let served = Served::new().await;
    let stream = tokio::net::TcpStream::connect(served.address)
        .await
        .unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let tasks = TaskTracker::new();
    tasks.spawn(connection);
    for (path, status) in [
        ("/api/v1/health", 200),
        ("/nothing", 404),
        ("/api/v1/jobs", 401),
    ] {
        let request = axum::http::Request::get(format!("http://x{path}"))
            .body(axum::body::Body::empty())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        crate::fixture::Answer::of(response.map(axum::body::Body::new), path).await;
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let size = u8::try_from(payload.len()).unwrap();
    [&[0, 0, size, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// HTTP/2 by hand.
struct Frames(Socket);

impl Frames {
    /// A caller who takes this much of every answer before it asks for more.
    async fn new(served: &Served, window: [u8; 4]) -> Self {
        let mut socket = served.connect_narrow().await;
        socket.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let window = [&[0, 4][..], &window].concat();
        socket.send(frame(SETTINGS, 0, 0, &window)).await;
        Self(socket)
    }

    async fn ask(&mut self, path: &str, key: &str) {
        let authorization = format!("Bearer {key}");
        let mut head = vec![0x82, 0x86, 1, 1, b'x'];
        for (name, value) in [(&[4][..], path), (&[0x0f, 8], &authorization)] {
            head.extend(name);
            head.push(u8::try_from(value.len()).unwrap());
            head.extend(value.as_bytes());
        }
        self.0.send(frame(HEADERS, 5, 1, &head)).await;
    }

    /// The next frame, by its kind and its size, or an end. Every ping is answered, and another sent.
    async fn next(&mut self) -> Option<(u8, usize)> {
        let head = self.0.take("a frame", 9).await;
        let [high, middle, low, kind, flags, ..] = head[..] else {
            return None;
        };
        let size = u32::from_be_bytes([0, high, middle, low]) as usize;
        let payload = self.0.take("a frame's payload", size).await;
        match (kind, flags & 1) {
            (SETTINGS, 0) => {
                let all = [frame(SETTINGS, 1, 0, &[]), frame(PING, 0, 0, &[7; 8])];
                self.0.send(all.concat()).await;
            }
            (PING, 0) => {
                self.0.send(frame(PING, 1, 0, &payload)).await;
            }
            (PING, _) => {
                self.0.send(frame(PING, 0, 0, &payload)).await;
            }
            _ => {}
        }
        Some((kind, size))
    }

    /// The kinds of all frames up to the end.
    async fn rest(&mut self) -> Vec<u8> {
        let mut kinds = Vec::new();
        let all = async {
            while let Some((kind, _)) = self.next().await {
                kinds.push(kind);
            }
        };
        timeout(FAULT, all).await.expect("the connection ends");
        kinds
    }
}

#[tokio::test]
async fn who_asks_and_never_reads_gives_its_place_up() {
    let served = Served::with(|options| {
        options.max_connections = 1;
        options.write_timeout = Duration::from_millis(100);
    })
    .await;
    let mut deaf = served.connect_narrow().await;
    let much = HEALTH.replace("/api/v1/health", "/openapi.json");
    deaf.send(much.repeat(200)).await;
    served.is_well("a place is free again").await;
    let got = deaf.take("what was on its way", usize::MAX).await;
    assert!(got.starts_with(b"HTTP/1.1 200"));
    assert!(got.len() < 100_000_000, "all was said: {}", got.len());
}

#[tokio::test]
async fn who_only_plays_at_ping_gives_its_place_up() {
    let served = Served::with(|options| {
        options.max_connections = 1;
        options.header_timeout = Duration::from_millis(100);
    })
    .await;
    let mut idle = Frames::new(&served, [0, 0, 0xff, 0xff]).await;
    let kinds = idle.rest().await;
    assert!(kinds.contains(&PING) && kinds.contains(&GOAWAY));
    served.is_well("a place is free again").await;
}

/// The socket takes everything; it is the answer for which the caller leaves no room.
#[tokio::test]
async fn who_leaves_no_room_for_an_answer_gives_its_place_up() {
    for path in ["/api/v1/health", "/openapi.json"] {
        let served = Served::with(|options| {
            options.max_connections = 1;
            options.header_timeout = Duration::from_millis(100);
            options.write_timeout = Duration::from_millis(100);
        })
        .await;
        let mut narrow = Frames::new(&served, [0; 4]).await;
        narrow.ask(path, "").await;
        let kinds = narrow.rest().await;
        assert!(kinds.contains(&HEADERS) && kinds.contains(&GOAWAY));
        assert!(!kinds.contains(&DATA));
        served.is_well(path).await;
        served.stop.cancel();
        served.ended().await;
    }
}

const SLOW: Duration = Duration::from_millis(500);

#[tokio::test]
async fn who_reads_slowly_gets_all() {
    // So long that a busy machine, which runs all other tests beside this one, does not use it up between two reads.
    const PATIENCE: Duration = Duration::from_secs(4);
    let api = Api::new().await;
    let file = [&files::png(8, 6)[..], &vec![7; 16 * 1_024 * 1_024]].concat();
    api.provider.next(Reply::Files(vec![file.clone().into()]));
    let url = api.picture().await;
    let path = url.strip_prefix(vydra_testkit::PUBLIC_URL).unwrap();
    let get = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let served = Served::of(api, |options| {
        options.header_timeout = SLOW;
        options.write_timeout = PATIENCE;
    })
    .await;
    let begin = Instant::now();
    let mut socket = served.connect_narrow().await;
    socket.send(get).await;
    socket.take_until("the head", "\r\n\r\n").await;
    let mut got = Vec::new();
    while begin.elapsed() < PATIENCE * 3 / 2 {
        got.extend(socket.take("a part", 512).await);
        served.is_well("others are answered").await;
    }
    assert!(got.len() < file.len() - 4 * 1_024 * 1_024, "that was slow");
    got.extend(socket.take("the rest", usize::MAX).await);
    assert!(got == file, "{} of {}", got.len(), file.len());
}

#[tokio::test]
async fn who_asks_for_a_little_at_a_time_gets_it() {
    let served = Served::with(|options| {
        options.header_timeout = SLOW;
        options.write_timeout = SLOW;
    })
    .await;
    let begin = Instant::now();
    let mut slow = Frames::new(&served, [0, 0, 0, 64]).await;
    slow.ask("/openapi.json", "").await;
    while begin.elapsed() < 4 * SLOW {
        let (kind, size) = slow.next().await.expect("not let go");
        if kind == DATA {
            served.is_well("others are answered").await;
            let room = u32::try_from(size).unwrap().to_be_bytes();
            slow.0.send(frame(WINDOW_UPDATE, 0, 1, &room)).await;
            slow.0.send(frame(WINDOW_UPDATE, 0, 0, &room)).await;
        }
    }
}

#[tokio::test]
async fn who_waits_for_us_is_not_let_go() {
    let api = Api::idle().await;
    let id = api.pending().await;
    let served = Served::of(api, |options| {
        options.header_timeout = SLOW;
        options.write_timeout = SLOW;
    })
    .await;
    let get = format!(
        "GET /api/v1/jobs/{id}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        served.key
    );
    let poll = get.replace("/events", "?wait=60");
    let mut events = served.connect().await;
    events.send(get).await;
    events.take_until("the first event", "pending").await;
    events.take_until("the end of the event", "\n\n").await;
    let mut polling = served.connect().await;
    polling.send(poll).await;
    let mut frames = Frames::new(&served, [0, 0, 0xff, 0xff]).await;
    let path = format!("/api/v1/jobs/{id}/events");
    frames.ask(&path, &served.key).await;
    let begin = Instant::now();
    let mut kinds = Vec::new();
    while begin.elapsed() < 3 * SLOW {
        served.is_well("nothing happens").await;
        kinds.push(frames.next().await.expect("not let go").0);
    }
    assert!(kinds.contains(&DATA) && !kinds.contains(&GOAWAY));
    assert!(polling.is_silent(), "still waiting");
    served.step().await;
    events.take_until("the end", "event: end").await;
    assert_eq!(polling.answer("the poll", false).await.status, 200);
    while frames.next().await.expect("more events").0 != DATA {}
}
