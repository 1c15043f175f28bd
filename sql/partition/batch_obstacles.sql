-- What keeps the default partition $1 of table $2 from being exchanged for a new one, one reason a row.
WITH source AS (
    SELECT c.*, n.nspname, p.relowner AS parent_owner
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, pg_catalog.pg_class p
    WHERE c.oid = $1 AND p.oid = $2
), index AS (
    SELECT i.*, x.relname, EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = i.indexrelid) AS is_of_parent
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = $1
), reason (place, what) AS (
    SELECT 1, 'it is no ordinary table' FROM source WHERE relkind <> 'r'
    UNION ALL
    SELECT 1, 'it belongs to another role than its table' FROM source WHERE relowner <> parent_owner
    UNION ALL
    SELECT 1, pg_catalog.format('%I may not create in schema %I', pg_catalog.pg_get_userbyid(relowner), nspname) FROM source
    WHERE NOT pg_catalog.has_schema_privilege(relowner, relnamespace, 'CREATE')
    UNION ALL
    SELECT 2, 'the table has neither a primary key nor a unique index of columns that are NOT NULL'
    WHERE NOT EXISTS (SELECT FROM index i WHERE i.indisunique AND i.indimmediate AND i.indisvalid AND i.is_of_parent
        AND i.indexprs IS NULL AND i.indpred IS NULL AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1 AND NOT a.attnotnull
               AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1])))
    UNION ALL
    -- Nothing of the kind is in the new partitions, where rows are found by the same key.
    SELECT 3, pg_catalog.format('it has an index %I that is unique, or its replica identity, and not the table''s', relname) FROM index
    WHERE NOT is_of_parent AND (indisunique OR indisreplident)
    UNION ALL
    SELECT 3, pg_catalog.format('index %I is invalid', relname) FROM index WHERE NOT indisvalid
    UNION ALL
    SELECT 4, pg_catalog.format('constraint %I excludes, is deferrable, not validated or NO INHERIT', conname) FROM pg_catalog.pg_constraint
    WHERE conrelid = $1 AND contype <> 'f' AND (contype = 'x' OR condeferrable OR NOT convalidated OR contype = 'c' AND connoinherit)
    UNION ALL
    -- A key that is checked on both sides would keep others from deleting what only the copy refers to still.
    SELECT 5, pg_catalog.format('foreign key %I', conname) FROM pg_catalog.pg_constraint WHERE contype = 'f' AND $1 IN (conrelid, confrelid)
    UNION ALL
    SELECT 5, pg_catalog.format('foreign key %I', conname) FROM pg_catalog.pg_constraint WHERE contype = 'f' AND $2 IN (conrelid, confrelid)
    UNION ALL
    SELECT 6, pg_catalog.format('it has a trigger %I of its own', t.tgname) FROM pg_catalog.pg_trigger t
    WHERE t.tgrelid = $1 AND NOT t.tgisinternal AND t.tgparentid = 0
      AND t.tgfoid IS DISTINCT FROM (SELECT pg_catalog.to_regproc(pg_catalog.format('%I.%I', nspname, 'opdb_capture_' || oid)) FROM source)
    UNION ALL
    SELECT 6, pg_catalog.format('trigger %I is enabled otherwise than the table''s', t.tgname)
    FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_trigger p ON p.oid = t.tgparentid WHERE t.tgrelid = $1 AND t.tgenabled <> p.tgenabled
    UNION ALL
    SELECT 7, pg_catalog.format('rule %I', rulename) FROM pg_catalog.pg_rewrite WHERE ev_class = $1
    UNION ALL
    SELECT DISTINCT 8, pg_catalog.format('publication %I has it', p.pubname)
    FROM pg_catalog.pg_partition_ancestors($1) a JOIN pg_catalog.pg_class c ON c.oid = a.relid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_publication_tables p ON p.schemaname = n.nspname AND p.tablename = c.relname
    UNION ALL
    SELECT 8, 'a subscription writes to it' FROM pg_catalog.pg_subscription_rel WHERE srrelid IN ($1, $2)
    UNION ALL
    SELECT 8, 'it belongs to an extension' FROM pg_catalog.pg_depend
    WHERE classid = 'pg_catalog.pg_class'::regclass AND objid = $1 AND deptype = 'e'
    UNION ALL
    SELECT 8, 'it has security labels' WHERE EXISTS (SELECT FROM pg_catalog.pg_seclabel WHERE objoid = $1)
    UNION ALL
    SELECT 9, pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) || ' depends on it'
    FROM source s
    JOIN pg_catalog.pg_type t ON t.oid = s.reltype
    JOIN pg_catalog.pg_depend d
         ON d.refclassid = 'pg_catalog.pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray) AND d.deptype <> 'i'
         OR d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = s.oid
            AND (d.classid IN ('pg_catalog.pg_rewrite'::regclass, 'pg_catalog.pg_proc'::regclass)
                 OR d.classid = 'pg_catalog.pg_class'::regclass
                    AND EXISTS (SELECT FROM pg_catalog.pg_class q WHERE q.oid = d.objid AND q.relkind = 'S'))
)
SELECT DISTINCT place, what FROM reason ORDER BY place, what
