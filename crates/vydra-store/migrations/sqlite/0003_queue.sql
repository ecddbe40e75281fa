-- What the worker and the books ask of every job, kept as rows, so that the answer costs the same however much was done.

-- How much was ever charged and paid back, and how many jobs have not ended. The audit compares each with the rows it sums up.
ALTER TABLE balances ADD COLUMN charged  INTEGER NOT NULL DEFAULT 0 CHECK (charged >= 0);
ALTER TABLE balances ADD COLUMN refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded >= 0);
ALTER TABLE balances ADD COLUMN open     INTEGER NOT NULL DEFAULT 0 CHECK (open >= 0);
-- The turn that the organization's next job gets at the earliest.
ALTER TABLE balances ADD COLUMN turn     INTEGER NOT NULL DEFAULT 0;

UPDATE balances SET
    charged = coalesce((SELECT -sum(amount) FROM ledger l
                        WHERE l.org_id = balances.org_id AND l.mode = balances.mode AND kind = 'charge'), 0),
    refunded = coalesce((SELECT sum(amount) FROM ledger l
                         WHERE l.org_id = balances.org_id AND l.mode = balances.mode AND kind = 'refund'), 0),
    open = (SELECT count(*) FROM jobs j
            WHERE j.org_id = balances.org_id AND j.mode = balances.mode AND status IN ('pending', 'running'));

-- Start-time fair queueing: the highest turn that was ever begun. An organization that was idle joins here, so that it neither
-- waits behind what others have queued nor catches up on what it did not ask for.
CREATE TABLE turns (
    mode TEXT PRIMARY KEY CHECK (mode IN ('live', 'test')),
    turn INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO turns (mode, turn) VALUES ('live', 0), ('test', 0);

ALTER TABLE jobs ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;

-- A job that waits has a deadline too. Those that wait already get an hour from now on the clock of their submission.
UPDATE jobs SET deadline_at = created_at + 3600000000 WHERE status = 'pending';

-- One row for each step that a provider was, or may have been, asked for: what a later attempt must not buy again.
CREATE TABLE steps (
    job_id      TEXT NOT NULL REFERENCES jobs (id),
    step        INTEGER NOT NULL CHECK (step >= 0),
    provider    TEXT NOT NULL,
    route       INTEGER NOT NULL,
    -- The provider's own name for the task, when it has taken it.
    external_id TEXT,
    finished    INTEGER NOT NULL DEFAULT 0 CHECK (finished IN (0, 1)),
    PRIMARY KEY (job_id, step)
) STRICT, WITHOUT ROWID;

INSERT INTO steps (job_id, step, provider, route, external_id)
    SELECT id, 0, coalesce(provider, ''), coalesce(route, 0), external_id FROM jobs
    WHERE status = 'running' AND (submitting = 1 OR external_id IS NOT NULL);

-- Neither is read by anything any more; what callers see of the provider stays with the job.
ALTER TABLE jobs DROP COLUMN submitting;
ALTER TABLE jobs DROP COLUMN route;

-- The end of each job, once, in the order in which they ended: what is to be told to those who asked to be told.
CREATE TABLE events (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id     TEXT NOT NULL UNIQUE REFERENCES jobs (id),
    org_id     TEXT NOT NULL,
    mode       TEXT NOT NULL CHECK (mode IN ('live', 'test')),
    kind       TEXT NOT NULL CHECK (kind IN ('job.completed', 'job.failed', 'job.cancelled')),
    created_at INTEGER NOT NULL
) STRICT;

INSERT INTO events (job_id, org_id, mode, kind, created_at)
    SELECT id, org_id, mode, 'job.' || status, completed_at FROM jobs
    WHERE status IN ('completed', 'failed', 'cancelled') ORDER BY completed_at, id;

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

-- Still only jobs that are not final stand in these: finished ones cost nothing.
DROP INDEX jobs_pending;
DROP INDEX jobs_deadline;
DROP INDEX jobs_open_by_org;
CREATE INDEX jobs_in_turn ON jobs (mode, turn, id, org_id, deadline_at) WHERE status = 'pending';
CREATE INDEX jobs_deadline ON jobs (deadline_at) WHERE status IN ('pending', 'running');

-- Totals are kept with the balance now, and every index is another page to write for each charge: a list of one kind is read
-- in the order of all.
DROP INDEX ledger_by_org;

-- Two more roles: what a step made for later steps, and what came after its job had ended, for the operator alone.
CREATE TABLE assets_3 (
    id          TEXT PRIMARY KEY,
    org_id      TEXT NOT NULL REFERENCES organizations (id),
    job_id      TEXT REFERENCES jobs (id),
    step        INTEGER,
    place       INTEGER NOT NULL DEFAULT 0,
    role        TEXT NOT NULL CHECK (role IN ('output', 'input', 'upload', 'step', 'late')),
    kind        TEXT NOT NULL CHECK (kind IN ('image', 'video', 'audio')),
    media_type  TEXT NOT NULL,
    storage_key TEXT NOT NULL UNIQUE,
    bytes       INTEGER NOT NULL CHECK (bytes > 0),
    width       INTEGER,
    height      INTEGER,
    duration_ms INTEGER,
    filename    TEXT,
    upload_key  TEXT UNIQUE,
    created_at  INTEGER NOT NULL,
    CHECK ((role = 'upload') = (upload_key IS NOT NULL)),
    CHECK ((role = 'step') = (step IS NOT NULL)),
    CHECK ((role IN ('output', 'step', 'late')) <= (job_id IS NOT NULL))
) STRICT, WITHOUT ROWID;

INSERT INTO assets_3 (id, org_id, job_id, place, role, kind, media_type, storage_key, bytes, width, height, duration_ms, filename, upload_key, created_at)
    SELECT id, org_id, job_id, place, role, kind, media_type, storage_key, bytes, width, height, duration_ms, filename, upload_key, created_at FROM assets;
DROP TABLE assets;
ALTER TABLE assets_3 RENAME TO assets;

CREATE INDEX assets_by_job ON assets (job_id, step, place) WHERE job_id IS NOT NULL;
CREATE INDEX assets_by_org ON assets (org_id, created_at DESC, id DESC);
CREATE INDEX assets_late ON assets (job_id) WHERE role = 'late';
