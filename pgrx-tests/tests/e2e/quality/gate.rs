//! What makes a table good enough.

use postgres::Client;

use crate::fixture::{database, execute, on_test, rows, servers, text};

/// Five required columns, of which one has values in 80 of 100 rows.
fn mostly_complete() -> Client {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int, title text, content text, source text, "timestamp" timestamptz, other int);
           INSERT INTO t SELECT i, CASE WHEN i > 20 THEN 'title' WHEN i > 10 THEN '' END, 'content', 'source', now()
           FROM generate_series(1, 100) i"#,
    );
    client
}

fn run(client: &mut Client, options: &str) -> Vec<String> {
    let sql = format!("SELECT completeness, passed, reason FROM opdb.quality_score('t', '{options}')");
    rows(client, &sql).remove(0)
}

#[test]
fn usual_columns_are_required_if_nobody_says_which() {
    let mut client = mostly_complete();
    let rules = "SELECT columns, passed FROM opdb.quality_report((SELECT run_id FROM opdb.quality_run))
                 WHERE dimension = 'completeness'";
    let found = run(&mut client, r#"{"min_coverage": 0}"#);
    assert_eq!(found[..2], ["0.9600", "t"], "the mean of five");
    assert!(found[2].contains("columns with less than 0.9500: title (0.8000)"), "{found:?}");
    assert_eq!(
        rows(&mut client, rules),
        [
            ["{id}", "100"],
            ["{title}", "80"],
            ["{content}", "100"],
            ["{source}", "100"],
            ["{timestamp}", "100"]
        ]
    );
}

#[test]
fn the_gate_is_on_the_mean_on_each_column_or_on_each_row() {
    let mut client = mostly_complete();
    execute(&mut client, "UPDATE t SET source = NULL WHERE id > 90");
    for (gate, value, says) in [
        ("mean", "0.95", "the completeness 0.9400 is below 0.9500"),
        ("min", "0.81", "the completeness of a column, 0.8000 is below 0.8100"),
        ("row", "0.71", "the share of complete rows, 0.7000 is below 0.7100"),
    ] {
        let limit = |limit: &str| {
            format!(r#"{{"gate": "{gate}", "min_completeness": {limit}, "min_coverage": 0, "threshold": 0}}"#)
        };
        let found = run(&mut client, &limit(value));
        assert_eq!(found[1], "f", "{gate}");
        assert!(found[2].contains(says), "{found:?}");
        let enough = text(&mut client, &format!("SELECT {value} - 0.01"));
        assert_eq!(run(&mut client, &limit(&enough))[1], "t", "{gate}");
    }
}

#[test]
fn a_required_column_that_there_is_not_scores_nothing() {
    let mut client = mostly_complete();
    let found = run(&mut client, r#"{"required": ["id", "body"], "min_coverage": 0, "gate": "row"}"#);
    assert_eq!(found[..2], ["0.5000", "f"]);
    assert!(found[2].contains("column \"body\" does not exist"), "{found:?}");
    assert!(found[2].contains("the share of complete rows, 0.0000"), "{found:?}");
    let weighted = run(&mut client, r#"{"required": {"id": 3, "title": 1}, "min_coverage": 0}"#);
    assert_eq!(weighted[0], "0.9500");
}

#[test]
fn a_rule_about_completeness_says_what_is_required() {
    let mut client = mostly_complete();
    execute(
        &mut client,
        r#"SELECT opdb.add_quality_rule('t', 'completeness', 'not_blank', '{title}', '{"placeholders": ["TITLE"]}')"#,
    );
    let found = run(&mut client, "{}");
    assert_eq!(found[..2], ["0.0000", "f"]);
}

#[test]
fn a_warning_warns_and_an_error_fails() {
    let mut client = mostly_complete();
    execute(
        &mut client,
        r#"SELECT opdb.add_quality_rule('t', 'accuracy', 'length', '{title}', '{"min": 6}', threshold => 1,
                                        severity => 'warn', name => 'long titles');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'not_null', '{id}')"#,
    );
    let options = r#"{"threshold": 0, "min_completeness": 0}"#;
    let found = run(&mut client, options);
    assert_eq!(found[1], "t");
    assert!(
        found[2].contains("rule 1 \"long titles\" (length title): 0.0000 of the values passed"),
        "{found:?}"
    );
    execute(&mut client, "UPDATE opdb.quality_rule SET severity = 'error'");
    assert_eq!(run(&mut client, options)[1], "f");
    let refusal = crate::fixture::refused(
        &mut client,
        "SELECT opdb.add_quality_rule('t', 'accuracy', 'not_null', '{id}', name => 'long titles')",
    );
    assert_eq!((refusal.sqlstate.as_str(), refusal.message.contains("long titles")), ("42710", true));
}

/// Values that are missing are charged once, where completeness is measured.
#[test]
fn accuracy_is_about_values_that_are_there() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (a text, j jsonb);
           INSERT INTO t VALUES ('good', '{}'), ('bad!', '[]'), (NULL, NULL), ('', 'null'), (E' \t', '{}'), ('N/A', '{}');
           SELECT opdb.add_quality_rule('t', 'completeness', 'not_blank', '{a}', '{"placeholders": ["n/a"]}');
           SELECT opdb.add_quality_rule('t', 'completeness', 'not_blank', '{j}');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'regex', '{a}', '{"pattern": "^[a-z]*$"}');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'accepted_values', '{a}', '{"values": ["good", ""]}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    assert_eq!(
        rows(
            &mut client,
            &format!("SELECT passed || '/' || evaluated FROM opdb.quality_report({run}) ORDER BY rule_id")
        ),
        [["2/6"], ["4/6"], ["1/2"], ["1/2"]]
    );
}

