-- Which tables opdb makes and retires partitions of, and how. Rows of tables that were dropped since are not dumped:
-- their numbers would mean other tables elsewhere.
CREATE TABLE opdb.partition_set (
    parent              regclass PRIMARY KEY,
    -- What the numbers of an integer key count: s, ms or us since 1970; NULL if they only count themselves.
    unit                text CHECK (unit IN ('s', 'ms', 'us')),
    every               interval,
    width               bigint CHECK (width > 0),
    premake             integer NOT NULL CHECK (premake >= 0),
    retention           interval,
    retention_width     bigint,
    retention_action    text NOT NULL CHECK (retention_action IN ('detach', 'drop', 'archive')),
    timezone            text NOT NULL,
    start_at            timestamptz,
    archive_schema      name,
    archive_tablespace  name,
    archive_environment text,
    -- Storage parameters of new partitions: a partitioned table has none of its own.
    storage             text[] NOT NULL,
    analyze_parent      boolean NOT NULL,
    managed_at          timestamptz NOT NULL DEFAULT pg_catalog.now(),
    CHECK ((every IS NULL) <> (width IS NULL))
);
SELECT pg_catalog.pg_extension_config_dump('opdb.partition_set',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = parent)');

-- Where each set stands. Not dumped: it is found out anew.
CREATE TABLE opdb.partition_state (
    parent         regclass PRIMARY KEY REFERENCES opdb.partition_set ON DELETE CASCADE,
    -- Until then nothing is to be done, as long as the partitions in "watched" are there and the default partition
    -- is as it was.
    due_at         timestamptz,
    watched        oid[],
    default_mark   text,
    must_analyze   boolean NOT NULL DEFAULT false,
    last_run_at    timestamptz,
    last_status    text,
    last_error     text,
    last_blockers  text
) WITH (fillfactor = 70);

-- Partitions that retention has detached, and what is still to be done with them.
CREATE TABLE opdb.retired_partition (
    partition   oid PRIMARY KEY,
    parent      regclass NOT NULL,
    name        text NOT NULL,
    lower_bound text NOT NULL,
    upper_bound text NOT NULL,
    action      text NOT NULL CHECK (action IN ('detach', 'drop', 'archive')),
    -- detaching until it is no partition any more; then detached until the action is done. shipped: a partition still,
    -- whose rows were copied to another environment.
    state       text NOT NULL CHECK (state IN ('detaching', 'detached', 'shipped', 'done')),
    detail      text,
    retired_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

-- What retention must leave alone.
CREATE TABLE opdb.partition_hold (
    relation regclass PRIMARY KEY,
    reason   text NOT NULL,
    held_by  text NOT NULL,
    held_at  timestamptz NOT NULL DEFAULT pg_catalog.now()
);
SELECT pg_catalog.pg_extension_config_dump('opdb.partition_hold',
    'WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = relation)');

-- What was done. Not dumped: it is this server's history.
CREATE TABLE opdb.partition_run (
    run_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    parent      regclass NOT NULL,
    action      text NOT NULL,
    partition   text,
    lower_bound text,
    upper_bound text,
    status      text NOT NULL CHECK (status IN ('done', 'failed', 'skipped')),
    detail      text,
    sqlstate    text,
    -- Who held the lock that was not to be had.
    blockers    text,
    started_at  timestamptz NOT NULL,
    duration_ms double precision NOT NULL
);
CREATE INDEX partition_run_of_parent ON opdb.partition_run (parent, run_id DESC);

-- Tables that are on the way to be partitioned, and those that were. Not dumped: an unfinished one does not survive a
-- dump, and begins anew.
CREATE TABLE opdb.partition_conversion (
    source         regclass PRIMARY KEY,
    target         regclass NOT NULL UNIQUE,
    -- Where the keys of changed rows are written down.
    changes        regclass NOT NULL,
    state          text NOT NULL CHECK (state IN ('copying', 'analyzing', 'applying', 'swapped', 'done')),
    key_column     name NOT NULL,
    every          interval NOT NULL,
    premake        integer NOT NULL,
    timezone       text NOT NULL,
    options        jsonb NOT NULL,
    -- What the new table was made of: another definition of the old one ends the conversion.
    definition     text NOT NULL,
    -- What is copied: blocks of this file, which a rewrite replaces.
    file           oid NOT NULL,
    blocks         bigint NOT NULL,
    next_block     bigint NOT NULL DEFAULT 0,
    -- The triggers that write changes down: others, or altered ones, may have missed some.
    captured       text,
    rows_estimated bigint NOT NULL,
    rows_copied    bigint NOT NULL DEFAULT 0,
    -- When, and by which transaction, the copy was ended: older snapshots do not see all of it.
    copied_at      timestamptz,
    copied_by      xid,
    -- How few changes were left to apply since the procedure was called: one that never gets fewer does not catch up.
    fewest_left    bigint,
    -- Foreign keys that are enforced and not yet proved: of the partitions, and of other tables.
    foreign_keys   jsonb NOT NULL DEFAULT '[]',
    last_error     text,
    started_at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    updated_at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
) WITH (fillfactor = 50);
