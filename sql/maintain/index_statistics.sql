-- Since when this database's statistics are collected, and who else answers queries. A crash discards all statistics
-- and forgets when a database's were reset; what the whole server has one set of is then reset. A database is as old as
-- its directory.
SELECT r.since, pg_catalog.to_char(r.since AT TIME ZONE 'UTC', 'YYYY-MM-DD'),
       EXTRACT(epoch FROM pg_catalog.clock_timestamp() - r.since)::pg_catalog.float8,
       pg_catalog.pg_is_in_recovery(),
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication w WHERE w.state <> 'backup')
           + (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots s
              WHERE s.slot_type = 'physical' AND NOT s.active) AS standbys
FROM (SELECT CASE WHEN d.began IS NOT NULL THEN greatest(
                 d.began,
                 least((SELECT b.stats_reset FROM pg_catalog.pg_stat_bgwriter b),
                       (SELECT a.stats_reset FROM pg_catalog.pg_stat_archiver a),
                       (SELECT w.stats_reset FROM pg_catalog.pg_stat_wal w))) END AS since
      FROM (SELECT coalesce(
                (SELECT pg_catalog.pg_stat_get_db_stat_reset_time(d.oid)
                 FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()),
                CASE WHEN pg_catalog.has_function_privilege('pg_catalog.pg_stat_file(text, boolean)', 'EXECUTE') THEN
                    (SELECT f.modification
                     FROM pg_catalog.pg_stat_file(
                         pg_catalog.regexp_replace(pg_catalog.pg_relation_filepath('pg_catalog.pg_class'),
                                                   '[^/]*$', 'PG_VERSION'), true) f) END) AS began) d) r
