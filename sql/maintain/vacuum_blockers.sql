-- Who keeps dead rows from being removed, and who would make VACUUM skip a table. One row per transaction id that is
-- held, with the tables whose rows it holds (all, data: this database's, shared: shared catalogs only, catalog:
-- catalogs), and one per table that is locked. Read as the owner of the extension, without anybody's query.
WITH session AS (
    SELECT a.pid, a.datid, a.datname, a.backend_xid, a.backend_xmin, a.pid = pg_catalog.pg_backend_pid() AS is_own,
           a.backend_type = 'walsender' AND a.datid IS NULL AS is_standby,
           pg_catalog.concat_ws(', ',
               CASE WHEN a.backend_type = 'walsender' AND a.datid IS NULL
                    THEN pg_catalog.format('standby "%s"', a.application_name)
                    ELSE pg_catalog.format('%s %s', CASE WHEN a.backend_type = 'client backend' THEN 'backend'
                                                         ELSE coalesce(a.backend_type, 'backend') END, a.pid) END,
               'user ' || a.usename::text,
               CASE WHEN a.datid IS NOT NULL THEN 'application "' || NULLIF(a.application_name, '') || '"' END,
               a.state,
               'in a transaction since ' || pg_catalog.date_trunc('second', a.xact_start)::text) AS label
    FROM pg_catalog.pg_stat_activity a
), prepared AS (
    SELECT p.transaction, p.database,
           pg_catalog.format('prepared transaction "%s", owner %s, since %s', p.gid, p.owner,
                             pg_catalog.date_trunc('second', p.prepared)) AS label
    FROM pg_catalog.pg_prepared_xacts p
)
SELECT CASE WHEN s.is_standby THEN 'all' WHEN s.datname = pg_catalog.current_database() THEN 'data' ELSE 'shared' END AS scope,
       NULL::oid AS relation, x.xid::text::bigint AS xid, s.is_own, s.label
FROM session s CROSS JOIN LATERAL (VALUES (1, s.backend_xid), (2, s.backend_xmin)) x (place, xid)
-- VACUUM needs no rows but its own.
WHERE x.xid IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum v WHERE v.pid = s.pid)
UNION ALL
SELECT CASE WHEN p.database = pg_catalog.current_database() THEN 'data' ELSE 'shared' END, NULL,
       p.transaction::text::bigint, false, p.label
FROM prepared p
UNION ALL
SELECT x.scope, NULL, x.xid::text::bigint, false,
       pg_catalog.format('replication slot "%s", %s, %s', r.slot_name, r.slot_type,
                         CASE WHEN NOT r.active THEN 'inactive' ELSE coalesce('used by ' || s.label, 'active') END)
FROM pg_catalog.pg_replication_slots r
CROSS JOIN LATERAL (VALUES ('all', r.xmin), ('catalog', r.catalog_xmin)) x (scope, xid)
LEFT JOIN session s ON s.pid = r.active_pid
WHERE x.xid IS NOT NULL AND r.wal_status IS DISTINCT FROM 'lost'
UNION ALL
-- What conflicts with the lock of VACUUM and ANALYZE, granted or waited for.
SELECT 'lock', l.relation, NULL, false,
       pg_catalog.format('%s %s by %s', l.mode, CASE WHEN l.granted THEN 'held' ELSE 'awaited' END,
                         coalesce(s.label, p.label, 'pid ' || l.pid::text, 'a prepared transaction'))
FROM (SELECT DISTINCT ON (k.relation) k.*
      FROM pg_catalog.pg_locks k
      WHERE k.locktype = 'relation'
        AND k.database IN (0, (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
        AND k.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
        AND k.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
      ORDER BY k.relation, k.granted DESC) l
LEFT JOIN session s ON s.pid = l.pid
LEFT JOIN prepared p ON l.pid IS NULL AND p.transaction::text = pg_catalog.split_part(l.virtualtransaction, '/', 2)
