//! Connections that break: what is told of what was under way, and how the store heals.

use crate::backend;
use crate::fixture::{Fixture, check, fresh};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use vydra_core::api_key::Pepper;
use vydra_core::job::Mode;
use vydra_store::{PostgresStore, Store as _, StoreError};

/// Ends every other connection to this database.
const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_connections_were_ended_goes_on() {
    let f = fresh().await;
    let org = f.org(10).await;
    for _ in 0..3 {
        f.execute(TERMINATE);
        // Whoever meets the broken connection may be told so; nothing was done then.
        let mut tries = 0;
        while let Err(error) = f.store.check_writable().await {
            assert!(error.is_temporary(), "{error:?}");
            tries += 1;
            assert!(tries < 20, "{error:?}");
        }
        let mut found = f.store.organization(&org.id).await;
        while found.is_err() && tries < 20 {
            found = f.store.organization(&org.id).await;
            tries += 1;
        }
        assert_eq!(found.unwrap().unwrap().id, org.id);
    }
    check(f).await;
}

/// Between the store and its database. When it is told to, it hands the next commit on, and hangs up instead of bringing the answer.
struct Cut {
    port: u16,
    next_commit: Arc<AtomicBool>,
}

impl Cut {
    async fn before(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let next_commit = Arc::new(AtomicBool::new(false));
        let cut = Self {
            port: listener.local_addr().unwrap().port(),
            next_commit: Arc::clone(&next_commit),
        };
        TaskTracker::new().spawn(async move {
            let connections = TaskTracker::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                connections.spawn(pass(client, server, Arc::clone(&next_commit)));
            }
        });
        cut
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, next_commit: Arc<AtomicBool>) {
    let (mut asked, mut told) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(count @ 1..) = read else { return };
                let is_commit = asked[..count].windows(7).any(|text| text == b"COMMIT\0");
                if server.write_all(&asked[..count]).await.is_err() {
                    return;
                }
                if is_commit && next_commit.swap(false, Ordering::SeqCst) {
                    // It has been carried out once it is answered.
                    let _answer = server.read(&mut told).await;
                    return;
                }
            }
            read = server.read(&mut told) => {
                let Ok(count @ 1..) = read else { return };
                if client.write_all(&told[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn behind(cut: &Cut, directory: &TempDir) -> PostgresStore {
    let (before, name) = backend::url(directory.path())
        .rsplit_once('/')
        .map(|(before, name)| (before.to_owned(), name.to_owned()))
        .unwrap();
    let user = before.rsplit_once('@').unwrap().0;
    let url = format!("{user}@127.0.0.1:{}/{name}", cut.port);
    PostgresStore::open(&url.parse().unwrap(), &Pepper::new([7; 32]))
        .await
        .unwrap()
}

fn port(f: &Fixture) -> u16 {
    let url = backend::url(f.directory.path());
    let (_, place) = url.rsplit_once('@').unwrap();
    let (address, _) = place.split_once('/').unwrap();
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_asked_for() {
    let f = fresh().await;
    let org = f.org(10).await;
    let cut = Cut::before(port(&f)).await;
    let store = behind(&cut, &f.directory).await;
    for number in 1..=3 {
        cut.next_commit.store(true, Ordering::SeqCst);
        let after = store
            .grant(f.new_grant(&org.id, Mode::Live, 5))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            after.get(),
            10 + 5 * number,
            "it is known to be done, and done once"
        );
        assert!(
            !cut.next_commit.load(Ordering::SeqCst),
            "the answer was lost"
        );
    }
    let totals = f.store.credit_totals(&org.id, Mode::Live).await.unwrap();
    assert_eq!(totals.remaining, 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_the_database_undoes_is_told_as_not_done() {
    let f = fresh().await;
    let org = f.org(10).await;
    // Ends the connection in the middle of the commit, before anything is final.
    f.execute(
        "CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER hang_up AFTER INSERT ON ledger DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION hang_up()",
    );
    let refused = f.store.grant(f.new_grant(&org.id, Mode::Live, 5)).await;
    assert!(
        matches!(refused, Err(StoreError::Unwritable(_))),
        "{refused:?}"
    );
    f.execute("DROP TRIGGER hang_up ON ledger");
    let totals = f.store.credit_totals(&org.id, Mode::Live).await.unwrap();
    assert_eq!(totals.remaining, 10);
    let granted = f.store.grant(f.new_grant(&org.id, Mode::Live, 5)).await;
    assert_eq!(granted.unwrap().unwrap().get(), 15);
}
