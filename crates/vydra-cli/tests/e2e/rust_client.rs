//! The Rust client (docs/clients.md) against the real server: every code, and the main jobs from end to end.

use crate::programs::until;
use crate::server::{Data, Server};
use serde_json::{Value, json};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use vydra_client::{
    Builder, Buy, Client, Clock, Code, Environment, Error, ErrorClass, ImageInput, JobEventKind,
    JobFilter, JobStatus, Progress, Quoted, Source, SpeechInput, SystemClock, UploadOptions,
    VideoInput, Wait,
};

#[path = "../../../vydra-client/examples/batch.rs"]
#[expect(dead_code, reason = "its main is run by whoever tries the example")]
mod batch;
#[path = "../../../vydra-client/examples/quickstart.rs"]
#[expect(dead_code, reason = "its main is run by whoever tries the example")]
mod quickstart;

/// Waits a hundredth of what it is asked to.
#[derive(Clone, Copy, Default)]
pub(crate) struct Hasty(SystemClock);

impl Clock for Hasty {
    fn now(&self) -> SystemTime {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn random(&self) -> f64 {
        self.0.random()
    }

    fn pause(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move { self.0.pause(duration / 100).await })
    }
}

/// A client that the environment of the tests does not reach.
pub(crate) fn client(url: &str, key: &str) -> Builder {
    let environment = Environment::default();
    Client::builder()
        .environment(environment)
        .base_url(url)
        .api_key(key)
}

/// A server, with a live key and a test key.
async fn serving(data: &Data) -> (Server, String, String) {
    let org = data.org("acme", 10_000).await;
    let (live, test) = (data.key(&org, &[]).await, data.key(&org, &["--test"]).await);
    (data.serve().await, live, test)
}

fn prompt(text: &str) -> ImageInput {
    ImageInput {
        prompt: text.to_owned(),
        ..ImageInput::default()
    }
}

fn simulating(outcome: &str) -> Buy {
    Buy {
        simulate: Some(outcome.to_owned()),
        ..Buy::default()
    }
}

