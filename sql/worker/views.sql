-- Whoever writes to the jobs, by opdb's functions or by restoring a dump, tells the launcher when it commits.
CREATE TRIGGER wake_launcher AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON opdb.job
FOR EACH STATEMENT EXECUTE FUNCTION opdb.wake_launcher();

CREATE VIEW opdb.job_runs AS
SELECT name, started_at, finished_at, status, detail, sqlstate, scheduled_at, attempt,
       1000 * extract(epoch FROM finished_at - started_at)::double precision AS duration_ms,
       role, 'worker'::text AS runner, run_id
FROM opdb.job_run
UNION ALL
SELECT j.name, r.started_at, r.finished_at, r.status, r.detail, NULL, NULL, NULL,
       1000 * extract(epoch FROM r.finished_at - r.started_at)::double precision,
       j.role, 'pg_cron', r.run_id
FROM opdb.job j JOIN opdb.pg_cron_runs() r USING (job_id)
WHERE j.runner = 'pg_cron';

COMMENT ON VIEW opdb.job_runs IS
'What the jobs did: runs of opdb''s worker, and those that pg_cron keeps of jobs that it runs.';

CREATE VIEW opdb.jobs AS
SELECT j.name, j.schedule, j.timezone, j.command, j.enabled, w.next_run_at, w.last_status,
       j.enabled AND NOT w.runs
                 AND coalesce(w.next_run_at, j.added_at) < pg_catalog.clock_timestamp() - interval '1 minute' AS overdue,
       w.last_started_at, w.last_finished_at, w.last_detail, w.attempt,
       j.role, j.runner, j.gexec, j.catch_up, j.timeout, j.max_runtime, j.retries, j.retry_delay,
       j.window_start, j.window_end, j.max_active, j.settings, j.added_at, j.job_id
FROM opdb.job j
LEFT JOIN LATERAL (
    SELECT CASE WHEN j.enabled THEN s.next_run_at END AS next_run_at, s.attempt,
           r.status AS last_status, r.started_at AS last_started_at, r.finished_at AS last_finished_at,
           r.detail AS last_detail,
           -- Its process holds a lock: what stands there as running may be what a crash has left.
           r.status IS NOT DISTINCT FROM 'running' AND EXISTS (
               SELECT FROM pg_catalog.pg_locks l
               WHERE l.locktype = 'advisory' AND l.classid = 'opdb.job'::pg_catalog.regclass
                 AND l.objid = (j.job_id & 4294967295)::pg_catalog.oid AND l.objsubid = 3
                 AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
                                   WHERE d.datname = pg_catalog.current_database())) AS runs
    FROM (VALUES (j.job_id)) one (job_id)
    LEFT JOIN opdb.job_state s USING (job_id)
    LEFT JOIN LATERAL (
        SELECT * FROM opdb.job_run r WHERE r.job_id = j.job_id ORDER BY r.run_id DESC LIMIT 1
    ) r ON true
    WHERE j.runner = 'worker'
    UNION ALL
    SELECT p.next_run_at, NULL, p.last_status, p.last_started_at, p.last_finished_at, p.last_detail,
           p.last_status IS NOT DISTINCT FROM 'running'
    FROM opdb.pg_cron_jobs() p
    WHERE j.runner = 'pg_cron' AND p.job_id = j.job_id
) w ON true;

COMMENT ON VIEW opdb.jobs IS
'The jobs, when each runs next and how its last run ended. A job is overdue if it should have begun more than a minute ago and did not: its runner is off, gone or stuck.';
