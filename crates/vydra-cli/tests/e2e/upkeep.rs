//! What keeps the data small.

use crate::api::Api;
use crate::programs::until;
use crate::refusals::refuse;
use crate::server::{Data, text};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Makes all that there is older, as if nothing had been written for so many days.
fn age(data: &Data, days: i64) {
    let database = rusqlite::Connection::open(data.path("vydra.db")).unwrap();
    let mut triggers = database
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap();
    let triggers: Vec<(String, String)> = triggers
        .query_map((), |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut script = String::from("BEGIN;");
    for (name, _) in &triggers {
        write!(script, "DROP TRIGGER {name};").unwrap();
    }
    for (table, columns) in [
        ("jobs", &["created_at", "started_at", "completed_at"][..]),
        ("ledger", &["created_at"]),
        ("events", &["created_at"]),
        ("idempotency_keys", &["created_at", "expires_at"]),
    ] {
        for column in columns {
            let micros = days * 86_400_000_000;
            write!(script, "UPDATE {table} SET {column} = {column} - {micros};").unwrap();
        }
    }
    for (_, sql) in &triggers {
        write!(script, "{sql};").unwrap();
    }
    database.execute_batch(&(script + "COMMIT")).unwrap();
}

async fn spoken(api: &Api) -> String {
    let input = json!({"text": "Again."});
    let answer = api.post("models/elevenlabs/tts", &input).await.expect(200);
    text(&answer["jobId"])
}

async fn credits(api: &Api) -> Value {
    api.get("billing/credits").await.expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn old_jobs_go_beside_a_server_that_works() {
    let data = Data::new();
    let org = data.org("acme", 1_000).await;
    let key = data.key(&org, &[]).await;
    let server = data.serve().await;
    let old = spoken(&server.api(&key)).await;
    server.stop().await;
    age(&data, 100);

    let server = data.serve().await;
    let api = server.api(&key);
    let young = spoken(&api).await;
    let before = credits(&api).await;
    let told = refuse(&data, &["db", "prune", "--older-than", "23h"], "24 hours").await;
    assert!(told.contains("idempotency"), "it says why: {told}");
    let prune = ["db", "prune", "--older-than", "90d"];
    let looked = data.json(&[&prune[..], &["--dry-run"]].concat()).await;
    api.get(&format!("jobs/{old}")).await.expect(200);
    let removed = data.json(&prune).await;
    for (report, is_dry) in [(&looked, true), (&removed, false)] {
        // Both balances began with a grant.
        let expected =
            json!({"dryRun": is_dry, "jobs": 1, "ledgerRows": 3, "events": 1, "attempts": 0});
        assert_eq!(*report, expected);
    }
    let gone = api.get(&format!("jobs/{old}")).await;
    gone.refused(404, "JOB_NOT_FOUND");
    api.get(&format!("jobs/{young}")).await.expect(200);
    assert_eq!(credits(&api).await, before);
    let jobs = api.all_jobs().await;
    assert_eq!((jobs.len(), &jobs[0]["id"]), (1, &json!(young)));
    spoken(&api).await;

    let again = data.prose(&prune).await;
    assert!(again.starts_with("0 jobs, 0 ledger rows, "), "{again}");
    let audit = data.prose(&["ledger", "audit"]).await;
    assert!(
        audit.contains("3 rows of 1 jobs carried forward"),
        "{audit}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_removes_them_by_itself() {
    let data = Data::new();
    let org = data.org("acme", 1_000).await;
    let key = data.key(&org, &[]).await;
    let server = data.serve().await;
    let old = spoken(&server.api(&key)).await;
    spoken(&server.api(&key)).await;
    server.stop().await;
    age(&data, 31);
    let data = data.with("VYDRA__STORE__KEEP_JOBS", "30d");
    let server = data.serve().await;
    let api = server.api(&key);
    until("the job is gone", || async {
        let status = api.get(&format!("jobs/{old}")).await.status;
        (status == 404).then_some(())
    })
    .await;
    server.stop().await;

    let data = data.with("VYDRA__STORE__KEEP_JOBS", "23h");
    refuse(
        &data,
        &["ledger", "audit"],
        "store.keep_jobs: must be at least 24h",
    )
    .await;
    let data = data.with("VYDRA__STORE__KEEP_JOBS", "");
    data.prose(&["ledger", "audit"]).await;
}
