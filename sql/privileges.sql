-- Who may do what. Nothing is granted to PUBLIC; each role has what the one before has, and more. Nobody may
-- write to opdb's tables but its functions: what stands there is acted upon.
REVOKE ALL ON ALL ROUTINES IN SCHEMA opdb FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA opdb FROM PUBLIC;

-- opdb_reader looks.
GRANT USAGE ON SCHEMA opdb TO opdb_reader;
GRANT SELECT ON
    opdb.own_environment, opdb.setting, opdb.environment, opdb.environments, opdb.compare_progress,
    opdb.event_table, opdb.dead_letters,
    opdb.schema_snapshot, opdb.schema_fact, opdb.schema_snapshots,
    opdb.quality_rule, opdb.quality_run, opdb.quality_scan, opdb.quality_run_scan,
    opdb.deployments, opdb.settings, opdb.deployment_metrics, opdb.lineage,
    opdb.job, opdb.job_state, opdb.job_run, opdb.jobs, opdb.job_runs,
    opdb.index_ledger,
    opdb.partition_set, opdb.partition_state, opdb.partition_hold, opdb.retired_partition, opdb.partition_status,
    opdb.partition_runs, opdb.partition_conversion, opdb.partition_conversions
TO opdb_reader;
-- Not the distributions of values that results hold: they are what is in a table.
GRANT SELECT (run_id, position, rule_id, name, dimension, rule, columns, evaluated, passed, ratio, threshold, status, evidence)
    ON opdb.quality_result TO opdb_reader;
GRANT EXECUTE ON FUNCTION
    opdb.current_environment, opdb.setting_defaults,
    opdb.schema_fingerprint, opdb.validate_schema, opdb.assert_schema, opdb.schema_drift,
    opdb.quality_report, opdb.quality_failures, opdb.quality_failures_together, opdb.quality_history,
    opdb.has_format, opdb.json_valid, opdb.is_castable,
    opdb.next_run, opdb.pg_cron_jobs, opdb.pg_cron_runs,
    opdb.vacuum_plan,
    opdb.index_advice, opdb.has_index,
    opdb.plan_partitions, opdb.partition_overview, opdb.partition_drift, opdb.pending_partition_changes
TO opdb_reader;

-- opdb_operator works: with tables it has rights on, and with environments it has credentials for. It may
-- not make a foreign server, so register_environment only gives it credentials of its own.
GRANT EXECUTE ON FUNCTION
    opdb.register_environment, opdb.check_environment,
    opdb.create_event_table, opdb.ingest, opdb.create_event_partitions, opdb.event_records, opdb.iso8601_timestamp,
    opdb.capture_schema, opdb.drop_schema_snapshot, opdb.diff_schema,
    opdb.add_quality_rule, opdb.quality_score, opdb.quarantine_failures, opdb.suggest_quality_rules,
    opdb.check_compatibility, opdb.is_compatible, opdb.verify_column_mapping, opdb.compare_data, opdb.compare_summary,
    opdb.pre_deployment_check, opdb.deploy, opdb.rollback_deployment, opdb.plan_deploy, opdb.clean_deployments, opdb.add_transformation, opdb.drop_transformation,
    opdb.add_job, opdb.drop_job, opdb.enable_job, opdb.disable_job, opdb.run_job,
    opdb.schedule_with_pg_cron, opdb.unschedule_from_pg_cron, opdb.add_maintenance_jobs,
    opdb.drop_advised_index,
    opdb.manage_partitions, opdb.unmanage_partitions, opdb.run_partitions, opdb.hold_partitions, opdb.release_partitions,
    opdb.add_partition_job, opdb.partition_commands,
    opdb.due_partition_sets, opdb.partition_tasks, opdb.run_partition_task, opdb.finish_partition_run,
    opdb.begin_partition_table, opdb.continue_partition_table, opdb.plan_partition_table, opdb.cancel_partition_table
TO opdb_operator;
GRANT EXECUTE ON PROCEDURE opdb.run_partition_maintenance, opdb.partition_table TO opdb_operator;
GRANT SELECT ON opdb.deployment, opdb.deployment_error, opdb.deployment_errors, opdb.transformation TO opdb_operator;

-- opdb_admin decides what this database is and which others it knows, dumps all of it, and tidies up.
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA opdb TO opdb_admin;
GRANT SELECT ON ALL TABLES IN SCHEMA opdb TO opdb_admin;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA opdb TO opdb_admin;
GRANT DELETE ON opdb.dead_letter, opdb.quality_rule, opdb.quality_run, opdb.quality_result, opdb.quality_scan,
    opdb.quality_run_scan, opdb.quality_failure, opdb.deployment, opdb.deployment_error, opdb.job_run, opdb.dropped_index, opdb.partition_run, opdb.retired_partition TO opdb_admin;
GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO opdb_admin;
