-- Rules, but for those that make a view a view.
SELECT 'rule', t.schema, t.name, w.rulename::text, t.extension,
       pg_catalog.json_build_object('enabled', w.ev_enabled, 'comment', r.comment)::text,
       CASE WHEN l.reason IS NULL THEN
           pg_catalog.json_build_object('definition', pg_catalog.pg_get_ruledef(w.oid)) END::text,
       CASE WHEN l.reason IS NOT NULL THEN pg_catalog.json_build_object('definition', l.reason) END::text
FROM relation t
JOIN pg_catalog.pg_rewrite w ON w.ev_class = t.oid AND w.rulename <> '_RETURN'
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.objoid = w.oid
LEFT JOIN LATERAL (SELECT k.reason FROM pg_catalog.pg_depend d JOIN locked k ON k.relid = d.refobjid
                   WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid
                     AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass LIMIT 1) l ON true
