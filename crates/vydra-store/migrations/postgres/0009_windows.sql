-- The windows of requests, counted here for all nodes. Times are the database's own, and never go back within an organization.

DROP TABLE admissions;

-- A row for each organization that ever asked; whoever counts holds it.
CREATE TABLE windows (
    org_id   TEXT COLLATE "C" PRIMARY KEY REFERENCES organizations (id),
    -- How many requests were ever admitted.
    admitted BIGINT NOT NULL DEFAULT 0 CHECK (admitted >= 0),
    -- What the clock showed last, and how far it was set back, in all: time goes on from where it was.
    shown    BIGINT NOT NULL DEFAULT 0,
    ahead    BIGINT NOT NULL DEFAULT 0 CHECK (ahead >= 0)
);

-- A row for each moment at which requests were admitted, however many they were.
CREATE TABLE window_log (
    org_id TEXT COLLATE "C" NOT NULL,
    at     BIGINT NOT NULL,
    -- How many were ever admitted before that moment: all but these are in a window that begins with this row.
    before BIGINT NOT NULL CHECK (before >= 0),
    PRIMARY KEY (org_id, at)
);

CREATE INDEX window_log_by_number ON window_log (org_id, before);

-- A row that every request changes stays on its page.
ALTER TABLE windows SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Counts requests, those of one line together and at one moment. A line is a key, by its hash, or an organization; `waiting` is how
-- many requests it has. The plans have three limits each, for the minute, the hour and the day; the first one stands for those that
-- are not listed. `clock` is NULL where the database's own counts.
--
-- Answers with a line for each key and organization that there is. `counted` is false for a key that is revoked, or has expired
-- at `judged_at`: the rest is NULL then. `taken` is how many were admitted; `used` what each window held before them, and `oldest`
-- the moment of the first of that. `blocking` is where a window holds more than its limit: the moment of the one that must have
-- left it before there is room for another.
CREATE FUNCTION admit_requests(
    hashes TEXT[], org_ids TEXT[], waiting BIGINT[],
    plan_names TEXT[], plan_limits BIGINT[], spans BIGINT[], judged_at BIGINT, clock BIGINT
) RETURNS TABLE (
    place BIGINT, key api_keys, organization organizations, counted BOOLEAN,
    at BIGINT, ahead BIGINT, taken BIGINT, limits BIGINT[], used BIGINT[], oldest BIGINT[], blocking BIGINT[]
)
LANGUAGE plpgsql
-- A line is a few rows by their keys, also while the tables are so small that it would seem cheaper to read them in whole.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_variable
DECLARE
    line RECORD;
    org RECORD;
    first RECORD;
    looked BIGINT;
    plan BIGINT;
BEGIN
    FOR line IN
        SELECT l.place, l.waiting, k AS key, o AS organization, o.id, o.plan, ARRAY[o.rpm, o.rph, o.rpd] AS own,
            l.hash IS NULL OR (k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > judged_at)) AS counted
        FROM unnest(hashes, org_ids, waiting) WITH ORDINALITY AS l (hash, org_id, waiting, place)
        LEFT JOIN api_keys k ON k.hash = l.hash
        JOIN organizations o ON o.id = coalesce(l.org_id, k.org_id)
        -- Rows are held in one order, whoever asks, so that no two calls wait for one another.
        ORDER BY o.id
    LOOP
        place := line.place; key := line.key; organization := line.organization; counted := line.counted;
        at := NULL; ahead := NULL; taken := NULL; limits := NULL; used := NULL; oldest := NULL; blocking := NULL;
        IF counted THEN
            SELECT w.admitted, w.shown, w.ahead INTO org FROM windows w WHERE w.org_id = line.id FOR NO KEY UPDATE;
            IF NOT FOUND THEN
                INSERT INTO windows (org_id) VALUES (line.id) ON CONFLICT DO NOTHING;
                SELECT w.admitted, w.shown, w.ahead INTO org FROM windows w WHERE w.org_id = line.id FOR NO KEY UPDATE;
            END IF;
            -- Looked at while the row is held: whoever holds it next looks later.
            looked := coalesce(clock, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
            ahead := org.ahead + greatest(org.shown, looked) - looked;
            at := looked + ahead;
            plan := coalesce(array_position(plan_names, line.plan), 1);
            taken := line.waiting;
            FOR i IN 1..3 LOOP
                limits[i] := coalesce(line.own[i], plan_limits[3 * plan - 3 + i]);
                SELECT l.at, l.before INTO first FROM window_log l
                WHERE l.org_id = line.id AND l.at > at - spans[i] ORDER BY l.at LIMIT 1;
                oldest[i] := first.at;
                used[i] := coalesce(org.admitted - first.before, 0);
                taken := least(taken, greatest(limits[i] - used[i], 0));
                blocking[i] := CASE WHEN used[i] > limits[i] THEN (
                    SELECT l.at FROM window_log l WHERE l.org_id = line.id AND l.before <= org.admitted - limits[i]
                    ORDER BY l.before DESC LIMIT 1) END;
            END LOOP;
            UPDATE windows w SET admitted = w.admitted + taken, shown = looked, ahead = admit_requests.ahead WHERE w.org_id = line.id;
            -- Of one moment there is one row, and the first that comes has its number.
            IF taken > 0 THEN
                INSERT INTO window_log (org_id, at, before) VALUES (line.id, at, org.admitted) ON CONFLICT DO NOTHING;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
