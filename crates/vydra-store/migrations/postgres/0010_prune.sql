-- What is old may go: what it comes to stays, so that the books agree as before.

-- Of each balance that was ever pruned: how far, and what that came to. Behind the numbers `entry` and `event` no row is left;
-- behind `job` those jobs are, until the rest of them is reached, of which a later ledger row is still there. `until` is the
-- time before which a job that has ended may be without its event.
--
-- It refers to no balance: it would lock it, and whoever buys a job would wait.
CREATE TABLE carried (
    org_id   TEXT COLLATE "C" NOT NULL,
    mode     TEXT COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    job      BIGINT NOT NULL DEFAULT 0 CHECK (job >= 0),
    entry    BIGINT NOT NULL DEFAULT 0 CHECK (entry >= 0),
    event    BIGINT NOT NULL DEFAULT 0 CHECK (event >= 0),
    jobs     BIGINT NOT NULL DEFAULT 0 CHECK (jobs >= 0),
    entries  BIGINT NOT NULL DEFAULT 0 CHECK (entries >= 0),
    events   BIGINT NOT NULL DEFAULT 0 CHECK (events >= 0),
    credits  BIGINT NOT NULL DEFAULT 0 CHECK (credits >= 0),
    charged  BIGINT NOT NULL DEFAULT 0 CHECK (charged >= 0),
    refunded BIGINT NOT NULL DEFAULT 0 CHECK (refunded >= 0),
    until    BIGINT NOT NULL,
    PRIMARY KEY (org_id, mode)
);

CREATE TRIGGER carried_goes_forwards BEFORE UPDATE ON carried FOR EACH ROW
WHEN (NEW.org_id <> OLD.org_id OR NEW.mode <> OLD.mode OR NEW.job < OLD.job OR NEW.entry < OLD.entry OR NEW.event < OLD.event
    OR NEW.jobs < OLD.jobs OR NEW.entries < OLD.entries OR NEW.events < OLD.events OR NEW.charged < OLD.charged
    OR NEW.refunded < OLD.refunded OR NEW.until < OLD.until)
EXECUTE FUNCTION refuse('what was carried forward is never taken back');

CREATE TRIGGER carried_is_never_removed BEFORE DELETE ON carried FOR EACH ROW
EXECUTE FUNCTION refuse('what was carried forward is never removed');

-- Only what was carried forward before, in the same transaction: behind its number no row outlives it. Of a job, that nothing
-- else refers to it is seen to by its references.
CREATE FUNCTION refuse_what_is_not_carried() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    carried_to BIGINT;
BEGIN
    SELECT CASE TG_TABLE_NAME WHEN 'jobs' THEN c.job WHEN 'ledger' THEN c.entry ELSE c.event END INTO carried_to
    FROM carried c WHERE c.org_id = OLD.org_id AND c.mode = OLD.mode;
    IF OLD.seq > coalesce(carried_to, 0) THEN
        RAISE EXCEPTION '%', TG_ARGV[0];
    END IF;
    RETURN OLD;
END $$;

DROP TRIGGER ledger_is_never_shortened ON ledger;
CREATE TRIGGER ledger_is_never_shortened BEFORE DELETE ON ledger FOR EACH ROW
EXECUTE FUNCTION refuse_what_is_not_carried('a ledger row is never removed');

DROP TRIGGER jobs_are_never_removed ON jobs;
CREATE TRIGGER jobs_are_never_removed BEFORE DELETE ON jobs FOR EACH ROW
EXECUTE FUNCTION refuse_what_is_not_carried('a job is never removed');

CREATE TRIGGER open_jobs_are_never_removed BEFORE DELETE ON jobs FOR EACH ROW
WHEN (OLD.completed_at IS NULL)
EXECUTE FUNCTION refuse('a job is never removed');

CREATE TRIGGER events_are_never_removed BEFORE DELETE ON events FOR EACH ROW
EXECUTE FUNCTION refuse_what_is_not_carried('an event is never removed');

-- Of a job that goes, and of the event that tells of its end.
CREATE INDEX deliveries_by_job ON deliveries (job_id) WHERE job_id IS NOT NULL;

-- A file outlives the job that made it. It keeps the word under which its organization finds it.
ALTER TABLE assets DROP CONSTRAINT assets_check2;
ALTER TABLE assets ADD COLUMN workflow TEXT COLLATE "C";
ALTER TABLE assets ADD CHECK (job_id IS NULL OR workflow IS NULL);
DROP INDEX assets_kept;
CREATE INDEX assets_kept ON assets (org_id, mode, created_at DESC, id DESC, role, deleted_at, job_id, workflow) WHERE deleted_at IS NULL;
