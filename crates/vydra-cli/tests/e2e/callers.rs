//! The command line as a client: who one is, what is told, how it fails.

use crate::person::{PROMPT, Person, acme};
use crate::programs::{installed, run};
use crate::server::{Server, text};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_logs_in_is_told_who_they_are_and_need_say_it_no_more() {
    let (data, server, key) = acme(&[]).await;
    let person = Person::stranger(&key);
    let file = person.credentials();
    let login = ["login", &server.url, "--api-key-stdin"];

    let told = person
        .refused(&["credits"], 3, &["You are not logged in.", "vydra login"])
        .await;
    assert!(told.contains("VYDRA_BASE_URL"), "{told}");
    person
        .refused(&["login"], 2, &["vydra login https://"])
        .await;
    person
        .refused(&["login", &server.url], 2, &["--api-key-stdin"])
        .await;
    // What the server does not take is not kept.
    let bad = format!("{}x", &key[..key.len() - 1]);
    for wrong in [bad.as_str(), "nonsense", "", "two words"] {
        let ran = person.run_with(&login, wrong).await;
        assert!(matches!(ran.code, Some(2 | 3)), "{wrong:?}: {ran:?}");
        assert!(ran.stderr.starts_with("error: "), "{ran:?}");
        assert!(wrong.is_empty() || !ran.stderr.contains(wrong), "{ran:?}");
    }
    assert!(!file.exists());

    let ran = person.run_with(&login, &format!("{key}\nmore\n")).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let greeting = format!("Logged in to {} as acme, plan enterprise.\n", server.url);
    assert!(ran.stdout.starts_with(&greeting), "{ran:?}");
    assert!(ran.stdout.contains("1000 live credits"), "{ran:?}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(kept, json!({"baseUrl": server.url, "apiKey": key}));
    assert_eq!(
        person.prose(&["credits"]).await.lines().next(),
        Some("1000 credits left")
    );

    // The kept key goes to the kept server only.
    let elsewhere = [
        "credits",
        "--server",
        "http://127.0.0.1:9",
        "--retries",
        "0",
    ];
    person
        .refused(
            &elsewhere,
            3,
            &["have no key for http://127.0.0.1:9", "vydra login"],
        )
        .await;
    let mut listening = Server::begin(person.vydra(&["listen"]));
    listening
        .line_with(&format!("Showing events of {}", server.url))
        .await;
    listening.terminate().await;
    listening.ended().await;
    // Another login replaces it; the server need not be said again.
    let test = data.key("acme", &["--test"]).await;
    let ran = person
        .run_with(&["login", "--api-key-stdin", "--json"], &test)
        .await;
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&told["server"], &told["mode"], &told["creditsRemaining"]),
        (&json!(server.url), &json!("test"), &json!(10_000))
    );
    assert_eq!(told["organization"]["name"], "acme");
    assert!(!ran.stdout.contains(&test), "{ran:?}");

    // A key that may not read the account is a good key.
    let narrow = data.key("acme", &["--scope", "models:write"]).await;
    let mut other = Person::stranger(&narrow);
    other.environment.push(("VYDRA_API_KEY", narrow.clone()));
    let told = other.prose(&["login", &server.url]).await;
    assert!(told.contains("may not tell whose it is"), "{told}");
    assert!(other.credentials().exists());

    assert_eq!(person.json(&["logout"]).await, json!({"loggedOut": true}));
    assert!(!file.exists());
    assert_eq!(person.prose(&["logout"]).await, "Nobody was logged in.\n");
    person.refused(&["jobs", "list"], 3, &["vydra login"]).await;
    fs::write(&file, "{").unwrap();
    person
        .refused(&["jobs", "list"], 3, &["credentials.json", "vydra login"])
        .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_class_of_errors_has_its_exit_code_and_says_what_to_do() {
    let (data, server, key) = acme(&["--test"]).await;
    let person = Person::new(&server.url, &key);
    let api = server.api(&key);
    let simulate = |outcome: &'static str| {
        [
            "generate",
            "image",
            PROMPT,
            "--retries",
            "0",
            "--simulate",
            outcome,
        ]
    };
    for (code, exit, told) in [
        ("INVALID_INPUT", 2, ""),
        ("INVALID_FILE_TYPE", 2, ""),
        ("FILE_TOO_LARGE", 2, ""),
        ("INVALID_URL", 2, ""),
        ("MISSING_AUTH", 3, "vydra login"),
        ("INVALID_FORMAT", 3, "vydra login"),
        ("KEY_NOT_FOUND", 3, "vydra login"),
        ("KEY_REVOKED", 3, "vydra login"),
        ("KEY_EXPIRED", 3, "vydra login"),
        ("INSUFFICIENT_CREDITS", 4, "vydra credits"),
        ("INSUFFICIENT_SCOPE", 5, "vydra login"),
        ("NOT_FOUND", 6, ""),
        ("MODEL_NOT_FOUND", 6, "vydra models"),
        ("JOB_NOT_FOUND", 6, "vydra jobs list"),
        ("METHOD_NOT_ALLOWED", 9, ""),
        ("IDEMPOTENCY_CONFLICT", 7, ""),
        ("JOB_NOT_CANCELLABLE", 7, ""),
        ("RATE_LIMIT_EXCEEDED", 8, "try again in"),
        ("INTERNAL_ERROR", 9, "request's id"),
        ("UNAVAILABLE", 9, "request's id"),
    ] {
        let named = format!("  {code}, request req_");
        person.refused(&simulate(code), exit, &[&named, told]).await;
    }
    let balance = api.credits().await;
    assert_eq!(balance, 10_000, "nothing was bought");
    for (outcome, code) in [
        ("GENERATION_FAILED", "GENERATION_FAILED"),
        ("CONTENT_POLICY", "GENERATION_FAILED"),
        ("PROCESSING_TIMEOUT", "PROCESSING_TIMEOUT"),
    ] {
        person
            .refused(&simulate(outcome), 10, &["credits back", code])
            .await;
    }
    let told = person
        .refused(&simulate("CONTENT_POLICY"), 10, &["change the input"])
        .await;
    assert!(told.contains("content_policy"), "{told}");
    assert_eq!(api.credits().await, balance, "all of it came back");

    let ran = person
        .run(&[&simulate("INSUFFICIENT_CREDITS")[..], &["--json"]].concat())
        .await;
    let told: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(4), ""));
    assert_eq!(
        (&told["code"], &told["exitCode"], &told["retryable"]),
        (&json!("INSUFFICIENT_CREDITS"), &json!(4), &json!(false))
    );
    assert!(text(&told["requestId"]).starts_with("req_"), "{told}");

    // What is wrong is said in the server's own words, too.
    let wrong = [
        "generate", "image", "x", "--aspect", "7:1", "--model", "none", "-i", "seed=1",
    ];
    let told = person
        .refused(&wrong[..5], 2, &["aspect_ratio", "16:9"])
        .await;
    assert!(told.contains("INVALID_INPUT"), "{told}");
    let model = ["generate", "image", "x", "--model", "flux-edit"];
    person
        .refused(&model, 6, &["gemini-image", "vydra models run"])
        .await;
    person
        .refused(
            &["jobs", "create", "none", "-i", "a=b"],
            2,
            &["generate_image"],
        )
        .await;
    person
        .refused(&["jobs", "show", "job_none"], 6, &["JOB_NOT_FOUND"])
        .await;
    person
        .refused(
            &["models", "show", "none"],
            6,
            &["MODEL_NOT_FOUND", "vydra models"],
        )
        .await;
    person
        .refused(
            &["models", "run", "seedance", "-i", "prompt=x"],
            2,
            &["workflows"],
        )
        .await;
    for (words, told) in [
        (&["-i", "seed"][..], "KEY=VALUE"),
        (&["--input-json", "["], "JSON object"),
        (&["--count", "0"], "--count"),
        (&["--no-wait", "-o", "a.png"], "--no-wait"),
    ] {
        let words = [&["generate", "image", "x"], words].concat();
        person.refused(&words, 2, &[told]).await;
    }
    person.refused(&["generate", "image"], 2, &["PROMPT"]).await;

    let poor = data.key("acme", &["--scope", "models:write"]).await;
    let poor = Person::new(&server.url, &poor);
    poor.refused(&["usage"], 5, &["INSUFFICIENT_SCOPE", "Needed: "])
        .await;
    let prompt = format!("prompt={PROMPT}");
    poor.prose(&["models", "run", "gemini/generate", "-i", &prompt])
        .await;
    server.stop().await;

    let away = ["--server", "http://127.0.0.1:9", "--retries", "0"];
    let bought = [&["generate", "image", "x"], &away[..]].concat();
    let told = person
        .refused(
            &bought,
            11,
            &["Is the server running", "--idempotency-key cli-"],
        )
        .await;
    assert!(told.contains("once at most"), "{told}");
    person
        .refused(
            &[&["credits"], &away[..]].concat(),
            11,
            &["Is the server running"],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_credits_and_usage_are_told() {
    let (_data, server, key) = acme(&[]).await;
    let person = Person::new(&server.url, &key);
    let table = person.prose(&["models"]).await;
    for model in ["gemini-image", "veo3", "elevenlabs-tts"] {
        assert!(table.lines().any(|line| line.starts_with(model)), "{table}");
    }
    let videos = person.json(&["models", "--kind", "video"]).await;
    let videos = videos["data"].as_array().unwrap();
    assert!(videos.iter().all(|model| model["kind"] == "video") && videos.len() > 3);
    let images = person.prose(&["models", "--kind", "image"]).await;
    assert!(
        images.contains("grok-imagine") && images.contains("8 or 150"),
        "{images}"
    );
    let shown = person.prose(&["models", "show", "flux-edit"]).await;
    for told in [
        "credits   15 / image",
        "path      flux-edit/edit",
        "imageUrl*",
        "1 to 4 [1]",
    ] {
        assert!(shown.contains(told), "no {told:?} in {shown}");
    }
    assert_eq!(
        person.json(&["models", "show", "flux-edit"]).await["slug"],
        "flux-edit"
    );

    person.prose(&["generate", "image", PROMPT]).await;
    let told = person.prose(&["credits"]).await;
    assert_eq!(told, "995 credits left\n  used 5, of which 0 came back\n");
    let told = person.json(&["credits"]).await;
    assert_eq!(
        told,
        json!({"creditsRemaining": 995, "creditsUsed": 5, "creditsRefunded": 0})
    );
    let table = person.prose(&["usage", "--by", "model"]).await;
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0][..2], ["MODEL", "JOBS"]);
    assert_eq!(lines[1], ["gemini-image", "1", "1", "0", "0", "0", "5"]);
    assert_eq!(lines[2], ["in", "all", "1", "1", "0", "0", "0", "5"]);
    let told = person.json(&["usage", "--by", "key"]).await;
    assert_eq!(
        (&told["by"], &told["totals"]["creditsNet"]),
        (&json!("key"), &json!(5))
    );
    person
        .refused(&["usage", "--from", "yesterday"], 2, &["from"])
        .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_are_scripts_of_their_shells() {
    let person = Person::stranger("no key");
    for (shell, check) in [
        ("bash", &["bash", "-n"][..]),
        ("zsh", &["zsh", "-n"]),
        ("fish", &["fish", "--no-execute"]),
    ] {
        let script = person.prose(&["completion", shell]).await;
        for word in [
            "generate",
            "dry-run",
            "cancel-on-interrupt",
            "set-retention",
        ] {
            assert!(script.contains(word), "{shell} does not complete {word}");
        }
        if !installed(check[0]).await {
            continue;
        }
        let file = person.path(shell);
        fs::write(&file, script).unwrap();
        let mut parse = Command::new(check[0]);
        parse.args(&check[1..]).arg(&file);
        let ran = run(parse).await;
        assert_eq!(
            (ran.code, ran.stderr.as_str()),
            (Some(0), ""),
            "{shell}: {ran:?}"
        );
    }
    for shell in ["elvish", "powershell"] {
        assert!(
            person
                .prose(&["completion", shell])
                .await
                .contains("generate")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_says_which_commands_are_whose() {
    let person = Person::stranger("no key");
    let help = person.prose(&["--help"]).await;
    let (callers, operators) = help.split_once("Commands for operators").unwrap();
    let callers = callers.split_once("Commands for callers").unwrap().1;
    let listed = |part: &str, name: &str| {
        let start = format!("  {name} ");
        part.lines().any(|line| line.starts_with(&start))
    };
    for name in ["login", "generate", "jobs", "models", "credits", "listen"] {
        assert!(
            listed(callers, name) && !listed(operators, name),
            "{name}: {help}"
        );
    }
    for name in ["dev", "serve", "org", "ledger", "doctor"] {
        assert!(
            !listed(callers, name) && listed(operators, name),
            "{name}: {help}"
        );
    }
    for words in [
        &["generate", "image"][..],
        &["jobs", "watch"],
        &["models", "run"],
    ] {
        let help = person.prose(&[words, &["--help"]].concat()).await;
        assert!(
            help.contains("Exit codes:") && help.contains("130  interrupted"),
            "{help}"
        );
    }
}
