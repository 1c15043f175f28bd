-- How the indexes $1 are made, each with the indexes of its partitions, parents first: what drops them and what brings
-- them back needs it. An index is not described while another session holds its table: the server would wait.
WITH RECURSIVE node AS (
    SELECT i.oid AS root, i.oid, NULL::pg_catalog.oid AS parent, 0 AS depth
    FROM pg_catalog.unnest($1) i (oid)
    UNION ALL
    SELECT n.root, h.inhrelid, h.inhparent, n.depth + 1
    FROM node n JOIN pg_catalog.pg_inherits h ON h.inhparent = n.oid
), locked AS MATERIALIZED (
    SELECT DISTINCT l.relation AS relid
    FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
)
SELECT n.root, n.oid, n.parent, x.indrelid, s.nspname::text, i.relname::text, i.relkind = 'I' AS is_partitioned,
       CASE WHEN NOT t.is_locked THEN pg_catalog.pg_get_indexdef(i.oid) END AS definition,
       CASE WHEN x.indpred IS NULL THEN ''
            WHEN NOT t.is_locked THEN ' WHERE ' || pg_catalog.pg_get_expr(x.indpred, x.indrelid) END AS condition,
       (SELECT p.spcname::text FROM pg_catalog.pg_tablespace p WHERE p.oid = i.reltablespace) AS tablespace,
       pg_catalog.obj_description(i.oid, 'pg_class') AS comment,
       ARRAY(SELECT pg_catalog.format('ALTER COLUMN %s SET STATISTICS %s', a.attnum, a.attstattarget)
             FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = i.oid AND a.attstattarget >= 0 ORDER BY a.attnum) AS statistics,
       ARRAY(SELECT e.extname::text
             FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
             WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.oid AND d.deptype = 'x'
               AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass ORDER BY 1) AS extensions,
       CASE WHEN i.relkind = 'I' THEN 0
            WHEN NOT t.is_locked AND i.oid NOT IN (SELECT l.relid FROM locked l)
            THEN pg_catalog.pg_relation_size(i.oid) END AS bytes,
       CASE WHEN i.relkind = 'I' THEN 0
            ELSE pg_catalog.pg_stat_get_tuples_inserted(x.indrelid) + pg_catalog.pg_stat_get_tuples_updated(x.indrelid)
                 - pg_catalog.pg_stat_get_tuples_hot_updated(x.indrelid) END AS writes,
       x.indexprs IS NOT NULL AS has_expressions, x.indisexclusion AS is_exclusion, x.indisunique AS is_unique
FROM node n
JOIN pg_catalog.pg_index x ON x.indexrelid = n.oid
JOIN pg_catalog.pg_class i ON i.oid = n.oid
JOIN pg_catalog.pg_namespace s ON s.oid = i.relnamespace
CROSS JOIN LATERAL (SELECT x.indrelid IN (SELECT l.relid FROM locked l) AS is_locked) t
ORDER BY n.root, n.depth, s.nspname, i.relname
