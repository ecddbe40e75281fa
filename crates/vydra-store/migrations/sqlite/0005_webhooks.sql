-- What is told to others when a job ends, and to whom.

-- The events of an organization are a chain too, and each knows its place in it: whoever has missed some reads on from the
-- last one that they saw.
ALTER TABLE balances ADD COLUMN events     INTEGER NOT NULL DEFAULT 0 CHECK (events >= 0);
ALTER TABLE balances ADD COLUMN last_event INTEGER;

CREATE TABLE events_5 (
    seq        INTEGER PRIMARY KEY,
    -- The event of the same organization and mode before this one, and how many there are up to here.
    previous   INTEGER CHECK (previous < seq),
    number     INTEGER NOT NULL CHECK (number > 0),
    job_id     TEXT NOT NULL UNIQUE REFERENCES jobs (id),
    org_id     TEXT NOT NULL,
    mode       TEXT NOT NULL CHECK (mode IN ('live', 'test')),
    kind       TEXT NOT NULL CHECK (kind IN ('job.completed', 'job.failed', 'job.cancelled')),
    created_at INTEGER NOT NULL
) STRICT;

-- The order is found among numbers alone: whole rows would not fit into memory.
CREATE TEMP TABLE order_of_events (seq INTEGER PRIMARY KEY, previous INTEGER, number INTEGER NOT NULL);
INSERT INTO order_of_events (seq, previous, number)
    SELECT seq, lag(seq) OVER organization, row_number() OVER organization FROM events
    WINDOW organization AS (PARTITION BY org_id, mode ORDER BY seq);
INSERT INTO events_5 (seq, previous, number, job_id, org_id, mode, kind, created_at)
    SELECT e.seq, o.previous, o.number, job_id, org_id, mode, kind, created_at
    FROM order_of_events o CROSS JOIN events e ON e.seq = o.seq ORDER BY o.seq;
DROP TABLE order_of_events;
DROP TABLE events;
ALTER TABLE events_5 RENAME TO events;

-- Every 256th of them, so that a place far back is found without going all the way from the end.
CREATE TABLE event_marks (
    org_id TEXT NOT NULL,
    mode   TEXT NOT NULL CHECK (mode IN ('live', 'test')),
    number INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (org_id, mode, number)
) STRICT, WITHOUT ROWID;

INSERT INTO event_marks (org_id, mode, number, seq)
    SELECT org_id, mode, number, seq FROM events WHERE number % 256 = 0;
UPDATE balances SET events = e.count, last_event = e.last
    FROM (SELECT org_id, mode, count(*) AS count, max(seq) AS last FROM events GROUP BY org_id, mode) e
    WHERE e.org_id = balances.org_id AND e.mode = balances.mode;

-- Where a job's own end is told, besides the endpoints of its organization.
ALTER TABLE jobs ADD COLUMN webhook_url TEXT;

-- The sandbox has a secret of its own: whoever holds a test key must not be able to sign for real jobs.
CREATE TABLE webhook_secrets (
    seq    INTEGER PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organizations (id),
    mode   TEXT NOT NULL CHECK (mode IN ('live', 'test')),
    secret TEXT NOT NULL,
    -- Until when one that was replaced is good too; the current one has no end.
    until  INTEGER
) STRICT;

CREATE UNIQUE INDEX webhook_secrets_current ON webhook_secrets (org_id, mode) WHERE until IS NULL;
CREATE INDEX webhook_secrets_by_org ON webhook_secrets (org_id, mode, seq);

CREATE TABLE webhook_endpoints (
    id            TEXT PRIMARY KEY,
    org_id        TEXT NOT NULL REFERENCES organizations (id),
    mode          TEXT NOT NULL CHECK (mode IN ('live', 'test')),
    url           TEXT NOT NULL,
    -- A list in JSON; an empty one means all.
    events        TEXT NOT NULL,
    description   TEXT,
    disabled      TEXT CHECK (disabled IN ('by_owner', 'gone', 'failing')),
    disabled_at   INTEGER,
    -- Since when there were nothing but failures, and how many.
    failing_since INTEGER,
    failures      INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    -- Its deliveries stay and name it.
    deleted_at    INTEGER,
    CHECK ((disabled IS NULL) = (disabled_at IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_endpoints_by_org ON webhook_endpoints (org_id, mode, id) WHERE deleted_at IS NULL;

-- One row for each event and each address that it is told to, written with the event.
CREATE TABLE deliveries (
    seq             INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE DEFAULT ('dlv_' || lower(hex(randomblob(13)))),
    org_id          TEXT NOT NULL REFERENCES organizations (id),
    mode            TEXT NOT NULL CHECK (mode IN ('live', 'test')),
    event_id        TEXT NOT NULL,
    kind            TEXT NOT NULL,
    job_id          TEXT REFERENCES jobs (id),
    -- Of an event that is not the end of a job: what is told.
    data            TEXT,
    endpoint_id     TEXT REFERENCES webhook_endpoints (id),
    url             TEXT NOT NULL,
    -- What shares the places of one receiver: the organization, and its endpoint or, for addresses of jobs, mode and host.
    lane            TEXT NOT NULL,
    status          TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed')),
    -- Ever begun; the number of the one that may be under way.
    attempts        INTEGER NOT NULL DEFAULT 0,
    -- Failed since it was sent for the first time, or again by hand.
    failed          INTEGER NOT NULL DEFAULT 0,
    sending         INTEGER NOT NULL DEFAULT 0 CHECK (sending IN (0, 1)),
    -- It was asked for again while it was being sent.
    again           INTEGER NOT NULL DEFAULT 0 CHECK (again IN (0, 1)),
    -- While it is sent: when it is taken for lost.
    next_at         INTEGER,
    last_at         INTEGER,
    response_status INTEGER,
    error           TEXT,
    duration_ms     INTEGER,
    -- When it was written, or sent again by hand.
    asked_at        INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    CHECK ((status = 'pending') = (next_at IS NOT NULL)),
    CHECK (sending = 0 OR status = 'pending'),
    CHECK ((job_id IS NULL) = (data IS NOT NULL))
) STRICT;

-- With all that a list can ask for, so that its count reads no row.
CREATE INDEX deliveries_by_org ON deliveries (org_id, mode, seq, status, endpoint_id);
CREATE INDEX deliveries_ended ON deliveries (asked_at) WHERE status <> 'pending';
-- Only those that are on their way stand in these.
CREATE INDEX deliveries_waiting ON deliveries (asked_at) WHERE status = 'pending';
CREATE INDEX deliveries_sending ON deliveries (seq) WHERE sending = 1;
CREATE INDEX deliveries_due ON deliveries (next_at) WHERE status = 'pending';
CREATE INDEX deliveries_in_lane ON deliveries (lane, next_at) WHERE status = 'pending';
