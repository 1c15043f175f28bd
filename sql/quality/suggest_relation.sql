-- What a relation is. $1: the relation.
WITH RECURSIVE part AS (
    SELECT $1::pg_catalog.oid AS oid
    UNION
    SELECT i.inhrelid FROM part p JOIN pg_catalog.pg_inherits i ON i.inhparent = p.oid
)
SELECT c.relkind::text,
       pg_catalog.has_table_privilege(c.oid, 'SELECT'),
       -- The rows of a view and of another server cannot be sampled by their blocks.
       c.relkind NOT IN ('v', 'f')
           AND NOT EXISTS (SELECT FROM part p JOIN pg_catalog.pg_class f ON f.oid = p.oid WHERE f.relkind = 'f'),
       EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary),
       (SELECT coalesce(pg_catalog.sum(pg_catalog.pg_relation_size(s.oid)), 0)::bigint
        FROM part p JOIN pg_catalog.pg_class s ON s.oid = p.oid WHERE s.relkind IN ('r', 'm'))
FROM pg_catalog.pg_class c WHERE c.oid = $1
