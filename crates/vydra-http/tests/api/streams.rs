//! A job followed as server-sent events (contract, section 7).

use crate::fixture::{Api, CREDITS, check_unfinished};
use axum::body::Body;
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use vydra_core::ids::JobId;
use vydra_core::job::Mode;
use vydra_http::ServeOptions;
use vydra_testkit::{Gate, Reply};

/// An event as a browser sees it.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    name: String,
    id: u16,
    data: Value,
}

struct Events {
    body: Body,
    text: String,
}

impl Events {
    async fn of(api: &Api, id: &str, seen: Option<&str>) -> Self {
        Self::read(open(api, id, seen).await)
    }

    fn read(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        Self {
            body: response.into_body(),
            text: String::new(),
        }
    }

    /// The next block that is not only a comment or a retry; None at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(event) = event(&block) {
                    check_unfinished(&event.data, "an event");
                    return Some(event);
                }
            }
            let frame = self.body.frame().await?.unwrap();
            let bytes = frame.into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    async fn rest(mut self) -> Vec<Event> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}

fn event(block: &str) -> Option<Event> {
    let field = |name: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    };
    Some(Event {
        name: field("event")?.to_owned(),
        id: field("id")?.parse().unwrap(),
        data: serde_json::from_str(field("data")?).unwrap(),
    })
}

async fn open(api: &Api, id: &str, seen: Option<&str>) -> Response {
    let mut call = api.get(&format!("jobs/{id}/events"));
    if let Some(seen) = seen {
        call = call.header("last-event-id", seen);
    }
    call.open(Body::empty()).await
}

async fn job(api: &Api, id: &str) -> Value {
    api.get(&format!("jobs/{id}")).send().await.ok(200)
}

