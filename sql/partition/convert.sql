-- Each step is a transaction of its own, and what is written down in it says where the next one begins: whatever ends
-- the procedure, or the server, calling it again goes on.
CREATE PROCEDURE opdb.partition_table("table" regclass, "column" name, every interval DEFAULT '1 day', premake integer DEFAULT 7,
                                      timezone text DEFAULT 'UTC', options jsonb DEFAULT '{}')
LANGUAGE plpgsql
AS $$
DECLARE
    begun   record;
    step    record;
    waiting pg_catalog.timestamptz;
    old     text;
BEGIN
    SELECT * INTO begun FROM opdb.begin_partition_table("table", "column"::text, every, premake, timezone, options);
    COMMIT;
    LOOP
        SELECT * INTO step FROM opdb.continue_partition_table(begun.source);
        COMMIT;
        IF step.sqlstate IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = step.sqlstate, MESSAGE = step.message, DETAIL = coalesce(step.detail, ''),
                HINT = coalesce(step.hint, 'CALL opdb.partition_table again goes on where it stopped; opdb.cancel_partition_table undoes it.');
        END IF;
        EXIT WHEN step.state OPERATOR(pg_catalog.=) 'done';
        IF step.waits_for IS NULL THEN
            waiting := NULL;
            CONTINUE;
        END IF;
        waiting := coalesce(waiting, pg_catalog.clock_timestamp());
        IF pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) waiting
           OPERATOR(pg_catalog.>) pg_catalog.make_interval(secs => begun.wait_seconds) THEN
            RAISE EXCEPTION USING ERRCODE = 'lock_not_available',
                MESSAGE = pg_catalog.format('the conversion of %s has waited for %s s', "table", begun.wait_seconds), DETAIL = step.waits_for,
                HINT = 'Nothing is lost: CALL opdb.partition_table again goes on. End what is in the way if it should not run so long.';
        END IF;
        IF step.pauses THEN
            -- Whoever is in the way may be gone soon, and others come in between.
            PERFORM pg_catalog.pg_sleep(pg_catalog.float8pl(0.02, pg_catalog.float8mul(0.1, pg_catalog.random())));
        END IF;
    END LOOP;
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) INTO old
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.oid OPERATOR(pg_catalog.=) begun.source;
    IF old IS NOT NULL THEN
        RAISE NOTICE 'the table is partitioned; the old one is kept as %', old
            USING HINT = pg_catalog.format('When nobody needs it any more: DROP TABLE %s;', old);
    END IF;
END
$$;
COMMENT ON PROCEDURE opdb.partition_table IS
'Makes a plain table in use a table that is partitioned by ranges of a column: a copy in batches, with what changes meanwhile, and a swap under one short lock. Called again it goes on where it stopped. Not inside a transaction.';

CREATE VIEW opdb.partition_conversions AS
SELECT CASE WHEN c.state IN ('swapped', 'done') THEN c.target ELSE c.source END AS "table", c.state,
       c.rows_estimated, c.rows_copied, c.next_block AS blocks_done, c.blocks AS blocks_total,
       opdb.pending_partition_changes(c.source) AS pending_changes, c.started_at, c.updated_at, c.last_error,
       CASE WHEN c.state IN ('swapped', 'done') AND EXISTS (SELECT FROM pg_catalog.pg_class o WHERE o.oid = c.source)
            THEN c.source END AS old_table
FROM opdb.partition_conversion c;

COMMENT ON VIEW opdb.partition_conversions IS
'How far the conversions of partition_table are, and which old tables are left. Waits for no lock.';
