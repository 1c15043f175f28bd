-- Tables, columns, constraints and indexes as facts named without OIDs. Runs here and on any server of
-- PostgreSQL 15 or later; /*tables*/ is replaced by a condition on n (pg_namespace) and c (pg_class).
-- Partitions are left out: they come and go, and their parent says what they must be.
WITH relation AS MATERIALIZED (
    SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name,
           pg_catalog.jsonb_build_object(
               'partitioned', c.relkind = 'p',
               'partition_key', CASE c.relkind WHEN 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
               'persistence', c.relpersistence,
               'row_security', c.relrowsecurity,
               -- An event table keeps its source_id unique by triggers and a key table.
               'unique_by_trigger', (SELECT '["source_id"]'::pg_catalog.jsonb FROM pg_catalog.pg_trigger t
                                     WHERE t.tgrelid = c.oid AND t.tgname = 'opdb_keep_keys_insert'
                                       AND t.tgenabled IN ('O', 'A')),
               'inherits', (SELECT pg_catalog.jsonb_agg(pg_catalog.concat_ws('.', pn.nspname, p.relname)
                                                        ORDER BY i.inhseqno)
                            FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
                            JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace WHERE i.inhrelid = c.oid),
               'is_inherited', c.relkind = 'r'
                               AND EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid),
               'force_row_security', c.relforcerowsecurity) AS facets
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
      AND (/*tables*/)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
                        AND d.deptype = 'e')
)
SELECT 'table', r.schema, r.name, r.name, r.facets::text
FROM relation r
UNION ALL
SELECT 'column', r.schema, r.name, a.attname::text,
       pg_catalog.jsonb_build_object(
           'position', pg_catalog.rank() OVER (PARTITION BY r.oid ORDER BY a.attnum),
           'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
           'type_kind', e.typtype,
           -- What stands behind the name of a type that a user made, or behind the elements of an array of it.
           'labels', (SELECT pg_catalog.jsonb_agg(l.enumlabel ORDER BY l.enumsortorder)
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
           -- From PostgreSQL 18 on a NOT NULL may be there without having been validated.
           'not_null', a.attnotnull
                       AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint o
                                       WHERE o.conrelid = a.attrelid AND o.contype = 'n'
                                         AND o.conkey = ARRAY[a.attnum] AND NOT o.convalidated),
           'default', CASE a.attgenerated WHEN '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
           'generated', CASE WHEN a.attgenerated <> '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
           'generated_kind', a.attgenerated,
           'identity', a.attidentity,
           'collation', (SELECT pg_catalog.format('%I.%I', cn.nspname, co.collname)
                         FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
                         WHERE co.oid = a.attcollation AND a.attcollation <> t.typcollation))::text
FROM relation r
JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type e ON e.oid = CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem ELSE t.oid END
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
UNION ALL
-- From PostgreSQL 18 on NOT NULL is a constraint too; here it is a fact of its column on every version.
SELECT 'constraint', r.schema, r.name, o.conname::text,
       pg_catalog.jsonb_build_object(
           'type', o.contype,
           'definition', pg_catalog.pg_get_constraintdef(o.oid),
           'columns', (SELECT pg_catalog.jsonb_agg(a.attname ORDER BY k.place)
                       FROM pg_catalog.unnest(o.conkey) WITH ORDINALITY k (attnum, place)
                       JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.attnum),
           'references', (SELECT pg_catalog.jsonb_build_array(fn.nspname, f.relname)
                          FROM pg_catalog.pg_class f JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
                          WHERE f.oid = o.confrelid),
           'validated', o.convalidated,
           -- DISABLE TRIGGER switches a foreign key off.
           'enforced', NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t
                                   WHERE t.tgconstraint = o.oid AND t.tgenabled NOT IN ('O', 'A')),
           'deferrable', o.condeferrable,
           'deferred', o.condeferred)::text
FROM relation r
JOIN pg_catalog.pg_constraint o ON o.conrelid = r.oid AND o.contype IN ('p', 'u', 'c', 'f', 'x')
UNION ALL
-- Indexes that no constraint stands for.
SELECT 'index', r.schema, r.name, i.relname::text,
       pg_catalog.jsonb_build_object(
           'definition', pg_catalog.substring(pg_catalog.pg_get_indexdef(i.oid), ' (USING .*)$'),
           'unique', x.indisunique,
           'columns', (SELECT pg_catalog.jsonb_agg(coalesce(a.attname, pg_catalog.pg_get_indexdef(i.oid, k.place, false))
                                                   ORDER BY k.place)
                       FROM pg_catalog.generate_series(1, x.indnkeyatts) k (place)
                       LEFT JOIN pg_catalog.pg_attribute a
                            ON a.attrelid = r.oid AND a.attnum = x.indkey[k.place - 1] AND a.attnum > 0),
           'partial', x.indpred IS NOT NULL,
           'valid', x.indisvalid AND x.indisready)::text
FROM relation r
JOIN pg_catalog.pg_index x ON x.indrelid = r.oid
JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint o WHERE o.conindid = i.oid AND o.contype IN ('p', 'u', 'x'))
