//! The command line as a client: the real binary against a real server, knowing its address and a key.

use crate::programs::{Ran, installed, run, until};
use crate::server::{Data, Server, VYDRA, text};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

const PNG: &[u8] = b"\x89PNG";
const PROMPT: &str = "A fox, in the snow!";

/// Somebody at another machine: an empty home, and no more of the server than its address and a key.
struct Person {
    home: TempDir,
    environment: Vec<(&'static str, String)>,
    key: String,
}

impl Person {
    /// Knows the server and the key from the environment.
    fn new(server: &str, key: &str) -> Self {
        let mut person = Self::stranger(key);
        person
            .environment
            .push(("VYDRA_BASE_URL", server.to_owned()));
        person.environment.push(("VYDRA_API_KEY", key.to_owned()));
        person
    }

    /// Is not logged in; the key is one that nobody may see.
    fn stranger(key: &str) -> Self {
        Self {
            home: tempfile::Builder::new()
                .prefix("vydra e2e'")
                .tempdir()
                .unwrap(),
            environment: Vec::new(),
            key: key.to_owned(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn credentials(&self) -> PathBuf {
        self.path("config/vydra/credentials.json")
    }

    fn vydra(&self, words: &[&str]) -> Command {
        let mut command = Command::new(VYDRA);
        command
            .args(words)
            .env_remove("VYDRA_API_KEY")
            .env_remove("VYDRA_BASE_URL")
            .env("XDG_CONFIG_HOME", self.path("config"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home.path());
        command
    }

    /// Whatever happens, nothing that is printed shows the key, nor moves a cursor where no terminal is.
    fn checked(&self, ran: Ran, words: &[&str]) -> Ran {
        for printed in [&ran.stdout, &ran.stderr] {
            assert!(!printed.contains(&self.key), "{words:?} shows the key");
            assert!(!printed.contains('\x1b'), "{words:?}: {ran:?}");
        }
        ran
    }

    async fn run(&self, words: &[&str]) -> Ran {
        self.checked(run(self.vydra(words)).await, words)
    }

    async fn run_with(&self, words: &[&str], stdin: &str) -> Ran {
        let mut command = self.vydra(words);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = pipes.stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(stdin.as_bytes()).await.unwrap();
        drop(pipe);
        let output = child.wait_with_output().await.unwrap();
        let ran = Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        self.checked(ran, words)
    }

    /// All of stdout of a command that must succeed.
    async fn prose(&self, words: &[&str]) -> String {
        let ran = self.run(words).await;
        assert_eq!(ran.code, Some(0), "{words:?}: {ran:?}");
        ran.stdout
    }

    /// The same with `--json`: one object on one line, and nothing beside it.
    async fn json(&self, words: &[&str]) -> Value {
        let words = [words, &["--json"]].concat();
        let ran = self.run(&words).await;
        assert_eq!(
            (ran.code, ran.stderr.as_str()),
            (Some(0), ""),
            "{words:?}: {ran:?}"
        );
        assert_eq!(ran.stdout.lines().count(), 1, "{words:?}: {ran:?}");
        let value: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert!(value.is_object(), "{words:?}: {value}");
        value
    }

    /// Nothing on stdout, this exit code, one sentence and, below it, these words.
    async fn refused(&self, words: &[&str], code: i32, told: &[&str]) -> String {
        let ran = self.run(words).await;
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(code), ""),
            "{words:?}: {ran:?}"
        );
        let errors = ran
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "));
        assert_eq!(errors.count(), 1, "{words:?}: {ran:?}");
        for words in told {
            assert!(ran.stderr.contains(words), "no {words:?} in {ran:?}");
        }
        ran.stderr
    }
}

fn is_image(file: &Path) -> bool {
    fs::read(file).unwrap().starts_with(PNG)
}

/// A server, and a key of the organization acme.
async fn acme(more: &[&str]) -> (Data, Server, String) {
    let data = Data::new();
    let org = data.org("acme", 1_000).await;
    let key = data.key(&org, more).await;
    let server = data.serve().await;
    (data, server, key)
}

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
async fn an_image_is_told_saved_or_piped_and_overwrites_nothing() {
    let (_data, server, key) = acme(&[]).await;
    let person = Person::new(&server.url, &key);
    let api = server.api(&key);
    let image = ["generate", "image", PROMPT];

    let ran = person.run(&image).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let url = ran.stdout.strip_suffix('\n').unwrap();
    assert!(
        url.starts_with(&server.url) && !url.contains('\n'),
        "{ran:?}"
    );
    assert!(api.fetch(url).await.body.starts_with(PNG));
    assert!(
        ran.stderr.ends_with("completed, cost 5 credits\n"),
        "{ran:?}"
    );

    let to = |name: &'static str| [&image[..], &["-o", name]].concat();
    assert_eq!(person.prose(&to("fox.png")).await, "fox.png\n");
    assert!(is_image(&person.path("fox.png")));
    assert_eq!(person.prose(&to("boat")).await, "boat.png\n");
    let ran = person.run(&to("hare.jpg")).await;
    assert!(ran.stderr.contains("hare.jpg holds PNG"), "{ran:?}");
    let spent = api.credits().await;
    assert_eq!(spent, 980);

    // Nothing is bought that could not be saved.
    fs::write(person.path("fox.png"), "mine").unwrap();
    person
        .refused(&to("fox.png"), 1, &["fox.png is there already", "--force"])
        .await;
    person
        .refused(&to("no/fox.png"), 1, &["no folder no"])
        .await;
    let both = [&to("-")[..], &["--json"]].concat();
    let ran = person.run(&both).await;
    let told: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(
        (ran.code, &told["exitCode"]),
        (Some(2), &json!(2)),
        "{ran:?}"
    );
    person
        .refused(&[&to("-")[..], &["-n", "2"]].concat(), 2, &["folder"])
        .await;
    assert_eq!(api.credits().await, spent);
    assert_eq!(fs::read(person.path("fox.png")).unwrap(), b"mine");
    person
        .prose(&[&to("fox.png")[..], &["--force"]].concat())
        .await;
    assert!(is_image(&person.path("fox.png")));

    // The name says what it is, and of which job.
    let told = person.prose(&to("new/")).await;
    let file = told.trim_end();
    assert!(file.starts_with("new/a-fox-in-the-snow-"), "{told}");
    assert!(is_image(&person.path(file)));
    let id = api.get("jobs?limit=1").await.expect(200)["data"][0]["id"].clone();
    let watch = ["jobs", "watch", &text(&id), "-o", "new"];
    let ran = person.run(&watch).await;
    let again = format!("{}-2.png", file.strip_suffix(".png").unwrap());
    assert_eq!(ran.stdout.trim_end(), again, "{ran:?}");
    assert!(ran.stderr.contains("is there already"), "{ran:?}");

    // What was paid for and cannot be saved is not lost.
    let spent = api.credits().await;
    let long = "x".repeat(254);
    let lost = [&image[..], &["-o", &long]].concat();
    let ran = person.run(&lost).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    assert!(
        ran.stderr
            .contains(&format!("kept at {}/media/", server.url)),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("`vydra jobs watch job_"), "{ran:?}");
    assert_eq!(api.credits().await, spent - 5);

    let spent = api.credits().await;
    let mut piped = person.vydra(&to("-"));
    let piped = piped.output().await.unwrap();
    assert!(piped.status.success() && piped.stdout.starts_with(PNG));
    assert_eq!(api.credits().await, spent - 5);
    let folder = fs::read_dir(person.home.path()).unwrap();
    let names: Vec<String> = folder
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        names.len(),
        4,
        "nothing is left beside the results: {names:?}"
    );
    server.stop().await;
}

/// Everywhere else no output has an escape code: each run of this file looks.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_a_bar_shows_how_far_it_is() {
    if !installed("script").await {
        return;
    }
    let (_data, server, key) = acme(&[]).await;
    let person = Person::new(&server.url, &key);
    let plain = person.vydra(&["generate", "image", "boat", "-o", "boat.png"]);
    let mut terminal = Command::new("script");
    let words = format!("'{VYDRA}' generate image boat -o boat.png");
    terminal
        .args(["-qefc", &words, "/dev/null"])
        .env("TERM", "xterm")
        .current_dir(person.home.path());
    for (name, value) in plain.as_std().get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    let ran = run(terminal).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stdout.contains("100%") && ran.stdout.contains("\x1b["),
        "{ran:?}"
    );
    let last = ran
        .stdout
        .split(['\r', '\n'])
        .map(|line| line.trim_start_matches("\x1b[2K"));
    assert!(last.into_iter().any(|line| line == "boat.png"), "{ran:?}");
    assert!(!ran.stdout.contains(&key), "{ran:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_are_bought_each_once_and_within_a_bound() {
    let (_data, server, key) = acme(&[]).await;
    let person = Person::new(&server.url, &key);
    let api = server.api(&key);
    let image = ["generate", "image", PROMPT, "--count", "3"];

    let ran = person.run(&[&image[..], &["-o", "fox.png"]].concat()).await;
    let mut files: Vec<&str> = ran.stdout.lines().collect();
    files.sort_unstable();
    assert_eq!(files, ["fox-1.png", "fox-2.png", "fox-3.png"], "{ran:?}");
    assert!(files.iter().all(|file| is_image(&person.path(file))));
    assert_eq!(api.credits().await, 985);
    let taken = [&image[..], &["-o", "fox.png"]].concat();
    person
        .refused(&taken, 1, &["fox-1.png is there already"])
        .await;

    // The bound is of all together; the price is told of all together.
    let dear = [&image[..], &["--max-credits", "14"]].concat();
    let told = ["costs 15 credits, more than the 14", "Nothing was bought"];
    person.refused(&dear, 4, &told).await;
    let dear = ["generate", "image", PROMPT, "--max-credits", "4"];
    let told = ["costs 5 credits, more than the 4", "Nothing was bought"];
    person.refused(&dear, 4, &told).await;
    assert_eq!(api.credits().await, 985);
    let dry = [&image[..], &["--dry-run"]].concat();
    assert_eq!(person.prose(&dry).await, "15 credits: 3 of 5 each\n");
    let told = person.json(&dry).await;
    assert_eq!(
        (&told["creditsTotal"], &told["credits"]),
        (&json!(15), &json!(5))
    );

    let once = [
        &image[..],
        &["--max-credits", "15", "--idempotency-key", "k"],
    ]
    .concat();
    let first = person.json(&once).await;
    let second = person.json(&once).await;
    let ids = |told: &Value| {
        let data = told["data"].as_array().unwrap();
        data.iter().map(|job| text(&job["id"])).collect::<Vec<_>>()
    };
    assert_eq!((&first["count"], &first["errors"]), (&json!(3), &json!([])));
    assert_eq!(ids(&first), ids(&second));
    assert_eq!(api.credits().await, 970);
    let other = ["generate", "image", "another", "--idempotency-key", "k-1"];
    person.refused(&other, 7, &["IDEMPOTENCY_CONFLICT"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_sent_in_and_a_dry_run_does_nothing() {
    let (_data, server, key) = acme(&[]).await;
    let person = Person::new(&server.url, &key);
    let api = server.api(&key);
    person
        .prose(&["generate", "image", PROMPT, "-o", "fox.png"])
        .await;
    let before = api.credits().await;
    let assets = async || api.get("assets").await.expect(200)["pagination"]["count"].clone();
    let sent = assets().await;

    let video = [
        "generate",
        "video",
        "it runs",
        "--image",
        "fox.png",
        "--duration",
        "2",
    ];
    let more = [
        "--reference",
        "fox.png",
        "--aspect",
        "9:16",
        "--model",
        "seedance",
    ];
    let video = [&video[..], &more].concat();
    let dry = [&video[..], &["--dry-run"]].concat();
    assert_eq!(person.prose(&dry).await, "150 credits\n");
    assert_eq!(person.json(&dry).await["credits"], 150);
    let edit = ["-i", "prompt=winter", "-i", "imageUrl=fox.png"];
    let quote = [
        &["quote", "--model", "flux-edit", "-i", "numImages=2"],
        &edit[..],
    ]
    .concat();
    let told = person.prose(&quote).await;
    assert_eq!(told, "30 credits\n  FLUX Edit: 2 × 15 = 30\n");
    assert_eq!(person.json(&quote).await["breakdown"][0]["units"], 2);
    let quote = [&["quote", "--workflow", "edit_image"], &edit[..]].concat();
    assert_eq!(person.json(&quote).await["credits"], 5);
    assert_eq!((api.credits().await, assets().await), (before, sent));

    let job = person
        .json(&[&video[..], &["-o", "fox.mp4"]].concat())
        .await;
    assert_eq!(
        (&job["status"], &job["files"]),
        (&json!("completed"), &json!(["fox.mp4"]))
    );
    let input = &job["input"];
    assert_eq!(
        (&input["duration"], &input["aspect_ratio"]),
        (&json!(2), &json!("9:16"))
    );
    assert_eq!(
        input["image_urls"],
        json!([input["image_url"]]),
        "it is sent once"
    );
    assert!(
        fs::read(person.path("fox.mp4")).unwrap()[..12].ends_with(b"ftypisom")
            || is_video(&person.path("fox.mp4"))
    );

    let told = person
        .prose(&[&["jobs", "create", "edit_image"], &edit[..]].concat())
        .await;
    assert!(
        api.fetch(told.trim_end()).await.body.starts_with(PNG),
        "{told}"
    );
    let run = [
        &[
            "models",
            "run",
            "flux-edit",
            "-i",
            "numImages=2",
            "-o",
            "winter.png",
        ],
        &edit[..],
    ];
    let told = person.prose(&run.concat()).await;
    assert_eq!(told, "winter-1.png\nwinter-2.png\n");
    let speech = person
        .run_with(
            &["generate", "speech", "-", "-o", "hello"],
            "Hello there.\n",
        )
        .await;
    let file = speech.stdout.trim_end();
    assert!(
        file.starts_with("hello.") && person.path(file).is_file(),
        "{speech:?}"
    );
    let all = person.json(&["jobs", "list"]).await;
    assert_eq!(all["data"][0]["input"]["text"], "Hello there.");

    let none = ["generate", "video", "x", "--image", "none.png"];
    person
        .refused(&none, 2, &["there is no file", "https://"])
        .await;
    person
        .refused(&["upload", "none.png"], 1, &["there is no file"])
        .await;
    fs::write(person.path("text.png"), "no image").unwrap();
    person
        .refused(&["upload", "text.png"], 2, &["INVALID_FILE_TYPE"])
        .await;
    let url = person.prose(&["upload", "fox.png"]).await;
    assert!(
        api.fetch(url.trim_end()).await.body.starts_with(PNG),
        "{url}"
    );
    let told = person.json(&["upload", "fox.mp4"]).await;
    assert_eq!(told["type"], "video/mp4");
    server.stop().await;
}

fn is_video(file: &Path) -> bool {
    fs::read(file).unwrap()[..12]
        .windows(4)
        .any(|bytes| bytes == b"ftyp")
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
async fn jobs_are_listed_shown_watched_and_cancelled() {
    let (_data, server, key) = acme(&["--test"]).await;
    let person = Person::new(&server.url, &key);
    let api = server.api(&key);
    let ran = person.run(&["jobs", "list"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    assert!(ran.stderr.contains("vydra generate image"), "{ran:?}");

    let start = async |outcome: &str| {
        let words = [
            "generate",
            "image",
            PROMPT,
            "--no-wait",
            "--simulate",
            outcome,
        ];
        let ran = person.run(&words).await;
        let id = ran.stdout.trim_end().to_owned();
        assert!(id.starts_with("job_") && !id.contains('\n'), "{ran:?}");
        assert!(
            ran.stderr.contains(&format!("vydra jobs watch {id}")),
            "{ran:?}"
        );
        id
    };
    let slow = start("SLOW=600s").await;
    let shown = person.prose(&["jobs", "show", &slow]).await;
    assert!(
        shown.starts_with(&slow) && shown.contains("cost      5 credits"),
        "{shown}"
    );
    let impatient = ["jobs", "watch", &slow, "--timeout", "1ms"];
    person
        .refused(&impatient, 12, &["vydra jobs watch", "goes on"])
        .await;
    let told = person.prose(&["jobs", "cancel", &slow]).await;
    assert_eq!(told, format!("{slow} is cancelled: 5 credits came back.\n"));
    assert_eq!(
        person.json(&["jobs", "cancel", &slow]).await["status"],
        "cancelled"
    );
    person
        .refused(&["jobs", "watch", &slow], 13, &["cancelled"])
        .await;

    let failing = start("GENERATION_FAILED").await;
    person
        .refused(&["jobs", "watch", &failing], 10, &["GENERATION_FAILED"])
        .await;
    let done = start("SLOW=1ms").await;
    let ran = person.run(&["jobs", "watch", &done, "-o", "fox.png"]).await;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "fox.png\n"),
        "{ran:?}"
    );
    assert!(is_image(&person.path("fox.png")));
    let job = person.json(&["jobs", "watch", &done]).await;
    assert_eq!((&job["id"], &job["files"]), (&json!(done), &json!([])));
    assert_eq!(
        person.json(&["jobs", "show", &done]).await["status"],
        "completed"
    );
    person
        .refused(&["jobs", "cancel", &done], 7, &["JOB_NOT_CANCELLABLE"])
        .await;
    let told = person.prose(&["jobs", "show", &slow, "--charges"]).await;
    assert!(
        told.contains("cost 0 credits: charged 5, refunded 5"),
        "{told}"
    );
    let told = person.json(&["jobs", "show", &done, "--charges"]).await;
    assert_eq!(told["creditsNet"], 5);

    let asset = text(&job["output"]["assets"][0]["id"]);
    api.delete(&format!("assets/{asset}")).await.expect(200);
    let ran = person
        .run(&["jobs", "watch", &done, "-o", "gone.png"])
        .await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    assert!(ran.stderr.contains("deleted since"), "{ran:?}");

    let table = person.prose(&["jobs", "list"]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("ID ") && lines.len() == 4, "{table}");
    assert!(
        lines[1].starts_with(&done) && lines[1].ends_with(PROMPT),
        "{table}"
    );
    let failed = person.json(&["jobs", "list", "--status", "failed"]).await;
    assert_eq!(
        (&failed["count"], &failed["data"][0]["id"]),
        (&json!(1), &json!(failing))
    );
    let first = person.json(&["jobs", "list", "--limit", "2"]).await;
    let cursor = text(&first["nextCursor"]);
    let rest = person.json(&["jobs", "list", "--after", &cursor]).await;
    assert_eq!((&first["count"], &rest["count"]), (&json!(2), &json!(1)));
    assert_eq!(
        (&rest["data"][0]["id"], &rest["nextCursor"]),
        (&json!(slow), &Value::Null)
    );

    // Others' words do not move the cursor of whoever lists them.
    let sly = json!({"workflow": "generate_image", "input": {"prompt": "a\u{1b}[31m\u{7}b"}});
    api.post("jobs", &sly).await.expect(201);
    let table = person.prose(&["jobs", "list", "--limit", "1"]).await;
    assert!(table.contains("a [31m b"), "{table}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_the_job_alone_or_cancels_it() {
    let (_data, server, key) = acme(&["--test"]).await;
    let person = Person::new(&server.url, &key);
    let api = server.api(&key);
    let words = ["generate", "image", PROMPT, "--simulate", "SLOW=600s"];
    let interrupted = async |words: &[&str], jobs: usize| {
        let mut waiting = Server::begin(person.vydra(words));
        until("it waits", async || {
            (waiting.log().matches(" running").count() == jobs).then_some(())
        })
        .await;
        waiting.signal("-INT").await;
        let status = waiting.ended().await;
        assert_eq!(status.code(), Some(130), "{}", waiting.log());
        waiting.log()
    };
    let latest = async || api.get("jobs?limit=1").await.expect(200)["data"][0].clone();

    let told = interrupted(&words, 1).await;
    let job = latest().await;
    let id = text(&job["id"]);
    assert!(told.contains(&format!("{id} goes on")), "{told}");
    assert!(told.contains(&format!("`vydra jobs watch {id}`")), "{told}");
    assert_eq!(job["status"], "running");
    let told = interrupted(&["jobs", "watch", &id, "--cancel-on-interrupt"], 1).await;
    assert!(
        told.contains(&format!("{id} is cancelled: 5 credits came back.")),
        "{told}"
    );
    assert_eq!(latest().await["status"], "cancelled");

    let two = [&words[..], &["-n", "2", "--cancel-on-interrupt"]].concat();
    interrupted(&two, 2).await;
    let open = api.get("jobs?status=running").await.expect(200);
    assert_eq!(open["pagination"]["count"], 0);
    assert_eq!(api.credits().await, 10_000);
    server.stop().await;
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
async fn a_result_is_opened_by_what_this_computer_has_for_it() {
    let (_data, server, key) = acme(&[]).await;
    let mut person = Person::new(&server.url, &key);
    let opener = person.path("bin/xdg-open");
    fs::create_dir(person.path("bin")).unwrap();
    fs::write(
        &opener,
        format!(
            "#!/bin/sh\necho \"$1\" >> \"{}\"\n",
            person.path("opened").display()
        ),
    )
    .unwrap();
    fs::set_permissions(&opener, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", person.path("bin").display());
    person.environment.push(("PATH", path));
    let image = ["generate", "image", PROMPT, "--open"];
    let url = person.prose(&image).await;
    person
        .prose(&[&image[..], &["-o", "fox.png"]].concat())
        .await;
    let opened = fs::read_to_string(person.path("opened")).unwrap();
    assert_eq!(
        opened,
        format!("{url}{}\n", person.path("fox.png").display())
    );
    // Without such a program the result is there all the same.
    fs::remove_file(&opener).unwrap();
    person
        .environment
        .push(("PATH", person.path("bin").display().to_string()));
    let ran = person.run(&image).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stdout.starts_with("http") && ran.stderr.contains("cannot be opened"),
        "{ran:?}"
    );
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
