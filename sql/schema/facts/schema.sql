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
UNION ALL
-- Who may do what in the server's own schemas, where it is not what it was from the start.
SELECT 'schema', s.nspname::text, NULL, s.nspname::text, NULL,
       pg_catalog.json_build_object('acl', acl(s.nspacl, 'n', s.nspowner))::text, NULL, NULL
FROM pg_catalog.pg_namespace s
LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND i.objoid = s.oid
WHERE /*whole*/ AND s.nspname = 'pg_catalog'
  AND NOT (s.nspacl @> coalesce(i.initprivs, pg_catalog.acldefault('n', s.nspowner))
           AND s.nspacl <@ coalesce(i.initprivs, pg_catalog.acldefault('n', s.nspowner)))
