//! What only reads assigns no transaction id: it must run on a standby.

use crate::fixture::{Pair, execute, text};

#[test]
fn reading_functions_assign_no_transaction_id() {
    let mut pair = Pair::with_plain_production();
    execute(
        &mut pair.here,
        "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'x');
         CREATE TABLE p (at timestamptz NOT NULL) PARTITION BY RANGE (at); CREATE TABLE p_default PARTITION OF p DEFAULT;
         SELECT opdb.manage_partitions('p'); INSERT INTO p VALUES ('2001-01-01');
         SELECT opdb.capture_schema(); SELECT opdb.quality_score('t')",
    );
    execute(&mut pair.there, "CREATE TABLE t (id int PRIMARY KEY, a varchar(1))");
    for call in [
        "opdb.current_environment()",
        "opdb.schema_fingerprint()",
        "opdb.validate_schema()",
        "opdb.assert_schema()",
        "(SELECT 1 UNION ALL SELECT 2 FROM opdb.schema_drift()) x",
        "opdb.diff_schema('env:production', 'live')",
        "opdb.quality_report(1)",
        "(SELECT 1 UNION ALL SELECT 2 FROM opdb.suggest_quality_rules('t')) x",
        "opdb.next_run('@daily')",
        "(SELECT 1 UNION ALL SELECT 2 FROM opdb.jobs) x",
        "(SELECT 1 UNION ALL SELECT 2 FROM opdb.job_runs) x",
        "opdb.vacuum_plan(true)",
        "(SELECT 1 UNION ALL SELECT 2 FROM opdb.index_advice()) x",
        "opdb.has_index('public.t', 'CREATE INDEX i ON public.t USING btree (id)')",
        "opdb.plan_partitions('p', now() + interval '3 days')",
        "opdb.partition_status",
        "(SELECT 1 UNION ALL SELECT 2 FROM opdb.partition_drift()) x",
        "opdb.check_environment('production')",
        "opdb.check_compatibility('production', '{t}')",
        "opdb.check_compatibility('production')",
        "opdb.verify_column_mapping('production', 't')",
        "opdb.is_compatible('production', check_data => true)",
        "opdb.compare_data('production', 't')",
        "opdb.compare_data('production', 't', '{\"connections\": 2, \"where\": \"id > 0\"}')",
        "opdb.compare_summary('production')",
        "(SELECT 1 UNION ALL SELECT 2 FROM opdb.compare_progress) x",
    ] {
        execute(&mut pair.here, "BEGIN READ ONLY");
        assert_ne!(text(&mut pair.here, &format!("SELECT count(*) FROM {call}")), "0", "{call}");
        assert_eq!(text(&mut pair.here, "SELECT pg_current_xact_id_if_assigned()"), "NULL", "{call}");
        execute(&mut pair.here, "ROLLBACK");
    }
}
