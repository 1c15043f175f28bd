-- What is wrong with the indexes of this database, as the catalogs and the statistics tell it; pages are looked at
-- later. $1 is how long the statistics must be collected before an index counts as unused, $2 since when they are, $3
-- the only table to look at, or NULL. One row per finding: kind, index, table, other (the index that stays, or the
-- foreign key). Expressions are compared as trees without their places in the source text: unlike their texts, that
-- waits for no lock.
WITH member AS MATERIALIZED (
    SELECT d.objid FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
), user_table AS MATERIALIZED (
    SELECT t.oid, t.relkind
    FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
    WHERE t.relkind IN ('r', 'p', 'm') AND t.relpersistence <> 't' AND t.oid >= 16384
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND t.oid NOT IN (SELECT m.objid FROM member m)
      AND ($3 IS NULL OR t.oid IN (
          WITH RECURSIVE part AS (
              SELECT coalesce(pg_catalog.pg_partition_root($3)::pg_catalog.oid, $3) AS oid
              UNION ALL
              SELECT h.inhrelid FROM part p JOIN pg_catalog.pg_inherits h ON h.inhparent = p.oid)
          SELECT p.oid FROM part p))
), index AS MATERIALIZED (
    SELECT x.indexrelid AS oid, x.indrelid AS relid, x.indisunique, x.indnullsnotdistinct, x.indnkeyatts, x.indkey,
           i.relname, i.relkind, i.relam, i.relispartition,
           CASE WHEN i.relispartition THEN pg_catalog.pg_partition_root(i.oid)::pg_catalog.oid ELSE i.oid END AS root,
           x.indisvalid AND x.indisready AND x.indislive AS is_usable, x.indislive, o.oid AS constraint,
           x.indisreplident,
           NOT (x.indisunique OR x.indisprimary OR x.indisexclusion OR x.indisreplident OR x.indisclustered
                OR o.oid IS NOT NULL OR i.relispartition) AS may_go,
           pg_catalog.array_to_string((x.indkey::pg_catalog.int2[])[0:x.indnkeyatts - 1], ' ') || ' ' AS keys,
           -- One that is a key as well is not carried twice.
           ARRAY(SELECT c.attnum FROM pg_catalog.unnest((x.indkey::pg_catalog.int2[])[x.indnkeyatts:]) c (attnum)
                 WHERE c.attnum <> ALL ((x.indkey::pg_catalog.int2[])[0:x.indnkeyatts - 1])) AS included,
           x.indcollation,
           -- What says how the index finds its rows, and not only how full its pages are.
           CASE WHEN a.amname NOT IN ('btree', 'hash', 'gist', 'gin', 'spgist') THEN i.reloptions END AS behaviour,
           x.indclass::text || ' ' AS classes, x.indcollation::text || ' ' AS collations,
           x.indoption::text || ' ' AS options,
           pg_catalog.regexp_replace(x.indexprs::text, ' :location -?\d+', '', 'g') AS expressions,
           pg_catalog.regexp_replace(x.indpred::text, ' :location -?\d+', '', 'g') AS predicate,
           CASE WHEN pg_catalog.current_setting('track_commit_timestamp')::pg_catalog.bool
                THEN pg_catalog.pg_xact_commit_timestamp(x.xmin) END AS changed_at
    FROM user_table t
    JOIN pg_catalog.pg_index x ON x.indrelid = t.oid
    JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
    JOIN pg_catalog.pg_am a ON a.oid = i.relam
    LEFT JOIN pg_catalog.pg_constraint o ON o.conindid = i.oid AND o.contype IN ('p', 'u', 'x')
    WHERE i.oid NOT IN (SELECT m.objid FROM member m)
), foreign_key AS MATERIALIZED (
    -- Of a partitioned table the one of the whole table, and those of the partitions, which it made. Both columns are
    -- there from PostgreSQL 18 on; before that, their names mean these values.
    SELECT o.oid, o.conrelid AS relid, o.conkey, o.conparentid <> 0 AS is_inherited
    FROM (VALUES (true, false)) before_18 (conenforced, conperiod)
    CROSS JOIN LATERAL (SELECT k.oid, k.conrelid, k.conkey, k.conparentid, conenforced AS is_enforced,
                               conperiod AS is_of_periods
                        FROM pg_catalog.pg_constraint k WHERE k.contype = 'f') o
    JOIN user_table t ON t.oid = o.conrelid
    WHERE o.is_enforced AND NOT o.is_of_periods
), serving AS MATERIALIZED (
    -- The indexes that find the rows of a foreign key: its columns are the first, in any order. The key that is looked
    -- up is never null, so the index may leave out nulls of it, and nothing else. One that is built, or to be rebuilt,
    -- counts.
    SELECT f.oid AS foreign_key, k.oid AS index, k.root
    FROM foreign_key f
    JOIN index k ON k.relid = f.relid
    JOIN pg_catalog.pg_am am ON am.oid = k.relam AND am.amname IN ('btree', 'hash')
    WHERE k.indislive AND (k.is_usable OR k.relname !~ '_cc(new|old)\d*$')
      AND k.indnkeyatts >= pg_catalog.cardinality(f.conkey)
      AND (k.indkey::pg_catalog.int2[])[0:pg_catalog.cardinality(f.conkey) - 1] @> f.conkey
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                      WHERE a.attrelid = k.relid AND a.attnum = ANY (f.conkey)
                        AND a.attcollation <> (k.indcollation::pg_catalog.oid[])[
                            pg_catalog.array_position(k.indkey::pg_catalog.int2[], a.attnum)])
      AND (k.predicate IS NULL
           OR (pg_catalog.regexp_replace(k.predicate,
                   '\{NULLTEST :arg \{VAR [^{}]*\} :nulltesttype 1 :argisrow \w+\}', '', 'g')
                   ~ '^(\{BOOLEXPR :boolop and :args \( *\)\})?$'
               AND NOT EXISTS (SELECT FROM pg_catalog.regexp_matches(k.predicate, ':varattno (\d+)', 'g') m (column_of)
                               WHERE m.column_of[1]::pg_catalog.int2 <> ALL (f.conkey))))
), partition_served AS MATERIALIZED (
    SELECT l.foreign_key,
           EXISTS (SELECT FROM index k
                   JOIN pg_catalog.pg_am am ON am.oid = k.relam AND am.amname IN ('btree', 'hash')
                   WHERE k.relid = l.relid AND k.is_usable AND k.predicate IS NULL
                     AND k.indnkeyatts >= pg_catalog.cardinality(l.names)
                     AND l.names <@ ARRAY(
                         SELECT a.attname FROM pg_catalog.pg_attribute a
                         WHERE a.attrelid = l.relid
                           AND a.attnum = ANY ((k.indkey::pg_catalog.int2[])[0:pg_catalog.cardinality(l.names) - 1])
                           AND a.attcollation = (k.indcollation::pg_catalog.oid[])[
                               pg_catalog.array_position(k.indkey::pg_catalog.int2[], a.attnum)])
                  ) AS is_served
    FROM (WITH RECURSIVE part AS (
              SELECT f.oid AS foreign_key, f.relid,
                     ARRAY(SELECT a.attname FROM pg_catalog.pg_attribute a
                           WHERE a.attrelid = f.relid AND a.attnum = ANY (f.conkey)) AS names
              FROM foreign_key f JOIN user_table t ON t.oid = f.relid AND t.relkind = 'p'
              WHERE NOT f.is_inherited AND f.oid NOT IN (SELECT s.foreign_key FROM serving s)
              UNION ALL
              SELECT p.foreign_key, h.inhrelid, p.names
              FROM part p JOIN pg_catalog.pg_inherits h ON h.inhparent = p.relid)
          SELECT p.* FROM part p JOIN pg_catalog.pg_class c ON c.oid = p.relid AND c.relkind <> 'p') l
), scanned AS MATERIALIZED (
    SELECT i.root, pg_catalog.sum(pg_catalog.pg_stat_get_numscans(i.oid)) AS scans
    FROM index i
    WHERE i.relkind = 'i' AND i.root IN (SELECT r.oid FROM index r WHERE r.may_go AND r.is_usable)
    GROUP BY i.root
), unused AS MATERIALIZED (
    SELECT i.oid, i.relid
    FROM index i JOIN scanned s ON s.root = i.oid
    WHERE i.may_go AND i.is_usable AND s.scans = 0
      AND $2 <= pg_catalog.clock_timestamp() - $1
      AND coalesce(i.changed_at <= pg_catalog.clock_timestamp() - $1, true)
      AND i.oid NOT IN (SELECT f.root FROM serving f)
), pair AS MATERIALIZED (
    -- i and an index k that can do all that i does.
    SELECT i.oid, k.oid AS other, i.relid, i.is_usable,
           k.keys = i.keys AND k.included <@ i.included AS is_same,
           k.may_go AS other_may_go, k.root AS other_root, k.indnkeyatts AS other_keys,
           pg_catalog.cardinality(k.included) AS other_included,
           k.indisunique AND k.indnullsnotdistinct = i.indnullsnotdistinct OR NOT i.indisunique AS is_as_unique
    FROM index i
    JOIN index k ON k.relid = i.relid AND k.oid <> i.oid AND k.relam = i.relam
    WHERE (i.may_go OR NOT i.is_usable) AND k.is_usable
      AND k.predicate IS NOT DISTINCT FROM i.predicate AND k.behaviour IS NOT DISTINCT FROM i.behaviour
      AND pg_catalog.starts_with(k.keys, i.keys) AND pg_catalog.starts_with(k.classes, i.classes)
      AND pg_catalog.starts_with(k.collations, i.collations) AND pg_catalog.starts_with(k.options, i.options)
      AND i.included <@ k.indkey::pg_catalog.int2[]
      AND (i.expressions IS NULL OR k.expressions = i.expressions
           OR pg_catalog.starts_with(k.expressions,
                                     pg_catalog.left(i.expressions, -1) || ' '))
      -- The order of columns is of use in a B-tree only.
      AND (k.keys = i.keys AND k.included <@ i.included
           OR k.relam = (SELECT am.oid FROM pg_catalog.pg_am am WHERE am.amname = 'btree'))
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                      JOIN pg_catalog.pg_attribute b ON b.attrelid = k.oid AND b.attnum = a.attnum
                      WHERE a.attrelid = i.oid AND a.attnum BETWEEN 1 AND i.indnkeyatts
                        AND a.attoptions IS DISTINCT FROM b.attoptions)
), covered AS MATERIALIZED (
    -- Of several that are the same, what may not go stays, and then the oldest. One that nobody uses covers nothing: it
    -- goes itself. What is named is covered by no other: whatever covers it comes before it in this order.
    SELECT DISTINCT ON (p.oid) p.oid, p.other, p.relid, p.is_same
    FROM pair p
    WHERE p.is_usable AND (NOT p.is_same OR NOT p.other_may_go OR p.other < p.oid)
      AND p.other_root NOT IN (SELECT u.oid FROM unused u)
    ORDER BY p.oid, p.other_may_go, p.other_keys DESC, p.other_included DESC, p.other
), building AS MATERIALIZED (
    -- What CREATE INDEX, REINDEX or DROP INDEX CONCURRENTLY is at work on.
    SELECT p.relid FROM pg_catalog.pg_stat_progress_create_index p
    WHERE p.datname = pg_catalog.current_database()
    UNION ALL
    SELECT l.relation FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'relation' AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
      AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                     'AccessExclusiveLock')
), broken AS MATERIALIZED (
    SELECT i.oid, i.relid, i.relkind,
           i.constraint IS NULL AND NOT i.relispartition AND NOT i.indisreplident
               AND (i.relname ~ '_cc(new|old)\d*$' OR NOT i.indislive) AS is_left_over,
           (SELECT p.other FROM pair p
            WHERE p.oid = i.oid AND p.is_same AND p.is_as_unique AND i.constraint IS NULL AND NOT i.relispartition
              AND NOT i.indisreplident
            ORDER BY p.other LIMIT 1) AS twin
    FROM index i
    WHERE NOT i.is_usable
      AND i.oid NOT IN (SELECT b.relid FROM building b WHERE b.relid IS NOT NULL)
      AND i.relid NOT IN (SELECT p.relid FROM pg_catalog.pg_stat_progress_create_index p
                          WHERE p.datname = pg_catalog.current_database() AND p.relid IS NOT NULL)
)
SELECT CASE WHEN b.relkind = 'I' THEN 'childless' WHEN b.is_left_over THEN 'left_over'
            WHEN b.twin IS NOT NULL THEN 'twin' ELSE 'invalid' END AS kind,
       b.oid AS index, b.relid, b.twin AS other
