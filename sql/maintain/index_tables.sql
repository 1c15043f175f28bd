-- The tables $1, each with its partitions, parents first: how large they are, what is written to them, and which of
-- their partitions' indexes are attached to the index $2.
WITH RECURSIVE node AS (
    SELECT r.oid AS root, r.oid, NULL::pg_catalog.oid AS parent, 0 AS depth
    FROM pg_catalog.unnest($1) r (oid)
    UNION ALL
    SELECT n.root, c.oid, h.inhparent, n.depth + 1
    FROM node n JOIN pg_catalog.pg_inherits h ON h.inhparent = n.oid
    JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid AND c.relispartition
)
SELECT n.root, n.oid, n.parent, s.nspname::text, c.relname::text, c.relkind::text,
       CASE WHEN c.relkind = 'r' THEN nullif(c.reltuples, -1)::pg_catalog.float8 ELSE 0 END AS rows,
       CASE WHEN c.relkind = 'r' THEN c.relpages::pg_catalog.int8 ELSE 0 END AS pages,
       pg_catalog.pg_stat_get_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_tuples_updated(c.oid)
           - pg_catalog.pg_stat_get_tuples_hot_updated(c.oid) AS writes,
       EXISTS (SELECT FROM pg_catalog.pg_inherits a JOIN pg_catalog.pg_index x ON x.indexrelid = a.inhrelid
               WHERE a.inhparent = $2 AND x.indrelid = c.oid) AS has_attached
FROM node n
JOIN pg_catalog.pg_class c ON c.oid = n.oid
JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
ORDER BY n.root, n.depth, s.nspname, c.relname
