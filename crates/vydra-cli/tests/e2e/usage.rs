//! What was used of a limit is still used after a stop, and after a kill; and nobody is everybody.

use crate::api::Api;
use crate::programs::until;
use crate::server::Data;
use serde_json::{Value, json};

/// What the windows say, this request included.
async fn used(api: &Api) -> [i64; 3] {
    let body = api.get("account/rate-limits").await.expect(200);
    ["minute", "hour", "day"].map(|window| body["usage"][window]["used"].as_i64().unwrap())
}

async fn the_key(data: &Data) -> Value {
    data.json(&["key", "list", "--org", "acme"]).await["data"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_and_a_start_change_nothing() {
    let data = Data::new();
    let org = data.org("acme", 0).await;
    let key = data.key(&org, &[]).await;
    assert_eq!(the_key(&data).await["lastUsedAt"], json!(null));
    let server = data.serve().await;
    let api = server.api(&key);
    for _ in 0..25 {
        api.get("organization").await.expect(200);
    }
    server.stop().await;
    // Written at the stop at the latest.
    let listed = the_key(&data).await;
    assert_eq!(listed["requestCount"], 25);
    assert!(listed["lastUsedAt"].is_string(), "{listed}");
    let server = data.serve().await;
    let [_, hour, day] = used(&server.api(&key)).await;
    assert_eq!((hour, day), (26, 26));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_that_was_written() {
    let data = Data::new();
    let org = data.org("acme", 0).await;
    let key = data.key(&org, &[]).await;
    let mut server = data.serve().await;
    for _ in 0..5 {
        let api = server.api(&key);
        for _ in 0..4 {
            api.get("organization").await.expect(200);
        }
        let [_, _, before] = used(&api).await;
        // It is written as soon as it is admitted: nobody has to ask for it. One key alone counts what the day does.
        until("what was admitted is written", || async {
            (the_key(&data).await["requestCount"] == before).then_some(())
        })
        .await;
        api.get("organization").await.expect(200);
        server.kill().await;
        server = data.serve().await;
        let [_, _, after] = used(&server.api(&key)).await;
        // Whether the last one was written before the kill, nobody can know.
        assert!(
            (before + 1..=before + 2).contains(&after),
            "{after} after {before}"
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_limited_by_their_address() {
    let data = Data::new().with("VYDRA__LIMITS__UNAUTHENTICATED_PER_MINUTE", "5");
    let org = data.org("acme", 0).await;
    let key = data.key(&org, &[]).await;
    let server = data.serve().await;
    let (caller, stranger) = (server.api(&key), server.api("nonsense"));
    for _ in 0..5 {
        stranger.get("jobs").await.refused(401, "INVALID_FORMAT");
    }
    let refused = stranger
        .get("jobs")
        .await
        .refused(429, "RATE_LIMIT_EXCEEDED");
    let limits = json!({"type": "minute", "limit": 5, "used": 6});
    assert_eq!(refused["limits"], limits);
    caller.get("jobs").await.expect(200);
    stranger.get("health").await.expect(200);
    server.stop().await;
}
