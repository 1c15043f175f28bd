//! Deployments that are called where the rows go to.

use std::thread;

use postgres::Client;

use super::content;
use crate::environment::until;
use crate::fixture::{Pair, execute, ingest, on_production, records, refused, rows, servers, text};

/// Production has opdb and knows the test database; `here` is what it pulls from.
fn pair_with(here: &str, there: &str) -> Pair {
    let mut pair = Pair::with_opdb_on_both();
    let test = &servers().test;
    let options = serde_json::json!({"host": test.host(), "port": test.port(), "dbname": pair.here_name});
    let credentials = serde_json::json!({"user": test.superuser(), "password": test.password()});
    execute(
        &mut pair.there,
        &format!(
            "SELECT opdb.set_environment('live', 'production');
             SELECT opdb.register_environment('test', 'test', '{options}', '{credentials}')"
        ),
    );
    execute(&mut pair.here, here);
    execute(&mut pair.there, there);
    execute(&mut pair.there, "SELECT opdb.capture_schema()");
    pair
}

/// Pulls and returns state, inserted, updated, unchanged and error.
fn pull(client: &mut Client, tables: &str, options: &str) -> [String; 5] {
    let options = options.replacen('{', r#"{"direction": "pull", "#, 1).replace(", }", "}");
    let id = text(client, &format!("SELECT opdb.deploy('test', '{tables}', '{options}')"));
    let sql = format!(
        "SELECT state, inserted, updated, unchanged, error FROM opdb.deployments WHERE deployment_id = {id}"
    );
    rows(client, &sql).remove(0).try_into().unwrap()
}

#[test]
fn pulls_of_a_table_take_turns() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair =
        pair_with(&format!("{table}; INSERT INTO t SELECT i, 'older' FROM generate_series(1, 100) i"), table);
    let [mut looker, mut locker] = [(); 2].map(|()| on_production(&pair.there_name));
    let waiting = |event: &str| {
        format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = '{event}'"
        )
    };
    let pulling = || {
        let there = pair.there_name.clone();
        thread::spawn(move || pull(&mut on_production(&there), "{t}", r#"{"max_change_ratio": 1}"#))
    };
    execute(&mut locker, "BEGIN; LOCK TABLE t IN SHARE MODE");
    let first = pulling();
    until(&mut looker, &waiting("relation"), "1");
    execute(&mut pair.here, "UPDATE t SET a = 'newer'");
    let second = pulling();
    until(&mut looker, &waiting("advisory"), "1");
    execute(&mut locker, "COMMIT");
    assert_eq!(first.join().unwrap(), ["applied", "100", "0", "0", "NULL"]);
    assert_eq!(second.join().unwrap(), ["applied", "0", "100", "0", "NULL"]);
    assert_eq!(content(&mut pair.there, "t"), content(&mut pair.here, "t"));
}

#[test]
fn more_rows_than_there_is_memory_for_come_too() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 30000) i"),
        &format!("{table}; INSERT INTO t SELECT i, 'precious' FROM generate_series(1, 20000) i"),
    );
    execute(&mut pair.there, "SET work_mem = '64kB'");
    let options = r#"{"max_change_ratio": 1, "delete_missing": true}"#;
    assert_eq!(pull(&mut pair.there, "{t}", options), ["applied", "10000", "20000", "0", "NULL"]);
    assert_eq!(content(&mut pair.there, "t"), content(&mut pair.here, "t"));
}

#[test]
fn rows_come_and_go_back() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text, n numeric(8,2), tags text[])";
    let mut pair = pair_with(
        &format!(
            "{table}; INSERT INTO t SELECT i, 'v' || i, i / 3.0, ARRAY['x', 'y' || i] FROM generate_series(1, 2500) i"
        ),
        &format!("{table}; INSERT INTO t SELECT i, 'old', 1, '{{}}' FROM generate_series(2400, 2600) i"),
    );
    let before = content(&mut pair.there, "t");
    let options = r#"{"batch_size": 700, "max_change_ratio": 1, "delete_missing": true}"#;
    assert_eq!(pull(&mut pair.there, "{t}", options), ["applied", "2399", "101", "0", "NULL"]);
    assert_eq!(content(&mut pair.there, "t"), content(&mut pair.here, "t"));
    assert_eq!(
        rows(&mut pair.there, "SELECT environment, direction, state, rows, deleted FROM opdb.deployments"),
        [["test", "pull", "applied", "2500", "100"]]
    );
    assert_eq!(pull(&mut pair.there, "{t}", "{}"), ["applied", "0", "0", "2500", "NULL"]);
    assert_eq!(
        rows(&mut pair.there, "SELECT restored, skipped_changed FROM opdb.rollback_deployment(1)"),
        [["2600", "0"]]
    );
    assert_eq!(content(&mut pair.there, "t"), before);
    let kept =
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'opdb_deploy'::regnamespace AND relkind = 'r'";
    assert_eq!(text(&mut pair.there, kept), "2");
}

