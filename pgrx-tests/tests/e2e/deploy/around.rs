//! What stands around deployments: the plan, what they leave, what is counted.

use super::{applied, content, deploy, pair_with};
use crate::fixture::{Pair, execute, ingest, records, refused, rows, text};

#[test]
fn the_plan_shows_what_is_done_and_does_nothing() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1, 'x'), (2, 'y')"), table);
    let plan = |pair: &mut Pair, options: &str| {
        rows(
            &mut pair.here,
            &format!(
                "SELECT action, sql, note FROM opdb.plan_deploy('production', '{{t}}', '{options}') ORDER BY step"
            ),
        )
    };
    let first = plan(&mut pair, "{}");
    let actions = |plan: &[Vec<String>]| plan.iter().map(|row| row[0].clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(
        actions(&first),
        "prepare prepare prepare read stage stage apply lock verify keep skip keep update insert verify verify record commit"
    );
    assert!(first[0][1].contains("CREATE SCHEMA IF NOT EXISTS opdb_deploy"), "{first:?}");
    assert!(first[3][2].contains("2 rows"), "{first:?}");
    assert_eq!(text(&mut pair.there, "SELECT to_regnamespace('opdb_deploy') IS NULL"), "t");
    // Whoever may create nothing there has somebody else run what the plan says.
    for row in &first[..3] {
        execute(&mut pair.there, &row[1]);
    }
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(2, 0, 0));
    let second = plan(&mut pair, r#"{"delete_missing": true}"#);
    assert_eq!(
        actions(&second),
        "read stage stage apply lock verify keep keep skip keep update insert delete verify verify record commit"
    );
    assert!(second[0][2].contains("2 rows"), "{second:?}");
    let refusal = refused(&mut pair.here, "SELECT opdb.plan_deploy('nowhere', '{t}')");
    assert_eq!(refusal.sqlstate, "42704");
}

#[test]
fn what_is_kept_for_a_rollback_is_removed_in_time() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1, 'x')"), table);
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(1, 0, 0));
    let clean = |older_than: &str| {
        format!("SELECT object, bytes > 0, what FROM opdb.clean_deployments('production'{older_than})")
    };
    assert_eq!(rows(&mut pair.here, &clean("")).len(), 0, "it is not old");
    let removed = rows(&mut pair.here, &clean(", '0'"));
    assert_eq!(removed.len(), 2, "{removed:?}");
    assert!(removed[0][2].contains("rollback of deployment 1"), "{removed:?}");
    let refusal = refused(&mut pair.here, "SELECT opdb.rollback_deployment(1)");
    assert_eq!(refusal.sqlstate, "55000", "{refusal:?}");
    assert!(refusal.message.contains("gone"), "{refusal:?}");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM opdb_deploy.ledger"), "1", "the ledger stays");
    // The next deployment does it, too.
    execute(&mut pair.here, "UPDATE t SET a = 'y'; SELECT opdb.set_setting('deploy.keep_days', '0')");
    let all = r#"{"max_change_ratio": 1}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", all), applied(0, 1, 0));
    assert_eq!(deploy(&mut pair.here, "{t}", all), applied(0, 0, 1));
    let kept =
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'opdb_deploy'::regnamespace AND relkind = 'r'";
    assert_eq!(text(&mut pair.there, kept), "2");
}

#[test]
fn what_would_be_kept_is_estimated_and_limited() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 20000) i"),
        table,
    );
    let check = "SELECT passed, detail FROM opdb.pre_deployment_check('production', '{t}') WHERE check_name = 'pre_images'";
    let found = rows(&mut pair.here, check);
    assert!(found[0][0] == "t" && found[0][1].contains("at most about 3 MB"), "{found:?}");
    execute(&mut pair.here, "SELECT opdb.set_setting('deploy.max_kept_bytes', '1000000')");
    assert_eq!(rows(&mut pair.here, check)[0][0], "f");
    assert_eq!(deploy(&mut pair.here, "{t}", "{}")[0], "refused");
    // Which checks are required is a setting; a call can only require more.
    let others = r#"SELECT opdb.set_setting('deploy.required_checks', '["quality", "privileges"]')"#;
    execute(&mut pair.here, others);
    assert_eq!(deploy(&mut pair.here, "{t}", r#"{"require": ["pre_images"]}"#)[0], "refused");
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(20000, 0, 0));
}

#[test]
fn metrics_count_what_became_of_deployments() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, n int)";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t VALUES (1, 1), (2, 2)"),
        &format!("{table}; ALTER TABLE t ADD CONSTRAINT small CHECK (n < 3)"),
    );
    let all = r#"{"max_change_ratio": 1, "error_threshold": 1}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", all), applied(2, 0, 0));
    execute(&mut pair.here, "UPDATE t SET n = 5 WHERE id = 1");
    assert_eq!(deploy(&mut pair.here, "{t}", all)[0], "rolled_back");
    execute(&mut pair.here, "SET opdb.target = 'elsewhere'");
    assert_eq!(deploy(&mut pair.here, "{t}", all)[0], "refused");
    execute(&mut pair.here, "RESET opdb.target; UPDATE t SET n = 0 WHERE id = 1");
    assert_eq!(deploy(&mut pair.here, "{t}", all), applied(0, 1, 1));
    execute(&mut pair.here, "SELECT opdb.rollback_deployment(4)");
    let metrics = "SELECT environment, deployments, round(error_rate, 4), round(rollback_frequency, 4), applied, refused,
                          failed, rolled_back, avg_duration_ms > 0, avg_quality_score, avg_schema_validation_ms > 0
                   FROM opdb.deployment_metrics";
    assert_eq!(
        rows(&mut pair.here, metrics),
        [["production", "4", "0.3333", "0.6667", "1", "1", "0", "2", "t", "1.00000000000000000000", "t"]]
    );
}

