-- Types that a user made: not the row types of tables (but for what somebody said or granted about them), nor the
-- arrays and multiranges that the server adds.
SELECT CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'c' THEN 'composite_type'
                      WHEN 'r' THEN 'range_type' WHEN 'b' THEN 'base_type' WHEN 'p' THEN 'base_type'
                      ELSE 'typtype ' || t.typtype::text END,
       n.name, NULL, t.typname::text, m.extension,
       pg_catalog.json_build_object(
           'labels', (SELECT pg_catalog.json_agg(e.enumlabel ORDER BY e.enumsortorder)
                      FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),
           'attributes', CASE WHEN c.oid IS NOT NULL THEN
               (SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) END,
           'base_type', CASE t.typtype WHEN 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod) END,
           'not_null', t.typnotnull AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint o
                                                    WHERE o.contypid = t.oid AND o.contype = 'n' AND NOT o.convalidated),
           'collation', CASE WHEN t.typtype IN ('d', 'b') AND t.typcollation <> coalesce(b.typcollation, 0) THEN
               t.typcollation::pg_catalog.regcollation::text END,
           'range', CASE t.typtype WHEN 'r' THEN
               (SELECT pg_catalog.json_build_object(
                           'subtype', pg_catalog.format_type(g.rngsubtype, NULL),
                           'multirange', pg_catalog.format_type(g.rngmultitypid, NULL),
                           'collation', CASE WHEN g.rngcollation <> 0 THEN
                                            g.rngcollation::pg_catalog.regcollation::text END,
                           'operator_class', (SELECT pg_catalog.format('%I.%I', cn.nspname, oc.opcname)
                                              FROM pg_catalog.pg_opclass oc
                                              JOIN pg_catalog.pg_namespace cn ON cn.oid = oc.opcnamespace
                                              WHERE oc.oid = g.rngsubopc),
                           'canonical', g.rngcanonical::text, 'difference', g.rngsubdiff::text)
                FROM pg_catalog.pg_range g WHERE g.rngtypid = t.oid) END,
           'base', CASE WHEN t.typtype IN ('b', 'p') THEN pg_catalog.json_build_object(
               'defined', t.typisdefined, 'input', t.typinput::text, 'output', t.typoutput::text,
               'receive', t.typreceive::text, 'send', t.typsend::text,
               'modifier_input', t.typmodin::text, 'modifier_output', t.typmodout::text,
               'analyze', t.typanalyze::text, 'subscript', t.typsubscript::text,
               'length', t.typlen, 'by_value', t.typbyval, 'alignment', t.typalign, 'storage', t.typstorage,
               'category', t.typcategory, 'preferred', t.typispreferred, 'delimiter', t.typdelim,
               'element', CASE WHEN t.typelem <> 0 THEN pg_catalog.format_type(t.typelem, NULL) END) END,
           'owner', pg_catalog.pg_get_userbyid(t.typowner),
           'acl', acl(t.typacl, 'T', t.typowner),
           'comment', coalesce(r.comment, rc.comment),
           'security_labels', coalesce(r.labels, rc.labels))::text,
       CASE WHEN t.typdefault IS NOT NULL THEN pg_catalog.json_build_object('default',
           CASE WHEN t.typdefaultbin IS NULL THEN pg_catalog.quote_literal(t.typdefault)
                ELSE pg_catalog.pg_get_expr(t.typdefaultbin, 0) END) END::text, NULL
FROM namespace n
JOIN pg_catalog.pg_type t ON t.typnamespace = n.oid
LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid AND c.relkind = 'c'
LEFT JOIN pg_catalog.pg_type array_of ON array_of.oid = t.typelem AND array_of.typarray = t.oid
LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND m.objid = t.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_type'::pg_catalog.regclass AND r.objoid = t.oid
LEFT JOIN remark rc ON rc.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
                   AND rc.objoid = t.typrelid AND rc.objsubid = 0
WHERE /*whole schemas*/ AND t.typtype <> 'm'
  AND (t.typrelid = 0 OR c.oid IS NOT NULL OR r.comment IS NOT NULL
       OR NOT (coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner)) @> pg_catalog.acldefault('T', t.typowner)
               AND coalesce(t.typacl, pg_catalog.acldefault('T', t.typowner)) <@ pg_catalog.acldefault('T', t.typowner)))
  AND array_of.oid IS NULL
