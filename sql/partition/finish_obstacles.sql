-- What keeps partition $1 from being dropped ($2) or archived, in schema $3 and tablespace $4, by role $5 once it is
-- detached: one reason a row. Its rows would have left the table already.
WITH RECURSIVE own AS (
    SELECT c.oid, c.relowner FROM pg_catalog.pg_class c WHERE c.oid = $1
    UNION ALL
    SELECT c.oid, c.relowner
    FROM own o JOIN pg_catalog.pg_inherits h ON h.inhparent = o.oid JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid
), part (classid, objid) AS (
    SELECT 'pg_catalog.pg_class'::regclass::oid, o.oid FROM own o
    UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass, t.oid FROM own o JOIN pg_catalog.pg_type r ON r.typrelid = o.oid
    JOIN pg_catalog.pg_type t ON t.oid IN (r.oid, r.typarray)
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, i.indexrelid FROM own o JOIN pg_catalog.pg_index i ON i.indrelid = o.oid
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::regclass, k.oid FROM own o JOIN pg_catalog.pg_constraint k ON k.conrelid = o.oid
    UNION ALL
    SELECT d.classid, d.objid FROM own o
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = o.oid AND d.deptype IN ('a', 'i')
         AND d.classid = 'pg_catalog.pg_class'::regclass
    JOIN pg_catalog.pg_class q ON q.oid = d.objid AND q.relkind = 'S'
), moved (oid, name) AS (
    SELECT c.oid, c.relname FROM part p JOIN pg_catalog.pg_class c ON c.oid = p.objid
    WHERE p.classid = 'pg_catalog.pg_class'::regclass
)
SELECT DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) || ' depends on it'
FROM part p JOIN pg_catalog.pg_depend d ON d.refclassid = p.classid AND d.refobjid = p.objid AND d.deptype = 'n'
WHERE $2 AND NOT EXISTS (SELECT FROM part q WHERE q.classid = d.classid AND q.objid = d.objid)
  -- What belongs to a part of it besides (its rules, policies, triggers, defaults) goes with it.
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend a JOIN part q ON q.classid = a.refclassid AND q.objid = a.refobjid
                  WHERE a.classid = d.classid AND a.objid = d.objid AND a.deptype IN ('a', 'i', 'P', 'S'))
  -- Foreign keys of the whole table end with the partition being one.
  AND NOT (d.classid = 'pg_catalog.pg_constraint'::regclass
           AND EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.oid = d.objid AND k.conparentid <> 0))
UNION ALL
SELECT pg_catalog.format('schema %I does not exist', $3::text)
WHERE NOT $2 AND $3 IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = $3)
UNION ALL
SELECT DISTINCT pg_catalog.format('schema %I has a relation %I already', n.nspname, m.name)
FROM pg_catalog.pg_namespace n, moved m
WHERE NOT $2 AND n.nspname = $3
  AND (EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname = m.name AND c.oid NOT IN (SELECT o.oid FROM moved o))
       OR EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.typnamespace = n.oid AND t.typname = m.name
                  AND t.typrelid NOT IN (SELECT o.oid FROM moved o) AND m.oid IN (SELECT o.oid FROM own o)))
UNION ALL
SELECT pg_catalog.format('%I may not create in schema %I', pg_catalog.pg_get_userbyid($5), n.nspname)
FROM pg_catalog.pg_namespace n WHERE NOT $2 AND n.nspname = $3 AND NOT pg_catalog.has_schema_privilege($5, n.oid, 'CREATE')
UNION ALL
SELECT DISTINCT pg_catalog.format('%I, which the table belongs to, is no member of %I, the owner of %s',
           pg_catalog.pg_get_userbyid($5), pg_catalog.pg_get_userbyid(o.relowner), o.oid::regclass)
FROM own o WHERE NOT pg_catalog.pg_has_role($5, o.relowner, 'USAGE')
UNION ALL
SELECT pg_catalog.format('tablespace %I does not exist', $4::text)
WHERE NOT $2 AND $4 IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_tablespace s WHERE s.spcname = $4)
UNION ALL
SELECT pg_catalog.format('%I may not create in tablespace %I', pg_catalog.pg_get_userbyid($5), s.spcname)
FROM pg_catalog.pg_tablespace s JOIN pg_catalog.pg_database b ON b.datname = pg_catalog.current_database()
WHERE NOT $2 AND s.spcname = $4 AND s.oid <> b.dattablespace AND NOT pg_catalog.has_tablespace_privilege($5, s.oid, 'CREATE')
ORDER BY 1
