-- Requests of many organizations at once. Nodes of the version before still call what 0009 has made.

-- Every request wrote into it, and it was read where a limit had been lowered: `last_of_window_2` finds the same by halving.
DROP INDEX window_log_by_number;

-- The last moment up to which no more than `_number` had been admitted, after `_from`, which is one of them, and before `_to`.
-- Moments and numbers rise together.
CREATE FUNCTION last_of_window_2(_org TEXT, _number BIGINT, _from BIGINT, _to BIGINT) RETURNS BIGINT
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
DECLARE
    _middle BIGINT;
    _found RECORD;
    _last BIGINT := _from;
BEGIN
    WHILE _to - _from > 1 LOOP
        _middle := _from + (_to - _from) / 2;
        SELECT l.at, l.before INTO _found FROM window_log l WHERE l.org_id = _org AND l.at <= _middle ORDER BY l.at DESC LIMIT 1;
        IF _found.before <= _number THEN
            _last := _found.at; _from := _middle;
        ELSE
            _to := _found.at;
        END IF;
    END LOOP;
    RETURN _last;
END $$;

-- Counts requests as `admit_requests` does, by the same arguments and with the same answer; but all lines by a few statements instead
-- of a few for each: to begin a statement costs more than to look at a row.
CREATE FUNCTION admit_requests_2(
    _hashes TEXT[], _org_ids TEXT[], _waiting BIGINT[],
    _plan_names TEXT[], _plan_limits BIGINT[], _spans BIGINT[], _judged_at BIGINT, _clock BIGINT
) RETURNS TABLE (
    place BIGINT, key api_keys, organization organizations, counted BOOLEAN,
    at BIGINT, ahead BIGINT, taken BIGINT, limits BIGINT[], used BIGINT[], oldest BIGINT[], blocking BIGINT[]
)
LANGUAGE plpgsql
-- A line is a few rows by their keys, also while the tables are so small that it would seem cheaper to read them in whole.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    -- Of each line; the organization is NULL in `_held` where nothing is counted.
    _keys api_keys[]; _organizations organizations[]; _held TEXT[];
    _has_new BOOLEAN;
    _looked BIGINT;