#[test]
fn lineage_goes_from_the_ingest_source_to_the_row_there() {
    let mut pair = Pair::with_opdb_on_both();
    execute(
        &mut pair.there,
        "SELECT opdb.set_environment('live', 'production'); SELECT opdb.create_event_table('events')",
    );
    execute(&mut pair.here, "SELECT opdb.create_event_table('events')");
    ingest(&mut pair.here, "events", &records(3));
    ingest(&mut pair.here, "events", &records(5).replace("feed", "usgs").replace("event-", "quake-"));
    execute(
        &mut pair.here,
        "CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'x');
         SELECT opdb.add_transformation('t', 'a', 'upper(a)'); SELECT opdb.capture_schema()",
    );
    execute(&mut pair.there, "CREATE TABLE t (id int PRIMARY KEY, a text)");
    assert_eq!(deploy(&mut pair.here, "{events,t}", "{}"), applied(9, 0, 0));
    let found = rows(
        &mut pair.here,
        "SELECT l.table_name, l.sources ->> 'usgs', l.transformations ->> 'a', l.rows, q.passed, l.digest = e.entry ->> 'digest'
         FROM opdb.lineage l JOIN opdb.quality_run q ON q.run_id = l.quality_run_id
         JOIN opdb.deployments d USING (deployment_id), jsonb_array_elements(d.details) e (entry)
         WHERE e.entry ->> 'table' = l.table_name ORDER BY 1",
    );
    assert_eq!(
        found,
        [["public.events", "5", "NULL", "8", "t", "t"], ["public.t", "NULL", "upper(a)", "1", "t", "t"],]
    );
    assert_eq!(
        text(
            &mut pair.there,
            "SELECT counts -> 0 -> 'lineage' -> 'sources' ->> 'feed' FROM opdb_deploy.ledger"
        ),
        "3",
        "the target knows it, too"
    );
}

#[test]
fn only_rows_that_differ_and_missing_ones_are_touched() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t SELECT i, 'x' || i FROM generate_series(1, 5000) i"),
        &format!("{table}; INSERT INTO t SELECT i, 'x' || i FROM generate_series(11, 5010) i"),
    );
    execute(&mut pair.there, "UPDATE t SET a = 'old' WHERE id % 1000 = 0");
    let options = r#"{"delete_missing": true}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", options), applied(10, 5, 4985));
    assert_eq!(text(&mut pair.here, "SELECT deleted FROM opdb.deployments"), "10");
    assert_eq!(content(&mut pair.here, "t"), content(&mut pair.there, "t"));
    assert_eq!(
        text(&mut pair.there, "SELECT count(*) FROM t WHERE xmin = (SELECT xmin FROM t WHERE id = 5)"),
        "15",
        "the others were not written"
    );
    execute(
        &mut pair.there,
        "DELETE FROM t WHERE id > 10; INSERT INTO t SELECT i FROM generate_series(10001, 10020) i",
    );
    assert_eq!(deploy(&mut pair.here, "{t}", options)[0], "failed", "20 of 30 rows would be deleted");
}

#[test]
fn code_of_others_does_not_run_as_who_deploys() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, n numeric)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1, 1.5)"), table);
    let mallory = crate::fixture::role(&crate::fixture::servers().production, &[]);
    execute(
        &mut pair.there,
        &format!(
            "GRANT CREATE ON SCHEMA public TO {mallory}; CREATE TABLE seen (); GRANT SELECT ON seen TO PUBLIC; SET ROLE {mallory};
             CREATE FUNCTION less(numeric, int) RETURNS bool LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'mallory was here as %', current_user; END $$;
             CREATE OPERATOR public.< (LEFTARG = numeric, RIGHTARG = int, FUNCTION = less); RESET ROLE"
        ),
    );
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(1, 0, 0));
    execute(
        &mut pair.there,
        &format!("DROP SCHEMA opdb_deploy CASCADE; CREATE SCHEMA opdb_deploy AUTHORIZATION {mallory}"),
    );
    execute(&mut pair.here, "UPDATE t SET n = 2");
    let [state, .., error] = deploy(&mut pair.here, "{t}", r#"{"max_change_ratio": 1}"#);
    assert_eq!(state, "failed");
    assert!(error.contains(&format!("it belongs to {mallory}")), "{error}");
    assert_eq!(text(&mut pair.there, "SELECT n FROM t"), "1.5");
}
