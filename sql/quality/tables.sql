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
    table_owner text NOT NULL,
    name       text,
    UNIQUE (table_name, name)
);
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
    reason       text NOT NULL,
    -- Neither a sample nor only the rows for which a condition holds.
    is_whole     boolean NOT NULL,
    sample       numeric,
    -- Of exactly the rows that were scored: the sum of their hashes, and these combined by exclusive or.
    digest       text,
    snapshot     text NOT NULL,
    unusual      text,
    -- As quality_score was given them.
    options      jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX quality_run_table_idx ON opdb.quality_run (table_name, run_id);
SELECT pg_catalog.pg_extension_config_dump('opdb.quality_run',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = table_name)');
SELECT pg_catalog.pg_extension_config_dump('opdb.quality_run_run_id_seq', '');

CREATE TABLE opdb.quality_result (
    run_id    bigint NOT NULL, -- no foreign key: a parallel restore loads the two tables in any order
    position  integer NOT NULL,
    rule_id   bigint,
    name      text,
    dimension text NOT NULL,
    rule      text NOT NULL,
    columns   text[] NOT NULL,
    evaluated bigint NOT NULL,
    passed    bigint NOT NULL,
    ratio     numeric,
    threshold numeric,
    status    text NOT NULL,
    evidence  text NOT NULL,
    -- How values are distributed, for a rule that compares it with other runs.
    profile   jsonb,
    PRIMARY KEY (run_id, position)
);
SELECT pg_catalog.pg_extension_config_dump('opdb.quality_result',
    'WHERE EXISTS (SELECT FROM opdb.quality_run r JOIN pg_catalog.pg_class c ON c.oid = r.table_name
                   WHERE r.run_id = quality_result.run_id)');

-- What a pass over the rows of a relation found out. Later runs take it from here as long as the rows have not changed.
-- pg_dump leaves this and the two tables below out: elsewhere it is about other rows.
CREATE TABLE opdb.quality_scan (
    scan_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name regclass NOT NULL,
    at         timestamptz NOT NULL DEFAULT pg_catalog.now(),
    rows       bigint NOT NULL,
    found      jsonb NOT NULL,
    -- Stays the same as long as no row changes; NULL where that cannot be told.
    mark       text,
    query      text
);
CREATE INDEX quality_scan_table_idx ON opdb.quality_scan (table_name, mark);

-- The passes of a run. Place n of their masks is about the result at positions[n].
CREATE TABLE opdb.quality_run_scan (
    run_id    bigint NOT NULL,
    scan_id   bigint NOT NULL,
    positions integer[] NOT NULL
);
CREATE INDEX quality_run_scan_run_idx ON opdb.quality_run_scan (run_id);
CREATE INDEX quality_run_scan_scan_idx ON opdb.quality_run_scan (scan_id);

-- The rows that failed, many in one. Keys are what is in a table: nobody reads them here, quality_failures() looks at
-- who asks.
CREATE TABLE opdb.quality_failure (
    scan_id bigint NOT NULL,
    page    integer NOT NULL,
    -- Of each row its mask, one character for each of so many cells of its pass (0 failed, 1 passed, - not evaluated),
    -- and after it its key, as JSON.
    cells   integer NOT NULL,
    codes   text[] NOT NULL,
    -- How many rows each of them stands for, where it is not one: rows of a view can have the same key.
    copies  bigint[],
    PRIMARY KEY (scan_id, page)
);

CREATE VIEW opdb.quality_failing_row AS
SELECT f.scan_id, pg_catalog."left"(f.code, f.cells) AS mask, pg_catalog.substr(f.code, f.cells + 1) AS key
FROM (
    SELECT scan_id, cells, pg_catalog.unnest(codes) AS code FROM opdb.quality_failure WHERE copies IS NULL
    UNION ALL
    SELECT p.scan_id, p.cells, c.code
    FROM opdb.quality_failure p
    CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(p.codes), pg_catalog.unnest(p.copies)) c (code, copies)
    CROSS JOIN LATERAL pg_catalog.generate_series(1, c.copies)
    WHERE p.copies IS NOT NULL) f;
COMMENT ON VIEW opdb.quality_failing_row IS
    'The rows that failed in a pass, each with its mask (a character for each cell: 0 failed, 1 passed, - not evaluated) and its key';
