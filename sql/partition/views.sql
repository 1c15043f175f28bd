-- What pg_cron or a job calls. A procedure that commits cannot fix its search_path, so it names the schema of each operator,
-- and of functions whose arguments fit none exactly. In a transaction for each step: a lock is held for one step only, and what has been done
-- stays done. Creation comes before retention, for all tables.
CREATE PROCEDURE opdb.run_partition_maintenance(retire boolean DEFAULT true)
LANGUAGE plpgsql
AS $$
DECLARE
    phase     text;
    due       record;
    planned   record;
    outcome   record;
    error     jsonb := '{}';
    blockers  jsonb := '{}';
    tables    pg_catalog.regclass[];
    parent    pg_catalog.regclass;
    tasks     jsonb[];
    task      jsonb;
    others    integer;
    attempts  integer;
    blocked   boolean;
BEGIN
    SELECT pg_catalog.array_agg(d.parent ORDER BY d.parent) FILTER (WHERE d.is_callers),
           pg_catalog.count(*) FILTER (WHERE NOT d.is_callers)
    INTO tables, others FROM opdb.due_partition_sets() d;
    IF others OPERATOR(pg_catalog.>) 0 THEN
        RAISE NOTICE '% partitioned tables belong to other roles and are left to them', others;
    END IF;
    FOREACH phase IN ARRAY CASE WHEN retire THEN ARRAY['create', 'retire'] ELSE ARRAY['create'] END LOOP
        FOREACH parent IN ARRAY coalesce(tables, '{}') LOOP
            tasks := '{}';
            blocked := false;
            FOR planned IN SELECT * FROM opdb.partition_tasks(parent, phase) LOOP
                IF planned.task IS NOT NULL THEN
                    tasks := pg_catalog.array_append(tasks, planned.task);
                ELSIF planned.status OPERATOR(pg_catalog.=) 'failed' THEN
                    error := error OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(parent::pg_catalog.oid::text, planned.detail);
                END IF;
            END LOOP;
            COMMIT;
            FOREACH task IN ARRAY tasks LOOP
                -- Whoever was in the way of one move would be in the way of the others, and writers would wait for each.
                CONTINUE WHEN blocked AND task OPERATOR(pg_catalog.?) 'move';
                -- As long as rows are refused, it is not given up soon.
                attempts := CASE WHEN task OPERATOR(pg_catalog.?) 'allow' THEN 60 ELSE 3 END;
                FOR attempt IN 1 .. attempts LOOP
                    SELECT * INTO outcome FROM opdb.run_partition_task(parent, task, attempt OPERATOR(pg_catalog.<) attempts);
                    COMMIT;
                    EXIT WHEN attempt OPERATOR(pg_catalog.=) attempts OR NOT outcome.passing;
                    -- Whoever was in the way may be gone soon; two runs do not come back together.
                    PERFORM pg_catalog.pg_sleep(pg_catalog.float8pl(0.1, pg_catalog.float8mul(0.4, pg_catalog.random())));
                END LOOP;
                blocked := blocked OR outcome.passing AND task OPERATOR(pg_catalog.?) 'move';
                IF outcome.status OPERATOR(pg_catalog.=) 'failed' THEN
                    error := error OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(parent::pg_catalog.oid::text, outcome.detail);
                    blockers := blockers OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(parent::pg_catalog.oid::text, outcome.blockers);
                END IF;
            END LOOP;
        END LOOP;
    END LOOP;
    FOREACH parent IN ARRAY coalesce(tables, '{}') LOOP
        PERFORM opdb.finish_partition_run(parent, error OPERATOR(pg_catalog.->>) parent::pg_catalog.oid::text,
                                          blockers OPERATOR(pg_catalog.->>) parent::pg_catalog.oid::text);
        COMMIT;
    END LOOP;
    IF error OPERATOR(pg_catalog.<>) '{}' THEN
        RAISE WARNING 'partitions of % tables could not be kept as they should be',
                      (SELECT pg_catalog.count(*) FROM pg_catalog.jsonb_object_keys(error))
            USING HINT = 'SELECT parent, last_error, last_blockers FROM opdb.partition_status WHERE last_status = ''failed'';';
    END IF;
END
$$;
COMMENT ON PROCEDURE opdb.run_partition_maintenance IS
'Makes and retires partitions of the managed tables, each step in a transaction of its own: what pg_cron or a job calls. Not inside a transaction. With retire => false only makes them.';

CREATE VIEW opdb.partition_status AS
SELECT s.parent, o.partitions, o.premade_until,
       CASE WHEN o.is_endless OR s.every IS NULL OR o.partitions IS NULL THEN NULL
            ELSE greatest(coalesce(o.premade_until - pg_catalog.clock_timestamp(), interval '0'), interval '0') END AS runway,
       o.default_rows, t.last_run_at, t.last_status, t.last_error, t.last_blockers,
       o.premade_until_value, o.stray_rows, o.gaps, o.misaligned, o.expired,
       (SELECT pg_catalog.count(*) FROM opdb.retired_partition r
        WHERE r.parent = s.parent AND r.state <> 'done') AS unfinished,
       h.reason AS hold, o.note, t.due_at,
       s.every, s.width, s.premake, s.retention, s.retention_width, s.retention_action, s.timezone
FROM opdb.partition_set s
JOIN opdb.partition_overview() o ON o.parent = s.parent
LEFT JOIN opdb.partition_state t ON t.parent = s.parent
LEFT JOIN opdb.partition_hold h ON h.relation = s.parent;

COMMENT ON VIEW opdb.partition_status IS
'How the managed tables stand: how far partitions are made ahead, what lies in the default partition, what the last run did. Waits for no lock.';

CREATE VIEW opdb.partition_runs AS
SELECT r.run_id, r.parent, r.action, r.partition, r.lower_bound, r.upper_bound, r.status, r.detail, r.sqlstate, r.blockers,
       r.started_at, r.duration_ms
FROM opdb.partition_run r;

COMMENT ON VIEW opdb.partition_runs IS 'What was done with partitions, step by step.';
