-- Calls of compare_data and compare_summary that are running: the numbers that src/pg/progress.rs keeps.
CREATE VIEW opdb.compare_progress AS
SELECT p.pid,
       d.datname                                    AS database,
       CASE WHEN d.datname = pg_catalog.current_database() THEN p.relid::pg_catalog.regclass END AS table_name,
       CASE p.param11 WHEN 1 THEN 'describing' WHEN 2 THEN 'hashing' WHEN 3 THEN 'fetching' END AS phase,
       p.param12                                    AS buckets,
       p.param13                                    AS differing_buckets,
       p.param14                                    AS rows_fetched,
       p.param15                                    AS candidates,
       p.param16                                    AS candidates_checked,
       p.param17                                    AS tables_done,
       p.param18                                    AS tables
FROM pg_catalog.pg_stat_get_progress_info('COPY') p
JOIN pg_catalog.pg_database d ON d.oid = p.datid
-- No direction of COPY's, and hidden from those who may not see what the session does.
WHERE p.param5 = 1869636706;

COMMENT ON VIEW opdb.compare_progress IS
'How far the running calls of compare_data and compare_summary are. Of sessions of other roles only for members of pg_read_all_stats.';
