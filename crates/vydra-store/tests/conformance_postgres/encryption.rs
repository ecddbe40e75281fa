//! Connections that are encrypted, and whom they believe to be the database.

use vydra_core::api_key::Pepper;
use vydra_store::{PostgresSettings, PostgresStore, Store as _, StoreError};
use vydra_testkit::certificates::{Authority, Pair};
use vydra_testkit::postgres::{GUARDED, Postgres};

/// A server with this certificate, and the address of a database of it.
fn server(pair: &Pair) -> (Postgres, String) {
    let postgres = Postgres::start_encrypted(pair).unwrap_or_else(|| std::process::exit(0));
    let url = postgres.database();
    (postgres, url)
}

fn authority() -> Authority {
    Authority::new().unwrap_or_else(|| std::process::exit(0))
}

async fn open(url: &str, query: &str) -> Result<PostgresStore, StoreError> {
    let url = format!("{url}?application_name=probe&{query}");
    let settings: PostgresSettings = url.parse().unwrap();
    PostgresStore::open(&settings, &Pepper::new([7; 32])).await
}

/// Whether all of its connections are encrypted: those that read as those that write.
async fn is_encrypted(postgres: &Postgres, url: &str, query: &str) -> bool {
    let store = open(url, query)
        .await
        .unwrap_or_else(|error| panic!("{query}: {error}"));
    store.check_writable().await.unwrap();
    store.organizations().await.unwrap();
    let seen = "SELECT string_agg(DISTINCT ssl::text, ',') FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                WHERE application_name = 'probe' AND datname = current_database()";
    let seen = postgres.psql(url, seen);
    assert!(
        ["true", "false"].contains(&seen.as_str()),
        "{query}: {seen}"
    );
    seen == "true"
}

async fn refused(url: &str, query: &str, why: &str) {
    let error = open(url, query).await.expect_err(query);
    assert!(
        matches!(error, StoreError::Refused(_)),
        "{query}: {error:?}"
    );
    assert!(error.to_string().contains(why), "{query}: {error}");
}

fn trusting(mode: &str, pair: &Pair) -> String {
    let file = pair.certificate.display().to_string().replace('/', "%2F");
    format!("sslmode={mode}&sslrootcert={file}")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_called_by_its_name_and_vouched_for_is_believed() {
    let (ours, other) = (authority(), authority());
    let (postgres, url) = server(&ours.issue("database", "DNS:localhost,IP:127.0.0.1"));
    let by_name = url.replace("127.0.0.1", "localhost");
    for query in [
        "",
        "sslmode=prefer",
        "sslmode=require",
        &trusting("require", ours.pair()),
        &trusting("verify-ca", ours.pair()),
        &trusting("verify-full", ours.pair()),
        trusting("", ours.pair()).strip_prefix("sslmode=&").unwrap(),
    ] {
        for url in [&url, &by_name] {
            assert!(is_encrypted(&postgres, url, query).await, "{query}");
        }
    }
    assert!(!is_encrypted(&postgres, &url, "sslmode=disable").await);
    for mode in ["require", "verify-ca", "verify-full"] {
        refused(
            &url,
            &trusting(mode, other.pair()),
            "no authority that is trusted",
        )
        .await;
    }
    refused(&url, "sslmode=verify-full", "no authority that is trusted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_certificate_is_for_another_name_is_not() {
    let ours = authority();
    let (postgres, url) = server(&ours.issue("database", "DNS:db.example"));
    refused(&url, &trusting("verify-full", ours.pair()), "db.example").await;
    assert!(is_encrypted(&postgres, &url, &trusting("verify-ca", ours.pair())).await);
    assert!(is_encrypted(&postgres, &url, "sslmode=require").await);
}

/// As one makes it with a single call of openssl.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_signs_itself_is_told_to_be_none_of_a_server() {
    let ours = authority();
    let (postgres, url) = server(ours.pair());
    let own = trusting("verify-full", ours.pair());
    refused(&url, &own, "is that of an authority").await;
    assert!(is_encrypted(&postgres, &url, "sslmode=require").await);
}

/// The password is worth nothing to whoever stands in between, with another certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_bound_to_the_connection() {
    let ours = authority();
    let (postgres, url) = server(&ours.issue("database", "IP:127.0.0.1"));
    let role = format!(
        "CREATE ROLE {GUARDED}; CREATE ROLE ada LOGIN PASSWORD 'hunter2' IN ROLE {GUARDED};
         GRANT CREATE ON SCHEMA public TO ada"
    );
    postgres.psql(&url, &role);
    let place = Postgres::address_for(&url, "ada:hunter2");
    for mode in ["require", "verify-full"] {
        let query = trusting(mode, ours.pair()) + "&channel_binding=require";
        assert!(is_encrypted(&postgres, &place, &query).await, "{mode}");
    }
    let wrong = Postgres::address_for(&url, "ada:hunter3");
    refused(&wrong, "sslmode=require", "password authentication failed").await;
    let unbound = open(&place, "sslmode=disable&channel_binding=require").await;
    assert!(unbound.is_err(), "nothing to bind it to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_encrypt_is_used_only_if_that_is_allowed() {
    let ours = authority();
    let postgres = Postgres::shared().unwrap_or_else(|| std::process::exit(0));
    let url = postgres.database();
    for query in ["", "sslmode=prefer", "sslmode=disable"] {
        assert!(!is_encrypted(postgres, &url, query).await, "{query}");
    }
    refused(&url, "sslmode=require", "does not speak TLS").await;
    refused(
        &url,
        &trusting("verify-full", ours.pair()),
        "does not speak TLS",
    )
    .await;
    // On this machine nobody reads along.
    let by_socket = format!(
        "postgres:///test_0?host={}&port={}&user=vydra",
        postgres.folder().display(),
        postgres.port()
    );
    for mode in ["disable", "verify-full"] {
        let settings: PostgresSettings = format!("{by_socket}&sslmode={mode}").parse().unwrap();
        PostgresStore::open(&settings, &Pepper::new([7; 32]))
            .await
            .unwrap();
    }
}
