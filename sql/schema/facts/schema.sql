SELECT 'schema', n.name, NULL, n.name, m.extension,
       pg_catalog.json_build_object(
           'owner', pg_catalog.pg_get_userbyid(s.nspowner),
           'acl', acl(s.nspacl, 'n', s.nspowner),
           'comment', r.comment,
           'security_labels', r.labels)::text, NULL, NULL
FROM namespace n
JOIN pg_catalog.pg_namespace s ON s.oid = n.oid
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND m.objid = s.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND r.objoid = s.oid
