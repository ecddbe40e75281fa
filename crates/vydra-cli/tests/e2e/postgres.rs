//! The program on a database of Postgres, which several servers share.

use crate::programs::{run, until};
use crate::refusals::{SERVE, refuse};
use crate::server::{Data, Server, text};
use serde_json::{Value, json};
use std::path::Path;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use vydra_store::PostgresStore;
use vydra_testkit::certificates::Authority;
use vydra_testkit::postgres::{GUARDED, Postgres};

const PUBLIC_URL: &str = "VYDRA__SERVER__PUBLIC_URL";

/// A new database, empty; None where Postgres is not installed.
fn database() -> Option<(&'static Postgres, String)> {
    let postgres = Postgres::shared()?;
    Some((postgres, postgres.database()))
}

/// A port at which nobody listens, and nobody else can. With the address of a database there.
fn nowhere(name: &str) -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, format!("postgres://vydra:hunter2@{address}/{name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_work_on_it_and_a_look_makes_nothing() {
    let Some((postgres, url)) = database() else {
        return;
    };
    let data = Data::on(&url);
    let shown = url.clone();
    for words in [&["org", "list"][..], &["key", "list", "--org", "acme"]] {
        let told = refuse(&data, words, "there is nothing of vydra in the database").await;
        assert!(
            told.contains(&shown) && told.contains("vydra migrate"),
            "{told}"
        );
    }
    let sick = data.run(&["doctor"]).await;
    assert_eq!(sick.code, Some(1), "{sick:?}");
    assert!(
        sick.stdout.contains("there is nothing of vydra"),
        "{sick:?}"
    );
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(postgres.psql(&url, tables), "0");

    let told = data.json(&["migrate"]).await;
    assert_eq!(told, json!({"database": shown, "upToDate": true}));
    let checked = data.json(&["config", "check"]).await;
    assert_eq!(checked["database"], json!(shown));

    let org = data.org("acme", 70).await;
    data.key(&org, &[]).await;
    let words = ["credits", "grant", "--org", "acme", "--amount", "30"];
    let granted = data
        .json(&[&words[..], &["--reason", "goodwill"]].concat())
        .await;
    assert_eq!(granted["creditsRemaining"], json!(100));
    let audit = data.json(&["ledger", "audit"]).await;
    assert_eq!(
        (&audit["balanced"], &audit["organizations"]),
        (&json!(true), &json!(1))
    );
    assert!(!data.path("vydra.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_how_the_database_is_set_up() {
    let Some((postgres, url)) = database() else {
        return;
    };
    let data = Data::on(&url);
    data.json(&["migrate"]).await;
    let told = data.run(&["doctor"]).await;
    assert_eq!(told.code, Some(0), "notes are no illness: {told:?}");
    let version = postgres.psql(&url, "SHOW server_version");
    // By the cores of this machine.
    let most = PostgresStore::most_connections(&url.parse().unwrap());
    for said in [
        format!("PostgreSQL {version}, not encrypted, "),
        format!(" ms there and back; a server makes up to {most} of its 397 connections"),
        // The server of the tests lasts no longer than they do.
        "note  database       its fsync is off".to_owned(),
        "its full_page_writes is off".to_owned(),
        format!(
            "files are kept in the folder {}",
            data.path("media").display()
        ),
        format!("ok    storage        {url} can be written"),
    ] {
        assert!(told.stdout.contains(&said), "{said}: {told:?}");
    }
    for unsaid in [
        "synchronous_commit",
        "raise max_connections",
        "is not encrypted: ",
    ] {
        assert!(!told.stdout.contains(unsaid), "{unsaid}: {told:?}");
    }
    let name = url.rsplit_once('/').unwrap().1;
    postgres.psql(
        &url,
        &format!("ALTER DATABASE {name} SET synchronous_commit = off; ALTER DATABASE {name} CONNECTION LIMIT 9"),
    );
    let told = data.run(&["doctor"]).await;
    assert!(
        told.stdout.contains("its synchronous_commit is off"),
        "{told:?}"
    );
    let raise = format!("up to {most} connections, and it allows 9: raise");
    assert!(told.stdout.contains(&raise), "{told:?}");

    let mut server = Server::begin(data.vydra(&SERVE));
    server.line_with("listening on").await;
    let log = server.stop().await;
    for said in ["the database is postgres://", "its fsync is off"] {
        assert!(log.contains(said), "{said}: {log}");
    }
    assert!(!log.contains("must share it"), "one server need not: {log}");
}

/// `system` are the authorities of the machine; here they are those of a file.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_authority_the_system_knows_is_believed() {
    let Some(authority) = Authority::new() else {
        return;
    };
    let pair = authority.issue("database", "DNS:localhost");
    let Some(postgres) = Postgres::start_encrypted(&pair) else {
        return;
    };
    let url = postgres.database().replace("127.0.0.1", "localhost");
    let data = Data::on(&format!("{url}?sslmode=verify-full")).unaudited();
    let trusting = |file: &Path| {
        let mut command = data.vydra(&["migrate"]);
        command
            .env("SSL_CERT_FILE", file)
            .env_remove("SSL_CERT_DIR");
        command
    };
    let stranger = Authority::new().unwrap();
    let refused = run(trusting(&stranger.pair().certificate)).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("no authority that is trusted here"),
        "{refused:?}"
    );
    let migrated = run(trusting(&authority.pair().certificate)).await;
    assert_eq!(migrated.code, Some(0), "{migrated:?}");

    let file = authority
        .pair()
        .certificate
        .display()
        .to_string()
        .replace('/', "%2F");
    let data = Data::on(&format!("{url}?sslrootcert={file}"));
    let told = data.prose(&["doctor"]).await;
    assert!(told.contains(", encrypted, "), "{told}");
}