BEGIN
    SELECT array_agg(k ORDER BY l.place), array_agg(o ORDER BY l.place), array_agg(CASE WHEN valid.now THEN o.id END ORDER BY l.place),
            bool_or(valid.now AND w.org_id IS NULL)
        INTO _keys, _organizations, _held, _has_new
        FROM unnest(_hashes, _org_ids) WITH ORDINALITY AS l (hash, org_id, place)
        LEFT JOIN api_keys k ON k.hash = l.hash
        LEFT JOIN organizations o ON o.id = coalesce(l.org_id, k.org_id)
        LEFT JOIN windows w ON w.org_id = o.id
        CROSS JOIN LATERAL (SELECT
            l.hash IS NULL OR (k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > _judged_at)) AS now) AS valid;
    -- Before a row is held, and in one order like those: so no two calls wait for one another.
    IF _has_new THEN
        INSERT INTO windows (org_id)
            SELECT DISTINCT o.id FROM organizations o WHERE o.id = ANY (_held) ORDER BY o.id ON CONFLICT DO NOTHING;
    END IF;
    PERFORM 1 FROM windows w WHERE w.org_id = ANY (_held) ORDER BY w.org_id FOR NO KEY UPDATE;
    -- Looked at while the rows are held: whoever holds one next looks later.
    _looked := coalesce(_clock, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
    -- A statement of its own sees what those wrote who held the rows before.
    RETURN QUERY WITH line AS MATERIALIZED (
        SELECT l.place, l.waiting, l.held AS org, w.org_id IS NOT NULL AS counted, w.admitted,
            w.ahead + greatest(w.shown, _looked) - _looked AS ahead, w.ahead + greatest(w.shown, _looked) AS at,
            -- How many the lines before this one ask for, of the same organization.
            coalesce(sum(l.waiting) OVER (same ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)::bigint AS sooner,
            lead(l.place) OVER same IS NULL AS is_last,
            ARRAY[coalesce((o.o).rpm, _plan_limits[3 * plan.place - 2]), coalesce((o.o).rph, _plan_limits[3 * plan.place - 1]),
                coalesce((o.o).rpd, _plan_limits[3 * plan.place])] AS limits
        FROM unnest(_waiting, _held) WITH ORDINALITY AS l (waiting, held, place)
        CROSS JOIN LATERAL (SELECT _organizations[l.place] AS o) o
        CROSS JOIN LATERAL (SELECT coalesce(array_position(_plan_names, (o.o).plan), 1) AS place) AS plan
        LEFT JOIN windows w ON w.org_id = l.held
        WHERE (o.o).id IS NOT NULL
        WINDOW same AS (PARTITION BY l.held ORDER BY l.place)
    ), tally AS MATERIALIZED (
        SELECT l.*, minute.at AS minute, hour.at AS hour, d.at AS day, n.*, room.room
        FROM line l
        -- The first of the day. Where it is in the hour too there is none before it, and so for the minute.
        LEFT JOIN LATERAL (SELECT f.at, f.before FROM window_log f
            WHERE f.org_id = l.org AND f.at > l.at - _spans[3] ORDER BY f.at LIMIT 1) d ON true
        LEFT JOIN LATERAL (SELECT f.at, f.before FROM window_log f
            WHERE d.at <= l.at - _spans[2] AND f.org_id = l.org AND f.at > l.at - _spans[2] ORDER BY f.at LIMIT 1) h ON true
        CROSS JOIN LATERAL (SELECT (CASE WHEN d.at <= l.at - _spans[2] THEN h.at ELSE d.at END) AS at,
            CASE WHEN d.at <= l.at - _spans[2] THEN h.before ELSE d.before END AS before) hour
        LEFT JOIN LATERAL (SELECT f.at, f.before FROM window_log f
            WHERE hour.at <= l.at - _spans[1] AND f.org_id = l.org AND f.at > l.at - _spans[1] ORDER BY f.at LIMIT 1) m ON true
        CROSS JOIN LATERAL (SELECT (CASE WHEN hour.at <= l.at - _spans[1] THEN m.at ELSE hour.at END) AS at,
            CASE WHEN hour.at <= l.at - _spans[1] THEN m.before ELSE hour.before END AS before) minute
        CROSS JOIN LATERAL (SELECT coalesce(l.admitted - minute.before, 0) AS in_minute, coalesce(l.admitted - hour.before, 0) AS in_hour,
            coalesce(l.admitted - d.before, 0) AS in_day) n
        CROSS JOIN LATERAL (SELECT greatest(least(l.limits[1] - in_minute, l.limits[2] - in_hour, l.limits[3] - in_day), 0) AS room) room
    ), counts AS (
        UPDATE windows w SET admitted = w.admitted + least(t.room, t.sooner + t.waiting), shown = _looked, ahead = t.ahead
        FROM tally t WHERE t.counted AND t.is_last AND w.org_id = t.org
    ), entries AS (
        -- Of one moment there is one row, and the first that comes has its number.
        INSERT INTO window_log (org_id, at, before)
        SELECT t.org, t.at, t.admitted FROM tally t WHERE t.counted AND t.is_last AND least(t.room, t.sooner + t.waiting) > 0
        ON CONFLICT DO NOTHING
    )
    SELECT t.place, _keys[t.place], _organizations[t.place], t.counted, t.at, t.ahead, least(t.room, t.sooner + t.waiting) - s.taken,
        t.limits, ARRAY[t.in_minute + s.taken, t.in_hour + s.taken, t.in_day + s.taken],
        ARRAY[coalesce(t.minute, s.at), coalesce(t.hour, s.at), coalesce(t.day, s.at)],
        ARRAY[
            CASE WHEN t.in_minute > t.limits[1] THEN last_of_window_2(t.org, t.admitted - t.limits[1], t.minute, t.at + 1) END,
            CASE WHEN t.in_hour > t.limits[2] THEN last_of_window_2(t.org, t.admitted - t.limits[2], t.hour, t.at + 1) END,
            CASE WHEN t.in_day > t.limits[3] THEN last_of_window_2(t.org, t.admitted - t.limits[3], t.day, t.at + 1) END]
    FROM tally t
    -- What the lines before this one have taken, at the same moment.
    CROSS JOIN LATERAL (SELECT x.taken, CASE WHEN x.taken > 0 THEN t.at END AS at
        FROM (SELECT least(t.room, t.sooner) AS taken) x) s;
END $$;
