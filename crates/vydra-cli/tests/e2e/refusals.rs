//! What cannot start says why, in one sentence with the name of what is wrong; and what can start says so beforehand.

use crate::programs::run;
use crate::server::{Data, VYDRA};
use serde_json::{Value, json};
use std::fs;
use tokio::net::TcpListener;
use tokio::process::Command;

pub(crate) const SERVE: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];

/// Exit code 1, nothing on the data stream, these words among the complaints.
pub(crate) async fn refuse(data: &Data, words: &[&str], complaint: &str) -> String {
    let ran = data.run(words).await;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(1), ""),
        "{words:?}: {ran:?}"
    );
    let errors: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{words:?}: {ran:?}");
    // What is no TOML is shown with its place; everything else is one sentence.
    let shown = errors[0].contains("is not valid TOML");
    assert!(
        shown || ran.stderr.ends_with(&format!("{}\n", errors[0])),
        "{words:?}: {ran:?}"
    );
    assert!(errors[0].contains(complaint), "{words:?}: {ran:?}");
    errors[0].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_data_is_refused_and_the_first_goes_on() {
    let data = Data::new();
    let first = data.serve().await;
    for words in [&SERVE[..], &["dev", "--listen", "127.0.0.1:0"]] {
        let told = refuse(&data, words, "another vydra server is already working on ").await;
        assert!(told.contains("--data-dir"), "it says what to do: {told}");
    }
    first.api("").get("health").await.expect(200);
    first.stop().await;
    // The lock ends with its holder, however it ended.
    data.serve().await.kill().await;
    data.serve().await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_named() {
    let data = Data::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let told = refuse(
        &data,
        &["serve", "--listen", &address],
        &format!("cannot listen on {address}"),
    )
    .await;
    assert!(told.contains("--listen"), "it says what to do: {told}");
    refuse(&data, &["serve", "--listen", "somewhere"], "server.listen").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_be_is_refused_with_its_key() {
    let data = Data::new();
    let file = data.path("vydra.toml");
    let path = file.to_str().unwrap();
    for (text, key) in [
        ("[server]\nsync_wait = 5", "server.sync_wait"),
        ("[server]\nlisten_on = \"127.0.0.1:0\"", "listen_on"),
        ("[servr]\nlisten = \"127.0.0.1:0\"", "servr"),
        (
            "[server]\npublic_url = \"example.com\"",
            "server.public_url",
        ),
        ("[worker]\nlease = \"a while\"", "worker.lease"),
        ("[worker]\nconcurrency = 0", "worker.concurrency"),
        ("[providers.fall]\nenabled = true", "providers.fall"),
        ("[plans.free]\nrpm = -1", "plans.free.rpm"),
        (
            "[outbound]\ninput_allow_networks = [\"10.0.0.0/99\"]",
            "outbound.input_allow_networks",
        ),
        ("[store]\nurl = \"mysql://x\"", "store.url"),
        ("[media]\nurl = \"ftp://x\"", "media.url"),
        ("[log]\nlevel = \"inof\"", "log.level"),
        ("[log]\nlevel = \"info,vydra_engine=loud\"", "log.level"),
        ("server = [", "vydra.toml"),
        ("[catalog]\nfiles = [\"nowhere.toml\"]", "nowhere.toml"),
    ] {
        fs::write(&file, text).unwrap();
        refuse(&data, &[&SERVE[..], &["--config", path]].concat(), key).await;
    }
    fs::write(&file, "[log]\nlevel = \"warn,vydra_engine=debug\"").unwrap();
    let ran = data.run(&["config", "check", "--config", path]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    refuse(
        &data,
        &[&SERVE[..], &["--config", "/nowhere/vydra.toml"]].concat(),
        "/nowhere/vydra.toml",
    )
    .await;

    for (name, value, key) in [
        ("VYDRA__WORKER__LEASE", "1s", "worker.lease"),
        ("VYDRA__SERVER__SPEED", "9", "speed"),
        ("VYDRA__LOG__LEVEL", "loud", "log.level"),
        ("VYDRA__PLANS__FREE__RPM", "many", "plans.free.rpm"),
    ] {
        let spoilt = Data::without_providers().with(name, value);
        refuse(&spoilt, &SERVE, key).await;
        refuse(&spoilt, &["config", "check"], key).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_doctor_and_migrate_tell_how_things_stand() {
    let data = Data::new();
    let told = data.json(&["config", "check"]).await;
    assert_eq!(
        (&told["valid"], &told["listen"]),
        (&json!(true), &json!("127.0.0.1:8787"))
    );
    assert!(
        told["models"].as_u64().unwrap() > 10 && told["workflows"].as_u64().unwrap() > 5,
        "{told}"
    );
    assert!(!data.path("vydra.db").exists(), "a check starts nothing");
    let told = data.prose(&["config", "check"]).await;
    assert!(told.starts_with("The configuration can be used."), "{told}");

    let told = data.json(&["migrate"]).await;
    assert_eq!(
        (&told["upToDate"], data.path("vydra.db").exists()),
        (&json!(true), true)
    );
    assert!(data.prose(&["migrate"]).await.contains("is up to date"));

    let told = data.json(&["doctor"]).await;
    assert_eq!(told["healthy"], true, "{told}");
    let finding = |check: &str| {
        let found = told["findings"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["check"] == check);
        found.unwrap_or_else(|| panic!("no {check}: {told}"))["verdict"].clone()
    };
    for check in ["configuration", "storage", "media", "ledger", "models"] {
        assert_eq!(finding(check), "ok", "{told}");
    }
    assert_eq!(
        finding("providers"),
        "note",
        "that the local provider stands in is said"
    );
    let sick = Data::without_providers().with("VYDRA__WORKER__CONCURRENCY", "0");
    let ran = sick.run(&["doctor", "--json"]).await;
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &told["healthy"]), (Some(1), &json!(false)));
    assert!(told.to_string().contains("worker.concurrency"), "{told}");
}

/// The commands below one, as its help lists them: all in one list, or those for callers and those for operators in two.
fn subcommands(help: &str) -> Vec<&str> {
    help.lines()
        .skip_while(|line| !line.starts_with("Commands"))
        .take_while(|line| !line.starts_with("Options"))
        .filter(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_explains_itself() {
    let mut open = vec![Vec::<String>::new()];
    let mut leaves = Vec::new();
    while let Some(words) = open.pop() {
        let mut help = Command::new(VYDRA);
        help.args(&words).arg("--help");
        let ran = run(help).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{words:?}");
        let sentence = ran.stdout.lines().next().unwrap_or_default();
        assert!(
            sentence.contains(' ') && !sentence.starts_with("Usage"),
            "{words:?}: {sentence}"
        );
        let below = subcommands(&ran.stdout);
        for name in &below {
            open.push([&words[..], &[(*name).to_owned()]].concat());
        }
        if below.is_empty() {
            for line in ran
                .stdout
                .lines()
                .filter(|line| line.trim_start().starts_with("--"))
            {
                let explained = line
                    .trim()
                    .split_once("  ")
                    .is_some_and(|(_, what)| !what.trim().is_empty());
                assert!(explained, "{words:?} does not explain {line:?}");
            }
            leaves.push(words.join(" "));
        }
    }
    leaves.sort();
    let all = [
        "assets prune",
        "backup",
        "completion",
        "config check",
        "config defaults",
        "credits grant",
        "db prune",
        "dev",
        "doctor",
        "export",
        "generate image",
        "generate speech",
        "generate video",
        "import",
        "jobs cancel",
        "jobs create",
        "jobs list",
        "jobs show",
        "jobs watch",
        "key create",
        "key list",
        "key revoke",
        "key rotate",
        "ledger audit",
        "listen",
        "login",
        "logout",
        "migrate",
        "models check",
        "models run",
        "models show",
        "org create",
        "org list",
        "org set-plan",
        "org set-retention",
        "org show",
        "provider attempts",
        "quote",
        "serve",
        "upload",
        "usage",
        "user add",
        "user create",
        "user list",
        "user set-password",
        "webhook secret",
    ];
    assert_eq!(leaves, all);
}

/// A server of the older version would go on writing rows as it knows them.
#[tokio::test]
async fn no_schema_is_changed_under_a_server() {
    let data = Data::new();
    data.org("acme", 10).await;
    let server = data.serve().await;
    let database = rusqlite::Connection::open(data.path("vydra.db")).unwrap();
    let version: u32 = database
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    database
        .pragma_update(None, "user_version", version - 1)
        .unwrap();
    for words in [&["org", "list"][..], &["migrate"], &["ledger", "audit"]] {
        let told = refuse(&data, words, "the database is of an older version").await;
        assert!(told.contains("already working on"), "{told}");
    }
    database
        .pragma_update(None, "user_version", version)
        .unwrap();
    data.json(&["org", "list"]).await;
    server.stop().await;
}
