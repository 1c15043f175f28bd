-- What a snapshot shows of the catalogs' rows about a table, as far as it matters to which rows it has and what is known of
-- them. $1: the table; $2: the relations that hold its rows.
WITH relation AS (SELECT pg_catalog.unnest($2::oid[]) AS oid UNION SELECT $1::oid)
SELECT pg_catalog.count(*) || ' ' || pg_catalog.sum(pg_catalog.hashtextextended(x.item, 0))
FROM (
    SELECT pg_catalog.concat_ws(' ', c.oid, c.relfilenode, c.relkind, c.relowner, c.relrowsecurity, c.relforcerowsecurity)
    FROM pg_catalog.pg_class c JOIN relation r USING (oid)
    UNION ALL
    SELECT a.tableoid || ' ' || a.ctid || ' ' || a.xmin
    FROM pg_catalog.pg_attribute a JOIN relation r ON r.oid = a.attrelid WHERE a.attnum > 0
    UNION ALL
    SELECT o.tableoid || ' ' || o.ctid || ' ' || o.xmin
    FROM pg_catalog.pg_constraint o JOIN relation r ON r.oid = o.conrelid
    UNION ALL
    SELECT i.tableoid || ' ' || i.ctid || ' ' || i.xmin
    FROM pg_catalog.pg_index i JOIN relation r ON r.oid = i.indrelid WHERE i.indisunique
    UNION ALL
    SELECT t.tableoid || ' ' || t.ctid || ' ' || t.xmin
    FROM pg_catalog.pg_trigger t JOIN relation r ON r.oid = t.tgrelid WHERE t.tgconstraint <> 0
    UNION ALL
    SELECT h.tableoid || ' ' || h.ctid || ' ' || h.xmin
    FROM pg_catalog.pg_inherits h JOIN relation r ON r.oid = h.inhrelid
) x (item)
