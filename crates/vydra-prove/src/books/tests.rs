//! Each invariant is damaged in the database, and both who look at it must see that: the store's audit in SQL, and the rules here.

use super::*;
use crate::books::invariants::{check as rules, files};
use crate::fixture::{Fixture, OUTPUTS};
use crate::gates::in_memory;
use rusqlite::Connection;
use tempfile::TempDir;
use vydra_core::idempotency::{Fingerprint, IdempotencyKey};
use vydra_core::job::Mode;
use vydra_store::store::{NewIdempotency, StepRoute};
use vydra_testkit::{Backend, postgres};

/// An organization with a delivered job (`DONE`), a failed one (`FAILED`), a running one (`RUNNING`) and a waiting one
/// (`WAITING`), and an organization beside it (`OTHER`).
struct Damaged {
    _folder: TempDir,
    fixture: Fixture,
    names: Vec<(&'static str, String)>,
}

impl Damaged {
    /// On every engine that there is here.
    async fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for backend in Backend::ALL {
            let folder = in_memory().unwrap();
            if let Some(database) = Database::new(backend, folder.path()) {
                all.push(Self::on(database, folder).await);
            }
        }
        all
    }

    async fn on(database: Database, folder: TempDir) -> Self {
        let f = Fixture::new(database, 1);
        let org = f.organization("acme", 1_000, 0).await.unwrap();
        let other = f.organization("other", 500, 0).await.unwrap();
        let mut ids = Vec::new();
        for name in ["DONE", "FAILED", "RUNNING", "WAITING"] {
            let mut new = f.new_job(&org, Mode::Live, 8);
            new.idempotency = Some(NewIdempotency {
                key: IdempotencyKey::parse(name).unwrap(),
                fingerprint: Fingerprint::trusted("f".to_owned()),
                expires_at: new.start_by,
            });
            ids.push((name, new.id.as_str().to_owned()));
            f.store.submit_job(new).await.unwrap();
        }
        let claimed = f
            .store
            .claim_jobs(f.claim(Mode::Live, 3))
            .await
            .unwrap()
            .jobs;
        let lease = |name: &str| {
            let id = &ids.iter().find(|(known, _)| *known == name).unwrap().1;
            let claimed = claimed.iter().find(|claimed| claimed.job.id.as_str() == id);
            claimed.unwrap().lease.clone()
        };
        let step = StepRoute {
            step: 0,
            route: 0,
            provider: "p".to_owned(),
        };
        let until = f.now().plus(std::time::Duration::from_mins(1));
        f.store
            .mark_submitting(&lease("RUNNING"), &step, until)
            .await
            .unwrap();
        let done = lease("DONE");
        let settlement = f.completed(&done, (&org, Mode::Live), 8, OUTPUTS);
        f.store.settle_job(&done, settlement).await.unwrap();
        f.store
            .settle_job(&lease("FAILED"), f.failed())
            .await
            .unwrap();
        let mut names = ids;
        names.push(("OTHER", other.as_str().to_owned()));
        Self {
            _folder: folder,
            fixture: f,
            names,
        }
    }

    /// Behind the store's back and without its guards, as a mistake of ours could.
    fn damage(&self, sql: &str) {
        let named = self.names.iter().fold(sql.to_owned(), |sql, (name, id)| {
            sql.replace(name, &format!("'{id}'"))
        });
        match &self.fixture.database {
            Database::Sqlite(path) => {
                let raw = Connection::open(path).unwrap();
                raw.execute_batch(&without_guards(&raw)).unwrap();
                raw.execute_batch(&named).unwrap();
            }
            Database::Postgres(url) => {
                postgres::psql(url, &[WITHOUT_GUARDS, &named]).unwrap();
            }
        }
    }

    fn seen_here(&self) -> Vec<&'static str> {
        let books = Books::read(&self.fixture.database).unwrap();
        let mut seen: Vec<_> = rules(&books).iter().map(|violated| violated.rule).collect();
        seen.dedup();
        seen
    }

    async fn seen_by_the_store(&self) -> bool {
        !self
            .fixture
            .store
            .audit()
            .await
            .unwrap()
            .imbalances
            .is_empty()
    }
}

fn without_guards(raw: &Connection) -> String {
    let mut guards =
        String::from("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;");
    let mut statement = raw
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap();
    let triggers = statement.query_map((), |row| row.get::<_, String>(0));
    for name in triggers.unwrap() {
        guards.push_str("DROP TRIGGER ");
        guards.push_str(&name.unwrap());
        guards.push(';');
    }
    guards.push_str("DROP INDEX ledger_of_job;");
    guards
}

/// The same, for what the session does from then on.
const WITHOUT_GUARDS: &str = "
    SET session_replication_role = replica;
    DROP INDEX ledger_of_job;
    DO $$
    DECLARE guard record;
    BEGIN
        FOR guard IN SELECT conrelid::regclass AS relation, conname FROM pg_constraint
                     WHERE contype = 'c' AND connamespace = 'public'::regnamespace
        LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', guard.relation, guard.conname);
        END LOOP;
    END $$";

#[tokio::test]
async fn whole_books_are_not_complained_of() {
    for whole in Damaged::all().await {
        assert_eq!(whole.seen_here(), [""; 0]);
        assert!(!whole.seen_by_the_store().await);
    }
}

