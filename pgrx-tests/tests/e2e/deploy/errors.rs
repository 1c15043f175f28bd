//! Rows that the target refuses, states, and what the history says.

use super::{applied, content, deploy, pair_with};
use crate::fixture::{Pair, execute, refused, rows, text};

/// Ten rows here, of which the target refuses those whose n is negative.
fn pair_with_bad_rows(bad: usize) -> Pair {
    let table = "CREATE TABLE t (id int PRIMARY KEY, n int)";
    let mut pair = pair_with(
        &format!(
            "{table}; INSERT INTO t SELECT i, CASE WHEN i <= {bad} THEN -1 ELSE i END FROM generate_series(1, 10) i"
        ),
        &format!(
            "{table}; ALTER TABLE t ADD CONSTRAINT positive CHECK (n > 0); INSERT INTO t VALUES (10, 1), (99, 1)"
        ),
    );
    execute(&mut pair.here, "SELECT opdb.set_setting('deploy.max_error_rate', '1')");
    pair
}

#[test]
fn fewer_refused_rows_than_the_threshold_are_left_out_and_listed() {
    let mut pair = pair_with_bad_rows(4);
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), ["applied", "5", "1", "0", "NULL"]);
    assert_eq!(
        text(&mut pair.there, "SELECT string_agg(id::text, ',' ORDER BY id) FROM t"),
        "5,6,7,8,9,10,99"
    );
    assert_eq!(
        rows(
            &mut pair.here,
            "SELECT table_name, key, sqlstate, error LIKE '%positive%' FROM opdb.deployment_errors ORDER BY key ->> 'id'"
        ),
        (1..=4)
            .map(|id| vec!["public.t".into(), format!("{{\"id\": {id}}}"), "23514".into(), "t".into()])
            .collect::<Vec<Vec<String>>>()
    );
    assert_eq!(text(&mut pair.here, "SELECT errors FROM opdb.deployments"), "4");
    let notice = pair.notices("SELECT opdb.deploy('production', '{t}')");
    assert!(notice.contains("4 rows were refused and left out"), "{notice}");
}

#[test]
fn as_many_as_the_threshold_roll_it_back() {
    let mut pair = pair_with_bad_rows(5);
    let before = content(&mut pair.there, "t");
    let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
    assert_eq!(state, "rolled_back");
    assert!(error.contains("5 rows were refused, the threshold is 5"), "{error}");
    assert_eq!(content(&mut pair.there, "t"), before);
    assert_eq!(text(&mut pair.here, "SELECT count(*) FROM opdb.deployment_errors"), "5");
}

