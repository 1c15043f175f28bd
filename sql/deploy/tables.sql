-- Every deployment that was tried, whatever became of it.
CREATE TABLE opdb.deployment (
    deployment_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment   text NOT NULL,
    tables        text[] NOT NULL,
    state         text NOT NULL,
    rows          bigint,
    inserted      bigint,
    updated       bigint,
    unchanged     bigint,
    quality_score numeric,
    digest        text,
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    error         text,
    details       jsonb NOT NULL DEFAULT '[]',
    remote_xid    text,
    remote_server text,
    deployed_by   text NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('opdb.deployment', '');
SELECT pg_catalog.pg_extension_config_dump('opdb.deployment_deployment_id_seq', '');
CREATE INDEX deployment_in_doubt_idx ON opdb.deployment (environment) WHERE state = 'in_doubt';

CREATE VIEW opdb.deployments AS
SELECT deployment_id, environment, tables, state, rows, inserted, updated, unchanged, quality_score, digest,
       started_at, finished_at,
       (EXTRACT(epoch FROM finished_at - started_at) * 1000)::double precision AS duration_ms,
       -- What failed there may repeat a row's values.
       CASE WHEN pg_catalog.pg_has_role('opdb_operator', 'USAGE') THEN error END AS error,
       details, deployed_by
FROM opdb.deployment;

COMMENT ON VIEW opdb.deployments IS
'Every deployment: state is applied, refused (a check failed), failed (nothing changed there) or in_doubt (the connection broke during the commit; the next deployment to the environment settles it). details has one entry per table; error is shown to operators.';
