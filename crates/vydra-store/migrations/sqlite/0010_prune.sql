-- What is old may go: what it comes to stays, so that the books agree as before.

-- Of each balance that was ever pruned: how far, and what that came to. Behind the numbers `entry` and `event` no row is left;
-- behind `job` those jobs are, until the rest of them is reached, of which a later ledger row is still there. `until` is the
-- time before which a job that has ended may be without its event.
CREATE TABLE carried (
    org_id   TEXT NOT NULL,
    mode     TEXT NOT NULL CHECK (mode IN ('live', 'test')),
    job      INTEGER NOT NULL DEFAULT 0 CHECK (job >= 0),
    entry    INTEGER NOT NULL DEFAULT 0 CHECK (entry >= 0),
    event    INTEGER NOT NULL DEFAULT 0 CHECK (event >= 0),
    jobs     INTEGER NOT NULL DEFAULT 0 CHECK (jobs >= 0),
    entries  INTEGER NOT NULL DEFAULT 0 CHECK (entries >= 0),
    events   INTEGER NOT NULL DEFAULT 0 CHECK (events >= 0),
    credits  INTEGER NOT NULL DEFAULT 0 CHECK (credits >= 0),
    charged  INTEGER NOT NULL DEFAULT 0 CHECK (charged >= 0),
    refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded >= 0),
    until    INTEGER NOT NULL,
    PRIMARY KEY (org_id, mode)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER carried_goes_forwards BEFORE UPDATE ON carried
WHEN NEW.org_id <> OLD.org_id OR NEW.mode <> OLD.mode OR NEW.job < OLD.job OR NEW.entry < OLD.entry OR NEW.event < OLD.event
    OR NEW.jobs < OLD.jobs OR NEW.entries < OLD.entries OR NEW.events < OLD.events OR NEW.charged < OLD.charged
    OR NEW.refunded < OLD.refunded OR NEW.until < OLD.until
BEGIN
    SELECT RAISE(ABORT, 'what was carried forward is never taken back');
END;

CREATE TRIGGER carried_is_never_removed BEFORE DELETE ON carried
BEGIN
    SELECT RAISE(ABORT, 'what was carried forward is never removed');
END;

-- Only what was carried forward before, in the same transaction: behind its number no row outlives it.
DROP TRIGGER ledger_is_never_shortened;
CREATE TRIGGER ledger_is_never_shortened BEFORE DELETE ON ledger
WHEN OLD.seq > coalesce((SELECT entry FROM carried c WHERE c.org_id = OLD.org_id AND c.mode = OLD.mode), 0)
BEGIN
    SELECT RAISE(ABORT, 'a ledger row is never removed');
END;

-- That nothing else refers to it is seen to by its references.
DROP TRIGGER jobs_are_never_removed;
CREATE TRIGGER jobs_are_never_removed BEFORE DELETE ON jobs
WHEN OLD.completed_at IS NULL
    OR OLD.seq > coalesce((SELECT job FROM carried c WHERE c.org_id = OLD.org_id AND c.mode = OLD.mode), 0)
BEGIN
    SELECT RAISE(ABORT, 'a job is never removed');
END;

CREATE TRIGGER events_are_never_removed BEFORE DELETE ON events
WHEN OLD.seq > coalesce((SELECT event FROM carried c WHERE c.org_id = OLD.org_id AND c.mode = OLD.mode), 0)
BEGIN
    SELECT RAISE(ABORT, 'an event is never removed');
END;

-- Of a job that goes, and of the event that tells of its end.
CREATE INDEX deliveries_by_job ON deliveries (job_id) WHERE job_id IS NOT NULL;

-- A file outlives the job that made it. It keeps the word under which its organization finds it.
CREATE TABLE assets_10 (
    id            TEXT PRIMARY KEY,
    org_id        TEXT NOT NULL REFERENCES organizations (id),
    mode          TEXT NOT NULL DEFAULT 'live',
    job_id        TEXT REFERENCES jobs (id),
    -- Of a job that is gone.
    workflow      TEXT,
    step          INTEGER,
    place         INTEGER NOT NULL DEFAULT 0,
    role          TEXT NOT NULL CHECK (role IN ('output', 'input', 'upload', 'step', 'late')),
    kind          TEXT NOT NULL CHECK (kind IN ('image', 'video', 'audio')),
    media_type    TEXT NOT NULL,
    storage_key   TEXT NOT NULL UNIQUE,
    bytes         INTEGER NOT NULL CHECK (bytes > 0),
    width         INTEGER,
    height        INTEGER,
    duration_ms   INTEGER,
    filename      TEXT,
    upload_key    TEXT UNIQUE,
    created_at    INTEGER NOT NULL,
    -- Since when nobody sees it, and since when its bytes are gone.
    deleted_at    INTEGER,
    erased_at     INTEGER,
    -- 0 once a small picture of it was tried to be made, in vain.
    has_thumbnail INTEGER NOT NULL DEFAULT 1 CHECK (has_thumbnail IN (0, 1)),
    CHECK ((role = 'upload') = (upload_key IS NOT NULL)),
    CHECK ((role = 'step') = (step IS NOT NULL)),
    CHECK (job_id IS NULL OR workflow IS NULL)
) STRICT, WITHOUT ROWID;

INSERT INTO assets_10 (id, org_id, mode, job_id, step, place, role, kind, media_type, storage_key, bytes, width, height, duration_ms,
                       filename, upload_key, created_at, deleted_at, erased_at, has_thumbnail)
    SELECT id, org_id, mode, job_id, step, place, role, kind, media_type, storage_key, bytes, width, height, duration_ms,
           filename, upload_key, created_at, deleted_at, erased_at, has_thumbnail FROM assets;
DROP TABLE assets;
ALTER TABLE assets_10 RENAME TO assets;

CREATE INDEX assets_by_job ON assets (job_id, step, place) WHERE job_id IS NOT NULL;
CREATE INDEX assets_late ON assets (job_id) WHERE role = 'late';
-- With all that a list's count and the way to a page ask for, so that they read no row.
CREATE INDEX assets_kept ON assets (org_id, mode, created_at DESC, id DESC, role, deleted_at, job_id, workflow) WHERE deleted_at IS NULL;
CREATE INDEX assets_to_erase ON assets (deleted_at, id) WHERE deleted_at IS NOT NULL AND erased_at IS NULL;
