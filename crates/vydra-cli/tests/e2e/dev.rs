//! The quick start: everything that `vydra dev` prints is tried, and is true.

use crate::programs::{installed, run};
use crate::server::{Data, Server, VYDRA};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::process::Command;

const SERVING: &str = "Serving on ";

/// The path of the keys' file, as printed.
fn keys_file(printed: &[String]) -> PathBuf {
    let line = printed
        .iter()
        .find(|line| line.trim_start().starts_with("keys "))
        .unwrap();
    let (path, names) = line.trim_start()["keys ".len()..]
        .trim()
        .rsplit_once(" (")
        .unwrap();
    assert_eq!(names, "VYDRA_API_KEY, VYDRA_TEST_KEY)");
    path.into()
}

/// The live and the test key.
fn keys(text: &str) -> (String, String) {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
            .to_owned()
    };
    (value("VYDRA_API_KEY="), value("VYDRA_TEST_KEY="))
}

/// What the show tells of one act: its sentence, and the lines below it.
fn act<'a>(printed: &'a [String], title: &str) -> (&'a str, Vec<&'a str>) {
    let at = printed
        .iter()
        .position(|line| line.starts_with(&format!("  {title} ")));
    let at = at.unwrap_or_else(|| panic!("no {title} in {printed:?}"));
    let below = printed[at + 1..]
        .iter()
        .take_while(|line| line.starts_with("   "));
    (
        printed[at][2 + title.len()..].trim(),
        below.map(|line| line.trim()).collect(),
    )
}

