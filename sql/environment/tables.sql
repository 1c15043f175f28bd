-- What this database is: at most one row.
CREATE TABLE opdb.own_environment (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    name text NOT NULL,
    kind text NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('opdb.own_environment', '');

-- The other servers this database knows. Host, port and database live in the foreign servers' options,
-- user and password in their user mappings: nothing is kept twice.
CREATE TABLE opdb.environment (
    name          text PRIMARY KEY,
    kind          text NOT NULL,
    server        name NOT NULL UNIQUE,
    registered_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    -- The foreign server of the external address, where there is one.
    external_server name UNIQUE
);
SELECT pg_catalog.pg_extension_config_dump('opdb.environment', '');

CREATE VIEW opdb.environments AS
SELECT e.name,
       e.kind,
       e.server,
       o.options ->> 'host'             AS host,
       CASE WHEN o.options ->> 'port' ~ '^[0-9]{1,5}$'
            THEN (o.options ->> 'port')::integer END AS port,
       o.options ->> 'dbname'           AS dbname,
       e.kind = 'production'            AS is_production,
       e.registered_at,
       x.options ->> 'host'             AS external_host,
       CASE WHEN x.options ->> 'port' ~ '^[0-9]{1,5}$'
            THEN (x.options ->> 'port')::integer END AS external_port
FROM opdb.environment e
LEFT JOIN LATERAL (
    SELECT pg_catalog.jsonb_object_agg(option_name, option_value) AS options
    FROM pg_catalog.pg_foreign_server s, pg_catalog.pg_options_to_table(s.srvoptions)
    WHERE s.srvname = e.server
) o ON true
LEFT JOIN LATERAL (
    SELECT pg_catalog.jsonb_object_agg(option_name, option_value) AS options
    FROM pg_catalog.pg_foreign_server s, pg_catalog.pg_options_to_table(s.srvoptions)
    WHERE s.srvname = e.external_server
) x ON true;

COMMENT ON VIEW opdb.environments IS
'The registered environments and where they are. A port is NULL where there are several. Credentials are in the user mappings of the servers and are not shown.';
