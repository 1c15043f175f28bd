//! What is wrong is said, with the object's name and what to do, and nothing is left half done.

use crate::fixture::{Pair, execute, refused, register, rows, text};

/// Everything that a failed call could have left behind.
const STATE: &str = "SELECT
    (SELECT count(*) FROM pg_class) || ' ' || (SELECT count(*) FROM pg_proc) || ' ' ||
    (SELECT count(*) FROM pg_foreign_server) || ' ' || (SELECT count(*) FROM pg_user_mappings) || ' ' ||
    (SELECT count(*) FROM opdb.own_environment) || ' ' || (SELECT count(*) FROM opdb.environment) || ' ' ||
    (SELECT count(*) FROM opdb.event_table) || ' ' || (SELECT count(*) FROM opdb.dead_letter) || ' ' ||
    (SELECT count(*) FROM opdb.schema_snapshot) || ' ' || (SELECT count(*) FROM opdb.schema_fact) || ' ' || (SELECT count(*) FROM opdb.quality_rule) || ' ' ||
    (SELECT count(*) FROM opdb.partition_set) || ' ' || (SELECT count(*) FROM opdb.partition_hold) || ' ' ||
    (SELECT count(*) FROM opdb.partition_run) || ' ' || (SELECT count(*) FROM opdb.dropped_index) || ' ' || (SELECT count(*) FROM opdb.quality_run) || ' ' || (SELECT count(*) FROM opdb.job) || ' ' || (SELECT count(*) FROM opdb.job_state) || ' ' || (SELECT count(*) FROM opdb.deployment WHERE state <> 'refused')";

