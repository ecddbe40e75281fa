-- The commands that are carried out most, each for as many as wait: one statement, however many they are.
--
-- A function that has landed is never changed. While nodes are renewed one by one the older ones still call what they know:
-- what must change gets the next number, and a later migration drops what no node can call any more.
--
-- Rows are looked up by their indexes, whatever a plan thinks of tables that were small when it was made.
--
-- Whoever locks balances and jobs locks the balances first, all of them in one order. What is looked up behind a balance's
-- lock stays so until the commit, on whatever node others are.

-- Locks the balances of several statements before the first of them. A mode of NULL stands for both.
CREATE FUNCTION lock_balances_1(_orgs text[], _modes text[]) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
    PERFORM 1 FROM unnest(_orgs, _modes) AS n (org, mode)
        CROSS JOIN LATERAL unnest(CASE WHEN n.mode IS NULL THEN ARRAY['live', 'test'] ELSE ARRAY[n.mode] END) AS m (mode)
        JOIN balances b ON b.org_id = n.org AND b.mode = m.mode
        ORDER BY b.org_id, b.mode FOR UPDATE OF b;
END $$;

-- Whoever was idle joins the queue at the highest turn that was begun. There is one row for everybody: whoever finds it
-- locked leaves it to the other, who begins jobs of the same queue, or to the next claim. To wait would make the nodes
-- stand in line, and at times each for the other.
CREATE FUNCTION begin_turn_1(_mode text, _turn bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE turns SET turn = _turn
        WHERE mode = (SELECT mode FROM turns WHERE mode = _mode AND turn < _turn FOR NO KEY UPDATE SKIP LOCKED);
END $$;

-- Takes the price of each job, writes it down and remembers its idempotency key; or says why not, and does nothing for it.
-- No two of them have the same idempotency key.
CREATE FUNCTION submit_jobs_1(
    -- The balances that pay, each once. Of each job the place of its balance.
    _orgs text[], _modes text[], _payers bigint[],
    _ids text[], _api_keys text[], _workflows text[], _inputs text[], _calls text[], _prices bigint[], _concurrent bigint[],
    _webhook_urls text[], _entries text[], _reasons text[],
    -- NULL where there is no key.
    _keys text[], _fingerprints text[], _expiries bigint[],
    -- The files that are taken in, each with the place of its job.
    _takers bigint[], _files text[],
    -- NULL where a job waits for a claim.
    _tokens text[], _leases bigint[], _limits bigint[],
    _start_by bigint[], _now bigint[])
RETURNS TABLE (
    _place bigint, _outcome text,
    -- What is left, what there is, or how many are open.
    _amount bigint, _begun boolean, _gone text)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    _has_keys boolean := cardinality(array_remove(_keys, NULL)) > 0;
    _has_files boolean := cardinality(_files) > 0;
    _has_tokens boolean := cardinality(array_remove(_tokens, NULL)) > 0;
    _price bigint; _starts boolean; _turn bigint; _written bigint;
    -- Of each mode: the turn that was begun last, and whether anybody waits for a place, whom a new job would pass over.
    _queues text[]; _begun_turns bigint[]; _waits boolean[]; _queue integer;
    -- The balances that there are, as they are left.
    _balances bigint[]; _credits bigint[]; _open bigint[]; _turns bigint[]; _last_jobs bigint[]; _last_entries bigint[];
    _paid bigint[]; _jobs_of bigint[]; _balance integer;
    -- Jobs whose key is taken; and jobs with the first of their files that is gone.
    _taken bigint[] := '{}'; _bereft bigint[] := '{}'; _lost text[] := '{}';
    -- The jobs that are taken, and their rows.
    _count integer := 0;
    _places bigint[] := '{}'; _begins boolean[] := '{}'; _at bigint[] := '{}'; _afters bigint[] := '{}';
    _jobs bigint[] := '{}'; _jobs_before bigint[] := '{}'; _rows bigint[] := '{}'; _rows_before bigint[] := '{}';
BEGIN
    -- Before the balances are locked, so that nobody waits for the answer: the turn may be that of a moment ago, which says
    -- who is served first, nothing about credits. In order, so that only an index can answer soon who waits: EXISTS may be
    -- looked for in the whole table.
    SELECT array_agg(q.mode), array_agg(q.turn), array_agg(q.waits) INTO _queues, _begun_turns, _waits FROM (
        SELECT t.mode, t.turn, _has_tokens AND t.mode = ANY (_modes) AND (
            (SELECT j.seq FROM jobs j WHERE j.status = 'pending' AND j.mode = t.mode ORDER BY j.turn, j.id LIMIT 1) IS NOT NULL
            OR (SELECT j.seq FROM jobs j WHERE j.status = 'running' AND j.mode = t.mode AND j.lease_until <= _now[1]
                ORDER BY j.lease_until LIMIT 1) IS NOT NULL) AS waits
        FROM unnest(ARRAY['live', 'test']) AS n (mode) JOIN turns t ON t.mode = n.mode) q;
    SELECT array_agg(b.place), array_agg(b.credits), array_agg(b.open), array_agg(b.turn), array_agg(b.last_job), array_agg(b.last_entry),
            array_agg(0), array_agg(0)
        INTO _balances, _credits, _open, _turns, _last_jobs, _last_entries, _paid, _jobs_of FROM (
            SELECT n.place, b.credits, b.open, b.turn, b.last_job, b.last_entry
            FROM unnest(_orgs, _modes) WITH ORDINALITY AS n (org, mode, place)
            JOIN balances b ON b.org_id = n.org AND b.mode = n.mode
            ORDER BY b.org_id, b.mode FOR UPDATE OF b) b;
    IF _has_keys THEN
        _taken := ARRAY(
            SELECT n.place FROM unnest(_keys, _payers, _now) WITH ORDINALITY AS n (key, payer, now, place)
            JOIN idempotency_keys k ON k.org_id = _orgs[n.payer] AND k.mode = _modes[n.payer] AND k.key = n.key AND k.expires_at > n.now);
    END IF;
    IF _has_files THEN
        -- They cannot be deleted before the commit, after which they are seen to be needed.
        PERFORM 1 FROM assets a WHERE a.id = ANY (_files) AND a.org_id = ANY (_orgs) AND a.deleted_at IS NULL
            ORDER BY a.id FOR SHARE;
        SELECT array_agg(n.taker ORDER BY n.number), array_agg(n.file ORDER BY n.number) INTO _bereft, _lost
            FROM unnest(_takers, _files) WITH ORDINALITY AS n (taker, file, number)
            LEFT JOIN assets a ON a.id = n.file AND a.org_id = _orgs[_payers[n.taker]] AND a.mode = _modes[_payers[n.taker]]
                AND a.deleted_at IS NULL
            WHERE a.id IS NULL;
    END IF;
    FOR _number IN 1 .. cardinality(_ids) LOOP
        _place := _number; _price := _prices[_number];
        _amount := NULL; _begun := false; _gone := NULL;
        _balance := array_position(_balances, _payers[_number]);
        IF _number = ANY (_taken) THEN
            _outcome := 'key_taken';
        ELSIF _balance IS NULL THEN
            _outcome := 'insufficient_credits'; _amount := 0;
        ELSIF _open[_balance] >= _concurrent[_number] THEN
            _outcome := 'too_many_jobs'; _amount := _open[_balance];
        ELSIF _credits[_balance] < _price THEN
            _outcome := 'insufficient_credits'; _amount := _credits[_balance];
        ELSIF _number = ANY (_bereft) THEN
            _outcome := 'input_gone'; _gone := _lost[array_position(_bereft, _number::bigint)];
        ELSE
            _outcome := 'accepted';
            _queue := array_position(_queues, _modes[_payers[_number]]);
            _turn := greatest(_turns[_balance], _begun_turns[_queue]);
            _begun := _tokens[_number] IS NOT NULL AND NOT _waits[_queue];
            IF NOT _begun THEN
                _waits[_queue] := true;
            END IF;
            _amount := _credits[_balance] - _price;
            _count := _count + 1;
            _places[_count] := _number; _begins[_count] := _begun; _at[_count] := _turn; _afters[_count] := _amount;
            -- Behind the lock of the balance: so numbers rise along its chains.
            _jobs[_count] := nextval('jobs_seq_seq'); _jobs_before[_count] := _last_jobs[_balance];
            _rows[_count] := nextval('ledger_seq_seq'); _rows_before[_count] := _last_entries[_balance];
            _credits[_balance] := _amount; _open[_balance] := _open[_balance] + 1; _turns[_balance] := _turn + 1;
            _last_jobs[_balance] := _jobs[_count]; _last_entries[_balance] := _rows[_count];
            _paid[_balance] := _paid[_balance] + _price; _jobs_of[_balance] := _jobs_of[_balance] + 1;
        END IF;
        RETURN NEXT;
    END LOOP;
    IF _count = 0 THEN
        RETURN;
    END IF;
    INSERT INTO jobs (seq, id, previous, org_id, key_id, mode, workflow, status, input, call, price, turn, webhook_url, created_at,
            deadline_at, attempt, lease_token, lease_until, started_at)
        SELECT d.job, _ids[d.place], d.before, _orgs[_payers[d.place]], _api_keys[d.place], _modes[_payers[d.place]], _workflows[d.place],
            CASE WHEN d.begins THEN 'running' ELSE 'pending' END, _inputs[d.place], _calls[d.place], _prices[d.place], d.turn,
            _webhook_urls[d.place], _now[d.place],
            CASE WHEN d.begins THEN _limits[d.place] ELSE _start_by[d.place] END,
            CASE WHEN d.begins THEN 1 ELSE 0 END,
            CASE WHEN d.begins THEN _tokens[d.place] END,
            CASE WHEN d.begins THEN _leases[d.place] END,
            CASE WHEN d.begins THEN _now[d.place] END
        FROM unnest(_places, _jobs, _jobs_before, _at, _begins) AS d (place, job, before, turn, begins);
    INSERT INTO ledger (seq, id, previous, org_id, mode, kind, amount, balance_after, job_id, reason, created_at)
        SELECT d.entry, _entries[d.place], d.before, _orgs[_payers[d.place]], _modes[_payers[d.place]], 'charge', -_prices[d.place],
            d.after, _ids[d.place], _reasons[d.place], _now[d.place]
        FROM unnest(_places, _rows, _rows_before, _afters) AS d (place, entry, before, after);
    UPDATE balances b SET credits = d.after, charged = b.charged + d.paid, open = d.open, turn = d.turn,
            jobs = b.jobs + d.jobs, last_job = d.job, entries = b.entries + d.jobs, last_entry = d.entry
        FROM unnest(_balances, _credits, _paid, _open, _turns, _jobs_of, _last_jobs, _last_entries)
            AS d (place, after, paid, open, turn, jobs, job, entry)
        WHERE d.jobs > 0 AND b.org_id = _orgs[d.place] AND b.mode = _modes[d.place] AND b.credits = d.after + d.paid;
    GET DIAGNOSTICS _written = ROW_COUNT;
    IF _written <> cardinality(array_remove(_jobs_of, 0)) THEN
        RAISE EXCEPTION 'a balance changed while it was charged' USING ERRCODE = 'data_corrupted';
    END IF;
    IF _has_files THEN
        INSERT INTO job_inputs (job_id, asset_id)
            SELECT _ids[n.taker], n.file FROM unnest(_takers, _files) AS n (taker, file) WHERE n.taker = ANY (_places);
    END IF;
    IF _has_keys THEN
        -- One that has expired makes room.
        INSERT INTO idempotency_keys AS old (org_id, mode, key, fingerprint, job_id, created_at, expires_at)
            SELECT _orgs[_payers[p]], _modes[_payers[p]], _keys[p], _fingerprints[p], _ids[p], _now[p], _expiries[p]
            FROM unnest(_places) p WHERE _keys[p] IS NOT NULL
            ON CONFLICT (org_id, mode, key) DO UPDATE SET fingerprint = excluded.fingerprint, job_id = excluded.job_id,
                created_at = excluded.created_at, expires_at = excluded.expires_at,
                status = NULL, headers = NULL, body = NULL
            WHERE old.expires_at <= excluded.created_at;
        GET DIAGNOSTICS _written = ROW_COUNT;
        IF _written <> (SELECT count(*) FROM unnest(_places) p WHERE _keys[p] IS NOT NULL) THEN
            RAISE EXCEPTION 'a key was taken while its balance was locked' USING ERRCODE = 'data_corrupted';
        END IF;
    END IF;
    IF true = ANY (_begins) THEN
        FOR _queue IN 1 .. cardinality(_queues) LOOP
            _turn := (SELECT max(d.turn) FROM unnest(_places, _at, _begins) AS d (place, turn, begins)
                WHERE d.begins AND _modes[_payers[d.place]] = _queues[_queue]);
            IF _turn > _begun_turns[_queue] THEN
                PERFORM begin_turn_1(_queues[_queue], _turn);
            END IF;
        END LOOP;
    END IF;
END $$;

-- What shares the places of one receiver, of a job's own address: one for each host. The same as `Lane::of_url`.
CREATE FUNCTION lane_of_url_1(_org text, _mode text, _url text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT _org || '/' || _mode || '/' || split_part(split_part(split_part(
        CASE WHEN strpos(_url, '://') > 0 THEN substr(_url, strpos(_url, '://') + 3) ELSE _url END, '/', 1), '?', 1), '#', 1)
$$;

-- The one place where a job becomes final: its state, its refund, the event that tells of it and whom it is told to, and what
-- it made, together. Answers which of them it has ended: those that had not ended before and are, where a lease is asked for,
-- held under it. No two of them are the same job.
CREATE FUNCTION end_jobs_1(
    -- The balances that paid, each once. Of each job the place of its balance.
    _orgs text[], _modes text[], _payers bigint[],
    _ids text[],
    -- NULL where no lease is asked for.
    _tokens text[],
    _statuses text[],
    -- NULL for the whole price.
    _refunds bigint[],
    _codes text[], _messages text[], _failures text[], _retryable boolean[],
    -- NULL leaves what is known.
    _providers text[],
    _entries text[], _reasons text[], _event_ids text[], _kinds text[], _now bigint[],
    -- What they made, each with the place of its job as `of`, in JSON; or NULL.
    _outputs text)
RETURNS TABLE (_place bigint) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
DECLARE
    _number bigint; _price bigint; _back bigint; _job bigint; _url text; _written bigint;
    _has_refunds boolean := false; _has_marks boolean := false; _has_urls boolean := false;
    -- The balances that there are, as they are left.
    _balances bigint[]; _credits bigint[]; _last_entries bigint[]; _events bigint[]; _last_events bigint[];
    _backs_of bigint[]; _entries_of bigint[]; _jobs_of bigint[]; _balance integer;
    -- The jobs that are ended, and their rows.
    _count integer := 0;
    _places bigint[] := '{}'; _jobs bigint[] := '{}'; _backs bigint[] := '{}'; _afters bigint[] := '{}';
    _rows bigint[] := '{}'; _rows_before bigint[] := '{}';
    _numbers bigint[] := '{}'; _ends bigint[] := '{}'; _ends_before bigint[] := '{}';
BEGIN
    SELECT array_agg(b.place), array_agg(b.credits), array_agg(b.last_entry), array_agg(b.events), array_agg(b.last_event),
            array_agg(0), array_agg(0), array_agg(0)
        INTO _balances, _credits, _last_entries, _events, _last_events, _backs_of, _entries_of, _jobs_of FROM (
            SELECT n.place, b.credits, b.last_entry, b.events, b.last_event
            FROM unnest(_orgs, _modes) WITH ORDINALITY AS n (org, mode, place)
            JOIN balances b ON b.org_id = n.org AND b.mode = n.mode
            ORDER BY b.org_id, b.mode FOR UPDATE OF b) b;
    FOR _number, _job, _price, _url IN
        SELECT n.place, j.seq, j.price, j.webhook_url
        FROM unnest(_ids, _tokens, _payers) WITH ORDINALITY AS n (id, token, payer, place)
        JOIN jobs j ON j.id = n.id AND j.org_id = _orgs[n.payer] AND j.mode = _modes[n.payer]
            AND j.status IN ('pending', 'running') AND (n.token IS NULL OR j.lease_token = n.token)
        ORDER BY j.id FOR NO KEY UPDATE OF j
    LOOP
        _balance := array_position(_balances, _payers[_number]);
        IF _balance IS NULL THEN
            RAISE EXCEPTION 'a job without a balance' USING ERRCODE = 'data_corrupted';
        END IF;
        _place := _number; _back := coalesce(_refunds[_number], _price);
        _count := _count + 1;
        _places[_count] := _number; _jobs[_count] := _job; _backs[_count] := _back;
        _credits[_balance] := _credits[_balance] + _back;
        _afters[_count] := _credits[_balance];
        -- Behind the lock of the balance: so numbers rise along its chains, and whoever has seen an event has seen all before it.
        _events[_balance] := _events[_balance] + 1;
        _numbers[_count] := _events[_balance];
        _has_marks := _has_marks OR _events[_balance] % 256 = 0;
        _ends[_count] := nextval('events_seq_seq'); _ends_before[_count] := _last_events[_balance];
        _last_events[_balance] := _ends[_count];
        _jobs_of[_balance] := _jobs_of[_balance] + 1;
        _rows[_count] := NULL; _rows_before[_count] := _last_entries[_balance];
        IF _back > 0 THEN
            _has_refunds := true;
            _rows[_count] := nextval('ledger_seq_seq');
            _last_entries[_balance] := _rows[_count];
            _entries_of[_balance] := _entries_of[_balance] + 1; _backs_of[_balance] := _backs_of[_balance] + _back;
        END IF;
        _has_urls := _has_urls OR _url IS NOT NULL;
        RETURN NEXT;
    END LOOP;
    IF _count = 0 THEN
        RETURN;
    END IF;
    UPDATE jobs j SET status = _statuses[d.place], refunded = d.back, completed_at = _now[d.place],
            failure_code = _codes[d.place], failure_message = _messages[d.place], failure_reason = _failures[d.place],
            retryable = _retryable[d.place], lease_token = NULL, lease_until = NULL, status_message = NULL,
            progress = CASE WHEN _statuses[d.place] = 'completed' THEN 100 ELSE j.progress END,
            provider = coalesce(_providers[d.place], j.provider)
        FROM unnest(_places, _jobs, _backs) AS d (place, job, back) WHERE j.seq = d.job;
    DELETE FROM job_inputs i USING unnest(_places) p WHERE i.job_id = _ids[p];
    INSERT INTO events (seq, previous, number, job_id, org_id, mode, kind, created_at)
        SELECT d.event, d.before, d.number, _ids[d.place], _orgs[_payers[d.place]], _modes[_payers[d.place]], _kinds[d.place], _now[d.place]
        FROM unnest(_places, _ends, _ends_before, _numbers) AS d (place, event, before, number);
    IF _has_marks THEN
        -- Every so many there is one.
        INSERT INTO event_marks (org_id, mode, number, seq)
            SELECT _orgs[_payers[d.place]], _modes[_payers[d.place]], d.number, d.event
            FROM unnest(_places, _ends, _numbers) AS d (place, event, number) WHERE d.number % 256 = 0;
    END IF;
    IF _has_refunds THEN
        INSERT INTO ledger (seq, id, previous, org_id, mode, kind, amount, balance_after, job_id, reason, created_at)
            SELECT d.entry, _entries[d.place], d.before, _orgs[_payers[d.place]], _modes[_payers[d.place]], 'refund', d.back, d.after,
                _ids[d.place], _reasons[d.place], _now[d.place]
            FROM unnest(_places, _rows, _rows_before, _backs, _afters) AS d (place, entry, before, back, after) WHERE d.back > 0;
    END IF;
    UPDATE balances b SET credits = d.after, refunded = b.refunded + d.back, open = b.open - d.jobs,
            entries = b.entries + d.entries, last_entry = d.entry, events = d.events, last_event = d.event
        FROM unnest(_balances, _credits, _backs_of, _jobs_of, _entries_of, _last_entries, _events, _last_events)
            AS d (place, after, back, jobs, entries, entry, events, event)
        WHERE d.jobs > 0 AND b.org_id = _orgs[d.place] AND b.mode = _modes[d.place] AND b.credits = d.after - d.back;
    GET DIAGNOSTICS _written = ROW_COUNT;
    IF _written <> cardinality(array_remove(_jobs_of, 0)) THEN
        RAISE EXCEPTION 'a balance changed while it was paid back' USING ERRCODE = 'data_corrupted';
    END IF;
    IF _has_urls THEN
        INSERT INTO deliveries (org_id, mode, event_id, kind, job_id, url, lane, next_at, asked_at, created_at)
            SELECT j.org_id, j.mode, _event_ids[d.place], _kinds[d.place], j.id, j.webhook_url,
                lane_of_url_1(j.org_id, j.mode, j.webhook_url), _now[d.place], _now[d.place], _now[d.place]
            FROM unnest(_places, _jobs) AS d (place, job) JOIN jobs j ON j.seq = d.job WHERE j.webhook_url IS NOT NULL;
    END IF;
    INSERT INTO deliveries (org_id, mode, event_id, kind, job_id, endpoint_id, url, lane, next_at, asked_at, created_at)
        SELECT e.org_id, e.mode, _event_ids[p], _kinds[p], _ids[p], e.id, e.url, e.org_id || '/' || e.id, _now[p], _now[p], _now[p]
        FROM unnest(_places) p JOIN webhook_endpoints e ON e.org_id = _orgs[_payers[p]] AND e.mode = _modes[_payers[p]]
        WHERE e.deleted_at IS NULL AND e.disabled IS NULL AND (e.events = '[]' OR e.events::jsonb ? _kinds[p]);
    IF _outputs IS NOT NULL THEN
        INSERT INTO assets (id, org_id, mode, job_id, place, role, kind, media_type, storage_key, bytes, width, height,
                duration_ms, created_at, filename)
            SELECT a.id, a.org_id, a.mode, a.job_id, a.place, a.role, a.kind, a.media_type, a.storage_key, a.bytes, a.width, a.height,
                a.duration_ms, a.created_at, a.filename
            FROM json_to_recordset(_outputs::json) AS a (of bigint, id text, org_id text, mode text, job_id text, place bigint, role text,
                kind text, media_type text, storage_key text, bytes bigint, width bigint, height bigint, duration_ms bigint,
                created_at bigint, filename text)
            WHERE a.of = ANY (_places);
    END IF;
END $$;

-- What a worker writes of the steps that it works on. Answers whose lease it was: the lease is extended, and nothing is
-- written without one. No two of them are of the same job.
CREATE FUNCTION work_on_jobs_1(
    _ids text[], _tokens text[], _providers text[], _external_ids text[], _steps bigint[], _routes bigint[], _until bigint[])
RETURNS TABLE (_place bigint) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
    RETURN QUERY WITH held AS (
        UPDATE jobs j SET provider = n.provider, external_id = n.external_id, lease_until = n.until
        FROM unnest(_ids, _tokens, _providers, _external_ids, _until) WITH ORDINALITY
            AS n (id, token, provider, external_id, until, place)
        WHERE j.id = n.id AND j.lease_token = n.token RETURNING n.place
    ), written AS (
        -- A provider that may be asked twice leaves no mark before its task; and the old name belongs to the old route.
        INSERT INTO steps (job_id, step, provider, route, external_id)
        SELECT _ids[h.place], _steps[h.place], _providers[h.place], _routes[h.place], _external_ids[h.place] FROM held h
        ON CONFLICT (job_id, step) DO UPDATE
            SET provider = excluded.provider, route = excluded.route, external_id = excluded.external_id
    ) SELECT h.place FROM held h;
END $$;

-- Extends leases, and keeps what is shown of their jobs; the progress never goes back. Answers whose lease it was. No two of
-- them are of the same job.
CREATE FUNCTION report_progress_1(_ids text[], _tokens text[], _progress bigint[], _messages text[], _until bigint[])
RETURNS TABLE (_place bigint) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
    RETURN QUERY UPDATE jobs j
        SET progress = greatest(j.progress, n.progress), status_message = n.message, lease_until = n.until
        FROM unnest(_ids, _tokens, _progress, _messages, _until) WITH ORDINALITY
            AS n (id, token, progress, message, until, place)
        WHERE j.id = n.id AND j.lease_token = n.token RETURNING n.place;
END $$;

-- Remembers answers where there are none. Answers for which keys it has done so. No two of them are of the same key.
CREATE FUNCTION record_answers_1(
    _orgs text[], _modes text[], _keys text[], _statuses bigint[], _headers text[], _bodies bytea[])
RETURNS TABLE (_place bigint) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
    RETURN QUERY UPDATE idempotency_keys k SET status = n.status, headers = n.headers, body = n.body
        FROM unnest(_orgs, _modes, _keys, _statuses, _headers, _bodies) WITH ORDINALITY
            AS n (org, mode, key, status, headers, body, place)
        WHERE k.org_id = n.org AND k.mode = n.mode AND k.key = n.key AND k.status IS NULL RETURNING n.place;
END $$;
