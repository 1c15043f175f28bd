-- The columns of a relation: how their values can be looked at, and what constraints prove of them already.
-- $1: the relation.
WITH RECURSIVE base AS (
    SELECT a.attnum, a.atttypid AS type, false AS not_null
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.attnum, t.typbasetype, b.not_null OR t.typnotnull
    FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type AND t.typtype = 'd'
), unique_column AS (
    SELECT i.indkey[0] AS attnum
    FROM pg_catalog.pg_index i
    WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND i.indpred IS NULL
), referencing AS (
    SELECT k.attnum FROM pg_catalog.pg_constraint o, pg_catalog.unnest(o.conkey) k (attnum)
    WHERE o.conrelid = $1 AND o.contype = 'f'
)
SELECT a.attnum, a.attname::text, t.typname::text,
       -- Only what the server itself converts and compares is converted and compared: a cast or an operator of a
       -- user's type is its owner's code.
       CASE WHEN t.typname IN ('int2', 'int4', 'int8') AND n.nspname = 'pg_catalog' THEN 'integer'
            WHEN t.typname = 'numeric' AND n.nspname = 'pg_catalog' THEN 'numeric'
            WHEN t.typname IN ('float4', 'float8') AND n.nspname = 'pg_catalog' THEN 'float'
            WHEN t.typname IN ('date', 'timestamp', 'timestamptz') AND n.nspname = 'pg_catalog' THEN 'time'
            WHEN t.typname IN ('json', 'jsonb') AND n.nspname = 'pg_catalog' THEN 'json'
            -- Patterns and substrings are looked for in none of these.
            WHEN NOT coalesce(l.collisdeterministic, true) THEN 'comparable'
            WHEN t.typname IN ('text', 'varchar', 'bpchar', 'name') AND n.nspname = 'pg_catalog' THEN 'text'
            -- Binary coercible, which only a superuser declares.
            WHEN t.typcategory = 'S' AND EXISTS (
                SELECT FROM pg_catalog.pg_cast c
                WHERE c.castsource = t.oid AND c.casttarget = 'text'::pg_catalog.regtype AND c.castmethod = 'b')
            THEN 'text'
            WHEN t.typtype = 'b' AND t.typelem = 0 AND t.typname <> 'bool' AND EXISTS (
                SELECT FROM pg_catalog.pg_opclass p JOIN pg_catalog.pg_am m ON m.oid = p.opcmethod
                WHERE p.opcintype = t.oid AND p.opcdefault AND m.amname = 'btree')
            THEN 'comparable'
            ELSE 'opaque' END,
       b.not_null OR a.attnotnull AND NOT EXISTS (
           SELECT FROM pg_catalog.pg_constraint o
           WHERE o.conrelid = a.attrelid AND o.contype = 'n' AND o.conkey = ARRAY[a.attnum] AND NOT o.convalidated),
       EXISTS (SELECT FROM unique_column u WHERE u.attnum = a.attnum),
       EXISTS (SELECT FROM referencing r WHERE r.attnum = a.attnum),
       -- Whether two values are equal only if their texts are the same.
       n.nspname = 'pg_catalog'
FROM pg_catalog.pg_attribute a
JOIN base b ON b.attnum = a.attnum
JOIN pg_catalog.pg_type t ON t.oid = b.type AND t.typtype <> 'd'
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
WHERE a.attrelid = $1
ORDER BY a.attnum
