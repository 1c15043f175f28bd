//! Taking a deployment back.

use super::{applied, content, deploy, pair_with};
use crate::fixture::{Pair, execute, refused, rows, text};

/// Takes the last deployment back and returns what became of each table: its name, restored, skipped_changed.
pub fn roll_back(pair: &mut Pair) -> Vec<Vec<String>> {
    let last = "SELECT max(deployment_id) FROM opdb.deployments WHERE kind = 'deploy'";
    let id = text(&mut pair.here, last);
    rows(
        &mut pair.here,
        &format!("SELECT table_name, restored, skipped_changed FROM opdb.rollback_deployment({id})"),
    )
}

fn errors(pair: &mut Pair) -> Vec<Vec<String>> {
    rows(
        &mut pair.here,
        "SELECT key, error FROM opdb.deployment_errors
         WHERE deployment_id = (SELECT max(deployment_id) FROM opdb.deployments) ORDER BY (key ->> 'id')::int",
    )
}

#[test]
fn rows_become_what_they_were() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text, kept text DEFAULT 'there')";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t SELECT i, 'new', 'here' FROM generate_series(1, 10) i"),
        &format!("{table}; INSERT INTO t SELECT i, 'old' FROM generate_series(6, 20) i"),
    );
    let before = content(&mut pair.there, "t");
    let options = r#"{"exclude_columns": ["kept"], "delete_missing": true, "max_change_ratio": 1}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", options), applied(5, 5, 0));
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "10");
    assert_eq!(roll_back(&mut pair), [["public.t", "20", "0"]]);
    assert_eq!(content(&mut pair.there, "t"), before);
    let kept =
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'opdb_deploy'::regnamespace AND relkind = 'r'";
    assert_eq!(text(&mut pair.there, kept), "2", "nothing but the ledger and its parts");
    assert_eq!(
        rows(
            &mut pair.here,
            "SELECT kind, state, rolls_back, rolled_back_by FROM opdb.deployments ORDER BY deployment_id"
        ),
        [["deploy", "rolled_back", "NULL", "2"], ["rollback", "applied", "1", "NULL"]]
    );
    assert_eq!(
        rows(&mut pair.there, "SELECT kind FROM opdb_deploy.ledger ORDER BY applied_at"),
        [["deploy"], ["rollback"]]
    );
    let again = refused(&mut pair.here, "SELECT opdb.rollback_deployment(1)");
    assert_eq!(again.sqlstate, "55000", "{again:?}");
    assert_eq!(deploy(&mut pair.here, "{t}", options), applied(5, 5, 0), "it can be deployed again");
}

