-- Schemas as they were captured.
CREATE TABLE opdb.schema_snapshot (
    name        text PRIMARY KEY,
    fingerprint text NOT NULL,
    schemas     text[],
    format      integer NOT NULL,
    facts       jsonb NOT NULL,
    captured_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    captured_by text NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('opdb.schema_snapshot', '');

CREATE VIEW opdb.schema_snapshots AS
SELECT name, fingerprint, schemas, captured_at, captured_by
FROM opdb.schema_snapshot;

COMMENT ON VIEW opdb.schema_snapshots IS
'The schemas captured by opdb.capture_schema; schemas is NULL where all schemas of the database were captured.';
