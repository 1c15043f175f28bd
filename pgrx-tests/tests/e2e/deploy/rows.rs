//! Which rows are deployed, and what is sent of them.

use postgres::Client;

use super::{applied, deploy, pair_with};
use crate::fixture::{execute, refused, rows, text};

/// State, inserted and updated. How many more were sent depends on which transactions run meanwhile, in other databases too.
fn changed(client: &mut Client, options: &str) -> [String; 3] {
    let [state, inserted, updated, ..] = deploy(client, "{t}", options);
    [state, inserted, updated]
}

#[test]
fn rows_since_the_last_deployment() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair =
        pair_with(&format!("{table}; INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) i"), table);
    let since = r#"{"mode": "since_last"}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", since), applied(100, 0, 0), "the first one brings all");
    execute(&mut pair.here, "UPDATE t SET a = 'y' WHERE id <= 3; INSERT INTO t VALUES (101, 'new')");
    // A subtransaction has a number of its own.
    execute(
        &mut pair.here,
        "DO $$ BEGIN BEGIN UPDATE t SET a = 'z' WHERE id = 4; EXCEPTION WHEN others THEN NULL; END; END $$",
    );
    assert_eq!(changed(&mut pair.here, since), applied(1, 4, 0)[..3]);
    assert_eq!(changed(&mut pair.here, since), applied(0, 0, 0)[..3], "nothing is no failure");
    // What another deployment brought in part is no reason to leave anything out.
    execute(&mut pair.here, "UPDATE t SET a = 'w' WHERE id IN (5, 6)");
    assert_eq!(deploy(&mut pair.here, "{t}", r#"{"where": "id = 5"}"#), applied(0, 1, 0));
    assert_eq!(changed(&mut pair.here, since), applied(0, 1, 0)[..3]);
    assert_eq!(
        text(&mut pair.here, "SELECT string_agg(id || a, ',' ORDER BY id) FROM t"),
        text(&mut pair.there, "SELECT string_agg(id || a, ',' ORDER BY id) FROM t")
    );
}

#[test]
fn what_was_rolled_back_is_sent_again() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair =
        pair_with(&format!("{table}; INSERT INTO t SELECT i, 'x' FROM generate_series(1, 10) i"), table);
    let since = r#"{"mode": "since_last"}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", since), applied(10, 0, 0));
    execute(&mut pair.here, "UPDATE t SET a = 'y' WHERE id = 1");
    assert_eq!(changed(&mut pair.here, since), applied(0, 1, 0)[..3]);
    execute(&mut pair.here, "SELECT opdb.rollback_deployment(2)");
    assert_eq!(changed(&mut pair.here, since), applied(0, 1, 0)[..3]);
}

#[test]
fn rows_of_a_transaction_that_ran_meanwhile_are_sent_the_next_time() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1, 'x'), (2, 'x')"), table);
    let since = r#"{"mode": "since_last"}"#;
    let mut other = crate::fixture::on_test(&pair.here_name);
    execute(
        &mut other,
        "BEGIN; UPDATE t SET a = 'y' WHERE id = 1; SAVEPOINT s; UPDATE t SET a = 'y' WHERE id = 2",
    );
    execute(&mut pair.here, "CREATE TABLE later (); DROP TABLE later");
    assert_eq!(deploy(&mut pair.here, "{t}", since), applied(2, 0, 0));
    execute(&mut other, "COMMIT");
    let all = r#"{"mode": "since_last", "max_change_ratio": 1}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", all), applied(0, 2, 0));
}

