-- What a new partition of $1 is made of beyond its columns: statements, cut where the partition's name goes. What a
-- partitioned table cannot hold itself (indexes and triggers of single partitions) is taken from the partition $2.
-- $3: storage parameters. $4: the table is for rows that come in before it is attached: indexes are built when they are
-- in, which takes a third of the time, and foreign keys are proved before anybody waits for the attaching.
WITH parent AS (
    SELECT c.*, n.nspname, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1
), model AS (
    SELECT c.*, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $2
), grantee AS (
    SELECT a.grantee, a.privilege_type, a.is_grantable, NULL::name AS attname
    FROM parent p, pg_catalog.aclexplode(p.relacl) a WHERE a.grantee <> p.relowner
    UNION ALL
    SELECT a.grantee, a.privilege_type, a.is_grantable, t.attname
    FROM parent p JOIN pg_catalog.pg_attribute t ON t.attrelid = p.oid AND t.attnum > 0 AND NOT t.attisdropped,
         pg_catalog.aclexplode(t.attacl) a WHERE a.grantee <> p.relowner
), role AS (
    SELECT 0::oid AS oid, 'PUBLIC' AS name UNION ALL SELECT r.oid, pg_catalog.quote_ident(r.rolname) FROM pg_catalog.pg_roles r
), index AS (
    SELECT x.relname, i.indexrelid, k.oid AS constraint, k.conname, pg_catalog.pg_get_indexdef(i.indexrelid) AS text,
           CASE WHEN i.indisunique THEN 'CREATE UNIQUE INDEX ' ELSE 'CREATE INDEX ' END AS command,
           -- What only LIKE brings, and what the owner may have lost the right to name.
           x.reltablespace <> 0 OR k.oid IS NOT NULL AND x.reloptions IS NOT NULL
           OR EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = x.oid
                      AND d.refclassid <> 'pg_catalog.pg_class'::regclass AND d.refclassid <> 'pg_catalog.pg_constraint'::regclass
                      AND d.refobjid >= 16384)
           OR pg_catalog.obj_description(x.oid, 'pg_class') IS NOT NULL
           OR EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = x.oid AND coalesce(a.attstattarget, -1) >= 0) AS needs_like
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
    WHERE i.indrelid = $1
), late AS (
    SELECT $4 AND NOT EXISTS (SELECT FROM index WHERE needs_like) AS indexes
), statement (place, name, before, after) AS (
    -- Identity stays with the parent: LIKE … INCLUDING ALL would make ATTACH fail.
    SELECT 1, '', 'CREATE ' || CASE p.relpersistence WHEN 'u' THEN 'UNLOGGED ' ELSE '' END || 'TABLE ',
           ' (LIKE ' || p.name || ' INCLUDING ALL EXCLUDING IDENTITY' || CASE WHEN late.indexes THEN ' EXCLUDING INDEXES)' ELSE ')' END
           || coalesce((SELECT ' USING ' || pg_catalog.quote_ident(a.amname) FROM pg_catalog.pg_am a
                        WHERE a.amname <> 'heap'
                          AND a.oid = coalesce(nullif(p.relam, 0), (SELECT m.relam FROM model m WHERE m.relkind = 'r'))), '')
           || coalesce(' WITH (' || nullif(pg_catalog.array_to_string($3, ', '), '') || ')', '')
           || coalesce((SELECT ' TABLESPACE ' || pg_catalog.quote_ident(s.spcname) FROM pg_catalog.pg_tablespace s
                        WHERE s.oid = p.reltablespace), '')
    FROM parent p, late
    UNION ALL
    -- What default privileges gave and the parent does not.
    SELECT DISTINCT 2, r.name, 'REVOKE ALL ON ', ' FROM ' || r.name
    FROM parent p JOIN pg_catalog.pg_default_acl d
           ON d.defaclrole = p.relowner AND d.defaclobjtype = 'r' AND d.defaclnamespace IN (0, p.relnamespace),
         pg_catalog.aclexplode(d.defaclacl) a JOIN role r ON r.oid = a.grantee
    WHERE a.grantee <> p.relowner
    UNION ALL
    SELECT 3, r.name,
           'GRANT ' || pg_catalog.string_agg(g.privilege_type, ', ' ORDER BY g.privilege_type) || ' ON ',
           ' TO ' || r.name || CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
    FROM grantee g JOIN role r ON r.oid = g.grantee WHERE g.attname IS NULL GROUP BY r.name, g.is_grantable
    UNION ALL
    SELECT 4, r.name || g.privilege_type,
           pg_catalog.format('GRANT %s (%s) ON ', g.privilege_type,
                             pg_catalog.string_agg(pg_catalog.quote_ident(g.attname), ', ' ORDER BY g.attname)),
           ' TO ' || r.name || CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
    FROM grantee g JOIN role r ON r.oid = g.grantee WHERE g.attname IS NOT NULL
    GROUP BY r.name, g.privilege_type, g.is_grantable
    UNION ALL
    SELECT 5, '', 'ALTER TABLE ', f.what
    FROM parent p, LATERAL (VALUES (p.relrowsecurity, ' ENABLE ROW LEVEL SECURITY'),
                                   (p.relforcerowsecurity, ' FORCE ROW LEVEL SECURITY')) f (is_set, what)
    WHERE f.is_set
    UNION ALL
    SELECT 6, l.polname, pg_catalog.format('CREATE POLICY %I ON ', l.polname),
           pg_catalog.format(' AS %s FOR %s TO %s%s%s',
               CASE WHEN l.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
               CASE l.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
               (SELECT pg_catalog.string_agg(r.name, ', ' ORDER BY r.name) FROM role r WHERE r.oid = ANY (l.polroles)),
               ' USING (' || pg_catalog.pg_get_expr(l.polqual, l.polrelid) || ')',
               ' WITH CHECK (' || pg_catalog.pg_get_expr(l.polwithcheck, l.polrelid) || ')')
    FROM pg_catalog.pg_policy l WHERE l.polrelid = $1
    UNION ALL
    SELECT 7, '', 'COMMENT ON TABLE ', ' IS ' || pg_catalog.quote_literal(d.description)
    FROM pg_catalog.pg_description d
    WHERE d.objoid = $1 AND d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objsubid = 0
    UNION ALL
    SELECT 8, t.attname, 'ALTER TABLE ', pg_catalog.format(' ALTER COLUMN %I SET STATISTICS %s', t.attname, t.attstattarget)
    FROM pg_catalog.pg_attribute t
    WHERE t.attrelid = $1 AND t.attnum > 0 AND NOT t.attisdropped AND coalesce(t.attstattarget, -1) >= 0
    UNION ALL
    -- pg_attver is the server's own mark, not an option that anybody set.
    SELECT 8, t.attname, 'ALTER TABLE ', pg_catalog.format(' ALTER COLUMN %I SET (%s)', t.attname, pg_catalog.string_agg(o, ', '))
    FROM pg_catalog.pg_attribute t, pg_catalog.unnest(t.attoptions) o
    WHERE t.attrelid = $1 AND t.attnum > 0 AND NOT t.attisdropped AND NOT pg_catalog.starts_with(o, 'pg_attver=')
    GROUP BY t.attname
    UNION ALL
    SELECT 10, x.relname, x.command || 'ON ',
           -- Names may hold anything: the definition is cut where they end, not where they seem to.
           pg_catalog.substr(x.text, 1 + pg_catalog.length(pg_catalog.format('%s%I ON ONLY %s', x.command, x.relname, p.name)))
    FROM parent p, late, index x WHERE late.indexes AND x.constraint IS NULL
    UNION ALL
    SELECT 11, x.conname, 'ALTER TABLE ', ' ADD ' || pg_catalog.pg_get_constraintdef(x.constraint)
    FROM late, index x WHERE late.indexes AND x.constraint IS NOT NULL
    UNION ALL
    SELECT 12, x.relname, CASE WHEN i.indisunique THEN 'CREATE UNIQUE INDEX ON ' ELSE 'CREATE INDEX ON ' END,
           pg_catalog.substr(d.text, 1 + pg_catalog.length(pg_catalog.format('CREATE %sINDEX %I ON %s',
               CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, x.relname, m.name)))
    FROM model m JOIN pg_catalog.pg_index i ON i.indrelid = m.oid AND i.indisvalid
    JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid,
         LATERAL (SELECT pg_catalog.pg_get_indexdef(i.indexrelid)) d (text)
    WHERE m.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = i.indexrelid)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = m.oid)
    UNION ALL
    SELECT 13, k.conname, 'ALTER TABLE ', ' ADD ' || pg_catalog.pg_get_constraintdef(k.oid)
           || CASE WHEN k.contype <> 'x' AND NOT k.condeferrable AND x.reloptions IS NOT NULL
                   THEN ' WITH (' || pg_catalog.array_to_string(x.reloptions, ', ') || ')' ELSE '' END
    FROM model m JOIN pg_catalog.pg_constraint k ON k.conrelid = m.oid AND k.contype IN ('p', 'u', 'x')
    JOIN pg_catalog.pg_class x ON x.oid = k.conindid
    WHERE m.relkind = 'r' AND k.conparentid = 0
    UNION ALL
    -- ATTACH takes it for the table's own. One to the table itself may need rows of this very partition.
    SELECT 14, k.conname, 'ALTER TABLE ', pg_catalog.format(' ADD CONSTRAINT %I %s', k.conname, pg_catalog.pg_get_constraintdef(k.oid))
    FROM parent p JOIN pg_catalog.pg_constraint k ON k.conrelid = p.oid AND k.contype = 'f' AND k.confrelid <> p.oid
    -- One to a partitioned table stands there once more for each of its partitions.
    JOIN pg_catalog.pg_class r ON r.oid = k.confrelid AND r.relkind = 'r' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_constraint w WHERE w.oid = k.conparentid AND w.conrelid = k.conrelid)
    WHERE $4 AND pg_catalog.has_table_privilege(p.relowner, r.oid, 'REFERENCES')
      AND pg_catalog.has_schema_privilege(p.relowner, r.relnamespace, 'USAGE')
    UNION ALL
    SELECT 15, t.tgname, pg_catalog.left(d.text, d.cut + 3),
           pg_catalog.substr(d.text, d.cut + 4 + pg_catalog.length(m.name))
    FROM model m JOIN pg_catalog.pg_trigger t ON t.tgrelid = m.oid AND NOT t.tgisinternal AND t.tgparentid = 0,
         LATERAL (SELECT g.text, g.name_end + pg_catalog.strpos(pg_catalog.substr(g.text, g.name_end + 1), ' ON ' || m.name || ' ')
                  FROM (SELECT pg_catalog.pg_get_triggerdef(t.oid), pg_catalog.length(pg_catalog.format('CREATE TRIGGER %I', t.tgname))) g (text, name_end)
                 ) d (text, cut)
    WHERE m.relkind = 'r'
    UNION ALL
    -- Without a model: an event table's triggers that keep its keys, for who writes to a partition directly.
    SELECT 15, t.tgname, pg_catalog.left(d.text, d.cut + 3),
           pg_catalog.replace(pg_catalog.substr(d.text, d.cut + 4 + pg_catalog.length(p.name)), '(''parent'')', '(''partition'')')
    FROM parent p JOIN pg_catalog.pg_trigger t ON t.tgrelid = p.oid AND pg_catalog.starts_with(t.tgname::text, 'opdb_keep_keys_'),
         LATERAL (SELECT g.text, pg_catalog.strpos(g.text, ' ON ' || p.name || ' ')
                  FROM pg_catalog.pg_get_triggerdef(t.oid) g (text)) d (text, cut)
    WHERE $2 IS NULL
    UNION ALL
    SELECT 16, t.tgname, 'ALTER TABLE ',
           pg_catalog.format(' %s TRIGGER %I',
               CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, t.tgname)
    FROM model m JOIN pg_catalog.pg_trigger t ON t.tgrelid = m.oid AND NOT t.tgisinternal AND t.tgparentid = 0
    WHERE m.relkind = 'r' AND t.tgenabled <> 'O'
    UNION ALL
    SELECT 9, '', 'ALTER TABLE ', CASE p.relreplident WHEN 'f' THEN ' REPLICA IDENTITY FULL' ELSE ' REPLICA IDENTITY NOTHING' END
    FROM parent p WHERE p.relreplident IN ('f', 'n')
)
SELECT before, after, place >= 10 AS is_late FROM statement ORDER BY place, name
