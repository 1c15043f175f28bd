-- What makes table $1 into one that is partitioned by column $2: statements of two phases, in order.
-- create: the new table, before it has partitions; swap: its taking the place, before and after the views are made again.
-- $3: whether unique keys are widened by the column. Names of what is new are made of OIDs until the swap.
WITH source AS (
    SELECT c.*, n.nspname, a.attnum AS key, pg_catalog.quote_ident(a.attname) AS column,
           pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
           pg_catalog.format('%I.%I', n.nspname, 'opdb_new_' || c.oid) AS target
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = $2 AND a.attnum > 0
    WHERE c.oid = $1
), index AS (
    SELECT i.*, x.relname, k.oid AS constraint, k.contype, s.name, s.target, s.column, s.nspname,
           -- REINDEX CONCURRENTLY changes an index's OID, and nothing else of it.
           pg_catalog.format('opdb_new_%s_%s', s.oid, pg_catalog.row_number() OVER (ORDER BY x.relname)) AS new_name, pg_catalog.pg_get_indexdef(i.indexrelid) AS text,
           i.indisunique AND NOT s.key = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1]) AS is_widened,
           (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY o.place)
            FROM pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY o (attnum, place)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = o.attnum
            WHERE o.place <= i.indnkeyatts) || ', ' || s.column AS wide,
           coalesce(' INCLUDE (' || (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY o.place)
            FROM pg_catalog.unnest(i.indkey::smallint[]) WITH ORDINALITY o (attnum, place)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = o.attnum
            WHERE o.place > i.indnkeyatts AND o.attnum <> s.key) || ')', '') AS also,
           CASE WHEN i.indnullsnotdistinct THEN ' NULLS NOT DISTINCT' ELSE '' END AS nulls
    FROM source s JOIN pg_catalog.pg_index i ON i.indrelid = s.oid JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u')
    -- Those of a REINDEX CONCURRENTLY come and go.
    WHERE i.indisvalid
), statistics AS (
    SELECT e.*, s.name, s.target, pg_catalog.format('%I.%I', n.nspname, e.stxname) AS own, pg_catalog.quote_ident(n.nspname) AS schema,
           pg_catalog.pg_get_statisticsobjdef(e.oid) AS text
    FROM source s JOIN pg_catalog.pg_statistic_ext e ON e.stxrelid = s.oid JOIN pg_catalog.pg_namespace n ON n.oid = e.stxnamespace
), trigger AS (
    SELECT t.*, s.target, s.name, pg_catalog.pg_get_triggerdef(t.oid) AS text, ' ON ' || s.name || ' ' AS mark,
           -- A name may hold anything: what follows it is looked through.
           pg_catalog.length(pg_catalog.format('CREATE TRIGGER %I', t.tgname)) AS name_end
    FROM source s JOIN pg_catalog.pg_trigger t ON t.tgrelid = s.oid AND NOT t.tgisinternal
    WHERE t.tgfoid IS DISTINCT FROM pg_catalog.to_regproc(pg_catalog.format('%I.%I', s.nspname, 'opdb_capture_' || s.oid))
), sequence AS (
    SELECT q.*, s.name, s.target, a.attname, a.attidentity, n.nspname AS schema,
           -- Before the new table is there, as the server would call it.
           coalesce((SELECT x.relname FROM pg_catalog.pg_class p
                     JOIN pg_catalog.pg_attribute b ON b.attrelid = p.oid AND b.attname = a.attname
                     JOIN pg_catalog.pg_depend e ON e.refclassid = 'pg_catalog.pg_class'::regclass AND e.refobjid = p.oid AND e.refobjsubid = b.attnum
                          AND e.classid = 'pg_catalog.pg_class'::regclass AND e.deptype = 'i'
                     JOIN pg_catalog.pg_class x ON x.oid = e.objid AND x.relkind = 'S'
                     WHERE p.relname = 'opdb_new_' || s.oid AND p.relnamespace = s.relnamespace),
                    'opdb_new_' || s.oid || '_' || a.attname || '_seq') AS new_name
    FROM source s JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = s.oid
         AND d.classid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0
    JOIN pg_catalog.pg_class q ON q.oid = d.objid AND q.relkind = 'S'
    JOIN pg_catalog.pg_namespace n ON n.oid = q.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = s.oid AND a.attnum = d.refobjsubid
), kept AS (
    -- What the old table's things are called from the swap on.
    SELECT relname, oid, CASE WHEN pg_catalog.octet_length(relname::text) <= 49 THEN relname || '_unpartitioned' ELSE 'opdb_old_' || oid END AS old_name
    FROM (SELECT relname, oid FROM source UNION ALL SELECT relname, indexrelid FROM index UNION ALL SELECT stxname, oid FROM statistics
          UNION ALL SELECT relname, oid FROM sequence WHERE attidentity <> '') n
), foreign_key AS (
    SELECT k.*, s.name AS table, k.conrelid::regclass::text AS other FROM source s
    JOIN pg_catalog.pg_constraint k ON s.oid IN (k.conrelid, k.confrelid) AND k.contype = 'f' AND k.conparentid = 0
), statement (phase, place, name, text) AS (
    SELECT 'create', 1, '', pg_catalog.format('CREATE TABLE %s (LIKE %s INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS) PARTITION BY RANGE (%s)%s',
               s.target, s.name, s.column, (SELECT ' TABLESPACE ' || pg_catalog.quote_ident(b.spcname) FROM pg_catalog.pg_tablespace b WHERE b.oid = s.reltablespace))
    FROM source s
    UNION ALL
    SELECT 'create', CASE i.contype WHEN 'p' THEN 2 ELSE 3 END, i.relname, CASE
        WHEN i.constraint IS NOT NULL THEN pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s', i.target, i.new_name,
            CASE WHEN NOT i.is_widened THEN pg_catalog.pg_get_constraintdef(i.constraint)
                 WHEN i.contype = 'p' THEN pg_catalog.format('PRIMARY KEY (%s)%s', i.wide, i.also)
                 ELSE pg_catalog.format('UNIQUE%s (%s)%s', i.nulls, i.wide, i.also) END)
        WHEN i.is_widened THEN pg_catalog.format('CREATE UNIQUE INDEX %I ON %s (%s)%s%s', i.new_name, i.target, i.wide, i.also, i.nulls)
        ELSE pg_catalog.format('CREATE %sINDEX %I ON %s%s', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, i.new_name, i.target,
            pg_catalog.substr(i.text, pg_catalog.strpos(i.text, ' ON ' || i.name || ' USING ') + pg_catalog.length(' ON ' || i.name))) END
    FROM index i
    UNION ALL
    SELECT 'create', 4, i.relname, pg_catalog.format('COMMENT ON INDEX %I.%I IS %L', i.nspname, i.new_name, d.description)
    FROM index i JOIN pg_catalog.pg_description d ON d.objoid = i.indexrelid AND d.classoid = 'pg_catalog.pg_class'::regclass AND d.objsubid = 0
    UNION ALL
    SELECT 'create', 4, i.relname, pg_catalog.format('COMMENT ON CONSTRAINT %I ON %s IS %L', i.new_name, i.target, d.description)
    FROM index i JOIN pg_catalog.pg_description d ON d.objoid = i.constraint AND d.classoid = 'pg_catalog.pg_constraint'::regclass
    UNION ALL
    SELECT 'create', 5, e.stxname, pg_catalog.format('CREATE STATISTICS %s.%I%s FROM %s', e.schema, 'opdb_new_' || e.oid,
               pg_catalog.left(r.rest, -pg_catalog.length(' FROM ' || e.name)), e.target)
    FROM statistics e, LATERAL (SELECT pg_catalog.substr(e.text, pg_catalog.length('CREATE STATISTICS ' || e.own) + 1)) r (rest)
    UNION ALL
    SELECT 'create', 6, '', pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', i.target, i.new_name)
    FROM index i JOIN source s ON s.relreplident = 'i' WHERE i.indisreplident
    UNION ALL
    SELECT 'create', 7, t.tgname, pg_catalog.left(t.text, c.cut + 3) || t.target
           || pg_catalog.substr(t.text, c.cut + pg_catalog.length(t.mark) - 1)
    FROM trigger t, LATERAL (SELECT t.name_end + pg_catalog.strpos(pg_catalog.substr(t.text, t.name_end + 1), t.mark)) c (cut)
    UNION ALL
    -- Nothing fires while rows are copied.
    SELECT 'create', 8, t.tgname, pg_catalog.format('ALTER TABLE %s DISABLE TRIGGER %I', t.target, t.tgname) FROM trigger t
    UNION ALL
    SELECT 'create', 8, t.tgname, pg_catalog.format('COMMENT ON TRIGGER %I ON %s IS %L', t.tgname, t.target, d.description)
    FROM trigger t JOIN pg_catalog.pg_description d ON d.objoid = t.oid AND d.classoid = 'pg_catalog.pg_trigger'::regclass
    UNION ALL
    SELECT 'swap', 1, k.conname, pg_catalog.format('ALTER TABLE %s DROP CONSTRAINT %I', k.other, k.conname) FROM foreign_key k
    UNION ALL
    SELECT 'swap', 2, o.relname, pg_catalog.format('ALTER %s %I.%I RENAME TO %I', CASE WHEN i.indexrelid IS NULL THEN 'SEQUENCE' ELSE 'INDEX' END,
               coalesce(i.nspname, q.schema), o.relname, o.old_name)
    FROM kept o LEFT JOIN index i ON i.indexrelid = o.oid LEFT JOIN sequence q ON q.oid = o.oid WHERE coalesce(i.indexrelid, q.oid) IS NOT NULL
    UNION ALL
    SELECT 'swap', 2, e.stxname, pg_catalog.format('ALTER STATISTICS %s RENAME TO %I', e.own, o.old_name) FROM statistics e JOIN kept o ON o.oid = e.oid
    UNION ALL
    SELECT 'swap', 3, '', pg_catalog.format('ALTER TABLE %s RENAME TO %I', s.name, o.old_name) FROM source s JOIN kept o ON o.oid = s.oid
    UNION ALL
    SELECT 'swap', 4, '', pg_catalog.format('ALTER TABLE %s RENAME TO %I', s.target, s.relname) FROM source s
    UNION ALL
    SELECT 'swap', 5, i.relname, pg_catalog.format('ALTER INDEX %I.%I RENAME TO %I', i.nspname, i.new_name, i.relname) FROM index i
    UNION ALL
    SELECT 'swap', 5, e.stxname, pg_catalog.format('ALTER STATISTICS %s.%I RENAME TO %I', e.schema, 'opdb_new_' || e.oid, e.stxname) FROM statistics e
    UNION ALL
    SELECT 'swap', 5, q.relname, pg_catalog.format('ALTER SEQUENCE %I.%I RENAME TO %I', q.schema, q.new_name, q.relname) FROM sequence q WHERE q.attidentity <> ''
    UNION ALL
    SELECT 'swap', 6, q.relname, CASE WHEN q.attidentity = '' THEN pg_catalog.format('ALTER SEQUENCE %I.%I OWNED BY %s.%I', q.schema, q.relname, q.name, q.attname)
           ELSE pg_catalog.format('SELECT pg_catalog.setval(%L, last_value, is_called) FROM %I.%I', pg_catalog.format('%I.%I', q.schema, q.relname), q.schema, o.old_name) END
    FROM sequence q LEFT JOIN kept o ON o.oid = q.oid
    UNION ALL
    SELECT 'swap', 7, q.relname || r.rolname, pg_catalog.format('GRANT %s ON SEQUENCE %I.%I TO %s', a.privilege_type, q.schema, q.relname, r.rolname)
    FROM sequence q, pg_catalog.aclexplode(q.relacl) a
    JOIN (SELECT 0::oid AS oid, 'PUBLIC' AS rolname UNION ALL SELECT oid, pg_catalog.quote_ident(rolname) FROM pg_catalog.pg_roles) r ON r.oid = a.grantee
    WHERE q.attidentity <> '' AND a.grantee <> q.relowner
    UNION ALL
    SELECT 'swap', 8, t.tgname, pg_catalog.format('ALTER TABLE %s ENABLE %sTRIGGER %I', t.name, CASE t.tgenabled WHEN 'A' THEN 'ALWAYS ' WHEN 'R' THEN 'REPLICA ' ELSE '' END, t.tgname)
    FROM trigger t WHERE t.tgenabled <> 'D'
    UNION ALL
    SELECT 'swap', 9, k.conname, pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID', k.other, k.conname, pg_catalog.pg_get_constraintdef(k.oid))
    FROM foreign_key k WHERE k.confrelid = $1
)
SELECT phase, text FROM statement ORDER BY phase, place, name
