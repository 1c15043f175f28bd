-- What an administrator has set; everything else has its default.
CREATE TABLE opdb.setting (
    name       text PRIMARY KEY,
    value      jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    changed_by text NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('opdb.setting', '');
