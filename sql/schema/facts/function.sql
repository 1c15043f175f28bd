-- Functions, procedures and aggregates. Those that the server makes with a range type follow from it, but for what
-- somebody said or granted about them.
SELECT CASE p.prokind WHEN 'f' THEN 'function' WHEN 'w' THEN 'function' WHEN 'p' THEN 'procedure'
                      WHEN 'a' THEN 'aggregate' ELSE 'prokind ' || p.prokind::text END,
       n.name, NULL, label(p.proname) || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')',
       m.extension,
       pg_catalog.json_build_object(
           'window', p.prokind = 'w',
           'result', pg_catalog.pg_get_function_result(p.oid),
           'language', l.lanname,
           'volatility', p.provolatile, 'strict', p.proisstrict, 'security_definer', p.prosecdef,
           'leakproof', p.proleakproof, 'parallel', p.proparallel, 'cost', p.procost, 'rows', p.prorows,
           'support', CASE WHEN p.prosupport <> 0 THEN p.prosupport::pg_catalog.regproc::text END,
           'transforms', (SELECT pg_catalog.json_agg(pg_catalog.format_type(o, NULL) ORDER BY 1)
                          FROM pg_catalog.unnest(p.protrftypes) o),
           'settings', options(p.proconfig)::pg_catalog.json,
           'source', p.prosrc,
           'library', p.probin,
           'aggregate', CASE WHEN a.aggfnoid IS NOT NULL THEN pg_catalog.json_build_object(
               'kind', a.aggkind, 'direct_arguments', a.aggnumdirectargs,
               'transition', a.aggtransfn::text, 'final', a.aggfinalfn::text, 'combine', a.aggcombinefn::text,
               'serial', a.aggserialfn::text, 'deserial', a.aggdeserialfn::text,
               'moving_transition', a.aggmtransfn::text, 'moving_inverse', a.aggminvtransfn::text,
               'moving_final', a.aggmfinalfn::text,
               'final_extra', a.aggfinalextra, 'final_modify', a.aggfinalmodify,
               'moving_final_extra', a.aggmfinalextra, 'moving_final_modify', a.aggmfinalmodify,
               'sort_operator', CASE WHEN a.aggsortop <> 0 THEN a.aggsortop::pg_catalog.regoperator::text END,
               'state', pg_catalog.format_type(a.aggtranstype, NULL), 'state_size', a.aggtransspace,
               'moving_state', CASE WHEN a.aggmtranstype <> 0 THEN pg_catalog.format_type(a.aggmtranstype, NULL) END,
               'moving_state_size', a.aggmtransspace,
               'initial', a.agginitval, 'moving_initial', a.aggminitval) END,
           'depends_on', e.extensions,
           'owner', pg_catalog.pg_get_userbyid(p.proowner),
           'acl', acl(p.proacl, 'f', p.proowner),
           'comment', r.comment,
           'security_labels', r.labels)::text,
       pg_catalog.json_build_object(
           'arguments', pg_catalog.pg_get_function_arguments(p.oid),
           'body', CASE WHEN p.prosqlbody IS NOT NULL AND k.reason IS NULL THEN
                       pg_catalog.pg_get_function_sqlbody(p.oid) END)::text,
       CASE WHEN k.reason IS NOT NULL THEN pg_catalog.json_build_object('body', k.reason) END::text
FROM namespace n
JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
LEFT JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = p.oid
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND m.objid = p.oid
LEFT JOIN dependent e ON e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND e.objid = p.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND r.objoid = p.oid
LEFT JOIN LATERAL (SELECT k.reason FROM pg_catalog.pg_depend d JOIN locked k ON k.relid = d.refobjid
                   WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
                     AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass LIMIT 1) k
     ON p.prosqlbody IS NOT NULL
WHERE /*whole schemas*/
  AND (r.comment IS NOT NULL OR r.labels IS NOT NULL
       OR NOT (coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)) @> pg_catalog.acldefault('f', p.proowner)
               AND coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)) <@ pg_catalog.acldefault('f', p.proowner))
       OR NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'i'
                        AND d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass))
