//! Forgeries in the database, and what the audit says of each. Where the database forbids them, its guards are taken away
//! first, as its owner could.

use crate::backend;
use crate::fixture::{Fixture, fresh};
use vydra_core::ids::{JobId, OrgId};
use vydra_core::job::{Job, Mode};
use vydra_core::ledger::Imbalance;

const BALANCE: &str = "the balance is not the sum of its ledger rows";
const CHARGE: &str = "the charge is not the price of the job";
const REFUND: &str = "the refund is not what the job says";
const UNDELIVERED: &str = "a job that did not deliver was not refunded in full";
const OPEN: &str = "a job that has not ended was refunded";
const NO_JOB: &str = "rows of a job that the organization does not have";
const NO_BALANCE: &str = "ledger rows without a balance";
const CHARGES: &str = "the sum of all charges is not that of the rows";
const REFUNDS: &str = "the sum of all refunds is not that of the rows";
const OPEN_JOBS: &str = "the count of open jobs is not that of the rows";
const JOBS: &str = "the count of jobs is not that of the rows";
const ENTRIES: &str = "the count of ledger rows is not that of the rows";
const JOB_LINK: &str = "a job that does not follow the one before it";
const LAST_JOB: &str = "the last job is not the one that the balance names";
const LAST_ENTRY: &str = "the last ledger row is not the one that the balance names";
const EVENTS: &str = "the count of events is not that of the rows";
const EVENT_LINK: &str = "an event that does not follow the one before it";
const EVENT_PLACE: &str = "an event that does not know its place";
const LAST_EVENT: &str = "the last event is not the one that the balance names";
const MARK: &str = "a place among the events that is marked wrongly";
const DELIVERY: &str = "a delivery of what has not happened";
const END: &str = "a job whose end is not exactly one event";
const EVENT: &str = "an event that is not the end of its job";
const WORLD: &str = "an asset that is not of its job's mode";
const ENDED_INPUT: &str = "inputs of a job that has ended";
const FOREIGN_INPUT: &str = "an input of another organization's job";
const FOREIGN_KEY: &str = "a job of a key that the organization does not have";
const ENDLESS: &str = "a job that nothing will end";

/// One organization with 1000 credits and a partly delivered job of 100 (30 back), a failed one of 50 and a waiting one of
/// 20, which is the last row; and another with 500.
struct Books {
    f: Fixture,
    org: OrgId,
    other: OrgId,
    partial: Job,
    failed: Job,
    waiting: Job,
}

const SUM: i64 = 1_000 - 100 + 30 - 50 + 50 - 20;

async fn books() -> Books {
    let f = fresh().await;
    let (org, other) = (f.org(1_000).await.id, f.org(500).await.id);
    let held = f.running(&org, 100).await;
    let partial = f.settle(&held, f.completed(vec![], 30)).await;
    let held = f.running(&org, 50).await;
    let failed = f.settle(&held, f.failed()).await;
    let waiting = f.job(&org, 20).await;
    assert_eq!(f.store.audit().await.unwrap().imbalances, []);
    Books {
        f,
        org,
        other,
        partial,
        failed,
        waiting,
    }
}

impl Books {
    /// Changes the database behind the store's back, without its guards, and mends the chains: what is left is a mistake that
    /// was booked well.
    fn forge(&self, sql: &str) {
        self.damage(&format!(
            "{sql};
             UPDATE jobs SET previous =
                (SELECT max(seq) FROM jobs p WHERE p.org_id = jobs.org_id AND p.mode = jobs.mode AND p.seq < jobs.seq);
             UPDATE ledger SET previous =
                (SELECT max(seq) FROM ledger p WHERE p.org_id = ledger.org_id AND p.mode = ledger.mode AND p.seq < ledger.seq);
             UPDATE balances SET (jobs, last_job) =
                (SELECT count(*), max(seq) FROM jobs j WHERE j.org_id = balances.org_id AND j.mode = balances.mode);
             UPDATE balances SET (entries, last_entry) =
                (SELECT count(*), max(seq) FROM ledger l WHERE l.org_id = balances.org_id AND l.mode = balances.mode);
             UPDATE events SET (previous, number) =
                (SELECT max(seq), count(*) + 1 FROM events p WHERE p.org_id = events.org_id AND p.mode = events.mode AND p.seq < events.seq);
             UPDATE balances SET (events, last_event) =
                (SELECT count(*), max(seq) FROM events e WHERE e.org_id = balances.org_id AND e.mode = balances.mode);"
        ));
    }

