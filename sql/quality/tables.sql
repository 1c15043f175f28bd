-- Rules that somebody added to a table, beside those that the table itself implies.
CREATE TABLE opdb.quality_rule (
    rule_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name regclass NOT NULL,
    dimension  text NOT NULL,
    rule       text NOT NULL,
    columns    text[] NOT NULL,
    args       jsonb NOT NULL,
    weight     numeric NOT NULL,
    threshold  numeric,
    severity   text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    created_by text NOT NULL,
    -- A rule is evaluated as the table's owner, and so by none but the one it was added under.
    table_owner text NOT NULL
);
CREATE INDEX quality_rule_table_idx ON opdb.quality_rule (table_name);
SELECT pg_catalog.pg_extension_config_dump('opdb.quality_rule',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = table_name)');
SELECT pg_catalog.pg_extension_config_dump('opdb.quality_rule_rule_id_seq', '');

CREATE TABLE opdb.quality_run (
    run_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name   regclass NOT NULL,
    at           timestamptz NOT NULL DEFAULT pg_catalog.now(),
    rows         bigint NOT NULL,
    completeness numeric,
    accuracy     numeric,
    consistency  numeric,
    integrity    numeric,
    score        numeric,
    coverage     numeric NOT NULL,
    passed       boolean NOT NULL,
    reason       text NOT NULL
);
CREATE INDEX quality_run_table_idx ON opdb.quality_run (table_name, run_id);
SELECT pg_catalog.pg_extension_config_dump('opdb.quality_run',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = table_name)');
SELECT pg_catalog.pg_extension_config_dump('opdb.quality_run_run_id_seq', '');

CREATE TABLE opdb.quality_result (
    run_id    bigint NOT NULL, -- no foreign key: a parallel restore loads the two tables in any order
    position  integer NOT NULL,
    rule_id   bigint,
    dimension text NOT NULL,
    rule      text NOT NULL,
    columns   text[] NOT NULL,
    evaluated bigint NOT NULL,
    passed    bigint NOT NULL,
    ratio     numeric,
    threshold numeric,
    status    text NOT NULL,
    evidence  text NOT NULL,
    PRIMARY KEY (run_id, position)
);
SELECT pg_catalog.pg_extension_config_dump('opdb.quality_result',
    'WHERE EXISTS (SELECT FROM opdb.quality_run r JOIN pg_catalog.pg_class c ON c.oid = r.table_name
                   WHERE r.run_id = quality_result.run_id)');
