-- Indexes that opdb.drop_advised_index dropped. Names and definitions are texts: what they name is gone.
CREATE TABLE opdb.dropped_index (
    ledger_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    index_name  text NOT NULL,
    table_name  text NOT NULL,
    definition  text NOT NULL,
    -- One statement each: CREATE INDEX CONCURRENTLY wants to be sent alone.
    undo        text[] NOT NULL,
    reason      text NOT NULL,
    bytes       bigint,
    dropped_at  timestamptz NOT NULL DEFAULT pg_catalog.now(),
    dropped_by  text NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('opdb.dropped_index', '');
SELECT pg_catalog.pg_extension_config_dump('opdb.dropped_index_ledger_id_seq', '');