    /// Changes the database behind the store's back, without its guards.
    fn damage(&self, sql: &str) {
        let named = sql
            .replace("ORG", &format!("'{}'", self.org))
            .replace("OTHER", &format!("'{}'", self.other))
            .replace("PARTIAL", &format!("'{}'", self.partial.id))
            .replace("FAILED", &format!("'{}'", self.failed.id))
            .replace("WAITING", &format!("'{}'", self.waiting.id));
        self.f.execute(&format!("{}\n{named}", backend::UNGUARDED));
    }

    /// Asserts that the audit lists exactly these: job, problem, what should be, what is.
    async fn finds(&self, expected: &[(Option<&JobId>, &str, i64, i64)]) {
        let found = self.f.store.audit().await.unwrap().imbalances;
        let expected: Vec<_> = expected
            .iter()
            .map(|(job, problem, expected, found)| Imbalance {
                org_id: self.org.clone(),
                mode: Some(Mode::Live),
                job_id: job.cloned(),
                problem: (*problem).to_owned(),
                expected: *expected,
                found: *found,
            })
            .collect();
        assert_eq!(found, expected);
    }

    fn row(&self, kind: &str, job: &Job) -> String {
        let id = job.id.as_str();
        let sql = format!("SELECT id FROM ledger WHERE kind = '{kind}' AND job_id = '{id}'");
        backend::text(self.f.directory.path(), &sql)
    }

