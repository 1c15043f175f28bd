-- What is to be done when. Only opdb's functions write here: a job runs with the rights of its role.
CREATE TABLE opdb.job (
    job_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL UNIQUE,
    schedule     text NOT NULL,
    timezone     text NOT NULL,
    command      text NOT NULL,
    role         name NOT NULL,
    enabled      boolean NOT NULL,
    runner       text NOT NULL DEFAULT 'worker' CHECK (runner IN ('worker', 'pg_cron')),
    gexec        boolean NOT NULL,
    catch_up     text NOT NULL CHECK (catch_up IN ('run_once', 'skip')),
    timeout      interval,
    max_runtime  interval,
    retries      integer NOT NULL,
    retry_delay  interval NOT NULL,
    window_start time,
    window_end   time,
    max_active   integer,
    settings     jsonb NOT NULL,
    added_at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
SELECT pg_catalog.pg_extension_config_dump('opdb.job', '');
SELECT pg_catalog.pg_extension_config_dump('opdb.job_job_id_seq', '');

-- Where each job stands. Not dumped: whoever restores an old dump does not want everything to be overdue at once.
CREATE TABLE opdb.job_state (
    job_id      bigint PRIMARY KEY REFERENCES opdb.job ON DELETE CASCADE,
    next_run_at timestamptz,
    attempt     integer NOT NULL DEFAULT 1,
    -- Whom the name of the job's role meant when the job was added: another role may have it later.
    role_oid    oid
) WITH (fillfactor = 70);

-- What was done. Not dumped: it is this server's history. It outlives its job.
CREATE TABLE opdb.job_run (
    run_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id       bigint NOT NULL,
    name         text NOT NULL,
    role         name NOT NULL,
    scheduled_at timestamptz NOT NULL,
    attempt      integer NOT NULL,
    started_at   timestamptz NOT NULL,
    finished_at  timestamptz,
    status       text NOT NULL CHECK (status IN ('running', 'succeeded', 'failed', 'skipped', 'interrupted')),
    sqlstate     text,
    detail       text
) WITH (fillfactor = 80);
CREATE INDEX job_run_of_job ON opdb.job_run (job_id, run_id DESC);
CREATE INDEX job_run_running ON opdb.job_run (run_id) WHERE status = 'running';
