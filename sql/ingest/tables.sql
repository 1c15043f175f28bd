-- The tables that opdb.create_event_table made. Rows of tables that were dropped since are not dumped: their
-- numbers would mean other tables elsewhere.
CREATE TABLE opdb.event_table (
    table_name regclass PRIMARY KEY,
    key_table  regclass,
    period     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
SELECT pg_catalog.pg_extension_config_dump('opdb.event_table',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = table_name)');

-- Records that could not be ingested, once each however often they are sent.
CREATE TABLE opdb.dead_letter (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name      regclass NOT NULL,
    source          text,
    source_id       text,
    sqlstate        text NOT NULL,
    error           text NOT NULL,
    fingerprint     text NOT NULL,
    attempts        integer NOT NULL DEFAULT 1,
    next_attempt_at timestamptz,
    record          jsonb NOT NULL,
    record_digest   bytea NOT NULL,
    first_at        timestamptz NOT NULL DEFAULT pg_catalog.now(),
    last_at         timestamptz NOT NULL DEFAULT pg_catalog.now(),
    UNIQUE (table_name, record_digest)
);
SELECT pg_catalog.pg_extension_config_dump('opdb.dead_letter',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = table_name)');
SELECT pg_catalog.pg_extension_config_dump('opdb.dead_letter_id_seq', '');

CREATE VIEW opdb.dead_letters WITH (security_barrier) AS
SELECT d.id, d.table_name, d.source, d.source_id, d.sqlstate, d.error, d.fingerprint, d.attempts,
       d.next_attempt_at, d.record, d.first_at, d.last_at
FROM opdb.dead_letter d
WHERE coalesce(pg_catalog.has_table_privilege(d.table_name, 'SELECT'),
               pg_catalog.pg_has_role('opdb_admin', 'USAGE'));

COMMENT ON VIEW opdb.dead_letters IS
'Records that opdb.ingest rejected, with the error, for the tables the current role may read. The same record sent again raises attempts. fingerprint is the same for errors of one kind.';
