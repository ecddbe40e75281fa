//! What is odd: answers that no server of ours gives, what is typed wrongly, and machines on which something is missing.

use crate::fake::{Answer, Fake, completed, pending};
use crate::person::{PROMPT, Person};
use crate::programs::{PATIENCE, Ran, installed, run, until};
use crate::server::{Server, VYDRA};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

const KEY: &str = "vydra_live_000000000000";
const IMAGE: [&str; 3] = ["generate", "image", PROMPT];

fn person(fake: &Fake) -> Person {
    Person::new(&fake.url, KEY)
}

fn purchases(fake: &Fake) -> usize {
    let asked = fake.asked();
    let bought = asked.iter().filter(|asked| asked.line.starts_with("POST "));
    bought.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_word_of_a_server_moves_the_cursor_and_no_number_is_too_large() {
    let sly = "\u{1b}[31mRED\u{1b}]0;title\u{7}";
    let fake = Fake::start(move |_, asked| {
        let mut job = pending();
        for name in ["id", "status", "createdAt", "workflow", "model"] {
            job[name] = sly.into();
        }
        job["creditsCharged"] = i64::MIN.into();
        job["creditsRefunded"] = 1.into();
        let model = json!({
            "slug": sly, "name": sly, "kind": sly, "pricingUnit": sly, "creditsPerUnit": 1,
            "inputSchema": {"properties": {"a": {"type": sly}}},
        });
        Answer::Json(
            200,
            match asked.line.as_str() {
                "GET /api/v1/models" => json!({"data": [model]}),
                "GET /api/v1/models/a" => model,
                line if line.ends_with("/quotes") => json!({"credits": i64::MAX}),
                line if line.starts_with("GET /api/v1/jobs?") => json!({"data": [job]}),
                line if line.contains("/job_1?") => {
                    job["status"] = "completed".into();
                    job
                }
                _ => job,
            },
        )
    })
    .await;
    let person = person(&fake);
    for words in [
        &["jobs", "list"][..],
        &["jobs", "show", "a"],
        &["jobs", "cancel", "a"],
        &["jobs", "watch", "job_1"],
        &["models"],
        &["models", "show", "a"],
        &["generate", "image", "x", "--no-wait"],
        &["generate", "image", "x", "-n", "2", "--dry-run"],
    ] {
        let ran = person.run(words).await;
        assert_eq!(ran.code, Some(0), "{words:?}: {ran:?}");
        assert!(
            !ran.stderr.contains('\u{7}') && !ran.stdout.contains('\u{7}'),
            "{ran:?}"
        );
    }
    let dear = ["generate", "image", "x", "-n", "2", "--max-credits", "9"];
    person.refused(&dear, 4, &["Nothing was bought"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_leads_in_a_circle_ends() {
    for data in [json!([]), json!([pending()])] {
        let fake = Fake::start(move |_, _| {
            Answer::Json(
                200,
                json!({"data": data, "pagination": {"nextCursor": "again"}}),
            )
        })
        .await;
        person(&fake).json(&["jobs", "list", "--limit", "50"]).await;
        assert!(fake.asked().len() <= 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_is_told_once_and_a_server_that_never_answers_is_not_waited_for() {
    let looks = AtomicUsize::new(0);
    let fake = Fake::start(move |_, asked| match asked.line.as_str() {
        "POST /api/v1/jobs" => Answer::Json(201, pending()),
        line if line.contains("/events") => Answer::Raw(503, String::new(), Vec::new()),
        _ if looks.fetch_add(1, Ordering::SeqCst) == 0 => {
            Answer::Raw(503, String::new(), Vec::new())
        }
        _ => Answer::Json(200, completed(&["http://127.0.0.1/a.png".to_owned()])),
    })
    .await;
    let ran = person(&fake).run(&IMAGE).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stderr.matches("(again in").count(), 1, "{ran:?}");

    let nobody = Person::new("http://127.0.0.1:9", KEY);
    let words = ["jobs", "watch", "job_1", "--retries", "0"];
    nobody.refused(&words, 11, &["Is the server running"]).await;
    let ran = nobody.run(&["credits", "--retries", "2"]).await;
    assert_eq!(ran.stderr.matches("(again in").count(), 2, "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stdout_does_not_take_is_a_failure_and_not_lost() {
    let fake = Fake::of_job(|here| completed(&[format!("{here}/f/a.png")])).await;
    let person = person(&fake);
    let url = format!("{}/f/a.png", fake.url);
    for (words, told) in [
        ("generate image x", url.as_str()),
        ("generate image x --no-wait", "job_1"),
        ("generate image x --json", "\"resultUrls\""),
        ("jobs show job_1", "No space left"),
        ("jobs watch job_1 -o -", "fetches it again"),
        ("completion bash", "No space left"),
        ("config defaults", "No space left"),
    ] {
        let mut full = Command::new("sh");
        full.args(["-c", &format!("exec '{VYDRA}' {words} > /dev/full")])
            .envs(person.environment.clone())
            .current_dir(person.home.path());
        let ran = run(full).await;
        assert_eq!(ran.code, Some(1), "{words}: {ran:?}");
        assert!(ran.stderr.contains(told), "{words}: {ran:?}");
    }
    // Whoever has read enough is no failure.
    let mut gone = Command::new("sh");
    gone.args([
        "-c",
        &format!("'{VYDRA}' completion bash | true; exit ${{PIPESTATUS:-0}}"),
    ]);
    assert_eq!(run(gone).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_wrongly_is_not_told_as_a_lack_of_a_login() {
    let fake = Fake::start(|_, _| Answer::Json(200, json!({}))).await;
    let person = person(&fake);
    for words in [
        &["jobs", "show", ""][..],
        &["jobs", "show", ".."],
        &["models", "run", "", "-i", "a=b"],
        &["generate", "image", "x", "--idempotency-key", "a\nb"],
        &["login", "example.com"],
        &["credits", "--server", "example.com"],
        &["generate", "image", "-", "--input-json", "-"],
    ] {
        let told = person.refused(words, 2, &[]).await;
        assert!(!told.contains("vydra login"), "{words:?}: {told}");
    }
    assert!(
        fake.asked().is_empty(),
        "nothing is asked: {:?}",
        fake.asked()
    );
    // A key that nobody checked is not kept.
    let words = ["login", &fake.url];
    person
        .refused(&words, 9, &["does not answer as a Vydra server does"])
        .await;
    assert!(!person.credentials().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_can_read_is_told() {
    let fake = Fake::start(|_, asked| {
        let away = asked.line.starts_with("GET http://vydra.invalid/");
        Answer::Json(
            200,
            if away {
                json!({})
            } else {
                json!({"creditsRemaining": 7})
            },
        )
    })
    .await;
    let mut person = Person::stranger(KEY);
    let file = person.credentials();
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(
        &file,
        json!({"baseUrl": fake.url, "apiKey": KEY}).to_string(),
    )
    .unwrap();
    for (mode, is_told) in [(0o644, true), (0o600, false)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let ran = person.run(&["credits"]).await;
        assert_eq!(
            (ran.code, ran.stderr.contains("chmod 600")),
            (Some(0), is_told),
            "{ran:?}"
        );
    }
    // As a proxy, it can be a server elsewhere.
    person.environment.push(("http_proxy", fake.url.clone()));
    person.environment.push(("VYDRA_API_KEY", KEY.to_owned()));
    let ran = person.run(&["login", "http://vydra.invalid"]).await;
    assert!(ran.stderr.contains("without encryption"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_the_json_has_all_and_stderr_one() {
    let fake = Fake::start(|_, asked| match asked.line.as_str() {
        "POST /api/v1/jobs" => Answer::Json(
            402,
            json!({"error": "poor", "code": "INSUFFICIENT_CREDITS"}),
        ),
        _ => Answer::Json(404, json!({})),
    })
    .await;
    let words = [&IMAGE[..], &["-n", "3", "--json"]].concat();
    let ran: Ran = person(&fake).run(&words).await;
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (ran.code, told["errors"].as_array().unwrap().len()),
        (Some(4), 3)
    );
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");

    // Interrupted, what has ended is told all the same; what failed beside it fails alone.
    let bought = AtomicUsize::new(0);
    let fake = Fake::start(move |here, asked| match asked.line.as_str() {
        "POST /api/v1/jobs" => match bought.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::Json(201, pending()),
            1 => Answer::Json(
                402,
                json!({"error": "poor", "code": "INSUFFICIENT_CREDITS"}),
            ),
            _ => Answer::Held,
        },
        line if line.starts_with("GET /api/v1/jobs/job_1?") => {
            Answer::Json(200, completed(&[format!("{here}/f/a.png")]))
        }
        _ => Answer::Json(404, json!({})),
    })
    .await;
    let words = [&IMAGE[..], &["-n", "4", "--json"]].concat();
    let mut several = Server::begin(person(&fake).vydra(&words));
    until("the last two are sent", async || {
        (purchases(&fake) == 4).then_some(())
    })
    .await;
    several.signal("-INT").await;
    let line = several.line_with("errors").await;
    let told: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(several.ended().await.code(), Some(130));
    assert_eq!(
        (&told["count"], &told["data"][0]["id"]),
        (&json!(1), &json!("job_1")),
        "{told}"
    );
    let exits: Vec<&Value> = told["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["exitCode"])
        .collect();
    assert_eq!(exits, [130, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_flag_says_to_the_server_what_it_says() {
    let fake = Fake::start(|here, asked| match asked.line.as_str() {
        line if line.contains("/upload") => {
            Answer::Json(200, json!({"url": format!("{here}/f/a")}))
        }
        _ => Answer::Json(201, pending()),
    })
    .await;
    let person = person(&fake);
    let more = [
        "--no-wait",
        "--webhook-url",
        "https://example.com/hook",
        "--no-fallback",
    ];
    person.prose(&[&IMAGE[..], &more].concat()).await;
    let asked = fake.asked().pop().unwrap();
    assert_eq!(asked.body["webhookUrl"], "https://example.com/hook");
    assert_eq!(asked.header("x-vydra-no-fallback"), Some("true"));
    person
        .prose(&["generate", "speech", "hello", "--voice", "v1", "--no-wait"])
        .await;
    assert_eq!(fake.asked().pop().unwrap().body["voice_id"], "v1");
    person
        .prose(&["models", "run", "/models/a/b", "-i", "c=d", "--no-wait"])
        .await;
    assert_eq!(fake.asked().pop().unwrap().line, "POST /api/v1/models/a/b");
    fs::write(person.path("clip.bin"), "x").unwrap();
    person
        .prose(&["upload", "clip.bin", "--type", "video"])
        .await;
    assert!(fake.asked().pop().unwrap().line.contains("type=video"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_at_the_question_for_a_key_leaves_the_terminal_as_it_was() {
    if !installed("script").await {
        return;
    }
    let person = Person::stranger(KEY);
    let plain = person.vydra(&[]);
    let line = format!("trap : INT; '{VYDRA}' login http://127.0.0.1:9; echo code $?; stty -a");
    let mut terminal = Command::new("script");
    terminal
        .args(["-qec", &line, "/dev/null"])
        .env("SHELL", "/bin/sh");
    for (name, value) in plain.as_std().get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    let pipes = terminal.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = pipes.kill_on_drop(true).spawn().unwrap();
    let mut keys = terminal.stdin.take().unwrap();
    let mut screen = terminal.stdout.take().unwrap();
    let mut seen = Vec::new();
    let talk = async {
        let mut is_pressed = false;
        while screen.read_buf(&mut seen).await.unwrap() > 0 {
            if !is_pressed && String::from_utf8_lossy(&seen).contains("API key for") {
                keys.write_all(b"\x03").await.unwrap();
                is_pressed = true;
            }
        }
    };
    timeout(PATIENCE, talk).await.expect("it ends");
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("code 130"), "{seen}");
    assert!(
        seen.contains(" echo ") && !seen.contains("-echo "),
        "{seen}"
    );
}
