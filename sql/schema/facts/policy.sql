SELECT 'policy', t.schema, t.name, p.polname::text, t.extension,
       pg_catalog.json_build_object(
           'command', p.polcmd,
           'permissive', p.polpermissive,
           'roles', (SELECT pg_catalog.json_agg(CASE WHEN o = 0 THEN 'PUBLIC'
                                                     -- A role may have that name.
                                                     WHEN pg_catalog.pg_get_userbyid(o) = 'PUBLIC' THEN '"PUBLIC"'
                                                     ELSE pg_catalog.pg_get_userbyid(o)::text END
                                                ORDER BY CASE o WHEN 0 THEN '' ELSE pg_catalog.pg_get_userbyid(o)::text END
                                                         COLLATE "C")
                     FROM pg_catalog.unnest(p.polroles) o),
           'comment', r.comment)::text,
       CASE WHEN l.reason IS NULL THEN pg_catalog.json_build_object(
           'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid),
           'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)) END::text,
       CASE WHEN l.reason IS NOT NULL THEN pg_catalog.json_build_object('using', l.reason) END::text
FROM relation t
JOIN pg_catalog.pg_policy p ON p.polrelid = t.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND r.objoid = p.oid
LEFT JOIN LATERAL (SELECT k.reason FROM pg_catalog.pg_depend d JOIN locked k ON k.relid = d.refobjid
                   WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND d.objid = p.oid
                     AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass LIMIT 1) l ON true
