-- Extended statistics.
SELECT 'statistics', n.name, NULL, s.stxname::text, coalesce(m.extension, t.extension),
       pg_catalog.json_build_object(
           'table', pg_catalog.json_build_array(t.schema, t.name),
           'target', CASE WHEN s.stxstattarget >= 0 THEN s.stxstattarget END,
           'owner', pg_catalog.pg_get_userbyid(s.stxowner),
           'comment', r.comment)::text,
       CASE WHEN l.reason IS NULL THEN
           pg_catalog.json_build_object('definition', pg_catalog.pg_get_statisticsobjdef(s.oid)) END::text,
       CASE WHEN l.reason IS NOT NULL THEN pg_catalog.json_build_object('definition', l.reason) END::text
FROM namespace n
JOIN pg_catalog.pg_statistic_ext s ON s.stxnamespace = n.oid
LEFT JOIN relation t ON t.oid = s.stxrelid
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass AND m.objid = s.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass AND r.objoid = s.oid
LEFT JOIN locked l ON l.relid = s.stxrelid
WHERE /*whole schemas*/
