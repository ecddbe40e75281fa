//! Webhooks as a receiver sees them: from the real server, over its stops and crashes, and from `vydra listen`.

use crate::server::{Data, Server, text};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use vydra_core::time::Timestamp;
use vydra_core::webhook::WebhookSecret;

use crate::programs::PATIENCE;

const JOB: &str = "generate_image";

struct Received {
    headers: HeaderMap,
    body: String,
}

impl Received {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn is_signed(&self, secret: &str) -> bool {
        let secret = WebhookSecret::parse(secret).unwrap();
        let seconds: i64 = self.header("webhook-timestamp").parse().unwrap();
        let at = Timestamp::from_micros(seconds * 1_000_000);
        let expected = secret.sign(self.header("webhook-id"), at, self.body.as_bytes());
        let mut signatures = self.header("webhook-signature").split(' ');
        signatures.any(|signature| signature == expected)
    }
}

/// Takes everything that is posted to it.
struct Receiver {
    url: String,
    received: UnboundedReceiver<Received>,
}

impl Receiver {
    async fn open() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, received) = unbounded_channel();
        let router = Router::new().route("/hook", post(take)).with_state(sender);
        TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
        Self { url, received }
    }

    async fn next(&mut self) -> Received {
        let next = timeout(PATIENCE, self.received.recv()).await;
        next.expect("no webhook comes").unwrap()
    }
}

async fn take(
    State(sender): State<UnboundedSender<Received>>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    sender.send(Received { headers, body }).unwrap();
    StatusCode::NO_CONTENT
}

