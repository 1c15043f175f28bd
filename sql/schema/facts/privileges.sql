-- Default privileges, and privileges on the server's own objects where they are not what they were from the start.
SELECT 'default_privileges', n.nspname::text, NULL,
       pg_catalog.format('FOR ROLE %s ON %s', pg_catalog.pg_get_userbyid(d.defaclrole),
           CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                                WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' WHEN 'L' THEN 'LARGE OBJECTS'
                                ELSE d.defaclobjtype::text END), NULL,
       pg_catalog.json_build_object('acl', acl(d.defaclacl, d.kind, d.defaclrole))::text, NULL, NULL
FROM (SELECT d.*, CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END AS kind
      FROM pg_catalog.pg_default_acl d) d
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
WHERE (d.defaclnamespace = 0 AND /*whole*/) OR (/*whole schemas*/ AND d.defaclnamespace IN (SELECT oid FROM namespace))
UNION ALL
SELECT 'system_function', NULL, NULL, p.oid::pg_catalog.regprocedure::text, NULL,
       pg_catalog.json_build_object('acl', acl(p.proacl, 'f', p.proowner))::text, NULL, NULL
FROM pg_catalog.pg_proc p
LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND i.objoid = p.oid
WHERE /*whole*/ AND p.oid < 16384 AND p.proacl IS NOT NULL
  AND p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
  AND NOT (p.proacl @> coalesce(i.initprivs, pg_catalog.acldefault('f', p.proowner))
           AND p.proacl <@ coalesce(i.initprivs, pg_catalog.acldefault('f', p.proowner)))
UNION ALL
SELECT 'system_relation', NULL, NULL, c.oid::pg_catalog.regclass::text, NULL,
       pg_catalog.json_build_object('acl', acl(c.relacl, 'r', c.relowner))::text, NULL, NULL
FROM pg_catalog.pg_class c
LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.objoid = c.oid
                                    AND i.objsubid = 0
WHERE /*whole*/ AND c.oid < 16384 AND c.relacl IS NOT NULL
  AND c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace
  AND NOT (c.relacl @> coalesce(i.initprivs, pg_catalog.acldefault('r', c.relowner))
           AND c.relacl <@ coalesce(i.initprivs, pg_catalog.acldefault('r', c.relowner)))
UNION ALL
SELECT 'system_relation', NULL, NULL, c.oid::pg_catalog.regclass::text || '.' || pg_catalog.quote_ident(a.attname), NULL,
       pg_catalog.json_build_object('acl', acl(a.attacl, 'c', c.relowner))::text, NULL, NULL
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.objoid = c.oid
                                    AND i.objsubid = a.attnum
WHERE /*whole*/ AND c.oid < 16384 AND c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace
  AND (a.attacl IS NOT NULL OR i.initprivs IS NOT NULL)
  AND NOT (coalesce(a.attacl, '{}') @> coalesce(i.initprivs, '{}')
           AND coalesce(a.attacl, '{}') <@ coalesce(i.initprivs, '{}'))
UNION ALL
SELECT 'base_type', 'pg_catalog', NULL, t.typname::text, NULL,
       pg_catalog.json_build_object('acl', acl(t.typacl, 'T', t.typowner))::text, NULL, NULL
FROM pg_catalog.pg_type t
LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = 'pg_catalog.pg_type'::pg_catalog.regclass AND i.objoid = t.oid
WHERE /*whole*/ AND t.oid < 16384 AND t.typacl IS NOT NULL
  AND t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace
  AND NOT (t.typacl @> coalesce(i.initprivs, pg_catalog.acldefault('T', t.typowner))
           AND t.typacl <@ coalesce(i.initprivs, pg_catalog.acldefault('T', t.typowner)))
