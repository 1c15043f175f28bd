-- What check_environment asks the other server, which may be of any version since 9.6.
SELECT pg_catalog.current_setting('server_version'),
       pg_catalog.current_setting('server_version_num')::integer < 150000,
       pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('default_transaction_read_only')::boolean OR pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_database(),
       r.rolname,
       r.rolsuper,
       s.ssl,
       s.version,
       s.cipher,
       pg_catalog.host(pg_catalog.inet_server_addr()),
       pg_catalog.inet_server_port(),
       -- One right a line.
       pg_catalog.concat_ws(pg_catalog.chr(10),
           CASE WHEN r.rolsuper THEN 'superuser' END,
           CASE WHEN r.rolreplication THEN 'replication' END,
           CASE WHEN r.rolbypassrls THEN 'bypassrls' END,
           CASE WHEN r.rolcreaterole THEN 'createrole' END,
           CASE WHEN r.rolcreatedb THEN 'createdb' END,
           CASE WHEN pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
                THEN 'create on database' END,
           CASE WHEN pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY')
                THEN 'temporary on database' END,
           (SELECT pg_catalog.string_agg(m.rolname, pg_catalog.chr(10) ORDER BY m.rolname)
            FROM pg_catalog.pg_roles m
            WHERE m.rolname IN ('pg_monitor', 'pg_read_all_data', 'pg_write_all_data', 'pg_signal_backend')
              AND pg_catalog.pg_has_role(m.oid, 'USAGE')),
           (SELECT pg_catalog.format('create on %s of %s schemas', pg_catalog.count(*) FILTER (
                       WHERE pg_catalog.has_schema_privilege(n.oid, 'CREATE')), pg_catalog.count(*))
            FROM pg_catalog.pg_namespace n
            WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'),
           t.rights)
FROM pg_catalog.pg_roles r
LEFT JOIN pg_catalog.pg_stat_ssl s ON s.pid = pg_catalog.pg_backend_pid()
CROSS JOIN (
    SELECT pg_catalog.format(E'select on %s of %s tables\ninsert and update on %s of %s tables',
               pg_catalog.count(*) FILTER (WHERE u.usable AND pg_catalog.has_table_privilege(u.oid, 'SELECT')),
               pg_catalog.count(*),
               pg_catalog.count(*) FILTER (WHERE u.usable AND pg_catalog.has_table_privilege(u.oid, 'INSERT')
                                             AND pg_catalog.has_table_privilege(u.oid, 'UPDATE')),
               pg_catalog.count(*)) AS rights
    FROM (SELECT c.oid, pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS usable
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema') u
) t
WHERE r.rolname = current_user
