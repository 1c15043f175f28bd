-- Every deployment that was tried, whatever became of it.
CREATE TABLE opdb.deployment (
    deployment_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- What the target knows it by.
    key           uuid NOT NULL UNIQUE,
    kind          text NOT NULL DEFAULT 'deploy' CHECK (kind IN ('deploy', 'rollback')),
    rolls_back    bigint,
    environment   text NOT NULL,
    direction     text NOT NULL DEFAULT 'push' CHECK (direction IN ('push', 'pull')),
    tables        text[] NOT NULL,
    options       jsonb NOT NULL DEFAULT '{}',
    state         text NOT NULL CHECK (state IN ('checking', 'staging', 'applying', 'applied', 'refused', 'failed',
                                                 'rolled_back', 'in_doubt')),
    rows          bigint,
    inserted      bigint,
    updated       bigint,
    unchanged     bigint,
    deleted       bigint,
    errors        bigint,
    quality_score numeric,
    quality_runs  bigint[],
    validation_ms double precision,
    digest        text,
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz,
    error         text,
    -- One entry per table: what was done, and what it takes to undo it.
    details       jsonb NOT NULL DEFAULT '[]',
    -- The oldest transaction that was running here when the rows were read: what later ones wrote is newer.
    horizon       xid8,
    source_server text,
    target_server text,
    rolled_back_by bigint,
    deployed_by   text NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('opdb.deployment', '');
SELECT pg_catalog.pg_extension_config_dump('opdb.deployment_deployment_id_seq', '');
CREATE INDEX deployment_open_idx ON opdb.deployment (environment)
    WHERE state IN ('checking', 'staging', 'applying', 'in_doubt');
CREATE INDEX deployment_applied_idx ON opdb.deployment (environment, deployment_id) WHERE state = 'applied';

-- Rows that a deployment left out because the target refused them, or that a rollback left alone.
CREATE TABLE opdb.deployment_error (
    deployment_id bigint NOT NULL REFERENCES opdb.deployment ON DELETE CASCADE,
    table_name    text NOT NULL,
    key           jsonb,
    sqlstate      text,
    error         text NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('opdb.deployment_error', '');
CREATE INDEX deployment_error_deployment_idx ON opdb.deployment_error (deployment_id);

CREATE VIEW opdb.deployments AS
SELECT deployment_id, environment, tables, state, rows, inserted, updated, unchanged, quality_score, digest,
       started_at, finished_at,
       (EXTRACT(epoch FROM finished_at - started_at) * 1000)::double precision AS duration_ms,
       -- What failed there may repeat a row's values, and so may a condition.
       CASE WHEN pg_catalog.pg_has_role('opdb_operator', 'USAGE') THEN error END AS error,
       (SELECT coalesce(pg_catalog.jsonb_agg(entry - 'undo' ORDER BY place), '[]')
        FROM pg_catalog.jsonb_array_elements(details) WITH ORDINALITY e (entry, place)) AS details,
       deployed_by, kind, direction,
       CASE WHEN pg_catalog.pg_has_role('opdb_operator', 'USAGE') THEN options ELSE options - 'where' END AS options, deleted, errors, rolls_back, rolled_back_by, quality_runs, validation_ms
FROM opdb.deployment;

COMMENT ON VIEW opdb.deployments IS
'Every deployment: state is checking, staging or applying while it runs; then applied, refused (a check failed), failed (nothing changed there), rolled_back (by itself, or by rollback_deployment) or in_doubt (the connection broke during the commit; the next deployment to the environment settles it). details has one entry per table; error is shown to operators.';

CREATE VIEW opdb.deployment_errors AS
SELECT e.deployment_id, d.environment, e.table_name, e.key, e.sqlstate, e.error
FROM opdb.deployment_error e JOIN opdb.deployment d USING (deployment_id);

COMMENT ON VIEW opdb.deployment_errors IS
'Rows that a deployment left out because the target refused them, with the reason, and rows that a rollback left alone because they were changed since.';

-- What is sent of a column instead of its value.
CREATE TABLE opdb.transformation (
    table_name  regclass NOT NULL,
    column_name name NOT NULL,
    expression  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    created_by  text NOT NULL,
    PRIMARY KEY (table_name, column_name)
);
SELECT pg_catalog.pg_extension_config_dump('opdb.transformation',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = table_name)');

CREATE VIEW opdb.deployment_metrics AS
SELECT e.environment, e.deployments, e.error_rate, e.rollback_frequency, e.avg_duration_ms, e.avg_quality_score,
       e.avg_schema_validation_ms, e.applied, e.refused, e.failed, e.rolled_back, e.in_doubt, e.rows_left_out, e.last_applied_at
FROM (
    SELECT environment,
           count(*) AS deployments,
           count(*) FILTER (WHERE is_failed)::numeric / nullif(count(*) FILTER (WHERE is_begun), 0) AS error_rate,
           count(*) FILTER (WHERE state = 'rolled_back')::numeric / nullif(count(*) FILTER (WHERE is_begun), 0)
               AS rollback_frequency,
           avg(EXTRACT(epoch FROM finished_at - started_at) * 1000) FILTER (WHERE is_begun)::double precision
               AS avg_duration_ms,
           avg(quality_score) AS avg_quality_score,
           avg(validation_ms) AS avg_schema_validation_ms,
           count(*) FILTER (WHERE state = 'applied') AS applied,
           count(*) FILTER (WHERE state = 'refused') AS refused,
           count(*) FILTER (WHERE state = 'failed') AS failed,
           count(*) FILTER (WHERE state = 'rolled_back') AS rolled_back,
           count(*) FILTER (WHERE state = 'in_doubt') AS in_doubt,
           coalesce(sum(errors) FILTER (WHERE state = 'applied'), 0)::bigint AS rows_left_out,
           max(finished_at) FILTER (WHERE state = 'applied') AS last_applied_at
    FROM (SELECT d.*, state IN ('applied', 'failed', 'rolled_back', 'in_doubt') AS is_begun,
                 state = 'failed' OR (state = 'rolled_back' AND rolled_back_by IS NULL) AS is_failed
          FROM opdb.deployment d
          WHERE kind = 'deploy' AND state NOT IN ('checking', 'staging', 'applying')) d
    GROUP BY environment) e;

COMMENT ON VIEW opdb.deployment_metrics IS
'Per environment, of deployments that have ended: error_rate is the share that failed or rolled back by itself, and rollback_frequency the share that was rolled back by itself or by hand, both of those that passed the checks; NULL if there is none.';

CREATE VIEW opdb.lineage AS
SELECT d.deployment_id, d.environment, d.direction, e.entry ->> 'table' AS table_name, d.state,
       e.entry -> 'lineage' -> 'sources' AS sources, e.entry -> 'lineage' -> 'transformations' AS transformations,
       (e.entry -> 'lineage' ->> 'quality_run')::bigint AS quality_run_id,
       (e.entry -> 'lineage' ->> 'quality_score')::numeric AS quality_score,
       (e.entry ->> 'rows')::bigint AS rows, (e.entry ->> 'inserted')::bigint AS inserted,
       (e.entry ->> 'updated')::bigint AS updated, (e.entry ->> 'deleted')::bigint AS deleted,
       e.entry ->> 'digest' AS digest, d.source_server, d.target_server, d.finished_at AS deployed_at, d.deployed_by
FROM opdb.deployment d CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(d.details) e (entry)
WHERE d.kind = 'deploy' AND d.state IN ('applied', 'rolled_back') AND e.entry ? 'rows';

COMMENT ON VIEW opdb.lineage IS
'For each table of each deployment that was applied: where its rows came from (of an event table how many of which ingest source), what was done to its columns, the quality run that they passed, and the digest of the rows.';
