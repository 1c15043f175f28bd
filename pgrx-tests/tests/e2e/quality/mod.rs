//! Scores, and the rows behind them.

mod altered;
mod failures;
mod gate;
mod oracle;
mod partitions;
mod quarantine;
mod raising;
mod whole;

use crate::fixture::{database, execute, on_test, refused, role, rows, servers, text};

#[test]
fn planted_defects_are_counted_exactly() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent SELECT generate_series(1, 5);
           CREATE TABLE t (id int PRIMARY KEY, name text, n int, code text, parent int, at timestamptz);
           INSERT INTO t SELECT i, 'name', i, 'a' || i, 1 + i % 5, '2024-01-01' FROM generate_series(1, 100) i;
           UPDATE t SET name = NULL WHERE id <= 3; UPDATE t SET name = '  ' WHERE id IN (4, 5);
           UPDATE t SET name = 'N/A' WHERE id = 6; UPDATE t SET n = -1 WHERE id <= 10; UPDATE t SET n = NULL WHERE id = 11;
           UPDATE t SET code = 'a50' WHERE id IN (51, 52); UPDATE t SET parent = 99 WHERE id = 1;
           UPDATE t SET parent = NULL WHERE id = 2; UPDATE t SET at = 'infinity' WHERE id = 7"#,
    );
    for (dimension, rule, columns, args) in [
        ("completeness", "not_null", "{name}", "{}"),
        ("completeness", "not_blank", "{name}", r#"{"placeholders": ["n/a"]}"#),
        ("accuracy", "range", "{n}", r#"{"min": 0, "max": 1000}"#),
        ("accuracy", "length", "{code}", r#"{"min": 3}"#),
        ("accuracy", "regex", "{code}", r#"{"pattern": "^a[0-9]+$"}"#),
        ("accuracy", "accepted_values", "{code}", r#"{"values": ["a1", "a2"]}"#),
        ("consistency", "unique", "{code}", "{}"),
        ("consistency", "expression", "{}", r#"{"expression": "n = id"}"#),
        ("integrity", "foreign_key", "{parent}", r#"{"table": "public.parent", "columns": ["id"]}"#),
    ] {
        execute(
            &mut client,
            &format!("SELECT opdb.add_quality_rule('t', '{dimension}', '{rule}', '{columns}', '{args}')"),
        );
    }
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let found = rows(
        &mut client,
        &format!("SELECT rule || ' ' || passed || '/' || evaluated FROM opdb.quality_report({run}) WHERE rule_id IS NOT NULL"),
    )
    .concat();
    assert_eq!(
        found,
        [
            "not_null 97/100",
            "not_blank 94/100",
            "range 89/99",
            "length 91/100",
            "regex 100/100",
            "accepted_values 2/100",
            "unique 98/100",
            "expression 89/99",
            "foreign_key 98/99",
        ]
    );
    let finite =
        format!("SELECT passed || '/' || evaluated FROM opdb.quality_report({run}) WHERE columns = '{{at}}'");
    assert_eq!(text(&mut client, &finite), "99/100");
}

#[test]
fn an_empty_table_does_not_pass() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, "CREATE TABLE t (id int PRIMARY KEY)");
    let run = rows(&mut client, "SELECT rows, score, passed, reason FROM opdb.quality_score('t')").remove(0);
    assert_eq!(run[..3], ["0", "NULL", "f"]);
    assert!(run[3].contains("empty"), "{run:?}");
}

#[test]
fn a_table_of_which_nothing_is_known_does_not_pass() {
    let mut client = on_test(&database(&servers().test));
    execute(&mut client, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
    let options = r#"{"implied": false, "min_coverage": 0, "threshold": 0, "min_completeness": 0}"#;
    let run = format!("SELECT score, passed, reason FROM opdb.quality_score('t', '{options}')");
    let run = rows(&mut client, &run).remove(0);
    assert_eq!(run[..2], ["NULL", "f"]);
    assert!(run[2].contains("no rule could be evaluated"), "{run:?}");
}

/// To SQL a composite value of NULLs "is NULL", and one with a NULL among others is neither.
#[test]
fn a_composite_value_is_there_whatever_its_fields_are() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TYPE pair AS (a int, b int); CREATE TABLE t (id int PRIMARY KEY, p pair, q pair);
           INSERT INTO t VALUES (1, (1, 2), (1, 2)), (2, (1, NULL), (1, 2)), (3, (NULL, NULL), NULL), (4, NULL, (2, 2));
           CREATE TABLE parent (p pair PRIMARY KEY); INSERT INTO parent VALUES ((1, 2)), ((1, NULL));
           SELECT opdb.add_quality_rule('t', d, r, c::text[], a::jsonb) FROM (VALUES
               (1, 'completeness', 'not_null', '{p}', '{}'), (2, 'integrity', 'unique', '{p}', '{}'),
               (3, 'consistency', 'unique', '{q}', '{}'),
               (4, 'integrity', 'foreign_key', '{p}', '{"table": "public.parent", "columns": ["p"]}'))
               v (place, d, r, c, a) ORDER BY place"#,
    );
    let run = text(&mut client, r#"SELECT run_id FROM opdb.quality_score('t', '{"implied": false}')"#);
    let counts =
        format!("SELECT passed || '/' || evaluated FROM opdb.quality_report({run}) ORDER BY rule_id");
    assert_eq!(rows(&mut client, &counts).concat(), ["3/4", "3/4", "2/3", "2/3"]);
}

#[test]
fn a_foreign_key_compares_as_the_referenced_column_does() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE parent (k text COLLATE "C" PRIMARY KEY); INSERT INTO parent VALUES ('a');
           CREATE TABLE t (id int PRIMARY KEY, k text COLLATE "POSIX"); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL);
           SELECT opdb.add_quality_rule('t', 'integrity', 'foreign_key', '{k}', '{"table": "public.parent", "columns": ["k"]}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let counts =
        format!("SELECT passed || '/' || evaluated FROM opdb.quality_report({run}) WHERE rule_id = 1");
    assert_eq!(text(&mut client, &counts), "1/2");
}

#[test]
fn numbers_within_bounds_are_finite_and_others_are_told() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, n float8, m float8, o numeric);
           INSERT INTO t VALUES (1, 1, 1, 1), (2, 'NaN', 'NaN', 'NaN'), (3, 'Infinity', 'Infinity', 5), (4, 200, 200, 200);
           SELECT opdb.add_quality_rule('t', 'accuracy', 'range', '{n}', '{"min": 0, "max": 100}');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'range', '{m}', '{"min": 0, "max": "Infinity"}');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'range', '{o}', '{"min": 0, "max": 100, "where": "id < 3"}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let counts = format!(
        "SELECT rule || ' ' || columns[1] || ' ' || passed || '/' || evaluated FROM opdb.quality_report({run})
         WHERE rule IN ('range', 'finite') ORDER BY 1"
    );
    assert_eq!(
        rows(&mut client, &counts).concat(),
        ["finite m 2/4", "finite n 2/4", "finite o 3/4", "range m 3/4", "range n 1/4", "range o 1/2"]
    );
}

