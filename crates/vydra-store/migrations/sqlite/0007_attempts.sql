-- What providers were asked, and what they are allowed to cost.

-- An attempt at a step by a provider that we call: for the operator. It says nothing of the job's state.
CREATE TABLE attempts (
    seq        INTEGER PRIMARY KEY,
    job_id     TEXT    NOT NULL REFERENCES jobs (id),
    step       INTEGER NOT NULL,
    provider   TEXT    NOT NULL,
    -- The provider's name for the model.
    model      TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    -- The kind of its failure; NULL when it delivered.
    failure    TEXT,
    -- Whether the provider took the request: yes, no or unknown.
    accepted   TEXT    NOT NULL,
    request_id TEXT,
    cost       TEXT
) STRICT;

CREATE INDEX attempts_by_job ON attempts (job_id, seq);
CREATE INDEX attempts_by_provider ON attempts (provider, seq DESC);

-- The credits for which a provider was asked on a day, in days since 1970 in UTC.
CREATE TABLE provider_days (
    provider TEXT    NOT NULL,
    day      INTEGER NOT NULL,
    credits  INTEGER NOT NULL CHECK (credits >= 0),
    PRIMARY KEY (provider, day)
) STRICT, WITHOUT ROWID;
