-- The foreign keys $1: what an index for each takes, and how often it would be asked. Of several on the same columns,
-- the first by name. Statistics of the first column tell how many entries share a key.
SELECT DISTINCT ON (o.conrelid, k.sorted)
       o.conname::text, o.conrelid,
       pg_catalog.format('%I.%I', fs.nspname, f.relname),
       k.columns, k.width, k.keys_per_row,
       pg_catalog.pg_stat_get_tuples_deleted(f.oid), pg_catalog.pg_stat_get_tuples_updated(f.oid)
FROM pg_catalog.pg_constraint o
JOIN pg_catalog.pg_class f ON f.oid = o.confrelid
JOIN pg_catalog.pg_namespace fs ON fs.oid = f.relnamespace
CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(a.attname::text ORDER BY c.place) AS columns,
           pg_catalog.array_agg(c.attnum ORDER BY c.attnum) AS sorted,
           pg_catalog.sum(coalesce(nullif(a.attlen, -1), s.stawidth, 16))::pg_catalog.float8 AS width,
           -- As pg_stats has it: how many keys there are, or, negative, which share of the rows has one of its own.
           pg_catalog.min(s.stadistinct)::pg_catalog.float8 AS keys_per_row
    FROM pg_catalog.unnest(o.conkey) WITH ORDINALITY c (attnum, place)
    JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = c.attnum
    LEFT JOIN pg_catalog.pg_statistic s ON s.starelid = a.attrelid AND s.staattnum = a.attnum
         AND s.stainherit = EXISTS (SELECT FROM pg_catalog.pg_partitioned_table p WHERE p.partrelid = a.attrelid)) k
WHERE o.oid = ANY ($1)
ORDER BY o.conrelid, k.sorted, o.conname
