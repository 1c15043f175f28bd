-- Columns of tables, views, materialized views, foreign tables and composite types. Their order is a fact of what they
-- are columns of.
, not_null AS MATERIALIZED (
    -- From PostgreSQL 18 on NOT NULL is a constraint too. Its name is no fact: renaming the table leaves it.
    SELECT o.conrelid, o.conkey[1] AS attnum, o.convalidated, o.connoinherit, r.comment
    FROM pg_catalog.pg_constraint o
    LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND r.objoid = o.oid
    WHERE o.contype = 'n' AND (NOT o.convalidated OR o.connoinherit OR r.comment IS NOT NULL)
), deviating AS MATERIALIZED (
    -- Of partitions that come and go, the columns that are not as their parent has them.
    SELECT a.attrelid, a.attnum
    FROM routine u
    JOIN pg_catalog.pg_attribute a ON a.attrelid = u.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_catalog.pg_attribute p ON p.attrelid = u.parent AND p.attname = a.attname
    LEFT JOIN pg_catalog.pg_attrdef ad ON ad.adrelid = a.attrelid AND ad.adnum = a.attnum
    LEFT JOIN pg_catalog.pg_attrdef pd ON pd.adrelid = p.attrelid AND pd.adnum = p.attnum
    LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
                      AND r.objoid = a.attrelid AND r.objsubid = a.attnum
    WHERE a.attnotnull <> p.attnotnull OR a.attstorage <> p.attstorage OR a.attcompression <> p.attcompression
       OR coalesce(a.attstattarget, -1) <> coalesce(p.attstattarget, -1)
       OR options(a.attoptions) IS DISTINCT FROM options(p.attoptions)
       OR (a.attacl IS NOT NULL AND a.attacl IS DISTINCT FROM p.attacl)
       OR r.comment IS NOT NULL OR r.labels IS NOT NULL
       OR CASE WHEN a.attgenerated = '' AND p.attgenerated = '' THEN
                    pg_catalog.pg_get_expr(ad.adbin, 0) IS DISTINCT FROM pg_catalog.pg_get_expr(pd.adbin, 0)
               ELSE a.attgenerated <> p.attgenerated END
)
SELECT 'column', t.schema, t.name, a.attname::text, t.extension,
       '{' || pg_catalog.concat_ws(', ',
           '"of": "' || t.relkind::text || '"',
           '"type": ' || pg_catalog.to_json(pg_catalog.format_type(a.atttypid, a.atttypmod)),
           CASE WHEN a.attcollation <> y.typcollation THEN
               '"collation": ' || (SELECT pg_catalog.to_json(pg_catalog.format('%I.%I', cn.nspname, co.collname))
                                   FROM pg_catalog.pg_collation co
                                   JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
                                   WHERE co.oid = a.attcollation) END,
           CASE WHEN a.attnotnull THEN
               CASE WHEN nn.convalidated IS DISTINCT FROM false THEN '"not_null": true'
                    ELSE '"not_null_unvalidated": true' END END,
           CASE WHEN nn.connoinherit THEN '"not_null_no_inherit": true' END,
           '"not_null_comment": ' || pg_catalog.to_json(nn.comment),
           -- From PostgreSQL 17 on a partition has what its parent has; before, one of its own has its own sequence.
           CASE WHEN a.attidentity <> ''
                     AND NOT (t.relispartition
                              AND EXISTS (SELECT FROM pg_catalog.pg_inherits i
                                          JOIN pg_catalog.pg_attribute p ON p.attrelid = i.inhparent
                                               AND p.attname = a.attname AND p.attidentity = a.attidentity
                                          WHERE i.inhrelid = a.attrelid)) THEN
               '"identity": "' || a.attidentity::text || '"' END,
           CASE WHEN a.attgenerated <> '' THEN '"generated_kind": "' || a.attgenerated::text || '"' END,
           CASE WHEN a.attinhcount > 0 THEN '"inherited": ' || a.attinhcount::text END,
           CASE WHEN a.attinhcount > 0 AND a.attislocal THEN '"local": true' END,
           CASE WHEN a.attstorage <> y.typstorage THEN '"storage": "' || a.attstorage::text || '"' END,
           CASE WHEN a.attcompression <> '' THEN '"compression": "' || a.attcompression::text || '"' END,
           CASE WHEN a.attstattarget >= 0 THEN '"statistics": ' || a.attstattarget::text END,
           CASE WHEN a.attoptions[1] NOT LIKE 'pg\_attver=%' OR a.attoptions[2] <> '' THEN '"options": ' || options(a.attoptions) END,
           CASE WHEN a.attfdwoptions IS NOT NULL THEN '"foreign_options": ' || options(a.attfdwoptions) END,
           '"acl": ' || acl(a.attacl, 'c', t.relowner),
           '"comment": ' || pg_catalog.to_json(r.comment),
           '"security_labels": ' || r.labels::text) || '}',
       CASE WHEN d.oid IS NOT NULL THEN
           CASE WHEN a.attgenerated = '' THEN
                    '{"default": ' || pg_catalog.to_json(pg_catalog.pg_get_expr(d.adbin, 0)) || '}'
                WHEN l.reason IS NULL THEN
                    '{"generated": ' || pg_catalog.to_json(pg_catalog.pg_get_expr(d.adbin, d.adrelid)) || '}' END END,
       CASE WHEN a.attgenerated <> '' AND l.reason IS NOT NULL THEN
           pg_catalog.json_build_object('generated', l.reason) END::text
FROM relation t
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN not_null nn ON nn.conrelid = a.attrelid AND nn.attnum = a.attnum
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
                  AND r.objoid = a.attrelid AND r.objsubid = a.attnum
LEFT JOIN locked l ON l.relid = t.oid
WHERE t.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
  AND (t.parent IS NULL
       OR EXISTS (SELECT FROM deviating v WHERE v.attrelid = a.attrelid AND v.attnum = a.attnum))
