//! Killed at any moment, again and again, under load: what was acknowledged is there, ends, and is paid right.

use crate::api::{Answer, Api, is_final};
use crate::server::{Data, text};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

const ROUNDS: u64 = 16;
const CLIENTS: u64 = 6;
/// Another seed is another course of events.
const SEED: u64 = 0x5EED;
const SANDBOX: i64 = 10_000;

/// What the clients were told: each job, and the last status that they saw of it.
type Journal = Arc<Mutex<HashMap<String, String>>>;

/// Writes down what an answer acknowledges. A failed sync call names its job too, with the refund.
fn note(journal: &Journal, answer: &Answer) {
    let body = answer.json();
    let (job, status) = match answer.status {
        200 | 202 => (&body["jobId"], text(&body["status"])),
        201 => (&body["id"], text(&body["status"])),
        500 if body["code"] == "GENERATION_FAILED" => {
            assert_eq!(body["refund"]["applied"], true, "{body}");
            (&body["details"]["jobId"], "failed".to_owned())
        }
        // Too many at once, or stopping: nothing was taken.
        429 | 503 => return,
        other => panic!("{other}: {body}"),
    };
    let before = journal.lock().unwrap().insert(text(job), status);
    assert_eq!(before, None, "two calls were given the same job");
}

/// One client: calls as fast as it is answered, until the server is gone.
async fn press(api: Api, journal: Journal, mut random: StdRng) {
    loop {
        let outcome = match random.random_range(0..10) {
            0..3 => "",
            3..6 => "GENERATION_FAILED",
            6..8 => "SLOW=1s",
            _ => "FLAKY=2",
        };
        let answer = if random.random_bool(0.4) {
            let job = json!({"workflow": "generate_image", "input": {"prompt": "a wave"}});
            // Its picture takes a while to draw, so most of these fail instead.
            let outcome = if random.random_bool(0.7) {
                "GENERATION_FAILED"
            } else {
                outcome
            };
            api.try_simulate(outcome, "jobs", &job).await
        } else {
            let speech = json!({"text": "Again."});
            api.try_simulate(outcome, "models/elevenlabs/tts", &speech)
                .await
        };
        match answer {
            Ok(answer) => note(&journal, &answer),
            Err(_gone) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_job_and_no_credit_is_lost() {
    let data = Data::new();
    let org = data.org("acme", 0).await;
    let key = data.key(&org, &["--test"]).await;
    let journal = Journal::default();
    let mut random = StdRng::seed_from_u64(SEED);
    let mut interrupted = 0;
    for round in 0..ROUNDS {
        let server = data.serve().await;
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let random = StdRng::seed_from_u64(SEED ^ (round * CLIENTS + client + 1));
            clients.spawn(press(server.api(&key), Arc::clone(&journal), random));
        }
        let moment = Duration::from_millis(random.random_range(20..700));
        // Until then every client goes on; one that saw something wrong says so here or below.
        if let Ok(Some(client)) = timeout(moment, clients.join_next()).await {
            client.unwrap();
            panic!("a client has lost a server that is alive");
        }
        let log = server.kill().await;
        interrupted += u32::from(log.contains("jobs that were interrupted go on"));
        while let Some(client) = clients.join_next().await {
            client.unwrap();
        }
    }
    assert!(interrupted > 0, "no kill has interrupted anything");

    let server = data.serve().await;
    let api = server.api(&key);
    let acknowledged = journal.lock().unwrap().clone();
    assert!(acknowledged.len() > 50, "only {} jobs", acknowledged.len());
    for job in api.all_jobs().await {
        api.end_of(job["id"].as_str().unwrap()).await;
    }
    let jobs = api.all_jobs().await;
    let by_id: HashMap<&str, &Value> = jobs
        .iter()
        .map(|job| (job["id"].as_str().unwrap(), job))
        .collect();
    assert_eq!(by_id.len(), jobs.len());
    for (id, told) in &acknowledged {
        let job = by_id
            .get(id.as_str())
            .unwrap_or_else(|| panic!("{id} ({told}) is lost"));
        let status = job["status"].as_str().unwrap();
        assert!(!is_final(told) || told == status, "{id} was {told}: {job}");
    }
    let mut files = HashSet::new();
    let mut spent = 0;
    for job in &jobs {
        let number = |name: &str| job[name].as_i64().unwrap();
        let (charged, refunded) = (number("creditsCharged"), number("creditsRefunded"));
        match job["status"].as_str().unwrap() {
            "completed" => {
                assert_eq!(refunded, 0, "{job}");
                let url = job["resultUrls"][0].as_str().unwrap();
                assert_eq!(api.fetch(url).await.status, 200, "{job}");
                assert!(files.insert(url), "{url} was delivered twice");
            }
            "failed" => {
                assert_eq!(refunded, charged, "{job}");
                assert_eq!(job["code"], "GENERATION_FAILED", "{job}");
                let reason = &job["details"]["reason"];
                assert_eq!(
                    reason, "no_output",
                    "only what was scripted may fail: {job}"
                );
            }
            other => panic!("{other}: {job}"),
        }
        spent += charged - refunded;
    }
    assert_eq!(api.credits().await, SANDBOX - spent);
    println!(
        "{} jobs acknowledged, {} in all, {interrupted} of {ROUNDS} starts found interrupted ones",
        acknowledged.len(),
        jobs.len()
    );
    server.stop().await;
}
