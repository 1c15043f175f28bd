-- What facts of tables and columns do not say, and sending rows needs to know: what stands behind the name of a type,
-- and what a table's triggers and children do. Runs here and on any server; /*tables*/ selects schemas and names.
WITH RECURSIVE relation AS (
    SELECT c.oid, c.relkind, n.nspname::text AS schema, c.relname::text AS name
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND (n.nspname::text, c.relname::text) IN (/*tables*/)
), domain (oid, step, base, typmod, is_not_null) AS (
    -- Each domain with the domains that it is over.
    SELECT t.oid, t.oid, t.typbasetype, t.typtypmod, t.typnotnull FROM pg_catalog.pg_type t WHERE t.typtype = 'd'
    UNION ALL
    SELECT d.oid, t.oid, t.typbasetype, t.typtypmod, t.typnotnull
    FROM domain d JOIN pg_catalog.pg_type t ON t.oid = d.base AND t.typtype = 'd'
), domains AS MATERIALIZED (
    -- What a domain is over in the end, and what it and the domains between demand.
    SELECT d.oid,
           (SELECT pg_catalog.json_build_object(
                       'type', pg_catalog.format_type(d.base, d.typmod),
                       'type_kind', i.typtype,
                       'labels', (SELECT pg_catalog.json_agg(l.enumlabel ORDER BY l.enumsortorder)
                                  FROM pg_catalog.pg_enum l WHERE l.enumtypid = i.oid))
            FROM pg_catalog.pg_type i
            WHERE i.oid = CASE WHEN b.typcategory = 'A' AND b.typelem <> 0 THEN b.typelem ELSE b.oid END) AS base,
           (SELECT pg_catalog.json_agg(demand ORDER BY demand COLLATE "C")
            FROM (SELECT pg_catalog.pg_get_constraintdef(c.oid) AS demand
                  FROM domain s JOIN pg_catalog.pg_constraint c ON c.contypid = s.step AND c.contype = 'c'
                  WHERE s.oid = d.oid
                  UNION SELECT 'NOT NULL' FROM domain s WHERE s.oid = d.oid AND s.is_not_null) demands) AS checks
    FROM domain d
    JOIN pg_catalog.pg_type b ON b.oid = d.base AND b.typtype <> 'd'
), sorting AS MATERIALIZED (
    -- How text is sorted where a column does not say. The name of the catalog's column is another one since 17.
    SELECT pg_catalog.concat_ws(' ', j.d ->> 'datlocprovider',
                                coalesce(j.d ->> 'datlocale', j.d ->> 'daticulocale', j.d ->> 'datcollate')) AS collation
    FROM (SELECT pg_catalog.to_jsonb(d) AS d FROM pg_catalog.pg_database d
          WHERE d.datname = pg_catalog.current_database()) j
)
SELECT 'table', r.schema, r.name, r.name, NULL,
       pg_catalog.json_build_object(
           -- An event table keeps its source_id unique by triggers and a key table.
           'unique_by_trigger', (SELECT '["source_id"]'::pg_catalog.json FROM pg_catalog.pg_trigger t
                                 WHERE t.tgrelid = r.oid AND t.tgname = 'opdb_keep_keys_insert'
                                   AND t.tgenabled IN ('O', 'A')),
           'is_inherited', r.relkind = 'r'
                           AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = r.oid))::text
FROM relation r
UNION ALL
SELECT 'column', r.schema, r.name, a.attname::text, a.attnum::text,
       pg_catalog.json_build_object(
           'type_kind', e.typtype,
           -- What stands behind the name of a type that a user made, or behind the elements of an array of it.
           'labels', (SELECT pg_catalog.json_agg(l.enumlabel ORDER BY l.enumsortorder)
                      FROM pg_catalog.pg_enum l WHERE l.enumtypid = e.oid),
           'database_collation', CASE WHEN a.attcollation = 'pg_catalog."default"'::pg_catalog.regcollation
                                      THEN (SELECT s.collation FROM sorting s) END,
           'type_definition', CASE e.typtype
               WHEN 'c' THEN (SELECT pg_catalog.string_agg(
                                         pg_catalog.format('%I %s', f.attname,
                                             pg_catalog.format_type(f.atttypid, f.atttypmod)), ', ' ORDER BY f.attnum)
                              FROM pg_catalog.pg_attribute f
                              WHERE f.attrelid = e.typrelid AND f.attnum > 0 AND NOT f.attisdropped)
               WHEN 'd' THEN pg_catalog.format_type(e.typbasetype, e.typtypmod)
                             || CASE WHEN e.typnotnull THEN ' NOT NULL' ELSE '' END
               WHEN 'r' THEN (SELECT pg_catalog.format_type(g.rngsubtype, NULL)
                              FROM pg_catalog.pg_range g WHERE g.rngtypid = e.oid) END,
           'base', d.base,
           'checks', d.checks)::text
FROM relation r
JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type e ON e.oid = CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem ELSE t.oid END
LEFT JOIN domains d ON d.oid = e.oid
UNION ALL
SELECT 'constraint', r.schema, r.name, o.conname::text, NULL,
       -- Which column references which.
       pg_catalog.json_build_object('pairs',
           (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attname, f.attname) ORDER BY k.place)
            FROM ROWS FROM (pg_catalog.unnest(o.conkey), pg_catalog.unnest(o.confkey))
                     WITH ORDINALITY k (attnum, referenced, place)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.attnum
            JOIN pg_catalog.pg_attribute f ON f.attrelid = o.confrelid AND f.attnum = k.referenced))::text
FROM relation r
JOIN pg_catalog.pg_constraint o ON o.conrelid = r.oid AND o.contype = 'f'
