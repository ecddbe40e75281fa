-- Each job and each row of the ledger looked up by itself what it refers to, and locked that: a quarter of what a connection did that
-- writes jobs. The commands hold the balance, which refers to the organization, before they write either, and a row of the ledger
-- that is about a job is written by whoever writes or holds that job. The audit finds what has no balance or no job.
ALTER TABLE jobs DROP CONSTRAINT jobs_org_id_fkey;
ALTER TABLE ledger DROP CONSTRAINT ledger_job_id_fkey, DROP CONSTRAINT ledger_org_id_mode_fkey;