#[test]
fn what_constraints_imply_is_not_measured() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE p (a int, b int, PRIMARY KEY (a, b)); INSERT INTO p VALUES (1, 1);
           CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b int NOT NULL, n numeric CHECK (n BETWEEN 10 AND 20),
                           s text CHECK (length(s) > 3), u int UNIQUE, later int,
                           FOREIGN KEY (a, b) REFERENCES p, CHECK (a <= b));
           INSERT INTO t VALUES (1, 1, 1, 15, 'long', 1, 5); ALTER TABLE t ADD CHECK (later > 100) NOT VALID"#,
    );
    for (kind, columns, args, is_proven) in [
        ("not_null", "{a,b}", "{}", true),
        ("not_null", "{a,u}", "{}", false),
        ("unique", "{id}", "{}", true),
        ("unique", "{u,a}", "{}", true),
        ("unique", "{a}", "{}", false),
        ("range", "{n}", r#"{"min": 0, "max": 100}"#, true),
        ("range", "{n}", r#"{"min": 12}"#, false),
        ("range", "{n,a}", r#"{"min": 0}"#, false),
        ("expression", "{}", r#"{"expression": "a <= b"}"#, true),
        ("expression", "{}", r#"{"expression": "b >= a"}"#, true),
        ("expression", "{}", r#"{"expression": "a < b"}"#, false),
        ("expression", "{}", r#"{"expression": "length(s) > 3"}"#, true),
        ("expression", "{}", r#"{"expression": "later > 100"}"#, false),
        ("foreign_key", "{a,b}", r#"{"table": "public.p", "columns": ["a", "b"]}"#, true),
        ("foreign_key", "{a}", r#"{"table": "public.p", "columns": ["a"]}"#, false),
        ("finite", "{n}", "{}", true),
    ] {
        execute(
            &mut client,
            &format!("SELECT opdb.add_quality_rule('t', 'consistency', '{kind}', '{columns}', '{args}')"),
        );
        let run = text(&mut client, r#"SELECT run_id FROM opdb.quality_score('t', '{"implied": false}')"#);
        let found = rows(
            &mut client,
            &format!("SELECT evidence = 'constraint', passed, evaluated FROM opdb.quality_report({run})"),
        );
        let proven = if is_proven { "t" } else { "f" };
        assert_eq!(found[0][0], proven, "{kind} {columns} {args}");
        execute(&mut client, "DELETE FROM opdb.quality_rule");
    }
    // Constraints of a foreign table are only words, and those of a parent say nothing of its children.
    execute(
        &mut client,
        "CREATE TABLE child () INHERITS (t); ALTER TABLE child ALTER a DROP NOT NULL;
         CREATE TABLE old (id int NOT NULL); CREATE TABLE new () INHERITS (old);
         SELECT opdb.add_quality_rule('old', 'completeness', 'not_null', '{id}')",
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('old')");
    assert_eq!(text(&mut client, &format!("SELECT evidence FROM opdb.quality_report({run})")), "measured");
}

#[test]
fn a_sample_passes_only_if_all_of_the_table_must() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, v int, a int);
           INSERT INTO t SELECT i, CASE WHEN i % 20 <> 0 THEN 1 ELSE -1 END, i FROM generate_series(1, 100000) i;
           SELECT opdb.add_quality_rule('t', 'accuracy', 'range', '{v}', '{"min": 0}', threshold => 0.948);
           SELECT opdb.add_quality_rule('t', 'consistency', 'unique', '{a}');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'row_count', '{}', '{"min": 5}')"#,
    );
    let run = |client: &mut Client, options: &str| {
        rows(
            client,
            &format!("SELECT run_id, passed, rows, reason FROM opdb.quality_score('t', '{options}')"),
        )
        .remove(0)
    };
    let whole = run(&mut client, r#"{"threshold": 0.9}"#);
    assert_eq!(whole[1..3], ["t", "100000"], "{whole:?}");
    let sample = run(&mut client, r#"{"threshold": 0.9, "sample": 0.05}"#);
    let read: i64 = sample[2].parse().unwrap();
    assert!((1..50_000).contains(&read), "{sample:?}");
    assert_eq!(sample[1], "f", "0.95 of a few thousand is no proof of 0.948: {sample:?}");
    assert!(sample[3].contains("of a sample of 0.050000 of the blocks"), "{sample:?}");
    let status = format!(
        "SELECT rule, status FROM opdb.quality_report({}) WHERE rule IN ('unique', 'row_count') AND rule_id IS NOT NULL",
        sample[0]
    );
    assert_eq!(rows(&mut client, &status), [["unique", "not_evaluated"], ["row_count", "not_evaluated"]]);
    execute(&mut client, "UPDATE opdb.quality_rule SET threshold = 0.9 WHERE rule = 'range'");
    let sample = run(&mut client, r#"{"threshold": 0.9, "sample": 0.2, "weights": {"accuracy": 1}}"#);
    assert_eq!(sample[1], "t", "{sample:?}");
    assert_eq!(
        text(
            &mut client,
            &format!(
                "SELECT digest IS NULL AND sample = 0.2 FROM opdb.quality_history('t') WHERE run_id = {}",
                sample[0]
            )
        ),
        "t"
    );
}

#[test]
fn rows_are_scored_by_parallel_workers() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t SELECT i, i FROM generate_series(1, 20000) i;
           ALTER TABLE t SET (parallel_workers = 2);
           CREATE FUNCTION by_leader(int) RETURNS boolean STABLE PARALLEL SAFE LANGUAGE sql AS
               'SELECT pg_catalog.pg_backend_pid()::text = pg_catalog.current_setting(''opdb_test.leader'')';
           SELECT opdb.add_quality_rule('t', 'accuracy', 'expression', '{}', '{"expression": "public.by_leader(id)"}');
           SELECT opdb.add_quality_rule('t', 'accuracy', 'range', '{a}', '{"max": 19990}');
           SELECT set_config('opdb_test.leader', pg_backend_pid()::text, false);
           SET parallel_leader_participation = off; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
           SET min_parallel_table_scan_size = 0"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let counts = format!(
        "SELECT passed || '/' || evaluated FROM opdb.quality_report({run}) WHERE rule_id IS NOT NULL ORDER BY rule_id"
    );
    assert_eq!(rows(&mut client, &counts), [["0/20000"], ["19990/20000"]]);
}