#[test]
fn what_was_changed_since_is_listed_and_left_alone() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text, note text DEFAULT 'none')";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t SELECT i, 'new' FROM generate_series(1, 10) i"),
        &format!("{table}; INSERT INTO t SELECT i, 'old' FROM generate_series(6, 20) i"),
    );
    let options = r#"{"exclude_columns": ["note"], "delete_missing": true, "max_change_ratio": 1}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", options), applied(5, 5, 0));
    execute(
        &mut pair.there,
        "UPDATE t SET a = 'newer' WHERE id IN (1, 6); UPDATE t SET note = 'seen' WHERE id IN (2, 7);
         DELETE FROM t WHERE id IN (3, 8); INSERT INTO t VALUES (11, 'again')",
    );
    // 4 and 5 taken out; 7, 9 and 10 set back; 12 to 20 put back.
    assert_eq!(roll_back(&mut pair), [["public.t", "14", "5"]]);
    assert_eq!(
        errors(&mut pair),
        [
            [r#"{"id": 1}"#, "it was changed since"],
            [r#"{"id": 2}"#, "it is referenced, or was changed since, in a column that was not sent"],
            [r#"{"id": 6}"#, "it was changed since"],
            [r#"{"id": 8}"#, "it is gone since"],
            [r#"{"id": 11}"#, "a row with its key was made since"],
        ]
    );
    assert_eq!(
        rows(&mut pair.there, "SELECT id, a, note FROM t WHERE id < 12 ORDER BY id"),
        [
            ["1", "newer", "none"],
            ["2", "new", "seen"],
            ["6", "newer", "none"],
            ["7", "old", "seen"],
            ["9", "old", "none"],
            ["10", "old", "none"],
            ["11", "again", "none"],
        ]
    );
}

#[test]
fn rows_that_others_reference_stay() {
    let tables = "CREATE TABLE parent (id int PRIMARY KEY, up int REFERENCES parent ON DELETE CASCADE);
        CREATE TABLE child (id int PRIMARY KEY, parent int NOT NULL REFERENCES parent ON DELETE CASCADE)";
    let mut pair = pair_with(
        &format!(
            "{tables}; INSERT INTO parent VALUES (1, NULL), (2, 1), (3, NULL), (4, NULL); INSERT INTO child VALUES (1, 1)"
        ),
        tables,
    );
    assert_eq!(deploy(&mut pair.here, "{child,parent}", "{}"), applied(5, 0, 0));
    execute(&mut pair.there, "INSERT INTO child VALUES (100, 3); INSERT INTO parent VALUES (100, 4)");
    assert_eq!(
        roll_back(&mut pair),
        [["public.parent", "2", "2"], ["public.child", "1", "0"]],
        "what the deployment made goes with what it references"
    );
    assert_eq!(rows(&mut pair.there, "SELECT id FROM parent ORDER BY id"), [["3"], ["4"], ["100"]]);
    assert_eq!(rows(&mut pair.there, "SELECT id FROM child"), [["100"]]);
}

#[test]
fn what_cannot_be_taken_back_says_why() {
    let table = "CREATE TABLE t (id int PRIMARY KEY)";
    let mut pair = pair_with(&format!("{table}; INSERT INTO t VALUES (1)"), table);
    let refusal = refused(&mut pair.here, "SELECT opdb.rollback_deployment(1)");
    assert_eq!(refusal.sqlstate, "42704", "{refusal:?}");
    assert_eq!(refused(&mut pair.here, "SELECT opdb.rollback_deployment(NULL)").sqlstate, "22004");
    assert_eq!(refused(&mut pair.here, "BEGIN; SELECT opdb.rollback_deployment(1)").sqlstate, "25001");
    execute(&mut pair.here, "ROLLBACK");
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(1, 0, 0));
    execute(&mut pair.here, "SET opdb.target = 'staging'");
    let refusal = refused(&mut pair.here, "SELECT opdb.rollback_deployment(1)");
    assert_eq!(refusal.sqlstate, "55000", "{refusal:?}");
    assert!(refusal.hint.contains("production"), "{refusal:?}");
    execute(&mut pair.here, "RESET opdb.target");
    assert_eq!(roll_back(&mut pair), [["public.t", "1", "0"]]);
    let refusal = refused(&mut pair.here, "SELECT opdb.rollback_deployment(2)");
    assert!(refusal.message.contains("rollback itself"), "{refusal:?}");
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(1, 0, 0));
    execute(&mut pair.there, "DROP SCHEMA opdb_deploy CASCADE");
    let refusal = refused(&mut pair.here, "SELECT opdb.rollback_deployment(3)");
    assert_eq!(refusal.sqlstate, "55000", "{refusal:?}");
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM t"), "1");
}

#[test]
fn rows_that_have_to_make_place_for_each_other_are_set_back() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, pos int UNIQUE)";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t SELECT i, i * 10 - 10 FROM generate_series(1, 6) i"),
        &format!("{table}; INSERT INTO t SELECT i, i * 10 FROM generate_series(1, 6) i"),
    );
    let before = content(&mut pair.there, "t");
    assert_eq!(deploy(&mut pair.here, "{t}", r#"{"max_change_ratio": 1}"#), applied(0, 6, 0));
    assert_eq!(roll_back(&mut pair), [["public.t", "6", "0"]]);
    assert_eq!(content(&mut pair.there, "t"), before);
    // One place was taken since: that row stays as it is, and the other does not because of it.
    execute(
        &mut pair.here,
        "UPDATE t SET pos = pos + 1000; DELETE FROM t WHERE id > 2; INSERT INTO t VALUES (7, 7)",
    );
    let options = r#"{"max_change_ratio": 1, "delete_missing": true}"#;
    assert_eq!(deploy(&mut pair.here, "{t}", options), applied(1, 2, 0));
    execute(&mut pair.there, "INSERT INTO t VALUES (99, 10), (98, 40)");
    assert_eq!(roll_back(&mut pair), [["public.t", "5", "2"]]);
    assert_eq!(
        text(&mut pair.there, "SELECT string_agg(id || ':' || pos, ' ' ORDER BY id) FROM t"),
        "1:1000 2:20 3:30 5:50 6:60 98:40 99:10"
    );
}

#[test]
fn a_reference_onto_a_partition_keeps_its_row() {
    let table = "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id);
                 CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100)";
    let mut pair = pair_with(
        &format!("{table}; INSERT INTO t VALUES (1), (2)"),
        &format!("{table}; CREATE TABLE other (t int REFERENCES t1 ON DELETE CASCADE)"),
    );
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(2, 0, 0));
    execute(&mut pair.there, "INSERT INTO other VALUES (2)");
    assert_eq!(roll_back(&mut pair), [["public.t", "1", "1"]]);
    assert_eq!(text(&mut pair.there, "SELECT count(*) FROM other"), "1");
}