#[test]
fn a_threshold_is_exact() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, a text UNIQUE);
           INSERT INTO t SELECT i, i FROM generate_series(1, 100000) i;
           SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "id > 5004"}', threshold => 0.95)"#,
    );
    let score = "SELECT passed FROM opdb.quality_score('t', '{\"threshold\": 0}')";
    assert_eq!(text(&mut client, score), "f", "94996 of 100000");
    execute(&mut client, "UPDATE t SET id = id + 1000000 WHERE id BETWEEN 5001 AND 5004");
    assert_eq!(text(&mut client, score), "t", "95000 of 100000");
}

#[test]
fn weights_options_and_coverage_are_told() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (a text); INSERT INTO t SELECT CASE WHEN i <= 2 THEN 'x' END FROM generate_series(1, 4) i;
           SELECT opdb.add_quality_rule('t', 'completeness', 'not_null', '{a}');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'regex', '{a}', '{"pattern": "x"}', weight => 3)"#,
    );
    let run = "SELECT completeness, accuracy, consistency, integrity, score, coverage, passed FROM opdb.quality_score('t'";
    assert_eq!(
        rows(&mut client, &format!("{run})")),
        [["0.5000", "1.0000", "NULL", "NULL", "0.7500", "0.6000", "f"]]
    );
    let options = r#", '{"weights": {"completeness": 1, "accuracy": 3}, "threshold": 0.8, "min_coverage": 1,
            "min_completeness": 0.5}')"#;
    assert_eq!(
        rows(&mut client, &format!("{run}{options}")),
        [["0.5000", "1.0000", "NULL", "NULL", "0.8750", "1.0000", "t"]]
    );
}

#[test]
fn constraints_prove_what_they_guarantee_and_no_more() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, -5), (2, 5);
         ALTER TABLE t ADD CONSTRAINT later CHECK (n > 0) NOT VALID",
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let report = rows(
        &mut client,
        &format!(
            "SELECT dimension, rule, passed || '/' || evaluated, split_part(evidence, ':', 1)
             FROM opdb.quality_report({run}) WHERE rule <> 'not_null' ORDER BY 1"
        ),
    );
    assert_eq!(
        report,
        [["accuracy", "expression", "1/2", "measured"], ["integrity", "unique", "2/2", "constraint"]]
    );
}

#[test]
fn only_the_owner_adds_a_rule_because_it_runs_as_whoever_scores() {
    let name = database(&servers().test);
    execute(&mut on_test(&name), "CREATE TABLE t (id int PRIMARY KEY); GRANT SELECT ON t TO PUBLIC");
    let operator = role(&servers().test, &["opdb_operator"]);
    let mut session = servers().test.connect(&name, &operator, &operator).unwrap();
    let refusal = refused(&mut session, "SELECT opdb.add_quality_rule('t', 'accuracy', 'not_null', '{id}')");
    assert_eq!(refusal.sqlstate, "42501");
    assert!(refusal.message.contains("public.t"), "{refusal:?}");
    assert_eq!(text(&mut session, "SELECT rows FROM opdb.quality_score('t')"), "0");
}
