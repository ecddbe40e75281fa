-- Times are microseconds since 1970 in UTC, credits whole numbers, ids text made by the caller.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE organizations (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    plan       TEXT NOT NULL,
    rpm        INTEGER,
    rph        INTEGER,
    rpd        INTEGER,
    concurrent INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One balance for real credits and one for the sandbox's.
CREATE TABLE balances (
    org_id  TEXT NOT NULL REFERENCES organizations (id),
    mode    TEXT NOT NULL CHECK (mode IN ('live', 'test')),
    credits INTEGER NOT NULL CHECK (credits >= 0),
    PRIMARY KEY (org_id, mode)
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    id           TEXT PRIMARY KEY,
    org_id       TEXT NOT NULL REFERENCES organizations (id),
    name         TEXT NOT NULL,
    shown_prefix TEXT NOT NULL,
    hash         TEXT NOT NULL UNIQUE,
    mode         TEXT NOT NULL CHECK (mode IN ('live', 'test')),
    scopes       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX api_keys_by_org ON api_keys (org_id, id);

CREATE TABLE jobs (
    id              TEXT PRIMARY KEY,
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
    -- How the attempt stands: which route, whether a purchase may have begun, and the provider's own name for it.
    attempt         INTEGER NOT NULL DEFAULT 0,
    provider        TEXT,
    route           INTEGER,
    submitting      INTEGER NOT NULL DEFAULT 0 CHECK (submitting IN (0, 1)),
    external_id     TEXT,
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
) STRICT, WITHOUT ROWID;

-- Only jobs that are not final stand in these: finished ones cost nothing.
CREATE INDEX jobs_pending ON jobs (created_at, id) WHERE status = 'pending';
CREATE INDEX jobs_running ON jobs (lease_until) WHERE status = 'running';
CREATE INDEX jobs_deadline ON jobs (deadline_at) WHERE status = 'running';
CREATE INDEX jobs_open_by_org ON jobs (org_id) WHERE status IN ('pending', 'running');
CREATE INDEX jobs_by_org ON jobs (org_id, created_at DESC, id DESC);

CREATE TABLE ledger (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
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

CREATE INDEX ledger_by_org ON ledger (org_id, mode, kind, amount);
-- One charge and one refund a job, whatever happens. A later goodwill is an adjustment.
CREATE UNIQUE INDEX ledger_once_a_job ON ledger (job_id, kind) WHERE kind IN ('charge', 'refund');

CREATE TRIGGER ledger_is_never_edited BEFORE UPDATE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'a ledger row is never changed');
END;

CREATE TRIGGER ledger_is_never_shortened BEFORE DELETE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'a ledger row is never removed');
END;

CREATE TABLE assets (
    id          TEXT PRIMARY KEY,
    org_id      TEXT NOT NULL REFERENCES organizations (id),
    job_id      TEXT REFERENCES jobs (id),
    place       INTEGER NOT NULL DEFAULT 0,
    role        TEXT NOT NULL CHECK (role IN ('output', 'input')),
    kind        TEXT NOT NULL CHECK (kind IN ('image', 'video', 'audio')),
    media_type  TEXT NOT NULL,
    storage_key TEXT NOT NULL UNIQUE,
    bytes       INTEGER NOT NULL CHECK (bytes > 0),
    width       INTEGER,
    height      INTEGER,
    duration_ms INTEGER,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX assets_by_job ON assets (job_id, place) WHERE job_id IS NOT NULL;
CREATE INDEX assets_by_org ON assets (org_id, created_at DESC, id DESC);
