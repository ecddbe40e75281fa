//! All of a database, out of a server's hands and into another's.

use crate::api::Api;
use crate::programs::until;
use crate::refusals::refuse;
use crate::server::{Data, text};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;
use vydra_testkit::postgres::Postgres;

fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What an export holds, without when and by whom it was written.
fn rows(export: &Path) -> String {
    let text = fs::read_to_string(export).unwrap();
    text.split_once('\n').unwrap().1.to_owned()
}

/// Everything that a caller sees of what is its own.
async fn seen(api: &Api) -> Vec<Value> {
    let mut seen = api.all_jobs().await;
    for path in [
        "billing/credits",
        "billing/transactions?limit=100",
        "assets?limit=100",
        "events?limit=100",
    ] {
        seen.push(api.get(path).await.expect(200));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_moves_to_postgres_and_back() {
    let Some(postgres) = Postgres::shared() else {
        return;
    };
    // The files stay where they are; addresses are those of one name.
    let media = tempfile::tempdir().unwrap();
    let media_url = format!("file:{}", media.path().display());
    let like = |data: Data| {
        data.with("VYDRA__MEDIA__URL", &media_url)
            .with("VYDRA__SERVER__PUBLIC_URL", "http://vydra.test")
    };
    let first = like(Data::new());
    let org = first.org("acme", 1_000).await;
    let key = first.key(&org, &[]).await;
    let revoked = first.json(&["key", "create", "--org", &org]).await;
    first.json(&["key", "revoke", &text(&revoked["id"])]).await;
    let server = first.serve().await;
    let api = server.api(&key);
    let speech = json!({"text": "Again."});
    let spoken = api.post("models/elevenlabs/tts", &speech).await.expect(200);
    let sandbox = first.key(&org, &["--test"]).await;
    server
        .api(&sandbox)
        .simulate("GENERATION_FAILED", "models/elevenlabs/tts", &speech)
        .await;
    let before = seen(&api).await;
    // Beside a server that works.
    first
        .json(&["export", "-o", word(&first.path("early.ndjson"))])
        .await;
    server.stop().await;

    let export = first.path("first.ndjson");
    let told = first.json(&["export", "--output", word(&export)]).await;
    let lines = fs::read_to_string(&export).unwrap().lines().count() as u64;
    let tables = told["tables"].as_object().unwrap();
    // One for each table, the first and the last.
    let rows_told = told["rows"].as_u64().unwrap();
    assert_eq!(lines, rows_told + tables.len() as u64 + 2, "{told}");
    assert_eq!(tables["api_keys"], 3);
    assert_eq!(told["bytes"], fs::metadata(&export).unwrap().len());
    let mode = fs::metadata(&export).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "there are secrets in it");

    let away = like(Data::on(&postgres.database()));
    let told = away.json(&["import", word(&export)]).await;
    assert_eq!(
        (&told["balanced"], &told["rows"]),
        (&json!(true), &json!(rows_told))
    );
    let second = first.path("second.ndjson");
    away.prose(&["export", "-o", word(&second)]).await;
    assert_eq!(rows(&second), rows(&export));
    let server = away.serve().await;
    let api = server.api(&key);
    assert_eq!(seen(&api).await, before);
    let file = text(&spoken["resultUrls"][0]).replace("http://vydra.test", &server.url);
    assert_eq!(api.fetch(&file).await.status, 200);
    let gone = server.api(&text(&revoked["key"])).get("jobs").await;
    assert_eq!(gone.status, 401);
    api.post("models/elevenlabs/tts", &speech).await.expect(200);
    let before = seen(&api).await;
    server.stop().await;

    // Through a pipe.
    let back = like(Data::new());
    let mut there = back.vydra(&["import", "-", "--json"]);
    let mut exported = away.vydra(&["export"]);
    let mut exported = exported.stdout(Stdio::piped()).spawn().unwrap();
    let pipe: Stdio = exported.stdout.take().unwrap().try_into().unwrap();
    let imported = there.stdin(pipe).output().await.unwrap();
    assert!(exported.wait().await.unwrap().success());
    assert!(imported.status.success(), "{imported:?}");
    let server = back.serve().await;
    assert_eq!(seen(&server.api(&key)).await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_moved_is_left_as_it_was() {
    let data = Data::new();
    let export = data.path("all.ndjson");
    let (file, nowhere) = (word(&export), data.path("no folder/all.ndjson"));
    refuse(&data, &["export", "-o", file], "there is no database at").await;
    refuse(&data, &["backup", file], "there is no database at").await;
    assert!(!export.exists());
    data.org("acme", 10).await;
    refuse(&data, &["export", "--json"], "--output").await;
    refuse(&data, &["export", "-o", word(&nowhere)], "cannot write to").await;
    refuse(&data, &["import", word(&nowhere)], "cannot read").await;
    data.prose(&["export", "-o", file]).await;
    let whole = fs::read_to_string(&export).unwrap();
    for words in [&["export", "-o", file][..], &["backup", file]] {
        let told = refuse(&data, words, "is there already").await;
        assert!(told.contains("--force"), "it says what to do: {told}");
    }
    assert_eq!(fs::read_to_string(&export).unwrap(), whole);
    data.prose(&["export", "-o", file, "--force"]).await;
    // Whatever is forced, the database stays.
    let own = data.path("vydra.db").display().to_string();
    for words in [["export", "-o"].as_slice(), &["backup"]] {
        for end in ["", "-wal"] {
            let file = format!("{own}{end}");
            let words = [words, &[&file, "--force"]].concat();
            refuse(&data, &words, "is the database itself, or belongs to it").await;
        }
    }
    refuse(
        &data,
        &["import", file],
        "there is something in the database already",
    )
    .await;

    let new = Data::new();
    let spoilt = |words: &str, others: &str| {
        let text = whole.replacen(words, others, 1);
        assert_ne!(text, whole, "{words}");
        text
    };
    for (text, complaint) in [
        (
            whole[..whole.len() / 2].to_owned(),
            "the export is cut off here",
        ),
        (spoilt("\"acme\"", "\"acmf\""), "it is damaged"),
        (
            spoilt("\"format\":1", "\"format\":7"),
            "start the newer version",
        ),
        (
            spoilt("\"schema\":", "\"schema\":9"),
            "import it with the version that wrote it",
        ),
        (
            spoilt("\"vydra\":", "\"vyd\":"),
            "this is no export of vydra",
        ),
        (String::new(), "line 1"),
    ] {
        let file = new.path("spoilt.ndjson");
        fs::write(&file, text).unwrap();
        refuse(&new, &["import", word(&file)], complaint).await;
        let orgs = new.json(&["org", "list"]).await;
        assert_eq!(orgs["count"], 0, "{complaint}");
    }
    let server = new.serve().await;
    refuse(&new, &["import", file], "already working on").await;
    server.stop().await;
    new.prose(&["import", file]).await;

    // Whoever sees to the files by itself has nothing left over.
    let left: Vec<_> = fs::read_dir(data.path("")).unwrap().collect();
    let is_partial = |name: &str| name.contains("partial");
    assert!(
        !left
            .iter()
            .any(|entry| is_partial(entry.as_ref().unwrap().file_name().to_str().unwrap())),
        "{left:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_imported_into_a_postgres_at_work_and_it_is_backed_up_by_its_own_programs() {
    let Some(postgres) = Postgres::shared() else {
        return;
    };
    let source = Data::new();
    source.org("acme", 10).await;
    let export = source.path("all.ndjson");
    source.prose(&["export", "-o", word(&export)]).await;
    let data = Data::on(&postgres.database());
    refuse(&data, &["export"], "there is nothing of vydra in it").await;
    let server = data.serve().await;
    refuse(
        &data,
        &["import", word(&export)],
        "a server works on the database",
    )
    .await;
    server.stop().await;

    let copy = data.path("copy.db");
    let ran = data.run(&["backup", word(&copy)]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    assert!(ran.stderr.contains("pg_dump --format=custom"), "{ran:?}");
    assert!(!copy.exists());
}

/// What was acknowledged until now.
type Journal = Arc<Mutex<Vec<String>>>;

/// One client: calls as fast as it is answered, until it is told to stop.
async fn press(api: Api, journal: Journal, is_over: Arc<AtomicBool>) {
    for number in 0_u32.. {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        // Most of them are over soon.
        let outcome = if number.is_multiple_of(10) {
            "SLOW=1s"
        } else {
            "GENERATION_FAILED"
        };
        let job = json!({"workflow": "generate_image", "input": {"prompt": "a wave"}});
        let answer = api.simulate(outcome, "jobs", &job).await;
        // The queue is full for a moment.
        if answer.status == 429 {
            continue;
        }
        let accepted = answer.expect(201);
        journal.lock().unwrap().push(text(&accepted["id"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_server_at_work_has_all_that_was_acknowledged() {
    let data = Data::new();
    let org = data.org("acme", 0).await;
    let key = data.key(&org, &["--test"]).await;
    let server = data.serve().await;
    let (journal, is_over) = (Journal::default(), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        clients.spawn(press(
            server.api(&key),
            Arc::clone(&journal),
            Arc::clone(&is_over),
        ));
    }
    let copies = ["a.db", "b.db", "c.db"].map(|name| data.path(name));
    let mut acknowledged = Vec::new();
    for copy in &copies {
        let more = acknowledged.last().map_or(0, Vec::len) + 20;
        until("more jobs are taken", || async {
            (journal.lock().unwrap().len() >= more).then_some(())
        })
        .await;
        let until_now = journal.lock().unwrap().clone();
        let told = data.json(&["backup", word(copy)]).await;
        assert_eq!(told["balanced"], true, "{told}");
        assert!(
            told["jobs"].as_u64().unwrap() >= until_now.len() as u64,
            "{told}"
        );
        acknowledged.push(until_now);
    }
    is_over.store(true, Ordering::SeqCst);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    server.stop().await;

    for (copy, acknowledged) in copies.iter().zip(&acknowledged) {
        assert_eq!(
            fs::metadata(copy).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let restored = Data::new();
        fs::copy(copy, restored.path("vydra.db")).unwrap();
        let audit = restored.json(&["ledger", "audit"]).await;
        assert_eq!(audit["balanced"], true, "{audit}");
        let server = restored.serve().await;
        let api = server.api(&key);
        for job in acknowledged {
            api.get(&format!("jobs/{job}")).await.expect(200);
        }
        // What was open is brought to its end.
        for job in api.all_jobs().await {
            api.end_of(job["id"].as_str().unwrap()).await;
        }
        server.stop().await;
    }
}