#[test]
fn what_is_not_good_enough_is_taken_back_before_it_is_committed() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, email text)";
    let mut pair = pair_with(
        &format!(
            "{table}; INSERT INTO t SELECT i, CASE WHEN i < 4 THEN 'no address' ELSE 'a@example.com' END FROM generate_series(1, 10) i"
        ),
        &format!("{table}; INSERT INTO t VALUES (1, 'old@example.com')"),
    );
    execute(
        &mut pair.there,
        r#"SELECT opdb.add_quality_rule('t', 'accuracy', 'regex', '{email}', '{"pattern": "@"}', threshold => 1)"#,
    );
    let before = content(&mut pair.there, "t");
    let [state, .., error] = pull(&mut pair.there, "{t}", r#"{"max_change_ratio": 1}"#);
    assert_eq!(state, "failed");
    assert!(error.contains("not good enough"), "{error}");
    assert_eq!(content(&mut pair.there, "t"), before);
    // A deployment that brings good rows passes by the same rule.
    let good = r#"{"where": "id > 3"}"#;
    assert_eq!(pull(&mut pair.there, "{t}", good), ["applied", "7", "0", "0", "NULL"]);
    let lineage = "SELECT table_name, sources, quality_score FROM opdb.lineage";
    assert_eq!(rows(&mut pair.there, lineage), [["public.t", r#"{"test.public.t": null}"#, "1.000000"]]);
}

#[test]
fn pulling_asks_what_pushing_asks() {
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1)"), table);
    let checks = "SELECT check_name FROM opdb.pre_deployment_check('test', '{t}', '{\"direction\": \"pull\"}') WHERE passed IS NOT TRUE";
    assert_eq!(rows(&mut pair.there, checks).len(), 0);
    execute(&mut pair.there, "SET opdb.target = 'elsewhere'");
    assert_eq!(rows(&mut pair.there, checks), [["session_target"]]);
    execute(&mut pair.there, "SET opdb.target = 'live'");
    assert_eq!(rows(&mut pair.there, checks).len(), 0);
    execute(&mut pair.here, "ALTER TABLE t ADD extra text");
    assert_eq!(rows(&mut pair.there, checks), [["compatible"]]);
    let plan = rows(
        &mut pair.there,
        "SELECT place, action FROM opdb.plan_deploy('test', '{t}', '{\"direction\": \"pull\"}') ORDER BY step",
    );
    assert_eq!(plan[3], ["source", "read"], "{plan:?}");
    let pushed = text(&mut pair.there, "SELECT opdb.deploy('test', '{t}')");
    let state = format!("SELECT state FROM opdb.deployments WHERE deployment_id = {pushed}");
    assert_eq!(text(&mut pair.there, &state), "refused", "production is not deployed from");
    let serializable = "SET default_transaction_isolation = 'repeatable read'";
    execute(&mut pair.there, serializable);
    let refusal = refused(&mut pair.there, r#"SELECT opdb.deploy('test', '{t}', '{"direction": "pull"}')"#);
    assert_eq!(refusal.sqlstate, "25004", "{refusal:?}");
}

#[test]
fn refused_rows_are_left_out_of_a_pull_too() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, n int)";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t SELECT i, i FROM generate_series(1, 20) i"),
        &format!("{table}; ALTER TABLE t ADD CHECK (n <> 7 AND n <> 13)"),
    );
    assert_eq!(pull(&mut pair.there, "{t}", r#"{"error_threshold": 2}"#)[0], "rolled_back");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0");
    assert_eq!(pull(&mut pair.there, "{t}", "{}"), ["applied", "18", "0", "0", "NULL"]);
    assert_eq!(
        text(
            &mut pair.there,
            "SELECT string_agg(key ->> 'id', ',' ORDER BY key) FROM opdb.deployment_errors WHERE deployment_id = 2"
        ),
        "7,13"
    );
}

#[test]
fn event_tables_and_rows_since_the_last_pull() {
    let make = "SELECT opdb.create_event_table('events')";
    let mut pair = pair_with(make, make);
    ingest(&mut pair.here, "events", &records(50));
    assert_eq!(pull(&mut pair.there, "{events}", "{}"), ["applied", "50", "0", "0", "NULL"]);
    ingest(&mut pair.here, "events", &records(60));
    let [state, inserted, updated, ..] = pull(&mut pair.there, "{events}", r#"{"mode": "since_last"}"#);
    assert_eq!([state, inserted, updated], ["applied", "10", "0"]);
    assert_eq!(
        text(&mut pair.there, "SELECT count(*) || ' ' || count(DISTINCT source_id) FROM events"),
        "60 60"
    );
    let limited = pull(&mut pair.there, "{events}", r#"{"mode": "limit", "limit": 5}"#);
    assert_eq!(limited, ["applied", "0", "0", "5", "NULL"]);
}
