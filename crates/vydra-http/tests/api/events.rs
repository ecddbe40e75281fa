use crate::fixture::Api;
use serde_json::{Value, json};
use vydra_core::job::Mode;
use vydra_testkit::WebhookSink;

#[tokio::test]
async fn the_feed_tells_what_the_webhooks_told() {
    let api = Api::idle().await;
    let sink = WebhookSink::open().await;
    api.endpoint(json!({"url": sink.url})).await;
    let nothing = api.get("events").send().await.ok(200);
    assert_eq!(
        (&nothing["data"], &nothing["cursor"]),
        (&json!([]), &Value::Null)
    );
    for _ in 0..3 {
        api.pending().await;
    }
    while api.step().await > 0 {}
    api.deliver().await;
    let feed = api.get("events").send().await.ok(200);
    let told: Vec<Value> = feed["data"].as_array().unwrap().clone();
    let sent = sink.take();
    assert_eq!((told.len(), sent.len()), (3, 3));
    for received in sent {
        let event = told
            .iter()
            .find(|event| event["id"] == received.id)
            .unwrap();
        let body = received.json();
        for name in ["type", "timestamp", "data"] {
            assert_eq!(event[name], body[name], "{name}");
        }
    }
    assert_eq!(feed["cursor"], told[2]["id"]);
    assert_eq!(feed["pagination"], json!({"limit": 20, "nextCursor": null}));
    let page = api.get("events?limit=2").send().await.ok(200);
    assert_eq!(page["data"], json!(told[..2]));
    let cursor = page["pagination"]["nextCursor"].as_str().unwrap();
    assert_eq!(page["cursor"], cursor);
    let rest = api
        .get(&format!("events?after={cursor}"))
        .send()
        .await
        .ok(200);
    assert_eq!(rest["data"], json!(told[2..]));
    let none = api.get("events?after=latest").send().await.ok(200);
    assert_eq!(
        (&none["data"], &none["cursor"]),
        (&json!([]), &told[2]["id"])
    );
    for wrong in [
        "after=yesterday",
        "after=evt_00000000000000000000000000",
        "limit=0",
        "wait=61",
    ] {
        let path = format!("events?{wrong}");
        api.get(&path).send().await.error("INVALID_INPUT");
    }
    let other = api.org("other", 0).await;
    let key = api.key(&other, &["*"], Mode::Live).await;
    let path = format!("events?after={cursor}");
    api.get(&path).key(&key).send().await.error("INVALID_INPUT");
}

#[tokio::test]
async fn the_feed_can_be_waited_for() {
    let api = Api::new().await;
    let waiting = api.get("events?after=latest&wait=60").send();
    let making = async {
        let id = api.pending().await;
        api.get(&format!("jobs/{id}?wait=20")).send().await.ok(200)
    };
    let (feed, job) = tokio::join!(waiting, making);
    let feed = feed.ok(200);
    assert_eq!(feed["data"][0]["data"]["id"], job["id"]);
    let nothing = api.get("events?after=latest&wait=1").send().await.ok(200);
    assert_eq!(nothing["data"], json!([]));
}
