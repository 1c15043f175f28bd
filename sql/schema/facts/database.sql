-- Objects that stand in no schema: casts, transforms, languages, access methods, event triggers and extensions.
SELECT 'cast', NULL, NULL, '(' || pg_catalog.format_type(c.castsource, NULL) || ' AS '
           || pg_catalog.format_type(c.casttarget, NULL) || ')', m.extension,
       pg_catalog.json_build_object(
           'function', CASE WHEN c.castfunc <> 0 THEN c.castfunc::pg_catalog.regprocedure::text END,
           'context', c.castcontext, 'method', c.castmethod, 'comment', r.comment)::text, NULL, NULL
FROM pg_catalog.pg_cast c
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_cast'::pg_catalog.regclass AND m.objid = c.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_cast'::pg_catalog.regclass AND r.objoid = c.oid
WHERE /*whole*/ AND c.oid >= 16384
  -- The cast between a range and its multirange comes with the type.
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_range g
                  WHERE g.rngtypid = c.castsource AND g.rngmultitypid = c.casttarget)
UNION ALL
SELECT 'transform', NULL, NULL, pg_catalog.format('FOR %s LANGUAGE %s', pg_catalog.format_type(t.trftype, NULL), l.lanname),
       m.extension,
       pg_catalog.json_build_object(
           'from_sql', CASE WHEN t.trffromsql <> 0 THEN t.trffromsql::pg_catalog.oid::pg_catalog.regprocedure::text END,
           'to_sql', CASE WHEN t.trftosql <> 0 THEN t.trftosql::pg_catalog.oid::pg_catalog.regprocedure::text END,
           'comment', r.comment)::text, NULL, NULL
FROM pg_catalog.pg_transform t
JOIN pg_catalog.pg_language l ON l.oid = t.trflang
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_transform'::pg_catalog.regclass AND m.objid = t.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_transform'::pg_catalog.regclass AND r.objoid = t.oid
WHERE /*whole*/
UNION ALL
SELECT 'language', NULL, NULL, l.lanname::text, m.extension,
       pg_catalog.json_build_object(
           'trusted', l.lanpltrusted,
           'handler', CASE WHEN l.lanplcallfoid <> 0 THEN l.lanplcallfoid::pg_catalog.regprocedure::text END,
           'inline', CASE WHEN l.laninline <> 0 THEN l.laninline::pg_catalog.regprocedure::text END,
           'validator', CASE WHEN l.lanvalidator <> 0 THEN l.lanvalidator::pg_catalog.regprocedure::text END,
           -- What is there from the start belongs to whoever made the cluster.
           'owner', CASE WHEN l.oid >= 16384 THEN pg_catalog.pg_get_userbyid(l.lanowner) END,
           'acl', acl(l.lanacl, 'l', l.lanowner),
           'comment', r.comment,
           'security_labels', r.labels)::text, NULL, NULL
FROM pg_catalog.pg_language l
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_language'::pg_catalog.regclass AND m.objid = l.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_language'::pg_catalog.regclass AND r.objoid = l.oid
WHERE /*whole*/
UNION ALL
SELECT 'access_method', NULL, NULL, a.amname::text, m.extension,
       pg_catalog.json_build_object('type', a.amtype, 'handler', a.amhandler::text, 'comment', r.comment)::text, NULL, NULL
FROM pg_catalog.pg_am a
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_am'::pg_catalog.regclass AND m.objid = a.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_am'::pg_catalog.regclass AND r.objoid = a.oid
WHERE /*whole*/ AND a.oid >= 16384
UNION ALL
SELECT 'event_trigger', NULL, NULL, e.evtname::text, m.extension,
       pg_catalog.json_build_object(
           'event', e.evtevent, 'tags', e.evttags, 'function', e.evtfoid::pg_catalog.regprocedure::text,
           'enabled', e.evtenabled, 'owner', pg_catalog.pg_get_userbyid(e.evtowner),
           'comment', r.comment,
           'security_labels', r.labels)::text, NULL, NULL
FROM pg_catalog.pg_event_trigger e
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass AND m.objid = e.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass AND r.objoid = e.oid
WHERE /*whole*/
UNION ALL
-- Of some schemas, the extensions that stand in them: their objects count only where both sides have the same version.
SELECT 'extension', NULL, NULL, e.extname::text, NULL,
       pg_catalog.json_build_object(
           'version', e.extversion, 'schema', n.nspname,
           'owner', CASE WHEN e.oid >= 16384 THEN pg_catalog.pg_get_userbyid(e.extowner) END,
           'comment', r.comment)::text, NULL, NULL
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND r.objoid = e.oid
WHERE e.extname <> 'opdb'
  AND (/*whole*/ OR (/*whole schemas*/ AND e.extnamespace IN (SELECT oid FROM namespace)))
