-- Of the relations that a plan scans ($1 schemas, $2 names, $3 aliases) the users' tables, in the place of a partition
-- the table that it belongs to: with all aliases, and the columns of every index that leaves no row out.
SELECT t.oid, pg_catalog.format('%I.%I', n.nspname, t.relname), s.aliases,
       (SELECT coalesce(pg_catalog.jsonb_agg(ARRAY(
                   SELECT coalesce(a.attname::text, '')
                   FROM pg_catalog.unnest(x.indkey) WITH ORDINALITY k (attnum, place)
                   LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum AND k.attnum > 0
                   WHERE k.place <= x.indnkeyatts ORDER BY k.place)), '[]')
        FROM pg_catalog.pg_index x
        JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
        JOIN pg_catalog.pg_am am ON am.oid = i.relam AND am.amname = 'btree'
        WHERE x.indrelid = t.oid AND x.indpred IS NULL AND x.indislive)
FROM (SELECT coalesce(pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid, c.oid) AS oid,
             pg_catalog.array_agg(s.alias ORDER BY s.alias) AS aliases
      FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) s (schema, name, alias)
      JOIN pg_catalog.pg_namespace n ON n.nspname = s.schema
      JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = s.name
      GROUP BY 1) s
JOIN pg_catalog.pg_class t ON t.oid = s.oid
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
WHERE t.relkind IN ('r', 'p', 'm') AND t.relpersistence <> 't' AND t.oid >= 16384
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = t.oid
                    AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e')
ORDER BY t.oid