#[test]
fn every_bad_input_is_an_error_that_names_the_thing_and_says_what_to_do() {
    let mut pair = Pair::with_plain_production();
    let there = pair.there_name.clone();
    register(&mut pair.here, "wrong_password", "staging", &there, "postgres", "not the password");
    execute(
        &mut pair.here,
        r#"SELECT opdb.register_environment('down', 'staging', '{"host": "127.0.0.1", "port": 1}', '{"user": "x", "password": "y"}');
           SELECT opdb.register_environment('no_mapping', 'staging', '{"host": "127.0.0.1"}');
           CREATE SERVER taken FOREIGN DATA WRAPPER postgres_fdw;
           SELECT opdb.create_event_table('events', start_at => '2024-03-01');
           CREATE TABLE keyless (a int);
           CREATE TABLE good (id int PRIMARY KEY, a text);
           CREATE VIEW a_view AS SELECT 1 AS one;
           CREATE SEQUENCE a_sequence;
           CREATE TABLE by_list (a int) PARTITION BY LIST (a);
           CREATE TABLE by_hash (a int) PARTITION BY HASH (a);
           CREATE TABLE by_two (a int, b date) PARTITION BY RANGE (b, a);
           CREATE TABLE by_expression (b date) PARTITION BY RANGE ((b + 1));
           CREATE TABLE by_text (a text) PARTITION BY RANGE (a);
           CREATE TABLE by_numeric (a numeric) PARTITION BY RANGE (a);
           CREATE TABLE by_id (a bigint) PARTITION BY RANGE (a);
           CREATE TABLE by_date (b date) PARTITION BY RANGE (b);
           CREATE TABLE endless (b date) PARTITION BY RANGE (b);
           CREATE TABLE endless_one PARTITION OF endless FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
           CREATE TABLE infinite (b date) PARTITION BY RANGE (b);
           CREATE TABLE infinite_one PARTITION OF infinite FOR VALUES FROM ('2020-01-01') TO ('infinity');
           CREATE TABLE askew (b timestamptz) PARTITION BY RANGE (b);
           CREATE TABLE askew_one PARTITION OF askew FOR VALUES FROM ('2020-01-01 00:00+00') TO ('3000-01-01 12:00+00');
           DO $$ BEGIN
               CREATE TABLE across (b timestamptz) PARTITION BY RANGE (b);
               EXECUTE format('CREATE TABLE across_one PARTITION OF across FOR VALUES FROM (%L) TO (%L)',
                   date_trunc('day', now(), 'UTC') + interval '1 hour', date_trunc('day', now(), 'UTC') + interval '36 hours');
           END $$;
           CREATE TABLE full_of_names (b date) PARTITION BY RANGE (b);
           DO $$ BEGIN EXECUTE format('CREATE VIEW full_of_names_%s AS SELECT 1', to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM_DD')); END $$"#,
    );
    let before = text(&mut pair.here, STATE);
    for (call, sqlstate, named) in CASES {
        let refusal = refused(&mut pair.here, &format!("SELECT {call}"));
        assert_eq!(refusal.sqlstate, *sqlstate, "{call}: {refusal:?}");
        assert!(refusal.message.contains(named), "{call}: {refusal:?}");
        let native = matches!(*named, "relation \"nowhere\" does not exist" | "invalid input syntax");
        assert!(native || !refusal.hint.is_empty(), "no hint: {call}: {refusal:?}");
        assert_eq!(text(&mut pair.here, STATE), before, "{call} left something");
    }
    assert!(rows(&mut pair.there, "SELECT FROM pg_class WHERE relname LIKE 'opdb%'").is_empty());
}

const CASES: &[(&str, &str, &str)] = &[
    // Unknown, unreachable, refused.
    ("opdb.check_environment('nowhere')", "42704", "\"nowhere\""),
    ("opdb.drop_environment('nowhere')", "42704", "\"nowhere\""),
    ("opdb.check_compatibility('nowhere')", "42704", "\"nowhere\""),
    ("opdb.verify_column_mapping('nowhere', 'good')", "42704", "\"nowhere\""),
    ("opdb.pre_deployment_check('nowhere', '{good}')", "42704", "\"nowhere\""),
    ("opdb.deploy('nowhere', '{good}')", "42704", "\"nowhere\""),
    ("opdb.check_compatibility('down')", "08001", "\"down\""),
    ("opdb.verify_column_mapping('down', 'good')", "08001", "\"down\""),
    ("opdb.plan_deploy('down', '{good}')", "08001", "\"down\""),
    ("opdb.clean_deployments('down')", "08001", "\"down\""),
    ("opdb.deploy('down', '{good}', '{\"raise\": true}')", "08001", "\"down\""),
    ("opdb.check_compatibility('wrong_password')", "28P01", "\"wrong_password\""),
    ("opdb.deploy('wrong_password', '{good}', '{\"raise\": true}')", "28P01", "\"wrong_password\""),
    ("opdb.deploy('no_mapping', '{good}', '{\"raise\": true}')", "28000", "\"no_mapping\""),
    // Environments.
    ("opdb.set_environment('x', 'prod')", "22023", "\"prod\""),
    ("opdb.set_environment('', 'test')", "42602", "\"\""),
    ("opdb.set_environment(NULL, 'test')", "22004", "\"name\""),
    ("opdb.set_environment('x', NULL)", "22004", "\"kind\""),
    ("opdb.check_environment(NULL)", "22004", "\"name\""),
    ("opdb.drop_environment(NULL)", "22004", "\"name\""),
    ("opdb.register_environment('x', 'test', NULL)", "22004", "\"options\""),
    ("opdb.register_environment(NULL, 'test', '{}')", "22004", "\"name\""),
    ("opdb.register_environment('x', 'prod', '{}')", "22023", "\"prod\""),
    ("opdb.register_environment('x', 'test', '[]')", "22023", "options"),
    ("opdb.register_environment('x', 'test', '{}', '7')", "22023", "credentials"),
    ("opdb.register_environment('x', 'test', '{\"host\": [1]}')", "22023", "\"host\""),
    ("opdb.register_environment('x', 'test', '{\"hots\": \"a\"}')", "HV00D", "\"hots\""),
    ("opdb.register_environment('x', 'test', '{\"password\": \"a\"}')", "HV00D", "\"password\""),
    ("opdb.register_environment('x', 'test', '{}', '{\"pasword\": \"a\"}')", "HV00D", "\"pasword\""),
    ("opdb.register_environment('taken', 'test', '{}')", "42710", "\"taken\""),
    ("opdb.register_environment(repeat('x', 64), 'test', '{}')", "42602", "xxxx"),
    ("opdb.register_environment('x', 'test', '{\"external\": 1}')", "22023", "external"),
    ("opdb.register_environment('x', 'test', '{\"external\": {}}')", "22023", "external"),
    ("opdb.register_environment('x', 'test', '{\"external\": {\"hots\": \"a\"}}')", "HV00D", "\"hots\""),
    (
        "opdb.register_environment(repeat('x', 53), 'test', '{\"external\": {\"host\": \"a\"}}')",
        "42622",
        "xxxx",
    ),
    ("opdb.check_environment('production', NULL)", "22004", "\"timeout\""),
    ("opdb.check_environment('production', '0')", "22023", "timeout"),
    ("opdb.check_compatibility('no_mapping')", "28000", "\"no_mapping\""),
    // Event tables and ingestion.
    ("opdb.create_event_table(NULL)", "22004", "\"name\""),
    ("opdb.create_event_table('e', NULL)", "22004", "\"every\""),
    ("opdb.create_event_table('a.b.c')", "42602", "\"a.b.c\""),
    ("opdb.create_event_table('1e')", "42602", "\"1e\""),
    ("opdb.create_event_table('')", "42602", "\"\""),
    ("opdb.create_event_table('\"open')", "42602", "open"),
    ("opdb.create_event_table('nowhere.e')", "3F000", "\"nowhere\""),
    ("opdb.create_event_table('events')", "42P07", "events"),
    ("opdb.create_event_table('e', '2 days')", "0A000", "2 days"),
    ("opdb.create_event_table(repeat('x', 60))", "42622", "xxxx"),
    ("opdb.create_event_table('e', start_at => 'infinity')", "22023", "start_at"),
    ("opdb.ingest('events', NULL)", "22004", "\"records\""),
    ("opdb.ingest(NULL, '[]')", "22004", "\"table\""),
    ("opdb.ingest('nowhere', '[]')", "42P01", "relation \"nowhere\" does not exist"),
    ("opdb.ingest('good', '[]')", "42809", "public.good"),
    ("opdb.ingest('a_view', '[]')", "42809", "public.a_view"),
    ("opdb.ingest('events_2024_03_01', '[]')", "42809", "events_2024_03_01"),
    ("opdb.ingest('events', '{}')", "22023", "object"),
    ("opdb.ingest('events', 'null')", "22023", "null"),
    ("opdb.ingest('events', '[')", "22P02", "invalid input syntax"),
    ("opdb.create_event_partitions('good', '{now}')", "42809", "public.good"),
    ("opdb.create_event_partitions('events', NULL)", "22004", "\"moments\""),
    // Schema.
    ("opdb.capture_schema(NULL)", "22004", "\"name\""),
    ("opdb.capture_schema('')", "42602", "\"\""),
    ("opdb.capture_schema('x', '{nowhere}')", "3F000", "\"nowhere\""),
    ("opdb.capture_schema('x', '{}')", "22023", "empty"),
    ("opdb.capture_schema('x', '{NULL}')", "22004", "\"schemas\""),
    ("opdb.schema_fingerprint('{nowhere}')", "3F000", "\"nowhere\""),
    ("opdb.validate_schema(NULL)", "22004", "\"expected\""),
    ("opdb.validate_schema('nothing')", "42704", "\"nothing\""),
    ("opdb.capture_schema('live')", "42602", "\"live\""),
    ("opdb.capture_schema('env:x')", "42602", "\"env:x\""),
    ("opdb.drop_schema_snapshot(NULL)", "22004", "\"name\""),
    ("opdb.drop_schema_snapshot('nothing')", "42704", "\"nothing\""),
    ("opdb.schema_fingerprint('{}')", "22023", "empty"),
    ("opdb.assert_schema(NULL)", "22004", "\"expected\""),
    ("opdb.assert_schema('nothing')", "42704", "\"nothing\""),
    ("opdb.schema_drift(NULL)", "22004", "\"expected\""),
    ("opdb.schema_drift('nothing')", "42704", "\"nothing\""),
    ("opdb.diff_schema(NULL, 'live')", "22004", "\"from_ref\""),
    ("opdb.diff_schema('live', NULL)", "22004", "\"to_ref\""),
    ("opdb.diff_schema('nothing', 'live')", "42704", "\"nothing\""),
    ("opdb.diff_schema('live', 'env:nowhere')", "42704", "\"nowhere\""),
    ("opdb.diff_schema('env:', 'live')", "42704", "\"\""),
    ("opdb.diff_schema('env:down', 'live')", "08001", "\"down\""),
    ("opdb.diff_schema('live', 'env:wrong_password')", "28P01", "\"wrong_password\""),
    // Jobs.
    ("opdb.add_job(NULL, '@daily', 'SELECT 1')", "22004", "\"name\""),
    ("opdb.add_job('x', NULL, 'SELECT 1')", "22004", "\"schedule\""),
    ("opdb.add_job('x', '@daily', NULL)", "22004", "\"command\""),
    ("opdb.add_job('x', '@daily', 'SELECT 1', NULL)", "22004", "\"timezone\""),
    ("opdb.add_job('x', '@daily', 'SELECT 1', options => NULL)", "22004", "\"options\""),
    ("opdb.add_job('', '@daily', 'SELECT 1')", "42602", "\"\""),
    ("opdb.add_job(repeat('x', 101), '@daily', 'SELECT 1')", "42602", "xxx"),
    ("opdb.add_job('x', '60 * * * *', 'SELECT 1')", "22023", "field 1 (minute), \"60\" at character 1"),
    (
        "opdb.add_job('x', '5 0 * * FUN', 'SELECT 1')",
        "22023",
        "field 5 (day of week), \"FUN\" at character 9",
    ),
    ("opdb.add_job('x', '5 0 * *', 'SELECT 1')", "22023", "4 fields"),
    ("opdb.add_job('x', '0 0 30 2 *', 'SELECT 1')", "22023", "never"),
    ("opdb.add_job('x', '@reboot', 'SELECT 1')", "22023", "\"@reboot\""),
    ("opdb.add_job('x', '', 'SELECT 1')", "22023", "0 fields"),
    ("opdb.add_job('x', 'every 0 minutes', 'SELECT 1')", "22023", "zero"),
    ("opdb.add_job('x', 'every -5 minutes', 'SELECT 1')", "22023", "negative"),
    ("opdb.add_job('x', 'every 10 ms', 'SELECT 1')", "22023", "shorter than a second"),
    ("opdb.add_job('x', 'every blue moon', 'SELECT 1')", "22023", "\"every blue moon\""),
    ("opdb.add_job('x', '@daily', 'SELECT 1', 'Europe/Atlantis')", "22023", "\"Europe/Atlantis\""),
    ("opdb.add_job('x', '@daily', 'SELECT 1', 'Berlin+2')", "22023", "\"Berlin+2\""),
    ("opdb.add_job('x', '@daily', 'VACUM t')", "42601", "VACUM"),
    ("opdb.add_job('x', '@daily', 'SELECT 1; SELECT 2')", "42601", "2 statements"),
    ("opdb.add_job('x', '@daily', '')", "42601", "0 statements"),
    ("opdb.add_job('x', '@daily', 'COMMIT')", "0A000", "COMMIT"),
    ("opdb.add_job('x', '@daily', 'SELECT 1 /*' || repeat('x', 1100000) || '*/')", "22023", "1 MB"),
    ("opdb.add_job('x', '@daily', 'VACUUM', options => '{\"gexec\": true}')", "42601", "gexec"),
    (
        "opdb.add_job('x', '@daily', 'SELECT 1 AS command; -- x', options => '{\"gexec\": true}')",
        "42601",
        ";",
    ),
    ("opdb.add_job('x', '@daily', 'COPY good TO STDOUT')", "0A000", "COPY"),
    ("opdb.add_job('x', '@daily', 'SELECT 1')", "28000", "\"postgres\""),
    (
        "opdb.add_job('x', '@daily', 'SELECT 1', options => '{\"role\": \"opdb_admin\"}')",
        "28000",
        "\"opdb_admin\"",
    ),
    (
        "opdb.add_job('x', '@daily', 'SELECT 1', options => '{\"role\": \"nobody here\"}')",
        "42704",
        "\"nobody here\"",
    ),
    ("opdb.add_job('x', '@daily', 'SELECT 1', options => '[]')", "22023", "options"),
    ("opdb.add_job('x', '@daily', 'SELECT 1', options => '{\"retrys\": 1}')", "22023", "\"retrys\""),
    ("opdb.add_job('x', '@daily', 'SELECT 1', options => '{\"retries\": -1}')", "22023", "\"retries\""),
    ("opdb.add_job('x', '@daily', 'SELECT 1', options => '{\"timeout\": \"0 s\"}')", "22023", "\"timeout\""),
    ("opdb.add_job('x', '@daily', 'SELECT 1', options => '{\"timeout\": \"soon\"}')", "22023", "\"timeout\""),
    (
        "opdb.add_job('x', '@daily', 'SELECT 1', options => '{\"catch_up\": \"all\"}')",
        "22023",
        "\"catch_up\"",
    ),
    (
        "opdb.add_job('x', '@daily', 'SELECT 1', options => '{\"window\": {\"start\": \"25:00\", \"end\": \"01:00\"}}')",
        "22023",
        "\"window\"",
    ),
    (
        "opdb.add_job('x', '@daily', 'SELECT 1', options => '{\"settings\": {\"lock_timout\": \"1s\"}}')",
        "22023",
        "\"settings\"",
    ),
    ("opdb.drop_job('nothing')", "42704", "\"nothing\""),
    ("opdb.enable_job('nothing')", "42704", "\"nothing\""),
    ("opdb.disable_job('nothing')", "42704", "\"nothing\""),
    ("opdb.run_job('nothing')", "42704", "\"nothing\""),
    ("opdb.drop_job(NULL)", "22004", "\"name\""),
    ("opdb.next_run('* * *')", "22023", "3 fields"),
    ("opdb.next_run('@daily', 'Mars')", "22023", "\"Mars\""),
    ("opdb.schedule_with_pg_cron()", "55000", "pg_cron"),
    ("opdb.unschedule_from_pg_cron()", "55000", "pg_cron"),
    ("opdb.add_maintenance_jobs('01:00', '01:00')", "22023", "01:00"),
    ("opdb.add_maintenance_jobs(options => '[]')", "22023", "options"),
    ("opdb.add_maintenance_jobs(options => '{\"gexec\": false}')", "22023", "\"gexec\""),
    // Quality.
    ("opdb.quality_score(NULL)", "22004", "\"table\""),
    ("opdb.quality_score('good', NULL)", "22004", "\"options\""),
    ("opdb.quality_score('a_sequence')", "42809", "public.a_sequence"),
    ("opdb.quality_score('opdb.quality_run')", "42809", "opdb.quality_run"),
    ("opdb.quality_score('a_view', '{\"sample\": 0.5}')", "42809", "public.a_view"),
    ("opdb.quality_score('good', '{\"sample\": 0}')", "22023", "\"sample\""),
    ("opdb.quality_score('good', '{\"gate\": \"median\"}')", "22023", "\"gate\""),
    ("opdb.quality_score('good', '{\"required\": []}')", "22023", "\"required\""),
    ("opdb.quality_score('good', '{\"required\": {\"a\": 0}}')", "22023", "\"required\""),
    ("opdb.quality_score('good', '{\"failures\": 1}')", "22023", "\"failures\""),
    ("opdb.quality_score('good', '{\"min_completeness\": \"most\"}')", "22023", "\"min_completeness\""),
    ("opdb.quality_history(NULL)", "22004", "\"table\""),
    ("opdb.quality_failures(NULL)", "22004", "\"run_id\""),
    ("opdb.quality_failures(4711)", "42704", "4711"),
    ("opdb.quality_failures_together(4711)", "42704", "4711"),
    ("opdb.quarantine_failures(4711)", "42704", "4711"),
    ("opdb.quality_score('good', '{\"treshold\": 1}')", "22023", "\"treshold\""),
    ("opdb.quality_score('good', '{\"threshold\": 2}')", "22023", "\"threshold\""),
    ("opdb.quality_score('good', '{\"weights\": {\"accuracy\": 0}}')", "22023", "\"weights\""),
    ("opdb.quality_score('good', '[]')", "22023", "options"),
    ("opdb.quality_report(NULL)", "22004", "\"run_id\""),
    ("opdb.quality_report(4711)", "42704", "4711"),
    // Maintenance.
    ("opdb.vacuum_plan(NULL)", "22004", "\"everything\""),
    ("opdb.add_quality_rule('good', 'beauty', 'not_null', '{a}')", "22023", "\"beauty\""),
    ("opdb.add_quality_rule('good', 'accuracy', 'is_nice', '{a}')", "22023", "\"is_nice\""),
    ("opdb.add_quality_rule('good', 'accuracy', 'not_null', '{b}')", "42703", "\"b\""),
    ("opdb.add_quality_rule('good', 'accuracy', 'not_null', '{}')", "22023", "\"not_null\""),
    ("opdb.add_quality_rule('good', 'accuracy', 'range', '{a}')", "22023", "\"range\""),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'range', '{id}', '{\"min\": \"x\"}')",
        "42611",
        "public.good",
    ),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'regex', '{a}', '{\"pattern\": \"(\"}')",
        "42611",
        "public.good",
    ),
    ("opdb.add_quality_rule('good', 'accuracy', 'not_null', '{a}', '{\"min\": 1}')", "22023", "\"min\""),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'expression', '{}', '{\"expression\": \"a >\"}')",
        "42601",
        "a >",
    ),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'expression', '{}', '{\"expression\": \"true) OR (true), (true\"}')",
        "42601",
        "true) OR (true), (true",
    ),
    ("opdb.add_quality_rule('good', 'accuracy', 'not_null', '{a}', weight => 0)", "22023", "weight"),
    ("opdb.add_quality_rule('good', 'accuracy', 'not_null', '{a}', weight => 'NaN')", "22023", "weight"),
    ("opdb.add_quality_rule('good', 'accuracy', 'not_null', '{a}', weight => 1e1000)", "22023", "weight"),
    ("opdb.add_quality_rule('good', 'accuracy', 'not_null', '{a}', threshold => 1.5)", "22023", "threshold"),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'not_null', '{a}', severity => 'fatal')",
        "22023",
        "severity",
    ),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'regex', '{a}', '{\"pattern\": \"ab[0-9\"}')",
        "42611",
        "(at character 3)",
    ),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'regex', '{a}', '{\"pattern\": \"a**\"}')",
        "42611",
        "(at character 3)",
    ),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'expression', '{}', '{\"expression\": \"a > b\"}')",
        "42611",
        "\"b\" does not exist (at character 5)",
    ),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'expression', '{}', '{\"expression\": \"a = 1 OR OR a = 2\"}')",
        "42601",
        "(at character 10)",
    ),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'expression', '{}', '{\"expression\": \"random() > 0\"}')",
        "42P17",
        "random() > 0",
    ),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'not_null', '{a}', '{\"where\": \"nextval(''a_sequence'') > 0\"}')",
        "42P17",
        "nextval",
    ),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'expression', '{}', '{\"expression\": \"id\"}')",
        "42611",
        "boolean",
    ),
    ("opdb.add_quality_rule('good', 'accuracy', 'not_null', '{a}', '{\"where\": 1}')", "22023", "\"where\""),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'not_null', '{a}', '{\"where\": \"c > 0\"}')",
        "42611",
        "\"c\"",
    ),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'freshness', '{a}', '{\"max_age\": \"1 day\"}')",
        "42611",
        "\"a\"",
    ),
    ("opdb.add_quality_rule('good', 'accuracy', 'freshness', '{a}')", "22023", "\"max_age\""),
    ("opdb.add_quality_rule('good', 'accuracy', 'row_count', '{}')", "22023", "\"row_count\""),
    ("opdb.add_quality_rule('good', 'accuracy', 'row_count', '{a}', '{\"min\": 1}')", "22023", "no columns"),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'row_count', '{}', '{\"min\": 1, \"where\": \"true\"}')",
        "22023",
        "\"where\"",
    ),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'distribution', '{a}', '{\"method\": \"ks\"}')",
        "42611",
        "\"a\"",
    ),
    (
        "opdb.add_quality_rule('good', 'accuracy', 'distribution', '{a}', '{\"max\": -1}')",
        "22023",
        "\"distribution\"",
    ),
    (
        "opdb.add_quality_rule('good', 'consistency', 'reconcile', '{}', '{\"query\": \"SELECT 1\"}')",
        "22023",
        "\"against\"",
    ),
    (
        "opdb.add_quality_rule('good', 'consistency', 'reconcile', '{}', '{\"query\": \"SELECT 1; DROP TABLE good\", \"against\": \"SELECT 1\"}')",
        "42601",
        "DROP TABLE",
    ),
    (
        "opdb.add_quality_rule('good', 'consistency', 'reconcile', '{}', '{\"query\": \"SELECT x FROM good\", \"against\": \"SELECT 1\"}')",
        "42611",
        "\"x\"",
    ),
    ("opdb.add_quality_rule(NULL, 'accuracy', 'not_null', '{a}')", "22004", "\"table\""),
    ("opdb.add_quality_rule('good', 'accuracy', 'not_null', '{NULL}')", "22004", "\"columns\""),
    // Indexes.
    ("opdb.index_advice(NULL)", "22004", "\"min_age\""),
    ("opdb.index_advice('-1 day')", "22023", "min_age"),
    ("opdb.index_advice('178000000 years')", "22023", "min_age"),
    ("opdb.drop_advised_index(NULL)", "22004", "\"index\""),
    ("opdb.drop_advised_index('good_pkey', min_age => NULL)", "22004", "\"min_age\""),
    ("opdb.drop_advised_index('good_pkey', min_age => '-1 day')", "22023", "min_age"),
    ("opdb.drop_advised_index('good')", "42809", "public.good"),
    ("opdb.drop_advised_index('a_view')", "42809", "public.a_view"),
    ("opdb.drop_advised_index('good_pkey')", "55000", "public.good_pkey"),
    ("opdb.drop_advised_index('nowhere')", "42P01", "relation \"nowhere\" does not exist"),
    ("opdb.drop_advised_index(0)", "42P01", "\"0\""),
    ("opdb.has_index(NULL, '')", "22004", "\"table_name\""),
    ("opdb.has_index('good', NULL)", "22004", "\"definition\""),
    // Partitions.
    ("opdb.manage_partitions(NULL)", "22004", "\"parent\""),
    ("opdb.manage_partitions('by_date', every => NULL)", "22004", "\"every\""),
    ("opdb.manage_partitions('nowhere')", "42P01", "relation \"nowhere\" does not exist"),
    ("opdb.manage_partitions('good')", "42809", "public.good"),
    ("opdb.manage_partitions('a_view')", "42809", "public.a_view"),
    ("opdb.manage_partitions('by_list')", "42809", "by LIST"),
    ("opdb.manage_partitions('by_hash')", "42809", "by HASH"),
    ("opdb.manage_partitions('by_two')", "42809", "public.by_two"),
    ("opdb.manage_partitions('by_expression')", "42809", "public.by_expression"),
    ("opdb.manage_partitions('by_text')", "0A000", "type text"),
    ("opdb.manage_partitions('by_numeric')", "0A000", "type numeric"),
    ("opdb.manage_partitions('by_id')", "22023", "nobody said what it counts"),
    ("opdb.manage_partitions('by_id', options => '{\"width\": 0}')", "22023", "\"width\""),
    ("opdb.manage_partitions('by_id', options => '{\"unit\": \"h\"}')", "22023", "\"unit\""),
    (
        "opdb.manage_partitions('by_id', retention => '1 day', options => '{\"width\": 10}')",
        "22023",
        "\"retention_width\"",
    ),
    (
        "opdb.manage_partitions('by_id', options => '{\"width\": 10, \"retention_width\": 5}')",
        "22023",
        "shorter than a partition",
    ),
    ("opdb.manage_partitions('by_date', options => '{\"width\": 10}')", "22023", "public.by_date"),
    ("opdb.manage_partitions('by_date', options => '{\"widht\": 10}')", "22023", "\"widht\""),
    ("opdb.manage_partitions('by_date', options => '[]')", "22023", "\"options\""),
    ("opdb.manage_partitions('by_date', options => '{\"storage\": {\"a; b\": 1}}')", "22023", "\"storage\""),
    ("opdb.manage_partitions('by_date', every => '1 hour')", "22023", "public.by_date"),
    ("opdb.manage_partitions('by_date', every => '0')", "22023", "zero or negative"),
    ("opdb.manage_partitions('by_date', every => '-1 day')", "22023", "zero or negative"),
    ("opdb.manage_partitions('by_date', every => '1 month 1 day')", "22023", "at once"),
    ("opdb.manage_partitions('by_date', every => '2000 years')", "22023", "thousand years"),
    ("opdb.manage_partitions('askew', every => '0.5 s')", "22023", "whole seconds"),
    ("opdb.manage_partitions('by_date', timezone => 'Nowhere/Land')", "22023", "\"Nowhere/Land\""),
    ("opdb.manage_partitions('by_date', timezone => 'Berlin+2')", "22023", "\"Berlin+2\""),
    ("opdb.manage_partitions('by_date', premake => -1)", "22023", "-1"),
    ("opdb.manage_partitions('by_date', premake => 1001)", "22023", "1001"),
    ("opdb.manage_partitions('by_date', retention => '0')", "22023", "retention"),
    ("opdb.manage_partitions('by_date', retention => '-1 day')", "22023", "retention"),
    (
        "opdb.manage_partitions('by_date', every => '1 month', retention => '7 days')",
        "22023",
        "shorter than a partition",
    ),
    ("opdb.manage_partitions('by_date', retention_action => 'delete')", "22023", "\"delete\""),
    ("opdb.manage_partitions('by_date', retention_action => 'archive')", "22023", "archive"),
    ("opdb.manage_partitions('by_date', options => '{\"archive_schema\": \"x\"}')", "22023", "archive"),
    (
        "opdb.manage_partitions('by_date', retention_action => 'archive', options => '{\"archive_schema\": \"nowhere\"}')",
        "42704",
        "\"nowhere\"",
    ),
    (
        "opdb.manage_partitions('by_date', retention_action => 'archive', options => '{\"archive_tablespace\": \"nowhere\"}')",
        "42704",
        "\"nowhere\"",
    ),
    (
        "opdb.manage_partitions('by_date', retention_action => 'archive', options => '{\"archive_environment\": \"nowhere\"}')",
        "42704",
        "\"nowhere\"",
    ),
    (
        "opdb.manage_partitions('events', retention_action => 'archive', options => '{\"archive_environment\": \"down\"}')",
        "0A000",
        "public.events",
    ),
    ("opdb.manage_partitions('by_date', start_at => 'infinity')", "22023", "start_at"),
    (
        "opdb.manage_partitions('askew', every => '1 second', start_at => now() - interval '1 year')",
        "22023",
        "start_at",
    ),
    ("opdb.manage_partitions('endless')", "42P17", "public.endless_one"),
    ("opdb.manage_partitions('infinite')", "42P17", "public.infinite_one"),
    ("opdb.manage_partitions('across')", "42P17", "public.across_one"),
    ("opdb.manage_partitions('full_of_names')", "42P07", "public.full_of_names_"),
    ("opdb.unmanage_partitions(NULL)", "22004", "\"parent\""),
    ("opdb.unmanage_partitions('by_date')", "42704", "public.by_date"),
    ("opdb.plan_partitions('by_date')", "42704", "public.by_date"),
    ("opdb.run_partitions('by_date')", "42704", "public.by_date"),
    ("opdb.partition_drift('by_date')", "42704", "public.by_date"),
    ("opdb.hold_partitions(NULL, 'x')", "22004", "\"relation\""),
    ("opdb.hold_partitions('by_date', ' ')", "22004", "\"reason\""),
    ("opdb.hold_partitions('good', 'x')", "42809", "public.good"),
    ("opdb.release_partitions('by_date')", "42704", "public.by_date"),
    ("opdb.partition_tasks('by_date', 'sometimes')", "22023", "task"),
    ("opdb.run_partition_task('by_date', '{}', true)", "22023", "task"),
    ("opdb.add_partition_job('sometimes')", "22023", "sometimes"),
    ("opdb.add_partition_job(options => '{\"gexec\": true}')", "22023", "\"gexec\""),
    // Comparing and deploying.
    ("opdb.check_compatibility(NULL)", "22004", "\"environment\""),
    ("opdb.check_compatibility('production', '{}')", "22023", "empty"),
    ("opdb.check_compatibility('production', '{NULL}')", "22004", "\"tables\""),
    ("opdb.check_compatibility('production', '{nowhere}')", "42P01", "\"nowhere\""),
    ("opdb.check_compatibility('production', '{a b}')", "42602", "\"a b\""),
    ("opdb.check_compatibility('production', '{a_view}')", "42809", "public.a_view"),
    ("opdb.verify_column_mapping('production', NULL)", "22004", "\"table\""),
    ("opdb.verify_column_mapping('production', 'good')", "42P01", "public.good"),
    ("opdb.verify_column_mapping('production', 'a_sequence')", "42809", "public.a_sequence"),
    ("opdb.pre_deployment_check('production', NULL)", "22004", "\"tables\""),
    ("opdb.pre_deployment_check('production', '{keyless}')", "42P16", "public.keyless"),
    ("opdb.deploy(NULL, '{good}')", "22004", "\"environment\""),
    ("opdb.deploy('production', NULL)", "22004", "\"tables\""),
    ("opdb.deploy('production', '{good}', NULL)", "22004", "\"options\""),
    ("opdb.deploy('production', '{keyless}')", "42P16", "public.keyless"),
    ("opdb.deploy('production', '{a_view}')", "42809", "public.a_view"),
    ("opdb.deploy('production', '{pg_class}')", "42809", "pg_catalog.pg_class"),
    ("opdb.deploy('production', '{events_2024_03_01}')", "42809", "events_2024_03_01"),
    ("opdb.deploy('production', '{good}', '{\"kee\": 1}')", "22023", "\"kee\""),
    ("opdb.deploy('production', '{good}', '{\"key\": []}')", "22023", "\"key\""),
    ("opdb.deploy('production', '{good}', '{\"key\": [\"b\"]}')", "42703", "\"b\""),
    ("opdb.rollback_deployment(NULL)", "22004", "\"deployment_id\""),
    ("opdb.rollback_deployment(-1)", "42704", "-1"),
    ("opdb.clean_deployments(NULL)", "22004", "\"environment\""),
    ("opdb.clean_deployments('nowhere')", "42704", "\"nowhere\""),
    ("opdb.plan_deploy('production', '{good}')", "42P01", "public.good"),
    ("opdb.plan_deploy('production', '{good}', NULL)", "22004", "\"options\""),
    ("opdb.add_transformation('good', 'missing', 'a')", "42703", "\"missing\""),
    ("opdb.drop_transformation('good', 'a')", "42704", "\"a\""),
    ("opdb.set_setting('deploy.luck', '1')", "42704", "deploy.luck"),
    ("opdb.set_setting('deploy.max_error_rate', '2')", "22023", "deploy.max_error_rate"),
    ("opdb.set_setting(NULL, '1')", "22004", "\"name\""),
    ("opdb.deploy('production', '{good}', '{\"key\": {\"nowhere\": [\"a\"]}}')", "42P01", "nowhere"),
    ("opdb.deploy('production', '{good}', '{\"batch_size\": 0}')", "22023", "\"batch_size\""),
    ("opdb.deploy('production', '{good}', '{\"max_change_ratio\": 2}')", "22023", "\"max_change_ratio\""),
    ("opdb.deploy('production', '{good}', '{\"where\": \"true) OR (\"}')", "42601", "true) OR ("),
];
