SELECT 'text_search_configuration', n.name, NULL, c.cfgname::text, m.extension,
       pg_catalog.json_build_object(
           'parser', (SELECT pg_catalog.format('%I.%I', pn.nspname, p.prsname) FROM pg_catalog.pg_ts_parser p
                      JOIN pg_catalog.pg_namespace pn ON pn.oid = p.prsnamespace WHERE p.oid = c.cfgparser),
           'mappings', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(t.alias,
                                   pg_catalog.format('%I.%I', dn.nspname, d.dictname)) ORDER BY x.maptokentype, x.mapseqno)
                        FROM pg_catalog.pg_ts_config_map x
                        JOIN pg_catalog.pg_ts_dict d ON d.oid = x.mapdict
                        JOIN pg_catalog.pg_namespace dn ON dn.oid = d.dictnamespace
                        JOIN LATERAL pg_catalog.ts_token_type(c.cfgparser) t ON t.tokid = x.maptokentype
                        WHERE x.mapcfg = c.oid),
           'owner', pg_catalog.pg_get_userbyid(c.cfgowner),
           'comment', r.comment)::text, NULL, NULL
FROM namespace n
JOIN pg_catalog.pg_ts_config c ON c.cfgnamespace = n.oid
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_ts_config'::pg_catalog.regclass AND m.objid = c.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_ts_config'::pg_catalog.regclass AND r.objoid = c.oid
WHERE /*whole schemas*/
UNION ALL
SELECT 'text_search_dictionary', n.name, NULL, d.dictname::text, m.extension,
       pg_catalog.json_build_object(
           'template', (SELECT pg_catalog.format('%I.%I', tn.nspname, t.tmplname) FROM pg_catalog.pg_ts_template t
                        JOIN pg_catalog.pg_namespace tn ON tn.oid = t.tmplnamespace WHERE t.oid = d.dicttemplate),
           'options', d.dictinitoption,
           'owner', pg_catalog.pg_get_userbyid(d.dictowner),
           'comment', r.comment)::text, NULL, NULL
FROM namespace n
JOIN pg_catalog.pg_ts_dict d ON d.dictnamespace = n.oid
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_ts_dict'::pg_catalog.regclass AND m.objid = d.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_ts_dict'::pg_catalog.regclass AND r.objoid = d.oid
WHERE /*whole schemas*/
UNION ALL
SELECT 'text_search_parser', n.name, NULL, p.prsname::text, m.extension,
       pg_catalog.json_build_object(
           'start', p.prsstart::text, 'token', p.prstoken::text, 'end', p.prsend::text,
           'headline', p.prsheadline::text, 'token_types', p.prslextype::text,
           'comment', r.comment)::text, NULL, NULL
FROM namespace n
JOIN pg_catalog.pg_ts_parser p ON p.prsnamespace = n.oid
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_ts_parser'::pg_catalog.regclass AND m.objid = p.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_ts_parser'::pg_catalog.regclass AND r.objoid = p.oid
WHERE /*whole schemas*/
UNION ALL
SELECT 'text_search_template', n.name, NULL, t.tmplname::text, m.extension,
       pg_catalog.json_build_object('init', t.tmplinit::text, 'lexize', t.tmpllexize::text, 'comment', r.comment)::text,
       NULL, NULL
FROM namespace n
JOIN pg_catalog.pg_ts_template t ON t.tmplnamespace = n.oid
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_ts_template'::pg_catalog.regclass AND m.objid = t.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_ts_template'::pg_catalog.regclass AND r.objoid = t.oid
WHERE /*whole schemas*/