#[test]
fn the_first_rows_by_the_key() {
    let table = "CREATE TABLE t (a int, b text, v text, PRIMARY KEY (a, b))";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t SELECT i / 10, i::text, 'x' FROM generate_series(1, 2000) i"),
        table,
    );
    assert_eq!(deploy(&mut pair.here, "{t}", r#"{"mode": "limit", "limit": 5}"#), applied(5, 0, 0));
    assert_eq!(
        text(
            &mut pair.here,
            "SELECT string_agg(b, ',' ORDER BY a, b) FROM (SELECT * FROM t ORDER BY a, b LIMIT 5) l"
        ),
        text(&mut pair.there, "SELECT string_agg(b, ',' ORDER BY a, b) FROM t")
    );
    assert_eq!(deploy(&mut pair.here, "{t}", r#"{"mode": "limit"}"#), applied(995, 0, 5));
    let more = r#"{"mode": "limit", "limit": 3, "where": "a >= 150"}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", more), applied(3, 0, 0));
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1)"), table);
    for options in [
        r#"{"mode": "some"}"#,
        r#"{"limit": 5}"#,
        r#"{"mode": "limit", "limit": 0}"#,
        r#"{"mode": "limit", "delete_missing": true}"#,
        r#"{"direction": "sideways"}"#,
        r#"{"error_threshold": 0}"#,
        r#"{"auto_rollback": "no"}"#,
        r#"{"require": ["luck"]}"#,
        r#"{"mode": null}"#,
    ] {
        let refusal =
            refused(&mut pair.here, &format!("SELECT opdb.deploy('production', '{{t}}', '{options}')"));
        assert_eq!(refusal.sqlstate, "22023", "{options}: {refusal:?}");
        assert!(!refusal.hint.is_empty(), "{options}");
    }
    assert_eq!(text(&mut pair.here, "SELECT count(*) FROM opdb.deployments"), "0");
}

#[test]
fn transformed_values_are_sent() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, email varchar(20), n int)";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t VALUES (1, 'ada@example.com', 1), (2, 'b@example.com', 2)"),
        table,
    );
    execute(
        &mut pair.here,
        "SELECT opdb.add_transformation('t', 'email', 'left(md5(email), 8)');
         SELECT opdb.add_transformation('t', 'n', 'n * 10 + id')",
    );
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(2, 0, 0));
    assert_eq!(
        rows(&mut pair.there, "SELECT id, email = left(md5('ada@example.com'), 8), n FROM t WHERE id = 1"),
        [["1", "t", "11"]]
    );
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(0, 0, 2));
    // What fails for one row is found before anything is sent.
    execute(&mut pair.here, "SELECT opdb.add_transformation('t', 'n', '10 / (n - 2)')");
    let [state, .., error] = deploy(&mut pair.here, "{t}", "{}");
    assert_eq!(state, "refused");
    assert!(error.contains("transformations: public.t") && error.contains("division by zero"), "{error}");
    let check = "SELECT passed, detail FROM opdb.pre_deployment_check('production', '{t}')
                 WHERE check_name = 'transformations'";
    assert_eq!(rows(&mut pair.here, check)[0][0], "f");
    execute(&mut pair.here, "SELECT opdb.drop_transformation('t', 'n')");
    assert_eq!(deploy(&mut pair.here, "{t}", r#"{"max_change_ratio": 1}"#), applied(0, 2, 0));
    for (sql, sqlstate) in [
        ("SELECT opdb.add_transformation('t', 'nothing', 'id')", "42703"),
        ("SELECT opdb.add_transformation('t', 'n', 'nothing + 1')", "42703"),
        ("SELECT opdb.add_transformation('t', 'n', 'n; DROP TABLE t')", "42601"),
        ("SELECT opdb.add_transformation('t', 'n', 'random()::int')", "22023"),
        ("SELECT opdb.add_transformation('t', 'n', '''x''::text')", "22P02"),
        ("SELECT opdb.add_transformation('t', NULL, 'n')", "22004"),
        ("SELECT opdb.add_transformation('pg_class', 'relname', 'relname')", "42809"),
        ("SELECT opdb.drop_transformation('t', 'n')", "42704"),
    ] {
        let refusal = refused(&mut pair.here, sql);
        assert_eq!(refusal.sqlstate, sqlstate, "{sql}: {refusal:?}");
    }
}
