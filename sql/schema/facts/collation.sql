-- Collations and conversions. The version of a collation is the operating system's, not the schema's. A column that a
-- version of the server has not is NULL: inside the subquery its own column comes before the outer one.
SELECT 'collation', n.name, NULL, c.collname::text, m.extension,
       pg_catalog.json_build_object(
           'provider', c.collprovider, 'deterministic', c.collisdeterministic,
           'encoding', CASE WHEN c.collencoding >= 0 THEN pg_catalog.pg_encoding_to_char(c.collencoding) END,
           'lc_collate', c.collcollate, 'lc_ctype', c.collctype,
           'locale', (SELECT coalesce(colllocale, colliculocale) FROM pg_catalog.pg_collation v WHERE v.oid = c.oid),
           'rules', (SELECT collicurules FROM pg_catalog.pg_collation v WHERE v.oid = c.oid),
           'owner', pg_catalog.pg_get_userbyid(c.collowner),
           'comment', r.comment)::text, NULL, NULL
FROM (SELECT NULL::text AS colllocale, NULL::text AS colliculocale, NULL::text AS collicurules) absent
CROSS JOIN namespace n
JOIN pg_catalog.pg_collation c ON c.collnamespace = n.oid
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_collation'::pg_catalog.regclass AND m.objid = c.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_collation'::pg_catalog.regclass AND r.objoid = c.oid
WHERE /*whole schemas*/
UNION ALL
SELECT 'conversion', n.name, NULL, c.conname::text, m.extension,
       pg_catalog.json_build_object(
           'source', pg_catalog.pg_encoding_to_char(c.conforencoding),
           'target', pg_catalog.pg_encoding_to_char(c.contoencoding),
           'function', c.conproc::text, 'default', c.condefault,
           'owner', pg_catalog.pg_get_userbyid(c.conowner),
           'comment', r.comment)::text, NULL, NULL
FROM namespace n
JOIN pg_catalog.pg_conversion c ON c.connamespace = n.oid
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_conversion'::pg_catalog.regclass AND m.objid = c.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_conversion'::pg_catalog.regclass AND r.objoid = c.oid
WHERE /*whole schemas*/
