-- Who may do what. Nothing is granted to PUBLIC; each role has what the one before has, and more.
REVOKE ALL ON ALL ROUTINES IN SCHEMA opdb FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA opdb FROM PUBLIC;

-- opdb_reader looks.
GRANT USAGE ON SCHEMA opdb TO opdb_reader;
GRANT SELECT ON
    opdb.own_environment, opdb.environment, opdb.environments,
    opdb.event_table, opdb.dead_letters,
    opdb.schema_snapshot, opdb.schema_snapshots,
    opdb.quality_rule, opdb.quality_run, opdb.quality_result,
    opdb.deployments
TO opdb_reader;
GRANT EXECUTE ON FUNCTION
    opdb.current_environment,
    opdb.schema_fingerprint, opdb.validate_schema,
    opdb.quality_report
TO opdb_reader;

-- opdb_operator works: with tables it has rights on, and with environments it has credentials for. It may
-- not make a foreign server, so register_environment only gives it credentials of its own.
GRANT EXECUTE ON FUNCTION
    opdb.register_environment, opdb.check_environment,
    opdb.create_event_table, opdb.ingest, opdb.create_event_partitions, opdb.event_records, opdb.iso8601_timestamp,
    opdb.capture_schema,
    opdb.add_quality_rule, opdb.quality_score,
    opdb.check_compatibility, opdb.verify_column_mapping,
    opdb.pre_deployment_check, opdb.deploy
TO opdb_operator;
GRANT INSERT, UPDATE ON opdb.event_table, opdb.schema_snapshot TO opdb_operator;
GRANT DELETE ON opdb.event_table TO opdb_operator;
GRANT INSERT ON opdb.quality_rule, opdb.quality_run, opdb.quality_result TO opdb_operator;
GRANT SELECT, INSERT, UPDATE (state) ON opdb.deployment TO opdb_operator;
-- Records are somebody's data: the view shows them to whoever may read the table they were meant for.
GRANT INSERT, SELECT (table_name, record_digest, attempts, sqlstate, error, fingerprint),
      UPDATE (attempts, last_at, sqlstate, error, fingerprint) ON opdb.dead_letter TO opdb_operator;

-- opdb_admin decides what this database is and which others it knows, and dumps all of it.
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA opdb TO opdb_admin;
GRANT ALL ON ALL TABLES IN SCHEMA opdb TO opdb_admin;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA opdb TO opdb_admin;
GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO opdb_admin;
