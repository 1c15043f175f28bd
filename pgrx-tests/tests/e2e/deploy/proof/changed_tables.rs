//! Tables that are not the same on both sides.

use super::is_refused;
use crate::deploy::{applied, deploy, pair_with};
use crate::fixture::{Pair, execute, rows, text};

/// Three rows here; two of them there, one older, and one more.
fn pair() -> Pair {
    let table = "CREATE TABLE t (id int PRIMARY KEY, a text, b text DEFAULT 'usual')";
    pair_with(
        &format!("{table}; INSERT INTO t VALUES (1, 'x', 'here'), (2, 'y', 'here'), (3, 'z', 'here')"),
        &format!("{table}; INSERT INTO t VALUES (1, 'x', 'there'), (2, 'old', 'there'), (4, 'own', 'there')"),
    )
}

/// With the change captured here, or made there.
fn changed(here: &str, there: &str) -> Pair {
    let mut pair = pair();
    execute(&mut pair.here, &format!("{here}; SELECT opdb.capture_schema()"));
    execute(&mut pair.there, there);
    pair
}

#[test]
fn a_column_that_only_is_here_is_named_and_can_be_left_out() {
    let mut pair = changed("ALTER TABLE t ADD extra int DEFAULT 7", "SELECT 1");
    is_refused(&mut pair, "{t}", "public.t.extra: the column does not exist there");
    assert_eq!(
        deploy(&mut pair.here, "{t}", r#"{"exclude_columns": ["extra"], "max_change_ratio": 1}"#)[..3],
        applied(1, 2, 0)[..3]
    );
}

#[test]
fn a_column_that_only_is_there_keeps_its_values() {
    let mut pair = changed("ALTER TABLE t DROP b", "SELECT 1");
    assert_eq!(deploy(&mut pair.here, "{t}", "{}"), applied(1, 1, 1));
    assert_eq!(
        rows(&mut pair.there, "SELECT * FROM t ORDER BY id"),
        [["1", "x", "there"], ["2", "y", "there"], ["3", "z", "usual"], ["4", "own", "there"]]
    );
}

#[test]
fn a_column_there_that_needs_a_value_is_named() {
    let mut pair = changed(
        "SELECT 1",
        "ALTER TABLE t ADD needed int NOT NULL DEFAULT 0; ALTER TABLE t ALTER needed DROP DEFAULT",
    );
    is_refused(&mut pair, "{t}", "public.t.needed");
    execute(&mut pair.there, "ALTER TABLE t ALTER needed SET DEFAULT 5");
    assert_eq!(deploy(&mut pair.here, "{t}", r#"{"max_change_ratio": 1}"#)[..3], applied(1, 2, 0)[..3]);
    assert_eq!(text(&mut pair.there, "SELECT needed FROM t WHERE id = 3"), "5");
}

#[test]
fn a_change_here_that_was_not_captured_goes_nowhere() {
    let mut pair = pair();
    execute(&mut pair.here, "ALTER TABLE t ALTER a TYPE varchar(50)");
    is_refused(&mut pair, "{t}", "schema_valid: 1 differences");
}

#[test]
fn a_table_that_is_not_there_stops_the_others_too() {
    let mut pair = changed("CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1)", "SELECT 1");
    is_refused(&mut pair, "{t,u}", "public.u");
}
