-- Sequences, also those of serial and identity columns; never where they stand.
, owned AS MATERIALIZED (
    SELECT d.objid, d.deptype = 'i' AS identity,
           pg_catalog.json_build_array(n.nspname, p.relname,
               (SELECT a.attname FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = d.refobjid AND a.attnum = d.refobjsubid))::text AS owner
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_sequence s ON s.seqrelid = d.objid
    JOIN pg_catalog.pg_class p ON p.oid = d.refobjid
    JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')
      AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0
)
SELECT 'sequence', c.schema, c.name, c.name, c.extension,
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
FROM relation c
JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
LEFT JOIN owned o ON o.objid = c.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND r.objoid = c.oid AND r.objsubid = 0
WHERE c.relkind = 'S'
