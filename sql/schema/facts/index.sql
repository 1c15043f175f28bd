-- Indexes that no constraint stands for. The server's own description of an index waits for whoever changes the table
-- even where it need not, so it is asked for only where there are expressions.
, index AS MATERIALIZED (
    SELECT t.oid AS table, t.schema, t.name AS table_name, t.extension, t.parent, x.*, i.oid, i.relname, i.relam,
           i.reloptions, i.reltablespace, i.relispartition,
           x.indpred IS NOT NULL OR x.indexprs IS NOT NULL AS has_expressions
    FROM relation t
    JOIN pg_catalog.pg_index x ON x.indrelid = t.oid
    JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
    LEFT JOIN pg_catalog.pg_constraint o ON o.conindid = i.oid AND o.contype IN ('p', 'u', 'x')
    WHERE o.oid IS NULL
), key AS MATERIALIZED (
    SELECT i.oid,
           pg_catalog.array_agg(coalesce(a.attname, '(expression)') ORDER BY k.place)
               FILTER (WHERE k.place <= i.indnkeyatts) AS columns,
           pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY k.place)
               FILTER (WHERE k.place > i.indnkeyatts) AS included,
           pg_catalog.string_agg(pg_catalog.quote_ident(a.attname)
               || CASE WHEN i.indcollation[k.place - 1] NOT IN (0, a.attcollation) THEN
                      (SELECT pg_catalog.format(' COLLATE %I.%I', cn.nspname, co.collname)
                       FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
                       WHERE co.oid = i.indcollation[k.place - 1]) ELSE '' END
               || CASE WHEN oc.opcdefault AND b.options IS NULL
                              -- The default of the column's own type, unless that is the one of a type like it.
                              AND (oc.opcintype = a.atttypid
                                   OR NOT EXISTS (SELECT FROM pg_catalog.pg_opclass own
                                                  WHERE own.opcmethod = i.relam AND own.opcdefault
                                                    AND own.opcintype = a.atttypid)) THEN ''
                       ELSE ' ' || CASE WHEN ocn.nspname = 'pg_catalog' THEN ''
                                        ELSE pg_catalog.quote_ident(ocn.nspname) || '.' END
                            || pg_catalog.quote_ident(oc.opcname) || coalesce(' (' || b.options || ')', '') END
               || CASE i.indoption[k.place - 1] & 3
                      WHEN 1 THEN ' DESC NULLS LAST' WHEN 2 THEN ' NULLS FIRST' WHEN 3 THEN ' DESC' ELSE '' END,
               ', ' ORDER BY k.place) FILTER (WHERE k.place <= i.indnkeyatts) AS list,
           pg_catalog.json_agg(pg_catalog.json_build_array(k.place, b.attstattarget) ORDER BY k.place)
               FILTER (WHERE b.attstattarget >= 0) AS statistics
    FROM index i
    CROSS JOIN LATERAL pg_catalog.unnest(i.indkey) WITH ORDINALITY k (attnum, place)
    -- Each a lookup by key, where joining would read the whole catalog for a few rows of it.
    LEFT JOIN LATERAL (SELECT a.attname, a.attcollation, a.atttypid FROM pg_catalog.pg_attribute a
                       WHERE a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum <> 0 LIMIT 1) a ON true
    LEFT JOIN LATERAL (SELECT b.attstattarget,
                              (SELECT pg_catalog.string_agg(o, ', ') FROM pg_catalog.unnest(b.attoptions) o
                               WHERE o NOT LIKE 'pg\_attver=%') AS options
                       FROM pg_catalog.pg_attribute b
                       WHERE b.attrelid = i.oid AND b.attnum = k.place LIMIT 1) b ON true
    LEFT JOIN pg_catalog.pg_opclass oc ON k.place <= i.indnkeyatts AND oc.oid = i.indclass[k.place - 1]
    LEFT JOIN pg_catalog.pg_namespace ocn ON ocn.oid = oc.opcnamespace
    GROUP BY i.oid
)
SELECT 'index', i.schema, i.table_name, i.relname::text, i.extension,
       '{' || pg_catalog.concat_ws(', ',
           '"columns": ' || pg_catalog.array_to_json(k.columns)::text,
           CASE WHEN i.indisunique THEN '"unique": true' END,
           CASE WHEN i.indnullsnotdistinct THEN '"nulls_not_distinct": true' END,
           CASE WHEN i.indpred IS NOT NULL THEN '"partial": true' END,
           CASE WHEN i.indisvalid AND i.indisready THEN '"valid": true' ELSE '"valid": false' END,
           CASE WHEN i.indisclustered THEN '"clustered": true' END,
           CASE WHEN i.relispartition THEN '"partition_of": '
               || (SELECT pg_catalog.json_build_array(pn.nspname, p.relname) FROM pg_catalog.pg_inherits h
                   JOIN pg_catalog.pg_class p ON p.oid = h.inhparent
                   JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace WHERE h.inhrelid = i.oid)::text END,
           CASE WHEN i.reloptions IS NOT NULL THEN '"options": ' || options(i.reloptions) END,
           CASE WHEN i.reltablespace <> 0 THEN
               '"tablespace": ' || (SELECT pg_catalog.to_json(s.spcname::text)
                                    FROM pg_catalog.pg_tablespace s WHERE s.oid = i.reltablespace) END,
           '"statistics": ' || k.statistics::text,
           '"depends_on": ' || e.extensions::text,
           '"comment": ' || pg_catalog.to_json(r.comment)) || '}',
       CASE WHEN NOT i.has_expressions THEN
                '{"definition": ' || pg_catalog.to_json('USING ' || pg_catalog.quote_ident(am.amname) || ' (' || k.list || ')'
                    || coalesce(' INCLUDE (' || k.included || ')', '')
                    || CASE WHEN i.indnullsnotdistinct THEN ' NULLS NOT DISTINCT' ELSE '' END) || '}'
            WHEN l.reason IS NULL THEN
                '{"definition": ' || pg_catalog.to_json(pg_catalog.substring(pg_catalog.pg_get_indexdef(i.oid),
                                                                            ' (USING .*)$')) || '}' END,
       CASE WHEN i.has_expressions AND l.reason IS NOT NULL THEN
           pg_catalog.json_build_object('definition', l.reason) END::text
FROM index i
JOIN key k ON k.oid = i.oid
JOIN pg_catalog.pg_am am ON am.oid = i.relam
LEFT JOIN dependent e ON e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objid = i.oid
LEFT JOIN remark r ON r.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND r.objoid = i.oid AND r.objsubid = 0
LEFT JOIN locked l ON l.relid = i.indrelid
LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = i.oid AND i.parent IS NOT NULL
LEFT JOIN pg_catalog.pg_class u ON u.oid = h.inhparent
WHERE i.parent IS NULL OR NOT i.relispartition OR NOT i.indisvalid OR i.indisclustered
   OR i.reloptions IS DISTINCT FROM u.reloptions OR i.reltablespace <> u.reltablespace
   OR r.comment IS NOT NULL OR k.statistics IS NOT NULL OR e.extensions IS NOT NULL