#[test]
fn without_auto_rollback_it_says_what_to_do_by_hand() {
    let mut pair = pair_with_bad_rows(7);
    let before = content(&mut pair.there, "t");
    let notice = pair.notices(r#"SELECT opdb.deploy('production', '{t}', '{"auto_rollback": false}')"#);
    assert!(notice.contains("7 rows were refused"), "{notice}");
    assert_eq!(
        rows(&mut pair.here, "SELECT state, errors, inserted FROM opdb.deployments"),
        [["applied", "7", "2"]]
    );
    assert_eq!(
        rows(&mut pair.here, "SELECT restored, skipped_changed FROM opdb.rollback_deployment(1)"),
        [["3", "0"]]
    );
    assert_eq!(content(&mut pair.there, "t"), before);
}

#[test]
fn values_that_do_not_fit_are_found_row_by_row() {
    let mut pair = pair_with(
        "CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE t (id int PRIMARY KEY, m mood);
         INSERT INTO t SELECT i, CASE WHEN i % 40 = 0 THEN 'bad' ELSE 'good' END::mood FROM generate_series(1, 120) i",
        "CREATE TYPE mood AS ENUM ('good'); CREATE TABLE t (id int PRIMARY KEY, m mood)",
    );
    execute(&mut pair.here, r#"SELECT opdb.set_setting('deploy.required_checks', '["quality"]')"#);
    let small = r#"{"batch_size": 7}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", small)[..2], ["applied", "117"]);
    assert_eq!(
        text(
            &mut pair.here,
            "SELECT string_agg(key ->> 'id', ',' ORDER BY key ->> 'id') FROM opdb.deployment_errors"
        ),
        "120,40,80"
    );
}

#[test]
fn each_state_is_told_as_it_comes() {
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1)"), table);
    execute(&mut pair.here, "LISTEN opdb_events");
    let mut other = crate::fixture::on_test(&pair.here_name);
    execute(&mut other, "SELECT opdb.deploy('production', '{t}')");
    execute(&mut other, "SELECT opdb.rollback_deployment(1)");
    let mut heard = Vec::new();
    execute(&mut pair.here, "SELECT 1");
    let mut notifications = pair.here.notifications();
    let mut all = notifications.iter();
    while let Some(notification) = fallible_next(&mut all) {
        let payload: serde_json::Value = serde_json::from_str(&notification).unwrap();
        assert_eq!(payload["event"], "deployment");
        assert_eq!(payload["environment"], "production");
        heard.push(format!("{} {}", payload["deployment_id"], payload["state"].as_str().unwrap()));
    }
    heard.dedup();
    assert_eq!(
        heard,
        ["1 checking", "1 staging", "1 applying", "1 applied", "2 checking", "2 applying", "2 applied"]
    );
}

fn fallible_next(all: &mut postgres::notifications::Iter<'_>) -> Option<String> {
    use postgres::fallible_iterator::FallibleIterator;
    all.next().unwrap().map(|notification| notification.payload().to_owned())
}

#[test]
fn failures_again_and_again_stop_the_next_one() {
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t VALUES (1)"),
        &format!("{table}; ALTER TABLE t ADD CONSTRAINT none CHECK (false)"),
    );
    for _ in 0..5 {
        assert_eq!(deploy(&mut pair.here, "{t}", r#"{"error_threshold": 1}"#)[0], "rolled_back");
    }
    execute(&mut pair.there, "ALTER TABLE t DROP CONSTRAINT none");
    let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
    assert_eq!(state, "refused");
    assert!(error.contains("error_rate: 5 of the last 5"), "{error}");
    execute(&mut pair.here, "SELECT opdb.set_setting('deploy.max_error_rate', '1')");
    assert_eq!(deploy(&mut pair.here, "{t}", "{}")[0], "applied");
}

#[test]
fn an_unreachable_target_is_a_failed_check_and_what_hangs_on_it_unknown() {
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1)"), table);
    execute(
        &mut pair.here,
        r#"SELECT opdb.register_environment('nowhere', 'staging', '{"host": "127.0.0.1", "port": 1, "dbname": "x"}',
                                            '{"user": "x", "password": "x"}')"#,
    );
    let checks = "SELECT passed, count(*), bool_and(required) FROM opdb.pre_deployment_check('nowhere', '{t}') GROUP BY 1 ORDER BY 1";
    assert_eq!(
        rows(&mut pair.here, checks),
        [["f", "1", "t"], ["t", "7", "t"], ["NULL", "10", "t"]],
        "unknown is not passed"
    );
    let id = text(&mut pair.here, "SELECT opdb.deploy('nowhere', '{t}')");
    let found = rows(
        &mut pair.here,
        &format!("SELECT state, error FROM opdb.deployments WHERE deployment_id = {id}"),
    );
    assert_eq!(found[0][0], "refused");
    assert!(found[0][1].contains("target_reachable: could not connect"), "{found:?}");
}

#[test]
fn a_state_that_cannot_be_written_ends_the_call_before_anything_changes() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1, 'x')"), table);
    execute(&mut pair.here, "ALTER TABLE opdb.deployment ADD CONSTRAINT never CHECK (state <> 'applying')");
    let call = r#"SELECT opdb.deploy('production', '{t}', '{"raise": true}')"#;
    let refusal = refused(&mut pair.here, call);
    assert_eq!(refusal.sqlstate, "58000", "{refusal:?}");
    assert_eq!(refusal.message, "deployment 1 could not be recorded as applying");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "0");
    let last = "SELECT state, error FROM opdb.deployments";
    assert_eq!(rows(&mut pair.here, last), [["failed", refusal.message.as_str()]]);
    execute(&mut pair.here, "ALTER TABLE opdb.deployment DROP CONSTRAINT never");
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(1, 0, 0));
}