fn ledger(data: &Data, mode: &str) -> Vec<(String, i64)> {
    let database = rusqlite::Connection::open(data.path("vydra.db")).unwrap();
    let mut rows = database
        .prepare("SELECT kind, amount FROM ledger WHERE mode = ?1 ORDER BY seq")
        .unwrap();
    rows.query_map([mode], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

fn rows(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    expected
        .iter()
        .map(|(kind, amount)| ((*kind).to_owned(), *amount))
        .collect()
}

async fn shown(data: &Data) -> Server {
    let mut server = data.dev(&[]).await;
    let line = server.line_with(SERVING).await;
    assert!(line.contains(&server.url), "{line}");
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_prints_is_true() {
    let data = Data::without_providers();
    let server = shown(&data).await;
    let printed = server.printed().to_vec();
    assert!(printed[0].starts_with("vydra ") && printed[0].ends_with(&server.url));

    let file = keys_file(&printed);
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let (live, test) = keys(&fs::read_to_string(&file).unwrap());
    assert!(live.starts_with("vydra_live_user_") && test.starts_with("vydra_test_user_"));
    let (live, test) = (server.api(&live), server.api(&test));

    for (title, charged, media_type, magic) in [
        ("an image", 5, "image/png", &b"\x89PNG"[..]),
        ("a video", 175, "video/mp4", &b"ftyp"[..]),
    ] {
        let (sentence, urls) = act(&printed, title);
        assert_eq!(
            sentence,
            format!("completed: cost {charged} credits, refunded 0")
        );
        assert_eq!(urls.len(), 1, "{urls:?}");
        let file = live.fetch(urls[0]).await;
        assert_eq!((file.status, file.media_type()), (200, media_type));
        assert!(
            file.body[..12].windows(4).any(|bytes| bytes == magic),
            "{title}"
        );
    }
    let (sentence, below) = act(&printed, "a failure");
    assert_eq!(sentence, "failed: cost 5 test credits, refunded 5");
    assert!(below[0].contains("GENERATION_FAILED"), "{below:?}");

    let grant = ("grant", 10_000);
    assert_eq!(
        ledger(&data, "live"),
        rows(&[grant, ("charge", -5), ("charge", -175)])
    );
    assert_eq!(
        ledger(&data, "test"),
        rows(&[grant, ("charge", -5), ("refund", 5)])
    );
    let (sentence, _) = act(&printed, "balance");
    assert_eq!(
        sentence,
        format!("{} credits are left", live.credits().await)
    );
    assert_eq!(test.credits().await, 10_000);
    assert!(
        !server.log().contains("WARN"),
        "nothing is wrong: {}",
        server.log()
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_curl_lines_work_when_pasted() {
    if !installed("curl").await {
        return;
    }
    let data = Data::without_providers();
    let mut server = data.dev(&["--quiet-start"]).await;
    server.line_with(SERVING).await;
    let curls = server.printed().iter().map(|line| line.trim());
    let curls: Vec<&str> = curls.filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(curls.len(), 3);
    let mut answers: Vec<Value> = Vec::new();
    for line in curls {
        let mut shell = Command::new("sh");
        // Another directory than the server's, as another terminal has.
        shell
            .args(["-c", line])
            .current_dir("/")
            .env("no_proxy", "*");
        let ran = run(shell).await;
        assert_eq!(ran.code, Some(0), "{line}: {ran:?}");
        let answer: Value = serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|error| panic!("{line}: {error}: {ran:?}"));
        assert!(answer.get("error").is_none(), "{line}: {answer}");
        answers.push(answer);
    }
    let (live, _) = keys(&fs::read_to_string(keys_file(server.printed())).unwrap());
    let api = server.api(&live);
    assert_eq!(answers[0]["status"], "completed");
    let image = api.fetch(answers[0]["imageUrl"].as_str().unwrap()).await;
    assert_eq!((image.status, image.media_type()), (200, "image/png"));
    let video = api.end_of(answers[1]["jobId"].as_str().unwrap()).await;
    assert_eq!(video["status"], "completed");
    let listed: Vec<&Value> = answers[2]["data"].as_array().unwrap().iter().collect();
    assert_eq!(listed.len(), 2, "the two jobs of the lines before");
    assert_eq!(listed[0]["id"], answers[1]["jobId"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_lines_for_the_command_line_work_when_pasted() {
    let data = Data::without_providers();
    let mut server = data.dev(&["--quiet-start"]).await;
    server.line_with(SERVING).await;
    let lines = server.printed().iter().map(|line| line.trim());
    let lines: Vec<&str> = lines
        .filter(|line| line.contains("| vydra login ") || line.starts_with("vydra generate "))
        .collect();
    assert_eq!(lines.len(), 2);
    let home = tempfile::tempdir().unwrap();
    let programs = Path::new(VYDRA).parent().unwrap().display();
    for line in lines {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", line])
            .current_dir(home.path())
            .env_remove("VYDRA_BASE_URL")
            .env_remove("VYDRA_API_KEY")
            .env("XDG_CONFIG_HOME", home.path())
            .env("PATH", format!("{programs}:/usr/bin:/bin"));
        let ran = run(shell).await;
        assert_eq!(ran.code, Some(0), "{line}: {ran:?}");
    }
    assert!(home.path().join("fox.png").is_file());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_keeps_organization_and_keys() {
    let data = Data::without_providers();
    let mut first = data.dev(&["--quiet-start"]).await;
    first.line_with(SERVING).await;
    assert!(
        !first
            .printed()
            .iter()
            .any(|line| line.contains("What it does"))
    );
    let (said, file) = (first.printed()[1].clone(), keys_file(first.printed()));
    assert_eq!(said.trim(), "organization   dev (10000 credits)");
    let kept = fs::read_to_string(&file).unwrap();
    let org = data.json(&["org", "show", "--org", "dev"]).await;
    assert_eq!(org["plan"], "enterprise");
    assert_eq!(
        (&org["credits"], &org["testCredits"]),
        (&10_000.into(), &10_000.into())
    );
    assert_eq!(
        org["limits"],
        serde_json::json!({"rpm": 6_000, "rph": 100_000, "rpd": 1_000_000, "concurrent": 100})
    );
    first.stop().await;

    let mut second = data.dev(&["--quiet-start"]).await;
    second.line_with(SERVING).await;
    assert_eq!(
        fs::read_to_string(keys_file(second.printed())).unwrap(),
        kept
    );
    let orgs = data.json(&["org", "list"]).await;
    assert_eq!(orgs["count"], 1);
    assert_eq!(orgs["data"][0]["id"], org["id"]);
    assert_eq!(
        data.json(&["key", "list", "--org", "dev"]).await["count"],
        2
    );
    second
        .api(&keys(&kept).0)
        .get("organization")
        .await
        .expect(200);

    // A revoked key would make the curl lines a lie: both are made anew.
    let revoked = data.json(&["key", "list", "--org", "dev"]).await;
    let revoked = revoked["data"][0]["id"].as_str().unwrap().to_owned();
    data.json(&["key", "revoke", &revoked]).await;
    second.stop().await;
    let mut third = data.dev(&["--quiet-start"]).await;
    third.line_with(SERVING).await;
    let (live, test) = keys(&fs::read_to_string(&file).unwrap());
    third.api(&live).get("organization").await.expect(200);
    third.api(&test).get("organization").await.expect(200);
    third.stop().await;
}

/// A proxy of the environment is for the world outside, not for the machine itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_show_does_not_need_a_proxy() {
    let data = Data::without_providers()
        .with("http_proxy", "http://127.0.0.1:9")
        .with("HTTP_PROXY", "http://127.0.0.1:9");
    let server = shown(&data).await;
    let (sentence, _) = act(server.printed(), "an image");
    assert_eq!(sentence, "completed: cost 5 credits, refunded 0");
    server.stop().await;
}
