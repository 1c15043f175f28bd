-- Tables, views, materialized views and foreign tables.
SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view'
                      WHEN 'm' THEN 'materialized_view' WHEN 'f' THEN 'foreign_table'
                      ELSE 'relkind ' || c.relkind::text END,
       c.schema, c.name, c.name, c.extension,
       '{' || pg_catalog.concat_ws(', ',
           -- In order. Where the columns that a table inherits stand among its own depends on its history alone.
           '"columns": ' || (SELECT coalesce(pg_catalog.array_to_json(pg_catalog.array_agg(a.attname ORDER BY a.attnum)), '[]')
                             FROM pg_catalog.pg_attribute a
                             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                               AND (a.attinhcount = 0 OR c.relispartition))::text,
           '"owner": ' || pg_catalog.to_json(pg_catalog.pg_get_userbyid(c.relowner)::text),
           '"persistence": "' || c.relpersistence::text || '"',
           CASE WHEN c.relkind = 'p' THEN '"partitioned": true' END,
           CASE WHEN p.parents IS NOT NULL THEN
               CASE WHEN c.relispartition THEN '"partition_of": ' ELSE '"inherits": ' END || p.parents::text END,
           CASE WHEN c.reloftype <> 0 THEN
               '"of_type": ' || pg_catalog.to_json(pg_catalog.format_type(c.reloftype, NULL)) END,
           CASE WHEN c.relkind IN ('r', 'm', 'p') AND c.relam NOT IN (0, 2) THEN
               '"access_method": ' || (SELECT pg_catalog.to_json(a.amname::text)
                                       FROM pg_catalog.pg_am a WHERE a.oid = c.relam) END,
           CASE WHEN c.reltablespace <> 0 THEN
               '"tablespace": ' || (SELECT pg_catalog.to_json(s.spcname::text) FROM pg_catalog.pg_tablespace s
                                    WHERE s.oid = c.reltablespace) END,
           '"options": ' || options(c.reloptions),
           '"toast_options": ' || options(toast.reloptions),
           CASE WHEN c.relrowsecurity THEN '"row_security": true' END,
           CASE WHEN c.relforcerowsecurity THEN '"force_row_security": true' END,
           CASE WHEN c.relreplident NOT IN ('d', 'n') OR (c.relreplident = 'n' AND c.relkind IN ('r', 'p', 'm')) THEN
               '"replica_identity": "' || c.relreplident::text || '"' END,
           CASE WHEN c.relreplident = 'i' THEN '"replica_identity_index": '
               || (SELECT pg_catalog.to_json(i.relname::text) FROM pg_catalog.pg_index x
                   JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
                   WHERE x.indrelid = c.oid AND x.indisreplident) END,
           '"server": ' || pg_catalog.to_json(f.server),
           '"foreign_options": ' || options(f.ftoptions),
           '"acl": ' || acl(c.relacl, 'r', c.relowner),
           '"depends_on": ' || e.extensions::text,
           '"comment": ' || pg_catalog.to_json(r.comment),
           '"security_labels": ' || r.labels::text) || '}',
       CASE WHEN c.relkind IN ('v', 'm') OR c.relkind = 'p' OR c.relispartition THEN
           pg_catalog.json_build_object(
               'partition_key', CASE c.relkind WHEN 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END,
               'partition_bound', CASE WHEN c.relispartition THEN pg_catalog.pg_get_expr(c.relpartbound, 0) END,
               'definition', CASE WHEN c.relkind IN ('v', 'm') AND l.reason IS NULL THEN
                                 pg_catalog.pg_get_viewdef(c.oid) END) END::text,
       CASE WHEN l.reason IS NOT NULL THEN pg_catalog.json_build_object('definition', l.reason) END::text
FROM relation c
LEFT JOIN pg_catalog.pg_class toast ON toast.oid = c.reltoastrelid AND toast.reloptions IS NOT NULL
LEFT JOIN pg_catalog.pg_class u ON u.oid = c.parent
LEFT JOIN (SELECT i.inhrelid,
                  pg_catalog.json_agg(pg_catalog.json_build_array(pn.nspname, pc.relname) ORDER BY i.inhseqno) AS parents
           FROM pg_catalog.pg_inherits i
           JOIN pg_catalog.pg_class pc ON pc.oid = i.inhparent AND pc.relkind IN ('r', 'p', 'f')
           JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace GROUP BY 1) p ON p.inhrelid = c.oid
LEFT JOIN (SELECT ft.ftrelid, s.srvname::text AS server, ft.ftoptions
           FROM pg_catalog.pg_foreign_table ft
           JOIN pg_catalog.pg_foreign_server s ON s.oid = ft.ftserver) f ON f.ftrelid = c.oid
LEFT JOIN dependent e ON e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objid = c.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND r.objoid = c.oid AND r.objsubid = 0
LEFT JOIN (SELECT w.ev_class, pg_catalog.min(k.reason) AS reason
           FROM locked k
           JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                                      AND d.refobjid = k.relid
                                      AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
           JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid AND w.rulename = '_RETURN'
           GROUP BY w.ev_class) l ON l.ev_class = c.oid
WHERE c.relkind NOT IN ('S', 'c')
  AND (c.parent IS NULL
       OR c.relowner <> u.relowner OR c.relpersistence <> u.relpersistence OR c.reltablespace <> u.reltablespace
       OR c.reloptions IS NOT NULL OR toast.reloptions IS NOT NULL OR r.comment IS NOT NULL OR r.labels IS NOT NULL
       OR c.relrowsecurity <> u.relrowsecurity OR c.relforcerowsecurity <> u.relforcerowsecurity
       OR c.relreplident <> u.relreplident
       OR (c.relkind = 'r' AND c.relam <> coalesce(NULLIF(u.relam, 0), 2))
       -- What GRANT and REVOKE leave behind is what it was.
       OR (c.relacl IS NOT NULL
           AND NOT (c.relacl @> pg_catalog.acldefault('r', c.relowner) AND c.relacl <@ pg_catalog.acldefault('r', c.relowner))
           AND NOT (c.relacl @> coalesce(u.relacl, pg_catalog.acldefault('r', u.relowner))
                    AND c.relacl <@ coalesce(u.relacl, pg_catalog.acldefault('r', u.relowner)))))
