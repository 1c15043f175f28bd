-- Which versions of the catalogs' rows about a table a snapshot shows. $1: the table; $2: the relations that hold its rows.
WITH relation AS (SELECT pg_catalog.unnest($2::oid[]) AS oid UNION SELECT $1::oid)
SELECT pg_catalog.count(*) || ' ' || pg_catalog.sum(pg_catalog.hashtextextended(x.place || ' ' || x.version, 0))
FROM (
    SELECT c.tableoid || ' ' || c.ctid, c.xmin FROM pg_catalog.pg_class c JOIN relation r USING (oid)
    UNION ALL
    SELECT a.tableoid || ' ' || a.ctid, a.xmin FROM pg_catalog.pg_attribute a JOIN relation r ON r.oid = a.attrelid
    UNION ALL
    SELECT o.tableoid || ' ' || o.ctid, o.xmin FROM pg_catalog.pg_constraint o JOIN relation r ON r.oid = o.conrelid
    UNION ALL
    SELECT i.tableoid || ' ' || i.ctid, i.xmin FROM pg_catalog.pg_index i JOIN relation r ON r.oid = i.indrelid
    UNION ALL
    SELECT t.tableoid || ' ' || t.ctid, t.xmin FROM pg_catalog.pg_trigger t JOIN relation r ON r.oid = t.tgrelid
    UNION ALL
    SELECT h.tableoid || ' ' || h.ctid, h.xmin FROM pg_catalog.pg_inherits h JOIN relation r ON r.oid = h.inhrelid
) x (place, version)