/// The rule, the damage, and whether SQL can see it too.
const DAMAGES: &[(&str, &str, bool)] = &[
    ("I1", "UPDATE balances SET credits = credits + 1 WHERE org_id = OTHER", true),
    ("I1", "UPDATE ledger SET balance_after = balance_after + 1 WHERE org_id = OTHER", true),
    ("I1", "UPDATE ledger SET amount = -amount WHERE org_id = OTHER", true),
    ("I1", "DELETE FROM balances WHERE org_id = OTHER AND mode = 'live'", true),
    ("I1", "UPDATE balances SET charged = charged + 1 WHERE org_id = OTHER", true),
    ("I1", "UPDATE balances SET refunded = refunded + 1 WHERE org_id = OTHER", true),
    ("I1", "UPDATE balances SET open = open + 1 WHERE org_id = OTHER", true),
    ("I1", "UPDATE balances SET jobs = jobs + 1 WHERE org_id = OTHER", true),
    ("I1", "UPDATE balances SET last_entry = last_entry - 1 WHERE org_id = OTHER", true),
    ("I1", "UPDATE jobs SET previous = NULL WHERE id = WAITING", true),
    ("I1", "UPDATE ledger SET previous = NULL WHERE job_id = FAILED AND kind = 'refund'", true),
    ("I2", "DELETE FROM ledger WHERE job_id = WAITING", true),
    ("I2", "UPDATE jobs SET refunded = 8 WHERE id = DONE", true),
    ("I2", "UPDATE ledger SET job_id = 'job_gone' WHERE job_id = WAITING", true),
    ("I2", "UPDATE ledger SET job_id = NULL WHERE job_id = WAITING", true),
    ("I2", "UPDATE ledger SET org_id = OTHER WHERE job_id = WAITING", true),
    ("I2", "INSERT INTO ledger (id, org_id, mode, kind, amount, balance_after, job_id, reason, created_at)
            SELECT 'txn_again', org_id, mode, kind, amount, balance_after + amount, job_id, reason, created_at
            FROM ledger WHERE job_id = FAILED AND kind = 'refund'", true),
    ("I3", "UPDATE jobs SET refunded = 3 WHERE id = FAILED", true),
    ("I3", "UPDATE jobs SET refunded = 1 WHERE id = RUNNING", true),
    ("I3", "UPDATE assets SET job_id = FAILED WHERE job_id = DONE", true),
    // The audit does not know how many outputs were paid for.
    ("I3", "DELETE FROM assets WHERE id = (SELECT min(id) FROM assets WHERE job_id = DONE)", false),
    ("I4", "UPDATE jobs SET deadline_at = NULL WHERE id = WAITING", true),
    ("I4", "UPDATE jobs SET deadline_at = NULL WHERE id = RUNNING", true),
    // A check of the table forbids it.
    ("I4", "UPDATE jobs SET lease_until = NULL WHERE id = RUNNING", false),
    ("I1", "UPDATE balances SET events = events + 1 WHERE org_id = OTHER", true),
    ("I5", "UPDATE events SET number = number + 1 WHERE job_id = DONE", true),
    ("I5", "DELETE FROM events WHERE job_id = DONE", true),
    ("I5", "UPDATE events SET kind = 'job.failed' WHERE job_id = DONE", true),
    ("I5", "UPDATE events SET job_id = RUNNING WHERE job_id = DONE", true),
    ("I6", "UPDATE assets SET org_id = OTHER", true),
    ("I6", "UPDATE assets SET job_id = NULL", false),
    ("I6", "UPDATE assets SET mode = 'test' WHERE job_id = DONE", true),
    ("I6", "INSERT INTO job_inputs SELECT DONE, min(id) FROM assets", true),
    ("I6", "INSERT INTO job_inputs SELECT WAITING, min(id) FROM assets; UPDATE assets SET deleted_at = 1, erased_at = 2", false),
    ("I7", "UPDATE idempotency_keys SET org_id = OTHER WHERE key = DONE", true),
    ("I7", "UPDATE idempotency_keys SET job_id = 'job_gone' WHERE key = DONE", false),
    // The rest are checks of the table and triggers, which the damage takes away.
    ("I8", "UPDATE jobs SET completed_at = NULL WHERE id = DONE", false),
    ("I8", "UPDATE jobs SET started_at = NULL WHERE id = RUNNING", false),
    ("I8", "UPDATE jobs SET status = 'paused' WHERE id = WAITING", true),
    ("I8", "UPDATE steps SET job_id = WAITING", false),
];

#[tokio::test]
async fn every_damage_is_seen() {
    for (rule, sql, by_the_store) in DAMAGES {
        for damaged in Damaged::all().await {
            // Keys bear the names of the jobs.
            let sql = sql.replace("key = DONE", "key = 'DO' || 'NE'");
            damaged.damage(&sql);
            let (seen, database) = (damaged.seen_here(), &damaged.fixture.database);
            assert!(seen.contains(rule), "{database:?}: {sql}: {seen:?}");
            let by_store = damaged.seen_by_the_store().await;
            assert_eq!(by_store, *by_the_store, "{database:?}: {sql}");
            assert!(check(database).is_err(), "{database:?}: {sql}");
        }
    }
}

#[tokio::test]
async fn every_rule_is_damaged_in_some_way() {
    for rule in ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8"] {
        assert!(
            DAMAGES.iter().any(|(damaged, ..)| *damaged == rule),
            "{rule}"
        );
    }
}

#[tokio::test]
async fn a_file_that_is_gone_or_cut_is_seen() {
    for whole in Damaged::all().await {
        let books = Books::read(&whole.fixture.database).unwrap();
        assert_eq!(files(&books, |_| Some(1)), []);
        assert_eq!(files(&books, |_| None).len(), OUTPUTS as usize);
        assert_eq!(files(&books, |_| Some(0)).len(), OUTPUTS as usize);
    }
}

#[tokio::test]
async fn what_has_not_ended_is_told() {
    for whole in Damaged::all().await {
        let open = ended(&Books::read(&whole.fixture.database).unwrap()).unwrap_err();
        assert!(open.to_string().contains("2 jobs have not ended"), "{open}");
    }
}
