-- Where partitions differ from the managed table they belong to ($1, or all for NULL), and what would make them equal.
WITH pair AS (
    SELECT p.oid AS parent, p.relowner AS parent_owner, p.relacl AS parent_acl, p.relrowsecurity AS parent_security,
           p.relforcerowsecurity AS parent_forced, p.relreplident AS parent_identity, p.relpersistence AS parent_persistence,
           c.*, s.storage, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
    FROM opdb.partition_set s
    JOIN pg_catalog.pg_class p ON p.oid = s.parent
    JOIN pg_catalog.pg_inherits i ON i.inhparent = p.oid AND NOT i.inhdetachpending
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relkind IN ('r', 'p')
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE $1 IS NULL OR s.parent = $1
), role AS (
    SELECT 0::oid AS oid, 'PUBLIC' AS name UNION ALL SELECT r.oid, pg_catalog.quote_ident(r.rolname) FROM pg_catalog.pg_roles r
), grant_of AS (
    SELECT p.oid, true AS of_parent, a.grantee, a.privilege_type, a.is_grantable, NULL::name AS attname
    FROM pair p, pg_catalog.aclexplode(p.parent_acl) a WHERE a.grantee <> p.parent_owner
    UNION ALL
    SELECT p.oid, false, a.grantee, a.privilege_type, a.is_grantable, NULL
    FROM pair p, pg_catalog.aclexplode(p.relacl) a WHERE a.grantee <> p.relowner
    UNION ALL
    SELECT p.oid, t.attrelid = p.parent, a.grantee, a.privilege_type, a.is_grantable, t.attname
    FROM pair p JOIN pg_catalog.pg_attribute t ON t.attrelid IN (p.parent, p.oid) AND t.attnum > 0 AND NOT t.attisdropped,
         pg_catalog.aclexplode(t.attacl) a WHERE a.grantee NOT IN (p.parent_owner, p.relowner)
), grants AS (
    SELECT oid, grantee, privilege_type, attname,
           pg_catalog.bool_or(of_parent) AS in_parent, pg_catalog.bool_or(NOT of_parent) AS in_child,
           pg_catalog.bool_or(is_grantable) FILTER (WHERE of_parent) AS parent_grantable,
           pg_catalog.bool_or(is_grantable) FILTER (WHERE NOT of_parent) AS child_grantable
    FROM grant_of GROUP BY oid, grantee, privilege_type, attname
), policy AS (
    SELECT l.polrelid AS relation, l.polname AS name, pg_catalog.format(' AS %s FOR %s TO %s%s%s',
               CASE WHEN l.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
               CASE l.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
               (SELECT pg_catalog.string_agg(r.name, ', ' ORDER BY r.name) FROM role r WHERE r.oid = ANY (l.polroles)),
               ' USING (' || pg_catalog.pg_get_expr(l.polqual, l.polrelid) || ')',
               ' WITH CHECK (' || pg_catalog.pg_get_expr(l.polwithcheck, l.polrelid) || ')') AS definition
    FROM pg_catalog.pg_policy l WHERE l.polrelid IN (SELECT p.parent FROM pair p UNION ALL SELECT p.oid FROM pair p)
), found (parent, name, aspect, detail, ddl) AS (
    SELECT p.parent, p.name, 'owner', pg_catalog.format('owned by %s, the table by %s', c.name, r.name),
           pg_catalog.format('ALTER TABLE %s OWNER TO %s', p.name, r.name)
    FROM pair p JOIN role r ON r.oid = p.parent_owner JOIN role c ON c.oid = p.relowner WHERE p.relowner <> p.parent_owner
    UNION ALL
    SELECT p.parent, p.name, 'privileges',
           pg_catalog.format(CASE WHEN g.in_parent THEN '%s of %s is missing' ELSE '%s of %s is too much' END, w.what, r.name),
           pg_catalog.format(CASE WHEN g.in_parent THEN 'GRANT %s ON %s TO %s%s' ELSE 'REVOKE %s ON %s FROM %s' END,
                             w.what, p.name, r.name, CASE WHEN g.parent_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM grants g JOIN pair p USING (oid) JOIN role r ON r.oid = g.grantee,
         LATERAL (SELECT g.privilege_type || coalesce(' (' || pg_catalog.quote_ident(g.attname) || ')', '')) w (what)
    WHERE g.in_parent IS DISTINCT FROM g.in_child OR g.parent_grantable AND NOT g.child_grantable
    UNION ALL
    SELECT p.parent, p.name, 'row_security', 'row level security is ' || CASE WHEN f.child THEN 'on' ELSE 'off' END || f.forced,
           pg_catalog.format('ALTER TABLE %s %s ROW LEVEL SECURITY', p.name, CASE WHEN f.parent THEN f.yes ELSE f.no END)
    FROM pair p, LATERAL (VALUES (p.parent_security, p.relrowsecurity, '', 'ENABLE', 'DISABLE'),
                                 (p.parent_forced, p.relforcerowsecurity, ' for the owner', 'FORCE', 'NO FORCE'))
                         f (parent, child, forced, yes, no)
    WHERE f.parent <> f.child
    UNION ALL
    SELECT p.parent, p.name, 'policies', pg_catalog.format(CASE WHEN o.name IS NULL THEN 'policy %I is missing' ELSE 'policy %I is another' END, l.name),
           CASE WHEN o.name IS NULL THEN '' ELSE pg_catalog.format(E'DROP POLICY %I ON %s;\n', l.name, p.name) END
           || pg_catalog.format('CREATE POLICY %I ON %s%s', l.name, p.name, l.definition)
    FROM pair p JOIN policy l ON l.relation = p.parent LEFT JOIN policy o ON o.relation = p.oid AND o.name = l.name
    WHERE l.definition IS DISTINCT FROM o.definition
    UNION ALL
    SELECT p.parent, p.name, 'policies', pg_catalog.format('policy %I is too much', l.polname),
           pg_catalog.format('DROP POLICY %I ON %s', l.polname, p.name)
    FROM pair p JOIN pg_catalog.pg_policy l ON l.polrelid = p.oid
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_policy o WHERE o.polrelid = p.parent AND o.polname = l.polname)
    UNION ALL
    SELECT p.parent, p.name, 'replica_identity', 'the replica identity is another',
           pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY %s', p.name, CASE p.parent_identity
               WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' WHEN 'd' THEN 'DEFAULT'
               ELSE 'USING INDEX ' || coalesce(x.name, '/* the index of the partition is missing */') END)
    FROM pair p LEFT JOIN LATERAL (
        SELECT pg_catalog.quote_ident(c.relname), i.indisreplident
        FROM pg_catalog.pg_index o JOIN pg_catalog.pg_inherits h ON h.inhparent = o.indexrelid
        JOIN pg_catalog.pg_index i ON i.indexrelid = h.inhrelid AND i.indrelid = p.oid
        JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
        WHERE o.indrelid = p.parent AND o.indisreplident
    ) x (name, is_set) ON true
    WHERE p.relreplident <> p.parent_identity OR p.parent_identity = 'i' AND NOT coalesce(x.is_set, false)
    UNION ALL
    SELECT p.parent, p.name, 'storage', pg_catalog.format('%s is %s', w.name, coalesce(h.value, 'not set')),
           pg_catalog.format('ALTER TABLE %s SET (%s = %s)', p.name, w.name, w.value)
    FROM pair p, LATERAL (SELECT pg_catalog.split_part(o, '=', 1), pg_catalog.substr(o, pg_catalog.strpos(o, '=') + 1)
                          FROM pg_catalog.unnest(p.storage) o) w (name, value)
    LEFT JOIN LATERAL (
        SELECT pg_catalog.substr(o, pg_catalog.strpos(o, '=') + 1)
        FROM pg_catalog.unnest(CASE WHEN w.name LIKE 'toast.%'
                 THEN (SELECT t.reloptions FROM pg_catalog.pg_class t WHERE t.oid = p.reltoastrelid) ELSE p.reloptions END) o
        WHERE pg_catalog.split_part(o, '=', 1) = pg_catalog.regexp_replace(w.name, '^toast\.', '')
    ) h (value) ON true
    WHERE p.relkind = 'r' AND h.value IS DISTINCT FROM w.value AND NOT (w.name LIKE 'toast.%' AND p.reltoastrelid = 0)
    UNION ALL
    SELECT p.parent, p.name, 'indexes', pg_catalog.format('index %s has no part here: make it, then ALTER INDEX … ATTACH PARTITION', i.indexrelid::pg_catalog.regclass),
           pg_catalog.format('CREATE %sINDEX ON %s%s', d.is_unique, p.name, pg_catalog.substr(d.text, pg_catalog.length(d.head) + 1))
    FROM pair p JOIN pg_catalog.pg_index i ON i.indrelid = p.parent
    JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    JOIN pg_catalog.pg_class t ON t.oid = p.parent JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace,
         -- Names may hold anything: the definition is cut where they end, not where they seem to.
         LATERAL (SELECT u.is_unique, pg_catalog.pg_get_indexdef(i.indexrelid),
                         pg_catalog.format('CREATE %sINDEX %I ON ONLY %I.%I', u.is_unique, x.relname, n.nspname, t.relname)
                  FROM (SELECT CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END) u (is_unique)) d (is_unique, text, head)
    WHERE pg_catalog.starts_with(d.text, d.head) AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_index o ON o.indexrelid = h.inhrelid
                      WHERE h.inhparent = i.indexrelid AND o.indrelid = p.oid)
    UNION ALL
    SELECT p.parent, p.name, 'triggers', pg_catalog.format('trigger %I is enabled otherwise', t.tgname),
           pg_catalog.format('ALTER TABLE %s %s TRIGGER %I', p.name,
               CASE o.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END, t.tgname)
    FROM pair p JOIN pg_catalog.pg_trigger t ON t.tgrelid = p.oid AND NOT t.tgisinternal
    JOIN pg_catalog.pg_trigger o ON o.oid = t.tgparentid AND o.tgenabled <> t.tgenabled
    UNION ALL
    SELECT p.parent, p.name, 'persistence', 'logged otherwise',
           pg_catalog.format('ALTER TABLE %s SET %s', p.name, CASE p.parent_persistence WHEN 'u' THEN 'UNLOGGED' ELSE 'LOGGED' END)
    FROM pair p WHERE p.relkind = 'r' AND p.relpersistence <> p.parent_persistence
)
SELECT parent::pg_catalog.regclass, name, aspect, detail, ddl FROM found ORDER BY 1, 2, 3, 4
