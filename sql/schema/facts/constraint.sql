-- Constraints of tables and domains. NOT NULL is a fact of its column, on every version. The rows that the server
-- keeps for the partitions of a foreign key follow from it.
, disabled AS MATERIALIZED (
    -- DISABLE TRIGGER switches a foreign key off.
    SELECT g.tgconstraint, pg_catalog.bool_or(g.tgenabled NOT IN ('O', 'A')) AS is_off,
           pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, c.relname, g.tgtype, g.tgenabled)
                               ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", g.tgtype) AS triggers
    FROM pg_catalog.pg_trigger g
    JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE g.tgconstraint <> 0 AND g.tgisinternal AND g.tgenabled <> 'O'
    GROUP BY g.tgconstraint
), owner AS (
    SELECT t.oid, 0::pg_catalog.oid AS type, t.schema, t.name, t.extension, t.parent FROM relation t
    UNION ALL
    SELECT 0, y.oid, n.name, y.typname::text, m.extension, NULL
    FROM namespace n
    JOIN pg_catalog.pg_type y ON y.typnamespace = n.oid AND y.typtype = 'd'
    LEFT JOIN member m ON m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND m.objid = y.oid
    WHERE /*whole schemas*/
)
SELECT 'constraint', t.schema, t.name, o.conname::text, t.extension,
       '{' || pg_catalog.concat_ws(', ',
           '"type": "' || o.contype::text || '"',
           CASE WHEN o.contype = 'c' THEN NULL
                WHEN o.conkey[2] IS NULL THEN '"columns": '
                    || (SELECT pg_catalog.json_build_array(a.attname) FROM pg_catalog.pg_attribute a
                        WHERE a.attrelid = o.conrelid AND a.attnum = o.conkey[1])::text
                ELSE '"columns": '
                    || (SELECT pg_catalog.json_agg(a.attname ORDER BY pg_catalog.array_position(o.conkey, a.attnum))
                        FROM pg_catalog.pg_attribute a
                        WHERE a.attrelid = o.conrelid AND a.attnum = ANY (o.conkey))::text END,
           CASE WHEN o.confrelid <> 0 THEN '"references": '
               || (SELECT pg_catalog.json_build_array(fn.nspname, f.relname)
                   FROM pg_catalog.pg_class f JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace
                   WHERE f.oid = o.confrelid)::text END,
           CASE WHEN o.convalidated THEN '"validated": true' END,
           CASE WHEN e.is_off IS NOT TRUE THEN '"enforced": true' END,
           '"triggers": ' || e.triggers::text,
           CASE WHEN o.condeferrable THEN '"deferrable": true' END,
           CASE WHEN o.condeferred THEN '"deferred": true' END,
           CASE WHEN o.contype = 'c' AND o.coninhcount > 0 THEN '"inherited": ' || o.coninhcount::text END,
           CASE WHEN o.contype = 'c' AND o.coninhcount > 0 AND o.conislocal THEN '"local": true' END,
           CASE WHEN i.reloptions IS NOT NULL THEN '"options": ' || options(i.reloptions) END,
           CASE WHEN i.reltablespace <> 0 THEN
               '"tablespace": ' || (SELECT pg_catalog.to_json(s.spcname::text)
                                    FROM pg_catalog.pg_tablespace s WHERE s.oid = i.reltablespace) END,
           CASE WHEN x.indisclustered THEN '"clustered": true' END,
           CASE WHEN NOT (x.indisvalid AND x.indisready) THEN '"index_invalid": true' END,
           CASE WHEN x.indexprs IS NOT NULL THEN
               '"statistics": ' || (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(b.attnum, b.attstattarget)
                                                               ORDER BY b.attnum)
                                    FROM pg_catalog.pg_attribute b
                                    WHERE b.attrelid = i.oid AND b.attstattarget >= 0)::text END,
           '"depends_on": ' || dx.extensions::text,
           '"index_comment": ' || pg_catalog.to_json(ri.comment),
           '"comment": ' || pg_catalog.to_json(r.comment)) || '}',
       -- A key of plain columns is defined by them.
       CASE WHEN o.contype IN ('p', 'u') AND NOT o.condeferrable AND x.indnatts = x.indnkeyatts
                 AND NOT x.indnullsnotdistinct AND NOT x.indisexclusion THEN NULL
            WHEN l.reason IS NULL THEN
           '{"definition": ' || pg_catalog.to_json(pg_catalog.pg_get_constraintdef(o.oid)) || '}' END,
       CASE WHEN l.reason IS NOT NULL THEN pg_catalog.json_build_object('definition', l.reason) END::text
FROM owner t
JOIN pg_catalog.pg_constraint o ON o.conrelid = t.oid AND o.contypid = t.type
LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = o.conindid AND o.contype IN ('p', 'u', 'x')
LEFT JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
LEFT JOIN disabled e ON e.tgconstraint = o.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND r.objoid = o.oid
LEFT JOIN pg_catalog.pg_inherits ih ON ih.inhrelid = i.oid AND t.parent IS NOT NULL
LEFT JOIN pg_catalog.pg_class u ON u.oid = ih.inhparent
LEFT JOIN dependent dx ON dx.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND dx.objid = i.oid
LEFT JOIN remark ri ON ri.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND ri.objoid = i.oid AND ri.objsubid = 0
LEFT JOIN locked l ON l.relid = o.conrelid AND o.contype IN ('c', 'x')
WHERE o.contype NOT IN ('t', 'n')
  AND NOT (o.contype = 'f' AND o.conparentid <> 0 AND r.comment IS NULL
           AND (e.tgconstraint IS NULL OR o.conparentid IN (SELECT p.tgconstraint FROM disabled p)))
  AND (t.parent IS NULL OR (o.conparentid = 0 AND o.coninhcount = 0) OR NOT o.convalidated OR e.tgconstraint IS NOT NULL
       OR r.comment IS NOT NULL OR ri.comment IS NOT NULL OR x.indisclustered
       OR i.reloptions IS DISTINCT FROM u.reloptions OR i.reltablespace <> u.reltablespace OR dx.extensions IS NOT NULL)