    fn after(&self, kind: &str, job: &Job) -> String {
        let id = self.row(kind, job);
        format!("the balance after row {id} is not the sum of the rows up to it")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_balance() {
    let books = books().await;
    books.forge("UPDATE balances SET credits = credits + 5 WHERE org_id = ORG AND mode = 'live'");
    books.finds(&[(None, BALANCE, SUM, SUM + 5)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_charge() {
    let books = books().await;
    let waiting = Some(&books.waiting.id);
    let after = books.after("charge", &books.waiting);
    books.forge("UPDATE ledger SET amount = -1 WHERE kind = 'charge' AND job_id = WAITING");
    books
        .finds(&[
            (None, BALANCE, SUM + 19, SUM),
            (waiting, &after, SUM + 19, SUM),
            (waiting, CHARGE, -20, -1),
            (None, CHARGES, 151, 170),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_balance_after() {
    let books = books().await;
    let after = books.after("refund", &books.partial);
    books.forge("UPDATE ledger SET balance_after = 7 WHERE kind = 'refund' AND job_id = PARTIAL");
    books
        .finds(&[(Some(&books.partial.id), &after, 930, 7)])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_charge() {
    let books = books().await;
    books.forge("DELETE FROM ledger WHERE kind = 'charge' AND job_id = WAITING");
    books
        .finds(&[
            (None, BALANCE, SUM + 20, SUM),
            (Some(&books.waiting.id), CHARGE, -20, 0),
            (None, CHARGES, 150, 170),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_grant() {
    let books = books().await;
    books.forge("DELETE FROM ledger WHERE kind = 'grant' AND org_id = ORG");
    let found = books.f.store.audit().await.unwrap().imbalances;
    assert_eq!(
        found.len(),
        1 + 5,
        "the balance, and each row behind the grant: {found:?}"
    );
    assert_eq!((found[0].expected, found[0].found), (SUM - 1_000, SUM));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_the_job_does_not_know() {
    let books = books().await;
    books.forge("UPDATE jobs SET refunded = 29 WHERE id = PARTIAL");
    books
        .finds(&[(Some(&books.partial.id), REFUND, 29, 30)])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_without_its_refund() {
    let books = books().await;
    let failed = Some(&books.failed.id);
    books.forge("UPDATE jobs SET refunded = 0 WHERE id = FAILED");
    books
        .finds(&[(failed, REFUND, 0, 50), (failed, UNDELIVERED, 50, 0)])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_of_an_open_job() {
    let books = books().await;
    let waiting = Some(&books.waiting.id);
    books.forge("UPDATE jobs SET refunded = 20 WHERE id = WAITING");
    books
        .finds(&[(waiting, REFUND, 20, 0), (waiting, OPEN, 0, 20)])
        .await;
}

/// The rows and the balance agree with each other; only the job tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_refund_that_was_booked_well() {
    let books = books().await;
    books.forge(
        "INSERT INTO ledger (id, org_id, mode, kind, amount, balance_after, job_id, reason, created_at)
         SELECT 'txn_again', org_id, mode, 'refund', 50, (SELECT credits + 50 FROM balances WHERE org_id = ORG AND mode = 'live'),
                job_id, '', 1 FROM ledger WHERE kind = 'refund' AND job_id = FAILED;
         UPDATE balances SET credits = credits + 50 WHERE org_id = ORG AND mode = 'live'",
    );
    books
        .finds(&[
            (Some(&books.failed.id), REFUND, 50, 100),
            (None, REFUNDS, 130, 80),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_charge_that_was_booked_well() {
    let books = books().await;
    books.forge(
        "INSERT INTO ledger (id, org_id, mode, kind, amount, balance_after, job_id, reason, created_at)
         SELECT 'txn_again', org_id, mode, 'charge', -20, balance_after - 20, job_id, '', 1
         FROM ledger WHERE kind = 'charge' AND job_id = WAITING;
         UPDATE balances SET credits = credits - 20 WHERE org_id = ORG AND mode = 'live'",
    );
    books
        .finds(&[
            (Some(&books.waiting.id), CHARGE, -20, -40),
            (None, CHARGES, 190, 170),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_another_organization_paid() {
    let books = books().await;
    books.forge(
        "UPDATE ledger SET org_id = OTHER, balance_after = 480 WHERE kind = 'charge' AND job_id = WAITING;
         UPDATE balances SET credits = credits + 20, charged = charged - 20 WHERE org_id = ORG AND mode = 'live';
         UPDATE balances SET credits = credits - 20, charged = 20 WHERE org_id = OTHER AND mode = 'live'",
    );
    let found = books.f.store.audit().await.unwrap().imbalances;
    let told: Vec<_> = found
        .iter()
        .map(|found| {
            (
                &found.org_id,
                found.problem.as_str(),
                found.expected,
                found.found,
            )
        })
        .collect();
    assert_eq!(
        told,
        [(&books.org, CHARGE, -20, 0), (&books.other, NO_JOB, 0, -20)]
    );
    assert!(
        found
            .iter()
            .all(|found| found.job_id.as_ref() == Some(&books.waiting.id))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_of_a_job_that_is_gone() {
    let books = books().await;
    books.forge("DELETE FROM jobs WHERE id = PARTIAL");
    books
        .finds(&[
            (Some(&books.partial.id), NO_JOB, 0, -70),
            (Some(&books.partial.id), EVENT, 0, 1),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_balance_that_is_gone() {
    let books = books().await;
    books.forge("DELETE FROM balances WHERE org_id = ORG AND mode = 'live'");
    books.finds(&[(None, NO_BALANCE, SUM, 0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_that_drifted() {
    for (forgery, expected) in [
        ("charged = charged + 1", (CHARGES, 170, 171)),
        ("refunded = refunded - 1", (REFUNDS, 80, 79)),
        ("open = open + 1", (OPEN_JOBS, 1, 2)),
    ] {
        let books = books().await;
        books.forge(&format!(
            "UPDATE balances SET {forgery} WHERE org_id = ORG AND mode = 'live'"
        ));
        let (problem, rows, kept) = expected;
        books.finds(&[(None, problem, rows, kept)]).await;
    }
}

/// What a list would leave out, or never come to the end of.
#[tokio::test(flavor = "multi_thread")]
async fn broken_chains() {
    for (damage, problem, expected, found) in [
        (
            "UPDATE balances SET jobs = jobs + 1 WHERE org_id = ORG AND mode = 'live'",
            JOBS,
            3,
            4,
        ),
        (
            "UPDATE balances SET last_job = 1 WHERE org_id = ORG AND mode = 'live'",
            LAST_JOB,
            3,
            1,
        ),
        (
            "UPDATE balances SET entries = 0 WHERE org_id = ORG AND mode = 'live'",
            ENTRIES,
            6,
            0,
        ),
        (
            "UPDATE balances SET last_entry = NULL WHERE org_id = ORG AND mode = 'live'",
            LAST_ENTRY,
            7,
            0,
        ),
        (
            "UPDATE balances SET events = 9 WHERE org_id = ORG AND mode = 'live'",
            EVENTS,
            2,
            9,
        ),
        (
            "UPDATE balances SET last_event = 1 WHERE org_id = ORG AND mode = 'live'",
            LAST_EVENT,
            2,
            1,
        ),
    ] {
        let books = books().await;
        books.damage(damage);
        books.finds(&[(None, problem, expected, found)]).await;
    }
    let books = books().await;
    let waiting = &books.waiting;
    let row = books.row("charge", waiting);
    books.damage("UPDATE jobs SET previous = 1 WHERE id = WAITING; UPDATE ledger SET previous = NULL WHERE job_id = WAITING");
    let row = format!("row {row} does not follow the one before it");
    books
        .finds(&[
            (Some(&waiting.id), JOB_LINK, 2, 1),
            (Some(&waiting.id), &row, 6, 0),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_nobody_is_told_of() {
    let books = books().await;
    books.forge("DELETE FROM events WHERE job_id = PARTIAL");
    books.finds(&[(Some(&books.partial.id), END, 1, 0)]).await;
}

/// What whoever reads on from an event would miss, or see twice.
#[tokio::test(flavor = "multi_thread")]
async fn events_out_of_their_place() {
    let failed = "WHERE job_id = FAILED";
    for (damage, problem, expected, found) in [
        (
            format!("UPDATE events SET previous = NULL {failed}"),
            EVENT_LINK,
            1,
            0,
        ),
        (
            format!("UPDATE events SET number = 3 {failed}"),
            EVENT_PLACE,
            2,
            3,
        ),
        (
            format!("INSERT INTO event_marks SELECT org_id, mode, 256, seq FROM events {failed}"),
            MARK,
            2,
            256,
        ),
    ] {
        let books = books().await;
        books.damage(&damage);
        let failed = Some(&books.failed.id);
        books.finds(&[(failed, problem, expected, found)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_before_the_end() {
    let books = books().await;
    books.damage(
        "INSERT INTO deliveries (org_id, mode, event_id, kind, job_id, url, lane, next_at, asked_at, created_at)
         SELECT org_id, mode, 'evt_x', 'job.completed', id, '', '', 1, 1, 1 FROM jobs WHERE id = WAITING",
    );
    let waiting = Some(&books.waiting.id);
    books.finds(&[(waiting, DELIVERY, 0, 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_tells_of_another_end() {
    let books = books().await;
    let partial = Some(&books.partial.id);
    books.forge("UPDATE events SET kind = 'job.failed' WHERE job_id = PARTIAL");
    books
        .finds(&[(partial, END, 1, 0), (partial, EVENT, 0, 1)])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_wrong_world() {
    let books = books().await;
    let partial = Some(&books.partial.id);
    books.forge(
        "INSERT INTO assets (id, org_id, mode, job_id, role, kind, media_type, storage_key, bytes, created_at)
         VALUES ('a', ORG, 'test', PARTIAL, 'output', 'image', 'image/png', 'k', 1, 1)",
    );
    books.finds(&[(partial, WORLD, 1, 0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_no_open_job_of_theirs_takes_in() {
    let books = books().await;
    books.forge(
        "INSERT INTO assets (id, org_id, role, kind, media_type, storage_key, bytes, created_at)
         VALUES ('a', ORG, 'input', 'image', 'image/png', 'k', 1, 1),
                ('b', OTHER, 'input', 'image', 'image/png', 'l', 1, 1);
         INSERT INTO job_inputs VALUES (PARTIAL, 'a')",
    );
    let partial = Some(&books.partial.id);
    books.finds(&[(partial, ENDED_INPUT, 0, 1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anothers_file_that_is_taken_in() {
    let books = books().await;
    books.forge(
        "INSERT INTO assets (id, org_id, role, kind, media_type, storage_key, bytes, created_at)
         VALUES ('b', OTHER, 'input', 'image', 'image/png', 'l', 1, 1);
         INSERT INTO job_inputs VALUES (WAITING, 'b')",
    );
    let waiting = Some(&books.waiting.id);
    books.finds(&[(waiting, FOREIGN_INPUT, 1, 0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_a_deadline() {
    let books = books().await;
    books.forge("UPDATE jobs SET deadline_at = NULL WHERE id = WAITING");
    books
        .finds(&[(Some(&books.waiting.id), ENDLESS, 1, 0)])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_no_key_of_theirs() {
    for (key, is_theirs) in [
        ("of_org", true),
        ("of_test", false),
        ("of_other", false),
        ("of_nobody", false),
    ] {
        let books = books().await;
        books.damage(&format!(
            "INSERT INTO api_keys (id, org_id, name, shown_prefix, hash, mode, scopes, created_at)
             VALUES ('of_org', ORG, '', '', 'h', 'live', '[]', 1), ('of_test', ORG, '', '', 'i', 'test', '[]', 1),
                    ('of_other', OTHER, '', '', 'j', 'live', '[]', 1);
             UPDATE jobs SET key_id = '{key}' WHERE id = WAITING"
        ));
        let found = [(Some(&books.waiting.id), FOREIGN_KEY, 0, 1)];
        books.finds(if is_theirs { &[] } else { &found }).await;
    }
}
