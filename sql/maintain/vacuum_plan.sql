-- What VACUUM and ANALYZE have to do here, one row per table, by the rules of autovacuum (relation_needs_vacanalyze in
-- the server's source). $1: every table. $2: what the server makes of autovacuum_multixact_freeze_max_age when the
-- members of multixacts run short, if that is known.
WITH RECURSIVE setting AS (
    SELECT pg_catalog.current_setting('autovacuum_vacuum_threshold')::float8 AS vacuum_threshold,
           pg_catalog.current_setting('autovacuum_vacuum_scale_factor')::float8 AS vacuum_scale,
           -- From PostgreSQL 18 on; -1 is no cap.
           coalesce(pg_catalog.current_setting('autovacuum_vacuum_max_threshold', true)::float8, -1) AS vacuum_cap,
           pg_catalog.current_setting('autovacuum_vacuum_insert_threshold')::float8 AS insert_threshold,
           pg_catalog.current_setting('autovacuum_vacuum_insert_scale_factor')::float8 AS insert_scale,
           pg_catalog.current_setting('autovacuum_analyze_threshold')::float8 AS analyze_threshold,
           pg_catalog.current_setting('autovacuum_analyze_scale_factor')::float8 AS analyze_scale,
           pg_catalog.current_setting('autovacuum_freeze_max_age')::float8 AS freeze_max_age,
           coalesce($2, pg_catalog.current_setting('autovacuum_multixact_freeze_max_age')::int)::float8 AS multixact_max_age,
           pg_catalog.current_setting('vacuum_freeze_table_age')::float8 AS freeze_table_age,
           pg_catalog.current_setting('vacuum_multixact_freeze_table_age')::float8 AS multixact_table_age,
           greatest(pg_catalog.current_setting('vacuum_failsafe_age')::float8,
                    1.05 * pg_catalog.current_setting('autovacuum_freeze_max_age')::float8) AS failsafe_age,
           greatest(pg_catalog.current_setting('vacuum_multixact_failsafe_age')::float8,
                    1.05 * pg_catalog.current_setting('autovacuum_multixact_freeze_max_age')::float8)
               AS multixact_failsafe_age
), chosen AS (
    -- What somebody set for a table. Of -1, only the ones that mean "never" can be set.
    SELECT c.oid,
           pg_catalog.max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_vacuum_threshold')::float8 AS vacuum_threshold,
           pg_catalog.max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_vacuum_scale_factor')::float8 AS vacuum_scale,
           pg_catalog.max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_vacuum_max_threshold')::float8 AS vacuum_cap,
           pg_catalog.max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_vacuum_insert_threshold')::float8 AS insert_threshold,
           pg_catalog.max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_vacuum_insert_scale_factor')::float8 AS insert_scale,
           pg_catalog.max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_analyze_threshold')::float8 AS analyze_threshold,
           pg_catalog.max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_analyze_scale_factor')::float8 AS analyze_scale,
           pg_catalog.max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_freeze_max_age')::float8 AS freeze_max_age,
           pg_catalog.max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_multixact_freeze_max_age')::float8 AS multixact_max_age,
           pg_catalog.max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_freeze_table_age')::float8 AS freeze_table_age,
           pg_catalog.max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_multixact_freeze_table_age')::float8 AS multixact_table_age,
           pg_catalog.max(o.option_value) FILTER (WHERE o.option_name = 'fillfactor')::int AS fillfactor,
           pg_catalog.max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_enabled')::bool AS autovacuum,
           pg_catalog.max(o.option_value) FILTER (WHERE o.option_name = 'user_catalog_table')::bool AS user_catalog
    FROM pg_catalog.pg_class c CROSS JOIN LATERAL pg_catalog.pg_options_to_table(c.reloptions) o
    WHERE c.reloptions IS NOT NULL AND c.relkind IN ('r', 'm', 't')
    GROUP BY c.oid
), measured AS (
    -- Tables and their TOAST tables, each with its counters, ages and thresholds. A TOAST table without options of its
    -- own has those of its table.
    SELECT c.oid, c.relkind, c.relname, c.relnamespace, c.relowner, c.relisshared, c.relam, c.reltoastrelid,
           c.reltuples, coalesce(o.fillfactor, 100) AS fillfactor, coalesce(o.autovacuum, true) AS autovacuum,
           CASE WHEN c.relisshared THEN 'shared' WHEN c.oid < 12000 OR o.user_catalog THEN 'catalog' ELSE 'data' END AS horizon,
           pg_catalog.pg_stat_get_dead_tuples(c.oid) AS dead,
           pg_catalog.pg_stat_get_ins_since_vacuum(c.oid) AS inserted,
           -- ANALYZE takes neither pg_statistic nor a TOAST table.
           CASE WHEN c.relkind <> 't' AND c.oid <> 2619 THEN pg_catalog.pg_stat_get_mod_since_analyze(c.oid) END AS changed,
           -- 0 is what an access method without transaction ids has.
           CASE WHEN c.relfrozenxid <> '0' THEN greatest(pg_catalog.age(c.relfrozenxid), 0) END AS xid_age,
           CASE WHEN c.relminmxid <> '0' THEN greatest(pg_catalog.mxid_age(c.relminmxid), 0) END AS multixact_age,
           CASE WHEN d.vacuum_cap >= 0 THEN least(d.dead, d.vacuum_cap) ELSE d.dead END AS dead_limit,
           CASE WHEN coalesce(o.insert_threshold, s.insert_threshold) >= 0 THEN
               coalesce(o.insert_threshold, s.insert_threshold)
               + coalesce(o.insert_scale, s.insert_scale) * d.tuples * d.unfrozen END AS insert_limit,
           coalesce(o.analyze_threshold, s.analyze_threshold)
               + coalesce(o.analyze_scale, s.analyze_scale) * d.tuples AS changed_limit,
           d.freeze_max_age, d.multixact_max_age,
           -- From here on VACUUM reads every page that is not frozen. 0 says so of every VACUUM and tells no age.
           least(coalesce(NULLIF(coalesce(o.freeze_table_age, s.freeze_table_age), 0), 'infinity'),
                 0.95 * d.freeze_max_age) AS freeze_limit,
           least(coalesce(NULLIF(coalesce(o.multixact_table_age, s.multixact_table_age), 0), 'infinity'),
                 0.95 * d.multixact_max_age) AS multixact_limit
    -- relallfrozen is a column of pg_class from PostgreSQL 18 on; before that, the name means the 0.
    FROM (VALUES (0)) before_18 (relallfrozen)
    CROSS JOIN LATERAL (
        SELECT k.oid, k.relkind, k.relname, k.relnamespace, k.relowner, k.relisshared, k.relam, k.reltoastrelid,
               k.reltuples, k.relpages, k.relfrozenxid, k.relminmxid, k.reloptions, relallfrozen AS all_frozen
        FROM pg_catalog.pg_class k WHERE k.relkind IN ('r', 'm', 't') AND k.relpersistence <> 't') c
    CROSS JOIN setting s
    LEFT JOIN pg_catalog.pg_class main
           ON c.relkind = 't' AND c.reloptions IS NULL AND main.reltoastrelid = c.oid AND main.reloptions IS NOT NULL
    LEFT JOIN chosen o ON o.oid = coalesce(main.oid, c.oid)
    CROSS JOIN LATERAL (
        SELECT greatest(c.reltuples, 0)::float8 AS tuples,
               coalesce(o.vacuum_threshold, s.vacuum_threshold)
                   + coalesce(o.vacuum_scale, s.vacuum_scale) * greatest(c.reltuples, 0) AS dead,
               coalesce(o.vacuum_cap, s.vacuum_cap) AS vacuum_cap,
               1 - least(c.all_frozen, c.relpages)::float8 / greatest(c.relpages, 1) AS unfrozen,
               least(o.freeze_max_age, s.freeze_max_age) AS freeze_max_age,
               least(o.multixact_max_age, s.multixact_max_age) AS multixact_max_age) d
), member AS (
    SELECT i.inhparent AS root, i.inhrelid AS oid
    FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p'
    UNION ALL
    SELECT m.root, i.inhrelid FROM member m JOIN pg_catalog.pg_inherits i ON i.inhparent = m.oid
), partitioned AS (
    -- Autovacuum never analyzes a partitioned table. What changed in it since somebody did, its partitions tell: each
    -- may be off by the threshold of a table.
    SELECT c.oid, c.relname, c.relnamespace, c.reltuples < 0 AS never, l.tuples,
           -- Nobody knows how many rows a foreign partition has that was never analyzed by itself.
           CASE WHEN NOT l.is_unknown THEN pg_catalog.abs(l.tuples - greatest(c.reltuples, 0)) END AS changed,
           l.partitions * s.analyze_threshold + s.analyze_scale * greatest(c.reltuples, l.tuples) AS changed_limit
    FROM pg_catalog.pg_class c
    CROSS JOIN setting s
    JOIN (SELECT m.root, pg_catalog.count(*) AS partitions,
                 pg_catalog.bool_or(p.relkind = 'f' AND p.reltuples < 0) AS is_unknown,
                 pg_catalog.sum(CASE WHEN p.reltuples >= 0 THEN p.reltuples::float8
                                     ELSE pg_catalog.pg_stat_get_live_tuples(p.oid) END) AS tuples
          FROM member m JOIN pg_catalog.pg_class p ON p.oid = m.oid
          WHERE p.relkind IN ('r', 'f') GROUP BY m.root) l ON l.root = c.oid
    WHERE c.relkind = 'p' AND c.relpersistence <> 't'
), judged AS (
    SELECT t.oid, t.relkind::text AS relkind, t.relname, t.relnamespace, t.horizon, t.autovacuum,
           CASE WHEN t.relam = 2 THEN t.fillfactor END AS fillfactor, -- 2 is heap; only its pages are known
           t.reltuples, t.dead, x.oid AS toast, x.reltuples AS toast_tuples, x.dead AS toast_dead,
           greatest(t.xid_age, x.xid_age) AS xid_age, greatest(t.multixact_age, x.multixact_age) AS multixact_age,
           least(t.freeze_limit, x.freeze_limit) AS freeze_limit,
           least(t.multixact_limit, x.multixact_limit) AS multixact_limit,
           false AS never, NULL::float8 AS partition_tuples,
           greatest(t.dead / greatest(t.dead_limit, 1), x.dead / greatest(x.dead_limit, 1),
                    t.inserted / greatest(t.insert_limit, 1), x.inserted / greatest(x.insert_limit, 1),
                    t.changed / greatest(t.changed_limit, 1),
                    t.xid_age / t.freeze_limit, x.xid_age / x.freeze_limit,
                    t.multixact_age / greatest(t.multixact_limit, 1), x.multixact_age / greatest(x.multixact_limit, 1)) AS need,
           t.dead_limit, t.inserted, t.insert_limit, t.changed, t.changed_limit, t.freeze_max_age, t.multixact_max_age,
           x.dead_limit AS toast_dead_limit, x.inserted AS toast_inserted, x.insert_limit AS toast_insert_limit,
           coalesce(t.xid_age > s.failsafe_age OR x.xid_age > s.failsafe_age
                    OR t.multixact_age > s.multixact_failsafe_age OR x.multixact_age > s.multixact_failsafe_age, false) AS danger
    FROM measured t CROSS JOIN setting s LEFT JOIN measured x ON x.oid = t.reltoastrelid
    WHERE t.relkind <> 't'
      AND (NOT t.relisshared OR pg_catalog.pg_has_role(t.relowner, 'USAGE')
           OR CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 170000
                   THEN pg_catalog.has_table_privilege(t.oid, 'MAINTAIN') END)
    UNION ALL
    SELECT p.oid, 'p', p.relname, p.relnamespace, 'data', true, NULL, NULL, NULL, NULL, NULL, NULL,
           NULL, NULL, NULL, NULL, p.never, p.tuples,
           greatest(p.changed / greatest(p.changed_limit, 1), CASE WHEN p.never AND p.tuples > 0 THEN 1 END),
           NULL, NULL, NULL, p.changed, p.changed_limit, NULL, NULL, NULL, NULL, NULL, false
    FROM partitioned p
), listed AS (
    SELECT j.*, d.due, d.why,
           -- From PostgreSQL 18 on a table with children takes them with it, unless it is told not to; before, a
           -- partitioned one does, like it or not.
           CASE WHEN j.relkind = 'p' OR d.due = '{analyze}' THEN
               pg_catalog.format('ANALYZE (SKIP_LOCKED) %s%I.%I', o.only, n.nspname, j.relname)
           ELSE
               pg_catalog.format('VACUUM (SKIP_LOCKED, TRUNCATE false, PARALLEL 0%s%s) %s%I.%I',
                                 CASE WHEN j.oid <> 2619 AND coalesce('analyze' = ANY (d.due), true) THEN ', ANALYZE' END,
                                 CASE WHEN d.due && '{freeze,multixact}' THEN ', FREEZE' END, o.only, n.nspname, j.relname)
           END AS command
    FROM judged j
    JOIN pg_catalog.pg_namespace n ON n.oid = j.relnamespace
    JOIN pg_catalog.pg_class k ON k.oid = j.oid
    CROSS JOIN LATERAL (
        SELECT CASE WHEN k.relhassubclass AND pg_catalog.current_setting('server_version_num')::int >= 180000
                    THEN 'ONLY ' END AS only) o
    CROSS JOIN LATERAL (
        SELECT pg_catalog.array_agg(DISTINCT r.what) AS due,
               pg_catalog.string_agg(pg_catalog.format(r.reason, r.value, pg_catalog.trunc(r.threshold::numeric)), '; '
                                     ORDER BY r.place) AS why
        FROM (VALUES
            (1, 'freeze', CASE WHEN j.danger THEN j.need END, 1,
             'transaction ids or multixacts run out: past the age from which VACUUM does nothing but freeze'),
            (2, 'freeze', j.xid_age, j.freeze_limit,
             'the oldest transaction id is %s transactions old, VACUUM freezes the whole table from %s on'),
            (3, 'freeze', j.xid_age, j.freeze_max_age, 'autovacuum forces that from %2$s on'),
            (4, 'multixact', j.multixact_age, j.multixact_limit,
             'the oldest multixact is %s multixacts old, VACUUM freezes the whole table from %s on'),
            (5, 'multixact', j.multixact_age, j.multixact_max_age, 'autovacuum forces that from %2$s on'),
            (6, 'dead', j.dead, j.dead_limit, '%s dead rows, threshold %s'),
            (7, 'dead', j.toast_dead, j.toast_dead_limit, '%s dead rows in its TOAST table, threshold %s'),
            (8, 'insert', j.inserted, j.insert_limit, '%s rows inserted since the last vacuum, threshold %s'),
            (9, 'insert', j.toast_inserted, j.toast_insert_limit,
             '%s rows inserted into its TOAST table since the last vacuum, threshold %s'),
            (10, 'analyze', CASE WHEN j.relkind <> 'p' THEN j.changed END, j.changed_limit,
             '%s rows changed since the last analyze, threshold %s'),
            (11, 'analyze', CASE WHEN j.relkind = 'p' AND NOT j.never THEN j.changed END, j.changed_limit,
             'its partitions hold %s rows more or less than at its last analyze, threshold %s'),
            (12, 'analyze', CASE WHEN j.never THEN j.partition_tuples END, 0,
             'the partitioned table was never analyzed, its partitions hold %s rows')
        ) r (place, what, value, threshold, reason)
        WHERE r.value > r.threshold) d
    WHERE ($1 OR j.need >= 1)
)
SELECT l.oid, l.command,
       pg_catalog.concat_ws('; ', l.why, CASE WHEN NOT l.autovacuum AND l.due IS NOT NULL THEN 'autovacuum is off for this table' END),
       coalesce(l.due, '{}') AS due,
       pg_catalog.trunc(l.need::numeric, 3) AS need,
       l.relkind <> 'p' AS has_storage, l.horizon, l.fillfactor, l.dead, l.toast, l.toast_dead,
       greatest(l.reltuples::float8, pg_catalog.pg_stat_get_live_tuples(l.oid) + l.dead) AS tuples,
       greatest(l.toast_tuples::float8, pg_catalog.pg_stat_get_live_tuples(l.toast) + l.toast_dead) AS toast_tuples,
       l.xid_age, l.multixact_age, l.freeze_limit, l.multixact_limit,
       greatest(pg_catalog.pg_stat_get_last_vacuum_time(l.oid), pg_catalog.pg_stat_get_last_autovacuum_time(l.oid)) AS last_vacuum,
       greatest(pg_catalog.pg_stat_get_last_analyze_time(l.oid), pg_catalog.pg_stat_get_last_autoanalyze_time(l.oid)) AS last_analyze
FROM listed l
WHERE $1 OR l.due IS NOT NULL
-- What is not due, in the order in which a pass over everything goes on where it was interrupted.
ORDER BY l.danger DESC, l.due IS NULL, CASE WHEN l.due IS NOT NULL THEN l.need END DESC,
         CASE WHEN l.relkind = 'p' THEN pg_catalog.pg_stat_get_last_analyze_time(l.oid)
              ELSE pg_catalog.pg_stat_get_last_vacuum_time(l.oid) END NULLS FIRST,
         l.oid
