-- What keeps table $1 from becoming one that is partitioned by column $2, one reason a row. $3: whether a unique key
-- may be widened by that column.
WITH source AS (
    SELECT c.*, n.nspname, a.attnum AS key, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, r.rolsuper OR r.rolbypassrls AS sees_all
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
    LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = $2 AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.oid = $1
), index AS (
    SELECT i.*, x.relname, k.contype, k.condeferrable, s.key = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1]) AS has_key,
           i.indexprs IS NULL AND i.indpred IS NULL AS is_plain
    FROM source s JOIN pg_catalog.pg_index i ON i.indrelid = s.oid JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
), dependent AS (
    -- What is not the table's own, and neither carried nor refused by name below.
    SELECT d.classid, d.objid, d.objsubid
    FROM pg_catalog.pg_depend d, source s
    WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = s.oid AND d.deptype <> 'i'
      AND NOT CASE d.classid
          WHEN 'pg_catalog.pg_class'::regclass THEN
              EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = d.objid AND c.relkind IN ('i', 'S') AND d.deptype = 'a')
          -- What names the table itself, and not only its columns, would name the old one.
          WHEN 'pg_catalog.pg_attrdef'::regclass THEN d.refobjsubid <> 0 AND
              EXISTS (SELECT FROM pg_catalog.pg_attrdef f WHERE f.oid = d.objid AND f.adrelid = s.oid)
          WHEN 'pg_catalog.pg_constraint'::regclass THEN
              EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.oid = d.objid AND (k.conrelid = s.oid OR k.contype = 'f'))
          WHEN 'pg_catalog.pg_trigger'::regclass THEN
              EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.oid = d.objid AND (t.tgrelid = s.oid OR t.tgisinternal))
          WHEN 'pg_catalog.pg_policy'::regclass THEN (d.refobjsubid <> 0 OR d.deptype = 'a') AND
              EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.oid = d.objid AND p.polrelid = s.oid)
          WHEN 'pg_catalog.pg_statistic_ext'::regclass THEN true
          WHEN 'pg_catalog.pg_rewrite'::regclass THEN
              EXISTS (SELECT FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_class v ON v.oid = w.ev_class
                      WHERE w.oid = d.objid AND v.relkind = 'v' AND w.rulename = '_RETURN')
          WHEN 'pg_catalog.pg_proc'::regclass THEN
              EXISTS (SELECT FROM pg_catalog.pg_proc f WHERE f.oid = d.objid AND f.prosqlbody IS NOT NULL)
          WHEN 'pg_catalog.pg_publication_rel'::regclass THEN true
          ELSE false END
    UNION
    SELECT d.classid, d.objid, d.objsubid
    FROM source s JOIN pg_catalog.pg_type t ON t.oid = s.reltype
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray)
    WHERE d.deptype <> 'i'
    UNION
    -- The new table counts on with a sequence of its own: whoever takes numbers from the old one's would get them twice.
    SELECT d.classid, d.objid, d.objsubid
    FROM pg_catalog.pg_depend o
    JOIN pg_catalog.pg_class q ON q.oid = o.objid AND q.relkind = 'S'
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = q.oid
    WHERE o.classid = 'pg_catalog.pg_class'::regclass AND o.refclassid = 'pg_catalog.pg_class'::regclass AND o.refobjid = $1
      AND o.deptype = 'i' AND d.deptype <> 'i'
    UNION
    SELECT d.classid, d.objid, d.objsubid
    FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_constraint'::regclass AND d.refobjid = k.oid
    WHERE k.conrelid = $1 AND d.deptype <> 'i'
), carried AS (
    -- Views and functions that are made again, each by its owner.
    SELECT 'view ' || v.oid::regclass AS what, v.relowner AS owner, v.relnamespace AS schema, d.objid, v.relpersistence = 't' AS is_temporary,
           false AS is_leakproof, pg_catalog.pg_get_viewdef(v.oid) AS definition
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid
    JOIN pg_catalog.pg_class v ON v.oid = w.ev_class AND v.relkind = 'v'
    WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = $1
    UNION
    SELECT 'function ' || f.oid::regprocedure, f.proowner, f.pronamespace, d.objid, false, f.proleakproof,
           pg_catalog.pg_get_functiondef(f.oid)
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc f ON f.oid = d.objid AND f.prosqlbody IS NOT NULL
    WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = $1
), foreign_key AS (
    SELECT k.*, s.key, k.conrelid::regclass || ' (' || pg_catalog.quote_ident(k.conname) || ')' AS name, c.relkind, c.relowner
    FROM source s JOIN pg_catalog.pg_constraint k ON s.oid IN (k.conrelid, k.confrelid) AND k.contype = 'f'
    JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
), reason (place, what) AS (
    SELECT 1, CASE
        WHEN s.relkind <> 'r' THEN 'it is no ordinary table'
        WHEN s.relispartition THEN 'it is a partition'
        WHEN s.relpersistence = 't' THEN 'it is a temporary table'
        WHEN s.relpersistence = 'u' THEN 'it is unlogged'
        WHEN s.nspname LIKE 'pg\_%' OR s.nspname IN ('information_schema', 'opdb') THEN 'it is a table of the system'
        WHEN s.reloftype <> 0 THEN 'it is a typed table'
        WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE s.oid IN (h.inhrelid, h.inhparent)) THEN 'it is part of an inheritance'
        WHEN (SELECT m.amname FROM pg_catalog.pg_am m WHERE m.oid = s.relam) <> 'heap' THEN 'its access method is not heap'
        WHEN s.relforcerowsecurity AND NOT s.sees_all THEN 'its row security is forced upon its owner, who would not copy all rows'
        END FROM source s
    UNION ALL
    SELECT 2, pg_catalog.format('it has no column %I', $2) FROM source s WHERE s.key IS NULL
    UNION ALL
    SELECT 2, pg_catalog.format('column %I is generated', $2) FROM source s JOIN pg_catalog.pg_attribute a ON a.attrelid = s.oid AND a.attnum = s.key
    WHERE a.attgenerated <> ''
    UNION ALL
    SELECT 3, pg_catalog.format('column %I has a name that changes are written down by', a.attname)
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1 AND a.attname IN ('opdb_change', 'opdb_first')
    UNION ALL
    SELECT 4, pg_catalog.format('unique index %I is without column %I%s', i.relname, $2,
               CASE WHEN i.is_plain THEN ' and would not stay unique over all partitions (option weaker_keys accepts that)' END)
    FROM index i WHERE i.indisunique AND i.has_key IS FALSE AND NOT ($3 AND i.is_plain AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_opclass o WHERE o.oid = ANY (i.indclass) AND NOT o.opcdefault)
        AND NOT EXISTS (
            SELECT FROM ROWS FROM (pg_catalog.unnest(i.indkey::smallint[]), pg_catalog.unnest(i.indcollation::oid[])) k (attnum, sorted_by)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE a.attcollation <> k.sorted_by))
    UNION ALL
    SELECT 4, pg_catalog.format('primary key %I would be widened by column %I, which may be NULL', i.relname, $2)
    FROM index i JOIN source s ON true JOIN pg_catalog.pg_attribute a ON a.attrelid = s.oid AND a.attnum = s.key
    WHERE $3 AND i.indisprimary AND i.has_key IS FALSE AND NOT a.attnotnull
    UNION ALL
    SELECT 4, pg_catalog.format('constraint %I is deferrable', i.relname) FROM index i WHERE i.condeferrable
    UNION ALL
    SELECT 4, pg_catalog.format('index %I is invalid', i.relname) FROM index i WHERE NOT i.indisvalid
    UNION ALL
    SELECT 5, pg_catalog.format('constraint %I %s', k.conname, CASE WHEN k.contype = 'x' THEN 'excludes' WHEN k.connoinherit THEN 'is NO INHERIT'
               ELSE 'is not validated, or has a period' END)
    FROM pg_catalog.pg_constraint k
    WHERE k.conrelid = $1 AND (k.contype = 'x' OR k.contype = 'c' AND k.connoinherit OR NOT k.convalidated
                               OR pg_catalog.to_jsonb(k) ->> 'conenforced' = 'false' OR pg_catalog.to_jsonb(k) ->> 'conperiod' = 'true')
    UNION ALL
    SELECT 6, CASE WHEN k.conrelid = k.confrelid THEN 'foreign key ' || k.name || ' is to the table itself'
                   WHEN NOT k.key = ANY (k.confkey) THEN pg_catalog.format('foreign key %s is to a key without column %I', k.name, $2)
                   WHEN k.relkind <> 'r' THEN 'foreign key ' || k.name || ' is of a partitioned table'
                   WHEN NOT k.convalidated THEN 'foreign key ' || k.name || ' is not validated'
                   WHEN NOT pg_catalog.pg_has_role(s.relowner, k.relowner, 'USAGE') THEN 'foreign key ' || k.name || ' is of another owner''s table'
                   END
    FROM foreign_key k, source s WHERE k.confrelid = $1
    UNION ALL
    SELECT 7, pg_catalog.format('trigger %I fires for each row and has transition tables', t.tgname)
    FROM pg_catalog.pg_trigger t WHERE t.tgrelid = $1 AND NOT t.tgisinternal AND t.tgtype & 1 = 1
       AND (t.tgoldtable IS NOT NULL OR t.tgnewtable IS NOT NULL)
    UNION ALL
    SELECT 8, pg_catalog.format('rule %I', w.rulename) FROM pg_catalog.pg_rewrite w WHERE w.ev_class = $1
    UNION ALL
    SELECT DISTINCT 9, pg_catalog.format('publication %I has it', p.pubname)
    FROM source s JOIN pg_catalog.pg_publication_tables p ON p.schemaname = s.nspname AND p.tablename = s.relname
    UNION ALL
    SELECT 9, 'a subscription writes to it' FROM pg_catalog.pg_subscription_rel r WHERE r.srrelid = $1
    UNION ALL
    SELECT 9, 'it belongs to an extension' FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = $1 AND d.deptype = 'e'
    UNION ALL
    SELECT 9, 'it has security labels' WHERE EXISTS (SELECT FROM pg_catalog.pg_seclabel l WHERE l.objoid = $1)
    UNION ALL
    SELECT 9, 'it belongs to an event table' WHERE EXISTS (SELECT FROM opdb.event_table e WHERE $1 IN (e.table_name, e.key_table))
    UNION ALL
    SELECT 10, pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) || ' depends on it' FROM dependent d
    WHERE NOT (d.classid = 'pg_catalog.pg_rewrite'::regclass AND EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.oid = d.objid AND w.ev_class = $1))
    UNION ALL
    SELECT 11, c.what || ' belongs to a role that you are not a member of, or that may not create in its schema' FROM carried c
    WHERE NOT pg_catalog.pg_has_role(c.owner, 'USAGE') OR NOT pg_catalog.has_schema_privilege(c.owner, c.schema, 'CREATE')
    UNION ALL
    SELECT 11, c.what || CASE WHEN c.is_temporary THEN ' is temporary' ELSE ' is LEAKPROOF, which only a superuser can make again' END FROM carried c
    WHERE c.is_temporary OR c.is_leakproof AND NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.oid = c.owner)
    UNION ALL
    SELECT 11, c.what || ' reads or writes ONLY it, and would find no rows' FROM carried c, source s
    -- No other name goes on behind it.
    WHERE EXISTS (SELECT FROM pg_catalog.regexp_split_to_table(c.definition, 'ONLY ') WITH ORDINALITY p (text, place)
                  WHERE p.place > 1 AND pg_catalog.starts_with(p.text, s.name)
                    AND pg_catalog.substr(p.text, pg_catalog.length(s.name) + 1, 1) !~ '[[:alnum:]_$]')
    UNION ALL
    SELECT 11, pg_catalog.format('policy %I names the table in a subquery', p.polname) FROM pg_catalog.pg_policy p
    WHERE p.polrelid = $1 AND pg_catalog.concat_ws(' ', p.polqual, p.polwithcheck) ~ (':varlevelsup [1-9]|:relid ' || $1::oid::text || ' ')
    UNION ALL
    -- Each partition gets the foreign key by itself.
    SELECT 11, pg_catalog.format('the owner may not refer to %s any more, to which foreign key %I is', k.confrelid::regclass, k.conname)
    FROM pg_catalog.pg_constraint k, source s
    WHERE k.conrelid = $1 AND k.contype = 'f'
      AND NOT (pg_catalog.has_any_column_privilege(s.relowner, k.confrelid, 'REFERENCES')
               AND pg_catalog.has_schema_privilege(s.relowner, (SELECT r.relnamespace FROM pg_catalog.pg_class r WHERE r.oid = k.confrelid), 'USAGE'))
    UNION ALL
    SELECT 12, pg_catalog.format('%I may not create in schema %I', pg_catalog.pg_get_userbyid(s.relowner), s.nspname) FROM source s
    WHERE NOT pg_catalog.has_schema_privilege(s.relowner, s.relnamespace, 'CREATE')
    UNION ALL
    SELECT 12, pg_catalog.format('the name %I is taken', c.relname) FROM source s JOIN pg_catalog.pg_class c ON c.relnamespace = s.relnamespace
    WHERE c.relname IN (
        SELECT s.relname || '_unpartitioned' UNION ALL SELECT i.relname || '_unpartitioned' FROM index i UNION ALL
        SELECT q.relname || '_unpartitioned' FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class q ON q.oid = d.objid AND q.relkind = 'S'
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = $1)
    UNION ALL
    SELECT 12, pg_catalog.format('the name %I is taken', t.stxname) FROM pg_catalog.pg_statistic_ext e
    JOIN pg_catalog.pg_statistic_ext t ON t.stxnamespace = e.stxnamespace AND t.stxname = e.stxname || '_unpartitioned'
    WHERE e.stxrelid = $1
)
SELECT DISTINCT place, what FROM reason WHERE what IS NOT NULL ORDER BY place, what
