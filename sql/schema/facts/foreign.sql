-- Foreign-data wrappers, servers and user mappings. Of a mapping's options only the user is read, and of the others
-- that they are there: they may be secrets.
SELECT 'foreign_data_wrapper', NULL, NULL, w.fdwname::text, m.extension,
       pg_catalog.json_build_object(
           'handler', CASE WHEN w.fdwhandler <> 0 THEN w.fdwhandler::pg_catalog.regprocedure::text END,
           'validator', CASE WHEN w.fdwvalidator <> 0 THEN w.fdwvalidator::pg_catalog.regprocedure::text END,
           'options', options(w.fdwoptions)::pg_catalog.json,
           'owner', pg_catalog.pg_get_userbyid(w.fdwowner),
           'acl', acl(w.fdwacl, 'F', w.fdwowner),
           'comment', r.comment)::text, NULL, NULL
FROM pg_catalog.pg_foreign_data_wrapper w
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass AND m.objid = w.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass AND r.objoid = w.oid
WHERE /*whole*/
UNION ALL
SELECT 'server', NULL, NULL, s.srvname::text, m.extension,
       pg_catalog.json_build_object(
           'wrapper', w.fdwname, 'type', s.srvtype, 'version', s.srvversion,
           'options', options(s.srvoptions)::pg_catalog.json,
           'owner', pg_catalog.pg_get_userbyid(s.srvowner),
           'acl', acl(s.srvacl, 'S', s.srvowner),
           'comment', r.comment)::text, NULL, NULL
FROM pg_catalog.pg_foreign_server s
JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_foreign_server'::pg_catalog.regclass AND m.objid = s.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_foreign_server'::pg_catalog.regclass AND r.objoid = s.oid
WHERE /*whole*/ AND s.srvname::text NOT IN (/*environments*/)
UNION ALL
SELECT 'user_mapping', NULL, NULL, pg_catalog.format('FOR %I SERVER %I', v.usename, v.srvname), NULL,
       pg_catalog.json_build_object(
           'options', (SELECT pg_catalog.json_agg(
                                  CASE WHEN o LIKE 'user=%' THEN o ELSE pg_catalog.split_part(o, '=', 1) END
                                  ORDER BY o COLLATE "C") FROM pg_catalog.unnest(v.umoptions) o))::text, NULL,
       CASE WHEN v.umoptions IS NULL
                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.rolname = current_user AND o.rolsuper)
                 AND NOT (v.usename = current_user
                          AND (pg_catalog.pg_has_role(s.srvowner, 'USAGE')
                               OR pg_catalog.has_server_privilege(s.oid, 'USAGE')))
                 AND NOT (v.umuser = 0 AND pg_catalog.pg_has_role(s.srvowner, 'USAGE')) THEN
           pg_catalog.json_build_object('options', 'not visible to role ' || current_user) END::text
FROM pg_catalog.pg_user_mappings v
JOIN pg_catalog.pg_foreign_server s ON s.oid = v.srvid
WHERE /*whole*/ AND v.srvname::text NOT IN (/*environments*/)
