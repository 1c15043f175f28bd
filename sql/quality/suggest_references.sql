-- Columns that are named after another table's primary key, as customer_id is after id of customer or customers, have
-- its type and no foreign key: where the key is.
-- $1: the relation.
WITH RECURSIVE base AS (
    SELECT a.attrelid, a.attnum, a.attname::text AS attname, a.atttypid AS type
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.attrelid, b.attnum, b.attname, t.typbasetype
    FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type AND t.typtype = 'd'
), here AS (
    SELECT b.attnum, b.attname, b.type, pg_catalog.lower(pg_catalog.replace(b.attname, '_', '')) AS plain,
           c.relnamespace, c.relowner
    FROM base b JOIN pg_catalog.pg_class c ON c.oid = b.attrelid
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint o
                      WHERE o.conrelid = $1 AND o.contype = 'f' AND b.attnum = ANY (o.conkey))
), keyed AS (
    SELECT c.oid, c.relname::text AS relname, n.nspname::text AS nspname, c.relnamespace, k.attname::text AS attname,
           k.atttypid AS type, pg_catalog.lower(pg_catalog.replace(c.relname::text, '_', '')) AS plain,
           pg_catalog.lower(pg_catalog.replace(k.attname::text, '_', '')) AS plain_key
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indrelid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute k ON k.attrelid = c.oid AND k.attnum = i.indkey[0]
    WHERE i.indisprimary AND i.indnkeyatts = 1 AND c.oid <> $1 AND c.relpersistence <> 't'
)
SELECT DISTINCT ON (h.attnum) h.attname, pg_catalog.format('%I.%I', k.nspname, k.relname), k.attname
FROM here h
JOIN keyed k ON k.type = h.type AND h.plain IN (
    k.plain || k.plain_key,
    pg_catalog.regexp_replace(k.plain, 's$', '') || k.plain_key,
    pg_catalog.regexp_replace(k.plain, 'es$', '') || k.plain_key,
    pg_catalog.regexp_replace(k.plain, 'ies$', 'y') || k.plain_key)
-- The rule will be evaluated as the owner of the table.
WHERE pg_catalog.has_table_privilege(k.oid, 'SELECT') AND pg_catalog.has_schema_privilege(k.relnamespace, 'USAGE')
  AND pg_catalog.has_table_privilege(h.relowner, k.oid, 'SELECT')
  AND pg_catalog.has_schema_privilege(h.relowner, k.relnamespace, 'USAGE')
ORDER BY h.attnum, k.relnamespace <> h.relnamespace, k.nspname, k.relname