FROM broken b
UNION ALL
SELECT CASE WHEN c.is_same THEN 'duplicate' ELSE 'redundant' END, c.oid, c.relid, c.other FROM covered c
UNION ALL
SELECT 'unused', u.oid, u.relid, NULL FROM unused u WHERE u.oid NOT IN (SELECT c.oid FROM covered c)
UNION ALL
SELECT 'unindexed_foreign_key', NULL, f.relid, f.oid FROM foreign_key f
WHERE NOT f.is_inherited AND f.oid NOT IN (SELECT s.foreign_key FROM serving s)
  -- Nor one that the index for a longer key begins with.
  AND NOT EXISTS (SELECT FROM foreign_key g
                  WHERE g.relid = f.relid AND NOT g.is_inherited
                    AND pg_catalog.cardinality(g.conkey) > pg_catalog.cardinality(f.conkey)
                    AND g.conkey[:pg_catalog.cardinality(f.conkey)] @> f.conkey
                    AND g.oid NOT IN (SELECT s.foreign_key FROM serving s)
                    AND NOT EXISTS (SELECT FROM partition_served p WHERE p.foreign_key = g.oid
                                    HAVING pg_catalog.bool_and(p.is_served)))
  -- Nor an index of its own on each partition.
  AND NOT EXISTS (SELECT FROM partition_served p WHERE p.foreign_key = f.oid HAVING pg_catalog.bool_and(p.is_served))
