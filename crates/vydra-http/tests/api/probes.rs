//! What orchestrators and load balancers ask, and how a server that is about to stop lets its callers go.

use crate::fixture::Api;
use crate::socket::{FAULT, HEALTH, Served};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vydra_http::{ApiState, ServeOptions, serve};

#[tokio::test]
async fn a_process_that_is_ill_lives_and_is_not_ready() {
    let api = Api::idle().await;
    for path in ["/livez", "/readyz"] {
        let body = api.get(path).without("authorization").send().await.ok(200);
        assert_eq!(body["status"], "ok");
        let answer = api.post(path, &json!({})).send().await;
        answer.error("METHOD_NOT_ALLOWED");
        assert_eq!(answer.header("allow"), Some("GET,HEAD"));
    }
    api.break_media();
    // The disk is looked at once a second.
    api.clock.advance(Duration::from_secs(1));
    let answer = api.get("/readyz").without("authorization").send().await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.error("UNAVAILABLE")["details"]["check"], "media");
    api.get("/livez").send().await.ok(200);
    api.mend_media();
    api.clock.advance(Duration::from_secs(1));
    api.get("/readyz").send().await.ok(200);
}

/// They come every second from one address, without a key.
#[tokio::test]
async fn probes_are_not_counted() {
    let api = Api::idle().await;
    for _ in 0..200 {
        for path in ["/livez", "/readyz"] {
            let probe = api.get(path).without("authorization");
            probe.from("203.0.113.9").send().await.ok(200);
        }
    }
}

#[tokio::test]
async fn who_is_about_to_stop_is_not_ready_and_answers_still() {
    let api = Api::idle().await;
    api.engine.leave();
    let answer = api.get("/readyz").without("authorization").send().await;
    assert_eq!(answer.status, 503);
    let body = answer.error("UNAVAILABLE");
    assert_eq!(body["details"]["check"], "stopping");
    assert!(answer.number("retry-after") >= 1);
    api.get("/livez").send().await.ok(200);
    api.get("health").send().await.ok(200);
    api.get("organization").send().await.ok(200);
}

/// In HTTP/1 only an answer can tell a caller to ask elsewhere next time.
#[tokio::test]
async fn callers_of_a_server_that_leaves_are_let_go_one_by_one() {
    let served = Served::new().await;
    let (mut busy, mut idle) = (served.connect().await, served.connect().await);
    for socket in [&mut busy, &mut idle] {
        socket.send(HEALTH).await;
        let answer = socket.answer("before", false).await;
        assert_eq!(answer.header("connection"), None);
    }
    served.engine.leave();
    let mut new = served.connect().await;
    for socket in [&mut busy, &mut new] {
        socket.send(HEALTH).await;
        let answer = socket.answer("leaving", false).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("connection")),
            (200, Some("close"))
        );
        socket.end("the answer was the last one").await;
    }
    assert!(idle.is_silent(), "who asks nothing is not cut off yet");
    idle.send(HEALTH).await;
    assert_eq!(idle.answer("late", false).await.status, 200);
}

/// What a caller sends while the server stops is on its way already.
#[tokio::test]
async fn the_first_request_of_a_connection_is_answered_though_the_server_has_stopped() {
    let served = Served::with(|options| options.linger = FAULT).await;
    let mut fresh = served.connect().await;
    let mut known = served.connect().await;
    known.send(HEALTH).await;
    known.answer("known", false).await;
    served.stop.cancel();
    known.end("it is idle").await;
    fresh.send(HEALTH).await;
    let answer = fresh.answer("fresh", false).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("connection")),
        (200, Some("close"))
    );
    fresh.end("fresh").await;
    served.ended().await;
}

/// In HTTP/2 the end of a connection is a word of its own: whoever hears it opens another, and nothing is lost.
#[tokio::test]
async fn a_connection_of_http_2_ends_with_what_has_begun_on_it() {
    use axum::body::Body;
    use axum::http::Request;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let api = Api::new().await;
    let gate = api.provider.hold_next();
    let served = Served::of(api, |_| {}).await;
    let stream = TcpStream::connect(served.address).await.unwrap();
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let tasks = TaskTracker::new();
    let ended = tasks.spawn(connection);
    let health = || {
        Request::get("http://x/api/v1/health")
            .body(Body::empty())
            .unwrap()
    };
    assert_eq!(sender.send_request(health()).await.unwrap().status(), 200);
    let call = Request::post("http://x/api/v1/models/gemini/generate")
        .header("authorization", format!("Bearer {}", served.key))
        .header("content-type", "application/json")
        .body(Body::from(json!({"prompt": "p"}).to_string()));
    let busy = tasks.spawn(sender.send_request(call.unwrap()));
    gate.reached().await;
    served.engine.leave();
    assert_eq!(sender.send_request(health()).await.unwrap().status(), 200);
    served.stop.cancel();
    timeout(FAULT, async {
        while sender.send_request(health()).await.is_ok() {}
    })
    .await
    .expect("it is told that the connection ends");
    gate.open();
    assert_eq!(busy.await.unwrap().unwrap().status(), 200);
    timeout(FAULT, ended)
        .await
        .expect("it ends")
        .unwrap()
        .unwrap();
    served.ended().await;
}

/// The system completes connections by itself: those that nobody has taken would be reset with the listener.
#[tokio::test]
async fn who_has_come_in_before_the_stop_is_answered() {
    let api = Api::idle().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut callers = Vec::new();
    for _ in 0..20 {
        let mut caller = TcpStream::connect(address).await.unwrap();
        caller.write_all(HEALTH.as_bytes()).await.unwrap();
        callers.push(caller);
    }
    let state = ApiState {
        engine: Arc::clone(&api.engine),
        random: Arc::clone(&api.random) as _,
    };
    let stop = CancellationToken::new();
    stop.cancel();
    let serving = serve(listener, state, ServeOptions::default(), stop);
    timeout(FAULT, serving).await.expect("it ends").unwrap();
    for mut caller in callers {
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[tokio::test]
async fn a_worker_answers_nothing_but_how_it_is() {
    let served = Served::with(|options| options.only_health = true).await;
    let mut socket = served.connect().await;
    for path in ["/livez", "/readyz", "/api/v1/health"] {
        socket
            .send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        assert_eq!(socket.answer(path, false).await.status, 200);
    }
    for first in [
        "GET /api/v1/jobs",
        "GET /docs",
        "GET /openapi.json",
        "POST /livez",
    ] {
        socket
            .send(format!(
                "{first} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
            ))
            .await;
        let refused = socket.answer(first, false).await.error("NOT_FOUND");
        let sentence = refused["error"].as_str().unwrap();
        assert!(sentence.contains("is a worker"), "{first}: {sentence}");
    }
}