/// What the catalogue that all clients share says of a code.
fn check(entry: &Value, error: &Error) {
    let Error::Api(error) = error else {
        panic!("{entry} gave {error:?}");
    };
    let status = u16::try_from(entry["status"].as_u64().unwrap()).unwrap();
    assert_eq!(
        error.code.as_ref().map(Code::as_str),
        entry["code"].as_str()
    );
    assert!(!matches!(error.code, Some(Code::Unknown(_))), "{error:?}");
    assert_eq!(error.status, status);
    let class = match status {
        400 => ErrorClass::BadRequest,
        401 => ErrorClass::Authentication,
        402 => ErrorClass::PaymentRequired,
        403 => ErrorClass::PermissionDenied,
        404 => ErrorClass::NotFound,
        405 => ErrorClass::MethodNotAllowed,
        409 => ErrorClass::Conflict,
        429 => ErrorClass::RateLimit,
        500 => ErrorClass::Server,
        503 => ErrorClass::Unavailable,
        _ => panic!("{entry} has no class"),
    };
    assert_eq!(error.class(), class);
    assert_eq!(error.retryable(), entry["retryable"] == true, "{error:?}");
    let mut text = entry["friendly"].as_str().unwrap().to_owned();
    for (name, number) in [
        (
            "{retryAfter}",
            error.retry_after.map(|after| after.as_secs().to_string()),
        ),
        (
            "{creditsRequired}",
            error.credits_required.map(|credits| credits.to_string()),
        ),
        (
            "{creditsRemaining}",
            error.credits_remaining.map(|credits| credits.to_string()),
        ),
    ] {
        if text.contains(name) {
            text = text.replace(name, &number.unwrap());
        }
    }
    assert_eq!(error.friendly(), text);
    match &error.job {
        Some(job) => {
            assert_eq!(job.status, JobStatus::Failed);
            assert_eq!(
                error.refund.as_ref().map(|refund| refund.credits_refunded),
                Some(5)
            );
        }
        None => assert!(error.request_id.is_some(), "{error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_gives_its_class_and_its_text() {
    let data = Data::new();
    let (server, _, key) = serving(&data).await;
    let catalogue: Vec<Value> =
        serde_json::from_str(include_str!("../../../../sdks/errors.json")).unwrap();
    assert_eq!(catalogue.len(), Code::ALL.len());
    let builder = client(&server.url, &key)
        .clock(Hasty::default())
        .max_retries(1);
    let asynchronous = builder.clone().build().unwrap();
    let input = prompt("a boat");
    for entry in &catalogue {
        let buy = simulating(entry["code"].as_str().unwrap());
        let outcome = asynchronous
            .generate()
            .image(&input, &buy, &Wait::default())
            .await;
        check(entry, &outcome.unwrap_err());
    }
    let blocking = tokio::task::spawn_blocking(move || {
        let client = builder.build_blocking().unwrap();
        for entry in &catalogue {
            let buy = simulating(entry["code"].as_str().unwrap());
            let outcome = client.generate().image(&input, &buy, &Wait::default());
            check(entry, &outcome.unwrap_err());
        }
    });
    blocking.await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_kinds_end_to_end() {
    let data = Data::new();
    let (server, live, _) = serving(&data).await;
    let client = client(&server.url, &live).build().unwrap();
    let folder = TempDir::new().unwrap();
    let quote = client
        .quote(Quoted::Workflow("generate_image"), &prompt("a boat"))
        .await
        .unwrap();
    let buy = Buy {
        max_credits: Some(quote.credits.try_into().unwrap()),
        ..Buy::default()
    };
    let (standard, wait) = (Buy::default(), Wait::default());
    let speech = SpeechInput {
        text: "A boat.".into(),
        ..SpeechInput::default()
    };
    let video = VideoInput {
        prompt: "waves".into(),
        duration: Some(1),
        ..VideoInput::default()
    };
    let made = [
        client
            .generate()
            .image(&prompt("a boat"), &buy, &wait)
            .await
            .unwrap(),
        client
            .generate()
            .speech(&speech, &standard, &wait)
            .await
            .unwrap(),
        client
            .generate()
            .video(&video, &standard, &wait)
            .await
            .unwrap(),
    ];
    for job in &made {
        let seen = Arc::new(Mutex::new((0, None)));
        let told = Arc::clone(&seen);
        let progress =
            Progress::new(move |received, total| *told.lock().unwrap() = (received, total));
        let path = folder.path().join(&job.id);
        let length = client
            .download(job.url().unwrap(), &path, &progress)
            .await
            .unwrap();
        assert_eq!(*seen.lock().unwrap(), (length, Some(length)));
        let content = std::fs::read(&path).unwrap();
        assert_eq!(content.len() as u64, length);
        assert_eq!(
            client
                .bytes(job.url().unwrap(), &Progress::none())
                .await
                .unwrap(),
            content
        );
    }
    let spent: i64 = made.iter().map(|job| job.credits_charged).sum();
    assert_eq!(
        client.credits().await.unwrap().credits_remaining,
        10_000 - spent
    );
    let charges = client.jobs().charges(&made[0].id).await.unwrap();
    assert_eq!(charges.credits_net, quote.credits);
    let options = UploadOptions {
        filename: Some("boat.png".into()),
        ..UploadOptions::default()
    };
    let image = Source::path(folder.path().join(&made[0].id));
    let upload = client
        .upload(image, &options, &Progress::none())
        .await
        .unwrap();
    assert_eq!(upload.filename, "boat.png");
    let input = json!({"prompt": "make it night", "imageUrl": upload.url});
    let edited = client
        .models()
        .run("gemini/edit", &input, &standard)
        .await
        .unwrap();
    assert_eq!(
        client.wait(&edited.id, &wait).await.unwrap().urls().len(),
        1
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_and_cancelled() {
    let data = Data::new();
    let (server, _, key) = serving(&data).await;
    let client = client(&server.url, &key).build().unwrap();
    let wait = Wait::default();
    let short = client
        .jobs()
        .create("generate_image", &prompt("a boat"), &simulating("SLOW=1s"))
        .await
        .unwrap();
    let mut stream = client.stream(&short.id, &wait);
    let mut last = None;
    while let Some(event) = stream.next().await.unwrap() {
        last = Some(event);
    }
    let last = last.unwrap();
    assert_eq!(
        (last.event, last.status),
        (JobEventKind::End, JobStatus::Completed)
    );
    assert!(last.job.unwrap().url().is_some());
    let slow = client
        .jobs()
        .create("generate_image", &prompt("a boat"), &simulating("SLOW=60s"))
        .await
        .unwrap();
    let cancelled = client.jobs().cancel(&slow.id).await.unwrap();
    assert_eq!(cancelled.credits_refunded, 5);
    let outcome = client.wait(&slow.id, &wait).await;
    assert!(matches!(outcome, Err(Error::JobCancelled { job }) if job.id == slow.id));
    let page = client
        .jobs()
        .list(&JobFilter {
            limit: Some(1),
            ..JobFilter::default()
        })
        .await
        .unwrap();
    let mut items = page.items();
    let mut listed = Vec::new();
    while let Some(job) = items.next().await.unwrap() {
        listed.push(job.id);
    }
    assert_eq!(listed, [slow.id, short.id]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_wait_cancels_the_job_if_it_is_told_to() {
    let data = Data::new();
    let (server, _, key) = serving(&data).await;
    let client = client(&server.url, &key).build().unwrap();
    let (input, buy) = (prompt("a boat"), simulating("SLOW=60s"));
    let wait = Wait {
        cancel_on_drop: true,
        ..Wait::default()
    };
    let first = async || {
        client
            .jobs()
            .list(&JobFilter::default())
            .await
            .unwrap()
            .data
            .into_iter()
            .next()
    };
    {
        let generate = client.generate();
        let mut waiting = std::pin::pin!(generate.image(&input, &buy, &wait));
        tokio::select! {
            outcome = &mut waiting => panic!("{outcome:?}"),
            _ = until("there is a job", &first) => {}
        }
    }
    client.close().await;
    let job = first().await.unwrap();
    assert_eq!(
        (job.status, job.credits_refunded),
        (JobStatus::Cancelled, 5)
    );
    // Dropped before the purchase was answered, it is cancelled as soon as it is known.
    let _ =
        tokio::time::timeout(Duration::ZERO, client.generate().image(&input, &buy, &wait)).await;
    client.close().await;
    let page = client.jobs().list(&JobFilter::default()).await.unwrap();
    let states: Vec<_> = page.data.iter().map(|job| job.status.as_str()).collect();
    assert_eq!(states, ["cancelled", "cancelled"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_example_makes_a_picture() {
    let data = Data::new();
    let (server, live, _) = serving(&data).await;
    let client = client(&server.url, &live).build().unwrap();
    let folder = TempDir::new().unwrap();
    let picture = folder.path().join("boat.png");
    assert_eq!(quickstart::quickstart(&client, &picture).await.unwrap(), 5);
    assert!(std::fs::read(picture).unwrap().starts_with(b"\x89PNG"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_keeps_to_its_cap_and_goes_on_after_failures() {
    let data = Data::new();
    let (server, live, _) = serving(&data).await;
    let client = client(&server.url, &live).build().unwrap();
    let prompts: Vec<_> = (1..=100)
        .map(|number| format!("a lighthouse, view {number} of 100"))
        .collect();
    let folder = TempDir::new().unwrap();
    let tally = batch::batch(&client, &prompts, folder.path(), 52)
        .await
        .unwrap();
    assert_eq!((tally.made, tally.spent), (10, 50));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 10);
    assert_eq!(client.credits().await.unwrap().credits_remaining, 9_950);
    // One that is refused costs nothing, and all others are made.
    let mut spoilt = prompts[..20].to_vec();
    spoilt[3].clear();
    let tally = batch::batch(&client, &spoilt, folder.path(), 10_000)
        .await
        .unwrap();
    assert_eq!((tally.made, tally.spent), (19, 95));
    server.stop().await;
}
