//! The books added up again.

use super::rows::{Columns, collect};
use crate::Result;
use rusqlite::Connection;
use vydra_core::ids::{JobId, OrgId};
use vydra_core::job::Mode;
use vydra_core::ledger::{Audit, Imbalance};

/// Each query lists organization, mode, job, what is wrong, what should be and what is. They trust no index and no other
/// table: rows are added up, never looked up, so that a second charge or one of another organization is seen too.
const AUDITS: &[&str] = &[
    "SELECT b.org_id, b.mode, NULL, 'the balance is not the sum of its ledger rows', (coalesce(c.credits, 0) + coalesce(l.amount, 0)), b.credits
     FROM balances b LEFT JOIN carried c ON c.org_id = b.org_id AND c.mode = b.mode
                     LEFT JOIN (SELECT org_id, mode, sum(amount) AS amount FROM ledger GROUP BY org_id, mode) l
                            ON l.org_id = b.org_id AND l.mode = b.mode
     WHERE b.credits <> coalesce(c.credits, 0) + coalesce(l.amount, 0)",
    "SELECT l.org_id, l.mode, NULL, 'ledger rows without a balance', sum(l.amount), 0
     FROM ledger l LEFT JOIN balances b ON b.org_id = l.org_id AND b.mode = l.mode
     WHERE b.org_id IS NULL GROUP BY l.org_id, l.mode",
    "SELECT l.org_id, l.mode, l.job_id, 'the balance after row ' || l.id || ' is not the sum of the rows up to it',
         (coalesce(c.credits, 0) + l.running), l.balance_after
     FROM (SELECT *, sum(amount) OVER (PARTITION BY org_id, mode ORDER BY seq) AS running FROM ledger) l
         LEFT JOIN carried c ON c.org_id = l.org_id AND c.mode = l.mode
     WHERE coalesce(c.credits, 0) + l.running <> l.balance_after",
    "SELECT j.org_id, j.mode, j.id, 'the charge is not the price of the job',
         CASE WHEN j.seq <= c.job THEN 0 ELSE -j.price END, coalesce(l.charged, 0)
     FROM jobs j LEFT JOIN carried c ON c.org_id = j.org_id AND c.mode = j.mode
                 LEFT JOIN (SELECT job_id, org_id, mode, sum(amount) AS charged FROM ledger
                            WHERE kind = 'charge' GROUP BY job_id, org_id, mode) l
                        ON l.job_id = j.id AND l.org_id = j.org_id AND l.mode = j.mode
     WHERE coalesce(l.charged, 0) <> CASE WHEN j.seq <= c.job THEN 0 ELSE -j.price END",
    "SELECT j.org_id, j.mode, j.id, 'the refund is not what the job says', j.refunded, coalesce(l.paid_back, 0)
     FROM jobs j LEFT JOIN carried c ON c.org_id = j.org_id AND c.mode = j.mode
                 LEFT JOIN (SELECT job_id, org_id, mode, sum(amount) AS paid_back FROM ledger
                            WHERE kind = 'refund' GROUP BY job_id, org_id, mode) l
                        ON l.job_id = j.id AND l.org_id = j.org_id AND l.mode = j.mode
     WHERE coalesce(l.paid_back, 0) <> j.refunded AND (l.paid_back IS NOT NULL OR j.seq > coalesce(c.job, 0))",
    "SELECT l.org_id, l.mode, l.job_id, 'rows of a job that the organization does not have', 0, sum(l.amount)
     FROM ledger l LEFT JOIN jobs j ON j.id = l.job_id AND j.org_id = l.org_id AND j.mode = l.mode
     WHERE l.job_id IS NOT NULL AND j.id IS NULL GROUP BY l.org_id, l.mode, l.job_id",
    "SELECT j.org_id, j.mode, j.id, 'a job that did not deliver was not refunded in full', j.price, j.refunded
     FROM jobs j WHERE j.status IN ('failed', 'cancelled') AND j.refunded <> j.price",
    "SELECT j.org_id, j.mode, j.id, 'a job that has not ended was refunded', 0, j.refunded
     FROM jobs j WHERE j.status IN ('pending', 'running') AND j.refunded <> 0",
    "SELECT b.org_id, b.mode, NULL, 'the sum of all charges is not that of the rows',
         (coalesce(c.charged, 0) + coalesce(l.charged, 0)), b.charged
     FROM balances b LEFT JOIN carried c ON c.org_id = b.org_id AND c.mode = b.mode
                     LEFT JOIN (SELECT org_id, mode, -sum(amount) AS charged FROM ledger
                                WHERE kind = 'charge' GROUP BY org_id, mode) l
                            ON l.org_id = b.org_id AND l.mode = b.mode
     WHERE b.charged <> coalesce(c.charged, 0) + coalesce(l.charged, 0)",
    "SELECT b.org_id, b.mode, NULL, 'the sum of all refunds is not that of the rows',
         (coalesce(c.refunded, 0) + coalesce(l.paid_back, 0)), b.refunded
     FROM balances b LEFT JOIN carried c ON c.org_id = b.org_id AND c.mode = b.mode
                     LEFT JOIN (SELECT org_id, mode, sum(amount) AS paid_back FROM ledger
                                WHERE kind = 'refund' GROUP BY org_id, mode) l
                            ON l.org_id = b.org_id AND l.mode = b.mode
     WHERE b.refunded <> coalesce(c.refunded, 0) + coalesce(l.paid_back, 0)",
    "SELECT b.org_id, b.mode, NULL, 'the count of open jobs is not that of the rows', coalesce(j.jobs, 0), b.open
     FROM balances b LEFT JOIN (SELECT org_id, mode, count(*) AS jobs FROM jobs NOT INDEXED
                                WHERE status IN ('pending', 'running') GROUP BY org_id, mode) j
                            ON j.org_id = b.org_id AND j.mode = b.mode
     WHERE b.open <> coalesce(j.jobs, 0)",
    "SELECT j.org_id, j.mode, j.id, 'a job that does not follow the one before it', j.before, j.previous
     FROM (SELECT j.id, j.org_id, j.mode, j.previous,
               lag(j.seq, 1, nullif(c.job, 0)) OVER (PARTITION BY j.org_id, j.mode ORDER BY j.seq) AS before
           FROM jobs j LEFT JOIN carried c ON c.org_id = j.org_id AND c.mode = j.mode
           WHERE j.seq > coalesce(c.job, 0)) j
     WHERE j.before IS NOT j.previous",
    "SELECT l.org_id, l.mode, l.job_id, 'row ' || l.id || ' does not follow the one before it', l.before, l.previous
     FROM (SELECT l.id, l.org_id, l.mode, l.job_id, l.previous,
               lag(l.seq, 1, nullif(c.entry, 0)) OVER (PARTITION BY l.org_id, l.mode ORDER BY l.seq) AS before
           FROM ledger l LEFT JOIN carried c ON c.org_id = l.org_id AND c.mode = l.mode) l
     WHERE l.before IS NOT l.previous",
    "SELECT b.org_id, b.mode, NULL, 'the last job is not the one that the balance names', b.last, b.last_job
     FROM (SELECT b.org_id, b.mode, b.last_job, nullif(max(coalesce(j.last, 0), coalesce(c.job, 0)), 0) AS last
           FROM balances b LEFT JOIN carried c ON c.org_id = b.org_id AND c.mode = b.mode
                           LEFT JOIN (SELECT org_id, mode, max(seq) AS last FROM jobs GROUP BY org_id, mode) j
                                  ON j.org_id = b.org_id AND j.mode = b.mode) b
     WHERE b.last_job IS NOT b.last",
    "SELECT b.org_id, b.mode, NULL, 'the last ledger row is not the one that the balance names', b.last, b.last_entry
     FROM (SELECT b.org_id, b.mode, b.last_entry, nullif(max(coalesce(l.last, 0), coalesce(c.entry, 0)), 0) AS last
           FROM balances b LEFT JOIN carried c ON c.org_id = b.org_id AND c.mode = b.mode
                           LEFT JOIN (SELECT org_id, mode, max(seq) AS last FROM ledger GROUP BY org_id, mode) l
                                  ON l.org_id = b.org_id AND l.mode = b.mode) b
     WHERE b.last_entry IS NOT b.last",
    "SELECT b.org_id, b.mode, NULL, 'the count of jobs is not that of the rows', coalesce(c.jobs, 0) + coalesce(j.jobs, 0), b.jobs
     FROM balances b LEFT JOIN carried c ON c.org_id = b.org_id AND c.mode = b.mode
                     LEFT JOIN (SELECT j.org_id, j.mode, count(*) AS jobs FROM jobs j LEFT JOIN carried c ON c.org_id = j.org_id AND c.mode = j.mode
                                WHERE j.seq > coalesce(c.job, 0) GROUP BY j.org_id, j.mode) j
                            ON j.org_id = b.org_id AND j.mode = b.mode
     WHERE b.jobs <> coalesce(c.jobs, 0) + coalesce(j.jobs, 0)",
    "SELECT b.org_id, b.mode, NULL, 'the count of ledger rows is not that of the rows', coalesce(c.entries, 0) + coalesce(l.entries, 0), b.entries
     FROM balances b LEFT JOIN carried c ON c.org_id = b.org_id AND c.mode = b.mode
                     LEFT JOIN (SELECT org_id, mode, count(*) AS entries FROM ledger GROUP BY org_id, mode) l
                            ON l.org_id = b.org_id AND l.mode = b.mode
     WHERE b.entries <> coalesce(c.entries, 0) + coalesce(l.entries, 0)",
    "SELECT j.org_id, j.mode, j.id, 'a job whose end is not exactly one event', j.status IN ('completed', 'failed', 'cancelled'), count(e.seq)
     FROM jobs j LEFT JOIN carried c ON c.org_id = j.org_id AND c.mode = j.mode
                 LEFT JOIN events e ON e.job_id = j.id AND e.org_id = j.org_id AND e.mode = j.mode AND e.kind = 'job.' || j.status
     GROUP BY j.id HAVING count(e.seq) <> (j.status IN ('completed', 'failed', 'cancelled'))
        AND NOT (count(e.seq) = 0 AND coalesce(j.completed_at < c.until, 0))",
    "SELECT e.org_id, e.mode, e.job_id, 'an event that is not the end of its job', 0, 1
     FROM events e LEFT JOIN jobs j ON j.id = e.job_id AND j.org_id = e.org_id AND j.mode = e.mode AND e.kind = 'job.' || j.status
     WHERE j.id IS NULL",
    "SELECT e.org_id, e.mode, e.job_id, 'an event that does not follow the one before it', e.before, e.previous
     FROM (SELECT e.*, lag(e.seq, 1, nullif(c.event, 0)) OVER (PARTITION BY e.org_id, e.mode ORDER BY e.seq) AS before
           FROM events e LEFT JOIN carried c ON c.org_id = e.org_id AND c.mode = e.mode) e
     WHERE e.before IS NOT e.previous",
    "SELECT e.org_id, e.mode, e.job_id, 'an event that does not know its place', e.place, e.number
     FROM (SELECT e.*, coalesce(c.events, 0) + row_number() OVER (PARTITION BY e.org_id, e.mode ORDER BY e.seq) AS place
           FROM events e LEFT JOIN carried c ON c.org_id = e.org_id AND c.mode = e.mode) e
     WHERE e.place <> e.number",
    "SELECT b.org_id, b.mode, NULL, 'the last event is not the one that the balance names', b.last, b.last_event
     FROM (SELECT b.org_id, b.mode, b.last_event, nullif(max(coalesce(e.last, 0), coalesce(c.event, 0)), 0) AS last
           FROM balances b LEFT JOIN carried c ON c.org_id = b.org_id AND c.mode = b.mode
                           LEFT JOIN (SELECT org_id, mode, max(seq) AS last FROM events GROUP BY org_id, mode) e
                                  ON e.org_id = b.org_id AND e.mode = b.mode) b
     WHERE b.last_event IS NOT b.last",
    "SELECT b.org_id, b.mode, NULL, 'the count of events is not that of the rows', coalesce(c.events, 0) + coalesce(e.events, 0), b.events
     FROM balances b LEFT JOIN carried c ON c.org_id = b.org_id AND c.mode = b.mode
                     LEFT JOIN (SELECT org_id, mode, count(*) AS events FROM events GROUP BY org_id, mode) e
                            ON e.org_id = b.org_id AND e.mode = b.mode
     WHERE b.events <> coalesce(c.events, 0) + coalesce(e.events, 0)",
    "SELECT e.org_id, e.mode, e.job_id, 'a place among the events that is marked wrongly', e.number, coalesce(m.number, 0)
     FROM events e LEFT JOIN event_marks m ON m.org_id = e.org_id AND m.mode = e.mode AND m.seq = e.seq
     WHERE (e.number % 256 = 0 OR m.seq IS NOT NULL) AND e.number IS NOT m.number",
    "SELECT d.org_id, d.mode, d.job_id, 'a delivery of what has not happened', 0, 1
     FROM deliveries d LEFT JOIN events e ON e.job_id = d.job_id AND e.org_id = d.org_id AND e.mode = d.mode AND e.kind = d.kind
     WHERE d.job_id IS NOT NULL AND e.seq IS NULL",
    "SELECT j.org_id, j.mode, j.id, 'a job of a key that the organization does not have', 0, 1
     FROM jobs j LEFT JOIN api_keys k ON k.id = j.key_id AND k.org_id = j.org_id AND k.mode = j.mode
     WHERE j.key_id IS NOT NULL AND k.id IS NULL",
    "SELECT j.org_id, j.mode, j.id, 'a job that nothing will end', 1, 0
     FROM jobs j WHERE j.status IN ('pending', 'running') AND j.deadline_at IS NULL",
    "SELECT a.org_id, b.mode, b.id, 'an asset of a job that is not its organization''s', 1, 0
     FROM assets a JOIN jobs b ON b.id = a.job_id WHERE a.org_id <> b.org_id",
    "SELECT a.org_id, j.mode, j.id, 'an asset that is not of its job''s mode', 1, 0
     FROM assets a JOIN jobs j ON j.id = a.job_id WHERE a.mode <> j.mode",
    "SELECT j.org_id, j.mode, j.id, 'inputs of a job that has ended', 0, count(*)
     FROM job_inputs i JOIN jobs j ON j.id = i.job_id WHERE j.completed_at IS NOT NULL GROUP BY j.id",
    "SELECT j.org_id, j.mode, j.id, 'an input of another organization''s job', 1, 0
     FROM job_inputs i JOIN jobs j ON j.id = i.job_id JOIN assets a ON a.id = i.asset_id WHERE a.org_id <> j.org_id",
    "SELECT j.org_id, j.mode, j.id, 'outputs of a job that did not deliver', 0, count(*)
     FROM assets a JOIN jobs j ON j.id = a.job_id WHERE a.role = 'output' AND j.status <> 'completed' GROUP BY j.id",
    "SELECT i.org_id, i.mode, i.job_id, 'an idempotency key of another organization''s job', 1, 0
     FROM idempotency_keys i JOIN jobs j ON j.id = i.job_id WHERE j.org_id <> i.org_id OR j.mode <> i.mode",
    "SELECT c.org_id, c.mode, NULL, 'carried forward, without a balance', 0, c.credits
     FROM carried c LEFT JOIN balances b ON b.org_id = c.org_id AND b.mode = c.mode WHERE b.org_id IS NULL",
    "SELECT l.org_id, l.mode, l.job_id, 'row ' || l.id || ' was carried forward and is still there', 0, l.amount
     FROM ledger l JOIN carried c ON c.org_id = l.org_id AND c.mode = l.mode WHERE l.seq <= c.entry",
    "SELECT e.org_id, e.mode, e.job_id, 'an event that was carried forward and is still there', 0, 1
     FROM events e JOIN carried c ON c.org_id = e.org_id AND c.mode = e.mode WHERE e.seq <= c.event",
    "SELECT m.org_id, m.mode, NULL, 'a mark of an event that is not there', 0, m.number
     FROM event_marks m LEFT JOIN events e ON e.seq = m.seq WHERE e.seq IS NULL",
];