#[tokio::test]
async fn a_job_is_followed_to_its_end() {
    let api = Api::idle().await;
    let gate = Gate::at_progress(40);
    api.provider
        .next(Reply::Held(gate.clone(), Box::new(Reply::Made)));
    let id = api.pending().await;
    let mut events = Events::of(&api, &id, None).await;
    let first = events.next().await.unwrap();
    assert_eq!((first.name.as_str(), first.id), ("status", 0));
    assert_eq!(
        first.data,
        json!({"id": id, "jobId": id, "status": "pending", "progress": 0, "statusMessage": null})
    );
    let follow = async {
        let running = events.next().await.unwrap();
        assert_eq!((running.name.as_str(), running.id), ("status", 1));
        assert_eq!(running.data["status"], "running");
        let progress = events.next().await.unwrap();
        assert_eq!((progress.name.as_str(), progress.id), ("progress", 41));
        assert_eq!(progress.data["progress"], 40);
        gate.open();
        events.next().await.unwrap()
    };
    let (_, last) = tokio::join!(api.step(), follow);
    assert_eq!((last.name.as_str(), last.id), ("end", 200));
    assert_eq!(last.data, job(&api, &id).await);
    assert_eq!(last.data["status"], "completed");
    assert!(last.data["imageUrl"].is_string());
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn the_answer_is_a_stream_that_nobody_keeps() {
    let api = Api::idle().await;
    let id = api.pending().await;
    let mut response = open(&api, &id, None).await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    assert!(response.headers().contains_key("x-ratelimit-limit"));
    assert!(response.headers().contains_key("x-request-id"));
    let first = response.body_mut().frame().await.unwrap().unwrap();
    let first = first.into_data().unwrap();
    assert!(
        first.starts_with(b"retry: 2000\n") || first.starts_with(b"retry:2000\n"),
        "{first:?}"
    );
}

#[tokio::test]
async fn a_cancel_ends_every_stream_of_the_job() {
    let api = Api::idle().await;
    let id = api.pending().await;
    let (mut one, mut two) = (
        Events::of(&api, &id, None).await,
        Events::of(&api, &id, Some("0")).await,
    );
    assert_eq!(one.next().await.unwrap().id, 0);
    api.delete(&format!("jobs/{id}")).send().await.ok(200);
    for events in [&mut one, &mut two] {
        let end = events.next().await.unwrap();
        assert_eq!((end.name.as_str(), end.id), ("end", 200));
        assert_eq!(end.data["status"], "cancelled");
        assert_eq!(end.data["refund"]["applied"], true);
        assert_eq!(events.next().await, None);
    }
    assert_eq!(api.credits().await, CREDITS);
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was() {
    let api = Api::idle().await;
    let id = api.pending().await;
    api.step().await;
    let whole = job(&api, &id).await;
    let end = Event {
        name: "end".to_owned(),
        id: 200,
        data: whole,
    };
    // What is not understood is ignored: the job as it stands is told.
    for seen in [
        None,
        Some("0"),
        Some("50"),
        Some("100"),
        Some("garbage"),
        Some("-1"),
        Some("150"),
        Some("99999"),
        Some(""),
    ] {
        let events = Events::of(&api, &id, seen).await.rest().await;
        assert_eq!(events, std::slice::from_ref(&end), "{seen:?}");
    }
    let mut seen = open(&api, &id, Some("200")).await;
    assert_eq!(seen.status(), 204);
    assert!(seen.body_mut().frame().await.is_none());
}

/// A client cannot have seen the end of what has not ended.
#[tokio::test]
async fn an_id_from_the_future_is_ignored() {
    let api = Api::idle().await;
    let id = api.pending().await;
    let mut events = Events::of(&api, &id, Some("200")).await;
    assert_eq!(events.next().await.unwrap().id, 0);
}

#[tokio::test]
async fn what_another_process_did_is_seen_too() {
    let api = Api::idle().await;
    let id = api.pending().await;
    let mut events = Events::of(&api, &id, Some("0")).await;
    let entry = vydra_core::ids::EntryId::new(
        vydra_core::time::Timestamp::from_micros(1),
        api.random.as_ref(),
    );
    let job = JobId::parse(&id).unwrap();
    let now = vydra_core::time::Clock::now(api.clock.as_ref());
    let cancelled = api.store.cancel_job(&api.org.id, &job, entry, now);
    cancelled.await.unwrap();
    assert_eq!(events.next().await.unwrap().id, 200);
}

#[tokio::test]
async fn only_those_who_may_see_the_job_may_follow_it() {
    let api = Api::idle().await;
    let id = api.pending().await;
    let stranger = api.org("stranger", 0).await;
    let foreign = api.key(&stranger, &["*"], Mode::Live).await;
    let other = api.key(&api.org, &["models:write"], Mode::Live).await;
    let test = api.key(&api.org, &["*"], Mode::Test).await;
    for key in [&foreign, &other, &test] {
        let path = format!("jobs/{id}/events");
        api.get(&path).key(key).send().await.error("JOB_NOT_FOUND");
    }
    for unknown in ["job_00000000000000000000000000", "nonsense", "job_"] {
        let path = format!("jobs/{unknown}/events");
        api.get(&path).send().await.error("JOB_NOT_FOUND");
    }
    let reader = api.key(&api.org, &["models:read"], Mode::Live).await;
    let path = format!("jobs/{id}/events");
    let refused = api.get(&path).key(&reader).send().await;
    refused.error("INSUFFICIENT_SCOPE");
}

#[tokio::test]
async fn an_organization_has_a_hundred_streams() {
    let api = Api::idle().await;
    let id = api.pending().await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(Events::of(&api, &id, None).await);
    }
    let refused = api.get(&format!("jobs/{id}/events")).send().await;
    let body = refused.error("RATE_LIMIT_EXCEEDED");
    assert_eq!(
        body["limits"],
        json!({"type": "concurrent", "limit": 100, "used": 101})
    );
    assert!(refused.number("retry-after") >= 1);
    streams.pop();
    let mut again = Events::of(&api, &id, None).await;
    assert_eq!(again.next().await.unwrap().id, 0);
}

#[tokio::test]
async fn a_stop_is_not_held_up_by_a_stream() {
    let api = Api::idle().await;
    let id = api.pending().await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = vydra_http::serve(listener, api.state(), ServeOptions::default(), stop.clone());
    let client = async {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET /api/v1/jobs/{id}/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
            api.key
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        while !seen.windows(7).any(|bytes| bytes == b"pending") {
            seen.push(connection.read_u8().await.unwrap());
        }
        stop.cancel();
        connection.read_to_end(&mut seen).await.unwrap();
        String::from_utf8(seen).unwrap()
    };
    let (served, seen) = tokio::join!(serving, client);
    served.unwrap();
    assert!(!seen.contains("event: end"), "{seen}");
}