fn data() -> Data {
    Data::new().with(
        "VYDRA__OUTBOUND__WEBHOOK_ALLOW_NETWORKS",
        r#"["127.0.0.1"]"#,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_comes_signed_and_its_secret_can_be_replaced() {
    let data = data();
    let mut receiver = Receiver::open().await;
    let server = data.serve().await;
    data.org("acme", 100).await;
    let api = server.api(&data.key("acme", &["--name", "k"]).await);
    let body = json!({"workflow": JOB, "input": {"prompt": "a boat"}, "webhookUrl": receiver.url});
    let job = text(&api.post("jobs", &body).await.expect(201)["id"]);
    let received = receiver.next().await;
    assert_eq!(received.json()["type"], "job.completed");
    assert_eq!(received.json()["data"]["id"], job);
    assert_eq!(received.header("content-type"), "application/json");
    let shown = data.prose(&["webhook", "secret", "--org", "acme"]).await;
    let sandbox = data
        .prose(&["webhook", "secret", "--org", "acme", "--test"])
        .await;
    assert_ne!(shown, sandbox);
    let old = shown.trim();
    assert!(received.is_signed(old));

    let words = ["webhook", "secret", "--org", "acme", "--rotate"];
    let rotated = data.json(&words).await;
    let new = text(&rotated["secret"]);
    assert!(rotated["previousSecretUntil"].is_string());
    api.post("jobs", &body).await.expect(201);
    let received = receiver.next().await;
    assert!(received.is_signed(old) && received.is_signed(&new));
    let words = [&words[..], &["--overlap", "0s"]].concat();
    let last = text(&data.json(&words).await["secret"]);
    api.post("jobs", &body).await.expect(201);
    let received = receiver.next().await;
    assert!(received.is_signed(&last) && !received.is_signed(&new));
    let refused = data
        .run(&[&words[..4], &["--overlap", "1h"]].concat())
        .await;
    assert_ne!(refused.code, Some(0), "nothing is rotated: {refused:?}");
    let log = server.stop().await;
    for secret in [old, &new, &last] {
        assert!(!log.contains(secret));
    }
}

/// What a job's end has to tell is on the disk with that end.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_outlives_a_crash() {
    let data = data();
    // Nobody listens there, until the server has died.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let place = listener.local_addr().unwrap();
    drop(listener);
    let server = data.serve().await;
    data.org("acme", 100).await;
    let api = server.api(&data.key("acme", &["--name", "k"]).await);
    let url = format!("http://{place}/hook");
    let body = json!({"workflow": JOB, "input": {"prompt": "a boat"}, "webhookUrl": url});
    let job = text(&api.post("jobs", &body).await.expect(201)["id"]);
    api.get(&format!("jobs/{job}?wait=60")).await.expect(200);
    server.kill().await;

    let (sender, mut received) = unbounded_channel();
    let router = Router::new().route("/hook", post(take)).with_state(sender);
    let listener = TcpListener::bind(place).await.unwrap();
    TaskTracker::new().spawn(async move { axum::serve(listener, router).await });
    let server = data.serve().await;
    let received = timeout(PATIENCE, received.recv()).await.unwrap().unwrap();
    assert_eq!(received.json()["data"]["id"], job);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_laptop_listens_to_a_server() {
    // The server itself may call nobody here.
    let data = Data::without_providers();
    let mut receiver = Receiver::open().await;
    let server = data.dev(&["--quiet-start"]).await;
    let mut listen = data.vydra(&["listen", "--server", &server.url]);
    listen.args(["--forward-to", &receiver.url]);
    let mut listening = Server::begin(listen);
    let line = listening.line_with("They are signed with ").await;
    let secret = line.rsplit(' ').next().unwrap().to_owned();
    let shown = data.prose(&["webhook", "secret", "--org", "dev"]).await;
    assert_eq!(shown.trim(), secret);

    let key = data.key("dev", &["--name", "k"]).await;
    let api = server.api(&key);
    let body = json!({"workflow": JOB, "input": {"prompt": "a boat"}});
    let job = text(&api.post("jobs", &body).await.expect(201)["id"]);
    let received = receiver.next().await;
    assert!(received.is_signed(&secret));
    let told = received.json();
    assert_eq!(told["type"], "job.completed");
    let shown = api.get(&format!("jobs/{job}")).await.expect(200);
    assert_eq!(told["data"], shown);
    let line = listening.line_with(&job).await;
    assert!(
        line.contains("job.completed") && line.contains(" -> 204 in "),
        "{line}"
    );
    let id = received.header("webhook-id").to_owned();
    assert!(line.contains(&id), "{line}");
    listening.terminate().await;
    assert_eq!(listening.ended().await.code(), Some(0));

    // What was missed is read from the event before; nothing else is shown than what was asked for.
    let cancelled = {
        let slow = json!({"workflow": "generate_video", "input": {"prompt": "waves"}});
        let id = text(&api.post("jobs", &slow).await.expect(201)["id"]);
        api.delete(&format!("jobs/{id}")).await.expect(200);
        id
    };
    let mut listen = data.vydra(&["listen", "--server", &server.url, "--json"]);
    listen.args(["--after", &id, "--events", "job.cancelled,job.failed"]);
    let mut listening = Server::begin(listen);
    let line = listening.line_with(&cancelled).await;
    let told: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(told["type"], "job.cancelled");
    assert_eq!(told["responseStatus"], Value::Null);
    assert_eq!(listening.printed().len(), 1, "{:?}", listening.printed());
    listening.terminate().await;
    assert_eq!(listening.ended().await.code(), Some(0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_says_what_is_wrong() {
    let data = Data::without_providers();
    let nothing = "http://127.0.0.1:1";
    let told = data.run(&["listen", "--server", nothing]).await;
    assert_eq!(told.code, Some(1));
    assert!(told.stderr.contains("there is no key"), "{told:?}");
    let server = data.dev(&["--quiet-start"]).await;
    let told = data.run(&["listen", "--server", nothing]).await;
    assert_eq!(told.code, Some(1));
    assert!(told.stderr.contains("cannot be reached"), "{told:?}");
    let words = ["listen", "--server", &server.url];
    let told = data
        .run(&[&words[..], &["--forward-to", "nonsense"]].concat())
        .await;
    assert_eq!(told.code, Some(1));
    assert!(told.stderr.contains("\"nonsense\""), "{told:?}");
    let told = data
        .run(&[&words[..], &["--after", "evt_1"]].concat())
        .await;
    assert_eq!(told.code, Some(1));
    assert!(told.stderr.contains("latest"), "{told:?}");
    let elsewhere = ["listen", "--server", "https://public.example"];
    let told = data.run(&elsewhere).await;
    assert_eq!(told.code, Some(1));
    assert!(
        told.stderr.contains("set VYDRA_API_KEY"),
        "no key of ours goes there: {told:?}"
    );
    let mut listen = data.vydra(&words);
    listen.env("VYDRA_API_KEY", "sk-123");
    let told = crate::programs::run(listen).await;
    assert_eq!(told.code, Some(1));
    assert!(told.stderr.contains("INVALID_FORMAT"), "{told:?}");
    server.stop().await;
}
