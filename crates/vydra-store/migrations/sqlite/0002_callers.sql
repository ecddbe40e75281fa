-- People, what they may do, and everything that is remembered about a request besides its job.

CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    -- In the spelling under which it is looked up: trimmed and lower-case.
    email         TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE memberships (
    user_id    TEXT NOT NULL REFERENCES users (id),
    org_id     TEXT NOT NULL REFERENCES organizations (id),
    role       TEXT NOT NULL CHECK (role IN ('owner', 'member')),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, org_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX memberships_by_org ON memberships (org_id, user_id);

-- A session belongs to a membership: whoever leaves an organization is logged out of it.
CREATE TABLE sessions (
    hash       TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL,
    org_id     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    FOREIGN KEY (user_id, org_id) REFERENCES memberships (user_id, org_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user_id, org_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- Null for keys that the command line made.
ALTER TABLE api_keys ADD COLUMN user_id TEXT REFERENCES users (id);
ALTER TABLE api_keys ADD COLUMN request_count INTEGER NOT NULL DEFAULT 0 CHECK (request_count >= 0);
ALTER TABLE api_keys ADD COLUMN last_used_at INTEGER;
-- A key that replaced another one stands for the first of them: what that one made is its own.
ALTER TABLE api_keys ADD COLUMN origin_id TEXT REFERENCES api_keys (id);
ALTER TABLE api_keys ADD COLUMN replaced_by TEXT REFERENCES api_keys (id);

-- Of whoever pays for an agent that registered itself.
ALTER TABLE organizations ADD COLUMN billing_email TEXT;

-- When requests were admitted: a restart knows them all, a crash all but those of the last moment. Some moments of one organization a row, packed.
CREATE TABLE admissions (
    seq     INTEGER PRIMARY KEY,
    org_id  TEXT NOT NULL REFERENCES organizations (id),
    last_at INTEGER NOT NULL,
    moments BLOB NOT NULL
) STRICT;

CREATE INDEX admissions_by_age ON admissions (last_at);

-- Written in the transaction of the charge. The answer follows when the caller has been told.
CREATE TABLE idempotency_keys (
    org_id      TEXT NOT NULL REFERENCES organizations (id),
    mode        TEXT NOT NULL CHECK (mode IN ('live', 'test')),
    key         TEXT NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint TEXT NOT NULL,
    job_id      TEXT NOT NULL UNIQUE REFERENCES jobs (id),
    status      INTEGER,
    headers     TEXT,
    body        BLOB,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (org_id, mode, key),
    CHECK ((status IS NULL) = (body IS NULL) AND (status IS NULL) = (headers IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

CREATE INDEX ledger_in_order ON ledger (org_id, mode, seq);
CREATE INDEX ledger_of_job ON ledger (job_id) WHERE job_id IS NOT NULL;

-- Files that callers sent: a role of their own, the name that they had, and the key under which they are known.
CREATE TABLE assets_2 (
    id          TEXT PRIMARY KEY,
    org_id      TEXT NOT NULL REFERENCES organizations (id),
    job_id      TEXT REFERENCES jobs (id),
    place       INTEGER NOT NULL DEFAULT 0,
    role        TEXT NOT NULL CHECK (role IN ('output', 'input', 'upload')),
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
    CHECK ((role = 'upload') = (upload_key IS NOT NULL))
) STRICT, WITHOUT ROWID;

INSERT INTO assets_2 (id, org_id, job_id, place, role, kind, media_type, storage_key, bytes, width, height, duration_ms, created_at)
    SELECT id, org_id, job_id, place, role, kind, media_type, storage_key, bytes, width, height, duration_ms, created_at FROM assets;
DROP TABLE assets;
ALTER TABLE assets_2 RENAME TO assets;

CREATE INDEX assets_by_job ON assets (job_id, place) WHERE job_id IS NOT NULL;
CREATE INDEX assets_by_org ON assets (org_id, created_at DESC, id DESC);
