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
        "CREATE TABLE old (id int NOT NULL); CREATE TABLE new () INHERITS (old);
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
           SET parallel_leader_participation = off; SET parallel_setup_cost = 0;
           SET min_parallel_table_scan_size = 0"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let counts = format!(
        "SELECT passed || '/' || evaluated FROM opdb.quality_report({run}) WHERE rule_id IS NOT NULL ORDER BY rule_id"
    );
    assert_eq!(rows(&mut client, &counts), [["0/20000"], ["19990/20000"]]);
}

#[test]
fn what_only_looks_like_a_guarantee_is_measured() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE r (id int PRIMARY KEY) PARTITION BY RANGE (id);
           CREATE TABLE r1 PARTITION OF r FOR VALUES FROM (0) TO (10); CREATE TABLE r2 PARTITION OF r FOR VALUES FROM (10) TO (20);
           INSERT INTO r VALUES (1), (11);
           CREATE TABLE t (id int NOT NULL, r int REFERENCES r, k int NOT NULL, at timestamptz CHECK (at > now() - interval '1 day'))
               PARTITION BY RANGE (id);
           CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10);
           INSERT INTO t VALUES (1, 1, 7, now()), (2, 11, 7, now());
           ALTER TABLE ONLY t ADD UNIQUE (id, k);
           SELECT opdb.add_quality_rule('t', 'integrity', 'foreign_key', '{r}', '{"table": "public.r", "columns": ["id"]}', name => 'all');
           SELECT opdb.add_quality_rule('t', 'integrity', 'foreign_key', '{r}', '{"table": "public.r1", "columns": ["id"]}', name => 'part');
           SELECT opdb.add_quality_rule('t', 'consistency', 'unique', '{k,id}', name => 'unique')"#,
    );
    let evidence = |client: &mut Client| {
        let run = text(client, "SELECT run_id FROM opdb.quality_score('t')");
        rows(
            client,
            &format!(
                "SELECT coalesce(name, 'implied ' || rule) || ' ' || split_part(evidence, ':', 1) || ' ' || passed || '/' || evaluated
                 FROM opdb.quality_report({run}) WHERE rule IN ('foreign_key', 'unique', 'expression')"
            ),
        )
        .concat()
    };
    assert_eq!(
        evidence(&mut client),
        [
            "implied expression measured 2/2",
            "implied foreign_key constraint 2/2",
            "implied unique measured 2/2",
            "all constraint 2/2",
            "part measured 1/2",
            "unique measured 2/2"
        ]
    );
    execute(&mut client, "ALTER TABLE t1 DISABLE TRIGGER ALL; INSERT INTO t1 VALUES (3, 99, 7, now())");
    let found = evidence(&mut client);
    assert_eq!(found[1], "implied foreign_key measured 2/3");
    assert_eq!(found[3], "all measured 2/3");
}

/// NOT NULL that was never validated makes no key.
#[test]
fn a_key_that_may_be_null_leads_to_no_row() {
    if crate::fixture::installation().major < 18 {
        return;
    }
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE t (c int UNIQUE, v int); INSERT INTO t VALUES (NULL, -1), (NULL, -1), (1, -1);
           ALTER TABLE t ADD CONSTRAINT n NOT NULL c NOT VALID;
           SELECT opdb.add_quality_rule('t', 'accuracy', 'range', '{v}', '{"min": 0}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let moved = format!("SELECT copied, deleted, skipped FROM opdb.quarantine_failures({run}, 1, true)");
    assert_eq!(rows(&mut client, &moved), [["3", "3", "0"]]);
}

/// A value that is equal to several keys there is one row all the same.
#[test]
fn a_foreign_key_rule_counts_each_row_once() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TABLE there (n numeric UNIQUE); INSERT INTO there VALUES (1), (1.00000000000000000001), (3);
           CREATE TABLE t (id int PRIMARY KEY, f float8); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3);
           CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
           CREATE TABLE words (c text COLLATE ci); CREATE UNIQUE INDEX ON words (c COLLATE "C"); INSERT INTO words VALUES ('a'), ('A');
           CREATE TABLE w (id int PRIMARY KEY, c text COLLATE ci); INSERT INTO w VALUES (1, 'a'), (2, 'b');
           SELECT opdb.add_quality_rule('t', 'integrity', 'foreign_key', '{f}', '{"table": "public.there", "columns": ["n"]}');
           SELECT opdb.add_quality_rule('w', 'integrity', 'foreign_key', '{c}', '{"table": "public.words", "columns": ["c"]}')"#,
    );
    for (table, expected) in [("t", ["3", "2/3"]), ("w", ["2", "1/2"])] {
        let run =
            rows(&mut client, &format!("SELECT rows, run_id FROM opdb.quality_score('{table}')")).remove(0);
        let counts = format!(
            "SELECT passed || '/' || evaluated FROM opdb.quality_report({}) WHERE rule_id IS NOT NULL",
            run[1]
        );
        assert_eq!([run[0].clone(), text(&mut client, &counts)], expected, "{table}");
    }
}

#[test]
fn what_may_be_put_right_later_is_no_guarantee() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
           CREATE TABLE t (id int PRIMARY KEY, k int UNIQUE DEFERRABLE INITIALLY DEFERRED, c text COLLATE ci);
           CREATE UNIQUE INDEX ON t (c COLLATE "C");
           SELECT opdb.add_quality_rule('t', 'consistency', 'unique', '{c}');
           BEGIN; INSERT INTO t VALUES (1, 7, 'a'), (2, 7, 'A')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let found = format!(
        "SELECT columns, passed || '/' || evaluated, evidence FROM opdb.quality_report({run}) WHERE rule = 'unique' AND columns <> '{{id}}'"
    );
    assert_eq!(rows(&mut client, &found), [["{k}", "1/2", "measured"], ["{c}", "1/2", "measured"]]);
    execute(&mut client, "ROLLBACK");
}

/// By the operators of its class an index can tell apart what is equal to the type.
#[test]
fn an_index_that_compares_otherwise_guarantees_nothing() {
    let mut client = on_test(&database(&servers().test));
    execute(
        &mut client,
        r#"CREATE TYPE pt AS (n numeric); CREATE TABLE t (c pt NOT NULL, s text);
           CREATE UNIQUE INDEX ON t (c record_image_ops); CREATE UNIQUE INDEX ON t (s text_pattern_ops);
           INSERT INTO t VALUES (row(1.0), 'a'), (row(1.00), 'b');
           SELECT opdb.add_quality_rule('t', 'consistency', 'unique', '{c}'),
                  opdb.add_quality_rule('t', 'consistency', 'unique', '{s}')"#,
    );
    let run = text(&mut client, "SELECT run_id FROM opdb.quality_score('t')");
    let found = format!(
        "SELECT passed || '/' || evaluated || ' ' || evidence FROM opdb.quality_report({run}) WHERE rule_id IS NOT NULL ORDER BY rule_id"
    );
    assert_eq!(rows(&mut client, &found).concat(), ["1/2 measured", "2/2 constraint"]);
}
