//! Yardstick: pgbench with a transaction for each job, on tables of its own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::postgres::{Postgres, run};

const DATABASE: &str = "yardstick";
const SCHEMA: &str = "
    CREATE TABLE balances (org bigint PRIMARY KEY, credits bigint NOT NULL CHECK (credits >= 0));
    CREATE TABLE jobs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org bigint NOT NULL REFERENCES balances,
        status text NOT NULL, input text NOT NULL);
    CREATE TABLE ledger (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org bigint NOT NULL REFERENCES balances,
        job bigint NOT NULL REFERENCES jobs, amount bigint NOT NULL);
    INSERT INTO balances SELECT n, 1000000000000 FROM generate_series(1, 1000) n;";
const CHOICE: &str = "\\set org random(1, :organizations)\n";
/// A charge and a job.
const SUBMIT: &str = "
    BEGIN;
    UPDATE balances SET credits = credits - 5 WHERE org = :org AND credits >= 5;
    INSERT INTO jobs (org, status, input) VALUES (:org, 'pending', repeat('a', 200)) RETURNING id \\gset
    INSERT INTO ledger (org, job, amount) VALUES (:org, :id, -5);
    COMMIT;
";
/// The end of that job, with its refund.
const SETTLE: &str = "
    BEGIN;
    UPDATE jobs SET status = 'failed' WHERE id = :id AND status = 'pending';
    UPDATE balances SET credits = credits + 5 WHERE org = :org;
    INSERT INTO ledger (org, job, amount) VALUES (:org, :id, 5);
    COMMIT;
";
/// The same, each in one call of the database.
const FUNCTIONS: &str = "
    CREATE FUNCTION submit(_org bigint) RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE _id bigint;
    BEGIN
        UPDATE balances SET credits = credits - 5 WHERE org = _org AND credits >= 5;
        INSERT INTO jobs (org, status, input) VALUES (_org, 'pending', repeat('a', 200)) RETURNING id INTO _id;
        INSERT INTO ledger (org, job, amount) VALUES (_org, _id, -5);
        RETURN _id;
    END $$;
    CREATE FUNCTION settle(_org bigint, _id bigint) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE jobs SET status = 'failed' WHERE id = _id AND status = 'pending';
        UPDATE balances SET credits = credits + 5 WHERE org = _org;
        INSERT INTO ledger (org, job, amount) VALUES (_org, _id, 5);
    END $$;";
const CALL_SUBMIT: &str = "SELECT submit(:org) AS id \\gset\n";
const CALL_SETTLE: &str = "SELECT settle(:org, :id);\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Submit,
    /// Submitted and settled.
    Whole,
}

/// How it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Statement by statement, as everybody would write it first.
    Naive,
    /// One stored call for each transaction: the least that a transaction for each job can cost.
    Call,
}

/// Who asks, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub organizations: usize,
    pub connections: usize,
    pub span: Duration,
}

impl Work {
    /// How often a second.
    pub fn measure(
        self,
        form: Form,
        load: Load,
        postgres: &Postgres,
        place: &Path,
    ) -> anyhow::Result<f64> {
        postgres.create(DATABASE, "template0")?;
        postgres.sql(DATABASE, &[SCHEMA, FUNCTIONS].concat())?;
        let (submit, settle) = match form {
            Form::Naive => (SUBMIT, SETTLE),
            Form::Call => (CALL_SUBMIT, CALL_SETTLE),
        };
        let settle = if self == Self::Whole { settle } else { "" };
        let script = place.join("pgbench.sql");
        fs::write(&script, [CHOICE, submit, settle].concat())?;
        let seconds = load.span.as_secs().max(1);
        let mut pgbench = postgres.program("pgbench");
        pgbench
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
            .arg(format!("--client={}", load.connections))
            .arg(format!("--time={seconds}"))
            .arg(format!("--define=organizations={}", load.organizations))
            .arg(format!("--file={}", script.display()))
            .arg(postgres.url(DATABASE));
        let said = run(&mut pgbench)?;
        rate(&said).with_context(|| format!("pgbench tells no rate: {said}"))
    }
}

fn rate(said: &str) -> Option<f64> {
    let line = said.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_pgbench_is_found() {
        let said = "number of transactions actually processed: 10\nlatency average = 7.350 ms\n\
            initial connection time = 100.1 ms\ntps = 136.039 (without initial connection time)\n";
        assert_eq!(rate(said), Some(136.039));
        assert_eq!(rate("nothing"), None);
    }
}
