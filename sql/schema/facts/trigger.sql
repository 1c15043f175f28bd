-- Triggers. One that a partition has as its parent has it (cloned, or made under the same name of the same function) is no
-- fact of its own.
SELECT 'trigger', t.schema, t.name, g.tgname::text, t.extension,
       pg_catalog.json_build_object('enabled', g.tgenabled, 'inherited', g.tgparentid <> 0, 'depends_on', e.extensions,
                                    'comment', r.comment)::text,
       CASE WHEN l.reason IS NULL THEN
           pg_catalog.json_build_object('definition', pg_catalog.pg_get_triggerdef(g.oid)) END::text,
       CASE WHEN l.reason IS NOT NULL THEN pg_catalog.json_build_object('definition', l.reason) END::text
FROM relation t
JOIN pg_catalog.pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal
LEFT JOIN pg_catalog.pg_trigger p ON p.oid = g.tgparentid
LEFT JOIN pg_catalog.pg_trigger s ON s.tgrelid = t.parent AND s.tgname = g.tgname AND s.tgfoid = g.tgfoid
                                 AND s.tgtype = g.tgtype AND s.tgenabled = g.tgenabled
                                 AND s.tgqual IS NULL AND g.tgqual IS NULL AND s.tgattr = g.tgattr
                                 -- What keeps the keys of an event table is told where it stands.
                                 AND (s.tgargs = g.tgargs OR g.tgname LIKE 'opdb\_keep\_keys\_%')
LEFT JOIN dependent e ON e.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND e.objid = g.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND r.objoid = g.oid
LEFT JOIN locked l ON l.relid = t.oid AND g.tgqual IS NOT NULL
WHERE ((g.tgparentid = 0 AND s.oid IS NULL) OR g.tgenabled <> p.tgenabled OR r.comment IS NOT NULL)
