-- The constraints of a table: kind, whether it holds for every row, whether a rule says the same, its columns, its
-- condition as SQL and as stored, the table that it refers to and its columns there. $1: the table; $2: whether its
-- constraints speak of all rows that it shows.
SELECT o.contype::text,
       -- A deferrable one may be broken in this transaction.
       $2 AND o.convalidated AND NOT o.condeferrable
       AND (o.contype NOT IN ('p', 'u')
            OR EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indexrelid = o.conindid AND i.indisvalid))
       AND NOT EXISTS (
           WITH RECURSIVE part AS (
               SELECT o.oid
               UNION ALL
               SELECT c.oid FROM pg_catalog.pg_constraint c JOIN part ON c.conparentid = part.oid)
           SELECT FROM part JOIN pg_catalog.pg_trigger t ON t.tgconstraint = part.oid
           WHERE t.tgenabled NOT IN ('O', 'A')),
       -- Columns that only PostgreSQL 18 has are read where they are.
       NOT coalesce((pg_catalog.to_jsonb(o) ->> 'conperiod')::boolean, false)
       AND NOT (o.connoinherit AND o.contype = 'c'
                AND EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhparent = o.conrelid)),
       ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(o.conkey) WITH ORDINALITY k (attnum, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.attnum
             ORDER BY k.place),
       coalesce(pg_catalog.pg_get_expr(o.conbin, o.conrelid), ''), coalesce(o.conbin::text, ''),
       coalesce((SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.oid = o.confrelid), ''),
       ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(o.confkey) WITH ORDINALITY k (attnum, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.attnum
             ORDER BY k.place)
FROM pg_catalog.pg_constraint o
WHERE o.conrelid = $1 AND o.contype IN ('p', 'u', 'c', 'f')
  -- Of a foreign key to a partitioned table the server keeps one more for each partition there.
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint q WHERE q.oid = o.conparentid AND q.conrelid = o.conrelid)
ORDER BY o.contype, o.conname
