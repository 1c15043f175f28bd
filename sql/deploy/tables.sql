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
       -- What failed there may repeat a row's values.
       CASE WHEN pg_catalog.pg_has_role('opdb_operator', 'USAGE') THEN error END AS error,
       (SELECT coalesce(pg_catalog.jsonb_agg(entry - 'undo' ORDER BY place), '[]')
        FROM pg_catalog.jsonb_array_elements(details) WITH ORDINALITY e (entry, place)) AS details,
       deployed_by, kind, direction, options, deleted, errors, rolls_back, rolled_back_by, quality_runs, validation_ms
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
    -- In parentheses.
    expression  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    created_by  text NOT NULL,
    PRIMARY KEY (table_name, column_name)
);
SELECT pg_catalog.pg_extension_config_dump('opdb.transformation',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = table_name)');
