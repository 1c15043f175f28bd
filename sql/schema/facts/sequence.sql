-- Sequences, also those of serial and identity columns; never where they stand.
, owned AS MATERIALIZED (
    SELECT d.objid, d.deptype = 'i' AS identity,
           pg_catalog.json_build_array(n.nspname, p.relname, a.attname)::text AS owner
    FROM pg_catalog.pg_sequence s
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = s.seqrelid
                               AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
                               AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    JOIN pg_catalog.pg_class p ON p.oid = d.refobjid
    JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = p.oid AND a.attnum = d.refobjsubid
)
SELECT 'sequence', t.schema, t.name, t.name, t.extension,
       '{' || pg_catalog.concat_ws(', ',
           '"type": ' || pg_catalog.to_json(pg_catalog.format_type(s.seqtypid, NULL)),
           '"start": ' || s.seqstart, '"increment": ' || s.seqincrement,
           '"minimum": ' || s.seqmin, '"maximum": ' || s.seqmax, '"cache": ' || s.seqcache,
           CASE WHEN s.seqcycle THEN '"cycle": true' END,
           '"persistence": "' || c.relpersistence::text || '"',
           '"owned_by": ' || o.owner,
           CASE WHEN o.identity THEN '"identity": true' END,
           -- One that belongs to a column belongs to the owner of its table.
           CASE WHEN o.owner IS NULL THEN
               '"owner": ' || pg_catalog.to_json(pg_catalog.pg_get_userbyid(c.relowner)::text) END,
           '"acl": ' || acl(c.relacl, 's', c.relowner),
           '"comment": ' || pg_catalog.to_json(r.comment),
           '"security_labels": ' || r.labels::text) || '}', NULL, NULL
FROM relation t
JOIN pg_catalog.pg_class c ON c.oid = t.oid
JOIN pg_catalog.pg_sequence s ON s.seqrelid = t.oid
LEFT JOIN owned o ON o.objid = t.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND r.objoid = t.oid AND r.objsubid = 0
WHERE t.relkind = 'S'
