-- B-trees of more than $1 pages as of their last VACUUM or ANALYZE, the largest first.
SELECT x.indexrelid, x.indrelid, x.indisunique,
       coalesce((SELECT o.option_value::pg_catalog.int4 FROM pg_catalog.pg_options_to_table(i.reloptions) o
                 WHERE o.option_name = 'fillfactor'), 90),
       coalesce((SELECT o.option_value::pg_catalog.bool FROM pg_catalog.pg_options_to_table(i.reloptions) o
                 WHERE o.option_name = 'deduplicate_items'), true)
FROM pg_catalog.pg_class i
JOIN pg_catalog.pg_am am ON am.oid = i.relam AND am.amname = 'btree'
JOIN pg_catalog.pg_index x ON x.indexrelid = i.oid AND x.indisvalid AND x.indisready AND x.indislive
JOIN pg_catalog.pg_namespace n ON n.oid = i.relnamespace
WHERE i.relkind = 'i' AND i.relpages > $1 AND i.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (i.relpersistence = 'p' OR i.relpersistence = 'u' AND NOT pg_catalog.pg_is_in_recovery())
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid IN (i.oid, x.indrelid)
                    AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e')
ORDER BY i.relpages DESC, i.oid
