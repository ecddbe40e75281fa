-- Files that their organization lists, deletes, and keeps for as long as it wants. Columns are added, and no table is made
-- anew. None of them has a check: for that SQLite would read the whole table, once for each.

-- Whose world it is of. Of what was sent or fetched before, nobody remembers by which kind of key.
ALTER TABLE assets ADD COLUMN mode TEXT NOT NULL DEFAULT 'live';
-- Since when nobody sees it. The row stays: what a job has made and what was paid for it does not change.
ALTER TABLE assets ADD COLUMN deleted_at INTEGER;
-- Since when its bytes are gone.
ALTER TABLE assets ADD COLUMN erased_at INTEGER;
-- 0 once a small picture of it was tried to be made, in vain.
ALTER TABLE assets ADD COLUMN has_thumbnail INTEGER NOT NULL DEFAULT 1;

-- Along the chain, because most jobs of most servers are not of the sandbox.
WITH RECURSIVE sandboxed (id, previous) AS (
    SELECT id, previous FROM jobs WHERE seq IN (SELECT last_job FROM balances WHERE mode = 'test')
    UNION ALL
    SELECT j.id, j.previous FROM sandboxed s CROSS JOIN jobs j ON j.seq = s.previous)
UPDATE assets SET mode = 'test' WHERE job_id IN (SELECT id FROM sandboxed);

DROP INDEX assets_by_org;
-- What is listed, counted, and removed when it is too old. With all that the count and the way to a page ask for, so that
-- they read no row.
CREATE INDEX assets_kept ON assets (org_id, mode, created_at DESC, id DESC, role, deleted_at, job_id) WHERE deleted_at IS NULL;
CREATE INDEX assets_to_erase ON assets (deleted_at, id) WHERE deleted_at IS NOT NULL AND erased_at IS NULL;

-- What jobs take in that have not ended: their bytes stay until then. A job that ends leaves no row behind, so that this
-- is as small as the number of open jobs.
CREATE TABLE job_inputs (
    job_id   TEXT NOT NULL REFERENCES jobs (id),
    asset_id TEXT NOT NULL REFERENCES assets (id),
    PRIMARY KEY (job_id, asset_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_inputs_by_asset ON job_inputs (asset_id);

INSERT OR IGNORE INTO job_inputs (job_id, asset_id)
    SELECT j.id, a.id
    FROM jobs j CROSS JOIN json_tree(iif(json_valid(j.call), j.call, '{}')) t
                CROSS JOIN assets a ON a.id = substr(t.value, length('asset:') + 1)
    WHERE j.status IN ('pending', 'running') AND t.type = 'text' AND t.value LIKE 'asset:%' AND a.org_id = j.org_id;

-- How long files are kept, in microseconds; for ever when there is no number.
ALTER TABLE organizations ADD COLUMN keep_assets INTEGER CHECK (keep_assets > 0);
CREATE INDEX organizations_with_a_term ON organizations (id) WHERE keep_assets IS NOT NULL;
