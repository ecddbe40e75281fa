-- The last reference that each job looked up by itself, and wrote a lock into the row that it found. Keys are never removed: to look
-- is enough, for all jobs that are submitted together. The audit finds a job whose key its organization does not have.
ALTER TABLE jobs DROP CONSTRAINT jobs_key_id_fkey;

-- Whether there are all of these keys. There is no other answer than that they are.
CREATE FUNCTION find_keys_1(_keys text[]) RETURNS boolean LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
BEGIN
    IF (SELECT count(*) FROM unnest(_keys) AS n (key) JOIN api_keys k ON k.id = n.key) <> cardinality(array_remove(_keys, NULL)) THEN
        RAISE EXCEPTION 'a job of a key that there is not' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN true;
END $$;