pub(super) fn audit(db: &Connection) -> Result<Audit> {
    // One snapshot: a charge that is committed between two of the queries must not look like a difference.
    audit_snapshot(&*db.unchecked_transaction()?)
}

/// To be called in a transaction.
pub(super) fn audit_snapshot(snapshot: &Connection) -> Result<Audit> {
    let count = |sql: &str| -> Result<u64> {
        let count: i64 = snapshot.query_row(sql, (), |row| row.get(0))?;
        Ok(count.unsigned_abs())
    };
    let mut audit = Audit {
        organizations: count("SELECT count(*) FROM organizations")?,
        entries: count("SELECT count(*) FROM ledger")?,
        jobs: count("SELECT count(*) FROM jobs")?,
        carried_entries: count("SELECT coalesce(sum(entries), 0) FROM carried")?,
        carried_jobs: count("SELECT coalesce(sum(jobs), 0) FROM carried")?,
        imbalances: Vec::new(),
    };
    for sql in AUDITS {
        let mut statement = snapshot.prepare(sql)?;
        audit
            .imbalances
            .extend(collect(statement.query(())?, imbalance)?);
    }
    Ok(audit)
}

fn imbalance(row: &mut Columns<'_, '_>) -> Result<Imbalance> {
    Ok(Imbalance {
        org_id: OrgId::trusted(row.take()?),
        mode: row.word_if_any(Mode::parse)?,
        job_id: row.take::<Option<String>>()?.map(JobId::trusted),
        problem: row.take()?,
        // A chain that begins here follows nothing.
        expected: row.take::<Option<i64>>()?.unwrap_or(0),
        found: row.take::<Option<i64>>()?.unwrap_or(0),
    })
}
