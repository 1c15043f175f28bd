-- What facts of tables and columns do not say, and sending rows needs to know: what stands behind the name of a type,
-- and what a table's triggers and children do. Runs here and on any server; /*tables*/ selects schemas and names.
WITH relation AS (
    SELECT c.oid, c.relkind, n.nspname::text AS schema, c.relname::text AS name
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND (n.nspname::text, c.relname::text) IN (/*tables*/)
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
-- What a domain is over, and what it and the domains between demand.
LEFT JOIN LATERAL (
    WITH RECURSIVE domain AS (
        SELECT e.oid, e.typbasetype, e.typtypmod, e.typnotnull, 1 AS depth WHERE e.typtype = 'd'
        UNION ALL
        SELECT b.oid, b.typbasetype, b.typtypmod, b.typnotnull, domain.depth + 1
        FROM domain JOIN pg_catalog.pg_type b ON b.oid = domain.typbasetype WHERE b.typtype = 'd'
    )
    SELECT (SELECT pg_catalog.json_build_object(
                       'type', pg_catalog.format_type(domain.typbasetype, domain.typtypmod),
                       'type_kind', i.typtype,
                       'labels', (SELECT pg_catalog.json_agg(l.enumlabel ORDER BY l.enumsortorder)
                                  FROM pg_catalog.pg_enum l WHERE l.enumtypid = i.oid))
            FROM domain
            JOIN pg_catalog.pg_type b ON b.oid = domain.typbasetype AND b.typtype <> 'd'
            JOIN pg_catalog.pg_type i
                 ON i.oid = CASE WHEN b.typcategory = 'A' AND b.typelem <> 0 THEN b.typelem ELSE b.oid END) AS base,
           (SELECT pg_catalog.json_agg(demand ORDER BY demand COLLATE "C")
            FROM (SELECT pg_catalog.pg_get_constraintdef(c.oid) AS demand
                  FROM domain JOIN pg_catalog.pg_constraint c ON c.contypid = domain.oid AND c.contype = 'c'
                  UNION SELECT 'NOT NULL' FROM domain WHERE domain.typnotnull) demands) AS checks
) d ON true
