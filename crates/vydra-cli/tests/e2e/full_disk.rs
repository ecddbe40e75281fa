//! A disk that is full: a limit on the size of files stands in for it, so that no other test is harmed.

use crate::api::{Answer, Api, is_final};
use crate::programs::until;
use crate::server::{Data, Server, text};
use serde_json::{Value, json};

/// In blocks of 512 bytes, or 1,024 where sh counts so: the write-ahead log reaches it after some dozen of jobs.
const BLOCKS: u32 = 1_400;
const CALLS: u32 = 400;
const CREDITS: u32 = 10_000;
const PRICE: i64 = 5;

/// What a call may answer at the limit; the job, if there is one.
fn job_of(answer: &Answer) -> Option<String> {
    let body = answer.json();
    match answer.status {
        // At its end, or going on because its end cannot be written.
        200 | 202 => Some(text(&body["jobId"])),
        500 => {
            assert_eq!(body["code"], "GENERATION_FAILED", "{body}");
            assert_eq!(
                body["refund"],
                json!({"applied": true, "creditsRefunded": PRICE}),
                "{body}"
            );
            Some(text(&body["details"]["jobId"]))
        }
        503 => {
            assert_eq!(body["code"], "UNAVAILABLE", "{body}");
            assert_eq!(body["details"]["retryable"], true, "{body}");
            let wait = answer
                .header("retry-after")
                .unwrap()
                .parse::<u32>()
                .unwrap();
            assert!(wait >= 1);
            None
        }
        other => panic!("{other}: {body}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_charged_that_cannot_be_done_and_it_heals() {
    let data = Data::new()
        .with("VYDRA__SERVER__SYNC_WAIT", "2s")
        .with("VYDRA__WORKER__DRAIN", "200ms");
    let org = data.org("acme", CREDITS).await;
    let key = data.key(&org, &[]).await;
    let setup = format!("trap '' XFSZ; ulimit -f {BLOCKS}");
    let full = Server::start(data.vydra_after(&setup, &["serve", "--listen", "127.0.0.1:0"])).await;
    let api = full.api(&key);
    api.get("health").await.expect(200);

    let input = json!({"text": "One more."});
    let (mut jobs, mut refusals) = (Vec::new(), 0);
    for _ in 0..CALLS {
        let answer = api.post("models/elevenlabs/tts", &input).await;
        match job_of(&answer) {
            Some(job) => jobs.push(job),
            None => refusals += 1,
        }
        if refusals == 3 {
            break;
        }
    }
    assert_eq!(refusals, 3, "the disk has never been full");
    assert!(jobs.len() > 3, "the disk was full at once");
    let health = at_last_unhealthy(&api).await.refused(503, "UNAVAILABLE");
    assert_eq!(
        job_of(&api.post("models/elevenlabs/tts", &input).await),
        None
    );
    assert_eq!(health["details"]["check"], "store");
    // What was can be read, and the balance is what was taken: no more, no less.
    let taken = i64::from(CREDITS) - api.credits().await;
    let listed = api.all_jobs().await;
    assert_eq!(taken, paid(&listed), "{listed:?}");
    assert_eq!(
        listed.len(),
        jobs.len(),
        "each job was acknowledged, and each acknowledged one is there"
    );
    let done = listed
        .iter()
        .find(|job| job["status"] == "completed")
        .unwrap();
    assert_eq!(
        api.fetch(done["audioUrl"].as_str().unwrap()).await.status,
        200
    );
    full.terminate().await;
    drop(full);

    let healed = data.serve().await;
    let api = healed.api(&key);
    api.get("health").await.expect(200);
    for job in &jobs {
        api.end_of(job).await;
    }
    let listed = api.all_jobs().await;
    assert_eq!(listed.len(), jobs.len());
    assert!(
        listed
            .iter()
            .all(|job| is_final(job["status"].as_str().unwrap()))
    );
    assert_eq!(i64::from(CREDITS) - api.credits().await, paid(&listed));
    api.post("models/elevenlabs/tts", &input).await.expect(200);
    healed.stop().await;
}

/// A look at the health writes less than a job does, may find some place for it, and holds for a moment.
async fn at_last_unhealthy(api: &Api) -> Answer {
    until("the server feels unwell on a full disk", || async {
        let answer = api.get("health").await;
        (answer.status != 200).then_some(answer)
    })
    .await
}

fn paid(jobs: &[Value]) -> i64 {
    let number = |job: &Value, name: &str| job[name].as_i64().unwrap();
    let net = |job| number(job, "creditsCharged") - number(job, "creditsRefunded");
    jobs.iter().map(net).sum()
}

/// The media have no place, but the database has: each job fails, and is paid back.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_stored_is_refunded() {
    let data = Data::new();
    let org = data.org("acme", 100).await;
    let key = data.key(&org, &[]).await;
    // Big enough for the log of some jobs, too small for a minute of speech (22,050 samples of 2 bytes a second).
    let full = Server::start(data.vydra_after(
        "trap '' XFSZ; ulimit -f 2000",
        &["serve", "--listen", "127.0.0.1:0"],
    ))
    .await;
    let api = full.api(&key);
    let input = json!({"text": "This is a long story about the sea. ".repeat(60)});
    let refused = api
        .post("models/elevenlabs/tts", &input)
        .await
        .refused(500, "GENERATION_FAILED");
    assert_eq!(refused["details"]["reason"], "storage_unavailable");
    assert_eq!(refused["details"]["retryable"], true);
    assert_eq!(
        refused["refund"],
        json!({"applied": true, "creditsRefunded": PRICE})
    );
    assert_eq!(api.credits().await, 100);
    api.post("models/elevenlabs/tts", &json!({"text": "Short."}))
        .await
        .expect(200);
    assert_eq!(api.credits().await, 95);
    full.stop().await;
}
