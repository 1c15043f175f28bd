-- Schemas as they were captured.
CREATE TABLE opdb.schema_snapshot (
    name        text PRIMARY KEY,
    fingerprint text NOT NULL,
    schemas     text[],
    format      integer NOT NULL,
    -- The server that described it: another major version may print the same definition otherwise.
    major       integer NOT NULL,
    -- What the catalogs were: as long as they are the same, so is the schema.
    stamp       text,
    captured_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    captured_by text NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('opdb.schema_snapshot', '');

-- The objects of a captured schema. They are written and dropped with their snapshot by opdb.capture_schema; a
-- foreign key would look each of them up.
CREATE TABLE opdb.schema_fact (
    snapshot    text NOT NULL,
    kind        text NOT NULL,
    schema      text NOT NULL,
    relation    text NOT NULL,
    name        text NOT NULL,
    extension   text,
    hash        text NOT NULL,
    facets      text NOT NULL,
    definitions text
);
CREATE INDEX ON opdb.schema_fact (snapshot);
SELECT pg_catalog.pg_extension_config_dump('opdb.schema_fact', '');

CREATE VIEW opdb.schema_snapshots AS
SELECT name, fingerprint, schemas, captured_at, captured_by
FROM opdb.schema_snapshot;

COMMENT ON VIEW opdb.schema_snapshots IS
'The schemas captured by opdb.capture_schema; schemas is NULL where all schemas of the database were captured.';
