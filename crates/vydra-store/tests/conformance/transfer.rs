//! A database as a stream of lines, and what cannot be one.

use crate::backend;
use crate::fixture::{Fixture, fresh};
use crate::limits::{LATE, moments, usage};
use crate::rich::rich;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::io::{self, Cursor, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use vydra_core::job::{JobStatus, Mode};
use vydra_core::time::Timestamp;
use vydra_store::transfer::{Inlet, Moved, Outlet, Result, TransferError};

/// What was written, for whoever gave it away.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    pub(crate) fn outlet(&self) -> Outlet {
        Outlet {
            to: Box::new(self.clone()),
            tell: Box::new(|_| {}),
            now: Timestamp::from_micros(0),
            version: "0.0.0".to_owned(),
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

pub(crate) fn inlet(text: &str) -> Inlet {
    Inlet {
        from: Box::new(Cursor::new(text.to_owned().into_bytes())),
        tell: Box::new(|_| {}),
        now: Timestamp::from_micros(1),
    }
}

pub(crate) async fn export(directory: &Path) -> String {
    let written = Written::default();
    backend::export(directory, written.outlet()).await.unwrap();
    written.text()
}

async fn import(text: &str) -> (TempDir, Result<Moved>) {
    let directory = tempfile::tempdir().unwrap();
    let imported = backend::import(directory.path(), inlet(text)).await;
    (directory, imported)
}

/// The rows of each table.
fn tables(text: &str) -> HashMap<String, Vec<HashMap<String, Value>>> {
    let mut tables: HashMap<String, Vec<HashMap<String, Value>>> = HashMap::new();
    let (mut name, mut columns) = (String::new(), Vec::new());
    for line in text.lines() {
        match serde_json::from_str(line).unwrap() {
            Value::Array(values) => {
                let row = columns.iter().cloned().zip(values).collect();
                tables.get_mut(&name).unwrap().push(row);
            }
            line => {
                if let Some(table) = line.get("table") {
                    name = table.as_str().unwrap().to_owned();
                    columns = serde_json::from_value(line["columns"].clone()).unwrap();
                    tables.insert(name.clone(), Vec::new());
                }
            }
        }
    }
    tables
}

/// A column that is added and not listed would be left behind.
#[tokio::test(flavor = "multi_thread")]
async fn every_column_of_every_table_is_moved() {
    let f = fresh().await;
    let text = export(f.directory.path()).await;
    let mut moved = BTreeSet::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if let (Some(table), Some(columns)) = (line.get("table"), line.get("columns")) {
            let columns = columns.as_array().unwrap().iter();
            let columns = columns.map(|column| format!("{}.{}", word(table), word(column)));
            moved.extend(columns);
        }
    }
    let (sql, others) = backend::COLUMNS;
    let there: BTreeSet<String> = backend::text(f.directory.path(), sql)
        .split(',')
        .map(str::to_owned)
        .filter(|column| !others.contains(&column.split('.').next().unwrap()))
        .collect();
    moved.retain(|column| !column.starts_with("admissions."));
    assert_eq!(moved, there);
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Or the other tests would prove nothing of them.
#[tokio::test(flavor = "multi_thread")]
async fn every_column_of_the_rich_store_holds_something() {
    let f = fresh().await;
    rich(&f).await;
    let text = export(f.directory.path()).await;
    let mut unused = Vec::new();
    for (table, rows) in tables(&text) {
        assert!(!rows.is_empty(), "{table}");
        let columns = rows[0].keys();
        let empty = columns.filter(|column| rows.iter().all(|row| row[*column].is_null()));
        unused.extend(empty.map(|column| format!("{table}.{column}")));
    }
    assert_eq!(unused, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_read_again() {
    let f = fresh().await;
    let callers = rich(&f).await;
    let text = export(f.directory.path()).await;
    let (directory, imported) = import(&text).await;
    let imported = imported.unwrap();
    assert_eq!(imported.of("organizations"), 3);
    let store = backend::open(directory.path()).await;
    assert_eq!(store.audit().await.unwrap(), f.store.audit().await.unwrap());
    assert_eq!(store.pepper(), f.store.pepper());
    let key = f.store.key_by_hash(&callers.key).await.unwrap();
    assert!(key.is_some());
    assert_eq!(store.key_by_hash(&callers.key).await.unwrap(), key);
    let session = store.session(&callers.session, Timestamp::from_micros(0));
    assert!(session.await.unwrap().is_some());
    let sum = |admitted: Vec<(_, Vec<Timestamp>)>| -> Vec<Timestamp> {
        let mut all: Vec<_> = admitted.into_iter().flat_map(|(_, at)| at).collect();
        all.sort_unstable();
        all
    };
    let before = f.store.admissions(Timestamp::from_micros(0)).await.unwrap();
    let after = store.admissions(Timestamp::from_micros(0)).await.unwrap();
    assert_eq!(sum(after), sum(before));

    // What was being worked on waits to be taken up, and what is new follows what was there.
    let moved = Fixture::over(store, directory);
    let later = f.now().as_micros() - moved.now().as_micros();
    moved.advance(Duration::from_micros(later.unsigned_abs()));
    let claimed = moved.claim_at(9, moved.now()).await;
    let ran = claimed.iter().filter(|held| !held.steps.is_empty());
    assert_eq!(ran.count(), 1, "{claimed:?}");
    for held in &claimed {
        moved.settle(held, moved.failed()).await;
    }
    for org in [&callers.org, &callers.other] {
        moved.ended(org).await;
    }
    moved
        .store
        .grant(moved.new_grant(&callers.org, Mode::Test, 3))
        .await
        .unwrap();
    let jobs = vydra_store::store::JobFilter {
        status: Some(JobStatus::Failed),
        limit: 99,
        ..Default::default()
    };
    let failed = moved
        .store
        .jobs(&callers.org, Mode::Live, jobs)
        .await
        .unwrap();
    assert_eq!(failed.count, 1 + claimed.len() as u64);
    crate::fixture::check(moved).await;
}

/// Stands still between the jobs and the ledger, until something has been committed.
struct Halting {
    written: Written,
    reached: UnboundedSender<()>,
    go_on: mpsc::Receiver<()>,
}

impl Write for Halting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.starts_with(b"{\"table\":\"ledger\"") {
            self.reached.send(()).unwrap();
            self.go_on.recv().unwrap();
        }
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whatever is committed meanwhile is not in it, not in part either, and nobody's writes wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_of_one_moment() {
    let f = fresh().await;
    let org = f.org(10_000).await.id;
    f.ended(&org).await;
    let before = export(f.directory.path()).await;
    let written = Written::default();
    let (reached, mut halted) = unbounded_channel();
    let (tell, go_on) = mpsc::channel();
    let halting = Halting {
        written: written.clone(),
        reached,
        go_on,
    };
    let outlet = Outlet {
        to: Box::new(halting),
        ..written.outlet()
    };
    let exporting = backend::export(f.directory.path(), outlet);
    let meanwhile = async {
        halted.recv().await.unwrap();
        f.ended(&org).await;
        f.job(&org, 2).await;
        tell.send(()).unwrap();
    };
    let (exported, ()) = tokio::join!(exporting, meanwhile);
    exported.unwrap();
    assert_eq!(written.text(), before);
    assert_ne!(export(f.directory.path()).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_holds_something_is_left_alone() {
    let f = fresh().await;
    f.org(5).await;
    let text = export(f.directory.path()).await;
    let refused = backend::import(f.directory.path(), inlet(&text)).await;
    assert!(
        matches!(refused, Err(TransferError::NotEmpty)),
        "{refused:?}"
    );
    assert_eq!(export(f.directory.path()).await, text);
}

/// Whether this is why it was refused.
type Expected<'a> = &'a dyn Fn(&TransferError) -> bool;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_refused_and_nothing_of_it_stays() {
    let f = fresh().await;
    let org = f.org(1_000).await.id;
    f.ended(&org).await;
    f.job(&org, 5).await;
    let other = f.org(1).await.id;
    let requests = [&org, &other].map(|org| (org.clone(), moments([1, 2, 2].map(|n| LATE + n))));
    f.store
        .record_usage(usage(requests.to_vec()))
        .await
        .unwrap();
    let text = export(f.directory.path()).await;
    let is_damaged = |error: &TransferError| matches!(error, TransferError::Damaged);
    let is_malformed = |error: &TransferError| matches!(error, TransferError::Malformed { .. });
    let is_of_another = |error: &TransferError| matches!(error, TransferError::OtherSchema { .. });
    let is_newer =
        |error: &TransferError| matches!(error, TransferError::OtherFormat { found: 2, known: 1 });
    let without = |words: &str| -> String {
        let lines = text.split_inclusive('\n');
        lines.filter(|line| !line.contains(words)).collect()
    };
    let twice = |begin: &str| -> String {
        let at = text.find(begin).unwrap();
        let end = at + text[at..].find('\n').unwrap() + 1;
        [&text[..end], &text[at..]].concat()
    };
    let cases: Vec<(&str, String, Expected<'_>)> = vec![
        ("nothing", String::new(), &is_malformed),
        ("a letter", "Dear database,\n".to_owned(), &is_malformed),
        (
            "another object",
            "{\"vydra\":\"import\"}\n".to_owned(),
            &is_malformed,
        ),
        (
            "another form",
            text.replacen("\"format\":1", "\"format\":2", 1),
            &is_newer,
        ),
        (
            "another schema",
            text.replacen("\"schema\":", "\"schema\":9", 1),
            &is_of_another,
        ),
        ("a half", text[..text.len() / 2].to_owned(), &is_malformed),
        ("no end", without("\"sha256\""), &is_malformed),
        (
            "no line break at its end",
            text.trim_end().to_owned(),
            &is_malformed,
        ),
        ("something behind it", format!("{text}\n"), &is_malformed),
        (
            "a changed word",
            text.replacen("welcome", "welcomf", 1),
            &is_damaged,
        ),
        ("a row that is missing", without("\"refund\""), &is_damaged),
        (
            "a table that is missing",
            without("\"table\":\"users\""),
            &is_malformed,
        ),
        (
            "a column that is missing",
            text.replacen("\"email\",", "", 1),
            &is_malformed,
        ),
        (
            "a number for a word",
            text.replacen("\"free\"", "5", 1),
            &is_malformed,
        ),
        (
            "a short row",
            text.replacen("[\"live\",", "[", 1),
            &is_malformed,
        ),
        (
            "an admission of nobody",
            text.replacen("2,2]", "2,0]", 1),
            &is_malformed,
        ),
        (
            "an admission of everybody",
            text.replacen("2,2]", "2,2000000]", 1),
            &is_malformed,
        ),
        (
            "an admission that comes too early",
            text.replacen("2,2]", "0,2]", 1),
            &is_malformed,
        ),
        (
            "an admission without its moment",
            text.replacen(&format!("{},2]", LATE + 2), "null,2]", 1),
            &is_malformed,
        ),
        (
            "a word that cannot be",
            text.replacen("\"pending\"", "\"pendinh\"", 1),
            &is_malformed,
        ),
        ("a key that is there twice", twice("[\"org_"), &is_malformed),
    ];
    for (what, text, is_expected) in cases {
        let (directory, refused) = import(&text).await;
        let error = refused.expect_err(what);
        assert!(is_expected(&error), "{what}: {error:?}");
        let store = backend::open(directory.path()).await;
        assert_eq!(store.organizations().await.unwrap(), [], "{what}");
        store.check_writable().await.unwrap();
    }
    import(&text).await.1.unwrap();
}

/// Well-formed, whole, and wrong.
#[tokio::test(flavor = "multi_thread")]
async fn books_that_do_not_agree_are_not_imported() {
    const ANOTHERS_KEY: &str =
        "INSERT INTO api_keys (id, org_id, name, shown_prefix, hash, mode, scopes, created_at)
        VALUES ('key_other', OTHER, '', '', 'h', 'live', '[]', 1);
        UPDATE jobs SET key_id = 'key_other'";
    for damage in [
        "UPDATE balances SET credits = credits + 1 WHERE org_id = ORG AND mode = 'live'",
        ANOTHERS_KEY,
    ] {
        let (text, f) = damaged(damage).await;
        let (directory, refused) = import(&text).await;
        let Err(TransferError::Unbalanced(imbalances)) = &refused else {
            panic!("{damage}: {refused:?}")
        };
        assert_eq!(*imbalances, f.store.audit().await.unwrap().imbalances);
        assert_eq!(imbalances.len(), 1, "{damage}");
        let store = backend::open(directory.path()).await;
        assert_eq!(store.organizations().await.unwrap(), [], "{damage}");
    }
}

/// By the audit, or by the database before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_nobodys_key_is_not_imported() {
    let (text, _f) = damaged("UPDATE jobs SET key_id = 'key_nobody'").await;
    let (directory, refused) = import(&text).await;
    refused.expect_err("there is no such key");
    let store = backend::open(directory.path()).await;
    assert_eq!(store.organizations().await.unwrap(), []);
}

/// An export of two organizations, the first with a job, after somebody changed the database without its guards.
async fn damaged(sql: &str) -> (String, Fixture) {
    let f = fresh().await;
    let (org, other) = (f.org(1_000).await.id, f.org(1).await.id);
    f.job(&org, 5).await;
    let sql = sql
        .replace("ORG", &format!("'{org}'"))
        .replace("OTHER", &format!("'{other}'"));
    f.execute(&format!("{}\n{sql}", backend::UNGUARDED));
    (export(f.directory.path()).await, f)
}

/// The checksum is that of every line between the first and the last.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_tells_how_much_it_is() {
    let f = fresh().await;
    f.org_of(f.new_org("acme", 10, 0)).await;
    let text = export(f.directory.path()).await;
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["vydra"], &first["format"]),
        (&json!("export"), &json!(1))
    );
    assert_eq!(first["version"], "0.0.0");
    assert_eq!(first["exportedAt"], "1970-01-01T00:00:00.000Z");
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let counts: HashMap<String, u64> = serde_json::from_value(last["rows"].clone()).unwrap();
    let rows = tables(&text);
    assert_eq!(counts.len(), rows.len());
    for (table, rows) in rows {
        assert_eq!(counts[&table], rows.len() as u64, "{table}");
    }
    assert_eq!((counts["organizations"], counts["ledger"]), (1, 1));
}
