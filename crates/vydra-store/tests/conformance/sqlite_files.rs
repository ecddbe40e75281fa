//! What only the file can show: its guards, its schema, and what is left of it after a crash.

use crate::backend::sqlite;
use crate::fixture::{Fixture, at_once, check};
use crate::limits::{NEVER, moments, usage};
use rusqlite::{Connection, ErrorCode};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Barrier};
use vydra_core::api_key::Pepper;
use vydra_core::ids::{AssetId, JobId, OrgId};
use vydra_core::job::Mode;
use vydra_core::time::Timestamp;
use vydra_store::store::{AssetStore as _, EntryFilter, PriorStep, Submission, Usage};
use vydra_store::{SqliteStore, Store, StoreError};

fn open(path: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(path, &Pepper::new([9; 32])).unwrap())
}

// --- The guards in the schema ---

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_refuses_wrong_books() {
    let (f, path) = sqlite();
    let org = f.org(1_000).await;
    let held = f.running(&org.id, 100).await;
    f.store
        .settle_job(&held.lease, f.completed(vec![], 30))
        .await
        .unwrap();
    f.job(&org.id, 20).await;
    let raw = Connection::open(&path).unwrap();
    let entry = "INSERT INTO ledger (id, org_id, mode, kind, amount, balance_after, job_id, reason, created_at)
                 SELECT 'txn_x', org_id, mode, ";
    let refused = [
        "UPDATE ledger SET amount = amount + 1",
        "UPDATE ledger SET reason = 'other'",
        "UPDATE OR REPLACE ledger SET seq = 1",
        "DELETE FROM ledger",
        "DELETE FROM ledger WHERE kind = 'refund'",
        "UPDATE balances SET credits = -1",
        "UPDATE balances SET credits = credits + 0.5",
        "UPDATE jobs SET refunded = 101 WHERE status = 'completed'",
        "UPDATE jobs SET refunded = -1",
        "UPDATE jobs SET price = 0, refunded = 0",
        "UPDATE jobs SET status = 'done'",
        "UPDATE jobs SET status = 'failed', failure_code = 'X', completed_at = 1 WHERE status = 'pending'",
        "UPDATE jobs SET status = 'cancelled', completed_at = 1, refunded = 19 WHERE status = 'pending'",
        "UPDATE jobs SET status = 'cancelled', refunded = 20 WHERE status = 'pending'",
        "UPDATE jobs SET status = 'failed', completed_at = 1, refunded = 20 WHERE status = 'pending'",
        "UPDATE jobs SET status = 'running' WHERE status = 'pending'",
        "UPDATE jobs SET progress = 101",
        "UPDATE jobs SET progress = 99 WHERE status = 'completed'",
        "UPDATE jobs SET status = 'running', completed_at = NULL, lease_until = 1 WHERE status = 'completed'",
        "UPDATE jobs SET status = 'completed', completed_at = 1 WHERE status = 'pending'",
        "DELETE FROM jobs",
        "UPDATE balances SET open = -1",
        "UPDATE balances SET charged = -1",
        "UPDATE balances SET jobs = -1",
        "UPDATE jobs SET previous = seq WHERE status = 'pending'",
        "INSERT INTO events (number, job_id, org_id, mode, kind, created_at) SELECT 2, job_id, org_id, mode, kind, 1 FROM events",
        "INSERT INTO events (number, job_id, org_id, mode, kind, created_at) SELECT 2, id, org_id, mode, 'job.lost', 1 FROM jobs WHERE status = 'pending'",
        "UPDATE events SET previous = seq",
        "UPDATE balances SET events = -1",
    ];
    let inserts = [
        ("'refund', 1, 1, job_id", "kind = 'refund'"),
        ("'charge', -1, 1, job_id", "job_id IS NOT NULL"),
        ("'charge', 1, 1, job_id", "kind = 'refund'"),
        ("'refund', -1, 1, NULL", "kind = 'refund'"),
        ("'grant', -1, 1, NULL", "kind = 'refund'"),
        ("'grant', 0, 1, NULL", "kind = 'refund'"),
        ("'grant', 1, -1, NULL", "kind = 'refund'"),
        ("'present', 1, 1, NULL", "kind = 'refund'"),
        ("'charge', -1, 1, NULL", "kind = 'refund'"),
    ]
    .map(|(values, rows)| format!("{entry} {values}, '', 1 FROM ledger WHERE {rows} LIMIT 1"));
    for sql in refused.into_iter().map(str::to_owned).chain(inserts) {
        let answer = raw.execute(&sql, ());
        let code = answer
            .as_ref()
            .err()
            .and_then(rusqlite::Error::sqlite_error_code);
        assert_eq!(
            code,
            Some(ErrorCode::ConstraintViolation),
            "{sql}: {answer:?}"
        );
    }
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_written_ahead() {
    let (_f, path) = sqlite();
    let raw = Connection::open(&path).unwrap();
    let mode: String = raw
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
}

// --- Opening ---

/// Everything that the file holds of its own shape.
fn schema(path: &Path) -> (u32, Vec<String>) {
    let raw = Connection::open(path).unwrap();
    let version = raw
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    let mut statement = raw
        .prepare("SELECT name || coalesce(sql, '') FROM sqlite_schema ORDER BY name")
        .unwrap();
    let rows = statement.query_map((), |row| row.get(0)).unwrap();
    (version, rows.map(Result::unwrap).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_again_changes_nothing_and_keeps_the_pepper() {
    let (f, path) = sqlite();
    let org = f.org(1_000).await;
    let job = f.job(&org.id, 20).await;
    let before = schema(&path);
    for _ in 0..2 {
        let again = open(&path);
        assert_eq!(schema(&path), before);
        assert_eq!(again.pepper(), Pepper::new([7; 32]), "the first one stays");
        let seen = again.job(&org.id, &job.id).await.unwrap();
        assert_eq!(seen.as_ref(), Some(&job));
    }
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_database_is_refused_and_left_alone() {
    let (f, path) = sqlite();
    f.org(1_000).await;
    let Fixture {
        store, directory, ..
    } = f;
    drop(store);
    // The writer closes its connection in its own time; this waits for it, as the last one out removes the log.
    let raw = Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))
        .unwrap();
    drop(raw);
    let before = std::fs::read(&path).unwrap();
    let refused = SqliteStore::open(&path, &Pepper::new([9; 32]));
    assert!(
        matches!(
            refused,
            Err(StoreError::SchemaTooNew {
                found: 99,
                known: 15
            })
        ),
        "{refused:?}"
    );
    assert!(
        std::fs::read(&path).unwrap() == before,
        "the file has changed"
    );
    drop(directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_database_is_told_apart_from_no_place() {
    let directory = tempfile::tempdir().unwrap();
    let letter = directory.path().join("letter.txt");
    std::fs::write(&letter, "Dear database, ".repeat(500)).unwrap();
    let refused = SqliteStore::open(&letter, &Pepper::new([9; 32]));
    assert!(
        matches!(refused, Err(StoreError::Corrupt(_))),
        "{refused:?}"
    );
    let nowhere = directory.path().join("absent").join("vydra.db");
    let refused = SqliteStore::open(&nowhere, &Pepper::new([9; 32]));
    assert!(
        matches!(refused, Err(StoreError::Unwritable(_))),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_open_a_new_database_at_once() {
    // Without the waiting in `open`, about one round in twelve goes wrong.
    for _ in 0..30 {
        let directory = tempfile::tempdir().unwrap();
        let start = Arc::new(Barrier::new(8));
        let openers: Vec<_> = (0..8)
            .map(|number| {
                let (path, start) = (directory.path().join("vydra.db"), Arc::clone(&start));
                std::thread::spawn(move || {
                    start.wait();
                    SqliteStore::open(&path, &Pepper::new([number; 32]))
                })
            })
            .collect();
        let stores: Vec<_> = openers
            .into_iter()
            .map(|opener| opener.join().unwrap().unwrap())
            .collect();
        for store in &stores {
            assert_eq!(store.pepper(), stores[0].pepper());
            store.check_writable().await.unwrap();
        }
    }
}

// --- Crashes ---

async fn submit_many(f: &Fixture, org: &OrgId, count: usize) -> usize {
    let submits = (0..count).map(|_| {
        let (store, new) = (Arc::clone(&f.store), f.new_job(org, 1));
        async move { store.submit_job(new).await.is_ok() }
    });
    at_once(submits)
        .await
        .into_iter()
        .filter(|accepted| *accepted)
        .count()
}

/// What a killed process leaves: the file and its log as they are, closed by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_crash() {
    let (f, path) = sqlite();
    let org = f.org(1_000).await;
    let held = f.running(&org.id, 100).await;
    let accepted = submit_many(&f, &org.id, 100).await;
    let left = f.directory.path().join("left");
    std::fs::create_dir(&left).unwrap();
    for name in ["vydra.db", "vydra.db-wal"] {
        std::fs::copy(path.with_file_name(name), left.join(name)).unwrap();
    }
    let reopened = open(&left.join("vydra.db"));
    let audit = reopened.audit().await.unwrap();
    assert_eq!(audit.imbalances, []);
    assert_eq!((accepted, audit.jobs), (100, 101));
    let seen = reopened.job(&org.id, &held.job.id).await.unwrap();
    assert_eq!(seen.as_ref(), Some(&held.job));
    assert_eq!(reopened.release_leases(f.now()).await.unwrap(), 1);
    check(f).await;
}

/// What a killed process leaves: the file and its log as they are, closed by nobody. Nothing waited for the disk.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_outlives_the_process() {
    let (f, path) = sqlite();
    let org = f.org(0).await.id;
    let record = vec![(org.clone(), moments([7]))];
    f.store.record_usage(usage(record.clone())).await.unwrap();
    let left = f.directory.path().join("left");
    std::fs::create_dir(&left).unwrap();
    for name in ["vydra.db", "vydra.db-wal"] {
        std::fs::copy(path.with_file_name(name), left.join(name)).unwrap();
    }
    let reopened = open(&left.join("vydra.db"));
    assert_eq!(reopened.admissions(NEVER).await.unwrap(), record);
    check(f).await;
}

const FULL_DISK_TEST: &str = "sqlite_files::a_full_disk_loses_nothing_and_tells_everybody";
const MARKER: &str = "this-disk-is-small";

/// Runs itself again as a process whose files may not grow beyond a limit: what a full disk is to SQLite.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_loses_nothing_and_tells_everybody() {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    if Path::new(MARKER).exists() {
        runtime.block_on(fill_the_disk());
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(MARKER), "").unwrap();
    // SIGXFSZ is ignored, so that a write beyond the limit fails instead.
    let child = Command::new("sh")
        .arg("-c")
        .arg("trap '' XFSZ; ulimit -f 6000; exec \"$0\" --exact \"$1\" --nocapture")
        .arg(std::env::current_exe().unwrap())
        .arg(FULL_DISK_TEST)
        .current_dir(directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&child.stderr)
    );
    let accepted: u64 = said
        .lines()
        .find_map(|line| line.split_once("accepted=")?.1.trim().parse().ok())
        .unwrap();
    assert!(accepted > 0);

    // The disk has room again.
    runtime.block_on(async {
        let store = open(&directory.path().join("vydra.db"));
        let audit = store.audit().await.unwrap();
        assert_eq!((audit.jobs, audit.imbalances), (accepted, vec![]));
        store.check_writable().await.unwrap();
    });
}

/// Writes until nothing more fits.
async fn fill_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(Path::new("vydra.db"));
    let f = Fixture::over(store, directory);
    let org = f.org(1_000_000).await;
    let (mut accepted, mut rounds_with_a_refusal) = (0_u64, 0);
    while rounds_with_a_refusal < 5 {
        assert!(accepted < 10_000, "the disk never fills");
        let submits = (0..100).map(|place| {
            let mut new = f.new_job(&org.id, 1);
            // On the full disk, some are larger than what SQLite keeps in memory: those fail in their own statement and
            // not at the commit, and SQLite then undoes the whole batch by itself.
            let large = rounds_with_a_refusal > 0 && place % 10 == 5;
            let length = if large { 1_000_000 } else { 10_000 };
            new.input
                .insert("prompt".to_owned(), "fox ".repeat(length).into());
            let store = Arc::clone(&f.store);
            async move { store.submit_job(new).await }
        });
        let before = accepted;
        for answer in at_once(submits).await {
            match answer {
                Ok(Submission::Accepted { .. }) => accepted += 1,
                Err(StoreError::Unwritable(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        rounds_with_a_refusal += u32::from(accepted - before < 100);
    }
    let audit = f.store.audit().await.unwrap();
    assert_eq!(
        (audit.jobs, audit.imbalances),
        (accepted, vec![]),
        "reading still works"
    );
    println!("\naccepted={accepted}");
}

// --- Older databases ---

/// Two migrations and what a server had written by then: a job that waits, one that a provider may have taken, one that
/// was refunded, and a file.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_database_keeps_its_books_and_its_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vydra.db");
    let old = Connection::open(&path).unwrap();
    for migration in [
        include_str!("../../migrations/sqlite/0001_start.sql"),
        include_str!("../../migrations/sqlite/0002_callers.sql"),
    ] {
        old.execute_batch(migration).unwrap();
    }
    old.execute_batch(
        r#"INSERT INTO settings VALUES ('pepper', zeroblob(32));
        INSERT INTO organizations (id, name, plan, created_at, updated_at) VALUES ('o', 'acme', 'free', 1, 1);
        INSERT INTO balances VALUES ('o', 'live', 70), ('o', 'test', 0);
        INSERT INTO jobs (id, org_id, mode, status, input, call, price, created_at)
            VALUES ('waits', 'o', 'live', 'pending', '{}',
                    '{"model":"m","kind":"image","action":"edit","outputs":1,"input":{"imageUrl":"asset:a","x":"asset:b"}}', 10, 5);
        INSERT INTO jobs (id, org_id, mode, status, input, call, price, created_at, started_at, attempt, lease_until,
                          deadline_at, submitting, provider, route)
            VALUES ('asked', 'o', 'live', 'running', '{}',
                    '{"model":"m","kind":"image","action":"generate","outputs":1,"input":{}}', 20, 5, 6, 1, 7, 99, 1, 'fal', 3);
        INSERT INTO jobs (id, org_id, mode, status, input, call, price, refunded, created_at, completed_at, failure_code)
            VALUES ('failed', 'o', 'live', 'failed', '{}', '{}', 5, 5, 5, 8, 'GENERATION_FAILED');
        INSERT INTO ledger (id, org_id, mode, kind, amount, balance_after, job_id, reason, created_at) VALUES
            ('1', 'o', 'live', 'grant', 100, 100, NULL, '', 1), ('2', 'o', 'live', 'charge', -10, 90, 'waits', '', 1),
            ('3', 'o', 'live', 'charge', -20, 70, 'asked', '', 1), ('4', 'o', 'live', 'charge', -5, 65, 'failed', '', 1),
            ('5', 'o', 'live', 'refund', 5, 70, 'failed', '', 1);
        INSERT INTO assets (id, org_id, role, kind, media_type, storage_key, bytes, created_at)
            VALUES ('a', 'o', 'input', 'image', 'image/png', 'k', 1, 1);
        INSERT INTO jobs (id, org_id, mode, status, input, call, price, created_at, started_at, completed_at)
            VALUES ('made', 'o', 'test', 'completed', '{}', '{"model":"m","kind":"image","action":"generate","outputs":1,"input":{}}',
                    5, 5, 5, 8),
                   ('older', 'o', 'test', 'completed', '{}', '{"model":"m","kind":"image","action":"generate","outputs":1,"input":{}}',
                    5, 4, 4, 8);
        INSERT INTO ledger (id, org_id, mode, kind, amount, balance_after, job_id, reason, created_at) VALUES
            ('6', 'o', 'test', 'grant', 10, 10, NULL, '', 1), ('7', 'o', 'test', 'charge', -5, 5, 'older', '', 1),
            ('8', 'o', 'test', 'charge', -5, 0, 'made', '', 1);
        INSERT INTO assets (id, org_id, job_id, role, kind, media_type, storage_key, bytes, created_at)
            VALUES ('b', 'o', 'made', 'output', 'image', 'image/png', 'l', 1, 1),
                   ('c', 'o', 'older', 'output', 'image', 'image/png', 'm', 1, 1);
        PRAGMA user_version = 2;"#,
    )
    .unwrap();
    drop(old);

    let store = SqliteStore::open(&path, &Pepper::new([7; 32])).unwrap();
    assert_eq!(store.audit().await.unwrap().imbalances, []);
    let org = OrgId::trusted("o".to_owned());
    let totals = store.credit_totals(&org, Mode::Live).await.unwrap();
    assert_eq!(
        (totals.remaining, totals.used, totals.refunded),
        (70, 35, 5)
    );
    assert_eq!(store.open_jobs(&org, Mode::Live).await.unwrap(), 2);
    let entries = EntryFilter {
        limit: 9,
        ..EntryFilter::default()
    };
    let entries = store.transactions(&org, Mode::Live, entries).await.unwrap();
    let entries = entries.unwrap().entries;
    let listed: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(listed, ["5", "4", "3", "2", "1"]);
    for (key, mode) in [("k", Mode::Live), ("l", Mode::Test), ("m", Mode::Test)] {
        let asset = store.asset_by_storage_key(key).await.unwrap().unwrap();
        assert_eq!(asset.mode, mode, "{key}");
    }
    let waits = JobId::trusted("waits".to_owned());
    for (asset, expected) in [("a", true), ("b", true), ("c", false)] {
        let id = AssetId::trusted(asset.to_owned());
        let input = store.job_input(&waits, &id).await.unwrap();
        assert_eq!(input.is_some(), expected, "{asset}");
    }
    let due = store.next_due().await.unwrap();
    assert_eq!(due.deadline, Some(Timestamp::from_micros(99)));
    let f = Fixture::over(Arc::new(store), folder);
    let claimed = f.claim_at(9, Timestamp::from_micros(50)).await;
    let ids: Vec<&str> = claimed.iter().map(|held| held.job.id.as_str()).collect();
    assert_eq!(ids, ["asked", "waits"]);
    let asked = PriorStep::Unknown {
        provider: "fal".to_owned(),
        route: 3,
    };
    assert_eq!(
        claimed[0].steps,
        [(0, asked)].into(),
        "not to be bought again"
    );
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn admissions_that_are_too_old_are_forgotten_bit_by_bit() {
    let (f, _) = sqlite();
    let org = f.org(0).await.id;
    let old = (1..=2_500).map(|n| (org.clone(), moments([n]))).collect();
    f.store.record_usage(usage(old)).await.unwrap();
    let remembered = async || f.store.admissions(NEVER).await.unwrap();
    let mut left = Vec::new();
    for _ in 0..3 {
        let forget = Timestamp::from_micros(2_400);
        let nothing = Usage {
            forget,
            ..usage(Vec::new())
        };
        f.store.record_usage(nothing).await.unwrap();
        left.push(remembered().await.len());
    }
    assert_eq!(left, [1_500, 500, 100]);
    assert_eq!(remembered().await[0].1, moments([2_401]));
    // It is always more than comes in.
    let storm = (0..2_000).map(|n| (org.clone(), moments([3_000 + n])));
    let busy = Usage {
        forget: Timestamp::from_micros(2_500),
        ..usage(storm.collect())
    };
    f.store.record_usage(busy).await.unwrap();
    assert_eq!(remembered().await.len(), 2_000);
    check(f).await;
}
