//! The program with its requests counted in a Redis, which several servers share.

use crate::programs::run;
use crate::server::{Data, Server, text};
use serde_json::json;
use std::path::Path;
use vydra_testkit::certificates::Authority;
use vydra_testkit::postgres::Postgres;
use vydra_testkit::redis::Redis;

fn counted(data: Data, url: &str) -> Data {
    data.with("VYDRA__LIMITS__BACKEND", "redis")
        .with("VYDRA__LIMITS__REDIS_URL", url)
}

async fn statuses(servers: [&Server; 2], key: &str, requests: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for turn in 0..requests {
        let answer = servers[turn % 2].api(key).get("jobs").await;
        statuses.push(answer.status);
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_count_together_and_a_revocation_holds_at_once() {
    let (Some(postgres), Some(redis)) = (Postgres::shared(), Redis::shared()) else {
        return;
    };
    let database = postgres.database();
    let data = counted(Data::on(&database), &redis.database());
    let (one, other) = tokio::join!(data.serve(), data.serve());
    let org = data.org("acme", 100).await;
    let words = ["org", "set-plan", "--org", &org, "--plan", "free"];
    data.json(&words).await;
    let key = data.key(&org, &[]).await;
    let statuses = statuses([&one, &other], &key, 12).await;
    assert_eq!(statuses[..10], [200; 10], "{statuses:?}");
    assert_eq!(statuses[10..], [429; 2], "{statuses:?}");
    // The database has counted none of them.
    let sql = "SELECT count(*) FROM window_log";
    assert_eq!(postgres.psql(&database, sql), "0");

    let listed = data.json(&["key", "list", "--org", &org]).await;
    let id = text(&listed["data"][0]["id"]);
    data.json(&["key", "revoke", &id]).await;
    for server in [&one, &other] {
        let refused = server.api(&key).get("jobs").await;
        refused.refused(401, "KEY_REVOKED");
    }
    let log = one.stop().await;
    assert!(log.contains("requests are counted at 127.0.0.1:"), "{log}");
    assert!(log.contains("Set appendonly yes"), "{log}");
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_it_requests_are_refused_and_workers_are_well() {
    let (Some(postgres), Some(redis)) = (Postgres::shared(), Redis::start()) else {
        return;
    };
    let data = counted(Data::on(&postgres.database()), &redis.database())
        .with("VYDRA__SERVER__PUBLIC_URL", "http://vydra.example");
    let (front, back) = tokio::join!(data.serve_as("api"), data.serve_as("worker"));
    let org = data.org("acme", 100).await;
    let key = data.key(&org, &[]).await;
    front.api(&key).get("jobs").await.expect(200);
    front.api(&key).get("health").await.expect(200);
    let port = redis.port();
    drop(redis);
    let refused = front.api(&key).get("jobs").await;
    refused.refused(503, "UNAVAILABLE");
    back.api(&key).get("health").await.expect(200);
    let log = front.stop().await;
    let told = format!("requests cannot be counted at 127.0.0.1:{port}/0, and are refused");
    assert!(log.contains(&told), "{log}");

    // A server begins without it, and says so where one looks.
    let front = data.serve_as("api").await;
    let sick = front.api(&key).get("health").await;
    let body = sick.refused(503, "UNAVAILABLE");
    assert_eq!(body["details"]["check"], json!("limits"));
    let found = data.run(&["doctor"]).await;
    assert_eq!(found.code, Some(1), "{found:?}");
    let told = format!("requests cannot be counted at 127.0.0.1:{port}/0");
    assert!(found.stdout.contains(&told), "{found:?}");
    front.stop().await;
    back.stop().await;
}

/// Those that the system knows; here they are those of a file.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_encrypted_is_believed_by_its_authority() {
    let Some(authority) = Authority::new() else {
        return;
    };
    let pair = authority.issue("redis", "DNS:localhost");
    let Some(redis) = Redis::start_encrypted(&pair) else {
        return;
    };
    let url = redis.database();
    let url = url.replace("redis://127.0.0.1", "rediss://localhost");
    let data = counted(Data::new(), &url);
    data.json(&["migrate"]).await;
    let doctor = |file: &Path| {
        let mut command = data.vydra(&["doctor"]);
        command
            .env("SSL_CERT_FILE", file)
            .env_remove("SSL_CERT_DIR");
        command
    };
    let stranger = Authority::new().unwrap();
    let refused = run(doctor(&stranger.pair().certificate)).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let told = "requests cannot be counted at localhost:";
    assert!(refused.stdout.contains(told), "{refused:?}");
    let found = run(doctor(&authority.pair().certificate)).await;
    assert_eq!(found.code, Some(0), "{found:?}");
    let told = "requests are counted at localhost:";
    assert!(found.stdout.contains(told), "{found:?}");
    assert!(!found.stdout.contains("not encrypted:"), "{found:?}");
}
