//! What callers make with the command line: results, files, prices.

use crate::person::{PNG, PROMPT, Person, acme, is_image, is_video};
use crate::programs::{Ran, installed, run};
use crate::server::{VYDRA, text};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use tokio::process::Command;

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

    // Neither is what could not be saved for another reason.
    let spent = api.credits().await;
    let long = "x".repeat(254);
    fs::write(person.path("plain.png"), "mine").unwrap();
    for name in [&long, "/proc/fox.png", "/proc/", "plain"] {
        let words = [&image[..], &["-o", name]].concat();
        person.refused(&words, 1, &[name]).await;
    }
    let pipe = run_in(
        &person,
        "mkfifo pipe.png && ln -s fox.png link.png && chmod 600 fox.png",
    )
    .await;
    assert_eq!(pipe.code, Some(0), "{pipe:?}");
    let words = [&to("pipe.png")[..], &["--force"]].concat();
    person
        .refused(&words, 1, &["pipe.png is no plain file"])
        .await;
    assert_eq!(api.credits().await, spent, "nothing was bought");
    fs::write(person.path("fox.png"), "mine").unwrap();
    person
        .prose(&[&to("link.png")[..], &["--force"]].concat())
        .await;
    let kept = fs::metadata(person.path("fox.png")).unwrap();
    assert_eq!(kept.permissions().mode() & 0o777, 0o600);
    assert!(is_image(&person.path("fox.png")) && person.path("link.png").is_symlink());
    for name in ["pipe.png", "link.png", "plain.png"] {
        fs::remove_file(person.path(name)).unwrap();
    }
    // A name of exactly the longest kind is no hindrance.
    let longest = format!("{}.png", "y".repeat(251));
    person
        .prose(&[&image[..], &["-o", &longest]].concat())
        .await;
    fs::remove_file(person.path(&longest)).unwrap();

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

async fn run_in(person: &Person, line: &str) -> Ran {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(person.home.path());
    run(shell).await
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
