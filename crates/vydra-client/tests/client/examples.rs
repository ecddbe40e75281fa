//! What the examples make of servers that do not serve.

use crate::support::server;
use serde_json::{Value, json};
use tempfile::TempDir;
use vydra_client::Error;

#[path = "../../examples/batch.rs"]
#[expect(dead_code, reason = "its main is run by whoever tries the example")]
mod batch;

/// What becomes of a batch of one picture for 5 credits, of which the server says this.
async fn batch_of_one(answers: &[Value]) -> Result<batch::Tally, Error> {
    let quote = json!({"status": 200, "json": {"credits": 5}});
    let exchanges = std::iter::once(&quote)
        .chain(answers)
        .map(|answer| json!({"expect": {}, "answer": answer}));
    let (server, builder) = server(&exchanges.collect());
    let client = builder.max_retries(0).build().unwrap();
    let folder = TempDir::new().unwrap();
    let tally = batch::batch(&client, &["a boat".into()], folder.path(), 50).await;
    client.close().await;
    assert_eq!(server.finish(), answers.len() + 1);
    tally
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_counts_what_may_have_been_bought() {
    let told =
        |status: u16, code: &str| json!({"status": status, "json": {"error": "No.", "code": code}});
    let bought = json!({"status": 201, "json": {"id": "job_1", "status": "pending"}});
    let failed = json!({"status": 200, "json": {
        "id": "job_1", "status": "failed", "error": "No.", "code": "GENERATION_FAILED",
        "refund": {"applied": true, "creditsRefunded": 5},
    }});
    let spent = async |answers: &[Value]| batch_of_one(answers).await.unwrap().spent;
    assert_eq!(spent(&[told(400, "INVALID_INPUT")]).await, 0);
    assert_eq!(spent(&[bought.clone(), failed]).await, 0);
    // Taken by the server, as far as anybody knows.
    assert_eq!(spent(&[json!({"status": 504, "text": "late"})]).await, 5);
    assert_eq!(
        spent(&[bought.clone(), told(404, "JOB_NOT_FOUND")]).await,
        5
    );
    // What the next one would be told, too.
    for answers in [
        vec![told(401, "KEY_REVOKED")],
        vec![told(402, "INSUFFICIENT_CREDITS")],
        vec![told(403, "INSUFFICIENT_SCOPE")],
        vec![told(429, "RATE_LIMIT_EXCEEDED")],
        vec![bought, told(401, "KEY_REVOKED")],
    ] {
        let outcome = batch_of_one(&answers).await;
        assert!(matches!(outcome, Err(Error::Api(_))), "{outcome:?}");
    }
}
