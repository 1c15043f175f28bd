-- Operators, operator classes, and operator families with all that is in them.
SELECT 'operator', n.name, NULL, o.oprname || ' (' || CASE o.oprleft WHEN 0 THEN 'NONE' ELSE pg_catalog.format_type(o.oprleft, NULL) END
           || ', ' || pg_catalog.format_type(o.oprright, NULL) || ')', m.extension,
       pg_catalog.json_build_object(
           'result', pg_catalog.format_type(o.oprresult, NULL), 'function', o.oprcode::text,
           'commutator', CASE WHEN o.oprcom <> 0 THEN o.oprcom::pg_catalog.regoperator::text END,
           'negator', CASE WHEN o.oprnegate <> 0 THEN o.oprnegate::pg_catalog.regoperator::text END,
           'restrict', o.oprrest::text, 'join', o.oprjoin::text, 'merges', o.oprcanmerge, 'hashes', o.oprcanhash,
           'owner', pg_catalog.pg_get_userbyid(o.oprowner),
           'comment', r.comment)::text, NULL, NULL
FROM namespace n
JOIN pg_catalog.pg_operator o ON o.oprnamespace = n.oid
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND m.objid = o.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND r.objoid = o.oid
-- An operator without a function was only named, as the negator or commutator of another: a fact of that one. Nobody
-- can use it, and pg_dump leaves it out.
WHERE /*whole schemas*/ AND o.oprcode <> 0
UNION ALL
SELECT 'operator_class', n.name, NULL, label(c.opcname) || ' USING ' || a.amname, m.extension,
       pg_catalog.json_build_object(
           'family', pg_catalog.json_build_array(fn.nspname, f.opfname),
           'type', pg_catalog.format_type(c.opcintype, NULL),
           'key_type', CASE WHEN c.opckeytype <> 0 THEN pg_catalog.format_type(c.opckeytype, NULL) END,
           'default', c.opcdefault,
           'owner', pg_catalog.pg_get_userbyid(c.opcowner),
           'comment', r.comment)::text, NULL, NULL
FROM namespace n
JOIN pg_catalog.pg_opclass c ON c.opcnamespace = n.oid
JOIN pg_catalog.pg_am a ON a.oid = c.opcmethod
JOIN pg_catalog.pg_opfamily f ON f.oid = c.opcfamily
JOIN pg_catalog.pg_namespace fn ON fn.oid = f.opfnamespace
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_opclass'::pg_catalog.regclass AND m.objid = c.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_opclass'::pg_catalog.regclass AND r.objoid = c.oid
WHERE /*whole schemas*/
UNION ALL
SELECT 'operator_family', n.name, NULL, label(f.opfname) || ' USING ' || a.amname, m.extension,
       pg_catalog.json_build_object(
           'operators', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
                                    pg_catalog.format_type(o.amoplefttype, NULL), pg_catalog.format_type(o.amoprighttype, NULL),
                                    o.amopstrategy, o.amoppurpose, o.amopopr::pg_catalog.regoperator::text,
                                    (SELECT pg_catalog.format('%I.%I', sn.nspname, s.opfname) FROM pg_catalog.pg_opfamily s
                                     JOIN pg_catalog.pg_namespace sn ON sn.oid = s.opfnamespace WHERE s.oid = o.amopsortfamily))
                                    ORDER BY pg_catalog.format_type(o.amoplefttype, NULL) COLLATE "C",
                                             pg_catalog.format_type(o.amoprighttype, NULL) COLLATE "C", o.amopstrategy,
                                             o.amopopr::pg_catalog.regoperator::text COLLATE "C")
                         FROM pg_catalog.pg_amop o WHERE o.amopfamily = f.oid),
           'functions', (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
                                    pg_catalog.format_type(p.amproclefttype, NULL), pg_catalog.format_type(p.amprocrighttype, NULL),
                                    p.amprocnum, p.amproc::pg_catalog.oid::pg_catalog.regprocedure::text)
                                    ORDER BY pg_catalog.format_type(p.amproclefttype, NULL) COLLATE "C",
                                             pg_catalog.format_type(p.amprocrighttype, NULL) COLLATE "C", p.amprocnum)
                         FROM pg_catalog.pg_amproc p WHERE p.amprocfamily = f.oid),
           'owner', pg_catalog.pg_get_userbyid(f.opfowner),
           'comment', r.comment)::text, NULL, NULL
FROM namespace n
JOIN pg_catalog.pg_opfamily f ON f.opfnamespace = n.oid
JOIN pg_catalog.pg_am a ON a.oid = f.opfmethod
LEFT JOIN member m ON m.classid = 'pg_catalog.pg_opfamily'::pg_catalog.regclass AND m.objid = f.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_opfamily'::pg_catalog.regclass AND r.objoid = f.oid
WHERE /*whole schemas*/
