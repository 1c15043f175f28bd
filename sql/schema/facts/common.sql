-- What statements that read facts begin with: each takes along the parts that it names. They run here and on any
-- server of PostgreSQL 15 or later, with nothing installed there. The marks are filled in: /*namespaces*/ is a
-- condition on n (pg_namespace), /*relations*/ one on n (namespace) and c (pg_class), /*whole*/ is whether the objects
-- outside of schemas count, /*whole schemas*/ whether all kinds of objects of the schemas do, /*environments*/ selects
-- the names of servers that opdb made itself. acl(column, kind, owner) and options(column) stand for acl.sql and
-- options.sql. A facet that is left out is null or false.

namespace AS (
    SELECT n.oid, n.nspname::text AS name FROM pg_catalog.pg_namespace n WHERE /*namespaces*/
)

member AS MATERIALIZED (
    -- Objects that belong to an extension.
    SELECT d.classid, d.objid, e.extname::text AS extension
    FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
                               AND d.refobjid = e.oid AND d.deptype = 'e'
)

dependent AS MATERIALIZED (
    -- Objects that ALTER … DEPENDS ON EXTENSION tied to one.
    SELECT d.classid, d.objid, pg_catalog.json_agg(e.extname ORDER BY e.extname) AS extensions
    FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
                               AND d.refobjid = e.oid AND d.deptype = 'x'
    GROUP BY d.classid, d.objid
)

remark AS MATERIALIZED (
    -- Comments and security labels: of what users made, of the schemas that are there from the start, and of languages.
    SELECT coalesce(d.classoid, s.classoid) AS classoid, coalesce(d.objoid, s.objoid) AS objoid,
           coalesce(d.objsubid, s.objsubid) AS objsubid, d.description AS comment, s.labels
    FROM (SELECT d.classoid, d.objoid, d.objsubid, d.description
          FROM pg_catalog.pg_description d
          WHERE d.objoid >= 16384
             OR d.classoid = ANY ('{pg_catalog.pg_namespace, pg_catalog.pg_language,
                                 pg_catalog.pg_extension}'::pg_catalog.regclass[])) d
    FULL JOIN (SELECT s.classoid, s.objoid, s.objsubid,
                      pg_catalog.json_object_agg(s.provider, s.label ORDER BY s.provider) AS labels
               FROM pg_catalog.pg_seclabel s GROUP BY s.classoid, s.objoid, s.objsubid) s
           ON s.objoid = d.objoid AND s.classoid = d.classoid AND s.objsubid = d.objsubid
)

routine (oid, parent) AS (
    -- Partitions of a range of time, and what is below them: they come and go, and their parent says what they
    -- must be. Of them, only what their parent has not is a fact.
    SELECT i.inhrelid, i.inhparent
    FROM pg_catalog.pg_partitioned_table p
    JOIN pg_catalog.pg_attribute k ON k.attrelid = p.partrelid AND k.attnum = p.partattrs[0]
    JOIN pg_catalog.pg_inherits i ON i.inhparent = p.partrelid
    WHERE p.partstrat = 'r' AND p.partnatts = 1 AND p.partdefid <> i.inhrelid
      AND k.atttypid = ANY ('{date, timestamp, timestamptz}'::pg_catalog.regtype[])
    UNION
    SELECT i.inhrelid, i.inhparent
    FROM routine r
    JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = r.oid
    JOIN pg_catalog.pg_inherits i ON i.inhparent = p.partrelid
)

locked AS MATERIALIZED (
    -- Relations that the server could not describe now without waiting for another session.
    SELECT l.relation AS relid, 'locked by process ' || pg_catalog.min(l.pid) AS reason
    FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.pid <> pg_catalog.pg_backend_pid()
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
    GROUP BY l.relation
)

relation AS (
    SELECT c.*, n.name AS schema, c.relname::text AS name, m.extension, u.parent
    FROM namespace n
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
    -- Of a composite type, it is the type that belongs to an extension.
    LEFT JOIN member m ON m.classid = CASE c.relkind WHEN 'c' THEN 'pg_catalog.pg_type'::pg_catalog.regclass
                                                     ELSE 'pg_catalog.pg_class'::pg_catalog.regclass END
                      AND m.objid = CASE c.relkind WHEN 'c' THEN c.reltype ELSE c.oid END
    LEFT JOIN routine u ON u.oid = c.oid
    WHERE c.relkind NOT IN ('i', 'I', 't') AND c.relpersistence <> 't' AND (/*relations*/)
)