async fn made(server: &Server, key: &str) -> Value {
    let api = server.api(key);
    let input = json!({"workflow": "generate_image", "input": {"prompt": "a lighthouse"}});
    let created = api.post("jobs", &input).await.expect(201);
    let job = text(&created["id"]);
    until("the job is done", || async {
        let body = api.get(&format!("jobs/{job}?wait=5")).await.expect(200);
        (body["status"] == "completed").then_some(body)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_share_one_database_and_each_does_whole_jobs() {
    let Some((_, url)) = database() else { return };
    let data = Data::on(&url);
    // Both make the schema at once.
    let (one, other) = tokio::join!(data.serve(), data.serve());
    let org = data.org("acme", 100).await;
    let key = data.key(&org, &[]).await;
    for server in [&one, &other] {
        let done = made(server, &key).await;
        assert_eq!(done["creditsRefunded"], json!(0), "{done}");
    }
    assert_eq!(
        one.api(&key).credits().await,
        other.api(&key).credits().await
    );
    one.stop().await;
    let done = made(&other, &key).await;
    assert_eq!(done["status"], json!("completed"));
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quick_start_works_on_it() {
    let Some((_, url)) = database() else { return };
    // What it starts does everything, whatever is set.
    let data = Data::on(&url).with("VYDRA__SERVER__ROLE", "api");
    let server = data.dev(&["--quiet-start"]).await;
    let keys = std::fs::read_to_string(data.path("dev-keys.env")).unwrap();
    let key = keys
        .lines()
        .find_map(|line| line.strip_prefix("VYDRA_API_KEY="))
        .unwrap();
    made(&server, key).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_answers_and_another_works() {
    let Some((_, url)) = database() else { return };
    let data = Data::on(&url).with(PUBLIC_URL, "http://vydra.example");
    let front = data.serve_as("api").await;
    let org = data.org("acme", 100).await;
    let key = data.key(&org, &[]).await;
    let api = front.api(&key);
    let input = json!({"workflow": "generate_image", "input": {"prompt": "a lighthouse"}});
    let created = api.post("jobs", &input).await.expect(201);
    let path = format!("jobs/{}", text(&created["id"]));
    let waiting = api.get(&format!("{path}?wait=1")).await.expect(200);
    assert_eq!(waiting["status"], json!("pending"), "nobody works yet");

    let back = data.serve_as("worker").await;
    until("the worker has done it", || async {
        let body = api.get(&format!("{path}?wait=5")).await.expect(200);
        (body["status"] == "completed").then_some(())
    })
    .await;
    made(&front, &key).await;

    let behind = back.api(&key);
    behind.get("health").await.expect(200);
    for path in ["jobs", "models", "nowhere"] {
        let refused = behind.get(path).await;
        let body = refused.refused(404, "NOT_FOUND");
        assert!(text(&body["error"]).contains("is a worker"), "{body}");
        assert!(refused.header("x-request-id").is_some());
    }
    let refused = behind.post("health", &json!({})).await;
    refused.refused(404, "NOT_FOUND");
    let shared = format!(
        "files are kept in the folder {}",
        data.path("media").display()
    );
    for log in [front.stop().await, back.stop().await] {
        assert!(log.contains(&shared), "{log}");
        assert!(!log.contains("server.public_url is empty"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_of_its_own_is_refused_on_a_file() {
    let data = Data::new();
    for role in ["api", "worker"] {
        let words = [&SERVE[..], &["--role", role]].concat();
        let told = refuse(&data, &words, "server.role").await;
        assert!(told.contains("Postgres"), "{told}");
    }
    refuse(
        &data,
        &[&SERVE[..], &["--role", "queen"]].concat(),
        "server.role",
    )
    .await;
    assert!(!data.path("vydra.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_is_told_what_to_change_and_never_the_password() {
    let Some((postgres, url)) = database() else {
        return;
    };
    postgres.psql(
        &url,
        &format!(
            "CREATE ROLE {GUARDED}; CREATE ROLE ada LOGIN PASSWORD 'hunter2' IN ROLE {GUARDED}"
        ),
    );
    let place = |user| Postgres::address_for(&url, user);
    let elsewhere = url.replace("/test_", "/nowhere_");
    for (url, complaint) in [
        (place("ada:hunter3"), "password authentication failed"),
        (place("ada"), "it asks for a password"),
        (place("nobody:hunter3"), "role \"nobody\" does not exist"),
        // From Postgres 15 on nobody but the owner makes tables.
        (place("ada:hunter2"), "GRANT CREATE ON SCHEMA public"),
        (elsewhere.replace("vydra@", "vydra:hunter2@"), "create it"),
        (
            url.replace("//vydra@", "//vydra:hunter2@x@"),
            "an @ too many",
        ),
        (url.replace("postgres:", "mysql:"), "store.url"),
    ] {
        let data = Data::on(&url).unaudited();
        // It is no use to wait for any of these.
        let began = Instant::now();
        for words in [&SERVE[..], &["migrate"]] {
            let told = refuse(&data, words, complaint).await;
            assert!(!told.contains("hunter"), "{told}");
        }
        assert!(began.elapsed().as_secs() < 30, "{url}");
    }
    postgres.psql(
        &url,
        "CREATE DATABASE narrow ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    );
    let narrow = url.rsplit_once('/').unwrap().0.to_owned() + "/narrow";
    let data = Data::on(&narrow).unaudited();
    refuse(&data, &SERVE, "must be UTF8").await;
    postgres.psql(
        &url,
        "CREATE TABLE schema_version AS SELECT 999::bigint AS number",
    );
    let data = Data::on(&url).unaudited();
    for words in [&SERVE[..], &["migrate"], &["org", "list"]] {
        refuse(&data, words, "the database has schema 999").await;
    }
    postgres.psql(&url, "UPDATE schema_version SET number = 1");
    let told = refuse(&data, &["org", "list"], "is of an older version").await;
    assert!(told.contains("vydra migrate"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_waited_for_by_a_server_alone() {
    let (_closed, url) = nowhere("vydra");
    let data = Data::on(&url)
        .unaudited()
        .with("VYDRA__STORE__CONNECT_TIMEOUT", "1s");
    for words in [&["org", "list"][..], &["migrate"]] {
        let told = refuse(&data, words, "cannot open the database").await;
        assert!(
            told.contains("Connection refused") && !told.contains("hunter2"),
            "{told}"
        );
    }
    let ran = data.run(&SERVE).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let waits = ran.stderr.matches("waiting for the database").count();
    assert!((2..10).contains(&waits), "{ran:?}");
    assert!(
        ran.stderr.contains("error: cannot open the database"),
        "{ran:?}"
    );
    assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_begins_as_soon_as_its_database_is_there() {
    let Some((postgres, url)) = database() else {
        return;
    };
    let (door, behind) = nowhere(url.rsplit_once('/').unwrap().1);
    let data = Data::on(&behind);
    let mut server = Server::begin(data.vydra(&SERVE));
    until("the server waits", || async {
        server
            .log()
            .contains("waiting for the database")
            .then_some(())
    })
    .await;
    let door = door.listen(64).unwrap();
    let port = postgres.port();
    let passing = TaskTracker::new();
    let connections = passing.clone();
    passing.spawn(async move {
        while let Ok((mut client, _)) = door.accept().await {
            let mut database = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            connections.spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut database).await;
            });
        }
    });
    server.line_with("listening on").await;
    server.stop().await;
}

/// An orchestrator that stops what it has just started gets an end in order, and at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_waits_can_be_stopped() {
    let (_closed, url) = nowhere("vydra");
    let data = Data::on(&url).unaudited();
    let mut server = Server::begin(data.vydra(&SERVE));
    until("the server waits", || async {
        server
            .log()
            .contains("waiting for the database")
            .then_some(())
    })
    .await;
    server.terminate().await;
    assert_eq!(server.ended().await.code(), Some(0));
}
