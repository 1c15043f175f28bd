-- What every statement that reads facts begins with. A part that a statement does not use is not executed.
-- Runs here and on any server of PostgreSQL 15 or later, with nothing installed there. The marks are filled in:
-- /*namespaces*/ is a condition on n (pg_namespace), /*relations*/ one on n (namespace) and c (pg_class), /*whole*/
-- is whether the objects outside of schemas count, /*environments*/ selects the names of servers that opdb made itself.
-- acl(column, kind, owner) stands for the privileges as JSON: see acl.sql. A facet that is left out is null or false.
WITH RECURSIVE namespace AS (
    SELECT n.oid, n.nspname::text AS name FROM pg_catalog.pg_namespace n WHERE /*namespaces*/
), member AS MATERIALIZED (
    -- Objects that belong to an extension.
    SELECT d.classid, d.objid, e.extname::text AS extension
    FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
                               AND d.refobjid = e.oid AND d.deptype = 'e'
), dependent AS MATERIALIZED (
    -- Objects that ALTER … DEPENDS ON EXTENSION tied to one.
    SELECT d.classid, d.objid, pg_catalog.json_agg(e.extname ORDER BY e.extname) AS extensions
    FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
                               AND d.refobjid = e.oid AND d.deptype = 'x'
    GROUP BY d.classid, d.objid
), remark AS MATERIALIZED (
    -- Comments and security labels: of what users made, of the schemas that are there from the start, and of languages.
    SELECT r.classoid, r.objoid, r.objsubid, pg_catalog.max(r.description) AS comment,
           pg_catalog.json_object_agg(r.provider, r.label ORDER BY r.provider)
               FILTER (WHERE r.provider IS NOT NULL) AS labels
    FROM (SELECT d.classoid, d.objoid, d.objsubid, d.description, NULL AS provider, NULL AS label
          FROM pg_catalog.pg_description d
          WHERE d.objoid >= 16384
             OR d.classoid = ANY ('{pg_catalog.pg_namespace, pg_catalog.pg_language}'::pg_catalog.regclass[])
          UNION ALL
          SELECT s.classoid, s.objoid, s.objsubid, NULL, s.provider, s.label FROM pg_catalog.pg_seclabel s) r
    GROUP BY r.classoid, r.objoid, r.objsubid
), routine (oid, parent) AS (
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
    JOIN pg_catalog.pg_inherits i ON i.inhparent = r.oid
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition AND c.relkind IN ('r', 'p', 'f')
), locked AS MATERIALIZED (
    -- Relations that the server could not describe now without waiting for another session.
    SELECT l.relation, 'locked by process ' || pg_catalog.min(l.pid) AS reason
    FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND l.pid <> pg_catalog.pg_backend_pid()
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
    GROUP BY l.relation
), relation AS (
    SELECT c.oid, n.name AS schema, c.relname::text AS name, c.relkind, c.relispartition, c.relowner, m.extension,
           u.parent
    FROM namespace n
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
    LEFT JOIN member m ON m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND m.objid = c.oid
    LEFT JOIN routine u ON u.oid = c.oid
    WHERE c.relkind NOT IN ('i', 'I', 't') AND c.relpersistence <> 't' AND (/*relations*/)
)
