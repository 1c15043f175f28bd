-- Publications with what they publish, and subscriptions without their connection, which may hold a password.
SELECT 'publication', NULL, NULL, p.pubname::text, NULL,
       pg_catalog.json_build_object(
           'all_tables', p.puballtables, 'insert', p.pubinsert, 'update', p.pubupdate, 'delete', p.pubdelete,
           'truncate', p.pubtruncate, 'via_root', p.pubviaroot,
           'generated_columns', (SELECT NULLIF(pubgencols, 'n') FROM pg_catalog.pg_publication v WHERE v.oid = p.oid),
           'owner', pg_catalog.pg_get_userbyid(p.pubowner),
           'comment', r.comment,
           'security_labels', r.labels)::text, NULL, NULL
FROM (SELECT NULL::"char" AS pubgencols) absent
CROSS JOIN pg_catalog.pg_publication p
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_publication'::pg_catalog.regclass AND r.objoid = p.oid
WHERE /*whole*/
UNION ALL
SELECT 'published_table', n.nspname::text, c.relname::text, p.pubname::text, NULL,
       pg_catalog.json_build_object(
           -- Not 'columns', of which only the order of those that both sides have would count.
           'column_list', (SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum)
                           FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.prrelid AND a.attnum = ANY (t.prattrs)))::text,
       CASE WHEN t.prqual IS NOT NULL AND l.reason IS NULL THEN
           pg_catalog.json_build_object('where', pg_catalog.pg_get_expr(t.prqual, t.prrelid)) END::text,
       CASE WHEN t.prqual IS NOT NULL AND l.reason IS NOT NULL THEN
           pg_catalog.json_build_object('where', l.reason) END::text
FROM pg_catalog.pg_publication_rel t
JOIN pg_catalog.pg_publication p ON p.oid = t.prpubid
JOIN pg_catalog.pg_class c ON c.oid = t.prrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN locked l ON l.relid = t.prrelid
WHERE /*whole*/
UNION ALL
SELECT 'published_schema', n.nspname::text, NULL, p.pubname::text, NULL, '{}', NULL, NULL
FROM pg_catalog.pg_publication_namespace t
JOIN pg_catalog.pg_publication p ON p.oid = t.pnpubid
JOIN pg_catalog.pg_namespace n ON n.oid = t.pnnspid
WHERE /*whole*/
UNION ALL
SELECT 'subscription', NULL, NULL, s.subname::text, NULL,
       pg_catalog.json_build_object(
           'enabled', s.subenabled, 'binary', s.subbinary, 'stream', v.stream, 'two_phase', s.subtwophasestate <> 'd',
           'disable_on_error', s.subdisableonerr, 'slot', s.subslotname, 'synchronous_commit', s.subsynccommit,
           'publications', s.subpublications, 'password_required', v.password_required, 'run_as_owner', v.run_as_owner,
           'origin', v.origin, 'failover', v.failover,
           'owner', pg_catalog.pg_get_userbyid(s.subowner),
           'comment', r.comment,
           'security_labels', r.labels)::text, NULL, NULL
FROM (SELECT true AS subpasswordrequired, true AS subrunasowner, 'any' AS suborigin, false AS subfailover) absent
CROSS JOIN pg_catalog.pg_subscription s
CROSS JOIN LATERAL (SELECT subpasswordrequired AS password_required, subrunasowner AS run_as_owner,
                           suborigin AS origin, subfailover AS failover,
                           CASE w.substream::text WHEN 'false' THEN 'f' WHEN 'true' THEN 't' ELSE w.substream::text END AS stream
                    FROM pg_catalog.pg_subscription w WHERE w.oid = s.oid) v
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_subscription'::pg_catalog.regclass AND r.objoid = s.oid
WHERE /*whole*/ AND s.subdbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
