-- The rows of an organization are a chain: each names the one before it, and the balance names the last of them. An index in
-- the order of each organization is a page to write for every organization that does something; the end of a table is one
-- page for all of them.
--
-- Jobs and the ledger get this number and are kept in its order, which is that of their commits.

ALTER TABLE balances ADD COLUMN jobs       INTEGER NOT NULL DEFAULT 0 CHECK (jobs >= 0);
ALTER TABLE balances ADD COLUMN last_job   INTEGER;
ALTER TABLE balances ADD COLUMN entries    INTEGER NOT NULL DEFAULT 0 CHECK (entries >= 0);
ALTER TABLE balances ADD COLUMN last_entry INTEGER;

CREATE TABLE jobs_4 (
    seq             INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    -- The job of the same organization and mode before this one.
    previous        INTEGER CHECK (previous < seq),
    org_id          TEXT NOT NULL REFERENCES organizations (id),
    key_id          TEXT REFERENCES api_keys (id),
    mode            TEXT NOT NULL CHECK (mode IN ('live', 'test')),
    workflow        TEXT,
    status          TEXT NOT NULL CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    progress        INTEGER NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    status_message  TEXT,
    input           TEXT NOT NULL,
    call            TEXT NOT NULL,
    price           INTEGER NOT NULL CHECK (price > 0),
    refunded        INTEGER NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND price),
    failure_code    TEXT,
    failure_message TEXT,
    failure_reason  TEXT,
    retryable       INTEGER,
    attempt         INTEGER NOT NULL DEFAULT 0,
    -- Who was asked last, and its own name for the task.
    provider        TEXT,
    external_id     TEXT,
    turn            INTEGER NOT NULL DEFAULT 0,
    -- Who works on it and until when. An expired lease is claimable again.
    lease_token     TEXT,
    lease_until     INTEGER,
    deadline_at     INTEGER,
    created_at      INTEGER NOT NULL,
    started_at      INTEGER,
    completed_at    INTEGER,
    CHECK ((status IN ('completed', 'failed', 'cancelled')) = (completed_at IS NOT NULL)),
    CHECK ((status = 'running') = (lease_until IS NOT NULL)),
    CHECK ((status = 'failed') = (failure_code IS NOT NULL)),
    CHECK (status NOT IN ('failed', 'cancelled') OR refunded = price)
) STRICT;

-- The order is found among ids alone: whole rows would not fit into memory.
CREATE TEMP TABLE order_of_jobs (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, previous INTEGER);
INSERT INTO order_of_jobs (seq, id, previous)
    SELECT seq, id, lag(seq) OVER (PARTITION BY org_id, mode ORDER BY seq)
    FROM (SELECT id, org_id, mode, row_number() OVER (ORDER BY created_at, id) AS seq FROM jobs);
INSERT INTO jobs_4 (seq, id, previous, org_id, key_id, mode, workflow, status, progress, status_message, input, call, price,
                    refunded, failure_code, failure_message, failure_reason, retryable, attempt, provider, external_id, turn,
                    lease_token, lease_until, deadline_at, created_at, started_at, completed_at)
    SELECT o.seq, j.id, o.previous, org_id, key_id, mode, workflow, status, progress, status_message, input, call, price,
           refunded, failure_code, failure_message, failure_reason, retryable, attempt, provider, external_id, turn,
           lease_token, lease_until, deadline_at, created_at, started_at, completed_at
    FROM order_of_jobs o CROSS JOIN jobs j ON j.id = o.id ORDER BY o.seq;
DROP TABLE order_of_jobs;
DROP TABLE jobs;
ALTER TABLE jobs_4 RENAME TO jobs;

-- Only jobs that are not final stand in these: finished ones cost nothing.
CREATE INDEX jobs_in_turn ON jobs (mode, turn, id, org_id, deadline_at) WHERE status = 'pending';
CREATE INDEX jobs_running ON jobs (lease_until) WHERE status = 'running';
CREATE INDEX jobs_deadline ON jobs (deadline_at) WHERE status IN ('pending', 'running');

-- A job goes forwards only, and once it has ended nothing about it changes: not by a mistake of ours either.
CREATE TRIGGER jobs_go_forwards BEFORE UPDATE OF status ON jobs
WHEN NEW.status <> OLD.status AND NOT (
    (OLD.status = 'pending' AND NEW.status IN ('running', 'failed', 'cancelled'))
    OR (OLD.status = 'running' AND NEW.status IN ('completed', 'failed', 'cancelled')))
BEGIN
    SELECT RAISE(ABORT, 'a job never goes back');
END;

CREATE TRIGGER ended_jobs_stay BEFORE UPDATE ON jobs
WHEN OLD.completed_at IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a job that has ended is never changed');
END;

CREATE TRIGGER jobs_are_never_removed BEFORE DELETE ON jobs
BEGIN
    SELECT RAISE(ABORT, 'a job is never removed');
END;

-- Rows are never removed, so that the next number is new without a table that counts them.
CREATE TABLE ledger_4 (
    seq           INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    -- The row of the same balance before this one.
    previous      INTEGER CHECK (previous < seq),
    org_id        TEXT NOT NULL,
    mode          TEXT NOT NULL CHECK (mode IN ('live', 'test')),
    kind          TEXT NOT NULL CHECK (kind IN ('grant', 'purchase', 'charge', 'refund', 'adjustment')),
    amount        INTEGER NOT NULL CHECK (amount <> 0),
    balance_after INTEGER NOT NULL CHECK (balance_after >= 0),
    job_id        TEXT REFERENCES jobs (id),
    reason        TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    FOREIGN KEY (org_id, mode) REFERENCES balances (org_id, mode),
    CHECK ((kind = 'charge') = (amount < 0) OR kind = 'adjustment'),
    CHECK ((kind IN ('charge', 'refund')) <= (job_id IS NOT NULL))
) STRICT;

CREATE TEMP TABLE order_of_ledger (seq INTEGER PRIMARY KEY, previous INTEGER);
INSERT INTO order_of_ledger (seq, previous)
    SELECT seq, lag(seq) OVER (PARTITION BY org_id, mode ORDER BY seq) FROM ledger;
INSERT INTO ledger_4 (seq, id, previous, org_id, mode, kind, amount, balance_after, job_id, reason, created_at)
    SELECT l.seq, id, o.previous, org_id, mode, kind, amount, balance_after, job_id, reason, created_at
    FROM order_of_ledger o CROSS JOIN ledger l ON l.seq = o.seq ORDER BY o.seq;
DROP TABLE order_of_ledger;
DROP TABLE ledger;
ALTER TABLE ledger_4 RENAME TO ledger;

-- The rows of a job, and at the same time: one charge and one refund a job, whatever happens. A later goodwill is an
-- adjustment, of which there may be several.
CREATE UNIQUE INDEX ledger_of_job ON ledger (job_id, iif(kind IN ('charge', 'refund'), kind, id)) WHERE job_id IS NOT NULL;

CREATE TRIGGER ledger_is_never_edited BEFORE UPDATE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'a ledger row is never changed');
END;

CREATE TRIGGER ledger_is_never_shortened BEFORE DELETE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'a ledger row is never removed');
END;

UPDATE balances SET (jobs, last_job) =
    (SELECT count(*), max(seq) FROM jobs j WHERE j.org_id = balances.org_id AND j.mode = balances.mode);
UPDATE balances SET (entries, last_entry) =
    (SELECT count(*), max(seq) FROM ledger l WHERE l.org_id = balances.org_id AND l.mode = balances.mode);
