//! What callers are told where answers get lost, are odd or cannot be kept: no money and no result is lost by it.

use crate::fake::{Answer, Fake, completed, pending, png};
use crate::person::{PROMPT, Person};
use crate::programs::{PATIENCE, Ran, run, until};
use crate::server::{Server, VYDRA};
use serde_json::{Value, json};
use std::fs;
use std::process::Stdio;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const KEY: &str = "vydra_live_000000000000";
/// What is said when a signal was heard.
const STOPPING: &str = "Ctrl-C again";
const IMAGE: [&str; 3] = ["generate", "image", PROMPT];

fn person(fake: &Fake) -> Person {
    Person::new(&fake.url, KEY)
}

fn error(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stderr).unwrap_or_else(|_| panic!("no JSON: {ran:?}"))
}

/// Those of the purchases, in their order.
fn keys(fake: &Fake) -> Vec<String> {
    let asked = fake.asked();
    let bought = asked.iter().filter(|asked| asked.line.starts_with("POST "));
    bought
        .filter_map(|asked| asked.header("idempotency-key").map(str::to_owned))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_may_have_been_bought_the_error_names_the_key_of_the_purchase() {
    let busy = json!({"error": "still running", "code": "IDEMPOTENCY_CONFLICT", "retryAfter": 1});
    let many = json!({"error": "slow", "code": "RATE_LIMIT_EXCEEDED", "retryAfter": 300});
    let gateway = Answer::Raw(504, "content-type: text/html\r\n".into(), b"<html>".into());
    for (answer, exit, told) in [
        (gateway, 9, "may have been bought"),
        (Answer::Json(429, many), 8, "may have been bought"),
        (Answer::Json(409, busy), 7, "is still being made"),
        (Answer::Broken, 11, "may have been bought"),
    ] {
        let fake = Fake::start(move |_, _| answer.clone()).await;
        let person = person(&fake);
        let words = [&IMAGE[..], &["--retries", "0"]].concat();
        let said = person.refused(&words, exit, &[told, "once at most"]).await;
        let key = keys(&fake).pop().unwrap();
        assert!(said.contains(&format!("--idempotency-key {key}")), "{said}");
        let ran = person.run(&[&words[..], &["--json"]].concat()).await;
        let told = error(&ran);
        assert_eq!(
            told["idempotencyKey"].as_str(),
            keys(&fake).pop().as_deref()
        );
        // What it says is taken.
        let again = [&words[..], &["--idempotency-key", &key]].concat();
        person.run(&again).await;
        assert_eq!(keys(&fake).pop(), Some(key));
    }
    // Where nothing was bought, no key is named.
    let poor = json!({"error": "poor", "code": "INSUFFICIENT_CREDITS"});
    let failed =
        json!({"error": "failed", "code": "GENERATION_FAILED", "refund": {"applied": true}});
    let used = json!({"error": "another", "code": "IDEMPOTENCY_CONFLICT"});
    for (status, body) in [(402, poor), (500, failed), (409, used)] {
        let fake = Fake::start(move |_, _| Answer::Json(status, body.clone())).await;
        let ran = person(&fake)
            .run(&[&IMAGE[..], &["--json", "--retries", "0"]].concat())
            .await;
        assert_eq!(error(&ran)["idempotencyKey"], Value::Null, "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_sent_in_is_named_by_its_address_when_it_is_bought_again() {
    let fake = Fake::start(|here, asked| match asked.line.as_str() {
        line if line.starts_with("POST /api/v1/upload") => Answer::Json(
            200,
            json!({"url": format!("{here}/f/in.png"), "key": "uploads/in.png"}),
        ),
        _ => Answer::Broken,
    })
    .await;
    let person = person(&fake);
    fs::write(person.path("house.png"), "x").unwrap();
    let words = [
        "jobs",
        "create",
        "edit_image",
        "-i",
        "imageUrl=house.png",
        "--retries",
        "0",
    ];
    let told = format!(
        "with {}/f/in.png in place of house.png and with --idempotency-key cli-",
        fake.url
    );
    person.refused(&words, 11, &[&told]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_behind_a_purchase_names_its_job() {
    for (status, code, exit) in [
        (401, "KEY_EXPIRED", 3),
        (403, "INSUFFICIENT_SCOPE", 5),
        (429, "RATE_LIMIT_EXCEEDED", 8),
    ] {
        let fake = Fake::start(move |_, asked| match asked.line.as_str() {
            "POST /api/v1/jobs" => Answer::Json(201, pending()),
            _ => Answer::Json(
                status,
                json!({"error": "no", "code": code, "retryAfter": 300}),
            ),
        })
        .await;
        let person = person(&fake);
        person
            .refused(&IMAGE, exit, &[code, "`vydra jobs watch job_1`"])
            .await;
        let ran = person.run(&[&IMAGE[..], &["--json"]].concat()).await;
        assert_eq!(error(&ran)["jobIds"], json!(["job_1"]), "{ran:?}");
    }
    let mut failed = pending();
    failed["status"] = "failed".into();
    failed["code"] = "GENERATION_FAILED".into();
    failed["error"] = "no luck".into();
    let fake = Fake::of_job(move |_| failed.clone()).await;
    person(&fake)
        .refused(&IMAGE, 10, &["GENERATION_FAILED, job_1"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_waits_for_what_is_just_being_bought_to_cancel_it() {
    let heard = CancellationToken::new();
    let answered = heard.clone();
    let fake = Fake::start(move |_, asked| match asked.line.as_str() {
        "POST /api/v1/jobs" => {
            Answer::After(answered.clone(), Box::new(Answer::Json(201, pending())))
        }
        "DELETE /api/v1/jobs/job_1" => {
            let mut job = pending();
            job["status"] = "cancelled".into();
            job["creditsRefunded"] = 5.into();
            Answer::Json(200, job)
        }
        _ => Answer::Held,
    })
    .await;
    let words = [&IMAGE[..], &["--cancel-on-interrupt"]].concat();
    let mut buying = Server::begin(person(&fake).vydra(&words));
    until("it buys", async || (!keys(&fake).is_empty()).then_some(())).await;
    buying.signal("-INT").await;
    until("it has heard it", async || {
        buying.log().contains(STOPPING).then_some(())
    })
    .await;
    heard.cancel();
    assert_eq!(buying.ended().await.code(), Some(130), "{}", buying.log());
    assert!(
        buying
            .log()
            .contains("job_1 is cancelled: 5 credits came back."),
        "{}",
        buying.log()
    );

    // Without the flag, and when it is asked twice, it is told how to learn what became of it.
    let fake = Fake::start(|_, _| Answer::Held).await;
    for (words, is_asked_twice) in [(&IMAGE[..], false), (&words[..], true)] {
        let before = keys(&fake).len();
        let mut buying = Server::begin(person(&fake).vydra(words));
        until("it buys", async || {
            (keys(&fake).len() > before).then_some(())
        })
        .await;
        buying.signal("-INT").await;
        if is_asked_twice {
            until("it has heard it", async || {
                buying.log().contains(STOPPING).then_some(())
            })
            .await;
            buying.signal("-INT").await;
        }
        assert_eq!(buying.ended().await.code(), Some(130), "{}", buying.log());
        let told = format!(
            "--idempotency-key {} buys it once at most",
            keys(&fake).pop().unwrap()
        );
        assert!(buying.log().contains(&told), "{}", buying.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_cannot_be_kept_are_not_lost_nor_taken_for_what_they_are_not() {
    let fake =
        Fake::of_job(|here| completed(&[format!("{here}/f/a.png"), format!("{here}/f/b.png")]))
            .await;
    let ran = person(&fake)
        .run(&[&IMAGE[..], &["-o", "-"]].concat())
        .await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    for told in [
        "/f/a.png",
        "/f/b.png",
        "2 results",
        "`vydra jobs watch job_1 -o FILE`",
    ] {
        assert!(ran.stderr.contains(told), "no {told:?} in {ran:?}");
    }
    // A page where a medium should be.
    let fake = Fake::start(|here, asked| match asked.line.as_str() {
        "POST /api/v1/jobs" => Answer::Json(201, pending()),
        "GET /f/a.png" => Answer::Raw(200, "content-type: text/html\r\n".into(), b"<p>".into()),
        _ => Answer::Json(200, completed(&[format!("{here}/f/a.png")])),
    })
    .await;
    let lost = person(&fake);
    let kept = format!("kept at {}/f/a.png", fake.url);
    for to in ["a.png", "-"] {
        let words = [&IMAGE[..], &["-o", to, "--retries", "0"]].concat();
        lost.refused(&words, 11, &[&kept, "`vydra jobs watch job_1"])
            .await;
    }
    assert_eq!(fs::read_dir(lost.home.path()).unwrap().count(), 0);

    let fake = Fake::of_job(|here| completed(&[format!("{here}/f/run.jar")])).await;
    let mut person = person(&fake);
    fs::create_dir(person.path("bin")).unwrap();
    person
        .environment
        .push(("PATH", person.path("bin").display().to_string()));
    let ran = person
        .run(&[&IMAGE[..], &["-o", "run", "--open"]].concat())
        .await;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "run.bin\n"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("is not opened"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_heard_whatever_the_command_does() {
    let length = 8 * 1_024 * 1_024;
    let moment = CancellationToken::new();
    let later = moment.clone();
    let fake = Fake::start(move |here, asked| match asked.line.as_str() {
        "POST /api/v1/jobs" => Answer::Json(201, pending()),
        "GET /f/a.png" => Answer::Raw(
            200,
            "content-type: image/png\r\n".into(),
            vec![b'x'; length],
        ),
        "GET /f/b.png" => Answer::Held,
        "GET /f/c.png" => Answer::After(later.clone(), Box::new(png())),
        line if line.starts_with("GET /api/v1/jobs/job_1") && !line.contains("events") => {
            let name = ["b", "c"]
                .into_iter()
                .find(|name| line.contains(&format!("/job_1{name}")));
            Answer::Json(
                200,
                completed(&[format!("{here}/f/{}.png", name.unwrap_or("a"))]),
            )
        }
        _ => Answer::Raw(204, String::new(), Vec::new()),
    })
    .await;
    let person = person(&fake);
    let saves = |name: &str| {
        let line = format!("GET /f/{name}.png");
        fake.asked()
            .iter()
            .filter(|asked| asked.line == line)
            .count()
    };
    for (before, signal) in ["-INT", "-TERM", "-HUP"].into_iter().enumerate() {
        // Of a file that does not come, nothing is left.
        // Whoever runs the tests may have been started so that a hangup is nothing.
        let mut heard = Command::new("env");
        heard
            .args(["--default-signal=HUP", VYDRA])
            .args(["jobs", "watch", "job_1b", "-o", "b.png"])
            .envs(person.environment.clone())
            .current_dir(person.home.path());
        let mut saving = Server::begin(heard);
        until("it saves", async || (saves("b") > before).then_some(())).await;
        saving.signal(signal).await;
        assert_eq!(
            saving.ended().await.code(),
            Some(130),
            "{signal}: {}",
            saving.log()
        );
        assert_eq!(
            fs::read_dir(person.home.path()).unwrap().count(),
            0,
            "{signal}"
        );
    }
    // Nor does a reader hinder it who does not read.
    let mut command = person.vydra(&["jobs", "watch", "job_1", "-o", "-"]);
    let pipes = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = pipes.kill_on_drop(true).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_u8().await.unwrap();
    let mut kill = Command::new("kill");
    kill.args(["-TERM", &child.id().unwrap().to_string()]);
    run(kill).await;
    let status = timeout(PATIENCE, child.wait()).await;
    assert_eq!(status.expect("it ends").unwrap().code(), Some(130));
    drop(stdout);

    // Whoever starts it so that a hangup is nothing keeps it from being one.
    let mut ignoring = Command::new("sh");
    let line = format!("trap '' HUP; exec '{VYDRA}' jobs watch job_1c -o c.png");
    ignoring
        .args(["-c", &line])
        .envs(person.environment.clone())
        .current_dir(person.home.path());
    let mut ignoring = Server::begin(ignoring);
    until("it saves", async || (saves("c") > 0).then_some(())).await;
    ignoring.signal("-HUP").await;
    moment.cancel();
    assert_eq!(ignoring.ended().await.code(), Some(0), "{}", ignoring.log());
    assert!(person.path("c.png").is_file());
}
